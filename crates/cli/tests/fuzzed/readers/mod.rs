//! What must hold for every input of a reader, whatever bytes it is: the entry points that fuzzing and the short replay
//! share.
//!
//! An input is a file as somebody else may have made it. It is read or refused; a refusal names the file; nothing panics,
//! and memory stays within a bound. What is read holds what its target says.

mod config;
pub(crate) mod convert;
mod model;
mod problem;
pub(crate) mod record;
mod server;

use std::{cell::OnceCell, fmt::Display, fs, path::Path};

use allocation_counter::measure;
use tempfile::TempDir;

/// What became of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is what the reader is for.
    Read,
    /// It is not, and the reader said so.
    Refused,
}

/// A reader with what it may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// Name of the target and of its corpus.
    pub(crate) name: &'static str,
    read: fn(&[u8]) -> Reading,
}

/// Most bytes that a reader of a small file holds at a time.
const HELD_BYTES_MAX: u64 = 32 << 20;

impl Target {
    const fn new(name: &'static str, read: fn(&[u8]) -> Reading) -> Self {
        Self { name, read }
    }

    /// Panics where something does not hold.
    pub(crate) fn run(&self, bytes: &[u8]) -> Reading {
        let mut reading = Reading::Refused;
        let work = measure(|| reading = (self.read)(bytes));
        assert!(work.bytes_max <= HELD_BYTES_MAX, "{} holds {} bytes", self.name, work.bytes_max);
        reading
    }
}

/// Every reader of bytes from outside, but for the verifier's, which has targets of its own.
pub(crate) const TARGETS: [Target; 20] = [
    Target::new("safetensors", model::safetensors),
    Target::new("safetensors-index", model::safetensors_index),
    Target::new("gguf", model::gguf),
    Target::new("model-config", model::config),
    Target::new("tokenizer", model::tokenizer),
    // Rendered by a thread of its own, whose allocations nobody counts: fuel bounds them.
    Target::new("chat-template", model::chat_template),
    Target::new("tokenizer-config", model::tokenizer_config),
    Target::new("problems-jsonl", problem::json_lines),
    Target::new("problems-parquet", problem::parquet),
    Target::new("problems-gpqa", problem::gpqa),
    Target::new("run-config", config::run),
    Target::new("sweep", config::sweep),
    Target::new("run-directory", record::run_directory),
    Target::new("evaluation-directory", record::evaluation_directory),
    Target::new("rollouts-gz", record::compressed),
    Target::new("manifest", record::manifest),
    Target::new("checkpoint-state", record::state),
    Target::new("server-answer", server::answer),
    Target::new("adapter-config", model::adapter_config),
    Target::new("convert", convert::older_run),
];

/// A directory of this thread, which each target puts its files in.
fn place<T>(work: impl FnOnce(&Path) -> T) -> T {
    thread_local!(static PLACE: OnceCell<TempDir> = const { OnceCell::new() });
    PLACE.with(|place| work(place.get_or_init(|| tempfile::tempdir().expect("a directory for the inputs")).path()))
}

/// Writes a file of an input, and the directory that it is in.
#[expect(clippy::disallowed_methods, reason = "an input is no file of a run, and need not survive a power failure")]
fn write(path: &Path, bytes: &[u8]) {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).expect("a directory for the inputs");
    }
    fs::write(path, bytes).expect("the input is written");
}

/// Writes the files of a directory whose whole ones are `files`, with `bytes` in place of that of `name`; whether there is
/// one of that name.
fn write_files(root: &Path, files: &[(&str, Vec<u8>)], (name, bytes): (&str, &[u8])) -> bool {
    for (known, whole) in files {
        let tried = Some(bytes).filter(|_| *known == name);
        write(&root.join(known), tried.unwrap_or(whole));
    }
    files.iter().any(|(known, _)| *known == name)
}

fn remove_directory(path: &Path) {
    if path.exists() {
        fs::remove_dir_all(path).expect("what an input before left is removed");
    }
}

/// A refusal, which has to name `file`.
fn refused(error: &impl Display, file: &str) -> Reading {
    let message = error.to_string();
    assert!(message.contains(file), "{message:?} does not name {file}");
    Reading::Refused
}

/// The first line as text, and the rest.
fn first_line(bytes: &[u8]) -> (&str, &[u8]) {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    (std::str::from_utf8(&bytes[..end]).unwrap_or_default(), bytes.get(end + 1..).unwrap_or_default())
}
