//! Versions of what is on disk, and the refusal of others.

use std::path::Path;

use serde::Deserialize;

use crate::{RecordError, lines::read_json};

/// Version of the schema of run directories. Readers refuse others; `brevity convert` makes this one of older ones.
pub const SCHEMA_VERSION: u32 = 3;

/// Version of the schema of evaluation directories; readers refuse others.
pub const EVALUATION_SCHEMA_VERSION: u32 = 2;

/// What every version of a header has in common.
#[derive(Debug, Deserialize)]
pub struct Versioned {
    /// Version of the schema.
    pub schema: Option<u32>,
    /// The program that wrote it.
    pub brevity_version: Option<String>,
}

impl Versioned {
    /// Reads what every version has of the header at `path`.
    ///
    /// # Errors
    /// [`RecordError`] when it is missing or malformed.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        read_json(path)
    }

    /// Refuses every version but `expected` of the directory `root`; the message ends with `remedy`.
    pub(crate) fn refuse_other(&self, root: &Path, expected: u32, remedy: &str) -> Result<(), RecordError> {
        if self.schema == Some(expected) {
            return Ok(());
        }
        let written = self.schema.map_or("no schema number".to_owned(), |schema| format!("schema {schema}"));
        let message = format!(
            "was written with {written} by version {} of brevity, and this version reads schema {expected}; {remedy}",
            self.brevity_version.as_deref().unwrap_or("unknown")
        );
        Err(RecordError::Unusable { path: root.to_owned(), message })
    }
}
