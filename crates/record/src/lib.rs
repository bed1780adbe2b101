//! What a run leaves on disk, and the reports drawn from it. Knows no model and no training code.
//!
//! Every file of a run directory is described in `docs/run-directory.md`; the types here are its schema.

mod error;
mod evaluation;
mod evaluation_directory;
mod fault;
mod lines;
pub mod manifest;
mod metrics;
pub mod read;
mod record_log;
pub mod report;
mod rollout;
mod run_directory;
mod run_lock;
mod schema;
mod shell;
pub mod write;

pub use error::{RecordError, shown_path};
pub use evaluation::{
    BudgetSummary, Decline, EvaluationRecord, EvaluationSummary, FirstCorrectSummary, LengthSummary, Lengths,
    LevelSummary, PREFIXES_MAX, PassAtK, PrefixVerdicts, TokenSource, prefix_stride, token_budgets,
};
pub use evaluation_directory::{EvaluationDirectory, EvaluationHeader, PolicySource, ProblemLeftOut};
pub use fault::{FaultOutcome, FaultRecord, RolloutPlace};
pub use lines::whole_lines;
pub use metrics::{
    DynamicSamplingMetrics, PhaseSeconds, SelectionMetrics, ShaperMetrics, SignalMetrics, StepMetrics, TokenStatistics,
    WarningMetrics,
};
pub use record_log::{RecordLog, SettingDifference, setting_difference};
pub use rollout::{RolloutRecord, StopReason};
pub use run_directory::{RunDirectory, RunHeader, STEPS_MAX};
pub use run_lock::{LastOwner, RunLock};
pub use schema::{EVALUATION_SCHEMA_VERSION, SCHEMA_VERSION, Versioned};
pub use shell::{shell_word, turns_writing};
