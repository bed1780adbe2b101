//! Products between some query rows and the pages of a stretch, for one key-value head on one thread.

use std::ops::Range;

use super::stretch::{PAGE, Stretch};
use crate::matmul::{
    Output,
    left::RowTiles,
    packed::PANEL,
    tile::{self, LEFT_STRIDE, LOW, LeftLayout, PANELS_MAX, STEPS_MAX, Target, Tile},
    words::{Compute, Steps, pairs_of_row, step_words},
};

/// Rows as the left side of a product: blocks of [`STEPS_MAX`] steps, each \[rows, LEFT_STRIDE\].
#[derive(Debug, Default)]
pub(super) struct LeftRows {
    words: Vec<u32>,
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
        self.rows = rows;
        let per_step = if compute == Compute::Bf16 { 2 } else { 1 };
        let blocks = values.div_ceil(STEPS_MAX * per_step);
        if self.words.len() < blocks * rows * LEFT_STRIDE {
            self.words.resize(blocks * rows * LEFT_STRIDE, 0);
        }
        for index in 0..rows {
            for (block, values) in row(index)[..values].chunks(STEPS_MAX * per_step).enumerate() {
                let words = &mut self.words[(block * rows + index) * LEFT_STRIDE..];
                match compute {
                    Compute::F32 => words[..values.len()].copy_from_slice(words_of(values)),
                    Compute::Bf16 => pairs_of_row(&mut words[..values.len().div_ceil(2)], values),
                }
            }
        }
    }

    /// Words from `row` on of the block that holds `step`, from that step on.
    fn words(&self, row: usize, step: usize) -> &[u32] {
        &self.words[(step / STEPS_MAX * self.rows + row) * LEFT_STRIDE + step % STEPS_MAX..]
    }
}

fn words_of(floats: &[f32]) -> &[u32] {
    // SAFETY: a float and a word have the same size and alignment, and any float is a word.
    unsafe { std::slice::from_raw_parts(floats.as_ptr().cast(), floats.len()) }
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
        Target {
            out: self.floats[start..].as_mut_ptr(),
            stride: self.stride,
            columns,
            fresh: output == Output::Overwrite,
        }
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
    let tiles = RowTiles::new(rows.len());
    let pages = seen.div_ceil(PAGE);
    let low = rows.len() <= LOW;
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
                    panel_stride: stretch.page_words(),
                    panels,
                    steps: STEPS_MAX.min(steps - step),
                    compute: stretch.compute(),
                };
                let place = (rows.start + row, at + page * PAGE);
                let output = [Output::Overwrite, Output::Add][usize::from(step > 0)];
                let target = out.target(place, (height, panels * PANEL), output);
                // SAFETY: `target` checked that the rectangle lies in the borrowed rows.
                unsafe { tile::compute(&tile, target) };
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
    let tiles = RowTiles::new(rows.len());
    let low = rows.len() <= LOW && padded.is_multiple_of(PANELS_MAX * PANEL);
    let panels = if low { PANELS_MAX } else { 1 };
    for start in (0..seen).step_by(PAGE) {
        let right = stretch.value_words(head, start / PAGE);
        for index in 0..tiles.count() {
            let (row, height) = tiles.tile(index);
            for column in (0..padded).step_by(panels * PANEL) {
                let tile = Tile {
                    left: left.words(rows.start + row, compute.steps(start)),
                    layout: LeftLayout::Rows,
                    left_stride: 0,
                    height,
                    right: &right[column..],
                    right_stride: padded,
                    panel_stride: PANEL,
                    panels,
                    steps: compute.steps(PAGE.min(seen - start)),
                    compute,
                };
                let target = out.target((rows.start + row, column), (height, panels * PANEL), Output::Add);
                // SAFETY: `target` checked that the rectangle lies in the borrowed rows.
                unsafe { tile::compute(&tile, target) };
            }
        }
    }
}

/// Rows as the steps of a product, whose columns are the left rows or the right columns.
#[derive(Debug, Default)]
pub(super) struct StepRows {
    words: Vec<u32>,
    /// Words of a step.
    columns: usize,
    steps: usize,
}

impl StepRows {
    /// Takes in `rows` rows of `columns` floats.
    pub(super) fn fill(&mut self, floats: &[f32], (rows, columns): (usize, usize), compute: Compute) {
        self.columns = columns;
        self.steps = compute.steps(rows);
        if self.words.len() < self.steps * columns {
            self.words.resize(self.steps * columns, 0);
        }
        let source = Steps { first: 0, stride: columns, values: rows, compute };
        step_words(&mut self.words[..self.steps * columns], columns, floats, &source);
    }
}

/// out row s += Σ_r left\[r, at + s\] · right row r, for the first `seen` positions s: over at most [`STEPS_MAX`] rows r.
///
/// Shapes: left \[R, stride\], right \[R, padded D\], out rows of padded D.
pub(super) fn weighted_rows(
    out: &mut OutRows<'_>,
    (left, at): (&StepRows, usize),
    right: &StepRows,
    seen: usize,
    compute: Compute,
) {
    let tiles = RowTiles::new(seen);
    for index in 0..tiles.count() {
        let (position, height) = tiles.tile(index);
        for column in (0..right.columns).step_by(PANEL) {
            let tile = Tile {
                left: &left.words[at + position..],
                layout: LeftLayout::Steps,
                left_stride: left.columns,
                height,
                right: &right.words[column..],
                right_stride: right.columns,
                panel_stride: 0,
                panels: 1,
                steps: right.steps,
                compute,
            };
            let target = out.target((position, column), (height, PANEL), Output::Add);
            // SAFETY: `target` checked that the rectangle lies in the borrowed rows.
            unsafe { tile::compute(&tile, target) };
        }
    }
}
