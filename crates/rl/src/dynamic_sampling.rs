//! Dynamic sampling: groups that teach nothing are replaced (DAPO, arXiv 2503.14476, section 3.2 and equation 11).

use record::DynamicSamplingMetrics;
use serde::{Deserialize, Serialize};

use crate::score::ScoredCompletion;

/// `[train.dynamic_sampling]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DynamicSampling {
    /// Most rounds in which groups are replaced. The paper goes on until none is left; its code stops after 10 batches.
    pub rounds_max: u64,
}

impl Default for DynamicSampling {
    fn default() -> Self {
        Self { rounds_max: 10 }
    }
}

impl DynamicSampling {
    /// Replaces the groups in which every completion is correct or every one is wrong, round after round: the constraint
    /// of equation 11 is on correctness, whatever the rewards are. `fresh` gives so many problems and their groups, the
    /// first of which has the given position in the step.
    pub fn replace(
        &self,
        problems: &mut [usize],
        groups: &mut [Vec<ScoredCompletion>],
        mut fresh: impl FnMut(usize, usize) -> (Vec<usize>, Vec<Vec<ScoredCompletion>>),
    ) -> DynamicSamplingMetrics {
        let mut metrics = DynamicSamplingMetrics::default();
        let mut first = problems.len();
        for _ in 0..self.rounds_max {
            let level = level_groups(groups);
            if level.is_empty() {
                break;
            }
            let (new_problems, new_groups) = fresh(level.len(), first);
            first += level.len();
            metrics.rounds += 1;
            metrics.replaced_groups += level.len() as u32;
            for ((position, problem), group) in level.into_iter().zip(new_problems).zip(new_groups) {
                let old = std::mem::replace(&mut groups[position], group);
                metrics.replaced_tokens += old.iter().map(|scored| scored.completion.tokens.len() as u64).sum::<u64>();
                problems[position] = problem;
            }
        }
        metrics.level_groups = level_groups(groups).len() as u32;
        metrics
    }
}

/// Positions of the groups in which every completion is correct or every one is wrong.
fn level_groups(groups: &[Vec<ScoredCompletion>]) -> Vec<usize> {
    let is_level = |group: &[ScoredCompletion]| {
        let correct = group.iter().filter(|scored| scored.outcome().correct).count();
        correct == 0 || correct == group.len()
    };
    (0..groups.len()).filter(|&position| is_level(&groups[position])).collect()
}
