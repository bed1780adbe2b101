//! One writer for each run directory, and for each directory of an evaluation, a fine-tuning or a task. The operating
//! system holds the lock and lets go of it however its owner ends.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::Path,
};

use crate::{RecordError, run_directory::PARTS, write};

/// Longest note of an owner that is shown.
const OWNER_BYTES_MAX: u64 = 200;

/// The right to write a directory, until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

/// How a program left a directory that it wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastOwner {
    /// By itself.
    LetGo,
    /// It could not let go: it was killed.
    Killed,
}

impl RunLock {
    /// The name of the file that is locked, which is empty while nobody writes there.
    pub const NAME: &str = "lock";

    /// Takes the lock of the directory `root`, whose parts, where it is that of a run, must be directories of its own,
    /// because the owner writes and removes files there.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] naming the program that holds it, or a part that is a link; [`RecordError::Io`].
    pub fn take(root: &Path) -> Result<Self, RecordError> {
        let path = root.join(Self::NAME);
        let failed = |source| RecordError::Io { action: "lock", path: path.clone(), source };
        write::refuse_link(&path)?;
        refuse_linked_parts(root)?;
        let options = OpenOptions::new().create(true).read(true).write(true).truncate(false).to_owned();
        let mut file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = Vec::new();
                // An owner that is not known is no reason to say less about the rest.
                let _ = file.take(OWNER_BYTES_MAX).read_to_end(&mut owner);
                let owner = String::from_utf8_lossy(&owner);
                let owner = if owner.is_empty() { "another program" } else { owner.trim_end() };
                let message = format!("{owner} writes to it; wait until it has ended, or stop it");
                return Err(RecordError::Unusable { path: root.to_owned(), message });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let note = format!("program {} on {}\n", std::process::id(), host());
        // Never empty in between: what a killed owner left is told by its length.
        file.write_all(note.as_bytes()).map_err(failed)?;
        file.set_len(note.len() as u64).map_err(failed)?;
        write::sync_directory(root)?;
        Ok(Self { file })
    }

    /// How the last owner of the directory `root`, which nobody writes now, left it.
    pub fn last_owner(root: &Path) -> LastOwner {
        let is_left = fs::symlink_metadata(root.join(Self::NAME)).is_ok_and(|lock| lock.len() > 0);
        if is_left { LastOwner::Killed } else { LastOwner::LetGo }
    }
}

/// Refuses links in place of the directories of a run, and of its checkpoints.
fn refuse_linked_parts(root: &Path) -> Result<(), RecordError> {
    PARTS.into_iter().chain(["faults"]).try_for_each(|part| write::refuse_link(&root.join(part)))?;
    let checkpoints = root.join("checkpoints");
    let names = if checkpoints.is_dir() { write::list(&checkpoints)? } else { Vec::new() };
    names.iter().try_for_each(|name| write::refuse_link(&checkpoints.join(name)))
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // A note that stays behind misleads nobody: it is read only while another holds the lock.
        let _ = self.file.set_len(0);
    }
}

/// The name of this machine, as far as it is known.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "this machine".to_owned() } else { name.to_owned() }
}
