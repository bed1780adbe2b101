//! Files that runs and evaluations leave: records, manifests and checkpoints.
//!
//! Each input takes the place of one file in a directory that is whole otherwise.

#[path = "../../../../record/tests/fabricated/mod.rs"]
#[expect(dead_code, reason = "of what the tests of `record` fabricate, one run is enough")]
mod fabricated;

use std::{
    cell::OnceCell,
    fs,
    path::{Path, PathBuf},
};

use model::{Compute, Model, ModelConfig};
use record::{
    EVALUATION_SCHEMA_VERSION, EvaluationDirectory, FaultOutcome, FaultRecord, RecordError, RolloutPlace, RunDirectory,
    manifest as list,
    report::{ReportOptions, arm_table, evaluation_page, html},
    write as record_write,
};
use rl::{
    checkpoint::{self, Damage, Progress, Snapshot},
    config::{CheckpointSettings, ProblemOrder},
    optimizer::Optimizer,
    problem_queue::ProblemQueue,
    shaping::Shaping,
};
use serde_json::json;

use self::fabricated::{ARMS, Extent, WHOLE};
use super::{Reading, first_line, place, refused, remove_directory, write, write_files};

/// A run of this thread in which nothing is wrong.
pub(crate) fn run<T>(work: impl FnOnce(&RunDirectory) -> T) -> T {
    thread_local!(static RUN: OnceCell<RunDirectory> = const { OnceCell::new() });
    RUN.with(|run| {
        work(run.get_or_init(|| {
            let extent = Extent { steps: 2, steps_done: 2, ..WHOLE };
            place(|place| {
                let run = fabricated::run(&place.join("runs"), &ARMS[2], 0, extent);
                let unevaluated = Extent { evaluate_every: None, ..extent };
                let rollouts = fabricated::run(&place.join("unevaluated"), &ARMS[2], 0, unevaluated).rollouts(1);
                let rollouts = &rollouts.expect("the rollouts")[..2];
                run.write_rollouts(1, rollouts).expect("the rollouts");
                run.append_fault(&fault(), rollouts).expect("a fault");
                run
            })
        }))
    })
}

fn fault() -> FaultRecord {
    FaultRecord {
        step: 1,
        detours: 0,
        pass: None,
        quantity: "loss".to_owned(),
        value: "NaN".to_owned(),
        rollouts: vec![RolloutPlace { group: 0, rollout: 1 }],
        outcome: FaultOutcome::Skipped,
    }
}

/// Everything that a reader of runs reads, and what is done with it.
fn read_run(run: &Path) -> Result<(), RecordError> {
    let run = RunDirectory::open(run)?;
    run.header()?;
    run.config_toml()?;
    run.rollouts(1)?;
    for fault in run.faults()? {
        run.fault_rollouts(&fault)?;
    }
    for summary in run.evaluations()? {
        run.evaluation_records(summary.step, &summary.benchmark)?;
    }
    arm_table(std::slice::from_ref(&run))?;
    let options = ReportOptions { title: "T".to_owned(), notes: Vec::new(), benchmark: None };
    let page = html(&[run], &options)?;
    assert!(!page.contains("<script>alert"), "a page holds what an input wrote as it wrote it");
    Ok(())
}

/// Files that an input may take the place of; those that end in `.gz` are given as the text in them.
pub(crate) const RUN_FILES: [&str; 8] = [
    "run.json",
    "config.toml",
    "metrics.jsonl",
    "evaluations.jsonl",
    "faults.jsonl",
    "evaluations/step-000000-ring-held-out.jsonl.gz",
    "rollouts/step-000001.jsonl.gz",
    "faults/step-000001-0.jsonl.gz",
];

/// A file of a run, whose name is the first line. What is read becomes a report, in which everything is escaped.
pub(super) fn run_directory(bytes: &[u8]) -> Reading {
    let (name, bytes) = first_line(bytes);
    let Some(name) = RUN_FILES.into_iter().find(|known| *known == name) else { return Reading::Refused };
    run(|run| {
        let path = run.root().join(name);
        let whole = fs::read(&path).expect("a file of the run");
        write(
            &path,
            &if Path::new(name).extension().is_some_and(|extension| extension == "gz") {
                record_write::compressed(bytes)
            } else {
                bytes.to_vec()
            },
        );
        let read = read_run(run.root());
        write(&path, &whole);
        match read {
            Ok(()) => Reading::Read,
            // What cannot be drawn together names no file.
            Err(RecordError::Report { .. }) => Reading::Refused,
            Err(error) => refused(&error, &run.root().display().to_string()),
        }
    })
}

/// A compressed file as it is.
pub(super) fn compressed(bytes: &[u8]) -> Reading {
    run(|run| {
        let path = run.root().join("rollouts/step-000000.jsonl.gz");
        write(&path, bytes);
        let read = run.rollouts(0);
        record_write::remove(&path).expect("the input is removed");
        match read {
            Ok(_) => Reading::Read,
            Err(error) => refused(&error, "step-000000.jsonl.gz"),
        }
    })
}

/// The files of an evaluation in which nothing is wrong, after the run's.
pub(crate) fn evaluation_files() -> [(&'static str, Vec<u8>); 3] {
    let header = json!({
        "schema": EVALUATION_SCHEMA_VERSION, "brevity_version": "0.1.0", "model": "models/tiny",
        "policy": {"engine": {"directory": "m", "parameters": 1, "cpu": "avx2", "compute": "f32"}},
        "benchmark": "ring-held-out", "problems_path": "p.jsonl", "problems_limit": null, "problems": 2,
        "problems_left_out": [], "samples": 1, "temperature": 1.0, "top_p": 1.0, "top_k": 0,
        "completion_tokens_max": 80, "seed": 0, "choices_seed": null, "template": "plain", "system": "",
        "instruction": "", "extraction": {"auto": {}}, "prompt_example": null, "started_unix_seconds": 0,
    });
    run(|run| {
        let summary = run.evaluations().expect("the evaluations").remove(0);
        let records = run.evaluation_records(0, &summary.benchmark).expect("the records");
        let summary = serde_json::to_vec(&summary).expect("a summary serialises");
        [
            ("evaluation.json", header.to_string().into_bytes()),
            ("records.jsonl", record_write::json_lines(&records[..2])),
            ("summary.json", summary),
        ]
    })
}

/// A file of an evaluation, whose name is the first line. What is read becomes a page.
pub(super) fn evaluation_directory(bytes: &[u8]) -> Reading {
    thread_local!(static WHOLE_FILES: [(&'static str, Vec<u8>); 3] = evaluation_files());
    let tried = first_line(bytes);
    place(|place| {
        let root = place.join("evaluation");
        if !WHOLE_FILES.with(|files| write_files(&root, files, tried)) {
            return Reading::Refused;
        }
        let read = || -> Result<String, RecordError> {
            let directory = EvaluationDirectory::open(&root)?;
            Ok(evaluation_page(&directory.header()?, &directory.summary()?, &directory.records()?))
        };
        match read() {
            Ok(page) => {
                assert!(!page.contains("<script>alert"), "a page holds what an input wrote as it wrote it");
                Reading::Read
            }
            Err(error) => refused(&error, &root.display().to_string()),
        }
    })
}

/// A manifest without its last line, which is the checksum of the others; beside two files.
pub(super) fn manifest(bytes: &[u8]) -> Reading {
    place(|place| {
        let directory = place.join("manifest");
        write(&directory.join("a"), b"1");
        write(&directory.join("below/b"), b"");
        let checksum = list::checksum_of(bytes);
        write(&directory.join("manifest"), &[bytes, checksum.as_bytes(), b"\n"].concat());
        match list::check(&directory) {
            Ok(()) => Reading::Read,
            Err(error) => refused(&error, &directory.display().to_string()),
        }
    })
}

/// A run with a checkpoint of the smallest model.
fn with_checkpoint() -> (RunDirectory, PathBuf, Model) {
    const SHAPE: &str = r#"{"model_type": "llama", "vocab_size": 2, "hidden_size": 2, "intermediate_size": 2,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 8, "tie_word_embeddings": true}"#;
    place(|place| {
        let extent = Extent { steps: 2, steps_done: 2, ..WHOLE };
        remove_directory(&place.join("states"));
        let run = fabricated::run(&place.join("states"), &ARMS[2], 0, extent);
        let source = place.join("state-model");
        write(&source.join("config.json"), SHAPE.as_bytes());
        let config = ModelConfig::parse(SHAPE).expect("a shape");
        let ones = |shape: &model::ParameterShape| Ok::<_, std::convert::Infallible>(vec![1.0; shape.count()]);
        let Ok(model) = Model::new(config, Compute::F32, ones);
        let snapshot = Snapshot {
            model: &model,
            source: &source,
            optimizer: &Optimizer::new(&model),
            progress: &Progress::start(&Shaping::Grpo {}),
        };
        let path = checkpoint::save(&run, &snapshot, &CheckpointSettings::default()).expect("a checkpoint");
        (run, path, model)
    })
}

/// `state.json` of a checkpoint whose manifest is that of its files. What is read can be gone on from.
pub(super) fn state(bytes: &[u8]) -> Reading {
    thread_local!(static RUN: OnceCell<(RunDirectory, PathBuf, Model)> = const { OnceCell::new() });
    RUN.with(|run| {
        let (run, path, start) = run.get_or_init(with_checkpoint);
        write(&path.join("state.json"), bytes);
        list::write(path).expect("the list");
        match checkpoint::load_newest(run, start, Damage::Refuse) {
            Ok((restored, _)) => {
                let Progress { step, problems_taken, detours, .. } = restored.expect("there is a checkpoint").progress;
                assert!(step.checked_add(1).is_some() && detours.checked_add(1).is_some());
                for order in [ProblemOrder::File, ProblemOrder::Shuffled] {
                    let taken = ProblemQueue::new(order, 0, 3, problems_taken).take(5);
                    assert!(taken.iter().all(|&problem| problem < 3), "{taken:?}");
                }
                Reading::Read
            }
            Err(error) => refused(&error, "state.json"),
        }
    })
}
