//! The records of an evaluation under way: torn lines, two writers, and settings that have changed.

use std::collections::BTreeMap;
use std::{fs, path::Path};

use record::{
    EVALUATION_SCHEMA_VERSION, EvaluationDirectory, EvaluationHeader, EvaluationRecord, PolicySource, ProblemLeftOut,
    StopReason, TokenSource, setting_difference, write,
};
use verify::{Extraction, Verdict};

fn header() -> EvaluationHeader {
    EvaluationHeader {
        schema: EVALUATION_SCHEMA_VERSION,
        brevity_version: "0.1.0".to_owned(),
        model: "tiny".to_owned(),
        policy: PolicySource::Server {
            url: "http://127.0.0.1:1/v1".to_owned(),
            api: "chat".to_owned(),
            choices: 1,
            body: serde_json::Map::new(),
            tokenizer: None,
        },
        benchmark: "ring".to_owned(),
        problems_path: "ring.jsonl".into(),
        problems_limit: None,
        problems: 2,
        problems_left_out: Vec::new(),
        samples: 1,
        temperature: 0.6,
        top_p: 0.95,
        top_k: 0,
        completion_tokens_max: 64,
        seed: 0,
        choices_seed: None,
        template: "chat".to_owned(),
        variables: BTreeMap::new(),
        system: String::new(),
        instruction: String::new(),
        extraction: Extraction::Auto {},
        prompt_example: None,
        started_unix_seconds: 1,
    }
}

fn record(problem: &str) -> EvaluationRecord {
    EvaluationRecord {
        problem: problem.to_owned(),
        sample: 0,
        level: None,
        question: "1 + 1".to_owned(),
        gold: "2".to_owned(),
        completion: "2".to_owned(),
        completion_tokens: 2,
        tokens_from: TokenSource::Server,
        stop: StopReason::End,
        verdict: Verdict::Correct,
        answer: Some("2".to_owned()),
        reason: "the numbers are equal".to_owned(),
        prefixes: None,
    }
}

/// What a crash may have left behind the last whole line.
#[test]
fn a_torn_line_is_cut_off_and_the_records_before_it_stay() {
    for torn in ["", "{", "{\"problem\":\"c\",\"sample\"", &"x".repeat(200_000)] {
        let root = tempfile::tempdir().unwrap();
        let directory = EvaluationDirectory::create(root.path(), &header()).unwrap();
        let mut log = directory.log().unwrap();
        log.append(&record("a")).unwrap();
        log.append(&record("b")).unwrap();
        drop(log);
        let whole = fs::read(directory.records_path()).unwrap();
        write::replace(&directory.records_path(), &[&whole, torn.as_bytes()].concat()).unwrap();

        let mut log = directory.log().unwrap();
        assert_eq!(directory.records().unwrap(), [record("a"), record("b")]);
        log.append(&record("c")).unwrap();
        assert_eq!(directory.records().unwrap(), [record("a"), record("b"), record("c")]);
        let line = write::json_lines(&[record("c")]);
        assert_eq!(fs::read(directory.records_path()).unwrap(), [whole, line].concat());
    }
}

#[test]
fn a_log_of_nothing_but_a_torn_line_is_empty() {
    let root = tempfile::tempdir().unwrap();
    let directory = EvaluationDirectory::create(root.path(), &header()).unwrap();
    write::replace(&directory.records_path(), b"{\"problem\"").unwrap();
    drop(directory.log().unwrap());
    assert_eq!(fs::read(directory.records_path()).unwrap(), b"");
}

#[test]
fn a_log_of_records_that_is_a_link_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let directory = EvaluationDirectory::create(&root.path().join("evaluation"), &header()).unwrap();
    let outside = root.path().join("outside");
    write::replace(&outside, b"a line without an end").unwrap();
    write::remove(&directory.records_path()).unwrap();
    std::os::unix::fs::symlink(&outside, directory.records_path()).unwrap();
    let refused = directory.log().unwrap_err().to_string();
    assert!(refused.contains("records.jsonl: is a link"), "{refused}");
    assert_eq!(fs::read(&outside).unwrap(), b"a line without an end");
}

#[test]
fn a_second_writer_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let directory = EvaluationDirectory::create(root.path(), &header()).unwrap();
    let first = directory.log().unwrap();
    let refused = directory.log().unwrap_err().to_string();
    assert!(refused.ends_with("records.jsonl: another program writes to it; wait until that has ended"), "{refused}");
    drop(first);
    directory.log().unwrap();
}

fn engine(checksum: Option<&str>) -> PolicySource {
    PolicySource::Engine {
        directory: "tiny".into(),
        parameters: 9,
        cpu: "avx2".into(),
        compute: "f32".into(),
        checksum: checksum.map(str::to_owned),
    }
}

#[test]
fn other_weights_in_the_same_directory_are_told_apart_where_both_checksums_are_known() {
    let of = |checksum| EvaluationHeader { policy: engine(checksum), ..header() };
    let difference = setting_difference(&of(Some("a")), &of(Some("b"))).unwrap();
    assert_eq!(difference.setting, "policy.engine.checksum");
    for (first, second) in [(None, Some("b")), (Some("a"), None), (Some("a"), Some("a"))] {
        assert_eq!(setting_difference(&of(first), &of(second)), None);
    }
}

#[test]
fn settings_that_differ_are_named_with_both_values() {
    let policy = |url: &str, tokenizer: Option<&str>| PolicySource::Server {
        url: url.to_owned(),
        api: "chat".to_owned(),
        choices: 1,
        body: serde_json::Map::new(),
        tokenizer: tokenizer.map(|path| Path::new(path).to_owned()),
    };
    let engine = engine(None);
    for (other, expected) in [
        (EvaluationHeader { temperature: 0.0, ..header() }, ["temperature", "0.6", "0.0"]),
        (EvaluationHeader { problems_limit: Some(9), ..header() }, ["problems_limit", "null", "9"]),
        (
            EvaluationHeader { policy: policy("http://h/v1", None), ..header() },
            ["policy.server.url", "\"http://127.0.0.1:1/v1\"", "\"http://h/v1\""],
        ),
        (
            EvaluationHeader { policy: policy("http://127.0.0.1:1/v1", Some("tiny")), ..header() },
            ["policy.server.tokenizer", "null", "\"tiny\""],
        ),
        (EvaluationHeader { policy: engine, ..header() }, ["policy.server", "", "null"]),
    ] {
        let difference = setting_difference(&header(), &other).unwrap();
        assert_eq!((difference.setting.as_str(), difference.second.as_str()), (expected[0], expected[2]));
        assert!(expected[1].is_empty() || difference.first == expected[1], "{difference:?}");
    }
}

#[test]
fn the_start_and_what_was_left_out_are_no_settings() {
    let left_out = vec![ProblemLeftOut { problem: "b".to_owned(), reason: "the server failed".to_owned() }];
    let other = EvaluationHeader { started_unix_seconds: 9, problems: 1, problems_left_out: left_out, ..header() };
    assert_eq!(setting_difference(&header(), &other), None);
}
