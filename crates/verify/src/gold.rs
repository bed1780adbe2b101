//! The gold answer of a problem, read once.

use crate::{
    extract::{AnswerText, marked_answer},
    value::{Refusal, Value},
};

/// The gold answer of a problem, ready to be compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gold {
    text: String,
    value: Value,
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
    /// Reads a gold answer or a whole solution: the last closed `\boxed{…}` of `text`, else what follows its last
    /// `####` on the line, else all of it.
    ///
    /// # Errors
    ///
    /// When the answer is blank, unreadable or too large, or its box is not closed.
    pub fn parse(text: &str) -> Result<Self, GoldError> {
        let marked = marked_answer(text);
        if marked.is_none() && text.contains("\\boxed") {
            return Err(GoldError::UnclosedBox { text_bytes: text.len() });
        }
        let answer = AnswerText::new(marked.unwrap_or(text)).map_err(|_| GoldError::Blank)?;
        let text = answer.as_str();
        match Value::read(answer) {
            Ok(value) => Ok(Self { text: text.to_owned(), value }),
            Err(Refusal::Unreadable(reason)) => Err(GoldError::Unreadable { text: text.to_owned(), reason }),
            Err(Refusal::TooLarge(reason)) => Err(GoldError::TooLarge { text_bytes: text.len(), reason }),
        }
    }

    /// The answer as written, without the solution around it.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn value(&self) -> &Value {
        &self.value
    }
}
