//! Log-probabilities of tokens from hidden rows, with entropy and backward, never holding logits of all rows.
//!
//! A row's logits are summed up in blocks of 512 tokens; the blocks are then put together in order, in f64. The sampler
//! and the trainer share both steps, so a token's logprob has the same bits in both.

use std::cell::RefCell;

use crate::{
    Buffer,
    activation::exp,
    dispatch::{Arithmetic, dispatched},
    matmul::{Matrix, Output, PackedMatrix, multiply, multiply_in_blocks},
    threads::{self, Parts},
    vector::{dot_lanes, fold_pairs, max_lanes, sum_lanes},
};

/// Rows whose logit gradients are held at once.
const CHUNK_ROWS: usize = 256;

/// Tokens whose logits are summed up together.
pub(crate) const BLOCK: usize = 512;

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

/// What one block of logits comes to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct BlockSum {
    /// Largest logit of the block; the smallest f32 for one of −∞ alone.
    pub(crate) largest: f32,
    /// Σ exp(logit − largest).
    pub(crate) weight: f32,
    /// Σ exp(logit − largest)·(logit − largest).
    below: f32,
}

impl BlockSum {
    /// Σ exp(logit − `largest`), for the largest logit of all blocks.
    pub(crate) fn mass(&self, largest: f32) -> f64 {
        f64::from(self.weight) * (f64::from(self.largest) - f64::from(largest)).exp()
    }
}

#[inline(always)]
fn block_sum_body<A: Arithmetic>(logits: &[f32], weights: &mut [f32]) -> BlockSum {
    assert_eq!(logits.len(), weights.len(), "weights of a block");
    let largest = max_lanes(logits).max(f32::MIN);
    for (weight, &logit) in weights.iter_mut().zip(logits) {
        *weight = exp::<A>(logit - largest);
    }
    // No further below the largest than `exp` reaches: a logit of −∞ has p·ln p = 0.
    let below =
        fold_pairs(weights, logits, |weight, logit, lane| A::mul_add(weight, (logit - largest).max(-87.0), lane));
    BlockSum { largest, weight: sum_lanes(weights), below }
}

dispatched! {
    /// Sums of one block; leaves exp(logit − largest) in `weights`.
    pub(crate) fn block_sum(logits: &[f32], weights: &mut [f32]) -> BlockSum = block_sum_body;
}

/// Puts the blocks of one row together.
pub(crate) fn normaliser(blocks: &[BlockSum]) -> Normaliser {
    let largest = blocks.iter().fold(f32::NEG_INFINITY, |largest, block| largest.max(block.largest));
    let (mut sum, mut below) = (0.0, 0.0);
    for block in blocks {
        let distance = f64::from(block.largest) - f64::from(largest);
        let scale = distance.exp();
        sum += scale * f64::from(block.weight);
        below += scale * (f64::from(block.below) + f64::from(block.weight) * distance);
    }
    // −Σ p·ln p = ln sum − Σ p·(logit − largest).
    let log = sum.ln();
    Normaliser { log_sum: largest + log as f32, entropy: (log - below / sum) as f32, largest }
}

/// ln Σ exp(logits) and the entropy of softmax(logits).
///
/// Shapes: logits \[V\].
pub fn log_sum_exp(logits: &[f32]) -> Normaliser {
    let mut weights = [0.0; BLOCK];
    let sums: Vec<BlockSum> = logits.chunks(BLOCK).map(|block| block_sum(block, &mut weights[..block.len()])).collect();
    normaliser(&sums)
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
    /// ln Σ exp(logit), nats: what [`backward`] takes up.
    pub log_sum: f32,
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

impl Targets<'_> {
    fn check(&self, head: &PackedMatrix) {
        let (rows, width) = (self.tokens.len(), head.rows());
        assert_eq!(self.hidden.len(), rows * width, "{rows} target rows of {width}");
        let largest = self.tokens.iter().max().map_or(0, |&token| token as usize);
        assert!(rows == 0 || largest < head.columns(), "token {largest} of a vocabulary of {}", head.columns());
    }
}

/// logits ← logits / temperature, in the one way that sampler and trainer share; nothing at temperature 1.
#[expect(clippy::float_cmp, reason = "exactly 1 means that there is nothing to do")]
pub fn divide_by_temperature(logits: &mut [f32], temperature: f32) {
    if temperature != 1.0 {
        crate::vector::scale(logits, 1.0 / temperature);
    }
}

thread_local! {
    static SUMS: RefCell<Vec<BlockSum>> = const { RefCell::new(Vec::new()) };
}

/// Sums every block of the logits hidden · head / temperature; `visit(row, first token, logits)` sees each block.
///
/// Shapes: hidden \[N, C\], head \[C, V\] packed, sums \[N, blocks of V\].
pub(crate) fn block_sums(
    sums: &mut Vec<BlockSum>,
    hidden: &[f32],
    (head, temperature): (&PackedMatrix, f32),
    visit: impl Fn(usize, usize, &[f32]) + Sync,
) {
    let blocks = head.columns().div_ceil(BLOCK);
    sums.clear();
    sums.resize(hidden.len() / head.rows() * blocks, BlockSum::default());
    let parts = Parts::new(sums);
    multiply_in_blocks(Matrix::new(hidden, head.rows()), head, BLOCK, |rows, columns, logits| {
        let mut weights = [0.0; BLOCK];
        for (row, logits) in rows.zip(logits.chunks_exact_mut(BLOCK)) {
            let logits = &mut logits[..columns.len()];
            divide_by_temperature(logits, temperature);
            let at = row * blocks + columns.start / BLOCK;
            // SAFETY: no other task has this row and block.
            let sum = unsafe { parts.part(at..at + 1) };
            sum[0] = block_sum(logits, &mut weights[..columns.len()]);
            visit(row, columns.start, logits);
        }
    });
}

/// Logprob and entropy of each target under softmax(hidden · head / temperature).
///
/// Shapes: head \[C, V\] packed, out \[N\].
pub fn forward(out: &mut [TokenLogprob], targets: Targets<'_>, head: &PackedMatrix) {
    targets.check(head);
    assert_eq!(out.len(), targets.tokens.len(), "one output per target");
    let blocks = head.columns().div_ceil(BLOCK);
    let mut sums = SUMS.take();
    let parts = Parts::new(out);
    block_sums(&mut sums, targets.hidden, (head, targets.temperature), |row, first, logits| {
        let token = targets.tokens[row] as usize;
        if (first..first + logits.len()).contains(&token) {
            // SAFETY: one block of the row holds its target.
            let out = unsafe { parts.part(row..row + 1) };
            out[0].logprob = logits[token - first];
        }
    });
    threads::for_each_chunk(out, 64, |chunk, out| {
        for (index, out) in out.iter_mut().enumerate() {
            let row = chunk * 64 + index;
            let Normaliser { log_sum, entropy, .. } = normaliser(&sums[row * blocks..(row + 1) * blocks]);
            *out = TokenLogprob { logprob: out.logprob - log_sum, entropy, log_sum };
        }
    });
    SUMS.set(sums);
}

/// Where [`backward`] adds its results.
pub struct Gradients<'a> {
    /// \[N, C\], overwritten.
    pub hidden: &'a mut [f32],
    /// \[V, C\], added to; none where the head is not trained.
    pub head: Option<&'a mut [f32]>,
}

/// The head's weights as the backward reads them.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// \[C, V\] packed.
    pub forward: &'a PackedMatrix,
    /// The same weights as \[V, C\] packed.
    pub backward: &'a PackedMatrix,
}

/// Buffers of [`backward`] that keep their memory.
#[derive(Debug, Default)]
pub struct Scratch {
    /// \[chunk, V\], gradients of logits.
    logits: Buffer,
    /// \[chunk, C\], packed.
    hidden: Option<PackedMatrix>,
}

/// Gradients of hidden rows and head from those of the logprobs; logits are recomputed chunk by chunk.
///
/// ∂logprob/∂logit_j = (1\[j = target\] − p_j) / temperature.
///
/// Shapes: logprob_gradients \[N\], out \[N\] as [`forward`] left it.
pub fn backward(
    gradients: &mut Gradients<'_>,
    (logprob_gradients, out): (&[f32], &[TokenLogprob]),
    targets: Targets<'_>,
    head: Head<'_>,
    scratch: &mut Scratch,
) {
    let (width, vocabulary) = (head.forward.rows(), head.forward.columns());
    targets.check(head.forward);
    let rows = targets.tokens.len();
    assert_eq!((logprob_gradients.len(), out.len()), (rows, rows), "one gradient and one result per target");
    assert_eq!(gradients.hidden.len(), rows * width, "hidden gradients of {rows} rows");
    assert_eq!((head.backward.rows(), head.backward.columns()), (vocabulary, width), "the head's two packed forms");
    let packed = scratch.hidden.get_or_insert_with(|| PackedMatrix::empty(head.forward.compute()));
    for start in (0..rows).step_by(CHUNK_ROWS) {
        let chunk = start..rows.min(start + CHUNK_ROWS);
        let hidden = &targets.hidden[chunk.start * width..chunk.end * width];
        let logits = scratch.logits.resize(chunk.len() * vocabulary);
        let parts = Parts::new(logits);
        multiply_in_blocks(Matrix::new(hidden, width), head.forward, BLOCK, |rows, columns, values| {
            for (row, values) in rows.zip(values.chunks_exact_mut(BLOCK)) {
                let (at, values) = (chunk.start + row, &mut values[..columns.len()]);
                let factor = logprob_gradients[at] / targets.temperature;
                divide_by_temperature(values, targets.temperature);
                softmax_gradient(values, out[at].log_sum, factor);
                add_at(values, (targets.tokens[at] as usize).checked_sub(columns.start), factor);
                let place = row * vocabulary + columns.start;
                // SAFETY: no other task has this row and block.
                unsafe { parts.part(place..place + columns.len()) }.copy_from_slice(values);
            }
        });
        let logits = Matrix::new(&scratch.logits, vocabulary);
        multiply(
            &mut gradients.hidden[chunk.start * width..chunk.end * width],
            logits,
            head.backward,
            Output::Overwrite,
        );
        if let Some(head) = gradients.head.as_deref_mut() {
            packed.pack(Matrix::new(hidden, width));
            multiply(head, logits.transposed(), packed, Output::Add);
        }
    }
}

/// Adds to the value at `index`, where there is one.
fn add_at(values: &mut [f32], index: Option<usize>, factor: f32) {
    if let Some(value) = index.and_then(|index| values.get_mut(index)) {
        *value += factor;
    }
}
