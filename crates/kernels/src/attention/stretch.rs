//! Keys and values of consecutive positions, laid out as the products of attention read them.

use super::Heads;
use crate::{
    buffer::{Line, copy_lines, words_of},
    matmul::{
        packed::PANEL,
        words::{Compute, bf16_bits},
    },
};

/// Positions of a page.
pub(crate) const PAGE: usize = PANEL;

/// Keys and values of consecutive positions of one layer, in pages of 32 positions.
///
/// A page holds for each key-value head the keys as \[D, 32\], so that 32 scores are computed at once, and the values as
/// \[32, D\] with D rounded up to a multiple of 32. In bf16 a word holds two neighbours along D of a key, and the values
/// of two neighbouring positions, counted from the beginning of the stretch.
#[derive(Debug, Clone)]
pub struct Stretch {
    lines: Vec<Line>,
    heads: Heads,
    compute: Compute,
    positions: usize,
}

impl Stretch {
    /// No positions yet; products with it compute with `compute`.
    pub fn new(heads: Heads, compute: Compute) -> Self {
        Self { lines: Vec::new(), heads, compute, positions: 0 }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.positions
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.positions == 0
    }

    /// Forgets all positions and keeps the memory.
    pub fn clear(&mut self) {
        self.positions = 0;
        self.lines.clear();
    }

    /// Forgets all positions and takes others of `heads`.
    pub(super) fn reset(&mut self, heads: Heads, compute: Compute) {
        (self.heads, self.compute) = (heads, compute);
        self.clear();
    }

    /// Bytes that `positions` positions take.
    pub fn bytes(heads: Heads, compute: Compute, positions: usize) -> usize {
        positions.div_ceil(PAGE) * page_words(heads, compute) * size_of::<u32>()
    }

    /// Adds positions. Shapes: keys and values \[N, K, D\].
    pub fn append(&mut self, keys: &[f32], values: &[f32]) {
        let columns = self.heads.key_value_columns();
        let lengths = (keys.len(), values.len());
        assert!(
            lengths.0 == lengths.1 && lengths.0.is_multiple_of(columns),
            "keys and values {lengths:?} in rows of {columns}"
        );
        let row = |index: usize| index * columns..(index + 1) * columns;
        self.append_rows(keys.len() / columns, |index| &keys[row(index)], |index| &values[row(index)]);
    }

    /// Adds `rows` positions, whose keys and values lie apart. Shapes: each key and value \[K, D\].
    pub(super) fn append_rows<'a>(
        &mut self,
        rows: usize,
        key: impl Fn(usize) -> &'a [f32],
        value: impl Fn(usize) -> &'a [f32],
    ) {
        let Heads { width, .. } = self.heads;
        let positions = self.positions + rows;
        let page = page_words(self.heads, self.compute);
        let lines = positions.div_ceil(PAGE) * page / Line::WORDS;
        if lines > self.lines.capacity() {
            // An eighth more than is needed rather than twice as much: what is held is planned for.
            self.lines.reserve_exact(lines + lines / 8 - self.lines.len());
        }
        self.lines.resize(lines, Line::ZERO);
        let (first, compute) = (self.positions, self.compute);
        let (head_words, padded) = (head_words(self.heads, compute), self.padded_width());
        let words = Line::words_mut(&mut self.lines);
        for index in 0..rows {
            let (at, place) = ((first + index) / PAGE * page, (first + index) % PAGE);
            let heads = words[at..at + page].chunks_exact_mut(head_words);
            let rows = key(index).chunks_exact(width).zip(value(index).chunks_exact(width));
            for (head, (key, value)) in heads.zip(rows) {
                let pages = head.split_at_mut(compute.steps(width) * PAGE);
                match compute {
                    Compute::F32 => put(pages, (place, padded), (key, value)),
                    Compute::Bf16 => put_pairs(pages, (place, padded), (key, value)),
                }
            }
        }
        self.positions = positions;
    }

    /// D rounded up to whole panels.
    pub(super) fn padded_width(&self) -> usize {
        self.heads.width.next_multiple_of(PANEL)
    }

    pub(super) fn heads(&self) -> Heads {
        self.heads
    }

    pub(super) fn compute(&self) -> Compute {
        self.compute
    }

    /// Words from one page to the next.
    pub(super) fn page_words(&self) -> usize {
        page_words(self.heads, self.compute)
    }

    /// Words of a head's keys from its page `page` on, \[steps of D, 32\], and to the end of the stretch.
    pub(super) fn key_words(&self, head: usize, page: usize) -> &[u32] {
        &self.words()[page * self.page_words() + head * head_words(self.heads, self.compute)..]
    }

    /// Words of a head's values from its page `page` on, \[steps of 32, padded D\], and to the end of the stretch.
    pub(super) fn value_words(&self, head: usize, page: usize) -> &[u32] {
        &self.key_words(head, page)[self.compute.steps(self.heads.width) * PAGE..]
    }

    fn words(&self) -> &[u32] {
        Line::words(&self.lines)
    }
}

/// Where keys and values of one head go.
type Pages<'a> = (&'a mut [u32], &'a mut [u32]);

/// One position of one head in f32.
fn put((keys, values): Pages<'_>, (place, padded): (usize, usize), (key, value): (&[f32], &[f32])) {
    let (keys, _) = keys.as_chunks_mut::<PAGE>();
    for (to, x) in keys.iter_mut().zip(key) {
        to[place] = x.to_bits();
    }
    copy_lines(&mut values[place * padded..][..padded], words_of(value));
}

/// One position of one head in bf16: the key's neighbours in one word, the value beside those of its pair of positions.
fn put_pairs((keys, values): Pages<'_>, (place, padded): (usize, usize), (key, value): (&[f32], &[f32])) {
    for (pair, word) in key.chunks(2).zip(keys[place..].iter_mut().step_by(PAGE)) {
        *word = (bf16_bits(pair[0]) >> 16) | pair.get(1).map_or(0, |&x| bf16_bits(x));
    }
    let is_second = !place.is_multiple_of(2);
    for (word, &x) in values[place / 2 * padded..].iter_mut().zip(value) {
        let bits = bf16_bits(x);
        *word = if is_second { *word & 0xffff | bits } else { bits >> 16 };
    }
}

fn head_words(heads: Heads, compute: Compute) -> usize {
    compute.steps(heads.width) * PAGE + compute.steps(PAGE) * heads.width.next_multiple_of(PANEL)
}

fn page_words(heads: Heads, compute: Compute) -> usize {
    heads.key_value * head_words(heads, compute)
}
