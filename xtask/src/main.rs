//! The repository's own chores, run as `cargo xtask <command>`. Not part of what users install.
#![expect(clippy::print_stdout, reason = "a developer's tool talks through its output")]

mod bench;
mod ci;
mod cuda;
mod documents;
mod fuzz;
mod golden;
mod programs;
mod python;
mod reliability;
mod results;
mod supply;
mod tidy;
mod verifier;

use std::{path::Path, process::ExitCode};

use anyhow::{Context, Result};
use clap::Parser;

/// The repository's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Runs everything that a change must pass, and stops at the first failure.
    Ci,
    /// Checks what the compiler does not: lengths, headers, imports, words, dependencies, configs, generated documents.
    Tidy,
    /// Writes the generated documents anew.
    Docs,
    /// Runs `brevity` end to end at tiny size and compares what it leaves with the recorded digests.
    Golden,
    /// Times the engine, the peers and the machine's limits, row by row, and prints one table.
    Bench(bench::Options),
    /// Checks where dependencies come from, their licences, and that none fetches anything while it is built.
    Supply,
    /// Checks the kernels for NVIDIA's cards: compiles them, and runs them in an emulation, and on a card where there is one.
    Cuda(cuda::Options),
    /// Fuzzes the readers and the verifier with `cargo fuzz`, an hour each unless told otherwise.
    Fuzz(fuzz::Options),
    /// Runs the long form of a search for faults, or of all.
    Reliability {
        #[command(subcommand)]
        search: Option<reliability::Search>,
    },
    /// Builds the wheel of the Python package, installs it into a fresh environment and tests it there.
    Python(python::Options),
    /// Draws the tables and figures of docs/results.md from the runs stored beside it.
    #[command(subcommand)]
    Results(results::Task),
    /// Runs the gates of the verifier that need files from outside the repository.
    #[command(subcommand)]
    Verifier(verifier::Gate),
}

fn main() -> Result<ExitCode> {
    let command = Command::parse();
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent directory")?;
    // Where it was brought from another machine, it is run in the repository.
    let root = if built_in.is_dir() { built_in } else { Path::new(".") };
    match command {
        Command::Ci => Ok(ci::run(root)),
        Command::Tidy => {
            let findings = tidy::report(root)?;
            Ok(if findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Command::Docs => documents::write_all(root).map(|()| ExitCode::SUCCESS),
        Command::Golden => {
            let outcome = golden::golden(root)?;
            println!("golden run: {outcome}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Supply => supply::check(root).map(|_| ExitCode::SUCCESS),
        Command::Cuda(options) => cuda::run(root, &options),
        Command::Fuzz(options) => fuzz::fuzz(root, &options),
        Command::Reliability { search } => reliability::run(root, search),
        Command::Python(options) => python::run(root, &options),
        Command::Results(task) => results::run(root, &task).map(|()| ExitCode::SUCCESS),
        Command::Verifier(gate) => verifier::run(root, &gate),
        Command::Bench(options) => bench::run(root, &options).map(|()| ExitCode::SUCCESS),
    }
}
