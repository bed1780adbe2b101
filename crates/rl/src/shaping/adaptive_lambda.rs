//! GRPO-λ with a λ that a control loop moves: up while the accuracy of training holds, down at the first sign that it
//! falls. Ours, from no paper; `docs/algorithm.md` has the law and what it cannot do.

use record::ShaperMetrics;
use serde::{Deserialize, Serialize};

use super::{
    LengthPenalty, LengthStd, Refusal, Selection, Shaped, Shaper, ShaperState, Step, TieBreak, Which, outside,
    refuse_replaced_groups,
    selection::{correctness_ratio, select},
    top_lambda::penalised,
};
use crate::{
    config::RunConfig,
    random::Stream,
    statistics::{mean, standard_error},
};

/// Settings of `[train.shaping.adaptive-lambda]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdaptiveLambda {
    /// λ of the first step.
    pub lambda: f64,
    /// Smallest λ.
    pub lambda_min: f64,
    /// Largest λ.
    pub lambda_max: f64,
    /// λ grows by this in a step in which accuracy holds.
    pub lambda_rise: f64,
    /// λ is multiplied by this in a step in which accuracy has fallen.
    pub lambda_fall: f64,
    /// Accuracy holds while the recent one is at most this many standard errors below the best one.
    pub hold_errors: f64,
    /// Accuracy has fallen when the recent one is more than this many standard errors below the best one.
    pub fallen_errors: f64,
    /// Steps of the recent accuracy, a moving mean: each new step weighs 2/(this + 1).
    pub recent_steps: f64,
    /// Steps of the slower moving mean that the best accuracy is taken from.
    pub trailing_steps: f64,
    /// α: as in `length-penalty`.
    pub alpha: f64,
    /// Standard deviation that lengths are divided by.
    pub length_std: LengthStd,
    /// Which groups are selected.
    pub select: Which,
    /// Who is selected among groups of equal correctness ratio.
    pub ties: TieBreak,
}

impl Default for AdaptiveLambda {
    fn default() -> Self {
        Self {
            lambda: 0.0,
            lambda_min: 0.0,
            lambda_max: 1.0,
            lambda_rise: 0.01,
            lambda_fall: 0.5,
            hold_errors: 0.75,
            fallen_errors: 1.5,
            recent_steps: 4.0,
            trailing_steps: 16.0,
            alpha: 0.2,
            length_std: LengthStd::Population,
            select: Which::Random,
            ties: TieBreak::Random,
        }
    }
}

/// What the control loop remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdaptiveLambdaState {
    lambda: f64,
    /// Steps seen.
    steps: u64,
    /// Moving mean over `recent_steps`.
    recent: Accuracy,
    /// Moving mean over `trailing_steps`.
    trailing: Accuracy,
    /// The trailing one of the highest lower end so far.
    best: Accuracy,
}

/// A mean of correctness ratios, and the square of its standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accuracy {
    mean: f64,
    variance: f64,
}

/// Added to variances, so that accuracies without any spread can be compared.
const VARIANCE_MIN: f64 = 1e-12;

impl Shaper for AdaptiveLambda {
    fn refusal(&self, run: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.adaptive-lambda.lambda_max", self.lambda_max, 0.0, 1.0)
            .or_else(|| outside("train.shaping.adaptive-lambda.lambda_min", self.lambda_min, 0.0, self.lambda_max))
            .or_else(|| outside("train.shaping.adaptive-lambda.lambda", self.lambda, self.lambda_min, self.lambda_max))
            .or_else(|| outside("train.shaping.adaptive-lambda.lambda_rise", self.lambda_rise, 0.0, 1.0))
            .or_else(|| outside("train.shaping.adaptive-lambda.lambda_fall", self.lambda_fall, 0.0, 1.0))
            .or_else(|| outside("train.shaping.adaptive-lambda.fallen_errors", self.fallen_errors, 0.0, 1e3))
            .or_else(|| outside("train.shaping.adaptive-lambda.hold_errors", self.hold_errors, 0.0, self.fallen_errors))
            .or_else(|| outside("train.shaping.adaptive-lambda.recent_steps", self.recent_steps, 1.0, 1e6))
            .or_else(|| {
                let field = "train.shaping.adaptive-lambda.trailing_steps";
                outside(field, self.trailing_steps, self.recent_steps, 1e6)
            })
            .or_else(|| outside("train.shaping.adaptive-lambda.alpha", self.alpha, 0.0, 1.0))
            .or_else(|| refuse_replaced_groups("adaptive-lambda", run))
            .or_else(|| refuse_groups_without_a_spread(run))
    }

    fn start(&self) -> ShaperState {
        let (recent, trailing, best) = Default::default();
        ShaperState::AdaptiveLambda(AdaptiveLambdaState { lambda: self.lambda, steps: 0, recent, trailing, best })
    }

    /// Moves λ by the verdicts of this step first, so that a fall is answered in the step that shows it.
    fn shape(&self, step: &Step, state: &mut ShaperState, stream: &mut Stream) -> Shaped {
        let ShaperState::AdaptiveLambda(state) = state else { unreachable!("state of another shaper: {state:?}") };
        self.adapt(step, state);
        let selection = Selection {
            share: share_by_chance(state.lambda, step.groups.len(), stream),
            which: self.select,
            ties: self.ties,
            correctness_ratio_min: 0.0,
            correct_min: 0,
        };
        let selected = select(&step.groups, &selection, stream);
        let penalty = LengthPenalty { alpha: self.alpha, length_std: self.length_std };
        let rewards = penalised(step, &selected, &penalty);
        Shaped { rewards, added: None, selected, shapers: vec![state.metrics()] }
    }
}

impl AdaptiveLambda {
    fn adapt(&self, step: &Step, state: &mut AdaptiveLambdaState) {
        let Some(now) = Accuracy::of(step) else { return };
        state.steps += 1;
        // The first steps weigh alike, so that none of them counts for more than its share.
        let weight = |steps: f64| (2.0 / (steps + 1.0)).max(1.0 / state.steps as f64);
        state.recent = state.recent.moved(now, weight(self.recent_steps));
        state.trailing = state.trailing.moved(now, weight(self.trailing_steps));
        if state.trailing.low() > state.best.low() {
            state.best = state.trailing;
        }
        let fall = state.fall_errors();
        if fall > self.fallen_errors {
            state.lambda = (state.lambda * self.lambda_fall).max(self.lambda_min);
        } else if fall <= self.hold_errors {
            state.lambda = (state.lambda + self.lambda_rise).min(self.lambda_max);
        }
    }
}

impl AdaptiveLambdaState {
    /// (best − recent)/√(variances of the two), as if they had no step in common.
    fn fall_errors(&self) -> f64 {
        (self.best.mean - self.recent.mean) / (self.best.variance + self.recent.variance + VARIANCE_MIN).sqrt()
    }

    fn metrics(&self) -> ShaperMetrics {
        ShaperMetrics::AdaptiveLambda {
            lambda: self.lambda,
            accuracy_recent: self.recent.mean,
            accuracy_best: self.best.mean,
            fall_errors: self.fall_errors(),
        }
    }
}

impl Accuracy {
    /// That of a step, its error from the spread between groups, since completions of one problem are not independent;
    /// none of a step without groups. One group shows no spread: its variance is taken for the largest there is, 1/4.
    fn of(step: &Step) -> Option<Self> {
        let ratios: Vec<f64> = step.groups.iter().map(|group| correctness_ratio(group)).collect();
        let error = standard_error(&ratios).unwrap_or(0.5);
        mean(&ratios).map(|mean| Self { mean, variance: error.powi(2) })
    }

    /// Moves towards `new` by the share `weight`; the variance is that of the weighted mean of independent steps.
    fn moved(self, new: Self, weight: f64) -> Self {
        Self {
            mean: weight * new.mean + (1.0 - weight) * self.mean,
            variance: weight.powi(2) * new.variance + (1.0 - weight).powi(2) * self.variance,
        }
    }

    /// One standard error below the mean.
    fn low(self) -> f64 {
        self.mean - self.variance.sqrt()
    }
}

/// The share of λ·N groups, rounded up or down by chance so that it is λ on average: λ = 0.02 of 16 groups is one group
/// in every third step or so, where rounding to the nearest would never select any.
fn share_by_chance(lambda: f64, groups: usize, stream: &mut Stream) -> f64 {
    let count = (lambda * groups as f64 + stream.uniform()).floor();
    count / groups.max(1) as f64
}

/// Refuses steps whose groups do not tell the error of their accuracy.
fn refuse_groups_without_a_spread(run: &RunConfig) -> Option<Refusal> {
    (run.rollout.prompts_per_step < 2).then(|| {
        let message = "is 1, and `adaptive-lambda` compares accuracies by their spread between groups; use at least 2";
        ("rollout.prompts_per_step", message.into())
    })
}
