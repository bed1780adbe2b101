//! What the risk depends on: the metrics of a run's first steps in, a few numbers out that mean the same on every task.
//! Shares, correlations and relative changes; never a number of tokens, which is another on every task.

use record::{SignalMetrics, StepMetrics};

use crate::statistics::mean;

/// Steps that a mean is over.
pub(super) const WINDOW_STEPS: usize = 10;

/// A number that the risk depends on.
pub(super) struct Feature {
    /// Its name in a file of weights.
    pub(super) name: &'static str,
    value: fn(&[StepMetrics]) -> Option<f64>,
}

/// All features.
pub(super) const FEATURES: [Feature; 2] =
    [Feature { name: "length_pressure", value: length_pressure }, Feature { name: "length_push", value: length_push }];

/// The features after the last of `steps`, in the order of [`FEATURES`]; none where a run does not have what it takes.
pub(super) fn features(steps: &[StepMetrics]) -> Vec<Option<f64>> {
    FEATURES.iter().map(|feature| (feature.value)(steps)).collect()
}

/// The mean of a signal over the last steps that have it.
fn recent(steps: &[StepMetrics], signal: impl Fn(&SignalMetrics) -> Option<f64>) -> Option<f64> {
    let last = &steps[steps.len().saturating_sub(WINDOW_STEPS)..];
    mean(&last.iter().filter_map(|step| signal(step.signals.as_ref()?)).collect::<Vec<f64>>())
}

/// Pressure on length where length is what makes completions right: the share of the squared advantages that 0/1 rewards
/// cannot give, times how much less often the shortest completions of mixed groups are right than the others.
fn length_pressure(steps: &[StepMetrics]) -> Option<f64> {
    let share = recent(steps, |signals| signals.within_correctness_advantage_share)?;
    Some(-share * recent(steps, |signals| signals.shortest_quarter_gain)?)
}

/// Where the updates push lengths, all advantages together: below 0 to shorter ones.
fn length_push(steps: &[StepMetrics]) -> Option<f64> {
    recent(steps, |signals| signals.length_advantage_correlation)
}
