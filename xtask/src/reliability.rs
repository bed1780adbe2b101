//! The long forms of the searches for faults whose short forms are among the tests; see docs/reliability.md.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::ci;

/// A search.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Search {
    /// Kills runs at 100 random moments, and runs, evaluations and sweeps before each change of a file, and lets each go
    /// on to its end.
    Kill,
    /// Damages a checkpoint in 1,000 random ways.
    Checkpoints,
    /// Compares the memory that runs plan for with what they take.
    Memory {
        /// Measures a run from this model directory too.
        #[arg(long, value_name = "DIR")]
        model: Option<PathBuf>,
    },
    /// Trains on the embedded task for long, and looks whether memory or the time of a step grows.
    Long {
        /// How long.
        #[arg(long, default_value_t = 7200)]
        seconds: u64,
    },
}

/// Runs `search`, or all of them, in the repository at `root`.
pub(crate) fn run(root: &Path, search: Option<Search>) -> Result<ExitCode> {
    let all = [Search::Kill, Search::Checkpoints, Search::Memory { model: None }, Search::Long { seconds: 7200 }];
    let searches = search.map_or_else(|| all.to_vec(), |one| vec![one]);
    for search in &searches {
        if ci::run_tests(command(search)?.current_dir(root))?.has_failed() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The test that is the search, told to take its long form.
fn command(search: &Search) -> Result<Command> {
    let (package, target, test) = match search {
        Search::Kill => ("cli", "program", "kill::"),
        Search::Memory { .. } => ("cli", "program", "memory::"),
        Search::Long { .. } => ("cli", "program", "long::"),
        Search::Checkpoints => ("rl", "reliability", "every_flipped_bit"),
    };
    let mut command = Command::new("cargo");
    command.args(["test", "-p", package, "--test", target, test, "--", "--nocapture"]);
    command.env("BREVITY_RELIABILITY", "long");
    if let Search::Memory { model: Some(model) } = search {
        let model = std::path::absolute(model).with_context(|| format!("cannot tell where {} is", model.display()))?;
        command.env("BREVITY_RELIABILITY_MODEL", model);
    }
    if let Search::Long { seconds } = search {
        command.env("BREVITY_RELIABILITY_SECONDS", seconds.to_string());
    }
    Ok(command)
}
