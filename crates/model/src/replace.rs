//! The one place of this crate that creates files: a file appears whole or not at all.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use crate::ModelError;

/// Lets `fill` write a temporary file beside `path`, syncs it and renames it over `path`, so that a reader sees the old
/// file or the new one, never a part. When `fill` fails nothing is left behind.
///
/// # Errors
/// What `fill` returns, or [`ModelError::Io`] naming `path`.
pub(crate) fn replace_file(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".partial");
    let temporary = Path::new(&temporary);
    let written = write_synced(path, temporary, fill);
    if written.is_err() {
        // The first failure is the one to report; a leftover is overwritten by the next attempt.
        let _ = fs::remove_file(temporary);
        return written;
    }
    fs::rename(temporary, path).map_err(|source| write_failed(path, source))
}

/// [`replace_file`] with `bytes` as the whole content.
///
/// # Errors
/// [`ModelError::Io`] naming `path`.
pub(crate) fn replace_bytes(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    replace_file(path, |file| file.write_all(bytes).map_err(|source| write_failed(path, source)))
}

/// Replaces the file at `path` by `value` as indented JSON with a newline at its end.
///
/// # Errors
/// [`ModelError::Io`] naming `path`.
pub(crate) fn replace_json(path: &Path, value: &serde_json::Value) -> Result<(), ModelError> {
    replace_file(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value).map_err(|error| write_failed(path, error.into()))?;
        file.write_all(b"\n").map_err(|source| write_failed(path, source))
    })
}

/// The error of a write to `path`.
pub(crate) fn write_failed(path: &Path, source: std::io::Error) -> ModelError {
    ModelError::Io { action: "write", path: path.to_owned(), source }
}

#[expect(clippy::disallowed_methods, reason = "this is the crate's one writer; it never leaves half a file")]
fn write_synced(
    path: &Path,
    temporary: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let failed = |source| write_failed(path, source);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(temporary).map_err(failed)?);
    fill(&mut file)?;
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)
}
