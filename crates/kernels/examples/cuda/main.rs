//! Checks of the kernels for NVIDIA's cards, most of them on a machine without one: `cargo xtask cuda` runs it.
//!
//! `compile` compiles every kernel for two architectures with NVRTC, which must be found; `emulate DIRECTORY SEED` builds the
//! same sources with the system's C++ compiler into DIRECTORY, runs them on an emulated card and compares with f64. Neither
//! touches a card. `card SEED` makes the same comparisons on the first card, and says so where there is none.

#![expect(unsafe_code, reason = "emulated kernels write through pointers; each block says why it is sound")]
#![expect(clippy::print_stdout, reason = "a check talks through its output")]

mod attention;
mod buffers;
mod card;
mod command;
mod compare;
mod compile;
mod decode;
mod draws;
mod elementwise;
mod head;
#[path = "../../tests/support/naive.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod naive;
mod rows;
mod sampling;

use std::{path::Path, process::ExitCode};

use kernels::cuda::{device::Device, emulation::Emulation};

use card::{Card, HEAD_WIDTHS};
use compare::Trial;

const USAGE: &str = "cuda compile | cuda emulate DIRECTORY SEED | cuda card SEED";

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
        ["emulate", directory, seed] => {
            let emulation = || Emulation::build(Path::new(directory), &HEAD_WIDTHS);
            command::with_seed(seed, USAGE, |seed| check(&Card::emulated(emulation()), seed))
        }
        ["card", seed] => command::with_seed(seed, USAGE, |seed| match Device::open(0) {
            Ok(device) => {
                buffers::share_with(&device);
                check(&Card::real(device), seed);
            }
            Err(fault) => command::skip("nothing", (&fault, fault.remedy())),
        }),
        _ => command::fail("nothing to do", USAGE),
    }
}

/// Runs every check, each with numbers of its own.
fn check(card: &Card, seed: u64) {
    for (index, (name, check)) in CHECKS.iter().enumerate() {
        let mut trial = Trial::new(card, seed.wrapping_mul(1000).wrapping_add(index as u64));
        check(&mut trial);
        println!("{name}: {}", trial.summary());
    }
    card.assert_all_covered();
}
