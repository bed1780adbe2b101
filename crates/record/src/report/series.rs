//! Runs put together by arm, and their measurements as series over steps with their spread over seeds.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
};

use crate::{EvaluationSummary, RecordError, RunDirectory, RunHeader, StepMetrics};

/// Points that a figure of training metrics has at most.
const TRAINING_POINTS_MAX: u64 = 40;

/// Where the accuracy and length of an arm come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Evaluations on a benchmark.
    Evaluation,
    /// The rollouts that were trained on, for an arm that was never evaluated.
    Training,
}

/// One run, read.
#[derive(Debug)]
pub(super) struct Run {
    /// Where it is.
    pub(super) directory: RunDirectory,
    /// `run.json`.
    pub(super) header: RunHeader,
    /// Every step so far that was not skipped.
    pub(super) metrics: Vec<StepMetrics>,
    /// Optimizer steps done so far.
    pub(super) steps_done: u64,
    /// Evaluations on the benchmark reported on, by step; the last one made of each step.
    pub(super) evaluations: Vec<EvaluationSummary>,
    /// The same on every other benchmark, by name.
    others: BTreeMap<String, Vec<EvaluationSummary>>,
}

/// The runs of one arm, by seed.
#[derive(Debug)]
pub(super) struct Arm {
    /// The arm's name.
    pub(super) name: String,
    /// At least one run.
    pub(super) runs: Vec<Run>,
}

/// Everything a report compares.
#[derive(Debug)]
pub(super) struct Comparison {
    /// Arms in the order in which the runs were given.
    pub(super) arms: Vec<Arm>,
    /// The benchmark reported on; none when no run was evaluated.
    pub(super) benchmark: Option<String>,
    /// Other benchmarks that runs were evaluated on.
    pub(super) benchmarks_left_out: Vec<String>,
    /// Consecutive steps averaged in one point of a training metric.
    pub(super) steps_per_point: u64,
}

/// Accuracy and length of one policy version.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Measure {
    /// Optimizer steps the policy had seen; of averaged steps, the first.
    pub(super) step: u64,
    /// Correct over all, 0 to 1.
    pub(super) accuracy: f64,
    /// Standard error of `accuracy` over problems, where it was evaluated.
    pub(super) accuracy_error: Option<f64>,
    /// Mean completion tokens.
    pub(super) tokens: f64,
    /// Standard error of `tokens` over problems, where it was evaluated.
    pub(super) tokens_error: Option<f64>,
}

/// A value at a step, aggregated over the runs of an arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SeriesPoint {
    /// Optimizer step; of averaged steps, the first.
    pub(super) step: u64,
    /// Mean over runs.
    pub(super) mean: f64,
    /// Lowest run.
    pub(super) low: f64,
    /// Highest run.
    pub(super) high: f64,
    /// Runs with a value here.
    pub(super) runs: usize,
}

impl Run {
    fn read(directory: &RunDirectory) -> Result<(Self, Vec<EvaluationSummary>), RecordError> {
        let metrics = directory.metrics()?;
        let run = Self {
            directory: directory.clone(),
            header: directory.header()?,
            steps_done: directory.steps_done(&metrics)?,
            metrics,
            evaluations: Vec::new(),
            others: BTreeMap::new(),
        };
        Ok((run, directory.evaluations()?))
    }

    /// Name of the run's directory, without the path to it.
    pub(super) fn name(&self) -> String {
        let root = self.directory.root();
        root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned()
    }

    /// Accuracy and length by step from `source`.
    pub(super) fn measures(&self, source: Source, steps_per_point: u64) -> Vec<Measure> {
        match source {
            Source::Evaluation => self.evaluations.iter().map(evaluated).collect(),
            Source::Training => {
                let accuracy = binned(&self.metrics, steps_per_point, |row| Some(row.correctness_ratio));
                let tokens = binned(&self.metrics, steps_per_point, |row| Some(row.completion_tokens.mean));
                let pairs = accuracy.into_iter().zip(tokens);
                pairs.map(|((step, accuracy), (_, tokens))| trained(step, accuracy, tokens)).collect()
            }
        }
    }
}

fn evaluated(summary: &EvaluationSummary) -> Measure {
    Measure {
        step: summary.step,
        accuracy: summary.accuracy,
        accuracy_error: Some(summary.accuracy_error),
        tokens: summary.completion_tokens,
        tokens_error: Some(summary.completion_tokens_error),
    }
}

fn trained(step: u64, accuracy: f64, tokens: f64) -> Measure {
    Measure { step, accuracy, accuracy_error: None, tokens, tokens_error: None }
}

impl Arm {
    /// Evaluations where any run of the arm has one, training metrics otherwise.
    pub(super) fn source(&self) -> Source {
        let is_evaluated = self.runs.iter().any(|run| !run.evaluations.is_empty());
        if is_evaluated { Source::Evaluation } else { Source::Training }
    }
}

impl Comparison {
    /// Reads `runs` and puts them together by arm. Reports on `benchmark`, or without one on the benchmark that most
    /// runs were evaluated on, the first named among equals.
    pub(super) fn read(runs: &[RunDirectory], benchmark: Option<&str>) -> Result<Self, RecordError> {
        if runs.is_empty() {
            let message = "no run directories were given; name at least one, or train one first".to_owned();
            return Err(RecordError::Report { message });
        }
        let read = runs.iter().map(Run::read).collect::<Result<Vec<_>, _>>()?;
        let named = benchmarks(&read);
        let benchmark = chosen(&named, benchmark)?;
        let mut arms: Vec<Arm> = Vec::new();
        for (mut run, evaluations) in read {
            run.others = by_benchmark(evaluations);
            match arms.iter_mut().find(|arm| arm.name == run.header.arm) {
                Some(arm) => arm.runs.push(run),
                None => arms.push(Arm { name: run.header.arm.clone(), runs: vec![run] }),
            }
        }
        for arm in &mut arms {
            arm.runs.sort_by_key(|run| run.header.seed);
            refuse_repeated_seed(arm)?;
        }
        let steps = arms.iter().flat_map(|arm| &arm.runs).map(|run| run.steps_done).max().unwrap_or(0);
        let benchmarks_left_out =
            named.into_iter().map(|(name, _)| name).filter(|name| Some(name) != benchmark.as_ref()).collect();
        let steps_per_point = steps.div_ceil(TRAINING_POINTS_MAX).max(1);
        let mut comparison = Self { arms, benchmark: None, benchmarks_left_out, steps_per_point };
        comparison.turn_to(benchmark);
        Ok(comparison)
    }

    /// Reports on `benchmark` from here on, without reading the runs again: their files may name many.
    pub(super) fn turn_to(&mut self, benchmark: Option<String>) {
        for run in self.arms.iter_mut().flat_map(|arm| &mut arm.runs) {
            let before = take(&mut run.evaluations);
            run.others.extend(self.benchmark.clone().map(|name| (name, before)));
            run.evaluations = benchmark.as_ref().and_then(|name| run.others.remove(name)).unwrap_or_default();
        }
        self.benchmark = benchmark;
    }

    /// Every run of every arm.
    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.arms.iter().flat_map(|arm| &arm.runs)
    }

    /// Accuracy and length of each run of `arm` that has any.
    pub(super) fn measures(&self, arm: &Arm) -> Vec<Vec<Measure>> {
        let of_runs = arm.runs.iter().map(|run| run.measures(arm.source(), self.steps_per_point));
        of_runs.filter(|measures| !measures.is_empty()).collect()
    }

    /// A training metric of `arm` over steps.
    pub(super) fn training(&self, arm: &Arm, value: impl Fn(&StepMetrics) -> Option<f64>) -> Vec<SeriesPoint> {
        let of_runs: Vec<_> = arm.runs.iter().map(|run| binned(&run.metrics, self.steps_per_point, &value)).collect();
        aggregate(&of_runs)
    }
}

/// Benchmarks with the number of runs evaluated on each, in order of first appearance.
fn benchmarks(read: &[(Run, Vec<EvaluationSummary>)]) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, evaluations) in read {
        let mut of_run = BTreeSet::new();
        for row in evaluations {
            let place = *places.entry(&row.benchmark).or_insert_with(|| {
                counts.push((row.benchmark.clone(), 0));
                counts.len() - 1
            });
            counts[place].1 += usize::from(of_run.insert(place));
        }
    }
    counts
}

fn chosen(named: &[(String, usize)], asked: Option<&str>) -> Result<Option<String>, RecordError> {
    let Some(asked) = asked else {
        let most = named.iter().map(|(_, count)| *count).max();
        return Ok(named.iter().find(|(_, count)| Some(*count) == most).map(|(name, _)| name.clone()));
    };
    if named.iter().any(|(name, _)| name == asked) {
        return Ok(Some(asked.to_owned()));
    }
    let remedy = if named.is_empty() {
        "leave the benchmark out to report on training metrics".to_owned()
    } else {
        let names: Vec<String> = named.iter().map(|(name, _)| format!("`{name}`")).collect();
        format!("choose one of {}", names.join(", "))
    };
    Err(RecordError::Report { message: format!("no run was evaluated on the benchmark `{asked}`; {remedy}") })
}

/// Evaluations on each benchmark by step. Of two at the same step the later one counts: its records replaced the other's.
fn by_benchmark(evaluations: Vec<EvaluationSummary>) -> BTreeMap<String, Vec<EvaluationSummary>> {
    let mut by_step: BTreeMap<String, BTreeMap<u64, EvaluationSummary>> = BTreeMap::new();
    for row in evaluations {
        by_step.entry(row.benchmark.clone()).or_default().insert(row.step, row);
    }
    by_step.into_iter().map(|(name, rows)| (name, rows.into_values().collect())).collect()
}

fn refuse_repeated_seed(arm: &Arm) -> Result<(), RecordError> {
    for pair in arm.runs.windows(2) {
        if pair[0].header.seed == pair[1].header.seed {
            return Err(RecordError::Unusable {
                path: pair[1].directory.root().to_owned(),
                message: format!(
                    "is a second run of the arm `{}` with seed {}, beside {}; leave one of them out, or give the arms different names",
                    arm.name,
                    pair[1].header.seed,
                    pair[0].directory.root().display()
                ),
            });
        }
    }
    Ok(())
}

/// Means of `value` over `width` consecutive steps each, with the first step of each; steps without a finite value
/// are left out.
fn binned(metrics: &[StepMetrics], width: u64, value: impl Fn(&StepMetrics) -> Option<f64>) -> Vec<(u64, f64)> {
    let mut bins: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in metrics {
        if let Some(value) = value(row).filter(|value| value.is_finite()) {
            bins.entry(row.step / width * width).or_default().push(value);
        }
    }
    bins.into_iter().map(|(step, values)| (step, mean(&values))).collect()
}

/// Mean and spread over runs of (step, value) pairs, at every step at which any run has a value.
pub(super) fn aggregate(of_runs: &[Vec<(u64, f64)>]) -> Vec<SeriesPoint> {
    let mut by_step: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for &(step, value) in of_runs.iter().flatten().filter(|(_, value)| value.is_finite()) {
        by_step.entry(step).or_default().push(value);
    }
    let point = |(step, values): (u64, Vec<f64>)| SeriesPoint {
        step,
        mean: mean(&values),
        low: values.iter().copied().fold(f64::INFINITY, f64::min),
        high: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        runs: values.len(),
    };
    by_step.into_iter().map(point).collect()
}

/// Arithmetic mean, summed in order in f64.
///
/// # Panics
/// When `values` is empty.
pub(super) fn mean(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "the mean of no values was asked for");
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard error of the mean: sample standard deviation (n − 1) over √n; none for fewer than two values.
pub(super) fn standard_error(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let count = values.len() as f64;
    Some((squares / (count - 1.0)).sqrt() / count.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_mean_and_spread_over_the_runs_that_reached_each_step() {
        // By hand: step 0 (0.2 + 0.4 + 0.9) / 3 = 0.5; step 10 (0.6 + 0.8) / 2 = 0.7; the third run stopped early.
        let runs = [vec![(0, 0.2), (10, 0.6)], vec![(0, 0.4), (10, 0.8)], vec![(0, 0.9), (10, f64::NAN)]];
        let series = aggregate(&runs);
        let expected = [(0, 0.5, 0.2, 0.9, 3), (10, 0.7, 0.6, 0.8, 2)];
        assert_eq!(series.len(), expected.len());
        for (point, (step, mean, low, high, runs)) in series.iter().zip(expected) {
            assert_eq!((point.step, point.runs), (step, runs));
            for (found, value) in [(point.mean, mean), (point.low, low), (point.high, high)] {
                assert!((found - value).abs() < 1e-12, "{found} is not {value}");
            }
        }
    }

    #[test]
    fn the_standard_error_uses_the_sample_standard_deviation() {
        // By hand: mean 3, squares 4 + 0 + 4, variance 8 / 2 = 4, error 2 / √3.
        let error = standard_error(&[1.0, 3.0, 5.0]).expect("three values");
        assert!((error - 2.0 / 3f64.sqrt()).abs() < 1e-12);
        assert_eq!(standard_error(&[1.0]), None);
    }

    #[test]
    fn the_benchmark_of_most_runs_is_chosen_and_an_unknown_one_refused() {
        let named = [("a".to_owned(), 1), ("b".to_owned(), 3), ("c".to_owned(), 3)];
        assert_eq!(chosen(&named, None).expect("a choice"), Some("b".to_owned()));
        assert_eq!(chosen(&named, Some("c")).expect("a choice"), Some("c".to_owned()));
        assert_eq!(chosen(&[], None).expect("a choice"), None);
        let refused = chosen(&named, Some("d")).expect_err("no such benchmark").to_string();
        assert!(refused.contains("choose one of `a`, `b`, `c`"), "{refused}");
    }
}
