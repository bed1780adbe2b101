//! Which groups come under length penalty: rounding, ranking, ties, controls and eligibility, by hand.

mod support;

use std::collections::BTreeSet;

use rl::shaping::{self, LengthPenalty, Outcome, Selected, Shaping, Step, TieBreak, TopLambda, Which};

use support::{equally_spaced, group, selection_stream, shape, shape_top_lambda, top_lambda};

const TIES: [TieBreak; 3] = [TieBreak::Random, TieBreak::Index, TieBreak::Longest];

fn select(groups: &[Vec<Outcome>], settings: &TopLambda, seed: u64) -> Selected {
    shape_top_lambda(groups, settings, seed).selected
}

/// A group of `size` completions of which `correct` are correct.
fn ratio(correct: u32, size: u32) -> Vec<Outcome> {
    group(&equally_spaced(correct), (size - correct) as usize)
}

/// How often each group is selected under 6,000 seeds.
fn selection_counts(groups: &[Vec<Outcome>], settings: &TopLambda) -> Vec<usize> {
    let mut counts = vec![0; groups.len()];
    for seed in 0..6_000 {
        for index in select(groups, settings, seed).groups {
            counts[index] += 1;
        }
    }
    counts
}

/// Within four standard errors of 6,000 draws at probability `share`.
fn assert_count(count: usize, share: f64) {
    let (expected, error) = (6_000.0 * share, (6_000.0 * share * (1.0 - share)).sqrt());
    assert!((count as f64 - expected).abs() <= 4.0 * error, "selected {count} times instead of {expected} ± {error}");
}

/// λ·N by hand for N = 1…12: at 0.2 it is 0.2, 0.4 … 2.4, at 0.5 it is 0.5, 1.0 … 6.0, with halves going up.
#[test]
fn the_selected_number_is_lambda_n_rounded_to_the_nearest_and_at_least_one() {
    for (lambda, expected) in [
        (0.0, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        (0.001, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        (0.2, [1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]),
        (0.5, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]),
        (1.0, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ] {
        for (count, expected) in (1_u32..).zip(expected) {
            let tied: Vec<_> = (0..count).map(|_| ratio(2, 4)).collect();
            let distinct: Vec<_> = (0..count).map(|correct| ratio(correct, 16)).collect();
            for groups in [tied, distinct] {
                assert_eq!(select(&groups, &top_lambda(lambda), 0).groups.len(), expected, "λ = {lambda}, N = {count}");
            }
        }
    }
}

#[test]
fn the_rank_within_the_step_decides_and_not_the_height_of_the_ratio() {
    let best_two_of_ten = |correct: [u32; 10]| {
        let groups = correct.map(|correct| ratio(correct, 16));
        select(&groups, &top_lambda(0.2), 0).groups
    };
    assert_eq!(best_two_of_ten([0, 1, 0, 0, 0, 0, 0, 2, 0, 0]), [1, 7], "a weak step");
    assert_eq!(best_two_of_ten([16, 13, 14, 14, 13, 15, 14, 12, 13, 14]), [0, 5], "a strong step");
    assert_eq!(best_two_of_ten([0; 10]).len(), 2, "nothing correct");
}

/// 2/3 < 3/4 < 7/8, though 7 correct completions are more than 3, and 3 more than 2; 1/3 = 2/6 exactly.
#[test]
fn groups_of_different_sizes_are_ranked_by_ratio() {
    let groups = [ratio(3, 4), ratio(2, 3), ratio(7, 8), ratio(1, 3), ratio(2, 6)];
    for (lambda, expected) in [(0.2, vec![2]), (0.4, vec![0, 2]), (0.6, vec![0, 1, 2])] {
        let selected = select(&groups, &top_lambda(lambda), 0);
        assert_eq!((selected.groups, selected.tied), (expected, 0));
    }
    assert_eq!(select(&groups, &top_lambda(0.8), 0).tied, 2);
}

/// Five groups tie, which differ in everything but their ratio.
#[test]
fn random_ties_go_to_positions_that_the_stream_alone_names() {
    let groups = [ratio(16, 16), group(&[7; 16], 0), ratio(4, 4), group(&[1], 0), group(&[u32::MAX; 3], 0)];
    let mut reversed = groups.clone();
    reversed.reverse();
    let settings = top_lambda(0.4);
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let selected = select(&groups, &settings, seed);
        assert_eq!(selected, select(&reversed, &settings, seed), "what stands there does not matter");
        seen.insert(selected.groups);
    }
    assert_eq!(seen.len(), 10, "every pair of five positions");
}

#[test]
fn over_seeds_every_tied_group_is_selected_equally_often() {
    let tied = vec![ratio(8, 8); 5];
    for count in selection_counts(&tied, &top_lambda(0.2)) {
        assert_count(count, 0.2);
    }
    // Two places: one is the best group's, four groups tie for the other.
    let groups = [ratio(5, 8), ratio(6, 8), ratio(6, 8), ratio(8, 8), ratio(6, 8), ratio(0, 8), ratio(6, 8)];
    let counts = selection_counts(&groups, &top_lambda(2.0 / 7.0));
    assert_eq!([counts[0], counts[3], counts[5]], [0, 6_000, 0]);
    for count in [counts[1], counts[2], counts[4], counts[6]] {
        assert_count(count, 0.25);
    }
}

#[test]
fn ties_by_index_go_to_the_group_that_stands_first() {
    let groups = [ratio(1, 4), ratio(4, 4), group(&[900; 4], 0), ratio(4, 4), ratio(0, 4)];
    let settings = TopLambda { ties: TieBreak::Index, ..top_lambda(0.4) };
    for seed in 0..20 {
        assert_eq!(select(&groups, &settings, seed).groups, [1, 2]);
    }
}

/// Means over correct completions: 100, 120, 110 and 120; the wrong completions have 50 tokens each.
#[test]
fn ties_by_longest_go_to_the_longest_mean_correct_length_and_then_by_index() {
    let groups = [group(&[90, 110], 2), group(&[120, 120], 2), group(&[10, 210], 2), group(&[240, 0], 2), ratio(1, 4)];
    for (lambda, expected) in [(0.2, vec![1]), (0.4, vec![1, 3]), (0.6, vec![1, 2, 3]), (0.8, vec![0, 1, 2, 3])] {
        for seed in 0..20 {
            let settings = TopLambda { ties: TieBreak::Longest, ..top_lambda(lambda) };
            assert_eq!(select(&groups, &settings, seed).groups, expected);
        }
    }
}

/// Ratios 1, 1, 1, 1/2, 1/2; the border lies inside a tie only where `tied` is not 0.
#[test]
fn tied_counts_the_groups_among_which_more_than_the_ranking_decided() {
    let groups = [ratio(4, 4), ratio(2, 4), ratio(4, 4), ratio(2, 4), ratio(4, 4)];
    for (lambda, tied) in [(0.0, 0), (0.2, 3), (0.4, 3), (0.6, 0), (0.8, 2), (1.0, 0)] {
        for ties in TIES {
            let selected = select(&groups, &TopLambda { ties, ..top_lambda(lambda) }, 0);
            assert_eq!(selected.tied, tied, "λ = {lambda}, {ties:?}");
        }
    }
    // An ineligible group ties with none: of the halves one has fewer correct completions than asked for.
    let groups = [ratio(4, 4), ratio(2, 4), ratio(1, 2)];
    let selected = select(&groups, &TopLambda { correct_min: 2, ..top_lambda(2.0 / 3.0) }, 0);
    assert_eq!((selected.groups, selected.tied), (vec![0, 1], 0));
}

#[test]
fn the_lowest_control_takes_the_other_end_of_the_ranking() {
    let groups = [ratio(3, 4), ratio(1, 4), ratio(4, 4), ratio(0, 4), ratio(2, 4)];
    for (lambda, expected) in [(0.2, vec![3]), (0.4, vec![1, 3]), (0.6, vec![1, 3, 4])] {
        let selected = select(&groups, &TopLambda { select: Which::Lowest, ..top_lambda(lambda) }, 0);
        assert_eq!(selected.groups, expected);
    }
}

#[test]
fn the_random_control_takes_every_group_equally_often_whatever_its_ratio() {
    let groups = [ratio(3, 4), ratio(1, 4), ratio(4, 4), ratio(0, 4), ratio(4, 4)];
    let settings = TopLambda { select: Which::Random, ..top_lambda(0.4) };
    for count in selection_counts(&groups, &settings) {
        assert_count(count, 0.4);
    }
    assert_eq!(select(&groups, &settings, 0).tied, 0, "no ranking, so no tie");
}

#[test]
fn groups_below_a_minimum_are_never_selected_even_when_places_stay_empty() {
    let groups = [ratio(3, 4), ratio(1, 4), ratio(4, 4), ratio(0, 4), ratio(1, 1)];
    for (correctness_ratio_min, correct_min, expected) in [
        (0.0, 0, vec![0, 1, 2, 3, 4]),
        (0.25, 0, vec![0, 1, 2, 4]),
        (0.26, 0, vec![0, 2, 4]),
        (0.75, 0, vec![0, 2, 4]),
        (1.0, 0, vec![2, 4]),
        (0.0, 1, vec![0, 1, 2, 4]),
        (0.0, 2, vec![0, 2]),
        (1.0, 4, vec![2]),
        (0.0, 5, vec![]),
    ] {
        for select_which in [Which::Top, Which::Random, Which::Lowest] {
            let settings = TopLambda { correctness_ratio_min, correct_min, select: select_which, ..top_lambda(1.0) };
            assert_eq!(select(&groups, &settings, 0).groups, expected, "{settings:?}");
        }
    }
    // λ·N counts all groups of the step: 0.4 · 5 = 2, of which one is eligible.
    let settings = TopLambda { correct_min: 4, ..top_lambda(0.4) };
    assert_eq!(select(&groups, &settings, 0).groups, [2]);
}

/// Each minimum is the decimal form of the ratio itself, for every ratio that has one of at most two digits.
#[test]
fn a_group_at_exactly_the_minimum_ratio_is_eligible() {
    for percent in 0..=100_u32 {
        for size in 1..=100 {
            if percent * size % 100 == 0 {
                let group = ratio(percent * size / 100, size);
                let correctness_ratio_min: f64 = format!("{percent}e-2").parse().unwrap();
                let settings = TopLambda { correctness_ratio_min, ..top_lambda(1.0) };
                assert_eq!(select(&[group], &settings, 0).groups, [0], "{percent} % of {size}");
            }
        }
    }
}

#[test]
fn all_correct_counts_selected_groups_without_a_wrong_completion() {
    let groups = [ratio(4, 4), ratio(3, 4), ratio(1, 1), ratio(0, 4), ratio(4, 4)];
    for (lambda, which, expected) in [
        (0.0, Which::Top, 0),
        (0.2, Which::Top, 1),
        (0.6, Which::Top, 3),
        (1.0, Which::Top, 3),
        (0.4, Which::Lowest, 0),
        (0.6, Which::Lowest, 1),
    ] {
        let selected = select(&groups, &TopLambda { select: which, ..top_lambda(lambda) }, 0);
        assert_eq!(selected.all_correct, expected, "λ = {lambda}, {which:?}");
    }
    let all = shape(&groups, &Shaping::LengthPenalty(LengthPenalty::default()), 0).selected;
    assert_eq!((all.groups, all.all_correct), (vec![0, 1, 2, 3, 4], 3));
    let none = shape(&groups, &Shaping::Grpo {}, 0).selected;
    assert_eq!(none, Selected::none());
}

#[test]
fn top_lambda_reads_the_stream_equally_far_whatever_its_settings() {
    let groups = [ratio(4, 4), ratio(3, 4), ratio(4, 4)];
    let mut untouched = selection_stream(5);
    let after_three = (0..4).map(|_| untouched.uniform().to_bits()).last().unwrap();
    for ties in TIES {
        for which in [Which::Top, Which::Random, Which::Lowest] {
            for lambda in [0.0, 0.34, 1.0] {
                let mut stream = selection_stream(5);
                let settings = TopLambda { ties, select: which, ..top_lambda(lambda) };
                let shaping = Shaping::TopLambda(settings);
                shaping::shape(&Step::of_outcomes(&groups), &shaping, &mut shaping.start(), &mut stream);
                assert_eq!(stream.uniform().to_bits(), after_three);
            }
        }
    }
}
