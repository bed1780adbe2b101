//! `[checkpoint]`: which checkpoints a run writes and keeps. What is in one is in `checkpoint`, which go in `retention`.

use serde::{Deserialize, Serialize};

use super::{EvaluationConfig, setting};
use crate::RlError;

/// `[checkpoint]`: what is kept on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSettings {
    /// Write a checkpoint after every this many steps; 0 writes one at the end (and on interrupt) only.
    pub every_steps: u64,
    /// Checkpoints kept; older ones are removed. 0 keeps all.
    pub keep_last: usize,
    /// Beside those, the checkpoints of the highest accuracy on the held-out problems, where that was measured after
    /// the same step. One of `every_steps` and `evaluation.every_steps` must be a multiple of the other.
    pub keep_best: usize,
    /// Beside those, the checkpoints after every this many steps, which must divide `every_steps` or be a multiple of
    /// it; 0 keeps none.
    pub keep_every_steps: u64,
    /// Bytes that all checkpoints together may take, the one being written included; the oldest are removed until it
    /// fits. At least twice the size of a checkpoint; 0 sets no bound.
    pub bytes_max: u64,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self { every_steps: 50, keep_last: 2, keep_best: 0, keep_every_steps: 0, bytes_max: 0 }
    }
}

impl CheckpointSettings {
    /// Refuses checkpoints to keep that would not be written.
    pub(super) fn check(&self, evaluation: Option<&EvaluationConfig>) -> Result<(), RlError> {
        let Self { keep_best, keep_every_steps, .. } = *self;
        if keep_best > 0 {
            let field = "checkpoint.keep_best";
            let Some(evaluation) = evaluation else {
                return setting(field, format!("is {keep_best}, and nothing is evaluated; add [evaluation]"));
            };
            let evaluated = ("evaluation.every_steps", evaluation.every_steps);
            self.seldom_after(evaluated).map_or(Ok(()), |why| setting(field, format!("is {keep_best}, and {why}")))?;
        }
        if keep_every_steps > 0 {
            let field = "checkpoint.keep_every_steps";
            let why = self.seldom_after((field, keep_every_steps));
            why.map_or(Ok(()), |why| setting(field, format!("is {keep_every_steps}, and {why}")))?;
        }
        Ok(())
    }

    /// Why there is seldom a checkpoint after the steps that `field` counts off, if so, and what to do.
    fn seldom_after(&self, (field, steps): (&'static str, u64)) -> Option<String> {
        let every_steps = self.every_steps;
        if every_steps == 0 {
            return Some(format!("`checkpoint.every_steps` is 0, which writes one at the end only; set it to {steps}"));
        }
        (!every_steps.is_multiple_of(steps) && !steps.is_multiple_of(every_steps)).then(|| {
            format!(
                "neither of `checkpoint.every_steps`, {every_steps}, and `{field}`, {steps}, is a multiple of the other: \
                 they meet seldom; set `checkpoint.every_steps` to {steps}"
            )
        })
    }
}
