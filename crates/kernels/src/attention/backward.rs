//! Gradients of queries, keys and values; the softmax is recomputed a few rows at a time, so nothing of size T × T is
//! held.

use std::{cell::RefCell, ops::Range};

use super::{
    Heads, KeyValues, Tree,
    block::{ColumnWords, LeftColumns, LeftRows, OutRows, StepRows, scores, weighted_rows, weighted_values},
    forward::weigh,
    parts,
    stretch::Stretch,
};
use crate::{
    buffer::{Buffer, Words, copy_lines},
    dispatch::{Arithmetic, dispatched},
    matmul::{Compute, packed::PANEL},
    threads::{self, Parts},
    vector::{LANES, dot_lanes, scale_lanes},
};

/// Query rows of one key-value head that are computed together: a multiple of the tiles' usual height, the same for
/// all instruction sets whose bits are the same.
fn rows_max(compute: Compute) -> usize {
    if compute.uses_matrix_registers() { 64 } else { 56 }
}

/// Bytes that a thread keeps for each position that a row sees: weights and gradients of the rows computed together,
/// each as floats and as the words of both their products.
pub fn backward_position_bytes(compute: Compute) -> usize {
    5 * rows_max(compute) * size_of::<f32>()
}

/// What the forward read: queries \[N, H, D\], keys and values \[N, K, D\], all rows of the batch.
#[derive(Clone, Copy)]
pub struct Saved<'a> {
    /// Queries after position embedding.
    pub queries: &'a [f32],
    /// Keys and values of the same rows.
    pub key_values: KeyValues<'a>,
}

/// Gradients of the forward's inputs, same shapes as in [`Saved`]; overwritten.
pub struct Gradients<'a> {
    /// \[N, H, D\].
    pub queries: &'a mut [f32],
    /// \[N, K, D\].
    pub keys: &'a mut [f32],
    /// \[N, K, D\].
    pub values: &'a mut [f32],
}

/// The arrays that all tasks read or write their parts of.
struct Shared<'a> {
    saved: Saved<'a>,
    out_gradient: &'a [f32],
    heads: &'a Heads,
    compute: Compute,
    queries: Parts<'a, f32>,
    keys: Parts<'a, f32>,
    values: Parts<'a, f32>,
}

/// Buffers of one task.
#[derive(Default)]
struct Scratch {
    /// Keys of the part, and their values; then the two exchanged, which gives the transposed values.
    stretches: Vec<[Stretch; 2]>,
    left: LeftRows,
    /// \[R, stride\]: weights.
    weights: Buffer,
    /// \[R, stride\]: gradients of weights, then of scores.
    weight_gradients: Buffer,
    /// Weights and gradients of scores by position, as the left side of products.
    weight_words: ColumnWords,
    score_words: ColumnWords,
    /// Queries and gradients of the output as the steps of products.
    query_words: Words,
    out_words: Words,
    /// \[R, padded D\].
    queries: Buffer,
    /// \[R, padded D\].
    out_gradients: Buffer,
    /// \[R, padded D\].
    query_gradients: Buffer,
    /// \[rows of the tree, padded D\].
    key_gradients: Buffer,
    /// \[rows of the tree, padded D\].
    value_gradients: Buffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Gradients of queries, keys and values from that of the output.
///
/// Shapes: out_gradient \[N, H, D\]; `trees` cover all rows in order.
pub fn backward(
    Gradients { queries, keys, values }: Gradients<'_>,
    saved: Saved<'_>,
    out_gradient: &[f32],
    (heads, compute): (&Heads, Compute),
    trees: &[Tree],
) {
    heads.check();
    let (query_columns, columns) = (heads.query_columns(), heads.key_value_columns());
    let rows = out_gradient.len() / query_columns;
    let query_lengths = [queries.len(), saved.queries.len(), out_gradient.len()];
    assert_eq!(query_lengths, [rows * query_columns; 3], "values of {rows} rows of queries");
    let key_lengths = [keys.len(), values.len(), saved.key_values.keys.len(), saved.key_values.values.len()];
    assert_eq!(key_lengths, [rows * columns; 4], "values of {rows} rows of keys and values");
    let mut covered = 0;
    for tree in trees {
        assert!(tree.rows().start == covered && tree.is_contiguous(), "{tree:?} does not continue row {covered}");
        covered = tree.rows().end;
    }
    assert_eq!(covered, rows, "rows that the trees cover");
    let shared = Shared {
        saved,
        out_gradient,
        heads,
        compute,
        queries: Parts::new(queries),
        keys: Parts::new(keys),
        values: Parts::new(values),
    };
    threads::for_each(trees.len() * heads.key_value, |task| {
        let mut scratch = SCRATCH.take();
        tree_backward(&mut scratch, &shared, &trees[task / heads.key_value], task % heads.key_value);
        SCRATCH.set(scratch);
    });
}

/// One tree and key-value head.
fn tree_backward(scratch: &mut Scratch, shared: &Shared<'_>, tree: &Tree, head: usize) {
    let Shared { heads, saved, compute, .. } = shared;
    let (width, columns) = (heads.width, heads.key_value_columns());
    let padded = width.next_multiple_of(PANEL);
    let rows = tree.rows();
    let parts: Vec<Range<usize>> = parts(std::slice::from_ref(tree)).collect();
    // Of this head alone.
    let one = Heads { query: heads.ratio(), key_value: 1, width };
    scratch.stretches.resize_with(parts.len(), || [Stretch::new(one, *compute), Stretch::new(one, *compute)]);
    for (part, [there, back]) in parts.iter().zip(&mut scratch.stretches) {
        there.reset(one, *compute);
        back.reset(one, *compute);
        let place = |row: usize| (part.start + row) * columns + head * width;
        let key = |row: usize| &saved.key_values.keys[place(row)..][..width];
        let value = |row: usize| &saved.key_values.values[place(row)..][..width];
        there.append_rows(part.len(), key, value);
        back.append_rows(part.len(), value, key);
    }
    scratch.key_gradients.resize(rows.len() * padded).fill(0.0);
    scratch.value_gradients.resize(rows.len() * padded).fill(0.0);
    let block = (rows_max(*compute) / heads.ratio()).max(1);
    for (index, part) in parts.iter().enumerate() {
        for start in part.clone().step_by(block) {
            let rows = start..part.end.min(start + block);
            block_backward(scratch, shared, (&parts, index), rows, head);
        }
    }
    for (index, row) in rows.enumerate() {
        let at = row * columns + head * width..row * columns + (head + 1) * width;
        let gradient = index * padded..index * padded + width;
        // SAFETY: no other task has these rows and this head.
        let keys = unsafe { shared.keys.part(at.clone()) };
        copy_lines(keys, &scratch.key_gradients[gradient.clone()]);
        // SAFETY: as above.
        let values = unsafe { shared.values.part(at) };
        copy_lines(values, &scratch.value_gradients[gradient]);
    }
}

/// Neighbouring rows `rows` of part `index` of a tree.
///
/// With p the softmax weights: ∂p_s = ∂out·v_s, ∂score_s = p_s·(∂p_s − Σ p·∂p), ∂v_s = p_s·∂out.
fn block_backward(
    scratch: &mut Scratch,
    shared: &Shared<'_>,
    (parts, index): (&[Range<usize>], usize),
    rows: Range<usize>,
    head: usize,
) {
    let heads = shared.heads;
    let (ratio, width) = (heads.ratio(), heads.width);
    let padded = width.next_multiple_of(PANEL);
    let count = rows.len() * ratio;
    let start =
        |i: usize| (rows.start + i / ratio) * heads.query_columns() + heads.query_range(head).start + i % ratio * width;
    let trunk = if index > 0 { parts[0].len() } else { 0 };
    let own = rows.end - parts[index].start;
    // Each stretch seen: its place in `parts`, where its scores begin, and how many.
    let seen: Vec<(usize, usize, usize)> =
        [(0, 0, trunk), (index, trunk, own)].into_iter().filter(|&(_, _, seen)| seen > 0).collect();
    let stride = trunk + own.next_multiple_of(PANEL) + PANEL;

    padded_rows(&mut scratch.queries, (count, padded), |i| &shared.saved.queries[start(i)..][..width]);
    padded_rows(&mut scratch.out_gradients, (count, padded), |i| &shared.out_gradient[start(i)..][..width]);
    for (rows, out, side) in
        [(&scratch.queries, &mut scratch.weights, 0), (&scratch.out_gradients, &mut scratch.weight_gradients, 1)]
    {
        scratch.left.fill((count, width), shared.compute, |i| &rows[i * padded..]);
        let mut out = OutRows { floats: out.resize(count * stride), stride };
        for &(part, at, seen) in &seen {
            scores(&mut out, (0..count, at), &scratch.left, (&scratch.stretches[part][side], 0), seen);
        }
    }
    for i in 0..count {
        let limit = trunk + rows.start + i / ratio - parts[index].start + 1;
        let blocks = i * stride..i * stride + (trunk + own).next_multiple_of(LANES);
        let weights = &mut scratch.weights[blocks.clone()];
        let sum = weigh(weights, limit, heads.scale());
        score_gradients(weights, &mut scratch.weight_gradients[blocks], (sum, heads.scale()));
    }
    let (shape, compute) = ((count, stride), shared.compute);
    let weight_columns = LeftColumns::new(&mut scratch.weight_words, &scratch.weights, shape, compute);
    let score_columns = LeftColumns::new(&mut scratch.score_words, &scratch.weight_gradients, shape, compute);
    let query_steps = StepRows::new(&mut scratch.query_words, &scratch.queries, (count, padded), compute);
    let out_steps = StepRows::new(&mut scratch.out_words, &scratch.out_gradients, (count, padded), compute);
    scratch.query_gradients.resize(count * padded).fill(0.0);
    for &(part, at, seen) in &seen {
        let gradients = |i: usize| &scratch.weight_gradients[i * stride + at..];
        scratch.left.fill((count, seen), compute, gradients);
        let mut out = OutRows { floats: &mut scratch.query_gradients, stride: padded };
        weighted_values(&mut out, 0..count, &scratch.left, (&scratch.stretches[part][1], 0), seen);
        let first = (parts[part].start - parts[0].start) * padded;
        let mut keys = OutRows { floats: &mut scratch.key_gradients[first..], stride: padded };
        weighted_rows(&mut keys, (score_columns, at), query_steps, seen, compute);
        let mut values = OutRows { floats: &mut scratch.value_gradients[first..], stride: padded };
        weighted_rows(&mut values, (weight_columns, at), out_steps, seen, compute);
    }
    for i in 0..count {
        // SAFETY: no other task has these rows and this head.
        let out = unsafe { shared.queries.part(start(i)..start(i) + width) };
        copy_lines(out, &scratch.query_gradients[i * padded..][..width]);
    }
}

/// \[rows, padded\], zeros beyond each row's floats.
fn padded_rows<'a>(out: &mut Buffer, (rows, padded): (usize, usize), row: impl Fn(usize) -> &'a [f32]) {
    for (index, out) in out.resize(rows * padded).chunks_exact_mut(padded).enumerate() {
        let values = row(index);
        copy_lines(out, values);
        out[values.len()..].fill(0.0);
    }
}

#[inline(always)]
fn score_gradients_body<A: Arithmetic>(weights: &mut [f32], gradients: &mut [f32], sum_and_scale: (f32, f32)) {
    let (sum, scale) = sum_and_scale;
    scale_lanes(weights, 1.0 / sum);
    // Scores beyond the row's own are not seen, and what stands there is none of its gradients.
    for (gradient, &weight) in gradients.iter_mut().zip(&*weights) {
        *gradient = if weight == 0.0 { 0.0 } else { *gradient };
    }
    let projection = dot_lanes::<A>(weights, gradients);
    for (gradient, &weight) in gradients.iter_mut().zip(&*weights) {
        *gradient = scale * weight * (*gradient - projection);
    }
}

dispatched! {
    /// Divides `weights` by their sum and replaces their gradients by those of the unscaled products q·k.
    fn score_gradients(weights: &mut [f32], gradients: &mut [f32], sum_and_scale: (f32, f32)) = score_gradients_body;
}
