//! Short-RL, a length reward for correct completions that waits for accuracy (arXiv 2505.12284).

use serde::{Deserialize, Serialize};

use super::{
    Priced, Refusal, Shaped, Shaper, ShaperState, Step,
    kimi::{range, relative_shortness},
    outside, refuse_from_limit, refuse_replaced_groups, step_accuracy,
};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.short-rl]`; the defaults are those of the published code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShortRl {
    /// Weight of the length reward.
    pub weight: f64,
    /// τ_l: costs above the group's least correct one that lose nothing.
    pub cost_tolerance: f64,
    /// τ_acc: the length reward is off where the step's accuracy is further than this below the best one so far.
    pub accuracy_tolerance: f64,
}

impl Default for ShortRl {
    fn default() -> Self {
        Self { weight: 1.0, cost_tolerance: 100.0, accuracy_tolerance: 0.05 }
    }
}

/// What Short-RL remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShortRlState {
    /// The highest accuracy of a step so far.
    best_accuracy: f64,
}

impl Shaper for ShortRl {
    fn refusal(&self, run: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.short-rl.weight", self.weight, 0.0, 1e6)
            .or_else(|| outside("train.shaping.short-rl.cost_tolerance", self.cost_tolerance, 0.0, f64::MAX))
            .or_else(|| outside("train.shaping.short-rl.accuracy_tolerance", self.accuracy_tolerance, 0.0, 1.0))
            .or_else(|| {
                let consequence = "no correct completion would lose anything";
                refuse_from_limit("train.shaping.short-rl.cost_tolerance", self.cost_tolerance, cost_max, consequence)
            })
            .or_else(|| refuse_replaced_groups("short-rl", run))
    }

    fn start(&self) -> ShaperState {
        ShaperState::ShortRl(ShortRlState::default())
    }

    fn shape(&self, step: &Step, state: &mut ShaperState, _: &mut Stream) -> Shaped {
        let ShaperState::ShortRl(state) = state else { unreachable!("state of another shaper: {state:?}") };
        let accuracy = step_accuracy(step);
        state.best_accuracy = state.best_accuracy.max(accuracy);
        if accuracy < state.best_accuracy - self.accuracy_tolerance {
            return Shaped::nowhere(step);
        }
        Shaped::everywhere(step, step.each_group(|group| self.rewards(group)))
    }
}

impl ShortRl {
    /// r = c·(1 + w·s): s = 1/2 up to τ_l above the least cost of a correct completion, beyond that
    /// 1/2 − (L − min)/(max − min) over the correct completions of the group.
    fn rewards(&self, group: &[Priced]) -> Vec<f64> {
        let (least, most) = range(group.iter().filter(|one| one.correct).map(|one| one.cost));
        let score = |cost: f64| {
            if cost <= least + self.cost_tolerance { 0.5 } else { relative_shortness(cost, least, most) }
        };
        group.iter().map(|one| if one.correct { 1.0 + self.weight * score(one.cost) } else { 0.0 }).collect()
    }
}
