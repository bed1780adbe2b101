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
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{
    Buffer,
    activation::gate_part,
    logprob,
    matmul::{
        left::RowTiles,
        packed::PANEL,
        tile::{PANELS_MAX, STEPS_MAX, Target, Tile},
    },
    norm,
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

/// Rows of a left side that a thread packs at once, at most, on any CPU.
pub const LEFT_ROWS_MAX: usize = 140;

/// Bytes that a thread keeps of a packed left side of `rows` rows and `inner` columns, at most, on any CPU.
pub fn left_bytes(compute: Compute, rows: usize, inner: usize) -> usize {
    PackedRows::bytes(compute, rows.min(LEFT_ROWS_MAX), inner)
}

/// Rows of logits that a task of [`crate::logprob`] holds for a vocabulary of `columns`, at most, on any CPU.
pub fn logit_rows(rows: usize, columns: usize, threads: usize) -> usize {
    let groups = (TASKS_PER_THREAD * threads).div_ceil(columns.div_ceil(logprob::BLOCK).max(1));
    rows.min(rows.div_ceil(groups) + tile::HEIGHT_MAX - 1)
}

/// Tiles up to which a task takes panel after panel, so that a large right side is read once and in order.
const TILES_FEW: usize = 6;
/// Tasks for each thread, so that threads of unequal speed end together.
const TASKS_PER_THREAD: usize = 12;
/// Below this many terms, rows times columns times inner dimension, a product is not split further.
fn task_min(compute: Compute) -> usize {
    if compute.uses_matrix_registers() { 1 << 18 } else { 1 << 15 }
}

thread_local! {
    static LEFT: RefCell<HeldRows> = RefCell::default();
    static BLOCK: RefCell<Buffer> = const { RefCell::new(Buffer::new()) };
}

/// The left side of a product.
#[derive(Clone, Copy)]
pub enum Left<'a> {
    /// A matrix as it stands.
    Matrix(Matrix<'a>),
    /// Rows that are normalised on their way.
    Normed(norm::Saved<'a>),
}

impl Left<'_> {
    fn rows(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.rows,
            Self::Normed(saved) => saved.rows.len() / saved.weight.len(),
        }
    }

    fn columns(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.columns,
            Self::Normed(saved) => saved.weight.len(),
        }
    }
}

/// The rows of the left side that a thread packed last, for its next tasks.
#[derive(Debug, Default)]
struct HeldRows {
    /// Number of the product that they belong to, from 1 on.
    product: u64,
    rows: Range<usize>,
    packed: PackedRows,
    normed: Buffer,
}

/// A product's left side, packed part by part by those who need it.
#[derive(Clone, Copy)]
struct SharedLeft<'a> {
    left: Left<'a>,
    compute: Compute,
    product: u64,
}

impl<'a> SharedLeft<'a> {
    fn new(left: Left<'a>, compute: Compute) -> Self {
        static PRODUCTS: AtomicU64 = AtomicU64::new(1);
        Self { left, compute, product: PRODUCTS.fetch_add(1, Ordering::Relaxed) }
    }

    fn pack(&self, rows: &Range<usize>, held: &mut HeldRows) {
        (held.product, held.rows) = (self.product, rows.clone());
        match self.left {
            Left::Matrix(matrix) => held.packed.pack(matrix.rows(rows), self.compute),
            Left::Normed(norm::Saved { rows: all, weight, epsilon }) => {
                let width = weight.len();
                let normed = held.normed.resize(rows.len() * width);
                norm::forward_part(normed, &all[rows.start * width..rows.end * width], weight, epsilon);
                held.packed.pack(Matrix::new(normed, width), self.compute);
            }
        }
    }

    /// Runs `work` with `rows` packed; a thread packs the rows of neighbouring tasks once.
    fn with_packed(&self, rows: &Range<usize>, work: impl FnOnce(&PackedRows)) {
        LEFT.with_borrow_mut(|held| {
            if (held.product, &held.rows) != (self.product, rows) {
                self.pack(rows, held);
            }
            work(&held.packed);
        });
    }
}

/// out (+)= left · right, computing with what `right` was packed for.
///
/// Shapes: left \[M, K\], right \[K, N\] packed, out \[M, N\] row-major.
pub fn multiply(out: &mut [f32], left: Matrix<'_>, right: &PackedMatrix, output: Output) {
    multiply_all(Left::Matrix(left), &mut [(out, right)], output);
}

/// out = base + left · right, where each sum starts from its element of `base`.
///
/// Shapes: left \[M, K\], right \[K, N\] packed, out and base \[M, N\] row-major.
pub fn multiply_onto(out: &mut [f32], base: &[f32], left: Matrix<'_>, right: &PackedMatrix) {
    assert_eq!(out.len(), base.len(), "output and base lengths");
    if left.columns == 0 {
        out.copy_from_slice(base);
    }
    run(Left::Matrix(left), &[Product { right, out: Parts::new(out), start: Start::At(base) }], None);
}

/// Several products with one left side, which is packed once.
///
/// Shapes: left \[M, K\], each right \[K, N\] packed for the same computation, its out \[M, N\] row-major.
pub fn multiply_all(left: Left<'_>, products: &mut [(&mut [f32], &PackedMatrix)], output: Output) {
    let mut all = Vec::with_capacity(products.len());
    for (out, right) in products {
        if left.columns() == 0 && output == Output::Overwrite {
            out.fill(0.0);
        }
        let start = if output == Output::Add { Start::Output } else { Start::Zero };
        all.push(Product { right, out: Parts::new(out), start });
    }
    run(left, &all, None);
}

/// gate = left · right of `gate`, up likewise, activated = silu(gate) · up, element by element while they are at hand.
///
/// Shapes: left \[M, K\], both rights \[K, N\] packed, all outputs \[M, N\] row-major.
pub fn multiply_gated(activated: &mut [f32], left: Left<'_>, products: [(&mut [f32], &PackedMatrix); 2]) {
    let columns = products[0].1.columns();
    assert_eq!(columns, products[1].1.columns(), "columns of gate and up");
    assert_eq!(activated.len(), left.rows() * columns, "activated values of gate and up");
    let activated = Parts::new(activated);
    let [gate, up] = products.map(|(out, right)| Product { right, out: Parts::new(out), start: Start::Zero });
    let outs = [gate, up];
    run(
        left,
        &outs,
        Some(&|rows, part| {
            for row in rows.clone() {
                let at = row * columns + part.start..row * columns + part.end;
                // SAFETY: this task has computed these elements of both, and no other one touches them.
                let [gate, up, out] =
                    unsafe { [outs[0].out.part(at.clone()), outs[1].out.part(at.clone()), activated.part(at)] };
                gate_part(out, gate, up);
            }
        }),
    );
}

/// What the sums of a product start from.
#[derive(Clone, Copy)]
enum Start<'a> {
    Zero,
    /// The output's old values.
    Output,
    /// Other values of the output's shape.
    At(&'a [f32]),
}

/// One of several products with the same left side.
struct Product<'a> {
    right: &'a PackedMatrix,
    out: Parts<'a, f32>,
    start: Start<'a>,
}

impl Product<'_> {
    /// Where the sums of a panel's rows from `row` on go and start from.
    fn place(&self, row: usize, panel: usize) -> Place {
        let at = row * self.right.columns() + panel * PANEL;
        let out = self.out.address(at);
        let start = match self.start {
            Start::Zero => None,
            Start::Output => NonNull::new(out),
            Start::At(values) => NonNull::new(values[at..].as_ptr().cast_mut()),
        };
        (out, start)
    }
}

/// Called with the rows and columns that a task has computed of every product.
type Finish<'a> = &'a (dyn Fn(&Range<usize>, Range<usize>) + Sync);

/// All products, cut into tasks; with `finish` a task computes the same rectangle of every product and then finishes it.
fn run(left: Left<'_>, products: &[Product<'_>], finish: Option<Finish<'_>>) {
    let Some(compute) = products.first().map(|product| product.right.compute()) else { return };
    for Product { right, out, .. } in products {
        assert_eq!(left.columns(), right.rows(), "inner dimensions of left and right");
        assert_eq!(out.len(), left.rows() * right.columns(), "output of {} × {}", left.rows(), right.columns());
        assert_eq!(right.compute(), compute, "what products with one left side compute with");
    }
    let tasks = tasks(&left, products, compute, if finish.is_some() { products.len() } else { 1 });
    let left = SharedLeft::new(left, compute);
    threads::for_each(tasks.len(), |task| {
        let Task { products: of, rows, panels } = &tasks[task];
        left.with_packed(rows, |packed| {
            for product in &products[of.clone()] {
                let (right, tiles) = (product.right, RowTiles::new(rows.len(), compute));
                let place = |row: usize, panel: usize| product.place(rows.start + row, panel);
                let shape = Shape { left: packed, tiles, right, stride: right.columns(), place: &place };
                // SAFETY: the rectangles lie in this task's rows and panels, which no other task writes.
                unsafe { shape.compute(panels.clone()) };
            }
        });
        if let Some(finish) = finish {
            let columns = products[of.start].right.columns();
            finish(rows, panels.start * PANEL..columns.min(panels.end * PANEL));
        }
    });
}

/// A rectangle of the outputs of some products: whole panels, so that outputs of tasks are disjoint.
struct Task {
    products: Range<usize>,
    rows: Range<usize>,
    panels: Range<usize>,
}

/// Cuts products into tasks of the same rectangle of `together` products; those that share rows are neighbours.
fn tasks(left: &Left<'_>, products: &[Product<'_>], compute: Compute, together: usize) -> Vec<Task> {
    let (all_rows, inner) = (left.rows(), left.columns());
    let rows_block = tiles_block(compute) * tile::height_max(compute);
    assert!(rows_block <= LEFT_ROWS_MAX, "blocks of {rows_block} rows");
    let columns: usize = products.iter().map(|product| product.right.columns()).sum();
    let wanted = (TASKS_PER_THREAD * threads::count()).min(columns * all_rows * inner / task_min(compute)).max(1);
    let panels_all = columns.div_ceil(PANEL) / together;
    let panels_per_task = panels_all.div_ceil(wanted.div_ceil(all_rows.div_ceil(rows_block).max(1))).max(1);
    let is_low = all_rows <= tile::low(compute);
    let panels_per_task = if is_low { panels_per_task.next_multiple_of(PANELS_MAX) } else { panels_per_task };
    let mut tasks = Vec::new();
    for first in (0..all_rows).step_by(rows_block) {
        let rows = first..all_rows.min(first + rows_block);
        for index in (0..products.len()).step_by(together) {
            let panels = products[index].right.columns().div_ceil(PANEL);
            tasks.extend((0..panels).step_by(panels_per_task).map(|panel| Task {
                products: index..index + together,
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
    let group_rows = group_rows(compute, left.rows, column_blocks);
    let groups = left.rows.div_ceil(group_rows);
    let all_rows = left.rows;
    let left = SharedLeft::new(Left::Matrix(left), compute);
    threads::for_each(groups * column_blocks, |task| {
        let (group, block) = (task / column_blocks, task % column_blocks);
        let columns = block * columns_block..right.columns().min((block + 1) * columns_block);
        let rows = group * group_rows..all_rows.min((group + 1) * group_rows);
        let mut values = BLOCK.take();
        let out = values.resize(rows.len() * columns_block);
        let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
        left.with_packed(&rows, |packed| {
            let parts = Parts::new(out);
            let place =
                |row: usize, panel: usize| (parts.address(row * columns_block + (panel - panels.start) * PANEL), None);
            let tiles = RowTiles::new(rows.len(), compute);
            let shape = Shape { left: packed, tiles, right, stride: columns_block, place: &place };
            // SAFETY: the buffer holds these rows and whole panels, and this task has it alone.
            unsafe { shape.compute(panels.clone()) };
        });
        work(rows, columns, out);
        BLOCK.set(values);
    });
}

/// Rows that a task of [`multiply_in_blocks`] takes: whole tiles, so few that there are tasks enough.
fn group_rows(compute: Compute, rows: usize, column_blocks: usize) -> usize {
    let tiles = rows.div_ceil(tile::height_max(compute));
    let groups = (TASKS_PER_THREAD * threads::count()).div_ceil(column_blocks.max(1)).min(tiles);
    tiles.div_ceil(groups.max(1)).max(1) * tile::height_max(compute)
}

/// The first element of a rectangle, and what its sums start from; none for 0.
type Place = (*mut f32, Option<NonNull<f32>>);

/// The factors of a product and where it goes.
#[derive(Clone, Copy)]
struct Shape<'a> {
    left: &'a PackedRows,
    tiles: RowTiles,
    right: &'a PackedMatrix,
    /// Floats from one output row to the next.
    stride: usize,
    /// The place of a row and a panel.
    place: &'a dyn Fn(usize, usize) -> Place,
}

impl Shape<'_> {
    /// # Safety
    /// `place` must give rectangles that exist, as far as the right side has columns, and that nothing else touches.
    unsafe fn compute(&self, panels: Range<usize>) {
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
            unsafe { self.compute_panels(panels, step) };
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
    unsafe fn compute_panels(&self, (panel, together): (usize, usize), step: usize) {
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
                run: STEPS_MAX,
                run_stride: 0,
                panel_stride: all_steps * PANEL,
                panels: together,
                steps: STEPS_MAX.min(all_steps - step),
                compute: self.right.compute(),
            };
            let (out, start) = (self.place)(row, panel);
            // Later steps go on from what the earlier ones left.
            let start = if step == 0 { start } else { NonNull::new(out) };
            let columns = (together * PANEL).min(columns - panel * PANEL);
            let target = Target { out, stride: self.stride, columns, start };
            // SAFETY: passed on to the caller.
            unsafe { tile::compute(&tile, &target) };
        }
    }
}
