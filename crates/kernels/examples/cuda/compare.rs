//! What the checks share: the card, fresh numbers, and comparison with f64.

use crate::{card::Card, draws::Draws};

/// How far a number may be from the f64 one: a share of itself, and a share of the largest of its array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tolerance {
    relative: f64,
    absolute: f64,
}

/// Sums in f64 of any order.
pub(crate) const F64: Tolerance = Tolerance { relative: 1e-13, absolute: 0.0 };
/// A few f32 roundings.
pub(crate) const F32: Tolerance = Tolerance { relative: 1e-6, absolute: 5e-7 };
/// Sums of hundreds of f32 terms.
pub(crate) const SUMS: Tolerance = Tolerance { relative: 1e-6, absolute: 2e-6 };
/// A few f32 roundings, and then one to bf16, whose largest relative error is 2⁻⁸.
pub(crate) const BF16: Tolerance = Tolerance { relative: 1.0 / 256.0 + 1e-6, absolute: 5e-7 };
/// Sums of products by matrix units, whose order and rounding a card does not specify.
pub(crate) const PRODUCTS: Tolerance = Tolerance { relative: 4e-6, absolute: 2e-6 };
/// Sums of products of which one side was rounded to bf16 before: weights of attention, and gradients of its scores.
pub(crate) const BF16_SUMS: Tolerance = Tolerance { relative: 1.0 / 256.0, absolute: 1.0 / 128.0 };

/// A check under way: what it is given, and how near to the tolerances it came.
pub(crate) struct Trial<'a> {
    pub(crate) card: &'a Card,
    pub(crate) draws: Draws,
    arrays: usize,
    worst: f64,
}

impl<'a> Trial<'a> {
    pub(crate) fn new(card: &'a Card, seed: u64) -> Self {
        Self { card, draws: Draws::new(seed), arrays: 0, worst: 0.0 }
    }

    /// Checks every number of an array, and that not all are 0.
    #[track_caller]
    pub(crate) fn close(&mut self, what: &str, found: &[f64], expected: &[f64], tolerance: Tolerance) {
        assert_eq!(found.len(), expected.len(), "numbers of {what}");
        let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            let bound = tolerance.relative * expected.abs() + tolerance.absolute * largest;
            let error = (found - expected).abs();
            // Numbers that are not finite fail, too.
            assert!(error <= bound, "{what}, number {index}: {found:e} where {expected:e} is right within {bound:e}");
            self.worst = self.worst.max(if error > 0.0 { error / bound } else { 0.0 });
        }
        assert!(found.is_empty() || found.iter().any(|&found| found != 0.0), "{what} is all 0");
        self.arrays += 1;
    }

    /// Counts arrays that were compared bit by bit.
    pub(crate) fn compared(&mut self, arrays: usize) {
        self.arrays += arrays;
    }

    /// How many arrays were compared, and the largest error as a share of what is allowed.
    pub(crate) fn summary(&self) -> String {
        format!("{} arrays, errors up to {:.2} of the tolerance", self.arrays, self.worst)
    }
}
