//! `brevity convert`: run directories that an older version wrote, made into those of this one.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rl::RlError;

use crate::{Outcome, console::Console, machine};

const EXAMPLES: &str = "\
Examples:
  brevity convert runs/top-lambda-0.2-seed0
  brevity convert runs/*

Conversion is in place; one that was interrupted is begun again by the same command.";

/// Make run directories of older versions readable by this one.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Run directories.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
}

/// Runs `brevity convert`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    for root in &arguments.runs {
        // `runs/*` holds other things, too.
        if arguments.runs.len() > 1 && !root.join("run.json").is_file() {
            machine::refuse_hidden(&root.join("run.json"))?;
            console.warning(format!("{} is no directory of a run, and stays as it is", root.display()));
            continue;
        }
        let Some(unknown) = rl::convert::convert(root, local_model)? else {
            console.note(format!("{} is of this version already", root.display()));
            continue;
        };
        for unknown in unknown {
            console.warning(format!("{}: {unknown}", root.display()));
        }
        console.result(root.display())?;
    }
    Ok(Outcome::Done)
}

/// The starting model where it is a directory; one of the hub is not fetched for a conversion.
fn local_model(path: &str) -> Result<PathBuf, RlError> {
    if Path::new(path).is_dir() {
        return Ok(path.into());
    }
    let message = "is not there, and the run started from it; put it back and convert again".into();
    Err(RlError::File { path: path.into(), message })
}
