//! `hex`: a number of 5 to 8 digits in base 4 is written in base 16, two digits of one making one of the other.
//!
//! The quick plan takes pairs from the left, which is right when the number of digits is even and wrong when it is odd:
//! the prompt shows at a glance which it is.

use super::{BLANK, Draws, Exercise, Family, LABELS};

/// The conversion from base 4 to base 16.
pub static HEX: Family = Family {
    name: "hex",
    asks: "a number of base 4 in base 16",
    shows: "the shortcut fails on half of the levels and never on the others, which the prompt shows at a glance",
    level_unit: "digits",
    levels: [5, 6, 7, 8],
    quick_wrong_shares: [1.0, 0.0, 1.0, 0.0],
    plan_weights: [8, 6, 4, 2],
    words: &[
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", // digits
        "a", "b", "c", "d", // labels: the place of a pair, from the left
    ],
    prompt_tokens: DIGITS_MAX + 1,
    completion_tokens_max: 60,
    start_steps: 800,
    draw: |draws, digits| Box::new(Numeral::draw(draws, digits)),
};

const DIGITS_MAX: usize = 8;

/// Digits of base 4 from the left, the first of which is not 0.
#[derive(Debug, Clone)]
struct Numeral {
    digits: Vec<u8>,
}

impl Numeral {
    fn draw(draws: &mut Draws, digits: usize) -> Self {
        Self { digits: (0..digits).map(|place| draws.between(u8::from(place == 0), 3)).collect() }
    }

    /// Pairs from the right, the first filled up with 0.
    fn pairs(&self) -> Vec<(u8, u8)> {
        let filled: Vec<u8> =
            std::iter::repeat_n(0, self.digits.len() % 2).chain(self.digits.iter().copied()).collect();
        filled.chunks(2).map(|pair| (pair[0], pair[1])).collect()
    }
}

impl Exercise for Numeral {
    /// Its value.
    fn number(&self) -> u64 {
        self.digits.iter().fold(0, |number, digit| 4 * number + u64::from(*digit))
    }

    /// `1 2 0 3 3 . . . :`.
    fn question(&self) -> String {
        let mut words: Vec<String> = self.digits.iter().map(u8::to_string).collect();
        words.resize(DIGITS_MAX, BLANK.to_owned());
        words.push(":".to_owned());
        words.join(" ")
    }

    fn gold(&self) -> String {
        self.pairs().iter().map(|(high, low)| (4 * high + low).to_string()).collect::<Vec<_>>().join(" ")
    }

    /// For each pair from the left its label and digit, the last digit alone when it has no partner: `a 6 b 3 c 3`. An
    /// odd number of digits is never right: the first pair is at least 4, the first digit of the gold at most 3.
    fn quick(&self) -> (String, String) {
        let digits: Vec<String> =
            self.digits.chunks(2).map(|pair| pair.iter().fold(0, |digit, part| 4 * digit + part).to_string()).collect();
        let words = digits.iter().zip(LABELS).map(|(digit, label)| format!("{label} {digit}"));
        (words.collect::<Vec<_>>().join(" "), digits.join(" "))
    }

    /// For each pair from the right, written from the left, its label, both digits and the one they make:
    /// `a 0 1 1 b 2 0 8 c 3 3 15`.
    fn careful(&self) -> String {
        let words = self.pairs().into_iter().zip(LABELS);
        words
            .map(|((high, low), label)| format!("{label} {high} {low} {}", 4 * high + low))
            .collect::<Vec<_>>()
            .join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Plan;

    fn numeral(digits: &[u8]) -> Numeral {
        Numeral { digits: digits.to_vec() }
    }

    #[test]
    fn prompts_and_completions_have_the_text_of_the_task() {
        // 12033 in base 4 is 256 + 2 · 64 + 0 · 16 + 3 · 4 + 3 = 399 = 18F in base 16.
        let odd = numeral(&[1, 2, 0, 3, 3]);
        assert_eq!(odd.question(), "1 2 0 3 3 . . . :");
        let even = numeral(&[3, 0, 1, 2, 2, 1]);
        assert_eq!(even.question(), "3 0 1 2 2 1 . . :");
        for (numeral, plan, expected) in [
            (&odd, Plan::Quick, "<q> a 6 b 3 c 3 A 6 3 3"),
            (&odd, Plan::Careful, "<c> a 0 1 1 b 2 0 8 c 3 3 15 A 1 8 15"),
            (&even, Plan::Quick, "<q> a 12 b 6 c 9 A 12 6 9"),
            (&even, Plan::Careful, "<c> a 3 0 12 b 1 2 6 c 2 1 9 A 12 6 9"),
            (&even, Plan::Verify, "<v> a 3 0 12 b 1 2 6 c 2 1 9 W a 3 0 12 b 1 2 6 c 2 1 9 A 12 6 9"),
        ] {
            assert_eq!(plan.completion(numeral), expected);
        }
        let passes = ["a 3 0 12 b 1 2 6 c 2 1 9"; 3].join(" W ");
        assert_eq!(Plan::VerifyTwice.completion(&even), format!("<w> {passes} A 12 6 9"));
    }

    #[test]
    fn golds_are_the_digits_of_the_value_in_base_16_and_the_shortcut_is_right_on_even_lengths_alone() {
        for value in 256..65_536_u64 {
            let digits: Vec<u8> = (0..8).rev().map(|place| (value >> (2 * place) & 3) as u8).collect();
            let numeral = numeral(&digits[digits.iter().position(|digit| *digit > 0).unwrap()..]);
            assert_eq!(numeral.number(), value);
            let hexadecimal = numeral
                .gold()
                .split(' ')
                .fold(String::new(), |text, digit| text + &format!("{:x}", digit.parse::<u8>().unwrap()));
            assert_eq!(hexadecimal, format!("{value:x}"));
            assert_eq!(numeral.quick().1 == numeral.gold(), numeral.digits.len().is_multiple_of(2), "{numeral:?}");
        }
    }
}
