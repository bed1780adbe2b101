//! The same problems answered by each arm, side by side, and which problems to show.

use std::collections::{BTreeMap, BTreeSet};

use verify::Verdict;

use super::{
    escape::{Markup, block, clip, clipped_line, line},
    first_correct,
    series::{Comparison, Run, Source},
    svg::key,
    ticks::number,
};
use crate::{EvaluationRecord, RecordError, RolloutRecord, StopReason, TokenSource};

const PROBLEMS_SHOWN_MAX: usize = 8;
/// Of those, problems on which arms differ, as long as there are others to fill up with.
const DIFFERING_SHOWN_MAX: usize = 6;
const COMPLETION_CHARACTERS_MAX: usize = 20_000;
const QUESTION_CHARACTERS_MAX: usize = 8_000;

/// What one arm's first seed answered at one step, by problem id.
struct Answers<'a> {
    style: usize,
    arm: &'a str,
    by_problem: BTreeMap<String, EvaluationRecord>,
}

/// The section: up to eight problems of the last step that the first seeds of the arms have in common.
///
/// # Errors
/// [`RecordError`] when a record file is malformed.
pub(super) fn section(comparison: &Comparison, out: &mut Markup) -> Result<(), RecordError> {
    let source = if comparison.benchmark.is_some() { Source::Evaluation } else { Source::Training };
    let firsts: Vec<(usize, &str, &Run)> = comparison
        .arms
        .iter()
        .enumerate()
        .filter_map(|(style, arm)| Some((style, arm.name.as_str(), first_seed(&arm.runs, source)?)))
        .collect();
    out.put_str("<section><h2>The same problems answered by each arm</h2>");
    let Some(step) = last_common_step(&firsts, source) else {
        out.put_str(
            "<p class=\"remark\">The arms have no step in common that was recorded for all of them.</p></section>",
        );
        return Ok(());
    };
    let mut answers = Vec::new();
    for &(style, arm, run) in &firsts {
        answers.push(Answers { style, arm, by_problem: recorded(run, comparison, step)? });
    }
    let common = common_problems(&answers);
    if common.is_empty() {
        out.put(format_args!(
            "<p class=\"remark\">No problem was recorded for every arm at step {step}, the last they have in common.</p></section>"
        ));
        return Ok(());
    }
    let (chosen, differing) = choose(&answers, &common);
    let what = match &comparison.benchmark {
        Some(benchmark) => format!("the evaluation on {} after {step} steps", line(benchmark)),
        None => format!("the rollouts of step {step}"),
    };
    out.put(format_args!(
        "<p class=\"caption choice\">{} of the {} problems that every arm shown answered in {what}, by the first seed of each arm and \
         its first completion. They are chosen, not sampled: first problems on which the arms differ ({differing} do), \
         one of each pattern of right and wrong by turns, then others; within a pattern those whose lengths \
         differ most in proportion. Underlined: what a completion wrote after it first stood at a correct answer.</p>",
        chosen.len(),
        common.len()
    ));
    for problem in chosen {
        article(problem, &answers, out);
    }
    out.put_str("</section>");
    Ok(())
}

fn first_seed(runs: &[Run], source: Source) -> Option<&Run> {
    match source {
        Source::Evaluation => runs.iter().find(|run| !run.evaluations.is_empty()),
        Source::Training => runs.iter().find(|run| !run.metrics.is_empty()),
    }
}

fn last_common_step(firsts: &[(usize, &str, &Run)], source: Source) -> Option<u64> {
    let steps = |run: &Run| -> BTreeSet<u64> {
        match source {
            Source::Evaluation => run.evaluations.iter().map(|row| row.step).collect(),
            Source::Training => run.metrics.iter().map(|row| row.step).collect(),
        }
    };
    let of_runs: Vec<BTreeSet<u64>> = firsts.iter().map(|(_, _, run)| steps(run)).collect();
    let (first, others) = of_runs.split_first()?;
    first.iter().rev().copied().find(|step| others.iter().all(|steps| steps.contains(step)))
}

/// The first completion of each problem.
fn recorded(run: &Run, comparison: &Comparison, step: u64) -> Result<BTreeMap<String, EvaluationRecord>, RecordError> {
    let records = match &comparison.benchmark {
        Some(benchmark) => run.directory.evaluation_records(step, benchmark)?,
        None => run.directory.rollouts(step)?.into_iter().map(as_evaluated).collect(),
    };
    let mut by_problem: BTreeMap<String, EvaluationRecord> = BTreeMap::new();
    for record in records {
        match by_problem.get(&record.problem) {
            Some(known) if known.sample <= record.sample => {}
            Some(_) | None => {
                by_problem.insert(record.problem.clone(), record);
            }
        }
    }
    Ok(by_problem)
}

fn as_evaluated(rollout: RolloutRecord) -> EvaluationRecord {
    EvaluationRecord {
        problem: rollout.problem,
        sample: rollout.rollout,
        level: rollout.level,
        question: rollout.question,
        gold: rollout.gold,
        completion: rollout.completion,
        completion_tokens: rollout.completion_tokens,
        stop: rollout.stop,
        verdict: rollout.verdict,
        answer: rollout.answer,
        reason: String::new(),
        tokens_from: TokenSource::Engine,
        prefixes: None,
    }
}

fn common_problems<'a>(answers: &'a [Answers<'_>]) -> Vec<&'a str> {
    let Some((first, others)) = answers.split_first() else { return Vec::new() };
    let in_all = |problem: &&String| others.iter().all(|other| other.by_problem.contains_key(*problem));
    first.by_problem.keys().filter(in_all).map(String::as_str).collect()
}

/// Problems to show, and the number on which arms differ.
fn choose<'a>(answers: &[Answers<'_>], common: &[&'a str]) -> (Vec<&'a str>, usize) {
    let mut patterns: BTreeMap<Vec<bool>, Vec<(u64, &'a str)>> = BTreeMap::new();
    for &problem in common {
        let of_arms = answers.iter().map(|of_arm| &of_arm.by_problem[problem]);
        let tokens = of_arms.clone().map(|record| record.completion_tokens);
        let (longest, shortest) = (tokens.clone().max().unwrap_or(0), tokens.min().unwrap_or(0));
        // Relative to the longest, in thousandths: absolute spreads would show long problems only.
        let spread = u64::from(longest - shortest) * 1000 / u64::from(longest.max(1));
        patterns.entry(of_arms.map(EvaluationRecord::is_correct).collect()).or_default().push((spread, problem));
    }
    for problems in patterns.values_mut() {
        problems.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    }
    let is_mixed = |pattern: &[bool]| pattern.contains(&true) && pattern.contains(&false);
    // Correct before wrong: patterns order false first.
    let (mixed, uniform): (Vec<_>, Vec<_>) = patterns.into_iter().rev().partition(|(pattern, _)| is_mixed(pattern));
    let (differing, others) = (by_turns(&mixed), by_turns(&uniform));
    let differing_shown = DIFFERING_SHOWN_MAX.max(PROBLEMS_SHOWN_MAX.saturating_sub(others.len())).min(differing.len());
    let mut chosen: Vec<&str> = differing[..differing_shown].to_vec();
    chosen.extend(others.iter().take(PROBLEMS_SHOWN_MAX - differing_shown));
    (chosen, differing.len())
}

/// Which arms were correct, and the problems of which that is true, each with the spread of its lengths.
type OfPattern<'a> = (Vec<bool>, Vec<(u64, &'a str)>);

/// The first problem of each pattern, then the second of each, and so on.
fn by_turns<'a>(patterns: &[OfPattern<'a>]) -> Vec<&'a str> {
    let longest = patterns.iter().map(|(_, problems)| problems.len()).max().unwrap_or(0);
    let turn = |index: usize| patterns.iter().filter_map(move |(_, problems)| problems.get(index));
    (0..longest).flat_map(turn).map(|&(_, problem)| problem).collect()
}

fn article(problem: &str, answers: &[Answers<'_>], out: &mut Markup) {
    let Some(record) = answers.first().map(|of_arm| &of_arm.by_problem[problem]) else { return };
    let level = record
        .level
        .as_ref()
        .map_or_else(String::new, |level| format!(" <span class=\"level\">level <bdi>{}</bdi></span>", line(level)));
    out.put(format_args!(
        "<article class=\"problem\"><h3>Problem <bdi>{}</bdi>{level}</h3>\
         <pre class=\"question\" tabindex=\"0\" role=\"group\" aria-label=\"question\">{}</pre>\
         <p class=\"gold\">Gold answer: <bdi>{}</bdi></p><div class=\"answers\">",
        line(problem),
        block(&clip(&record.question, QUESTION_CHARACTERS_MAX)),
        line(&record.gold)
    ));
    for of_arm in answers {
        let record = &of_arm.by_problem[problem];
        let (outcome, verdict) = decided(record);
        let answer = record
            .answer
            .as_ref()
            .map_or_else(String::new, |answer| format!(" · answer <bdi>{}</bdi>", clipped_line(answer, 200)));
        let reason = if record.is_correct() || record.reason.is_empty() {
            String::new()
        } else {
            format!(" · <bdi>{}</bdi>", clipped_line(&record.reason, 300))
        };
        out.put(format_args!(
            "<div><p class=\"arm\">{}<bdi>{}</bdi></p><p class=\"meta\"><span class=\"outcome\">{outcome}</span>{verdict} · \
             {} tokens{answer}{reason}{}</p><pre tabindex=\"0\" role=\"group\" aria-label=\"completion of {}\">{}</pre></div>",
            key(of_arm.style),
            line(of_arm.arm),
            number(f64::from(record.completion_tokens), 0),
            first_correct::said(record),
            line(of_arm.arm),
            first_correct::marked(record, COMPLETION_CHARACTERS_MAX)
        ));
    }
    out.put_str("</div></article>");
}

/// The outcome, and why it is not right.
fn decided(record: &EvaluationRecord) -> (&'static str, &'static str) {
    match (record.stop, record.verdict) {
        (StopReason::Limit, _) => ("✗ wrong", ": cut off at the token limit"),
        (StopReason::End, Verdict::Correct) => ("✓ correct", ""),
        (StopReason::End, Verdict::Incorrect) => ("✗ wrong", ": another value"),
        (StopReason::End, Verdict::NoAnswer) => ("✗ wrong", ": no answer found"),
        (StopReason::End, Verdict::Unreadable) => ("✗ wrong", ": unreadable answer"),
        (StopReason::End, Verdict::Unknown) => ("✗ wrong", ": equality not decided"),
        (StopReason::End, Verdict::TooLarge) => ("✗ wrong", ": answer too large to evaluate"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(arm: &'static str, outcomes: &[(&str, Verdict, u32)]) -> Answers<'static> {
        let record = |&(problem, verdict, completion_tokens): &(&str, Verdict, u32)| EvaluationRecord {
            problem: problem.to_owned(),
            sample: 0,
            level: None,
            question: String::new(),
            gold: String::new(),
            completion: String::new(),
            completion_tokens,
            stop: StopReason::End,
            verdict,
            answer: None,
            reason: String::new(),
            tokens_from: TokenSource::Engine,
            prefixes: None,
        };
        let by_problem = outcomes.iter().map(|outcome| (outcome.0.to_owned(), record(outcome))).collect();
        Answers { style: 0, arm, by_problem }
    }

    #[test]
    fn problems_on_which_arms_differ_come_first_one_pattern_after_the_other() {
        use Verdict::{Correct, Incorrect};
        let first = [("a", Correct, 9), ("b", Correct, 9), ("c", Correct, 9), ("d", Incorrect, 9), ("e", Correct, 9)];
        let second =
            [("a", Correct, 5), ("b", Incorrect, 8), ("c", Incorrect, 2), ("d", Correct, 9), ("f", Correct, 1)];
        let both = [answers("x", &first), answers("y", &second)];
        let common = common_problems(&both);
        assert_eq!(common, ["a", "b", "c", "d"], "only problems that both answered");
        let (chosen, differing) = choose(&both, &common);
        assert_eq!((chosen, differing), (vec!["c", "d", "b", "a"], 3));
    }

    #[test]
    fn two_places_are_kept_for_problems_on_which_arms_agree() {
        let names: Vec<String> = (0..20).map(|index| format!("{index:02}")).collect();
        let of = |verdict: Verdict| -> Vec<(&str, Verdict, u32)> {
            let one = |(index, name)| (name, if index < 12 { verdict } else { Verdict::Correct }, 5);
            names.iter().map(String::as_str).enumerate().map(one).collect()
        };
        let both = [answers("x", &of(Verdict::Correct)), answers("y", &of(Verdict::NoAnswer))];
        let (chosen, differing) = choose(&both, &common_problems(&both));
        assert_eq!((chosen, differing), (vec!["00", "01", "02", "03", "04", "05", "12", "13"], 12));
    }

    #[test]
    fn a_truncated_completion_is_wrong_whatever_its_verdict() {
        let mut of_arm = answers("x", &[("a", Verdict::Correct, 5)]);
        let record = of_arm.by_problem.get_mut("a").expect("the record");
        assert_eq!(decided(record).0, "✓ correct");
        record.stop = StopReason::Limit;
        assert_eq!(decided(record), ("✗ wrong", ": cut off at the token limit"));
    }
}
