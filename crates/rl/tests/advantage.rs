//! Advantages: against NumPy, and what GRPO-λ's rewards turn into (arXiv 2505.18086), by hand.
//!
//! Recorded values come from NumPy in f64 (`scripts/reference/shaping_reference.py`).

mod support;

use proptest::prelude::*;
use rl::advantage::{AdvantageScale, advantages};
use serde::Deserialize;

use support::{assert_close, equally_spaced, group, length_penalty, penalty, recorded, shape_top_lambda, top_lambda};

const SCALES: [AdvantageScale; 4] =
    [AdvantageScale::GroupStd, AdvantageScale::None, AdvantageScale::BatchStd, AdvantageScale::Whitened];

#[derive(Deserialize)]
struct Reference {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    name: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    rewards: Vec<Vec<f64>>,
    advantages: Recorded,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Recorded {
    group_std: Vec<Vec<f64>>,
    none: Vec<Vec<f64>>,
    batch_std: Vec<Vec<f64>>,
}

/// Advantages under `group-std` of 16 completions with these correct ones, α = 0.2.
fn penalised(correct_tokens: &[u32]) -> Vec<f64> {
    let rewards = length_penalty(&group(correct_tokens, 16 - correct_tokens.len()), &penalty(0.2));
    advantages(&[rewards], AdvantageScale::GroupStd).concat()
}

#[test]
fn advantages_equal_those_of_numpy_under_every_scale() {
    let reference: Reference = recorded("shaping_reference.json");
    let mut cases = 0;
    for (step, case) in reference.steps.iter().flat_map(|step| step.cases.iter().map(move |case| (step, case))) {
        let Recorded { group_std, none, batch_std } = &case.advantages;
        for (scale, expected) in SCALES.into_iter().zip([group_std, none, batch_std]) {
            let ours = advantages(&case.rewards, scale);
            assert_close(&ours.concat(), &expected.concat(), 1e-9, &format!("{}, {scale:?}", step.name));
        }
        cases += 1;
    }
    // As many as the file holds.
    assert_eq!(cases, 58);
}

/// Four correct completions of 100, 200, 300 and 400 tokens: z = ∓3/√5, ∓1/√5, so s = σ(z) has mean 1/2 and sample
/// standard deviation 0.255346881493, and −(s − 1/2)/std is ±1.146517384414, ±0.430694656614, in which α is not.
///
/// The code gives that times 1/(1 + 1e-6/(α·std)), because of the 1e-6 that is added to the standard deviation of the
/// rewards: 0.04 % less at α = 0.01, 0.002 % less at α = 0.2, which bounds what is left of α below 5e-4 and 3e-5.
#[test]
fn alpha_cancels_in_an_all_correct_group_under_group_std() {
    let limit = [1.146_517_384_414, 0.430_694_656_614, -0.430_694_656_614, -1.146_517_384_414];
    let std = 0.255_346_881_493;
    for (alpha, bound) in [(0.01, 5e-4), (0.2, 3e-5), (1.0, 5e-6)] {
        let rewards = length_penalty(&group(&equally_spaced(4), 0), &penalty(alpha));
        let ours = advantages(&[rewards], AdvantageScale::GroupStd).concat();
        assert_close(&ours, &limit, bound, &format!("α = {alpha}"));
        let without_epsilon: Vec<f64> = ours.iter().map(|advantage| advantage * (1.0 + 1e-6 / (alpha * std))).collect();
        assert_close(&without_epsilon, &limit, 1e-9, &format!("α = {alpha}, the 1e-6 undone"));
    }
}

/// The same group: −α·(s − 1/2), with s − 1/2 = ±0.292759638688 and ±0.109976537442.
#[test]
fn alpha_counts_again_without_the_division() {
    let at_alpha_one = [0.292_759_638_688, 0.109_976_537_442, -0.109_976_537_442, -0.292_759_638_688];
    for alpha in [0.01, 0.2, 1.0] {
        let rewards = length_penalty(&group(&equally_spaced(4), 0), &penalty(alpha));
        let ours = advantages(&[rewards], AdvantageScale::None).concat();
        let expected = at_alpha_one.map(|advantage| alpha * advantage);
        assert_close(&ours, &expected, 1e-9, &format!("α = {alpha}"));
    }
}

#[test]
fn unselected_all_correct_groups_and_all_wrong_groups_get_exactly_zero() {
    // One group of five is selected: the first has the highest ratio alone.
    let groups = [group(&[10, 90, 40], 0), group(&[10, 90, 40], 1), group(&[], 4), group(&[5], 3), group(&[], 1)];
    let rewards = shape_top_lambda(&groups, &top_lambda(0.2), 0).rewards;
    let all_correct = shape_top_lambda(&[group(&[10, 90, 40], 0), group(&[20, 30], 0)], &top_lambda(0.0), 0).rewards;
    for scale in SCALES {
        let advantages_of_step = advantages(&rewards, scale);
        assert!(advantages_of_step[0].iter().all(|advantage| advantage.abs() > 1e-3), "{scale:?}: selected");
        assert_eq!(advantages_of_step[2], [0.0; 4]);
        assert_eq!(advantages_of_step[4], [0.0]);
        assert_eq!(advantages(&all_correct, scale), [vec![0.0; 3], vec![0.0; 2]]);
    }
}

#[test]
fn a_selected_group_of_equal_lengths_gets_exactly_zero() {
    for size in 1..=16 {
        for tokens in [1, 333, u32::MAX] {
            let rewards = length_penalty(&group(&vec![tokens; size], 0), &penalty(0.2));
            for scale in SCALES {
                assert_eq!(advantages(&[rewards.clone(), vec![0.0, 1.0]], scale)[0], vec![0.0; size]);
            }
        }
    }
}

/// G = 16 and α = 0.2 (arXiv 2505.18086), correct lengths equally spaced. A correct completion falls below the mean
/// reward c/16·(1 − 0.1) when σ(z) > (1 − 0.05625·c)/0.2: at 15 correct that is z > 1.27, which two of 15 equally
/// spaced lengths exceed (z = 1.62, 1.39, 1.16 …); at 14 it is σ(z) > 1.06, which nothing exceeds.
#[test]
fn at_15_of_16_correct_two_correct_but_long_completions_get_a_negative_advantage_and_at_14_none() {
    for (correct, negative) in [(16, 8), (15, 2), (14, 0), (13, 0), (12, 0), (8, 0), (2, 0), (1, 0)] {
        let lengths = equally_spaced(correct);
        let of_correct = &penalised(&lengths)[..lengths.len()];
        let positions: Vec<usize> = (0..lengths.len()).filter(|&index| of_correct[index] < 0.0).collect();
        let longest: Vec<usize> = (lengths.len() - negative..lengths.len()).collect();
        assert_eq!(positions, longest, "{correct} of 16: {of_correct:?}");
    }
}

/// r − mean = 0.9 − 0 − 0.9·1/4 and −0.9·1/4; sample standard deviation of (0.9, 0, 0, 0) is 0.45.
#[test]
fn a_single_correct_completion_stands_out_whether_or_not_its_group_is_selected() {
    let rewards = [length_penalty(&group(&[700], 3), &penalty(0.2))];
    let scaled = advantages(&rewards, AdvantageScale::GroupStd).concat();
    assert_close(&scaled, &[1.5, -0.5, -0.5, -0.5], 1e-5, "group-std");
    let unscaled = advantages(&rewards, AdvantageScale::None).concat();
    assert_close(&unscaled, &[0.675, -0.225, -0.225, -0.225], 1e-12, "none");
}

#[test]
fn a_group_of_one_an_empty_group_and_an_empty_step_have_no_signal() {
    for scale in SCALES {
        assert_eq!(advantages(&[vec![0.7], vec![], vec![1.0]], scale), [vec![0.0], vec![], vec![0.0]]);
        assert!(advantages(&[], scale).is_empty());
    }
}

#[test]
fn batch_std_divides_every_group_by_the_same_number() {
    // All rewards 0, 1, 0, 3: mean 1, sample variance (1 + 0 + 1 + 4)/3 = 2.
    let ours = advantages(&[vec![0.0, 1.0], vec![0.0, 3.0]], AdvantageScale::BatchStd).concat();
    let expected = [-0.5, 0.5, -1.5, 1.5].map(|difference| difference / 2.0_f64.sqrt());
    assert_close(&ours, &expected, 2e-6, "batch-std, up to its 1e-6");
}

/// Differences from the means 0.5 and 1.5 are ∓0.5 and ∓1.5: sample variance (0.25 + 0.25 + 2.25 + 2.25)/3 = 5/3.
#[test]
fn whitening_divides_by_the_standard_deviation_of_the_differences_and_not_of_the_rewards() {
    let rewards = [vec![0.0, 1.0], vec![0.0, 3.0], vec![0.1; 3], vec![5.0]];
    let ours = advantages(&rewards[..2], AdvantageScale::Whitened).concat();
    let expected = [-0.5, 0.5, -1.5, 1.5].map(|difference| difference / (5.0_f64 / 3.0).sqrt());
    assert_close(&ours, &expected, 2e-6, "whitened, up to its 1e-6");
    // Level groups are part of the step and have no differences: 5/7 over eight completions.
    let with_level = advantages(&rewards, AdvantageScale::Whitened).concat();
    let expected = [-0.5, 0.5, -1.5, 1.5, 0.0, 0.0, 0.0, 0.0].map(|difference| difference / (5.0_f64 / 7.0).sqrt());
    assert_close(&with_level, &expected, 3e-6, "whitened with level groups");
    assert!(with_level[4..].iter().all(|advantage| *advantage == 0.0));
}

#[test]
fn group_std_is_the_default() {
    assert_eq!(AdvantageScale::default(), AdvantageScale::GroupStd);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// With 12 of 16 correct the mean reward is at most 12/16 = 0.75, and a correct completion keeps at least 0.8.
    #[test]
    fn at_12_of_16_correct_or_fewer_no_correct_completion_gets_a_negative_advantage(
        lengths in prop::collection::vec(any::<u32>(), 1..=12),
    ) {
        prop_assert!(penalised(&lengths)[..lengths.len()].iter().all(|&advantage| advantage > 0.0));
    }

    #[test]
    fn advantages_of_a_group_are_finite_and_sum_to_zero(
        rewards in prop::collection::vec(prop::collection::vec(-2.0..2.0, 0..9), 0..9),
    ) {
        for scale in SCALES {
            for group in advantages(&rewards, scale) {
                prop_assert!(group.iter().all(|advantage| advantage.is_finite()));
                prop_assert!(group.iter().sum::<f64>().abs() < 1e-8, "{:?}", group);
            }
        }
    }

    #[test]
    fn a_higher_reward_never_has_a_lower_advantage_in_its_group(
        rewards in prop::collection::vec(-2.0..2.0, 2..9),
    ) {
        for scale in SCALES {
            let of_group = advantages(&[rewards.clone(), vec![0.0, 1.0]], scale).swap_remove(0);
            for (a, b) in rewards.iter().zip(&of_group) {
                for (c, d) in rewards.iter().zip(&of_group) {
                    prop_assert!(a > c || b <= d);
                }
            }
        }
    }
}
