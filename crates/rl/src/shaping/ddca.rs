//! DDCA, an advantage for length beside that for correctness (arXiv 2602.02099, equations 11 to 13).

use serde::{Deserialize, Serialize};

use super::{
    LengthStd, Priced, Refusal, Shaped, Shaper, ShaperState, Step,
    length_penalty::length_scores,
    outside,
    selection::{correct, correctness_ratio},
};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.ddca]`; the default is about the published one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ddca {
    /// β: weight of the length advantage.
    pub beta: f64,
    /// Standard deviation that lengths are divided by.
    pub length_std: LengthStd,
}

impl Default for Ddca {
    fn default() -> Self {
        Self { beta: 0.2, length_std: LengthStd::Population }
    }
}

impl Shaper for Ddca {
    fn refusal(&self, _: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.ddca.beta", self.beta, 0.0, 1e6)
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        let added = step.each_group(|group| self.length_advantages(group));
        Shaped { added: Some(added), selected: super::Selected::all(&step.groups), ..Shaped::nowhere(step) }
    }
}

impl Ddca {
    /// β·acc·(mean s − s) for correct completions and 0 for wrong ones, with s = σ(z) as in the length penalty and the
    /// mean over the correct completions of the group; added to the advantage of 0/1 rewards.
    ///
    /// Nothing here is divided by a standard deviation of rewards, so β counts in all-correct groups too.
    fn length_advantages(&self, group: &[Priced]) -> Vec<f64> {
        let scores = length_scores(group, self.length_std);
        let mean = scores.iter().sum::<f64>() / correct(group).max(1) as f64;
        let strength = self.beta * correctness_ratio(group);
        let advantage = |(one, score): (&Priced, f64)| if one.correct { strength * (mean - score) } else { 0.0 };
        group.iter().zip(scores).map(advantage).collect()
    }
}
