//! The long forms of the searches for faults whose short forms are among the tests; see docs/reliability.md.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::ValueEnum;

/// A search.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Search {
    /// Kills runs at 100 random moments and lets each go on to its end.
    Kill,
    /// Damages a checkpoint in 1,000 random ways.
    Checkpoints,
    /// All of them.
    All,
}

/// Runs `search` in the repository at `root`.
pub(crate) fn run(root: &Path, search: Search) -> Result<ExitCode> {
    let kill = ["-p", "cli", "--test", "program", "kill::"];
    let checkpoints = ["-p", "rl", "--test", "reliability", "every_flipped_bit"];
    let searches: &[[&str; 5]] = match search {
        Search::Kill => &[kill],
        Search::Checkpoints => &[checkpoints],
        Search::All => &[kill, checkpoints],
    };
    for arguments in searches {
        let mut command = Command::new("cargo");
        command.arg("test").args(arguments).args(["--", "--nocapture"]).env("BREVITY_RELIABILITY", "long");
        if !command.current_dir(root).status().context("cannot start cargo")?.success() {
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}
