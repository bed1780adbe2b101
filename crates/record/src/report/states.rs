//! The policies that a comparison sets beside each other: the start, each arm before its collapse, and each arm at the last
//! step that all runs have; with accuracy and length, over all problems and by difficulty level.

use super::{
    arms::{Estimate, Spread},
    escape::{Markup, line},
    figures::number_in,
    series::{Comparison, Run, mean, standard_error},
    svg::{dot_key, key},
    tables::{error_of, with_error},
    ticks::{number, signed},
};
use crate::EvaluationSummary;

/// Levels that a table has columns for.
const LEVELS_SHOWN_MAX: usize = 100;

/// One policy of each seed: a row of the tables.
pub(super) struct State<'a> {
    /// Index of the arm; none of the start.
    pub(super) style: Option<usize>,
    /// What it is, not escaped.
    pub(super) name: String,
    /// The evaluation of each seed, with that of the run's start.
    pub(super) seeds: Vec<(&'a EvaluationSummary, &'a EvaluationSummary)>,
}

impl State<'_> {
    /// Mean over seeds of a value of the evaluation and its standard error; `of_one` is that of a single seed.
    pub(super) fn estimate(
        &self,
        value: impl Fn(&EvaluationSummary) -> Option<f64>,
        of_one: impl Fn(&EvaluationSummary) -> Option<f64>,
    ) -> Option<Estimate> {
        let error = || self.seeds.first().and_then(|(row, _)| of_one(row)).map(|error| (error, Spread::Problems));
        over_seeds(&self.seeds.iter().filter_map(|(row, _)| value(row)).collect::<Vec<_>>(), error)
    }

    /// Accuracy, percent.
    pub(super) fn accuracy(&self) -> Option<Estimate> {
        self.estimate(|row| Some(row.accuracy * 100.0), |row| Some(row.accuracy_error * 100.0))
    }

    /// Mean completion tokens.
    pub(super) fn tokens(&self) -> Option<Estimate> {
        self.estimate(|row| Some(row.completion_tokens), |row| Some(row.completion_tokens_error))
    }

    /// Mean over seeds of a value that compares the evaluation with its run's start, with the error over seeds.
    fn against_start(&self, value: impl Fn(&EvaluationSummary, &EvaluationSummary) -> Option<f64>) -> Option<Estimate> {
        over_seeds(&self.seeds.iter().filter_map(|(row, start)| value(row, start)).collect::<Vec<_>>(), || None)
    }
}

fn over_seeds(values: &[f64], of_one: impl Fn() -> Option<(f64, Spread)>) -> Option<Estimate> {
    let error = standard_error(values).map(|error| (error, Spread::Seeds)).or_else(of_one);
    (!values.is_empty()).then(|| Estimate { mean: mean(values), error })
}

/// The last step that every evaluated run has an evaluation of.
pub(super) fn last_common_step(comparison: &Comparison) -> Option<u64> {
    let mut runs = comparison.runs().filter(|run| !run.evaluations.is_empty());
    let first: Vec<u64> = runs.next()?.evaluations.iter().map(|row| row.step).collect();
    let others: Vec<&Run> = runs.collect();
    let in_all = |step: &u64| others.iter().all(|run| evaluation(run, *step).is_some());
    first.into_iter().rev().find(in_all)
}

fn evaluation(run: &Run, step: u64) -> Option<&EvaluationSummary> {
    let place = run.evaluations.binary_search_by_key(&step, |row| row.step).ok()?;
    run.evaluations.get(place)
}

/// Each arm at `step`, in the order of arms; those without an evaluation there are left out.
pub(super) fn at_step(comparison: &Comparison, step: u64) -> Vec<State<'_>> {
    let states = comparison.arms.iter().enumerate().map(|(style, arm)| State {
        style: Some(style),
        name: arm.name.clone(),
        seeds: arm.runs.iter().filter_map(|run| Some((evaluation(run, step)?, run.evaluations.first()?))).collect(),
    });
    states.filter(|state| !state.seeds.is_empty()).collect()
}

/// The start of each seed, that of its first arm: all arms of a seed start from one policy.
pub(super) fn start(comparison: &Comparison) -> State<'_> {
    let mut seeds: Vec<(u64, &EvaluationSummary)> = Vec::new();
    for run in comparison.runs() {
        let Some(first) = run.evaluations.first() else { continue };
        if seeds.iter().all(|(seed, _)| *seed != run.header.seed) {
            seeds.push((run.header.seed, first));
        }
    }
    State { style: None, name: "start".to_owned(), seeds: seeds.into_iter().map(|(_, row)| (row, row)).collect() }
}

/// The start, then each arm at `step`; an arm of which a run collapsed by then stands before its collapse first, and then
/// with a star.
fn states(comparison: &Comparison, step: u64) -> Vec<State<'_>> {
    let mut states = vec![start(comparison)];
    for mut state in at_step(comparison, step) {
        let arm = state.style.map(|style| &comparison.arms[style]);
        let runs = arm.map_or(&[][..], |arm| &arm.runs);
        if runs.iter().any(|run| last_stable(run, step).is_some_and(|row| row.step < step)) {
            let stable = runs.iter().filter_map(|run| Some((last_stable(run, step)?, run.evaluations.first()?)));
            let name = format!("{}, before collapse", state.name);
            states.push(State { style: state.style, name, seeds: stable.collect() });
            state.name = format!("{}*, after collapse", state.name);
        }
        states.push(state);
    }
    states
}

/// The evaluation at `step`, or the last one before the run's collapse where that came by then.
fn last_stable(run: &Run, step: u64) -> Option<&EvaluationSummary> {
    let collapse = run.followed().filter(|run| run.collapsed && run.steps <= step);
    let Some(collapse) = collapse else { return evaluation(run, step) };
    run.evaluations.iter().rev().find(|row| row.step < collapse.steps)
}

/// The tables of one benchmark; nothing where the runs have no evaluated step in common.
pub(super) fn section(comparison: &Comparison, out: &mut Markup) {
    let (Some(benchmark), Some(step)) = (&comparison.benchmark, last_common_step(comparison)) else { return };
    let states = states(comparison, step);
    out.put(format_args!(
        "<section><h2>Policies compared on <bdi>{0}</bdi></h2>\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Policies compared on {0}\"><table class=\"summary\">\
         <thead><tr><th scope=\"col\">Policy</th><th scope=\"col\">Seeds</th><th scope=\"col\">Steps</th>\
         <th scope=\"col\">Accuracy, %</th><th scope=\"col\">change, points</th><th scope=\"col\">Completion tokens</th>\
         <th scope=\"col\">length kept, %</th></tr></thead><tbody>",
        line(benchmark)
    ));
    for state in &states {
        state_row(state, out);
    }
    out.put(format_args!("</tbody></table></div><p class=\"caption\">{}</p>", described(&states, step)));
    levels_table(&states, benchmark, out);
    out.put_str("</section>");
}

fn heading(state: &State<'_>) -> String {
    let key = state.style.map_or_else(|| dot_key(None), key);
    format!("<th scope=\"row\">{key} <bdi>{}</bdi></th>", line(&state.name))
}

fn state_row(state: &State<'_>, out: &mut Markup) {
    let steps = || state.seeds.iter().map(|(row, _)| row.step);
    let (fewest, most) = (steps().min().unwrap_or(0), steps().max().unwrap_or(0));
    let steps = if fewest == most { most.to_string() } else { format!("{fewest}–{most}") };
    let change = state.against_start(|row, start| Some((row.accuracy - start.accuracy) * 100.0));
    let kept = kept(state, |row| Some(row.completion_tokens));
    let is_start = state.style.is_none();
    out.put(format_args!(
        "<tr>{}<td>{}</td><td>{steps}</td><td><b>{}</b></td><td>{}</td><td><b>{}</b></td><td>{}</td></tr>",
        heading(state),
        state.seeds.len(),
        cell(state.accuracy()),
        change.filter(|_| !is_start).map_or_else(dash, |change| signed(change.mean, 1) + &error_of(&change)),
        cell(state.tokens()),
        if is_start { dash() } else { cell(kept) }
    ));
}

fn dash() -> String {
    "–".to_owned()
}

fn cell(estimate: Option<Estimate>) -> String {
    estimate.map_or_else(dash, |estimate| with_error(&estimate))
}

/// A length over that at the start, percent.
fn kept(state: &State<'_>, tokens: impl Fn(&EvaluationSummary) -> Option<f64>) -> Option<Estimate> {
    state.against_start(|row, start| Some(tokens(row)? / tokens(start)? * 100.0))
}

fn described(states: &[State<'_>], step: u64) -> String {
    let problems = states.iter().flat_map(|state| &state.seeds).map(|(row, _)| row.problems).max().unwrap_or(0);
    let mut sentences = vec![format!(
        "Means over seeds, of {} problems each, after {step} steps, the last step that all runs were evaluated at.",
        number(f64::from(problems), 0)
    )];
    if states.iter().any(|state| state.seeds.len() > 1) {
        sentences.push(
            "± is the standard error over seeds; of change and length kept, that of each seed's difference from and ratio \
             to its start."
                .to_owned(),
        );
    }
    if states.iter().any(|state| state.seeds.len() == 1) {
        sentences.push("For a single seed ± is the standard error over problems.".to_owned());
    }
    if states.iter().any(|state| state.name.ends_with("before collapse")) {
        sentences.push(
            "Before collapse: of a run that collapsed, its last evaluation before that, and of one that did not, its \
             evaluation at the common step; it is chosen with hindsight. A star marks the same arm at the common step."
                .to_owned(),
        );
    }
    sentences.join(" ")
}

/// Accuracy and length kept by difficulty level; nothing without levels.
fn levels_table(states: &[State<'_>], benchmark: &str, out: &mut Markup) {
    let Some((first, _)) = states.iter().find_map(|state| state.seeds.first()) else { return };
    let mut levels: Vec<(&str, u32)> =
        first.levels.iter().map(|level| (level.level.as_str(), level.problems)).collect();
    levels.sort_by(|a, b| number_in(a.0).total_cmp(&number_in(b.0)).then(a.0.cmp(b.0)));
    // Every level is looked for in every row, and nobody reads so many columns.
    levels.truncate(LEVELS_SHOWN_MAX);
    if levels.is_empty() {
        return;
    }
    out.put(format_args!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Policies by difficulty level on {}\">\
         <table class=\"summary\"><thead><tr><th scope=\"col\" rowspan=\"2\">Policy</th>",
        line(benchmark)
    ));
    for (level, _) in &levels {
        out.put(format_args!(
            "<th scope=\"colgroup\" colspan=\"2\" class=\"span\"><span>level <bdi>{}</bdi></span></th>",
            line(level)
        ));
    }
    out.put_str("</tr><tr>");
    for _ in &levels {
        out.put_str("<th scope=\"col\" class=\"first\">accuracy, %</th><th scope=\"col\">length kept, %</th>");
    }
    out.put_str("</tr></thead><tbody>");
    for state in states {
        out.put(format_args!("<tr>{}", heading(state)));
        for (level, _) in &levels {
            let of = |row: &EvaluationSummary| row.levels.iter().find(|one| one.level == *level).cloned();
            let accuracy = state.estimate(|row| Some(of(row)?.accuracy * 100.0), |_| None);
            let kept = kept(state, |row| Some(of(row)?.completion_tokens)).filter(|_| state.style.is_some());
            out.put(format_args!("<td class=\"first\">{}</td><td>{}</td>", cell(accuracy), cell(kept)));
        }
        out.put_str("</tr>");
    }
    let problems: Vec<String> = levels.iter().map(|(level, problems)| format!("{}: {problems}", line(level))).collect();
    out.put(format_args!(
        "</tbody></table></div><p class=\"caption\">The same policies by difficulty level (problems of each: {}); ± is the \
         standard error over seeds.</p>",
        problems.join(", ")
    ));
}
