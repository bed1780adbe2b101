//! The length reward of Kimi k1.5 (arXiv 2501.12599, section 2.3.3).

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness, outside};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.kimi]`. The report states neither the weight nor the length of the warm-up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kimi {
    /// w: weight of the length reward.
    pub weight: f64,
    /// Steps at the start without length reward.
    pub warmup_steps: u64,
}

impl Default for Kimi {
    fn default() -> Self {
        Self { weight: 1.0, warmup_steps: 0 }
    }
}

impl Shaper for Kimi {
    fn refusal(&self, _: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.kimi.weight", self.weight, 0.0, 1e6)
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        if step.index < self.warmup_steps {
            return Shaped::nowhere(step);
        }
        Shaped::everywhere(step, step.each_group(|group| kimi(group, self.weight)))
    }
}

/// r = c + w·s if correct, c + w·min(0, s) if wrong, with s = 1/2 − (L − min)/(max − min) over all completions of the
/// group, and s = 0 where all have one length.
///
/// As published, a wrong completion in the longer half of its group's range loses by its length, also where no completion
/// is correct.
fn kimi(group: &[Priced], weight: f64) -> Vec<f64> {
    let (least, most) = range(group.iter().map(|one| one.cost));
    let reward = |one: &Priced| {
        let score = relative_shortness(one.cost, least, most);
        correctness(one) + weight * if one.correct { score } else { score.min(0.0) }
    };
    group.iter().map(reward).collect()
}

/// 1/2 − (L − min)/(max − min); 0 where max = min.
pub(super) fn relative_shortness(cost: f64, least: f64, most: f64) -> f64 {
    if most > least { 0.5 - (cost - least) / (most - least) } else { 0.0 }
}

/// The least and the largest of `costs`.
pub(super) fn range(costs: impl Iterator<Item = f64>) -> (f64, f64) {
    costs.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), cost| (least.min(cost), most.max(cost)))
}
