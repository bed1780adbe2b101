//! Runs that are killed at random moments: whatever is left, the run goes on and ends with the same bytes.

#![expect(clippy::print_stdout, reason = "how many kills a search came to is its figure")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rl::random::{Purpose, Stream};

use crate::scratch::Scratch;

/// Five steps, each with an evaluation and a checkpoint, so that every kind of write is often under way.
const SET: [&str; 4] = ["--set", "train.steps=5", "--set", "checkpoint={every_steps=1,keep_last=2}"];

/// Moments tried: few in the tests of every day, 100 under `BREVITY_RELIABILITY=long`.
fn moments() -> usize {
    if is_long() { 100 } else { 4 }
}

fn is_long() -> bool {
    std::env::var("BREVITY_RELIABILITY").is_ok_and(|form| form == "long")
}

/// `brevity train` in the directory `out`: a new run, or the one that is there.
fn train(scratch: &Scratch, out: &str) -> Child {
    let mut command = command(scratch, out, &SET);
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn command(scratch: &Scratch, out: &str, set: &[&str]) -> Command {
    let mut arguments = [&["--quiet", "train", "config.toml", "--out", out], set].concat();
    if scratch.path(out).join("run.json").exists() {
        arguments.push("--resume");
    }
    scratch.command(&arguments)
}

fn finish(scratch: &Scratch, out: &str) {
    let output = train(scratch, out).wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{out}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Every file below `root` by name; of metrics and headers what does not tell the time, of reports
/// and locks nothing.
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
            let kept = match path.file_name().and_then(|file| file.to_str()) {
                Some("evaluation.json" | "metrics.jsonl" | "run.json") => without_times(&bytes),
                // A report names its directory and shows times; a lock names the last owner where that was killed.
                Some("lock" | "report.html") => Vec::new(),
                _ => bytes,
            };
            files.push((name, kept));
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

/// Kills what `command` starts in a directory of a name, before each change of a file or before some of them, lets it go
/// on to its end, and compares what it leaves in that directory with what it leaves there when it is not killed.
///
/// `going_on` is about how many changes it makes before it computes again.
#[cfg(target_os = "linux")]
fn kill_before_changes(scratch: &Scratch, going_on: usize, command: impl Fn(&str) -> Command) {
    use std::os::unix::process::ExitStatusExt;

    use crate::traced;

    let whole = traced::run(&command("whole"), None);
    assert!(whole.status.success(), "{}", whole.status);
    let mut stream = Stream::new(1, Purpose::Selection, [0; 3]);
    let fatal: Vec<usize> =
        if is_long() { (0..whole.calls).collect() } else { (0..8).map(|_| stream.below(whole.calls)).collect() };
    let mut again = 0;
    for &fatal in &fatal {
        let out = format!("killed-{fatal}");
        let killed = traced::run(&command(&out), Some(fatal));
        assert_eq!(killed.status.signal(), Some(9), "{out}");
        // One in three is killed again while it finds out where it stood.
        if stream.below(3) == 0 {
            let killed = traced::run(&command(&out), Some(stream.below(going_on)));
            again += usize::from(killed.status.signal() == Some(9));
        }
        let ended = command(&out).output().expect("the program ends");
        assert!(ended.status.success(), "{out}: {}", String::from_utf8_lossy(&ended.stderr));
        assert_same_runs(&scratch.path("whole"), &scratch.path(&out), &out);
        fs::remove_dir_all(scratch.path(&out)).expect("the directory is removed");
    }
    println!(
        "killed before {} of {} changes, {again} times again while going on; all ended with the bytes of the one that was \
         not killed",
        fatal.len(),
        whole.calls
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_that_is_killed_before_any_change_of_a_file_goes_on_and_ends_with_the_same_bytes() {
    let scratch = Scratch::new();
    kill_before_changes(&scratch, 24, |out| command(&scratch, out, &SET));
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_with_faults_that_is_killed_before_any_change_of_a_file_goes_on_and_ends_with_the_same_bytes() {
    let scratch = Scratch::new();
    let set = ["--set", "train.steps=4", "--set", "checkpoint={every_steps=2,keep_last=1}"];
    assert!(command(&scratch, "measured", &set).output().expect("the program starts").status.success());
    let metrics = scratch.read("measured/metrics.jsonl");
    let norm = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["gradient_norm"].as_f64();
    let mut norms: Vec<f64> = metrics.lines().map(|line| norm(line).expect("a number")).collect();
    norms.sort_by(f64::total_cmp);
    // One step is above it.
    let limit = norms[2].midpoint(norms[3]);
    for remedy in ["return={times_max=9}", "skip={steps_max=4}"] {
        let faults = format!("train.faults={{gradient_norm_limit={limit:?},remedy={{{remedy}}}}}");
        let set = [&set[..], &["--set", &faults]].concat();
        kill_before_changes(&scratch, 24, |out| command(&scratch, out, &set));
        assert!(!scratch.read("whole/faults.jsonl").is_empty(), "{remedy}");
        fs::remove_dir_all(scratch.path("whole")).expect("the run is removed");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_evaluation_that_is_killed_before_any_change_of_a_file_goes_on_and_ends_with_the_same_bytes() {
    let scratch = Scratch::new();
    kill_before_changes(&scratch, 8, |out| {
        let mut arguments = vec!["eval", "--model", "model", "--benchmark", "held-out.jsonl", "--field-id", "id"];
        arguments.extend(["--template", "plain", "--instruction", "", "--extraction", "marker:A", "--samples", "8"]);
        arguments.extend(["--out", out]);
        if scratch.path(out).join("evaluation.json").exists() {
            arguments.push("--resume");
        }
        scratch.command(&arguments)
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_sweep_that_is_killed_before_any_change_of_a_file_goes_on_and_ends_with_the_same_bytes() {
    let scratch = Scratch::new();
    // One of the runs has checkpoints to go on from, and the other begins again.
    let arms = r#"
base = "config.toml"
seeds = [1]

[[arms]]
name = "kept"
set.checkpoint.every_steps = 1

[[arms]]
name = "lost"
set.train.shaping.grpo = {}
"#;
    scratch.write("sweep.toml", arms.as_bytes());
    kill_before_changes(&scratch, 24, |out| scratch.command(&["--quiet", "sweep", "sweep.toml", "--out", out]));
}
