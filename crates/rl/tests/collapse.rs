//! What counts as a collapse, on evaluations made by hand with numbers worked out beside them.

use record::{Decline, EvaluationRecord, StopReason, TokenSource};
use rl::collapse::CollapseWatch;
use verify::Verdict::{self, Correct, Incorrect};

/// One completion of problem number `problem`.
fn record(problem: usize, verdict: Verdict, completion_tokens: u32) -> EvaluationRecord {
    EvaluationRecord {
        problem: format!("{problem:04}"),
        sample: 0,
        level: None,
        question: String::new(),
        gold: String::new(),
        completion: String::new(),
        completion_tokens,
        tokens_from: TokenSource::Engine,
        stop: StopReason::End,
        verdict,
        answer: None,
        reason: String::new(),
        prefixes: None,
    }
}

/// An evaluation of `problems` problems, those in `correct` being solved, all of one length.
fn evaluation(problems: usize, correct: std::ops::Range<usize>, completion_tokens: u32) -> Vec<EvaluationRecord> {
    let verdict = |problem| if correct.contains(&problem) { Correct } else { Incorrect };
    (0..problems).map(|problem| record(problem, verdict(problem), completion_tokens)).collect()
}

/// What the last of some evaluations, 10 steps apart, comes to.
fn last_of(evaluations: &[Vec<EvaluationRecord>]) -> Decline {
    let mut watch = CollapseWatch::default();
    let declines = evaluations.iter().zip(0..).map(|(records, index)| watch.observe(index * 10, records));
    declines.last().flatten().expect("there are records")
}

#[track_caller]
fn assert_near(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-6, "{value} is not {expected}");
}

#[test]
fn the_standard_error_is_that_of_each_problems_own_difference() {
    // 100 problems, from 90 to 80 right. Ten lost and none gained: differences 1 (10 times) and 0, variance
    // (10 − 100·0.1²)/99 = 1/11, error √(1/11)/10 = 0.0301511; three are 0.0904534, less than the fall of 0.1.
    let lost = last_of(&[evaluation(100, 0..90, 20), evaluation(100, 0..80, 15)]);
    assert_near(lost.accuracy_fall, 0.1);
    assert_near(lost.accuracy_fall_error, 0.030_151_134);
    assert_eq!((lost.completion_tokens_fall, lost.completion_tokens_fall_error), (5.0, 0.0));
    assert_eq!((lost.best_step, lost.collapsed, lost.collapse_step), (0, true, Some(10)));
    // The same fall with 14 lost and 4 gained: variance (18 − 1)/99, error 0.0414390; three are more than the fall.
    let mixed = last_of(&[evaluation(100, 4..94, 20), evaluation(100, 0..80, 15)]);
    assert_near(mixed.accuracy_fall, 0.1);
    assert_near(mixed.accuracy_fall_error, 0.041_439_033);
    assert_eq!((mixed.collapsed, mixed.collapse_step), (false, None));
}

#[test]
fn with_many_problems_accuracy_must_fall_by_more_than_five_points() {
    // 1,000 problems: 50 lost are exactly 5 points, with an error of 0.0069.
    for (correct, collapsed) in [(850, false), (849, true)] {
        let decline = last_of(&[evaluation(1000, 0..900, 20), evaluation(1000, 0..correct, 15)]);
        assert_eq!(decline.collapsed, collapsed, "{correct}: {decline:?}");
    }
}

#[test]
fn a_fall_of_accuracy_without_one_of_length_is_no_collapse() {
    for (completion_tokens, collapsed) in [(25, false), (20, false), (19, true)] {
        let decline = last_of(&[evaluation(100, 0..90, 20), evaluation(100, 0..50, completion_tokens)]);
        assert_eq!(decline.collapsed, collapsed, "{completion_tokens} tokens");
    }
    // Half of the problems 12 tokens shorter, half 8 longer: 2 on the mean, variance 100·10²/99, error 1.0050; three are
    // more than the fall.
    let mut scattered = evaluation(100, 0..50, 28);
    for shorter in scattered.iter_mut().step_by(2) {
        shorter.completion_tokens = 8;
    }
    let decline = last_of(&[evaluation(100, 0..90, 20), scattered]);
    assert_near(decline.completion_tokens_fall, 2.0);
    assert_near(decline.completion_tokens_fall_error, 1.005_037_8);
    assert!(!decline.collapsed && decline.accuracy_fall > 0.3);
}

#[test]
fn the_best_so_far_counts_and_the_first_collapse_is_remembered() {
    let series = [(80, 23), (95, 25), (95, 21), (93, 19), (60, 15), (60, 15), (94, 15), (97, 15)];
    let mut watch = CollapseWatch::default();
    let declines = series.iter().zip(0..).map(|(&(correct, tokens), index)| {
        watch.observe(index * 10, &evaluation(100, 0..correct, tokens)).expect("there are records")
    });
    let found: Vec<_> = declines.map(|one| (one.best_step, one.collapsed, one.collapse_step)).collect();
    let expected = [
        (0, false, None),
        (10, false, None),
        // Equal accuracy: the first stays the best.
        (10, false, None),
        (10, false, None),
        (10, true, Some(40)),
        // No shorter than the evaluation before, but than the best.
        (10, true, Some(40)),
        // It came back.
        (10, false, Some(40)),
        (70, false, Some(40)),
    ];
    assert_eq!(found, expected);
}

#[test]
fn several_completions_of_a_problem_count_as_its_mean() {
    let twice = |verdicts: [Verdict; 4], tokens: u32| -> Vec<EvaluationRecord> {
        let numbered = verdicts.into_iter().enumerate();
        numbered.map(|(index, verdict)| record(index / 2, verdict, tokens + index as u32)).collect()
    };
    // Problem 0: 1 → 0.5, problem 1: 1 → 0: falls 0.5 and 1, mean 0.75, variance 0.125, error √(0.125/2) = 0.25.
    let decline = last_of(&[twice([Correct; 4], 20), twice([Correct, Incorrect, Incorrect, Incorrect], 10)]);
    assert_eq!((decline.accuracy_fall, decline.accuracy_fall_error), (0.75, 0.25));
    assert_eq!((decline.completion_tokens_fall, decline.completion_tokens_fall_error), (10.0, 0.0));
}

#[test]
fn nothing_is_said_of_no_records() {
    assert_eq!(CollapseWatch::default().observe(0, &[]), None);
}
