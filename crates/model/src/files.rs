//! Opening the files of a model directory, and reading the small ones whole, none larger than a bound. Weights are read
//! piece by piece elsewhere.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use crate::ModelError;

/// The largest tokenizer files there are have some tens of megabytes.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The file at `path`, or the one that it is a link to, as in the cache of the Hugging Face hub, and how many bytes it has.
///
/// # Errors
/// [`ModelError`] when it cannot be opened or is no file.
pub(crate) fn open(path: &Path) -> Result<(File, u64), ModelError> {
    let failed = |source| ModelError::Io { action: "read", path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        // A pipe would be waited for, and a device has no end.
        let message =
            if metadata.is_dir() { "is a directory; give the file in it" } else { "is no file; download it again" };
        return Err(ModelError::File { path: path.to_owned(), message: message.to_owned() });
    }
    Ok((File::open(path).map_err(failed)?, metadata.len()))
}

/// The bytes of the file at `path`, as [`open`] finds it.
///
/// # Errors
/// [`ModelError`] when it cannot be read, is no file, or is larger than any such file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let (file, length) = open(path)?;
    if length > FILE_BYTES_MAX {
        let largest = FILE_BYTES_MAX >> 20;
        let message = format!("has more than {largest} MiB, which no such file has; download it again");
        return Err(ModelError::File { path: path.to_owned(), message });
    }
    let mut bytes = Vec::new();
    let failed = |source| ModelError::Io { action: "read", path: path.to_owned(), source };
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// As [`read`], of a file that is text.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
    String::from_utf8(read(path)?).map_err(not_text).map_err(|source| ModelError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes the file it reads")]
    fn what_is_no_file_or_has_no_end_is_refused_unread() {
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().to_string(), "/dev/zero: is no file; download it again");
        assert_eq!(read(Path::new("/")).unwrap_err().to_string(), "/: is a directory; give the file in it");
        let path = std::env::temp_dir().join(format!("brevity-files-{}", std::process::id()));
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        let error = read(&path).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(error.ends_with(": has more than 256 MiB, which no such file has; download it again"), "{error}");
    }
}
