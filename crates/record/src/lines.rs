//! Reading files of records. Writing them is `write`'s.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;

use crate::{RecordError, read};

/// Of a file no more than this is expanded: a few kilobytes that are compressed can claim to be terabytes.
const TEXT_BYTES_MAX: u64 = read::FILE_BYTES_MAX;

/// The error of a read of `path`.
pub(crate) fn read_failed(path: &Path, source: io::Error) -> RecordError {
    RecordError::Io { action: "read", path: path.to_owned(), source }
}

/// The whole lines of `path`, each with its line break; none where there is no such file. A last line without a break,
/// which a crash tore, is left out. A file whose name ends in `.gz` is expanded.
///
/// # Errors
/// [`RecordError`] when the file cannot be read, is not UTF-8, or holds more than 4 GiB of text.
pub fn whole_lines(path: &Path) -> Result<String, RecordError> {
    let mut bytes = match read::open(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        opened => opened.and_then(|file| expanded(path, file)).map_err(|source| read_failed(path, source))?,
    };
    if bytes.len() as u64 > TEXT_BYTES_MAX {
        let message = format!("holds more than {TEXT_BYTES_MAX} bytes of text, which no run writes; remove it");
        return Err(RecordError::Unusable { path: path.to_owned(), message });
    }
    bytes.truncate(bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1));
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].split(|&byte| byte == b'\n').count();
        RecordError::Malformed { path: path.to_owned(), line, message: "is not UTF-8".into() }
    })
}

fn expanded(path: &Path, file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path.extension().is_some_and(|extension| extension == "gz") {
        MultiGzDecoder::new(file).take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        file.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Reads one JSON object per line, as [`whole_lines`] gives them.
pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, RecordError> {
    whole_lines(path)?
        .lines()
        .enumerate()
        .map(|(index, line)| {
            serde_json::from_str(line).map_err(|error| RecordError::Malformed {
                path: path.to_owned(),
                line: index + 1,
                message: error.to_string(),
            })
        })
        .collect()
}

/// The one JSON value in `path`.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let bytes = read::bytes(path).map_err(|source| read_failed(path, source))?;
    serde_json::from_slice(&bytes).map_err(|error| RecordError::Malformed {
        path: path.to_owned(),
        line: error.line(),
        message: error.to_string(),
    })
}
