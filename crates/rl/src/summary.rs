//! The summary of an evaluation: every number of it from the records alone. Pure functions; sums are f64.
//!
//! Completions of one problem are not independent, so means, errors and intervals run over problems, each the mean of
//! its completions (Miller, "Adding Error Bars to Evals", arXiv 2411.00640). Lengths and verdicts run over completions.

use std::collections::BTreeMap;

use record::{
    BudgetSummary, EvaluationRecord, EvaluationSummary, FirstCorrectSummary, LengthSummary, Lengths, LevelSummary,
    PassAtK, StopReason, token_budgets,
};
use verify::Verdict;

use crate::{
    resampling::bootstrap_intervals,
    statistics::{mean, pass_at_k, quantile, standard_error, wilson_interval},
};

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

/// One problem's completions.
struct ProblemRecords<'a> {
    level: Option<&'a str>,
    records: Vec<&'a EvaluationRecord>,
}

impl ProblemRecords<'_> {
    /// The mean of `value` over the completions.
    fn mean_of(&self, value: impl Fn(&EvaluationRecord) -> f64) -> f64 {
        self.records.iter().map(|record| value(record)).sum::<f64>() / self.records.len() as f64
    }

    /// The share of completions that `matches`.
    fn share_of(&self, matches: impl Fn(&EvaluationRecord) -> bool) -> f64 {
        self.mean_of(|record| f64::from(u8::from(matches(record))))
    }

    fn correctness(&self) -> f64 {
        self.share_of(EvaluationRecord::is_correct)
    }

    fn completion_tokens(&self) -> f64 {
        self.mean_of(|record| f64::from(record.completion_tokens))
    }
}

/// The summary of an evaluation, whatever the order of `records`.
///
/// Bootstrap intervals are drawn under the seed of the sampling. A standard error is written as 0 where there is one
/// problem, for which it is not defined.
///
/// # Panics
/// When there are no records, or a problem has not `settings.samples` of them.
pub fn summarise(records: &[EvaluationRecord], settings: &EvaluationSettings) -> EvaluationSummary {
    assert!(!records.is_empty(), "no records of {}", settings.benchmark);
    let problems = by_problem(records, settings.samples);
    let correctness: Vec<f64> = problems.iter().map(ProblemRecords::correctness).collect();
    let completion_tokens: Vec<f64> = problems.iter().map(ProblemRecords::completion_tokens).collect();
    let (accuracy, accuracy_error) = mean_and_error(&correctness);
    let (completion_tokens, completion_tokens_error) = mean_and_error(&completion_tokens);
    let interval = wilson_interval(accuracy, problems.len());
    let [bootstrap] = bootstrap_intervals([&correctness], settings.seed);
    let share = |matches: fn(&EvaluationRecord) -> bool| {
        records.iter().filter(|record| matches(record)).count() as f64 / records.len() as f64
    };
    let mut verdicts = BTreeMap::new();
    for record in records {
        *verdicts.entry(record.verdict).or_default() += 1;
    }
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
        accuracy_error,
        accuracy_low: interval.low,
        accuracy_high: interval.high,
        accuracy_bootstrap_low: bootstrap.low,
        accuracy_bootstrap_high: bootstrap.high,
        pass: pass(&problems, settings),
        completion_tokens,
        completion_tokens_error,
        lengths: lengths(records),
        truncated_share: share(|record| record.stop == StopReason::Limit),
        no_answer_share: share(|record| record.verdict == Verdict::NoAnswer),
        verdicts,
        budgets: budgets(&problems, settings.completion_tokens_max),
        first_correct: first_correct(records),
        levels: level_summaries(&problems),
        decline: None,
    }
}

/// One entry for each problem, in the order of their ids.
fn by_problem(records: &[EvaluationRecord], samples: u32) -> Vec<ProblemRecords<'_>> {
    let mut problems: BTreeMap<&str, Vec<&EvaluationRecord>> = BTreeMap::new();
    for record in records {
        problems.entry(&record.problem).or_default().push(record);
    }
    let of_problem = |(problem, records): (&str, Vec<_>)| {
        assert_eq!(records.len(), samples as usize, "completions of problem {problem}");
        let level = records.first().and_then(|record: &&EvaluationRecord| record.level.as_deref());
        ProblemRecords { level, records }
    };
    problems.into_iter().map(of_problem).collect()
}

/// The mean over problems and its standard error, 0 where there is one problem.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    (mean(values).expect("there are problems"), standard_error(values).unwrap_or(0.0))
}

/// pass@k for the powers of two up to the number of completions, and that number.
fn pass(problems: &[ProblemRecords<'_>], settings: &EvaluationSettings) -> Vec<PassAtK> {
    let n = settings.samples;
    let mut ks: Vec<u32> = (0..u32::BITS).map(|exponent| 1 << exponent).take_while(|&k| k < n).collect();
    ks.push(n);
    let estimates = ks.into_iter().map(|k| {
        let correct = |problem: &ProblemRecords<'_>| problem.records.iter().filter(|r| r.is_correct()).count() as u32;
        let values: Vec<f64> = problems.iter().map(|problem| pass_at_k(n, correct(problem), k)).collect();
        let (share, share_error) = mean_and_error(&values);
        let [interval] = bootstrap_intervals([&values], settings.seed);
        PassAtK { k, share, share_error, share_low: interval.low, share_high: interval.high }
    });
    estimates.collect()
}

fn lengths(records: &[EvaluationRecord]) -> Lengths {
    let of = |matches: fn(&EvaluationRecord) -> bool| {
        let chosen = records.iter().filter(|record| matches(record));
        length_summary(&chosen.map(|record| f64::from(record.completion_tokens)).collect::<Vec<_>>())
    };
    Lengths {
        all: of(|_| true).expect("there are records"),
        correct: of(EvaluationRecord::is_correct),
        wrong: of(|record| !record.is_correct()),
    }
}

fn length_summary(tokens: &[f64]) -> Option<LengthSummary> {
    Some(LengthSummary {
        completions: tokens.len() as u32,
        mean: mean(tokens)?,
        median: quantile(tokens, 0.5)?,
        p95: quantile(tokens, 0.95)?,
    })
}

/// Accuracy under each of the smaller limits.
fn budgets(problems: &[ProblemRecords<'_>], completion_tokens_max: u32) -> Vec<BudgetSummary> {
    let known = problems.iter().flat_map(|problem| &problem.records).all(|record| record.prefixes.is_some());
    let budgets = token_budgets(completion_tokens_max).into_iter().enumerate().map(|(index, budget_tokens)| {
        let over_problems = |matches: &dyn Fn(&EvaluationRecord) -> bool| {
            mean_and_error(&problems.iter().map(|problem| problem.share_of(matches)).collect::<Vec<_>>())
        };
        let ended = over_problems(&|record| record.is_correct() && record.completion_tokens <= budget_tokens);
        let cut = known.then(|| over_problems(&|record| is_correct_when_cut(record, index, budget_tokens)));
        BudgetSummary {
            budget_tokens,
            accuracy: ended.0,
            accuracy_error: ended.1,
            accuracy_cut: cut.map(|cut| cut.0),
            accuracy_cut_error: cut.map(|cut| cut.1),
        }
    });
    budgets.collect()
}

/// Whether the text that fits into the budget of this index is correct as it stands.
fn is_correct_when_cut(record: &EvaluationRecord, index: usize, budget_tokens: u32) -> bool {
    let verdict = if record.completion_tokens <= budget_tokens {
        Some(record.verdict)
    } else {
        record.prefixes.as_ref().and_then(|prefixes| prefixes.budgets.get(index).copied())
    };
    verdict.is_some_and(Verdict::is_correct)
}

/// When completions come to a correct answer; `None` where tokens are not known.
fn first_correct(records: &[EvaluationRecord]) -> Option<FirstCorrectSummary> {
    let mut first_tokens = Vec::new();
    let (mut correct_tokens, mut lost) = (0.0, 0_u32);
    for record in records {
        let first = record.prefixes.as_ref()?.first_correct_tokens;
        if record.is_correct() {
            first_tokens.push(f64::from(first.unwrap_or(record.completion_tokens)));
            correct_tokens += f64::from(record.completion_tokens);
        } else if first.is_some() {
            lost += 1;
        }
    }
    let overthought_tokens = correct_tokens - first_tokens.iter().sum::<f64>();
    Some(FirstCorrectSummary {
        tokens: length_summary(&first_tokens),
        overthought_share: (correct_tokens > 0.0).then(|| overthought_tokens / correct_tokens),
        lost_share: f64::from(lost) / records.len() as f64,
    })
}

/// One entry for each level that a problem names, by number when all levels are numbers and by text otherwise.
fn level_summaries(problems: &[ProblemRecords<'_>]) -> Vec<LevelSummary> {
    let mut problems_by_level: BTreeMap<&str, Vec<&ProblemRecords<'_>>> = BTreeMap::new();
    for problem in problems {
        if let Some(level) = problem.level {
            problems_by_level.entry(level).or_default().push(problem);
        }
    }
    let summary = |(level, problems): (&str, Vec<&ProblemRecords<'_>>)| {
        let over_problems = |values: Vec<f64>| mean(&values).expect("a level has problems");
        LevelSummary {
            level: level.to_owned(),
            problems: problems.len() as u32,
            accuracy: over_problems(problems.iter().map(|problem| problem.correctness()).collect()),
            completion_tokens: over_problems(problems.iter().map(|problem| problem.completion_tokens()).collect()),
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
#[path = "summary_tests.rs"]
mod tests;
