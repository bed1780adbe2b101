//! Draws a token from logits: temperature, then top-k, then top-p, in the order that Hugging Face applies them.

use crate::{
    Buffer,
    logprob::{BLOCK, BlockSum, Normaliser, block_sum, block_sums, divide_by_temperature, log_sum_exp, normaliser},
    matmul::PackedMatrix,
    threads::{self, Parts},
};

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
/// Shapes: logits \[V\], divided by the temperature in place.
pub fn draw(logits: &mut [f32], sampling: &Sampling, uniform: f64) -> Drawn {
    if sampling.temperature > 0.0 {
        divide_by_temperature(logits, sampling.temperature);
    }
    let mut weights = [0.0; BLOCK];
    let sums: Vec<BlockSum> = logits.chunks(BLOCK).map(|block| block_sum(block, &mut weights[..block.len()])).collect();
    draw_summed(logits, &sums, sampling, uniform)
}

/// Buffers of [`draw_rows`] that keep their memory.
#[derive(Debug, Default)]
pub struct Scratch {
    logits: Buffer,
    sums: Vec<BlockSum>,
}

/// Draws a token after each of `hidden`'s rows, at one uniform number each. The logits are computed, divided and summed
/// up block by block while they are at hand.
///
/// Shapes: hidden \[N, C\], head \[C, V\] packed, uniforms \[N\]; returns \[N\].
pub fn draw_rows(
    hidden: &[f32],
    head: &PackedMatrix,
    sampling: &Sampling,
    uniforms: &[f64],
    scratch: &mut Scratch,
) -> Vec<Drawn> {
    let (rows, vocabulary) = (uniforms.len(), head.columns());
    assert_eq!(hidden.len(), rows * head.rows(), "{rows} hidden rows of {}", head.rows());
    let Scratch { logits, sums } = scratch;
    let parts = Parts::new(logits.resize(rows * vocabulary));
    let temperature = if sampling.temperature > 0.0 { sampling.temperature } else { 1.0 };
    block_sums(sums, hidden, (head, temperature), |row, first, block| {
        let at = row * vocabulary + first;
        // SAFETY: every row and block is visited once.
        unsafe { parts.part(at..at + block.len()) }.copy_from_slice(block);
    });
    let blocks = vocabulary.div_ceil(BLOCK);
    let mut drawn = vec![Drawn { token: 0, logprob: 0.0, entropy: 0.0 }; rows];
    threads::for_each_chunk(&mut drawn, 4, |chunk, drawn| {
        for (index, drawn) in drawn.iter_mut().enumerate() {
            let row = chunk * 4 + index;
            let logits = &logits[row * vocabulary..(row + 1) * vocabulary];
            *drawn = draw_summed(logits, &sums[row * blocks..(row + 1) * blocks], sampling, uniforms[row]);
        }
    });
    drawn
}

/// Draws from logits that are divided by the temperature and summed up in blocks.
fn draw_summed(logits: &[f32], sums: &[BlockSum], sampling: &Sampling, uniform: f64) -> Drawn {
    assert!((0.0..1.0).contains(&uniform), "uniform number {uniform}");
    let is_restricted = sampling.top_k > 0 || sampling.top_p < 1.0;
    if is_restricted && sampling.temperature > 0.0 {
        return draw_restricted(logits, sampling, uniform);
    }
    let Normaliser { log_sum, entropy, largest } = normaliser(sums);
    let token =
        if sampling.temperature > 0.0 { invert_blocks(logits, sums, (largest, uniform)) } else { most_likely(logits) };
    Drawn { token: token as u32, logprob: logits[token] - log_sum, entropy }
}

/// The token at which the running sum of weights exceeds `uniform` of their total: first its block, then within it.
fn invert_blocks(logits: &[f32], sums: &[BlockSum], (largest, uniform): (f32, f64)) -> usize {
    let total: f64 = sums.iter().map(|block| block.mass(largest)).sum();
    let threshold = share_of(uniform, total);
    let mut before = 0.0;
    // The last block with any weight at all serves where rounding leaves the sum below the threshold.
    let mut chosen = (0, 0.0);
    for (index, block) in sums.iter().enumerate() {
        let mass = block.mass(largest);
        if mass > 0.0 {
            chosen = (index, before);
        }
        before += mass;
        if before > threshold {
            break;
        }
    }
    let (index, before) = chosen;
    let first = index * BLOCK;
    let logits = &logits[first..logits.len().min(first + BLOCK)];
    let mut weights = [0.0; BLOCK];
    let weights = &mut weights[..logits.len()];
    let block = block_sum(logits, weights);
    let scale = block.mass(largest) / f64::from(block.weight);
    first + position(weights, (threshold - before) / scale).unwrap_or_else(|| most_likely(weights))
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

fn draw_restricted(logits: &[f32], sampling: &Sampling, uniform: f64) -> Drawn {
    // There is no order of likelihood then: the logprob says so to whoever looks for faults.
    let no_number = Drawn { token: 0, logprob: f32::NAN, entropy: f32::NAN };
    if logits.iter().any(|&logit| logit.is_nan() || logit == f32::INFINITY) {
        return no_number;
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let by_likelihood = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    if (1..order.len()).contains(&sampling.top_k) {
        order.select_nth_unstable_by(sampling.top_k - 1, by_likelihood);
        order.truncate(sampling.top_k);
        order.sort_unstable();
    }
    let candidates: Vec<f32> = order.iter().map(|&index| logits[index]).collect();
    let log_sum = log_sum_exp(&candidates).log_sum;
    if sampling.top_p < 1.0 {
        // All tokens below (1 − top_p)/n together hold less than 1 − top_p, so the nucleus lies above; the margin covers
        // the rounding of `log_sum`. A few hundred tokens are left to sort, instead of the vocabulary.
        let floor = f64::from(log_sum) + ((1.0 - f64::from(sampling.top_p)) / candidates.len() as f64).ln() - 1e-2;
        order.retain(|&index| f64::from(logits[index]) >= floor);
        if order.is_empty() {
            return no_number;
        }
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
    let Normaliser { log_sum, entropy, largest } = log_sum_exp(kept);
    let weights: Vec<f64> = kept.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
    let threshold = share_of(uniform, weights.iter().sum());
    let mut sum = 0.0;
    let found = weights.iter().position(|weight| {
        sum += weight;
        sum > threshold
    });
    let chosen = found.unwrap_or(0);
    Drawn { token: order[chosen] as u32, logprob: kept[chosen] - log_sum, entropy }
}

/// `uniform` of `total`, but at least 2⁻⁵³ of it, so that a weight too small to count is not drawn at 0: `exp` never
/// returns 0.
fn share_of(uniform: f64, total: f64) -> f64 {
    uniform.max(f64::EPSILON / 2.0) * total
}

/// First index at which the running sum of `weights`, in f64, exceeds `threshold`.
fn position(weights: &[f32], threshold: f64) -> Option<usize> {
    let mut sum = 0.0;
    weights.iter().position(|&weight| {
        sum += f64::from(weight);
        sum > threshold
    })
}
