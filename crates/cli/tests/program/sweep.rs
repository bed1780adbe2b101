//! Sweeps of a tiny model: every run there, interrupted and gone on with, finished runs kept, failed ones named.

use std::process::Stdio;

use crate::scratch::{Ran, Scratch};

/// Two arms under two seeds, each seed with problems of its own.
const SWEEP: &str = r#"
base = "base.toml"
seeds = [1, 2]

[[arms]]
name = "grpo"
set.train.shaping.grpo = {}

[[arms]]
name = "half"
set.train.shaping.top-lambda.lambda = 0.5
"#;

const RUNS: [&str; 4] = ["grpo-seed1", "grpo-seed2", "half-seed1", "half-seed2"];

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("sweep.toml", SWEEP.as_bytes());
    let base = scratch.read("config.toml").replace("train.jsonl", "train-{seed}.jsonl");
    scratch.write("base.toml", base.as_bytes());
    for seed in [1, 2] {
        scratch.write(&format!("train-{seed}.jsonl"), scratch.read("train.jsonl").as_bytes());
    }
    scratch
}

fn weights(scratch: &Scratch, run: &str) -> Vec<u8> {
    std::fs::read(scratch.path(run).join("model/model.safetensors")).expect("the run left a model")
}

#[test]
fn a_sweep_runs_every_arm_under_every_seed_and_draws_the_report() {
    let scratch = scratch();
    let ran = scratch.succeed(&["sweep", "sweep.toml"]);
    for part in [
        "arms       grpo, half\n",
        "runs       2 arms × 2 seeds, 1 at a time\n",
        "directory  sweeps/sweep\n",
        "100 %: half, seed 2, step 2 of 2: accuracy ",
    ] {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    for part in [
        "arm   seeds  steps",
        "completion tokens  collapsed\n",
        "\ngrpo ",
        "\nhalf ",
        "  0 of 2\n",
        "\nsweeps/sweep/report.html\n",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    for run in RUNS {
        assert_eq!(scratch.read(&format!("sweeps/sweep/{run}/metrics.jsonl")).lines().count(), 2, "{run}");
    }
    let config = scratch.read("sweeps/sweep/half-seed2/config.toml");
    for part in ["arm = \"half\"", "seed = 2", "path = \"train-2.jsonl\"", "lambda = 0.5"] {
        assert!(config.contains(part), "{part} is not in\n{config}");
    }
    assert!(scratch.read("sweeps/sweep/grpo-seed1/config.toml").contains("[train.shaping.grpo]"));

    // The same run by itself, and two runs at a time: the same bytes.
    scratch.succeed(&["--quiet", "train", "sweeps/sweep/half-seed2/config.toml", "--out", "alone"]);
    assert!(weights(&scratch, "alone") == weights(&scratch, "sweeps/sweep/half-seed2"));
    scratch.succeed(&["--quiet", "sweep", "sweep.toml", "--jobs", "2", "--out", "two"]);
    for run in RUNS {
        assert!(weights(&scratch, &format!("two/{run}")) == weights(&scratch, &format!("sweeps/sweep/{run}")), "{run}");
    }

    let again = scratch.succeed(&["sweep", "sweep.toml"]);
    assert!(again.stderr.contains("there      4 finished, 0 to go on with\n"), "{}", again.stderr);
    assert_eq!(again.stdout, ran.stdout);
}

#[test]
fn a_sweep_is_checked_before_anything_runs() {
    let scratch = scratch();
    let ran = scratch.succeed(&["sweep", "sweep.toml", "--check", "--set", "train.steps=7"]);
    assert_eq!(ran.stdout, RUNS.map(|run| format!("{run}  7 steps to do\n")).concat());
    assert!(!scratch.path("sweeps").exists());

    let sweep = |from: &str, to: &str| scratch.write("bad.toml", SWEEP.replace(from, to).as_bytes());
    let refuse = |said: &[&str]| scratch.refuse(&["sweep", "bad.toml"], 1, said);
    sweep("seeds = [1, 2]", "seeds = [1, 1]");
    refuse(&["error: bad.toml: `seeds` holds 1 twice\n", "hint: leave one out"]);
    sweep("\"half\"", "\"grpo\"");
    refuse(&["two arms have the name \"grpo\"\n"]);
    sweep("\"half\"", "\"a/b\"");
    refuse(&["the arm name \"a/b\" is no file name\n"]);
    sweep("lambda = 0.5", "lambda = 1.5");
    refuse(&["error: bad.toml: arm half: `train.shaping.top-lambda.lambda` is 1.5"]);
    sweep("set.train.shaping.top-lambda.lambda = 0.5", "set.seed = 5");
    refuse(&["error: bad.toml: arm half: `seed` is given by the sweep's `seeds`\n", "hint: leave it out"]);
    let named = ["sweep", "sweep.toml", "--set", "arm=foo"];
    scratch.refuse(
        &named,
        1,
        &["base.toml: `arm` is given by the sweep's names of arms\n", "hint: leave it out, or change sweep.toml"],
    );
    sweep(".lambda = 0.5", ".lamda = 0.5");
    refuse(&["error: bad.toml: arm half: setting `train.shaping.top-lambda.lamda`: unknown field `lamda`"]);
    scratch.write("other.toml", scratch.read("base.toml").replace("steps = 2", "steps = -2").as_bytes());
    sweep("base.toml", "other.toml");
    refuse(&["error: other.toml: setting `train.steps`: invalid value: integer `-2`"]);
    sweep("base.toml", "nowhere.toml");
    refuse(&["cannot read nowhere.toml\n"]);
}

#[test]
fn a_run_of_another_config_is_refused_by_name() {
    let scratch = scratch();
    scratch.succeed(&["--quiet", "sweep", "sweep.toml", "--out", "out"]);
    let longer = ["sweep", "sweep.toml", "--out", "out", "--set", "train.steps=3"];
    let said = "error: out/grpo-seed1: the run there has `train.steps = 2` where `train.steps = 3` is asked for\n";
    scratch.refuse(&longer, 1, &[said, "hint: choose another directory with --out"]);
    scratch.write("other/half-seed1/notes.txt", b"mine");
    let other = ["sweep", "sweep.toml", "--out", "other"];
    scratch.refuse(&other, 1, &["error: other/half-seed1: holds files and no run\n", "hint: move them away"]);
}

#[test]
fn no_run_is_made_beside_finished_ones_that_began_with_other_files() {
    let scratch = scratch();
    let one = SWEEP.split("[[arms]]").take(2).collect::<Vec<_>>().join("[[arms]]");
    scratch.write("sweep.toml", one.as_bytes());
    scratch.succeed(&["--quiet", "sweep", "sweep.toml"]);
    let problems = scratch.read("train-2.jsonl");
    scratch.write("train-2.jsonl", format!("{problems}\n").as_bytes());
    // With nothing to make they stand beside nothing.
    scratch.succeed(&["--quiet", "sweep", "sweep.toml"]);
    scratch.write("sweep.toml", SWEEP.as_bytes());
    let said = ["train-2.jsonl", "when the finished run in sweeps/sweep/grpo-seed2 began"];
    scratch.refuse(&["sweep", "sweep.toml"], 1, &said);
    assert!(!scratch.path("sweeps/sweep/half-seed1").exists());
    scratch.write("train-2.jsonl", problems.as_bytes());
    scratch.succeed(&["--quiet", "sweep", "sweep.toml"]);
}

#[test]
fn a_failed_run_is_named_and_the_others_go_on() {
    let scratch = scratch();
    std::fs::remove_file(scratch.path("train-2.jsonl")).unwrap();
    let ran = scratch.run(&["sweep", "sweep.toml", "--out", "out"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    for part in [
        "grpo, seed 2 failed: cannot read the file train-2.jsonl: No such file",
        "error: 2 of 4 runs failed: grpo, seed 2; half, seed 2\n",
        "hint: mend the cause and run the same command again\n",
    ] {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    assert!(ran.stdout.contains("\nhalf      1      2 "), "{}", ran.stdout);
    assert!(scratch.path("out/half-seed1/model/model.safetensors").is_file());

    scratch.write("train-2.jsonl", scratch.read("train.jsonl").as_bytes());
    let mended = scratch.succeed(&["sweep", "sweep.toml", "--out", "out"]);
    assert!(mended.stderr.contains("there      2 finished, 0 to go on with\n"), "{}", mended.stderr);
}

#[cfg(unix)]
#[test]
fn an_interrupted_sweep_goes_on_and_ends_as_if_it_had_not_stopped() {
    let scratch = scratch();
    let set = ["--set", "train.steps=40", "--set", "evaluation.every_steps=1000"];
    let sweep = [&["sweep", "sweep.toml", "--out", "out", "--jobs", "2"][..], &set].concat();
    let mut child = scratch.command(&sweep).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Both of the first runs are under way when the second has recorded a step.
    while !scratch.path("out/grpo-seed2/metrics.jsonl").exists()
        || !scratch.path("out/grpo-seed1/metrics.jsonl").exists()
    {
        assert_eq!(child.try_wait().unwrap(), None, "the sweep ended before its first steps");
    }
    scratch.refuse(&sweep, 1, &["error: out: program ", " writes to it\n", "hint: wait"]);
    let signalled = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("stopped; the same command goes on\n"), "{}", ran.stderr);
    assert!(!scratch.path("out/half-seed2").exists());

    let standings = scratch.succeed(&[&sweep[..], &["--check"]].concat()).stdout;
    for run in ["grpo-seed1", "grpo-seed2"] {
        let checkpoints = record::write::list(&scratch.path(&format!("out/{run}/checkpoints"))).unwrap();
        let step: u64 = checkpoints.last().unwrap().strip_prefix("step-").unwrap().parse().unwrap();
        assert!(standings.contains(&format!("{run}  {step} of 40 steps done\n")), "{checkpoints:?}: {standings}");
    }
    // As after a crash before its first checkpoint one run begins again.
    let checkpoints = scratch.path("out/grpo-seed2/checkpoints");
    std::fs::remove_dir_all(&checkpoints).unwrap();
    scratch.refuse(
        &sweep,
        1,
        &["error: out/grpo-seed2: has records of ", "hint: put `checkpoints` back, or remove the"],
    );
    record::write::create_directory(&checkpoints).unwrap();
    let resumed = scratch.succeed(&sweep);
    assert!(resumed.stderr.contains("there      0 finished, 2 to go on with\n"), "{}", resumed.stderr);
    scratch.succeed(&[&["--quiet", "sweep", "sweep.toml", "--out", "whole"][..], &set].concat());
    for run in RUNS {
        assert!(weights(&scratch, &format!("out/{run}")) == weights(&scratch, &format!("whole/{run}")), "{run}");
        assert_eq!(
            scratch.read(&format!("out/{run}/evaluations.jsonl")),
            scratch.read(&format!("whole/{run}/evaluations.jsonl"))
        );
    }
}

/// The shares of all work in what was printed, in percent.
fn shares(ran: &Ran) -> Vec<u64> {
    ran.stderr.lines().filter_map(|line| line.split_once(" %: ")?.0.parse().ok()).collect()
}

#[test]
fn skipped_steps_of_a_sweep_are_said_count_as_done_and_keep_no_run_from_its_end() {
    let scratch = scratch();
    // Every gradient is above it.
    let faults = "train.faults={gradient_norm_limit=1e-30,remedy={skip={steps_max=9}}}";
    let sweep = ["sweep", "sweep.toml", "--out", "out", "--set", faults];
    let ran = scratch.succeed(&sweep);
    for part in ["grpo, seed 1, step 1: the gradient norm is ", "; the step is skipped\n"] {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    assert_eq!(shares(&ran).last(), Some(&100), "{}", ran.stderr);
    assert!(!ran.stderr.contains("not finished"), "{}", ran.stderr);
    // Records that are kept alone.
    for part in ["model", "checkpoints"] {
        std::fs::remove_dir_all(scratch.path("out/grpo-seed1").join(part)).unwrap();
    }
    let faults = scratch.read("out/grpo-seed1/faults.jsonl");
    let again = scratch.succeed(&sweep);
    assert!(again.stderr.contains("there      4 finished, 0 to go on with\n"), "{}", again.stderr);
    assert_eq!(scratch.read("out/grpo-seed1/faults.jsonl"), faults);
}

#[test]
fn a_run_that_goes_back_is_said_to_and_one_that_fails_is_taken_out_of_the_progress() {
    let scratch = scratch();
    let faults = "set.train.faults = { gradient_norm_limit = 1e-30, remedy = { return = { times_max = 1 } } }";
    scratch.write("sweep.toml", SWEEP.replace("set.train.shaping.grpo = {}", faults).as_bytes());
    let ran = scratch.run(&["sweep", "sweep.toml", "--out", "out"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    for part in [
        "grpo, seed 2, step ",
        "; the run goes back to its last checkpoint\n",
        "error: 2 of 4 runs failed: grpo, seed 1; grpo, seed 2\n",
    ] {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    assert_eq!(shares(&ran).last(), Some(&100), "{}", ran.stderr);
}

#[test]
fn a_sweep_with_runs_that_the_risk_of_a_collapse_stopped_names_them_and_goes_on_elsewhere_with_a_warning() {
    let scratch = scratch();
    // Whatever the risk is, it is above this.
    let warning = "set.train.warning = { risk_max = 1e-300, action = { stop = {} } }";
    let sweep = SWEEP.replace("set.train.shaping.grpo = {}", warning).replace("[1, 2]", "[1]");
    scratch.write("sweep.toml", sweep.as_bytes());
    let set = ["--set", "train.steps=8", "--set", "checkpoint.every_steps=1"];
    let sweep = [&["sweep", "sweep.toml", "--out", "out"][..], &set].concat();
    let ran = scratch.run(&sweep);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    let names = "warning: 1 of 2 runs stopped because of the risk of a collapse: grpo, seed 1\n";
    for part in [names, "the same command goes on with them all the same\n"] {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    assert_eq!(shares(&ran).last(), Some(&100), "{}", ran.stderr);

    let kept = record::write::list(&scratch.path("out/grpo-seed1/checkpoints")).unwrap();
    let tensors = format!("out/grpo-seed1/checkpoints/{}/model.safetensors", kept.last().unwrap());
    let bytes = std::fs::read(scratch.path(&tensors)).unwrap();
    scratch.write(&tensors, &bytes[1..]);
    let damaged = scratch.run(&sweep);
    let advice = "run `brevity train --resume out/grpo-seed1 --fallback` to go on from the checkpoint before it\n";
    assert!(damaged.code == Some(1) && damaged.stderr.contains(advice), "{}", damaged.stderr);
    scratch.write(&tensors, &bytes);

    scratch.change_header("out/grpo-seed1", "brevity_version", "0.0.1");
    let ran = scratch.succeed(&sweep);
    let said = "warning: grpo, seed 1: the run began with version of brevity 0.0.1 and goes on with ";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
}
