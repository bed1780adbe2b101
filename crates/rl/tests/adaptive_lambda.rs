//! The control loop of the adaptive λ, by hand.

mod support;

use record::ShaperMetrics;
use rl::shaping::{self, AdaptiveLambda, Outcome, ShaperState, Shaping, Step, TieBreak, Which};

use support::{group, selection_stream};

/// Groups of four completions with so many correct ones; all correct ones have other lengths.
fn groups(correct: &[u32]) -> Vec<Vec<Outcome>> {
    correct.iter().map(|&correct| group(&support::equally_spaced(correct), 4 - correct as usize)).collect()
}

/// λ, recent and best accuracy, and the fall in errors after each of `steps`, by their correct completions.
fn follow(settings: &AdaptiveLambda, steps: &[&[u32]]) -> Vec<[f64; 4]> {
    let shaping = Shaping::AdaptiveLambda(settings.clone());
    let mut state = shaping.start();
    let numbers = |correct: &&[u32]| {
        let shaped = shape(&shaping, &groups(correct), &mut state, 0);
        let [ShaperMetrics::AdaptiveLambda { lambda, accuracy_recent, accuracy_best, fall_errors }] =
            shaped.shapers[..]
        else {
            panic!("{:?}", shaped.shapers)
        };
        [lambda, accuracy_recent, accuracy_best, fall_errors]
    };
    steps.iter().map(numbers).collect()
}

fn shape(shaping: &Shaping, groups: &[Vec<Outcome>], state: &mut ShaperState, seed: u64) -> shaping::Shaped {
    shaping::shape(&Step::of_outcomes(groups), shaping, state, &mut selection_stream(seed))
}

/// Each new step weighs 1 in the recent accuracy and 1/2 in the trailing one.
fn settings() -> AdaptiveLambda {
    AdaptiveLambda {
        lambda: 0.25,
        lambda_min: 0.1,
        lambda_max: 0.625,
        lambda_rise: 0.125,
        lambda_fall: 0.5,
        hold_errors: 1.0,
        fallen_errors: 2.0,
        recent_steps: 1.0,
        trailing_steps: 3.0,
        ..AdaptiveLambda::default()
    }
}

/// Means of the steps: 0.75, 0.9375, 0.5, 0.75, 0.6875; squared standard errors over groups: 1/48, 1/256, 0, 1/96, 1/256.
///
/// After two steps the trailing accuracy is 0.84375 with (1/48 + 1/256)/4 = 0.0061849, its lower end 0.7651 is above
/// 0.75 − √(1/48) = 0.6057, and stays the highest. The fall is then
/// (0.84375 − 0.9375)/√(0.0061849 + 1/256) = −0.93326, 0.34375/√0.0061849 = 4.37096,
/// 0.09375/√(0.0061849 + 1/96) = 0.72761 and 0.15625/√(0.0061849 + 1/256) = 1.55543.
#[test]
fn lambda_rises_while_accuracy_holds_falls_when_it_has_fallen_and_stays_in_between() {
    let steps: [&[u32]; 5] = [&[4, 2, 4, 2], &[4, 4, 4, 3], &[2, 2, 2, 2], &[4, 3, 3, 2], &[2, 3, 3, 3]];
    let expected = [
        [0.375, 0.75, 0.75, 0.0],
        [0.5, 0.9375, 0.84375, -0.93326],
        [0.25, 0.5, 0.84375, 4.37096],
        [0.375, 0.75, 0.84375, 0.72761],
        [0.375, 0.6875, 0.84375, 1.55543],
    ];
    for (ours, expected) in follow(&settings(), &steps).iter().zip(expected) {
        support::assert_close(ours, &expected, 1e-5, "λ, recent, best, fall");
    }
}

#[test]
fn lambda_stays_between_its_bounds() {
    let good: &[u32] = &[4, 4, 4, 3];
    let bad: &[u32] = &[1, 0, 0, 1];
    let lambdas: Vec<f64> =
        follow(&settings(), &[good, good, good, good, bad, bad, bad, bad]).iter().map(|row| row[0]).collect();
    support::assert_close(&lambdas, &[0.375, 0.5, 0.625, 0.625, 0.3125, 0.15625, 0.1, 0.1], 1e-12, "λ");
}

/// All groups alike, so that no accuracy has a spread; a fall is then as far as can be.
#[test]
fn accuracies_without_any_spread_are_compared_too() {
    let [_, held, fallen] = follow(&settings(), &[&[4, 4], &[4, 4], &[3, 3]])[..] else { panic!("three steps") };
    support::assert_close(&held, &[0.5, 1.0, 1.0, 0.0], 0.0, "as good as before");
    assert!(fallen[0] < held[0] && fallen[3].is_finite() && fallen[3] > 1e3, "{fallen:?}");
}

/// λ·N is 0.32 of 16 groups, 3.2 of them, and 4: one group in 32 % of the steps, three groups or in every fifth four,
/// and always four.
#[test]
fn a_share_between_two_numbers_of_groups_is_met_on_average() {
    let sixteen = groups(&[4; 16]);
    for (lambda, at_least, expected) in [(0.02, 0, 0.32), (0.2, 3, 0.2), (0.25, 4, 0.0)] {
        let shaping = Shaping::AdaptiveLambda(AdaptiveLambda { lambda, lambda_rise: 0.0, ..AdaptiveLambda::default() });
        let counts: Vec<usize> = (0..1_000)
            .map(|seed| shape(&shaping, &sixteen, &mut shaping.start(), seed).selected.groups.len())
            .collect();
        assert!(counts.iter().all(|&count| count == at_least || count == at_least + 1), "λ = {lambda}");
        let share = counts.iter().filter(|&&count| count > at_least).count() as f64 / 1_000.0;
        // Four standard errors of 1,000 draws.
        let error = (expected * (1.0_f64 - expected) / 1_000.0).sqrt();
        assert!((share - expected).abs() <= 4.0 * error, "λ = {lambda}: {share}");
    }
}

/// As `top-lambda` selects: the best two of four, the first of equals.
#[test]
fn groups_are_selected_and_penalised_as_under_top_lambda() {
    let shaping = Shaping::AdaptiveLambda(AdaptiveLambda {
        lambda: 0.5,
        lambda_rise: 0.0,
        select: Which::Top,
        ties: TieBreak::Index,
        ..AdaptiveLambda::default()
    });
    let top = Shaping::TopLambda(shaping::TopLambda { ties: TieBreak::Index, ..support::top_lambda(0.5) });
    let step = groups(&[1, 4, 3, 4]);
    let ours = shape(&shaping, &step, &mut shaping.start(), 0);
    let theirs = support::shape(&step, &top, 0);
    assert_eq!((&ours.rewards, &ours.selected), (&theirs.rewards, &theirs.selected));
    assert_eq!(ours.selected.groups, [1, 3]);
}
