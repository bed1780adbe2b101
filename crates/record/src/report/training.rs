//! The figures of what happened in training: groups, lengths against correctness, and the health of the optimisation.

use super::{
    escape::Markup,
    figures::{OverSteps, PERCENT, POSITIVE, arms, middle_of_point, over_steps},
    series::Comparison,
    svg::{Line, Size},
    ticks::Limits,
};
use crate::{ShaperMetrics, StepMetrics};

const SHARE: Limits = Limits(0.0, 1.0);
const CORRELATION: Limits = Limits(-1.0, 1.0);

/// A number of each step.
struct Figure {
    heading: &'static str,
    /// Quantity and unit on the vertical axis.
    y_label: &'static str,
    /// What the vertical axis is, for the caption.
    meaning: &'static str,
    limits: Limits,
    decimals: usize,
    /// The number, where the step has one.
    value: fn(&StepMetrics) -> Option<f64>,
}

/// In their order on the page. One without a value in any run is left out: λ that does not adapt, a risk that was not
/// watched.
const FIGURES: [Figure; 10] = [
    share(
        "Groups under length penalty",
        "groups selected for the length penalty over all groups of the step, percent",
        |row| Some(row.selection.share * 100.0),
    ),
    Figure {
        heading: "Adapting λ",
        y_label: "λ",
        meaning: "λ as the shaper set it: the share of groups that come under length penalty",
        limits: SHARE,
        decimals: 2,
        value: lambda,
    },
    share(
        "All-correct groups",
        "groups in which every completion was correct over all groups of the step, percent",
        |row| Some(row.all_correct_share * 100.0),
    ),
    Figure {
        heading: "Length and correctness",
        y_label: "correlation",
        meaning: "Pearson correlation of completion tokens and correctness within groups that hold right and wrong \
                  completions; positive where longer completions are more often right",
        limits: CORRELATION,
        decimals: 2,
        value: |row| row.length_correctness_correlation,
    },
    share(
        "Advantage from length alone",
        "share of the squared advantages that is among completions of equal correctness, where 0/1 rewards have \
         none, percent",
        |row| Some(row.signals.as_ref()?.within_correctness_advantage_share? * 100.0),
    ),
    Figure {
        heading: "Risk of collapse",
        y_label: "risk",
        meaning: "risk of a collapse within the horizon of the early warning, 0 to 1",
        limits: SHARE,
        decimals: 2,
        value: |row| row.warning.as_ref()?.risk,
    },
    Figure {
        heading: "Entropy",
        y_label: "nats per token",
        meaning: "mean entropy of the policy's next-token distribution, nats",
        limits: POSITIVE,
        decimals: 4,
        value: |row| Some(row.entropy_nats),
    },
    Figure {
        heading: "Divergence from the reference",
        y_label: "nats per token",
        meaning: "mean k3 estimate of the KL divergence to the reference policy, nats",
        limits: POSITIVE,
        decimals: 4,
        value: |row| row.kl_nats,
    },
    Figure {
        heading: "Gradient norm",
        y_label: "global norm",
        meaning: "global norm of the gradient before clipping",
        limits: POSITIVE,
        decimals: 3,
        value: |row| Some(row.gradient_norm),
    },
    share("Truncated completions", "completions cut off at the token limit over all completions, percent", |row| {
        Some(row.truncated_share * 100.0)
    }),
];

/// A share; `value` gives it in percent.
const fn share(heading: &'static str, meaning: &'static str, value: fn(&StepMetrics) -> Option<f64>) -> Figure {
    Figure { heading, y_label: "share, %", meaning, limits: PERCENT, decimals: 1, value }
}

/// λ of the adaptive shaper.
fn lambda(row: &StepMetrics) -> Option<f64> {
    row.shapers.iter().find_map(|shaper| match shaper {
        ShaperMetrics::AdaptiveLambda { lambda, .. } => Some(*lambda),
        ShaperMetrics::Acoer { .. } | ShaperMetrics::LaserD { .. } => None,
    })
}

/// All of them.
pub(super) fn section(comparison: &Comparison, out: &mut Markup) {
    out.put_str("<section><h2>Training</h2>");
    if comparison.runs().all(|run| run.metrics.is_empty()) {
        out.put_str("<p class=\"remark\">No training step has been recorded yet.</p></section>");
        return;
    }
    out.put_str("<div class=\"figures small\">");
    for figure in &FIGURES {
        put(comparison, figure, out);
    }
    out.put_str("</div></section>");
}

fn put(comparison: &Comparison, figure: &Figure, out: &mut Markup) {
    let lines: Vec<Line> = arms(comparison)
        .map(|(style, arm)| Line {
            style,
            name: arm.name.clone(),
            points: comparison
                .training(arm, figure.value)
                .into_iter()
                .map(|point| (middle_of_point(comparison, point.step), point))
                .collect(),
        })
        .collect();
    if lines.iter().all(|line| line.points.is_empty()) {
        return;
    }
    let averaged = match comparison.steps_per_point {
        1 => String::new(),
        width => format!("; each point is the mean of {width} steps"),
    };
    let drawn = OverSteps {
        heading: figure.heading,
        y_label: figure.y_label,
        meaning: &format!("{}{averaged}", figure.meaning),
        limits: figure.limits,
        size: Size::Small,
        decimals: figure.decimals,
    };
    over_steps(comparison, &drawn, (&lines, &[]), out);
}
