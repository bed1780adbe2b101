//! The layout of a run directory, and reading and writing its files. Not what is in a checkpoint: see `rl`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    EvaluationRecord, EvaluationSummary, RecordError, RolloutRecord, StepMetrics,
    lines::{read_bytes, read_lines, read_text},
    write,
};

/// Version of the schema of run and evaluation directories; readers refuse others.
pub const SCHEMA_VERSION: u32 = 2;

/// `run.json`: what was run, with what, where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// Name of the run; runs of one arm with different seeds share it.
    pub arm: String,
    /// Seed of every random stream of the run.
    pub seed: u64,
    /// Optimizer steps that the run was asked for.
    pub steps: u64,
    /// Version of the writing program.
    pub brevity_version: String,
    /// Instruction set that the kernels ran on.
    pub cpu: String,
    /// Threads that the kernels used.
    pub threads: u32,
    /// The policy's starting checkpoint, as configured.
    pub model: String,
    /// Trainable parameters.
    pub parameters: u64,
    /// Start of the run, seconds since 1970-01-01 UTC.
    pub started_unix_seconds: u64,
}

/// A run directory on disk.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    root: PathBuf,
}

impl RunDirectory {
    /// Makes a run directory at `root`, which must not exist or be empty, and writes its header and resolved config.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] when the directory holds files; [`RecordError::Io`].
    pub fn create(root: &Path, header: &RunHeader, config_toml: &str) -> Result<Self, RecordError> {
        if fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RecordError::Unusable {
                path: root.to_owned(),
                message: "is not empty; pass --resume to continue the run in it, or choose another directory".into(),
            });
        }
        let directory = Self { root: root.to_owned() };
        for part in [directory.root.clone(), directory.root.join("rollouts"), directory.root.join("evaluations")] {
            write::create_directory(&part)?;
        }
        write::replace(&directory.root.join("config.toml"), config_toml.as_bytes())?;
        write::replace_json(&directory.root.join("run.json"), header)?;
        Ok(directory)
    }

    /// Opens the run directory at `root`.
    ///
    /// # Errors
    /// [`RecordError`] when `run.json` is missing, malformed or of another schema version.
    pub fn open(root: &Path) -> Result<Self, RecordError> {
        let directory = Self { root: root.to_owned() };
        let header = directory.header()?;
        if header.schema != SCHEMA_VERSION {
            return Err(RecordError::Unusable {
                path: root.to_owned(),
                message: format!(
                    "was written with schema {}, and this version reads schema {SCHEMA_VERSION}; use the version {} of brevity that wrote it",
                    header.schema, header.brevity_version
                ),
            });
        }
        Ok(directory)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where checkpoints are kept.
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// `run.json`.
    ///
    /// # Errors
    /// [`RecordError`] when it is missing or malformed.
    pub fn header(&self) -> Result<RunHeader, RecordError> {
        let path = self.root.join("run.json");
        serde_json::from_slice(&read_bytes(&path)?).map_err(|error| RecordError::Malformed {
            path,
            line: error.line(),
            message: error.to_string(),
        })
    }

    /// `config.toml`, the resolved config as text.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn config_toml(&self) -> Result<String, RecordError> {
        let path = self.root.join("config.toml");
        fs::read_to_string(&path).map_err(|source| RecordError::Io { action: "read", path, source })
    }

    /// Appends the metrics of a step.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn append_metrics(&self, metrics: &StepMetrics) -> Result<(), RecordError> {
        write::append_line(&self.root.join("metrics.jsonl"), metrics)
    }

    /// Metrics of every step so far, in order; empty before the first. A line torn by a crash at the end of the file
    /// is ignored.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn metrics(&self) -> Result<Vec<StepMetrics>, RecordError> {
        read_lines(&self.root.join("metrics.jsonl"))
    }

    /// Writes the rollouts of `step`, replacing any there.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn write_rollouts(&self, step: u64, rollouts: &[RolloutRecord]) -> Result<(), RecordError> {
        write::replace(&self.rollout_path(step), &write::json_lines(rollouts))
    }

    /// The rollouts of `step`; empty when that step has not been run.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn rollouts(&self, step: u64) -> Result<Vec<RolloutRecord>, RecordError> {
        read_lines(&self.rollout_path(step))
    }

    /// Writes the records of an evaluation, then appends its summary.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn append_evaluation(
        &self,
        summary: &EvaluationSummary,
        records: &[EvaluationRecord],
    ) -> Result<(), RecordError> {
        write::replace(&self.evaluation_path(summary.step, &summary.benchmark), &write::json_lines(records))?;
        write::append_line(&self.root.join("evaluations.jsonl"), summary)
    }

    /// Summaries of every evaluation so far, in order.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn evaluations(&self) -> Result<Vec<EvaluationSummary>, RecordError> {
        read_lines(&self.root.join("evaluations.jsonl"))
    }

    /// The records behind one evaluation; empty when it was not made.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn evaluation_records(&self, step: u64, benchmark: &str) -> Result<Vec<EvaluationRecord>, RecordError> {
        read_lines(&self.evaluation_path(step, benchmark))
    }

    /// Drops what was recorded for `step` and later, and evaluations after `step` updates, so that a run resumed
    /// there continues without gap or repeat.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn rewind(&self, step: u64) -> Result<(), RecordError> {
        let metrics = self.metrics()?;
        let steps_recorded = metrics.last().map_or(0, |last| last.step + 1);
        keep_lines(&self.root.join("metrics.jsonl"), metrics.iter().map(|row| row.step < step))?;
        let evaluations = self.evaluations()?;
        keep_lines(&self.root.join("evaluations.jsonl"), evaluations.iter().map(|row| row.step <= step))?;
        // A crash between a step's rollouts and its metrics leaves one step more of rollouts than of metrics.
        let rollouts = (step..=steps_recorded).map(|stale| self.rollout_path(stale));
        let dropped = evaluations.iter().filter(|row| row.step > step);
        rollouts
            .chain(dropped.map(|row| self.evaluation_path(row.step, &row.benchmark)))
            .try_for_each(|path| write::remove(&path))
    }

    fn rollout_path(&self, step: u64) -> PathBuf {
        self.root.join("rollouts").join(format!("step-{step:06}.jsonl"))
    }

    fn evaluation_path(&self, step: u64, benchmark: &str) -> PathBuf {
        self.root.join("evaluations").join(format!("step-{step:06}-{benchmark}.jsonl"))
    }
}

/// Keeps those whole lines of `path` for which `keeps` says so, byte for byte: a number that is read and written again
/// may end in another digit, and a resumed run must not differ from one that was never interrupted.
fn keep_lines(path: &Path, keeps: impl Iterator<Item = bool>) -> Result<(), RecordError> {
    let text = read_text(path)?;
    let kept: String = text.split_inclusive('\n').zip(keeps).filter(|(_, keep)| *keep).map(|(line, _)| line).collect();
    write::replace(path, kept.as_bytes())
}
