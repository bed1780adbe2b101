//! Whole runs: the same bytes however they are computed, and what each setting of a step must be seen to do.

#![expect(clippy::unwrap_used, reason = "a test whose run cannot be read fails")]

mod support;

use std::{cell::RefCell, fs, path::Path};

use record::{RolloutRecord, RunDirectory, StepMetrics, StopReason, write};
use rl::{
    RlError, estimate,
    trainer::{Event, Surroundings, Trainer},
};

use support::{
    assert_close,
    world::{World, assert_same_files, files_under, finish, interrupt_after, proceed},
};

/// Its header and config tell two runs of other settings apart; nothing else may.
const SETTINGS: [&str; 2] = ["run.json", "config.toml"];

const ONE: u64 = 1.0_f64.to_bits();

fn rollouts(run: &RunDirectory) -> Vec<Vec<RolloutRecord>> {
    let steps = run.metrics().unwrap().len() as u64;
    (0..steps).map(|step| run.rollouts(step).unwrap()).collect()
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    model::threads::Pool::new(threads).unwrap().install(work)
}

fn model_values(run: &RunDirectory) -> Vec<Vec<f32>> {
    let trained = model::ModelDirectory::open(&run.root().join("model"), model::Compute::F32).unwrap();
    trained.model.parameters().iter().map(|parameter| parameter.values.clone()).collect()
}

#[test]
fn the_policy_of_these_tests_answers_some_problems_and_not_others() {
    let world = World::new();
    let first = &world.run("run", &["train.steps=1"]).metrics().unwrap()[0];
    assert!((0.15..0.9).contains(&first.correctness_ratio), "{first:?}");
    assert!(first.zero_advantage_share < 0.7, "{first:?}");
}

#[test]
fn the_same_config_and_seed_leave_the_same_bytes() {
    let world = World::new();
    world.run("first", &[]);
    world.run("second", &[]);
    assert_same_files(&world.path("first"), &world.path("second"), &[]);
    let names: Vec<String> = files_under(&world.path("first")).into_keys().collect();
    for expected in ["metrics.jsonl", "evaluations.jsonl", "rollouts/step-000002.jsonl.gz", "model/model.safetensors"] {
        assert!(names.contains(&expected.to_owned()), "{names:?}");
    }
    world.run("other", &["seed=4", "train.steps=1"]);
    let first_rollouts = |run: &str| fs::read(world.path(run).join("rollouts/step-000000.jsonl.gz")).unwrap();
    assert_ne!(first_rollouts("first"), first_rollouts("other"), "another seed, other completions");
}

#[test]
fn threads_and_sequences_computed_together_change_no_byte() {
    let world = World::new();
    with_threads(1, || world.run("reference", &["train.steps=2"]));
    for threads in [2, 3] {
        let name = format!("threads-{threads}");
        with_threads(threads, || world.run(&name, &["train.steps=2"]));
        assert_same_files(&world.path("reference"), &world.path(&name), &SETTINGS);
    }
    for sequences_max in [1, 3] {
        let name = format!("sequences-{sequences_max}");
        world.run(&name, &["train.steps=2", &format!("rollout.sequences_max={sequences_max}")]);
        assert_same_files(&world.path("reference"), &world.path(&name), &SETTINGS);
    }
}

#[test]
fn micro_batches_change_the_first_update_by_rounding_alone() {
    // Adam turns a gradient that is rounding and nothing else into a whole step; with epsilon 1 the first update is
    // learning_rate · g / (|g| + 1), so parameters are as far apart as gradients are, times the learning rate.
    const LEARNING_RATE: f32 = 0.01;
    let world = World::new();
    let settings = ["train.steps=1", "train.optimizer.epsilon=1.0", "train.optimizer.learning_rate=0.01"];
    let whole = world.run("whole", &settings);
    let start = model::ModelDirectory::open(&world.model(), model::Compute::F32).unwrap();
    for rows in [1, 60, 300] {
        let changed = format!("train.micro_batch_tokens={rows}");
        let split = world.run(&changed, &[settings.as_slice(), &[changed.as_str()]].concat());
        assert_same_files(&whole.root().join("rollouts"), &split.root().join("rollouts"), &[]);
        let [ours, theirs] = [&split, &whole].map(|run| run.metrics().unwrap().remove(0));
        assert_close(&[ours.loss], &[theirs.loss], 1e-15, "loss, a sum of f64 in another order");
        assert_close(&[ours.gradient_norm], &[theirs.gradient_norm], 1e-5 * theirs.gradient_norm, "gradient norm");
        let rounded = StepMetrics { loss: theirs.loss, gradient_norm: theirs.gradient_norm, ..ours };
        assert_eq!(rounded, theirs, "all else is equal");
        let values = model_values(&split).into_iter().zip(model_values(&whole));
        for ((ours, theirs), start) in values.zip(start.model.parameters()) {
            let moved = theirs.iter().zip(&start.values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(moved > 0.0, "{} did not move", start.name);
            for (our, their) in ours.iter().zip(&theirs) {
                // Gradients that differ by 1e-5, and one rounding of the parameter itself.
                let allowed = LEARNING_RATE * 1e-5 + their.abs() * f32::EPSILON;
                assert!((our - their).abs() <= allowed, "{}: {our} and {their}", start.name);
            }
        }
    }
}

#[test]
fn a_run_interrupted_and_resumed_equals_one_that_was_not() {
    let world = World::new();
    let settings = [
        "train.steps=4",
        "train.loss.kl_weight=0.05",
        "train.schedule.decay=cosine",
        "train.optimizer.weight_decay=0.1",
        "problems.order=shuffled",
    ];
    with_threads(1, || world.run("whole", &settings));
    for (step, threads) in [(1, 2), (2, 1), (3, 2)] {
        let name = format!("interrupted-{step}");
        with_threads(1, || interrupt_after(&mut world.start(&name, &settings).unwrap(), step));
        with_threads(threads, || {
            let mut resumed = world.resume(&name).unwrap();
            assert_eq!(resumed.step(), step);
            finish(&mut resumed);
        });
        assert_same_files(&world.path("whole"), &world.path(&name), &[]);
    }
    interrupt_after(&mut world.start("twice", &settings).unwrap(), 1);
    interrupt_after(&mut world.resume("twice").unwrap(), 2);
    finish(&mut world.resume("twice").unwrap());
    assert_same_files(&world.path("whole"), &world.path("twice"), &[]);
}

/// The lowest multiple of 16 KiB at which a run with `changes` is not refused.
fn lowest_limit(world: &World, changes: &[&str]) -> u64 {
    const STEP: u64 = 1 << 14;
    let model = model::ModelConfig::read(&world.model()).unwrap();
    // A run plans for the prompts that there are, all of ten tokens, and for the 8 held-out problems that there are.
    let changes = [changes, &["prompt.prompt_tokens_max=10", "evaluation.limit=8"]].concat();
    let plan = |limit| estimate::plan(&world.config(&changes), &model, model::Compute::F32, limit);
    let whole = plan(None).unwrap().estimate.total() / STEP;
    let refused = (1..=whole).rev().find(|limit| plan(Some(limit * STEP)).is_err()).unwrap();
    (refused + 1) * STEP
}

#[test]
fn layers_computed_again_and_a_bounded_cache_change_no_byte() {
    let world = World::new();
    let settings = ["train.steps=2", "train.loss.kl_weight=0.01"];
    world.run("whole", &settings);
    // Room for one sequence: a prompt of 10 tokens takes one page of 32 positions, a completion of 40 two.
    let page = model::Cache::bytes(&model::ModelConfig::read(&world.model()).unwrap(), model::Compute::F32, 1);
    let bound = format!("rollout.cache_bytes_max={}", 3 * page);
    let settings = [settings.as_slice(), &[bound.as_str()]].concat();
    let low = format!("model.memory_bytes_max={}", lowest_limit(&world, &settings));
    let changes = [settings.as_slice(), &[low.as_str()]].concat();
    let mut trainer = world.start("low", &changes).unwrap();
    let plan = *trainer.plan();
    assert_eq!((plan.recomputed_layers, plan.cache_bytes_max / page), (3, 3), "{plan:?}");
    finish(&mut trainer);
    assert_same_files(&world.path("whole"), &world.path("low"), &SETTINGS);

    interrupt_after(&mut world.start("interrupted", &changes).unwrap(), 1);
    let resume = |available| Trainer::resume(&world.path("interrupted"), |_| Ok(world.model().into()), available);
    let mut resumed = resume(None).unwrap();
    assert_eq!(*resumed.plan(), plan);
    finish(&mut resumed);
    assert_same_files(&world.path("low"), &world.path("interrupted"), &[]);
}

#[test]
fn a_run_is_resumed_with_the_memory_that_there_is_by_then() {
    let world = World::new();
    interrupt_after(&mut world.start("run", &["train.steps=2"]).unwrap(), 1);
    let resume = |available| Trainer::resume(&world.path("run"), |_| Ok(world.model().into()), Some(available));
    let available = lowest_limit(&world, &["train.steps=2"]);
    let message = resume(available / 2).map(drop).unwrap_err().to_string();
    assert!(message.contains("are available: program"), "{message}");
    assert_eq!(resume(available).unwrap().plan().recomputed_layers, 3);
    assert_eq!(resume(u64::MAX).unwrap().plan().recomputed_layers, 0);
}

#[test]
fn a_resumed_run_drops_what_was_recorded_after_its_checkpoint() {
    let world = World::new();
    let settings = ["train.steps=3", "evaluation.every_steps=1", "checkpoint={every_steps=1,keep_last=0}"];
    let run = world.run("run", &settings);
    let before = files_under(run.root());
    // As after a crash: steps 1 and 2 are recorded, rollouts of a step without metrics and half a line are on disk, cut
    // within a character.
    for later in ["step-000002", "step-000003"] {
        write::remove_directory(&run.checkpoints().join(later)).unwrap();
    }
    write::create_directory(&run.checkpoints().join("step-000002.partial/optimizer")).unwrap();
    write::replace(&run.root().join("rollouts/step-000003.jsonl.gz"), b"").unwrap();
    let mut torn = before["metrics.jsonl"].clone();
    torn.extend(b"{\"step\":3,\"\xce");
    write::replace(&run.root().join("metrics.jsonl"), &torn).unwrap();

    let mut resumed = world.resume("run").unwrap();
    assert_eq!(resumed.step(), 1);
    assert_eq!(run.metrics().unwrap().iter().map(|row| row.step).collect::<Vec<_>>(), [0]);
    assert_eq!(run.evaluations().unwrap().iter().map(|row| row.step).collect::<Vec<_>>(), [0, 1]);
    assert_eq!([0, 1, 2, 3].map(|step| run.rollouts(step).unwrap().len()), [36, 0, 0, 0]);
    finish(&mut resumed);
    assert!(files_under(run.root()) == before, "the resumed run wrote the same again");
}

#[test]
fn a_run_that_cannot_go_on_says_why() {
    let world = World::new();
    let message = |result: Result<_, RlError>| result.map(drop).unwrap_err().to_string();
    drop(world.start("run", &[]).unwrap());
    assert!(message(world.start("run", &[])).contains("is not empty; pass --resume"));
    let cut = message(world.start("cut", &["rollout.completion_tokens_max=100000"]));
    assert!(cut.starts_with("`rollout.completion_tokens_max` is 100000, and the model takes "), "{cut}");
    let refused = message(world.start("refused", &["prompt.template=chat"]));
    assert!(refused.starts_with("`prompt.template` is \"chat\", and the model has no chat template"), "{refused}");
    let refused = message(world.start("refused", &["prompt.prompt_tokens_max=9"]));
    assert!(refused.contains("problem walk-0: its prompt has 10 tokens; allowed are 1 to 9"), "{refused}");
    let refused = message(world.start("refused", &["model.memory_bytes_max=1000"]));
    assert!(refused.contains("lower the model's size"), "{refused}");
    assert!(!world.path("refused").exists(), "a run that is refused leaves nothing");
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run_with_its_name_and_step() {
    // A first pass at learning rate 10 leaves completions that the reference thinks 700 nats more likely than the
    // policy does, and e^q of k3 overflows in the second.
    let world = World::new();
    let settings = ["train.passes=2", "train.loss.kl_weight=1.0", "train.optimizer.learning_rate=10.0"];
    let mut trainer = world.start("run", &settings).unwrap();
    let error = proceed(&mut trainer, &|| false).unwrap_err();
    assert!(matches!(error, RlError::Fault { quantity: "loss", .. }), "{error}");
    assert!(error.to_string().contains("the loss is inf; the rollouts that caused it are in "), "{error}");
}

#[test]
fn top_lambda_puts_the_stated_share_of_groups_under_length_penalty() {
    let world = World::new();
    // λ · 6 rounded to the nearest, halves up, at least one above 0.
    for (lambda, expected) in [(0.0, 0), (0.01, 1), (0.2, 1), (0.25, 2), (0.5, 3), (0.74, 4), (1.0, 6)] {
        let setting = format!("train.shaping.top-lambda.lambda={lambda:?}");
        let run = world.run(&setting, &["train.steps=1", &setting]);
        let (metrics, rollouts) = (run.metrics().unwrap().remove(0), run.rollouts(0).unwrap());
        assert_eq!(metrics.selection.groups.len(), expected, "{setting}");
        assert_close(&[metrics.selection.share], &[expected as f64 / 6.0], 1e-15, &setting);
        let correct = |group: u32| rollouts.iter().filter(|row| row.group == group && row.is_correct()).count();
        let (mut lowest_selected, mut highest_other) = (usize::MAX, 0);
        for row in &rollouts {
            assert_eq!(row.selected, metrics.selection.groups.contains(&row.group), "{setting}");
            let count = correct(row.group);
            if row.selected {
                lowest_selected = lowest_selected.min(count);
            } else {
                highest_other = highest_other.max(count);
                assert_eq!(row.reward.to_bits(), f64::from(u8::from(row.is_correct())).to_bits());
            }
        }
        assert!(lowest_selected >= highest_other, "{setting}: {lowest_selected} below {highest_other}");
    }
}

#[test]
fn ratios_are_exactly_one_in_the_first_pass_and_not_in_the_second() {
    let world = World::new();
    for row in world.run("one", &["rollout.temperature=0.7"]).metrics().unwrap() {
        assert_eq!([row.ratio_min, row.ratio_mean, row.ratio_max].map(f64::to_bits), [ONE; 3], "{row:?}");
        assert_eq!(row.clip_share.to_bits(), 0, "{row:?}");
    }
    let two = world.run("two", &["train.passes=2", "train.steps=2"]).metrics().unwrap();
    for row in &two {
        assert!(row.ratio_min < 1.0 && row.ratio_max > 1.0 && row.ratio_min > 0.0, "{row:?}");
    }
    assert!(two.iter().any(|row| row.clip_share > 0.0), "at this learning rate some ratios leave the clip range");
}

#[test]
fn the_kl_divergence_to_the_start_is_zero_at_first_and_grows() {
    let world = World::new();
    let rows = world.run("run", &["train.loss.kl_weight=0.01", "train.steps=4"]).metrics().unwrap();
    let kl: Vec<f64> = rows.iter().map(|row| row.kl_nats.unwrap()).collect();
    assert_eq!(kl[0].to_bits(), 0, "the policy is the reference");
    assert!(kl[1] > 0.0 && kl[3] > kl[1], "{kl:?}");
    assert_eq!(world.run("none", &["train.steps=1"]).metrics().unwrap()[0].kl_nats, None);
}

/// Σ −A over the completions that count, divided by their number: what the loss is when every ratio is 1.
fn expected_loss(rollouts: &[RolloutRecord], counts: impl Fn(&&RolloutRecord) -> bool) -> f64 {
    let counted: Vec<f64> = rollouts.iter().filter(counts).map(|row| row.advantage).collect();
    -counted.iter().sum::<f64>() / counted.len() as f64
}

#[test]
fn dropped_truncated_completions_take_no_part_in_the_loss() {
    let world = World::new();
    let ended = |row: &&RolloutRecord| row.stop == StopReason::End;
    let settings = ["train.steps=1", "rollout.completion_tokens_max=12"];
    for (truncated, aggregation) in [("wrong", "sequence-mean"), ("drop", "sequence-mean"), ("drop", "constant")] {
        let truncated_setting = format!("train.truncated={truncated}");
        let aggregation_setting = format!("train.loss.aggregation={aggregation}");
        let run = world.run(
            &format!("{truncated}-{aggregation}"),
            &[settings[0], settings[1], &truncated_setting, &aggregation_setting],
        );
        let (metrics, rollouts) = (run.metrics().unwrap().remove(0), run.rollouts(0).unwrap());
        let stopped = rollouts.iter().filter(|row| row.stop == StopReason::Limit).count();
        assert!((1..rollouts.len()).contains(&stopped), "{stopped} of {} truncated", rollouts.len());
        assert!(rollouts.iter().all(|row| row.is_correct() <= (row.stop == StopReason::End)));
        let expected = match (truncated, aggregation) {
            ("wrong", _) => expected_loss(&rollouts, |_| true),
            (_, "sequence-mean") => expected_loss(&rollouts, ended),
            _ => {
                let counted = || rollouts.iter().filter(ended);
                let sum: f64 = counted().map(|row| row.advantage * f64::from(row.completion_tokens)).sum();
                -sum / (counted().count() * 12) as f64
            }
        };
        assert_close(&[metrics.loss], &[expected], 1e-12, &truncated_setting);
    }
}

#[test]
fn a_step_in_which_nothing_counts_changes_nothing() {
    let world = World::new();
    let run = world.run("run", &["train.truncated=drop", "rollout.completion_tokens_max=2", "train.steps=2"]);
    for row in run.metrics().unwrap() {
        assert_eq!([row.loss, row.gradient_norm, row.truncated_share].map(f64::abs).map(f64::to_bits), [0, 0, ONE]);
        assert_eq!([row.ratio_min, row.ratio_mean, row.ratio_max].map(f64::to_bits), [ONE; 3]);
    }
    let start = model::ModelDirectory::open(&world.model(), model::Compute::F32).unwrap();
    assert!(start.model.parameters().iter().map(|one| &one.values).eq(&model_values(&run)));
}

#[test]
fn every_problem_is_taken_once_per_epoch() {
    let world = World::new();
    // 40 problems, 10 a step: an epoch is 4 steps.
    let settings = ["train.steps=8", "rollout={prompts_per_step=10,group_size=2,completion_tokens_max=2}"];
    let problems = |name: &str, order: &str| -> Vec<String> {
        let run = world.run(name, &[settings.as_slice(), &[order]].concat());
        rollouts(&run).concat().iter().filter(|row| row.rollout == 0).map(|row| row.problem.clone()).collect()
    };
    let in_file: Vec<String> = (0..40).map(|index| format!("walk-{index}")).collect();
    assert_eq!(problems("file", "problems.order=file"), [in_file.as_slice(), &in_file].concat());
    let shuffled = problems("shuffled", "problems.order=shuffled");
    let (first, second) = shuffled.split_at(40);
    assert_ne!(first, second, "each epoch has an order of its own");
    for epoch in [first, second] {
        assert_ne!(epoch, in_file);
        let mut sorted = epoch.to_vec();
        sorted.sort_by_key(|id| id.rsplit('-').next().unwrap().parse::<u32>().unwrap());
        assert_eq!(sorted, in_file);
    }
}

#[test]
fn whoever_watches_is_told_of_every_completion_evaluation_and_checkpoint() {
    let world = World::new();
    let mut trainer = world.start("run", &["checkpoint.every_steps=2"]).unwrap();
    let told = RefCell::new(Vec::new());
    let mut watch = |event: Event<'_>| {
        let mut told = told.borrow_mut();
        match event {
            Event::StepBegan { step, completions } => told.push(format!("step {step} of {completions}")),
            Event::EvaluationBegan { completions } => told.push(format!("evaluation of {completions}")),
            Event::CompletionEnded { tokens } => {
                assert!((1..=40).contains(&tokens));
                match told.last_mut().filter(|last| last.ends_with('.')) {
                    Some(last) => last.push('.'),
                    None => told.push(".".into()),
                }
            }
            Event::StepEnded(metrics) => told.push(format!("step {} ended", metrics.step)),
            Event::EvaluationEnded(summary) => told.push(format!("evaluated after {}", summary.step)),
            Event::CheckpointWritten(path) => told.push(checkpoint_name(path)),
            Event::FaultSettled(fault) => panic!("{fault:?}"),
            Event::Warned(warning) => panic!("{warning:?}"),
        }
    };
    trainer.run(&mut Surroundings { clock: &|| 0.0, interrupted: &|| false, watch: &mut watch }).unwrap();
    let evaluation = |step: u64| ["evaluation of 16".to_owned(), ".".repeat(16), format!("evaluated after {step}")];
    let step = |step: u64| [format!("step {step} of 36"), ".".repeat(36), format!("step {step} ended")];
    let mut expected = [evaluation(0), step(0), step(1), evaluation(2)].concat();
    expected.push("step-000002".into());
    expected.extend([step(2), evaluation(3)].concat());
    expected.push("step-000003".into());
    assert_eq!(told.into_inner(), expected);
}

fn checkpoint_name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}
