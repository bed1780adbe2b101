//! What the verifier decided about one completion. Not how it decided: see `check`.

use serde::{Deserialize, Serialize};

/// The decision about one completion against the gold answer of its problem.
///
/// Only [`Verdict::Correct`] earns reward; the other variants say why it was not earned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The extracted answer equals the gold answer.
    Correct,
    /// An answer was extracted and read, and it differs from the gold answer.
    Incorrect,
    /// The completion holds nothing that could be an answer.
    NoAnswer,
    /// An answer was extracted but could not be read as a value.
    Unreadable,
    /// An answer was read whose equality with the gold could neither be proved nor be refuted.
    Unknown,
    /// The answer exceeds the limits on length, digits, depth or work and was not evaluated.
    TooLarge,
}

impl Verdict {
    /// Whether the completion counts as correct (the `c` of arXiv 2505.18086).
    pub fn is_correct(self) -> bool {
        self == Self::Correct
    }
}

/// A verdict with what it was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// The decision.
    pub verdict: Verdict,
    /// The text taken from the completion as its answer, if any; no more than its first 1,000 bytes.
    pub answer: Option<String>,
    /// One lower-case clause saying why, for people who read rollouts.
    pub reason: String,
}
