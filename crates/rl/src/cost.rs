//! Costs of a completion other than its tokens: what an objective of the config can act on by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{RlError, score::ScoredCompletion};

/// The cost that is always there: completion tokens, end token included.
pub const TOKENS: &str = "tokens";

/// One entry of `[train.costs]`: how a cost is counted in a completion's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Cost {
    /// Lines that are not blank.
    Lines {},
    /// Steps of reasoning: blocks of lines between blank lines.
    Paragraphs {},
    /// Occurrences of a text, such as "Wait", that do not overlap.
    Occurrences(Occurrences),
}

/// Settings of [`Cost::Occurrences`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Occurrences {
    /// The text, case and all.
    pub of: String,
}

impl Cost {
    /// The cost of a completion's text.
    pub fn count(&self, text: &str) -> f64 {
        let is_blank = |line: &str| line.trim().is_empty();
        let count = match self {
            Self::Lines {} => text.lines().filter(|line| !is_blank(line)).count(),
            Self::Paragraphs {} => {
                let before = std::iter::once("").chain(text.lines());
                text.lines().zip(before).filter(|(line, before)| !is_blank(line) && is_blank(before)).count()
            }
            Self::Occurrences(Occurrences { of }) => text.matches(of.as_str()).count(),
        };
        count as f64
    }
}

/// Refuses a name that is taken and a text that is everywhere.
pub(crate) fn check(costs: &BTreeMap<String, Cost>) -> Result<(), RlError> {
    let refuse = |message: &str| Err(RlError::Setting { field: "train.costs", message: message.into() });
    if costs.contains_key(TOKENS) {
        return refuse("defines \"tokens\", which is there already; choose another name");
    }
    if costs.values().any(|cost| matches!(cost, Cost::Occurrences(Occurrences { of }) if of.is_empty())) {
        return refuse("counts occurrences of an empty text; name the text with `of`");
    }
    Ok(())
}

/// Costs of a step's completions by name, each \[N\]\[G\].
pub fn costs(
    definitions: &BTreeMap<String, Cost>,
    groups: &[Vec<ScoredCompletion>],
) -> BTreeMap<String, Vec<Vec<f64>>> {
    let priced = |cost: &Cost| {
        groups.iter().map(|group| group.iter().map(|scored| cost.count(&scored.text)).collect()).collect()
    };
    definitions.iter().map(|(name, cost)| (name.clone(), priced(cost))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_counted_in_the_text() {
        let text = "First, 2 + 2 = 4.\nWait, check.\n\n \nWait. It is 4.\n\nAnswer 4";
        let occurrences = |of: &str| Cost::Occurrences(Occurrences { of: of.into() });
        for (cost, of_text, of_nothing) in [
            (Cost::Lines {}, 4.0, 0.0),
            (Cost::Paragraphs {}, 3.0, 0.0),
            (occurrences("Wait"), 2.0, 0.0),
            (occurrences("wait"), 0.0, 0.0),
        ] {
            assert_eq!([cost.count(text), cost.count("")].map(f64::to_bits), [of_text, of_nothing].map(f64::to_bits));
        }
    }
}
