//! LASER, a step reward for staying below a target length (arXiv 2505.15612, section 4).

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness, outside, refuse_from_limit};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.laser]`; the defaults are published ones (targets of 2048, 4096 and 8192 were tried).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Laser {
    /// The length up to which a correct completion gets the bonus.
    pub target: f64,
    /// α: the bonus.
    pub bonus: f64,
}

impl Default for Laser {
    fn default() -> Self {
        Self { target: 4096.0, bonus: 0.5 }
    }
}

impl Shaper for Laser {
    fn refusal(&self, _: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.laser.target", self.target, 0.0, f64::MAX)
            .or_else(|| outside("train.shaping.laser.bonus", self.bonus, 0.0, 1e6))
            .or_else(|| {
                let consequence = "every correct completion would get the bonus";
                refuse_from_limit("train.shaping.laser.target", self.target, cost_max, consequence)
            })
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        Shaped::everywhere(step, step.each_group(|group| laser(group, self.target, self.bonus)))
    }
}

/// r = c·(1 + bonus) up to the target, c beyond.
pub(super) fn laser(group: &[Priced], target: f64, bonus: f64) -> Vec<f64> {
    group.iter().map(|one| correctness(one) * if one.cost <= target { 1.0 + bonus } else { 1.0 }).collect()
}
