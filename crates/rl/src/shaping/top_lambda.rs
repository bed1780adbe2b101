//! GRPO-λ: the length penalty in a share λ of the step's groups, 0/1 rewards in the others (arXiv 2505.18086, section 3).

use serde::{Deserialize, Serialize};

use super::{
    LengthPenalty, LengthStd, Refusal, Selected, Selection, Shaped, Shaper, ShaperState, Step, TieBreak, Which,
    correctness_rewards, length_penalty, outside,
    selection::{refuse_dynamic_sampling, select},
};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.top-lambda]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopLambda {
    /// λ: share of the step's groups under length penalty. λ·N is rounded to the nearest, at least 1 when λ > 0.
    pub lambda: f64,
    /// α: as in `length-penalty`.
    pub alpha: f64,
    /// Standard deviation that lengths are divided by.
    pub length_std: LengthStd,
    /// Which groups are selected.
    pub select: Which,
    /// Who is selected among groups of equal correctness ratio.
    pub ties: TieBreak,
    /// A group of a lower correctness ratio is never selected.
    pub correctness_ratio_min: f64,
    /// A group with fewer correct completions is never selected.
    pub correct_min: u32,
}

impl Default for TopLambda {
    fn default() -> Self {
        Self {
            lambda: 0.2,
            alpha: 0.2,
            length_std: LengthStd::Population,
            select: Which::Top,
            ties: TieBreak::Random,
            correctness_ratio_min: 0.0,
            correct_min: 0,
        }
    }
}

impl Shaper for TopLambda {
    fn refusal(&self, run: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.top-lambda.lambda", self.lambda, 0.0, 1.0)
            .or_else(|| outside("train.shaping.top-lambda.alpha", self.alpha, 0.0, 1.0))
            .or_else(|| outside("train.shaping.top-lambda.correctness_ratio_min", self.correctness_ratio_min, 0.0, 1.0))
            .or_else(|| self.refuse_more_than_a_group(run.rollout.group_size))
            .or_else(|| refuse_dynamic_sampling("`top-lambda`", run))
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, stream: &mut Stream) -> Shaped {
        let selection = Selection {
            share: self.lambda,
            which: self.select,
            ties: self.ties,
            correctness_ratio_min: self.correctness_ratio_min,
            correct_min: self.correct_min,
        };
        let selected = select(&step.groups, &selection, stream);
        let penalty = LengthPenalty { alpha: self.alpha, length_std: self.length_std };
        Shaped { rewards: penalised(step, &selected, &penalty), added: None, selected, shapers: Vec::new() }
    }
}

impl TopLambda {
    fn refuse_more_than_a_group(&self, group_size: usize) -> Option<Refusal> {
        (self.correct_min as usize > group_size).then(|| {
            let message = format!(
                "is {}, and no group would ever be selected; set it to at most the completions of a group, {group_size}",
                self.correct_min
            );
            ("train.shaping.top-lambda.correct_min", message)
        })
    }
}

/// The length penalty in the selected groups, 0/1 rewards in the others.
pub(super) fn penalised(step: &Step, selected: &Selected, penalty: &LengthPenalty) -> Vec<Vec<f64>> {
    let reward = |(index, group)| {
        if selected.contains(index) { length_penalty(group, penalty) } else { correctness_rewards(group) }
    };
    step.groups.iter().map(Vec::as_slice).enumerate().map(reward).collect()
}
