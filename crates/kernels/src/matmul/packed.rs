//! The right side of a product, rearranged so that a tile reads it in one straight line.

use std::ops::Range;

use super::{
    Matrix,
    words::{Compute, Steps, column_words, step_words},
};
use crate::{
    buffer::Line,
    threads::{self, Parts},
};

/// Columns of a panel.
pub(crate) const PANEL: usize = 32;

const LINES: usize = PANEL / Line::WORDS;

/// A matrix \[K, N\] in panels of 32 columns, each panel \[steps, 32\] words, the last one filled with zeros. A step is
/// one row in f32, and two rows in bf16.
#[derive(Debug, Clone)]
pub struct PackedMatrix {
    lines: Vec<Line>,
    rows: usize,
    columns: usize,
    compute: Compute,
}

impl PackedMatrix {
    /// An empty matrix whose products compute with `compute`.
    pub fn empty(compute: Compute) -> Self {
        Self { lines: Vec::new(), rows: 0, columns: 0, compute }
    }

    /// Packs `matrix` for products that compute with `compute`.
    pub fn new(matrix: Matrix<'_>, compute: Compute) -> Self {
        let mut packed = Self::empty(compute);
        packed.pack(matrix);
        packed
    }

    /// Replaces the content by `matrix`, reusing the memory.
    pub fn pack(&mut self, matrix: Matrix<'_>) {
        let (rows, columns, compute) = (matrix.rows, matrix.columns, self.compute);
        (self.rows, self.columns) = (rows, columns);
        let panel = compute.steps(rows) * LINES;
        let lines = columns.div_ceil(PANEL) * panel;
        Line::make_room(&mut self.lines, lines);
        if rows == 0 {
            return;
        }
        if matrix.column_stride == 1 {
            return pack_rows(Line::words_mut(&mut self.lines[..lines]), matrix, compute);
        }
        // Small panels are packed several at a time, so that a task is worth its start.
        let together = (1_usize << 12).div_ceil(panel * Line::WORDS).max(1);
        threads::for_each_chunk(&mut self.lines[..lines], together * panel, |chunk, lines| {
            for (index, lines) in lines.chunks_exact_mut(panel).enumerate() {
                pack_panel(Line::words_mut(lines), matrix, (chunk * together + index) * PANEL, compute);
            }
        });
    }

    /// Replaces the content by the transpose of `other`, whose factors need no second rounding, reusing the memory.
    ///
    /// Shapes: other \[N, K\] packed for the same computation.
    pub fn pack_transposed(&mut self, other: &Self) {
        assert_eq!(self.compute, other.compute, "what both sides compute with");
        let (rows, columns, compute) = (other.columns, other.rows, self.compute);
        (self.rows, self.columns) = (rows, columns);
        let panel = compute.steps(rows) * LINES;
        let lines = columns.div_ceil(PANEL) * panel;
        Line::make_room(&mut self.lines, lines);
        if panel > 0 {
            threads::for_each_chunk(&mut self.lines[..lines], panel, |index, lines| {
                transpose_panel(Line::words_mut(lines), other, index * PANEL);
            });
        }
    }

    /// The factors of products with it, of its transpose: \[N, K\], row-major.
    pub fn transposed_factors(&self) -> Vec<f32> {
        let per_step = self.compute.elements_per_step();
        let mut factors = Vec::with_capacity(self.columns * self.rows);
        for column in 0..self.columns {
            let panel = self.panels(column / PANEL, 1);
            factors.extend((0..self.rows).map(|row| {
                let word = panel[row / per_step * PANEL + column % PANEL];
                f32::from_bits(match self.compute {
                    Compute::F32 => word,
                    Compute::Bf16 if row % 2 == 0 => word << 16,
                    Compute::Bf16 => word & 0xffff_0000,
                })
            }));
        }
        factors
    }

    /// K.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// N.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// What products with it compute with.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// Bytes that the packed form of a K × N matrix takes.
    pub fn bytes(rows: usize, columns: usize, compute: Compute) -> usize {
        columns.div_ceil(PANEL) * PANEL * compute.steps(rows) * size_of::<u32>()
    }

    /// The words of `panels` whole panels from `panel` on, as far as they exist.
    pub(super) fn panels(&self, panel: usize, panels: usize) -> &[u32] {
        let panel_lines = self.compute.steps(self.rows) * LINES;
        let end = (panel + panels).min(self.columns.div_ceil(PANEL)) * panel_lines;
        Line::words(&self.lines[panel * panel_lines..end])
    }
}

/// Fills `panel` with the columns from `first` on.
fn pack_panel(panel: &mut [u32], matrix: Matrix<'_>, first: usize, compute: Compute) {
    let width = PANEL.min(matrix.columns - first);
    if width < PANEL {
        panel.fill(0);
    }
    pack_columns(panel, matrix, first..first + width, compute);
}

/// Fills `panel` with the rows of `other` from `first` on as columns, block after block of as many rows as columns.
fn transpose_panel(panel: &mut [u32], other: &PackedMatrix, first: usize) {
    let per_step = other.compute.elements_per_step();
    let steps_all = other.compute.steps(other.rows);
    let steps = (first / per_step).min(steps_all)..((first + PANEL) / per_step).min(steps_all);
    for (index, words) in panel.chunks_mut(PANEL / per_step * PANEL).enumerate() {
        words.fill(0);
        if index * PANEL >= other.columns {
            continue;
        }
        let source = &other.panels(index, 1)[steps.start * PANEL..steps.end * PANEL];
        let targets = words.chunks_exact_mut(PANEL).enumerate();
        match other.compute {
            Compute::F32 => targets.for_each(|(row, target)| {
                let column = source.chunks_exact(PANEL).map(|source| source[row]);
                target.iter_mut().zip(column).for_each(|(target, word)| *target = word);
            }),
            Compute::Bf16 => targets.for_each(|(row, target)| {
                for (target, source) in target.chunks_exact_mut(2).zip(source.chunks_exact(PANEL)) {
                    let (even, odd) = (source[2 * row], source[2 * row + 1]);
                    target[0] = (even & 0xffff) | (odd << 16);
                    target[1] = (even >> 16) | (odd & 0xffff_0000);
                }
            }),
        }
    }
}

/// From a matrix whose rows lie in memory as they are: several steps of all panels at a time, so that it is read row by
/// row.
fn pack_rows(words: &mut [u32], matrix: Matrix<'_>, compute: Compute) {
    let steps = compute.steps(matrix.rows);
    let per_step = compute.elements_per_step();
    let together = (1_usize << 13).div_ceil(matrix.columns.max(1)).max(16);
    let parts = Parts::new(words);
    threads::for_each(steps.div_ceil(together), |block| {
        let block = block * together..steps.min((block + 1) * together);
        for first in (0..matrix.columns).step_by(PANEL) {
            let start = (first / PANEL * steps + block.start) * PANEL;
            // SAFETY: panels and blocks of steps do not overlap.
            let words = unsafe { parts.part(start..start + block.len() * PANEL) };
            // A last block may hold nothing but zeros.
            let from = (block.start * per_step).min(matrix.rows);
            let source = Steps {
                first: from * matrix.row_stride + first,
                stride: matrix.row_stride,
                values: matrix.rows - from,
                compute,
            };
            step_words(words, (PANEL.min(matrix.columns - first), PANEL), matrix.values, &source);
        }
    });
}

/// From a matrix whose columns lie in memory as they are.
fn pack_columns(panel: &mut [u32], matrix: Matrix<'_>, columns: Range<usize>, compute: Compute) {
    assert_eq!(matrix.row_stride, 1, "a matrix with rows or columns that lie in memory as they are");
    let column = |index: usize| &matrix.values[index * matrix.column_stride..][..matrix.rows];
    let columns: Vec<&[f32]> = columns.map(column).collect();
    column_words(panel, &columns, compute);
}
