//! Rotary position embedding (arXiv 2104.09864) in the half-split form that Hugging Face checkpoints use.

use crate::{
    dispatch::{Arithmetic, dispatched},
    threads::{self, rows_per_task},
};

/// Cosines and sines by position.
#[derive(Debug, Clone)]
pub struct Table {
    cosines: Vec<f32>,
    sines: Vec<f32>,
    pairs: usize,
}

/// Which way to rotate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// By the position's angle.
    Forward,
    /// By its negative: the backward of [`Direction::Forward`].
    Backward,
}

impl Table {
    /// Angles position · frequency for positions 0…positions − 1, computed in f64 and rounded once.
    ///
    /// Shapes: frequencies \[D/2\], radians per position.
    pub fn new(frequencies: &[f64], positions: usize) -> Self {
        let angles = (0..positions).flat_map(|t| frequencies.iter().map(move |f| t as f64 * f));
        let (cosines, sines) = angles.map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
        Self { cosines, sines, pairs: frequencies.len() }
    }

    /// Cosines and sines, \[positions, D/2\] each.
    pub fn values(&self) -> [&[f32]; 2] {
        [&self.cosines, &self.sines]
    }

    /// Number of positions that the table covers.
    pub fn positions(&self) -> usize {
        self.cosines.len() / self.pairs.max(1)
    }
}

#[inline(always)]
fn rotate_body<A: Arithmetic>(rows: &mut [f32], positions: &[u32], table: &Table, direction: Direction) {
    let pairs = table.pairs;
    let width = rows.len() / positions.len();
    let sign = match direction {
        Direction::Forward => 1.0,
        Direction::Backward => -1.0,
    };
    for (row, &position) in rows.chunks_exact_mut(width).zip(positions) {
        let at = position as usize * pairs..(position as usize + 1) * pairs;
        let (cosines, sines) = (&table.cosines[at.clone()], &table.sines[at]);
        for head in row.chunks_exact_mut(2 * pairs) {
            let (first, second) = head.split_at_mut(pairs);
            for i in 0..pairs {
                let (a, b, c, s) = (first[i], second[i], cosines[i], sign * sines[i]);
                first[i] = A::mul_add(a, c, -(b * s));
                second[i] = A::mul_add(b, c, a * s);
            }
        }
    }
}

dispatched! {
    fn rotate_part(rows: &mut [f32], positions: &[u32], table: &Table, direction: Direction) = rotate_body;
}

/// Rotates every head of every row by the angle of the row's position.
///
/// Shapes: rows \[N, heads, D\], positions \[N\]; D is twice the table's pairs.
pub fn rotate(rows: &mut [f32], positions: &[u32], table: &Table, direction: Direction) {
    assert_eq!(rows.len() % (positions.len().max(1) * 2 * table.pairs), 0, "rows do not divide into heads");
    if positions.is_empty() {
        assert!(rows.is_empty(), "{} values without positions", rows.len());
        return;
    }
    let width = rows.len() / positions.len();
    let together = rows_per_task(width);
    threads::for_each_chunk(rows, together * width, |index, rows| {
        rotate_part(rows, &positions[index * together..][..rows.len() / width], table, direction);
    });
}
