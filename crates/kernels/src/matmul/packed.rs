//! The right side of a product, rearranged so that a tile reads it in one straight line.

use rayon::prelude::*;

use super::Matrix;

/// Columns of a panel.
pub(super) const PANEL: usize = 32;

/// Sixteen floats on a cache line of their own.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

const LINES: usize = PANEL / 16;

/// A matrix \[K, N\] in panels of 32 columns, each panel \[K, 32\] row-major, the last one filled with zeros.
#[derive(Debug, Clone, Default)]
pub struct PackedMatrix {
    lines: Vec<Line>,
    rows: usize,
    columns: usize,
}

impl PackedMatrix {
    /// Packs `matrix`.
    pub fn new(matrix: Matrix<'_>) -> Self {
        let mut packed = Self::default();
        packed.pack(matrix);
        packed
    }

    /// Replaces the content by `matrix`, reusing the memory.
    pub fn pack(&mut self, matrix: Matrix<'_>) {
        let (rows, columns) = (matrix.rows, matrix.columns);
        (self.rows, self.columns) = (rows, columns);
        self.lines.resize(columns.div_ceil(PANEL) * rows * LINES, Line([0.0; 16]));
        if rows == 0 {
            return;
        }
        let pack_panel = |(index, panel): (usize, &mut [Line])| pack_panel(panel, matrix, index * PANEL);
        if rayon::current_num_threads() == 1 || rows * columns < 1 << 14 {
            self.lines.chunks_exact_mut(rows * LINES).enumerate().for_each(pack_panel);
        } else {
            self.lines.par_chunks_exact_mut(rows * LINES).enumerate().for_each(pack_panel);
        }
    }

    /// K.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// N.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Bytes that the packed form of a K × N matrix takes.
    pub fn bytes(rows: usize, columns: usize) -> usize {
        columns.div_ceil(PANEL) * PANEL * rows * size_of::<f32>()
    }

    /// The panel's rows from `row` on, PANEL floats each.
    pub(super) fn panel(&self, panel: usize, row: usize) -> &[f32] {
        let lines = &self.lines[(panel * self.rows + row) * LINES..(panel + 1) * self.rows * LINES];
        // SAFETY: `Line` is 16 floats without padding (64 bytes, alignment 64), and any bits are valid floats.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 16) }
    }
}

/// Fills `panel` with the columns from `first` on.
fn pack_panel(panel: &mut [Line], matrix: Matrix<'_>, first: usize) {
    let width = PANEL.min(matrix.columns - first);
    if matrix.column_stride == 1 && width == PANEL {
        for (row, lines) in panel.chunks_exact_mut(LINES).enumerate() {
            let (values, _) = matrix.values[row * matrix.row_stride + first..].as_chunks::<16>();
            lines.iter_mut().zip(values).for_each(|(line, &values)| line.0 = values);
        }
        return;
    }
    if width < PANEL {
        panel.fill(Line([0.0; 16]));
    }
    for column in 0..width {
        let targets = panel[column / 16..].iter_mut().step_by(LINES).map(|line| &mut line.0[column % 16]);
        let values = matrix.values[(first + column) * matrix.column_stride..].iter().step_by(matrix.row_stride);
        targets.zip(values).for_each(|(to, &value)| *to = value);
    }
}
