//! The figures of accuracy and length, from which measurements, and what their captions say.

use std::collections::BTreeMap;

use super::{
    budgets, collapse,
    escape::{Markup, line},
    series::{Arm, Comparison, Measure, SeriesPoint, Source, aggregate, mean, standard_error},
    states,
    svg::{Axes, Cross, Dots, Line, Path, Size, dot_chart, dot_key, key, line_chart, path_chart},
    ticks::{Limits, Ticks},
};
use crate::LevelSummary;

pub(super) const PERCENT: Limits = Limits(0.0, 100.0);
pub(super) const POSITIVE: Limits = Limits(0.0, f64::INFINITY);

/// A figure of a quantity over steps.
pub(super) struct OverSteps<'a> {
    /// Title of the figure.
    pub(super) heading: &'a str,
    /// Quantity and unit on the vertical axis.
    pub(super) y_label: &'a str,
    /// What the vertical axis is, for the caption.
    pub(super) meaning: &'a str,
    /// What no value can exceed, so that the axis does not either.
    pub(super) limits: Limits,
    /// Size on the page.
    pub(super) size: Size,
    /// Decimals of the values that a pointer shows.
    pub(super) decimals: usize,
}

/// Accuracy and length: by step, against each other, and by difficulty level.
pub(super) fn outcomes(comparison: &Comparison, out: &mut Markup) {
    out.put_str("<section><h2>Accuracy and length</h2><div class=\"figures\">");
    let measured = measured(comparison);
    let accuracy = OverSteps {
        heading: "Accuracy by step",
        y_label: "accuracy, %",
        meaning: &format!("accuracy {measured}, percent"),
        limits: PERCENT,
        size: Size::Wide,
        decimals: 1,
    };
    let lines = measure_lines(comparison, |measure| measure.accuracy * 100.0);
    over_steps(comparison, &accuracy, (&lines, &collapse::crosses(comparison)), out);
    let tokens = OverSteps {
        heading: "Completion tokens by step",
        y_label: "mean completion tokens",
        meaning: &format!("mean length of a completion {measured}, tokens"),
        limits: POSITIVE,
        size: Size::Wide,
        decimals: 1,
    };
    over_steps(comparison, &tokens, (&measure_lines(comparison, |measure| measure.tokens), &[]), out);
    against_length(comparison, &measured, out);
    by_level(comparison, out);
    budgets::figure(comparison, out);
    out.put_str("</div></section>");
}

/// Each arm with the number of its style.
pub(super) fn arms(comparison: &Comparison) -> impl Iterator<Item = (usize, &Arm)> {
    comparison.arms.iter().enumerate()
}

/// Where a point of a training metric stands: the middle of the steps averaged in it, of which `first` is the first.
pub(super) fn middle_of_point(comparison: &Comparison, first: u64) -> f64 {
    let last = (first + comparison.steps_per_point - 1) as f64;
    f64::midpoint(first as f64, last.min(last_step(comparison)))
}

/// Draws the lines, with a cross at each collapse, and says what they are.
pub(super) fn over_steps(
    comparison: &Comparison,
    figure: &OverSteps<'_>,
    (lines, crosses): (&[Line], &[Cross]),
    out: &mut Markup,
) {
    open(figure.heading, comparison, lines.iter().filter(|line| !line.points.is_empty()).map(|line| line.style), out);
    let spread = lines.iter().flat_map(|line| &line.points);
    let values = spread.flat_map(|(_, point)| [point.low, point.high]);
    let Some((low, high)) = extent(values) else {
        close_empty(out);
        return;
    };
    let axes = Axes {
        size: figure.size,
        title: figure.heading.to_owned(),
        x: Ticks::inside(0.0, last_step(comparison), 7),
        x_label: "optimizer step".to_owned(),
        y: Ticks::around(low, high, 5, figure.limits),
        y_label: figure.y_label.to_owned(),
        decimals: figure.decimals,
    };
    out.put_str(&line_chart(&axes, lines, crosses));
    let runs = lines.iter().flat_map(|line| &line.points).map(|(_, point)| point.runs).max().unwrap_or(0);
    out.put(format_args!(
        "<figcaption>Vertical: {}; horizontal: optimizer step; {}{}{}.</figcaption></figure>",
        line(figure.meaning),
        band_described(comparison, runs),
        faint_described(lines),
        if crosses.is_empty() { "" } else { "; crosses: evaluations at which a seed collapsed" }
    ));
}

fn band_described(comparison: &Comparison, runs_max: usize) -> String {
    let counts = || comparison.arms.iter().map(|arm| arm.runs.len());
    let (fewest, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    match (runs_max, fewest == most) {
        (0 | 1, _) => "one seed per arm, so without a band".to_owned(),
        (_, true) => format!("line: mean over the {most} seeds of an arm, band: lowest to highest seed"),
        (_, false) => format!("line: mean over the {fewest} to {most} seeds of an arm, band: lowest to highest seed"),
    }
}

fn faint_described(lines: &[Line]) -> &'static str {
    let is_ragged = |line: &Line| {
        let runs_max = line.points.iter().map(|(_, point)| point.runs).max();
        line.points.last().map(|(_, point)| point.runs) != runs_max
    };
    if lines.iter().any(is_ragged) {
        ", faint beyond the last step that every seed of the arm has a value for"
    } else {
        ""
    }
}

/// What accuracy and length were measured on.
fn measured(comparison: &Comparison) -> String {
    let rollouts = match comparison.steps_per_point {
        1 => "in the rollouts trained on".to_owned(),
        width => format!("in the rollouts trained on, each point the mean of {width} steps"),
    };
    let Some(benchmark) = &comparison.benchmark else { return rollouts };
    let trained: Vec<&str> = comparison
        .arms
        .iter()
        .filter(|arm| arm.source() == Source::Training && !comparison.measures(arm).is_empty())
        .map(|arm| arm.name.as_str())
        .collect();
    match trained.as_slice() {
        [] => format!("on {benchmark}"),
        names => format!("on {benchmark} (of {}, never evaluated: {rollouts})", names.join(", ")),
    }
}

fn measure_lines(comparison: &Comparison, value: impl Fn(&Measure) -> f64) -> Vec<Line> {
    arms(comparison)
        .map(|(style, arm)| Line {
            style,
            name: arm.name.clone(),
            points: measure_series(comparison, arm, &value)
                .into_iter()
                .map(|point| (x(comparison, arm, &point), point))
                .collect(),
        })
        .collect()
}

fn x(comparison: &Comparison, arm: &Arm, point: &SeriesPoint) -> f64 {
    match arm.source() {
        Source::Evaluation => point.step as f64,
        Source::Training => middle_of_point(comparison, point.step),
    }
}

fn measure_series(comparison: &Comparison, arm: &Arm, value: impl Fn(&Measure) -> f64) -> Vec<SeriesPoint> {
    let of_run = |measures: &Vec<Measure>| measures.iter().map(|measure| (measure.step, value(measure))).collect();
    aggregate(&comparison.measures(arm).iter().map(of_run).collect::<Vec<_>>())
}

fn last_step(comparison: &Comparison) -> f64 {
    let of_run = |run: &super::series::Run| run.evaluations.last().map_or(0, |row| row.step).max(run.steps_done);
    comparison.runs().map(of_run).max().unwrap_or(0) as f64
}

fn against_length(comparison: &Comparison, measured: &str, out: &mut Markup) {
    let paths: Vec<Path> = arms(comparison)
        .map(|(style, arm)| {
            let accuracy = measure_series(comparison, arm, |measure| measure.accuracy * 100.0);
            let tokens = measure_series(comparison, arm, |measure| measure.tokens);
            let runs_max = accuracy.iter().map(|point| point.runs).max().unwrap_or(0);
            let both = accuracy.iter().zip(&tokens).filter(|(point, _)| point.runs == runs_max);
            let points = both.map(|(accuracy, tokens)| (accuracy.step, tokens.mean, accuracy.mean)).collect();
            Path { style, name: arm.name.clone(), points }
        })
        .collect();
    open(
        "Accuracy against length",
        comparison,
        paths.iter().filter(|path| !path.points.is_empty()).map(|path| path.style),
        out,
    );
    let tokens = extent(paths.iter().flat_map(|path| path.points.iter().map(|point| point.1)));
    let accuracy = extent(paths.iter().flat_map(|path| path.points.iter().map(|point| point.2)));
    let (Some(tokens), Some(accuracy)) = (tokens, accuracy) else {
        close_empty(out);
        return;
    };
    let axes = Axes {
        size: Size::Wide,
        title: "Accuracy against length".to_owned(),
        x: Ticks::around(tokens.0, tokens.1, 5, POSITIVE),
        x_label: "mean completion tokens".to_owned(),
        y: Ticks::around(accuracy.0, accuracy.1, 5, PERCENT),
        y_label: "accuracy, %".to_owned(),
        decimals: 1,
    };
    let places: Vec<(f64, f64)> =
        paths.iter().flat_map(|path| path.points.iter().map(|&(_, tokens, accuracy)| (tokens, accuracy))).collect();
    out.put_str(&path_chart(&axes, &paths, &pareto_front(&places)));
    out.put(format_args!(
        "<figcaption>The path of each arm through the steps, from the hollow marker to the large one, over the steps that \
         all its seeds have; vertical: accuracy {0}, percent; horizontal: mean completion tokens; both means over \
         seeds. Dotted: the Pareto front, places with no other at least as accurate in as few tokens; chance flatters \
         it.</figcaption></figure>",
        line(measured)
    ));
}

/// Those of (tokens, accuracy) that no other place beats in one and matches in the other, by tokens.
fn pareto_front(places: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = places.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
    let mut best = f64::NEG_INFINITY;
    sorted.retain(|&(_, accuracy)| {
        let is_better = accuracy > best;
        best = best.max(accuracy);
        is_better
    });
    sorted
}

/// Accuracy by level over runs: level → one value for each run that has the level.
fn levels_of<'a>(summaries: impl Iterator<Item = &'a [LevelSummary]>) -> BTreeMap<String, Vec<f64>> {
    let mut by_level: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for level in summaries.flatten() {
        by_level.entry(level.level.clone()).or_default().push(level.accuracy * 100.0);
    }
    by_level
}

fn by_level(comparison: &Comparison, out: &mut Markup) {
    let start = levels_of(states::start(comparison).seeds.into_iter().map(|(row, _)| row.levels.as_slice()));
    let ends: Vec<BTreeMap<String, Vec<f64>>> = comparison
        .arms
        .iter()
        .map(|arm| levels_of(arm.runs.iter().filter_map(|run| run.evaluations.last()).map(|row| row.levels.as_slice())))
        .collect();
    let mut categories: Vec<String> = start.keys().chain(ends.iter().flat_map(BTreeMap::keys)).cloned().collect();
    categories.sort_by(|a, b| number_in(a).total_cmp(&number_in(b)).then_with(|| a.cmp(b)));
    categories.dedup();
    let Some(benchmark) = comparison.benchmark.as_ref().filter(|_| !categories.is_empty()) else {
        out.put_str("<p class=\"remark\">Accuracy by difficulty level is not shown: no evaluation names levels.</p>");
        return;
    };
    let values = |by_level: &BTreeMap<String, Vec<f64>>| -> Vec<Option<(f64, Option<f64>)>> {
        categories
            .iter()
            .map(|level| by_level.get(level).map(|of_runs| (mean(of_runs), standard_error(of_runs))))
            .collect()
    };
    let mut series = vec![Dots { style: None, name: "start".to_owned(), values: values(&start) }];
    for ((style, arm), end) in arms(comparison).zip(&ends).filter(|(_, end)| !end.is_empty()) {
        series.push(Dots { style: Some(style), name: arm.name.clone(), values: values(end) });
    }
    let shown = series.iter().flat_map(|dots| dots.values.iter().flatten());
    let reach = shown.flat_map(|&(value, error)| [value - error.unwrap_or(0.0), value + error.unwrap_or(0.0)]);
    let (low, high) = extent(reach).map_or((0.0, 100.0), |(low, high)| (low.max(0.0), high.min(100.0)));
    let axes = Axes {
        size: Size::Wide,
        title: "Accuracy by difficulty level".to_owned(),
        x: Ticks::inside(0.0, 1.0, 1),
        x_label: "difficulty level".to_owned(),
        y: Ticks::around(low, high, 5, PERCENT),
        y_label: "accuracy, %".to_owned(),
        decimals: 1,
    };
    out.put_str("<figure><h3>Accuracy by difficulty level</h3><ul class=\"legend\">");
    for dots in &series {
        out.put(format_args!("<li>{}<bdi>{}</bdi></li>", dot_key(dots.style), line(&dots.name)));
    }
    out.put_str("</ul>");
    out.put_str(&dot_chart(&axes, &categories, &series));
    let whiskers = series.iter().flat_map(|dots| dots.values.iter().flatten()).any(|(_, error)| error.is_some());
    out.put(format_args!(
        "<figcaption>Vertical: accuracy on {}, percent; horizontal: difficulty level; hollow: mean over seeds at their first \
         evaluation; filled: mean over the seeds of an arm at their last{}.</figcaption></figure>",
        line(benchmark),
        if whiskers { "; whiskers: ± one standard error over seeds" } else { "" }
    ));
}

/// The first number in a level's name, so that level 10 comes after level 2; names without one come last.
pub(super) fn number_in(level: &str) -> f64 {
    let digits = level.chars().skip_while(|character| !character.is_ascii_digit());
    let digits: String = digits.take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(f64::INFINITY)
}

/// Opens a figure with its heading and a legend of the arms in it.
pub(super) fn open(heading: &str, comparison: &Comparison, styles: impl Iterator<Item = usize>, out: &mut Markup) {
    out.put(format_args!("<figure><h3>{heading}</h3><ul class=\"legend\">"));
    for style in styles {
        out.put(format_args!("<li>{}<bdi>{}</bdi></li>", key(style), line(&comparison.arms[style].name)));
    }
    out.put_str("</ul>");
}

fn close_empty(out: &mut Markup) {
    out.put_str("<p class=\"remark\">Nothing has been recorded yet.</p></figure>");
}

/// Least and greatest of `values`; none of none.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |extent, value| match extent {
        None => Some((value, value)),
        Some((low, high)) => Some((value.min(low), value.max(high))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_ordered_by_the_number_in_their_names() {
        let mut levels = ["Level 10", "Level 2", "hard", "Level 1"];
        levels.sort_by(|a, b| number_in(a).total_cmp(&number_in(b)).then_with(|| a.cmp(b)));
        assert_eq!(levels, ["Level 1", "Level 2", "Level 10", "hard"]);
    }

    #[test]
    fn the_pareto_front_has_no_place_that_another_beats() {
        let places = [(20.0, 90.0), (15.0, 60.0), (15.0, 70.0), (22.0, 90.0), (25.0, 95.0), (14.0, 65.0)];
        assert_eq!(pareto_front(&places), [(14.0, 65.0), (15.0, 70.0), (20.0, 90.0), (25.0, 95.0)]);
        assert_eq!(pareto_front(&[]), []);
    }

    #[test]
    fn the_extent_of_values_is_their_least_and_greatest() {
        assert_eq!(extent([3.0, -1.0, 2.0].into_iter()), Some((-1.0, 3.0)));
        assert_eq!(extent(std::iter::empty()), None);
    }
}
