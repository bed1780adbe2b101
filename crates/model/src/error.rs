//! What can go wrong with the files of a model.

use std::{io, path::PathBuf};

/// A failure to read, convert or write a model directory.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
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
    /// A file's content is unusable.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong, naming field and value, and what would be right.
        message: String,
    },
    /// A chat template could not be rendered.
    #[error("chat template of {}: {message}", path.display())]
    Template {
        /// The file that holds the template.
        path: PathBuf,
        /// The template engine's message.
        message: String,
    },
}
