//! `brevity demo`: the embedded task from nothing to a report, several runs side by side on the machine's cores.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use record::report::ReportOptions;
use rl::{
    demo::{Demo, SEEDS, START_STEPS, STEPS, arms, notes},
    sft::SftMetrics,
    sweep::SweepRun,
};

use crate::{
    Outcome,
    console::Console,
    machine,
    progress::{Progress, WorkBar},
    sweep::{Floor, STEP_UNITS, conclude},
    table::{counted, labelled},
};

const EXAMPLES: &str = "\
Examples:
  brevity demo
  brevity demo --out ring
  brevity train ring/runs/top-lambda-seed1/config.toml --out again   # the same run, the same bytes

Needs nothing but this program: no network, no data, no model.";

/// Train a small model from nothing under GRPO, a length penalty and GRPO-λ, and compare them on one page.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Directory for everything, new or empty; `demo`, or `demo-2` and so on where that is taken, unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Runs at a time, one core each; all cores unless given.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// Runs `brevity demo`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let root = arguments.out.clone().unwrap_or_else(unused_directory);
    let demo = Demo::prepare(&root)?;
    let runs = demo.runs();
    let jobs = arguments.jobs.map_or_else(machine::cores, NonZeroUsize::get).min(runs.len());
    let units = SEEDS.len() as u64 * START_STEPS + runs.len() as u64 * STEPS * STEP_UNITS;
    for line in labelled(&[
        ("task", "a walk on a ring with a trap door, learnt from nothing".to_owned()),
        ("runs", format!("{} arms × {}, {jobs} at a time", arms().len(), counted(SEEDS.len(), "seed"))),
        ("directory", root.display().to_string()),
    ]) {
        console.note(line);
    }
    let progress = Progress::new(console);
    let told = progress.clone();
    machine::watch_for_stop(move || told.line("stopping; press Ctrl-C again to end at once"))?;
    let began = machine::clock();
    let bar = progress.work(0, units);
    let starts: BTreeMap<u64, Mutex<bool>> = SEEDS.into_iter().map(|seed| (seed, Mutex::new(false))).collect();
    // The first run of a seed makes its start, and the others of that seed wait for it.
    let model = |run: &SweepRun| {
        let seed = run.config.seed;
        let mut made = starts[&seed].lock().unwrap_or_else(PoisonError::into_inner);
        if !*made {
            // A machine that trains several at a time has one thread for each.
            machine::thread_pool(1)?.install(|| make_start(&demo, seed, &bar))?;
            *made = true;
        }
        Ok(demo.start_model(seed).into())
    };
    let waits = |run: &SweepRun| starts[&run.config.seed].try_lock().is_err();
    let open = Floor { runs: &runs, jobs, model: &model, waits: &waits, progress: &progress, bar: &bar }.work();
    drop(bar);
    if machine::stop_requested() {
        console.note(format!("stopped; what was done is in {}", root.display()));
        return Ok(Outcome::Interrupted);
    }
    let options =
        ReportOptions { title: "Shorter answers on a ring with a trap door".into(), notes: notes(), benchmark: None };
    let ended = conclude((&runs, &open), &root, &options, console);
    console.note(format!("{:.0} s", began()));
    ended
}

/// `demo`, or the first of `demo-2`, `demo-3`, … that does not exist.
fn unused_directory() -> PathBuf {
    let names = std::iter::once("demo".to_owned()).chain((2..).map(|number| format!("demo-{number}")));
    names.map(PathBuf::from).find(|path| !path.exists()).unwrap_or_default()
}

/// Makes the supervised start of `seed`, which a stop request ends early.
fn make_start(demo: &Demo, seed: u64, bar: &WorkBar) -> Result<()> {
    let watch = |metrics: &SftMetrics| {
        let step = metrics.step + 1;
        bar.advance(1, format!("start of seed {seed}, step {step}: loss {:.3}", metrics.loss_nats));
        !machine::stop_requested()
    };
    demo.start(seed, watch).with_context(|| format!("start of seed {seed}"))?;
    Ok(())
}
