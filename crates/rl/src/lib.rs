//! Problems in, trained policy and run directory out.

pub mod advantage;
mod benchmark;
mod error;
pub mod loss;
pub mod optimizer;
mod problem;
pub mod random;
pub mod ring;
pub mod sampler;
pub mod shaping;
pub mod statistics;

pub use benchmark::{Benchmark, INSTRUCTION};
pub use error::RlError;
pub use problem::{Demonstration, DemonstrationFields, Problem, ProblemFields, ProblemId, read_demonstrations, read_problems};
