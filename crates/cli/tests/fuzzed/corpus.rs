//! The kept corpus of a target: `fuzz/corpus/TARGET.jsonl`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::kept;

fn path(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(format!("{target}.jsonl"))
}

/// The inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path(target)).unwrap_or_else(|error| panic!("the corpus of {target}: {error}"));
    kept::inputs(&text).unwrap_or_else(|error| panic!("the corpus of {target}: {error}"))
}

/// Adds inputs to those of a target.
pub(crate) fn keep(target: &str, inputs: &[Vec<u8>]) {
    let there = if path(target).exists() { corpus(target) } else { Vec::new() };
    let inputs: BTreeSet<Vec<u8>> = there.into_iter().chain(inputs.iter().cloned()).collect();
    record::write::replace(&path(target), kept::text(&inputs).as_bytes()).expect("the corpus is written");
}
