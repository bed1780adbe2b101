//! The policy-gradient losses of GRPO and its relatives, and their gradients, completion by completion.
//!
//! Every loss here depends on the parameters through the policy logprobs alone, so its gradient with respect to those
//! is all that the model's backward needs. Sums are f64; each token's share of the step's loss is fixed before the
//! first micro-batch, so the number of micro-batches does not enter.

use serde::{Deserialize, Serialize};

use crate::RlError;

/// Settings of the loss. What a config leaves out is as the paper of its surrogate has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "LossConfig")]
pub struct LossSettings {
    /// What stands for the expected reward.
    pub surrogate: Surrogate,
    /// ε_low: the ratio is clipped below at 1 − this.
    pub clip_low: f64,
    /// ε_high: the ratio is clipped above at 1 + this (0.28 in DAPO, arXiv 2503.14476).
    pub clip_high: f64,
    /// Weight of the KL divergence to the reference; 0 keeps no reference in memory.
    pub kl_weight: f64,
    /// How token losses become one number.
    pub aggregation: Aggregation,
}

/// `[train.loss]` as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LossConfig {
    #[serde(default)]
    surrogate: Surrogate,
    clip_low: Option<f64>,
    clip_high: Option<f64>,
    #[serde(default)]
    kl_weight: f64,
    aggregation: Option<Aggregation>,
}

impl From<LossConfig> for LossSettings {
    fn from(config: LossConfig) -> Self {
        let published = Self::of(config.surrogate);
        Self {
            surrogate: config.surrogate,
            clip_low: config.clip_low.unwrap_or(published.clip_low),
            clip_high: config.clip_high.unwrap_or(published.clip_high),
            kl_weight: config.kl_weight,
            aggregation: config.aggregation.unwrap_or(published.aggregation),
        }
    }
}

/// What stands for the expected reward; its gradient with respect to the policy is what is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Surrogate {
    /// The smaller of ρA and clip(ρ)·A at each token (arXiv 2402.03300, equation 3), as in DAPO and Dr. GRPO.
    #[default]
    Grpo,
    /// The same with one ratio for the whole completion, exp of the mean log-ratio (GSPO, arXiv 2507.18071, equation 5).
    Gspo,
    /// clip(ρ)·A·log π with the clipped ratio taken as a constant, so that every token keeps a gradient (CISPO,
    /// arXiv 2506.13585, equation 4).
    Cispo,
}

/// How token losses become one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// Mean over the tokens of each completion, then over completions (GRPO).
    SequenceMean,
    /// Mean over all tokens of the step (DAPO, arXiv 2503.14476).
    TokenMean,
    /// Sum over tokens divided by completions · token limit (Dr. GRPO, arXiv 2503.20783).
    Constant,
}

impl Default for LossSettings {
    fn default() -> Self {
        Self::of(Surrogate::default())
    }
}

impl LossSettings {
    /// The settings that are published with `surrogate`, without KL: those of GSPO are from arXiv 2507.18071, section
    /// 5.1. The paper of CISPO sets no lower bound and does not state the upper one, so 1 + 4 is a choice of ours.
    pub fn of(surrogate: Surrogate) -> Self {
        let (clip_low, clip_high, aggregation) = match surrogate {
            Surrogate::Grpo => (0.2, 0.2, Aggregation::SequenceMean),
            Surrogate::Gspo => (3e-4, 4e-4, Aggregation::SequenceMean),
            Surrogate::Cispo => (1.0, 4.0, Aggregation::TokenMean),
        };
        Self { surrogate, clip_low, clip_high, kl_weight: 0.0, aggregation }
    }

    /// Refuses a combination that contradicts itself.
    pub(crate) fn check(&self) -> Result<(), RlError> {
        if self.surrogate == Surrogate::Gspo && self.aggregation != Aggregation::SequenceMean {
            let message = "must be \"sequence-mean\" with the surrogate \"gspo\": its ratio is one number for a completion, \
                           and any other mean would weigh it by the completion's length, which GSPO is there to avoid";
            return Err(RlError::Setting { field: "train.loss.aggregation", message: message.into() });
        }
        Ok(())
    }
}

/// What a step's loss is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Denominator {
    /// Completions that count.
    pub completions: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Token limit of a completion.
    pub completion_tokens_max: usize,
}

impl Denominator {
    /// Weight of each token's loss in a completion of `tokens` tokens.
    pub fn token_weight(&self, aggregation: Aggregation, tokens: usize) -> f64 {
        let divisor = match aggregation {
            Aggregation::SequenceMean => self.completions * tokens,
            Aggregation::TokenMean => self.tokens,
            Aggregation::Constant => self.completions * self.completion_tokens_max,
        };
        1.0 / divisor.max(1) as f64
    }
}

/// One completion as the loss sees it.
#[derive(Debug, Clone, Copy)]
pub struct CompletionLogprobs<'a> {
    /// Under the current parameters, nats, \[T\].
    pub policy: &'a [f32],
    /// As recorded by the sampler, nats, \[T\].
    pub behavior: &'a [f32],
    /// Under the frozen reference, nats, \[T\]; none without a KL term.
    pub reference: Option<&'a [f32]>,
    /// A, the same for every token.
    pub advantage: f64,
    /// Weight of each token's loss, from [`Denominator::token_weight`].
    pub token_weight: f64,
}

/// Sums over tokens, added up over completions and divided once per step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossSum {
    /// Σ weight · (−surrogate + kl_weight · k3).
    pub loss: f64,
    /// Tokens.
    pub tokens: u64,
    /// Tokens at which clipping changes the gradient: it is 0 there, or smaller or larger in CISPO.
    pub clipped: u64,
    /// Σ k3, nats; 0 without a reference.
    pub kl_nats: f64,
    /// Σ ρ.
    pub ratio: f64,
    /// Smallest ρ.
    pub ratio_min: f64,
    /// Largest ρ.
    pub ratio_max: f64,
}

impl Default for LossSum {
    fn default() -> Self {
        Self {
            loss: 0.0,
            tokens: 0,
            clipped: 0,
            kl_nats: 0.0,
            ratio: 0.0,
            ratio_min: f64::INFINITY,
            ratio_max: f64::NEG_INFINITY,
        }
    }
}

impl LossSum {
    /// Adds the sums of `other`.
    pub fn add(&mut self, other: &Self) {
        self.loss += other.loss;
        self.tokens += other.tokens;
        self.clipped += other.clipped;
        self.kl_nats += other.kl_nats;
        self.ratio += other.ratio;
        self.ratio_min = self.ratio_min.min(other.ratio_min);
        self.ratio_max = self.ratio_max.max(other.ratio_max);
    }
}

/// Loss of one completion and its gradient with respect to each policy logprob, \[T\].
///
/// With ρ = exp(policy − behavior) and clip to 1 − ε_low … 1 + ε_high:
///
/// - GRPO: −min(ρA, clip(ρ)·A), whose gradient is −ρA unless the clipped term is strictly smaller.
/// - GSPO: the same at each of the T tokens with ρ = exp(mean of policy − behavior); each token's share of dρ is ρ/T and
///   every token of the completion has the same weight, so that the gradient at each token is again −ρA.
/// - CISPO: −clip(ρ)·A·policy, whose gradient is −clip(ρ)·A.
///
/// KL is by the k3 estimator e^q − q − 1 with q = reference − policy (<http://joschu.net/blog/kl-approx.html>), whose
/// gradient is 1 − e^q.
pub fn completion_loss(logprobs: &CompletionLogprobs<'_>, settings: &LossSettings) -> (LossSum, Vec<f32>) {
    let tokens = logprobs.policy.len();
    assert_eq!(tokens, logprobs.behavior.len(), "one behavior logprob per token");
    let (advantage, weight) = (logprobs.advantage, logprobs.token_weight);
    let mut sum = LossSum { tokens: tokens as u64, ..LossSum::default() };
    let mut gradient = Vec::with_capacity(tokens);
    let log_ratio = |(&policy, &behavior): (&f32, &f32)| f64::from(policy) - f64::from(behavior);
    let sequence_ratio = || {
        let total: f64 = logprobs.policy.iter().zip(logprobs.behavior).map(log_ratio).sum();
        (total / tokens as f64).exp()
    };
    let of_completion = (settings.surrogate == Surrogate::Gspo).then(sequence_ratio);
    for (index, (&policy, &behavior)) in logprobs.policy.iter().zip(logprobs.behavior).enumerate() {
        let ratio = of_completion.unwrap_or_else(|| log_ratio((&policy, &behavior)).exp());
        let bounds = 1.0 - settings.clip_low..=1.0 + settings.clip_high;
        let unclipped = ratio * advantage;
        let clipped = ratio.clamp(*bounds.start(), *bounds.end()) * advantage;
        let (mut loss, mut slope, is_clipped) = match settings.surrogate {
            Surrogate::Grpo | Surrogate::Gspo => {
                let is_clipped = clipped < unclipped;
                (-unclipped.min(clipped), if is_clipped { 0.0 } else { -unclipped }, is_clipped)
            }
            Surrogate::Cispo => (-clipped * f64::from(policy), -clipped, !bounds.contains(&ratio)),
        };
        if let Some(reference) = logprobs.reference {
            let q = f64::from(reference[index]) - f64::from(policy);
            let kl = q.exp() - q - 1.0;
            sum.kl_nats += kl;
            loss += settings.kl_weight * kl;
            slope += settings.kl_weight * (1.0 - q.exp());
        }
        sum.loss += weight * loss;
        sum.clipped += u64::from(is_clipped);
        sum.ratio += ratio;
        sum.ratio_min = sum.ratio_min.min(ratio);
        sum.ratio_max = sum.ratio_max.max(ratio);
        gradient.push((weight * slope) as f32);
    }
    (sum, gradient)
}
