//! Checks of a whole model on a card: `cargo xtask cuda` runs it after the checks of single kernels.
//!
//! `emulate DIRECTORY SEED` runs it on an emulated card, whose sources are built into DIRECTORY; `card SEED` on the first
//! card, and says so where there is none. Logprobs, gradients and updates are held to those of the processor, sampling to
//! training bit by bit.

#![expect(clippy::print_stdout, reason = "a check talks through its output")]

#[path = "../../../kernels/examples/cuda/command.rs"]
mod command;
#[path = "../../../kernels/examples/cuda/draws.rs"]
#[expect(dead_code, reason = "the checks of kernels use the rest")]
mod draws;
mod memory;
mod models;
mod sampling;
mod training;

use std::{path::Path, process::ExitCode, sync::Arc};

use kernels::cuda::{card::OpenCard, emulation::Emulation, machine::Machine};

use models::{ADAPTED, HEAD_WIDTHS, SHAPES};

const USAGE: &str = "card emulate DIRECTORY SEED | card card SEED";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["emulate", directory, seed] => command::with_seed(seed, USAGE, |seed| {
            let emulation = Arc::new(Emulation::build(Path::new(directory), &HEAD_WIDTHS));
            SHAPES.iter().chain(&ADAPTED).for_each(|shape| memory::check(shape, &emulation, seed));
            check(&emulation, seed);
        }),
        ["card", seed] => command::with_seed(seed, USAGE, |seed| match OpenCard::open(0, None) {
            Ok(card) => check(&card, seed),
            Err(fault) => command::skip("no model", (&fault, fault.remedy())),
        }),
        _ => command::fail("nothing to do", USAGE),
    }
}

/// Runs every check of every model, each with numbers of its own.
fn check<M: Machine + 'static>(machine: &Arc<M>, seed: u64) {
    for (index, shape) in SHAPES.iter().chain(&ADAPTED).enumerate() {
        let seed = seed.wrapping_mul(1000).wrapping_add(index as u64);
        let machine: Arc<dyn Machine> = Arc::<M>::clone(machine);
        training::check(shape, &machine, seed);
        sampling::check(shape, &machine, seed);
    }
}
