//! What collapse is, measured while a run is trained: accuracy on held-out problems falls far below its best so far while
//! completions get shorter. It is only said, and changes nothing in the run.
//!
//! The terms are ours; arXiv 2505.18086 shows collapses and defines none. An evaluation is *beyond the bounds* when,
//! against the evaluation of the highest accuracy so far (the first of equals),
//!
//! - accuracy is lower by more than 5 points **and** by more than 3 standard errors, and
//! - mean completion tokens are lower by more than 3 standard errors.
//!
//! The run collapses at the first such evaluation. Why so:
//!
//! - The standard error is that of the *difference*: the sample deviation over problems of each problem's own difference,
//!   over √n. Both evaluations are of the same problems under the same random numbers, so what makes a problem hard or
//!   long falls out of it.
//! - Three standard errors, and 5 points where problems are many, because the best of many evaluations is flattered by
//!   chance, and every evaluation after it is tried.
//! - Length is compared with the same evaluation, not with the one before, because a collapsed policy that has settled at
//!   its shortest no longer gets shorter, and not with the start, because a policy may first have become longer. Without
//!   its standard error, every other fall for some other reason, such as too high a learning rate, would pass by chance.
//!
//! A run may come back: whether the last evaluation is beyond the bounds is recorded too.

use std::collections::BTreeMap;

use record::{Decline, EvaluationRecord, RunDirectory};
use serde::{Deserialize, Serialize};

use crate::{
    RlError,
    statistics::{mean, standard_error},
};

/// Accuracy must fall by more than this.
pub const ACCURACY_FALL_MIN: f64 = 0.05;
/// Accuracy and length must each fall by more than this many standard errors of their fall.
pub const STANDARD_ERRORS: f64 = 3.0;

/// What is read of one completion of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// Id of the problem.
    pub problem: &'a str,
    /// Whether the verdict is correct and the completion not truncated.
    pub correct: bool,
    /// Tokens of the completion, end token included.
    pub completion_tokens: u32,
}

impl<'a> From<&'a EvaluationRecord> for Answer<'a> {
    fn from(record: &'a EvaluationRecord) -> Self {
        let EvaluationRecord { problem, completion_tokens, .. } = record;
        Self { problem, correct: record.is_correct(), completion_tokens: *completion_tokens }
    }
}

/// What is remembered of a run's evaluations.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CollapseWatch {
    best: Option<Best>,
    collapse_step: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Best {
    step: u64,
    accuracy: f64,
    problems: BTreeMap<String, ProblemMeans>,
}

/// Means over the completions of one problem.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
struct ProblemMeans {
    correctness: f64,
    completion_tokens: f64,
}

impl CollapseWatch {
    /// As it was after the last evaluation recorded in `run`.
    ///
    /// # Errors
    /// [`RlError`] when an evaluation cannot be read.
    pub fn of_run(run: &RunDirectory) -> Result<Self, RlError> {
        let mut watch = Self::default();
        for summary in run.evaluations()? {
            watch.observe(summary.step, &run.evaluation_records(summary.step, &summary.benchmark)?);
        }
        Ok(watch)
    }

    /// Takes the next evaluation, made after `step` steps, and says how it stands to the best one, itself included; `None`
    /// without records.
    pub fn observe(&mut self, step: u64, records: &[EvaluationRecord]) -> Option<Decline> {
        self.observe_answers(step, records.iter().map(Answer::from))
    }

    /// As [`CollapseWatch::observe`], of an evaluation that another program made.
    pub fn observe_answers<'a>(&mut self, step: u64, answers: impl Iterator<Item = Answer<'a>>) -> Option<Decline> {
        let problems = by_problem(answers);
        let accuracy = mean(&problems.values().map(|problem| problem.correctness).collect::<Vec<_>>())?;
        let best = match self.best.take() {
            Some(best) if best.accuracy >= accuracy => self.best.insert(best),
            Some(_) | None => self.best.insert(Best { step, accuracy, problems: problems.clone() }),
        };
        let (accuracy_fall, accuracy_fall_error) = fall(best, &problems, |problem| problem.correctness);
        let (completion_tokens_fall, completion_tokens_fall_error) =
            fall(best, &problems, |problem| problem.completion_tokens);
        let collapsed = accuracy_fall > ACCURACY_FALL_MIN.max(STANDARD_ERRORS * accuracy_fall_error)
            && completion_tokens_fall > STANDARD_ERRORS * completion_tokens_fall_error;
        if collapsed {
            self.collapse_step.get_or_insert(step);
        }
        Some(Decline {
            best_step: best.step,
            accuracy_fall,
            accuracy_fall_error,
            completion_tokens_fall,
            completion_tokens_fall_error,
            collapsed,
            collapse_step: self.collapse_step,
        })
    }
}

fn by_problem<'a>(answers: impl Iterator<Item = Answer<'a>>) -> BTreeMap<String, ProblemMeans> {
    let mut of_problems: BTreeMap<&str, Vec<Answer<'_>>> = BTreeMap::new();
    for answer in answers {
        of_problems.entry(answer.problem).or_default().push(answer);
    }
    let means = |answers: Vec<Answer<'_>>| {
        let count = answers.len() as f64;
        ProblemMeans {
            correctness: answers.iter().filter(|answer| answer.correct).count() as f64 / count,
            completion_tokens: answers.iter().map(|answer| f64::from(answer.completion_tokens)).sum::<f64>() / count,
        }
    };
    of_problems.into_iter().map(|(problem, answers)| (problem.to_owned(), means(answers))).collect()
}

/// The mean over the problems of both of each one's value at the best minus its value now, and its standard error: 0 where
/// there is one problem.
fn fall(best: &Best, now: &BTreeMap<String, ProblemMeans>, value: impl Fn(&ProblemMeans) -> f64) -> (f64, f64) {
    let in_both = best.problems.iter().filter_map(|(problem, then)| Some((then, now.get(problem)?)));
    let falls: Vec<f64> = in_both.map(|(then, now)| value(then) - value(now)).collect();
    (mean(&falls).unwrap_or(0.0), standard_error(&falls).unwrap_or(0.0))
}
