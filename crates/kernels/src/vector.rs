//! Dot products, sums and scaled additions over slices, in one fixed order.
//!
//! A sum over n elements runs in 16 lanes (element i into lane i mod 16, i ascending) that are then added pairwise
//! 8 apart, 4 apart, 2 apart, 1 apart. The order depends on n alone.

use crate::{
    dispatch::{Arithmetic, dispatched},
    threads::{self, ELEMENTS, rows_per_task},
};

/// Lanes of every reduction.
pub(crate) const LANES: usize = 16;

/// Combines lanes pairwise, 8 apart first. Halves are arrays of their own, which stay in registers.
#[inline(always)]
fn reduce(lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| combine(lanes[i], lanes[i + 8]));
    let four: [f32; 4] = std::array::from_fn(|i| combine(eight[i], eight[i + 4]));
    let two: [f32; 2] = std::array::from_fn(|i| combine(four[i], four[i + 2]));
    combine(two[0], two[1])
}

/// The sum of lanes, pairwise.
#[inline(always)]
pub(crate) fn sum_of_lanes(lanes: [f32; LANES]) -> f32 {
    reduce(lanes, |a, b| a + b)
}

/// The largest lane.
#[inline(always)]
pub(crate) fn max_of_lanes(lanes: [f32; LANES]) -> f32 {
    reduce(lanes, larger)
}

/// The larger one; a NaN of `b` is passed over.
#[inline(always)]
pub(crate) fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// `values` in blocks of [`LANES`], a whole number of them.
#[inline(always)]
pub(crate) fn blocks_mut(values: &mut [f32]) -> &mut [[f32; LANES]] {
    let (blocks, rest) = values.as_chunks_mut();
    assert!(rest.is_empty(), "{} values beyond whole blocks", rest.len());
    blocks
}

/// All bits in the first `count` lanes, none in the others.
#[inline(always)]
pub(crate) fn first_lanes(count: usize) -> &'static [u32; LANES] {
    static MASKS: [u32; 2 * LANES] = {
        let mut masks = [0; 2 * LANES];
        let (first, _) = masks.split_at_mut(LANES);
        first.copy_from_slice(&[u32::MAX; LANES]);
        masks
    };
    MASKS[LANES - count.min(LANES)..].first_chunk().expect("as many lanes as are left")
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
    sum_of_lanes(lanes)
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
    let (blocks, rest) = a.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = larger(lanes[i], block[i]);
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = larger(*lane, x);
    }
    max_of_lanes(lanes)
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
