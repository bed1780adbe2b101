//! One line of `metrics.jsonl`: everything measured in one optimizer step.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Completion lengths of a step, in tokens, end token included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TokenStatistics {
    /// Mean over all completions.
    pub mean: f64,
    /// Shortest completion.
    pub min: u32,
    /// Longest completion.
    pub max: u32,
    /// Mean over correct completions; none when no completion was correct.
    pub correct_mean: Option<f64>,
    /// Mean over wrong completions; none when every completion was correct.
    pub wrong_mean: Option<f64>,
}

/// Which groups were put under length penalty, and how contested the choice was (arXiv 2505.18086, batch-wise top-λ).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SelectionMetrics {
    /// Indices of the selected groups within the step, ascending.
    pub groups: Vec<u32>,
    /// Selected groups over all groups.
    pub share: f64,
    /// Selected groups in which every completion was correct.
    pub all_correct: u32,
    /// Groups whose correctness ratio equals the lowest selected one, selected or not: the pool a tie was broken in.
    /// 0 when the choice was not contested.
    pub tied: u32,
    /// Lowest correctness ratio among the selected groups; none when nothing was selected.
    pub ratio_min: Option<f64>,
}

/// Where the control loop or the moving targets of a shaper stood in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShaperMetrics {
    /// Of `[train.shaping.adaptive-lambda]`.
    AdaptiveLambda {
        /// λ of this step, which the verdicts of the step have already moved.
        lambda: f64,
        /// Fast moving mean of the accuracy, this step included.
        accuracy_recent: f64,
        /// Best slow moving mean of the accuracy so far.
        accuracy_best: f64,
        /// How far the first is below the second, in standard errors of their difference.
        fall_errors: f64,
    },
    /// Of `[train.shaping.acoer]`.
    Acoer {
        /// α of this step.
        alpha: f64,
        /// B of this step.
        budget: f64,
    },
    /// Of `[train.shaping.laser-d]`.
    LaserD {
        /// Targets of this step for groups of a correctness ratio of at least 2/3, of at least 1/3, and below.
        targets: [f64; 3],
    },
}

/// What dynamic sampling did in a step (DAPO, arXiv 2503.14476, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DynamicSamplingMetrics {
    /// Rounds in which groups were replaced.
    pub rounds: u32,
    /// Groups that were replaced, over all rounds.
    pub replaced_groups: u32,
    /// Completion tokens of the groups that were replaced.
    pub replaced_tokens: u64,
    /// Groups left in which every completion is correct or every one is wrong.
    pub level_groups: u32,
}

/// In what a collapse may announce itself, beside the metrics that every step has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignalMetrics {
    /// Mean over the groups in which every completion is correct of the population standard deviation of completion
    /// tokens over their mean; none without such a group.
    pub all_correct_length_spread: Option<f64>,
    /// Sum of the sizes of advantages in the groups in which every completion is correct, over that of all groups; none
    /// when all advantages are 0.
    pub all_correct_advantage_share: Option<f64>,
    /// Σ (A − Ā)² / Σ A², Ā being the mean advantage of the completions of the same group and correctness: the share of
    /// the squared advantages that 0/1 rewards cannot give, which tell right from wrong and nothing else. None when all
    /// advantages are 0.
    pub within_correctness_advantage_share: Option<f64>,
    /// Pearson correlation of completion tokens and advantage within groups, pooled after subtracting each group's means:
    /// below 0 where the update favours the shorter. None when lengths or advantages do not vary.
    pub length_advantage_correlation: Option<f64>,
    /// Mean over the groups that hold both outcomes of the correctness ratio of their shortest quarter, completions as
    /// long as its longest included, minus that of the others; none without a group that has both and others.
    pub shortest_quarter_gain: Option<f64>,
    /// Correct completions over all completions by difficulty level; problems without a level are left out.
    pub level_correctness_ratios: BTreeMap<String, f64>,
}

/// The risk of a collapse, where `[train.warning]` has it watched.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WarningMetrics {
    /// The risk that the run collapses within the horizon of the model's weights; none in its first steps.
    pub risk: Option<f64>,
    /// Whether it was warned of at this step.
    pub given: bool,
}

/// Wall-clock seconds of one step by phase.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct PhaseSeconds {
    /// Sampling the completions.
    pub sample: f64,
    /// Verifying, shaping, advantages, and writing the rollouts.
    pub shape: f64,
    /// Forward, backward and optimizer.
    pub update: f64,
    /// The whole step.
    pub total: f64,
}

/// Metrics of one optimizer step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Optimizer step, from 0. The metrics describe the policy before this step's update.
    pub step: u64,
    /// Mean shaped reward over completions.
    pub reward_mean: f64,
    /// Population standard deviation of the shaped reward over completions.
    pub reward_std: f64,
    /// Correct completions over all completions.
    pub correctness_ratio: f64,
    /// Share of groups in which every completion was correct.
    pub all_correct_share: f64,
    /// Share of groups in which no completion was correct.
    pub all_wrong_share: f64,
    /// Share of groups whose advantages are all 0, and which therefore carry no gradient.
    pub zero_advantage_share: f64,
    /// Groups under length penalty.
    pub selection: SelectionMetrics,
    /// Where shapers stood whose strength or targets move, in the order of the objectives; absent where nothing moves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapers: Vec<ShaperMetrics>,
    /// What dynamic sampling did; absent where it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_sampling: Option<DynamicSamplingMetrics>,
    /// Pearson correlation of completion tokens and correctness within groups that hold both outcomes, pooled after
    /// subtracting each group's means; none when no group holds both or lengths do not vary.
    pub length_correctness_correlation: Option<f64>,
    /// In what a collapse may announce itself; absent in lines of versions that did not write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signals: Option<SignalMetrics>,
    /// The risk of a collapse; absent where it is not watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<WarningMetrics>,
    /// Completion lengths.
    pub completion_tokens: TokenStatistics,
    /// Completions that reached the token limit over all completions.
    pub truncated_share: f64,
    /// Mean entropy of the policy's next-token distribution over completion tokens, nats.
    pub entropy_nats: f64,
    /// Mean k3 estimate of the KL divergence to the reference over completion tokens, nats; none without a reference.
    pub kl_nats: Option<f64>,
    /// Smallest importance ratio over the tokens trained on (those of completions of advantage 0 are spared, unless there
    /// is a KL term); 1 where none was.
    pub ratio_min: f64,
    /// Mean importance ratio over the same tokens.
    pub ratio_mean: f64,
    /// Largest importance ratio over the same tokens.
    pub ratio_max: f64,
    /// Share of the same tokens whose ratio was clipped with effect on the gradient.
    pub clip_share: f64,
    /// Value of the loss.
    pub loss: f64,
    /// Global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Completion tokens of this step.
    pub tokens: u64,
    /// Completion tokens sampled per second of sampling.
    pub sample_tokens_per_second: f64,
    /// Completion tokens of the step, spared ones included, per second of updating.
    pub update_tokens_per_second: f64,
    /// Seconds by phase.
    pub seconds: PhaseSeconds,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as versions before `signals` wrote it.
    const OLDER: &str = r#"{"step":0,"reward_mean":0.5,"reward_std":0.5,"correctness_ratio":0.5,"all_correct_share":0.0,
        "all_wrong_share":0.0,"zero_advantage_share":0.0,"selection":{"groups":[],"share":0.0,"all_correct":0,"tied":0,
        "ratio_min":null},"length_correctness_correlation":null,"completion_tokens":{"mean":8.0,"min":8,"max":8,
        "correct_mean":8.0,"wrong_mean":8.0},"truncated_share":0.0,"entropy_nats":0.5,"kl_nats":null,"ratio_min":1.0,
        "ratio_mean":1.0,"ratio_max":1.0,"clip_share":0.0,"loss":0.0,"gradient_norm":1.0,"learning_rate":0.5,"tokens":32,
        "sample_tokens_per_second":32.0,"update_tokens_per_second":32.0,
        "seconds":{"sample":1.0,"shape":1.0,"update":1.0,"total":3.0}}"#;

    #[test]
    fn a_line_without_signals_is_read() {
        let read: StepMetrics = serde_json::from_str(OLDER).unwrap();
        assert_eq!((read.signals, read.tokens), (None, 32));
    }
}
