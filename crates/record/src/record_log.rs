//! The records of an evaluation under way, and whether another may go on with it.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    EvaluationHeader, EvaluationRecord, RecordError,
    write::{self, json_lines, lock},
};

/// Settings of a header in which one evaluation may differ from the one that it goes on with.
const FREE_SETTINGS: [&str; 3] = ["started_unix_seconds", "problems", "problems_left_out"];

/// `records.jsonl` while completions arrive: locked for one writer, and grown by whole lines.
#[derive(Debug)]
pub struct RecordLog {
    file: File,
    path: PathBuf,
}

impl RecordLog {
    /// Opens the log at `path`, which is made where it is not there. A last line that a crash tore is cut off.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] when another program writes to it, or it is a link; [`RecordError::Io`].
    pub(crate) fn open(path: &Path) -> Result<Self, RecordError> {
        let failed = |source| RecordError::Io { action: "open", path: path.to_owned(), source };
        write::refuse_link(path)?;
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(failed)?;
        lock(&file, path)?;
        let bytes = whole_lines_bytes(&mut file).map_err(failed)?;
        file.set_len(bytes).map_err(failed)?;
        // Its name survives a power failure as its lines do.
        write::sync_directory(write::parent(path))?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends the record of one completion in a single write.
    ///
    /// # Errors
    /// [`RecordError::Io`].
    pub fn append(&mut self, record: &EvaluationRecord) -> Result<(), RecordError> {
        let failed = |source| RecordError::Io { action: "append to", path: self.path.clone(), source };
        self.file.write_all(&json_lines(std::slice::from_ref(record))).map_err(failed)?;
        self.file.sync_data().map_err(failed)
    }
}

/// Bytes up to the last line break.
fn whole_lines_bytes(file: &mut File) -> std::io::Result<u64> {
    const BLOCK_BYTES: u64 = 1 << 16;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(BLOCK_BYTES);
        let mut block = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(position) = block.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + position as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// A setting that is one thing in one header and another in another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingDifference {
    /// Where it stands in `evaluation.json`, such as `policy.server.url`.
    pub setting: String,
    /// Its value in the first header, as JSON; `null` where it has none.
    pub first: String,
    /// Its value in the second.
    pub second: String,
}

/// The first setting in which two evaluations differ, by which neither could go on with the other. When they were
/// started and what they had to leave out is none, nor is a checksum that one of them lacks.
///
/// # Panics
/// Never: a header has a JSON form.
pub fn setting_difference(first: &EvaluationHeader, second: &EvaluationHeader) -> Option<SettingDifference> {
    let [mut first, mut second] = [first, second].map(|header| {
        let mut value = serde_json::to_value(header).expect("the header serialises to JSON");
        for setting in FREE_SETTINGS {
            value[setting] = Value::Null;
        }
        value
    });
    // Older versions did not write it.
    let checksum = "/policy/engine/checksum";
    if [&first, &second].iter().any(|header| header.pointer(checksum).is_some_and(Value::is_null)) {
        let both = [&mut first, &mut second].into_iter().filter_map(|header| header.pointer_mut(checksum));
        both.for_each(|value| *value = Value::Null);
    }
    difference("", &first, &second)
}

/// The first place below `path` where two values differ.
fn difference(path: &str, first: &Value, second: &Value) -> Option<SettingDifference> {
    if first == second {
        return None;
    }
    let (Value::Object(firsts), Value::Object(seconds)) = (first, second) else {
        return Some(SettingDifference {
            setting: path.to_owned(),
            first: first.to_string(),
            second: second.to_string(),
        });
    };
    let names = firsts.keys().chain(seconds.keys().filter(|name| !firsts.contains_key(*name)));
    names.into_iter().find_map(|name| {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let [first, second] = [firsts, seconds].map(|fields| fields.get(name).unwrap_or(&Value::Null));
        difference(&below, first, second)
    })
}
