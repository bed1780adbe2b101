//! What can go wrong between a run directory and the disk.

use std::{io, path::PathBuf};

/// A failure to read or write a run directory.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
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
    /// A line or file does not hold what its schema says.
    #[error("{}, line {line}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The directory is not usable as asked.
    #[error("{}: {message}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// The run directories given cannot be reported on together.
    #[error("cannot draw a report: {message}")]
    Report {
        /// What is wrong and what to do.
        message: String,
    },
}
