//! Causal softmax attention with grouped key-value heads (arXiv 2305.13245) over ragged sequences.
//!
//! A query row sees two stretches of keys: a shared one (the prompt of its group) and its own sequence up to itself.
//! Scores, softmax and the weighted sum run over positions in ascending order, so a row's output has the same bits
//! whether its keys lie in a cache or in the training batch, and wherever the two stretches meet.

use std::{cell::RefCell, ops::Range};

use rayon::prelude::*;

use crate::{
    activation::exp,
    dispatch::{Arithmetic, dispatched},
    vector::{add_scaled_lanes, dot_lanes, max_lanes, scale_lanes, sum_lanes},
};

/// Numbers and width of the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// H, a multiple of K.
    pub query: usize,
    /// K.
    pub key_value: usize,
    /// D.
    pub width: usize,
}

impl Heads {
    /// Floats of a row of keys or of values.
    pub fn key_value_columns(&self) -> usize {
        self.key_value * self.width
    }

    fn query_columns(&self) -> usize {
        self.query * self.width
    }

    /// The columns of query head `head` in a query row and of its key-value head in a key row.
    fn columns(&self, head: usize) -> (Range<usize>, Range<usize>) {
        let shared = head / (self.query / self.key_value);
        (head * self.width..(head + 1) * self.width, shared * self.width..(shared + 1) * self.width)
    }

    /// 1/√D.
    fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

/// A stretch of keys and values, both \[S, K, D\].
#[derive(Debug, Clone, Copy)]
pub struct KeyValues<'a> {
    /// Keys after position embedding.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
}

impl<'a> KeyValues<'a> {
    /// The rows `rows` of \[S, K, D\] arrays with `columns` = K·D.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>, columns: usize) -> KeyValues<'a> {
        let at = rows.start * columns..rows.end * columns;
        KeyValues { keys: &self.keys[at.clone()], values: &self.values[at] }
    }
}

/// What one query row sees: the shared stretch, then its own, itself included.
pub type Context<'a> = [KeyValues<'a>; 2];

thread_local! {
    /// Scores of one row and head, and their gradients.
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Softmax weights, not yet divided by their sum, of one query head over its context; returns the sum.
#[inline(always)]
fn weigh<A: Arithmetic>(
    weights: &mut Vec<f32>,
    query: &[f32],
    context: &Context<'_>,
    at: (&Heads, &Range<usize>),
) -> f32 {
    let (heads, columns) = at;
    let (stride, scale) = (heads.key_value_columns(), heads.scale());
    weights.clear();
    for stretch in context {
        let lengths = (stretch.keys.len(), stretch.values.len());
        assert!(lengths.0 == lengths.1 && lengths.0 % stride == 0, "keys and values {lengths:?} in rows of {stride}");
        for key in stretch.keys.chunks_exact(stride) {
            weights.push(scale * dot_lanes::<A>(query, &key[columns.clone()]));
        }
    }
    let largest = max_lanes(weights);
    for weight in weights.iter_mut() {
        *weight = exp::<A>(*weight - largest);
    }
    sum_lanes(weights)
}

#[inline(always)]
fn row_body<A: Arithmetic>(out: &mut [f32], query: &[f32], context: &Context<'_>, heads: &Heads) {
    let [mut weights, weight_gradients] = SCRATCH.take();
    for head in 0..heads.query {
        let (mine, shared) = heads.columns(head);
        let sum = weigh::<A>(&mut weights, &query[mine.clone()], context, (heads, &shared));
        let out = &mut out[mine];
        out.fill(0.0);
        let mut seen = 0;
        for stretch in context {
            for value in stretch.values.chunks_exact(heads.key_value_columns()) {
                add_scaled_lanes::<A>(out, weights[seen], &value[shared.clone()]);
                seen += 1;
            }
        }
        scale_lanes(out, 1.0 / sum);
    }
    SCRATCH.set([weights, weight_gradients]);
}

dispatched! {
    fn row(out: &mut [f32], query: &[f32], context: &Context<'_>, heads: &Heads) = row_body;
}

/// out = softmax(q·kᵀ/√D)·v for every row, whose context `context(row)` gives.
///
/// Shapes: out and queries \[N, H, D\].
pub fn forward<'a>(out: &mut [f32], queries: &[f32], heads: &Heads, context: impl Fn(usize) -> Context<'a> + Sync) {
    let columns = heads.query_columns();
    assert_eq!(out.len(), queries.len(), "output and query lengths");
    assert_eq!(queries.len() % columns, 0, "{} query values in rows of {columns}", queries.len());
    out.par_chunks_exact_mut(columns)
        .zip(queries.par_chunks_exact(columns))
        .enumerate()
        .for_each(|(index, (out, query))| row(out, query, &context(index), heads));
}

/// Rows of one prompt and of the sequences that continue it, contiguous and in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Rows of the shared beginning; may be empty.
    pub trunk: Range<usize>,
    /// Rows of each continuation.
    pub branches: Vec<Range<usize>>,
}

impl Tree {
    /// All rows of the tree.
    pub fn rows(&self) -> Range<usize> {
        self.trunk.start..self.branches.last().map_or(self.trunk.end, |last| last.end)
    }

    /// Whether trunk and branches follow one another without a gap.
    fn is_contiguous(&self) -> bool {
        let mut end = self.trunk.end;
        self.branches.iter().all(|branch| branch.start == std::mem::replace(&mut end, branch.end))
    }

    /// For each row in order, the rows of its shared stretch and of its own, itself included.
    pub fn stretches(&self) -> impl Iterator<Item = [Range<usize>; 2]> + '_ {
        let trunk = self.trunk.clone().map(|row| [self.trunk.start..self.trunk.start, self.trunk.start..row + 1]);
        let branches = self
            .branches
            .iter()
            .flat_map(|branch| branch.clone().map(|row| [self.trunk.clone(), branch.start..row + 1]));
        trunk.chain(branches)
    }
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

/// Gradients of queries, keys and values from that of the output, tree by tree; the softmax is recomputed row by row,
/// so nothing of size T × T is held.
///
/// Shapes: out_gradient \[N, H, D\]; `trees` cover all rows in order.
pub fn backward(gradients: Gradients<'_>, saved: Saved<'_>, out_gradient: &[f32], heads: &Heads, trees: &[Tree]) {
    let (query_columns, columns) = (heads.query_columns(), heads.key_value_columns());
    let rows = out_gradient.len() / query_columns;
    let query_lengths = [gradients.queries.len(), saved.queries.len(), out_gradient.len()];
    assert_eq!(query_lengths, [rows * query_columns; 3], "values of {rows} rows of queries");
    let Gradients { keys, values, .. } = &gradients;
    let key_lengths = [keys.len(), values.len(), saved.key_values.keys.len(), saved.key_values.values.len()];
    assert_eq!(key_lengths, [rows * columns; 4], "values of {rows} rows of keys and values");
    let mut rest = gradients;
    let mut jobs = Vec::with_capacity(trees.len());
    let mut covered = 0;
    for tree in trees {
        assert!(tree.rows().start == covered && tree.is_contiguous(), "{tree:?} does not continue row {covered}");
        covered = tree.rows().end;
        let rows = tree.rows().len();
        let (queries, queries_rest) = rest.queries.split_at_mut(rows * query_columns);
        let (keys, keys_rest) = rest.keys.split_at_mut(rows * columns);
        let (values, values_rest) = rest.values.split_at_mut(rows * columns);
        jobs.push((tree, Gradients { queries, keys, values }));
        rest = Gradients { queries: queries_rest, keys: keys_rest, values: values_rest };
    }
    assert_eq!(covered, rows, "rows that the trees cover");
    jobs.into_par_iter().for_each(|(tree, mut gradients)| {
        tree_backward(&mut gradients, saved, out_gradient, heads, tree);
    });
}

dispatched! {
    fn tree_backward(
        gradients: &mut Gradients<'_>,
        saved: Saved<'_>,
        out_gradient: &[f32],
        heads: &Heads,
        tree: &Tree,
    ) = tree_backward_body;
}

#[inline(always)]
fn tree_backward_body<A: Arithmetic>(
    gradients: &mut Gradients<'_>,
    saved: Saved<'_>,
    out_gradient: &[f32],
    heads: &Heads,
    tree: &Tree,
) {
    gradients.queries.fill(0.0);
    gradients.keys.fill(0.0);
    gradients.values.fill(0.0);
    for (row, stretches) in (tree.rows().start..).zip(tree.stretches()) {
        for head in 0..heads.query {
            let seen = Seen { row, head, first: tree.rows().start, stretches: stretches.clone() };
            head_backward::<A>(gradients, saved, out_gradient, heads, seen);
        }
    }
}

/// One query head of one row, the first row of its tree, and the rows it sees.
struct Seen {
    row: usize,
    head: usize,
    first: usize,
    stretches: [Range<usize>; 2],
}

/// With p the softmax weights: ∂p_s = ∂out·v_s, ∂score_s = p_s·(∂p_s − Σ p·∂p), ∂v_s = p_s·∂out.
#[inline(always)]
fn head_backward<A: Arithmetic>(
    gradients: &mut Gradients<'_>,
    saved: Saved<'_>,
    out_gradient: &[f32],
    heads: &Heads,
    seen: Seen,
) {
    let columns = heads.key_value_columns();
    let (mine, shared) = heads.columns(seen.head);
    let at = |row: usize| row * heads.query_columns() + mine.start..row * heads.query_columns() + mine.end;
    let key_at = |row: usize| row * columns + shared.start..row * columns + shared.end;
    let (query, out) = (&saved.queries[at(seen.row)], &out_gradient[at(seen.row)]);
    let context = seen.stretches.clone().map(|rows| saved.key_values.rows(rows, columns));
    let [mut weights, mut weight_gradients] = SCRATCH.take();
    let inverse = 1.0 / weigh::<A>(&mut weights, query, &context, (heads, &shared));
    scale_lanes(&mut weights, inverse);
    weight_gradients.clear();
    for stretch in &context {
        for value in stretch.values.chunks_exact(columns) {
            weight_gradients.push(dot_lanes::<A>(out, &value[shared.clone()]));
        }
    }
    let projection = dot_lanes::<A>(&weights, &weight_gradients);
    let query_gradient = &mut gradients.queries[at(seen.row - seen.first)];
    let mut index = 0;
    for stretch in seen.stretches {
        for source in stretch {
            let weight = weights[index];
            let score_gradient = heads.scale() * weight * (weight_gradients[index] - projection);
            let into = key_at(source - seen.first);
            add_scaled_lanes::<A>(query_gradient, score_gradient, &saved.key_values.keys[key_at(source)]);
            add_scaled_lanes::<A>(&mut gradients.keys[into.clone()], score_gradient, query);
            add_scaled_lanes::<A>(&mut gradients.values[into], weight, out);
            index += 1;
        }
    }
    SCRATCH.set([weights, weight_gradients]);
}
