//! The left side of a product, rearranged in tiles of a few rows.

use super::{
    Matrix,
    tile::{self, LEFT_STRIDE, LeftLayout, STEPS_MAX},
    words::{Compute, Steps, pairs_of_row, step_words},
};
use crate::threads::{self, Parts};

/// Rows in tiles of nearly equal height, none taller than the registers allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowTiles {
    rows: usize,
    count: usize,
}

impl RowTiles {
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, count: rows.div_ceil(tile::height_max()) }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// First row and height of tile `index`; the taller ones come first.
    pub(crate) fn tile(&self, index: usize) -> (usize, usize) {
        let (height, taller) = (self.rows / self.count, self.rows % self.count);
        (index * height + index.min(taller), height + usize::from(index < taller))
    }
}

/// A matrix \[M, K\] in tiles. Keeps its memory from product to product.
#[derive(Debug, Default)]
pub(crate) struct PackedRows {
    words: Vec<u32>,
    layout: Option<LeftLayout>,
    steps: usize,
}

impl PackedRows {
    /// Replaces the content by `matrix`.
    ///
    /// A matrix whose rows lie in memory as they are keeps them, in blocks of [`STEPS_MAX`] steps; one whose columns
    /// do is stored step by step. Either way packing copies straight stretches.
    pub(crate) fn pack(&mut self, matrix: Matrix<'_>, compute: Compute) {
        self.steps = compute.steps(matrix.columns);
        let layout = if matrix.column_stride == 1 { LeftLayout::Rows } else { LeftLayout::Steps };
        self.layout = Some(layout);
        let row_words = match layout {
            LeftLayout::Rows => self.steps.div_ceil(STEPS_MAX) * LEFT_STRIDE,
            LeftLayout::Steps => self.steps,
        };
        if self.words.len() < matrix.rows * row_words {
            self.words.resize(matrix.rows * row_words, 0);
        }
        let tiles = RowTiles::new(matrix.rows);
        let words = &mut self.words[..matrix.rows * row_words];
        match layout {
            LeftLayout::Rows => pack_by_rows(words, matrix, tiles, compute),
            LeftLayout::Steps => pack_by_steps(words, matrix, tiles, compute),
        }
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
    let parts = Parts::new(words);
    let together = (1_usize << 12).div_ceil(tile::height_max() * row_words.max(1)).max(1);
    threads::for_each(tiles.count().div_ceil(together), |chunk| {
        for index in chunk * together..tiles.count().min((chunk + 1) * together) {
            let (row, height) = tiles.tile(index);
            // SAFETY: tiles do not overlap.
            let words = unsafe { parts.part(row * row_words..(row + height) * row_words) };
            pack_rows(words, matrix, row, compute);
        }
    });
}

/// One tile as \[blocks, height, LEFT_STRIDE\].
fn pack_rows(words: &mut [u32], matrix: Matrix<'_>, first: usize, compute: Compute) {
    let inner = matrix.columns;
    let per_step = match compute {
        Compute::F32 => 1,
        Compute::Bf16 => 2,
    };
    let blocks = inner.div_ceil(STEPS_MAX * per_step);
    let height = words.len() / (blocks * LEFT_STRIDE).max(1);
    for (block, words) in words.chunks_exact_mut((height * LEFT_STRIDE).max(1)).enumerate() {
        let from = block * STEPS_MAX * per_step;
        let to = inner.min(from + STEPS_MAX * per_step);
        for (row, words) in words.chunks_exact_mut(LEFT_STRIDE).enumerate() {
            let values = &matrix.values[(first + row) * matrix.row_stride..][from..to];
            match compute {
                Compute::F32 => words.iter_mut().zip(values).for_each(|(word, value)| *word = value.to_bits()),
                Compute::Bf16 => pairs_of_row(&mut words[..values.len().div_ceil(2)], values),
            }
        }
    }
}

/// Tiles as \[steps, height\] each, several steps of all tiles at a time: so the source is read row by row.
fn pack_by_steps(words: &mut [u32], matrix: Matrix<'_>, tiles: RowTiles, compute: Compute) {
    assert_eq!(matrix.row_stride, 1, "a matrix with rows or columns that lie in memory as they are");
    let steps = compute.steps(matrix.columns);
    let together = (1_usize << 13).div_ceil(matrix.rows.max(1)).max(16);
    let parts = Parts::new(words);
    threads::for_each(steps.div_ceil(together), |block| {
        let block = block * together..steps.min((block + 1) * together);
        for index in 0..tiles.count() {
            let (row, height) = tiles.tile(index);
            let start = row * steps + block.start * height;
            // SAFETY: tiles and blocks of steps do not overlap.
            let words = unsafe { parts.part(start..start + block.len() * height) };
            step_words(words, height, matrix.values, &steps_of(matrix, (row, block.start), compute));
        }
    });
}

/// The steps of a matrix from a row and a step on, whose columns lie in memory as they are.
fn steps_of(matrix: Matrix<'_>, (row, step): (usize, usize), compute: Compute) -> Steps {
    let per_step = if compute == Compute::Bf16 { 2 } else { 1 };
    Steps {
        first: step * per_step * matrix.column_stride + row,
        stride: matrix.column_stride,
        values: matrix.columns - step * per_step,
        compute,
    }
}
