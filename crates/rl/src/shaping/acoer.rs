//! ACOER, a brevity bonus for correct completions whose strength a control loop moves (arXiv 2606.22716).

use record::ShaperMetrics;
use serde::{Deserialize, Serialize};

use super::{
    Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness, outside, refuse_replaced_groups, required_limit,
    step_accuracy,
};
use crate::{config::RunConfig, random::Stream, statistics::mean};

/// Settings of `[train.shaping.acoer]`; the defaults are those of the published code.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Acoer {
    /// α at the start.
    pub alpha: f64,
    /// Smallest α.
    pub alpha_min: f64,
    /// Largest α.
    pub alpha_max: f64,
    /// α is multiplied by this while accuracy holds.
    pub alpha_rise: f64,
    /// α is multiplied by this when accuracy has fallen.
    pub alpha_fall: f64,
    /// Accuracy has fallen when its mean is further than this below that of `window_steps` before.
    pub accuracy_tolerance: f64,
    /// Steps that the accuracy is compared over.
    pub window_steps: u64,
    /// Steps of the moving means: each new step weighs 2/(this + 1).
    pub mean_steps: f64,
    /// Steps at the start in which α and the budget stay as they are.
    pub warmup_steps: u64,
    /// B at the start; the token limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// B is this share of the moving mean of the correct completions' costs.
    pub budget_share: f64,
    /// Smallest B.
    pub budget_min: f64,
}

impl Default for Acoer {
    fn default() -> Self {
        Self {
            alpha: 0.02,
            alpha_min: 0.01,
            alpha_max: 0.5,
            alpha_rise: 1.02,
            alpha_fall: 0.95,
            accuracy_tolerance: 0.02,
            window_steps: 100,
            mean_steps: 50.0,
            warmup_steps: 200,
            budget: None,
            budget_share: 0.85,
            budget_min: 512.0,
        }
    }
}

/// What ACOER remembers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcoerState {
    alpha: f64,
    /// None before the first change.
    budget: Option<f64>,
    /// Moving mean of the accuracy after each of the last `window_steps` steps, oldest first.
    accuracies: Vec<f64>,
    /// Moving mean of the costs of correct completions; none before there was one.
    correct_cost: Option<f64>,
}

impl Shaper for Acoer {
    fn refusal(&self, run: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        required_limit("train.shaping.acoer.budget", self.budget, cost_max)
            .or_else(|| outside("train.shaping.acoer.alpha_max", self.alpha_max, 0.0, 1e6))
            .or_else(|| outside("train.shaping.acoer.alpha_min", self.alpha_min, 0.0, self.alpha_max))
            .or_else(|| outside("train.shaping.acoer.alpha", self.alpha, self.alpha_min, self.alpha_max))
            .or_else(|| outside("train.shaping.acoer.alpha_rise", self.alpha_rise, 1.0, 1e3))
            .or_else(|| outside("train.shaping.acoer.alpha_fall", self.alpha_fall, 0.0, 1.0))
            .or_else(|| outside("train.shaping.acoer.accuracy_tolerance", self.accuracy_tolerance, 0.0, 1.0))
            .or_else(|| outside("train.shaping.acoer.window_steps", self.window_steps as f64, 1.0, 1e6))
            .or_else(|| outside("train.shaping.acoer.mean_steps", self.mean_steps, 1.0, 1e6))
            .or_else(|| outside("train.shaping.acoer.budget_share", self.budget_share, 1e-3, 1e3))
            .or_else(|| outside("train.shaping.acoer.budget_min", self.budget_min, 1e-3, f64::MAX))
            .or_else(|| refuse_replaced_groups("acoer", run))
    }

    fn start(&self) -> ShaperState {
        ShaperState::Acoer(AcoerState { alpha: self.alpha, budget: None, accuracies: Vec::new(), correct_cost: None })
    }

    fn shape(&self, step: &Step, state: &mut ShaperState, _: &mut Stream) -> Shaped {
        let ShaperState::Acoer(state) = state else { unreachable!("state of another shaper: {state:?}") };
        let budget = state.budget.or(self.budget).unwrap_or_else(|| step.limit());
        let rewards = step.each_group(|group| group.iter().map(|one| reward(one, state.alpha, budget)).collect());
        let shapers = vec![ShaperMetrics::Acoer { alpha: state.alpha, budget }];
        self.observe(step, state);
        if step.index >= self.warmup_steps && state.accuracies.len() as u64 == self.window_steps {
            self.adapt(state);
        }
        Shaped { shapers, ..Shaped::everywhere(step, rewards) }
    }
}

impl Acoer {
    /// Moves the means. The published code takes 0 for the cost of a step without a correct completion, which would
    /// drag the budget down; here such a step leaves the cost as it is.
    fn observe(&self, step: &Step, state: &mut AcoerState) {
        let weight = 2.0 / (self.mean_steps + 1.0);
        let moved = |old: Option<f64>, new: f64| old.map_or(new, |old| weight * new + (1.0 - weight) * old);
        let costs: Vec<f64> = step.groups.iter().flatten().filter(|one| one.correct).map(|one| one.cost).collect();
        if let Some(cost) = mean(&costs) {
            state.correct_cost = Some(moved(state.correct_cost, cost));
        }
        state.accuracies.push(moved(state.accuracies.last().copied(), step_accuracy(step)));
        if state.accuracies.len() as u64 > self.window_steps {
            state.accuracies.remove(0);
        }
    }

    fn adapt(&self, state: &mut AcoerState) {
        let fall = state.accuracies.first().zip(state.accuracies.last()).map_or(0.0, |(first, last)| first - last);
        let factor = if fall > self.accuracy_tolerance { self.alpha_fall } else { self.alpha_rise };
        state.alpha = (state.alpha * factor).clamp(self.alpha_min, self.alpha_max);
        state.budget = state.correct_cost.map(|cost| (self.budget_share * cost).max(self.budget_min)).or(state.budget);
    }
}

/// r = c·(1 + α·ln(1 + 5(1 − x))/ln 6), x = min(L/B, 1).
fn reward(one: &Priced, alpha: f64, budget: f64) -> f64 {
    let share = (one.cost / budget).min(1.0);
    correctness(one) * (1.0 + alpha * (5.0 * (1.0 - share)).ln_1p() / 6.0_f64.ln())
}
