//! The risk of one run, step by step: its metrics so far, and when it was last warned of.

use std::collections::VecDeque;

use record::{RunDirectory, StepMetrics, WarningMetrics};

use super::{WarningAction, WarningSettings, Weights, features::WINDOW_STEPS};
use crate::{RlError, config::TrainSettings};

/// What `faults.jsonl` calls a risk because of which a run went back.
pub const RISK_QUANTITY: &str = "risk of collapse";

/// A warning, and what came of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Warning {
    /// The step after whose update it was given.
    pub step: u64,
    /// The risk.
    pub risk: f64,
    /// What was done.
    pub outcome: WarningOutcome,
}

/// What was done about a warning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WarningOutcome {
    /// Nothing but to say so.
    Said,
    /// The run stops after the step, with a checkpoint.
    Stopped,
    /// λ is lowered from now on.
    LambdaLowered {
        /// What the config's λ is multiplied by, with all warnings so far.
        factor: f64,
    },
    /// The run goes on from an earlier checkpoint.
    Returned {
        /// The steps that it has done then.
        step: u64,
    },
}

/// The risk of a run as it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct RiskWatch {
    pub(crate) settings: WarningSettings,
    weights: Weights,
    risk_max: f64,
    /// The last steps, as many as the features look at.
    recent: VecDeque<StepMetrics>,
    warnings: usize,
    /// Step of the last warning.
    warned_at: Option<u64>,
    /// Steps that had been done when the risk was last below half of what is warned of.
    before_rise: u64,
    returns: usize,
}

impl RiskWatch {
    /// As it stands after what `run` has recorded; none where `train` does not have it watched.
    ///
    /// # Errors
    /// [`RlError`] when the weights or the records cannot be read.
    pub fn of_run(train: &TrainSettings, run: &RunDirectory) -> Result<Option<Self>, RlError> {
        Self::with_weights(train, Weights::of(train)?, run)
    }

    /// [`RiskWatch::of_run`] with the weights of `train` at hand.
    ///
    /// # Errors
    /// [`RlError`] when the records cannot be read.
    pub(crate) fn with_weights(
        train: &TrainSettings,
        weights: Option<Weights>,
        run: &RunDirectory,
    ) -> Result<Option<Self>, RlError> {
        let Some((settings, weights)) = train.warning.as_ref().zip(weights) else { return Ok(None) };
        let went_back = run.faults()?.into_iter().filter(|fault| fault.quantity == RISK_QUANTITY);
        Ok(Some(Self::new(settings, weights, run.metrics()?, went_back.count())))
    }

    /// After `steps`, and as many `returns` because of a risk.
    pub(super) fn new(settings: &WarningSettings, weights: Weights, steps: Vec<StepMetrics>, returns: usize) -> Self {
        let risk_max = settings.risk_max.unwrap_or(weights.risk_max);
        let (recent, warnings, warned_at, before_rise) = (VecDeque::new(), 0, None, 0);
        let settings = settings.clone();
        let mut watch = Self { settings, weights, risk_max, recent, warnings, warned_at, before_rise, returns };
        for step in steps {
            watch.count(step.step, step.warning);
            watch.push(step);
        }
        watch
    }

    fn push(&mut self, step: StepMetrics) {
        if self.recent.len() == WINDOW_STEPS {
            self.recent.pop_front();
        }
        self.recent.push_back(step);
    }

    /// Takes into account what came of a step.
    fn count(&mut self, step: u64, warning: Option<WarningMetrics>) {
        if warning.and_then(|warning| warning.risk).is_none_or(|risk| risk < 0.5 * self.risk_max) {
            self.before_rise = step + 1;
        }
        if warning.is_some_and(|warning| warning.given) {
            (self.warnings, self.warned_at) = (self.warnings + 1, Some(step));
        }
    }

    /// Takes the next step, and writes its risk into its metrics. A warning is given when the risk is too high and the
    /// last warning is as long ago as the model looks ahead.
    pub fn observe(&mut self, metrics: &mut StepMetrics) {
        self.push(as_read(metrics));
        let risk = self.weights.risk(self.recent.make_contiguous());
        let is_news = self.warned_at.is_none_or(|last| metrics.step - last >= self.weights.horizon_steps);
        let given = is_news && risk.is_some_and(|risk| risk >= self.risk_max);
        metrics.warning = Some(WarningMetrics { risk, given });
        self.count(metrics.step, as_read(metrics).warning);
    }

    /// What the config's λ is multiplied by.
    pub fn lambda_factor(&self) -> f64 {
        match self.settings.action {
            WarningAction::Warn {} | WarningAction::Stop {} => 1.0,
            WarningAction::LowerLambda { factor } => std::iter::repeat_n(factor, self.warnings).product(),
            WarningAction::Return { lambda_factor, .. } => std::iter::repeat_n(lambda_factor, self.returns).product(),
        }
    }

    /// The steps that had been done when the risk was last below half of what is warned of; 0 when it never was.
    pub fn step_before_rise(&self) -> u64 {
        self.before_rise
    }
}

/// As a resumed run reads them: a number that is written and read may end in another digit, and the risk must not.
fn as_read(metrics: &StepMetrics) -> StepMetrics {
    let line = serde_json::to_string(metrics).expect("metrics serialise to JSON");
    serde_json::from_str(&line).expect("metrics that were written are read")
}
