//! A disk that is full, read-only or gone while a run writes: a message, and the last good checkpoint is still there.

#![expect(clippy::print_stdout, reason = "a part of a test that this machine cannot run is said")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    kill::assert_same_runs,
    scratch::{Ran, Scratch},
};

const SET: [&str; 4] = ["--set", "train.steps=4", "--set", "checkpoint={every_steps=1,keep_last=0}"];

fn arguments(out: &str) -> Vec<&str> {
    [&["--quiet", "train", "config.toml", "--out", out][..], &SET].concat()
}

/// A run that goes on after its first checkpoint, with the same run whole beside it.
fn interrupted(scratch: &Scratch, out: &str) {
    scratch.succeed(&arguments("whole"));
    fs::create_dir_all(scratch.path(out)).expect("a directory");
    copy(&scratch.path("whole"), &scratch.path(out));
    for later in ["step-000002", "step-000003", "step-000004"] {
        fs::remove_dir_all(scratch.path(out).join("checkpoints").join(later)).expect("a checkpoint");
    }
    fs::remove_dir_all(scratch.path(out).join("model")).expect("the model");
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            fs::create_dir_all(&target).expect("a directory");
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}

/// Names in the directory of checkpoints.
fn checkpoints(root: &Path) -> Vec<String> {
    record::write::list(&root.join("checkpoints")).expect("the checkpoints")
}

/// What a run says that a full or lost disk stops, and that it ended as a failure.
#[track_caller]
fn assert_failed(ran: &Ran, causes: &[&str]) {
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.starts_with("error: cannot "), "{}", ran.stderr);
    let first = ran.stderr.lines().take_while(|line| !line.starts_with("hint: ")).collect::<String>();
    assert!(first.contains("run/"), "no file is named: {}", ran.stderr);
    assert!(causes.iter().any(|cause| first.contains(cause)), "{}", ran.stderr);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

/// What a run that the disk stopped ends with.
const WAY_ON: &str = "hint: mend the cause and go on with `brevity train --resume run`\n";

/// Goes on with the run in `out` once the disk is as it should be, and compares it with the whole one.
fn ends_as_the_whole(scratch: &Scratch, out: &str) {
    scratch.succeed(&[&arguments(out)[..], &["--resume"]].concat());
    assert_same_runs(&scratch.path("whole"), &scratch.path(out), out);
}

/// `brevity` under the limit of `blocks` of 512 bytes for each file, past which a write fails as on a full disk.
fn limited(scratch: &Scratch, blocks: u64, arguments: &[&str]) -> Ran {
    let mut command = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_brevity")]).args(arguments).current_dir(scratch.path(""));
    Ran::from(command.output().expect("the program starts"))
}

#[test]
fn a_checkpoint_that_finds_no_room_leaves_the_one_before() {
    let scratch = Scratch::new();
    interrupted(&scratch, "run");
    let optimizer = scratch.path("whole/checkpoints/step-000001/optimizer/model.safetensors");
    let optimizer_bytes = fs::metadata(optimizer).expect("the moments").len();
    // From room for nothing to room for all but the end of the largest file.
    for blocks in [0, 1, 8, optimizer_bytes / 1024, optimizer_bytes / 512 - 1] {
        let ran = limited(&scratch, blocks, &[&arguments("run")[..], &["--resume"]].concat());
        assert_failed(&ran, &["File too large"]);
        assert!(ran.stderr.ends_with(WAY_ON), "{blocks} blocks: {}", ran.stderr);
        assert_eq!(checkpoints(&scratch.path("run")), ["step-000001"], "{blocks} blocks");
    }
    ends_as_the_whole(&scratch, "run");
}

#[test]
fn a_start_that_finds_no_room_can_be_started_again() {
    let scratch = Scratch::new();
    scratch.succeed(&arguments("whole"));
    for blocks in [0, 1] {
        assert_failed(&limited(&scratch, blocks, &arguments("run")), &["File too large"]);
    }
    assert!(!scratch.path("run/run.json").exists());
    scratch.succeed(&arguments("run"));
    assert_same_runs(&scratch.path("whole"), &scratch.path("run"), "run");
}

/// Runs `script` with the privilege to mount, or says why it cannot: not every user or container may.
fn in_mount_namespace(scratch: &Scratch, script: &str) -> Option<Ran> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"]);
        command
            .arg(env!("CARGO_BIN_EXE_brevity"))
            .args(arguments("full/run"))
            .arg("--resume")
            .current_dir(scratch.path(""));
        command.output()
    };
    let allowed = unshare("mount -t tmpfs -o size=64k none full").is_ok_and(|output| output.status.success());
    if !allowed {
        println!("SKIPPED: this user cannot mount a file system of its own");
        return None;
    }
    Some(Ran::from(unshare(script).expect("unshare starts")))
}

#[test]
fn a_file_system_that_is_full_stops_the_run_with_its_last_checkpoint() {
    let scratch = Scratch::new();
    interrupted(&scratch, "run");
    fs::create_dir_all(scratch.path("full")).expect("a directory");
    let bytes: u64 = 1024 * kibibytes(&scratch.path("run"));
    // Room for what is there and half a checkpoint; what is left comes back for a look.
    let size = bytes + kibibytes(&scratch.path("run/checkpoints/step-000001")) * 512;
    let script = format!(
        "mount -t tmpfs -o size={size} none full; cp -r run full/run; code=0; \"$@\" || code=$?; \
         rm -r run; cp -r full/run run; exit $code"
    );
    let Some(ran) = in_mount_namespace(&scratch, &script) else { return };
    assert_failed(&ran, &["No space left on device"]);
    assert!(ran.stderr.ends_with(&WAY_ON.replace("run`", "full/run`")), "{}", ran.stderr);
    assert_eq!(checkpoints(&scratch.path("run")), ["step-000001"]);
    ends_as_the_whole(&scratch, "run");
}

#[test]
fn a_read_only_file_system_stops_the_run_and_changes_nothing() {
    let scratch = Scratch::new();
    interrupted(&scratch, "run");
    fs::create_dir_all(scratch.path("full")).expect("a directory");
    let script = "mount -t tmpfs none full; cp -r run full/run; mount -o remount,ro full; \"$@\"";
    let Some(ran) = in_mount_namespace(&scratch, script) else { return };
    assert_failed(&ran, &["Read-only file system"]);
    ends_as_the_whole(&scratch, "run");
}

/// Disk space of all files under `directory`, each rounded up to pages of 4 KiB as a tmpfs does.
fn kibibytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let size = |path: std::path::PathBuf| {
        if path.is_dir() { 4 + kibibytes(&path) } else { fs::metadata(&path).expect("a file").len().div_ceil(4096) * 4 }
    };
    entries.map(size).sum()
}

/// Nobody, whose permissions count: those of root do not.
const NOBODY: u32 = 65534;

#[test]
fn permissions_that_are_lost_stop_the_run_with_a_message() {
    let scratch = Scratch::new();
    interrupted(&scratch, "run");
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut owned = Command::new("chown");
    if is_root && !owned.args(["-R", &NOBODY.to_string()]).arg(scratch.path("")).status().is_ok_and(|s| s.success()) {
        println!("SKIPPED: root cannot give the files to a user whose permissions count");
        return;
    }
    let go_on = || {
        let mut command = scratch.command(&[&arguments("run")[..], &["--resume"]].concat());
        if is_root {
            command.uid(NOBODY);
        }
        command.output()
    };
    for part in ["checkpoints", "rollouts", ""] {
        let directory = scratch.path("run").join(part);
        let permit = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).expect("permissions");
        permit(0o555);
        let output = go_on();
        permit(0o755);
        match output {
            Err(error) => {
                println!("SKIPPED: another user cannot run the program: {error}");
                return;
            }
            Ok(output) => assert_failed(&Ran::from(output), &["Permission denied"]),
        }
        assert_eq!(checkpoints(&scratch.path("run")), ["step-000001"], "{part}");
    }
    ends_as_the_whole(&scratch, "run");
}

#[test]
fn a_run_whose_directory_is_removed_stops_and_does_not_make_it_again() {
    let scratch = Scratch::new();
    let set = ["--set", "train.steps=100000", "--set", "evaluation.every_steps=100000"];
    let start = [&["--quiet", "train", "config.toml", "--out", "run"][..], &set].concat();
    let mut child = scratch.command(&start).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a run");
    let steps = || fs::read_to_string(scratch.path("run/metrics.jsonl")).unwrap_or_default().lines().count();
    while steps() < 2 {
        assert_eq!(child.try_wait().expect("its state"), None, "the run ended before its second step");
    }
    // Taken away at once, as by whoever cleans up: what is removed file by file may be written in between.
    fs::rename(scratch.path("run"), scratch.path("elsewhere")).expect("the directory is moved");
    let ran = Ran::from(child.wait_with_output().expect("the program ends"));
    assert_failed(&ran, &["No such file or directory"]);
    assert!(!scratch.path("run").exists(), "the directory was made again");
}

#[test]
fn a_second_program_is_refused_while_the_first_writes_and_not_after_its_death() {
    let scratch = Scratch::new();
    let set = ["--set", "train.steps=100000", "--set", "checkpoint.every_steps=1"];
    let start = [&["--quiet", "train", "config.toml", "--out", "run"][..], &set].concat();
    let mut first = scratch.command(&start).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a run");
    while !scratch.path("run/checkpoints/step-000001").exists() {
        assert_eq!(first.try_wait().expect("its state"), None, "the run ended before its first checkpoint");
    }
    let resume = [&start[..], &["--resume"]].concat();
    let owner = format!("error: run: program {} on ", first.id());
    scratch.refuse(&resume, 1, &[&owner, "writes to it\n", "hint: wait until it has ended, or stop it"]);
    first.kill().expect("the first is killed");
    first.wait().expect("the first ends");
    assert!(scratch.read("run/lock").starts_with("program "), "its note stays behind");
    let mut second = scratch.command(&resume).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a run");
    let done = || scratch.read("run/metrics.jsonl").lines().count();
    let before = done();
    while done() < before + 2 {
        assert_eq!(second.try_wait().expect("its state"), None, "the second run ended");
    }
    second.kill().expect("the second is killed");
    second.wait().expect("the second ends");
}
