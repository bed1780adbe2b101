//! Tests of the summary against calculations by hand.

use record::{PrefixVerdicts, TokenSource};

use super::*;

#[track_caller]
fn assert_near(value: f64, expected: f64, tolerance: f64) {
    assert!((value - expected).abs() <= tolerance, "{value} is not {expected} within {tolerance}");
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
        tokens_from: TokenSource::Engine,
        prefixes: None,
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

/// Two problems of two completions under a limit of 160 tokens, whose budgets are 10, 20, 40, 80 and 160.
fn records_with_prefixes() -> Vec<EvaluationRecord> {
    use StopReason::{End, Limit};
    use Verdict::{Correct, Incorrect, NoAnswer};
    let with = |mut record: EvaluationRecord, budgets: &[Verdict], first_correct_tokens| {
        record.prefixes =
            Some(PrefixVerdicts { budgets: budgets.to_vec(), first_correct_tokens, first_correct_bytes: None });
        record
    };
    vec![
        with(record("a", None, 12, End, Correct), &[Incorrect], Some(12)),
        with(record("a", None, 70, End, Correct), &[Incorrect, Correct, Correct], Some(20)),
        with(record("b", None, 160, Limit, Correct), &[NoAnswer, NoAnswer, Incorrect, Correct], Some(64)),
        with(record("b", None, 30, End, Incorrect), &[Correct, Incorrect], Some(8)),
    ]
}

#[test]
fn accuracy_under_a_budget_counts_what_ended_in_it_and_what_the_cut_text_says() {
    let summary =
        summarise(&records_with_prefixes(), &EvaluationSettings { completion_tokens_max: 160, ..settings(2) });
    // Ended within it: of problem a 0, 1, 1, 2, 2 completions of two, of b none. Cut texts: of a 0, 2, 2, 2, 2 and of b
    // 1, 0, 0, 1, 1.
    let expected = [(10, 0.0, 0.25), (20, 0.25, 0.5), (40, 0.25, 0.5), (80, 0.5, 0.75), (160, 0.5, 0.75)];
    assert_eq!(summary.budgets.len(), expected.len());
    for (budget, (tokens, accuracy, accuracy_cut)) in summary.budgets.iter().zip(expected) {
        assert_eq!(budget.budget_tokens, tokens);
        assert_near(budget.accuracy, accuracy, 1e-15);
        assert_near(budget.accuracy_cut.unwrap(), accuracy_cut, 1e-15);
    }
    // Shares 1/2 and 0 differ from their mean by 1/4: √(2/16 / 1) / √2.
    assert_near(summary.budgets[1].accuracy_error, 0.25, 1e-15);
    assert_near(summary.budgets[4].accuracy, summary.accuracy, 0.0);
}

#[test]
fn what_follows_the_first_correct_answer_is_overthought() {
    let summary = summarise(&records_with_prefixes(), &settings(2));
    let first_correct = summary.first_correct.unwrap();
    // Correct completions of 12 and 70 tokens, right after 12 and 20; two wrong ones had been right.
    let tokens = first_correct.tokens.unwrap();
    assert_eq!(tokens.completions, 2);
    assert_near(tokens.mean, 16.0, 1e-12);
    assert_near(tokens.p95, 12.0 + 0.95 * 8.0, 1e-12);
    assert_near(first_correct.overthought_share.unwrap(), 50.0 / 82.0, 1e-15);
    assert_near(first_correct.lost_share, 0.5, 1e-15);
}

#[test]
fn lengths_and_verdicts_run_over_completions() {
    let summary = summarise(&records_with_prefixes(), &settings(2));
    // NumPy 2.4: numpy.quantile([12, 70, 160, 30], [0.5, 0.95]), and of the pairs.
    let Lengths { all, correct, wrong } = summary.lengths;
    for (length, (completions, mean, median, p95)) in [
        (all, (4, 68.0, 50.0, 146.5)),
        (correct.unwrap(), (2, 41.0, 41.0, 67.1)),
        (wrong.unwrap(), (2, 95.0, 95.0, 153.5)),
    ] {
        assert_eq!(length.completions, completions);
        assert_near(length.mean, mean, 1e-12);
        assert_near(length.median, median, 1e-12);
        assert_near(length.p95, p95, 1e-12);
    }
    assert_eq!(summary.verdicts, BTreeMap::from([(Verdict::Correct, 3), (Verdict::Incorrect, 1)]));
}

#[test]
fn pass_at_k_grows_from_the_accuracy_in_powers_of_two_to_all_completions() {
    use StopReason::End;
    use Verdict::{Correct, Incorrect};
    // One of four and four of four are correct: pass@2 of the first is 1 − C(3, 2) / C(4, 2) = 1/2.
    let verdicts = [Correct, Incorrect, Incorrect, Incorrect, Correct, Correct, Correct, Correct];
    let problems = ["a", "a", "a", "a", "b", "b", "b", "b"];
    let records: Vec<_> =
        problems.iter().zip(verdicts).map(|(problem, verdict)| record(problem, None, 9, End, verdict)).collect();
    let pass = summarise(&records, &settings(4)).pass;
    assert_eq!(pass.iter().map(|pass| pass.k).collect::<Vec<_>>(), [1, 2, 4]);
    for (pass, expected) in pass.iter().zip([0.625, 0.75, 1.0]) {
        assert_near(pass.share, expected, 1e-15);
    }
    let three: Vec<_> = (0..3).map(|_| record("a", None, 9, End, Correct)).collect();
    assert_eq!(summarise(&three, &settings(3)).pass.iter().map(|pass| pass.k).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn without_tokens_there_are_no_cut_texts_and_no_first_answers() {
    let mut records = records_with_prefixes();
    records[3].prefixes = None;
    let summary = summarise(&records, &settings(2));
    assert_eq!(summary.first_correct, None);
    assert!(summary.budgets.iter().all(|budget| budget.accuracy_cut.is_none()));
}
