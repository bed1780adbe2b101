//! Log-probabilities of tokens from hidden rows, with entropy and backward, never holding logits of all rows.
//!
//! The sampler and the trainer share [`log_sum_exp`], so a token's logprob has the same bits in both.

use rayon::prelude::*;

use crate::{
    activation::exp,
    dispatch::{Arithmetic, dispatched},
    matmul::{Matrix, Output, PackedMatrix, multiply, multiply_once},
    vector::{dot_lanes, fold_pairs, max_lanes, sum_lanes},
};

/// Rows whose logits are held at once.
const CHUNK_ROWS: usize = 128;

/// A distribution's normaliser and entropy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normaliser {
    /// ln Σ exp(logit), nats.
    pub log_sum: f32,
    /// Entropy, nats.
    pub entropy: f32,
    /// Largest logit.
    pub largest: f32,
}

#[inline(always)]
fn log_sum_exp_body<A: Arithmetic>(logits: &[f32], scratch: &mut Vec<f32>) -> Normaliser {
    let largest = max_lanes(logits);
    scratch.resize(logits.len(), 0.0);
    for (weight, &logit) in scratch.iter_mut().zip(logits) {
        *weight = exp::<A>(logit - largest);
    }
    let sum = sum_lanes(scratch);
    let log_sum = largest + f64::from(sum).ln() as f32;
    // −Σ p·ln p = log_sum − Σ p·logit, with logits taken relative to the largest to keep the difference exact, and no
    // further below it than `exp` reaches: a logit of −∞ has p·ln p = 0.
    let below =
        fold_pairs(scratch, logits, |weight, logit, lane| A::mul_add(weight, (logit - largest).max(-87.0), lane));
    let entropy = f64::from(sum).ln() as f32 - below / sum;
    Normaliser { log_sum, entropy, largest }
}

dispatched! {
    /// ln Σ exp(logits) and the entropy of softmax(logits).
    ///
    /// Shapes: logits \[V\]; leaves exp(logit − largest) in `weights`, \[V\], which keeps its memory between calls.
    pub fn log_sum_exp(logits: &[f32], weights: &mut Vec<f32>) -> Normaliser = log_sum_exp_body;
}

#[inline(always)]
fn softmax_gradient_body<A: Arithmetic>(logits: &mut [f32], log_sum: f32, factor: f32) {
    for logit in logits {
        *logit = -factor * exp::<A>(*logit - log_sum);
    }
}

dispatched! {
    /// logits ← −factor · softmax(logits), given ln Σ exp(logits).
    fn softmax_gradient(logits: &mut [f32], log_sum: f32, factor: f32) = softmax_gradient_body;
}

#[inline(always)]
fn dot_body<A: Arithmetic>(a: &[f32], b: &[f32]) -> f32 {
    dot_lanes::<A>(a, b)
}

dispatched! {
    /// aᵀb in the order of [`crate::vector`].
    pub fn dot(a: &[f32], b: &[f32]) -> f32 = dot_body;
}

/// What one hidden row says about its target token.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TokenLogprob {
    /// ln p(target), nats.
    pub logprob: f32,
    /// Entropy of the whole distribution, nats.
    pub entropy: f32,
}

/// Rows and the tokens that follow them.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// \[N, C\], normalised hidden rows.
    pub hidden: &'a [f32],
    /// \[N\], token ids below V.
    pub tokens: &'a [u32],
    /// Divides the logits.
    pub temperature: f32,
}

/// Logits of all of `rows` chunks into `logits`, scaled by 1/temperature.
fn chunk_logits(logits: &mut Vec<f32>, hidden: &[f32], head: &PackedMatrix, temperature: f32) {
    logits.resize(hidden.len() / head.rows() * head.columns(), 0.0);
    multiply(logits, Matrix::new(hidden, head.rows()), head, Output::Overwrite);
    divide_by_temperature(logits, temperature);
}

/// logits ← logits / temperature, in the one way that sampler and trainer share; nothing at temperature 1.
#[expect(clippy::float_cmp, reason = "exactly 1 means that there is nothing to do")]
pub fn divide_by_temperature(logits: &mut [f32], temperature: f32) {
    if temperature != 1.0 {
        crate::vector::scale(logits, 1.0 / temperature);
    }
}

/// Logprob and entropy of each target under softmax(hidden · head / temperature).
///
/// Shapes: head \[C, V\] packed, out \[N\].
pub fn forward(out: &mut [TokenLogprob], targets: Targets<'_>, head: &PackedMatrix) {
    let (width, vocabulary) = (head.rows(), head.columns());
    assert_eq!((out.len(), targets.hidden.len()), (targets.tokens.len(), targets.tokens.len() * width), "target rows");
    let mut logits = Vec::new();
    let chunks = targets.hidden.chunks(CHUNK_ROWS * width).zip(targets.tokens.chunks(CHUNK_ROWS));
    for (out, (hidden, tokens)) in out.chunks_mut(CHUNK_ROWS).zip(chunks) {
        chunk_logits(&mut logits, hidden, head, targets.temperature);
        out.par_iter_mut().zip(logits.par_chunks_exact(vocabulary)).zip(tokens).for_each_init(
            Vec::new,
            |scratch, ((out, logits), &token)| {
                let normaliser = log_sum_exp(logits, scratch);
                *out =
                    TokenLogprob { logprob: logits[token as usize] - normaliser.log_sum, entropy: normaliser.entropy };
            },
        );
    }
}

/// Where [`backward`] adds its results.
pub struct Gradients<'a> {
    /// \[N, C\], overwritten.
    pub hidden: &'a mut [f32],
    /// \[V, C\], added to.
    pub head: &'a mut [f32],
}

/// Gradients of hidden rows and head from those of the logprobs; logits are recomputed chunk by chunk.
///
/// ∂logprob/∂logit_j = (1\[j = target\] − p_j) / temperature.
///
/// Shapes: logprob_gradients \[N\]; head_rows \[V, C\], the same weights as `head` \[C, V\] packed.
pub fn backward(
    gradients: &mut Gradients<'_>,
    logprob_gradients: &[f32],
    targets: Targets<'_>,
    head: &PackedMatrix,
    head_rows: &[f32],
) {
    let (width, vocabulary) = (head.rows(), head.columns());
    assert_eq!(logprob_gradients.len(), targets.tokens.len(), "one gradient per target");
    let hidden_lengths = [gradients.hidden.len(), targets.hidden.len()];
    assert_eq!(hidden_lengths, [targets.tokens.len() * width; 2], "target rows of {width}");
    let head_packed = PackedMatrix::new(Matrix::new(head_rows, width));
    let (mut logits, mut hidden_packed) = (Vec::new(), PackedMatrix::default());
    let chunks = targets.hidden.chunks(CHUNK_ROWS * width).zip(targets.tokens.chunks(CHUNK_ROWS));
    let outputs = gradients.hidden.chunks_mut(CHUNK_ROWS * width).zip(logprob_gradients.chunks(CHUNK_ROWS));
    for ((hidden, tokens), (hidden_gradient, logprob_gradients)) in chunks.zip(outputs) {
        chunk_logits(&mut logits, hidden, head, targets.temperature);
        let rows = logits.par_chunks_exact_mut(vocabulary).zip(tokens).zip(logprob_gradients);
        rows.for_each_init(Vec::new, |scratch, ((logits, &token), &gradient)| {
            let factor = gradient / targets.temperature;
            let log_sum = log_sum_exp(logits, scratch).log_sum;
            softmax_gradient(logits, log_sum, factor);
            logits[token as usize] += factor;
        });
        let logit_gradient = Matrix::new(&logits, vocabulary);
        multiply(hidden_gradient, logit_gradient, &head_packed, Output::Overwrite);
        let hidden = Matrix::new(hidden, width);
        multiply_once(gradients.head, logit_gradient.transposed(), hidden, &mut hidden_packed, Output::Add);
    }
}
