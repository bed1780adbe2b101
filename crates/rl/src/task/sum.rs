//! `sum`: two numbers of 2, 4, 6 or 8 digits, written below each other, are added column by column, from the right.
//!
//! The quick plan looks one column back for a carry, and so misses a carry that comes through a column of nine. Where
//! that happens could be worked out from the prompt, but only by adding up all columns.

use super::{BLANK, Draws, Exercise, Family, LABELS};

/// The sum of two numbers.
pub static SUM: Family = Family {
    name: "sum",
    asks: "the sum of two numbers, digit by digit",
    shows: "the shortcut fails on a small minority, found only by working it out",
    level_unit: "digits",
    levels: [2, 4, 6, 8],
    quick_wrong_shares: [2.0 / 45.0, 149.0 / 1125.0, 382_427.0 / 1_800_000.0, 51_317_081.0 / 180_000_000.0],
    plan_weights: [9, 5, 4, 2],
    words: &[
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", // digits, and totals of columns
        "10", "11", "12", "13", "14", "15", "16", "17", "18", "19", // totals of columns
        "0+0", "0+1", "0+2", "0+3", "0+4", "0+5", "0+6", "0+7", "0+8", "0+9", "1+0", "1+1", "1+2", "1+3", "1+4", "1+5",
        "1+6", "1+7", "1+8", "1+9", "2+0", "2+1", "2+2", "2+3", "2+4", "2+5", "2+6", "2+7", "2+8", "2+9", "3+0", "3+1",
        "3+2", "3+3", "3+4", "3+5", "3+6", "3+7", "3+8", "3+9", "4+0", "4+1", "4+2", "4+3", "4+4", "4+5", "4+6", "4+7",
        "4+8", "4+9", "5+0", "5+1", "5+2", "5+3", "5+4", "5+5", "5+6", "5+7", "5+8", "5+9", "6+0", "6+1", "6+2", "6+3",
        "6+4", "6+5", "6+6", "6+7", "6+8", "6+9", "7+0", "7+1", "7+2", "7+3", "7+4", "7+5", "7+6", "7+7", "7+8", "7+9",
        "8+0", "8+1", "8+2", "8+3", "8+4", "8+5", "8+6", "8+7", "8+8", "8+9", "9+0", "9+1", "9+2", "9+3", "9+4", "9+5",
        "9+6", "9+7", "9+8", "9+9", // columns: a digit of each number
        "a", "b", "c", "d", "e", "f", "g", "h", // labels: the place of a column, from the right
    ],
    prompt_tokens: DIGITS_MAX + 1,
    completion_tokens_max: 88,
    start_steps: 800,
    draw: |draws, digits| Box::new(Sum::draw(draws, digits)),
};

const DIGITS_MAX: usize = 8;

/// Two numbers as digits from the right, as many in both, the last of which are not 0.
#[derive(Debug, Clone)]
struct Sum {
    columns: Vec<(u8, u8)>,
}

impl Sum {
    fn draw(draws: &mut Draws, digits: usize) -> Self {
        let column = |place| {
            let low = u8::from(place + 1 == digits);
            (draws.between(low, 9), draws.between(low, 9))
        };
        Self { columns: (0..digits).map(column).collect() }
    }

    /// Totals of the columns, each with the carry into it.
    fn totals(&self) -> Vec<u8> {
        let mut carry = 0;
        let total = |&(first, second): &(u8, u8)| {
            let total = first + second + carry;
            carry = total / 10;
            total
        };
        self.columns.iter().map(total).collect()
    }

    /// The same, where a column carries what its own two digits alone would.
    fn quick_totals(&self) -> Vec<u8> {
        let mut carry = 0;
        let total = |&(first, second): &(u8, u8)| {
            let total = first + second + carry;
            carry = (first + second) / 10;
            total
        };
        self.columns.iter().map(total).collect()
    }
}

impl Exercise for Sum {
    /// The digits of both numbers from the left, in pairs.
    fn number(&self) -> u64 {
        let columns = self.columns.iter().rev();
        columns.fold(0, |number, (first, second)| 100 * number + u64::from(10 * first + second))
    }

    /// 47 + 38 as columns, one word each: `. . . . . . 4+3 7+8 :`.
    fn question(&self) -> String {
        let mut words: Vec<String> = self.columns.iter().map(|(first, second)| format!("{first}+{second}")).collect();
        words.resize(DIGITS_MAX, BLANK.to_owned());
        words.reverse();
        words.push(":".to_owned());
        words.join(" ")
    }

    fn gold(&self) -> String {
        let totals = self.totals();
        digits_of(&totals, totals.last().map_or(0, |total| total / 10))
    }

    /// For each column its label and digit: `a 5 b 8`. Wrong where the carry into a column, or out of the last one, is
    /// not what the two digits of the column before say: each such digit is off by one.
    fn quick(&self) -> (String, String) {
        let totals = self.quick_totals();
        let words = totals.iter().zip(LABELS).map(|(total, label)| format!("{label} {}", total % 10));
        let carry = self.columns.last().map_or(0, |(first, second)| (first + second) / 10);
        (words.collect::<Vec<_>>().join(" "), digits_of(&totals, carry))
    }

    /// For each column its label, total and digit: `a 15 5 b 8 8`.
    fn careful(&self) -> String {
        let words =
            self.totals().into_iter().zip(LABELS).map(|(total, label)| format!("{label} {total} {}", total % 10));
        words.collect::<Vec<_>>().join(" ")
    }
}

/// The digits of a sum from the left, where `carry` is what the last column carries, 0 or 1.
fn digits_of(totals: &[u8], carry: u8) -> String {
    let leading = (carry > 0).then(|| carry.to_string());
    let digits = totals.iter().rev().map(|total| (total % 10).to_string());
    leading.into_iter().chain(digits).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::task::Plan;

    /// The exercise with the question `first + second`.
    fn sum(first: &str, second: &str) -> Sum {
        let digits = first.bytes().zip(second.bytes()).rev();
        Sum { columns: digits.map(|(first, second)| (first - b'0', second - b'0')).collect() }
    }

    #[test]
    fn sums_are_those_of_a_hand_calculation() {
        for (first, second, gold, quick) in [
            ("47", "38", "8 5", "8 5"),             // one carry, seen from the column before
            ("45", "54", "9 9", "9 9"),             // nines without a carry
            ("45", "55", "1 0 0", "0 0"),           // the carry out of 4 + 5 + 1 is missed
            ("1445", "1557", "3 0 0 2", "2 9 0 2"), // through 4 + 5 into 4 + 5: the third column keeps its 9
            ("99999999", "10000001", "1 1 0 0 0 0 0 0 0", "1 0 9 9 9 9 9 0 0"), // every carry beyond the second is missed
        ] {
            let sum = sum(first, second);
            assert_eq!((sum.gold().as_str(), sum.quick().1.as_str()), (gold, quick), "{first} + {second}");
        }
    }

    #[test]
    fn prompts_and_completions_have_the_text_of_the_task() {
        let plain = sum("47", "38");
        assert_eq!(plain.question(), ". . . . . . 4+3 7+8 :");
        let carried = sum("4452", "1550");
        assert_eq!(carried.question(), ". . . . 4+1 4+5 5+5 2+0 :");
        for (sum, plan, expected) in [
            (&plain, Plan::Quick, "<q> a 5 b 8 A 8 5"),
            (&plain, Plan::Careful, "<c> a 15 5 b 8 8 A 8 5"),
            (&plain, Plan::Verify, "<v> a 15 5 b 8 8 W a 15 5 b 8 8 A 8 5"),
            (&carried, Plan::Quick, "<q> a 2 b 0 c 0 d 5 A 5 0 0 2"),
            (&carried, Plan::Careful, "<c> a 2 2 b 10 0 c 10 0 d 6 6 A 6 0 0 2"),
        ] {
            assert_eq!(plan.completion(sum), expected);
        }
        let passes = ["a 15 5 b 8 8"; 3].join(" W ");
        assert_eq!(Plan::VerifyTwice.completion(&plain), format!("<w> {passes} A 8 5"));
    }

    #[test]
    fn of_all_sums_of_two_digits_one_in_22_and_a_half_needs_a_carry_through_nine() {
        let all = (10..100).flat_map(|first| (10..100).map(move |second| (first, second)));
        let wrong = all.filter(|(first, second)| {
            let sum = sum(&first.to_string(), &second.to_string());
            let digits = sum.gold().replace(' ', "");
            assert_eq!(digits, (first + second).to_string());
            sum.quick().1 != sum.gold()
        });
        assert_eq!(wrong.count(), 360);
    }

    /// In how many ways a state is reached: the carry, the carry that the quick plan sees, whether both agreed so far.
    type Ways = BTreeMap<(bool, bool, bool), f64>;

    /// `ways` one column later, where its two digits add up to a total in `count` ways.
    fn one_column_later(ways: &Ways, count: impl Fn(i32) -> i32) -> Ways {
        let mut next = Ways::new();
        for (&(carry, seen, agreed), before) in ways {
            for total in 0..=18 {
                let state = (total + i32::from(carry) > 9, total > 9, agreed && carry == seen);
                *next.entry(state).or_insert(0.0) += before * f64::from(count(total).max(0));
            }
        }
        next
    }

    #[test]
    fn the_stated_shares_are_those_of_the_carries_as_a_markov_chain() {
        for (digits, stated) in SUM.levels.into_iter().zip(SUM.quick_wrong_shares) {
            let mut ways = Ways::from([((false, false, true), 1.0)]);
            for _ in 1..digits {
                ways = one_column_later(&ways, |total| 10 - (9 - total).abs());
            }
            // The leftmost digits are not 0.
            ways = one_column_later(&ways, |total| 9 - (10 - total).abs());
            let right =
                ways.iter().filter(|((carry, seen, agreed), _)| *agreed && carry == seen).map(|(_, count)| count);
            let share = 1.0 - right.sum::<f64>() / ways.values().sum::<f64>();
            assert!((share - stated).abs() < 1e-12, "{digits} digits: {share}, not {stated}");
        }
    }
}
