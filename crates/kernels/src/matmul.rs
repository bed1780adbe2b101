//! Matrix products: out (+)= left · right, the right side packed into panels.
//!
//! Factors are f32, or rounded to bf16 when the right side was packed so; sums are f32 in both.
//! Every output element is one chain of multiply-adds over the inner dimension, starting from 0 or from the element's
//! old value: in ascending order in f32; in bf16 pair by pair, the second of each pair first. Hence its bits depend on
//! its own row and column alone: not on the number of rows, the blocking, or the threads; and accumulating a product in
//! pieces of the inner dimension (of even length in bf16) equals doing it at once.
//!
//! The blocking is that of BLIS (Van Zee and van de Geijn, 2015): a block of the left side, packed by the thread that
//! needs it, stays in the second-level cache while panels of the right side pass over it.

use std::{
    cell::RefCell,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    Buffer,
    matmul::{
        left::RowTiles,
        packed::PANEL,
        tile::{PANELS_MAX, STEPS_MAX, Target, Tile},
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

    /// Some of the rows.
    fn rows(self, rows: &Range<usize>) -> Self {
        Self { values: &self.values[(rows.start * self.row_stride).min(self.values.len())..], rows: rows.len(), ..self }
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

/// Tiles of the left side that a task packs and works on: their words stay in the second-level cache.
fn tiles_block(compute: Compute) -> usize {
    if compute.uses_matrix_registers() { 4 } else { 10 }
}

/// Tiles up to which a task takes panel after panel, so that a large right side is read once and in order.
const TILES_FEW: usize = 6;
/// Tasks for each thread, so that threads of unequal speed end together.
const TASKS_PER_THREAD: usize = 12;
/// Below this many steps times rows times columns a product is not split further.
const TASK_MIN: usize = 1 << 15;

thread_local! {
    static LEFT: RefCell<HeldRows> = RefCell::default();
    static BLOCK: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// The rows of the left side that a thread packed last, for its next tasks.
#[derive(Debug, Default)]
struct HeldRows {
    /// Number of the product that they belong to, from 1 on.
    product: u64,
    rows: Range<usize>,
    packed: PackedRows,
}

/// A product's left side, packed part by part by those who need it.
#[derive(Clone, Copy)]
struct Left<'a> {
    matrix: Matrix<'a>,
    compute: Compute,
    product: u64,
}

impl<'a> Left<'a> {
    fn new(matrix: Matrix<'a>, compute: Compute) -> Self {
        static PRODUCTS: AtomicU64 = AtomicU64::new(1);
        Self { matrix, compute, product: PRODUCTS.fetch_add(1, Ordering::Relaxed) }
    }

    /// Runs `work` with `rows` packed; a thread packs the rows of neighbouring tasks once.
    fn with_packed(&self, rows: &Range<usize>, work: impl FnOnce(&PackedRows)) {
        let mut held = LEFT.take();
        if (held.product, &held.rows) != (self.product, rows) {
            held.packed.pack(self.matrix.rows(rows), self.compute);
            (held.product, held.rows) = (self.product, rows.clone());
        }
        work(&held.packed);
        LEFT.set(held);
    }
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
    for (out, right) in &mut *products {
        assert_eq!(left.columns, right.rows(), "inner dimensions of left and right");
        assert_eq!(out.len(), left.rows * right.columns(), "output of {} × {}", left.rows, right.columns());
        assert_eq!(right.compute(), compute, "what products with one left side compute with");
        if left.columns == 0 && output == Output::Overwrite {
            out.fill(0.0);
        }
    }
    let outs: Vec<(&PackedMatrix, Parts<'_, f32>)> =
        products.iter_mut().map(|(out, right)| (*right, Parts::new(out))).collect();
    let rights: Vec<&PackedMatrix> = outs.iter().map(|(right, _)| *right).collect();
    let tasks = tasks(left, &rights, compute);
    let left = Left::new(left, compute);
    threads::for_each(tasks.len(), |task| {
        let Task { index, rows, panels } = &tasks[task];
        let (right, out) = &outs[*index];
        let columns = right.columns();
        let place = |row: usize, panel: usize| out.address((rows.start + row) * columns + panel * PANEL);
        left.with_packed(rows, |packed| {
            let shape = Shape { left: packed, tiles: RowTiles::new(rows.len(), compute), right };
            // SAFETY: the rectangles lie in this task's rows and panels, which no other task writes.
            unsafe { shape.compute(panels.clone(), output, (&place, columns)) };
        });
    });
}

/// A rectangle of the output of product `index`: whole panels, so that outputs of tasks are disjoint.
struct Task {
    index: usize,
    rows: Range<usize>,
    panels: Range<usize>,
}

/// Cuts products with one left side into tasks; those that share rows are neighbours.
fn tasks(left: Matrix<'_>, rights: &[&PackedMatrix], compute: Compute) -> Vec<Task> {
    let rows_block = tiles_block(compute) * tile::height_max(compute);
    let row_blocks = left.rows.div_ceil(rows_block);
    let work: usize = rights.iter().map(|right| right.columns()).sum::<usize>() * left.rows * left.columns;
    let wanted = (TASKS_PER_THREAD * threads::count()).min(work / TASK_MIN).max(1);
    let columns: usize = rights.iter().map(|right| right.columns().div_ceil(PANEL)).sum();
    let panels_per_task = columns.div_ceil(wanted.div_ceil(row_blocks.max(1))).max(1);
    let is_low = left.rows <= tile::low(compute);
    let panels_per_task = if is_low { panels_per_task.next_multiple_of(PANELS_MAX) } else { panels_per_task };
    let mut tasks = Vec::new();
    for first in (0..left.rows).step_by(rows_block) {
        let rows = first..left.rows.min(first + rows_block);
        for (index, right) in rights.iter().enumerate() {
            let panels = right.columns().div_ceil(PANEL);
            let starts = (0..panels).step_by(panels_per_task);
            tasks.extend(starts.map(|panel| Task {
                index,
                rows: rows.clone(),
                panels: panel..panels.min(panel + panels_per_task),
            }));
        }
    }
    tasks
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
    let compute = right.compute();
    let column_blocks = right.columns().div_ceil(columns_block);
    let tiles = left.rows.div_ceil(tile::height_max(compute));
    let groups = (TASKS_PER_THREAD * threads::count()).div_ceil(column_blocks.max(1)).min(tiles);
    let group_rows = tiles.div_ceil(groups.max(1)).max(1) * tile::height_max(compute);
    let groups = left.rows.div_ceil(group_rows);
    let all_rows = left.rows;
    let left = Left::new(left, compute);
    threads::for_each(groups * column_blocks, |task| {
        let (group, block) = (task / column_blocks, task % column_blocks);
        let columns = block * columns_block..right.columns().min((block + 1) * columns_block);
        let rows = group * group_rows..all_rows.min((group + 1) * group_rows);
        let mut values = BLOCK.take();
        let out = values.resize(rows.len() * columns_block);
        let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
        left.with_packed(&rows, |packed| {
            let target = Parts::new(out);
            let shape = Shape { left: packed, tiles: RowTiles::new(rows.len(), compute), right };
            let place = |row: usize, panel: usize| target.address(row * columns_block + (panel - panels.start) * PANEL);
            // SAFETY: the buffer holds these rows and whole panels, and this task has it alone.
            unsafe { shape.compute(panels.clone(), Output::Overwrite, (&place, columns_block)) };
        });
        work(rows, columns, out);
        BLOCK.set(values);
    });
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
    unsafe fn compute(&self, panels: Range<usize>, output: Output, place: Place<'_>) {
        let steps = self.right.compute().steps(self.right.rows());
        let blocks = || (0..steps).step_by(STEPS_MAX);
        let mut parts: Vec<((usize, usize), usize)> = Vec::with_capacity(panels.len() * blocks().count());
        if self.tiles.count() <= TILES_FEW {
            let mut panel = panels.start;
            while panel < panels.end {
                let together = self.panels_together(panel, panels.end);
                parts.extend(blocks().map(|step| ((panel, together), step)));
                panel += together;
            }
        } else {
            parts.extend(blocks().flat_map(|step| panels.clone().map(move |panel| ((panel, 1), step))));
        }
        for (panels, step) in parts {
            // SAFETY: passed on to the caller.
            unsafe { self.compute_panels(panels, (step, output), place) };
        }
    }

    /// Panels from `panel` on that low tiles take at once: whole ones only.
    fn panels_together(&self, panel: usize, end: usize) -> usize {
        let (_, tallest) = self.tiles.tile(0);
        let whole = (panel + PANELS_MAX) * PANEL <= self.right.columns() && panel + PANELS_MAX <= end;
        if tallest <= tile::low(self.right.compute()) && whole { PANELS_MAX } else { 1 }
    }

    /// All rows against some panels, over one block of steps.
    ///
    /// # Safety
    /// As [`Shape::compute`].
    unsafe fn compute_panels(
        &self,
        (panel, together): (usize, usize),
        (step, output): (usize, Output),
        (place, stride): Place<'_>,
    ) {
        let columns = self.right.columns();
        let all_steps = self.right.compute().steps(self.right.rows());
        let right = &self.right.panels(panel, together)[step * PANEL..];
        for index in 0..self.tiles.count() {
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
            unsafe { tile::compute(&tile, &target) };
        }
    }
}
