//! One line of `faults.jsonl`: a step in which a number was not what a number of training can be.

use serde::{Deserialize, Serialize};

/// What was done about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultOutcome {
    /// The run ended with an error.
    Stopped,
    /// The run went on with the next step, without the rest of this one's updates.
    Skipped,
    /// The run went back to its last checkpoint and took other random numbers from there.
    Returned,
}

/// A rollout by its place in the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RolloutPlace {
    /// Index of the group within the step, from 0.
    pub group: u32,
    /// Index of the rollout within its group, from 0.
    pub rollout: u32,
}

/// A fault of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRecord {
    /// The step, from 0.
    pub step: u64,
    /// How often the run had gone back to a checkpoint before.
    pub detours: u64,
    /// Pass over the step's completions, from 0; none when the fault was there before the first.
    pub pass: Option<u64>,
    /// What is at fault: `logprob`, `reward`, `loss`, `gradient norm`.
    pub quantity: String,
    /// Its value: `NaN`, `inf`, `-inf`, or the number that is above its limit.
    pub value: String,
    /// The rollouts that caused it, which are kept in the file below `faults/`.
    pub rollouts: Vec<RolloutPlace>,
    /// What was done.
    pub outcome: FaultOutcome,
}
