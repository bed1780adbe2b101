//! Matrix products: out (+)= left · right, the right side packed into panels.
//!
//! Factors are f32, or rounded to bf16 when the right side was packed so; sums are f32 in both.
//! Every output element is one chain of multiply-adds over the inner dimension, starting from 0 or from the element's
//! old value: in ascending order in f32; in bf16 pair by pair, the second of each pair first. Hence its bits depend on
//! its own row and column alone: not on the number of rows, the blocking, or the threads; and accumulating a product in
//! pieces of the inner dimension (of even length in bf16) equals doing it at once.
//!
//! The blocking is that of BLIS (Van Zee and van de Geijn, 2015): a block of the left side stays in the second-level
//! cache while panels of the right side pass over it.

use std::{cell::RefCell, ops::Range};

use crate::{
    Buffer,
    matmul::{
        left::RowTiles,
        packed::PANEL,
        tile::{LOW, PANELS_MAX, STEPS_MAX, Target, Tile},
    },
    threads::{self, Parts},
};

pub(crate) mod left;
pub(crate) mod packed;
pub(crate) mod tile;
pub(crate) mod words;

pub(crate) use left::PackedRows;
pub use packed::PackedMatrix;
pub use words::Compute;

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

/// Tiles of the left side that one task works on.
const TILES_BLOCK: usize = 10;
/// Tiles up to which a task takes panel after panel, so that a large right side is read once and in order.
const TILES_FEW: usize = 6;
/// Tasks for each thread, so that threads of unequal speed end together.
const TASKS_PER_THREAD: usize = 12;
/// Below this many steps times rows times columns a product is not split further.
const TASK_MIN: usize = 1 << 15;

thread_local! {
    static LEFT: RefCell<PackedRows> = RefCell::default();
    static BLOCK: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// out (+)= left · right, computing with what `right` was packed for.
///
/// Shapes: left \[M, K\], right \[K, N\] packed, out \[M, N\] row-major.
pub fn multiply(out: &mut [f32], left: Matrix<'_>, right: &PackedMatrix, output: Output) {
    multiply_all(left, &mut [(out, right)], output);
}

/// Several products with one left side, which is packed once.
///
/// Shapes: left \[M, K\], each right \[K, N\] packed for the same computation, its out \[M, N\] row-major.
pub fn multiply_all(left: Matrix<'_>, products: &mut [(&mut [f32], &PackedMatrix)], output: Output) {
    let Some(compute) = products.first().map(|(_, right)| right.compute()) else { return };
    let mut packed = LEFT.take();
    packed.pack(left, compute);
    for (out, right) in &mut *products {
        assert_eq!(left.columns, right.rows(), "inner dimensions of left and right");
        assert_eq!(out.len(), left.rows * right.columns(), "output of {} × {}", left.rows, right.columns());
        assert_eq!(right.compute(), compute, "what products with one left side compute with");
        if left.columns == 0 && output == Output::Overwrite {
            out.fill(0.0);
        }
    }
    let tiles = RowTiles::new(left.rows);
    let row_blocks = tiles.count().div_ceil(TILES_BLOCK);
    let outs: Vec<(Shape<'_>, Parts<'_, f32>)> =
        products.iter_mut().map(|(out, right)| (Shape { left: &packed, tiles, right }, Parts::new(out))).collect();
    // A task of whole panels keeps the output disjoint.
    let mut tasks: Vec<(usize, usize, Range<usize>)> = Vec::new();
    let work: usize = outs.iter().map(|(shape, _)| shape.right.columns()).sum::<usize>() * left.rows * left.columns;
    let wanted = (TASKS_PER_THREAD * threads::count()).min(work / TASK_MIN).max(1);
    let columns: usize = outs.iter().map(|(shape, _)| shape.right.columns().div_ceil(PANEL)).sum();
    let panels_per_task = columns.div_ceil(wanted.div_ceil(row_blocks.max(1))).max(1);
    let panels_per_task = if left.rows <= LOW { panels_per_task.next_multiple_of(PANELS_MAX) } else { panels_per_task };
    for block in 0..row_blocks {
        for (index, (shape, _)) in outs.iter().enumerate() {
            let panels = shape.right.columns().div_ceil(PANEL);
            tasks.extend(
                (0..panels)
                    .step_by(panels_per_task)
                    .map(|panel| (index, block, panel..panels.min(panel + panels_per_task))),
            );
        }
    }
    threads::for_each(tasks.len(), |task| {
        let (index, block, panels) = &tasks[task];
        let (shape, out) = &outs[*index];
        let columns = shape.right.columns();
        let place = |row: usize, panel: usize| out.address(row * columns + panel * PANEL);
        let tiles = block * TILES_BLOCK..tiles.count().min((block + 1) * TILES_BLOCK);
        // SAFETY: the rectangles lie in this task's rows and panels, which no other task writes.
        unsafe { shape.compute(tiles, panels.clone(), output, (&place, columns)) };
    });
    LEFT.set(packed);
}

/// out (+)= left · right for a right side that is used once: packs, then multiplies.
///
/// Shapes: left \[M, K\], right \[K, N\], out \[M, N\] row-major. `packed` is scratch that keeps its memory.
pub fn multiply_once(out: &mut [f32], left: Matrix<'_>, right: Matrix<'_>, packed: &mut PackedMatrix, output: Output) {
    packed.pack(right);
    multiply(out, left, packed, output);
}

/// left · right in pieces that are used at once and not kept: `work(rows, columns, values)` gets each rectangle of
/// `columns_block` columns (the last may be narrower), values \[rows, columns_block\] row-major.
///
/// Shapes: left \[M, K\], right \[K, N\] packed; `columns_block` a multiple of the panel.
pub(crate) fn multiply_in_blocks(
    left: Matrix<'_>,
    right: &PackedMatrix,
    columns_block: usize,
    work: impl Fn(Range<usize>, Range<usize>, &mut [f32]) + Sync,
) {
    assert_eq!(left.columns, right.rows(), "inner dimensions of left and right");
    let mut packed = LEFT.take();
    packed.pack(left, right.compute());
    let tiles = RowTiles::new(left.rows);
    let column_blocks = right.columns().div_ceil(columns_block);
    let groups = (TASKS_PER_THREAD * threads::count()).div_ceil(column_blocks.max(1)).min(tiles.count());
    let group_tiles = if groups == 0 { 1 } else { tiles.count().div_ceil(groups) };
    let groups = tiles.count().div_ceil(group_tiles);
    threads::for_each(groups * column_blocks, |task| {
        let (block, group) = (task / groups, task % groups);
        let columns = block * columns_block..right.columns().min((block + 1) * columns_block);
        let tiles_of_task = group * group_tiles..tiles.count().min((group + 1) * group_tiles);
        let (last, height) = tiles.tile(tiles_of_task.end - 1);
        let rows = tiles.tile(tiles_of_task.start).0..last + height;
        let mut values = BLOCK.take();
        let out = values.resize(rows.len() * columns_block);
        let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
        let piece = Piece { left: &packed, right, tiles, panels, first_row: rows.start };
        piece.compute(out, columns_block, tiles_of_task);
        work(rows, columns, out);
        BLOCK.set(values);
    });
    LEFT.set(packed);
}

/// A rectangle of a product, on its way into a buffer of its own.
struct Piece<'a> {
    left: &'a PackedRows,
    right: &'a PackedMatrix,
    tiles: RowTiles,
    panels: Range<usize>,
    first_row: usize,
}

impl Piece<'_> {
    fn compute(&self, out: &mut [f32], stride: usize, tiles: Range<usize>) {
        let target = Parts::new(out);
        let shape = Shape { left: self.left, tiles: self.tiles, right: self.right };
        let place = |row: usize, panel: usize| {
            target.address((row - self.first_row) * stride + (panel - self.panels.start) * PANEL)
        };
        // SAFETY: the buffer holds the rows of these tiles and whole panels, and this call has it alone.
        unsafe { shape.compute(tiles, self.panels.clone(), Output::Overwrite, (&place, stride)) };
    }
}

/// The factors of a product.
#[derive(Clone, Copy)]
struct Shape<'a> {
    left: &'a PackedRows,
    tiles: RowTiles,
    right: &'a PackedMatrix,
}

/// Where the element at a row and the first column of a panel goes, and the floats from row to row.
type Place<'a> = (&'a dyn Fn(usize, usize) -> *mut f32, usize);

impl Shape<'_> {
    /// # Safety
    /// `place` must give rectangles that exist, as far as the right side has columns, and that nothing else touches.
    unsafe fn compute(&self, tiles: Range<usize>, panels: Range<usize>, output: Output, place: Place<'_>) {
        let steps = self.right.compute().steps(self.right.rows());
        let blocks = || (0..steps).step_by(STEPS_MAX);
        let mut parts: Vec<((usize, usize), usize)> = Vec::with_capacity(panels.len() * blocks().count());
        if tiles.len() <= TILES_FEW {
            let mut panel = panels.start;
            while panel < panels.end {
                let together = self.panels_together(&tiles, panel, panels.end);
                parts.extend(blocks().map(|step| ((panel, together), step)));
                panel += together;
            }
        } else {
            parts.extend(blocks().flat_map(|step| panels.clone().map(move |panel| ((panel, 1), step))));
        }
        for (panels, step) in parts {
            // SAFETY: passed on to the caller.
            unsafe { self.compute_panels(tiles.clone(), panels, (step, output), place) };
        }
    }

    /// Panels from `panel` on that low tiles take at once: whole ones only.
    fn panels_together(&self, tiles: &Range<usize>, panel: usize, end: usize) -> usize {
        let (_, tallest) = self.tiles.tile(tiles.start);
        let whole = (panel + PANELS_MAX) * PANEL <= self.right.columns() && panel + PANELS_MAX <= end;
        if tallest <= LOW && whole { PANELS_MAX } else { 1 }
    }

    /// All of `tiles` against some panels, over one block of steps.
    ///
    /// # Safety
    /// As [`Shape::compute`].
    unsafe fn compute_panels(
        &self,
        tiles: Range<usize>,
        (panel, together): (usize, usize),
        (step, output): (usize, Output),
        (place, stride): Place<'_>,
    ) {
        let columns = self.right.columns();
        let all_steps = self.right.compute().steps(self.right.rows());
        let right = &self.right.panels(panel, together)[step * PANEL..];
        for index in tiles {
            let (row, height) = self.tiles.tile(index);
            let tile = Tile {
                left: self.left.tile((row, height), step),
                layout: self.left.layout(),
                left_stride: height,
                height,
                right,
                right_stride: PANEL,
                panel_stride: all_steps * PANEL,
                panels: together,
                steps: STEPS_MAX.min(all_steps - step),
                compute: self.right.compute(),
            };
            let target = Target {
                out: place(row, panel),
                stride,
                columns: (together * PANEL).min(columns - panel * PANEL),
                fresh: step == 0 && output == Output::Overwrite,
            };
            // SAFETY: passed on to the caller.
            unsafe { tile::compute(&tile, target) };
        }
    }
}
