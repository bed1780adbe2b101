//! Math-Verify's own gold/prediction pairs against our verdicts. The pairs are not ours and not in the repository.
//!
//! Where we disagree stands in a file of reasons, one line `place | reason` for each pair; a disagreement without a
//! line and a line without a disagreement both fail.

use std::{collections::BTreeMap, path::Path};

use verify::{Extraction, Gold, check};

use crate::{
    Outcome,
    rows::{read_reasons, read_rows, text_of},
};

/// The pairs of release 0.9.0.
const PAIRS: usize = 275;
/// Fewest pairs on which we must agree.
const AGREED_MIN: usize = 270;

pub(crate) fn check_pairs(pairs: &Path, reasons: &Path) -> Result<Outcome, String> {
    let rows = read_rows(pairs)?;
    if rows.len() != PAIRS {
        return Err(format!(
            "{} has {} pairs where {PAIRS} are expected; fetch them anew",
            pairs.display(),
            rows.len()
        ));
    }
    let reasons = read_reasons(reasons)?;
    let mut disagreements = BTreeMap::new();
    for row in &rows {
        let text = |field| text_of(row, field).ok_or_else(|| format!("a pair has no {field}; fetch the pairs anew"));
        let (place, gold, prediction) = (text("test")?, text("gold")?, text("prediction")?);
        let expected = row["expected"].as_bool().ok_or("a pair has no expected; fetch the pairs anew")?;
        let digits = row["digits"].as_u64().and_then(|digits| u32::try_from(digits).ok());
        let digits = digits.ok_or("a pair has no digits; fetch the pairs anew")?;
        let (is_correct, found) = judged(&prediction, &gold, digits);
        if is_correct != expected {
            let shown = format!(
                "expected {}, {found}\n    gold       {}\n    prediction {}",
                if expected { "correct" } else { "wrong" },
                shortened(&gold),
                shortened(&prediction)
            );
            disagreements.insert(place, shown);
        }
    }
    let agreed = rows.len() - disagreements.len();
    let mut outcome = Outcome::Holds;
    for (place, shown) in &disagreements {
        let reason = reasons.get(place);
        println!("{place}: {shown}\n    reason     {}", reason.map_or("NOT LISTED", String::as_str));
        if reason.is_none() {
            outcome = Outcome::Fails;
        }
    }
    for place in reasons.keys().filter(|place| !disagreements.contains_key(*place)) {
        println!("{place}: listed as a disagreement and is none any more; take its line out");
        outcome = Outcome::Fails;
    }
    println!("Math-Verify's pairs: {agreed} of {} as expected; at least {AGREED_MIN} must be", rows.len());
    Ok(if agreed < AGREED_MIN { Outcome::Fails } else { outcome })
}

/// Whether the prediction earns the reward, and what was found. Each of their tests says to how many decimal places
/// it rounds, or leaves it at 6.
fn judged(prediction: &str, gold: &str, digits: u32) -> (bool, String) {
    match Gold::parse(gold).map(|gold| gold.with_decimals(digits)) {
        Ok(gold) => {
            let found = check(prediction, &gold, &Extraction::Auto {});
            (found.verdict.is_correct(), format!("got {:?} of {:?} ({})", found.verdict, found.answer, found.reason))
        }
        Err(error) => (false, format!("the gold is refused: {error}")),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 160;
    let characters = text.chars().count();
    let tail: String = text.chars().skip(characters.saturating_sub(SHOWN)).collect();
    if characters > SHOWN { format!("… {tail:?}") } else { format!("{tail:?}") }
}
