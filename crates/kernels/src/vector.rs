//! Dot products, sums and scaled additions over slices, in one fixed order.
//!
//! A sum over n elements runs in 16 lanes (element i into lane i mod 16, i ascending) that are then added pairwise
//! 8 apart, 4 apart, 2 apart, 1 apart. The order depends on n alone.

use crate::{
    dispatch::{Arithmetic, dispatched},
    threads::{self, ELEMENTS, rows_per_task},
};

/// Lanes of every reduction.
const LANES: usize = 16;

#[inline(always)]
fn reduce(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Σ f(aᵢ, bᵢ, lane) in the order of the module documentation.
#[inline(always)]
pub(crate) fn fold_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    assert_eq!(a.len(), b.len(), "pairs of different lengths");
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_chunks.remainder(), b_chunks.remainder());
    for (x, y) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] = f(x[i], y[i], lanes[i]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane = f(x, y, *lane);
    }
    reduce(lanes)
}

/// aᵀb, f32. Inlined into the dispatched routines.
#[inline(always)]
pub(crate) fn dot_lanes<A: Arithmetic>(a: &[f32], b: &[f32]) -> f32 {
    fold_pairs(a, b, A::mul_add)
}

/// Σ aᵢ, f32.
#[inline(always)]
pub(crate) fn sum_lanes(a: &[f32]) -> f32 {
    fold_pairs(a, a, |x, _, lane| lane + x)
}

/// Largest element; −∞ for an empty slice. A NaN anywhere may be lost: callers check finiteness of the result they use.
#[inline(always)]
pub(crate) fn max_lanes(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = a.chunks_exact(LANES);
    let rest = chunks.remainder();
    for x in chunks {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    rest.iter().chain(&lanes).fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m })
}

/// y ← y + a·x.
#[inline(always)]
pub(crate) fn add_scaled_lanes<A: Arithmetic>(y: &mut [f32], a: f32, x: &[f32]) {
    assert_eq!(y.len(), x.len(), "rows of different lengths");
    for (y, &x) in y.iter_mut().zip(x) {
        *y = A::mul_add(a, x, *y);
    }
}

#[inline(always)]
fn add_body<A: Arithmetic>(y: &mut [f32], x: &[f32]) {
    add_scaled_lanes::<A>(y, 1.0, x);
}

dispatched! {
    /// y ← y + x, on this thread alone.
    ///
    /// Shapes: both \[N\].
    pub fn add_row(y: &mut [f32], x: &[f32]) = add_body;
}

/// Adds `bias` to every row of `rows`.
///
/// Shapes: rows \[N, C\], bias \[C\].
pub fn add_bias(rows: &mut [f32], bias: &[f32]) {
    assert_eq!(rows.len() % bias.len(), 0, "{} values in rows of {}", rows.len(), bias.len());
    threads::for_each_chunk(rows, rows_per_task(bias.len()) * bias.len(), |_, rows| {
        for row in rows.chunks_exact_mut(bias.len()) {
            add_row(row, bias);
        }
    });
}

/// Adds every row of `rows` to `bias_gradient`, first row first.
///
/// Shapes: rows \[N, C\], bias_gradient \[C\].
pub fn add_rows(bias_gradient: &mut [f32], rows: &[f32]) {
    let width = bias_gradient.len();
    assert_eq!(rows.len() % width, 0, "{} values in rows of {width}", rows.len());
    let columns = if rows.len() < ELEMENTS { width } else { 64 };
    threads::for_each_chunk(bias_gradient, columns, |index, sum| {
        for row in rows.chunks_exact(width) {
            let part = &row[index * columns..][..sum.len()];
            add_row(sum, part);
        }
    });
}

/// Elements of a block of [`sum_of_squares`].
const SQUARES: usize = 4096;

#[inline(always)]
fn squares_body<A: Arithmetic>(values: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for i in 0..LANES {
            let x = f64::from(values[i]);
            lanes[i] += x * x;
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(x) * f64::from(x);
    }
    let mut sum = 0.0;
    for lane in lanes {
        sum += lane;
    }
    sum
}

dispatched! {
    fn squares(values: &[f32]) -> f64 = squares_body;
}

/// Sum of squares in f64: in blocks of 4,096 elements, each in 16 lanes that are added in order; then the blocks in order.
pub fn sum_of_squares(values: &[f32]) -> f64 {
    let mut sums = vec![0.0; values.len().div_ceil(SQUARES)];
    threads::for_each_chunk(&mut sums, 16, |chunk, sums| {
        for (index, sum) in sums.iter_mut().enumerate() {
            let start = (chunk * 16 + index) * SQUARES;
            *sum = squares(&values[start..values.len().min(start + SQUARES)]);
        }
    });
    sums.iter().sum()
}

/// values ← factor · values. Inlined into the dispatched routines.
#[inline(always)]
pub(crate) fn scale_lanes(values: &mut [f32], factor: f32) {
    for value in values {
        *value *= factor;
    }
}

#[inline(always)]
fn scale_body<A: Arithmetic>(values: &mut [f32], factor: f32) {
    scale_lanes(values, factor);
}

dispatched! {
    /// values ← factor · values.
    pub fn scale(values: &mut [f32], factor: f32) = scale_body;
}
