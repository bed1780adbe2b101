//! A linear length penalty that grows with how often the problem is solved, as in prime-rl's `LinearLengthPenaltyConfig`.

use serde::{Deserialize, Serialize};

use super::{
    Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness, kimi::range, outside, selection::correctness_ratio,
};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.pass-rate-linear]`; the default is prime-rl's. There advantages are not divided by a
/// standard deviation: `train.advantage = "none"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatioLinear {
    /// Reward that the longest completion of a group loses where every completion is correct.
    pub weight: f64,
}

impl Default for RatioLinear {
    fn default() -> Self {
        Self { weight: 0.25 }
    }
}

impl Shaper for RatioLinear {
    fn refusal(&self, _: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.pass-rate-linear.weight", self.weight, 0.0, 1e6)
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        Shaped::everywhere(step, step.each_group(|group| ratio_linear(group, self.weight)))
    }
}

/// r = c − acc·w·L/max, acc the correctness ratio and max the largest cost of the group.
///
/// As published, wrong completions lose by their length too, unless no completion is correct.
fn ratio_linear(group: &[Priced], weight: f64) -> Vec<f64> {
    let (_, most) = range(group.iter().map(|one| one.cost));
    let strength = correctness_ratio(group) * weight;
    let relative = |cost: f64| if most > 0.0 { cost / most } else { 0.0 };
    group.iter().map(|one| correctness(one) - strength * relative(one.cost)).collect()
}
