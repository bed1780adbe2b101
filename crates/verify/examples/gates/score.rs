//! Verdicts and times of completions and golds as JSON lines, for a comparison with other verifiers.

use std::{fs, path::Path};

use serde_json::json;
use verify::{Extraction, Gold, check};

use crate::{
    Outcome,
    golds::{boxed, perturb::perturbations},
    rows::{read_problems, read_rows, text_of},
    speed::microseconds,
};

#[path = "../../tests/support/table.rs"]
mod table_of_cases;

/// Reads lines with `completion`, `gold` and perhaps `digits`, the decimal places to compare; writes lines with `correct`, `verdict`, `reason` and `microseconds`.
#[expect(clippy::disallowed_methods, reason = "the scores are no file of a run")]
pub(crate) fn score(completions: &Path, scores: &Path) -> Result<Outcome, String> {
    let mut lines = String::new();
    for (index, row) in read_rows(completions)?.iter().enumerate() {
        let text = |field| {
            text_of(row, field).ok_or_else(|| format!("{}:{}: has no {field}", completions.display(), index + 1))
        };
        let (completion, gold) = (text("completion")?, text("gold")?);
        let digits = row["digits"].as_u64().and_then(|digits| u32::try_from(digits).ok());
        let scored = match Gold::parse(&gold) {
            Ok(gold) => {
                let gold = digits.map_or(gold.clone(), |digits| gold.with_decimals(digits));
                let found = check(&completion, &gold, &Extraction::Auto {});
                let microseconds = microseconds(&completion, &gold);
                json!({
                    "correct": found.verdict.is_correct(),
                    "verdict": found.verdict,
                    "reason": found.reason,
                    "microseconds": microseconds,
                })
            }
            Err(error) => json!({"correct": false, "verdict": "gold_refused", "reason": error.to_string()}),
        };
        lines += &scored.to_string();
        lines.push('\n');
    }
    fs::write(scores, lines).map_err(|error| format!("cannot write {}: {error}", scores.display()))?;
    Ok(Outcome::Holds)
}

/// Prints the cases of the table whose answer is looked for without a marker.
pub(crate) fn table() -> Outcome {
    for case in table_of_cases::cases() {
        if case.extraction == (Extraction::Auto {}) {
            let correct = !case.wanted.is_negative();
            let row = json!({"place": case.place, "completion": case.completion, "gold": case.gold, "wanted": correct});
            println!("{row}");
        }
    }
    Outcome::Holds
}

/// Prints `count` pairs of golds, spread evenly over the data sets, with completions: the solution, one written as models
/// write that ends with the gold, and one that ends with a perturbed copy of it.
pub(crate) fn sample(directory: &Path, count: &str) -> Result<Outcome, String> {
    let count: usize = count.parse().map_err(|error| format!("{count:?} is no count: {error}"))?;
    let problems = read_problems(directory)?;
    let apart = (3 * problems.len()).div_ceil(count.max(1)).max(1);
    for (index, problem) in problems.iter().step_by(apart).enumerate() {
        let Ok(gold) = Gold::parse(&problem.gold) else { continue };
        let row = |kind: &str, completion: String, wanted: bool| {
            let place = format!("{}: {kind}", problem.place);
            println!("{}", json!({"place": place, "completion": completion, "gold": gold.text(), "wanted": wanted}));
        };
        let solution = problem.solution.as_deref().unwrap_or("We add up what is given.");
        if problem.solution.is_some() {
            row("solution", solution.to_owned(), true);
        }
        row("right at last", written(index, solution, gold.text()), true);
        let perturbed = perturbations(gold.text());
        if let Some(perturbation) = perturbed.get(index % perturbed.len().max(1)) {
            row(perturbation.change, written(index, solution, &perturbation.text), false);
        }
    }
    Ok(Outcome::Holds)
}

/// A completion in one of the forms in which models write, ending with `answer`.
fn written(index: usize, solution: &str, answer: &str) -> String {
    match index % 6 {
        0 => format!(
            "<think>\nOkay, so I need to find this. {solution}\nWait, let me check that again. Yes.\n</think>\n\nThe steps \
             are short.\n\n**Final Answer**\n\\[\n\\boxed{{{answer}}}\n\\]"
        ),
        1 => format!(
            "Let's think step by step.\n\n1. {solution}\n\nTherefore, the final answer is: $\\boxed{{{answer}}}$"
        ),
        2 => format!(
            "{solution}\n\nHmm, I should check it.\n\nFinal Answer: The final answer is ${answer}$. I hope it is correct."
        ),
        3 => format!(
            "## Solution\n\n{solution}\n\n### Result\n\n$$\\boxed{{{answer}}}$$\n\nThis completes the solution."
        ),
        4 => format!("<think>{solution}</think>The answer is ${answer}$."),
        _ => boxed(answer),
    }
}
