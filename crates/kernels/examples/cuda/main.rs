//! Checks of the kernels for NVIDIA's cards on a machine without one: `cargo xtask cuda` runs it.
//!
//! `compile` compiles every kernel for two architectures with NVRTC, which must be found; `emulate DIRECTORY SEED` builds the
//! same sources with the system's C++ compiler into DIRECTORY, runs them on an emulated card and compares with f64. Neither
//! touches a card.

#![expect(unsafe_code, reason = "emulated kernels write through pointers; each block says why it is sound")]
#![expect(clippy::print_stdout, reason = "a check talks through its output")]

mod attention;
mod buffers;
mod compare;
mod compile;
mod decode;
mod draws;
mod elementwise;
mod emulator;
mod head;
#[path = "../../tests/support/naive.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod naive;
mod rows;
mod sampling;

use std::{path::Path, process::ExitCode};

use compare::Trial;
use emulator::Emulator;

/// What is checked of one operation.
type Check = (&'static str, fn(&mut Trial<'_>));

const CHECKS: &[Check] = &[
    ("embedding", rows::embedding),
    ("norm of rows", rows::norm),
    ("sums over rows, biases, rounding", rows::sums),
    ("norm and rotation of heads", rows::heads),
    ("gated SiLU", elementwise::gate),
    ("AdamW and global norm", elementwise::optimizer),
    ("logprobs", head::logprobs),
    ("sampling", sampling::draws),
    ("attention", attention::training),
    ("attention over a paged cache", decode::decoding),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["compile"] => compile::compile_all(),
        ["emulate", directory, seed] => match seed.parse() {
            Ok(seed) => emulate(Path::new(directory), seed),
            Err(error) => usage(&format!("the seed {seed} is no number: {error}")),
        },
        _ => usage("nothing to do"),
    }
}

fn usage(fault: &str) -> ExitCode {
    println!("{fault}; usage: cuda compile | cuda emulate DIRECTORY SEED");
    ExitCode::FAILURE
}

/// Runs every check, each with numbers of its own.
fn emulate(directory: &Path, seed: u64) -> ExitCode {
    let card = Emulator::build(directory);
    for (index, (name, check)) in CHECKS.iter().enumerate() {
        let mut trial = Trial::new(&card, seed.wrapping_mul(1000).wrapping_add(index as u64));
        check(&mut trial);
        println!("{name}: {}", trial.summary());
    }
    card.assert_all_covered();
    ExitCode::SUCCESS
}
