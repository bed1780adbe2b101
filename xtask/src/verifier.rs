//! The gates of the verifier that need files from outside the repository. What is judged and how is the example
//! `gates` of the crate `verify`; here the files are fetched and the commands put together.

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::{
    ci::Outcome,
    programs::{build_outputs, succeeds},
};

/// Math-Verify's pairs on which we disagree, and why.
const REASONS: &str = "crates/verify/tests/math_verify_reasons.txt";

/// A gate, or a measurement, of the verifier.
#[derive(Subcommand)]
pub(crate) enum Gate {
    /// Fetches Math-Verify's tests from PyPI and runs the verifier on their gold/prediction pairs.
    Pairs,
    /// Checks every gold of the data sets against itself, its solution and perturbed copies.
    Golds {
        /// Directory with the data sets as `SET/FILE.jsonl`.
        problems: PathBuf,
    },
    /// Times the checks of all solutions of the data sets.
    Speed {
        /// Directory with the data sets as `SET/FILE.jsonl`.
        problems: PathBuf,
    },
    /// Runs Math-Verify beside the verifier on its pairs, the table of cases and a sample of the data sets.
    Differential {
        /// Python with `math-verify[antlr4-13-2]==0.9.0` installed.
        #[arg(long)]
        python: PathBuf,
        /// Directory with the data sets as `SET/FILE.jsonl`.
        problems: PathBuf,
        /// Pairs drawn from the data sets.
        #[arg(long, default_value_t = 4000)]
        sample: usize,
    },
}

/// Runs a gate on the repository at `root`.
pub(crate) fn run(root: &Path, gate: &Gate) -> Result<ExitCode> {
    let holds = match gate {
        Gate::Pairs => judge_pairs(root)?,
        Gate::Golds { problems } => {
            let mut gates = gates(root, &["--release"]);
            succeeds(gates.arg("golds").arg(absolute(problems)?).arg("crates/verify/tests/gold_reasons.txt"))?
        }
        Gate::Speed { problems } => succeeds(gates(root, &["--release"]).arg("speed").arg(absolute(problems)?))?,
        Gate::Differential { python, problems, sample } => {
            fetch_pairs(root)?;
            let mut script = Command::new(absolute(python)?);
            script.arg("scripts/verify/differential.py").arg(directory(root)).arg(absolute(problems)?);
            succeeds(script.arg(sample.to_string()).current_dir(root))?
        }
    };
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The part of `cargo xtask ci` that runs the verifier on Math-Verify's pairs.
pub(crate) fn pairs(root: &Path) -> Result<Outcome> {
    if !judge_pairs(root)? {
        bail!("the verifier disagrees with Math-Verify's pairs otherwise than {REASONS} says");
    }
    Ok(Outcome::PASSED)
}

fn judge_pairs(root: &Path) -> Result<bool> {
    fetch_pairs(root)?;
    // Without `--release`: the tests have built the verifier, optimised, for the same profile.
    let pairs = directory(root).join("pairs.jsonl");
    succeeds(gates(root, &[]).arg("pairs").arg(pairs).arg(REASONS))
}

/// Fetches the pairs, where they are not there yet.
fn fetch_pairs(root: &Path) -> Result<()> {
    let script = "scripts/verify/math_verify_pairs.py";
    let mut command = Command::new("python3");
    command.arg(script).arg(directory(root)).current_dir(root);
    let status = command.status().context("cannot start python3; install Python 3.11 or later with pip")?;
    if !status.success() {
        bail!("the pairs of Math-Verify's tests are missing: {script} says why");
    }
    Ok(())
}

/// Where fetched and grown files lie: below the folder of build outputs, which git ignores.
fn directory(root: &Path) -> PathBuf {
    build_outputs(root).join("verify")
}

/// The example that judges, with what follows `--` still to be added.
fn gates(root: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(["run", "--quiet", "--package", "verify", "--example", "gates"]).args(options).arg("--");
    command.current_dir(root);
    command
}

/// A path that means the same in the root of the repository as where the command was typed.
fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot tell where {} is", path.display()))
}
