//! L1-Exact and L1-Max, rewards for keeping to a length that the prompt asks for (arXiv 2503.04697, equations 1 and 2).
//!
//! The budget comes with the problem: `[problems.budget]` draws it and writes it into the question.

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness, outside};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.l1-exact]`; the default is the published one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L1Exact {
    /// α: reward lost for each token between the length and the budget.
    pub alpha: f64,
}

/// Settings of `[train.shaping.l1-max]`; the defaults are the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct L1Max {
    /// α: reward for each token below the budget.
    pub alpha: f64,
    /// δ: reward of a correct completion at the budget.
    pub delta: f64,
}

impl Default for L1Exact {
    fn default() -> Self {
        Self { alpha: 0.0003 }
    }
}

impl Default for L1Max {
    fn default() -> Self {
        Self { alpha: 0.0003, delta: 0.5 }
    }
}

impl Shaper for L1Exact {
    fn refusal(&self, run: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.l1-exact.alpha", self.alpha, 0.0, 1e6)
            .or_else(|| without_budget("train.shaping.l1-exact", run, cost_max))
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        Shaped::everywhere(step, step.each_group(|group| group.iter().map(|one| self.reward(one)).collect()))
    }
}

impl L1Exact {
    /// r = c − α·|n − L|; c where the prompt names no budget.
    ///
    /// As published, a correct completion below its budget gains by being longer, and wrong ones are shaped too.
    fn reward(&self, one: &Priced) -> f64 {
        let distance = one.budget.map_or(0.0, |budget| (budget - one.cost).abs());
        correctness(one) - self.alpha * distance
    }
}

impl Shaper for L1Max {
    fn refusal(&self, run: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        outside("train.shaping.l1-max.alpha", self.alpha, 0.0, 1e6)
            .or_else(|| outside("train.shaping.l1-max.delta", self.delta, 0.0, 1.0))
            .or_else(|| without_budget("train.shaping.l1-max", run, cost_max))
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        Shaped::everywhere(step, step.each_group(|group| group.iter().map(|one| self.reward(one)).collect()))
    }
}

impl L1Max {
    /// r = c·clip(α·(n − L) + δ, 0, 1); c where the prompt names no budget.
    fn reward(&self, one: &Priced) -> f64 {
        let share = one.budget.map_or(1.0, |budget| (self.alpha * (budget - one.cost) + self.delta).clamp(0.0, 1.0));
        correctness(one) * share
    }
}

fn without_budget(shaper: &'static str, run: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
    if run.problems.budget.is_none() {
        let message = "compares lengths with a budget that the prompt asks for; add the table `[problems.budget]`";
        return Some((shaper, message.into()));
    }
    // The budget is one of tokens, and only they have the token limit.
    cost_max.is_none().then(|| (shaper, "shapes tokens, which budgets are in; leave its `cost` at \"tokens\"".into()))
}
