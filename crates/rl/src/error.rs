//! What can go wrong between a config and a trained policy because of the world, not because of us.

use std::{io, path::PathBuf};

use record::shown_path;

/// A failure of a training, evaluation or data-reading job.
#[derive(Debug, thiserror::Error)]
pub enum RlError {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}", shown_path(path))]
    Io {
        /// What was attempted, a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A row of a problem file is unusable.
    #[error("{}, row {row}: {message}", shown_path(path))]
    Row {
        /// The problem file.
        path: PathBuf,
        /// Row number, from 1 (the line number for JSONL).
        row: usize,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A file as a whole is unusable.
    #[error("{}: {message}", shown_path(path))]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A setting is out of range or contradicts another.
    #[error("`{field}` {message}")]
    Setting {
        /// The setting's path in the config.
        field: &'static str,
        /// The value, what is wrong with it, and what would be right.
        message: String,
    },
    /// A problem cannot be made into a prompt.
    #[error("problem {problem}: {message}")]
    Problem {
        /// Id of the problem.
        problem: String,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A number that training depends on is NaN or infinite.
    #[error("step {step}: the {quantity} is {value}; lower the learning rate or look at the rollouts of the step")]
    NotFinite {
        /// The step.
        step: u64,
        /// What is not finite.
        quantity: &'static str,
        /// Its value.
        value: f64,
    },
    /// A step of a run has a fault, and the run stops because of it.
    #[error(
        "step {step}: the {quantity} is {value}{spent}; the rollouts that caused it are in {}; lower the learning rate, \
         or set `train.faults.remedy`",
        shown_path(rollouts)
    )]
    Fault {
        /// The step.
        step: u64,
        /// What is at fault.
        quantity: &'static str,
        /// Its value.
        value: f64,
        /// Which other remedy has been used up.
        spent: String,
        /// The file that keeps the rollouts.
        rollouts: PathBuf,
    },
    /// The run would not fit in memory.
    #[error("the run needs about {needed} and {available} are available: {parts}; lower {remedy}")]
    Memory {
        /// Estimated need.
        needed: String,
        /// What there is.
        available: String,
        /// The largest parts.
        parts: String,
        /// Settings that lower it.
        remedy: &'static str,
    },
    /// Reading or writing a model failed.
    #[error(transparent)]
    Model(#[from] model::ModelError),
    /// Reading or writing the run directory failed.
    #[error(transparent)]
    Record(#[from] record::RecordError),
}
