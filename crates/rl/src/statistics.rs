//! Means, errors, intervals and correlations, and the summary of an evaluation. Pure functions; sums are f64.

use std::{cmp::Ordering, collections::BTreeMap};

use record::{EvaluationRecord, EvaluationSummary, LevelSummary, StopReason};
use verify::Verdict;

/// The two-sided 95 % quantile of the standard normal distribution.
const NORMAL_QUANTILE_95: f64 = 1.959_963_984_540_054;

/// Σx / n, summed in order; `None` for no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// √(Σ(x − x̄)² / n): the spread of all there is. `None` for no values, exactly 0 for equal ones.
pub fn population_standard_deviation(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| (squared_deviations(values) / values.len() as f64).sqrt())
}

/// √(Σ(x − x̄)² / (n − 1)), which estimates the spread where the values came from. `None` below two values, exactly 0
/// for equal ones.
pub fn sample_standard_deviation(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| (squared_deviations(values) / (values.len() - 1) as f64).sqrt())
}

/// Sample standard deviation / √n: the standard error of the mean of independent values. `None` below two values.
///
/// For mean@k the values are the means of each problem: completions of one problem are not independent (Miller,
/// "Adding Error Bars to Evals", arXiv 2411.00640).
pub fn standard_error(values: &[f64]) -> Option<f64> {
    sample_standard_deviation(values).map(|deviation| deviation / (values.len() as f64).sqrt())
}

/// The lower and upper end of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 95 % score interval of a share p of n independent trials (Wilson 1927; method 3 of Newcombe 1998, Statistics in
/// Medicine 17, 857): (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), with z = 1.96.
///
/// # Panics
/// When `share` is outside 0…1 or there are no trials.
pub fn wilson_interval(share: f64, trials: usize) -> Interval {
    assert!((0.0..=1.0).contains(&share) && trials > 0, "share {share} of {trials} trials");
    let n = trials as f64;
    let z_squared = NORMAL_QUANTILE_95 * NORMAL_QUANTILE_95;
    let center = share + z_squared / (2.0 * n);
    let half_width = NORMAL_QUANTILE_95 * (share * (1.0 - share) / n + z_squared / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z_squared / n;
    Interval { low: ((center - half_width) / scale).max(0.0), high: ((center + half_width) / scale).min(1.0) }
}

/// Pearson's correlation of pairs (x, y) pooled within groups, each group's means subtracted first:
/// Σ dx dy / √(Σ dx² Σ dy²) with dx = x − x̄ of the group (the pooled within-class correlation of discriminant
/// analysis). `None` where x or y is constant in every group.
pub fn correlation_within_groups(groups: &[Vec<(f64, f64)>]) -> Option<f64> {
    let (mut products, mut x_squares, mut y_squares) = (0.0, 0.0, 0.0);
    for group in groups {
        let (x, y): (Vec<f64>, Vec<f64>) = group.iter().copied().unzip();
        for (dx, dy) in deviations(&x).into_iter().zip(deviations(&y)) {
            products += dx * dy;
            x_squares += dx * dx;
            y_squares += dy * dy;
        }
    }
    (x_squares > 0.0 && y_squares > 0.0).then(|| (products / (x_squares.sqrt() * y_squares.sqrt())).clamp(-1.0, 1.0))
}

/// x − x̄ of each value; zeros for equal values, whose rounded mean may differ from them.
fn deviations(values: &[f64]) -> Vec<f64> {
    let Some(mean) = mean(values) else { return Vec::new() };
    let is_constant = values.iter().all(|value| value.total_cmp(&values[0]) == Ordering::Equal);
    values.iter().map(|value| if is_constant { 0.0 } else { value - mean }).collect()
}

fn squared_deviations(values: &[f64]) -> f64 {
    deviations(values).iter().map(|deviation| deviation * deviation).sum()
}

/// What an evaluation was run with, copied into its summary.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationSettings {
    /// Optimizer steps the policy had seen; 0 is the start.
    pub step: u64,
    /// Benchmark name.
    pub benchmark: String,
    /// Completions per problem (the k of mean@k).
    pub samples: u32,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f64,
    /// Nucleus mass kept when sampling; 1 keeps all.
    pub top_p: f64,
    /// Token limit of a completion.
    pub completion_tokens_max: u32,
    /// Seed of the sampling.
    pub seed: u64,
}

/// The means of one problem's completions.
struct ProblemMeans<'a> {
    level: Option<&'a str>,
    /// Correct completions over completions.
    correctness: f64,
    completion_tokens: f64,
}

/// The summary of an evaluation, whatever the order of `records`.
///
/// Means and standard errors run over problems, each the mean of its completions. A standard error is written as 0
/// where there is one problem, for which it is not defined.
///
/// # Panics
/// When there are no records, or a problem has not `settings.samples` of them.
pub fn summarise(records: &[EvaluationRecord], settings: &EvaluationSettings) -> EvaluationSummary {
    assert!(!records.is_empty(), "no records of {}", settings.benchmark);
    let problems = problem_means(records, settings.samples);
    let correctness: Vec<f64> = problems.iter().map(|problem| problem.correctness).collect();
    let completion_tokens: Vec<f64> = problems.iter().map(|problem| problem.completion_tokens).collect();
    let accuracy = mean(&correctness).expect("there are records");
    let interval = wilson_interval(accuracy, problems.len());
    let share = |matches: fn(&EvaluationRecord) -> bool| {
        records.iter().filter(|record| matches(record)).count() as f64 / records.len() as f64
    };
    EvaluationSummary {
        step: settings.step,
        benchmark: settings.benchmark.clone(),
        problems: problems.len() as u32,
        samples: settings.samples,
        temperature: settings.temperature,
        top_p: settings.top_p,
        completion_tokens_max: settings.completion_tokens_max,
        seed: settings.seed,
        accuracy,
        accuracy_error: standard_error(&correctness).unwrap_or(0.0),
        accuracy_low: interval.low,
        accuracy_high: interval.high,
        completion_tokens: mean(&completion_tokens).expect("there are records"),
        completion_tokens_error: standard_error(&completion_tokens).unwrap_or(0.0),
        truncated_share: share(|record| record.stop == StopReason::Limit),
        no_answer_share: share(|record| record.verdict == Verdict::NoAnswer),
        levels: level_summaries(&problems),
    }
}

/// One entry for each problem, in the order of their ids.
fn problem_means<'a>(records: &'a [EvaluationRecord], samples: u32) -> Vec<ProblemMeans<'a>> {
    let mut records_by_problem: BTreeMap<&str, Vec<&'a EvaluationRecord>> = BTreeMap::new();
    for record in records {
        records_by_problem.entry(&record.problem).or_default().push(record);
    }
    let means = |(problem, records): (&str, Vec<&'a EvaluationRecord>)| {
        assert_eq!(records.len(), samples as usize, "completions of problem {problem}");
        let correct = records.iter().filter(|record| record.is_correct()).count();
        let tokens: u64 = records.iter().map(|record| u64::from(record.completion_tokens)).sum();
        ProblemMeans {
            level: records[0].level.as_deref(),
            correctness: correct as f64 / f64::from(samples),
            completion_tokens: tokens as f64 / f64::from(samples),
        }
    };
    records_by_problem.into_iter().map(means).collect()
}

/// One entry for each level that a problem names, by number when all levels are numbers and by text otherwise.
fn level_summaries(problems: &[ProblemMeans<'_>]) -> Vec<LevelSummary> {
    let mut problems_by_level: BTreeMap<&str, Vec<&ProblemMeans<'_>>> = BTreeMap::new();
    for problem in problems {
        if let Some(level) = problem.level {
            problems_by_level.entry(level).or_default().push(problem);
        }
    }
    let summary = |(level, problems): (&str, Vec<&ProblemMeans<'_>>)| {
        let mean_of = |value: fn(&ProblemMeans<'_>) -> f64| {
            problems.iter().map(|problem| value(problem)).sum::<f64>() / problems.len() as f64
        };
        LevelSummary {
            level: level.to_owned(),
            problems: problems.len() as u32,
            accuracy: mean_of(|problem| problem.correctness),
            completion_tokens: mean_of(|problem| problem.completion_tokens),
        }
    };
    let mut levels: Vec<LevelSummary> = problems_by_level.into_iter().map(summary).collect();
    let number = |summary: &LevelSummary| summary.level.trim().parse::<f64>().ok();
    if levels.iter().all(|level| number(level).is_some()) {
        levels.sort_by(|a, b| number(a).unwrap_or(0.0).total_cmp(&number(b).unwrap_or(0.0)));
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected} within {tolerance}");
    }

    #[test]
    fn means_and_deviations_match_a_hand_calculation() {
        // Mean 5; squared deviations 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32.
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_near(mean(&values).unwrap(), 5.0, 1e-15);
        assert_near(population_standard_deviation(&values).unwrap(), 2.0, 1e-15);
        assert_near(sample_standard_deviation(&values).unwrap(), (32.0_f64 / 7.0).sqrt(), 1e-15);
        assert_near(standard_error(&values).unwrap(), (4.0_f64 / 7.0).sqrt(), 1e-15);
    }

    #[test]
    fn too_few_values_have_no_statistics() {
        assert_eq!(mean(&[]), None);
        assert_eq!(population_standard_deviation(&[]), None);
        assert_eq!(population_standard_deviation(&[3.0]), Some(0.0));
        assert_eq!(sample_standard_deviation(&[3.0]), None);
        assert_eq!(standard_error(&[3.0]), None);
    }

    #[test]
    fn equal_values_have_exactly_no_spread() {
        // In f64 the mean of three times 0.1 is not 0.1.
        assert_eq!(population_standard_deviation(&[0.1; 3]), Some(0.0));
        assert_eq!(correlation_within_groups(&[vec![(0.1, 1.0), (0.1, 2.0), (0.1, 4.0)]]), None);
    }

    #[test]
    fn wilson_intervals_match_the_published_examples() {
        // Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3.
        for (successes, trials, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let interval = wilson_interval(f64::from(successes) / trials as f64, trials);
            assert_near(interval.low, low, 5e-5);
            assert_near(interval.high, high, 5e-5);
        }
        assert_near(wilson_interval(1.0, 20).low, 1.0 - 0.1611, 5e-5);
    }

    #[test]
    fn correlation_is_pooled_after_subtracting_group_means() {
        for (groups, expected) in [
            // One group: dx −1 0 1, dy −1 1 0; Σdxdy 1, Σdx² 2, Σdy² 2.
            (vec![vec![(1.0, 1.0), (2.0, 3.0), (3.0, 2.0)]], Some(0.5)),
            // Rising in both groups though the pooled raw pairs fall.
            (vec![vec![(1.0, 10.0), (2.0, 11.0)], vec![(8.0, 0.0), (9.0, 1.0)]], Some(1.0)),
            // Σdxdy = 0.5 − 2, Σdx² = 0.5 + 2, Σdy² = 0.5 + 2.
            (vec![vec![(0.0, 0.0), (1.0, 1.0)], vec![(0.0, 2.0), (2.0, 0.0)]], Some(-0.6)),
            // A group that is all correct adds its spread of x alone: Σdxdy 0.5, Σdx² 0.5 + 2, Σdy² 0.5.
            (vec![vec![(0.0, 0.0), (1.0, 1.0)], vec![(0.0, 1.0), (2.0, 1.0)]], Some(0.5 / 1.25_f64.sqrt())),
            (vec![vec![(0.0, 1.0), (2.0, 1.0)]], None),
            (vec![vec![], vec![(1.0, 2.0)]], None),
            (vec![], None),
        ] {
            match (correlation_within_groups(&groups), expected) {
                (Some(value), Some(expected)) => assert_near(value, expected, 1e-15),
                (value, expected) => assert_eq!(value, expected, "{groups:?}"),
            }
        }
    }

    fn record(problem: &str, level: Option<&str>, tokens: u32, stop: StopReason, verdict: Verdict) -> EvaluationRecord {
        EvaluationRecord {
            problem: problem.to_owned(),
            sample: 0,
            level: level.map(str::to_owned),
            question: String::new(),
            gold: String::new(),
            completion: String::new(),
            completion_tokens: tokens,
            stop,
            verdict,
            answer: None,
            reason: String::new(),
        }
    }

    fn settings(samples: u32) -> EvaluationSettings {
        EvaluationSettings {
            step: 7,
            benchmark: "hand".to_owned(),
            samples,
            temperature: 0.6,
            top_p: 0.95,
            completion_tokens_max: 100,
            seed: 3,
        }
    }

    #[test]
    fn an_evaluation_is_summarised_over_problems() {
        use StopReason::{End, Limit};
        use Verdict::{Correct, Incorrect, NoAnswer};
        let mut records = vec![
            record("a", Some("10"), 10, End, Correct),
            record("a", Some("10"), 20, End, Correct),
            record("b", Some("2"), 30, End, Correct),
            record("b", Some("2"), 50, End, Incorrect),
            record("c", Some("2"), 100, Limit, Correct), // truncated, so wrong
            record("c", Some("2"), 60, End, NoAnswer),
        ];
        let summary = summarise(&records, &settings(2));
        // Problems: correctness 1, 0.5, 0 and tokens 15, 40, 80.
        assert_eq!((summary.problems, summary.samples, summary.step, summary.seed), (3, 2, 7, 3));
        assert_near(summary.accuracy, 0.5, 1e-15);
        assert_near(summary.accuracy_error, 0.5 / 3.0_f64.sqrt(), 1e-15);
        assert_near(summary.completion_tokens, 45.0, 1e-12);
        // Squared deviations 900 + 25 + 1225 = 2150, over 2, over 3.
        assert_near(summary.completion_tokens_error, (2150.0_f64 / 6.0).sqrt(), 1e-12);
        assert_near(summary.truncated_share, 1.0 / 6.0, 1e-15);
        assert_near(summary.no_answer_share, 1.0 / 6.0, 1e-15);
        // Wilson at p = 1/2, n = 3: half width z / (2 √(n + z²)) = 1.95996 / (2 · 2.61563) = 0.37467.
        assert_near(summary.accuracy_low, 0.125_33, 1e-5);
        assert_near(summary.accuracy_high, 0.874_67, 1e-5);
        let level = |level: &str, problems, accuracy, completion_tokens| LevelSummary {
            level: level.to_owned(),
            problems,
            accuracy,
            completion_tokens,
        };
        assert_eq!(summary.levels, [level("2", 2, 0.25, 60.0), level("10", 1, 1.0, 15.0)]);

        records.reverse();
        assert_eq!(summarise(&records, &settings(2)), summary);
    }

    #[test]
    fn levels_are_ordered_by_number_only_when_all_are_numbers() {
        for (levels, expected) in [
            (["10", "9", "2.5"], ["2.5", "9", "10"]),
            (["Level 2", "Level 1", "Level ?"], ["Level 1", "Level 2", "Level ?"]),
            (["10", "9", "x"], ["10", "9", "x"]),
        ] {
            let records: Vec<_> =
                levels.iter().map(|level| record(level, Some(level), 1, StopReason::End, Verdict::Correct)).collect();
            let summary = summarise(&records, &settings(1));
            assert_eq!(summary.levels.iter().map(|level| level.level.as_str()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn one_problem_without_level_has_no_spread_and_no_levels() {
        let records = [record("a", None, 9, StopReason::End, Verdict::Correct)];
        let summary = summarise(&records, &settings(1));
        assert_eq!((summary.accuracy_error, summary.completion_tokens_error), (0.0, 0.0));
        assert!(summary.levels.is_empty());
    }
}
