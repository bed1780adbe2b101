//! Run directories that somebody damaged or made up: readers say what is wrong with which file, or read it.

mod fabricated;

use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::Path};

use record::{
    FaultOutcome, FaultRecord, LevelSummary, RecordError, RunDirectory, RunLock, manifest,
    report::{ReportOptions, html},
    write,
};

use fabricated::{ARMS, Extent, WHOLE};

const EXTENT: Extent = Extent { steps: 2, steps_done: 2, ..WHOLE };

/// splitmix64 (Steele, Lea and Flood 2014).
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as usize
}

/// Text that stands in JSON for what a reader may trip over.
const PIECES: [&str; 9] =
    ["null", "-1", "1e999", "99999999999999999999999", "[[[[[[[[", "\"\\ud800\"", "\n", "{}", "\"benchmark\":\"../x\""];

/// `bytes` with a bit flipped, a part cut out, or something put in.
fn mutated(bytes: &[u8], state: &mut u64) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = next(state) % bytes.len();
    match next(state) % 4 {
        0 => changed[at] ^= 1 << (next(state) % 8),
        1 => changed.truncate(at),
        2 => drop(changed.drain(at..(at + next(state) % 40).min(bytes.len()))),
        _ => drop(changed.splice(at..(at + 3).min(bytes.len()), PIECES[next(state) % PIECES.len()].bytes())),
    }
    changed
}

/// Everything that reads a run directory.
fn read(root: &Path) -> Result<(), RecordError> {
    let run = RunDirectory::open(root)?;
    run.header()?;
    run.metrics()?;
    run.faults()?;
    for summary in run.evaluations()? {
        run.evaluation_records(summary.step, &summary.benchmark)?;
    }
    html(&[run], &ReportOptions { title: "T".to_owned(), notes: Vec::new(), benchmark: None }).map(drop)
}

#[test]
fn a_damaged_run_directory_is_read_or_refused_by_file_and_never_panics() {
    let root = fabricated::directory("hostile-damaged");
    let run = fabricated::run(&root, &ARMS[2], 0, EXTENT);
    let fault = FaultRecord {
        step: 1,
        detours: 0,
        pass: None,
        quantity: "loss".to_owned(),
        value: "NaN".to_owned(),
        rollouts: Vec::new(),
        outcome: FaultOutcome::Skipped,
    };
    run.append_fault(&fault, &[]).expect("a fault");
    let names: Vec<String> =
        ["run.json", "config.toml", "metrics.jsonl", "evaluations.jsonl", "faults.jsonl"].map(str::to_owned).into();
    let records = write::list(&run.root().join("evaluations")).expect("the records");
    let names = names.into_iter().chain(records.iter().map(|name| format!("evaluations/{name}")));
    let files: BTreeMap<String, Vec<u8>> =
        names.map(|name| (name.clone(), fs::read(run.root().join(&name)).expect("a file"))).collect();
    read(run.root()).expect("the run as it was written");
    let (mut state, mut refused) = (0, 0);
    for _ in 0..40 {
        for (name, bytes) in &files {
            let path = run.root().join(name);
            write::replace(&path, &mutated(bytes, &mut state)).expect("a file");
            if let Err(error) = read(run.root()) {
                // What was changed may be well-formed and contradict another file.
                let message = error.to_string();
                assert!(message.contains(&run.root().display().to_string()) || message.contains("report"), "{message}");
                refused += 1;
            }
            write::replace(&path, bytes).expect("a file");
        }
    }
    assert!(refused > 100, "{refused}");
    read(run.root()).expect("the run as it was written");
}

#[test]
fn names_and_links_that_lead_out_of_a_run_directory_are_refused() {
    let root = fabricated::directory("hostile-names");
    let run = fabricated::run(&root, &ARMS[2], 0, EXTENT);
    let outside = root.join("outside");
    write::replace(&outside, b"mine").expect("a file");

    let evaluations = run.root().join("evaluations.jsonl");
    let text = fs::read_to_string(&evaluations).expect("the evaluations");
    let name = "\"benchmark\":\"ring-held-out\"";
    assert!(text.contains(name), "{text}");
    write::replace(&evaluations, text.replacen(name, "\"benchmark\":\"/../../../outside\"", 1).as_bytes())
        .expect("a file");
    let message = run.rewind(0).expect_err("a name that leads out").to_string();
    assert!(message.contains("evaluations.jsonl, line 1: `benchmark` is no part of a file name"), "{message}");
    write::replace(&evaluations, text.as_bytes()).expect("a file");

    let metrics = run.metrics().expect("the metrics").remove(0);
    for name in ["metrics.jsonl", "lock", "metrics.jsonl.partial"] {
        let path = run.root().join(name);
        write::remove(&path).expect("the file is removed");
        symlink(&outside, &path).expect("a link");
    }
    let message = run.append_metrics(&metrics).expect_err("a link").to_string();
    assert!(
        message
            .ends_with("metrics.jsonl: is a link, and may lead out of its directory; replace it by what it leads to"),
        "{message}"
    );
    let message = RunLock::take(run.root()).expect_err("a link").to_string();
    assert!(message.contains("lock: is a link"), "{message}");
    write::replace(&run.root().join("metrics.jsonl"), b"").expect("a file in place of both links");

    write::remove(&run.root().join("lock")).expect("the link is removed");
    for part in ["rollouts", "evaluations", "faults", "checkpoints", "checkpoints/step-000001"] {
        let path = run.root().join(part);
        let aside = root.join("aside");
        let is_there = path.exists();
        if is_there {
            fs::rename(&path, &aside).expect("the part is moved aside");
        } else {
            write::create_directory(path.parent().expect("a directory")).expect("a directory");
        }
        symlink(&root, &path).expect("a link");
        let message = RunLock::take(run.root()).expect_err("a link").to_string();
        assert!(message.contains(&format!("{part}: is a link")), "{message}");
        write::remove(&path).expect("the link is removed");
        if is_there {
            fs::rename(&aside, &path).expect("the part is moved back");
        }
    }
    drop(RunLock::take(run.root()).expect("no link is left"));

    let config = run.root().join("config.toml");
    write::remove(&config).expect("the file is removed");
    symlink(&outside, &config).expect("a link");
    let message = run.config_toml().expect_err("a link").to_string();
    assert!(message.contains("config.toml: is a link"), "{message}");
    assert_eq!(fs::read(&outside).expect("the file outside"), b"mine");
}

#[test]
fn steps_that_no_run_comes_to_are_refused_by_line() {
    let root = fabricated::directory("hostile-steps");
    let run = fabricated::run(&root, &ARMS[2], 0, EXTENT);
    let most = 1_u64 << 40;
    for file in ["metrics.jsonl", "evaluations.jsonl"] {
        let path = run.root().join(file);
        let text = fs::read_to_string(&path).expect("the file");
        let (lines, last) = (text.lines().count(), text.lines().next_back().expect("a line"));
        let (_, rest) = last.split_once(',').filter(|(first, _)| first.starts_with("{\"step\":")).expect("the step");
        let with_step = |step: u64| {
            let changed = text.replace(last, &format!("{{\"step\":{step},{rest}"));
            write::replace(&path, changed.as_bytes()).expect("a file");
            read(run.root()).and_then(|()| run.rewind(2))
        };
        for late in [most + 1, u64::MAX - 1, u64::MAX] {
            let message = with_step(late).expect_err("no run comes to it").to_string();
            let expected = format!("{file}, line {lines}: `step` is above {most}, which no run comes to");
            assert!(message.ends_with(&expected), "{message}");
        }
        let message = with_step(most).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(!message.contains("is above"), "{message}");
        write::replace(&path, text.as_bytes()).expect("a file");
    }
}

#[test]
fn a_manifest_that_was_made_up_is_refused() {
    let root = fabricated::directory("hostile-manifest");
    write::create_directory(&root).expect("a directory");
    write::replace(&root.join("a"), b"1").expect("a file");
    let refused = |body: &str| {
        let text = format!("{body}{}\n", manifest::checksum_of(body.as_bytes()));
        write::replace(&root.join("manifest"), text.as_bytes()).expect("a list");
        manifest::check(&root).expect_err("no list of ours").to_string()
    };
    let ones = manifest::checksum_of(b"1");
    for (body, expected) in [
        (format!("brevity manifest 1\n{ones}  1  ../outside\n"), "which is no entry"),
        (format!("brevity manifest 1\n{ones}  1  /etc/passwd\n"), "which is no entry"),
        (format!("brevity manifest 1\n{ones}  -1  a\n"), "which is no entry"),
        (format!("brevity manifest 1\n{ones} 1 a\n"), "which is no entry"),
        (format!("brevity manifest 2\n{ones}  1  a\n"), "is not of the form `brevity manifest 1`; use the version"),
        (format!("{ones}  1  a\n"), "is not of the form"),
        ("brevity manifest 1\n".to_owned(), "a: is not in the manifest of its directory; remove it"),
        (format!("brevity manifest 1\n{ones}  2  a\n"), "a: has 1 bytes, and had 2 when it was written"),
        (format!("brevity manifest 1\n{ones}  1  a\n{ones}  1  b\n"), "b: is missing"),
        (String::new(), "is not of the form"),
    ] {
        let message = refused(&body);
        assert!(message.contains(expected), "{body}: {message}");
    }
    write::replace(&root.join("manifest"), &vec![b'x'; (1 << 20) + 1]).expect("a list");
    let message = manifest::check(&root).expect_err("too large").to_string();
    assert!(message.ends_with("is no manifest: it has more than 1 MiB"), "{message}");
    manifest::write(&root).expect("a list");
    manifest::check(&root).expect("the directory as it is");
}

#[test]
fn checksums_are_those_of_blake3() {
    // The first of https://github.com/BLAKE3-team/BLAKE3/blob/master/test_vectors/test_vectors.json: no input.
    let expected = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
    assert_eq!(manifest::checksum_of(b""), expected);
}

#[test]
fn counts_and_numbers_that_no_run_writes_are_drawn() {
    let run = fabricated::run(&fabricated::directory("hostile-numbers"), &ARMS[2], 0, EXTENT);
    let mut metrics = run.metrics().expect("the metrics");
    for (row, correlation) in metrics.iter_mut().zip([-5e-324, 5e-324]) {
        row.tokens = u64::MAX;
        row.length_correctness_correlation = Some(correlation);
    }
    write::replace(&run.root().join("metrics.jsonl"), &write::json_lines(&metrics)).expect("the metrics");
    let mut evaluations = run.evaluations().expect("the evaluations");
    for row in &mut evaluations {
        let level = row.levels[0].clone();
        row.levels = (0..300).map(|index| LevelSummary { level: format!("level {index}"), ..level.clone() }).collect();
        row.budgets = vec![row.budgets[0].clone(); 300];
    }
    write::replace(&run.root().join("evaluations.jsonl"), &write::json_lines(&evaluations)).expect("the evaluations");
    read(run.root()).expect("a report");
    let page = html(&[run], &ReportOptions { title: "T".to_owned(), notes: Vec::new(), benchmark: None });
    assert_eq!(page.expect("a report").matches("<span>level <bdi>").count(), 100);
}
