//! `brevity report`: run directories to one HTML page. What the page holds is `record`'s.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use record::{
    RunDirectory,
    report::{ArmOutcome, ArmRow, Change, Estimate, ReportOptions, Source, arm_table, arm_table_on, html},
    write,
};

use crate::{
    Outcome,
    console::Console,
    machine,
    output::refuse_unlike,
    table::{aligned, counted},
};

const EXAMPLES: &str = "\
Examples:
  brevity report runs/top-lambda-0.2-seed0
  brevity report runs -o report.html --title \"GRPO-λ on the ring\"
  brevity report runs/grpo-seed0 runs/top-lambda-0.2-seed0 --benchmark gsm8k

Runs that are still going can be reported on. Runs of one arm with different seeds are put together.";

/// Draw one HTML page from runs, and a table of their arms.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Run directories, or directories that hold run directories.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The page to write.
    #[arg(long, short, value_name = "FILE", default_value = "report.html")]
    out: PathBuf,
    /// Heading of the page.
    #[arg(long, value_name = "TEXT", default_value = "Training runs")]
    title: String,
    /// Benchmark to report on; the one that most runs were evaluated on unless given.
    #[arg(long, value_name = "NAME")]
    benchmark: Option<String>,
}

/// Runs `brevity report`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let Arguments { runs, out, title, benchmark } = arguments;
    refuse_no_page(out)?;
    let mut directories = Vec::new();
    for path in runs {
        for run in expanded(path)? {
            directories.push(RunDirectory::open(&run)?);
        }
    }
    let options = ReportOptions { title: title.clone(), notes: Vec::new(), benchmark: benchmark.clone() };
    let page = html(&directories, &options)?;
    write::output(out, page.as_bytes())?;
    print_arms(&directories, benchmark.as_deref(), console)?;
    console.result("")?;
    console.result(out.display())?;
    Ok(Outcome::Done)
}

/// Refuses to write a page in place of something else than a page.
pub(crate) fn refuse_no_page(out: &Path) -> Result<()> {
    refuse_unlike(out, b"<!doctype html>", "page")
}

/// The table of arms, and a warning when some run is still going.
pub(crate) fn print_arms(runs: &[RunDirectory], benchmark: Option<&str>, console: &Console) -> Result<()> {
    let arms = match benchmark {
        Some(benchmark) => arm_table_on(runs, benchmark)?,
        None => arm_table(runs)?,
    };
    aligned(&rows(&arms)).into_iter().try_for_each(|line| console.result(line))?;
    let unfinished = arms.iter().map(|arm| arm.unfinished).sum::<usize>();
    if unfinished > 0 {
        console.warning(format!(
            "{} not finished: start and end are not those of the whole run",
            counted(unfinished, "run")
        ));
    }
    Ok(())
}

/// `path` itself when it is a run directory, otherwise the run directories in it, by name.
pub(crate) fn expanded(path: &Path) -> Result<Vec<PathBuf>> {
    let is_run = |path: &Path| path.join("run.json").is_file();
    if is_run(path) {
        return Ok(vec![path.to_owned()]);
    }
    let shown = path.display();
    if !path.is_dir() {
        bail!("there is no directory `{shown}`; give a run directory, or one that holds run directories");
    }
    let mut runs = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot list {shown}"))? {
        let entry = entry.with_context(|| format!("cannot list {shown}"))?.path();
        // One that may not be entered would be left out of the numbers.
        machine::refuse_hidden(&entry.join("run.json"))?;
        runs.extend(is_run(&entry).then_some(entry));
    }
    runs.sort();
    if runs.is_empty() {
        bail!("there is no run.json in `{shown}` or in a directory in it; give a directory that `brevity train` made");
    }
    Ok(runs)
}

fn rows(arms: &[ArmRow]) -> Vec<Vec<String>> {
    let mut rows = vec![["arm", "seeds", "steps", "accuracy, %", "completion tokens"].map(str::to_owned).to_vec()];
    let is_followed = arms.iter().any(|arm| arm.followed > 0);
    rows[0].extend(is_followed.then(|| "collapsed".to_owned()));
    rows.extend(arms.iter().map(|arm| {
        let steps = if arm.steps_min == arm.steps_max {
            arm.steps_max.to_string()
        } else {
            format!("{}–{}", arm.steps_min, arm.steps_max)
        };
        let mut row = vec![arm.arm.clone(), arm.seeds.to_string(), steps];
        row.extend(arm.outcome.as_ref().map_or(["–".to_owned(), "–".to_owned()], measures));
        row.extend(is_followed.then(|| format!("{} of {}", arm.collapsed, arm.followed)));
        row
    }));
    rows
}

/// Accuracy and length from start to end; those of training rollouts are marked.
fn measures(outcome: &ArmOutcome) -> [String; 2] {
    let mark = match outcome.source {
        Source::Evaluation => "",
        Source::Training => " (training)",
    };
    [change(&outcome.accuracy, 100.0) + mark, change(&outcome.completion_tokens, 1.0)]
}

/// `12.5 → 40.1 ± 1.2`.
fn change(change: &Change, scale: f64) -> String {
    let Estimate { mean, error } = change.end;
    let error = error.map_or(String::new(), |(error, _)| format!(" ± {:.1}", error * scale));
    format!("{:.1} → {:.1}{error}", change.start.mean * scale, mean * scale)
}
