//! One line of `rollouts/step-NNNNNN.jsonl`: a completion with everything that was decided about it.

use serde::{Deserialize, Deserializer, Serialize};
use verify::Verdict;

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The policy wrote an end token.
    End,
    /// The token limit was reached; the completion is truncated and counts as wrong.
    Limit,
}

/// A rollout as it was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RolloutRecord {
    /// Optimizer step that trained on it, from 0.
    pub step: u64,
    /// Index of the group within the step, from 0.
    pub group: u32,
    /// Index of the rollout within its group, from 0.
    pub rollout: u32,
    /// Id of the problem: the row's own id, or the problem file's row number.
    pub problem: String,
    /// Difficulty level of the problem, where the problem file names one.
    pub level: Option<String>,
    /// The question as the problem file gives it, before template and instructions.
    pub question: String,
    /// The gold answer as the verifier was given it.
    pub gold: String,
    /// Completion text, decoded without special tokens.
    pub completion: String,
    /// Tokens of the completion, the end token included.
    pub completion_tokens: u32,
    /// Why the completion ended.
    pub stop: StopReason,
    /// What the verifier decided; a truncated completion is wrong whatever this says.
    pub verdict: Verdict,
    /// The answer text that the verifier extracted.
    pub answer: Option<String>,
    /// Whether the group was under length penalty in this step (for top-λ: efficiency-prioritised).
    pub selected: bool,
    /// Shaped reward.
    #[serde(deserialize_with = "null_as_nan")]
    pub reward: f64,
    /// Advantage, the same for every token of the completion.
    #[serde(deserialize_with = "null_as_nan")]
    pub advantage: f64,
    /// Sum of the behavior logprobs of the completion's tokens, nats.
    #[serde(deserialize_with = "null_as_nan")]
    pub behavior_logprob_nats: f64,
}

impl RolloutRecord {
    /// Whether the rollout counted as correct: verdict correct and not truncated.
    pub fn is_correct(&self) -> bool {
        self.verdict.is_correct() && self.stop == StopReason::End
    }
}

/// JSON has no number that is not finite; one is written as `null`.
fn null_as_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
