//! The runs of a comparison, one after another or several at a time. What they are is `rl`'s; where their models come
//! from, the caller says.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::Result;
use model::ModelPlace;
use record::FaultOutcome;
use rl::{
    inputs::other_surroundings,
    sweep::{Standing, SweepRun},
    trainer::{Ending, Event, Provenance, Surroundings},
};

use crate::{
    machine,
    progress::{Progress, WorkBar},
    table::percent,
    train::{collapse_said, settled, warning_said},
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

/// What came of the runs that are not finished and were not interrupted, by name.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Those that failed.
    pub(crate) failed: Vec<String>,
    /// Those that the risk of a collapse stopped.
    pub(crate) warned: Vec<String>,
}

/// Steps of a run that need not be made.
pub(super) fn steps_made(run: &SweepRun, standing: Standing) -> u64 {
    match standing {
        Standing::New => 0,
        Standing::Unfinished { step } => step,
        Standing::Finished => run.config.train.steps,
    }
}

impl Floor<'_> {
    /// Makes every run that is not finished, until someone asks to stop. A run that fails is told of at once, and the
    /// others go on.
    pub(crate) fn work(&self) -> Open {
        let left = Mutex::new(self.runs.iter().collect::<Vec<_>>());
        let open = Mutex::new(Open::default());
        // Before the first run takes any of it.
        let share_bytes = machine::memory_bytes_available().map(|bytes| bytes / self.jobs as u64);
        let work = |run: &SweepRun| {
            let trained = self.train(run, share_bytes);
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            match trained {
                Ok(Some(Ending::Warned { .. })) => open.warned.push(run.name()),
                Ok(Some(Ending::Finished(_) | Ending::Interrupted { .. }) | None) => {}
                Err(error) => {
                    self.progress.line(&format!("{} failed: {error:#}", run.name()));
                    open.failed.push(run.name());
                }
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
        open.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes `run` within `share_bytes` of memory, where known, and returns how it ended; nothing of one that is finished or was not begun.
    fn train(&self, run: &SweepRun, share_bytes: Option<u64>) -> Result<Option<Ending>> {
        let standing = run.standing()?;
        if standing == Standing::Finished {
            return Ok(None);
        }
        let mut view = RunView { floor: self, run, step: steps_made(run, standing) };
        let trained = view.train(share_bytes);
        if matches!(trained, Err(_) | Ok(Some(Ending::Warned { .. }))) {
            self.bar.leave_out((run.config.train.steps - view.step) * STEP_UNITS);
        }
        trained
    }
}

/// A run that is under way, as the progress of all shows it.
struct RunView<'a> {
    floor: &'a Floor<'a>,
    run: &'a SweepRun,
    /// The steps of it that the bar counts.
    step: u64,
}

impl RunView<'_> {
    fn train(&mut self, share_bytes: Option<u64>) -> Result<Option<Ending>> {
        let (floor, run) = (self.floor, self.run);
        let model = (floor.model)(run)?;
        if machine::stop_requested() {
            return Ok(None);
        }
        let provenance = Provenance {
            brevity_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_unix_seconds: machine::unix_seconds(),
            resources: machine::resources(run.config.device, share_bytes)?,
        };
        let threads = if floor.jobs > 1 { 1 } else { run.config.threads };
        let pool = machine::thread_pool(threads)?;
        let train = || {
            let mut trainer = run.trainer(&model, &provenance)?;
            for other in other_surroundings(&trainer.run_directory().header()?, &provenance.brevity_version) {
                floor.progress.warning(&format!("{}: {other}", run.name()));
            }
            let ending = trainer.run(&mut Surroundings {
                clock: &machine::clock(),
                interrupted: &machine::stop_requested,
                watch: &mut |event| self.show(&event),
            })?;
            Ok(Some(ending))
        };
        machine::with_card(|| pool.install(train))
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            // A run that went back begins an earlier step.
            Event::StepBegan { step, .. } => {
                self.floor.bar.go_back(self.step.saturating_sub(*step) * STEP_UNITS);
                self.step = self.step.min(*step);
            }
            Event::StepEnded(metrics) => {
                let (accuracy, tokens) = (percent(metrics.correctness_ratio), metrics.completion_tokens.mean);
                self.stand_at(metrics.step + 1, &format!("accuracy {accuracy}, tokens {tokens:.1}"));
            }
            Event::EvaluationEnded(summary) => {
                let is_first = summary.decline.is_some_and(|decline| decline.collapse_step == Some(summary.step));
                if let Some(said) = collapse_said(summary.decline.as_ref()).filter(|_| is_first) {
                    self.line(&format!("step {}: {said}", summary.step));
                }
            }
            Event::FaultSettled(fault) => match fault.outcome {
                // The failure of the run tells of it.
                FaultOutcome::Stopped => {}
                FaultOutcome::Returned => self.line(&settled(fault)),
                FaultOutcome::Skipped => {
                    self.line(&settled(fault));
                    self.stand_at(fault.step + 1, "skipped");
                }
            },
            Event::Warned(warning) => self.line(&warning_said(warning)),
            Event::CompletionEnded { .. } | Event::EvaluationBegan { .. } | Event::CheckpointWritten(_) => {}
        }
    }

    fn stand_at(&mut self, step: u64, said: &str) {
        let (name, steps) = (self.run.name(), self.run.config.train.steps);
        let units = step.saturating_sub(self.step) * STEP_UNITS;
        self.floor.bar.advance(units, format!("{name}, step {step} of {steps}: {said}"));
        self.step = step;
    }

    /// A line that stays.
    fn line(&self, said: &str) {
        self.floor.progress.line(&format!("{}, {said}", self.run.name()));
    }
}
