//! `brevity demo`: the embedded task from nothing to a report, several runs side by side on the machine's cores.

use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context, Result};
use record::{
    RunDirectory,
    report::{ReportOptions, html},
    write,
};
use rl::{
    demo::{Demo, SEEDS, START_STEPS, STEPS, arms, notes},
    shaping::Shaping,
    trainer::{Event, Provenance, Surroundings, Trainer},
};

use crate::{
    Outcome,
    console::Console,
    machine,
    progress::{Progress, WorkBar},
    report::print_arms,
    table::{counted, labelled, percent},
};

const EXAMPLES: &str = "\
Examples:
  brevity demo
  brevity demo --out ring
  brevity train ring/runs/top-lambda-seed1/config.toml --out again   # the same run, the same bytes

Needs nothing but this program: no network, no data, no model.";

/// What a reinforcement-learning step costs in supervised ones; only the time left depends on it.
const STEP_UNITS: u64 = 4;

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
    let jobs = arguments.jobs.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let runs = SEEDS.len() * arms().len();
    let units = SEEDS.len() as u64 * (START_STEPS + arms().len() as u64 * STEPS * STEP_UNITS);
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
    let bar = progress.work(units);
    let floor = Floor { demo: &demo, bar: &bar, queue: Mutex::new(Queue::new()), changed: Condvar::new() };
    thread::scope(|scope| {
        for _ in 0..jobs.min(runs) {
            scope.spawn(|| floor.work());
        }
    });
    let failure = floor.queue.into_inner().unwrap_or_else(PoisonError::into_inner).failure;
    drop(bar);
    if let Some(failure) = failure {
        return Err(failure);
    }
    if machine::stop_requested() {
        console.note(format!("stopped; what was done is in {}", root.display()));
        return Ok(Outcome::Interrupted);
    }
    let page = write_report(&demo, &root, console)?;
    console.result("")?;
    console.result(page.display())?;
    console.note(format!("{:.0} s", began()));
    Ok(Outcome::Done)
}

/// `demo`, or the first of `demo-2`, `demo-3`, … that does not exist.
fn unused_directory() -> PathBuf {
    let names = std::iter::once("demo".to_owned()).chain((2..).map(|number| format!("demo-{number}")));
    names.map(PathBuf::from).find(|path| !path.exists()).unwrap_or_default()
}

fn write_report(demo: &Demo, root: &Path, console: &Console) -> Result<PathBuf> {
    let mut directories = Vec::new();
    for (arm, _) in arms() {
        for seed in SEEDS {
            directories.push(RunDirectory::open(&demo.run(arm, seed))?);
        }
    }
    let options =
        ReportOptions { title: "Shorter answers on a ring with a trap door".into(), notes: notes(), benchmark: None };
    let page = root.join("report.html");
    write::replace(&page, html(&directories, &options)?.as_bytes())?;
    print_arms(&directories, None, console)?;
    Ok(page)
}

/// One thing to do.
enum Job {
    /// The supervised start of a seed.
    Start { seed: u64 },
    /// A run, possible when its seed's start is made.
    Run { arm: &'static str, shaping: Shaping, seed: u64 },
}

/// What is to be done, shared by the workers.
struct Queue {
    waiting: VecDeque<Job>,
    /// Starts under way, which will bring new jobs.
    starting: usize,
    failure: Option<anyhow::Error>,
}

impl Queue {
    fn new() -> Self {
        Self { waiting: SEEDS.iter().map(|&seed| Job::Start { seed }).collect(), starting: 0, failure: None }
    }
}

/// Where the workers work.
struct Floor<'a> {
    demo: &'a Demo,
    bar: &'a WorkBar,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Floor<'_> {
    /// Does one job after the other until none is left, one fails, or someone asks to stop.
    fn work(&self) {
        while let Some(job) = self.next() {
            let outcome = machine::thread_pool(1).and_then(|pool| pool.install(|| self.perform(&job)));
            let mut queue = self.locked();
            if let Err(error) = outcome {
                queue.failure.get_or_insert(error);
            } else if let Job::Start { seed } = job {
                queue.waiting.extend(arms().map(|(arm, shaping)| Job::Run { arm, shaping, seed }));
            }
            if matches!(job, Job::Start { .. }) {
                queue.starting -= 1;
            }
            self.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.locked();
        loop {
            if queue.failure.is_some() || machine::stop_requested() {
                return None;
            }
            if let Some(job) = queue.waiting.pop_front() {
                queue.starting += usize::from(matches!(job, Job::Start { .. }));
                return Some(job);
            }
            if queue.starting == 0 {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A worker that panicked leaves the queue usable: each change to it is complete in itself.
    fn locked(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(&self, job: &Job) -> Result<()> {
        match job {
            Job::Start { seed } => {
                let watch = |metrics: &rl::sft::SftMetrics| {
                    let step = metrics.step + 1;
                    self.bar.advance(1, format!("start of seed {seed}, step {step}: loss {:.3}", metrics.loss_nats));
                    !machine::stop_requested()
                };
                self.demo.start(*seed, watch).with_context(|| format!("start of seed {seed}"))?;
                Ok(())
            }
            Job::Run { arm, shaping, seed } => {
                self.train(arm, shaping.clone(), *seed).with_context(|| format!("{arm}, seed {seed}"))
            }
        }
    }

    fn train(&self, arm: &'static str, shaping: Shaping, seed: u64) -> Result<()> {
        let config = self.demo.run_config(arm, shaping, seed);
        let provenance = Provenance {
            brevity_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_seconds: machine::unix_seconds(),
            memory_bytes_available: machine::memory_bytes_available(),
        };
        let model = self.demo.start_model(seed);
        let mut trainer = Trainer::start(config, &model, &self.demo.run(arm, seed), &provenance)?;
        trainer.run(&mut Surroundings {
            clock: &machine::clock(),
            interrupted: &machine::stop_requested,
            watch: &mut |event| {
                if let Event::StepEnded(metrics) = event {
                    let (step, tokens) = (metrics.step + 1, metrics.completion_tokens.mean);
                    let accuracy = percent(metrics.correctness_ratio);
                    let message = format!("{arm}, seed {seed}, step {step}: accuracy {accuracy}, tokens {tokens:.1}");
                    self.bar.advance(STEP_UNITS, message);
                }
            },
        })?;
        Ok(())
    }
}
