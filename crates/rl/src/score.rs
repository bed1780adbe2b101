//! Completions in, scored completions out: text, verdict, and what shaping needs to know.

use model::Tokenizer;
use record::StopReason;
use verify::{Check, Extraction, Gold, check};

use crate::{sampler::Completion, shaping::Outcome};

/// A completion with the verifier's verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredCompletion {
    /// What was sampled.
    pub completion: Completion,
    /// Its text, without special tokens.
    pub text: String,
    /// What the verifier decided.
    pub check: Check,
}

impl ScoredCompletion {
    /// Decodes and verifies `completion`.
    pub fn new(completion: Completion, gold: &Gold, tokenizer: &Tokenizer, extraction: &Extraction) -> Self {
        let text = tokenizer.decode(&completion.tokens);
        let check = check(&text, gold, extraction);
        Self { completion, text, check }
    }

    /// Correctness and length: a truncated completion is wrong whatever its text says (arXiv 2502.04463's code).
    pub fn outcome(&self) -> Outcome {
        Outcome {
            correct: self.check.verdict.is_correct() && self.completion.stop == StopReason::End,
            tokens: self.completion.tokens.len() as u32,
        }
    }
}
