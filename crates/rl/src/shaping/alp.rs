//! ALP, a length penalty that grows with how often the problem is solved (arXiv 2506.05256, equation 1).

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness, outside, selection::correctness_ratio};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.alp]`; the default is ours, since no text at hand states β.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alp {
    /// β: reward lost for each token where every completion is correct.
    pub beta: f64,
}

impl Default for Alp {
    fn default() -> Self {
        Self { beta: 1e-7 }
    }
}

impl Shaper for Alp {
    fn refusal(&self, _: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.alp.beta", self.beta, 0.0, 1e6)
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        Shaped::everywhere(step, step.each_group(|group| alp(group, self.beta)))
    }
}

/// r = c − β·max(acc, 1/G)·L, acc the correctness ratio of the group.
///
/// As published, wrong completions lose by their length too, also where no completion is correct.
fn alp(group: &[Priced], beta: f64) -> Vec<f64> {
    let share = correctness_ratio(group).max(1.0 / group.len() as f64);
    group.iter().map(|one| correctness(one) - beta * share * one.cost).collect()
}
