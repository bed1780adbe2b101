//! When a completion first stood at a correct answer, and what it wrote after that.

use super::{
    escape::{block, clip},
    ticks::number,
};
use crate::EvaluationRecord;

/// When the completion was first correct, in words that follow others; nothing when it never was, or only at its end.
pub(super) fn said(record: &EvaluationRecord) -> String {
    let first = record.prefixes.as_ref().and_then(|prefixes| prefixes.first_correct_tokens);
    match first.map(|tokens| (tokens, number(f64::from(tokens), 0))) {
        Some((tokens, text)) if record.is_correct() && tokens < record.completion_tokens => {
            format!(" · correct from token {text} on the way")
        }
        Some((_, text)) if !record.is_correct() => format!(" · was correct at token {text}"),
        Some(_) | None => String::new(),
    }
}

/// The completion as markup, what it wrote after it was first correct set apart. One that is longer than `characters_max`
/// is clipped, and nothing in it is set apart.
pub(super) fn marked(record: &EvaluationRecord, characters_max: usize) -> String {
    let text = record.completion.as_str();
    let bytes = record.prefixes.as_ref().and_then(|prefixes| prefixes.first_correct_bytes);
    let parts = bytes.and_then(|bytes| text.split_at_checked(bytes as usize)).filter(|(_, after)| !after.is_empty());
    match parts {
        Some((before, after)) if text.chars().count() <= characters_max => {
            format!("{}<span class=\"after\">{}</span>", block(before), block(after))
        }
        Some(_) | None => block(&clip(text, characters_max)),
    }
}
