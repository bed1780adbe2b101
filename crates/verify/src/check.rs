//! The whole way from a completion to its verdict.

use crate::{
    Check, Extraction, Gold, Verdict,
    answer::Answer,
    compare::{Comparison, compare},
    extract::{AnswerText, extract},
    limits::{ANSWER_BYTES_MAX, Refusal},
};

/// Decides whether a completion answers its problem.
///
/// Values are compared exactly: numbers as fractions, expressions by their normal forms, sets, intervals, tuples and
/// matrices part by part; what is no mathematics is compared as normalised text. docs/verifier.md has the rules.
/// Time is linear in the length of the completion, and the work on its answer is bounded. No input panics.
pub fn check(completion: &str, gold: &Gold, extraction: &Extraction) -> Check {
    match extract(completion, extraction) {
        Ok(answer) => judged(&answer, gold),
        Err(absence) => Check { verdict: Verdict::NoAnswer, answer: None, reason: absence.reason().to_owned() },
    }
}

/// Decides whether a text that is an answer and nothing else equals a gold. Blank text is no answer.
pub fn equivalent(answer: &str, gold: &Gold) -> Check {
    match AnswerText::new(answer) {
        Ok(answer) => judged(&answer, gold),
        Err(absence) => Check { verdict: Verdict::NoAnswer, answer: None, reason: absence.reason().to_owned() },
    }
}

fn judged(text: &AnswerText<'_>, gold: &Gold) -> Check {
    let kept = kept(text.as_str()).to_owned();
    let (verdict, reason) = match Answer::read(text) {
        Ok(answer) => {
            let comparison = compare(&answer, gold.answer(), gold.rounding());
            (verdict(comparison), comparison.reason())
        }
        Err(Refusal::Unreadable(reason)) => (Verdict::Unreadable, reason),
        Err(Refusal::TooLarge(reason)) => (Verdict::TooLarge, reason),
    };
    Check { verdict, answer: Some(kept), reason: reason.to_owned() }
}

fn verdict(comparison: Comparison) -> Verdict {
    match comparison {
        Comparison::EqualTexts | Comparison::EqualValues => Verdict::Correct,
        Comparison::Undecided => Verdict::Unknown,
        Comparison::TooLarge(_) => Verdict::TooLarge,
        Comparison::ValuesDiffer
        | Comparison::TextsDiffer
        | Comparison::GoldIsValue
        | Comparison::GoldIsText
        | Comparison::OptionsDiffer => Verdict::Incorrect,
    }
}

/// As much of an answer as is recorded: no completion makes a record larger than an answer may be.
fn kept(text: &str) -> &str {
    let end = (0..=ANSWER_BYTES_MAX.min(text.len())).rfind(|end| text.is_char_boundary(*end)).unwrap_or_default();
    &text[..end]
}
