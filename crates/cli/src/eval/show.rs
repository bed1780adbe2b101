//! What an evaluation prints: its settings, its numbers, its files. 80 columns are enough for all but long names.

use anyhow::Result;
use record::{EvaluationDirectory, EvaluationHeader, EvaluationSummary, LengthSummary, Lengths, PolicySource};
use verify::{Extraction, Verdict};

use crate::{
    console::Console,
    table::{aligned, counted, labelled, percent},
};

/// Below this many problems the width of the interval is said aloud: it is then 19 points at an accuracy of one half.
const PROBLEMS_FEW: u32 = 100;

/// Every setting of the evaluation, named as its option; `more` are those that are no part of what is measured.
pub(super) fn settings(header: &EvaluationHeader, more: &[(&'static str, String)], console: &Console) -> Result<()> {
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let extraction = match &header.extraction {
        Extraction::Auto {} => "auto".to_owned(),
        Extraction::Marker { marker } => format!("marker:{marker}"),
    };
    let seed = match header.choices_seed {
        Some(choices) => format!("{}; of the order of options {choices}", header.seed),
        None => header.seed.to_string(),
    };
    let mut rows = vec![
        ("model", header.model.clone()),
        ("benchmark", format!("{}, {}", header.benchmark, counted(header.problems as usize, "problem"))),
        ("problems", header.problems_path.display().to_string()),
        ("samples", header.samples.to_string()),
        ("temperature", header.temperature.to_string()),
        ("top-p", header.top_p.to_string()),
        ("top-k", header.tokens_kept()),
        ("max-tokens", header.completion_tokens_max.to_string()),
        ("seed", seed),
        ("template", header.template.clone()),
        ("system", or_none(&header.system)),
        ("instruction", or_none(&header.instruction)),
        ("extraction", extraction),
    ];
    rows.splice(1..1, policy_rows(&header.policy));
    rows.extend_from_slice(more);
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))
}

/// Who makes the completions.
fn policy_rows(policy: &PolicySource) -> Vec<(&'static str, String)> {
    match policy {
        PolicySource::Engine { parameters, cpu, compute, .. } => {
            vec![("policy", format!("{:.2} million parameters, {compute} on {cpu}", *parameters as f64 / 1e6))]
        }
        PolicySource::Server { url, api, choices, body, tokenizer } => {
            let mut rows = vec![("engine", url.clone()), ("api", api.clone())];
            if *choices > 1 {
                rows.push(("choices", choices.to_string()));
            }
            rows.extend(body.iter().map(|(name, value)| ("body", format!("{name}={value}"))));
            rows.extend(tokenizer.iter().map(|path| ("tokenizer", path.display().to_string())));
            rows
        }
    }
}

/// The numbers of an evaluation that ended before.
pub(super) fn complete(directory: &EvaluationDirectory, console: &Console) -> Result<()> {
    console.note("the evaluation is complete; nothing is left to be done");
    summary(&directory.header()?, &directory.summary()?, console)?;
    files(directory, console)
}

/// The numbers of an evaluation.
pub(super) fn summary(header: &EvaluationHeader, summary: &EvaluationSummary, console: &Console) -> Result<()> {
    let print = |lines: Vec<String>| lines.into_iter().try_for_each(|line| console.result(line));
    console.result("")?;
    print(labelled(&totals(header, summary)))?;
    if summary.samples > 1 {
        console.result("")?;
        print(aligned(&pass_rows(summary)))?;
    }
    console.result("")?;
    print(aligned(&length_rows(summary)))?;
    console.result("")?;
    print(aligned(&budget_rows(summary)))?;
    if !summary.levels.is_empty() {
        console.result("")?;
        print(aligned(&level_rows(summary)))?;
    }
    if summary.problems < PROBLEMS_FEW {
        console.warning(format!(
            "{} leave the accuracy open by {:.1} points; smaller differences tell nothing",
            counted(summary.problems as usize, "problem"),
            (summary.accuracy_high - summary.accuracy_low) * 100.0
        ));
    }
    Ok(())
}

fn totals(header: &EvaluationHeader, summary: &EvaluationSummary) -> Vec<(&'static str, String)> {
    let interval = |low: f64, high: f64| format!("{:.1} to {}", low * 100.0, percent(high));
    let wilson = interval(summary.accuracy_low, summary.accuracy_high);
    let bootstrap = interval(summary.accuracy_bootstrap_low, summary.accuracy_bootstrap_high);
    let verdicts: Vec<String> =
        summary.verdicts.iter().map(|(verdict, count)| format!("{count} {}", words(*verdict))).collect();
    let mut rows = vec![
        (
            "accuracy",
            format!("{} ± {:.1}, mean@{}", percent(summary.accuracy), summary.accuracy_error * 100.0, summary.samples),
        ),
        ("95 % interval", format!("{wilson} (Wilson), {bootstrap} (bootstrap)")),
        ("completion tokens", format!("{:.1} ± {:.1}", summary.completion_tokens, summary.completion_tokens_error)),
        ("truncated", percent(summary.truncated_share)),
        ("no answer", percent(summary.no_answer_share)),
        ("verdicts", verdicts.join(", ")),
    ];
    if let Some(first) = &summary.first_correct {
        if let (Some(tokens), Some(share)) = (&first.tokens, first.overthought_share) {
            rows.push(("first correct", format!("after {:.1} tokens, {} overthought", tokens.mean, percent(share))));
        }
        rows.push(("lost", format!("{} were correct on the way", percent(first.lost_share))));
    }
    let left_out = match header.problems_left_out.len() {
        0 => String::new(),
        count => format!(" ({count} left out)"),
    };
    rows.push(("problems", format!("{}{left_out}", summary.problems)));
    rows
}

/// A verdict in words.
fn words(verdict: Verdict) -> String {
    let name = serde_json::to_value(verdict).ok();
    name.and_then(|name| name.as_str().map(|name| name.replace('_', " "))).unwrap_or_default()
}

fn pass_rows(summary: &EvaluationSummary) -> Vec<Vec<String>> {
    let mut rows = vec![["", "share", "95 % interval (bootstrap)"].map(str::to_owned).to_vec()];
    rows.extend(summary.pass.iter().map(|pass| {
        // Where all problems have one share, the interval is a point, which says too much.
        let interval = if pass.share_low < pass.share_high {
            format!("{:.1} to {}", pass.share_low * 100.0, percent(pass.share_high))
        } else {
            "–".to_owned()
        };
        let share = format!("{} ± {:.1}", percent(pass.share), pass.share_error * 100.0);
        vec![format!("pass@{}", pass.k), share, interval]
    }));
    rows
}

fn length_rows(summary: &EvaluationSummary) -> Vec<Vec<String>> {
    let heading = ["tokens of", "completions", "mean", "median", "95th percentile"].map(str::to_owned).to_vec();
    let Lengths { all, correct, wrong } = &summary.lengths;
    let named = [("all", Some(all)), ("correct", correct.as_ref()), ("wrong", wrong.as_ref())];
    let row = |(name, length): (&str, Option<&LengthSummary>)| {
        let mut row = vec![name.to_owned(), length.map_or(0, |length| length.completions).to_string()];
        let values = length.map(|length| [length.mean, length.median, length.p95]);
        row.extend(values.map_or(["–"; 3].map(str::to_owned), |values| values.map(|value| format!("{value:.1}"))));
        row
    };
    [vec![heading], named.into_iter().map(row).collect()].concat()
}

fn budget_rows(summary: &EvaluationSummary) -> Vec<Vec<String>> {
    let mut rows = vec![["token budget", "correct within it", "cut text correct"].map(str::to_owned).to_vec()];
    rows.extend(summary.budgets.iter().map(|budget| {
        let with_error = |share: f64, error: f64| format!("{} ± {:.1}", percent(share), error * 100.0);
        let cut = budget.accuracy_cut.zip(budget.accuracy_cut_error);
        vec![
            budget.budget_tokens.to_string(),
            with_error(budget.accuracy, budget.accuracy_error),
            cut.map_or("–".to_owned(), |(share, error)| with_error(share, error)),
        ]
    }));
    rows
}

fn level_rows(summary: &EvaluationSummary) -> Vec<Vec<String>> {
    let mut rows = vec![["level", "problems", "accuracy", "completion tokens"].map(str::to_owned).to_vec()];
    rows.extend(summary.levels.iter().map(|level| {
        let tokens = format!("{:.1}", level.completion_tokens);
        vec![level.level.clone(), level.problems.to_string(), percent(level.accuracy), tokens]
    }));
    rows
}

/// Where the evaluation is kept.
pub(super) fn files(directory: &EvaluationDirectory, console: &Console) -> Result<()> {
    let shown = |path: std::path::PathBuf| path.display().to_string();
    console.result("")?;
    let rows = [
        ("summary", shown(directory.summary_path())),
        ("completions", shown(directory.records_path())),
        ("page", shown(directory.page_path())),
    ];
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))
}
