//! What a card can do at most: the products and the memory that any work on it is measured against.
//!
//! The clock is an argument, as in [`crate::probe`].

use std::{sync::Arc, time::Duration};

use super::{
    array::{Array, Bf16},
    machine::Machine,
    operations::{Operations, Output},
};
use crate::{attention::Heads, probe::rate};

/// How much is multiplied and copied at a time.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Rows, columns and length of the sums of a product.
    pub product: usize,
    /// Floats that are copied.
    pub floats: usize,
}

impl Sizes {
    /// So much that nothing else takes time: products of 1.1 TFLOP, and 4 GiB, which no cache holds.
    pub const CARD: Self = Self { product: 8192, floats: 1 << 30 };
}

/// What a card can do at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// FLOP/s of products of bf16 with f32 sums, by the library.
    pub bf16_flops_per_second: f64,
    /// Bytes in a second that are read or written by a copy within the card.
    pub memory_bytes_per_second: f64,
}

/// Probes a card, a second or a little more for each number.
///
/// # Panics
/// With an [`super::Unusable`] as its payload when the card refuses.
pub fn limits(machine: &Arc<dyn Machine>, sizes: Sizes, clock: &dyn Fn() -> Duration) -> Limits {
    Limits {
        bf16_flops_per_second: products(machine, sizes.product, clock),
        memory_bytes_per_second: copies(machine, sizes.floats, clock),
    }
}

/// The faster of a projection, whose algorithm is that of all counts of rows, and of a weight's gradient, which has its own.
fn products(machine: &Arc<dyn Machine>, size: usize, clock: &dyn Fn() -> Duration) -> f64 {
    let operations = Operations::new(Arc::clone(machine), Heads { query: 1, key_value: 1, width: 16 });
    // Of numbers that differ: cards slow down by the power that bits take.
    let values: Vec<Bf16> = (0..size * size).map(factor).collect();
    let [rows, weight] = [&values, &values].map(|values| Array::from_slice(machine, values));
    let mut out = Array::zeros(machine, size * size);
    let mut per_second = |product: &dyn Fn(&mut Array<f32>)| {
        rate(clock, |count| {
            (0..count).for_each(|_| product(&mut out));
            wait(machine);
            count
        })
    };
    let projections = per_second(&|out| operations.project(Output::Overwrite(out), &rows, &weight, [size, size]));
    let gradients = per_second(&|out| operations.add_weight_gradient(out, &rows, &weight, [size, size]));
    2.0 * (size as f64).powi(3) * projections.max(gradients)
}

fn copies(machine: &Arc<dyn Machine>, floats: usize, clock: &dyn Fn() -> Duration) -> f64 {
    let from = Array::<f32>::zeros(machine, floats);
    let mut to = from.copy();
    let per_second = rate(clock, |count| {
        for _ in 0..count {
            to.copy_from(&from);
        }
        wait(machine);
        count
    });
    2.0 * (floats * size_of::<f32>()) as f64 * per_second
}

/// A number between 1 and 2, or its negative, in bf16.
fn factor(index: usize) -> Bf16 {
    let mixed = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    0x3f80 | (mixed & 0x807f) as Bf16
}

/// Waits until everything that was asked for is done.
pub fn wait(machine: &Arc<dyn Machine>) {
    Array::<f32>::zeros(machine, 1).values();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_numbers_between_one_and_two_of_both_signs() {
        let values: Vec<f32> = (0..1000).map(|index| f32::from_bits(u32::from(factor(index)) << 16)).collect();
        assert!(values.iter().all(|value| (1.0..2.0).contains(&value.abs())));
        let negative = values.iter().filter(|value| **value < 0.0).count();
        assert!((400..600).contains(&negative), "{negative} of 1000");
    }
}
