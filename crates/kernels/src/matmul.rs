//! Matrix products in f32: out (+)= left · right, the right side packed into panels.
//!
//! Every output element is one chain of multiply-adds over the inner dimension in ascending order, starting from 0 or
//! from the element's old value. Hence its bits depend on its own row and column alone: not on the number of rows, the
//! blocking, or the threads; and accumulating a product in pieces of the inner dimension equals doing it at once.
//!
//! The blocking is that of BLIS (Van Zee and van de Geijn, 2015): a panel of the right side stays in the first-level cache while tiles of
//! the left side pass over it.

use std::{cell::RefCell, ops::Range};

use rayon::prelude::*;

use packed::PANEL;
use tile::Tile;

mod packed;
mod tile;

pub use packed::PackedMatrix;

/// A matrix seen through strides. Shapes: rows × columns, element (i, j) at i·row_stride + j·column_stride.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix of `columns` columns over all of `values`.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        assert!(columns > 0 && values.len().is_multiple_of(columns), "{} values in {columns} columns", values.len());
        Self { values, rows: values.len() / columns, columns, row_stride: columns, column_stride: 1 }
    }

    /// The same values with rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// What happens to the old content of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// It is replaced.
    Overwrite,
    /// The product is added to it.
    Add,
}

/// Rows of the left side that one task works on.
const ROW_BLOCK: usize = 96;
/// Inner elements that a tile is reduced over before the next tile.
const INNER_BLOCK: usize = 256;
/// Below this many multiply-adds a product is not split over threads.
const SERIAL_MAX: usize = 1 << 16;

/// out (+)= left · right.
///
/// Shapes: left \[M, K\], right \[K, N\] packed, out \[M, N\] row-major.
pub fn multiply(out: &mut [f32], left: Matrix<'_>, right: &PackedMatrix, output: Output) {
    let (rows, inner, columns) = (left.rows, left.columns, right.columns());
    assert_eq!(inner, right.rows(), "inner dimensions of left and right");
    assert_eq!(out.len(), rows * columns, "output of {rows} × {columns}");
    if inner == 0 && output == Output::Overwrite {
        out.fill(0.0);
    }
    let row_blocks = rows.div_ceil(ROW_BLOCK);
    let panels = columns.div_ceil(PANEL);
    let threads = rayon::current_num_threads();
    let serial = threads == 1 || rows * inner * columns < SERIAL_MAX;
    // Several tasks a thread even out threads of unequal speed; a task of whole panels keeps the output disjoint.
    let splits = if serial { 1 } else { (4 * threads).div_ceil(row_blocks).min(panels) };
    let panels_per_task = panels.div_ceil(splits);
    let product = Product { left, right, output, out: OutPointer(out.as_mut_ptr()), columns };
    let task = |index: usize| {
        let (block, split) = (index / splits, index % splits);
        let task_rows = block * ROW_BLOCK..rows.min((block + 1) * ROW_BLOCK);
        let task_panels = split * panels_per_task..panels.min((split + 1) * panels_per_task);
        product.compute(task_rows, task_panels);
    };
    if serial {
        (0..row_blocks * splits).for_each(task);
    } else {
        (0..row_blocks * splits).into_par_iter().for_each(task);
    }
}

/// out (+)= left · right for a right side that is used once: packs, then multiplies.
///
/// Shapes: left \[M, K\], right \[K, N\], out \[M, N\] row-major. `packed` is scratch that keeps its memory.
pub fn multiply_once(out: &mut [f32], left: Matrix<'_>, right: Matrix<'_>, packed: &mut PackedMatrix, output: Output) {
    packed.pack(right);
    multiply(out, left, packed, output);
}

/// Shared by the tasks of one product, each of which writes its own rectangle.
struct Product<'a> {
    left: Matrix<'a>,
    right: &'a PackedMatrix,
    output: Output,
    out: OutPointer,
    columns: usize,
}

struct OutPointer(*mut f32);
// SAFETY: tasks write disjoint rectangles of the output, which outlives the parallel loop.
unsafe impl Send for OutPointer {}
// SAFETY: as above; nothing is read through a shared pointer but by the task that owns the rectangle.
unsafe impl Sync for OutPointer {}

impl Product<'_> {
    fn compute(&self, rows: Range<usize>, panels: Range<usize>) {
        thread_local! {
            static LEFT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
        }
        let mut packed_left = LEFT.take();
        for start in (0..self.left.columns).step_by(INNER_BLOCK) {
            let inner = start..self.left.columns.min(start + INNER_BLOCK);
            pack_left(&mut packed_left, self.left, rows.clone(), inner.clone());
            for panel in panels.clone() {
                self.compute_panel(&packed_left, rows.clone(), panel, inner.clone());
            }
        }
        LEFT.set(packed_left);
    }

    /// All tiles of `rows` against one panel, over one block of the inner dimension.
    fn compute_panel(&self, packed_left: &[f32], rows: Range<usize>, panel: usize, inner: Range<usize>) {
        let tall = tile::height_max();
        let right = &self.right.panel(panel, inner.start)[..inner.len() * PANEL];
        let column = panel * PANEL;
        for (index, row) in rows.clone().step_by(tall).enumerate() {
            let tile_rows = tall.min(rows.end - row);
            let height = tile::height_for(tile_rows);
            let tile = Tile {
                left: &packed_left[index * tall * inner.len()..][..height * inner.len()],
                height,
                right,
                // SAFETY: row < M and column < N, so the offset is inside the output.
                out: unsafe { self.out.0.add(row * self.columns + column) },
                out_stride: self.columns,
                rows: tile_rows,
                columns: PANEL.min(self.columns - column),
                fresh: inner.start == 0 && self.output == Output::Overwrite,
            };
            // SAFETY: the rectangle lies in this task's rows and panels, which no other task writes.
            unsafe { tile::compute(&tile) };
        }
    }
}

/// Rearranges rows × inner of the left side into tiles, each \[inner, height\] with zeros in the missing rows.
fn pack_left(packed: &mut Vec<f32>, left: Matrix<'_>, rows: Range<usize>, inner: Range<usize>) {
    let tall = tile::height_max();
    packed.resize(ROW_BLOCK * INNER_BLOCK, 0.0);
    for (index, row) in rows.clone().step_by(tall).enumerate() {
        let tile_rows = tall.min(rows.end - row);
        let height = tile::height_for(tile_rows);
        let tile = &mut packed[index * tall * inner.len()..][..height * inner.len()];
        for r in 0..height {
            let column = tile[r..].iter_mut().step_by(height);
            if r < tile_rows {
                let from = (row + r) * left.row_stride + inner.start * left.column_stride;
                let values = left.values[from..].iter().step_by(left.column_stride);
                column.zip(values).for_each(|(to, &value)| *to = value);
            } else {
                column.for_each(|to| *to = 0.0);
            }
        }
    }
}
