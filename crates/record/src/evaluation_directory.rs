//! What `brevity eval` leaves in its directory, and reading and writing it. Not the page: see `report`.
//!
//! The header is written before the first completion and the summary after the last, so a directory without a summary
//! is an evaluation that did not end.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use verify::Extraction;

use crate::{
    EVALUATION_SCHEMA_VERSION, EvaluationRecord, EvaluationSummary, RecordError, RecordLog, RunLock, Versioned,
    lines::{read_json, read_lines},
    write,
};

/// Who made the completions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicySource {
    /// This program's engine.
    Engine {
        /// Where the model was read from.
        directory: PathBuf,
        /// Its parameters.
        parameters: u64,
        /// Instruction set that the kernels ran on, or the card, as `cuda:0`.
        cpu: String,
        /// Type of the factors of matrix products: `f32` or `bf16`.
        compute: String,
        /// Checksum of the model's files (BLAKE3); none where an older version measured.
        #[serde(default)]
        checksum: Option<String>,
    },
    /// A server with OpenAI's API.
    Server {
        /// Its address.
        url: String,
        /// `chat` or `completions`.
        api: String,
        /// Completions asked for in one request.
        choices: u32,
        /// Further fields of every request.
        body: serde_json::Map<String, serde_json::Value>,
        /// Where the tokenizer that counts tokens was read from; none where the server alone counts.
        tokenizer: Option<PathBuf>,
    },
}

/// A problem that was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemLeftOut {
    /// Which: `problem` and its id, or `row` and its number where the id could not be read.
    pub problem: String,
    /// Why it was left out.
    pub reason: String,
}

/// `evaluation.json`: what is measured with which settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationHeader {
    /// [`EVALUATION_SCHEMA_VERSION`] of the writer.
    pub schema: u32,
    /// Version of the writing program.
    pub brevity_version: String,
    /// The model as it was asked for.
    pub model: String,
    /// Who makes the completions.
    pub policy: PolicySource,
    /// Benchmark name.
    pub benchmark: String,
    /// Where its problems were read from.
    pub problems_path: PathBuf,
    /// Only the first so many problems; none for all.
    pub problems_limit: Option<u32>,
    /// Problems measured.
    pub problems: u32,
    /// Problems that cannot be measured, in file order.
    pub problems_left_out: Vec<ProblemLeftOut>,
    /// Completions per problem.
    pub samples: u32,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f64,
    /// Nucleus mass kept when sampling; 1 keeps all.
    pub top_p: f64,
    /// Most likely tokens kept when sampling; 0 keeps all.
    pub top_k: u32,
    /// Token limit of a completion.
    pub completion_tokens_max: u32,
    /// Seed of the sampling.
    pub seed: u64,
    /// Seed of the order of multiple-choice options; none where there are no options.
    pub choices_seed: Option<u64>,
    /// `chat` for the model's chat template, `plain` for the bare question.
    pub template: String,
    /// What the chat template read by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, serde_json::Value>,
    /// System message; empty for none.
    pub system: String,
    /// Added to every question on a line of its own; empty for nothing.
    pub instruction: String,
    /// How answers are found.
    pub extraction: Extraction,
    /// The first problem's prompt as the policy was given it; none where a server puts prompts together.
    pub prompt_example: Option<String>,
    /// Start of the evaluation, seconds since 1970-01-01 UTC.
    pub started_unix_seconds: u64,
}

impl EvaluationHeader {
    /// How many of the most likely tokens are kept, in words: a server that is not asked to keep some does as it likes.
    pub fn tokens_kept(&self) -> String {
        match &self.policy {
            _ if self.top_k > 0 => self.top_k.to_string(),
            PolicySource::Server { body, .. } if !body.contains_key("top_k") => "the server's choice".to_owned(),
            PolicySource::Server { body, .. } => body["top_k"].to_string(),
            PolicySource::Engine { .. } => "all".to_owned(),
        }
    }
}

/// The directory of an evaluation on disk.
#[derive(Debug, Clone)]
pub struct EvaluationDirectory {
    root: PathBuf,
}

impl EvaluationDirectory {
    /// Makes the directory where it is not there and writes the header. A summary and records that are there are removed.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn create(root: &Path, header: &EvaluationHeader) -> Result<Self, RecordError> {
        let directory = Self::at(root);
        directory.begin_anew(header)?;
        Ok(directory)
    }

    /// The directory at `root`, whatever it holds.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// As [`Self::create`].
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn begin_anew(&self, header: &EvaluationHeader) -> Result<(), RecordError> {
        write::create_directory(&self.root)?;
        for stale in [self.summary_path(), self.page_path(), self.records_path()] {
            write::remove(&stale)?;
        }
        write::replace_json(&self.header_path(), header)
    }

    /// Whether the directory at `root` holds anything but what a start leaves that was killed before it wrote the header.
    ///
    /// # Errors
    /// [`RecordError::Io`] when the directory cannot be listed.
    pub fn is_taken(root: &Path) -> Result<bool, RecordError> {
        let names = if root.exists() { write::list(root)? } else { Vec::new() };
        Ok(names.iter().any(|name| name != RunLock::NAME && name != "evaluation.json.partial"))
    }

    /// Opens the directory at `root`.
    ///
    /// # Errors
    /// [`RecordError`] when `evaluation.json` is missing, malformed or of another schema version.
    pub fn open(root: &Path) -> Result<Self, RecordError> {
        let directory = Self { root: root.to_owned() };
        if !directory.header_path().is_file() {
            let message = "holds no evaluation.json; give a directory that `brevity eval` made".into();
            return Err(RecordError::Unusable { path: root.to_owned(), message });
        }
        let remedy = "use the version of brevity that wrote it, or evaluate again";
        Versioned::read(&directory.header_path())?.refuse_other(root, EVALUATION_SCHEMA_VERSION, remedy)?;
        Ok(directory)
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `evaluation.json`.
    pub fn header_path(&self) -> PathBuf {
        self.root.join("evaluation.json")
    }

    /// `records.jsonl`.
    pub fn records_path(&self) -> PathBuf {
        self.root.join("records.jsonl")
    }

    /// `summary.json`.
    pub fn summary_path(&self) -> PathBuf {
        self.root.join("summary.json")
    }

    /// `evaluation.html`.
    pub fn page_path(&self) -> PathBuf {
        self.root.join("evaluation.html")
    }

    /// Writes the header anew, where it turns out that problems have to be left out.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn write_header(&self, header: &EvaluationHeader) -> Result<(), RecordError> {
        write::replace_json(&self.header_path(), header)
    }

    /// What is measured with which settings.
    ///
    /// # Errors
    /// [`RecordError`] when the file is missing or malformed.
    pub fn header(&self) -> Result<EvaluationHeader, RecordError> {
        read_json(&self.header_path())
    }

    /// The log of records, to append to.
    ///
    /// # Errors
    /// [`RecordError`] when the file cannot be opened, read or cut, or another process writes it.
    pub fn log(&self) -> Result<RecordLog, RecordError> {
        RecordLog::open(&self.records_path())
    }

    /// Writes all records, replacing those there.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn write_records(&self, records: &[EvaluationRecord]) -> Result<(), RecordError> {
        write::replace(&self.records_path(), &write::json_lines(records))
    }

    /// The records there are; none before the first. A line torn by a crash at the end of the file is ignored.
    ///
    /// # Errors
    /// [`RecordError`] when a whole line is malformed.
    pub fn records(&self) -> Result<Vec<EvaluationRecord>, RecordError> {
        read_lines(&self.records_path())
    }

    /// Writes the summary, which ends the evaluation.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn write_summary(&self, summary: &EvaluationSummary) -> Result<(), RecordError> {
        write::replace_json(&self.summary_path(), summary)
    }

    /// The summary.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] when the evaluation did not end; [`RecordError`] when the file is malformed.
    pub fn summary(&self) -> Result<EvaluationSummary, RecordError> {
        if !self.summary_path().is_file() {
            let message = "holds no summary.json, so the evaluation did not end; run it to its end first".into();
            return Err(RecordError::Unusable { path: self.root.clone(), message });
        }
        read_json(&self.summary_path())
    }
}
