//! Numeric routines over slices with explicit shapes, each with its backward. Knows no word of RL or language.
//!
//! Three promises hold for every routine here:
//! - each output element is reduced in one order that depends on its own position alone: never on how many rows are
//!   computed together, on the number of threads, or on where a cache was cut;
//! - shapes are asserted, so a wrong shape is a panic that names the lengths and never a wrong number;
//! - AVX-512, AVX2 with FMA and aarch64 give the same bits; x86-64 without FMA rounds products separately.
//!
//! Dimension letters: B sequences, T positions, S cached positions, V vocabulary, H query heads, K key-value heads,
//! D head width, C model width, N rows.

#![expect(
    unsafe_code,
    reason = "vector instructions and disjoint writes by several threads; each block says why it is sound"
)]
#![expect(
    clippy::inline_always,
    reason = "a body must be inlined into its dispatcher to be compiled for the instruction set"
)]

pub mod activation;
pub mod adamw;
pub mod attention;
mod buffer;
pub mod cuda;
mod dispatch;
pub mod logprob;
pub mod matmul;
pub mod memory;
pub mod norm;
pub mod probe;
pub mod rope;
pub mod sample;
pub mod threads;
pub mod vector;

pub use buffer::Buffer;
pub use dispatch::{InstructionSet, instruction_set};
pub use matmul::Compute;
