//! The gold answer of a problem, read once.

use crate::{
    answer::Answer,
    compare::Rounding,
    extract::{AnswerText, after_last_equal, marked_answer},
    limits::Refusal,
};

/// The gold answer of a problem, ready to be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gold {
    text: String,
    answer: Answer,
    rounding: Rounding,
}

/// A gold answer that no completion could be compared with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GoldError {
    /// There is no text where the answer should be.
    #[error("gold answer is blank; give the problem an answer or leave it out")]
    Blank,
    /// A `\boxed` whose content has no end, or no braces at all.
    #[error("gold answer of {text_bytes} bytes has a `\\boxed` without closed braces; close them")]
    UnclosedBox {
        /// Length of the text.
        text_bytes: usize,
    },
    /// The text is no value.
    #[error("gold answer {text:?} cannot be read: {reason}; correct it or leave the problem out")]
    Unreadable {
        /// The text that was taken for the answer.
        text: String,
        /// Why it is no value.
        reason: &'static str,
    },
    /// The text exceeds the limits an answer is held to.
    #[error(
        "gold answer of {text_bytes} bytes is too large: {reason}; mark the answer with `####` or leave the problem out"
    )]
    TooLarge {
        /// Length of the text that was taken for the answer.
        text_bytes: usize,
        /// The limit it exceeds.
        reason: &'static str,
    },
}

impl Gold {
    /// Reads a gold answer or a whole solution: the last `\boxed{…}` of `text`, with the boxes joined to it, else what
    /// follows its last `####` on the line, else what follows `final answer is`, else all of it. Of a chain such as
    /// `x = 2 + 3 = 5` the last side is the answer.
    ///
    /// # Errors
    ///
    /// When the answer is blank, unreadable or too large, or its box is not closed.
    pub fn parse(text: &str) -> Result<Self, GoldError> {
        let marked = marked_answer(text);
        if marked.is_none() && text.contains("\\boxed") {
            return Err(GoldError::UnclosedBox { text_bytes: text.len() });
        }
        let marked = AnswerText::new(marked.unwrap_or(text.into())).map_err(|_| GoldError::Blank)?;
        let chained = after_last_equal(marked.as_str());
        let is_chain = chained.len() < marked.as_str().len() && marked.as_str().matches('=').count() > 1;
        let text = if is_chain { chained.trim_matches(['$', ' ']) } else { marked.as_str() }.to_owned();
        let answer = AnswerText::new(text.as_str()).map_err(|_| GoldError::Blank)?;
        match Answer::read(&answer) {
            Ok(answer) => Ok(Self { text, answer, rounding: Rounding::Exact }),
            Err(Refusal::Unreadable(reason)) => Err(GoldError::Unreadable { text, reason }),
            Err(Refusal::TooLarge(reason)) => Err(GoldError::TooLarge { text_bytes: text.len(), reason }),
        }
    }

    /// The same gold for a problem that asks for a rounded answer: real numbers count as equal if they differ by at
    /// most half a unit of the given decimal. Without this nothing is rounded, and 0.33 is not 1/3.
    #[must_use]
    pub fn with_decimals(self, decimals: u32) -> Self {
        Self { rounding: Rounding::Decimals(decimals.min(100)), ..self }
    }

    /// The answer as written, without the solution around it.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn answer(&self) -> &Answer {
        &self.answer
    }

    pub(crate) fn rounding(&self) -> Rounding {
        self.rounding
    }
}
