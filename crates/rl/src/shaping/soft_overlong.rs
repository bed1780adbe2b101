//! The soft overlong punishment of DAPO (arXiv 2503.14476, equation 13).

use serde::{Deserialize, Serialize};

use super::{Priced, Refusal, Shaped, Shaper, ShaperState, Step, correctness, outside, required_limit};
use crate::{config::RunConfig, random::Stream};

/// Settings of `[train.shaping.soft-overlong]`; the buffer is the published one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SoftOverlong {
    /// Lmax: the cost at which the punishment is whole; the token limit unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_max: Option<f64>,
    /// Lc: the costs below Lmax over which the punishment grows.
    pub buffer: f64,
}

impl Default for SoftOverlong {
    fn default() -> Self {
        Self { cost_max: None, buffer: 4096.0 }
    }
}

impl Shaper for SoftOverlong {
    fn refusal(&self, _: &RunConfig, cost_max: Option<f64>) -> Option<Refusal> {
        let most = self.cost_max.or(cost_max).unwrap_or(f64::INFINITY);
        required_limit("train.shaping.soft-overlong.cost_max", self.cost_max, cost_max)
            .or_else(|| outside("train.shaping.soft-overlong.buffer", self.buffer, 1.0, most))
    }

    fn shape(&self, step: &Step, _: &mut ShaperState, _: &mut Stream) -> Shaped {
        let most = self.cost_max.unwrap_or_else(|| step.limit());
        let reward = |one: &Priced| correctness(one) + punishment(one.cost, most, self.buffer);
        Shaped::everywhere(step, step.each_group(|group| group.iter().map(reward).collect()))
    }
}

/// 0 up to Lmax − Lc, (Lmax − Lc − L)/Lc from there to Lmax, −1 beyond; added to c of every completion.
///
/// As published, wrong completions are punished too, also where no completion is correct.
fn punishment(cost: f64, most: f64, buffer: f64) -> f64 {
    ((most - buffer - cost) / buffer).clamp(-1.0, 0.0)
}
