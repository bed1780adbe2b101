//! Numbers that no number of training can be: NaN, infinities, and gradients that explode. What is done about them.
//!
//! A fault is found before it changes a parameter in the pass that it is found in.

use record::RolloutPlace;
use serde::{Deserialize, Serialize};

use crate::{RlError, score::ScoredCompletion};

/// Most returns to a checkpoint in a run: random streams know a step by 56 bits, of which steps take 40.
pub(crate) const RETURNS_MAX: u64 = (1 << 16) - 1;

/// `[train.faults]`: what happens when a logprob, a reward, the loss or the gradient is not finite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultSettings {
    /// A gradient of a larger norm, before clipping, is a fault as NaN is; 0 sets no limit.
    pub gradient_norm_limit: f64,
    /// What is done. The rollouts that caused it are kept in any case.
    pub remedy: Remedy,
}

/// What is done about a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Remedy {
    /// The run ends with an error; its checkpoints stay.
    Stop {},
    /// The rest of the step's updates is left out, and the run goes on with the next step.
    Skip {
        /// Steps skipped in a run before it stops.
        steps_max: u64,
    },
    /// The run goes back to its last checkpoint and takes other random numbers from there.
    Return {
        /// Returns in a run before it stops.
        times_max: u64,
    },
}

impl Default for FaultSettings {
    fn default() -> Self {
        Self { gradient_norm_limit: 0.0, remedy: Remedy::Stop {} }
    }
}

impl FaultSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the first setting that is out of range.
    pub fn check(&self) -> Result<(), RlError> {
        let refuse = |field, message| Err(RlError::Setting { field, message });
        match self.remedy {
            _ if !(0.0..=1e30).contains(&self.gradient_norm_limit) => refuse(
                "train.faults.gradient_norm_limit",
                format!("is {}; it must be between 0 and 1e30", self.gradient_norm_limit),
            ),
            Remedy::Skip { steps_max: 0 } => {
                refuse("train.faults.remedy.skip.steps_max", "is 0; use `stop` to skip nothing".into())
            }
            Remedy::Return { times_max } if !(1..=RETURNS_MAX).contains(&times_max) => {
                let message = format!("is {times_max}; it must be between 1 and {RETURNS_MAX}");
                refuse("train.faults.remedy.return.times_max", message)
            }
            Remedy::Stop {} | Remedy::Skip { .. } | Remedy::Return { .. } => Ok(()),
        }
    }
}

/// A number that is not what it can be.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// Pass over the step's completions, from 0; none before the first.
    pub pass: Option<u64>,
    /// What it is a number of.
    pub quantity: &'static str,
    /// The number.
    pub value: f64,
    /// The rollouts that it comes from.
    pub rollouts: Vec<RolloutPlace>,
}

/// The logprobs of a step, or else its rewards and advantages, that are not finite.
///
/// Shapes: rewards and advantages \[N\]\[G\], as `groups`.
pub fn of_rollouts(groups: &[Vec<ScoredCompletion>], rewards: &[Vec<f64>], advantages: &[Vec<f64>]) -> Option<Fault> {
    let logprobs = |group: usize, rollout: usize| {
        let logprobs = &groups[group][rollout].completion.logprobs;
        logprobs.iter().map(|&logprob| f64::from(logprob)).find(|logprob| !logprob.is_finite())
    };
    let amounts = |group: usize, rollout: usize| {
        [rewards, advantages].map(|amounts| amounts[group][rollout]).into_iter().find(|amount| !amount.is_finite())
    };
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    not_finite("logprob", &sizes, logprobs).or_else(|| not_finite("reward", &sizes, amounts))
}

/// The fault of all rollouts, in groups of `sizes`, of which `value` finds a number.
fn not_finite(quantity: &'static str, sizes: &[usize], value: impl Fn(usize, usize) -> Option<f64>) -> Option<Fault> {
    let places = sizes.iter().enumerate().flat_map(|(group, &size)| (0..size).map(move |rollout| (group, rollout)));
    let found: Vec<(RolloutPlace, f64)> = places
        .filter_map(|(group, rollout)| {
            let place = RolloutPlace { group: group as u32, rollout: rollout as u32 };
            Some((place, value(group, rollout)?))
        })
        .collect();
    let (_, value) = *found.first()?;
    Some(Fault { pass: None, quantity, value, rollouts: found.into_iter().map(|(place, _)| place).collect() })
}

/// What is at fault in a loss and a gradient norm, and its value.
pub fn of_update(loss: f64, gradient_norm: f64, settings: &FaultSettings) -> Option<(&'static str, f64)> {
    let limit = if settings.gradient_norm_limit > 0.0 { settings.gradient_norm_limit } else { f64::MAX };
    if !loss.is_finite() {
        return Some(("loss", loss));
    }
    // NaN is within no limit.
    (!(0.0..=limit).contains(&gradient_norm)).then_some(("gradient norm", gradient_norm))
}

/// Which of the rollouts at `places` a fault comes from, by each one's own loss and gradient norm: those that are at
/// fault alone; if none is, the one of the largest gradient.
///
/// Shapes: `alone` is as long as `places`.
pub fn culprits(places: &[RolloutPlace], alone: &[(f64, f64)]) -> Vec<RolloutPlace> {
    assert_eq!(places.len(), alone.len(), "a loss and a gradient norm for each rollout");
    let settings = FaultSettings::default();
    let numbered = || places.iter().zip(alone);
    let faulty: Vec<RolloutPlace> = numbered()
        .filter(|(_, (loss, norm))| of_update(*loss, *norm, &settings).is_some())
        .map(|(place, _)| *place)
        .collect();
    if !faulty.is_empty() {
        return faulty;
    }
    numbered().max_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b)).map(|(place, _)| *place).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use record::{STEPS_MAX, StopReason};
    use verify::{Check, Verdict};

    use super::*;
    use crate::{
        random::{Purpose, Stream},
        sampler::Completion,
    };

    fn place(group: u32, rollout: u32) -> RolloutPlace {
        RolloutPlace { group, rollout }
    }

    fn scored(logprob: f32) -> ScoredCompletion {
        let completion =
            Completion { tokens: vec![1, 2], logprobs: vec![-0.5, logprob], entropy_nats: 0.1, stop: StopReason::End };
        let check = Check { verdict: Verdict::Correct, answer: None, reason: String::new() };
        ScoredCompletion { completion, text: String::new(), check }
    }

    #[test]
    fn injected_logprobs_and_rewards_are_found_with_their_rollouts() {
        let groups = |logprobs: [[f32; 2]; 2]| logprobs.map(|group| group.map(scored).to_vec()).to_vec();
        let fine = || groups([[-1.0, -2.0], [-3.0, 0.0]]);
        let numbers = |values: [[f64; 2]; 2]| values.map(|group| group.to_vec()).to_vec();
        let ones = numbers([[1.0, 0.0], [0.5, 0.25]]);
        assert_eq!(of_rollouts(&fine(), &ones, &ones), None);

        let fault = of_rollouts(&groups([[-1.0, f32::NEG_INFINITY], [f32::NAN, 0.0]]), &ones, &ones).unwrap();
        assert_eq!((fault.quantity, fault.value), ("logprob", f64::NEG_INFINITY));
        assert_eq!((fault.pass, fault.rollouts), (None, vec![place(0, 1), place(1, 0)]));

        for injected in [f64::NAN, f64::INFINITY] {
            let bad = numbers([[1.0, 0.0], [0.5, injected]]);
            for fault in [of_rollouts(&fine(), &bad, &ones), of_rollouts(&fine(), &ones, &bad)] {
                let fault = fault.unwrap();
                assert_eq!((fault.quantity, fault.value.to_bits()), ("reward", injected.to_bits()));
                assert_eq!(fault.rollouts, [place(1, 1)]);
            }
        }
    }

    #[test]
    fn losses_and_gradients_are_at_fault_when_not_finite_or_above_the_limit() {
        let limit = |gradient_norm_limit| FaultSettings { gradient_norm_limit, ..FaultSettings::default() };
        for (loss, norm, settings, expected) in [
            (0.5, 3.0, limit(0.0), None),
            (0.5, 3.0, limit(3.0), None),
            (0.5, 3.1, limit(3.0), Some("gradient norm")),
            (0.5, f64::INFINITY, limit(0.0), Some("gradient norm")),
            (0.5, f64::NAN, limit(3.0), Some("gradient norm")),
            (f64::NAN, f64::NAN, limit(0.0), Some("loss")),
            (f64::NEG_INFINITY, 3.0, limit(0.0), Some("loss")),
        ] {
            let found = of_update(loss, norm, &settings).map(|(quantity, _)| quantity);
            assert_eq!(found, expected, "{loss} {norm} {settings:?}");
        }
    }

    #[test]
    fn a_random_stream_has_room_for_the_last_step_after_the_last_return() {
        let place = |step: u64, detours: u64| step + (detours << 40);
        Stream::new(0, Purpose::Rollout, [place(STEPS_MAX - 1, RETURNS_MAX), 0, 0]);
        assert!(place(0, RETURNS_MAX + 1) >= 1 << 56, "one more would have none");
    }

    #[test]
    fn culprits_are_those_at_fault_alone_or_the_one_of_the_largest_gradient() {
        let places = [place(0, 0), place(0, 3), place(2, 1)];
        for (alone, expected) in [
            ([(0.1, 1.0), (0.1, 9.0), (0.1, 2.0)], vec![place(0, 3)]),
            ([(0.1, 1.0), (0.1, 9.0), (f64::NAN, 2.0)], vec![place(2, 1)]),
            ([(0.1, f64::NAN), (0.1, 9.0), (f64::INFINITY, 2.0)], vec![place(0, 0), place(2, 1)]),
        ] {
            assert_eq!(culprits(&places, &alone), expected, "{alone:?}");
        }
        assert_eq!(culprits(&[], &[]), []);
    }

    #[test]
    fn remedies_without_a_bound_are_refused() {
        let check = |text: &str| toml::from_str::<FaultSettings>(text).unwrap().check().map_err(|e| e.to_string());
        assert_eq!(check("remedy = { skip = { steps_max = 3 } }"), Ok(()));
        assert_eq!(check("gradient_norm_limit = 50.0\nremedy = { return = { times_max = 1 } }"), Ok(()));
        assert_eq!(check("remedy = { return = { times_max = 65535 } }"), Ok(()));
        for (text, expected) in [
            ("remedy = { skip = { steps_max = 0 } }", "`train.faults.remedy.skip.steps_max` is 0; use `stop`"),
            ("remedy = { return = { times_max = 0 } }", "`train.faults.remedy.return.times_max` is 0; it must"),
            (
                "remedy = { return = { times_max = 65536 } }",
                "`train.faults.remedy.return.times_max` is 65536; it must be between 1 and 65535",
            ),
            ("gradient_norm_limit = -1.0", "`train.faults.gradient_norm_limit` is -1; it must"),
            ("gradient_norm_limit = nan", "`train.faults.gradient_norm_limit` is NaN; it must"),
        ] {
            let message = check(text).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
