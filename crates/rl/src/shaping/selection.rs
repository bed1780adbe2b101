//! Which groups of a step come under length penalty: the batch-wise top-λ of arXiv 2505.18086, and its controls.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal};
use crate::{config::RunConfig, random::Stream};

/// Which groups are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Those of the highest correctness ratio: the method.
    Top,
    /// Any, by chance: tells whether ranking or merely bounding the share matters.
    Random,
    /// Those of the lowest correctness ratio: the opposite control.
    Lowest,
}

/// Who comes first among groups of equal correctness ratio. The paper does not say; many groups tie at 100 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TieBreak {
    /// By chance, from the run's seed: the order of the data must not decide.
    Random,
    /// The group that comes first in the step.
    Index,
    /// The group whose correct completions are longest on average.
    Longest,
}

/// How groups are selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// λ.
    pub share: f64,
    /// From which end of the ranking.
    pub which: Which,
    /// Order among equals.
    pub ties: TieBreak,
    /// Groups of a lower correctness ratio are not eligible.
    pub correctness_ratio_min: f64,
    /// Groups with fewer correct completions are not eligible.
    pub correct_min: u32,
}

/// The groups under length penalty in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Indices within the step, ascending.
    pub groups: Vec<usize>,
    /// Selected groups in which every completion is correct.
    pub all_correct: usize,
    /// Eligible groups whose correctness ratio equals that of the last one selected, when one of them was left out;
    /// 0 when the ranking alone decided.
    pub tied: usize,
}

impl Selected {
    /// No group.
    pub fn none() -> Self {
        Self { groups: Vec::new(), all_correct: 0, tied: 0 }
    }

    /// Every group.
    pub fn all(groups: &[Vec<Priced>]) -> Self {
        let ranked: Vec<_> = groups.iter().map(|group| correct(group)).collect();
        Self {
            groups: (0..groups.len()).collect(),
            all_correct: all_correct(groups, &ranked, 0..groups.len()),
            tied: 0,
        }
    }

    /// Whether the group at `index` is selected.
    pub fn contains(&self, index: usize) -> bool {
        self.groups.binary_search(&index).is_ok()
    }
}

/// Correct completions of a group.
pub(super) fn correct(group: &[Priced]) -> usize {
    group.iter().filter(|one| one.correct).count()
}

/// Σc/G; 0 of an empty group.
pub(super) fn correctness_ratio(group: &[Priced]) -> f64 {
    correct(group) as f64 / group.len().max(1) as f64
}

fn all_correct(groups: &[Vec<Priced>], counts: &[usize], chosen: impl Iterator<Item = usize>) -> usize {
    chosen.filter(|&index| counts[index] == groups[index].len()).count()
}

/// a/b against c/d without rounding.
fn compare_ratios(a: (usize, usize), b: (usize, usize)) -> Ordering {
    (a.0 as u128 * b.1 as u128).cmp(&(b.0 as u128 * a.1 as u128))
}

/// Ranks all groups of the step by correctness ratio and takes λ·N of them: rounded to the nearest, at least one when
/// λ > 0, at most the eligible ones.
pub(super) fn select(groups: &[Vec<Priced>], selection: &Selection, stream: &mut Stream) -> Selected {
    let counts: Vec<usize> = groups.iter().map(|group| correct(group)).collect();
    let ratio = |index: usize| (counts[index], groups[index].len().max(1));
    let wanted = (selection.share * groups.len() as f64).round() as usize;
    let wanted = if selection.share > 0.0 { wanted.max(1) } else { 0 };
    let eligible = |&index: &usize| {
        counts[index] >= selection.correct_min as usize
            // Divided, not multiplied out: k/n rounds to the same f64 as its decimal form in a config does.
            && ratio(index).0 as f64 / ratio(index).1 as f64 >= selection.correctness_ratio_min
    };
    // The stream is always read once per group, so that a choice here never shifts a later one.
    let chance: Vec<f64> = groups.iter().map(|_| stream.uniform()).collect();
    let tie = |&a: &usize, &b: &usize| match selection.ties {
        TieBreak::Random => chance[a].total_cmp(&chance[b]),
        TieBreak::Index => a.cmp(&b),
        TieBreak::Longest => {
            let mean = |index: usize| mean_correct_cost(&groups[index]);
            mean(b).total_cmp(&mean(a)).then(a.cmp(&b))
        }
    };
    let rank = |a: &usize, b: &usize| match selection.which {
        Which::Top => compare_ratios(ratio(*b), ratio(*a)).then_with(|| tie(a, b)),
        Which::Lowest => compare_ratios(ratio(*a), ratio(*b)).then_with(|| tie(a, b)),
        Which::Random => chance[*a].total_cmp(&chance[*b]),
    };
    let mut ranking: Vec<usize> = (0..groups.len()).filter(eligible).collect();
    ranking.sort_by(rank);
    let count = wanted.min(ranking.len());
    let contested = |last: usize, next: usize| {
        selection.which != Which::Random && compare_ratios(ratio(last), ratio(next)) == Ordering::Equal
    };
    let tied = match (count.checked_sub(1).map(|last| ranking[last]), ranking.get(count)) {
        (Some(last), Some(&next)) if contested(last, next) => {
            ranking.iter().filter(|&&index| compare_ratios(ratio(index), ratio(last)) == Ordering::Equal).count()
        }
        _ => 0,
    };
    ranking.truncate(count);
    ranking.sort_unstable();
    Selected { all_correct: all_correct(groups, &counts, ranking.iter().copied()), groups: ranking, tied }
}

fn mean_correct_cost(group: &[Priced]) -> f64 {
    let total: f64 = group.iter().filter(|one| one.correct).map(|one| one.cost).sum();
    total / correct(group).max(1) as f64
}

/// Refuses dynamic sampling beside a shaper that ranks groups by correctness ratio.
pub(super) fn refuse_dynamic_sampling(shaper: &str, run: &RunConfig) -> Option<Refusal> {
    run.train.dynamic_sampling.as_ref().map(|_| {
        let message = format!(
            "replaces the groups in which every completion is correct, and those are what {shaper} selects first; leave \
             out one of the two"
        );
        ("train.dynamic_sampling", message)
    })
}
