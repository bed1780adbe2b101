//! Root-mean-square normalisation over rows (arXiv 1910.07467), used for the model width and for each head's width.

use std::cell::RefCell;

use crate::{
    dispatch::{Arithmetic, dispatched},
    threads::{self, Parts, rows_per_task},
    vector::{add_row, dot_lanes, fold_pairs},
};

/// 1 / √(mean of squares + epsilon).
#[inline(always)]
fn inverse_rms<A: Arithmetic>(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot_lanes::<A>(row, row) / row.len() as f32 + epsilon).sqrt()
}

#[inline(always)]
fn forward_body<A: Arithmetic>(out: &mut [f32], rows: &[f32], weight: &[f32], epsilon: f32) {
    for (out, row) in out.chunks_exact_mut(weight.len()).zip(rows.chunks_exact(weight.len())) {
        let r = inverse_rms::<A>(row, epsilon);
        for ((out, &x), &w) in out.iter_mut().zip(row).zip(weight) {
            *out = x * r * w;
        }
    }
}

dispatched! {
    pub(crate) fn forward_part(out: &mut [f32], rows: &[f32], weight: &[f32], epsilon: f32) = forward_body;
}

/// out = x / √(mean(x²) + epsilon) · weight, row by row.
///
/// Shapes: out and rows \[N, C\], weight \[C\].
pub fn forward(out: &mut [f32], rows: &[f32], weight: &[f32], epsilon: f32) {
    assert_eq!(out.len(), rows.len(), "output and input lengths");
    assert_eq!(rows.len() % weight.len(), 0, "{} values in rows of {}", rows.len(), weight.len());
    let size = rows_per_task(weight.len()) * weight.len();
    threads::for_each_chunk(out, size, |index, out| {
        forward_part(out, &rows[index * size..][..out.len()], weight, epsilon);
    });
}

/// The forward's inputs, which [`backward`] reads again.
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
fn inverse_rms_body<A: Arithmetic>(out: &mut [f32], rows: &[f32], width: usize, epsilon: f32) {
    for (out, row) in out.iter_mut().zip(rows.chunks_exact(width)) {
        *out = inverse_rms::<A>(row, epsilon);
    }
}

dispatched! {
    /// 1 / √(mean of squares + epsilon) of every row.
    fn inverse_rms_part(out: &mut [f32], rows: &[f32], width: usize, epsilon: f32) = inverse_rms_body;
}

/// Gradients of a norm's output, its input rows, and the input rows' inverse root mean squares.
#[derive(Clone, Copy)]
struct BackwardRows<'a> {
    gradient: &'a [f32],
    input: &'a [f32],
    inverse_rms: &'a [f32],
}

#[inline(always)]
fn weight_body<A: Arithmetic>(weight_gradient: &mut [f32], rows: BackwardRows<'_>, (width, first): (usize, usize)) {
    let columns = first..first + weight_gradient.len();
    let both = rows.gradient.chunks_exact(width).zip(rows.input.chunks_exact(width));
    for ((gradient, row), &r) in both.zip(rows.inverse_rms) {
        let (gradient, row) = (&gradient[columns.clone()], &row[columns.clone()]);
        for ((sum, &g), &x) in weight_gradient.iter_mut().zip(gradient).zip(row) {
            *sum = A::mul_add(g, x * r, *sum);
        }
    }
}

dispatched! {
    /// Adds to the weight's gradient from column `first` on, first row first.
    fn weight_part(weight_gradient: &mut [f32], rows: BackwardRows<'_>, width_and_first: (usize, usize)) = weight_body;
}

#[inline(always)]
fn rows_body<A: Arithmetic>(gradient: &mut [f32], rows: &[f32], weight: &[f32], inverse_rms: &[f32]) {
    let width = weight.len();
    for ((g, row), &r) in gradient.chunks_exact_mut(width).zip(rows.chunks_exact(width)).zip(inverse_rms) {
        for (g, &w) in g.iter_mut().zip(weight) {
            *g *= w;
        }
        // dx = r·(g·w) − x·r³/C·Σ(g·w·x)
        let projection = fold_pairs(g, row, A::mul_add) * r * r * r / width as f32;
        for (g, &x) in g.iter_mut().zip(row) {
            *g = A::mul_add(-projection, x, *g * r);
        }
    }
}

dispatched! {
    fn rows_part(gradient: &mut [f32], rows: &[f32], weight: &[f32], inverse_rms: &[f32]) = rows_body;
}

/// Columns of the weight's gradient that one task sums up.
const COLUMNS: usize = 16;

thread_local! {
    static INVERSE_RMS: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Replaces `gradient` (of the output) by the gradient of the input and adds to `weight_gradient`, first row first; without
/// one the weight is not trained.
///
/// Shapes: gradient \[N, C\], weight_gradient \[C\].
pub fn backward(gradient: &mut [f32], weight_gradient: Option<&mut [f32]>, saved: Saved<'_>) {
    backward_rows(gradient, weight_gradient, saved, None);
}

/// Adds the gradient of the input to `sum`, given that of the output in `gradient`, whose content is lost; adds to
/// `weight_gradient` as [`backward`].
///
/// Shapes: sum and gradient \[N, C\], weight_gradient \[C\].
pub fn backward_onto(sum: &mut [f32], gradient: &mut [f32], weight_gradient: Option<&mut [f32]>, saved: Saved<'_>) {
    assert_eq!(sum.len(), gradient.len(), "sum and gradient lengths");
    backward_rows(gradient, weight_gradient, saved, Some(&Parts::new(sum)));
}

fn backward_rows(
    gradient: &mut [f32],
    weight_gradient: Option<&mut [f32]>,
    saved: Saved<'_>,
    sum: Option<&Parts<'_, f32>>,
) {
    let Saved { rows, weight, epsilon } = saved;
    let width = weight.len();
    assert_eq!(gradient.len(), rows.len(), "gradient and input lengths");
    assert!(weight_gradient.as_ref().is_none_or(|weight| weight.len() == width), "weight gradient and weight lengths");
    assert_eq!(rows.len() % width, 0, "{} values in rows of {width}", rows.len());
    let mut inverse_rms = INVERSE_RMS.take();
    inverse_rms.resize(rows.len() / width, 0.0);
    let together = rows_per_task(width);
    threads::for_each_chunk(&mut inverse_rms, together, |index, out| {
        inverse_rms_part(out, &rows[index * together * width..], width, epsilon);
    });
    if let Some(weight_gradient) = weight_gradient {
        let all = BackwardRows { gradient, input: rows, inverse_rms: &inverse_rms };
        let columns =
            if rows.len() < threads::ELEMENTS { width } else { COLUMNS.max(width.div_ceil(8 * threads::count())) };
        threads::for_each_chunk(weight_gradient, columns, |index, sum| weight_part(sum, all, (width, index * columns)));
    }
    threads::for_each_chunk(gradient, together * width, |index, gradient| {
        let at = index * together * width..index * together * width + gradient.len();
        rows_part(gradient, &rows[at.clone()], weight, &inverse_rms[index * together..]);
        if let Some(sum) = sum {
            // SAFETY: chunks of different indices do not overlap.
            add_row(unsafe { sum.part(at) }, gradient);
        }
    });
    INVERSE_RMS.set(inverse_rms);
}
