//! Two evaluations of the same problems compared, problem by problem. Pure functions of headers and records.
//!
//! Both sides answered the same problems, so differences are taken within each problem: what makes a problem hard or
//! long is on both sides and falls out (Miller, "Adding Error Bars to Evals", arXiv 2411.00640, section 4).

use std::collections::BTreeMap;

use record::{EvaluationHeader, EvaluationRecord};

use crate::{
    resampling::{SignFlipTest, bootstrap_intervals, sign_flip_test},
    statistics::{Interval, mean},
};

/// A field in which two evaluations differ, with both values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("they differ in {field}: {a} in A, {b} in B")]
pub struct Mismatch {
    /// What differs.
    pub field: String,
    /// Its value in A.
    pub a: String,
    /// Its value in B.
    pub b: String,
}

/// One measure of both sides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedDifference {
    /// Mean over problems in A.
    pub a: f64,
    /// Mean over problems in B.
    pub b: f64,
    /// Mean over problems of B less A.
    pub difference: f64,
    /// 95 % bootstrap interval of `difference`, problems drawn with replacement.
    pub interval: Interval,
    /// Test of no difference.
    pub test: SignFlipTest,
}

/// Two evaluations side by side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// Problems, the same on both sides.
    pub problems: u32,
    /// Shares of correct completions.
    pub accuracy: PairedDifference,
    /// Completion tokens.
    pub completion_tokens: PairedDifference,
    /// Problems with more correct completions in B.
    pub better: u32,
    /// Problems with fewer correct completions in B.
    pub worse: u32,
}

/// The first setting that makes the numbers of two evaluations answers to different questions: benchmark, prompts,
/// limits, sampling, and how answers are found. Model, machine and seed may differ.
///
/// # Errors
/// [`Mismatch`].
pub fn require_same_settings(a: &EvaluationHeader, b: &EvaluationHeader) -> Result<(), Mismatch> {
    let quoted = |text: &str| format!("{text:?}");
    let fields = |header: &EvaluationHeader| {
        [
            ("benchmark", quoted(&header.benchmark)),
            ("samples", header.samples.to_string()),
            ("completion_tokens_max", header.completion_tokens_max.to_string()),
            ("temperature", header.temperature.to_string()),
            ("top_p", header.top_p.to_string()),
            ("top_k", header.top_k.to_string()),
            ("template", quoted(&header.template)),
            ("system", quoted(&header.system)),
            ("instruction", quoted(&header.instruction)),
            ("extraction", serde_json::to_string(&header.extraction).expect("an extraction serialises to JSON")),
        ]
    };
    let mut pairs = fields(a).into_iter().zip(fields(b));
    let differing = pairs.find(|((_, a), (_, b))| a != b);
    differing.map_or(Ok(()), |((field, a), (_, b))| Err(Mismatch { field: format!("`{field}`"), a, b }))
}

/// One problem's completions on one side.
struct Tally<'a> {
    question: &'a str,
    gold: &'a str,
    completions: u32,
    correct: i64,
    tokens: i64,
}

/// The records of both sides compared; `seed` is that of intervals and of tests that are not exact.
///
/// # Errors
/// [`Mismatch`] when a problem is on one side only, or has another question, gold answer or number of completions
/// there.
///
/// # Panics
/// When there are no records.
pub fn compare(a: &[EvaluationRecord], b: &[EvaluationRecord], seed: u64) -> Result<Comparison, Mismatch> {
    let (a, b) = (tallies(a), tallies(b));
    require_same_problems(&a, &b)?;
    let pairs: Vec<(&Tally<'_>, &Tally<'_>)> = a.values().zip(b.values()).collect();
    assert!(!pairs.is_empty(), "no problems");
    Ok(Comparison {
        problems: pairs.len() as u32,
        accuracy: paired(&pairs, |tally| tally.correct, seed),
        completion_tokens: paired(&pairs, |tally| tally.tokens, seed),
        better: pairs.iter().filter(|(a, b)| b.correct > a.correct).count() as u32,
        worse: pairs.iter().filter(|(a, b)| b.correct < a.correct).count() as u32,
    })
}

fn tallies(records: &[EvaluationRecord]) -> BTreeMap<&str, Tally<'_>> {
    let mut tallies: BTreeMap<&str, Tally<'_>> = BTreeMap::new();
    for record in records {
        let new = || Tally { question: &record.question, gold: &record.gold, completions: 0, correct: 0, tokens: 0 };
        let tally = tallies.entry(&record.problem).or_insert_with(new);
        tally.completions += 1;
        tally.correct += i64::from(record.is_correct());
        tally.tokens += i64::from(record.completion_tokens);
    }
    tallies
}

fn require_same_problems(a: &BTreeMap<&str, Tally<'_>>, b: &BTreeMap<&str, Tally<'_>>) -> Result<(), Mismatch> {
    let there = |side: &BTreeMap<&str, Tally<'_>>, problem: &str| {
        if side.contains_key(problem) { "measured".to_owned() } else { "not measured".to_owned() }
    };
    for problem in a.keys().chain(b.keys()) {
        let (Some(of_a), Some(of_b)) = (a.get(problem), b.get(problem)) else {
            let field = format!("problem `{problem}`");
            return Err(Mismatch { field, a: there(a, problem), b: there(b, problem) });
        };
        let fields = |tally: &Tally<'_>| {
            [
                ("question", format!("{:?}", tally.question)),
                ("gold", format!("{:?}", tally.gold)),
                ("number of completions", tally.completions.to_string()),
            ]
        };
        let mut pairs = fields(of_a).into_iter().zip(fields(of_b));
        if let Some(((field, a), (_, b))) = pairs.find(|((_, a), (_, b))| a != b) {
            return Err(Mismatch { field: format!("the {field} of problem `{problem}`"), a, b });
        }
    }
    Ok(())
}

/// A measure that is a whole number for each problem, over its completions: the test sees the whole numbers.
fn paired(pairs: &[(&Tally<'_>, &Tally<'_>)], measure: fn(&Tally<'_>) -> i64, seed: u64) -> PairedDifference {
    let over_problems = |value: &dyn Fn(&Tally<'_>, &Tally<'_>) -> i64| -> Vec<f64> {
        pairs.iter().map(|(a, b)| value(a, b) as f64 / f64::from(a.completions)).collect()
    };
    let mean_of = |values: &[f64]| mean(values).expect("there are problems");
    let differences = over_problems(&|a, b| measure(b) - measure(a));
    let [interval] = bootstrap_intervals([&differences], seed);
    PairedDifference {
        a: mean_of(&over_problems(&|a, _| measure(a))),
        b: mean_of(&over_problems(&|_, b| measure(b))),
        difference: mean_of(&differences),
        interval,
        test: sign_flip_test(&pairs.iter().map(|(a, b)| measure(b) - measure(a)).collect::<Vec<_>>(), seed),
    }
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
