//! What the trainer does when a step has a fault.

use record::{FaultOutcome, FaultRecord, RolloutRecord};

use super::{Event, Surroundings, Trainer};
use crate::{
    RlError, checkpoint,
    fault::{Fault, Remedy},
};

impl Trainer {
    /// Records `fault` with the rollouts that caused it, and does what the config says. Either the step counts as done,
    /// or the run is back at an earlier one.
    ///
    /// # Errors
    /// [`RlError::Fault`] when the run is to stop; [`RlError`] when a file cannot be read or written.
    pub(super) fn settle(
        &mut self,
        fault: &Fault,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<FaultOutcome, RlError> {
        let skipped = || -> Result<u64, RlError> {
            let faults = self.run.faults()?;
            Ok(faults.iter().filter(|fault| fault.outcome == FaultOutcome::Skipped).count() as u64)
        };
        let (outcome, spent) = match self.config.train.faults.remedy {
            Remedy::Stop {} => (FaultOutcome::Stopped, String::new()),
            Remedy::Skip { steps_max } if skipped()? < steps_max => (FaultOutcome::Skipped, String::new()),
            Remedy::Skip { steps_max } => {
                (FaultOutcome::Stopped, format!(", after as many skipped steps as allowed ({steps_max})"))
            }
            Remedy::Return { times_max } if self.detours < times_max => (FaultOutcome::Returned, String::new()),
            Remedy::Return { times_max } => {
                (FaultOutcome::Stopped, format!(", after as many returns to a checkpoint as allowed ({times_max})"))
            }
        };
        let record = FaultRecord {
            step: self.step,
            detours: self.detours,
            pass: fault.pass,
            quantity: fault.quantity.to_owned(),
            value: fault.value.to_string(),
            rollouts: fault.rollouts.clone(),
            outcome,
        };
        let mut rollouts: Vec<RolloutRecord> = self.run.rollouts(self.step)?;
        rollouts.retain(|rollout| {
            fault.rollouts.iter().any(|place| (place.group, place.rollout) == (rollout.group, rollout.rollout))
        });
        self.run.append_fault(&record, &rollouts)?;
        (surroundings.watch)(Event::FaultSettled(&record));
        match outcome {
            FaultOutcome::Stopped => {
                return Err(RlError::Fault {
                    step: self.step,
                    quantity: fault.quantity,
                    value: fault.value,
                    spent,
                    rollouts: self.run.fault_path(&record),
                });
            }
            FaultOutcome::Skipped => {}
            FaultOutcome::Returned => {
                let kept = checkpoint::steps_to_return_to(&self.run, &self.config.checkpoint)?;
                self.take_detour(kept.last().copied().unwrap_or(0), surroundings)?;
            }
        }
        Ok(outcome)
    }
}
