//! LP, the length penalty on the correct completions of every group (arXiv 2502.04463, equation 3).

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, outside};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.length-penalty]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LengthPenalty {
    /// α: the largest penalty. It cancels in all-correct groups under `group-std` advantages (docs/algorithm.md).
    pub alpha: f64,
    /// Standard deviation that lengths are divided by.
    pub length_std: LengthStd,
}

/// Which standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthStd {
    /// Divides by n.
    Population,
    /// Divides by n − 1.
    Sample,
}

impl Default for LengthPenalty {
    fn default() -> Self {
        Self { alpha: 0.2, length_std: LengthStd::Population }
    }
}

impl Shaper for LengthPenalty {
    fn refusal(&self, _: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.length-penalty.alpha", self.alpha, 0.0, 1.0)
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        Shaped::everywhere(step, step.each_group(|group| length_penalty(group, self)))
    }
}

/// r = 1 − α·σ((L − mean)/std) for correct completions and 0 for wrong ones; mean and std over the lengths of the
/// correct completions of the group (arXiv 2502.04463, equation 3; efficiency-prioritised groups of arXiv 2505.18086).
///
/// With one correct completion, or all correct ones of equal length, each gets 1 − α/2.
pub fn length_penalty(group: &[Priced], settings: &LengthPenalty) -> Vec<f64> {
    let scores = length_scores(group, settings.length_std);
    let reward = |(one, score): (&Priced, f64)| if one.correct { 1.0 - settings.alpha * score } else { 0.0 };
    group.iter().zip(scores).map(reward).collect()
}

/// s = σ((L − mean)/std) of correct completions, 0 of wrong ones; mean and std over the correct completions of the group.
///
/// 1e-7 is added to the std, as the code of arXiv 2502.04463 does; with one correct completion, or all correct ones of
/// equal length, z = 0 and s = 1/2.
pub(super) fn length_scores(group: &[Priced], length_std: LengthStd) -> Vec<f64> {
    let lengths: Vec<f64> = group.iter().filter(|one| one.correct).map(|one| one.cost).collect();
    let count = lengths.len() as f64;
    let mean = lengths.iter().sum::<f64>() / count.max(1.0);
    let degrees = match length_std {
        LengthStd::Population => count,
        LengthStd::Sample => count - 1.0,
    };
    let variance = lengths.iter().map(|length| (length - mean).powi(2)).sum::<f64>() / degrees.max(1.0);
    let scale = variance.sqrt() + 1e-7;
    group.iter().map(|one| if one.correct { logistic((one.cost - mean) / scale) } else { 0.0 }).collect()
}

/// σ(z) = 1/(1 + e^(−z)), without overflow for any z.
fn logistic(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}
