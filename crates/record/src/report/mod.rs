//! Self-contained HTML pages: one drawn from run directories alone (tables, figures, problems side by side), and one of a
//! single evaluation (`evaluation`).
//!
//! A page needs no network and no script, and the same runs give the same bytes. Everything that comes from a run
//! is escaped. Only the first seeds' records of one evaluation are read in full; everything else is drawn from
//! metrics and summaries.

mod ablations;
mod alike;
mod arms;
mod bars;
mod budgets;
mod collapse;
mod escape;
mod evaluation;
mod figures;
mod first_correct;
mod series;
mod side_by_side;
mod states;
mod svg;
mod tables;
mod ticks;
mod training;

pub use arms::{ArmOutcome, ArmRow, Change, Estimate, Spread, arm_table, arm_table_on};
pub use evaluation::evaluation_page;
pub use series::Source;

use crate::{RecordError, RunDirectory};
use escape::{Markup, block, line};
use series::Comparison;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("page.js");

/// What a report says beside the runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportOptions {
    /// Heading of the page.
    pub title: String,
    /// Paragraphs under the heading, plain text.
    pub notes: Vec<String>,
    /// The benchmark to report on; none for the one that most runs were evaluated on.
    pub benchmark: Option<String>,
}

/// A report on `runs` as one HTML page. Runs of one arm with different seeds are put together; arms are shown in the
/// order in which they are first given.
///
/// # Errors
/// [`RecordError`] when no run is given, two runs share arm and seed, no run was evaluated on the benchmark asked for,
/// or a file is malformed.
pub fn html(runs: &[RunDirectory], options: &ReportOptions) -> Result<String, RecordError> {
    let mut comparison = Comparison::read(runs, options.benchmark.as_deref())?;
    let mut page = Markup::default();
    page.put(format_args!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{0}</title><style>\n{STYLE}</style></head>\n<body><header><h1>{0}</h1>",
        line(&options.title)
    ));
    for note in &options.notes {
        page.put(format_args!("<p>{}</p>", block(note)));
    }
    page.put(format_args!("<p class=\"facts\">{}</p>", facts(&comparison)));
    alike::section(&comparison, &mut page)?;
    page.put_str("</header>\n<main>");
    tables::summary(&arms::rows(&comparison), &comparison, &mut page);
    tables::unfinished(&comparison, &mut page);
    figures::outcomes(&comparison, &mut page);
    states::section(&comparison, &mut page);
    let benchmark = comparison.benchmark.clone();
    for other in comparison.benchmarks_left_out.clone() {
        comparison.turn_to(Some(other));
        states::section(&comparison, &mut page);
    }
    comparison.turn_to(benchmark);
    collapse::section(&comparison, &mut page);
    ablations::section(&comparison, &mut page)?;
    training::section(&comparison, &mut page);
    side_by_side::section(&comparison, &mut page)?;
    tables::runs(&comparison, &mut page)?;
    page.put(format_args!("</main>\n<script>\n{SCRIPT}</script></body></html>\n"));
    Ok(page.into_string())
}

/// What was compared, on what.
fn facts(comparison: &Comparison) -> String {
    let (arms, runs) = (comparison.arms.len(), comparison.runs().count());
    let compared = format!(
        "{arms} {} in {runs} {}.",
        if arms == 1 { "arm" } else { "arms" },
        if runs == 1 { "run" } else { "runs" }
    );
    let Some(benchmark) = &comparison.benchmark else {
        return format!("{compared} No run was evaluated: accuracy and length are those of the rollouts trained on.");
    };
    let evaluation = comparison.runs().find_map(|run| run.evaluations.last()).map(|row| {
        let sampling = if row.temperature > 0.0 {
            format!("sampled at temperature {} and nucleus mass {}", row.temperature, row.top_p)
        } else {
            "decoded greedily".to_owned()
        };
        format!(
            ": {} problems, mean@{}, {sampling}, at most {} tokens",
            row.problems, row.samples, row.completion_tokens_max
        )
    });
    let left_out = match comparison.benchmarks_left_out.as_slice() {
        [] => String::new(),
        others => format!(" Also evaluated, and shown in a table alone: {}.", line(&others.join(", "))),
    };
    format!("{compared} Evaluated on {}{}.{left_out}", line(benchmark), evaluation.unwrap_or_default())
}
