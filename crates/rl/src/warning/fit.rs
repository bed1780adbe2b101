//! Runs that are over in, weights out: every step of every run is a row, whose outcome is a collapse within the horizon.

use std::collections::BTreeMap;

use super::{
    Course, FeatureWeight, Trial, TrialSummary, Weights,
    features::{FEATURES, features},
    logistic::{Logistic, Row},
    trial::thresholds,
};
use crate::statistics::{mean, population_standard_deviation};

/// False alarms that a threshold may give, over the runs that do not collapse.
pub const FALSE_ALARM_SHARE_MAX: f64 = 0.1;

/// How a model is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct FitSettings {
    /// A row's outcome is a collapse within this many steps.
    pub horizon_steps: u64,
    /// Holds the weights back: see `logistic.rs`.
    pub ridge: f64,
    /// What the weights say of the runs.
    pub fitted_on: String,
}

/// A fitted model, and how it does on runs of starts that it was not fitted on.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// The model.
    pub weights: Weights,
    /// Of each run, risks by a model fitted without the runs of its start.
    pub left_out: Vec<Trial>,
}

/// Why runs cannot be fitted on.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// One outcome only.
    #[error("{collapses} of {runs} runs collapsed; a model needs runs of both kinds, from two starts or more")]
    OneOutcome {
        /// Runs that collapsed.
        collapses: usize,
        /// All runs.
        runs: usize,
    },
}

/// Features at a moment, and whether a collapse came within the horizon.
type Observed = (Vec<Option<f64>>, bool);

/// Fits a model on `courses`. The threshold is chosen on risks that models fitted without the run's start give: of those
/// that warn falsely of at most a share of [`FALSE_ALARM_SHARE_MAX`] of the stable runs the one that warns of most
/// collapses in time, the highest of equals.
///
/// # Errors
/// [`FitError`] when a model would have seen one outcome only.
pub fn fit(courses: &[Course], settings: &FitSettings) -> Result<Fit, FitError> {
    let refused = || {
        let collapses = courses.iter().filter(|course| course.collapse_step.is_some()).count();
        FitError::OneOutcome { collapses, runs: courses.len() }
    };
    let rows: Vec<Vec<Observed>> = courses.iter().map(|course| rows(course, settings.horizon_steps)).collect();
    let fitted_without = |start: Option<&str>| {
        let others = courses.iter().zip(&rows).filter(|(course, _)| start != Some(course.start.as_str()));
        fit_rows(&others.flat_map(|(_, rows)| rows).collect::<Vec<_>>(), settings).ok_or_else(refused)
    };
    let mut weights = fitted_without(None)?;
    let mut without: BTreeMap<&str, Weights> = BTreeMap::new();
    for start in courses.iter().map(|course| course.start.as_str()) {
        if !without.contains_key(start) {
            without.insert(start, fitted_without(Some(start))?);
        }
    }
    let trial = |course: &Course| Trial::new(course.clone(), &without[course.start.as_str()]);
    let left_out: Vec<Trial> = courses.iter().map(trial).collect();
    weights.risk_max = choose_threshold(&left_out);
    Ok(Fit { weights, left_out })
}

fn choose_threshold(trials: &[Trial]) -> f64 {
    let summaries = thresholds(trials).into_iter().map(|risk_max| TrialSummary::new(trials, risk_max));
    let allowed = summaries.filter(|s| s.false_alarms as f64 <= FALSE_ALARM_SHARE_MAX * s.stable as f64);
    // Thresholds descend, and of equals the first is kept.
    let best = allowed.reduce(|best, next| if next.warned_in_time > best.warned_in_time { next } else { best });
    best.map_or(1.0, |best| best.risk_max)
}

/// The weights without their threshold; none when there is one outcome only.
fn fit_rows(rows: &[&Observed], settings: &FitSettings) -> Option<Weights> {
    let of = |index: usize| -> Vec<f64> { rows.iter().filter_map(|(values, _)| values[index]).collect() };
    let scaled = FEATURES.iter().enumerate().map(|(index, feature)| FeatureWeight {
        name: feature.name.to_owned(),
        mean: mean(&of(index)).unwrap_or(0.0),
        deviation: population_standard_deviation(&of(index)).unwrap_or(0.0),
        weight: 0.0,
    });
    let mut weights = Weights {
        fitted_on: settings.fitted_on.clone(),
        horizon_steps: settings.horizon_steps,
        risk_max: 1.0,
        ridge: settings.ridge,
        intercept: 0.0,
        features: scaled.collect(),
    };
    let standardised =
        rows.iter().map(|(values, outcome)| Row { features: weights.standardised(values), outcome: *outcome });
    let standardised: Vec<Row> = standardised.collect();
    let collapsing = standardised.iter().filter(|row| row.outcome).count();
    if collapsing == 0 || collapsing == standardised.len() {
        return None;
    }
    let fitted = Logistic::fit(&standardised, settings.ridge);
    weights.intercept = fitted.intercept;
    for (feature, weight) in weights.features.iter_mut().zip(fitted.weights) {
        feature.weight = weight;
    }
    Some(weights)
}

/// Features and outcome at each moment whose next `horizon_steps` steps are known.
fn rows(course: &Course, horizon_steps: u64) -> Vec<Observed> {
    let end = course.steps.last().map_or(0, |last| last.step + 1);
    let known = |done: u64| course.collapse_step.is_some() || done.saturating_add(horizon_steps) <= end;
    let outcome = |done: u64| course.collapse_step.is_some_and(|collapse| collapse - done <= horizon_steps);
    let known = course.moments().filter(|(done, _)| known(*done));
    known.map(|(done, steps)| (features(steps), outcome(done))).collect()
}
