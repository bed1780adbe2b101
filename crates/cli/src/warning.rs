//! `brevity warning`: the model that warns of collapses fitted on finished runs, and tried on others. The model is `rl`'s.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;
use record::{RunDirectory, write};
use rl::{
    statistics::wilson_interval,
    warning::{Course, FitSettings, LEAD_STEPS_MIN, Trial, TrialSummary, Weights, fit, thresholds},
};

use crate::{
    Outcome,
    console::Console,
    output::refuse_unlike,
    report::expanded,
    table::{aligned, counted, percent},
};

const EXAMPLES: &str = "\
Examples:
  brevity warning fit sweeps/ring/*-seed[1-5] --out weights.toml
  brevity warning test sweeps/ring/*-seed[6-9] --weights weights.toml
  brevity train config.toml --set train.warning.weights=weights.toml

Runs must be over, and have been evaluated on held-out problems while they were trained.
What the model is and how well it warns is in docs/warning.md.";

/// Fit the model that warns of collapses on finished runs, or try it on others.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Fit(FitArguments),
    Test(TestArguments),
}

/// Fit a model on runs, and choose the risk from which on it warns.
///
/// What is printed is each run's course by a model that was fitted without the runs of its start.
#[derive(Debug, clap::Args)]
struct FitArguments {
    /// Run directories, or directories that hold run directories.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// The file of weights to write.
    #[arg(long, short, value_name = "FILE")]
    out: PathBuf,
    /// The risk is that of a collapse within this many steps.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    horizon_steps: u64,
    /// Ridge that holds the weights back; above 0.
    #[arg(long, value_name = "X", default_value_t = 1.0, value_parser = positive_number)]
    ridge: f64,
    /// What the file says of where it is from, after the number of runs and of collapses.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

/// Try a model on runs: when it warns, how long before a collapse, and how often it warns when no collapse follows.
#[derive(Debug, clap::Args)]
struct TestArguments {
    /// Run directories, or directories that hold run directories.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// What `brevity warning fit` wrote; the program's own weights unless given.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Warn from this risk on; that of the weights unless given.
    #[arg(long, value_name = "X", value_parser = risk)]
    risk_max: Option<f64>,
}

fn positive_number(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if number > 0.0 && number.is_finite() { Ok(number) } else { Err(format!("{number} is not above 0")) }
}

fn risk(text: &str) -> Result<f64, String> {
    positive_number(text).and_then(|risk| if risk <= 1.0 { Ok(risk) } else { Err(format!("{risk} is above 1")) })
}

/// Runs `brevity warning`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    match &arguments.command {
        Command::Fit(arguments) => run_fit(arguments, console),
        Command::Test(arguments) => run_test(arguments, console),
    }
}

fn courses(paths: &[PathBuf]) -> Result<Vec<Course>> {
    let mut courses = Vec::new();
    for path in paths {
        for run in expanded(path)? {
            courses.push(Course::read(&RunDirectory::open(&run)?)?);
        }
    }
    Ok(courses)
}

fn run_fit(arguments: &FitArguments, console: &Console) -> Result<Outcome> {
    let out = &arguments.out;
    refuse_unlike(out, b"fitted_on = ", "weights")?;
    let courses = courses(&arguments.runs)?;
    let collapses = courses.iter().filter(|course| course.collapse_step.is_some()).count();
    let from = format!("{}, {} of which collapsed", counted(courses.len(), "run"), collapses);
    let fitted_on = arguments.note.as_ref().map_or_else(|| from.clone(), |note| format!("{from}: {note}"));
    let FitArguments { horizon_steps, ridge, .. } = *arguments;
    let fitted = fit(&courses, &FitSettings { horizon_steps, ridge, fitted_on })?;
    write::output(out, fitted.weights.to_toml().as_bytes())?;
    show(&fitted.left_out, fitted.weights.risk_max, console)?;
    console.result("")?;
    console.result(out.display())?;
    Ok(Outcome::Done)
}

fn run_test(arguments: &TestArguments, console: &Console) -> Result<Outcome> {
    let weights = arguments.weights.as_ref().map_or_else(|| Ok(Weights::own()), |path| Weights::read(path))?;
    console.note(format!("weights fitted on {}", weights.fitted_on));
    let trials: Vec<Trial> = courses(&arguments.runs)?.into_iter().map(|one| Trial::new(one, &weights)).collect();
    show(&trials, arguments.risk_max.unwrap_or(weights.risk_max), console)?;
    Ok(Outcome::Done)
}

/// The runs one by one, what the threshold makes of them, and what others would.
fn show(trials: &[Trial], risk_max: f64, console: &Console) -> Result<()> {
    let mut rows = vec![["run", "collapsed", "warned", "steps ahead", "highest risk"].map(str::to_owned).to_vec()];
    rows.extend(trials.iter().map(|trial| course_row(trial, risk_max)));
    aligned(&rows).into_iter().try_for_each(|line| console.result(line))?;
    console.result("")?;
    said(&TrialSummary::new(trials, risk_max)).into_iter().try_for_each(|line| console.result(line))?;
    console.result("")?;
    let heading = ["risk", "warned in time", "of those with time", "steps ahead, median", "false alarms"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(thresholds(trials).into_iter().map(|risk_max| threshold_row(&TrialSummary::new(trials, risk_max))));
    aligned(&rows).into_iter().try_for_each(|line| console.result(line))
}

fn course_row(trial: &Trial, risk_max: f64) -> Vec<String> {
    let steps = |steps: Option<u64>| steps.map_or_else(|| "–".to_owned(), |steps| steps.to_string());
    let highest = trial.risks.iter().map(|(_, risk)| *risk).max_by(f64::total_cmp);
    vec![
        trial.course.name.clone(),
        steps(trial.course.collapse_step),
        steps(trial.first_warning(risk_max)),
        steps(trial.lead_steps(risk_max)),
        highest.map_or_else(|| "–".to_owned(), |risk| format!("{risk:.3}")),
    ]
}

/// `warned 10 steps ahead or more   8 of 10 collapses, 80.0 % (49.0 to 94.3)`.
fn said(summary: &TrialSummary) -> Vec<String> {
    let TrialSummary { collapses, collapses_with_time, warned_in_time, stable, false_alarms, .. } = *summary;
    let mut lines = vec![format!("warned from a risk of {:.3} on", summary.risk_max)];
    let ahead = format!("warned {LEAD_STEPS_MIN} steps ahead or more");
    for (what, count, of, whole) in [
        (ahead.as_str(), warned_in_time, collapses, "collapses"),
        (ahead.as_str(), warned_in_time, collapses_with_time, "collapses that leave time for it"),
        ("false alarms", false_alarms, stable, "runs that did not collapse"),
    ] {
        lines.push(format!("{what}: {count} of {of} {whole}{}", share_said(count, of)));
    }
    lines
}

/// `, 80.0 % (49.0 % to 94.3 %)`: the share with its 95 % Wilson interval; nothing of nothing.
fn share_said(count: usize, of: usize) -> String {
    if of == 0 {
        return String::new();
    }
    let share = count as f64 / of as f64;
    let interval = wilson_interval(share, of);
    format!(", {} ({} to {})", percent(share), percent(interval.low), percent(interval.high))
}

fn threshold_row(summary: &TrialSummary) -> Vec<String> {
    let TrialSummary { collapses, collapses_with_time, warned_in_time, stable, false_alarms, .. } = *summary;
    vec![
        format!("{:.3}", summary.risk_max),
        format!("{warned_in_time} of {collapses}"),
        format!("{warned_in_time} of {collapses_with_time}"),
        summary.lead_steps_median.map_or_else(|| "–".to_owned(), |lead| format!("{lead:.0}")),
        format!("{false_alarms} of {stable}"),
    ]
}
