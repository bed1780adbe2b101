//! Length budgets that a problem asks for: drawn once per problem and written into its question (arXiv 2503.04697).

use serde::{Deserialize, Serialize};

use crate::{
    Problem, RlError,
    random::{Purpose, Stream},
};

/// `[problems.budget]`: the defaults are the range and the words of arXiv 2503.04697.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetSettings {
    /// Smallest budget, tokens.
    pub tokens_min: u32,
    /// Largest budget, tokens; at most the token limit of training completions.
    pub tokens_max: u32,
    /// Added to every question after a blank line, with the budget in place of `{budget}`.
    pub instruction: String,
}

/// What stands for the budget in an instruction.
const PLACE: &str = "{budget}";

impl Default for BudgetSettings {
    fn default() -> Self {
        Self { tokens_min: 100, tokens_max: 4000, instruction: format!("Think for {PLACE} tokens.") }
    }
}

impl BudgetSettings {
    /// Checks every range; no completion has more than `completion_tokens_max` tokens.
    pub(crate) fn check(&self, completion_tokens_max: usize) -> Result<(), RlError> {
        let refuse = |field, message| Err(RlError::Setting { field, message });
        let Self { tokens_min, tokens_max, instruction } = self;
        if *tokens_min == 0 || tokens_min > tokens_max {
            let message = format!("is {tokens_min}; it must be between 1 and `tokens_max`, {tokens_max}");
            return refuse("problems.budget.tokens_min", message);
        }
        if *tokens_max as usize > completion_tokens_max {
            let message =
                format!("is {tokens_max}; it must be at most `rollout.completion_tokens_max`, {completion_tokens_max}");
            return refuse("problems.budget.tokens_max", message);
        }
        if !instruction.contains(PLACE) {
            let message = format!("is \"{instruction}\"; it must say where the budget goes, with {PLACE}");
            return refuse("problems.budget.instruction", message);
        }
        Ok(())
    }

    /// Draws the budget of each problem, uniform from `tokens_min` to `tokens_max`, and adds it to the question.
    ///
    /// A problem's budget depends on `seed` and its id alone, so it has the same one in every epoch.
    pub fn ask(&self, seed: u64, problems: &mut [Problem]) -> Vec<u32> {
        let ask = |problem: &mut Problem| {
            let mut stream = Stream::new(seed, Purpose::Budget, [0, hash(problem.id.as_str()), 0]);
            let budget = self.tokens_min + stream.below((self.tokens_max - self.tokens_min) as usize + 1) as u32;
            let instruction = self.instruction.replace(PLACE, &budget.to_string());
            problem.question = format!("{}\n\n{instruction}", problem.question);
            budget
        };
        problems.iter_mut().map(ask).collect()
    }
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>): the same in every release and on every machine.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ProblemId;

    fn problem(id: &str) -> Problem {
        Problem { id: ProblemId::new(id), question: "What is 1 + 1?".into(), gold: "2".into(), level: None }
    }

    #[test]
    fn a_problem_is_asked_for_the_same_budget_wherever_it_stands() {
        let settings = BudgetSettings { tokens_min: 10, tokens_max: 12, ..BudgetSettings::default() };
        let mut problems: Vec<Problem> = (0..300).map(|index| problem(&format!("p{index}"))).collect();
        let budgets = settings.ask(1, &mut problems);
        for (problem, budget) in problems.iter().zip(&budgets) {
            assert_eq!(problem.question, format!("What is 1 + 1?\n\nThink for {budget} tokens."));
        }
        for budget in 10..=12 {
            // 100 of 300 within four standard errors of √(300 · 1/3 · 2/3) = 8.2.
            let count = budgets.iter().filter(|&&other| other == budget).count();
            assert!((68..=132).contains(&count), "{budget}: {count}");
        }
        assert_eq!(settings.ask(1, &mut [problem("p7"), problem("p3")]), [budgets[7], budgets[3]]);
        assert_ne!(
            settings.ask(2, &mut (0..300).map(|index| problem(&format!("p{index}"))).collect::<Vec<_>>()),
            budgets
        );
    }

    #[test]
    fn a_budget_that_cannot_be_asked_for_is_refused() {
        for (settings, expected) in [
            (BudgetSettings { tokens_min: 0, ..BudgetSettings::default() }, "`problems.budget.tokens_min` is 0"),
            (BudgetSettings { tokens_min: 4001, ..BudgetSettings::default() }, "between 1 and `tokens_max`, 4000"),
            (BudgetSettings { instruction: "Be short.".into(), ..BudgetSettings::default() }, "with {budget}"),
        ] {
            let error = settings.check(4000).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(BudgetSettings::default().check(4000).is_ok());
        let error = BudgetSettings::default().check(3999).unwrap_err().to_string();
        let expected = "`problems.budget.tokens_max` is 4000; it must be at most `rollout.completion_tokens_max`, 3999";
        assert_eq!(error, expected);
    }
}
