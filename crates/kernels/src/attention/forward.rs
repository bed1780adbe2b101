//! out = softmax(q·kᵀ/√D)·v.

use std::{cell::RefCell, ops::Range};

use super::{
    Heads,
    block::{LeftRows, OutRows, scores, weighted_values},
    stretch::Stretch,
};
use crate::{
    activation::exp,
    buffer::Buffer,
    dispatch::{Arithmetic, dispatched},
    matmul::{Compute, packed::PANEL, tile},
    threads::{self, Parts},
    vector::{LANES, blocks_mut, first_lanes, larger, max_of_lanes, sum_of_lanes},
};

/// Consecutive query rows of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'a> {
    /// How many rows.
    pub rows: usize,
    /// What all of them see.
    pub shared: Option<&'a Stretch>,
    /// The sequence's own stretch.
    pub own: &'a Stretch,
    /// Positions of `own` that the first row sees, itself included; each further row sees one more.
    pub seen: usize,
}

/// Rows that are computed together.
struct Block<'a> {
    first: usize,
    shared: Option<&'a Stretch>,
    /// Rows of one own stretch each.
    runs: Vec<Sequence<'a>>,
}

impl Block<'_> {
    fn rows(&self) -> usize {
        self.runs.iter().map(|run| run.rows).sum()
    }

    fn shared_len(&self) -> usize {
        self.shared.map_or(0, Stretch::len)
    }
}

/// Query rows of one key-value head that a block holds: two tiles.
fn rows_max(heads: &Heads, compute: Compute) -> usize {
    (2 * tile::height_max(compute) / heads.ratio()).max(1)
}

/// Cuts sequences into blocks; neighbours that share a stretch go together.
fn blocks<'a>(sequences: &[Sequence<'a>], heads: &Heads) -> Vec<Block<'a>> {
    let Some(compute) = sequences.first().map(|sequence| sequence.own.compute()) else { return Vec::new() };
    let rows_max = rows_max(heads, compute);
    let mut blocks: Vec<Block<'a>> = Vec::new();
    let mut first = 0;
    for sequence in sequences {
        let mut done = 0;
        while done < sequence.rows {
            let last = blocks.last_mut().filter(|last| {
                let same = last.shared.zip(sequence.shared).is_some_and(|(a, b)| std::ptr::eq(a, b));
                same && last.rows() < rows_max
            });
            let room = rows_max - last.as_ref().map_or(0, |last| last.rows());
            let rows = room.min(sequence.rows - done);
            let run = Sequence { rows, seen: sequence.seen + done, ..*sequence };
            match last {
                Some(last) => last.runs.push(run),
                None => blocks.push(Block { first: first + done, shared: sequence.shared, runs: vec![run] }),
            }
            done += rows;
        }
        first += sequence.rows;
    }
    blocks
}

/// Buffers of one task.
#[derive(Default)]
struct Scratch {
    left: LeftRows,
    scores: Buffer,
    sums: Vec<f32>,
    out: Buffer,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// out = softmax(q·kᵀ/√D)·v for the rows of `sequences`, in their order.
///
/// Shapes: out and queries \[N, H, D\] for N rows of all sequences together.
pub fn forward(out: &mut [f32], queries: &[f32], heads: &Heads, sequences: &[Sequence<'_>]) {
    heads.check();
    let columns = heads.query_columns();
    let rows: usize = sequences.iter().map(|sequence| sequence.rows).sum();
    assert_eq!((out.len(), queries.len()), (rows * columns, rows * columns), "output and queries of {rows} rows");
    for Sequence { rows, shared, own, seen } in sequences {
        let fits = *seen > 0 && seen + rows <= own.len() + 1;
        assert!(*rows == 0 || fits, "{rows} rows that see {seen} and more of {} positions", own.len());
        let layouts = [Some(own.heads()), shared.map(Stretch::heads)];
        assert!(
            layouts
                .into_iter()
                .flatten()
                .all(|layout| { (layout.key_value, layout.width) == (heads.key_value, heads.width) }),
            "a stretch of other heads than {heads:?}"
        );
        assert!(shared.is_none_or(|shared| shared.compute() == own.compute()), "stretches of two computations");
    }
    let blocks = blocks(sequences, heads);
    let parts = Parts::new(out);
    threads::for_each(blocks.len() * heads.key_value, |task| {
        let (block, head) = (&blocks[task / heads.key_value], task % heads.key_value);
        let mut scratch = SCRATCH.take();
        attend(&mut scratch, block, queries, (heads, head));
        let (width, padded) = (heads.width, heads.width.next_multiple_of(PANEL));
        for (index, values) in scratch.out.chunks_exact(padded).enumerate() {
            let (row, sub) = (block.first + index / heads.ratio(), index % heads.ratio());
            let start = row * columns + heads.query_range(head).start + sub * width;
            // SAFETY: no other task has these rows and this head.
            let out = unsafe { parts.part(start..start + width) };
            scaled_copy(out, &values[..width], 1.0 / scratch.sums[index]);
        }
        SCRATCH.set(scratch);
    });
}

/// One block and key-value head: weighted values before division, and the softmax sums, into `scratch`.
fn attend(scratch: &mut Scratch, block: &Block<'_>, queries: &[f32], (heads, head): (&Heads, usize)) {
    let (ratio, width, columns) = (heads.ratio(), heads.width, heads.query_columns());
    let (count, shared_len) = (block.rows() * ratio, block.shared_len());
    let query = |index: usize| {
        let start = (block.first + index / ratio) * columns + heads.query_range(head).start + index % ratio * width;
        &queries[start..start + width]
    };
    let compute = block.runs[0].own.compute();
    scratch.left.fill((count, width), compute, query);
    let longest = block.runs.iter().map(|run| run.seen + run.rows - 1).max().unwrap_or(0);
    let stride = shared_len + longest.next_multiple_of(PANEL) + PANEL;
    let mut out = OutRows { floats: scratch.scores.resize(count * stride), stride };
    if let Some(shared) = block.shared {
        scores(&mut out, (0..count, 0), &scratch.left, (shared, head), shared_len);
    }
    let mut first = 0;
    scratch.sums.clear();
    for run in &block.runs {
        let rows = first * ratio..(first + run.rows) * ratio;
        let seen = run.seen + run.rows - 1;
        scores(&mut out, (rows.clone(), shared_len), &scratch.left, (run.own, head), seen);
        for index in rows {
            let limit = shared_len + run.seen + index / ratio - first;
            let row = &mut out.floats[index * stride..][..(shared_len + seen).next_multiple_of(LANES)];
            scratch.sums.push(weigh(row, limit, heads.scale()));
        }
        first += run.rows;
    }
    let padded = width.next_multiple_of(PANEL);
    scratch.out.resize(count * padded).fill(0.0);
    let mut values = OutRows { floats: &mut scratch.out, stride: padded };
    if let Some(shared) = block.shared {
        scratch.left.fill((count, shared_len), compute, |index| &scratch.scores[index * stride..]);
        weighted_values(&mut values, 0..count, &scratch.left, (shared, head), shared_len);
    }
    let mut first = 0;
    for run in &block.runs {
        let rows: Range<usize> = first * ratio..(first + run.rows) * ratio;
        let seen = run.seen + run.rows - 1;
        let weights = |index: usize| &scratch.scores[(rows.start + index) * stride + shared_len..];
        scratch.left.fill((rows.len(), seen), compute, weights);
        let mut values = OutRows { floats: &mut scratch.out[rows.start * padded..], stride: padded };
        weighted_values(&mut values, 0..rows.len(), &scratch.left, (run.own, head), seen);
        first += run.rows;
    }
}

#[inline(always)]
fn weigh_body<A: Arithmetic>(scores: &mut [f32], limit: usize, scale: f32) -> f32 {
    let (seen, unseen) = blocks_mut(scores).split_at_mut(limit.div_ceil(LANES));
    let mut largest = [f32::NEG_INFINITY; LANES];
    for (index, block) in seen.iter_mut().enumerate() {
        let mask = first_lanes(limit - index * LANES);
        for lane in 0..LANES {
            let scaled = (block[lane] * scale).to_bits() & mask[lane];
            block[lane] = f32::from_bits(scaled | f32::NEG_INFINITY.to_bits() & !mask[lane]);
            largest[lane] = larger(largest[lane], block[lane]);
        }
    }
    let largest = max_of_lanes(largest);
    let mut sums = [0.0; LANES];
    for (index, block) in seen.iter_mut().enumerate() {
        let mask = first_lanes(limit - index * LANES);
        for lane in 0..LANES {
            block[lane] = f32::from_bits(exp::<A>(block[lane] - largest).to_bits() & mask[lane]);
            sums[lane] += block[lane];
        }
    }
    unseen.fill([0.0; LANES]);
    sum_of_lanes(sums)
}

dispatched! {
    /// Turns the first `limit` scores into softmax weights, not yet divided by their sum, which it returns; the rest
    /// become 0. Takes whole blocks of [`LANES`], whatever stands beyond the limit.
    pub(super) fn weigh(scores: &mut [f32], limit: usize, scale: f32) -> f32 = weigh_body;
}

#[inline(always)]
fn scaled_copy_body<A: Arithmetic>(out: &mut [f32], values: &[f32], factor: f32) {
    assert_eq!(out.len(), values.len(), "rows of different lengths");
    for (out, &value) in out.iter_mut().zip(values) {
        *out = value * factor;
    }
}

dispatched! {
    fn scaled_copy(out: &mut [f32], values: &[f32], factor: f32) = scaled_copy_body;
}
