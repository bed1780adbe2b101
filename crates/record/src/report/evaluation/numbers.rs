//! The numbers of an evaluation: accuracy with its errors, lengths, and accuracy under a token budget.

use super::problems::verdict_words;
use crate::{
    EvaluationHeader, EvaluationRecord, EvaluationSummary, LengthSummary, Lengths,
    report::{
        bars::{Bars, bar_chart, bar_key},
        escape::{Markup, line},
        svg::{Axes, Dots, Size, dot_chart, dot_key},
        ticks::{Limits, Ticks, number},
    },
};

/// Bars of the chart of lengths.
const BINS: usize = 24;

/// Colours of the two kinds of completions and of the two ways to cut: indices of arms.
const CORRECT: usize = 2;
const WRONG: usize = 1;

/// The section of numbers.
pub(super) fn section(
    header: &EvaluationHeader,
    summary: &EvaluationSummary,
    records: &[EvaluationRecord],
    out: &mut Markup,
) {
    out.put_str("<section><h2>Result</h2>");
    totals(header, summary, out);
    out.put_str("<div class=\"figures\">");
    budgets(summary, out);
    lengths_figure(summary, records, out);
    out.put_str("</div>");
    lengths_table(&summary.lengths, out);
    if summary.samples > 1 {
        pass(summary, out);
    }
    if !summary.levels.is_empty() {
        levels(summary, out);
    }
    out.put_str("</section>");
}

fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0, 1))
}

fn interval(low: f64, high: f64) -> String {
    format!("{} to {}", number(low * 100.0, 1), percent(high))
}

fn with_error(share: f64, error: f64) -> String {
    format!("{} <span class=\"pm\">± {}</span>", percent(share), number(error * 100.0, 1))
}

/// A table whose first column is text; the cells are markup.
fn table(label: &str, headings: &[&str], rows: &[Vec<String>], out: &mut Markup) {
    out.put(format_args!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{label}\"><table><thead><tr>"
    ));
    for heading in headings {
        out.put(format_args!("<th scope=\"col\">{heading}</th>"));
    }
    out.put_str("</tr></thead><tbody>");
    for row in rows {
        let Some((first, cells)) = row.split_first() else { continue };
        out.put(format_args!("<tr><th scope=\"row\">{first}</th>"));
        for cell in cells {
            out.put(format_args!("<td>{cell}</td>"));
        }
        out.put_str("</tr>");
    }
    out.put_str("</tbody></table></div>");
}

fn totals(header: &EvaluationHeader, summary: &EvaluationSummary, out: &mut Markup) {
    let verdicts = summary.verdicts.iter().map(|(verdict, count)| format!("{count} {}", verdict_words(*verdict)));
    let tokens = format!(
        "{} <span class=\"pm\">± {}</span>",
        number(summary.completion_tokens, 1),
        number(summary.completion_tokens_error, 1)
    );
    let mut rows = vec![
        ("Accuracy", with_error(summary.accuracy, summary.accuracy_error)),
        ("95 % interval (Wilson)", interval(summary.accuracy_low, summary.accuracy_high)),
        ("95 % interval (bootstrap)", interval(summary.accuracy_bootstrap_low, summary.accuracy_bootstrap_high)),
        ("Completion tokens", tokens),
        ("Truncated", percent(summary.truncated_share)),
        ("No answer", percent(summary.no_answer_share)),
        ("Verdicts", verdicts.collect::<Vec<_>>().join(", ")),
    ];
    if let Some(first) = &summary.first_correct {
        if let (Some(tokens), Some(share)) = (&first.tokens, first.overthought_share) {
            rows.push(("Tokens to the first correct answer", number(tokens.mean, 1)));
            rows.push(("Overthought", format!("{} of the tokens of correct completions", percent(share))));
        }
        rows.push(("Lost", format!("{} were correct on the way and are not in the end", percent(first.lost_share))));
    }
    if !header.problems_left_out.is_empty() {
        rows.push(("Problems left out", header.problems_left_out.len().to_string()));
    }
    out.put_str("<dl class=\"settings\">");
    for (name, value) in rows {
        out.put(format_args!("<dt>{name}</dt><dd>{value}</dd>"));
    }
    out.put_str("</dl><p class=\"caption\">Errors are standard errors over problems. A truncated completion is wrong whatever its text says.</p>");
}

fn budgets(summary: &EvaluationSummary, out: &mut Markup) {
    let points = |share: f64, error: f64| (share * 100.0, Some(error * 100.0));
    let ended = summary.budgets.iter().map(|budget| Some(points(budget.accuracy, budget.accuracy_error)));
    let cut = summary
        .budgets
        .iter()
        .map(|budget| budget.accuracy_cut.zip(budget.accuracy_cut_error).map(|(share, error)| points(share, error)));
    let mut series =
        vec![Dots { style: Some(0), name: "correct within the budget".to_owned(), values: ended.collect() }];
    let cut: Vec<_> = cut.collect();
    if cut.iter().any(Option::is_some) {
        series.push(Dots { style: Some(1), name: "text cut at the budget, as it stands".to_owned(), values: cut });
    }
    let budgets: Vec<String> =
        summary.budgets.iter().map(|budget| number(f64::from(budget.budget_tokens), 0)).collect();
    let highest =
        series.iter().flat_map(|dots| &dots.values).flatten().map(|(share, error)| share + error.unwrap_or(0.0));
    let axes = Axes {
        size: Size::Wide,
        title: "Accuracy under a token budget".to_owned(),
        x: Ticks::inside(0.0, 1.0, 1),
        x_label: "token budget".to_owned(),
        y: Ticks::around(0.0, highest.fold(1.0, f64::max), 5, Limits(0.0, 100.0)),
        y_label: "accuracy, %".to_owned(),
        decimals: 1,
    };
    out.put_str("<figure><h3>Accuracy under a token budget</h3><ul class=\"legend\">");
    for dots in &series {
        out.put(format_args!("<li>{}{}</li>", dot_key(dots.style), line(&dots.name)));
    }
    out.put(format_args!(
        "</ul>{}<figcaption>The same completions under 1/16, 1/8, 1/4, 1/2 and all of the limit, with standard errors. \
         Within the budget: correct and ended by then, as an evaluation with this limit would have it. Cut: the text of \
         the first tokens, judged as it stands.</figcaption></figure>",
        dot_chart(&axes, &budgets, &series)
    ));
}

fn lengths_figure(summary: &EvaluationSummary, records: &[EvaluationRecord], out: &mut Markup) {
    let longest = records.iter().map(|record| record.completion_tokens).max().unwrap_or(1).max(1);
    let width = (f64::from(longest) / BINS as f64).ceil().max(1.0);
    let bins = (f64::from(longest) / width).ceil() as usize;
    let mut counts = [vec![0; bins], vec![0; bins]];
    for record in records {
        let bin = ((f64::from(record.completion_tokens) - 1.0).max(0.0) / width) as usize;
        counts[usize::from(!record.is_correct())][bin.min(bins - 1)] += 1;
    }
    let [correct, wrong] = counts;
    let series = [
        Bars { style: CORRECT, name: "correct", counts: correct },
        Bars { style: WRONG, name: "wrong", counts: wrong },
    ];
    let tallest = (0..bins).map(|bin| series.iter().map(|bars| bars.counts[bin]).sum::<u32>()).max().unwrap_or(1);
    let axes = Axes {
        size: Size::Wide,
        title: "Completions by length".to_owned(),
        x: Ticks::inside(0.0, width * bins as f64, 5),
        x_label: "completion tokens".to_owned(),
        y: Ticks::around(0.0, f64::from(tallest), 4, Limits(0.0, f64::INFINITY)),
        y_label: "completions".to_owned(),
        decimals: 0,
    };
    out.put_str("<figure><h3>Completions by length</h3><ul class=\"legend\">");
    for bars in &series {
        out.put(format_args!("<li>{}{}</li>", bar_key(bars.style), bars.name));
    }
    out.put(format_args!(
        "</ul>{}<figcaption>Bars of {} tokens. {} of the completions were cut off at the limit.</figcaption></figure>",
        bar_chart(&axes, width, &series),
        number(width, 0),
        percent(summary.truncated_share)
    ));
}

fn lengths_table(lengths: &Lengths, out: &mut Markup) {
    let row = |name: &str, length: Option<&LengthSummary>| {
        let count = length.map_or_else(|| "0".to_owned(), |length| number(f64::from(length.completions), 0));
        let values = length.map(|length| [length.mean, length.median, length.p95].map(|value| number(value, 1)));
        [vec![name.to_owned(), count], values.unwrap_or_else(|| ["–"; 3].map(str::to_owned)).to_vec()].concat()
    };
    let rows = [
        row("all", Some(&lengths.all)),
        row("correct", lengths.correct.as_ref()),
        row("wrong", lengths.wrong.as_ref()),
    ];
    let headings = ["Completion tokens of", "completions", "mean", "median", "95th percentile"];
    table("Completion tokens", &headings, &rows, out);
}

fn pass(summary: &EvaluationSummary, out: &mut Markup) {
    let rows: Vec<Vec<String>> = summary
        .pass
        .iter()
        .map(|pass| {
            let share = with_error(pass.share, pass.share_error);
            // Where all problems have one share, the interval is a point, which says too much.
            let is_point = pass.share_low >= pass.share_high;
            let interval = if is_point { "–".to_owned() } else { interval(pass.share_low, pass.share_high) };
            vec![format!("pass@{}", pass.k), share, interval]
        })
        .collect();
    table("pass@k", &["", "share", "95 % interval (bootstrap)"], &rows, out);
    out.put_str("<p class=\"caption\">pass@k: the chance that at least one of k completions is correct, unbiased.</p>");
}

fn levels(summary: &EvaluationSummary, out: &mut Markup) {
    let rows: Vec<Vec<String>> = summary
        .levels
        .iter()
        .map(|level| {
            let name = format!("<bdi>{}</bdi>", line(&level.level));
            vec![name, level.problems.to_string(), percent(level.accuracy), number(level.completion_tokens, 1)]
        })
        .collect();
    table("By level", &["Level", "problems", "accuracy", "completion tokens"], &rows, out);
}
