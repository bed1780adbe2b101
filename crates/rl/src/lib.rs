//! Problems in, trained policy and run directory out.
//!
//! The path of one problem: `config` → `problem` → `prompt` → `sampler` → `score` → `shaping` (all groups of the step)
//! → `advantage` → `batch` → `loss` → `update` → run directory; `trainer` is that path as code.

pub mod advantage;
pub mod batch;
mod benchmark;
pub mod budget;
pub mod checkpoint;
pub mod collapse;
pub mod comparison;
pub mod config;
pub mod convert;
pub mod cost;
pub mod demo;
pub mod device;
pub mod dynamic_sampling;
mod error;
pub mod estimate;
pub mod evaluation;
pub mod fault;
mod gpqa;
pub mod inputs;
pub mod lora;
pub mod loss;
pub mod metrics;
pub mod optimizer;
pub mod prefix;
mod problem;
pub mod problem_queue;
pub mod prompt;
pub mod random;
mod recorded;
pub mod resampling;
pub mod retention;
pub mod sampler;
pub mod score;
pub mod sft;
pub mod shaping;
pub mod signals;
pub mod statistics;
pub mod summary;
pub mod sweep;
pub mod task;
pub mod trainer;
pub mod update;
pub mod warning;

pub use benchmark::{Benchmark, CHOICE_INSTRUCTION, HubFile, INSTRUCTION, NamedBenchmark, left_out};
pub use error::RlError;
pub use problem::{
    Demonstration, DemonstrationFields, FieldsFrom, Problem, ProblemFields, ProblemId, plain_decimal,
    read_demonstrations, read_problem_rows, read_problems,
};
