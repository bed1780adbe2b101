//! The model on runs that are made up: what a step has is said, and all else is the same.

use record::{StepMetrics, WarningMetrics};
use serde_json::json;

use super::{
    Course, FitSettings, Trial, TrialSummary, WarningAction, WarningSettings, Weights,
    features::{FEATURES, features},
    fit, thresholds,
    watch::RiskWatch,
};

/// What a step of a made-up run has.
#[derive(Clone, Copy)]
struct Made {
    share: Option<f64>,
    gain: Option<f64>,
    push: Option<f64>,
}

const CALM: Made = Made { share: Some(0.1), gain: Some(-0.2), push: Some(0.1) };

fn step(index: u64, made: Made) -> StepMetrics {
    let signals = json!({"all_correct_length_spread": null, "all_correct_advantage_share": null,
        "within_correctness_advantage_share": made.share, "length_advantage_correlation": made.push,
        "shortest_quarter_gain": made.gain, "level_correctness_ratios": {}});
    let tokens = json!({"mean": 20.0, "min": 1, "max": 99, "correct_mean": null, "wrong_mean": null});
    serde_json::from_value(json!({"step": index, "reward_mean": 0.5, "reward_std": 0.5,
        "correctness_ratio": 0.75, "all_correct_share": 0.5, "all_wrong_share": 0.0, "zero_advantage_share": 0.0,
        "selection": {"groups": [], "share": 0.0, "all_correct": 0, "tied": 0, "ratio_min": null}, "signals": signals,
        "length_correctness_correlation": null, "completion_tokens": tokens, "truncated_share": 0.0,
        "entropy_nats": 0.5, "kl_nats": null, "ratio_min": 1.0, "ratio_mean": 1.0, "ratio_max": 1.0, "clip_share": 0.0,
        "loss": 0.0, "gradient_norm": 1.0, "learning_rate": 0.5, "tokens": 32, "sample_tokens_per_second": 32.0,
        "update_tokens_per_second": 32.0, "seconds": {"sample": 1.0, "shape": 1.0, "update": 1.0, "total": 3.0}}))
    .unwrap()
}

fn steps(made: impl IntoIterator<Item = Made>) -> Vec<StepMetrics> {
    made.into_iter().zip(0..).map(|(made, index)| step(index, made)).collect()
}

/// Weights of nothing but an intercept and a threshold.
fn weights(log_odds: f64, risk_max: f64) -> Weights {
    let mut weights = Weights { risk_max, intercept: log_odds, ..Weights::own() };
    weights.features.iter_mut().for_each(|feature| feature.weight = 0.0);
    weights
}

/// A run of 60 steps under a share of the advantages, with a ripple of its own so that no two are the same.
fn course(start: &str, pressure: f64, collapse_step: Option<u64>) -> Course {
    let ripple = |index: u64| 0.01 * ((index * 7 + start.len() as u64) % 5) as f64;
    let made = |index| Made { share: Some(pressure + ripple(index)), gain: Some(-0.5), ..CALM };
    let name = format!("{start}-{pressure}");
    Course { name, start: start.to_owned(), steps: steps((0..60).map(made)), collapse_step }
}

/// Two runs of each start that collapse under high pressure, and three that do not.
fn courses() -> Vec<Course> {
    let of_start = |start: &&str| {
        [(0.8, Some(40)), (0.7, Some(30)), (0.3, None), (0.2, None), (0.1, None)]
            .map(|(pressure, collapse_step)| course(start, pressure, collapse_step))
    };
    ["a", "bb", "ccc"].iter().flat_map(of_start).collect()
}

fn settings() -> FitSettings {
    FitSettings { horizon_steps: 20, ridge: 1.0, fitted_on: "made-up runs".to_owned() }
}

#[test]
fn features_match_a_calculation_by_hand() {
    let shares = [9.0, 9.0, 0.2, 0.4, 0.2, 0.4, 0.2, 0.4, 0.2, 0.4, 0.3, 0.3];
    let made = shares.map(|share| Made {
        share: Some(share),
        gain: (share < 0.35).then_some(-0.5),
        push: Some(if share > 0.35 { 0.5 } else { -0.25 }),
    });
    // Of the last ten: shares 4 · 0.2 + 4 · 0.4 + 2 · 0.3 = 3, gains −0.5 where there are any, pushes 4 · 0.5 − 6 · 0.25.
    let found = features(&steps(made));
    for (found, expected) in found.iter().zip([0.15, 0.05]) {
        assert!((found.unwrap() - expected).abs() < 1e-12, "{found:?} is not {expected}");
    }
    assert_eq!(found.len(), FEATURES.len());
    let without = features(&steps([Made { gain: None, push: None, ..CALM }; 6]));
    assert_eq!(without, [None, None]);
}

#[test]
fn a_risk_is_known_from_the_fifth_step_on_and_does_not_depend_on_what_comes_later() {
    let weights = fit(&courses(), &settings()).unwrap().weights;
    let course = course("dddd", 0.5, None);
    assert_eq!(weights.risk(&course.steps[..4]), None);
    let trial = Trial::new(course.clone(), &weights);
    assert_eq!(trial.risks.len(), 56);
    for &(done, risk) in &trial.risks {
        assert_eq!(weights.risk(&course.steps[..done as usize]), Some(risk));
    }
}

#[test]
fn a_fit_tells_runs_apart_that_pressure_tells_apart() {
    let fitted = fit(&courses(), &settings()).unwrap();
    let summary = TrialSummary::new(&fitted.left_out, fitted.weights.risk_max);
    assert_eq!((summary.collapses, summary.collapses_with_time, summary.stable), (6, 6, 9));
    assert_eq!((summary.warned_in_time, summary.false_alarms), (6, 0));
    let read: Weights = toml::from_str(&fitted.weights.to_toml()).unwrap();
    assert_eq!(read, fitted.weights, "weights are written and read as they are");
    assert_eq!(fit(&courses(), &settings()).unwrap(), fitted, "the same runs give the same weights");
}

#[test]
fn the_threshold_gives_no_more_false_alarms_than_a_tenth_of_the_stable_runs() {
    // As much pressure as the collapses have: one stable run of ten is allowed to look like them, two of eleven are not.
    let with = |dangerous: usize| {
        let more = (0..dangerous).map(|index| course(&"x".repeat(index + 10), 0.75, None));
        let fitted = fit(&courses().into_iter().chain(more).collect::<Vec<_>>(), &settings()).unwrap();
        TrialSummary::new(&fitted.left_out, fitted.weights.risk_max)
    };
    let one = with(1);
    assert_eq!((one.stable, one.false_alarms, one.warned_in_time), (10, 1, 6));
    let two = with(2);
    assert!(two.stable == 11 && two.false_alarms <= 1 && two.warned_in_time < 6, "{two:?}");
}

#[test]
fn runs_of_one_outcome_are_refused() {
    let stable: Vec<Course> = courses().into_iter().filter(|course| course.collapse_step.is_none()).collect();
    let message = fit(&stable, &settings()).unwrap_err().to_string();
    assert_eq!(message, "0 of 9 runs collapsed; a model needs runs of both kinds, from two starts or more");
    let one_start: Vec<Course> = courses().into_iter().filter(|course| course.start == "a").collect();
    assert!(fit(&one_start, &settings()).is_err());
}

#[test]
fn leads_are_counted_from_the_first_warning_and_only_ten_steps_are_in_time() {
    let trial = |collapse_step, risks: &[(u64, f64)]| {
        let course = Course { name: String::new(), start: String::new(), steps: Vec::new(), collapse_step };
        Trial { course, risks: risks.to_vec() }
    };
    let trials = [
        trial(Some(30), &[(10, 0.1), (20, 0.6), (21, 0.2)]),
        trial(Some(30), &[(10, 0.1), (21, 0.7)]),
        trial(Some(12), &[(5, 0.9)]),
        trial(Some(40), &[(10, 0.3)]),
        trial(None, &[(10, 0.5), (60, 0.8)]),
        trial(None, &[(10, 0.2)]),
    ];
    let leads: Vec<_> = trials.iter().map(|trial| trial.lead_steps(0.5)).collect();
    assert_eq!(leads, [Some(10), Some(9), Some(7), None, None, None]);
    let summary = TrialSummary::new(&trials, 0.5);
    assert_eq!((summary.collapses, summary.collapses_with_time), (4, 3));
    assert_eq!((summary.warned, summary.warned_in_time, summary.lead_steps_median), (3, 1, Some(9.0)));
    assert_eq!((summary.stable, summary.false_alarms), (2, 1));
    // Highest risks in time: 0.6, 0.1, none, 0.3; of the stable runs 0.8 and 0.2.
    let expected = [0.7, 0.45, 0.25, 0.15, 0.05];
    let found = thresholds(&trials);
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12) && found.len() == 5, "{found:?}");
}

#[test]
fn a_run_is_warned_again_only_when_the_horizon_has_passed() {
    let mut watch = RiskWatch::new(&WarningSettings::default(), weights(2.0, 0.5), Vec::new(), 0);
    let given = |index: u64| {
        let mut metrics = step(index, CALM);
        watch.observe(&mut metrics);
        metrics.warning.filter(|warning| warning.given).map(|_| index)
    };
    let horizon = Weights::own().horizon_steps;
    let expected = [4, 4 + horizon, 4 + 2 * horizon];
    assert_eq!((0..60).filter_map(given).collect::<Vec<_>>(), expected);
}

#[test]
fn lambda_is_lowered_once_for_each_warning_or_return() {
    let steps = |warned: &[u64]| -> Vec<StepMetrics> {
        let warning = |index| Some(WarningMetrics { risk: Some(0.9), given: warned.contains(&index) });
        (0..50).map(|index| StepMetrics { warning: warning(index), ..step(index, CALM) }).collect()
    };
    let factor = |action, steps, returns| {
        let settings = WarningSettings { action, ..WarningSettings::default() };
        RiskWatch::new(&settings, weights(0.0, 0.5), steps, returns).lambda_factor()
    };
    for (action, warned, returns, expected) in [
        (WarningAction::Warn {}, vec![4, 24], 0, 1.0),
        (WarningAction::LowerLambda { factor: 0.5 }, vec![], 0, 1.0),
        (WarningAction::LowerLambda { factor: 0.5 }, vec![4, 24], 0, 0.25),
        (WarningAction::Return { times_max: 3, lambda_factor: 0.5 }, vec![4, 24], 1, 0.5),
    ] {
        let found = factor(action, steps(&warned), returns);
        assert!((found - expected).abs() < 1e-12, "{action:?}: {found}");
    }
}

#[test]
fn the_risk_rose_after_the_last_step_at_which_it_was_below_half_of_what_is_warned_of() {
    let before_rise = |risks: &[Option<f64>]| {
        let warning = |risk: &Option<f64>| Some(WarningMetrics { risk: *risk, given: false });
        let steps =
            risks.iter().zip(0..).map(|(risk, index)| StepMetrics { warning: warning(risk), ..step(index, CALM) });
        RiskWatch::new(&WarningSettings::default(), weights(0.0, 0.4), steps.collect(), 0).step_before_rise()
    };
    for (risks, expected) in [
        (&[None, None, Some(0.1), Some(0.19), Some(0.21), Some(0.5)][..], 4),
        (&[None, Some(0.3), Some(0.1), Some(0.5)], 3),
        (&[None, Some(0.5)], 1),
        (&[Some(0.5)], 0),
    ] {
        assert_eq!(before_rise(risks), expected, "{risks:?}");
    }
}

#[test]
fn weights_of_other_features_are_refused_with_both_lists() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("weights.toml");
    let mut other = Weights::own();
    other.features[0].name = "tokens".to_owned();
    record::write::replace(&path, other.to_toml().as_bytes()).unwrap();
    let message = Weights::read(&path).unwrap_err().to_string();
    assert!(message.contains("has the features tokens") && message.contains("length_pressure"), "{message}");
}

#[test]
fn weights_that_never_warn_or_look_nowhere_ahead_are_refused_by_field() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("weights.toml");
    let read = |weights: Weights| {
        record::write::replace(&path, weights.to_toml().as_bytes()).unwrap();
        Weights::read(&path).map_err(|error| error.to_string())
    };
    for (risk_max, shown) in [(f64::NAN, "NaN"), (0.0, "0"), (1.5, "1.5"), (-0.5, "-0.5")] {
        let message = read(Weights { risk_max, ..Weights::own() }).unwrap_err();
        let expected = format!("weights.toml: has `risk_max` = {shown}; it must be above 0 and at most 1; set it so");
        assert!(message.contains(&expected), "{message}");
    }
    let message = read(Weights { horizon_steps: 0, ..Weights::own() }).unwrap_err();
    assert!(message.contains("weights.toml: has `horizon_steps` = 0; it must be at least 1"), "{message}");
    for weights in [Weights { risk_max: 1.0, horizon_steps: 1, ..Weights::own() }, Weights::own()] {
        assert_eq!(read(weights.clone()), Ok(weights));
    }
}
