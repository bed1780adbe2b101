//! In what a collapse may announce itself: outcomes and advantages of a step in, `signals` of its metrics out. What every
//! step's metrics have beside them is in `metrics`; whether a run has collapsed, in `collapse`.
//!
//! Advantages within a group of one outcome can be about length alone, and so can differences of advantage between
//! completions of one outcome in any group: 0/1 rewards give such completions equal advantages whatever the scale. Sums
//! are f64 over groups and completions in order.

use std::collections::BTreeMap;

use record::SignalMetrics;

use crate::{
    shaping::Outcome,
    statistics::{correlation_within_groups, mean, population_standard_deviation, squared_deviations},
};

/// The signals of a step.
///
/// Shapes: `levels` \[N\], `outcomes` and `advantages` \[N\]\[G\].
pub fn signals(levels: &[Option<&str>], outcomes: &[Vec<Outcome>], advantages: &[Vec<f64>]) -> SignalMetrics {
    assert!(levels.len() == outcomes.len() && outcomes.len() == advantages.len(), "a level and advantages per group");
    let spreads: Vec<f64> = outcomes.iter().filter(|group| is_all_correct(group)).filter_map(|g| spread(g)).collect();
    let gains: Vec<f64> = outcomes.iter().filter_map(|group| shortest_quarter_gain(group)).collect();
    SignalMetrics {
        all_correct_length_spread: mean(&spreads),
        all_correct_advantage_share: all_correct_advantage_share(outcomes, advantages),
        within_correctness_advantage_share: within_correctness_advantage_share(outcomes, advantages),
        length_advantage_correlation: length_advantage_correlation(outcomes, advantages),
        shortest_quarter_gain: mean(&gains),
        level_correctness_ratios: level_correctness_ratios(levels, outcomes),
    }
}

fn is_all_correct(group: &[Outcome]) -> bool {
    group.iter().all(|outcome| outcome.correct)
}

/// Population standard deviation over mean of the tokens; none for no completions.
fn spread(group: &[Outcome]) -> Option<f64> {
    let tokens: Vec<f64> = group.iter().map(|outcome| f64::from(outcome.tokens)).collect();
    Some(population_standard_deviation(&tokens)? / mean(&tokens)?)
}

/// Σ|A| over the all-correct groups, over Σ|A|; none when that is 0.
fn all_correct_advantage_share(outcomes: &[Vec<Outcome>], advantages: &[Vec<f64>]) -> Option<f64> {
    let size = |advantages: &Vec<f64>| advantages.iter().map(|advantage| advantage.abs()).sum::<f64>();
    let of_all: f64 = advantages.iter().map(size).sum();
    let pairs = outcomes.iter().zip(advantages).filter(|(group, _)| is_all_correct(group));
    let of_all_correct: f64 = pairs.map(|(_, advantages)| size(advantages)).sum();
    (of_all > 0.0).then(|| of_all_correct / of_all)
}

/// Σ(A − Ā)² / ΣA² with Ā over the completions of the same group and outcome; none when ΣA² is 0.
fn within_correctness_advantage_share(outcomes: &[Vec<Outcome>], advantages: &[Vec<f64>]) -> Option<f64> {
    let (mut within, mut total) = (0.0, 0.0);
    for (group, advantages) in outcomes.iter().zip(advantages) {
        for correct in [true, false] {
            let same = group.iter().zip(advantages).filter(|(outcome, _)| outcome.correct == correct);
            let same: Vec<f64> = same.map(|(_, &advantage)| advantage).collect();
            within += squared_deviations(&same);
            total += same.iter().map(|advantage| advantage * advantage).sum::<f64>();
        }
    }
    (total > 0.0).then(|| within / total)
}

fn length_advantage_correlation(outcomes: &[Vec<Outcome>], advantages: &[Vec<f64>]) -> Option<f64> {
    let pairs = |(group, advantages): (&Vec<Outcome>, &Vec<f64>)| {
        group.iter().zip(advantages).map(|(outcome, &advantage)| (f64::from(outcome.tokens), advantage)).collect()
    };
    correlation_within_groups(&outcomes.iter().zip(advantages).map(pairs).collect::<Vec<_>>())
}

/// Correctness ratio of the ⌈G/4⌉ shortest completions, and all as long as the longest of them, minus that of the others;
/// none for a group of one outcome or without others.
fn shortest_quarter_gain(group: &[Outcome]) -> Option<f64> {
    let ratio = |keep: &dyn Fn(&Outcome) -> bool| {
        mean(&group.iter().filter(|o| keep(o)).map(|o| f64::from(u8::from(o.correct))).collect::<Vec<_>>())
    };
    let mut tokens: Vec<u32> = group.iter().map(|outcome| outcome.tokens).collect();
    tokens.sort_unstable();
    let longest = *tokens.get(group.len().div_ceil(4).checked_sub(1)?)?;
    let is_mixed = group.iter().any(|o| o.correct) && !is_all_correct(group);
    let (short, others) = (ratio(&|outcome| outcome.tokens <= longest), ratio(&|outcome| outcome.tokens > longest));
    is_mixed.then_some(short? - others?)
}

fn level_correctness_ratios(levels: &[Option<&str>], outcomes: &[Vec<Outcome>]) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (level, group) in levels.iter().zip(outcomes) {
        if let Some(level) = level {
            let (correct, all) = counts.entry(level).or_default();
            *correct += group.iter().filter(|outcome| outcome.correct).count();
            *all += group.len();
        }
    }
    counts.into_iter().map(|(level, (correct, all))| (level.to_owned(), correct as f64 / all as f64)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positive tokens are those of a correct completion, negative ones of a wrong one.
    fn group(tokens: &[i32]) -> Vec<Outcome> {
        tokens.iter().map(|&tokens| Outcome { correct: tokens > 0, tokens: tokens.unsigned_abs() }).collect()
    }

    #[track_caller]
    fn assert_near(value: Option<f64>, expected: Option<f64>) {
        match (value, expected) {
            (Some(value), Some(expected)) => assert!((value - expected).abs() < 1e-14, "{value} is not {expected}"),
            (value, expected) => assert_eq!(value, expected),
        }
    }

    #[test]
    fn signals_of_a_step_match_a_calculation_by_hand() {
        let outcomes = [group(&[2, 4, 4, 6]), group(&[5, -3, 9, -3]), group(&[-7, -7, -7, -7]), group(&[8, 8, 8, 8])];
        let advantages =
            [vec![1.0, 0.0, 0.0, -1.0], vec![1.0, -0.5, 0.5, -1.0], vec![0.0; 4], vec![0.25, -0.25, 0.25, -0.25]];
        let found = signals(&[Some("2"), Some("4"), None, Some("2")], &outcomes, &advantages);
        // All-correct groups: √((4 + 0 + 0 + 4)/4)/4 = √2/4, and 0.
        assert_near(found.all_correct_length_spread, Some(2.0_f64.sqrt() / 8.0));
        // (2 + 1) of 2 + 3 + 0 + 1.
        assert_near(found.all_correct_advantage_share, Some(0.5));
        // Within: 2; right 0.75 ± 0.25 and wrong −0.75 ± 0.25, so 4 · 0.0625 = 0.25; 0; 0.25. Total: 2 + 2.5 + 0.25.
        assert_near(found.within_correctness_advantage_share, Some(2.5 / 4.75));
        // Σ dL dA = −4 + 5, Σ dL² = 8 + 24, Σ dA² = 2 + 2.5 + 0.25.
        assert_near(found.length_advantage_correlation, Some(1.0 / (32.0_f64 * 4.75).sqrt()));
        // The mixed group: of the two as short as the shortest none is right, of the others both.
        assert_near(found.shortest_quarter_gain, Some(-1.0));
        let ratios: Vec<_> = found.level_correctness_ratios.into_iter().collect();
        assert_eq!(ratios, [("2".to_owned(), 1.0), ("4".to_owned(), 0.5)]);
    }

    #[test]
    fn zero_or_one_rewards_leave_nothing_within_an_outcome() {
        // 0/1 rewards of two right of six, over any scale: 2/3 and −1/3.
        let outcomes = [group(&[5, -3, 9, -3, -4, -20]), group(&[3, 4, 5, 6, 7, 8])];
        let third = 1.0 / 3.0;
        let advantages = [vec![2.0 * third, -third, 2.0 * third, -third, -third, -third], vec![0.0; 6]];
        let found = signals(&[None, None], &outcomes, &advantages);
        assert_near(found.within_correctness_advantage_share, Some(0.0));
        assert_near(found.all_correct_advantage_share, Some(0.0));
    }

    #[test]
    fn what_a_step_does_not_have_is_none() {
        let level = group(&[-4, 4, 4, 4]);
        let found = signals(&[None], &[level], &[vec![0.0; 4]]);
        assert_eq!(found.all_correct_length_spread, None);
        assert_eq!(found.all_correct_advantage_share, None);
        assert_eq!(found.within_correctness_advantage_share, None);
        assert_eq!(found.length_advantage_correlation, None);
        assert_eq!(found.shortest_quarter_gain, None, "all are as long as the shortest");
        assert!(found.level_correctness_ratios.is_empty());
    }

    #[test]
    fn a_permutation_of_completions_changes_no_signal() {
        let (outcomes, advantages) = (group(&[4, -2, 9, 3, -3, 3]), [0.75, -1.5, 0.5, 1.25, -1.25, 0.25]);
        let order = [3, 0, 5, 1, 4, 2];
        let permuted: Vec<Outcome> = order.iter().map(|&place| outcomes[place]).collect();
        let moved: Vec<f64> = order.iter().map(|&place| advantages[place]).collect();
        let ours = signals(&[Some("a")], &[permuted], &[moved]);
        let theirs = signals(&[Some("a")], &[outcomes], &[advantages.to_vec()]);
        assert_near(ours.within_correctness_advantage_share, theirs.within_correctness_advantage_share);
        // The two of 2 and 3 tokens and two others of 3: half right; both others are right.
        assert_near(ours.shortest_quarter_gain, Some(-0.5));
        assert_eq!(ours.shortest_quarter_gain, theirs.shortest_quarter_gain);
    }
}
