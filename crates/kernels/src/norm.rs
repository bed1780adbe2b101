//! Root-mean-square normalisation over rows (arXiv 1910.07467), used for the model width and for each head's width.

use crate::{
    dispatch::{Arithmetic, dispatched},
    vector::{dot_lanes, fold_pairs},
};

/// 1 / √(mean of squares + epsilon).
#[inline(always)]
fn inverse_rms<A: Arithmetic>(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot_lanes::<A>(row, row) / row.len() as f32 + epsilon).sqrt()
}

#[inline(always)]
fn forward_body<A: Arithmetic>(out: &mut [f32], rows: &[f32], weight: &[f32], epsilon: f32) {
    assert_eq!(out.len(), rows.len(), "output and input lengths");
    assert_eq!(rows.len() % weight.len(), 0, "{} values in rows of {}", rows.len(), weight.len());
    for (out, row) in out.chunks_exact_mut(weight.len()).zip(rows.chunks_exact(weight.len())) {
        let r = inverse_rms::<A>(row, epsilon);
        for ((out, &x), &w) in out.iter_mut().zip(row).zip(weight) {
            *out = x * r * w;
        }
    }
}

dispatched! {
    /// out = x / √(mean(x²) + epsilon) · weight, row by row.
    ///
    /// Shapes: out and rows \[N, C\], weight \[C\].
    pub fn forward(out: &mut [f32], rows: &[f32], weight: &[f32], epsilon: f32) = forward_body;
}

/// What [`backward`] reads: the forward's inputs.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// \[N, C\], the rows that were normalised.
    pub rows: &'a [f32],
    /// \[C\].
    pub weight: &'a [f32],
    /// Added to the mean of squares.
    pub epsilon: f32,
}

#[inline(always)]
fn backward_body<A: Arithmetic>(gradient: &mut [f32], weight_gradient: &mut [f32], saved: Saved<'_>) {
    let Saved { rows, weight, epsilon } = saved;
    assert_eq!(gradient.len(), rows.len(), "gradient and input lengths");
    let width = weight.len();
    assert_eq!(weight_gradient.len(), width, "weight gradient and weight lengths");
    assert_eq!(rows.len() % width, 0, "{} values in rows of {width}", rows.len());
    for (g, row) in gradient.chunks_exact_mut(width).zip(rows.chunks_exact(width)) {
        let r = inverse_rms::<A>(row, epsilon);
        for (i, g) in g.iter_mut().enumerate() {
            weight_gradient[i] = A::mul_add(*g, row[i] * r, weight_gradient[i]);
            *g *= weight[i];
        }
        // dx = r·(g·w) − x·r³/C·Σ(g·w·x)
        let projection = fold_pairs(g, row, A::mul_add) * r * r * r / width as f32;
        for (g, &x) in g.iter_mut().zip(row) {
            *g = A::mul_add(-projection, x, *g * r);
        }
    }
}

dispatched! {
    /// Replaces `gradient` (of the output) by the gradient of the input and adds to `weight_gradient`, first row first.
    ///
    /// Shapes: gradient \[N, C\], weight_gradient \[C\].
    pub fn backward(gradient: &mut [f32], weight_gradient: &mut [f32], saved: Saved<'_>) = backward_body;
}
