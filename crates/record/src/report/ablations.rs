//! Accuracy and length against λ and against α, of arms that differ in nothing else. What an arm's λ and α are, its
//! resolved config says.

use toml::{Table, Value};

use super::{
    arms::Estimate,
    escape::{Markup, line},
    figures::extent,
    series::Comparison,
    states::{State, at_step, last_common_step},
    svg::{Axes, Dots, Size, dot_chart, dot_key},
    ticks::{Limits, Ticks, number},
};
use crate::RecordError;

/// What the config of an arm says about its length penalty.
#[derive(Debug, Clone, PartialEq)]
struct Penalty {
    /// Share of the groups under length penalty: 0 for GRPO, 1 for the plain length penalty.
    lambda: f64,
    /// Largest penalty; none for GRPO.
    alpha: Option<f64>,
    /// How groups are selected; none where all or none are.
    select: Option<String>,
    /// What the difference from the group's mean reward is divided by.
    advantage: String,
    /// Which standard deviation lengths are divided by; none for GRPO.
    length_std: Option<String>,
    /// The shaper's other settings, as text.
    shaper_rest: String,
    /// All other settings but arm, seed, and the paths of model and problems, which a seed may have of its own, as text.
    rest: String,
}

impl Penalty {
    /// None of a config without one of the three shapers that have a λ.
    fn read(config: &str) -> Option<Self> {
        let mut config: Table = toml::from_str(config).ok()?;
        config.remove("arm");
        config.remove("seed");
        for section in ["model", "problems"] {
            config.get_mut(section)?.as_table_mut()?.remove("path");
        }
        if let Some(evaluation) = config.get_mut("evaluation").and_then(Value::as_table_mut) {
            evaluation.remove("path");
        }
        let train = config.get_mut("train")?.as_table_mut()?;
        let advantage = train.remove("advantage").and_then(|value| value.as_str().map(str::to_owned));
        let shaping = train.remove("shaping")?;
        let shaping = shaping.as_table().filter(|shaping| shaping.len() == 1)?;
        let (shaper, settings) = shaping.iter().next()?;
        let mut settings = settings.as_table()?.clone();
        let mut real = |name| settings.remove(name).and_then(|value| as_real(&value));
        let alpha = real("alpha");
        let lambda = match shaper.as_str() {
            "grpo" => 0.0,
            "length-penalty" => 1.0,
            "top-lambda" => real("lambda")?,
            _ => return None,
        };
        let mut word = |name| settings.remove(name).and_then(|value| value.as_str().map(str::to_owned));
        let (select, length_std) = (word("select"), word("length_std"));
        Some(Self {
            lambda,
            alpha,
            select,
            length_std,
            advantage: advantage?,
            shaper_rest: settings.to_string(),
            rest: config.to_string(),
        })
    }

    /// Whether two arms may stand in one figure over λ: GRPO has no α, and only a share of groups is selected.
    fn differs_in_lambda_alone(&self, series: &Self) -> bool {
        let same_penalty = self.alpha.is_none() || (self.alpha, &self.length_std) == (series.alpha, &series.length_std);
        let same_selection =
            self.select.is_none() || (&self.select, &self.shaper_rest) == (&series.select, &series.shaper_rest);
        same_penalty && same_selection && (&self.advantage, &self.rest) == (&series.advantage, &series.rest)
    }

    fn differs_in_alpha_alone(&self, series: &Self) -> bool {
        self.alpha.is_some() && Self { alpha: series.alpha, ..self.clone() } == *series
    }
}

fn as_real(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64))
}

/// Arms of one series by the value of the setting.
struct Series<'a> {
    name: String,
    /// Ascending, each value once.
    places: Vec<(f64, &'a State<'a>)>,
}

/// Which setting a figure is over.
struct Over {
    setting: &'static str,
    unit: &'static str,
    scale: f64,
}

/// The section: λ where a series has three values of it or more, α where one has two or more.
///
/// # Errors
/// [`RecordError`] when a config cannot be read.
pub(super) fn section(comparison: &Comparison, out: &mut Markup) -> Result<(), RecordError> {
    let Some(step) = last_common_step(comparison) else { return Ok(()) };
    let states = at_step(comparison, step);
    let mut penalties = Vec::new();
    for state in &states {
        let run = state.style.and_then(|style| comparison.arms[style].runs.first());
        let config = run.map(|run| run.directory.config_toml()).transpose()?.unwrap_or_default();
        penalties.extend(Penalty::read(&config).map(|penalty| (penalty, state)));
    }
    let lambda = Over { setting: "λ", unit: "share of groups under length penalty (λ), %", scale: 100.0 };
    let alpha = Over { setting: "α", unit: "largest penalty (α)", scale: 1.0 };
    let figures = [(lambda, over_lambda(&penalties), 3), (alpha, over_alpha(&penalties), 2)];
    let mut opened = false;
    for (over, series, values_min) in figures {
        let series: Vec<Series<'_>> = series.into_iter().filter(|one| one.places.len() >= values_min).collect();
        if series.is_empty() {
            continue;
        }
        if !opened {
            out.put_str("<section><h2>Ablations</h2><div class=\"figures\">");
            opened = true;
        }
        let styles = comparison.arms.len();
        let what = (&over, &*series, styles);
        figure("Accuracy", ("accuracy, %", |state| state.accuracy()), what, step, out);
        figure("Completion tokens", ("mean completion tokens", |state| state.tokens()), what, step, out);
    }
    if opened {
        out.put_str("</div></section>");
    }
    Ok(())
}

/// One series for each way of selecting a share of groups, with GRPO and the plain penalty at its ends.
fn over_lambda<'a>(penalties: &[(Penalty, &'a State<'a>)]) -> Vec<Series<'a>> {
    let name = |penalty: &Penalty| {
        let select = penalty.select.as_deref().unwrap_or_default();
        format!("{select} groups{}{}", alpha_said(penalty), divisor_said(penalty))
    };
    let selecting = penalties.iter().filter(|(penalty, _)| penalty.select.is_some());
    series(penalties, selecting, (name, |penalty| penalty.lambda, Penalty::differs_in_lambda_alone))
}

fn over_alpha<'a>(penalties: &[(Penalty, &'a State<'a>)]) -> Vec<Series<'a>> {
    let name = |penalty: &Penalty| {
        let groups = match &penalty.select {
            Some(select) => format!("{select} {} % of groups", number(penalty.lambda * 100.0, 0)),
            None => "every group".to_owned(),
        };
        groups + divisor_said(penalty)
    };
    let with_alpha = penalties.iter().filter(|(penalty, _)| penalty.alpha.is_some());
    series(penalties, with_alpha, (name, |penalty| penalty.alpha.unwrap_or(0.0), Penalty::differs_in_alpha_alone))
}

fn alpha_said(penalty: &Penalty) -> String {
    penalty.alpha.map_or_else(String::new, |alpha| format!(", α = {alpha}"))
}

fn divisor_said(penalty: &Penalty) -> &'static str {
    match penalty.advantage.as_str() {
        "group-std" => ", divided by std",
        "none" => ", not divided by std",
        _ => ", divided by the step's std",
    }
}

/// The name of a series, the value of the setting, and whether an arm belongs to the series of another.
type Rule = (fn(&Penalty) -> String, fn(&Penalty) -> f64, fn(&Penalty, &Penalty) -> bool);

/// The series that `leaders` begin, each arm under its value; of two arms of one value the first counts.
fn series<'a: 'b, 'b>(
    penalties: &[(Penalty, &'a State<'a>)],
    leaders: impl Iterator<Item = &'b (Penalty, &'a State<'a>)>,
    (name, value, belongs): Rule,
) -> Vec<Series<'a>> {
    let mut found: Vec<Series<'a>> = Vec::new();
    for (leader, state) in leaders {
        let is_known = |series: &Series<'_>| series.places.iter().any(|(_, known)| std::ptr::eq(*known, *state));
        if found.iter().any(is_known) {
            continue;
        }
        let mut places: Vec<(f64, &State<'_>)> = penalties
            .iter()
            .filter(|(other, _)| belongs(other, leader))
            .map(|(other, at)| (value(other), *at))
            .collect();
        places.sort_by(|a, b| a.0.total_cmp(&b.0));
        places.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq());
        found.push(Series { name: name(leader), places });
    }
    found
}

fn figure(
    quantity: &str,
    (y_label, value): (&str, fn(&State<'_>) -> Option<Estimate>),
    (over, series, styles): (&Over, &[Series<'_>], usize),
    step: u64,
    out: &mut Markup,
) {
    let mut values: Vec<f64> = series.iter().flat_map(|one| one.places.iter().map(|place| place.0)).collect();
    values.sort_by(f64::total_cmp);
    values.dedup_by(|a, b| a.total_cmp(b).is_eq());
    let dots: Vec<Dots> = series
        .iter()
        .enumerate()
        .map(|(index, one)| {
            let at = |wanted: &f64| one.places.iter().find(|place| place.0.total_cmp(wanted).is_eq());
            let estimate =
                |wanted: &f64| value(at(wanted)?.1).map(|found| (found.mean, found.error.map(|error| error.0)));
            Dots { style: Some(styles + index), name: one.name.clone(), values: values.iter().map(estimate).collect() }
        })
        .collect();
    let reach = dots.iter().flat_map(|one| one.values.iter().flatten());
    let reach = reach.flat_map(|&(mean, error)| [mean - error.unwrap_or(0.0), mean + error.unwrap_or(0.0)]);
    let Some((low, high)) = extent(reach) else { return };
    let is_share = y_label.ends_with('%');
    let limits = if is_share { Limits(0.0, 100.0) } else { Limits(0.0, f64::INFINITY) };
    let axes = Axes {
        size: Size::Wide,
        title: format!("{quantity} by {}", over.setting),
        x: Ticks::inside(0.0, 1.0, 1),
        x_label: over.unit.to_owned(),
        y: Ticks::around(low.max(limits.0), high.min(limits.1), 5, limits),
        y_label: y_label.to_owned(),
        decimals: 1,
    };
    out.put(format_args!("<figure><h3>{quantity} by {}</h3><ul class=\"legend\">", over.setting));
    for one in &dots {
        out.put(format_args!("<li>{}<bdi>{}</bdi></li>", dot_key(one.style), line(&one.name)));
    }
    out.put_str("</ul>");
    let categories: Vec<String> =
        values.iter().map(|value| format!("{}", (value * over.scale * 1e6).round() / 1e6)).collect();
    out.put_str(&dot_chart(&axes, &categories, &dots));
    let seeds = series.iter().flat_map(|one| &one.places).map(|place| place.1.seeds.len());
    let (fewest, most) = (seeds.clone().min().unwrap_or(0), seeds.max().unwrap_or(0));
    let seeds = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
    out.put(format_args!(
        "<figcaption>Vertical: {y_label} after {step} steps, mean over {seeds} {} of an arm, whiskers: ± one standard error; \
         horizontal: {}. Arms of a series differ in {} alone{}.</figcaption></figure>",
        if most == 1 { "seed" } else { "seeds" },
        over.unit,
        over.setting,
        if over.setting == "λ" { "; 0 is GRPO and 100 the length penalty in every group" } else { "" }
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(arm: &str, advantage: &str, shaping: &str) -> String {
        format!(
            "arm = '{arm}'\nseed = 3\n[model]\npath = 'm'\n[problems]\npath = 'p'\n[train]\nsteps = 80\nadvantage = '{advantage}'\n\
             [train.shaping.{shaping}\n"
        )
    }

    fn penalty(advantage: &str, shaping: &str) -> Penalty {
        Penalty::read(&config("a", advantage, shaping)).expect("a shaper with a λ")
    }

    #[test]
    fn a_config_says_its_lambda_and_alpha() {
        let top = penalty("group-std", "top-lambda]\nlambda = 0.2\nalpha = 0.5\nselect = 'random'\nties = 'index'");
        assert_eq!((top.lambda, top.alpha, top.select.as_deref()), (0.2, Some(0.5), Some("random")));
        let every = penalty("none", "length-penalty]\nalpha = 1");
        assert_eq!((every.lambda, every.alpha, every.select), (1.0, Some(1.0), None));
        let none = penalty("none", "grpo]");
        assert_eq!((none.lambda, none.alpha), (0.0, None));
        assert_eq!(Penalty::read(&config("a", "none", "kimi]\nweight = 1")), None);
        assert_eq!(Penalty::read("[train]\nsteps = 1\n"), None);
    }

    #[test]
    fn arms_stand_in_one_figure_when_they_differ_in_the_setting_alone() {
        let top = |lambda: &str, alpha: &str, select: &str| {
            penalty("group-std", &format!("top-lambda]\nlambda = {lambda}\nalpha = {alpha}\nselect = '{select}'"))
        };
        let leader = top("0.2", "0.2", "top");
        for (other, in_lambda, in_alpha) in [
            (leader.clone(), true, true),
            (top("0.5", "0.2", "top"), true, false),
            (top("0.2", "0.5", "top"), false, true),
            (top("0.2", "0.2", "random"), false, false),
            (penalty("group-std", "grpo]"), true, false),
            (penalty("group-std", "length-penalty]\nalpha = 0.2"), true, false),
            (penalty("group-std", "length-penalty]\nalpha = 1.0"), false, false),
            (penalty("group-std", "length-penalty]\nalpha = 0.2\nlength_std = 'sample'"), false, false),
            (penalty("none", "grpo]"), false, false),
        ] {
            assert_eq!(other.differs_in_lambda_alone(&leader), in_lambda, "{other:?}");
            assert_eq!(other.differs_in_alpha_alone(&leader), in_alpha, "{other:?}");
        }
    }
}
