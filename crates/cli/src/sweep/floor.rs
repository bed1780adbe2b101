//! The runs of a comparison, one after another or several at a time. What they are is `rl`'s; where their models come
//! from, the caller says.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::Result;
use model::ModelPlace;
use rl::{
    sweep::{Standing, SweepRun},
    trainer::{Event, Provenance, Surroundings},
};

use crate::{
    machine,
    progress::{Progress, WorkBar},
    table::percent,
    train::{collapse_said, warning_said},
};

/// What a step counts for in the progress of all runs: about what it costs in supervised steps, which only the time left
/// depends on.
pub(crate) const STEP_UNITS: u64 = 4;

/// Where the runs are made.
pub(crate) struct Floor<'a> {
    /// All runs, in the order in which they begin unless one waits for its model.
    pub(crate) runs: &'a [SweepRun],
    /// Runs at a time. Each has one thread where there are several, and its share of the memory.
    pub(crate) jobs: usize,
    /// The model that a run starts from, made or found when the run begins.
    pub(crate) model: &'a (dyn Fn(&SweepRun) -> Result<ModelPlace> + Sync),
    /// Whether a run would wait for its model, because another one makes it now; runs that would not go first.
    pub(crate) waits: &'a (dyn Fn(&SweepRun) -> bool + Sync),
    /// Told of what stays on the screen.
    pub(crate) progress: &'a Progress,
    /// Moved on by [`STEP_UNITS`] a step.
    pub(crate) bar: &'a WorkBar,
}

impl Floor<'_> {
    /// Makes every run that is not finished, until someone asks to stop. A run that fails is told of at once, and the
    /// others go on; returns the names of those that failed.
    pub(crate) fn work(&self) -> Vec<String> {
        let left = Mutex::new(self.runs.iter().collect::<Vec<_>>());
        let failed = Mutex::new(Vec::new());
        let work = |run: &SweepRun| {
            if let Err(error) = self.train(run) {
                self.progress.line(&format!("{} failed: {error:#}", run.name()));
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(run.name());
            }
        };
        let next = || {
            let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
            if left.is_empty() || machine::stop_requested() {
                return None;
            }
            let ready = left.iter().position(|run| !(self.waits)(run)).unwrap_or(0);
            Some(left.remove(ready))
        };
        let worker = || std::iter::from_fn(next).for_each(work);
        thread::scope(|scope| (0..self.jobs).for_each(|_| drop(scope.spawn(worker))));
        failed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn train(&self, run: &SweepRun) -> Result<()> {
        if run.standing()? == Standing::Finished {
            return Ok(());
        }
        let model = (self.model)(run)?;
        if machine::stop_requested() {
            return Ok(());
        }
        let provenance = Provenance {
            brevity_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_seconds: machine::unix_seconds(),
            resources: machine::resources(run.config.device, self.jobs)?,
        };
        let threads = if self.jobs > 1 { 1 } else { run.config.threads };
        let pool = machine::thread_pool(threads)?;
        let train = || {
            let mut trainer = run.trainer(&model, &provenance)?;
            trainer.run(&mut Surroundings {
                clock: &machine::clock(),
                interrupted: &machine::stop_requested,
                watch: &mut |event| self.show(run, &event),
            })?;
            Ok(())
        };
        machine::with_card(|| pool.install(train))
    }

    fn show(&self, run: &SweepRun, event: &Event<'_>) {
        if let Event::EvaluationEnded(summary) = event {
            let is_first = summary.decline.is_some_and(|decline| decline.collapse_step == Some(summary.step));
            if let Some(said) = collapse_said(summary.decline.as_ref()).filter(|_| is_first) {
                self.progress.line(&format!("{}, step {}: {said}", run.name(), summary.step));
            }
        }
        if let Event::Warned(warning) = event {
            self.progress.line(&format!("{}, {}", run.name(), warning_said(warning)));
        }
        if let Event::StepEnded(metrics) = event {
            let (step, steps) = (metrics.step + 1, run.config.train.steps);
            let (accuracy, tokens) = (percent(metrics.correctness_ratio), metrics.completion_tokens.mean);
            let message = format!("{}, step {step} of {steps}: accuracy {accuracy}, tokens {tokens:.1}", run.name());
            self.bar.advance(STEP_UNITS, message);
        }
    }
}
