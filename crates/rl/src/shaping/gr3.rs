//! GR³, rewards divided by relative length (arXiv 2603.10535).

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness, outside};
use crate::{config::RunConfig, random::Stream, statistics::mean};

/// Settings of `[train.shaping.gr3]`; the default is the published one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gr3 {
    /// α: how much of the reward a completion of mean length gives up, as α/(1 + α).
    pub alpha: f64,
}

impl Default for Gr3 {
    fn default() -> Self {
        Self { alpha: 0.33 }
    }
}

impl Shaper for Gr3 {
    fn refusal(&self, _: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.gr3.alpha", self.alpha, 0.0, 1e6)
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        Shaped::everywhere(step, step.each_group(|group| gr3(group, self.alpha)))
    }
}

/// r = c/(1 + α·L/mean), mean over all completions of the group; L/mean = 1 where every cost is 0.
fn gr3(group: &[Priced], alpha: f64) -> Vec<f64> {
    let costs: Vec<f64> = group.iter().map(|one| one.cost).collect();
    let mean = mean(&costs).unwrap_or(0.0);
    let relative = |cost: f64| if mean > 0.0 { cost / mean } else { 1.0 };
    group.iter().map(|one| correctness(one) / (1.0 + alpha * relative(one.cost))).collect()
}
