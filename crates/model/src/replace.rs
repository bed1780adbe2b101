//! The one place of this crate that creates files: a file appears whole or not at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use crate::ModelError;

/// Lets `fill` write a temporary file beside `path`, syncs it, renames it over `path` and syncs the directory of both, so
/// that a reader sees the old file or the new one, never a part, after a power failure too. When `fill` fails nothing is
/// left behind.
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
        // The first failure is the one to report; a leftover is removed by the next attempt.
        let _ = fs::remove_file(temporary);
        return written;
    }
    fs::rename(temporary, path).map_err(|source| write_failed(path, source))?;
    sync_parent(path)
}

/// Syncs the entries of the directory that holds `path`, so that what was renamed in it survives a power failure.
///
/// # Errors
/// [`ModelError::Io`] naming the directory.
pub(crate) fn sync_parent(path: &Path) -> Result<(), ModelError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(parent).and_then(|directory| directory.sync_all()) {
        // Some file systems have no such thing for a directory, and say so with EINVAL.
        Err(source) if source.kind() != io::ErrorKind::InvalidInput => {
            Err(ModelError::Io { action: "sync the directory", path: parent.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
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
pub(crate) fn write_failed(path: &Path, source: io::Error) -> ModelError {
    ModelError::Io { action: "write", path: path.to_owned(), source }
}

fn write_synced(
    path: &Path,
    temporary: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let failed = |source| write_failed(path, source);
    // A leftover goes first, and a link that somebody put there is not followed.
    match fs::remove_file(temporary) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
        Ok(()) | Err(_) => {}
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(temporary).map_err(failed)?);
    fill(&mut file)?;
    file.flush().map_err(failed)?;
    file.get_ref().sync_all().map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_at_the_name_of_the_part_is_replaced_and_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let [file, partial, elsewhere] =
            ["a.json", "a.json.partial", "elsewhere"].map(|name| directory.path().join(name));
        replace_bytes(&elsewhere, b"kept").unwrap();
        symlink(&elsewhere, &partial).unwrap();
        replace_bytes(&file, b"new").unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), b"kept");
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(!file.is_symlink() && !partial.exists());
    }

    #[test]
    fn a_file_that_is_not_filled_leaves_the_old_one_and_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.json");
        replace_bytes(&file, b"old").unwrap();
        let refused = replace_file(&file, |_| Err(write_failed(Path::new("b"), io::ErrorKind::Other.into())));
        assert_eq!(refused.unwrap_err().to_string(), "cannot write b");
        assert_eq!(fs::read(&file).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
