//! DLER: no reward beyond a fixed limit, and advantages whitened over the step (arXiv 2510.15110).

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness};
use crate::{
    advantage::AdvantageScale,
    config::{RunConfig, Truncated},
    random::Stream,
};

/// Settings of `[train.shaping.dler]`; the default is the published one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dler {
    /// A correct completion of a larger cost gets no reward.
    pub cost_max: f64,
}

impl Default for Dler {
    fn default() -> Self {
        Self { cost_max: 4000.0 }
    }
}

impl Shaper for Dler {
    fn refusal(&self, run: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        let Self { cost_max: limit } = *self;
        if limit.is_nan() || limit <= 0.0 || cost_max.is_some_and(|most| limit > most) {
            let most = cost_max.unwrap_or(f64::MAX);
            let message = format!(
                "is {limit}; the truncation is all of DLER's length pressure, so it must be above 0 and at most the limit \
                 of completions, {most}"
            );
            return Some(("train.shaping.dler.cost_max", message));
        }
        if run.train.truncated == Truncated::Drop && cost_max.is_some_and(|most| limit >= most) {
            let message = format!(
                "is {limit}, the limit of completions, and `train.truncated` = \"drop\" leaves those cut there out of the \
                 loss, so that nothing would press on length; lower it, or set `train.truncated` to \"wrong\""
            );
            return Some(("train.shaping.dler.cost_max", message));
        }
        (run.train.advantage != AdvantageScale::Whitened).then(|| {
            let message = "is not \"whitened\", which DLER is defined with: a group's standard deviation would blow up the \
                           few truncated completions of an easy group; set it, or choose another shaper";
            ("train.advantage", message.into())
        })
    }

    /// r = c up to the limit, 0 beyond.
    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        let reward = |one: &Priced| if one.cost <= self.cost_max { correctness(one) } else { 0.0 };
        Shaped::everywhere(step, step.each_group(|group| group.iter().map(reward).collect()))
    }
}
