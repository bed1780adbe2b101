//! The format of a kept corpus, an input a line: text is a JSON string, and bytes that are no text are `{"hex": "…"}`.
//! The tests read it, and so does `cargo xtask fuzz`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// The inputs in the text of a corpus, or the line that is none.
pub(crate) fn inputs(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let input = |line: &str| serde_json::from_str(line).ok().and_then(|line| input(&line));
    text.lines().map(|line| input(line).ok_or_else(|| format!("{line}: is no input"))).collect()
}

/// The text of a corpus.
pub(crate) fn text(inputs: &BTreeSet<Vec<u8>>) -> String {
    let lines: Vec<String> = inputs.iter().map(|input| line(input).to_string() + "\n").collect();
    lines.concat()
}

fn input(line: &Value) -> Option<Vec<u8>> {
    if let Some(text) = line.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    line.get("hex")?.as_str()?.as_bytes().chunks(2).map(byte).collect()
}

fn line(input: &[u8]) -> Value {
    match std::str::from_utf8(input) {
        Ok(text) => json!(text),
        Err(_) => json!({"hex": input.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()}),
    }
}

#[test]
fn inputs_of_text_and_of_bytes_are_lines() {
    let known = [(&b""[..], r#""""#), (b"a\n\"\xc3\xa9", r#""a\n\"é""#), (b"\xff\x00\x10", r#"{"hex":"ff0010"}"#)];
    let kept: BTreeSet<Vec<u8>> = known.iter().map(|(bytes, _)| bytes.to_vec()).collect();
    let lines = known.map(|(_, line)| line.to_owned() + "\n").concat();
    assert_eq!(text(&kept), lines);
    assert_eq!(inputs(&lines), Ok(kept.into_iter().collect()));
    for wrong in ["7", r#"{"hex": "0g"}"#, r#"{"hex": 7}"#, "[]", "no JSON"] {
        assert_eq!(inputs(&format!("\"a\"\n{wrong}\n")), Err(format!("{wrong}: is no input")));
    }
}
