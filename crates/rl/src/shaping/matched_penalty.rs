//! A control of GRPO-λ: length pressure in every group, as strong in sum as GRPO-λ's in its selected ones.

use serde::{Deserialize, Serialize};

use super::{
    LengthPenalty, LengthStd, Refusal, Selected, Selection, Shaped, Shaper, ShaperState, Step, TieBreak, Which,
    outside,
    selection::{refuse_dynamic_sampling, select},
    top_lambda::penalised,
};
use crate::{advantage::advantages, config::RunConfig, random::Stream};

/// Settings of `[train.shaping.matched-penalty]`: those of the GRPO-λ whose strength is matched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MatchedPenalty {
    /// λ of the GRPO-λ.
    pub lambda: f64,
    /// α of both penalties.
    pub alpha: f64,
    /// Standard deviation that lengths are divided by.
    pub length_std: LengthStd,
    /// Who GRPO-λ selects among groups of equal correctness ratio.
    pub ties: TieBreak,
}

impl Default for MatchedPenalty {
    fn default() -> Self {
        Self { lambda: 0.2, alpha: 0.2, length_std: LengthStd::Population, ties: TieBreak::Random }
    }
}

impl Shaper for MatchedPenalty {
    fn refusal(&self, run: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.matched-penalty.lambda", self.lambda, 0.0, 1.0)
            .or_else(|| outside("train.shaping.matched-penalty.alpha", self.alpha, 0.0, 1.0))
            .or_else(|| refuse_dynamic_sampling("`matched-penalty`", run))
    }

    /// With A(r) the advantages of rewards r, c the 0/1 rewards, p the length penalty in every group and λ that in the
    /// selected ones: D = A(p) − A(c) and E = A(λ) − A(c) are the length terms of LP and of GRPO-λ, and the advantage is
    /// A(c) + D·Σ|E|/Σ|D|, sums over all completions of the step. Where Σ|D| = 0 nothing is added.
    fn shape(&self, step: &Step, _: &mut ShaperState, stream: &mut Stream) -> Shaped {
        let selection = Selection {
            share: self.lambda,
            which: Which::Top,
            ties: self.ties,
            correctness_ratio_min: 0.0,
            correct_min: 0,
        };
        let penalty = LengthPenalty { alpha: self.alpha, length_std: self.length_std };
        let (every, top) = (Selected::all(&step.groups), select(&step.groups, &selection, stream));
        let plain = Shaped::nowhere(step);
        let base = advantages(&plain.rewards, step.scale);
        let length_term = |selected: &Selected| {
            let shaped = advantages(&penalised(step, selected, &penalty), step.scale);
            difference(&shaped, &base)
        };
        let (mut added, matched) = (length_term(&every), length_term(&top));
        let mass = |term: &[Vec<f64>]| term.iter().flatten().map(|value| value.abs()).sum::<f64>();
        let share = if mass(&added) > 0.0 { mass(&matched) / mass(&added) } else { 0.0 };
        added.iter_mut().flatten().for_each(|value| *value *= share);
        Shaped { added: Some(added), selected: every, ..plain }
    }
}

fn difference(a: &[Vec<f64>], b: &[Vec<f64>]) -> Vec<Vec<f64>> {
    a.iter().zip(b).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a - b).collect()).collect()
}
