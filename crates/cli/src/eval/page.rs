//! `brevity eval page`: the page of an evaluation that was measured before. What the page holds is `record`'s.

use std::path::PathBuf;

use anyhow::Result;
use record::{EvaluationDirectory, report::evaluation_page, write};

use crate::{Outcome, console::Console, report::refuse_no_page};

const EXAMPLES: &str = "\
Examples:
  brevity eval page evals/Qwen3-0.6B-gsm8k-seed0
  brevity eval page evals/Qwen3-0.6B-gsm8k-seed0 -o gsm8k.html

`brevity eval` writes the same page when it ends.";

/// Draw the page of an evaluation anew: its numbers, and every problem with its completions and verdicts.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Directory of the evaluation.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The page to write; `evaluation.html` in the directory unless given.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs `brevity eval page`.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let directory = EvaluationDirectory::open(&arguments.directory)?;
    let out = arguments.out.clone().unwrap_or_else(|| directory.page_path());
    refuse_no_page(&out)?;
    let page = evaluation_page(&directory.header()?, &directory.summary()?, &directory.records()?);
    write::output(&out, page.as_bytes())?;
    console.result(out.display())?;
    Ok(Outcome::Done)
}
