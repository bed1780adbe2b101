//! `brevity sweep`: every arm of a comparison under every seed, then a table and a page. What a sweep is, is `rl`'s.

mod floor;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use model::ModelPlace;
use record::{
    RunDirectory, RunLock,
    report::{ReportOptions, html},
    write,
};
use rl::sweep::{Standing, Sweep, SweepRun};

pub(crate) use floor::{Floor, Open, STEP_UNITS};

use crate::{
    Outcome,
    console::Console,
    hub, machine,
    progress::Progress,
    report::print_arms,
    table::{counted, labelled},
};

const EXAMPLES: &str = "\
Examples:
  brevity sweep configs/sweep-ring.toml
  brevity sweep configs/sweep-ring.toml --jobs 2 --set train.steps=20 --out sweeps/short
  brevity sweep configs/sweep-ring.toml --check
  brevity report sweeps/sweep-ring -o report.html

A sweep names a config of `brevity train`, seeds, and arms with what each changes in it:

  base = \"configs/ring.toml\"
  seeds = [1, 2, 3]

  [[arms]]
  name = \"grpo\"
  set.train.shaping.grpo = {}

  [[arms]]
  name = \"top-lambda-0.5\"
  set.train.shaping.top-lambda.lambda = 0.5

`{seed}` in the base config's paths of model and problems stands for the seed of the run.
Ctrl-C lets the present steps end, with checkpoints; the same command goes on. Runs that are finished are kept.
docs/sweep.md has the rest.";

/// Train every arm of a comparison under every seed, and draw the report.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Base config, seeds and arms, a TOML file.
    #[arg(value_name = "SWEEP")]
    path: PathBuf,
    /// Directory of the run directories and the report; `sweeps/NAME` after the file unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at a time; with more than one, each has one thread.
    #[arg(long, value_name = "N", default_value = "1")]
    jobs: NonZeroUsize,
    /// Change a setting of the base config, before the arms change theirs; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Check the config of every run, say how far each has come, and stop.
    #[arg(long)]
    check: bool,
}

/// Runs `brevity sweep`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let Arguments { path, overrides, check, .. } = arguments;
    let stem = path.file_stem().unwrap_or_default();
    let out = arguments.out.clone().unwrap_or_else(|| Path::new("sweeps").join(stem));
    let runs = Sweep::read(path)?.runs(&out, overrides)?;
    let standings = runs.iter().map(SweepRun::standing).collect::<Result<Vec<_>, _>>()?;
    if *check {
        return show_standings(&runs, &standings, console);
    }
    let models = models(&runs, console)?;
    refuse_changed(&runs, &standings, &models)?;
    write::create_directory(&out)?;
    let _lock = RunLock::take(&out)?;
    let jobs = arguments.jobs.get().min(runs.len());
    describe(&runs, &standings, (&out, jobs), console);
    if let Some(run) = runs.iter().find(|run| run.config.device.card().is_some()) {
        machine::warn_of_card(run.config.device, console);
    }
    let progress = Progress::new(console);
    let told = progress.clone();
    machine::watch_for_stop(move || {
        told.line("stopping after the present steps; press Ctrl-C again to end at once");
    })?;
    let began = machine::clock();
    let made = |(run, standing): (&SweepRun, &Standing)| floor::steps_made(run, *standing);
    let done = runs.iter().zip(&standings).map(made).sum::<u64>();
    let all = runs.iter().map(|run| run.config.train.steps).sum::<u64>();
    let bar = progress.work(done * STEP_UNITS, all * STEP_UNITS);
    let model = |run: &SweepRun| Ok(models[&run.config.model.path].clone());
    let open = Floor { runs: &runs, jobs, model: &model, waits: &|_| false, progress: &progress, bar: &bar }.work();
    drop(bar);
    if machine::stop_requested() {
        console.note("stopped; the same command goes on");
        return Ok(Outcome::Interrupted);
    }
    let options =
        ReportOptions { title: format!("Sweep {}", stem.to_string_lossy()), notes: Vec::new(), benchmark: None };
    let ended = conclude((&runs, &open), &out, &options, console);
    console.note(format!("{:.0} s", began()));
    ended
}

/// The place of every model that a run starts from, downloaded where it is a hub name.
fn models(runs: &[SweepRun], console: &Console) -> Result<BTreeMap<String, ModelPlace>> {
    let mut models = BTreeMap::new();
    for run in runs {
        let name = &run.config.model.path;
        if !models.contains_key(name) {
            let place = hub::model_place(name, console).with_context(|| format!("model of {}", run.name()))?;
            models.insert(name.clone(), place);
        }
    }
    Ok(models)
}

/// Refuses to make runs beside finished ones that began with other files.
fn refuse_changed(runs: &[SweepRun], standings: &[Standing], models: &BTreeMap<String, ModelPlace>) -> Result<()> {
    if standings.iter().all(|standing| *standing == Standing::Finished) {
        return Ok(());
    }
    let mut known = BTreeMap::new();
    let finished = runs.iter().zip(standings).filter(|(_, standing)| **standing == Standing::Finished);
    finished.into_iter().try_for_each(|(run, _)| Ok(run.refuse_changed(&models[&run.config.model.path], &mut known)?))
}

fn show_standings(runs: &[SweepRun], standings: &[Standing], console: &Console) -> Result<Outcome> {
    let row = |(run, standing): (&SweepRun, &Standing)| {
        let steps = counted(run.config.train.steps as usize, "step");
        let stands = match standing {
            Standing::New => format!("{steps} to do"),
            Standing::Unfinished { step } => format!("{step} of {steps} done"),
            Standing::Finished => format!("{steps}, finished"),
        };
        (run.config.directory_name(), stands)
    };
    let rows: Vec<(String, String)> = runs.iter().zip(standings).map(row).collect();
    let rows: Vec<(&str, String)> = rows.iter().map(|(name, stands)| (name.as_str(), stands.clone())).collect();
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))?;
    Ok(Outcome::Done)
}

fn describe(runs: &[SweepRun], standings: &[Standing], (out, jobs): (&Path, usize), console: &Console) {
    let mut arms: Vec<&str> = runs.iter().map(|run| run.config.arm()).collect();
    arms.dedup();
    let finished = standings.iter().filter(|standing| **standing == Standing::Finished).count();
    let begun = standings.iter().filter(|standing| matches!(standing, Standing::Unfinished { .. })).count();
    let (seeds, arms_counted) = (counted(runs.len() / arms.len(), "seed"), counted(arms.len(), "arm"));
    let mut rows = vec![
        ("arms", arms.join(", ")),
        ("runs", format!("{arms_counted} × {seeds}, {jobs} at a time")),
        ("directory", out.display().to_string()),
    ];
    if finished + begun > 0 {
        rows.push(("there", format!("{finished} finished, {begun} to go on with")));
    }
    for line in labelled(&rows) {
        console.note(line);
    }
}

/// The page of the runs there are, and their table, then the names of those that are not finished; fails when a run has.
pub(crate) fn conclude(
    (runs, open): (&[SweepRun], &Open),
    out: &Path,
    options: &ReportOptions,
    console: &Console,
) -> Result<Outcome> {
    let begun = runs.iter().filter(|run| run.root.join("run.json").is_file());
    let directories = begun.map(|run| RunDirectory::open(&run.root)).collect::<Result<Vec<_>, _>>()?;
    if !directories.is_empty() {
        let page = out.join("report.html");
        write::replace(&page, html(&directories, options)?.as_bytes())?;
        print_arms(&directories, None, console)?;
        console.result("")?;
        console.result(page.display())?;
    }
    let (Open { failed, warned }, all) = (open, counted(runs.len(), "run"));
    if !warned.is_empty() {
        let (count, names) = (warned.len(), warned.join("; "));
        console.warning(format!("{count} of {all} stopped because of the risk of a collapse: {names}"));
        console.note("the same command goes on with them all the same");
    }
    if !failed.is_empty() {
        let (count, names) = (failed.len(), failed.join("; "));
        bail!("{count} of {all} failed: {names}; mend the cause and run the same command again");
    }
    Ok(if warned.is_empty() { Outcome::Done } else { Outcome::Warned })
}
