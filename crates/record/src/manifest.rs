//! A list of a directory's files with a checksum for each, so that a changed, missing or added byte is found by name.
//!
//! One line a file, as `b3sum` writes them, with the size between: `CHECKSUM  BYTES  PATH`, ascending by path. The first
//! line names the format, and the last is the checksum of all lines before it. It finds damage, not forgery: whoever
//! can write the files can write the list.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use crate::{RecordError, lines::read_failed, read, write};

/// Name of the list within its directory.
const NAME: &str = "manifest";
/// Its first line; the number is the version of its format.
const FORMAT: &str = "brevity manifest 1";
/// A list of more bytes than this is refused unread.
const BYTES_MAX: u64 = 1 << 20;

/// What is known of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    bytes: u64,
    checksum: String,
}

/// The BLAKE3 checksum of the file at `path`, in hexadecimal.
///
/// # Errors
/// [`RecordError::Io`].
pub fn checksum(path: &Path) -> Result<String, RecordError> {
    let hash = |file: File| {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(file)?;
        Ok(hasher.finalize().to_hex().to_string())
    };
    read::open(path).and_then(hash).map_err(|source| read_failed(path, source))
}

/// The BLAKE3 checksum of `bytes`, in hexadecimal.
pub fn checksum_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Lists the files under `directory` as they are now, and syncs the directories, so that all of it survives a power
/// failure once `directory` has got its name. The files themselves are synced by whoever wrote them.
///
/// # Errors
/// [`RecordError`] when a file cannot be read or the list not be written.
pub fn write(directory: &Path) -> Result<(), RecordError> {
    let (files, directories) = files_and_directories(directory)?;
    let mut text = format!("{FORMAT}\n");
    for name in files.iter().filter(|name| name.as_str() != NAME) {
        let path = directory.join(name);
        let bytes = fs::metadata(&path).map_err(|source| read_failed(&path, source))?.len();
        text.extend([checksum(&path)?, format!("  {bytes}  "), name.clone(), "\n".to_owned()]);
    }
    text.extend([checksum_of(text.as_bytes()), "\n".to_owned()]);
    write::replace(&directory.join(NAME), text.as_bytes())?;
    directories.iter().try_for_each(|directory| write::sync_directory(directory))
}

/// Compares the files under `directory` with its list.
///
/// # Errors
/// [`RecordError::Unusable`] naming the first file that differs, is missing or is not listed, and in what;
/// [`RecordError::Io`].
pub fn check(directory: &Path) -> Result<(), RecordError> {
    let list = directory.join(NAME);
    let entries = parsed(&read_list(&list)?).map_err(|message| RecordError::Unusable { path: list, message })?;
    for (name, entry) in &entries {
        let path = directory.join(name);
        if let Some(message) = difference(&path, entry)? {
            return Err(RecordError::Unusable { path, message });
        }
    }
    let (files, _) = files_and_directories(directory)?;
    match files.iter().find(|name| name.as_str() != NAME && !entries.contains_key(*name)) {
        Some(name) => Err(RecordError::Unusable {
            path: directory.join(name),
            message: "is not in the manifest of its directory; remove it".into(),
        }),
        None => Ok(()),
    }
}

fn read_list(path: &Path) -> Result<String, RecordError> {
    let failed = |source| read_failed(path, source);
    let mut bytes = Vec::new();
    read::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(failed)?;
    let unusable = |message: &str| RecordError::Unusable { path: path.to_owned(), message: message.into() };
    if bytes.len() as u64 > BYTES_MAX {
        return Err(unusable("is no manifest: it has more than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| unusable("differs from what was written: it is not text"))
}

/// The entries of a list by path.
fn parsed(text: &str) -> Result<BTreeMap<String, Entry>, String> {
    let damaged = || "differs from what was written: its last line is not the checksum of those before it".to_owned();
    let whole = text.strip_suffix('\n').ok_or_else(damaged)?;
    let (listed, checksum) = text.split_at(whole.rfind('\n').map_or(0, |end| end + 1));
    if checksum.trim_end_matches('\n') != checksum_of(listed.as_bytes()) {
        return Err(damaged());
    }
    let Some(lines) = listed.strip_prefix(FORMAT).and_then(|rest| rest.strip_prefix('\n')) else {
        return Err(format!("is not of the form `{FORMAT}`; use the version of brevity that wrote it"));
    };
    let entry = |line: &str| {
        let (checksum, rest) = line.split_once("  ")?;
        let (bytes, name) = rest.split_once("  ")?;
        let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
        inside.then_some(())?;
        Some((name.to_owned(), Entry { bytes: bytes.parse().ok()?, checksum: checksum.to_owned() }))
    };
    lines.lines().map(|line| entry(line).ok_or_else(|| format!("has the line `{line}`, which is no entry"))).collect()
}

/// In what the file at `path` differs from its entry.
fn difference(path: &Path, entry: &Entry) -> Result<Option<String>, RecordError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Some("is missing".into())),
        found => found.map_err(|source| read_failed(path, source))?,
    };
    if !metadata.is_file() {
        return Ok(Some("is no file".into()));
    }
    if metadata.len() != entry.bytes {
        return Ok(Some(format!("has {} bytes, and had {} when it was written", metadata.len(), entry.bytes)));
    }
    let found = checksum(path)?;
    let differs = || {
        let [found, written] = [&found, &entry.checksum].map(|checksum| checksum.get(..16).unwrap_or(checksum));
        format!("differs from what was written: its checksum begins with {found}, and began with {written}")
    };
    Ok((found != entry.checksum).then(differs))
}

/// The names of all files under `root`, links among them, with `/` between parts and sorted; and `root` with all
/// directories under it.
fn files_and_directories(root: &Path) -> Result<(Vec<String>, Vec<PathBuf>), RecordError> {
    let (mut files, mut directories) = (Vec::new(), vec![root.to_owned()]);
    let mut next = 0;
    while let Some(directory) = directories.get(next).cloned() {
        next += 1;
        for entry in write::list(&directory)? {
            let path = directory.join(&entry);
            let is_directory = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir());
            let below = path.strip_prefix(root).expect("entries lie below the root").to_string_lossy().into_owned();
            if is_directory {
                directories.push(path);
            } else {
                files.push(below);
            }
        }
    }
    files.sort();
    Ok((files, directories))
}
