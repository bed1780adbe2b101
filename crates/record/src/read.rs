//! Reading files whole, none without an end. Writing them is `write`'s.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

/// The most bytes of a file that is read whole: far above what a run writes, and still memory that a machine has.
pub const FILE_BYTES_MAX: u64 = 1 << 32;

/// The file at `path`, which a directory made elsewhere may say is a pipe, that would be waited for, or a device, that has
/// no end.
///
/// # Errors
/// [`io::Error`] when it cannot be opened or is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_file() {
        return File::open(path);
    }
    let message =
        if kind.is_dir() { "it is a directory" } else { "it is a pipe or a device; write what it gives to a file" };
    Err(io::Error::new(io::ErrorKind::InvalidInput, message))
}

/// All bytes of the file at `path`.
///
/// # Errors
/// [`io::Error`] when it cannot be read, is no regular file or has more than [`FILE_BYTES_MAX`] bytes.
pub fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    // Before anything is allocated; a file that grows meanwhile is cut off.
    if file.metadata()?.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// As [`bytes`], of a file that is text.
///
/// # Errors
/// Those of [`bytes`], and [`io::Error`] when the file is not UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("it is not UTF-8 from byte {valid} on"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_is_refused_unread() {
        for path in ["/dev/zero", "/dev/null"] {
            let error = bytes(Path::new(path)).unwrap_err().to_string();
            assert_eq!(error, "it is a pipe or a device; write what it gives to a file", "{path}");
        }
        assert_eq!(text(Path::new("/")).unwrap_err().to_string(), "it is a directory");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test writes the file it reads")]
    fn a_file_is_read_whole_unless_it_is_too_large_or_not_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "λ = 0.2").unwrap();
        assert_eq!(text(&path).unwrap(), "λ = 0.2");
        fs::write(&path, b"caf\xe9").unwrap();
        assert_eq!(text(&path).unwrap_err().to_string(), "it is not UTF-8 from byte 3 on");
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert_eq!(bytes(&path).unwrap_err().to_string(), "it has more than 4294967296 bytes");
    }
}
