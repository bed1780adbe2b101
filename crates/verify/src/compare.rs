//! Whether an answer equals a gold. Not how either was read: see `answer`.

use crate::{
    algebra::Decision,
    answer::Answer,
    limits::{Refusal, Stop, Work},
};

mod name;
mod quantity;
mod relation;
mod same;

pub(crate) use quantity::Rounding;
pub(crate) use same::Comparer;

/// How an answer stands to a gold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    EqualTexts,
    EqualValues,
    ValuesDiffer,
    TextsDiffer,
    GoldIsValue,
    GoldIsText,
    OptionsDiffer,
    Undecided,
    TooLarge(&'static str),
}

impl Comparison {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::EqualTexts => "written the same",
            Self::EqualValues => "equal in value",
            Self::ValuesDiffer => "the values differ",
            Self::TextsDiffer => "the texts differ",
            Self::GoldIsValue => "the gold is a mathematical value and the answer is not",
            Self::GoldIsText => "the answer is a mathematical value and the gold is not",
            Self::OptionsDiffer => "the options differ",
            Self::Undecided => "equal at every point tried, and not proved equal",
            Self::TooLarge(reason) => reason,
        }
    }
}

/// Texts that are the same are equal; otherwise values are, in any of their readings.
pub(crate) fn compare(answer: &Answer, gold: &Answer, rounding: Rounding) -> Comparison {
    let same_option_or_none = agree(answer.option.as_ref(), gold.option.as_ref());
    // Of `x = 5` and `y = 5` the values say whether they are the same.
    if answer.text == gold.text && same_option_or_none && agree(answer.name.as_ref(), gold.name.as_ref()) {
        return Comparison::EqualTexts;
    }
    if let Some(same_option) = same_option(answer, gold) {
        return if same_option { Comparison::EqualValues } else { Comparison::OptionsDiffer };
    }
    let mut decision: Option<Decision> = None;
    let mut work = Work::new();
    for mine in &answer.values {
        for theirs in &gold.values {
            let found = match (Comparer { rounding, work: &mut work }).same(mine, theirs) {
                Ok(found) => found,
                Err(Stop::Refused(Refusal::TooLarge(reason))) => return Comparison::TooLarge(reason),
                Err(Stop::Refused(Refusal::Unreadable(_)) | Stop::NotMathematics) => Decision::Undecided,
            };
            decision = Some(decision.map_or(found, |decision| decision.or(found)));
        }
    }
    match decision {
        Some(Decision::Equal) => Comparison::EqualValues,
        Some(Decision::Different) => Comparison::ValuesDiffer,
        Some(Decision::Undecided) => Comparison::Undecided,
        None => match (answer.values.is_empty(), gold.values.is_empty()) {
            (true, false) => Comparison::GoldIsValue,
            (false, true) => Comparison::GoldIsText,
            (_, _) => Comparison::TextsDiffer,
        },
    }
}

/// Whether two things are the same, or one of them is not there.
fn agree<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// Where one side names an option of a multiple choice and the other is or names one: whether it is the same.
fn same_option(answer: &Answer, gold: &Answer) -> Option<bool> {
    match (answer.option, gold.option) {
        (Some(a), Some(b)) => Some(a == b),
        (Some(a), None) => gold.letter().map(|b| a == b),
        (None, Some(b)) => answer.letter().map(|a| a == b),
        (None, None) => None,
    }
}
