//! The layout of a run directory, and reading and writing its files. Not what is in a checkpoint: see `rl`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    EvaluationRecord, EvaluationSummary, FaultOutcome, FaultRecord, RecordError, RolloutRecord, RunLock,
    SCHEMA_VERSION, StepMetrics, Versioned,
    lines::{read_json, read_lines, whole_lines},
    write,
};

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
    /// Type of the factors of matrix products: `f32` or `bf16`.
    pub compute: String,
    /// Digest of functions of the system's mathematical library at fixed arguments; another library rounds otherwise.
    pub mathematics: String,
    /// BLAKE3 checksums of the files that decide numbers, by what they are to the run.
    pub inputs: BTreeMap<String, String>,
    /// Threads that the kernels used.
    pub threads: u32,
    /// The policy's starting checkpoint, as configured.
    pub model: String,
    /// Trainable parameters.
    pub parameters: u64,
    /// Start of the run, seconds since 1970-01-01 UTC.
    pub started_unix_seconds: u64,
}

/// Name of the header.
const HEADER: &str = "run.json";

/// Most steps of a run.
pub const STEPS_MAX: u64 = 1 << 40;

/// Directories that every run directory has from its start.
pub(crate) const PARTS: [&str; 3] = ["rollouts", "evaluations", "checkpoints"];

/// A run directory on disk.
#[derive(Debug, Clone)]
pub struct RunDirectory {
    root: PathBuf,
}

impl RunDirectory {
    /// Makes a run directory at `root`, which must not exist or be empty, and writes its header and resolved config. What
    /// a start that was cut short left there is taken for nothing.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] when the directory holds files; [`RecordError::Io`].
    pub fn create(root: &Path, header: &RunHeader, config_toml: &str) -> Result<Self, RecordError> {
        Self::refuse_taken(root)?;
        let directory = Self { root: root.to_owned() };
        for part in PARTS.map(|part| root.join(part)) {
            write::create_directory(&part)?;
        }
        write::replace(&directory.root.join("config.toml"), config_toml.as_bytes())?;
        write::replace_json(&directory.root.join(HEADER), header)?;
        Ok(directory)
    }

    /// Refuses a directory in which no run can be started.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] when it holds files; [`RecordError::Io`].
    pub fn refuse_taken(root: &Path) -> Result<(), RecordError> {
        if !root.exists() {
            return Ok(());
        }
        let unfinished = [RunLock::NAME, "config.toml", "config.toml.partial", "run.json.partial"];
        let names = write::list(root)?;
        // A start makes the lock first: a config without one is somebody's own.
        let started = names.iter().any(|name| name == RunLock::NAME);
        let mut is_taken = false;
        for name in names {
            let is_empty_part = PARTS.contains(&name.as_str()) && write::list(&root.join(&name))?.is_empty();
            let is_unfinished = started && unfinished.contains(&name.as_str());
            is_taken |= !is_empty_part && !is_unfinished;
        }
        if !is_taken {
            return Ok(());
        }
        let message = if root.join(HEADER).exists() {
            "is not empty; pass --resume to continue the run in it, or choose another directory"
        } else {
            "is not empty and holds no run; choose another directory"
        };
        Err(RecordError::Unusable { path: root.to_owned(), message: message.into() })
    }

    /// Opens the run directory at `root`.
    ///
    /// # Errors
    /// [`RecordError`] when `run.json` is missing, malformed or of another schema version.
    pub fn open(root: &Path) -> Result<Self, RecordError> {
        let remedy = format!("run `brevity convert {}` to make it one of this version", crate::shell_word(root));
        Versioned::read(&root.join(HEADER))?.refuse_other(root, SCHEMA_VERSION, &remedy)?;
        Ok(Self { root: root.to_owned() })
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
        read_json(&self.root.join(HEADER))
    }

    /// `config.toml`, the resolved config as text.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] when it is a link, because reports show it whole; [`RecordError::Io`].
    pub fn config_toml(&self) -> Result<String, RecordError> {
        let path = self.root.join("config.toml");
        write::refuse_link(&path)?;
        crate::read::text(&path).map_err(|source| RecordError::Io { action: "read", path, source })
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
        Self::metrics_in(&self.root)
    }

    /// As [`Self::metrics`], of the run directory `root` of any schema.
    ///
    /// # Errors
    /// Those of [`Self::metrics`].
    pub fn metrics_in(root: &Path) -> Result<Vec<StepMetrics>, RecordError> {
        let path = root.join("metrics.jsonl");
        let metrics: Vec<StepMetrics> = read_lines(&path)?;
        refuse_late(&path, metrics.iter().map(|row| row.step))?;
        Ok(metrics)
    }

    /// Steps that a run with these `metrics` has done: those that were skipped because of a fault count, and have none.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line of the faults is malformed.
    pub fn steps_done(&self, metrics: &[StepMetrics]) -> Result<u64, RecordError> {
        let skipped = self.steps_skipped()?;
        let mut done = metrics.last().map_or(0, |row| row.step + 1);
        // Later ones that do not follow are of a course that the run went back from.
        while skipped.contains(&done) {
            done += 1;
        }
        Ok(done)
    }

    fn steps_skipped(&self) -> Result<BTreeSet<u64>, RecordError> {
        let skipped = self.faults()?.into_iter().filter(|fault| fault.outcome == FaultOutcome::Skipped);
        Ok(skipped.map(|fault| fault.step).collect())
    }

    /// Writes the rollouts of `step`, replacing any there.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn write_rollouts(&self, step: u64, rollouts: &[RolloutRecord]) -> Result<(), RecordError> {
        write::replace(&self.rollout_path(step), &write::compressed(&write::json_lines(rollouts)))
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
        let compressed = write::compressed(&write::json_lines(records));
        write::replace(&self.evaluation_path(summary.step, &summary.benchmark), &compressed)?;
        write::append_line(&self.root.join("evaluations.jsonl"), summary)
    }

    /// Summaries of every evaluation so far, in order.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn evaluations(&self) -> Result<Vec<EvaluationSummary>, RecordError> {
        let path = self.root.join("evaluations.jsonl");
        let evaluations: Vec<EvaluationSummary> = read_lines(&path)?;
        refuse_late(&path, evaluations.iter().map(|row| row.step))?;
        // The name becomes a part of a file's.
        match evaluations.iter().position(|summary| summary.benchmark.contains(['/', '\\', '\0'])) {
            Some(index) => Err(RecordError::Malformed {
                path,
                line: index + 1,
                message: "`benchmark` is no part of a file name; use letters, digits, `-` and `_`".into(),
            }),
            None => Ok(evaluations),
        }
    }

    /// The records behind one evaluation; empty when it was not made.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn evaluation_records(&self, step: u64, benchmark: &str) -> Result<Vec<EvaluationRecord>, RecordError> {
        read_lines(&self.evaluation_path(step, benchmark))
    }

    /// Writes the rollouts that caused a fault, then appends its line.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn append_fault(&self, fault: &FaultRecord, rollouts: &[RolloutRecord]) -> Result<(), RecordError> {
        write::create_directory(&self.root.join("faults"))?;
        write::replace(&self.fault_path(fault), &write::compressed(&write::json_lines(rollouts)))?;
        write::append_line(&self.root.join("faults.jsonl"), fault)
    }

    /// The faults so far, in order.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn faults(&self) -> Result<Vec<FaultRecord>, RecordError> {
        read_lines(&self.root.join("faults.jsonl"))
    }

    /// The rollouts that caused a fault.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn fault_rollouts(&self, fault: &FaultRecord) -> Result<Vec<RolloutRecord>, RecordError> {
        read_lines(&self.fault_path(fault))
    }

    /// Where the rollouts that caused a fault are kept.
    pub fn fault_path(&self, fault: &FaultRecord) -> PathBuf {
        self.root.join("faults").join(format!("step-{:06}-{}.jsonl.gz", fault.step, fault.detours))
    }

    /// Drops what was recorded for `step` and later, and evaluations after `step` updates, so that a run that goes on
    /// there continues without gap or repeat. At step 0 nothing is kept. Faults stay.
    ///
    /// # Errors
    /// [`RecordError`], also when what the steps before have recorded is not there.
    pub fn rewind(&self, step: u64) -> Result<(), RecordError> {
        let metrics = self.metrics()?;
        let evaluations = self.evaluations()?;
        self.refuse_gaps(step, &metrics)?;
        keep_lines(&self.root.join("metrics.jsonl"), metrics.iter().map(|row| row.step < step))?;
        let stays = |row: &EvaluationSummary| row.step <= step && step > 0;
        keep_lines(&self.root.join("evaluations.jsonl"), evaluations.iter().map(stays))?;
        // A crash between a step's rollouts and its metrics leaves one step more of rollouts than of metrics.
        let kept = self.root.join("rollouts");
        let names = if kept.is_dir() { write::list(&kept)? } else { Vec::new() };
        let step_of = |name: &str| name.strip_prefix("step-")?.strip_suffix(".jsonl.gz")?.parse::<u64>().ok();
        let stale = names.iter().filter(|name| step_of(name).is_some_and(|recorded| recorded >= step));
        let dropped = evaluations.iter().filter(|row| !stays(row));
        stale
            .map(|name| kept.join(name))
            .chain(dropped.map(|row| self.evaluation_path(row.step, &row.benchmark)))
            .try_for_each(|path| write::remove(&path))
    }

    /// Drops faults that a run which goes on at `step`, `detours` times returned by then, comes to again.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn rewind_faults(&self, step: u64, detours: u64) -> Result<(), RecordError> {
        let faults = self.faults()?;
        let stays = |fault: &FaultRecord| (fault.detours, fault.step) < (detours, step);
        for fault in faults.iter().filter(|fault| !stays(fault)) {
            write::remove(&self.fault_path(fault))?;
        }
        let path = self.root.join("faults.jsonl");
        if faults.iter().any(stays) {
            return keep_lines(&path, faults.iter().map(stays));
        }
        // A run without faults has no such file.
        write::remove(&path)
    }

    fn refuse_gaps(&self, step: u64, metrics: &[StepMetrics]) -> Result<(), RecordError> {
        let mut recorded = self.steps_skipped()?;
        recorded.extend(metrics.iter().map(|row| row.step));
        match (0..step).find(|done| !recorded.contains(done)) {
            Some(missing) => Err(RecordError::Unusable {
                path: self.root.join("metrics.jsonl"),
                message: format!(
                    "has no line of step {missing}, and the run goes on after {step} steps; put the whole file back, \
                     or start the run again in another directory"
                ),
            }),
            None => Ok(()),
        }
    }

    fn rollout_path(&self, step: u64) -> PathBuf {
        self.root.join("rollouts").join(format!("step-{step:06}.jsonl.gz"))
    }

    fn evaluation_path(&self, step: u64, benchmark: &str) -> PathBuf {
        self.root.join("evaluations").join(format!("step-{step:06}-{benchmark}.jsonl.gz"))
    }
}

/// Refuses lines of steps that no run comes to, with which nobody could count on.
fn refuse_late(path: &Path, mut steps: impl Iterator<Item = u64>) -> Result<(), RecordError> {
    match steps.position(|step| step > STEPS_MAX) {
        Some(index) => Err(RecordError::Malformed {
            path: path.to_owned(),
            line: index + 1,
            message: format!("`step` is above {STEPS_MAX}, which no run comes to"),
        }),
        None => Ok(()),
    }
}

/// Keeps those whole lines of `path` for which `keeps` says so, byte for byte: a number that is read and written again
/// may end in another digit, and a resumed run must not differ from one that was never interrupted.
fn keep_lines(path: &Path, keeps: impl Iterator<Item = bool>) -> Result<(), RecordError> {
    if !path.exists() {
        return Ok(());
    }
    let text = whole_lines(path)?;
    let kept: String = text.split_inclusive('\n').zip(keeps).filter(|(_, keep)| *keep).map(|(line, _)| line).collect();
    write::replace(path, kept.as_bytes())
}
