//! Accuracy under smaller token budgets, which the same completions tell: each arm's, and which arm is best under each.

use super::{
    escape::{Markup, line},
    figures::extent,
    series::Comparison,
    states::{State, at_step, last_common_step, start},
    svg::{Axes, Dots, Size, dot_chart, dot_key},
    ticks::{Limits, Ticks, number},
};

/// Budgets of a summary: the parts of a limit that [`crate::token_budgets`] has.
const BUDGETS_MAX: usize = 5;

/// The figure; nothing where no evaluation has budgets.
pub(super) fn figure(comparison: &Comparison, out: &mut Markup) {
    let Some(step) = last_common_step(comparison) else { return };
    let states: Vec<State<'_>> = std::iter::once(start(comparison)).chain(at_step(comparison, step)).collect();
    let budgets: Vec<u32> = states.iter().find_map(|state| state.seeds.first()).map_or_else(Vec::new, |(row, _)| {
        row.budgets.iter().take(BUDGETS_MAX).map(|budget| budget.budget_tokens).collect()
    });
    let series: Vec<Dots> = states
        .iter()
        .map(|state| Dots {
            style: state.style,
            name: state.name.clone(),
            values: budgets.iter().map(|&budget| accuracy_within(state, budget)).collect(),
        })
        .collect();
    let shown = series.iter().flat_map(|dots| dots.values.iter().flatten());
    let reach = shown.flat_map(|&(value, error)| [value - error.unwrap_or(0.0), value + error.unwrap_or(0.0)]);
    let Some((low, high)) = extent(reach) else { return };
    let axes = Axes {
        size: Size::Wide,
        title: "Accuracy under a token budget".to_owned(),
        x: Ticks::inside(0.0, 1.0, 1),
        x_label: "token budget".to_owned(),
        y: Ticks::around(low.max(0.0), high.min(100.0), 5, Limits(0.0, 100.0)),
        y_label: "accuracy, %".to_owned(),
        decimals: 1,
    };
    out.put_str("<figure><h3>Accuracy under a token budget</h3><ul class=\"legend\">");
    for dots in &series {
        out.put(format_args!("<li>{}<bdi>{}</bdi></li>", dot_key(dots.style), line(&dots.name)));
    }
    out.put_str("</ul>");
    let categories: Vec<String> = budgets.iter().map(|&budget| number(f64::from(budget), 0)).collect();
    out.put_str(&dot_chart(&axes, &categories, &series));
    out.put(format_args!(
        "<figcaption>Vertical: completions that are right and end within the budget, percent; horizontal: budget, tokens; hollow: \
         mean over all seeds at the start; filled: mean over the seeds of an arm after {step} steps; whiskers: ± one standard \
         error, over seeds where there are several. The envelope, the best of all under each budget, which chance flatters: \
         {}.</figcaption></figure>",
        envelope(&categories, &series).join("; ")
    ));
}

fn accuracy_within(state: &State<'_>, budget_tokens: u32) -> Option<(f64, Option<f64>)> {
    let within =
        |row: &crate::EvaluationSummary| row.budgets.iter().find(|one| one.budget_tokens == budget_tokens).cloned();
    let estimate =
        state.estimate(|row| Some(within(row)?.accuracy * 100.0), |row| Some(within(row)?.accuracy_error * 100.0));
    estimate.map(|estimate| (estimate.mean, estimate.error.map(|(error, _)| error)))
}

/// `20 tokens: top-lambda, 61.3 %` for each budget under which something is right; the first of equals.
fn envelope(categories: &[String], series: &[Dots]) -> Vec<String> {
    let best = |(index, category): (usize, &String)| {
        let mut best: Option<(f64, &str)> = None;
        for dots in series {
            let Some((value, _)) = dots.values[index] else { continue };
            if value > best.map_or(0.0, |(best, _)| best) {
                best = Some((value, &dots.name));
            }
        }
        best.map(|(value, name)| format!("{category} tokens: {}, {} %", line(name), number(value, 1)))
    };
    categories.iter().enumerate().filter_map(best).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_names_the_best_under_each_budget() {
        let dots = |name: &str, values: &[f64]| Dots {
            style: None,
            name: name.to_owned(),
            values: values.iter().map(|&value| Some((value, None))).collect(),
        };
        let series = [dots("a", &[0.0, 20.0, 50.0]), dots("<b>", &[0.0, 30.0, 50.0])];
        let categories = ["5", "10", "20"].map(str::to_owned);
        assert_eq!(envelope(&categories, &series), ["10 tokens: &lt;b&gt;, 30.0 %", "20 tokens: a, 50.0 %"]);
    }
}
