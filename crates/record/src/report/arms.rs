//! What became of each arm: accuracy and length at start and end with their standard errors, for tables.

use super::series::{Arm, Comparison, Measure, Source, mean, standard_error};
use crate::{RecordError, RunDirectory};

/// What a standard error is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Over the seeds of the arm: sample standard deviation (n − 1) over √n.
    Seeds,
    /// Over the problems of the evaluation, of the only seed.
    Problems,
}

/// A mean with its standard error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Mean over seeds.
    pub mean: f64,
    /// Standard error of `mean` and what it is over; none where it is not known: a single seed without evaluations,
    /// and a change within a single seed.
    pub error: Option<(f64, Spread)>,
}

/// A quantity at the start and at the end of an arm's runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// At the first evaluation of each seed.
    pub start: Estimate,
    /// At the last evaluation of each seed.
    pub end: Estimate,
    /// End minus start, seed by seed; its error is that of the paired differences.
    pub difference: Estimate,
}

impl Change {
    /// Mean at the end over mean at the start.
    pub fn kept(&self) -> f64 {
        self.end.mean / self.start.mean
    }
}

/// Accuracy and length of an arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ArmOutcome {
    /// Evaluations, or training metrics where the arm has none. From training metrics the first and the last point of
    /// the report's figures are compared, each a mean over a few steps.
    pub source: Source,
    /// Seeds with a measurement.
    pub seeds: usize,
    /// Step of the earliest measurement, the latest of it over seeds: 0 where every seed was measured at its start.
    pub start_step: u64,
    /// Correct over all, 0 to 1.
    pub accuracy: Change,
    /// Mean completion tokens.
    pub completion_tokens: Change,
    /// Lowest accuracy of any seed at or after that seed's best: far below the end of a healthy arm when one collapsed.
    pub accuracy_lowest_after_best: f64,
}

/// One line of the summary table.
#[derive(Debug, Clone, PartialEq)]
pub struct ArmRow {
    /// The arm's name, as the runs give it; not escaped.
    pub arm: String,
    /// Runs of the arm, one a seed.
    pub seeds: usize,
    /// Fewest steps recorded by a run of the arm.
    pub steps_min: u64,
    /// Most steps recorded by a run of the arm.
    pub steps_max: u64,
    /// Runs with fewer steps than they were asked for: still going, or stopped early.
    pub unfinished: usize,
    /// Runs whose evaluations say whether they collapsed.
    pub followed: usize,
    /// Those of them that did.
    pub collapsed: usize,
    /// None until something was measured.
    pub outcome: Option<ArmOutcome>,
}

/// One row for each arm, in the order in which the arms were given, from evaluations on the benchmark that most runs
/// were evaluated on, or from training metrics.
///
/// # Errors
/// [`RecordError`] when no run is given, two runs share arm and seed, or a file is malformed.
pub fn arm_table(runs: &[RunDirectory]) -> Result<Vec<ArmRow>, RecordError> {
    Ok(rows(&Comparison::read(runs, None)?))
}

/// As [`arm_table`], from evaluations on `benchmark`.
///
/// # Errors
/// As [`arm_table`], and when no run was evaluated on `benchmark`.
pub fn arm_table_on(runs: &[RunDirectory], benchmark: &str) -> Result<Vec<ArmRow>, RecordError> {
    Ok(rows(&Comparison::read(runs, Some(benchmark))?))
}

/// One row for each arm of `comparison`.
pub(super) fn rows(comparison: &Comparison) -> Vec<ArmRow> {
    comparison.arms.iter().map(|arm| row(arm, outcome(arm.source(), &comparison.measures(arm)))).collect()
}

fn row(arm: &Arm, outcome: Option<ArmOutcome>) -> ArmRow {
    let steps = || arm.runs.iter().map(|run| run.steps_done);
    let followed = || arm.runs.iter().filter_map(super::series::Run::followed);
    ArmRow {
        arm: arm.name.clone(),
        seeds: arm.runs.len(),
        steps_min: steps().min().unwrap_or(0),
        steps_max: steps().max().unwrap_or(0),
        unfinished: arm.runs.iter().filter(|run| run.steps_done < run.header.steps).count(),
        followed: followed().count(),
        collapsed: followed().filter(|run| run.collapsed).count(),
        outcome,
    }
}

/// The outcome of an arm from the measures of its runs, each with at least one.
fn outcome(source: Source, of_runs: &[Vec<Measure>]) -> Option<ArmOutcome> {
    let start: Vec<&Measure> = of_runs.iter().filter_map(|measures| measures.first()).collect();
    let end: Vec<&Measure> = of_runs.iter().filter_map(|measures| measures.last()).collect();
    if start.is_empty() {
        return None;
    }
    let lowest = of_runs.iter().map(|measures| lowest_after_best(measures));
    Some(ArmOutcome {
        source,
        seeds: start.len(),
        start_step: start.iter().map(|measure| measure.step).max().unwrap_or(0),
        accuracy: change(&start, &end, |measure| (measure.accuracy, measure.accuracy_error)),
        completion_tokens: change(&start, &end, |measure| (measure.tokens, measure.tokens_error)),
        accuracy_lowest_after_best: lowest.fold(f64::INFINITY, f64::min),
    })
}

/// Lowest accuracy at or after the best one, the first of equals.
fn lowest_after_best(measures: &[Measure]) -> f64 {
    let mut best = f64::NEG_INFINITY;
    let mut lowest = f64::INFINITY;
    for measure in measures {
        if measure.accuracy > best {
            best = measure.accuracy;
            lowest = measure.accuracy;
        }
        lowest = lowest.min(measure.accuracy);
    }
    lowest
}

fn change(start: &[&Measure], end: &[&Measure], value: impl Fn(&Measure) -> (f64, Option<f64>)) -> Change {
    let differences: Vec<f64> = start.iter().zip(end).map(|(start, end)| value(end).0 - value(start).0).collect();
    let estimate = |measures: &[&Measure]| {
        let values: Vec<f64> = measures.iter().map(|measure| value(measure).0).collect();
        let of_evaluation =
            measures.first().and_then(|measure| value(measure).1).map(|error| (error, Spread::Problems));
        let error = standard_error(&values).map(|error| (error, Spread::Seeds)).or(of_evaluation);
        Estimate { mean: mean(&values), error }
    };
    Change {
        start: estimate(start),
        end: estimate(end),
        difference: Estimate {
            mean: mean(&differences),
            error: standard_error(&differences).map(|error| (error, Spread::Seeds)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(step: u64, accuracy: f64, tokens: f64) -> Measure {
        Measure { step, accuracy, accuracy_error: Some(0.02), tokens, tokens_error: Some(0.3) }
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn an_arm_compares_the_last_evaluation_of_each_seed_with_its_first() {
        let runs = [
            vec![measure(0, 0.80, 20.0), measure(10, 0.95, 18.0), measure(20, 0.90, 16.0)],
            vec![measure(0, 0.84, 24.0), measure(10, 0.70, 20.0)],
        ];
        let outcome = outcome(Source::Evaluation, &runs).expect("two seeds");
        assert_eq!((outcome.seeds, outcome.start_step), (2, 0));
        // By hand: starts 0.80 and 0.84, ends 0.90 and 0.70, differences +0.10 and −0.14.
        close(outcome.accuracy.start.mean, 0.82);
        close(outcome.accuracy.end.mean, 0.80);
        close(outcome.accuracy.difference.mean, -0.02);
        // The error of two values is half their distance: 0.1 and 0.12.
        let (error, spread) = outcome.accuracy.end.error.expect("two seeds");
        close(error, 0.10);
        assert_eq!(spread, Spread::Seeds);
        close(outcome.accuracy.difference.error.expect("two seeds").0, 0.12);
        close(outcome.completion_tokens.kept(), 18.0 / 22.0);
        // The first seed's best is 0.95, then 0.90; the second's is its start, then 0.70.
        close(outcome.accuracy_lowest_after_best, 0.70);
    }

    #[test]
    fn a_single_seed_has_the_error_of_its_evaluation_and_none_for_the_change() {
        let outcome =
            outcome(Source::Evaluation, &[vec![measure(0, 0.8, 20.0), measure(5, 0.9, 21.0)]]).expect("a seed");
        assert_eq!(outcome.accuracy.end.error, Some((0.02, Spread::Problems)));
        assert_eq!(outcome.completion_tokens.start.error, Some((0.3, Spread::Problems)));
        assert_eq!(outcome.accuracy.difference.error, None);
        close(outcome.accuracy_lowest_after_best, 0.9);
    }

    #[test]
    fn an_arm_without_measurements_has_no_outcome() {
        assert_eq!(outcome(Source::Training, &[]), None);
    }
}
