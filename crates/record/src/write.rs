//! The one place that creates files: whole files appear at once or not at all, logs grow by whole lines.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process,
};

use flate2::{Compression, write::GzEncoder};
use serde::Serialize;

use crate::RecordError;

/// Writes `bytes` to `path` so that a reader sees the old file or the new one, never a part: a temporary file in the
/// same directory is written, synced and renamed over `path`.
///
/// # Errors
/// [`RecordError::Io`] naming the file.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let mut replacement = Replacement::begin(path)?;
    replacement.write(bytes)?;
    replacement.finish()
}

/// As [`replace`], for a file that a user named: see [`Replacement::begin_output`].
///
/// # Errors
/// Those of [`Replacement::begin_output`].
pub fn output(path: &Path, bytes: &[u8]) -> Result<(), RecordError> {
    let mut replacement = Replacement::begin_output(path)?;
    replacement.write(bytes)?;
    replacement.finish()
}

/// Refuses an output at `path` where something is that is no file, such as a directory, a pipe or a device.
///
/// # Errors
/// [`RecordError::Unusable`] naming it.
pub fn refuse_no_file(path: &Path) -> Result<(), RecordError> {
    let message = match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => "is a directory; give a file name in it",
        Ok(metadata) if !metadata.is_file() => "is a device or a pipe, and would be replaced; give the path of a file",
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(RecordError::Unusable { path: path.to_owned(), message: message.into() })
}

/// A file that is written part by part beside its name, and takes it when it is whole. One that is dropped before it is
/// finished is removed.
#[derive(Debug)]
pub struct Replacement {
    file: BufWriter<File>,
    path: PathBuf,
    temporary: PathBuf,
}

impl Replacement {
    /// Begins the file that shall become `path`.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn begin(path: &Path) -> Result<Self, RecordError> {
        let temporary = beside(path, ".partial");
        // A leftover goes first, and a link that somebody put there is not followed.
        remove(&temporary)?;
        let file = File::create_new(&temporary).map_err(|source| write_failed(path, source))?;
        Ok(Self { file: BufWriter::new(file), path: path.to_owned(), temporary })
    }

    /// Begins the file that shall become `path`, which a user named, with the directories that lead to it. Nobody holds a
    /// lock there: the temporary file takes no name that something has, and other programs may do the same.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] when something else than a file has the name; [`RecordError::Io`].
    pub fn begin_output(path: &Path) -> Result<Self, RecordError> {
        refuse_no_file(path)?;
        create_directory(parent(path))?;
        for number in 0_u64.. {
            let temporary = beside(path, &format!(".{}-{number}.partial", process::id()));
            match File::create_new(&temporary) {
                Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(write_failed(path, source)),
                Ok(file) => return Ok(Self { file: BufWriter::new(file), path: path.to_owned(), temporary }),
            }
        }
        unreachable!("no directory has 2^64 files");
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.file.write_all(bytes).map_err(|source| write_failed(&self.path, source))
    }

    /// Syncs the file, gives it its name, and syncs the directory that holds it.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn finish(mut self) -> Result<(), RecordError> {
        let failed = |source| write_failed(&self.path, source);
        self.file.flush().map_err(failed)?;
        self.file.get_ref().sync_all().map_err(failed)?;
        fs::rename(&self.temporary, &self.path).map_err(failed)?;
        sync_directory(parent(&self.path))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // After `finish` there is nothing under that name; elsewhere what cannot be removed is no worse than a crash.
        let _ = fs::remove_file(&self.temporary);
    }
}

/// A file that grows beside its name, and takes it when it is whole. What there is of it stays when the program ends, and a
/// later one goes on with it; it is locked for one program at a time.
#[derive(Debug)]
pub struct Growing {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
}

impl Growing {
    /// Begins the file that shall become `path`, or goes on with what there is of it. While another program writes to it
    /// this one waits, and says so to `waiting` first.
    ///
    /// # Errors
    /// [`RecordError`] naming the file, when it cannot be opened or is a link.
    pub fn open(path: &Path, mut waiting: impl FnMut()) -> Result<Self, RecordError> {
        // A name of our own: what another program leaves under its own name would not be gone on with but added to.
        let temporary = beside(path, ".brevity.incomplete");
        loop {
            refuse_link(&temporary)?;
            let opened = OpenOptions::new().create(true).read(true).append(true).open(&temporary);
            let file = opened.map_err(|source| write_failed(&temporary, source))?;
            let locked = match file.try_lock() {
                Err(TryLockError::WouldBlock) => {
                    waiting();
                    file.lock()
                }
                Err(TryLockError::Error(source)) => Err(source),
                Ok(()) => Ok(()),
            };
            locked.map_err(|source| RecordError::Io { action: "lock", path: temporary.clone(), source })?;
            // Between opening and locking, another program may have given it its name or removed it.
            if is_at(&file, &temporary) {
                return Ok(Self { file, path: path.to_owned(), temporary });
            }
        }
    }

    /// How many bytes there are.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn bytes(&self) -> Result<u64, RecordError> {
        Ok(self.file.metadata().map_err(|source| write_failed(&self.temporary, source))?.len())
    }

    /// Reads what there is, from the beginning.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn reader(&mut self) -> Result<impl Read + use<'_>, RecordError> {
        self.file.seek(SeekFrom::Start(0)).map_err(|source| write_failed(&self.temporary, source))?;
        Ok(BufReader::new(&self.file))
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.file.write_all(bytes).map_err(|source| write_failed(&self.temporary, source))
    }

    /// Drops what there is.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn restart(&mut self) -> Result<(), RecordError> {
        self.file.set_len(0).map_err(|source| write_failed(&self.temporary, source))
    }

    /// Syncs the file, gives it its name, and syncs the directory that holds it.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn finish(self) -> Result<(), RecordError> {
        let failed = |source| write_failed(&self.path, source);
        self.file.sync_all().map_err(failed)?;
        fs::rename(&self.temporary, &self.path).map_err(failed)?;
        sync_directory(parent(&self.path))
    }

    /// Removes what there is.
    ///
    /// # Errors
    /// [`RecordError::Io`] naming the file.
    pub fn discard(self) -> Result<(), RecordError> {
        remove(&self.temporary)
    }
}

/// Whether the open file is the one that has the name `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().is_ok_and(|file| fs::symlink_metadata(path).is_ok_and(|named| identity(named) == identity(file)))
}

/// Whether some file has the name `path`: elsewhere an open file keeps its name.
#[cfg(not(unix))]
fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

fn write_failed(path: &Path, source: io::Error) -> RecordError {
    RecordError::Io { action: "write", path: path.to_owned(), source }
}

/// As [`replace`], with `value` as indented JSON and a newline.
///
/// # Errors
/// [`RecordError::Io`] naming the file.
///
/// # Panics
/// Never for the types of this crate: their fields all have a JSON form.
pub fn replace_json<T: Serialize>(path: &Path, value: &T) -> Result<(), RecordError> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("records serialise to JSON");
    bytes.push(b'\n');
    replace(path, &bytes)
}

/// Removes `path` where it exists.
///
/// # Errors
/// [`RecordError::Io`] naming the file.
pub fn remove(path: &Path) -> Result<(), RecordError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RecordError::Io { action: "remove", path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Creates `path` and its parents, and syncs the directories that hold what is new.
///
/// # Errors
/// [`RecordError::Io`] naming the directory.
pub fn create_directory(path: &Path) -> Result<(), RecordError> {
    let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let new: Vec<&Path> = path.ancestors().take_while(is_new).collect();
    fs::create_dir_all(path).map_err(|source| RecordError::Io {
        action: "create the directory",
        path: path.to_owned(),
        source,
    })?;
    new.into_iter().try_for_each(|path| sync_directory(parent(path)))
}

/// Locks an open file for this program.
pub(crate) fn lock(file: &File, path: &Path) -> Result<(), RecordError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => {
            let message = "another program writes to it; wait until that has ended".into();
            RecordError::Unusable { path: path.to_owned(), message }
        }
        TryLockError::Error(source) => RecordError::Io { action: "lock", path: path.to_owned(), source },
    })
}

/// Syncs the entries of the directory `path`, so that what was created or renamed in it survives a power failure.
///
/// # Errors
/// [`RecordError::Io`] naming the directory.
pub fn sync_directory(path: &Path) -> Result<(), RecordError> {
    match File::open(path).and_then(|directory| directory.sync_all()) {
        // Some file systems have no such thing for a directory, and say so with EINVAL.
        Err(source) if source.kind() != io::ErrorKind::InvalidInput => {
            Err(RecordError::Io { action: "sync the directory", path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Gives the directory `from` the name `to` beside it, in place of what has it, and syncs their parent.
///
/// # Errors
/// [`RecordError::Io`] naming the directory.
pub fn rename_directory(from: &Path, to: &Path) -> Result<(), RecordError> {
    remove_whole(to)?;
    rename_new(from, to)
}

/// Gives the directory `from` the name `to` beside it, which nothing has but an empty directory, and syncs their parent.
///
/// # Errors
/// [`RecordError::Io`] naming the directory.
pub fn rename_new(from: &Path, to: &Path) -> Result<(), RecordError> {
    let failed = |source| RecordError::Io { action: "rename", path: from.to_owned(), source };
    fs::rename(from, to).map_err(failed)?;
    sync_directory(parent(to))
}

/// Removes the directory `path` with all in it, where it exists, and what a crash left of an earlier removal.
///
/// It is renamed to `path` with `.removed.partial` at the end first, so that a crash leaves no half of it under its name.
///
/// # Errors
/// [`RecordError::Io`] naming the directory.
pub fn remove_whole(path: &Path) -> Result<(), RecordError> {
    end_removal(path)?;
    let removed = &beside(path, ".removed.partial");
    match fs::rename(path, removed) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        renamed => renamed.map_err(|source| RecordError::Io { action: "remove", path: path.to_owned(), source })?,
    }
    sync_directory(parent(path))?;
    remove_directory(removed)
}

/// Removes what a crash left of an earlier [`remove_whole`] of `path`.
///
/// # Errors
/// [`RecordError::Io`] naming the directory.
pub fn end_removal(path: &Path) -> Result<(), RecordError> {
    remove_directory(&beside(path, ".removed.partial"))
}

/// `path` with `ending` at its end.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Removes the directory `path` with all in it, where it exists, file by file.
///
/// # Errors
/// [`RecordError::Io`] naming the directory.
pub fn remove_directory(path: &Path) -> Result<(), RecordError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(RecordError::Io { action: "remove", path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The names in the directory `path`, sorted.
///
/// # Errors
/// [`RecordError::Io`] naming the directory.
pub fn list(path: &Path) -> Result<Vec<String>, RecordError> {
    let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = entries.map_err(|source| RecordError::Io { action: "list", path: path.to_owned(), source })?;
    let mut names: Vec<String> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// `bytes` as gzip, the same for the same bytes: there is no time in it.
pub fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("writing to memory does not fail")
}

/// One JSON object per line.
///
/// # Panics
/// Never for the types of this crate: their fields all have a JSON form.
pub fn json_lines<T: Serialize>(rows: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut bytes, row).expect("records serialise to JSON");
        bytes.push(b'\n');
    }
    bytes
}

/// Refuses to write through a link at `path`, which may lead anywhere.
///
/// # Errors
/// [`RecordError::Unusable`] naming the link.
pub(crate) fn refuse_link(path: &Path) -> Result<(), RecordError> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        let message = "is a link, and may lead out of its directory; replace it by what it leads to".into();
        return Err(RecordError::Unusable { path: path.to_owned(), message });
    }
    Ok(())
}

/// Appends one JSON object and a newline to `path` in a single write, creating the file when needed.
///
/// # Errors
/// [`RecordError::Io`] naming the file.
pub fn append_line<T: Serialize>(path: &Path, row: &T) -> Result<(), RecordError> {
    let failed = |source| RecordError::Io { action: "append to", path: path.to_owned(), source };
    refuse_link(path)?;
    let is_new = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
    file.write_all(&json_lines(std::slice::from_ref(row))).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    if is_new { sync_directory(parent(path)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_file_is_gone_on_with_by_one_program_at_a_time_and_appears_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let names = || list(directory.path()).unwrap();
        let open = || Growing::open(&path, || panic!("nobody else writes")).unwrap();
        let mut first = open();
        first.write(b"one, ").unwrap();
        let (mut first, mut waits) = (Some(first), 0);
        let mut second = Growing::open(&path, || {
            waits += 1;
            drop(first.take());
        })
        .unwrap();
        assert_eq!((names(), waits), (vec!["file.brevity.incomplete".to_owned()], 1));

        assert_eq!(second.bytes().unwrap(), 5);
        let mut text = String::new();
        second.reader().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one, ");
        second.write(b"two").unwrap();
        second.finish().unwrap();
        assert_eq!((names(), fs::read_to_string(&path).unwrap()), (vec!["file".to_owned()], "one, two".to_owned()));

        let mut third = open();
        third.write(b"three").unwrap();
        third.restart().unwrap();
        third.write(b"four").unwrap();
        assert_eq!(third.bytes().unwrap(), 4);
        third.discard().unwrap();
        assert_eq!(names(), ["file"]);
    }

    #[test]
    fn a_growing_file_that_was_taken_away_while_another_waited_for_it_is_begun_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let mut first = Growing::open(&path, || panic!("nobody else writes")).unwrap();
        first.write(b"one").unwrap();
        let mut first = Some(first);
        let second = Growing::open(&path, || first.take().unwrap().discard().unwrap()).unwrap();
        assert_eq!((second.bytes().unwrap(), is_at(&second.file, &second.temporary)), (0, true));
    }

    #[cfg(unix)]
    #[test]
    fn a_growing_file_does_not_write_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let [path, other] = ["file", "other"].map(|name| directory.path().join(name));
        std::os::unix::fs::symlink(&other, directory.path().join("file.brevity.incomplete")).unwrap();
        let refused = Growing::open(&path, || {}).unwrap_err().to_string();
        assert!(refused.contains("is a link, and may lead out of its directory"), "{refused}");
        assert!(!other.exists());
    }
}
