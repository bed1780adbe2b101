//! The cosine length reward (arXiv 2502.03373, section 4.2).

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, outside, required_limit};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.cosine]`; the defaults are the published ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cosine {
    /// Lmax: the cost at which the cosine ends; the token limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_max: Option<f64>,
    /// Reward of a correct completion of cost 0.
    pub correct_short: f64,
    /// Reward of a correct completion just below Lmax; at most `correct_short`.
    pub correct_long: f64,
    /// Reward of a wrong completion of cost 0; at most `wrong_long`.
    pub wrong_short: f64,
    /// Reward of a wrong completion just below Lmax.
    pub wrong_long: f64,
    /// Reward of any completion at Lmax or beyond; at most `correct_long`.
    pub exceeding: f64,
}

impl Default for Cosine {
    fn default() -> Self {
        Self {
            cost_max: None,
            correct_short: 2.0,
            correct_long: 1.0,
            wrong_short: -10.0,
            wrong_long: 0.0,
            exceeding: -10.0,
        }
    }
}

impl Shaper for Cosine {
    fn refusal(&self, _: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        let Self { correct_short, correct_long, wrong_short, wrong_long, exceeding, .. } = *self;
        required_limit("train.shaping.cosine.cost_max", self.cost_max, cost_max)
            .or_else(|| outside("train.shaping.cosine.correct_short", correct_short, -1e6, 1e6))
            .or_else(|| outside("train.shaping.cosine.correct_long", correct_long, -1e6, correct_short))
            .or_else(|| outside("train.shaping.cosine.wrong_long", wrong_long, -1e6, 1e6))
            .or_else(|| outside("train.shaping.cosine.wrong_short", wrong_short, -1e6, wrong_long))
            .or_else(|| outside("train.shaping.cosine.exceeding", exceeding, -1e6, correct_long))
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        let most = self.cost_max.unwrap_or_else(|| step.limit());
        Shaped::everywhere(step, step.each_group(|group| group.iter().map(|one| self.reward(one, most)).collect()))
    }
}

impl Cosine {
    /// r = b + (a − b)(1 + cos(π·L/Lmax))/2, from a at 0 to b at Lmax: `correct_short` to `correct_long` for correct
    /// completions, `wrong_short` to `wrong_long` for wrong ones; `exceeding` from Lmax on.
    ///
    /// As published, longer is better among wrong completions below Lmax, also where no completion is correct.
    fn reward(&self, one: &Priced, most: f64) -> f64 {
        if one.cost >= most {
            return self.exceeding;
        }
        let of_correct = (self.correct_short, self.correct_long);
        let (short, long) = if one.correct { of_correct } else { (self.wrong_short, self.wrong_long) };
        long + (short - long) * (1.0 + (PI * one.cost / most).cos()) / 2.0
    }
}
