//! Runs that are killed at random moments: whatever is left, the run goes on and ends with the same bytes.

#![expect(clippy::print_stdout, reason = "how many kills a search came to is its figure")]

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use rl::random::{Purpose, Stream};

use crate::scratch::Scratch;

/// Five steps, each with an evaluation and a checkpoint, so that every kind of write is often under way.
const SET: [&str; 4] = ["--set", "train.steps=5", "--set", "checkpoint={every_steps=1,keep_last=2}"];

/// Moments tried: few in the tests of every day, 100 under `BREVITY_RELIABILITY=long`.
fn moments() -> usize {
    if std::env::var("BREVITY_RELIABILITY").is_ok_and(|form| form == "long") { 100 } else { 4 }
}

/// `brevity train` in the directory `out`: a new run, or the one that is there.
fn train(scratch: &Scratch, out: &str) -> Child {
    let mut arguments = [&["--quiet", "train", "config.toml", "--out", out][..], &SET].concat();
    if scratch.path(out).join("run.json").exists() {
        arguments.push("--resume");
    }
    let mut command = scratch.command(&arguments);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn finish(scratch: &Scratch, out: &str) {
    let output = train(scratch, out).wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{out}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Every file of a run by name; of metrics and header what does not tell the time.
fn timeless(root: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("a file of the run").display().to_string();
            let bytes = fs::read(&path).expect("a file");
            files.push((
                name.clone(),
                if ["metrics.jsonl", "run.json"].contains(&&*name) { without_times(&bytes) } else { bytes },
            ));
        }
    }
    files.sort();
    files
}

fn without_times(bytes: &[u8]) -> Vec<u8> {
    let rows = serde_json::Deserializer::from_slice(bytes).into_iter::<serde_json::Map<String, serde_json::Value>>();
    let timeless = rows.map(|row| {
        let mut row = row.expect("a JSON object");
        for field in ["seconds", "sample_tokens_per_second", "update_tokens_per_second", "started_unix_seconds"] {
            row.remove(field);
        }
        row
    });
    record::write::json_lines(&timeless.collect::<Vec<_>>())
}

/// Fails at the first file in which two runs differ.
pub(crate) fn assert_same_runs(ours: &Path, theirs: &Path, what: &str) {
    let [ours, theirs] = [ours, theirs].map(timeless);
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs), "{what}");
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        assert!(ours == theirs, "{what}: {name} differs");
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_and_ends_with_the_same_bytes() {
    let scratch = Scratch::new();
    #[expect(clippy::disallowed_methods, reason = "the time of a whole run says when to kill the next ones")]
    let began = Instant::now();
    finish(&scratch, "whole");
    let whole = began.elapsed();
    let mut stream = Stream::new(0, Purpose::Selection, [0; 3]);
    let mut killed = 0;
    let mut attempts = 0;
    while killed < moments() {
        let out = format!("killed-{attempts}");
        attempts += 1;
        assert!(attempts < 20 * moments(), "{killed} of {attempts} runs were killed before they ended");
        let killed_before = killed;
        // One run in three is killed again after it went on.
        for _ in 0..=usize::from(stream.below(3) == 0) {
            let mut child = train(&scratch, &out);
            std::thread::sleep(whole.mul_f64(stream.uniform()).max(Duration::from_millis(1)));
            let ended = child.try_wait().expect("the program's state").is_some();
            child.kill().expect("the program is killed");
            let output = child.wait_with_output().expect("the program ends");
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(said.is_empty(), "{out}: {said}");
            killed += usize::from(!ended);
        }
        if killed > killed_before {
            finish(&scratch, &out);
            assert_same_runs(&scratch.path("whole"), &scratch.path(&out), &out);
        }
        fs::remove_dir_all(scratch.path(&out)).expect("the run is removed");
    }
    println!("{killed} kills in {attempts} runs, each of which ended with the bytes of the run that was not killed");
}
