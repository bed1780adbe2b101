//! Rewards of a step in, advantages out: how much better a completion is than its group (arXiv 2402.03300, section 4.1).

use serde::{Deserialize, Serialize};

/// What the difference from the group's mean reward is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdvantageScale {
    /// Sample standard deviation of the group's rewards + 1e-6 (GRPO).
    #[default]
    GroupStd,
    /// Nothing (Dr. GRPO, arXiv 2503.20783).
    None,
    /// Sample standard deviation of all rewards of the step + 1e-6.
    BatchStd,
    /// Sample standard deviation of the differences r − mean of the group over the step + 1e-6: their mean is 0, so that
    /// advantages are whitened over the step (DLER, arXiv 2510.15110).
    Whitened,
}

/// Added to a standard deviation before dividing by it.
const EPSILON: f64 = 1e-6;

/// A = (r − mean of the group) / scale, f64. A group of equal rewards gets exactly 0 whatever the scale.
pub fn advantages(rewards: &[Vec<f64>], scale: AdvantageScale) -> Vec<Vec<f64>> {
    let all: Vec<f64> = rewards.iter().flatten().copied().collect();
    let batch_std = sample_std(&all);
    let differences = rewards.iter().flat_map(|group| centred(group));
    let whitening = sample_std(&differences.collect::<Vec<_>>());
    let group_advantages = |group: &Vec<f64>| {
        let divisor = match scale {
            AdvantageScale::GroupStd => sample_std(group) + EPSILON,
            AdvantageScale::None => 1.0,
            AdvantageScale::BatchStd => batch_std + EPSILON,
            AdvantageScale::Whitened => whitening + EPSILON,
        };
        centred(group).into_iter().map(|difference| difference / divisor).collect()
    };
    rewards.iter().map(group_advantages).collect()
}

/// r − mean of the group, exactly 0 where all rewards are equal.
fn centred(group: &[f64]) -> Vec<f64> {
    if is_level(group) {
        return vec![0.0; group.len()];
    }
    let mean = group.iter().sum::<f64>() / group.len() as f64;
    group.iter().map(|reward| reward - mean).collect()
}

/// Whether all rewards of a group are equal, so that it carries no signal.
#[expect(clippy::float_cmp, reason = "equal outcomes get bit-equal rewards")]
pub fn is_level(group: &[f64]) -> bool {
    group.windows(2).all(|pair| pair[0] == pair[1])
}

/// √(Σ(x − mean)²/(n − 1)); 0 for fewer than two values.
fn sample_std(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}
