//! Causal softmax attention with grouped key-value heads (arXiv 2305.13245) over ragged sequences, without padding.
//!
//! A query row sees two stretches of keys: a shared one (the prompt of its group) and its own sequence up to itself.
//! A score is one chain over the head's width; softmax sums run over positions in 16 lanes; the weighted sum is one
//! chain over positions in ascending order. So a row's output has the same bits whether its keys lie in a cache or in
//! the training batch, wherever the two stretches meet, and whatever rows are computed beside it.
//!
//! Several query rows pass over a page of keys together: the query heads that share a key-value head, neighbouring rows
//! of a sequence, and the sequences that share a prompt.

use std::ops::Range;

use crate::{Compute, matmul::tile::STEPS_MAX};

pub use backward::{Gradients, Saved, backward, backward_position_bytes};
pub use forward::{Sequence, forward};
pub use stretch::Stretch;

mod backward;
mod block;
mod forward;
mod stretch;

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
    /// Most query heads that share a key-value head: a block of rows for gradients is at least one row of all of them.
    pub const RATIO_MAX: usize = STEPS_MAX;

    /// Floats of a row of keys or of values.
    pub fn key_value_columns(&self) -> usize {
        self.key_value * self.width
    }

    /// Floats of a row of queries.
    pub fn query_columns(&self) -> usize {
        self.query * self.width
    }

    /// Query heads that share a key-value head.
    fn ratio(&self) -> usize {
        self.query / self.key_value
    }

    /// The columns of the query heads that share key-value head `head`, in a query row.
    fn query_range(&self, head: usize) -> Range<usize> {
        head * self.ratio() * self.width..(head + 1) * self.ratio() * self.width
    }

    /// 1/√D.
    pub(crate) fn scale(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }

    fn check(&self) {
        assert!(self.key_value > 0 && self.query.is_multiple_of(self.key_value), "query heads in groups: {self:?}");
        assert!(self.ratio() <= Self::RATIO_MAX, "at most {} query heads in a group: {self:?}", Self::RATIO_MAX);
    }
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
}

/// Keys and values of all rows of a batch, tree by tree, both \[N, K, D\].
#[derive(Debug, Clone, Copy)]
pub struct KeyValues<'a> {
    /// Keys after position embedding.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
}

/// The stretches of a batch's trees: of each tree its trunk, then its branches. Keeps its memory from batch to batch.
#[derive(Debug, Default)]
pub struct Forest {
    stretches: Vec<Stretch>,
}

impl Forest {
    /// Takes in the keys and values of all rows of `trees`, for products that compute with `compute`.
    pub fn fill(&mut self, key_values: KeyValues<'_>, (heads, compute): (&Heads, Compute), trees: &[Tree]) {
        let parts: Vec<Range<usize>> = parts(trees).collect();
        self.stretches.resize_with(parts.len(), || Stretch::new(*heads, compute));
        let columns = heads.key_value_columns();
        crate::threads::for_each_chunk(&mut self.stretches, 1, |index, stretch| {
            let at = parts[index].start * columns..parts[index].end * columns;
            stretch[0].reset(*heads, compute);
            stretch[0].append(&key_values.keys[at.clone()], &key_values.values[at]);
        });
    }

    /// The sequences of `trees`, in the order of their rows, as [`forward`] takes them.
    pub fn sequences(&self, trees: &[Tree]) -> Vec<Sequence<'_>> {
        let mut sequences = Vec::with_capacity(self.stretches.len());
        let mut stretches = self.stretches.iter();
        let mut take = || stretches.next().expect("a stretch for every part of every tree");
        for tree in trees {
            let trunk = take();
            sequences.push(Sequence { rows: tree.trunk.len(), shared: None, own: trunk, seen: 1 });
            for branch in &tree.branches {
                sequences.push(Sequence { rows: branch.len(), shared: Some(trunk), own: take(), seen: 1 });
            }
        }
        sequences
    }
}

/// The rows of each tree's trunk and branches.
fn parts(trees: &[Tree]) -> impl Iterator<Item = Range<usize>> + '_ {
    trees.iter().flat_map(|tree| std::iter::once(tree.trunk.clone()).chain(tree.branches.iter().cloned()))
}
