//! Rewards: against NumPy, by hand, and the properties that every shaper has on any input.
//!
//! Recorded values come from NumPy in f64 (`scripts/reference/shaping_reference.py`).

mod support;

use proptest::prelude::*;
use rl::shaping::{LengthPenalty, LengthStd, Outcome, Shaping, TieBreak, TopLambda, Which};
use serde::Deserialize;

use support::{assert_close, group, length_penalty, penalty, recorded, shape, shape_top_lambda, top_lambda};

#[derive(Deserialize)]
struct Reference {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    name: String,
    groups: Vec<Group>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Group {
    lengths: Vec<u32>,
    correct: Vec<bool>,
}

#[derive(Deserialize)]
struct Case {
    shaper: String,
    lambda: Option<f64>,
    alpha: Option<f64>,
    selected: Vec<bool>,
    rewards: Vec<Vec<f64>>,
}

impl Step {
    fn outcomes(&self) -> Vec<Vec<Outcome>> {
        let outcomes = |group: &Group| {
            let pairs = group.correct.iter().zip(&group.lengths);
            pairs.map(|(&correct, &tokens)| Outcome { correct, tokens }).collect()
        };
        self.groups.iter().map(outcomes).collect()
    }
}

impl Case {
    /// No case ties at the border of the selection, so every way of breaking ties must give the recorded result.
    fn shaping(&self, ties: TieBreak) -> Shaping {
        match (self.shaper.as_str(), self.lambda, self.alpha) {
            ("grpo", None, None) => Shaping::Grpo {},
            ("length-penalty", None, Some(alpha)) => Shaping::LengthPenalty(penalty(alpha)),
            ("top-lambda", Some(lambda), Some(alpha)) => {
                Shaping::TopLambda(TopLambda { alpha, ties, ..top_lambda(lambda) })
            }
            unknown => panic!("no shaper for {unknown:?}"),
        }
    }
}

#[test]
fn rewards_and_selected_groups_equal_those_of_numpy() {
    let reference: Reference = recorded("shaping_reference.json");
    let mut cases = 0;
    for step in &reference.steps {
        let groups = step.outcomes();
        for (case, ties) in step.cases.iter().flat_map(|case| TIES.map(|ties| (case, ties))) {
            let shaping = case.shaping(ties);
            let shaped = shape(&groups, &shaping, 1);
            let what = format!("{}, {shaping:?}", step.name);
            let selected: Vec<bool> = (0..groups.len()).map(|index| shaped.selected.contains(index)).collect();
            assert_eq!(selected, case.selected, "{what}");
            assert_close(&shaped.rewards.concat(), &case.rewards.concat(), 1e-9, &what);
            cases += 1;
        }
    }
    // As many as the file holds, each under three ways of breaking ties.
    assert_eq!(cases, 3 * 58);
}

/// α = 0.2. Lengths 100 and 200 have mean 150, population std 50 and sample std 50·√2, so z = ∓1 or ∓1/√2:
/// σ(1) = 0.731059 and σ(1/√2) = 0.669762.
#[test]
fn lengths_are_divided_by_the_standard_deviation_that_was_asked_for() {
    let group = group(&[100, 200], 2);
    for (length_std, expected) in [
        (LengthStd::Population, [0.946_211_715_726, 0.853_788_284_274, 0.0, 0.0]),
        (LengthStd::Sample, [0.933_952_309_865, 0.866_047_690_135, 0.0, 0.0]),
    ] {
        let rewards = length_penalty(&group, &LengthPenalty { alpha: 0.2, length_std });
        assert_close(&rewards, &expected, 1e-9, &format!("{length_std:?}"));
    }
}

#[test]
fn without_a_difference_in_length_each_correct_completion_gives_up_half_of_alpha() {
    for length_std in [LengthStd::Population, LengthStd::Sample] {
        let settings = LengthPenalty { alpha: 0.2, length_std };
        for tokens in [1, 77, u32::MAX] {
            assert_eq!(length_penalty(&group(&[tokens], 1), &settings), [0.9, 0.0]);
            assert_eq!(length_penalty(&group(&[tokens; 3], 1), &settings), [0.9, 0.9, 0.9, 0.0]);
        }
    }
}

#[test]
fn wrong_completions_do_not_enter_the_statistics_of_length() {
    let wrong = |tokens| Outcome { correct: false, tokens };
    let rewards = |tokens: u32| {
        let group = [group(&[100, 300, 350], 0), vec![wrong(tokens)]].concat();
        length_penalty(&group, &penalty(0.2))
    };
    assert_eq!(rewards(1), rewards(u32::MAX));
}

/// 2,999 completions of one token and one of 4,294,967,295: z is −1/√2999 and √2999 = 54.8, and σ(54.8) = 1 in f64.
#[test]
fn one_completion_far_longer_than_all_others_gives_up_all_of_alpha() {
    let lengths: Vec<u32> = std::iter::repeat_n(1, 2999).chain([u32::MAX]).collect();
    let rewards = length_penalty(&group(&lengths, 0), &penalty(0.2));
    let others = 1.0 - 0.2 / (1.0 + (1.0 / 2999.0_f64.sqrt()).exp());
    assert_close(&[rewards[0], rewards[2999]], &[others, 0.8], 1e-12, "reward");
}

#[test]
fn an_empty_step_has_no_rewards() {
    for shaping in [Shaping::Grpo {}, Shaping::LengthPenalty(penalty(0.2)), Shaping::TopLambda(top_lambda(0.2))] {
        let shaped = shape(&[], &shaping, 0);
        assert!(shaped.rewards.is_empty() && shaped.selected.groups.is_empty());
    }
}

#[test]
fn lambda_zero_is_grpo_and_lambda_one_is_the_length_penalty() {
    let groups = [group(&[10, 90], 0), group(&[5], 3), group(&[], 2), group(&[30, 31, 80], 1)];
    for (lambda, baseline) in [(0.0, Shaping::Grpo {}), (1.0, Shaping::LengthPenalty(penalty(0.2)))] {
        let shaped = shape(&groups, &baseline, 0);
        assert_eq!(shape_top_lambda(&groups, &top_lambda(lambda), 7), shaped);
    }
}

/// λ = 20 % and α = 0.2 (arXiv 2505.18086); the rest is not stated there and is our choice.
#[test]
fn the_defaults_are_the_settings_of_the_paper() {
    let defaults = TopLambda::default();
    assert_close(&[defaults.lambda, defaults.alpha, LengthPenalty::default().alpha], &[0.2; 3], 0.0, "defaults");
    assert_eq!(
        (defaults.length_std, defaults.select, defaults.ties, defaults.correct_min),
        (LengthStd::Population, Which::Top, TieBreak::Random, 0)
    );
    assert_close(&[defaults.correctness_ratio_min], &[0.0], 0.0, "correctness_ratio_min");
}

const TIES: [TieBreak; 3] = [TieBreak::Random, TieBreak::Index, TieBreak::Longest];

/// Few different lengths, so that many are equal, or any length at all.
fn outcome() -> impl Strategy<Value = Outcome> {
    let tokens = prop_oneof![1_u32..6, any::<u32>(), Just(u32::MAX)];
    (any::<bool>(), tokens).prop_map(|(correct, tokens)| Outcome { correct, tokens })
}

/// Groups of any size down to one completion, and also without any.
fn groups() -> impl Strategy<Value = Vec<Vec<Outcome>>> {
    prop::collection::vec(prop::collection::vec(outcome(), 0..9), 0..9)
}

fn shaping(ties: &'static [TieBreak]) -> impl Strategy<Value = Shaping> {
    let length_std = || prop::sample::select(vec![LengthStd::Population, LengthStd::Sample]);
    let selects = prop::sample::select(vec![Which::Top, Which::Lowest]);
    let share = || 0.0..=1.0;
    prop_oneof![
        Just(Shaping::Grpo {}),
        (share(), length_std())
            .prop_map(|(alpha, length_std)| Shaping::LengthPenalty(LengthPenalty { alpha, length_std })),
        (share(), share(), length_std(), selects, prop::sample::select(ties), share(), 0_u32..4).prop_map(
            |(lambda, alpha, length_std, select, ties, correctness_ratio_min, correct_min)| {
                Shaping::TopLambda(TopLambda {
                    lambda,
                    alpha,
                    length_std,
                    select,
                    ties,
                    correctness_ratio_min,
                    correct_min,
                })
            }
        ),
    ]
}

fn rewards(groups: &[Vec<Outcome>], shaping: &Shaping) -> Vec<Vec<f64>> {
    shape(groups, shaping, 3).rewards
}

/// `items` in the order that `keys` sort into.
fn permuted<T: Clone>(items: &[T], keys: &[u32]) -> Vec<T> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&index| keys[index % keys.len()].wrapping_mul(index as u32 + 1));
    order.into_iter().map(|index| items[index].clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rewards_lie_between_zero_and_one_for_any_input(groups in groups(), shaping in shaping(&TIES)) {
        let rewards = rewards(&groups, &shaping);
        prop_assert_eq!(
            rewards.iter().map(Vec::len).collect::<Vec<_>>(),
            groups.iter().map(Vec::len).collect::<Vec<_>>()
        );
        // NaN lies in no range.
        prop_assert!(rewards.iter().flatten().all(|reward| (0.0..=1.0).contains(reward)), "{:?}", rewards);
    }

    #[test]
    fn wrong_completions_are_never_rewarded(groups in groups(), shaping in shaping(&TIES)) {
        let rewards = rewards(&groups, &shaping);
        for (outcome, reward) in groups.iter().flatten().zip(rewards.iter().flatten()) {
            prop_assert!(outcome.correct || reward.to_bits() == 0);
        }
    }

    #[test]
    fn a_group_without_a_correct_completion_gets_nothing(
        lengths in prop::collection::vec(any::<u32>(), 0..9), shaping in shaping(&TIES),
    ) {
        let group: Vec<Outcome> = lengths.iter().map(|&tokens| Outcome { correct: false, tokens }).collect();
        prop_assert_eq!(rewards(&[group.clone(), group], &shaping), vec![vec![0.0; lengths.len()]; 2]);
    }

    #[test]
    fn among_correct_completions_of_a_group_longer_is_never_better(groups in groups(), shaping in shaping(&TIES)) {
        for (group, rewards) in groups.iter().zip(rewards(&groups, &shaping)) {
            let mut correct: Vec<(u32, f64)> = group.iter().zip(rewards)
                .filter(|(outcome, _)| outcome.correct)
                .map(|(outcome, reward)| (outcome.tokens, reward))
                .collect();
            correct.sort_by_key(|&(tokens, _)| tokens);
            for pair in correct.windows(2) {
                prop_assert!(pair[0].1 >= pair[1].1, "{:?}", correct);
                // Advantages of level groups are exactly 0 only because of this.
                prop_assert!(pair[0].0 < pair[1].0 || pair[0].1.to_bits() == pair[1].1.to_bits(), "{:?}", correct);
            }
        }
    }

    /// Up to the rounding of a sum in another order.
    #[test]
    fn permuting_completions_permutes_rewards(
        groups in groups(), shaping in shaping(&TIES), keys in prop::collection::vec(any::<u32>(), 9),
    ) {
        let moved: Vec<Vec<Outcome>> = groups.iter().map(|group| permuted(group, &keys)).collect();
        let expected: Vec<Vec<f64>> = rewards(&groups, &shaping).iter().map(|rewards| permuted(rewards, &keys)).collect();
        assert_close(&rewards(&moved, &shaping).concat(), &expected.concat(), 1e-12, "rewards");
    }

    /// Only when nothing ties at the border of the selection. A tie there goes, by index, to the group that now stands
    /// first; by longest, to the same one only if the mean lengths differ; at random, to the group that now stands where
    /// the stream points.
    #[test]
    fn permuting_groups_permutes_rewards_where_no_tie_decides(
        groups in groups(), shaping in shaping(&TIES), keys in prop::collection::vec(any::<u32>(), 9),
    ) {
        let shaped = shape(&groups, &shaping, 3);
        prop_assume!(shaped.selected.tied == 0);
        prop_assert_eq!(rewards(&permuted(&groups, &keys), &shaping), permuted(&shaped.rewards, &keys));
    }

    /// Whatever ties and however they are broken, the same number of groups comes under penalty.
    #[test]
    fn permuting_groups_never_changes_how_many_are_selected(
        groups in groups(), shaping in shaping(&TIES), keys in prop::collection::vec(any::<u32>(), 9),
    ) {
        let selected = |groups: &[Vec<Outcome>]| shape(groups, &shaping, 3).selected;
        let (before, after) = (selected(&groups), selected(&permuted(&groups, &keys)));
        prop_assert_eq!((before.groups.len(), before.tied), (after.groups.len(), after.tied));
    }
}
