//! How early a model warns of collapses, and how often of none: runs that are over, their risks step by step, and what a
//! threshold makes of them.

use record::{RunDirectory, StepMetrics};

use super::{LEAD_STEPS_MIN, STEPS_MIN, Weights};
use crate::{RlError, statistics::quantile};

/// A run that is over, as far as a model of the risk needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// The run's directory, as it was given.
    pub name: String,
    /// What runs of one start share: the model that they began from.
    pub start: String,
    /// Its metrics.
    pub steps: Vec<StepMetrics>,
    /// The steps that it had done when an evaluation first found it collapsed; none when it did not collapse.
    pub collapse_step: Option<u64>,
}

impl Course {
    /// Reads the run in `run`.
    ///
    /// # Errors
    /// [`RlError`] when it cannot be read, is not over, was not watched for collapses, or has steps without signals.
    pub fn read(run: &RunDirectory) -> Result<Self, RlError> {
        let header = run.header()?;
        let refuse = |message: String| Err(RlError::File { path: run.root().to_owned(), message });
        let Some(decline) = run.evaluations()?.last().and_then(|last| last.decline) else {
            return refuse("says nothing of collapses; give runs that were evaluated while they were trained".into());
        };
        let steps = run.metrics()?;
        let done = run.steps_done(&steps)?;
        if done < header.steps {
            return refuse(format!("has done {done} of {} steps; let it end first", header.steps));
        }
        if let Some(step) = steps.iter().find(|step| step.signals.is_none()) {
            return refuse(format!(
                "has no `signals` in step {} of metrics.jsonl: an earlier version wrote it; train it again",
                step.step
            ));
        }
        let (name, start) = (run.root().display().to_string(), header.model);
        Ok(Self { name, start, steps, collapse_step: decline.collapse_step })
    }

    /// The first steps of the run, as often as there is a risk to ask for: before its collapse, or to its end; with the
    /// number of steps done by then.
    pub(super) fn moments(&self) -> impl Iterator<Item = (u64, &[StepMetrics])> {
        let moments = (STEPS_MIN..=self.steps.len()).map(|count| &self.steps[..count]);
        let moments = moments.map(|steps| (steps[steps.len() - 1].step + 1, steps));
        moments.take_while(|(done, _)| self.collapse_step.is_none_or(|collapse| *done < collapse))
    }

    /// Whether a warning can come [`LEAD_STEPS_MIN`] steps before its collapse at all.
    fn leaves_time(&self) -> bool {
        self.collapse_step.is_some_and(|collapse| collapse >= STEPS_MIN as u64 + LEAD_STEPS_MIN)
    }
}

/// The risks of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// The run.
    pub course: Course,
    /// Steps done and the risk then, up to the collapse.
    pub risks: Vec<(u64, f64)>,
}

impl Trial {
    /// The risks that `weights` give `course`.
    pub fn new(course: Course, weights: &Weights) -> Self {
        let risk = |(done, steps)| Some((done, weights.risk(steps)?));
        let risks = course.moments().filter_map(risk).collect();
        Self { course, risks }
    }

    /// Steps done when the risk first was `risk_max` or more.
    pub fn first_warning(&self, risk_max: f64) -> Option<u64> {
        self.risks.iter().find(|(_, risk)| *risk >= risk_max).map(|(steps, _)| *steps)
    }

    /// Steps from the first warning to the collapse; none without either.
    pub fn lead_steps(&self, risk_max: f64) -> Option<u64> {
        Some(self.course.collapse_step? - self.first_warning(risk_max)?)
    }

    /// The highest threshold under which it warns in time of the collapse or, of a run without one, at all.
    pub(super) fn warning_risk(&self) -> Option<f64> {
        let in_time = |steps: u64| self.course.collapse_step.is_none_or(|collapse| steps + LEAD_STEPS_MIN <= collapse);
        self.risks.iter().filter(|(steps, _)| in_time(*steps)).map(|(_, risk)| *risk).max_by(f64::total_cmp)
    }
}

/// What a threshold makes of a set of runs.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialSummary {
    /// A risk of this and more is a warning.
    pub risk_max: f64,
    /// Runs that collapsed.
    pub collapses: usize,
    /// Those of them that leave time: at [`STEPS_MIN`] + [`LEAD_STEPS_MIN`] steps or later.
    pub collapses_with_time: usize,
    /// Those warned of in time, [`LEAD_STEPS_MIN`] steps before or more.
    pub warned_in_time: usize,
    /// Those warned of at all.
    pub warned: usize,
    /// Median of the steps from the warning to the collapse, over those warned of.
    pub lead_steps_median: Option<f64>,
    /// Runs that did not collapse.
    pub stable: usize,
    /// Those of them with a warning at any step.
    pub false_alarms: usize,
}

impl TrialSummary {
    /// What `risk_max` makes of `trials`.
    pub fn new(trials: &[Trial], risk_max: f64) -> Self {
        let (collapsed, stable): (Vec<&Trial>, Vec<&Trial>) =
            trials.iter().partition(|trial| trial.course.collapse_step.is_some());
        let leads: Vec<u64> = collapsed.iter().filter_map(|trial| trial.lead_steps(risk_max)).collect();
        let lengths: Vec<f64> = leads.iter().map(|&lead| lead as f64).collect();
        Self {
            risk_max,
            collapses: collapsed.len(),
            collapses_with_time: collapsed.iter().filter(|trial| trial.course.leaves_time()).count(),
            warned_in_time: leads.iter().filter(|&&lead| lead >= LEAD_STEPS_MIN).count(),
            warned: leads.len(),
            lead_steps_median: quantile(&lengths, 0.5),
            stable: stable.len(),
            false_alarms: stable.iter().filter(|trial| trial.first_warning(risk_max).is_some()).count(),
        }
    }
}

/// Thresholds that differ in what they make of `trials`, descending: each warns of one run more than the one before, and
/// lies halfway to the next.
pub fn thresholds(trials: &[Trial]) -> Vec<f64> {
    let mut risks: Vec<f64> = trials.iter().filter_map(Trial::warning_risk).collect();
    risks.sort_by(|a, b| b.total_cmp(a));
    risks.dedup();
    let next = risks.iter().skip(1).copied().chain([0.0]);
    risks.iter().zip(next).map(|(risk, next)| 0.5 * (risk + next)).collect()
}
