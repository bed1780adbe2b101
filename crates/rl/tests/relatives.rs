//! The shapers beside GRPO, the length penalty and top-λ: against plain Python, and the properties that each has.
//!
//! Recorded values come from floats of Python (`scripts/reference/relatives_reference.py`).

#![expect(clippy::unwrap_used, reason = "recorded values that cannot be read fail the test")]

mod support;

use std::sync::LazyLock;

use proptest::prelude::*;
use rl::{
    config::parse_config,
    shaping::{Priced, Shaped, ShaperState, Shaping, Step, shape},
};
use serde::Deserialize;

use support::{assert_close, recorded, selection_stream};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    shaping: Shaping,
    limit: Option<f64>,
    budgets: Option<Vec<f64>>,
    steps: Vec<Vec<Vec<(f64, bool)>>>,
    rewards: Vec<Vec<Vec<f64>>>,
    added: Option<Vec<Vec<Vec<f64>>>>,
}

impl Case {
    fn step(&self, index: usize) -> Step {
        let priced = |(place, group): (usize, &Vec<(f64, bool)>)| {
            let budget = self.budgets.as_ref().map(|budgets| budgets[place]);
            group.iter().map(|&(cost, correct)| Priced { correct, cost, budget }).collect()
        };
        let groups = self.steps[index].iter().enumerate().map(priced).collect();
        Step { index: index as u64, groups, cost_max: self.limit, ..Step::of_outcomes(&[]) }
    }
}

#[test]
fn rewards_and_added_advantages_equal_those_of_python() {
    let cases: Vec<Case> = recorded("relatives_reference.json");
    assert_eq!(cases.len(), 25);
    for case in &cases {
        let (mut state, mut stream) = (case.shaping.start(), selection_stream(0));
        for (index, rewards) in case.rewards.iter().enumerate() {
            let shaped = shape(&case.step(index), &case.shaping, &mut state, &mut stream);
            let what = format!("{:?}, step {index}", case.shaping);
            assert_close(&shaped.rewards.concat(), &rewards.concat(), 1e-12, &what);
            match (&shaped.added, &case.added) {
                (Some(ours), Some(theirs)) => assert_close(&ours.concat(), &theirs[index].concat(), 1e-9, &what),
                (ours, theirs) => assert_eq!(ours.is_some(), theirs.is_some(), "{what}"),
            }
        }
    }
}

/// A state goes through a checkpoint as JSON; every bit of it must come back.
#[test]
fn a_shaper_goes_on_from_its_saved_state_as_if_it_had_not_stopped() {
    for case in recorded::<Vec<Case>>("relatives_reference.json") {
        let (mut state, mut stream) = (case.shaping.start(), selection_stream(0));
        let mut saved = state.clone();
        for index in 0..case.steps.len() {
            let step = case.step(index);
            let expected = shape(&step, &case.shaping, &mut state, &mut stream);
            saved = serde_json::from_str::<ShaperState>(&serde_json::to_string(&saved).unwrap()).unwrap();
            assert_eq!(
                shape(&step, &case.shaping, &mut saved, &mut selection_stream(0)),
                expected,
                "{:?}",
                case.shaping
            );
            assert_eq!(saved, state);
        }
    }
}

/// What is promised of a shaper's value of a completion: reward and added advantage.
struct Promise {
    shaping: Shaping,
    /// Whether the published formula looks at the cost of wrong completions.
    wrong: Wrong,
    /// Whether among correct completions of a group longer is never better.
    correct: Correct,
}

#[derive(PartialEq)]
enum Wrong {
    AllEqual,
    ByCost,
}

#[derive(PartialEq)]
enum Correct {
    ShorterIsBetter,
    NearTheBudgetIsBetter,
}

/// Every shaper with settings for costs up to 1000 or so.
static PROMISES: LazyLock<Vec<Promise>> = LazyLock::new(|| {
    vec![
        promise("{grpo={}}", Wrong::AllEqual),
        promise("{length-penalty={}}", Wrong::AllEqual),
        promise("{top-lambda={lambda=0.4,ties='index'}}", Wrong::AllEqual),
        promise("{adaptive-lambda={lambda=0.4,select='top',ties='index'}}", Wrong::AllEqual),
        promise("{matched-penalty={lambda=0.4,ties='index'}}", Wrong::AllEqual),
        promise("{kimi={}}", Wrong::ByCost),
        promise("{cosine={cost_max=900}}", Wrong::ByCost),
        promise("{soft-overlong={cost_max=900,buffer=500}}", Wrong::ByCost),
        Promise { correct: Correct::NearTheBudgetIsBetter, ..promise("{l1-exact={}}", Wrong::ByCost) },
        promise("{l1-max={}}", Wrong::AllEqual),
        promise("{laser={target=300}}", Wrong::AllEqual),
        promise("{laser-d={target_min=10,target_interval=50,target_max=900,every_steps=1}}", Wrong::AllEqual),
        promise("{alp={beta=0.001}}", Wrong::ByCost),
        promise("{gr3={}}", Wrong::AllEqual),
        promise("{short-rl={}}", Wrong::AllEqual),
        promise("{ddca={}}", Wrong::AllEqual),
        promise("{acoer={budget=900,warmup_steps=0,window_steps=1,budget_min=10}}", Wrong::AllEqual),
        promise("{pass-rate-linear={}}", Wrong::ByCost),
        promise("{dler={cost_max=300}}", Wrong::AllEqual),
        promise(
            "{weighted={objectives=[{weight=0.5,shaper={length-penalty={}}},{shaper={ddca={}}},{weight=0.1,shaper={gr3={}}}]}}",
            Wrong::AllEqual,
        ),
    ]
});

fn promise(shaping: &str, wrong: Wrong) -> Promise {
    #[derive(Deserialize)]
    struct Wrapped {
        shaping: Shaping,
    }
    let Wrapped { shaping } = parse_config(&format!("shaping = {shaping}"), &[]).unwrap();
    Promise { shaping, wrong, correct: Correct::ShorterIsBetter }
}

impl Promise {
    fn name(&self) -> &'static str {
        self.shaping.name()
    }

    /// The second of two like steps, so that what is remembered takes part.
    fn shape(&self, groups: &[Vec<Priced>]) -> Shaped {
        let (mut state, mut stream) = (self.shaping.start(), selection_stream(3));
        let mut step = Step { groups: groups.to_vec(), cost_max: Some(f64::from(u32::MAX)), ..Step::of_outcomes(&[]) };
        shape(&step, &self.shaping, &mut state, &mut stream);
        step.index = 1;
        shape(&step, &self.shaping, &mut state, &mut selection_stream(3))
    }

    /// Reward and added advantage of each completion.
    fn values(&self, groups: &[Vec<Priced>]) -> Vec<Vec<f64>> {
        let Shaped { mut rewards, added, .. } = self.shape(groups);
        for (value, added) in rewards.iter_mut().flatten().zip(added.iter().flatten().flatten()) {
            *value += added;
        }
        rewards
    }
}

fn one() -> impl Strategy<Value = Priced> {
    let cost = prop_oneof![0_u32..6, 0_u32..1200, any::<u32>(), Just(u32::MAX)];
    (any::<bool>(), cost).prop_map(|(correct, cost)| Priced { correct, cost: cost.into(), budget: Some(400.0) })
}

/// Groups of any size down to one completion, and also without any.
fn groups() -> impl Strategy<Value = Vec<Vec<Priced>>> {
    prop::collection::vec(prop::collection::vec(one(), 0..9), 0..9)
}

/// `items` in the order that `keys` sort into.
fn permuted<T: Clone>(items: &[T], keys: &[u32]) -> Vec<T> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&index| keys[index % keys.len()].wrapping_mul(index as u32 + 1));
    order.into_iter().map(|index| items[index].clone()).collect()
}

/// Largest difference that sums in another order may make, beside 1 in rewards and beside the cost in those that grow
/// with it without bound.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

#[test]
fn every_shaper_is_held_to_the_properties() {
    // serde's message for an unknown variant lists all there are.
    let refused = serde_json::from_str::<Shaping>(r#"{"unknown":{}}"#).unwrap_err().to_string();
    let names: Vec<&str> = refused.rsplit("expected").next().unwrap().split('`').skip(1).step_by(2).collect();
    let held: Vec<&str> = PROMISES.iter().map(Promise::name).collect();
    assert_eq!(names, held, "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_are_finite_for_any_input(groups in groups()) {
        for promise in PROMISES.iter() {
            let values = promise.values(&groups);
            prop_assert!(values.iter().flatten().all(|value| value.is_finite()), "{}: {:?}", promise.name(), values);
            let advantages = promise.shape(&groups).advantages(rl::advantage::AdvantageScale::GroupStd);
            prop_assert!(advantages.iter().flatten().all(|value| value.is_finite()), "{}", promise.name());
        }
    }

    /// Cosine rewards grow with the length of wrong completions and the others fall, so that none is above that of 0/1
    /// rewards: a wrong completion is never rewarded for being short, but where the formula says so it loses for being long.
    #[test]
    fn wrong_completions_are_never_rewarded_and_all_alike_where_the_formula_says_so(groups in groups()) {
        for promise in PROMISES.iter() {
            for (group, values) in groups.iter().zip(promise.values(&groups)) {
                let wrong = || group.iter().zip(&values).filter(|(one, _)| !one.correct).map(|(_, value)| *value);
                let added = promise.shape(&groups).added.is_some();
                prop_assert!(added || wrong().all(|value| value <= 0.0), "{}: {:?}", promise.name(), values);
                if promise.wrong == Wrong::AllEqual {
                    let first = wrong().next().unwrap_or(0.0);
                    prop_assert!(wrong().all(|value| value.to_bits() == first.to_bits()), "{}", promise.name());
                }
            }
        }
    }

    #[test]
    fn without_a_correct_completion_nothing_happens_where_wrong_ones_are_alike(
        costs in prop::collection::vec(any::<u32>(), 0..9),
    ) {
        let wrong = |&cost: &u32| Priced { correct: false, cost: cost.into(), budget: Some(400.0) };
        let group: Vec<Priced> = costs.iter().map(wrong).collect();
        for promise in PROMISES.iter().filter(|promise| promise.wrong == Wrong::AllEqual) {
            let values = promise.values(&[group.clone(), group.clone()]);
            prop_assert!(values.iter().flatten().all(|value| *value == 0.0), "{}: {:?}", promise.name(), values);
        }
    }

    #[test]
    fn among_correct_completions_of_a_group_longer_is_never_better(groups in groups()) {
        for promise in PROMISES.iter().filter(|promise| promise.correct == Correct::ShorterIsBetter) {
            for (group, values) in groups.iter().zip(promise.values(&groups)) {
                let mut correct: Vec<(f64, f64)> = group.iter().zip(values)
                    .filter(|(one, _)| one.correct)
                    .map(|(one, value)| (one.cost, value))
                    .collect();
                correct.sort_by(|a, b| a.0.total_cmp(&b.0));
                for pair in correct.windows(2) {
                    prop_assert!(pair[0].1 >= pair[1].1, "{}: {:?}", promise.name(), correct);
                    prop_assert!(
                        pair[0].0 < pair[1].0 || pair[0].1.to_bits() == pair[1].1.to_bits(),
                        "{}: {:?}", promise.name(), correct
                    );
                }
            }
        }
    }

    #[test]
    fn permuting_completions_permutes_values(groups in groups(), keys in prop::collection::vec(any::<u32>(), 9)) {
        let moved: Vec<Vec<Priced>> = groups.iter().map(|group| permuted(group, &keys)).collect();
        for promise in PROMISES.iter() {
            let expected = promise.values(&groups).into_iter().flat_map(|values| permuted(&values, &keys));
            for (ours, theirs) in promise.values(&moved).into_iter().flatten().zip(expected) {
                prop_assert!(near(ours, theirs), "{}: {} and {}", promise.name(), ours, theirs);
            }
        }
    }

    /// Where no tie at the border of a selection decides.
    #[test]
    fn permuting_groups_permutes_values(groups in groups(), keys in prop::collection::vec(any::<u32>(), 9)) {
        // The control does not show its own selection; top-λ at the same λ does.
        let shown = |promise: &'static Promise| match promise.name() {
            "matched-penalty" => &PROMISES[2],
            _ => promise,
        };
        let tied = |promise: &&'static Promise| shown(promise).shape(&groups).selected.tied > 0;
        for promise in PROMISES.iter().filter(|promise| !tied(promise)) {
            let expected = permuted(&promise.values(&groups), &keys).concat();
            for (ours, theirs) in promise.values(&permuted(&groups, &keys)).concat().into_iter().zip(expected) {
                prop_assert!(near(ours, theirs), "{}: {} and {}", promise.name(), ours, theirs);
            }
        }
    }
}
