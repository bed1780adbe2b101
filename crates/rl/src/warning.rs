//! Early warning of a collapse: the metrics of a run's steps so far in, out the risk that it collapses within the next
//! steps. What a collapse is, is in `collapse`; what the trainer does about a warning, in `trainer/warn`.
//!
//! The model is a logistic regression on features that mean the same on every task (`features`), fitted on finished runs
//! (`fit`) and tried on others (`trial`); `docs/warning.md` has the numbers. Neither held-out problems nor times enter, so a
//! resumed run comes to the same risks.

mod features;
mod fit;
mod logistic;
mod settings;
#[cfg(test)]
mod tests;
mod trial;
mod watch;
mod weights;

pub use fit::{FALSE_ALARM_SHARE_MAX, Fit, FitError, FitSettings, fit};
pub use settings::{WarningAction, WarningSettings};
pub use trial::{Course, Trial, TrialSummary, thresholds};
pub use watch::{RISK_QUANTITY, RiskWatch, Warning, WarningOutcome};
pub use weights::{FeatureWeight, Weights};

/// Steps that a run must have before its risk is known: before, its noise says more than its course.
pub const STEPS_MIN: usize = 5;
/// A warning in time is this many steps before the collapse, or more.
pub const LEAD_STEPS_MIN: u64 = 10;
