//! What happens to a run when its files, its numbers or its surroundings are not what they should be.
//!
//! `BREVITY_RELIABILITY=long` makes of each search what `cargo xtask reliability` runs: the short form is for every day.

#![expect(clippy::unwrap_used, reason = "a test whose run cannot be read fails")]

mod support;

use std::{collections::BTreeSet, fs, path::Path};

use model::{Compute, ModelDirectory, Parameter, StoredType, write_directory};
use record::{FaultOutcome, RunDirectory, manifest, write};
use rl::{
    RlError,
    checkpoint::{self, Damage, load_newest},
    convert::convert,
    random::{Purpose, Stream},
    trainer::{Ending, Trainer},
};

use support::world::{World, assert_same_files, expanded, files_under, finish, interrupt_after, proceed};

/// `short` in the tests of every day, `long` when asked for.
fn tries(short: usize, long: usize) -> usize {
    if std::env::var("BREVITY_RELIABILITY").is_ok_and(|form| form == "long") { long } else { short }
}

fn message<T>(result: Result<T, RlError>) -> String {
    result.map(drop).unwrap_err().to_string()
}

/// `bytes` with one bit flipped, or cut off somewhere.
fn damaged(bytes: &[u8], stream: &mut Stream) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = stream.below(bytes.len());
    if stream.below(2) == 0 {
        changed[at] ^= 1 << stream.below(8);
    } else {
        changed.truncate(at);
    }
    changed
}

#[test]
fn every_flipped_bit_and_every_truncation_of_a_checkpoint_is_refused_by_name() {
    let world = World::untrained();
    let run = world.run("run", &["train.steps=2", "checkpoint={every_steps=1,keep_last=0}"]);
    let newest = checkpoint::path(&run, 2);
    let files = files_under(&newest);
    // Manifest and tensors, one as often as another; the last share goes to the small files.
    let targets = ["manifest", "model.safetensors", "optimizer/model.safetensors", ""];
    let small: Vec<&String> = files.keys().filter(|name| !targets.contains(&name.as_str())).collect();
    assert!(small.len() > 3, "{small:?}");
    let mut stream = Stream::new(0, Purpose::Selection, [0; 3]);
    let start = ModelDirectory::open(&world.model(), Compute::F32).unwrap().model;
    for attempt in 0..tries(60, 1000) {
        let name = match targets[attempt % targets.len()] {
            "" => small[stream.below(small.len())].as_str(),
            target => target,
        };
        let path = newest.join(name);
        write::replace(&path, &damaged(&files[name], &mut stream)).unwrap();
        let refused = message(load_newest(&run, &start, Damage::Refuse));
        assert!(refused.contains(&path.display().to_string()), "{attempt}: {refused}");
        let remedy = format!(
            "; run `brevity train --resume {} --fallback` to go on from the checkpoint before it",
            record::shell_word(run.root())
        );
        assert!(refused.ends_with(&remedy), "{refused}");
        if attempt % 10 == 0 {
            let (restored, passed_over) = load_newest(&run, &start, Damage::FallBack).unwrap();
            assert_eq!((restored.unwrap().progress.step, passed_over.len()), (1, 1));
        }
        write::replace(&path, &files[name]).unwrap();
    }
    assert_eq!(load_newest(&run, &start, Damage::Refuse).unwrap().0.unwrap().progress.step, 2);
}

#[test]
fn missing_added_and_linked_files_of_a_checkpoint_are_refused_by_name() {
    let world = World::untrained();
    let run = world.run("run", &["train.steps=1"]);
    let newest = checkpoint::path(&run, 1);
    let start = ModelDirectory::open(&world.model(), Compute::F32).unwrap().model;
    let refused = || message(load_newest(&run, &start, Damage::Refuse));
    let tensors = newest.join("model.safetensors");
    let bytes = fs::read(&tensors).unwrap();
    write::remove(&tensors).unwrap();
    assert!(refused().contains("model.safetensors: is missing; start the run again"), "{}", refused());
    std::os::unix::fs::symlink(world.model().join("model.safetensors"), &tensors).unwrap();
    assert!(refused().contains("model.safetensors: is no file"), "{}", refused());
    write::remove(&tensors).unwrap();
    write::replace(&tensors, &bytes).unwrap();
    write::replace(&newest.join("pytorch_model.bin"), b"").unwrap();
    assert!(refused().contains("pytorch_model.bin: is not in the manifest"), "{}", refused());
    write::remove(&newest.join("pytorch_model.bin")).unwrap();
    write::remove(&newest.join("manifest")).unwrap();
    assert!(refused().contains("cannot read"), "{}", refused());
    assert!(message(load_newest(&run, &start, Damage::FallBack)).contains("start the run again in another"));
}

#[test]
fn counts_of_a_checkpoint_that_no_run_comes_to_are_refused_by_field() {
    let world = World::untrained();
    let run = world.run("run", &["train.steps=1"]);
    let newest = checkpoint::path(&run, 1);
    let start = ModelDirectory::open(&world.model(), Compute::F32).unwrap().model;
    let path = newest.join("state.json");
    let state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    for (field, most) in
        [("step", 1_u64 << 40), ("updates", 1 << 50), ("problems_taken", 1 << 60), ("detours", (1 << 16) - 1)]
    {
        // As a hand would make it: listed with its checksum.
        let with_count = |count: u64| {
            let mut state = state.clone();
            assert!(state[field].is_u64(), "{state}");
            state[field] = count.into();
            write::replace(&path, state.to_string().as_bytes()).unwrap();
            write::remove(&newest.join("manifest")).unwrap();
            manifest::write(&newest).unwrap();
            load_newest(&run, &start, Damage::Refuse)
        };
        for count in [most + 1, u64::MAX - 1, u64::MAX] {
            let refused = message(with_count(count));
            let expected = format!("state.json: `{field}` is {count}, and no run comes to more than {most}; start");
            assert!(refused.contains(&expected), "{refused}");
        }
        assert!(with_count(most).is_ok(), "{field}");
    }
}

#[test]
fn a_run_that_falls_back_ends_as_if_nothing_had_been_damaged() {
    let world = World::new();
    let settings = ["train.steps=3", "checkpoint={every_steps=1,keep_last=0}"];
    let run = world.run("run", &settings);
    let before = files_under(run.root());
    for step in [2, 3] {
        let path = checkpoint::path(&run, step).join("optimizer/model.safetensors");
        write::replace(&path, &before["metrics.jsonl"]).unwrap();
    }
    let found = message(world.resume("run"));
    assert!(found.contains("step-000003/optimizer/model.safetensors: has "), "{found}");
    assert!(files_under(run.root()).len() == before.len(), "a refused run loses nothing");
    let resume = || Trainer::resume_or_fall_back(run.root(), |model| Ok(world.path(model).into()), None);
    let mut resumed = resume().unwrap();
    assert_eq!((resumed.step(), resumed.passed_over().len()), (1, 2));
    finish(&mut resumed);
    assert!(files_under(run.root()) == before, "the resumed run wrote the same again");
}

#[test]
fn a_run_without_a_checkpoint_begins_again() {
    let world = World::new();
    let settings = ["train.loss.kl_weight=0.01"];
    world.run("whole", &settings);
    // Steps are recorded, and the first checkpoint is due after 50.
    let mut trainer = world.start("run", &settings).unwrap();
    trainer.run(&mut rl::trainer::Surroundings { clock: &|| 0.0, interrupted: &|| true, watch: &mut |_| {} }).unwrap();
    drop(trainer);
    write::remove_directory(&checkpoint::path(&RunDirectory::open(&world.path("run")).unwrap(), 1)).unwrap();
    let mut resumed = world.resume("run").unwrap();
    assert_eq!(resumed.step(), 0);
    finish(&mut resumed);
    assert_same_files(&world.path("whole"), &world.path("run"), &[]);
}

#[test]
fn a_run_whose_checkpoints_were_removed_keeps_its_records() {
    let world = World::untrained();
    world.run("run", &["checkpoint={every_steps=1,keep_last=1}"]);
    let checkpoints = world.path("run/checkpoints");
    for left in ["empty", "missing"] {
        write::remove_directory(&checkpoints).unwrap();
        if left == "empty" {
            write::create_directory(&checkpoints).unwrap();
        }
        let before = files_under(&world.path("run"));
        let said = message(world.resume("run"));
        assert!(said.contains("run: has records of 3 of 3 steps and no checkpoint to go on from; "), "{said}");
        assert!(files_under(&world.path("run")) == before, "{left}: something was removed");
    }
}

#[test]
fn what_a_start_that_was_cut_short_left_behind_is_no_run() {
    let world = World::untrained();
    for file in ["config.toml", "config.toml.partial", "run.json.partial", "lock"] {
        write::create_directory(&world.path("run/rollouts")).unwrap();
        write::replace(&world.path("run").join(file), b"half a fi").unwrap();
    }
    finish(&mut world.start("run", &["train.steps=1"]).unwrap());
    write::create_directory(&world.path("other")).unwrap();
    write::replace(&world.path("other/notes.txt"), b"").unwrap();
    assert!(message(world.start("other", &[])).contains("is not empty"));
    assert_eq!(files_under(&world.path("other")).into_keys().collect::<Vec<_>>(), ["notes.txt"]);
}

#[test]
fn files_that_decide_numbers_are_refused_by_name_when_they_change() {
    let world = World::untrained();
    let run = world.path("run");
    interrupt_after(&mut world.start("run", &["train.steps=2"]).unwrap(), 1);
    let files = [
        ("problems.jsonl", "(`problems.path`) is not what it was when the run began; put back"),
        ("held-out.jsonl", "(`evaluation.path`) is not what it was"),
        ("model/tokenizer.json", "(`model.path/tokenizer.json`) is not what it was"),
        ("model/model.safetensors", "(`model.path/model.safetensors`) is not what it was"),
        ("run/config.toml", "(`config.toml`) is not what it was"),
    ];
    for (file, expected) in files {
        let path = world.path(file);
        let bytes = fs::read(&path).unwrap();
        write::replace(&path, &[bytes.as_slice(), b"\n"].concat()).unwrap();
        let refused = message(world.resume("run"));
        assert!(refused.contains(&format!("{file}: {expected}")), "{refused}");
        write::replace(&path, &bytes).unwrap();
    }
    write::replace(&world.path("model/chat_template.jinja"), b"").unwrap();
    let refused = message(world.resume("run"));
    assert!(refused.contains("(`model.path/chat_template.jinja`) was not there when the run began"), "{refused}");
    write::remove(&world.path("model/chat_template.jinja")).unwrap();
    // Rows that are lost are seen as well: the files cannot be made whole again.
    let metrics = fs::read(run.join("metrics.jsonl")).unwrap();
    write::replace(&run.join("metrics.jsonl"), b"").unwrap();
    let refused = message(world.resume("run"));
    assert!(refused.contains("has no line of step 0, and the run goes on after 1 steps; put the whole"), "{refused}");
    write::replace(&run.join("metrics.jsonl"), &metrics).unwrap();
    finish(&mut world.resume("run").unwrap());
}

#[test]
fn a_second_writer_is_refused_and_told_who_the_first_is() {
    let world = World::untrained();
    let first = world.start("run", &[]).unwrap();
    let refused = message(world.resume("run"));
    let owner = format!("program {} on ", std::process::id());
    assert!(
        refused.contains(&owner) && refused.ends_with("writes to it; wait until it has ended, or stop it"),
        "{refused}"
    );
    drop(first);
    // The note of an owner that died is there, and its lock is not.
    write::replace(&world.path("run/lock"), b"program 1 on elsewhere\n").unwrap();
    finish(&mut world.resume("run").unwrap());
    assert_eq!(fs::read(world.path("run/lock")).unwrap(), b"");
}

fn kept_steps(run: &RunDirectory) -> Vec<u64> {
    checkpoint::steps(run).unwrap()
}

#[test]
fn checkpoints_are_kept_as_the_config_says_and_within_its_bytes() {
    let world = World::new();
    let kept = |name: &str, checkpoint: &str| {
        let settings =
            ["train.steps=5", "evaluation.every_steps=1", &format!("checkpoint={{every_steps=1,{checkpoint}}}")];
        world.run(name, &settings)
    };
    let run = kept("all", "keep_last=0");
    assert_eq!(kept_steps(&run), [1, 2, 3, 4, 5]);
    let bytes: u64 = files_under(&checkpoint::path(&run, 5)).values().map(|bytes| bytes.len() as u64).sum();
    let accuracies: Vec<f64> = run.evaluations().unwrap().iter().skip(1).map(|row| row.accuracy).collect();
    let best = (1..=5).max_by(|&a, &b| accuracies[a as usize - 1].total_cmp(&accuracies[b as usize - 1])).unwrap();

    assert_eq!(kept_steps(&kept("last", "keep_last=2")), [4, 5]);
    assert_eq!(kept_steps(&kept("every", "keep_last=1,keep_every_steps=2")), [2, 4, 5]);
    let expected: Vec<u64> = BTreeSet::from([best, 5]).into_iter().collect();
    assert_eq!(kept_steps(&kept("best", "keep_last=1,keep_best=1")), expected);
    assert_eq!(kept_steps(&kept("budget", &format!("keep_last=0,bytes_max={}", 3 * bytes))), [3, 4, 5]);

    // What is asked for two holds two, tokenizer and manifests included, and little more.
    let refused = message(world.start("refused", &["checkpoint.bytes_max=1000"]));
    let asked = refused.strip_prefix("`checkpoint.bytes_max` is 1000, and two checkpoints take up to ").unwrap();
    let (asked, remedy) = asked.split_once("; ").unwrap();
    assert_eq!(remedy, "raise it, or set 0 for no bound");
    let asked: u64 = asked.parse().unwrap();
    assert!((2 * bytes..2 * bytes + (1 << 18)).contains(&asked), "{asked}, and a checkpoint has {bytes}");
    assert_eq!(kept_steps(&kept("least", &format!("keep_last=0,bytes_max={asked}"))), [4, 5]);
    let refused =
        message(world.start("refused", &["checkpoint.keep_best=1", "checkpoint.bytes_max=0"]).and_then(|_| {
            let mut config = world.config(&["checkpoint.keep_best=1"]);
            config.evaluation = None;
            config.check()
        }));
    assert!(refused.contains("`checkpoint.keep_best` is 1, and nothing is evaluated; add [evaluation]"), "{refused}");
}

#[test]
fn what_a_crash_left_of_checkpoints_is_removed_when_the_run_goes_on() {
    let world = World::new();
    let kept = |name: &str, keep_last: u32| {
        world.run(name, &["train.steps=4", &format!("checkpoint={{every_steps=1,keep_last={keep_last}}}")])
    };
    let (run, all) = (kept("run", 2), kept("all", 0));
    let before = files_under(run.root());
    // As between the newest checkpoint and the removal of the first, and within the removal of the second.
    fs::rename(checkpoint::path(&all, 1), checkpoint::path(&run, 1)).unwrap();
    for part in ["step-000002.removed.partial", "step-000003.partial"] {
        write::create_directory(&run.checkpoints().join(part)).unwrap();
        fs::copy(checkpoint::path(&all, 2).join("config.json"), run.checkpoints().join(part).join("config.json"))
            .unwrap();
    }
    finish(&mut world.resume("run").unwrap());
    assert!(files_under(run.root()) == before, "the resumed run left what the crash did");
}

/// Writes the policy with the parameter `name` changed, as the one that runs start from.
fn inject(world: &World, name: &str, change: impl Fn(&mut Parameter)) {
    let mut policy = ModelDirectory::open(&world.model(), Compute::F32).unwrap();
    let mut changed = 0;
    policy.model.update(|_, parameter| {
        if parameter.name.ends_with(name) {
            change(parameter);
            changed += 1;
        }
    });
    assert!(changed > 0, "there is no parameter {name}");
    write_directory(&policy.model, &policy.path, &world.model(), StoredType::F32).unwrap();
}

fn outcomes(run: &RunDirectory) -> Vec<FaultOutcome> {
    run.faults().unwrap().iter().map(|fault| fault.outcome).collect()
}

#[test]
fn a_logprob_that_is_not_a_number_stops_the_step_and_its_rollouts_are_kept() {
    let world = World::new();
    inject(&world, "model.norm.weight", |norm| norm.values[0] = f32::NAN);
    let mut trainer = world.start("run", &[]).unwrap();
    let error = proceed(&mut trainer, &|| false).unwrap_err();
    assert!(matches!(error, RlError::Fault { step: 0, quantity: "logprob", .. }), "{error}");
    let run = trainer.run_directory();
    let fault = &run.faults().unwrap()[0];
    assert_eq!((fault.pass, fault.value.as_str(), fault.outcome), (None, "NaN", FaultOutcome::Stopped));
    let kept = run.fault_rollouts(fault).unwrap();
    assert_eq!((fault.rollouts.len(), kept.len()), (36, 36));
    assert!(kept[0].behavior_logprob_nats.is_nan() && error.to_string().contains("faults/step-000000-0.jsonl.gz"));
    assert_eq!(run.metrics().unwrap(), []);
}

#[test]
fn a_gradient_that_overflows_is_skipped_so_many_times_and_then_stops_the_run() {
    let world = World::new();
    // A unit that adds 0 · 3e38 to the stream: policy and loss are as they were, and its gradient is 3e38 times a gate.
    let scale_row = |parameter: &mut Parameter, factor: f32| {
        parameter.values.iter_mut().take(parameter.shape[1]).for_each(|weight| *weight *= factor);
    };
    inject(&world, "layers.1.mlp.up_proj.weight", |up| scale_row(up, 0.0));
    inject(&world, "layers.1.mlp.gate_proj.weight", |gate| scale_row(gate, 1e6));
    inject(&world, "layers.1.mlp.down_proj.weight", |down| {
        down.values.iter_mut().step_by(down.shape[1]).for_each(|weight| *weight = 3e38);
    });
    let settings = ["train.faults={remedy={skip={steps_max=2}}}", "checkpoint.every_steps=1"];
    let mut trainer = world.start("run", &settings).unwrap();
    let error = proceed(&mut trainer, &|| false).unwrap_err();
    let said = ", after as many skipped steps as allowed (2); the rollouts that caused it are in ";
    assert!(matches!(error, RlError::Fault { step: 2, quantity: "gradient norm", .. }), "{error}");
    assert!(error.to_string().contains(said), "{error}");
    let run = trainer.run_directory();
    assert_eq!(outcomes(run), [FaultOutcome::Skipped, FaultOutcome::Skipped, FaultOutcome::Stopped]);
    let start = ModelDirectory::open(&world.model(), Compute::F32).unwrap();
    let restored = load_newest(run, &start.model, Damage::Refuse).unwrap().0.unwrap();
    assert_eq!((restored.progress.step, restored.optimizer.updates), (2, 0));
    let values = |model: &model::Model| model.parameters().iter().map(|one| one.values.clone()).collect::<Vec<_>>();
    assert!(values(&restored.model) == values(&start.model), "a skipped step changes no parameter");
    let faults = run.faults().unwrap();
    let before = files_under(run.root());
    drop(trainer);
    let error = proceed(&mut world.resume("run").unwrap(), &|| false).unwrap_err();
    assert!(error.to_string().contains(said), "skipped steps are counted over a resume: {error}");
    assert_eq!(RunDirectory::open(&world.path("run")).unwrap().faults().unwrap(), faults);
    assert!(files_under(&world.path("run")) == before);
}

/// A limit just below the largest gradient norm of a run with `settings`, and the step that has it.
fn limit_of_one_step(world: &World, settings: &[&str]) -> (f64, u64) {
    let mut norms: Vec<(f64, u64)> =
        world.run("measured", settings).metrics().unwrap().iter().map(|row| (row.gradient_norm, row.step)).collect();
    norms.sort_by(|a, b| b.0.total_cmp(&a.0));
    (f64::midpoint(norms[0].0, norms[1].0), norms[0].1)
}

#[test]
fn a_gradient_that_explodes_is_skipped_and_the_run_goes_on() {
    let world = World::new();
    let settings = ["train.steps=4", "evaluation.every_steps=1"];
    let (limit, step) = limit_of_one_step(&world, &settings);
    let faults = format!("train.faults={{gradient_norm_limit={limit:?},remedy={{skip={{steps_max=4}}}}}}");
    let run = world.run("run", &[&settings[..], &[&faults]].concat());
    let first = &run.faults().unwrap()[0];
    assert_eq!((first.step, first.quantity.as_str(), first.rollouts.len()), (step, "gradient norm", 1));
    assert_eq!(run.fault_rollouts(first).unwrap().len(), 1);
    let recorded: Vec<u64> = run.metrics().unwrap().iter().map(|row| row.step).collect();
    assert!(!recorded.contains(&step) && recorded.len() + outcomes(&run).len() == 4, "{recorded:?}");
    assert_eq!(run.evaluations().unwrap().len(), 5);
    // As if the skipped steps had been recorded: a resume at the end finds nothing missing.
    finish(&mut world.resume("run").unwrap());
}

#[test]
fn a_run_goes_back_to_its_checkpoint_and_comes_to_the_same_bytes_when_it_is_interrupted() {
    let world = World::new();
    let settings = ["train.steps=4", "checkpoint.every_steps=2"];
    let (limit, step) = limit_of_one_step(&world, &settings);
    let faults = format!("train.faults={{gradient_norm_limit={limit:?},remedy={{return={{times_max=9}}}}}}");
    let settings = [&settings[..], &[&faults]].concat();
    let run = world.run("run", &settings);
    let returns = run.faults().unwrap();
    assert!(returns.iter().all(|fault| fault.outcome == FaultOutcome::Returned), "{returns:?}");
    assert_eq!((returns[0].step, returns[0].detours), (step, 0));
    let metrics = run.metrics().unwrap();
    assert_eq!(metrics.iter().map(|row| row.step).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(metrics.iter().all(|row| row.gradient_norm <= limit), "{metrics:?}");
    // Whichever step it is stopped after, before or after it went back.
    for steps in 1..=3 {
        let name = format!("interrupted-{steps}");
        interrupt_within(&mut world.start(&name, &settings).unwrap(), steps);
        finish(&mut world.resume(&name).unwrap());
        assert_same_files(run.root(), &world.path(&name), &[]);
    }
    let other = world.run("measured-again", &settings[..2]);
    let differs = |file: &Path| fs::read(run.root().join(file)).unwrap() != fs::read(other.root().join(file)).unwrap();
    assert!(differs(Path::new("metrics.jsonl")), "other random numbers after the return");
}

#[test]
fn a_run_goes_back_to_no_checkpoint_that_only_an_interrupt_left() {
    let world = World::new();
    let settings = ["train.steps=6"];
    let (limit, step) = limit_of_one_step(&world, &settings);
    assert!(step > 0, "there is a step to be interrupted after");
    let faults = format!("train.faults={{gradient_norm_limit={limit:?},remedy={{return={{times_max=9}}}}}}");
    // None is due before the fault; then one long before it, of which but the last is kept.
    for every_steps in [step + 1, 1.max(step - 1)] {
        let checkpoint = format!("checkpoint={{every_steps={every_steps},keep_last=1}}");
        let settings = [&settings[..], &[&faults, &checkpoint]].concat();
        let whole = world.run(&format!("whole-{every_steps}"), &settings);
        assert_eq!(whole.faults().unwrap()[0].step, step);
        let name = format!("interrupted-{every_steps}");
        interrupt_after(&mut world.start(&name, &settings).unwrap(), step);
        assert_eq!(kept_steps(&RunDirectory::open(&world.path(&name)).unwrap()).last(), Some(&step));
        finish(&mut world.resume(&name).unwrap());
        assert_same_files(whole.root(), &world.path(&name), &[]);
    }
}

#[test]
fn a_run_that_keeps_going_back_is_interrupted_between_two_returns() {
    let world = World::new();
    inject(&world, "model.norm.weight", |norm| norm.values[0] = f32::NAN);
    let settings = ["train.faults={remedy={return={times_max=60000}}}"];
    let mut trainer = world.start("run", &settings).unwrap();
    let ending = proceed(&mut trainer, &|| true).unwrap();
    assert!(matches!(ending, Ending::Interrupted { step: 0 }), "{ending:?}");
    assert_eq!(outcomes(trainer.run_directory()), [FaultOutcome::Returned]);
}

/// Runs until `steps` steps have ended, returns among them, and stops there with a checkpoint.
fn interrupt_within(trainer: &mut Trainer, steps: u64) {
    let done = std::cell::Cell::new(0);
    let interrupted = || {
        done.set(done.get() + 1);
        done.get() == steps
    };
    proceed(trainer, &interrupted).unwrap();
}

/// What a run directory of schema 2 has in place of ours, and schema 1 where `schema` says so.
fn age(run: &RunDirectory, schema: u32) {
    let root = run.root();
    let rewrite = |path: &Path, change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>)| {
        let text = fs::read_to_string(path).unwrap();
        let mut rows: Vec<serde_json::Map<_, _>> =
            serde_json::Deserializer::from_str(&text).into_iter().map(Result::unwrap).collect();
        rows.iter_mut().for_each(change);
        write::replace(path, &write::json_lines(&rows)).unwrap();
    };
    for directory in ["rollouts", "evaluations"].map(|name| root.join(name)) {
        for name in write::list(&directory).unwrap() {
            let compressed = directory.join(&name);
            let plain = compressed.with_extension("");
            write::replace(&plain, &expanded(&fs::read(&compressed).unwrap())).unwrap();
            write::remove(&compressed).unwrap();
            if schema == 1 && directory.ends_with("evaluations") {
                rewrite(&plain, &|row| row.retain(|field, _| !["prefixes", "tokens_from"].contains(&field.as_str())));
            }
        }
    }
    if schema == 1 {
        let added = [
            "accuracy_bootstrap_low",
            "accuracy_bootstrap_high",
            "pass",
            "lengths",
            "verdicts",
            "budgets",
            "first_correct",
        ];
        rewrite(&root.join("evaluations.jsonl"), &|row| row.retain(|field, _| !added.contains(&field.as_str())));
    }
    for step in kept_steps(run) {
        let directory = checkpoint::path(run, step);
        rewrite(&directory.join("state.json"), &|state| {
            state.retain(|field, _| ["step", "updates"].contains(&field.as_str()));
        });
        write::remove(&directory.join("manifest")).unwrap();
        write::replace(&run.checkpoints().join("latest"), format!("step-{step:06}").as_bytes()).unwrap();
    }
    write::remove(&root.join("lock")).unwrap();
    let config = fs::read_to_string(root.join("config.toml")).unwrap();
    let mut config: toml::Table = toml::from_str(&config).unwrap();
    config["train"].as_table_mut().unwrap().remove("faults");
    config["checkpoint"].as_table_mut().unwrap().retain(|setting, _| ["every_steps", "keep_last"].contains(&setting));
    write::replace(&root.join("config.toml"), toml::to_string(&config).unwrap().as_bytes()).unwrap();
    rewrite(&root.join("run.json"), &|header| {
        header.retain(|field, _| !["compute", "mathematics", "inputs"].contains(&field.as_str()));
        header.insert("schema".into(), schema.into());
    });
}

#[test]
fn run_directories_of_older_schemas_are_refused_with_the_command_that_converts_them_and_go_on_after_it() {
    let world = World::new();
    let resolve = |model: &str| Ok(world.path(model));
    let whole = world.run("whole", &["train.steps=3"]);
    for schema in [1, 2] {
        let name = format!("schema-{schema}");
        interrupt_after(&mut world.start(&name, &["train.steps=3"]).unwrap(), 2);
        let run = RunDirectory::open(&world.path(&name)).unwrap();
        age(&run, schema);
        let said = format!(
            "was written with schema {schema} by version 0.0.0 of brevity, and this version reads schema 3; run `brevity convert "
        );
        let refused = message(world.resume(&name));
        assert!(refused.contains(&said), "{refused}");
        let unknown = convert(run.root(), resolve).unwrap().unwrap();
        assert_eq!(
            unknown,
            ["which files the run began with is not known; they are taken to be those that are there now"]
        );
        assert_eq!(convert(run.root(), resolve).unwrap(), None, "a second time");
        finish(&mut world.resume(&name).unwrap());
        let ignored = [
            "run.json",
            "evaluations.jsonl",
            "evaluations/step-000000-held-out.jsonl.gz",
            "evaluations/step-000002-held-out.jsonl.gz",
        ];
        assert_same_files(whole.root(), run.root(), if schema == 1 { &ignored } else { &ignored[..1] });
        for (ours, theirs) in run.evaluations().unwrap().iter().zip(whole.evaluations().unwrap()) {
            // Schema 1 did not keep what beginnings of a completion came to.
            assert_eq!((&ours.pass, &ours.lengths, &ours.verdicts), (&theirs.pass, &theirs.lengths, &theirs.verdicts));
            assert_eq!(ours.accuracy_bootstrap_low.to_bits(), theirs.accuracy_bootstrap_low.to_bits());
        }
    }
    write::replace(&world.path("schema-1/run.json"), br#"{"schema":4,"brevity_version":"9.0.0"}"#).unwrap();
    let refused = message(convert(&world.path("schema-1"), resolve));
    assert!(refused.contains("is of schema 4, and schemas 1 and 2 are converted; use a later version"), "{refused}");
}

#[test]
fn files_of_an_older_run_that_do_not_fit_each_other_are_refused_by_name() {
    let world = World::untrained();
    let run = world.run("run", &["train.steps=1"]);
    age(&run, 1);
    let resolve = |model: &str| Ok(world.path(model));
    let [lines, records, state] =
        ["evaluations.jsonl", "evaluations/step-000000-held-out.jsonl", "checkpoints/step-000001/state.json"]
            .map(|name| run.root().join(name));
    let [line, first, all] = [&lines, &records, &records].map(|path| fs::read_to_string(path).unwrap());
    let (line, first) = (line.lines().next().unwrap(), first.lines().next().unwrap());
    let with = |old: &str, new: &str| {
        assert!(line.contains(old), "{old} is not in {line}");
        line.replace(old, new) + "\n"
    };
    let metrics = run.root().join("metrics.jsonl");
    for (path, changed, said) in [
        (&metrics, "{\"step\":0}\n".into(), "metrics.jsonl, line 1: missing field"),
        (&records, String::new(), "has 0 problems where evaluations.jsonl says 8; put the file back"),
        (&records, format!("{first}\n"), "has 1 problems where evaluations.jsonl says 8"),
        (&records, format!("{all}{first}\n"), "has completion 0 of problem `walk-0` twice"),
        (
            &records,
            all.replacen("\"sample\":1", "\"sample\":2", 1),
            "has completion 2 of problem `walk-0` twice, or more",
        ),
        (
            &records,
            all.split_once('\n').unwrap().1.to_owned(),
            "has 1 completions of problem `walk-0` where evaluations",
        ),
        (&lines, with("\"samples\":2", "\"samples\":4294967298"), "evaluations.jsonl, line 1: invalid value"),
        (&lines, with("\"samples\":2,", ""), "evaluations.jsonl, line 1: missing field `samples`"),
        (&lines, with("\"step\":0", "\"step\":1099511627777"), "line 1: `step` is 1099511627777, and no run comes to"),
        (&lines, with("\"step\":0", "\"step\":7"), "step-000007-held-out.jsonl: is missing, and evaluations.jsonl has"),
        (&lines, format!("{line}\n{line}\n"), "line 2: is a second evaluation on `held-out` at step 0; remove one"),
        (&state, "{\"step\":18446744073709551615,\"updates\":1}".into(), "state.json: `step` is 18446744073709551615"),
    ] {
        let whole = fs::read(path).unwrap();
        write::replace(path, changed.as_bytes()).unwrap();
        let refused = message(convert(run.root(), resolve));
        assert!(refused.contains(said), "{refused}");
        assert!(refused.contains(&run.root().display().to_string()), "{refused}");
        write::replace(path, &whole).unwrap();
        write::replace(&records, all.as_bytes()).unwrap();
    }
    assert!(convert(run.root(), resolve).unwrap().is_some());
}

#[test]
fn a_record_file_of_an_older_run_that_is_missing_is_refused_by_name() {
    let world = World::untrained();
    let run = world.run("run", &["train.steps=1"]);
    // The lines of schema 2 are those of this one, and say nothing of their records.
    age(&run, 2);
    let records = run.root().join("evaluations/step-000000-held-out.jsonl");
    write::remove(&records).unwrap();
    let refused = message(convert(run.root(), |model: &str| Ok(world.path(model))));
    let said = format!(
        "{}: is missing, and evaluations.jsonl has a line of it; put the file back, or remove that line",
        records.display()
    );
    assert_eq!(refused, said);
    assert!(!records.with_extension("jsonl.gz").exists());
}
