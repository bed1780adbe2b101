//! The program as a user runs it: train, go on, evaluate, sample and report on a tiny model.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
};

use crate::scratch::{Ran, Scratch};

const EVAL: [&str; 11] = [
    "eval",
    "--model",
    "model",
    "--benchmark",
    "held-out.jsonl",
    "--template",
    "plain",
    "--instruction",
    "",
    "--extraction",
    "marker:A",
];

#[test]
fn a_config_is_checked_without_its_files() {
    let scratch = Scratch::new();
    let set = ["--set", "model.path=nowhere", "--set", "problems.path=nothing.jsonl"];
    let ran = scratch.succeed(&[&["train", "config.toml", "--check", "--seed", "3"][..], &set].concat());
    let expected = "config.toml: OK (arm top-lambda, seed 3, 2 steps of 2 problems × 16 completions)\n";
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (expected, ""));
}

#[test]
fn training_leaves_a_run_directory_and_says_where() {
    let scratch = Scratch::new();
    let ran = scratch.succeed(&["train", "config.toml"]);
    let said = [
        "run",
        "policy",
        "machine",
        "memory     about 0.",
        "directory",
        "after 0 steps: held-out",
        "1/2 steps: accuracy ",
        "2/2 steps",
    ];
    for part in said {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
    let root = "runs/top-lambda-seed0";
    for part in [
        "held-out (4 problems)",
        "completion tokens",
        &format!("model   {root}/model\n"),
        &format!("brevity report {root} -o {root}.html\n"),
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    assert_eq!(scratch.read(&format!("{root}/metrics.jsonl")).lines().count(), 2);
    assert!(scratch.path(&format!("{root}/model/tokenizer.json")).is_file());

    scratch.refuse(
        &["train", "config.toml"],
        1,
        &["error: runs/top-lambda-seed0: is not empty\n", "hint: pass --resume to continue the run in it, or choose"],
    );
}

#[test]
fn a_quiet_run_prints_results_alone() {
    let scratch = Scratch::new();
    let ran = scratch.succeed(&["--quiet", "train", "config.toml", "--out", "run"]);
    assert_eq!(ran.stderr, "");
    assert!(ran.stdout.contains("accuracy"), "{}", ran.stdout);
}

#[test]
fn a_finished_run_that_is_resumed_stays_as_it_is() {
    let scratch = Scratch::new();
    scratch.succeed(&["train", "config.toml", "--out", "run"]);
    let files =
        || ["metrics.jsonl", "evaluations.jsonl", "config.toml"].map(|file| scratch.read(&format!("run/{file}")));
    let before = files();
    let ran = scratch.succeed(&["train", "--resume", "run"]);
    assert!(ran.stderr.contains("resumed    after 2 steps\n"), "{}", ran.stderr);
    assert_eq!(files(), before);
}

/// Sends a signal to a program.
#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let signalled = std::process::Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(signalled.expect("kill starts").success());
}

/// The run that `start` begins in the directory `run`, sent a signal when it has recorded a step.
#[cfg(unix)]
fn stopped_by(scratch: &Scratch, start: &[&str], name: &str) {
    let mut child = scratch.command(start).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a run");
    while !scratch.path("run/metrics.jsonl").exists() {
        assert_eq!(child.try_wait().expect("its state"), None, "the run ended before its first step");
    }
    signal(&child, name);
    let ran = Ran::from(child.wait_with_output().expect("the program ends"));
    assert_eq!(ran.code, Some(130), "{name}: {}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "brevity train --resume run\n", "{name}");
    assert!(ran.stderr.contains("press Ctrl-C again to end at once"), "{name}: {}", ran.stderr);
    assert!(ran.stderr.contains("of 60 steps; go on with\n"), "{name}: {}", ran.stderr);
}

#[cfg(unix)]
#[test]
fn a_stopped_run_says_how_to_go_on_and_ends_as_if_it_had_not_stopped() {
    let scratch = Scratch::new();
    let set = ["--set", "train.steps=60", "--set", "evaluation.every_steps=1000"];
    let start = [&["train", "config.toml", "--out", "run"][..], &set].concat();
    stopped_by(&scratch, &start, "INT");

    let other = scratch.run(&["train", "config.toml", "--out", "run", "--resume"]);
    assert_eq!(other.code, Some(1));
    for said in
        ["config.toml asks for `evaluation.every_steps = ", "the run in run has `evaluation.every_steps = 1000`\n"]
    {
        assert!(other.stderr.contains(said), "{}", other.stderr);
    }

    let resumed = scratch.succeed(&[&start[..], &["--resume"]].concat());
    assert!(resumed.stderr.contains("resumed"), "{}", resumed.stderr);
    scratch.succeed(&[&["--quiet", "train", "config.toml", "--out", "whole"][..], &set].concat());
    let weights = |model: &str| fs::read(scratch.path(model).join("model.safetensors")).unwrap();
    assert!(weights("run/model") == weights("whole/model"), "the resumed run came to other weights");
    assert!(weights("run/model") != weights("model"), "nothing was trained");
    let last = |run: &str| fs::read(scratch.path(run).join("rollouts/step-000059.jsonl.gz")).unwrap();
    assert!(last("run") == last("whole"), "the resumed run sampled other completions");
}

#[cfg(unix)]
#[test]
fn each_signal_to_end_leaves_a_checkpoint_that_the_run_goes_on_from() {
    for name in ["TERM", "HUP"] {
        let scratch = Scratch::new();
        let set = ["--set", "train.steps=60", "--set", "evaluation.every_steps=1000"];
        let start = [&["train", "config.toml", "--out", "run"][..], &set].concat();
        stopped_by(&scratch, &start, name);
        let resumed = scratch.succeed(&["train", "--resume", "run"]);
        assert!(resumed.stderr.contains("resumed    after "), "{name}: {}", resumed.stderr);
        assert_eq!(scratch.read("run/metrics.jsonl").lines().count(), 60, "{name}");
    }
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_program_in_the_middle_of_a_step() {
    let scratch = Scratch::new();
    // A step of 8,000 completions, which takes many times as long as a signal.
    let start = ["train", "config.toml", "--out", "run", "--set", "rollout.group_size=4000"];
    for names in [["INT", "INT"], ["TERM", "HUP"]] {
        let mut child = scratch.command(&start).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let mut wait_for = |part: &str| assert!(said.any(|line| line.contains(part)), "the run never said {part}");
        wait_for("after 0 steps: held-out");
        signal(&child, names[0]);
        wait_for("press Ctrl-C again to end at once");
        signal(&child, names[1]);
        let ran = child.wait_with_output().unwrap();
        assert_eq!((ran.status.code(), ran.stdout.as_slice()), (Some(130), &[][..]));
        assert!(!scratch.path("run/metrics.jsonl").exists(), "the step has ended");
        fs::remove_dir_all(scratch.path("run")).unwrap();
    }
}

#[test]
fn a_run_that_the_risk_of_a_collapse_stops_ends_with_a_code_of_its_own_and_goes_on_when_it_is_resumed() {
    let scratch = Scratch::new();
    // Whatever the risk is, it is above this.
    let set = ["--set", "train.steps=8", "--set", "train.warning={risk_max=1e-300,action={stop={}}}"];
    let ran = scratch.run(&[&["train", "config.toml", "--out", "run"][..], &set].concat());
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(3), "brevity train --resume run\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("of 8 steps because of the risk of a collapse\n"), "{}", ran.stderr);
    scratch.succeed(&["--quiet", "train", "--resume", "run"]);
    assert_eq!(scratch.read("run/metrics.jsonl").lines().count(), 8);
}

#[test]
fn a_run_that_goes_on_elsewhere_shows_the_machine_that_it_goes_on_with() {
    let scratch = Scratch::new();
    scratch.succeed(&["--quiet", "train", "config.toml", "--out", "run"]);
    scratch.change_header("run", "cpu", "abacus");
    let resumed = scratch.succeed(&["train", "--resume", "run"]).stderr;
    assert!(resumed.contains("the run began with instruction set abacus and goes on with "), "{resumed}");
    let machine = resumed.lines().find(|line| line.starts_with("machine ")).unwrap();
    assert!(machine.starts_with("machine    2 threads, ") && !machine.contains("abacus"), "{resumed}");
}

#[test]
fn the_steps_that_are_shown_as_done_are_those_of_the_run_after_a_skip_and_after_a_return() {
    let scratch = Scratch::new();
    let set = ["--quiet", "train", "config.toml", "--set", "train.steps=4", "--out", "measured"];
    scratch.succeed(&set);
    let steps = |run: &str, field: &str| -> Vec<f64> {
        let metrics = scratch.read(&format!("{run}/metrics.jsonl"));
        let value = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()[field].as_f64().unwrap();
        metrics.lines().map(value).collect()
    };
    let mut norms = steps("measured", "gradient_norm");
    norms.sort_by(f64::total_cmp);
    // One step is above it.
    let limit = norms[2].midpoint(norms[3]);
    for (run, remedy) in [("skipped", "skip={steps_max=4}"), ("returned", "return={times_max=9}")] {
        let faults = format!("train.faults={{gradient_norm_limit={limit:?},remedy={{{remedy}}}}}");
        let ran = scratch.succeed(&["train", "config.toml", "--set", "train.steps=4", "--set", &faults, "--out", run]);
        let mut shown: Vec<u64> =
            ran.stderr.lines().filter_map(|line| line.split_once("/4 steps: ")?.0.parse().ok()).collect();
        shown.sort_unstable();
        shown.dedup();
        let done: Vec<u64> = steps(run, "step").into_iter().map(|step| step as u64 + 1).collect();
        assert_eq!(shown, done, "{run}: {}", ran.stderr);
        assert!(!scratch.read(&format!("{run}/faults.jsonl")).is_empty());
    }
}

#[test]
fn an_evaluation_prints_settings_and_result_and_keeps_every_completion() {
    let scratch = Scratch::new();
    let more = ["--field-id", "id", "--field-level", "level", "--samples", "2", "--seed", "5"];
    let ran = scratch.succeed(&[&EVAL[..], &more].concat());
    for part in [
        "benchmark    held-out, 4 problems\n",
        "samples      2\n",
        "temperature  0.6\n",
        "max-tokens   118\n",
        "extraction   marker:A\n",
        "95 % interval",
        "mean@2\n",
        "pass@2 ",
        "tokens of  completions",
        "token budget  correct within it  cut text correct\n8   ",
        "level  problems  accuracy  completion tokens\n",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    for part in [
        "warning: the model takes 128 tokens, prompt included: completions end after 118 tokens at most instead of 32768\n",
        "evaluating 8/8 completions",
        "warning: 4 problems leave the accuracy open by ",
    ] {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    let directory = "evals/model-held-out-seed5";
    assert_eq!(scratch.read(&format!("{directory}/records.jsonl")).lines().count(), 8);
    let kept = |file: &str| -> serde_json::Value {
        serde_json::from_str(&scratch.read(&format!("{directory}/{file}"))).unwrap()
    };
    assert_eq!((&kept("evaluation.json")["model"], &kept("summary.json")["seed"]), (&"model".into(), &5.into()));

    let page = scratch.read(&format!("{directory}/evaluation.html"));
    assert_eq!(page.matches("data-tokens=").count(), 8);
    let drawn = scratch.succeed(&["eval", "page", directory, "-o", "pages/again.html"]);
    assert_eq!((drawn.stdout.as_str(), scratch.read("pages/again.html") == page), ("pages/again.html\n", true));

    scratch.refuse(&[&EVAL[..], &more].concat(), 1, &["is not empty\n", "hint: choose another directory with --out"]);
    let again = scratch.succeed(&[&EVAL[..], &more, &["--overwrite", "--quiet"]].concat());
    assert_eq!(again.stdout, ran.stdout);
}

#[test]
fn evaluations_are_compared_problem_by_problem() {
    let scratch = Scratch::new();
    let evaluate = |out: &str, more: &[&str]| {
        scratch.succeed(&[&["--quiet"], &EVAL[..], &["--max-tokens", "20", "--out", out], more].concat());
    };
    evaluate("a", &[]);
    evaluate("b", &["--seed", "1"]);
    let ran = scratch.succeed(&["eval", "compare", "a", "b"]);
    for part in [
        "problems   4, one completion each\n",
        "A          a (model)\nB          b (model)\n",
        "95 % interval",
        "\naccuracy, % ",
        "\ncompletion tokens ",
        "\nB has more correct on ",
        "\nB writes ",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    let same = scratch.succeed(&["eval", "compare", "a", "a"]).stdout;
    assert_eq!(same.matches("0.0              –  1.0000\n").count(), 2, "{same}");

    evaluate("c", &["--temperature", "1"]);
    let refused = "cause: they differ in `temperature`: 0.6 in A, 1 in B\n";
    scratch.refuse(&["eval", "compare", "a", "c"], 1, &["error: the evaluations cannot be compared\n", refused]);
    evaluate("d", &["--limit", "3"]);
    scratch.refuse(&["eval", "compare", "a", "d"], 1, &["measured in A, not measured in B\n"]);
    fs::remove_file(scratch.path("d/summary.json")).unwrap();
    scratch.refuse(&["eval", "compare", "d", "a"], 1, &["the evaluation did not end", "hint: run it to its end first"]);
    scratch.refuse(&["eval", "compare", "model", "a"], 1, &["holds no evaluation.json", "hint: give a directory"]);
}

#[test]
fn problems_that_cannot_be_measured_are_named_and_counted() {
    let scratch = Scratch::new();
    let rows = "{\"question\": \"7 +3 :\", \"answer\": 10}\nnonsense\n{\"question\": \"7 +2 :\"}\n\
                {\"question\": \"7 +1 :\", \"answer\": \"\\\\boxed{\"}\n";
    scratch.write("mixed.jsonl", rows.as_bytes());
    let eval = [&EVAL[..4], &["mixed.jsonl"], &EVAL[5..], &["--max-tokens", "20", "--out", "out"]].concat();
    let ran = scratch.succeed(&eval);
    assert!(ran.stdout.contains("problems           1 (3 left out)\n"), "{}", ran.stdout);
    for part in [
        "warning: 3 of 4 problems of mixed.jsonl cannot be measured and count nowhere\n",
        "warning: row 2: not a JSON object",
        "warning: row 3: field `answer` is missing",
        "warning: problem 4: gold answer of 7 bytes has a `\\boxed` without closed braces",
    ] {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    let header: serde_json::Value = serde_json::from_str(&scratch.read("out/evaluation.json")).unwrap();
    assert_eq!((header["problems"].as_u64(), header["problems_left_out"].as_array().unwrap().len()), (Some(1), 3));
    assert!(scratch.read("out/evaluation.html").contains("<h2>Left out</h2>"));

    let refuse = [&eval[..], &["--overwrite", "--unusable", "refuse"]].concat();
    scratch.refuse(&refuse, 1, &["3 of 4 problems of mixed.jsonl cannot be measured; row 2: not a JSON object"]);
}

#[test]
fn benchmarks_that_are_not_there_say_where_to_get_them() {
    let scratch = Scratch::new();
    let eval = |benchmark| ["eval", "--model", "model", "--benchmark", benchmark, "--template", "plain"];
    let gsm8k = "benchmark `gsm8k` is main/test-00000-of-00001.parquet of the data set openai/gsm8k, which is not in the cache ";
    scratch.refuse(&eval("gsm8k"), 1, &[gsm8k, "hint: pass --data with its file or the directory that holds it"]);
    let gpqa = ["agree to its terms at https://huggingface.co/datasets/Idavidrein/gpqa", "--data gpqa_diamond.csv"];
    scratch.refuse(&eval("gpqa-diamond"), 1, &gpqa);
    let missing = [&eval("math500")[..], &["--data", "model"]].concat();
    scratch.refuse(
        &missing,
        1,
        &["does not hold `math500/test.jsonl` or `math500/test.parquet`", "hint: put the file"],
    );
    scratch.refuse(&["eval", "--model", "model"], 2, &["--benchmark <NAME|FILE>"]);
}

#[test]
fn completions_are_written_with_a_heading_each_and_repeat_under_one_seed() {
    let scratch = Scratch::new();
    let sample = ["sample", "--model", "model", "--plain", "--max-tokens", "12", "7 +3 +4 . . . . . . :"];
    let one = scratch.succeed(&sample);
    assert!(!one.stdout.contains("==") && one.stdout.ends_with('\n'), "{}", one.stdout);
    let three = scratch.succeed(&[&sample[..], &["-n", "3", "--special"]].concat());
    for heading in ["== completion 1 of 3\n", "== completion 3 of 3\n"] {
        assert!(three.stdout.contains(heading), "{}", three.stdout);
    }
    assert_eq!(three.stdout, scratch.succeed(&[&sample[..], &["-n", "3", "--special"]].concat()).stdout);
    assert!(three.stdout.contains(one.stdout.trim()), "{} has not {}", three.stdout, one.stdout);
}

#[test]
fn a_reader_that_stops_reading_ends_the_program_quietly() {
    let scratch = Scratch::new();
    let sample = ["--quiet", "sample", "--model", "model", "--plain", "-n", "200", "7"];
    let mut child = scratch.command(&sample).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
}

#[test]
fn a_report_draws_the_runs_in_a_directory_and_prints_their_arms() {
    let scratch = Scratch::new();
    for (out, arm) in [("runs/a", "arm=first"), ("runs/b", "arm=second")] {
        scratch.succeed(&["--quiet", "train", "config.toml", "--out", out, "--set", arm]);
    }
    let ran = scratch.succeed(&["report", "runs", "-o", "pages/report.html", "--title", "Two <arms>"]);
    for part in ["first ", "second ", "completion tokens", "pages/report.html\n"] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    assert!(scratch.read("pages/report.html").contains("<h1>Two &lt;arms&gt;</h1>"));
}

#[test]
fn the_version_names_the_instruction_set() {
    let ran = Scratch::new().succeed(&["--version"]);
    assert!(ran.stdout.starts_with("brevity 0.") && ran.stdout.contains("kernels on this CPU: "), "{}", ran.stdout);
}

#[test]
fn supervised_fine_tuning_learns_its_demonstrations_and_leaves_a_model() {
    let scratch = Scratch::new();
    let config = r#"
threads = 1

[model]
path = "model"

[demonstrations]
path = "demonstrations.jsonl"

[prompt]
template = "plain"
instruction = ""

[train]
steps = 100
batch_size = 2
optimizer = { learning_rate = 3e-3 }
"#;
    scratch.write("sft.toml", config.as_bytes());
    let rows = "{\"prompt\": \"9 +1 :\", \"completion\": \"<q> a 10 A 10\"}\n{\"prompt\": \"2 +3 :\", \"completion\": \"<c> a 5 10 A 10\"}\n";
    scratch.write("demonstrations.jsonl", rows.as_bytes());
    let ran = scratch.succeed(&["sft", "sft.toml", "--out", "tuned"]);
    for said in ["seed 0, 100 steps of 2 out of 2 demonstrations\n", "\nmemory       about ", " million parameters\n"] {
        assert!(ran.stderr.contains(said), "{said} is missing in {}", ran.stderr);
    }
    assert!(ran.stdout.contains("model  tuned/model\n"), "{}", ran.stdout);
    assert_eq!(scratch.read("tuned/sft.jsonl").lines().count(), 100);
    let greedy = ["sample", "--model", "tuned/model", "--plain", "--temperature", "0", "--max-tokens", "9"];
    let ran = scratch.succeed(&[&greedy[..], &["9 +1 :"]].concat());
    assert_eq!(ran.stdout.trim(), "<q> a 10 A 10");

    scratch.refuse(&["sft", "sft.toml", "--out", "tuned"], 1, &["holds an earlier fine-tuning", "choose another"]);
    for taken in ["model", "."] {
        scratch.refuse(&["sft", "sft.toml", "--out", taken], 1, &["is not empty", "choose another"]);
    }
    scratch.write("demonstrations.jsonl", b"{\"prompt\": \"9 +7 :\", \"completion\": \"A 1\"}\n");
    scratch.refuse(&["sft", "sft.toml", "--out", "other"], 1, &["cannot encode \"9 +7 :\""]);
}

#[test]
fn the_demo_refuses_a_directory_that_holds_files() {
    let scratch = Scratch::new();
    scratch.refuse(&["demo", "--out", "model"], 1, &["error: model: is not empty\n", "hint: choose another directory"]);
}

#[test]
fn a_start_of_a_task_that_was_killed_before_its_first_step_begins_again() {
    let scratch = Scratch::new();
    let task = ["--quiet", "task", "ring", "--out", "ring", "--seeds", "0"];
    let until = |file: &str| {
        let mut program = scratch.command(&task).spawn().expect("the program starts");
        while !scratch.path(file).exists() {
            assert!(program.try_wait().expect("its state").is_none(), "it ended without {file}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        program.kill().expect("it is killed");
        program.wait().expect("it ends");
    };
    until("ring/start-seed0/config.toml");
    let log = scratch.path("ring/start-seed0/sft.jsonl");
    record::write::remove(&log).expect("a log of a step that came before the kill");
    until("ring/start-seed0/sft.jsonl");
}

#[test]
fn tasks_are_listed_and_one_that_is_not_there_or_a_range_without_seeds_is_refused() {
    let scratch = Scratch::new();
    let ran = scratch.succeed(&["task", "list"]);
    for line in ["ring: the final square of a walk", "  the shortcut is wrong on  4.4 %, 13.2 %, 21.2 %, 28.5 %\n"] {
        assert!(ran.stdout.contains(line), "{line}\nis not in\n{}", ran.stdout);
    }
    scratch.refuse(&["task", "rings"], 2, &["'rings'", "there is no such task; choose one of ring, sum, hex, chain"]);
    scratch.refuse(&["task", "ring", "--seeds", "3..1"], 2, &["give a range such as `1..10`"]);
}
