//! The kept corpus of a target: `fuzz/corpus/TARGET.jsonl`, an input a line. Text is a JSON string; bytes that are no text
//! are `{"hex": "…"}`.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

fn path(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(format!("{target}.jsonl"))
}

/// The inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path(target)).unwrap_or_else(|error| panic!("the corpus of {target}: {error}"));
    text.lines().map(|line| input(&serde_json::from_str(line).expect("a line is JSON"))).collect()
}

/// Adds inputs to those of a target.
pub(crate) fn keep(target: &str, inputs: &[Vec<u8>]) {
    let there = if path(target).exists() { corpus(target) } else { Vec::new() };
    let inputs: BTreeSet<&Vec<u8>> = there.iter().chain(inputs).collect();
    let lines: Vec<String> = inputs.into_iter().map(|input| format!("{}\n", line(input))).collect();
    record::write::replace(&path(target), lines.concat().as_bytes()).expect("the corpus is written");
}

fn input(line: &Value) -> Vec<u8> {
    if let Some(text) = line.as_str() {
        return text.as_bytes().to_vec();
    }
    let digits = line["hex"].as_str().expect("a line is a string or has `hex`").as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("two digits");
    digits.chunks(2).map(byte).collect()
}

fn line(input: &[u8]) -> Value {
    match std::str::from_utf8(input) {
        Ok(text) => json!(text),
        Err(_) => json!({"hex": input.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()}),
    }
}
