//! Verdicts and lengths of a whole step in, rewards out: the only stage that sees all groups of the step together.
//!
//! The formulas are those of GRPO-λ (arXiv 2505.18086, section 3) and its baselines; `docs/algorithm.md` maps equations
//! to functions.

mod selection;

use serde::{Deserialize, Serialize};

pub use selection::{Selected, Selection, TieBreak, Which};

use crate::random::Stream;

/// What shaping knows of one completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// c: the verdict is correct and the completion is not truncated.
    pub correct: bool,
    /// L: completion tokens, end token included.
    pub tokens: u32,
}

/// How rewards are made from outcomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Shaping {
    /// 1 for correct, 0 for wrong (arXiv 2402.03300).
    Grpo {},
    /// Length penalty on the correct completions of every group (arXiv 2502.04463): the baseline LP.
    LengthPenalty(LengthPenalty),
    /// GRPO-λ: length penalty in a share of the step's groups, 0/1 rewards in the rest (arXiv 2505.18086).
    TopLambda(TopLambda),
}

/// Settings of [`Shaping::LengthPenalty`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LengthPenalty {
    /// α: the largest penalty. It cancels in all-correct groups under `group-std` advantages (docs/algorithm.md).
    pub alpha: f64,
    /// Standard deviation that lengths are divided by.
    pub length_std: LengthStd,
}

/// Settings of [`Shaping::TopLambda`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopLambda {
    /// λ: share of the step's groups under length penalty. λ·N is rounded to the nearest, at least 1 when λ > 0.
    pub lambda: f64,
    /// α: as in `length-penalty`.
    pub alpha: f64,
    /// Standard deviation that lengths are divided by.
    pub length_std: LengthStd,
    /// Which groups are selected.
    pub select: Which,
    /// Who is selected among groups of equal correctness ratio.
    pub ties: TieBreak,
    /// A group of a lower correctness ratio is never selected.
    pub correctness_ratio_min: f64,
    /// A group with fewer correct completions is never selected.
    pub correct_min: u32,
}

/// Which standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthStd {
    /// Divides by n.
    Population,
    /// Divides by n − 1.
    Sample,
}

impl Default for LengthPenalty {
    fn default() -> Self {
        Self { alpha: 0.2, length_std: LengthStd::Population }
    }
}

impl Default for TopLambda {
    fn default() -> Self {
        Self {
            lambda: 0.2,
            alpha: 0.2,
            length_std: LengthStd::Population,
            select: Which::Top,
            ties: TieBreak::Random,
            correctness_ratio_min: 0.0,
            correct_min: 0,
        }
    }
}

impl Shaping {
    /// Name for tables and logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Grpo {} => "grpo",
            Self::LengthPenalty(_) => "length-penalty",
            Self::TopLambda(_) => "top-lambda",
        }
    }

    /// The first setting out of range, with the reason.
    pub(crate) fn out_of_range(&self) -> Option<(&'static str, String)> {
        let share = |field, value: f64| {
            let wrong = !(0.0..=1.0).contains(&value);
            wrong.then(|| (field, format!("is {value}; it must be between 0 and 1")))
        };
        match self {
            Self::Grpo {} => None,
            Self::LengthPenalty(settings) => share("train.shaping.length-penalty.alpha", settings.alpha),
            Self::TopLambda(settings) => share("train.shaping.top-lambda.lambda", settings.lambda)
                .or_else(|| share("train.shaping.top-lambda.alpha", settings.alpha))
                .or_else(|| share("train.shaping.top-lambda.correctness_ratio_min", settings.correctness_ratio_min)),
        }
    }
}

/// Rewards of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Shaped {
    /// One reward per completion, group by group.
    pub rewards: Vec<Vec<f64>>,
    /// Which groups were under length penalty.
    pub selected: Selected,
}

/// Rewards of all groups of a step. `stream` breaks ties and makes random choices.
///
/// A permutation of completions permutes the rewards; a wrong completion always gets 0.
pub fn shape(groups: &[Vec<Outcome>], shaping: &Shaping, stream: &mut Stream) -> Shaped {
    let (selected, penalty) = match shaping {
        Shaping::Grpo {} => (Selected::none(), LengthPenalty::default()),
        Shaping::LengthPenalty(settings) => (Selected::all(groups), settings.clone()),
        Shaping::TopLambda(settings) => {
            let selection = Selection {
                share: settings.lambda,
                which: settings.select,
                ties: settings.ties,
                correctness_ratio_min: settings.correctness_ratio_min,
                correct_min: settings.correct_min,
            };
            let penalty = LengthPenalty { alpha: settings.alpha, length_std: settings.length_std };
            (selection::select(groups, &selection, stream), penalty)
        }
    };
    let rewards = groups
        .iter()
        .enumerate()
        .map(
            |(index, group)| {
                if selected.contains(index) { length_penalty(group, &penalty) } else { correctness_rewards(group) }
            },
        )
        .collect();
    Shaped { rewards, selected }
}

/// r = c (arXiv 2505.18086, accuracy-prioritised groups).
pub fn correctness_rewards(group: &[Outcome]) -> Vec<f64> {
    group.iter().map(|outcome| f64::from(u8::from(outcome.correct))).collect()
}

/// r = 1 − α·σ((L − mean)/std) for correct completions and 0 for wrong ones; mean and std over the lengths of the
/// correct completions of the group (arXiv 2505.18086, efficiency-prioritised groups; arXiv 2502.04463, equation 3).
///
/// 1e-7 is added to the std, as the code of arXiv 2502.04463 does; with one correct completion, or all correct ones of
/// equal length, z = 0 and each gets 1 − α/2.
pub fn length_penalty(group: &[Outcome], settings: &LengthPenalty) -> Vec<f64> {
    let lengths: Vec<f64> =
        group.iter().filter(|outcome| outcome.correct).map(|outcome| f64::from(outcome.tokens)).collect();
    let count = lengths.len() as f64;
    let mean = lengths.iter().sum::<f64>() / count.max(1.0);
    let degrees = match settings.length_std {
        LengthStd::Population => count,
        LengthStd::Sample => count - 1.0,
    };
    let variance = lengths.iter().map(|length| (length - mean).powi(2)).sum::<f64>() / degrees.max(1.0);
    let scale = variance.sqrt() + 1e-7;
    let reward = |outcome: &Outcome| {
        if outcome.correct { 1.0 - settings.alpha * logistic((f64::from(outcome.tokens) - mean) / scale) } else { 0.0 }
    };
    group.iter().map(reward).collect()
}

/// σ(z) = 1/(1 + e^(−z)), without overflow for any z.
fn logistic(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}
