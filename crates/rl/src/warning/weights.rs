//! The fitted model: what `brevity warning fit` writes and a run reads. The program's own is a file of the repository.

use std::path::Path;

use record::{StepMetrics, read};
use serde::{Deserialize, Serialize};

use super::{
    STEPS_MIN, WarningSettings,
    features::{FEATURES, features},
    logistic::Logistic,
};
use crate::{RlError, config::TrainSettings};

/// The program's own weights.
const OWN: &str = include_str!("weights.toml");

/// A fitted model of the risk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// What it was fitted on: runs, collapses among them, tasks, seeds, date.
    pub fitted_on: String,
    /// The risk is that of a collapse within this many steps.
    pub horizon_steps: u64,
    /// A risk of this and more is warned of.
    pub risk_max: f64,
    /// Ridge of the fit.
    pub ridge: f64,
    /// Log odds at features of their means.
    pub intercept: f64,
    /// What the risk depends on, in the order of `features.rs`.
    pub features: Vec<FeatureWeight>,
}

/// A feature's part in the risk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureWeight {
    /// Its name.
    pub name: String,
    /// Mean over the rows of the fit; stands for the feature where a step does not have it.
    pub mean: f64,
    /// Population standard deviation over the rows of the fit.
    pub deviation: f64,
    /// Log odds for each deviation above the mean.
    pub weight: f64,
}

impl Weights {
    /// The program's own.
    pub fn own() -> Self {
        Self::parse(OWN).expect("the program's own weights are whole")
    }

    /// Those that `train` has its run watched with; none where it does not have it watched.
    ///
    /// # Errors
    /// As [`Weights::read`].
    pub(crate) fn of(train: &TrainSettings) -> Result<Option<Self>, RlError> {
        let read = |settings: &WarningSettings| {
            settings.weights.as_ref().map_or_else(|| Ok(Self::own()), |path| Self::read(path))
        };
        train.warning.as_ref().map(read).transpose()
    }

    /// Those in the file `path`.
    ///
    /// # Errors
    /// [`RlError`] when it cannot be read, a number of it is out of range or its features are not those of this version.
    pub fn read(path: &Path) -> Result<Self, RlError> {
        let failed = |source| RlError::Io { action: "read the weights", path: path.into(), source };
        let text = read::text(path).map_err(failed)?;
        Self::parse(&text).map_err(|message| RlError::File { path: path.into(), message })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let weights: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let names: Vec<&str> = weights.features.iter().map(|feature| feature.name.as_str()).collect();
        let ours = FEATURES.map(|feature| feature.name);
        if names != ours {
            let (names, ours) = (names.join(", "), ours.join(", "));
            return Err(format!("has the features {names}, and this version has {ours}; run `brevity warning fit`"));
        }
        let numbers = weights.features.iter().flat_map(|feature| [feature.mean, feature.deviation, feature.weight]);
        if !numbers.chain([weights.intercept]).all(f64::is_finite) {
            return Err("has a number that is not finite; run `brevity warning fit`".to_owned());
        }
        let Self { risk_max, horizon_steps, .. } = weights;
        if !(risk_max > 0.0 && risk_max <= 1.0) {
            let message = format!("has `risk_max` = {risk_max}; it must be above 0 and at most 1");
            return Err(format!("{message}; set it so, or run `brevity warning fit`"));
        }
        if horizon_steps == 0 {
            return Err("has `horizon_steps` = 0; it must be at least 1; run `brevity warning fit`".to_owned());
        }
        Ok(weights)
    }

    /// As text of a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("weights serialise to TOML")
    }

    /// The risk after the last of `steps`, the first steps of a run without a gap; none before [`STEPS_MIN`] of them.
    pub fn risk(&self, steps: &[StepMetrics]) -> Option<f64> {
        (steps.len() >= STEPS_MIN).then(|| self.model().probability(&self.standardised(&features(steps))))
    }

    fn model(&self) -> Logistic {
        Logistic { intercept: self.intercept, weights: self.features.iter().map(|feature| feature.weight).collect() }
    }

    /// (x − mean)/deviation; 0 where there is no x, or where it did not vary in the fit.
    pub(super) fn standardised(&self, values: &[Option<f64>]) -> Vec<f64> {
        let one = |(feature, value): (&FeatureWeight, &Option<f64>)| match value {
            Some(value) if feature.deviation > 0.0 => (value - feature.mean) / feature.deviation,
            Some(_) | None => 0.0,
        };
        self.features.iter().zip(values).map(one).collect()
    }
}
