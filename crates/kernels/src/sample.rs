//! Draws a token from logits: temperature, then top-k, then top-p, in the order that Hugging Face applies them.

use crate::logprob::{Normaliser, divide_by_temperature, log_sum_exp};

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keep only this many most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Of those, keep the fewest most likely tokens whose probabilities add up to at least this; 1 keeps all.
    pub top_p: f32,
}

/// A drawn token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawn {
    /// Token id.
    pub token: u32,
    /// ln of the probability that it was drawn with, nats: under temperature, top-k and top-p renormalised.
    /// For temperature 0 the logprob at temperature 1, since the draw itself is certain.
    pub logprob: f32,
    /// Entropy of that distribution, nats.
    pub entropy: f32,
}

/// Draws by inverting the cumulative distribution at `uniform` ∈ \[0, 1).
///
/// Shapes: logits \[V\], divided by the temperature in place; `scratch` keeps its memory between calls.
pub fn draw(logits: &mut [f32], sampling: &Sampling, uniform: f64, scratch: &mut Vec<f32>) -> Drawn {
    assert!((0.0..1.0).contains(&uniform), "uniform number {uniform}");
    if sampling.temperature <= 0.0 {
        let best = most_likely(logits);
        let normaliser = log_sum_exp(logits, scratch);
        return Drawn { token: best as u32, logprob: logits[best] - normaliser.log_sum, entropy: normaliser.entropy };
    }
    divide_by_temperature(logits, sampling.temperature);
    if sampling.top_k > 0 || sampling.top_p < 1.0 {
        return draw_restricted(logits, sampling, uniform, scratch);
    }
    let normaliser = log_sum_exp(logits, scratch);
    let token = invert(scratch, uniform);
    Drawn { token: token as u32, logprob: logits[token] - normaliser.log_sum, entropy: normaliser.entropy }
}

/// Index of the largest logit, the first among equals.
fn most_likely(logits: &[f32]) -> usize {
    let mut best = 0;
    for (index, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = index;
        }
    }
    best
}

fn draw_restricted(logits: &[f32], sampling: &Sampling, uniform: f64, scratch: &mut Vec<f32>) -> Drawn {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let by_likelihood = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    if (1..order.len()).contains(&sampling.top_k) {
        order.select_nth_unstable_by(sampling.top_k - 1, by_likelihood);
        order.truncate(sampling.top_k);
        order.sort_unstable();
    }
    let candidates: Vec<f32> = order.iter().map(|&index| logits[index]).collect();
    let log_sum = log_sum_exp(&candidates, scratch).log_sum;
    if sampling.top_p < 1.0 {
        // All tokens below (1 − top_p)/n together hold less than 1 − top_p, so the nucleus lies above; the margin covers
        // the rounding of `log_sum`. A few hundred tokens are left to sort, instead of the vocabulary.
        let floor = f64::from(log_sum) + ((1.0 - f64::from(sampling.top_p)) / candidates.len() as f64).ln() - 1e-2;
        order.retain(|&index| f64::from(logits[index]) >= floor);
    }
    order.sort_unstable_by(by_likelihood);
    let kept: Vec<f32> = order.iter().map(|&index| logits[index]).collect();
    let mut mass = 0.0;
    let nucleus = kept.iter().take_while(|&&logit| {
        let before = mass;
        mass += f64::from(logit - log_sum).exp();
        sampling.top_p >= 1.0 || before < f64::from(sampling.top_p)
    });
    let kept = &kept[..nucleus.count().max(1)];
    let Normaliser { log_sum, entropy, .. } = log_sum_exp(kept, scratch);
    let chosen = invert(scratch, uniform);
    Drawn { token: order[chosen] as u32, logprob: kept[chosen] - log_sum, entropy }
}

/// First index at which the running sum of `weights`, in f64, exceeds `uniform` of their total.
///
/// The share is taken to be at least 2⁻⁵³, so that a weight too small to count is not drawn at 0: `exp` never returns 0.
fn invert(weights: &[f32], uniform: f64) -> usize {
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let threshold = uniform.max(f64::EPSILON / 2.0) * total;
    let mut sum = 0.0;
    let found = weights.iter().position(|&weight| {
        sum += f64::from(weight);
        sum > threshold
    });
    found.unwrap_or_else(|| most_likely(weights))
}
