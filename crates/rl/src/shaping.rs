//! Verdicts and costs of a whole step in, rewards out: the only stage that sees all groups of the step together.
//!
//! One file per shaper holds its settings, their ranges, its formula and the paper it is from; here are the enum that a
//! config chooses from and what all shapers share. `docs/algorithm.md` lists equations and functions.

mod acoer;
mod adaptive_lambda;
mod alone;
mod alp;
mod cosine;
mod ddca;
mod dler;
mod gr3;
mod kimi;
mod l1;
mod laser;
mod laser_d;
mod length_penalty;
mod matched_penalty;
mod ratio_linear;
mod selection;
mod short_rl;
mod soft_overlong;
mod top_lambda;
mod weighted;

use std::{collections::BTreeMap, mem::discriminant};

use record::ShaperMetrics;
use serde::{Deserialize, Serialize};

pub use acoer::{Acoer, AcoerState};
pub use adaptive_lambda::{AdaptiveLambda, AdaptiveLambdaState};
pub use alp::Alp;
pub use cosine::Cosine;
pub use ddca::Ddca;
pub use dler::Dler;
pub use gr3::Gr3;
pub use kimi::Kimi;
pub use l1::{L1Exact, L1Max};
pub use laser::Laser;
pub use laser_d::{LaserD, LaserDState};
pub use length_penalty::{LengthPenalty, LengthStd, length_penalty};
pub use matched_penalty::MatchedPenalty;
pub use ratio_linear::RatioLinear;
pub use selection::{Selected, Selection, TieBreak, Which};
pub use short_rl::{ShortRl, ShortRlState};
pub use soft_overlong::SoftOverlong;
pub use top_lambda::TopLambda;
pub use weighted::{Objective, Weighted};

use crate::{
    advantage::{AdvantageScale, advantages},
    config::RunConfig,
    random::Stream,
};

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
    /// GRPO-λ with a λ that follows the accuracy of training: ours.
    AdaptiveLambda(AdaptiveLambda),
    /// A control of GRPO-λ: the penalty in every group, in sum as strong as GRPO-λ's.
    MatchedPenalty(MatchedPenalty),
    /// Kimi k1.5: shortness within the range of the group (arXiv 2501.12599).
    Kimi(Kimi),
    /// A cosine of the length, for correct and for wrong completions (arXiv 2502.03373).
    Cosine(Cosine),
    /// DAPO's punishment just below the token limit (arXiv 2503.14476).
    SoftOverlong(SoftOverlong),
    /// Distance from a budget in the prompt (arXiv 2503.04697).
    L1Exact(L1Exact),
    /// Room below a budget in the prompt (arXiv 2503.04697).
    L1Max(L1Max),
    /// A bonus up to a target length (arXiv 2505.15612).
    Laser(Laser),
    /// LASER with targets by difficulty that follow the policy (arXiv 2505.15612).
    LaserD(LaserD),
    /// A penalty for each token that grows with the correctness ratio (arXiv 2506.05256).
    Alp(Alp),
    /// Rewards divided by relative length (arXiv 2603.10535).
    Gr3(Gr3),
    /// Kimi's reward on correct completions while accuracy holds (arXiv 2505.12284).
    ShortRl(ShortRl),
    /// An advantage for length beside that for correctness (arXiv 2602.02099).
    Ddca(Ddca),
    /// A brevity bonus whose strength a control loop moves (arXiv 2606.22716).
    Acoer(Acoer),
    /// A linear penalty that grows with the correctness ratio (prime-rl).
    #[serde(rename = "pass-rate-linear")]
    RatioLinear(RatioLinear),
    /// No reward beyond a fixed limit, whitened advantages (arXiv 2510.15110).
    Dler(Dler),
    /// Several of these with weights, each on a cost of its own.
    Weighted(Weighted),
}

/// What a shaper remembers from step to step; a part of every checkpoint.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum ShaperState {
    /// Most shapers remember nothing.
    Nothing {},
    /// Of [`Shaping::AdaptiveLambda`].
    AdaptiveLambda(AdaptiveLambdaState),
    /// Of [`Shaping::LaserD`].
    LaserD(LaserDState),
    /// Of [`Shaping::ShortRl`].
    ShortRl(ShortRlState),
    /// Of [`Shaping::Acoer`].
    Acoer(AcoerState),
    /// Of [`Shaping::Weighted`], one for each objective.
    Weighted(Vec<ShaperState>),
}

impl Shaping {
    /// Name and shaper of each variant: the one match on them.
    fn shaper(&self) -> (&'static str, &dyn Shaper) {
        match self {
            Self::Grpo {} => ("grpo", &Grpo),
            Self::LengthPenalty(settings) => ("length-penalty", settings),
            Self::TopLambda(settings) => ("top-lambda", settings),
            Self::AdaptiveLambda(settings) => ("adaptive-lambda", settings),
            Self::MatchedPenalty(settings) => ("matched-penalty", settings),
            Self::Kimi(settings) => ("kimi", settings),
            Self::Cosine(settings) => ("cosine", settings),
            Self::SoftOverlong(settings) => ("soft-overlong", settings),
            Self::L1Exact(settings) => ("l1-exact", settings),
            Self::L1Max(settings) => ("l1-max", settings),
            Self::Laser(settings) => ("laser", settings),
            Self::LaserD(settings) => ("laser-d", settings),
            Self::Alp(settings) => ("alp", settings),
            Self::Gr3(settings) => ("gr3", settings),
            Self::ShortRl(settings) => ("short-rl", settings),
            Self::Ddca(settings) => ("ddca", settings),
            Self::Acoer(settings) => ("acoer", settings),
            Self::RatioLinear(settings) => ("pass-rate-linear", settings),
            Self::Dler(settings) => ("dler", settings),
            Self::Weighted(settings) => ("weighted", settings),
        }
    }

    /// Name for tables and logs.
    pub fn name(&self) -> &'static str {
        self.shaper().0
    }

    /// The first setting that is out of range or contradicts another one of `run`, with the reason.
    pub(crate) fn refusal(&self, run: &RunConfig) -> Option<Refusal> {
        self.shaper().1.refusal(run, Some(run.rollout.completion_tokens_max as f64))
    }

    /// What the shaper remembers before step 0.
    pub fn start(&self) -> ShaperState {
        self.shaper().1.start()
    }

    /// Whether `state` is one that this shaper leaves.
    pub fn accepts(&self, state: &ShaperState) -> bool {
        self.shaper().1.start().is_like(state)
    }
}

impl ShaperState {
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Weighted(ours), Self::Weighted(theirs)) => {
                ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(our, their)| our.is_like(their))
            }
            _ => discriminant(self) == discriminant(other),
        }
    }
}

/// A setting and what is wrong with it.
type Refusal = (&'static str, String);

/// One way of making rewards from outcomes.
trait Shaper {
    /// The first setting that is out of range or contradicts another one of `run`; `cost_max` is the largest cost that a
    /// completion can have, where there is one.
    fn refusal(&self, run: &RunConfig, cost_max: Option<f64>) -> Option<Refusal>;

    /// What is remembered before step 0.
    fn start(&self) -> ShaperState {
        ShaperState::Nothing {}
    }

    /// Rewards of a step. `stream` breaks ties and makes random choices; `state` is what [`Shaper::start`] or the step
    /// before left.
    fn shape(&self, step: &Step, state: &mut ShaperState, stream: &mut Stream) -> Shaped;
}

/// What is known of one completion: its verdict and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// c: the verdict is correct and the completion is not truncated.
    pub correct: bool,
    /// L: completion tokens, end token included.
    pub tokens: u32,
}

/// One completion as a shaper sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Priced {
    /// c: the verdict is correct and the completion is not truncated.
    pub correct: bool,
    /// L: the cost that is shaped, not negative; completion tokens unless an objective names another.
    pub cost: f64,
    /// n: the budget that the prompt asked for, where it named one.
    pub budget: Option<f64>,
}

impl From<&Outcome> for Priced {
    fn from(outcome: &Outcome) -> Self {
        Self { correct: outcome.correct, cost: f64::from(outcome.tokens), budget: None }
    }
}

/// All that a shaper sees of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The step, from 0.
    pub index: u64,
    /// Completions by group, \[N\]\[G\].
    pub groups: Vec<Vec<Priced>>,
    /// Largest cost that a completion can have, where there is one: the token limit.
    pub cost_max: Option<f64>,
    /// Costs other than tokens by name, each \[N\]\[G\].
    pub costs: BTreeMap<String, Vec<Vec<f64>>>,
    /// How rewards become advantages, for shapers that reach into them.
    pub scale: AdvantageScale,
}

impl Step {
    /// Step 0 with these outcomes, costs in tokens, no token limit and advantages of GRPO.
    pub fn of_outcomes(outcomes: &[Vec<Outcome>]) -> Self {
        let groups = outcomes.iter().map(|group| group.iter().map(Priced::from).collect()).collect();
        Self { index: 0, groups, cost_max: None, costs: BTreeMap::new(), scale: AdvantageScale::GroupStd }
    }

    /// Gives each group the budget that its prompt asked for.
    pub fn give_budgets(&mut self, budgets: impl IntoIterator<Item = u32>) {
        for (group, budget) in self.groups.iter_mut().zip(budgets) {
            for one in group {
                one.budget = Some(f64::from(budget));
            }
        }
    }

    /// The largest cost that a completion can have.
    fn limit(&self) -> f64 {
        self.cost_max.expect("a shaper that needs a limit and is not given one is refused")
    }

    /// `reward` of each group.
    fn each_group(&self, reward: impl FnMut(&Vec<Priced>) -> Vec<f64>) -> Vec<Vec<f64>> {
        self.groups.iter().map(reward).collect()
    }
}

/// What shaping makes of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Shaped {
    /// One reward per completion, group by group, \[N\]\[G\].
    pub rewards: Vec<Vec<f64>>,
    /// What the method adds to the advantages that the rewards give, \[N\]\[G\]; none where rewards say all.
    pub added: Option<Vec<Vec<f64>>>,
    /// Which groups were under length pressure.
    pub selected: Selected,
    /// Where control loops and moving targets stood in this step; empty where nothing moves.
    pub shapers: Vec<ShaperMetrics>,
}

impl Shaped {
    /// Rewards that say all, with every group under length pressure.
    fn everywhere(step: &Step, rewards: Vec<Vec<f64>>) -> Self {
        Self { rewards, added: None, selected: Selected::all(&step.groups), shapers: Vec::new() }
    }

    /// 0/1 rewards, with no group under length pressure.
    fn nowhere(step: &Step) -> Self {
        Self {
            rewards: step.each_group(|group| correctness_rewards(group)),
            added: None,
            selected: Selected::none(),
            shapers: Vec::new(),
        }
    }

    /// Advantages, \[N\]\[G\]: those of the rewards under `scale`, and what the method adds to them.
    pub fn advantages(&self, scale: AdvantageScale) -> Vec<Vec<f64>> {
        let mut advantages = advantages(&self.rewards, scale);
        for (group, added) in advantages.iter_mut().zip(self.added.iter().flatten()) {
            group.iter_mut().zip(added).for_each(|(advantage, added)| *advantage += added);
        }
        advantages
    }
}

/// Rewards of all groups of a step under `shaping`; `state` is what [`Shaping::start`] or the step before left, and
/// `stream` breaks ties and makes random choices.
pub fn shape(step: &Step, shaping: &Shaping, state: &mut ShaperState, stream: &mut Stream) -> Shaped {
    shaping.shaper().1.shape(step, state, stream)
}

/// [`Shaping::Grpo`].
struct Grpo;

impl Shaper for Grpo {
    fn refusal(&self, _: &RunConfig, _: Option<f64>) -> Option<Refusal> {
        None
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        Shaped::nowhere(step)
    }
}

/// r = c (arXiv 2402.03300; accuracy-prioritised groups of arXiv 2505.18086).
pub fn correctness_rewards(group: &[Priced]) -> Vec<f64> {
    group.iter().map(correctness).collect()
}

/// c as a number.
fn correctness(one: &Priced) -> f64 {
    f64::from(u8::from(one.correct))
}

/// Refuses `value` outside `min` … `max`.
fn outside(field: &'static str, value: f64, min: f64, max: f64) -> Option<Refusal> {
    (!(min..=max).contains(&value)).then(|| (field, format!("is {value}; it must be between {min} and {max}")))
}

/// Refuses a shaper that has no limit of its own for a cost without one, and a limit that is none.
fn required_limit(field: &'static str, own: Option<f64>, cost_max: Option<f64>) -> Option<Refusal> {
    match own.or(cost_max) {
        Some(limit) => outside(field, limit, 1e-3, f64::MAX),
        None => Some((field, "is not given, and only tokens have a limit to take instead; set it".into())),
    }
}

/// Refuses a length that no correct completion is longer than, with what comes of that.
fn refuse_from_limit(field: &'static str, value: f64, cost_max: Option<f64>, consequence: &str) -> Option<Refusal> {
    let limit = cost_max.filter(|limit| value >= *limit)?;
    Some((field, format!("is {value}, and {consequence}; set it below the limit of completions, {limit}")))
}

/// Refuses dynamic sampling beside a shaper that follows the accuracy of the policy.
fn refuse_replaced_groups(shaper: &str, run: &RunConfig) -> Option<Refusal> {
    run.train.dynamic_sampling.as_ref().map(|_| {
        let message = format!(
            "replaces groups by their correctness, and the accuracy that `{shaper}` follows would not be the policy's; \
             leave out one of the two"
        );
        ("train.dynamic_sampling", message)
    })
}

/// Correct completions of the step over all of them; 0 of an empty step.
fn step_accuracy(step: &Step) -> f64 {
    let correct: usize = step.groups.iter().map(|group| selection::correct(group)).sum();
    let count: usize = step.groups.iter().map(Vec::len).sum();
    correct as f64 / count.max(1) as f64
}
