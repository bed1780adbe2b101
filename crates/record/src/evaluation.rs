//! Evaluation records: one completion of one benchmark problem, and the summary over all of them.

use serde::{Deserialize, Serialize};
use verify::Verdict;

use crate::StopReason;

/// One line of an evaluation's record file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// Id of the problem.
    pub problem: String,
    /// Index of the completion for this problem, from 0.
    pub sample: u32,
    /// Difficulty level, where the benchmark names one.
    pub level: Option<String>,
    /// The question as the benchmark gives it.
    pub question: String,
    /// The gold answer.
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
    /// Why the verifier decided so.
    pub reason: String,
}

impl EvaluationRecord {
    /// Whether the completion counts as correct: verdict correct and not truncated.
    pub fn is_correct(&self) -> bool {
        self.verdict.is_correct() && self.stop == StopReason::End
    }
}

/// Accuracy and length at one difficulty level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelSummary {
    /// The level as the benchmark names it.
    pub level: String,
    /// Problems of this level.
    pub problems: u32,
    /// Mean over problems of the share of correct completions.
    pub accuracy: f64,
    /// Mean completion tokens.
    pub completion_tokens: f64,
}

/// One line of `evaluations.jsonl`: a policy version measured on one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationSummary {
    /// Optimizer steps the policy had seen; 0 is the start.
    pub step: u64,
    /// Benchmark name.
    pub benchmark: String,
    /// Problems.
    pub problems: u32,
    /// Completions per problem (the k of mean@k).
    pub samples: u32,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f64,
    /// Nucleus mass kept when sampling; 1 keeps all.
    pub top_p: f64,
    /// Token limit of a completion.
    pub completion_tokens_max: u32,
    /// Seed of the sampling.
    pub seed: u64,
    /// Mean over problems of the share of correct completions (mean@k).
    pub accuracy: f64,
    /// Standard error of `accuracy` over problems.
    pub accuracy_error: f64,
    /// Lower end of the 95 % Wilson interval of `accuracy`, the effective sample size being the number of problems.
    pub accuracy_low: f64,
    /// Upper end of the same interval.
    pub accuracy_high: f64,
    /// Mean completion tokens.
    pub completion_tokens: f64,
    /// Standard error of `completion_tokens` over problems.
    pub completion_tokens_error: f64,
    /// Completions that reached the token limit over all completions.
    pub truncated_share: f64,
    /// Completions in which no answer was found over all completions.
    pub no_answer_share: f64,
    /// The same by difficulty level, in the order of level names; empty where the benchmark names none.
    pub levels: Vec<LevelSummary>,
}
