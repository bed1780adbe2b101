//! Completion text and gold answer in, verdict out.
//!
//! Pure and bounded: no I/O, no clock, no panic on any input. What the policy wrote is data, never an error.

mod verdict;

pub use verdict::{Check, Verdict};
