//! Tests of comparisons against calculations by hand and SciPy.

use std::path::PathBuf;

use record::{EVALUATION_SCHEMA_VERSION, PolicySource, StopReason, TokenSource};
use verify::{Extraction, Verdict};

use super::*;
use crate::resampling::SignFlipMethod;

#[track_caller]
fn assert_near(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} is not {expected} within {tolerance}");
}

fn record(problem: usize, sample: u32, verdict: Verdict, tokens: u32) -> EvaluationRecord {
    EvaluationRecord {
        problem: format!("{problem:03}"),
        sample,
        level: None,
        question: format!("question {problem}"),
        gold: "1".to_owned(),
        completion: String::new(),
        completion_tokens: tokens,
        stop: StopReason::End,
        verdict,
        answer: None,
        reason: String::new(),
        tokens_from: TokenSource::Engine,
        prefixes: None,
    }
}

/// One completion for each problem.
fn side(verdicts: &[(Verdict, u32)]) -> Vec<EvaluationRecord> {
    verdicts.iter().enumerate().map(|(problem, &(verdict, tokens))| record(problem, 0, verdict, tokens)).collect()
}

#[test]
fn with_one_completion_the_test_of_accuracy_is_mcnemars() {
    use Verdict::{Correct, Incorrect};
    // 3 problems only A solves, 12 only B, 10 both, 5 neither; B writes 10 tokens fewer wherever it is right.
    let outcomes = [vec![(true, false); 3], vec![(false, true); 12], vec![(true, true); 10], vec![(false, false); 5]];
    let of = |correct: bool| if correct { Correct } else { Incorrect };
    let outcomes = outcomes.concat();
    let a: Vec<_> = outcomes.iter().map(|&(a, _)| (of(a), 100)).collect();
    let b: Vec<_> = outcomes.iter().map(|&(_, b)| (of(b), if b { 90 } else { 100 })).collect();
    let comparison = compare(&side(&a), &side(&b), 0).unwrap();
    assert_eq!((comparison.problems, comparison.better, comparison.worse), (30, 12, 3));
    let accuracy = comparison.accuracy;
    assert_near(accuracy.a, 13.0 / 30.0, 1e-15);
    assert_near(accuracy.b, 22.0 / 30.0, 1e-15);
    assert_near(accuracy.difference, 0.3, 1e-15);
    // scipy.stats.binomtest(3, 15).pvalue, SciPy 1.17.1.
    assert_eq!(accuracy.test.method, SignFlipMethod::Exact);
    assert_near(accuracy.test.p_value, 0.035_156_25, 1e-12);
    // Standard error of the mean difference: √((15/30 − 0.09) / 30) = 0.1169; the interval is about ± 1.96 of it.
    assert_near(accuracy.interval.low, 0.3 - 0.229, 0.05);
    assert_near(accuracy.interval.high, 0.3 + 0.229, 0.05);
    assert_near(comparison.completion_tokens.difference, -220.0 / 30.0, 1e-12);
    // All 22 differences are −10: two of 2²² assignments are as extreme.
    assert_near(comparison.completion_tokens.test.p_value, 2.0_f64.powi(-21), 1e-18);
}

#[test]
fn with_several_completions_problems_count_by_their_means_whatever_the_order() {
    use Verdict::{Correct, Incorrect};
    // Correct of two: A 2, 0, 1 and B 1, 2, 2; differences of the means −1/2, 1, 1/2.
    let of = |correct: [u32; 3], tokens: u32| -> Vec<EvaluationRecord> {
        let places = (0..3).flat_map(|problem| (0..2).map(move |sample| (problem, sample)));
        let verdict = |is_correct| if is_correct { Correct } else { Incorrect };
        places
            .map(|(problem, sample)| record(problem, sample, verdict(sample < correct[problem]), tokens + sample))
            .collect()
    };
    let (a, mut b) = (of([2, 0, 1], 10), of([1, 2, 2], 20));
    let comparison = compare(&a, &b, 3).unwrap();
    assert_near(comparison.accuracy.difference, 1.0 / 3.0, 1e-15);
    // Signed sums of 1, 2, 1 that are at least 2 away from 0: ±4 once each, ±2 twice each, of 8.
    assert_near(comparison.accuracy.test.p_value, 6.0 / 8.0, 1e-15);
    assert_near(comparison.completion_tokens.difference, 10.0, 1e-12);
    b.reverse();
    assert_eq!(compare(&a, &b, 3).unwrap(), comparison);
}

#[test]
fn records_of_other_problems_are_refused_with_both_values() {
    use Verdict::Correct;
    let a = side(&[(Correct, 1), (Correct, 1)]);
    let changed = |change: fn(&mut Vec<EvaluationRecord>)| {
        let mut b = a.clone();
        change(&mut b);
        compare(&a, &b, 0).unwrap_err().to_string()
    };
    assert_eq!(changed(|b| b.truncate(1)), "they differ in problem `001`: measured in A, not measured in B");
    assert_eq!(
        changed(|b| b[0].question = "another".to_owned()),
        "they differ in the question of problem `000`: \"question 0\" in A, \"another\" in B"
    );
    assert_eq!(
        changed(|b| b[1].gold = "2".to_owned()),
        "they differ in the gold of problem `001`: \"1\" in A, \"2\" in B"
    );
    assert_eq!(
        changed(|b| b.push(record(1, 1, Verdict::Correct, 5))),
        "they differ in the number of completions of problem `001`: 1 in A, 2 in B"
    );
}

fn header() -> EvaluationHeader {
    EvaluationHeader {
        schema: EVALUATION_SCHEMA_VERSION,
        brevity_version: "0.1.0".to_owned(),
        model: "a".to_owned(),
        policy: PolicySource::Engine {
            directory: PathBuf::from("models/a"),
            parameters: 1,
            cpu: "portable".to_owned(),
            compute: "f32".to_owned(),
            checksum: None,
        },
        benchmark: "gsm8k".to_owned(),
        problems_path: PathBuf::from("data/gsm8k/test.jsonl"),
        problems_limit: None,
        problems: 2,
        problems_left_out: Vec::new(),
        samples: 1,
        temperature: 0.6,
        top_p: 0.95,
        top_k: 0,
        completion_tokens_max: 512,
        seed: 0,
        choices_seed: None,
        template: "chat".to_owned(),
        variables: BTreeMap::new(),
        system: String::new(),
        instruction: "Reason.".to_owned(),
        extraction: Extraction::Auto {},
        prompt_example: None,
        started_unix_seconds: 0,
    }
}

#[test]
fn other_prompts_limits_or_sampling_are_refused_with_both_values() {
    type Change = fn(&mut EvaluationHeader);
    let changes: [(Change, &str); 10] = [
        (|header| header.benchmark = "svamp".to_owned(), "`benchmark`: \"gsm8k\" in A, \"svamp\" in B"),
        (|header| header.samples = 4, "`samples`: 1 in A, 4 in B"),
        (|header| header.completion_tokens_max = 256, "`completion_tokens_max`: 512 in A, 256 in B"),
        (|header| header.temperature = 0.0, "`temperature`: 0.6 in A, 0 in B"),
        (|header| header.top_p = 1.0, "`top_p`: 0.95 in A, 1 in B"),
        (|header| header.top_k = 20, "`top_k`: 0 in A, 20 in B"),
        (|header| header.template = "plain".to_owned(), "`template`: \"chat\" in A, \"plain\" in B"),
        (|header| header.system = "Be brief.".to_owned(), "`system`: \"\" in A, \"Be brief.\" in B"),
        (|header| header.instruction.clear(), "`instruction`: \"Reason.\" in A, \"\" in B"),
        (
            |header| header.extraction = Extraction::Marker { marker: "A".to_owned() },
            "`extraction`: {\"auto\":{}} in A, {\"marker\":{\"marker\":\"A\"}} in B",
        ),
    ];
    for (change, expected) in changes {
        let mut other = header();
        change(&mut other);
        let mismatch = require_same_settings(&header(), &other).unwrap_err();
        assert_eq!(mismatch.to_string(), format!("they differ in {expected}"));
    }
}

#[test]
fn model_machine_and_seed_may_differ() {
    let other = EvaluationHeader { model: "b".to_owned(), seed: 5, started_unix_seconds: 9, ..header() };
    assert_eq!(require_same_settings(&header(), &other), Ok(()));
}
