//! Which runs collapsed, after how many steps, and how long the others were followed: a table and the curve of those left.
//! What a collapse is, is decided where runs are trained; here it is read.

use super::{
    escape::{Markup, line},
    figures::open,
    series::{Arm, Comparison, Run, SeriesPoint, mean},
    svg::{Axes, Cross, Line, Size, key, line_chart},
    ticks::{Limits, Ticks, number},
};
use crate::Decline;

/// How long a run was stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Followed {
    /// Step of the evaluation at which the collapse was seen; of a run without one, its last evaluation.
    pub(super) steps: u64,
    /// Whether it collapsed.
    pub(super) collapsed: bool,
}

/// The runs of an arm that were followed, by seed.
struct FollowedArm<'a> {
    style: usize,
    arm: &'a Arm,
    runs: Vec<(&'a Run, Followed)>,
}

impl FollowedArm<'_> {
    fn followed(&self) -> Vec<Followed> {
        self.runs.iter().map(|(_, followed)| *followed).collect()
    }
}

/// The share of runs that have not collapsed, from this step on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Left {
    step: u64,
    share: f64,
}

/// The product-limit estimate (Kaplan and Meier 1958, JASA 53, 457): at each step with collapses the share of runs left is
/// multiplied by 1 − collapses / runs at risk. A run that ends at a step without a collapse is at risk at that step.
fn product_limit(followed: &[Followed]) -> Vec<Left> {
    let mut steps: Vec<u64> = followed.iter().filter(|run| run.collapsed).map(|run| run.steps).collect();
    steps.sort_unstable();
    steps.dedup();
    let mut share = 1.0;
    let left = |step| {
        let at_risk = followed.iter().filter(|run| run.steps >= step).count();
        let collapses = followed.iter().filter(|run| run.collapsed && run.steps == step).count();
        share *= 1.0 - collapses as f64 / at_risk as f64;
        Left { step, share }
    };
    steps.into_iter().map(left).collect()
}

/// The first step at which no more than half of the runs are left; none when more are left in the end.
fn median_steps(curve: &[Left]) -> Option<u64> {
    curve.iter().find(|left| left.share <= 0.5 + 1e-9).map(|left| left.step)
}

impl Run {
    /// How long the run was stable; none when its evaluations do not say.
    pub(super) fn followed(&self) -> Option<Followed> {
        let last = self.evaluations.last()?;
        let collapse_step = last.decline?.collapse_step;
        Some(Followed { steps: collapse_step.unwrap_or(last.step), collapsed: collapse_step.is_some() })
    }

    /// Steps up to the last evaluation before the collapse, or all that the run was followed for.
    fn stable_steps(&self, followed: Followed) -> u64 {
        let before = self.evaluations.iter().rev().map(|row| row.step).find(|&step| step < followed.steps);
        if followed.collapsed { before.unwrap_or(0) } else { followed.steps }
    }
}

/// A cross at the evaluation at which each run collapsed, at its accuracy in percent.
pub(super) fn crosses(comparison: &Comparison) -> Vec<Cross> {
    let mut crosses = Vec::new();
    for (style, arm) in comparison.arms.iter().enumerate() {
        for run in &arm.runs {
            let collapse = run.followed().filter(|run| run.collapsed).map(|run| run.steps);
            let Some(row) = run.evaluations.iter().find(|row| Some(row.step) == collapse) else { continue };
            let name = format!("{}, seed {}: collapsed at step {}", arm.name, run.header.seed, row.step);
            crosses.push(Cross { style, name, place: (row.step as f64, row.accuracy * 100.0) });
        }
    }
    crosses
}

/// The section; nothing when no evaluation says how it stands to the best.
pub(super) fn section<'a>(comparison: &'a Comparison, out: &mut Markup) {
    let of_arm = |(style, arm): (usize, &'a Arm)| {
        let runs = arm.runs.iter().filter_map(|run| Some((run, run.followed()?))).collect();
        FollowedArm { style, arm, runs }
    };
    let arms = comparison.arms.iter().enumerate().map(of_arm);
    let measured: Vec<FollowedArm<'_>> = arms.filter(|arm| !arm.runs.is_empty()).collect();
    if measured.is_empty() {
        return;
    }
    out.put_str(
        "<section><h2>Collapse</h2><div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Collapse by arm\">\
         <table class=\"summary\"><thead><tr><th scope=\"col\">Arm</th><th scope=\"col\">Collapsed</th>\
         <th scope=\"col\">Median steps to collapse</th><th scope=\"col\">Steps of stable training, by seed</th>\
         <th scope=\"col\">Accuracy at collapse, points</th><th scope=\"col\">Tokens at collapse</th>\
         <th scope=\"col\">Back at the end</th></tr></thead><tbody>",
    );
    for arm in &measured {
        row(arm, out);
    }
    out.put_str(
        "</tbody></table></div><p class=\"caption\">A run collapses at the first evaluation whose accuracy lies more than 5 \
         points and more than 3 standard errors below the run's best so far, with fewer tokens by more than 3 standard \
         errors; errors are those of the differences problem by problem. Steps of stable training are those up to the last \
         evaluation before the collapse; + stands for a run that did not collapse in so many. The median is that of the \
         product-limit estimate, in which runs without a collapse count for as long as they were followed; a dash: more \
         than half of the runs were left. Accuracy and tokens at collapse are means over collapsed runs of the difference \
         from the best. Back at the end are collapsed runs whose last evaluation is within the bounds again.</p>",
    );
    out.put_str("<div class=\"figures alone\">");
    curves(comparison, &measured, out);
    out.put_str("</div></section>");
}

fn row(measured: &FollowedArm<'_>, out: &mut Markup) {
    let FollowedArm { style, arm, runs } = measured;
    let stable: Vec<String> = runs
        .iter()
        .map(|(run, followed)| format!("{}{}", run.stable_steps(*followed), if followed.collapsed { "" } else { "+" }))
        .collect();
    let collapses: Vec<&Decline> = runs
        .iter()
        .filter(|(_, followed)| followed.collapsed)
        .filter_map(|(run, followed)| run.evaluations.iter().find(|row| row.step == followed.steps)?.decline.as_ref())
        .collect();
    let fall = |value: fn(&Decline) -> f64| {
        let falls: Vec<f64> = collapses.iter().map(|decline| -value(decline)).collect();
        if falls.is_empty() { "–".to_owned() } else { number(mean(&falls), 1) }
    };
    let is_back = |run: &Run| run.evaluations.last().and_then(|row| row.decline).is_some_and(|last| !last.collapsed);
    let back = runs.iter().filter(|(run, followed)| followed.collapsed && is_back(run)).count();
    out.put(format_args!(
        "<tr><th scope=\"row\">{} <bdi>{}</bdi></th><td><b>{} of {}</b></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        key(*style),
        line(&arm.name),
        collapses.len(),
        runs.len(),
        median_steps(&product_limit(&measured.followed())).map_or_else(|| "–".to_owned(), |step| step.to_string()),
        stable.join(", "),
        fall(|decline| decline.accuracy_fall * 100.0),
        fall(|decline| decline.completion_tokens_fall),
        if collapses.is_empty() { "–".to_owned() } else { back.to_string() }
    ));
}

/// The share of runs left over steps.
fn curves(comparison: &Comparison, measured: &[FollowedArm<'_>], out: &mut Markup) {
    let lines: Vec<Line> = measured
        .iter()
        .map(|one| Line { style: one.style, name: one.arm.name.clone(), points: stairs(&one.followed()) })
        .collect();
    let last = measured.iter().flat_map(|one| &one.runs).map(|(_, followed)| followed.steps).max().unwrap_or(0);
    open("Runs left without a collapse", comparison, lines.iter().map(|line| line.style), out);
    let axes = Axes {
        size: Size::Wide,
        title: "Runs left without a collapse".to_owned(),
        x: Ticks::inside(0.0, last as f64, 7),
        x_label: "optimizer step".to_owned(),
        y: Ticks::around(0.0, 100.0, 5, Limits(0.0, 100.0)),
        y_label: "runs left, %".to_owned(),
        decimals: 0,
    };
    out.put_str(&line_chart(&axes, &lines, &[]));
    let seeds = measured.iter().map(|one| one.runs.len());
    let (fewest, most) = (seeds.clone().min().unwrap_or(0), seeds.max().unwrap_or(0));
    let seeds = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
    out.put(format_args!(
        "<figcaption>Vertical: share of an arm's runs that have not collapsed, percent (product-limit estimate); horizontal: \
         optimizer step of the evaluation; {seeds} {} per arm. A line ends where its last run was followed to.</figcaption></figure>",
        if most == 1 { "run" } else { "runs" }
    ));
}

/// The corners of an arm's curve.
fn stairs(followed: &[Followed]) -> Vec<(f64, SeriesPoint)> {
    let corner = |step: u64, percent: f64| {
        (step as f64, SeriesPoint { step, mean: percent, low: percent, high: percent, runs: followed.len() })
    };
    let mut share = 100.0;
    let mut points = vec![corner(0, share)];
    for left in product_limit(followed) {
        points.push(corner(left.step, share));
        share = left.share * 100.0;
        points.push(corner(left.step, share));
    }
    let last = followed.iter().map(|run| run.steps).max().unwrap_or(0);
    if points.last().is_some_and(|(_, point)| point.step < last) {
        points.push(corner(last, share));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(runs: &[(u64, &str)]) -> Vec<Followed> {
        runs.iter().map(|&(steps, end)| Followed { steps, collapsed: end == "collapsed" }).collect()
    }

    #[test]
    fn runs_that_did_not_collapse_count_for_as_long_as_they_were_followed() {
        // By hand: at 20, 1 of 5 collapses: 0.8. At 30 one run ends. At 40, 1 of 3: 0.8 · 2/3. At 60, 1 of 2: half of that.
        let runs = followed(&[(40, "collapsed"), (20, "collapsed"), (30, "ended"), (60, "ended"), (60, "collapsed")]);
        let curve = product_limit(&runs);
        let expected = [(20, 0.8), (40, 0.8 * 2.0 / 3.0), (60, 0.8 / 3.0)];
        assert_eq!(curve.len(), expected.len());
        for (left, (step, share)) in curve.iter().zip(expected) {
            assert_eq!(left.step, step);
            assert!((left.share - share).abs() < 1e-12, "{left:?}");
        }
        assert_eq!(median_steps(&curve), Some(60));
        let corners: Vec<(u64, f64)> =
            stairs(&runs).iter().map(|(_, point)| (point.step, point.mean.round())).collect();
        assert_eq!(corners, [(0, 100.0), (20, 100.0), (20, 80.0), (40, 80.0), (40, 53.0), (60, 53.0), (60, 27.0)]);
    }

    #[test]
    fn the_estimate_is_that_of_the_leukaemia_patients() {
        // Freireich et al. 1963, weeks in remission under 6-MP (21 patients, + still in remission); the estimate as in
        // Collett, Modelling Survival Data in Medical Research, and any textbook: 0.857, 0.807, 0.753, 0.690, 0.627, 0.538,
        // 0.448.
        let collapsed = [6, 6, 6, 7, 10, 13, 16, 22, 23].map(|steps| (steps, "collapsed"));
        let ended = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35].map(|steps| (steps, "ended"));
        let curve = product_limit(&followed(&[&collapsed[..], &ended].concat()));
        let expected = [(6, 0.857), (7, 0.807), (10, 0.753), (13, 0.690), (16, 0.627), (22, 0.538), (23, 0.448)];
        assert_eq!(curve.iter().map(|left| left.step).collect::<Vec<_>>(), expected.map(|(step, _)| step));
        for (left, (_, share)) in curve.iter().zip(expected) {
            assert!((left.share - share).abs() < 5e-4, "{left:?}");
        }
        assert_eq!(median_steps(&curve), Some(23));
    }

    #[test]
    fn an_arm_of_which_most_runs_are_left_has_no_median() {
        assert_eq!(median_steps(&product_limit(&followed(&[(80, "ended"), (80, "ended"), (30, "collapsed")]))), None);
        assert_eq!(median_steps(&product_limit(&followed(&[(80, "ended"), (30, "collapsed")]))), Some(30));
        assert_eq!(stairs(&followed(&[(80, "ended")])).len(), 2);
    }
}
