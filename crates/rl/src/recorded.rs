//! What a run has recorded, and whether it may begin again where it has no checkpoint: that removes its records.

use record::{FaultOutcome, FaultRecord, LastOwner, RunDirectory};

use crate::{RlError, config::RunConfig, warning::RISK_QUANTITY};

/// What a run has recorded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recorded {
    /// Steps.
    done: u64,
    /// Whether all steps are there, and the evaluation after the last, where there is to be one.
    pub(crate) is_whole: bool,
}

impl Recorded {
    /// What `run` of `config` has recorded.
    ///
    /// # Errors
    /// [`RlError`] when its records cannot be read.
    pub(crate) fn of(run: &RunDirectory, config: &RunConfig) -> Result<Self, RlError> {
        let (done, steps) = (run.steps_done(&run.metrics()?)?, config.train.steps);
        let is_evaluated = || {
            Ok::<_, RlError>(
                config.evaluation.is_none() || run.evaluations()?.last().is_some_and(|row| row.step == steps),
            )
        };
        Ok(Self { done, is_whole: done == steps && is_evaluated()? })
    }

    /// Refuses a run without a checkpoint that was not cut short before its first one, or in a return to its start,
    /// by its last `owner`.
    ///
    /// # Errors
    /// [`RlError::File`] naming the run and what can be done.
    pub(crate) fn refuse_to_begin_again(
        self,
        run: &RunDirectory,
        config: &RunConfig,
        owner: LastOwner,
    ) -> Result<(), RlError> {
        let (done, steps) = (self.done, config.train.steps);
        if done == 0 || is_returning_to_start(run, done)? {
            return Ok(());
        }
        let first_checkpoint = match config.checkpoint.every_steps {
            0 => steps,
            every => every.min(steps),
        };
        let remedy = if !run.checkpoints().is_dir() {
            "put `checkpoints` back, or remove the directory to begin the run again"
        } else if self.is_whole && owner == LastOwner::LetGo {
            "remove `checkpoints` to keep the records alone, or the directory to begin the run again"
        } else if done > first_checkpoint {
            "put its checkpoints back, or remove the directory to begin the run again"
        } else {
            return Ok(());
        };
        let message = format!("has records of {done} of {steps} steps and no checkpoint to go on from; {remedy}");
        Err(RlError::File { path: run.root().to_owned(), message })
    }
}

/// Whether a crash cut a return to the start short: its checkpoints are removed before its records, which end before the
/// step of the fault, or with the step that a warning came after.
fn is_returning_to_start(run: &RunDirectory, done: u64) -> Result<bool, RlError> {
    let steps_before = |fault: &FaultRecord| fault.step + u64::from(fault.quantity == RISK_QUANTITY);
    let returned = |fault: &FaultRecord| fault.outcome == FaultOutcome::Returned && steps_before(fault) == done;
    Ok(run.checkpoints().is_dir() && run.faults()?.last().is_some_and(returned))
}
