//! The left side of a product, rearranged in tiles of a few rows.

use super::{
    Matrix,
    tile::{self, LEFT_STRIDE, LeftLayout, STEPS_MAX},
    words::{Compute, Steps, pairs_of_row, step_words, transposed_pairs},
};
use crate::buffer::Words;

/// Rows in tiles none taller than the registers allow: of nearly equal height, or in matrix registers all but the last
/// as tall as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowTiles {
    rows: usize,
    count: usize,
    /// Height of all but the last tile, where they are not equal.
    tallest: Option<usize>,
}

impl RowTiles {
    pub(crate) fn new(rows: usize, compute: Compute) -> Self {
        let tallest = tile::height_max(compute);
        let whole = compute.uses_matrix_registers().then_some(tallest);
        Self { rows, count: rows.div_ceil(tallest), tallest: whole }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// First row and height of tile `index`; the taller ones come first.
    pub(crate) fn tile(&self, index: usize) -> (usize, usize) {
        if let Some(tallest) = self.tallest {
            return (index * tallest, tallest.min(self.rows - index * tallest));
        }
        let (height, taller) = (self.rows / self.count, self.rows % self.count);
        (index * height + index.min(taller), height + usize::from(index < taller))
    }
}

/// A matrix \[M, K\] in tiles. Keeps its memory from product to product.
#[derive(Debug, Default)]
pub(crate) struct PackedRows {
    words: Words,
    layout: Option<LeftLayout>,
    steps: usize,
}

impl PackedRows {
    /// Replaces the content by `matrix`.
    ///
    /// A matrix whose rows lie in memory as they are keeps them, in blocks of [`STEPS_MAX`] steps; one whose columns
    /// do is stored step by step, so that packing copies straight stretches, but for matrix registers, which take rows.
    pub(crate) fn pack(&mut self, matrix: Matrix<'_>, compute: Compute) {
        self.steps = compute.steps(matrix.columns);
        let in_rows = matrix.column_stride == 1;
        let layout = if in_rows || compute.uses_matrix_registers() { LeftLayout::Rows } else { LeftLayout::Steps };
        self.layout = Some(layout);
        let row_words = match layout {
            LeftLayout::Rows => self.steps.div_ceil(STEPS_MAX) * LEFT_STRIDE,
            LeftLayout::Steps => self.steps,
        };
        let tiles = RowTiles::new(matrix.rows, compute);
        let words = self.words.with_room(matrix.rows * row_words);
        let words = &mut words[..matrix.rows * row_words];
        match layout {
            LeftLayout::Rows if in_rows => pack_by_rows(words, matrix, tiles, compute),
            LeftLayout::Rows => pack_transposed(words, matrix, tiles),
            LeftLayout::Steps => pack_by_steps(words, matrix, tiles, compute),
        }
    }

    /// Bytes that a matrix of `rows` rows and `inner` columns takes at most.
    pub(crate) fn bytes(compute: Compute, rows: usize, inner: usize) -> usize {
        let words = rows * compute.steps(inner).div_ceil(STEPS_MAX) * LEFT_STRIDE;
        words * size_of::<u32>()
    }

    pub(crate) fn layout(&self) -> LeftLayout {
        self.layout.unwrap_or(LeftLayout::Rows)
    }

    /// The words of a tile from step `step` on, a multiple of [`STEPS_MAX`].
    pub(crate) fn tile(&self, (row, height): (usize, usize), step: usize) -> &[u32] {
        match self.layout() {
            LeftLayout::Rows => {
                let blocks = self.steps.div_ceil(STEPS_MAX);
                let block = (row * blocks + height * (step / STEPS_MAX)) * LEFT_STRIDE;
                &self.words[block..][..height * LEFT_STRIDE]
            }
            LeftLayout::Steps => {
                &self.words[row * self.steps + step * height..][..height * STEPS_MAX.min(self.steps - step)]
            }
        }
    }
}

/// Tiles whose rows lie in memory as they are.
fn pack_by_rows(words: &mut [u32], matrix: Matrix<'_>, tiles: RowTiles, compute: Compute) {
    let row_words = words.len() / matrix.rows.max(1);
    for (row, height) in (0..tiles.count()).map(|index| tiles.tile(index)) {
        pack_rows(&mut words[row * row_words..(row + height) * row_words], matrix, row, compute);
    }
}

/// One tile as \[blocks, height, LEFT_STRIDE\].
fn pack_rows(words: &mut [u32], matrix: Matrix<'_>, first: usize, compute: Compute) {
    let inner = matrix.columns;
    let per_step = compute.elements_per_step();
    let blocks = inner.div_ceil(STEPS_MAX * per_step);
    let height = words.len() / (blocks * LEFT_STRIDE).max(1);
    for (block, words) in words.chunks_exact_mut((height * LEFT_STRIDE).max(1)).enumerate() {
        let from = block * STEPS_MAX * per_step;
        let to = inner.min(from + STEPS_MAX * per_step);
        for (row, words) in words.chunks_exact_mut(LEFT_STRIDE).enumerate() {
            let values = &matrix.values[(first + row) * matrix.row_stride..][from..to];
            match compute {
                Compute::F32 => words.iter_mut().zip(values).for_each(|(word, value)| *word = value.to_bits()),
                Compute::Bf16 => pairs_of_row(&mut words[..compute.steps(values.len())], values),
            }
        }
    }
}

/// Tiles as \[steps, height\] each, several steps of all tiles at a time: so the source is read row by row.
fn pack_by_steps(words: &mut [u32], matrix: Matrix<'_>, tiles: RowTiles, compute: Compute) {
    const TOGETHER: usize = 16;
    assert_eq!(matrix.row_stride, 1, "a matrix with rows or columns that lie in memory as they are");
    let steps = compute.steps(matrix.columns);
    for first in (0..steps).step_by(TOGETHER) {
        let count = TOGETHER.min(steps - first);
        for (row, height) in (0..tiles.count()).map(|index| tiles.tile(index)) {
            let start = row * steps + first * height;
            let words = &mut words[start..start + count * height];
            step_words(words, (height, height), matrix.values, &steps_of(matrix, (row, first), compute));
        }
    }
}

/// Tiles as [`pack_rows`] leaves them, from a matrix whose columns lie in memory as they are: 16 steps of all tiles at a
/// time, so that the source is read row by row.
fn pack_transposed(words: &mut [u32], matrix: Matrix<'_>, tiles: RowTiles) {
    const TOGETHER: usize = 16;
    assert_eq!(matrix.row_stride, 1, "a matrix with rows or columns that lie in memory as they are");
    let steps = Compute::Bf16.steps(matrix.columns);
    let blocks = steps.div_ceil(STEPS_MAX);
    for step in (0..steps).step_by(TOGETHER) {
        for (row, height) in (0..tiles.count()).map(|index| tiles.tile(index)) {
            let start = (row * blocks + height * (step / STEPS_MAX)) * LEFT_STRIDE + step % STEPS_MAX;
            let words = &mut words[start..start + (height - 1) * LEFT_STRIDE + TOGETHER];
            transposed_pairs(
                words,
                (height, LEFT_STRIDE),
                matrix.values,
                &steps_of(matrix, (row, step), Compute::Bf16),
            );
        }
    }
}

/// The steps of a matrix from a row and a step on, whose columns lie in memory as they are.
fn steps_of(matrix: Matrix<'_>, (row, step): (usize, usize), compute: Compute) -> Steps {
    let per_step = compute.elements_per_step();
    Steps {
        first: step * per_step * matrix.column_stride + row,
        stride: matrix.column_stride,
        values: matrix.columns - step * per_step,
        compute,
    }
}
