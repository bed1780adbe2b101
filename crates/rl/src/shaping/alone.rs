//! A shaper without a run: what it refuses of its own settings and of a step that another program made.

use super::{Shaping, Step};
use crate::{
    RlError,
    budget::BudgetSettings,
    config::{RunConfig, parse_config},
    cost::Cost,
    dynamic_sampling::DynamicSampling,
};

/// The least that a config says; what a shaper reads of it is set from the step.
const BARE: &str = "
    model = { path = '' }
    problems = { path = '' }
    rollout = { prompts_per_step = 1, group_size = 2, completion_tokens_max = 1 }
    train = { steps = 1, shaping = { grpo = {} } }";

impl Shaping {
    /// Refuses settings that are out of range, a step without what this shaper reads (a token limit, budgets, a cost), and
    /// one whose groups without a signal were replaced where the shaper needs them.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the setting as configs have it.
    pub fn check(&self, step: &Step, dynamic_sampling: Option<DynamicSampling>) -> Result<(), RlError> {
        let mut run: RunConfig = parse_config(BARE, &[]).expect("a config with all that has no default");
        run.rollout.prompts_per_step = step.groups.len();
        run.rollout.group_size = step.groups.iter().map(Vec::len).max().unwrap_or(0);
        run.train.advantage = step.scale;
        run.train.dynamic_sampling = dynamic_sampling;
        run.train.costs = step.costs.keys().map(|name| (name.clone(), Cost::Lines {})).collect();
        let budgeted = step.groups.iter().flatten().any(|one| one.budget.is_some());
        run.problems.budget = budgeted.then(BudgetSettings::default);
        match self.shaper().1.refusal(&run, step.cost_max) {
            Some((field, message)) => Err(RlError::Setting { field, message }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        advantage::AdvantageScale,
        shaping::{AdaptiveLambda, Cosine, Dler, L1Max, Laser, Outcome, ShortRl, TopLambda},
    };

    fn step() -> Step {
        let outcome = |correct, tokens| Outcome { correct, tokens };
        Step::of_outcomes(&[vec![outcome(true, 3), outcome(false, 5)]])
    }

    #[test]
    fn a_shaper_is_refused_for_what_the_step_lacks() {
        let limited = Step { cost_max: Some(8.0), ..step() };
        let whitened = Step { scale: AdvantageScale::Whitened, ..step() };
        let mut budgeted = limited.clone();
        budgeted.give_budgets([4]);
        let adaptive = || Shaping::AdaptiveLambda(AdaptiveLambda::default());
        let correct_min = |correct_min| Shaping::TopLambda(TopLambda { correct_min, ..TopLambda::default() });
        let too_much = Shaping::TopLambda(TopLambda { lambda: 1.5, ..TopLambda::default() });
        for (shaping, step, field) in [
            (Shaping::Grpo {}, step(), None),
            (Shaping::TopLambda(TopLambda::default()), step(), None),
            (too_much, step(), Some("train.shaping.top-lambda.lambda")),
            (correct_min(2), step(), None),
            (correct_min(3), step(), Some("train.shaping.top-lambda.correct_min")),
            (Shaping::Laser(Laser::default()), step(), None),
            (Shaping::Laser(Laser::default()), limited.clone(), Some("train.shaping.laser.target")),
            (Shaping::ShortRl(ShortRl::default()), limited.clone(), Some("train.shaping.short-rl.cost_tolerance")),
            (Shaping::Cosine(Cosine::default()), step(), Some("train.shaping.cosine.cost_max")),
            (Shaping::Cosine(Cosine::default()), limited.clone(), None),
            (Shaping::Dler(Dler::default()), step(), Some("train.advantage")),
            (Shaping::Dler(Dler::default()), whitened, None),
            (Shaping::L1Max(L1Max::default()), limited, Some("train.shaping.l1-max")),
            (Shaping::L1Max(L1Max::default()), budgeted, None),
            (adaptive(), step(), Some("rollout.prompts_per_step")),
            (adaptive(), Step { groups: [step().groups, step().groups].concat(), ..step() }, None),
        ] {
            let refused = match shaping.check(&step, None) {
                Ok(()) => None,
                Err(RlError::Setting { field, .. }) => Some(field),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(refused, field, "{}", shaping.name());
        }
        let replaced = Some(DynamicSampling::default());
        assert!(Shaping::Grpo {}.check(&step(), replaced).is_ok());
        assert!(Shaping::TopLambda(TopLambda::default()).check(&step(), replaced).is_err());
    }
}
