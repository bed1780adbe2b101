//! `chain`: a digit goes through 2, 4, 6 or 8 additions and multiplications modulo 10.
//!
//! The quick plan leaves out every other operation. Nothing that is left out comes back, so it is nearly always wrong.

use super::{BLANK, Draws, Exercise, Family, LABELS};

/// The chain of operations modulo 10.
pub static CHAIN: Family = Family {
    name: "chain",
    asks: "the result of a chain of additions and multiplications modulo 10",
    shows: "the shortcut fails nearly always: a cliff, on which a length penalty cannot step",
    level_unit: "operations",
    levels: [2, 4, 6, 8],
    quick_wrong_shares: [37.0 / 40.0, 569.0 / 640.0, 73_327.0 / 81_920.0, 235_831.0 / 262_144.0],
    plan_weights: [8, 6, 4, 2],
    words: &[
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", // digits
        "+1", "+2", "+3", "+4", "+5", "*3", "*7", "*9", // operations
        "a", "b", "c", "d", "e", "f", "g", "h", // labels: the index of an operation
    ],
    prompt_tokens: OPERATIONS_MAX + 2,
    completion_tokens_max: 56,
    start_steps: 800,
    draw: |draws, operations| Box::new(Chain::draw(draws, operations)),
};

const OPERATIONS_MAX: usize = 8;
const ADDEND_MAX: u8 = 5;
/// Factors that have an inverse modulo 10, so that no operation forgets what was before.
const FACTORS: [u8; 3] = [3, 7, 9];

#[derive(Debug, Clone, Copy)]
enum Operation {
    /// Of 1…[`ADDEND_MAX`].
    Add(u8),
    /// By one of [`FACTORS`].
    Multiply(u8),
}

/// A digit and the operations that follow.
#[derive(Debug, Clone)]
struct Chain {
    start: u8,
    operations: Vec<Operation>,
}

impl Operation {
    fn draw(draws: &mut Draws) -> Self {
        match draws.between(1, ADDEND_MAX + 3) {
            addend @ 1..=ADDEND_MAX => Self::Add(addend),
            other => Self::Multiply(FACTORS[usize::from(other - ADDEND_MAX - 1)]),
        }
    }

    fn of(self, value: u8) -> u8 {
        match self {
            Self::Add(addend) => (value + addend) % 10,
            Self::Multiply(factor) => value * factor % 10,
        }
    }

    fn word(self) -> String {
        match self {
            Self::Add(addend) => format!("+{addend}"),
            Self::Multiply(factor) => format!("*{factor}"),
        }
    }
}

impl Chain {
    fn draw(draws: &mut Draws, operations: usize) -> Self {
        let start = draws.between(0, 9);
        Self { start, operations: (0..operations).map(|_| Operation::draw(draws)).collect() }
    }

    /// Label and value after every `every`-th operation, where the others are left out.
    fn values(&self, every: usize) -> Vec<(&'static str, u8)> {
        let mut value = self.start;
        let step = |(operation, label): (&Operation, &'static str)| {
            value = operation.of(value);
            (label, value)
        };
        self.operations.iter().zip(LABELS).skip(every - 1).step_by(every).map(step).collect()
    }
}

impl Exercise for Chain {
    /// 10 · operations + start, followed by the operations as digits of base 20: the addend, or 10 + the factor.
    fn number(&self) -> u64 {
        let head = 10 * self.operations.len() as u64 + u64::from(self.start);
        let code = |operation: &Operation| match operation {
            Operation::Add(addend) => u64::from(*addend),
            Operation::Multiply(factor) => 10 + u64::from(*factor),
        };
        self.operations.iter().fold(head, |number, operation| 20 * number + code(operation))
    }

    /// `4 +5 *3 +1 +4 . . . . :`.
    fn question(&self) -> String {
        let mut words = vec![self.start.to_string()];
        words.extend(self.operations.iter().map(|operation| operation.word()));
        words.resize(OPERATIONS_MAX + 1, BLANK.to_owned());
        words.push(":".to_owned());
        words.join(" ")
    }

    fn gold(&self) -> String {
        last(&self.values(1))
    }

    /// For every second operation its label and the value: `b 2 d 6`.
    fn quick(&self) -> (String, String) {
        let values = self.values(2);
        (steps(&values), last(&values))
    }

    /// For each operation its label and the value: `a 9 b 7 c 8 d 2`.
    fn careful(&self) -> String {
        steps(&self.values(1))
    }
}

fn steps(values: &[(&str, u8)]) -> String {
    values.iter().map(|(label, value)| format!("{label} {value}")).collect::<Vec<_>>().join(" ")
}

fn last(values: &[(&str, u8)]) -> String {
    values.last().map(|(_, value)| value.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        Operation::{Add, Multiply},
        *,
    };
    use crate::task::Plan;

    fn operations() -> impl Iterator<Item = Operation> {
        (1..=ADDEND_MAX).map(Add).chain(FACTORS.map(Multiply))
    }

    #[test]
    fn prompts_and_completions_have_the_text_of_the_task() {
        // 4 + 5 = 9, · 3 = 7, + 1 = 8, + 4 = 2; with every other one left out 4 · 3 = 2, + 4 = 6.
        let chain = Chain { start: 4, operations: vec![Add(5), Multiply(3), Add(1), Add(4)] };
        assert_eq!(chain.question(), "4 +5 *3 +1 +4 . . . . :");
        for (plan, expected) in [
            (Plan::Quick, "<q> b 2 d 6 A 6"),
            (Plan::Careful, "<c> a 9 b 7 c 8 d 2 A 2"),
            (Plan::Verify, "<v> a 9 b 7 c 8 d 2 W a 9 b 7 c 8 d 2 A 2"),
            (Plan::VerifyTwice, "<w> a 9 b 7 c 8 d 2 W a 9 b 7 c 8 d 2 W a 9 b 7 c 8 d 2 A 2"),
        ] {
            assert_eq!(plan.completion(&chain), expected);
        }
    }

    #[test]
    fn chains_end_where_a_hand_calculation_ends() {
        for (start, operations, gold, quick) in [
            (0, vec![Multiply(7), Add(4)], "4", "4"), // 0 · 7 is 0: what was left out did nothing
            (5, vec![Add(5), Add(5)], "5", "0"),      // 0, 5; and 0
            (9, vec![Multiply(9), Multiply(9)], "9", "1"), // 1, 9; and 1
            (2, vec![Add(3), Multiply(3), Add(5), Multiply(7)], "0", "2"), // 5, 5, 0, 0; and 6, 2
            (1, vec![Add(5), Add(1), Add(5), Add(1)], "3", "3"), // 5 and 5 cancel
        ] {
            let chain = Chain { start, operations };
            assert_eq!((chain.gold().as_str(), chain.quick().1.as_str()), (gold, quick), "{chain:?}");
        }
    }

    #[test]
    fn of_all_chains_of_two_operations_three_in_forty_survive_the_shortcut() {
        let pairs = operations().flat_map(|first| operations().map(move |second| vec![first, second]));
        let chains =
            pairs.flat_map(|operations| (0..10).map(move |start| Chain { start, operations: operations.clone() }));
        let (wrong, right): (Vec<_>, Vec<_>) = chains.partition(|chain| chain.quick().1 != chain.gold());
        assert_eq!((wrong.len(), right.len()), (592, 48));
    }

    /// In how many ways a state is reached: the gold value and the one that the quick plan has.
    type Ways = BTreeMap<(u8, u8), f64>;

    /// `ways` after one more operation, which makes `after` of both values.
    fn one_operation_later(ways: &Ways, after: impl Fn(Operation, (u8, u8)) -> (u8, u8)) -> Ways {
        let mut next = Ways::new();
        for (values, before) in ways {
            for operation in operations() {
                *next.entry(after(operation, *values)).or_insert(0.0) += before;
            }
        }
        next
    }

    #[test]
    fn the_stated_shares_are_those_of_both_values_as_a_markov_chain() {
        let after = |operation, value| match operation {
            Add(addend) => (value + addend) % 10,
            Multiply(factor) => (value * factor) % 10,
        };
        for (level, stated) in CHAIN.levels.into_iter().zip(CHAIN.quick_wrong_shares) {
            let mut ways: Ways = (0..10).map(|start| ((start, start), 1.0)).collect();
            for _ in 0..level / 2 {
                ways = one_operation_later(&ways, |operation, (gold, quick)| (after(operation, gold), quick));
                ways =
                    one_operation_later(&ways, |operation, both| (after(operation, both.0), after(operation, both.1)));
            }
            let wrong: f64 = ways.iter().filter(|((gold, quick), _)| gold != quick).map(|(_, count)| count).sum();
            let share = wrong / ways.values().sum::<f64>();
            assert!((share - stated).abs() < 1e-12, "{level} operations: {share}, not {stated}");
        }
    }
}
