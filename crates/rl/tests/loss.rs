//! The loss: against PyTorch, against its own finite differences, and its accounting over completions.
//!
//! Recorded values come from PyTorch in f64 (`scripts/reference/loss_reference.py`). LossInputs reach the loss as f32,
//! whose rounding of numbers up to 8 nats is at most 2.4e-7 each; with ratios and advantages up to 2.6 and 1.25 that
//! moves a token's loss by at most 1.6e-6, which is why the tolerances are 2e-6 and not 1e-9.

mod support;

use proptest::prelude::*;
use rl::loss::{Aggregation, CompletionLogprobs, Denominator, LossSettings, LossSum, Surrogate, completion_loss};
use serde::Deserialize;

use support::{assert_close, recorded};

const AGGREGATIONS: [Aggregation; 3] = [Aggregation::SequenceMean, Aggregation::TokenMean, Aggregation::Constant];

#[derive(Deserialize)]
struct Reference {
    limit: usize,
    groups: Vec<Vec<LossInputs>>,
    cases: Vec<Case>,
}

/// One completion.
#[derive(Debug, Clone, Deserialize)]
struct LossInputs {
    advantage: f64,
    policy_logprobs: Vec<f32>,
    behavior_logprobs: Vec<f32>,
    reference_logprobs: Vec<f32>,
}

#[derive(Deserialize)]
struct Case {
    surrogate: Surrogate,
    aggregation: Aggregation,
    clip_low: f64,
    clip_high: f64,
    kl_weight: f64,
    loss: f64,
    clip_share: f64,
    mean_kl: f64,
    ratio_min: f64,
    ratio_mean: f64,
    ratio_max: f64,
    policy_gradients: Vec<Vec<Vec<f64>>>,
}

impl LossInputs {
    fn tokens(&self) -> usize {
        self.policy_logprobs.len()
    }

    fn weighted(&self, token_weight: f64) -> CompletionLogprobs<'_> {
        CompletionLogprobs {
            policy: &self.policy_logprobs,
            behavior: &self.behavior_logprobs,
            reference: Some(&self.reference_logprobs),
            advantage: self.advantage,
            token_weight,
        }
    }
}

fn denominator(completions: &[LossInputs], completion_tokens_max: usize) -> Denominator {
    let tokens = completions.iter().map(LossInputs::tokens).sum();
    Denominator { completions: completions.len(), tokens, completion_tokens_max }
}

/// The sums of all completions and the gradient of each.
fn step_loss(
    completions: &[LossInputs],
    denominator: Denominator,
    settings: &LossSettings,
) -> (LossSum, Vec<Vec<f64>>) {
    let mut total = LossSum::default();
    let gradients = completions.iter().map(|completion| {
        let weight = denominator.token_weight(settings.aggregation, completion.tokens());
        let (sum, gradient) = completion_loss(&completion.weighted(weight), settings);
        total.add(&sum);
        gradient.into_iter().map(f64::from).collect()
    });
    let gradients = gradients.collect();
    (total, gradients)
}

/// One token of policy logprob −1 and the given ratio.
fn one_token(ratio: f64, advantage: f64, settings: &LossSettings) -> (LossSum, f64) {
    let behavior = [(-1.0 - ratio.ln()) as f32];
    let token =
        CompletionLogprobs { policy: &[-1.0], behavior: &behavior, reference: None, advantage, token_weight: 1.0 };
    let (sum, gradient) = completion_loss(&token, settings);
    (sum, f64::from(gradient[0]))
}

#[test]
fn loss_gradient_and_statistics_equal_those_of_pytorch() {
    let reference: Reference = recorded("loss_reference.json");
    let completions = reference.groups.concat();
    let denominator = denominator(&completions, reference.limit);
    assert_eq!(reference.cases.len(), 24);
    for (index, case) in reference.cases.iter().enumerate() {
        let Case { surrogate, aggregation, clip_low, clip_high, kl_weight, .. } = *case;
        let settings = LossSettings { surrogate, clip_low, clip_high, kl_weight, aggregation };
        let (sum, gradients) = step_loss(&completions, denominator, &settings);
        let tokens = sum.tokens as f64;
        let ours = [sum.loss, sum.kl_nats / tokens, sum.ratio_min, sum.ratio / tokens, sum.ratio_max];
        let theirs = [case.loss, case.mean_kl, case.ratio_min, case.ratio_mean, case.ratio_max];
        // A token's loss in CISPO has the logprob as a factor, which is up to 8 here.
        let tolerance = if surrogate == Surrogate::Cispo { 1.6e-5 } else { 2e-6 };
        assert_close(&ours, &theirs, tolerance, &format!("case {index}"));
        assert_close(&[sum.clipped as f64 / tokens], &[case.clip_share], 1e-9, &format!("case {index}, clip share"));
        // A token's weight is at most 1/18 here: 1.6e-6/18, and half a unit in the last place of an f32 below 1/4.
        assert_close(&gradients.concat(), &case.policy_gradients.concat().concat(), 1.2e-7, &format!("case {index}"));
    }
}

#[test]
fn policy_equal_to_behavior_has_ratio_exactly_one_and_the_plain_policy_gradient() {
    let logprobs = [-0.0, -1e-6, -0.3, -2.7, -88.0, -1e4];
    for (advantage, token_weight) in [(1.25, 0.125), (-0.5, 0.125), (0.0, 1.0)] {
        let completion =
            CompletionLogprobs { policy: &logprobs, behavior: &logprobs, reference: None, advantage, token_weight };
        let (sum, gradient) = completion_loss(&completion, &LossSettings::default());
        assert_eq!([sum.ratio_min, sum.ratio_max, sum.ratio].map(f64::to_bits), [1.0, 1.0, 6.0].map(f64::to_bits));
        assert_eq!((sum.clipped, sum.tokens), (0, 6));
        assert_close(&[sum.loss], &[-6.0 * advantage * token_weight], 0.0, "loss");
        assert_eq!(gradient, [(-advantage * token_weight) as f32; 6]);
    }
}

/// By hand from min(ρA, clip(ρ, 0.8, 1.28)·A), with DAPO's range.
#[test]
fn only_steps_beyond_the_range_in_the_direction_of_the_advantage_are_clipped() {
    let settings = LossSettings { clip_high: 0.28, ..LossSettings::default() };
    for (ratio, advantage, loss, gradient, clipped) in [
        (0.5, 1.0, -0.5, -0.5, 0),
        (1.25, 1.0, -1.25, -1.25, 0),
        (1.5, 1.0, -1.28, 0.0, 1),
        (0.5, -1.0, 0.8, 0.0, 1),
        (1.25, -1.0, 1.25, 1.25, 0),
        (1.5, -1.0, 1.5, 1.5, 0),
        (1.5, 0.0, 0.0, 0.0, 0),
    ] {
        let (sum, slope) = one_token(ratio, advantage, &settings);
        assert_close(&[sum.loss, slope], &[loss, gradient], 5e-7, &format!("ratio {ratio}, advantage {advantage}"));
        assert_eq!(sum.clipped, clipped, "ratio {ratio}, advantage {advantage}");
    }
}

/// Log-ratios of ln 2 and 0 have the mean ln √2: ρ = 1.414 at both tokens, inside 0.8 … 1.5 and beyond 1.28.
#[test]
fn gspo_has_one_ratio_for_a_completion_and_clips_all_of_it_or_nothing() {
    let (policy, behavior) = ([-1.0, -2.0], [-1.0 - 2.0_f32.ln(), -2.0]);
    let completion =
        CompletionLogprobs { policy: &policy, behavior: &behavior, reference: None, advantage: 3.0, token_weight: 0.5 };
    let root = 2.0_f64.sqrt();
    for (clip_high, loss, slope, clipped) in [(0.5, -3.0 * root, -1.5 * root, 0), (0.28, -3.84, 0.0, 2)] {
        let settings = LossSettings { clip_low: 0.2, clip_high, ..LossSettings::of(Surrogate::Gspo) };
        let (sum, gradient) = completion_loss(&completion, &settings);
        assert_close(&[sum.loss, sum.ratio_min, sum.ratio_max], &[loss, root, root], 5e-7, "loss and ratios");
        assert_close(&gradient.iter().map(|&slope| f64::from(slope)).collect::<Vec<_>>(), &[slope; 2], 5e-7, "slope");
        assert_eq!(sum.clipped, clipped);
    }
}

/// By hand from −clip(ρ, 0.8, 1.28)·A·log π at log π = −1: the slope is −clip(ρ)·A and never 0.
#[test]
fn cispo_keeps_a_gradient_at_every_token() {
    let settings = LossSettings { clip_low: 0.2, clip_high: 0.28, ..LossSettings::of(Surrogate::Cispo) };
    for (ratio, advantage, loss, slope, clipped) in [
        (0.5, 1.0, 0.8, -0.8, 1),
        (1.25, 1.0, 1.25, -1.25, 0),
        (1.5, 1.0, 1.28, -1.28, 1),
        (1.5, -1.0, -1.28, 1.28, 1),
        (1.0, 0.0, 0.0, 0.0, 0),
    ] {
        let (sum, our_slope) = one_token(ratio, advantage, &settings);
        assert_close(&[sum.loss, our_slope], &[loss, slope], 5e-7, &format!("ratio {ratio}, advantage {advantage}"));
        assert_eq!(sum.clipped, clipped, "ratio {ratio}, advantage {advantage}");
    }
}

#[test]
fn each_surrogate_has_the_settings_of_its_paper() {
    for (surrogate, clips, aggregation) in [
        (Surrogate::Grpo, [0.2, 0.2], Aggregation::SequenceMean),
        (Surrogate::Gspo, [3e-4, 4e-4], Aggregation::SequenceMean),
        (Surrogate::Cispo, [1.0, 4.0], Aggregation::TokenMean),
    ] {
        let settings = LossSettings::of(surrogate);
        assert_close(&[settings.clip_low, settings.clip_high, settings.kl_weight], &[clips[0], clips[1], 0.0], 0.0, "");
        assert_eq!(settings.aggregation, aggregation);
    }
}

#[test]
fn kl_is_zero_where_policy_equals_reference_and_costs_nothing_at_weight_zero() {
    let (policy, reference) = ([-1.0, -2.0], [-1.0, -3.0]);
    let completion = CompletionLogprobs {
        policy: &policy,
        behavior: &policy,
        reference: Some(&reference),
        advantage: 0.0,
        token_weight: 1.0,
    };
    // k3 with q = −1: 1/e + 1 − 1, slope 1 − 1/e.
    let inverse_e = (-1.0_f64).exp();
    for kl_weight in [0.0, 0.5] {
        let (sum, gradient) = completion_loss(&completion, &LossSettings { kl_weight, ..LossSettings::default() });
        assert_close(&[sum.kl_nats, sum.loss], &[inverse_e, kl_weight * inverse_e], 1e-15, "kl");
        let slopes: Vec<f64> = gradient.into_iter().map(f64::from).collect();
        assert_close(&slopes, &[0.0, kl_weight * (1.0 - inverse_e)], 1e-7, "slope");
    }
}

#[test]
fn the_defaults_are_grpo_without_kl() {
    let defaults = LossSettings::default();
    assert_close(&[defaults.clip_low, defaults.clip_high, defaults.kl_weight], &[0.2, 0.2, 0.0], 0.0, "defaults");
    assert_eq!(defaults.aggregation, Aggregation::SequenceMean);
}

/// Completions of 2 and 6 tokens under a limit of 10.
#[test]
fn each_aggregation_weighs_tokens_as_its_paper_says() {
    let denominator = Denominator { completions: 2, tokens: 8, completion_tokens_max: 10 };
    for (aggregation, expected) in [
        (Aggregation::SequenceMean, [1.0 / 4.0, 1.0 / 12.0]),
        (Aggregation::TokenMean, [1.0 / 8.0, 1.0 / 8.0]),
        (Aggregation::Constant, [1.0 / 20.0, 1.0 / 20.0]),
    ] {
        let weights = [2, 6].map(|tokens| denominator.token_weight(aggregation, tokens));
        assert_close(&weights, &expected, 1e-15, &format!("{aggregation:?}"));
    }
}

/// 1/4096 nats, exact in f32 together with any logprob used here.
const GRAIN: f64 = 1.0 / 4096.0;

/// Policy, log-ratio and q of a token in grains; a log-ratio near one of the corners 0.8, 1.2 and 1.28 is not drawn.
fn token() -> impl Strategy<Value = (i32, i32, i32)> {
    let is_smooth = |&grains: &i32| {
        let log_ratio = f64::from(grains) * GRAIN;
        [0.8_f64, 1.2, 1.28].iter().all(|corner| (log_ratio - corner.ln()).abs() > 0.005)
    };
    (-20_000..-4_100, (-4_000..4_000).prop_filter("a corner", is_smooth), -4_000..4_000)
}

fn completion() -> impl Strategy<Value = LossInputs> {
    (-3.0..3.0, prop::collection::vec(token(), 1..12)).prop_map(|(advantage, tokens)| {
        let nats = |grains: i32| (f64::from(grains) * GRAIN) as f32;
        LossInputs {
            advantage,
            policy_logprobs: tokens.iter().map(|&(policy, _, _)| nats(policy)).collect(),
            behavior_logprobs: tokens.iter().map(|&(policy, log_ratio, _)| nats(policy - log_ratio)).collect(),
            reference_logprobs: tokens.iter().map(|&(policy, _, q)| nats(policy + q)).collect(),
        }
    })
}

fn settings() -> impl Strategy<Value = LossSettings> {
    (prop::bool::ANY, 0.0..1.0, prop::sample::select(AGGREGATIONS.to_vec())).prop_map(
        |(is_wide, kl_weight, aggregation)| {
            let clip_high = if is_wide { 0.28 } else { 0.2 };
            LossSettings { clip_high, kl_weight, aggregation, ..LossSettings::default() }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Central differences over h = 4 grains, about 1e-3: their error is h²/6 times the third derivative, at most
    /// 1.6e-7·e·(3 + 1) = 1.8e-6; rounding a gradient below 16 to f32 adds 4.8e-7.
    #[test]
    fn the_gradient_is_the_slope_of_the_loss(completion in completion(), settings in settings()) {
        let (_, gradient) = completion_loss(&completion.weighted(1.0), &settings);
        for (index, slope) in gradient.into_iter().enumerate() {
            let loss_at = |shift: f64| {
                let mut shifted = completion.clone();
                shifted.policy_logprobs[index] += shift as f32;
                completion_loss(&shifted.weighted(1.0), &settings).0.loss
            };
            let difference = (loss_at(4.0 * GRAIN) - loss_at(-4.0 * GRAIN)) / (8.0 * GRAIN);
            prop_assert!((difference - f64::from(slope)).abs() < 4e-6, "token {}: {} and {}", index, slope, difference);
        }
    }

    /// As above, with the ratio of the whole completion away from the corners. A token moves it by 1/T of its own shift.
    #[test]
    fn the_gradient_of_gspo_is_the_slope_of_the_loss(completion in completion(), settings in settings()) {
        let settings = LossSettings { surrogate: Surrogate::Gspo, ..settings };
        let (sum, gradient) = completion_loss(&completion.weighted(1.0), &settings);
        let corners = [1.0 - settings.clip_low, 1.0 + settings.clip_high];
        prop_assume!(corners.iter().all(|corner| (sum.ratio_min / corner).ln().abs() > 0.005));
        for (index, slope) in gradient.into_iter().enumerate() {
            let loss_at = |shift: f64| {
                let mut shifted = completion.clone();
                shifted.policy_logprobs[index] += shift as f32;
                completion_loss(&shifted.weighted(1.0), &settings).0.loss
            };
            let difference = (loss_at(4.0 * GRAIN) - loss_at(-4.0 * GRAIN)) / (8.0 * GRAIN);
            prop_assert!((difference - f64::from(slope)).abs() < 4e-6, "token {}: {} and {}", index, slope, difference);
        }
    }

    /// Shifting policy and behavior alike keeps the ratio, which CISPO takes as a constant.
    #[test]
    fn the_gradient_of_cispo_is_the_slope_of_the_loss_at_constant_ratios(
        completion in completion(), settings in settings(),
    ) {
        let settings = LossSettings { surrogate: Surrogate::Cispo, ..settings };
        let (_, gradient) = completion_loss(&completion.weighted(1.0), &settings);
        for (index, slope) in gradient.into_iter().enumerate() {
            let loss_at = |shift: f64| {
                let mut shifted = completion.clone();
                shifted.policy_logprobs[index] += shift as f32;
                shifted.behavior_logprobs[index] += shift as f32;
                completion_loss(&shifted.weighted(1.0), &settings).0.loss
            };
            let difference = (loss_at(4.0 * GRAIN) - loss_at(-4.0 * GRAIN)) / (8.0 * GRAIN);
            prop_assert!((difference - f64::from(slope)).abs() < 4e-6, "token {}: {} and {}", index, slope, difference);
        }
    }

    #[test]
    fn the_weights_of_a_step_sum_to_one_unless_the_denominator_is_constant(
        lengths in prop::collection::vec(1_usize..40_000, 1..64),
    ) {
        let tokens = lengths.iter().sum();
        let denominator = Denominator { completions: lengths.len(), tokens, completion_tokens_max: 40_000 };
        for aggregation in AGGREGATIONS {
            let weights = lengths.iter().map(|&length| length as f64 * denominator.token_weight(aggregation, length));
            let constant = tokens as f64 / (lengths.len() * 40_000) as f64;
            let expected = if aggregation == Aggregation::Constant { constant } else { 1.0 };
            prop_assert!((weights.sum::<f64>() - expected).abs() < 1e-12, "{:?}", aggregation);
        }
    }

    /// Up to the rounding of f64 sums in another order.
    #[test]
    fn a_step_split_over_calls_adds_up_to_the_same_sums(
        completions in prop::collection::vec(completion(), 1..8), settings in settings(), place in 0_usize..8,
    ) {
        let denominator = denominator(&completions, 16);
        let (whole, gradients) = step_loss(&completions, denominator, &settings);
        let (first, second) = completions.split_at(place.min(completions.len()));
        let (mut sum, mut split_gradients) = step_loss(second, denominator, &settings);
        let (sum_of_first, gradients_of_first) = step_loss(first, denominator, &settings);
        sum.add(&sum_of_first);
        split_gradients.splice(0..0, gradients_of_first);
        prop_assert_eq!(gradients, split_gradients);
        prop_assert_eq!((whole.tokens, whole.clipped), (sum.tokens, sum.clipped));
        let numbers = |sum: &LossSum| [sum.loss, sum.kl_nats, sum.ratio, sum.ratio_min, sum.ratio_max];
        assert_close(&numbers(&whole), &numbers(&sum), 1e-11, "sums");
    }

    #[test]
    fn kl_is_never_negative(completion in completion()) {
        let (sum, _) = completion_loss(&completion.weighted(1.0), &LossSettings::default());
        prop_assert!(sum.kl_nats >= 0.0);
    }
}
