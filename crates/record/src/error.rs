//! What can go wrong between a run directory and the disk.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A failure to read or write a run directory.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
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
    /// A line or file does not hold what its schema says.
    #[error("{}, line {line}: {message}", shown_path(path))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The directory is not usable as asked.
    #[error("{}: {message}", shown_path(path))]
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

/// `path` as messages have it: as it is, or quoted with escapes where it could be taken for more than a name.
pub fn shown_path(path: &Path) -> String {
    let text = path.to_string_lossy();
    if text.contains(char::is_control) || text.contains("; ") { format!("{text:?}") } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_could_be_taken_for_a_message_is_quoted() {
        for (path, expected) in [
            ("my runs/a-seed0", "my runs/a-seed0"),
            ("a; run b", "\"a; run b\""),
            ("a\nerror: \"b\"", "\"a\\nerror: \\\"b\\\"\""),
        ] {
            assert_eq!(shown_path(Path::new(path)), expected);
        }
    }
}
