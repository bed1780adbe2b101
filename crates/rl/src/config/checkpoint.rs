//! `[checkpoint]`: which checkpoints a run writes and keeps. What is in one is in `checkpoint`, which go in `retention`.

use serde::{Deserialize, Serialize};

/// `[checkpoint]`: what is kept on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointSettings {
    /// Write a checkpoint after every this many steps; 0 writes one at the end (and on interrupt) only.
    pub every_steps: u64,
    /// Checkpoints kept; older ones are removed. 0 keeps all.
    pub keep_last: usize,
    /// Beside those, the checkpoints of the highest accuracy on the held-out problems, where that was measured after
    /// the same step.
    pub keep_best: usize,
    /// Beside those, the checkpoints after every this many steps; 0 keeps none.
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
