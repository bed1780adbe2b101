//! The whole way from a completion to its verdict.

use crate::{
    Check, Extraction, Gold, Verdict,
    compare::compare,
    extract::{AnswerText, extract},
    value::{ANSWER_BYTES_MAX, Refusal, Value},
};

/// Decides whether a completion answers its problem.
///
/// Numbers are compared exactly, everything else as normalised text; units are read over and a percent sign on one
/// side only may stand for 1/100, so `50%` equals the golds `50`, `0.5` and `50%`, while `50` never equals `0.5`.
/// Time is linear in the length of the completion. No input panics.
pub fn check(completion: &str, gold: &Gold, extraction: &Extraction) -> Check {
    let answer = match extract(completion, extraction) {
        Ok(answer) => answer,
        Err(absence) => {
            return Check { verdict: Verdict::NoAnswer, answer: None, reason: absence.reason().to_owned() };
        }
    };
    let (verdict, reason) = match Value::read(answer) {
        Ok(value) => {
            let comparison = compare(&value, gold.value());
            (if comparison.is_equal() { Verdict::Correct } else { Verdict::Incorrect }, comparison.reason())
        }
        Err(Refusal::Unreadable(reason)) => (Verdict::Unreadable, reason),
        Err(Refusal::TooLarge(reason)) => (Verdict::TooLarge, reason),
    };
    Check { verdict, answer: Some(kept(answer).to_owned()), reason: reason.to_owned() }
}

/// As much of an answer as is recorded: no completion makes a record larger than an answer may be.
fn kept(answer: AnswerText<'_>) -> &str {
    let text = answer.as_str();
    let end = (0..=ANSWER_BYTES_MAX.min(text.len())).rfind(|end| text.is_char_boundary(*end)).unwrap_or_default();
    &text[..end]
}
