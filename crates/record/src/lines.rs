//! Reading files of records. Writing them is `write`'s.

use std::{fs, io, path::Path};

use serde::de::DeserializeOwned;

use crate::RecordError;

/// The bytes of `path`.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, RecordError> {
    fs::read(path).map_err(|source| RecordError::Io { action: "read", path: path.to_owned(), source })
}

/// The text of `path`; empty where there is no such file.
pub(crate) fn read_text(path: &Path) -> Result<String, RecordError> {
    match fs::read_to_string(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|source| RecordError::Io { action: "read", path: path.to_owned(), source }),
    }
}

/// Reads one JSON object per line; a missing file is empty, an unfinished last line (no newline) is ignored.
pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    read_text(path)?
        .split_inclusive('\n')
        .enumerate()
        .filter(|(_, line)| line.ends_with('\n'))
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| RecordError::Malformed {
                path: path.to_owned(),
                line: index + 1,
                message: error.to_string(),
            })
        })
        .collect()
}
