//! Evaluation records: one completion of one benchmark problem, and the summary over all of them.
//!
//! The same types serve the evaluations of a training run and those of `brevity eval`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use verify::Verdict;

use crate::StopReason;

/// Who counted the tokens of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// The engine of this program, which sampled them; the end token counts.
    Engine,
    /// The server that made the completion; whether the end token counts is its choice.
    Server,
    /// The model's tokenizer, from the text; the end token of a completion that has one counts.
    Tokenizer,
}

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
    /// Who counted them.
    pub tokens_from: TokenSource,
    /// Why the completion ended.
    pub stop: StopReason,
    /// What the verifier decided; a truncated completion is wrong whatever this says.
    pub verdict: Verdict,
    /// The answer text that the verifier extracted.
    pub answer: Option<String>,
    /// Why the verifier decided so.
    pub reason: String,
    /// What the verifier decided about beginnings of the completion; none where its tokens are not known.
    pub prefixes: Option<PrefixVerdicts>,
}

impl EvaluationRecord {
    /// Whether the completion counts as correct: verdict correct and not truncated.
    pub fn is_correct(&self) -> bool {
        self.verdict.is_correct() && self.stop == StopReason::End
    }
}

/// What the verifier decided about beginnings of a completion: the text of its first so many tokens, as it stands.
///
/// A character whose bytes are not all among those tokens is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixVerdicts {
    /// One for each of the [`token_budgets`] of the limit that is below the completion's own tokens, in their order.
    pub budgets: Vec<Verdict>,
    /// Tokens of the first beginning that is correct, among those of [`prefix_stride`], thoughts that are still open
    /// being read as text; none when none is.
    pub first_correct_tokens: Option<u32>,
    /// Bytes of that beginning in the completion's text; none when there is none, and in records of versions that did not
    /// keep them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_correct_bytes: Option<u32>,
}

/// Beginnings of one completion at which the first correct answer is looked for.
pub const PREFIXES_MAX: u32 = 256;

/// The token budgets under which accuracy is reported: 1/16, 1/8, 1/4, 1/2 and all of the token limit, rounded up,
/// each once.
pub fn token_budgets(completion_tokens_max: u32) -> Vec<u32> {
    let mut budgets: Vec<u32> = [16, 8, 4, 2, 1].map(|part| completion_tokens_max.div_ceil(part)).to_vec();
    budgets.dedup();
    budgets
}

/// The first correct answer of a completion is looked for at every multiple of this many tokens and at its end: each
/// token of a completion of up to [`PREFIXES_MAX`], and that many places of a longer one.
pub fn prefix_stride(completion_tokens: u32) -> u32 {
    completion_tokens.div_ceil(PREFIXES_MAX).max(1)
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

/// The unbiased estimate of pass@k: the chance that at least one of k completions of a problem is correct.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PassAtK {
    /// Completions drawn for each problem.
    pub k: u32,
    /// Mean over problems of 1 − C(n − c, k) / C(n, k), c of n completions being correct (arXiv 2107.03374, equation 1).
    pub share: f64,
    /// Standard error of `share` over problems; 0 where there is one problem.
    pub share_error: f64,
    /// Lower end of the 95 % bootstrap interval of `share` over problems.
    pub share_low: f64,
    /// Upper end of the same interval.
    pub share_high: f64,
}

/// Lengths of some completions, in tokens, the end token included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LengthSummary {
    /// How many completions.
    pub completions: u32,
    /// Mean over them.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// 95th percentile, linear between neighbours.
    pub p95: f64,
}

/// Lengths of all, of correct and of wrong completions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// Of all completions.
    pub all: LengthSummary,
    /// Of correct ones; none when there is none.
    pub correct: Option<LengthSummary>,
    /// Of wrong ones, truncated ones included; none when there is none.
    pub wrong: Option<LengthSummary>,
}

/// Accuracy of the same completions under a smaller token limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetSummary {
    /// The smaller limit, tokens.
    pub budget_tokens: u32,
    /// Mean over problems of the share of completions that are correct and end within the budget: the accuracy that an
    /// evaluation with this limit would have measured.
    pub accuracy: f64,
    /// Standard error of `accuracy` over problems.
    pub accuracy_error: f64,
    /// Mean over problems of the share of completions whose text, cut at the budget where it is longer, is correct as it
    /// stands; none where tokens are not known.
    pub accuracy_cut: Option<f64>,
    /// Standard error of `accuracy_cut` over problems.
    pub accuracy_cut_error: Option<f64>,
}

/// When completions come to a correct answer, and what they write after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstCorrectSummary {
    /// Tokens to the first correct answer, over correct completions; none when there is none.
    pub tokens: Option<LengthSummary>,
    /// Tokens after the first correct answer over all tokens, of correct completions; none when there is none.
    pub overthought_share: Option<f64>,
    /// Completions that were correct at some beginning and are not in the end, over all completions.
    pub lost_share: f64,
}

/// How an evaluation of a run stands to the best one before it, problem by problem.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decline {
    /// Step of the highest accuracy so far, the first of equals; the evaluation's own step when that is it.
    pub best_step: u64,
    /// Accuracy there minus accuracy here.
    pub accuracy_fall: f64,
    /// Standard error of `accuracy_fall`: that of the mean over problems of each one's difference.
    pub accuracy_fall_error: f64,
    /// Mean completion tokens there minus those here.
    pub completion_tokens_fall: f64,
    /// Standard error of `completion_tokens_fall`, of each problem's difference.
    pub completion_tokens_fall_error: f64,
    /// Whether this evaluation is beyond the bounds of a collapse.
    pub collapsed: bool,
    /// The first step at which one was; none as long as none is.
    pub collapse_step: Option<u64>,
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
    /// Lower end of the 95 % bootstrap interval of `accuracy`, problems drawn with replacement.
    pub accuracy_bootstrap_low: f64,
    /// Upper end of the same interval.
    pub accuracy_bootstrap_high: f64,
    /// pass@k for the powers of two up to `samples`, and `samples`.
    pub pass: Vec<PassAtK>,
    /// Mean completion tokens.
    pub completion_tokens: f64,
    /// Standard error of `completion_tokens` over problems.
    pub completion_tokens_error: f64,
    /// Lengths of all, of correct and of wrong completions.
    pub lengths: Lengths,
    /// Completions that reached the token limit over all completions.
    pub truncated_share: f64,
    /// Completions in which no answer was found over all completions.
    pub no_answer_share: f64,
    /// Completions by what the verifier decided about their text; a truncated one counts here as its text reads.
    pub verdicts: BTreeMap<Verdict, u32>,
    /// Accuracy under the [`token_budgets`], ascending.
    pub budgets: Vec<BudgetSummary>,
    /// When completions come to a correct answer; none where tokens are not known.
    pub first_correct: Option<FirstCorrectSummary>,
    /// The same by difficulty level, in the order of level names; empty where the benchmark names none.
    pub levels: Vec<LevelSummary>,
    /// How it stands to the best evaluation of its run so far; none outside of training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decline: Option<Decline>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_parts_of_the_limit_rounded_up() {
        for (limit, expected) in [
            (32_768, vec![2048, 4096, 8192, 16_384, 32_768]),
            (100, vec![7, 13, 25, 50, 100]),
            (3, vec![1, 2, 3]),
            (1, vec![1]),
        ] {
            assert_eq!(token_budgets(limit), expected, "{limit}");
        }
    }

    #[test]
    fn first_answers_are_looked_for_at_no_more_than_256_places() {
        for (tokens, expected) in [(0, 1), (256, 1), (257, 2), (32_768, 128), (32_769, 129)] {
            assert_eq!(prefix_stride(tokens), expected, "{tokens}");
        }
    }
}
