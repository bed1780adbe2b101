//! Whether an answer equals a gold. Not how either was read: see `value`.

use num_rational::BigRational;

use crate::{
    number::{Mark, Number},
    value::Value,
};

/// How two values stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    EqualNumbers,
    EqualTexts,
    NumbersDiffer,
    TextsDiffer,
    GoldIsNumber,
    GoldIsText,
}

impl Comparison {
    pub(crate) fn is_equal(self) -> bool {
        matches!(self, Self::EqualNumbers | Self::EqualTexts)
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::EqualNumbers => "equal as numbers",
            Self::EqualTexts => "equal as text",
            Self::NumbersDiffer => "the numbers differ",
            Self::TextsDiffer => "the texts differ",
            Self::GoldIsNumber => "the gold is a number and the answer is not",
            Self::GoldIsText => "the answer is a number and the gold is not",
        }
    }
}

/// Two numbers are equal by value, anything else by normalised text.
pub(crate) fn compare(answer: &Value, gold: &Value) -> Comparison {
    if let (Some(answer), Some(gold)) = (&answer.number, &gold.number) {
        return if numbers_equal(answer, gold) { Comparison::EqualNumbers } else { Comparison::NumbersDiffer };
    }
    if answer.text == gold.text {
        return Comparison::EqualTexts;
    }
    match (answer.number.is_some(), gold.number.is_some()) {
        (false, true) => Comparison::GoldIsNumber,
        (true, false) => Comparison::GoldIsText,
        (_, _) => Comparison::TextsDiffer,
    }
}

/// A percent sign on one side only may stand for the unit asked for or for 1/100, so `50%` equals `50` and `0.5`;
/// signs on both sides or on neither say nothing, so `50` does not equal `0.5` and `50%` does not equal `0.5%`.
fn numbers_equal(a: &Number, b: &Number) -> bool {
    let hundred = || BigRational::from_integer(100.into());
    a.value == b.value
        || match (a.mark, b.mark) {
            (Mark::Percent, Mark::Plain) => a.value == &b.value * hundred(),
            (Mark::Plain, Mark::Percent) => &a.value * hundred() == b.value,
            (Mark::Plain, Mark::Plain) | (Mark::Percent, Mark::Percent) => false,
        }
}
