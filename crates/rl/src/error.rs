//! What can go wrong between a config and a trained policy because of the world, not because of us.

use std::{io, path::PathBuf};

/// A failure of a training, evaluation or data-reading job.
#[derive(Debug, thiserror::Error)]
pub enum RlError {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted, a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A row of a problem file is unusable.
    #[error("{}, row {row}: {message}", path.display())]
    Row {
        /// The problem file.
        path: PathBuf,
        /// Row number, from 1 (the line number for JSONL).
        row: usize,
        /// What is wrong and what would be right.
        message: String,
    },
    /// A file as a whole is unusable.
    #[error("{}: {message}", path.display())]
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
    /// Reading or writing the run directory failed.
    #[error(transparent)]
    Record(#[from] record::RecordError),
}
