//! Several objectives at once: shapers with weights, each on a cost of its own.

use serde::{Deserialize, Serialize};

use super::{Refusal, Selected, Shaped, Shaper, ShaperState, Shaping, Step, outside};
use crate::{config::RunConfig, cost::TOKENS, random::Stream};

/// Settings of `[train.shaping.weighted]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weighted {
    /// What is wanted beside correctness.
    pub objectives: Vec<Objective>,
}

/// A shaper, what it acts on, and how much it counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// The cost that the shaper acts on: `tokens`, or a name of `[train.costs]`.
    #[serde(default = "tokens")]
    pub cost: String,
    /// w: how much the objective counts.
    #[serde(default = "one")]
    pub weight: f64,
    /// The shaper.
    pub shaper: Shaping,
}

fn tokens() -> String {
    TOKENS.into()
}

fn one() -> f64 {
    1.0
}

impl Shaper for Weighted {
    fn refusal(&self, run: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        const OBJECTIVES: &str = "train.shaping.weighted.objectives";
        if self.objectives.is_empty() {
            return Some((OBJECTIVES, "is empty; name an objective, or use the shaper `grpo`".into()));
        }
        self.objectives.iter().find_map(|Objective { cost, weight, shaper }| {
            if cost != TOKENS && !run.train.costs.contains_key(cost) {
                let message = format!("has the cost \"{cost}\", which is neither \"{TOKENS}\" nor in `[train.costs]`");
                return Some((OBJECTIVES, message));
            }
            if matches!(shaper, Shaping::Weighted(_)) {
                let message = "has objectives within an objective; name all in one list".into();
                return Some((OBJECTIVES, message));
            }
            let cost_max = cost_max.filter(|_| cost == TOKENS);
            outside("train.shaping.weighted.objectives.weight", *weight, 0.0, 1e6)
                .or_else(|| shaper.shaper().1.refusal(run, cost_max))
        })
    }

    fn start(&self) -> ShaperState {
        ShaperState::Weighted(self.objectives.iter().map(|objective| objective.shaper.start()).collect())
    }

    /// r = c + Σ w·(r_j − c) and, where shapers add to the advantage, Σ w of what they add: with one objective of weight
    /// 1 its shaper alone.
    fn shape(&self, step: &Step, state: &mut ShaperState, stream: &mut Stream) -> Shaped {
        let ShaperState::Weighted(states) = state else { unreachable!("state of another shaper: {state:?}") };
        let mut total = Shaped::nowhere(step);
        let plain = total.rewards.clone();
        for (objective, state) in self.objectives.iter().zip(states) {
            let shaped = objective.shaper.shaper().1.shape(&objective.priced(step), state, stream);
            let terms = shaped.rewards.iter().zip(&plain).map(|(rewards, plain)| {
                rewards.iter().zip(plain).map(|(reward, plain)| objective.weight * (reward - plain)).collect()
            });
            add(&mut total.rewards, &terms.collect::<Vec<Vec<f64>>>());
            if let Some(mut added) = shaped.added {
                added.iter_mut().flatten().for_each(|value| *value *= objective.weight);
                let nothing = || plain.iter().map(|group| vec![0.0; group.len()]).collect();
                add(total.added.get_or_insert_with(nothing), &added);
            }
            total.selected = union(&total.selected, &shaped.selected, step);
            total.shapers.extend(shaped.shapers);
        }
        total
    }
}

impl Objective {
    /// The step at this objective's cost.
    fn priced(&self, step: &Step) -> Step {
        let mut priced = step.clone();
        let Some(costs) = step.costs.get(&self.cost) else {
            assert_eq!(self.cost, TOKENS, "a config with another cost is refused");
            return priced;
        };
        for (one, &cost) in priced.groups.iter_mut().flatten().zip(costs.iter().flatten()) {
            (one.cost, one.budget) = (cost, None);
        }
        Step { cost_max: None, ..priced }
    }
}

fn add(total: &mut [Vec<f64>], terms: &[Vec<f64>]) {
    for (group, terms) in total.iter_mut().zip(terms) {
        group.iter_mut().zip(terms).for_each(|(value, term)| *value += term);
    }
}

/// The groups that any objective puts under pressure.
fn union(a: &Selected, b: &Selected, step: &Step) -> Selected {
    let groups: Vec<usize> = (0..step.groups.len()).filter(|&index| a.contains(index) || b.contains(index)).collect();
    let all_correct = groups.iter().filter(|&&index| step.groups[index].iter().all(|one| one.correct)).count();
    Selected { groups, all_correct, tied: a.tied.max(b.tied) }
}
