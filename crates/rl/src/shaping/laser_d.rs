//! LASER-D: LASER with a target for each tier of difficulty, which follows the policy (arXiv 2505.15612, section 5).

use record::ShaperMetrics;
use serde::{Deserialize, Serialize};

use super::{
    Priced, Refusal, Shaped, Shaper, ShaperState, Step, laser::laser, outside, required_limit, selection::correct,
};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.laser-d]`; the defaults are published ones (lower ends of 1024, 2048 and 4096 were tried).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaserD {
    /// The bonus of a correct completion up to its tier's target.
    pub bonus: f64,
    /// The smallest target.
    pub target_min: f64,
    /// The largest target, which every tier starts with; the token limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_max: Option<f64>,
    /// Distance between targets.
    pub target_interval: f64,
    /// Targets are chosen anew after every this many steps, from the completions of these steps.
    pub every_steps: u64,
}

impl Default for LaserD {
    fn default() -> Self {
        Self { bonus: 0.5, target_min: 4096.0, target_max: None, target_interval: 1024.0, every_steps: 20 }
    }
}

/// What LASER-D remembers, by tier: correctness ratio at least 2/3, at least 1/3, below.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaserDState {
    /// The present targets; those that the settings start with before the first choice.
    targets: Option<[f64; 3]>,
    /// Steps since the last choice.
    steps: u64,
    /// Costs of the correct completions since then.
    correct_costs: [Vec<f64>; 3],
}

/// Most targets that are compared, so that a config cannot ask for billions.
const TARGETS_MAX: f64 = 65536.0;

impl Shaper for LaserD {
    fn refusal(&self, _: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        let most = self.target_max.or(cost_max).unwrap_or(f64::MAX);
        required_limit("train.shaping.laser-d.target_max", self.target_max, cost_max)
            .or_else(|| outside("train.shaping.laser-d.bonus", self.bonus, 0.0, 1e6))
            .or_else(|| outside("train.shaping.laser-d.target_min", self.target_min, 0.0, most))
            .or_else(|| {
                let least = (most - self.target_min).max(1.0) / TARGETS_MAX;
                outside("train.shaping.laser-d.target_interval", self.target_interval, least, f64::MAX)
            })
            .or_else(|| outside("train.shaping.laser-d.every_steps", self.every_steps as f64, 1.0, 1e9))
    }

    fn start(&self) -> ShaperState {
        ShaperState::LaserD(LaserDState::default())
    }

    fn shape(&self, step: &Step, state: &mut ShaperState, _: &mut Stream) -> Shaped {
        let ShaperState::LaserD(state) = state else { unreachable!("state of another shaper: {state:?}") };
        let most = self.target_max.unwrap_or_else(|| step.limit());
        let targets = state.targets.unwrap_or([most; 3]);
        let rewards = step.each_group(|group| laser(group, targets[tier(group)], self.bonus));
        for group in &step.groups {
            let costs = group.iter().filter(|one| one.correct).map(|one| one.cost);
            state.correct_costs[tier(group)].extend(costs);
        }
        state.steps += 1;
        if state.steps == self.every_steps {
            let group_size = step.groups.iter().map(Vec::len).max().unwrap_or(0);
            let choose =
                |tier: usize| self.target(&state.correct_costs[tier], expected_correct(tier, group_size), most);
            *state = LaserDState { targets: Some([choose(0), choose(1), choose(2)]), ..LaserDState::default() };
        }
        Shaped { shapers: vec![ShaperMetrics::LaserD { targets }], ..Shaped::everywhere(step, rewards) }
    }
}

impl LaserD {
    /// The smallest target at which a group of the tier can be expected to keep a correct completion: P·C ≥ 1, with P
    /// the share of the tier's correct completions up to the target and C the least correct ones of a group in it
    /// (section 5.2, "expected correct responses"); the largest target where none is.
    ///
    /// The paper takes P from 500 problems set apart and sampled every 20 steps; here it is that of the training
    /// completions of as many steps.
    fn target(&self, correct_costs: &[f64], expected_correct: usize, most: f64) -> f64 {
        let enough = |target: &f64| {
            let covered = correct_costs.iter().filter(|cost| *cost <= target).count();
            covered > 0 && covered * expected_correct >= correct_costs.len()
        };
        let grid = (0..).map(|place| self.target_min + f64::from(place) * self.target_interval);
        grid.take_while(|target| *target < most).find(enough).unwrap_or(most)
    }
}

/// 0 at a correctness ratio of at least 2/3, 1 at at least 1/3, 2 below.
fn tier(group: &[Priced]) -> usize {
    let correct = correct(group);
    2 - usize::from(3 * correct >= group.len()) - usize::from(3 * correct >= 2 * group.len())
}

/// The least correct completions of a group of `tier`: ⌊2G/3⌋, ⌊G/3⌋ and 1, as the published code has it.
fn expected_correct(tier: usize, group_size: usize) -> usize {
    [2 * group_size / 3, group_size / 3, 1][tier]
}
