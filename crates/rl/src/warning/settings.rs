//! `[train.warning]`: whether the risk of a collapse is watched, and what is done about it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{RlError, fault::RETURNS_MAX, shaping::Shaping};

/// `[train.warning]`: the risk of a collapse is computed at every step, and something is done when it is too high.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarningSettings {
    /// What `brevity warning fit` wrote; the program's own weights when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// A risk of this and more is warned of; that of the weights when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk_max: Option<f64>,
    /// What is done then.
    pub action: WarningAction,
}

/// What is done about a warning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum WarningAction {
    /// It is said, and recorded in the metrics.
    Warn {},
    /// The run stops with a checkpoint; when it is resumed it goes on as if nothing had been done.
    Stop {},
    /// λ of `top-lambda` is multiplied from then on, once more with every warning.
    LowerLambda {
        /// What λ is multiplied by.
        factor: f64,
    },
    /// The run goes back to the last checkpoint before its risk rose, and takes other random numbers from there.
    Return {
        /// Returns in a run, those because of faults included, before it stops.
        times_max: u64,
        /// What λ of `top-lambda` is multiplied by with every return; 1 leaves it.
        #[serde(default = "unchanged")]
        lambda_factor: f64,
    },
}

fn unchanged() -> f64 {
    1.0
}

impl Default for WarningSettings {
    fn default() -> Self {
        Self { weights: None, risk_max: None, action: WarningAction::Warn {} }
    }
}

impl WarningSettings {
    /// Checks every range, and that there is a λ to lower where the action lowers it.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the first setting that is out of range.
    pub fn check(&self, shaping: &Shaping) -> Result<(), RlError> {
        let refuse = |field, message| Err(RlError::Setting { field, message });
        if let Some(risk_max) = self.risk_max.filter(|risk| !(*risk > 0.0 && *risk <= 1.0)) {
            return refuse("train.warning.risk_max", format!("is {risk_max}; it must be above 0 and at most 1"));
        }
        let (field, factor) = match self.action {
            WarningAction::Warn {} | WarningAction::Stop {} => return Ok(()),
            WarningAction::Return { times_max, .. } if !(1..=RETURNS_MAX).contains(&times_max) => {
                let message = format!("is {times_max}; it must be between 1 and {RETURNS_MAX}");
                return refuse("train.warning.action.return.times_max", message);
            }
            WarningAction::LowerLambda { factor } => ("train.warning.action.lower-lambda.factor", factor),
            WarningAction::Return { lambda_factor, .. } => ("train.warning.action.return.lambda_factor", lambda_factor),
        };
        let is_lowered = factor < 1.0 || matches!(self.action, WarningAction::LowerLambda { .. });
        if !(0.0..=1.0).contains(&factor) {
            return refuse(field, format!("is {factor}; it must be between 0 and 1"));
        }
        if is_lowered && !matches!(shaping, Shaping::TopLambda(_)) {
            let message = format!(
                "lowers λ, which the shaper `{}` does not have; use `top-lambda`, or another action",
                shaping.name()
            );
            return refuse(field, message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shaping::TopLambda;

    #[test]
    fn settings_out_of_range_and_a_lambda_that_is_not_there_are_refused_by_name() {
        let top_lambda = Shaping::TopLambda(TopLambda::default());
        let check = |text: &str, shaping: &Shaping| {
            toml::from_str::<WarningSettings>(text).unwrap().check(shaping).map_err(|error| error.to_string())
        };
        for text in ["", "risk_max = 1.0", "action = { stop = {} }", "action = { return = { times_max = 2 } }"] {
            assert_eq!(check(text, &Shaping::Grpo {}), Ok(()), "{text}");
        }
        for text in
            ["action = { lower-lambda = { factor = 0.5 } }", "action.return = { times_max = 1, lambda_factor = 0.5 }"]
        {
            assert_eq!(check(text, &top_lambda), Ok(()), "{text}");
            let message = check(text, &Shaping::Grpo {}).unwrap_err();
            assert!(message.contains("lowers λ, which the shaper `grpo` does not have"), "{message}");
        }
        for (text, expected) in [
            ("risk_max = 0.0", "`train.warning.risk_max` is 0; it must be above 0"),
            ("risk_max = nan", "`train.warning.risk_max` is NaN; it must"),
            ("action = { return = { times_max = 0 } }", "`train.warning.action.return.times_max` is 0; it must"),
            (
                "action = { return = { times_max = 65536 } }",
                "`train.warning.action.return.times_max` is 65536; it must be between 1 and 65535",
            ),
            ("action = { lower-lambda = { factor = 1.5 } }", "`train.warning.action.lower-lambda.factor` is 1.5; it"),
        ] {
            let message = check(text, &top_lambda).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
