//! The tables of a report: the summary of arms on top, and the runs at the end.

use super::{
    arms::{ArmOutcome, ArmRow, Change, Estimate, Spread},
    escape::{Markup, block, clip, line},
    series::{Comparison, Run, Source},
    svg::key,
    ticks::{number, signed},
};
use crate::{PhaseSeconds, RecordError};

const CONFIG_CHARACTERS_MAX: usize = 40_000;

/// Columns of the table of runs.
const RUN_HEADINGS: [&str; 16] = [
    "Run",
    "Arm",
    "Seed",
    "Steps",
    "Sampling, s",
    "Shaping, s",
    "Update, s",
    "Total, s",
    "Sampled tokens/s",
    "Trained tokens/s",
    "Parameters",
    "Threads",
    "CPU",
    "Version",
    "Started, UTC",
    "Model",
];
/// Those of them that hold text.
const RUN_TEXT_HEADINGS: [&str; 5] = ["Arm", "CPU", "Version", "Started, UTC", "Model"];

/// Arms with accuracy and length at start and end, and what the numbers are.
pub(super) fn summary(rows: &[ArmRow], comparison: &Comparison, out: &mut Markup) {
    out.put_str(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Summary by arm\"><table class=\"summary\"><thead>\
         <tr><th scope=\"col\" rowspan=\"2\">Arm</th><th scope=\"col\" rowspan=\"2\">Seeds</th>\
         <th scope=\"col\" rowspan=\"2\">Steps</th>\
         <th scope=\"colgroup\" colspan=\"4\" class=\"span\"><span>Accuracy, %</span></th>\
         <th scope=\"colgroup\" colspan=\"4\" class=\"span\"><span>Completion tokens</span></th></tr>\
         <tr><th scope=\"col\" class=\"first\">start</th><th scope=\"col\">end</th><th scope=\"col\">change, points</th>\
         <th scope=\"col\">lowest after best</th>\
         <th scope=\"col\" class=\"first\">start</th><th scope=\"col\">end</th><th scope=\"col\">change, %</th>\
         <th scope=\"col\">length kept, %</th></tr></thead><tbody>",
    );
    for (style, row) in rows.iter().enumerate() {
        summary_row(style, row, out);
    }
    out.put(format_args!("</tbody></table></div><p class=\"caption\">{}</p>", summary_described(rows, comparison)));
}

fn summary_row(style: usize, row: &ArmRow, out: &mut Markup) {
    let steps = if row.steps_min == row.steps_max {
        row.steps_max.to_string()
    } else {
        format!("{}–{}", row.steps_min, row.steps_max)
    };
    out.put(format_args!(
        "<tr><th scope=\"row\">{} <bdi>{}</bdi></th><td>{}</td><td>{steps}{}</td>",
        key(style),
        line(&row.arm),
        row.seeds,
        if row.unfinished > 0 { "*" } else { "" }
    ));
    match &row.outcome {
        Some(outcome) => outcome_cells(outcome, out),
        None => out.put_str("<td colspan=\"8\" class=\"text first\">nothing measured yet</td>"),
    }
    out.put_str("</tr>");
}

fn outcome_cells(outcome: &ArmOutcome, out: &mut Markup) {
    let percent = |estimate: &Estimate| Estimate {
        mean: estimate.mean * 100.0,
        error: estimate.error.map(|(error, spread)| (error * 100.0, spread)),
    };
    let Change { start, end, difference } = &outcome.accuracy;
    let points = percent(difference);
    out.put(format_args!(
        "<td class=\"first\">{}</td><td><b>{}</b></td><td>{}{}</td><td>{}</td>",
        with_error(&percent(start)),
        with_error(&percent(end)),
        signed(points.mean, 1),
        error_of(&points),
        number(outcome.accuracy_lowest_after_best * 100.0, 1)
    ));
    let tokens = &outcome.completion_tokens;
    out.put(format_args!(
        "<td class=\"first\">{}</td><td><b>{}</b></td><td>{}</td><td>{}</td>",
        with_error(&tokens.start),
        with_error(&tokens.end),
        signed((tokens.kept() - 1.0) * 100.0, 1),
        number(tokens.kept() * 100.0, 1)
    ));
}

/// `12.3 ± 0.4`.
pub(super) fn with_error(estimate: &Estimate) -> String {
    format!("{}{}", number(estimate.mean, decimals(estimate)), error_of(estimate))
}

/// A tenth of a token says nothing of a mean of thousands.
fn decimals(estimate: &Estimate) -> usize {
    usize::from(estimate.mean.abs() < 1000.0)
}

/// ` ± 0.4`; nothing where the error is not known.
pub(super) fn error_of(estimate: &Estimate) -> String {
    let Some((error, _)) = estimate.error else { return String::new() };
    let decimals = decimals(estimate);
    let least = if decimals == 0 { 1.0 } else { 0.1 };
    let error = if error > 0.0 && error < least / 2.0 { format!("&lt;{least}") } else { number(error, decimals) };
    format!(" <span class=\"pm\">± {error}</span>")
}

/// What the numbers of the summary mean, as it applies to these rows.
fn summary_described(rows: &[ArmRow], comparison: &Comparison) -> String {
    let outcomes = || rows.iter().filter_map(|row| row.outcome.as_ref());
    let has = |spread: Spread| outcomes().any(|of| of.accuracy.end.error.is_some_and(|(_, found)| found == spread));
    let mut sentences = vec![match &comparison.benchmark {
        Some(benchmark) => {
            format!("Means over seeds of the first (start) and last (end) evaluation on {}.", line(benchmark))
        }
        None => "Means over seeds of the correctness ratio and length of the first (start) and last (end) rollouts trained on.".to_owned(),
    }];
    if has(Spread::Seeds) {
        sentences
            .push("± is the standard error over seeds; of a change, that of the differences seed by seed.".to_owned());
    }
    if has(Spread::Problems) {
        sentences.push("For an arm of one seed ± is the standard error of its evaluation over problems.".to_owned());
    }
    sentences.push(
        "Lowest after best is the lowest accuracy that any seed came to at or after its best; length kept is the ratio \
         of the mean lengths."
            .to_owned(),
    );
    let trained: Vec<String> = rows
        .iter()
        .filter(|row| row.outcome.is_some_and(|of| of.source == Source::Training))
        .map(|row| line(&row.arm))
        .collect();
    if comparison.benchmark.is_some() && !trained.is_empty() {
        let names = trained.join(", ");
        sentences.push(format!("Never evaluated, and measured by the rollouts trained on: {names}."));
    }
    if !trained.is_empty() && comparison.steps_per_point > 1 {
        sentences
            .push(format!("Of rollouts, start and end are means over up to {} steps.", comparison.steps_per_point));
    }
    for row in rows {
        let Some(outcome) = row.outcome.filter(|of| of.seeds < row.seeds) else { continue };
        sentences.push(format!("Of {}, {} of {} seeds were evaluated.", line(&row.arm), outcome.seeds, row.seeds));
    }
    let late = rows.iter().filter_map(|row| Some((row, row.outcome.filter(|of| of.start_step > 0)?)));
    for (row, outcome) in late {
        sentences.push(format!("The first measurement of {} is at step {}.", line(&row.arm), outcome.start_step));
    }
    sentences.join(" ")
}

/// Runs with fewer steps than they were asked for.
pub(super) fn unfinished(comparison: &Comparison, out: &mut Markup) {
    let of_run = |run: &Run| {
        format!("{} seed {} ({} of {} steps)", line(&run.header.arm), run.header.seed, run.steps_done, run.header.steps)
    };
    let unfinished: Vec<String> =
        comparison.runs().filter(|run| run.steps_done < run.header.steps).map(of_run).collect();
    if !unfinished.is_empty() {
        out.put(format_args!(
            "<p class=\"remark\">* Still going, or stopped before its last step: {}.</p>",
            unfinished.join(", ")
        ));
    }
}

/// The runs with their headers, seconds by phase and tokens per second, and the config of each arm, folded away.
///
/// # Errors
/// [`RecordError`] when a config cannot be read.
pub(super) fn runs(comparison: &Comparison, out: &mut Markup) -> Result<(), RecordError> {
    out.put_str(
        "<section><h2>Runs</h2><details><summary>Headers, seconds by phase and tokens per second of each run</summary>\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Runs\"><table><thead><tr>",
    );
    for heading in RUN_HEADINGS {
        let class = if RUN_TEXT_HEADINGS.contains(&heading) { " class=\"text\"" } else { "" };
        out.put(format_args!("<th scope=\"col\"{class}>{heading}</th>"));
    }
    out.put_str("</tr></thead><tbody>");
    for run in comparison.runs() {
        run_row(run, out);
    }
    out.put_str(
        "</tbody></table></div><p class=\"caption\">Seconds are sums over the recorded steps; tokens per second are completion \
         tokens over those seconds.</p></details>",
    );
    for arm in &comparison.arms {
        let Some(run) = arm.runs.first() else { continue };
        out.put(format_args!(
            "<details><summary>Config of <bdi>{}</bdi>, seed {}</summary><pre tabindex=\"0\">{}</pre></details>",
            line(&arm.name),
            run.header.seed,
            block(&clip(&run.directory.config_toml()?, CONFIG_CHARACTERS_MAX))
        ));
    }
    out.put_str("</section>");
    Ok(())
}

fn run_row(run: &Run, out: &mut Markup) {
    let sum = |phase: fn(&PhaseSeconds) -> f64| run.metrics.iter().map(|row| phase(&row.seconds)).sum::<f64>();
    let (sample, update) = (sum(|seconds| seconds.sample), sum(|seconds| seconds.update));
    // Two lines may say what no u64 holds together.
    let tokens = run.metrics.iter().map(|row| row.tokens as f64).sum::<f64>();
    let header = &run.header;
    out.put(format_args!(
        "<tr><th scope=\"row\"><bdi>{}</bdi></th><td class=\"text\"><bdi>{}</bdi></td><td>{}</td><td>{} of {}</td>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
        line(&run.name()),
        line(&header.arm),
        header.seed,
        run.steps_done,
        header.steps,
        number(sample, 1),
        number(sum(|seconds| seconds.shape), 1),
        number(update, 1),
        number(sum(|seconds| seconds.total), 1),
        number(tokens / sample, 0),
        number(tokens / update, 0)
    ));
    out.put(format_args!(
        "<td>{}</td><td>{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td>\
         <td class=\"text\"><bdi>{}</bdi></td></tr>",
        number(header.parameters as f64, 0),
        header.threads,
        line(&header.cpu),
        line(&header.brevity_version),
        date(header.started_unix_seconds),
        line(&header.model)
    ));
}

/// Seconds since 1970 as date and minute, by the civil calendar (Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn date(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March, so that the leap day is the last of its year.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", seconds / 3_600, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_since_1970_become_dates() {
        // From `date -u -d @…`.
        let cases = [
            (0, "1970-01-01 00:00"),
            (951_782_400, "2000-02-29 00:00"),
            (1_735_689_599, "2024-12-31 23:59"),
            (1_767_225_600, "2026-01-01 00:00"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(date(seconds), expected);
        }
    }
}
