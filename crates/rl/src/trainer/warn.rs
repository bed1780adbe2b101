//! What the trainer does when the risk of a collapse is too high. What the risk is, is in `warning`.

use record::{FaultOutcome, FaultRecord, StepMetrics};

use super::{Event, Surroundings, Trainer};
use crate::{
    RlError, checkpoint,
    shaping::Shaping,
    warning::{RISK_QUANTITY, Warning, WarningAction, WarningOutcome},
};

impl Trainer {
    /// The shaper's settings, λ lowered as often as warnings asked for.
    pub(super) fn shaping(&self) -> Shaping {
        let mut shaping = self.config.train.shaping.clone();
        if let (Shaping::TopLambda(settings), Some(risk)) = (&mut shaping, &self.risk) {
            settings.lambda *= risk.lambda_factor();
        }
        shaping
    }

    /// Does what the config says about the warning that `metrics` hold, if they hold one. After a return the run is back
    /// at an earlier step.
    ///
    /// # Errors
    /// [`RlError`] when a file cannot be read or written.
    pub(super) fn heed(
        &mut self,
        metrics: &StepMetrics,
        surroundings: &mut Surroundings<'_>,
    ) -> Result<Option<WarningOutcome>, RlError> {
        let Some(watch) = &self.risk else { return Ok(None) };
        let Some(risk) = metrics.warning.filter(|warning| warning.given).and_then(|warning| warning.risk) else {
            return Ok(None);
        };
        let outcome = match watch.settings.action {
            WarningAction::Warn {} => WarningOutcome::Said,
            WarningAction::LowerLambda { .. } => WarningOutcome::LambdaLowered { factor: watch.lambda_factor() },
            WarningAction::Return { times_max, .. } if self.detours < times_max => {
                let kept = checkpoint::steps_to_return_to(&self.run, &self.config.checkpoint)?;
                let before = watch.step_before_rise();
                WarningOutcome::Returned { step: kept.into_iter().rfind(|&step| step <= before).unwrap_or(0) }
            }
            WarningAction::Stop {} | WarningAction::Return { .. } => WarningOutcome::Stopped,
        };
        let warning = Warning { step: metrics.step, risk, outcome };
        (surroundings.watch)(Event::Warned(&warning));
        if let WarningOutcome::Returned { step } = outcome {
            let record = FaultRecord {
                step: metrics.step,
                detours: self.detours,
                pass: None,
                quantity: RISK_QUANTITY.to_owned(),
                value: risk.to_string(),
                rollouts: Vec::new(),
                outcome: FaultOutcome::Returned,
            };
            self.run.append_fault(&record, &[])?;
            self.take_detour(step, surroundings)?;
        }
        Ok(Some(outcome))
    }
}
