//! `[evaluation]`: what is measured during training. How is in `evaluation`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{GROUP_SIZE_MAX, TOKENS_MAX, is_temperature, one, refuse_counts_outside, refuse_no_file_name, setting};
use crate::{ProblemFields, RlError};

/// `[evaluation]`: what is measured during training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationConfig {
    /// Evaluate before step 0, after every this many steps, and at the end.
    pub every_steps: u64,
    /// Problem file.
    pub path: PathBuf,
    /// Name in records; default the file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which fields of a row hold what.
    #[serde(default)]
    pub fields: ProblemFields,
    /// Only the first this many problems; 0 takes all.
    #[serde(default)]
    pub limit: usize,
    /// Completions per problem.
    #[serde(default = "samples")]
    pub samples: u32,
    /// Sampling temperature; 0 is greedy.
    #[serde(default = "one")]
    pub temperature: f64,
    /// Token limit of a completion; default that of `[rollout]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_tokens_max: Option<usize>,
}

fn samples() -> u32 {
    1
}

impl EvaluationConfig {
    pub(super) fn check(&self) -> Result<(), RlError> {
        if self.every_steps == 0 {
            return setting("evaluation.every_steps", "is 0; leave out [evaluation] to evaluate never".into());
        }
        refuse_counts_outside(&[
            ("evaluation.samples", self.samples as usize, 1, GROUP_SIZE_MAX),
            ("evaluation.completion_tokens_max", self.completion_tokens_max.unwrap_or(1), 1, TOKENS_MAX),
        ])?;
        refuse_no_file_name("evaluation.name", self.name.as_deref())?;
        if !is_temperature(self.temperature) {
            let message = format!("is {}; it must be 0, or between 0.001 and 100", self.temperature);
            return setting("evaluation.temperature", message);
        }
        Ok(())
    }
}
