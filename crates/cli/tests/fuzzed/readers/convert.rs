//! Run directories of an older schema, which are made into those of this one in place.
//!
//! Each input takes the place of one file in a directory of schema 1 that is whole otherwise.

use record::{EvaluationRecord, EvaluationSummary, RunDirectory, write as record_write};
use rl::{RlError, convert::convert};
use serde_json::{Map, Value, json};

use super::{Reading, first_line, place, record::run, refused, remove_directory, write_files};

/// A config of today is one of schema 1 too: what is not in it has a default.
const CONFIG: &str = "arm = 'a'\nmodel.path = 'm'\nproblems.path = 'p.jsonl'\n[rollout]\nprompts_per_step = 4\n\
    group_size = 4\ncompletion_tokens_max = 80\n[train]\nsteps = 2\nshaping = { grpo = {} }\n";

/// The files in which nothing is wrong: an evaluation of two problems, a rollout, a checkpoint.
pub(crate) fn files() -> [(&'static str, Vec<u8>); 7] {
    let header = json!({
        "schema": 1, "arm": "a", "seed": 0, "steps": 2, "brevity_version": "0.1.0", "cpu": "avx2", "threads": 1,
        "model": "m", "parameters": 1, "started_unix_seconds": 0,
    });
    run(|run| {
        let summary = run.evaluations().expect("the evaluations").remove(0);
        let records = run.evaluation_records(summary.step, &summary.benchmark).expect("the records");
        let records: Vec<_> = records[..2].iter().map(older_record).collect();
        let metrics = record_write::json_lines(&run.metrics().expect("the metrics")[..1]);
        let rollouts = record_write::json_lines(&run.rollouts(1).expect("the rollouts")[..1]);
        [
            ("run.json", header.to_string().into_bytes()),
            ("config.toml", CONFIG.as_bytes().to_vec()),
            ("metrics.jsonl", metrics),
            ("evaluations.jsonl", record_write::json_lines(&[older_summary(&summary)])),
            ("evaluations/step-000000-ring-held-out.jsonl", record_write::json_lines(&records)),
            ("rollouts/step-000001.jsonl", rollouts),
            ("checkpoints/step-000001/state.json", br#"{"step":1,"updates":1}"#.to_vec()),
        ]
    })
}

fn older_summary(summary: &EvaluationSummary) -> Map<String, Value> {
    let added = [
        "accuracy_bootstrap_low",
        "accuracy_bootstrap_high",
        "pass",
        "lengths",
        "verdicts",
        "budgets",
        "first_correct",
        "decline",
    ];
    let mut fields = without(json!(summary), &added);
    fields.insert("problems".to_owned(), 2.into());
    fields
}

fn older_record(record: &EvaluationRecord) -> Map<String, Value> {
    without(json!(record), &["prefixes", "tokens_from"])
}

fn without(value: Value, added: &[&str]) -> Map<String, Value> {
    let Value::Object(mut fields) = value else { panic!("{value} is no object") };
    fields.retain(|field, _| !added.contains(&field.as_str()));
    fields
}

/// A file of a run of schema 1, whose name is the first line. What is converted can be read.
pub(super) fn older_run(bytes: &[u8]) -> Reading {
    thread_local!(static WHOLE_FILES: [(&'static str, Vec<u8>); 7] = files());
    let tried = first_line(bytes);
    place(|place| {
        let root = place.join("older");
        remove_directory(&root);
        if !WHOLE_FILES.with(|files| write_files(&root, files, tried)) {
            return Reading::Refused;
        }
        let no_model = |_: &str| Err(RlError::File { path: "m".into(), message: "is not there".to_owned() });
        match convert(&root, no_model) {
            // By a header of this version nothing of the directory is looked at.
            Ok(None) => Reading::Read,
            Ok(Some(_)) => {
                let run = RunDirectory::open(&root).expect("a run of this version");
                for summary in run.evaluations().expect("evaluations of this version") {
                    run.evaluation_records(summary.step, &summary.benchmark).expect("records of this version");
                }
                Reading::Read
            }
            Err(error) => refused(&error, &root.display().to_string()),
        }
    })
}
