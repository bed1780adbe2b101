//! Products between some query rows and the pages of a stretch, for one key-value head on one thread.

use std::{ops::Range, ptr::NonNull};

use super::stretch::{PAGE, Stretch};
use crate::{
    buffer::{Words, words_of},
    matmul::{
        Output,
        left::RowTiles,
        packed::PANEL,
        tile::{self, LEFT_STRIDE, LeftLayout, PANELS_MAX, STEPS_MAX, Target, Tile},
        words::{Compute, Steps, pairs_of_row, step_words, transposed_pairs},
    },
};

/// Rows as the left side of a product: blocks of [`STEPS_MAX`] steps, each \[rows, LEFT_STRIDE\].
#[derive(Debug, Default)]
pub(super) struct LeftRows {
    words: Words,
    rows: usize,
}

impl LeftRows {
    /// Takes in `rows` rows of `values` floats; `row(index)` gives them.
    pub(super) fn fill<'a>(
        &mut self,
        (rows, values): (usize, usize),
        compute: Compute,
        row: impl Fn(usize) -> &'a [f32],
    ) {
        let per_step = compute.elements_per_step();
        self.make_room(rows, compute.steps(values));
        for index in 0..rows {
            for (block, values) in row(index)[..values].chunks(STEPS_MAX * per_step).enumerate() {
                let words = &mut self.words[(block * rows + index) * LEFT_STRIDE..];
                match compute {
                    Compute::F32 => words[..values.len()].copy_from_slice(words_of(values)),
                    Compute::Bf16 => pairs_of_row(&mut words[..compute.steps(values.len())], values),
                }
            }
        }
    }

    /// Takes in columns as rows: row r is column `first` + r of the first `values` rows of `floats`, `stride` apart. For
    /// matrix registers alone.
    pub(super) fn fill_transposed(
        &mut self,
        (rows, values): (usize, usize),
        floats: &[f32],
        (first, stride): (usize, usize),
    ) {
        self.make_room(rows, Compute::Bf16.steps(values));
        for value in (0..values).step_by(32) {
            let step = value / 2;
            let start = step / STEPS_MAX * rows * LEFT_STRIDE + step % STEPS_MAX;
            let source =
                Steps { first: first + value * stride, stride, values: values - value, compute: Compute::Bf16 };
            transposed_pairs(&mut self.words[start..], (rows, LEFT_STRIDE), floats, &source);
        }
    }

    fn make_room(&mut self, rows: usize, steps: usize) {
        self.rows = rows;
        self.words.with_room(steps.div_ceil(STEPS_MAX) * rows * LEFT_STRIDE);
    }

    /// Words from `row` on of the block that holds `step`, from that step on.
    fn words(&self, row: usize, step: usize) -> &[u32] {
        &self.words[(step / STEPS_MAX * self.rows + row) * LEFT_STRIDE + step % STEPS_MAX..]
    }
}

/// Rows of an array that a product writes: row r at r·stride.
pub(super) struct OutRows<'a> {
    pub(super) floats: &'a mut [f32],
    pub(super) stride: usize,
}

impl OutRows<'_> {
    /// The rectangle of a tile, `columns` wide.
    fn target(&mut self, at: (usize, usize), (height, columns): (usize, usize), output: Output) -> Target {
        let start = at.0 * self.stride + at.1;
        let end = start + (height - 1) * self.stride + columns;
        assert!(end <= self.floats.len(), "a tile of {height} × {columns} at {at:?} of {} floats", self.floats.len());
        let out = self.floats[start..].as_mut_ptr();
        let start = if output == Output::Add { NonNull::new(out) } else { None };
        Target { out, stride: self.stride, columns, start }
    }
}

/// scores\[r, at + s\] = left row r · key s of `head`, for the rows `rows` and the first `seen` positions. Writes whole
/// pages, so up to 31 scores more than asked for.
pub(super) fn scores(
    out: &mut OutRows<'_>,
    (rows, at): (Range<usize>, usize),
    left: &LeftRows,
    keys: (&Stretch, usize),
    seen: usize,
) {
    let (stretch, head) = keys;
    let steps = stretch.compute().steps(stretch.heads().width);
    let tiles = RowTiles::new(rows.len(), stretch.compute());
    let pages = seen.div_ceil(PAGE);
    let low = rows.len() <= tile::low(stretch.compute());
    let mut page = 0;
    while page < pages {
        let panels = if low && page + PANELS_MAX <= pages { PANELS_MAX } else { 1 };
        let right = stretch.key_words(head, page);
        for index in 0..tiles.count() {
            let (row, height) = tiles.tile(index);
            for step in (0..steps).step_by(STEPS_MAX) {
                let tile = Tile {
                    left: left.words(rows.start + row, step),
                    layout: LeftLayout::Rows,
                    left_stride: 0,
                    height,
                    right: &right[step * PANEL..],
                    right_stride: PANEL,
                    run: STEPS_MAX,
                    run_stride: 0,
                    panel_stride: stretch.page_words(),
                    panels,
                    steps: STEPS_MAX.min(steps - step),
                    compute: stretch.compute(),
                };
                let place = (rows.start + row, at + page * PAGE);
                let output = [Output::Overwrite, Output::Add][usize::from(step > 0)];
                let target = out.target(place, (height, panels * PANEL), output);
                // SAFETY: `target` checked that the rectangle lies in the borrowed rows.
                unsafe { tile::compute(&tile, &target) };
            }
        }
        page += panels;
    }
}

/// out row r += Σ_s left\[r, s\] · value s of `head`, over the first `seen` positions in order, for the rows `rows`.
///
/// `left` holds the weights of these positions from its step 0 on; `out` has rows of whole panels.
pub(super) fn weighted_values(
    out: &mut OutRows<'_>,
    rows: Range<usize>,
    left: &LeftRows,
    values: (&Stretch, usize),
    seen: usize,
) {
    let (stretch, head) = values;
    let compute = stretch.compute();
    let padded = stretch.padded_width();
    let tiles = RowTiles::new(rows.len(), compute);
    let low = rows.len() <= tile::low(compute) && padded.is_multiple_of(PANELS_MAX * PANEL);
    let panels = if low { PANELS_MAX } else { 1 };
    let page_steps = compute.steps(PAGE);
    let steps = compute.steps(seen);
    for first in (0..steps).step_by(STEPS_MAX) {
        let right = stretch.value_words(head, first / page_steps);
        for index in 0..tiles.count() {
            let (row, height) = tiles.tile(index);
            for column in (0..padded).step_by(panels * PANEL) {
                let tile = Tile {
                    left: left.words(rows.start + row, first),
                    layout: LeftLayout::Rows,
                    left_stride: 0,
                    height,
                    right: &right[column..],
                    right_stride: padded,
                    run: page_steps,
                    run_stride: stretch.page_words(),
                    panel_stride: PANEL,
                    panels,
                    steps: STEPS_MAX.min(steps - first),
                    compute,
                };
                let target = out.target((rows.start + row, column), (height, panels * PANEL), Output::Add);
                // SAFETY: `target` checked that the rectangle lies in the borrowed rows.
                unsafe { tile::compute(&tile, &target) };
            }
        }
    }
}

/// Rows as the steps of a product, whose columns are the left rows or the right columns.
#[derive(Clone, Copy)]
pub(super) struct StepRows<'a> {
    words: &'a [u32],
    /// Words of a step.
    columns: usize,
    steps: usize,
}

impl<'a> StepRows<'a> {
    /// `rows` rows of `columns` floats. In f32 these are their words; those of pairs lie in `words`.
    pub(super) fn new(
        words: &'a mut Words,
        floats: &'a [f32],
        (rows, columns): (usize, usize),
        compute: Compute,
    ) -> Self {
        let steps = compute.steps(rows);
        let words = match compute {
            Compute::F32 => &words_of(floats)[..steps * columns],
            Compute::Bf16 => {
                let words = &mut words.with_room(steps * columns)[..steps * columns];
                step_words(
                    words,
                    (columns, columns),
                    floats,
                    &Steps { first: 0, stride: columns, values: rows, compute },
                );
                words
            }
        };
        Self { words, columns, steps }
    }
}

/// Words of [`LeftColumns`] that are no floats: pairs as steps, or for matrix registers turned into rows.
#[derive(Debug, Default)]
pub(super) struct ColumnWords {
    steps: Words,
    rows: LeftRows,
}

/// The columns of an array as the left rows of a product.
#[derive(Clone, Copy)]
pub(super) struct LeftColumns<'a> {
    words: &'a [u32],
    layout: LeftLayout,
    /// Words from one step to the next.
    stride: usize,
}

impl<'a> LeftColumns<'a> {
    /// The columns of `rows` rows of `columns` floats, at most 2·[`STEPS_MAX`] rows.
    pub(super) fn new(
        words: &'a mut ColumnWords,
        floats: &'a [f32],
        (rows, columns): (usize, usize),
        compute: Compute,
    ) -> Self {
        if compute.uses_matrix_registers() {
            words.rows.fill_transposed((columns, rows), floats, (0, columns));
            return Self { words: &words.rows.words, layout: LeftLayout::Rows, stride: 0 };
        }
        let steps = StepRows::new(&mut words.steps, floats, (rows, columns), compute);
        Self { words: steps.words, layout: LeftLayout::Steps, stride: columns }
    }

    /// Words from `column` on.
    fn from(&self, column: usize) -> &'a [u32] {
        match self.layout {
            LeftLayout::Rows => &self.words[column * LEFT_STRIDE..],
            LeftLayout::Steps => &self.words[column..],
        }
    }
}

/// out row s += Σ_r left\[r, at + s\] · right row r, for the first `seen` positions s: over at most [`STEPS_MAX`] rows r.
///
/// Shapes: left \[R, stride\], right \[R, padded D\], out rows of padded D.
pub(super) fn weighted_rows(
    out: &mut OutRows<'_>,
    (left, at): (LeftColumns<'_>, usize),
    right: StepRows<'_>,
    seen: usize,
    compute: Compute,
) {
    let tiles = RowTiles::new(seen, compute);
    for index in 0..tiles.count() {
        let (position, height) = tiles.tile(index);
        for column in (0..right.columns).step_by(PANEL) {
            let tile = Tile {
                left: left.from(at + position),
                layout: left.layout,
                left_stride: left.stride,
                height,
                right: &right.words[column..],
                right_stride: right.columns,
                run: STEPS_MAX,
                run_stride: 0,
                panel_stride: 0,
                panels: 1,
                steps: right.steps,
                compute,
            };
            let target = out.target((position, column), (height, PANEL), Output::Add);
            // SAFETY: `target` checked that the rectangle lies in the borrowed rows.
            unsafe { tile::compute(&tile, &target) };
        }
    }
}
