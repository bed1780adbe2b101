//! What a user names as output: nothing of theirs is replaced, and two programs do not write one thing.

use std::{fs, process::Command};

use record::RunLock;

use crate::scratch::Scratch;

const EVAL: [&str; 7] =
    ["eval", "--model", "model", "--benchmark", "held-out.jsonl", "--template=plain", "--instruction="];
const SFT: &str = r#"
model = { path = "model" }
demonstrations = { path = "rows.jsonl" }
prompt = { template = "plain", instruction = "" }
train = { steps = 1, batch_size = 1 }
"#;
const ROWS: &str = "{\"gold\": 7, \"completion\": \"\\\\boxed{7}\"}\n";

#[test]
fn evaluations_tasks_and_fine_tunings_are_refused_where_another_program_writes() {
    let scratch = Scratch::new();
    scratch.write("sft.toml", SFT.as_bytes());
    scratch.write("rows.jsonl", b"{\"prompt\": \"9 +1 :\", \"completion\": \"A 10\"}\n");
    scratch.succeed(&[&EVAL[..], &["--out", "out"]].concat());
    let records = scratch.read("out/records.jsonl");
    // What is complete is shown, whoever may write there.
    let first = RunLock::take(&scratch.path("out")).expect("the lock");
    scratch.succeed(&[&EVAL[..], &["--out", "out", "--resume"]].concat());
    drop(first);
    fs::remove_file(scratch.path("out/summary.json")).expect("a file");
    for new in ["task", "tuned"] {
        fs::create_dir(scratch.path(new)).expect("a directory");
    }
    for (directory, command) in [
        ("out", [&EVAL[..], &["--out", "out", "--overwrite"]].concat()),
        ("out", [&EVAL[..], &["--out", "out", "--resume"]].concat()),
        ("task", vec!["task", "ring", "--seeds", "1,2", "--out", "task"]),
        ("tuned", vec!["sft", "sft.toml", "--out", "tuned"]),
    ] {
        let _first = RunLock::take(&scratch.path(directory)).expect("the lock of the first");
        scratch.refuse(&command, 1, &["writes to it\n", "hint: wait until it has ended, or stop it"]);
    }
    assert_eq!(scratch.read("out/records.jsonl"), records);
    for new in ["task", "tuned"] {
        assert_eq!(fs::read_dir(scratch.path(new)).expect("a directory").count(), 1, "more than the lock");
    }
}

#[test]
fn a_config_of_the_users_own_is_no_start_that_was_cut_short() {
    let scratch = Scratch::new();
    scratch.write("mine/config.toml", b"mine");
    scratch.write("sft.toml", SFT.as_bytes());
    for command in ["train", "sft"] {
        let config = if command == "sft" { "sft.toml" } else { "config.toml" };
        scratch.refuse(&[command, config, "--out", "mine"], 1, &["mine", "is not empty", "choose another directory"]);
    }
    assert_eq!(scratch.read("mine/config.toml"), "mine");
}

#[test]
fn verdicts_do_not_replace_the_rows_they_are_read_from() {
    let scratch = Scratch::new();
    for rows in ["rows.jsonl", "verdicts.jsonl.partial"] {
        scratch.write(rows, ROWS.as_bytes());
    }
    let said = ["`rows.jsonl` holds the rows, which the verdicts would replace", "hint: give --out another file"];
    scratch.refuse(&["verify", "rows.jsonl", "--out", "rows.jsonl"], 1, &said);
    scratch.refuse(&["verify", "./model/../rows.jsonl", "--out", "rows.jsonl"], 1, &said);
    // What is written meanwhile takes no name that something has.
    scratch.succeed(&["verify", "rows.jsonl", "--out", "others.jsonl"]);
    scratch.succeed(&["verify", "verdicts.jsonl.partial", "--out", "verdicts.jsonl"]);
    for rows in ["rows.jsonl", "verdicts.jsonl.partial"] {
        assert_eq!(scratch.read(rows), ROWS);
    }
    assert_eq!(scratch.read("verdicts.jsonl"), scratch.read("others.jsonl"));
}

#[test]
fn an_output_replaces_nothing_but_a_file_of_its_kind() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", ROWS.as_bytes());
    scratch.succeed(&[&EVAL[..], &["--out", "out"]].concat());
    scratch.succeed(&["--quiet", "train", "config.toml", "--out", "run"]);
    let made = Command::new("mkfifo").arg(scratch.path("pipe")).status().expect("mkfifo");
    assert!(made.success());
    let commands = [
        vec!["verify", "rows.jsonl", "--out"],
        vec!["report", "run", "--out"],
        vec!["eval", "page", "out", "--out"],
        vec!["warning", "fit", "run", "--out"],
    ];
    for command in &commands {
        scratch.refuse(
            &[&command[..], &["pipe"]].concat(),
            1,
            &["pipe", "is a device or a pipe", "hint: give the path"],
        );
        scratch.refuse(&[&command[..], &["model"]].concat(), 1, &["model", "is a directory", "hint: give a file name"]);
    }
    let config = scratch.read("run/config.toml");
    let said = ["`run/config.toml` is there already and holds no ", "hint: give --out another file"];
    for command in &commands {
        scratch.refuse(&[&command[..], &["run/config.toml"]].concat(), 1, &said);
    }
    let evaluate = [&EVAL[..], &["--out", "run", "--overwrite"]].concat();
    scratch.refuse(&evaluate, 1, &["run holds files and no evaluation", "choose another directory with --out"]);
    assert_eq!(scratch.read("run/config.toml"), config);
    // A page is replaced by a page, verdicts by verdicts, and a file that holds nothing by all.
    for page in ["pages/a.html", "pages/a.html"] {
        scratch.succeed(&["report", "run", "--out", page]);
        scratch.succeed(&["eval", "page", "out", "--out", page]);
    }
    scratch.write("verdicts.jsonl", b"");
    for _ in 0..2 {
        scratch.succeed(&["verify", "rows.jsonl", "--out", "verdicts.jsonl"]);
    }
    assert_eq!(fs::read_dir(scratch.path("pages")).expect("a directory").count(), 1, "something else was left");
}
