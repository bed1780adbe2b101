//! Every gold of the data sets against itself, against its solution, and against perturbed copies of it, boxed and in a
//! sentence.
//!
//! Rows of the data sets that are wrong themselves stand in a file of reasons, one line `place | reason` for each; a
//! failure without a line and a line without a failure both fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use verify::{Extraction, Gold, Verdict, check};

use crate::{
    Outcome,
    rows::{Problem, read_problems, read_reasons},
};
use perturb::{Perturbation, perturbations};

#[path = "../../tests/support/perturb/mod.rs"]
pub(crate) mod perturb;

/// What was checked and how much of it failed.
#[derive(Default)]
struct Count {
    checked: usize,
    failed: usize,
}

/// The counts of everything.
struct Counts {
    golds: Count,
    themselves: Count,
    solutions: Count,
    perturbations: Count,
    undecided: usize,
    reasons: BTreeMap<String, String>,
    excused: BTreeSet<String>,
}

impl Counts {
    /// Counts and prints a failure, unless the row is known to be wrong.
    fn failed(&mut self, count: fn(&mut Self) -> &mut Count, place: &str, failure: &str) {
        if let Some(reason) = self.reasons.get(place) {
            println!("{place}: {failure}\n    reason {reason}");
            self.excused.insert(place.to_owned());
        } else {
            println!("{place}: {failure}");
            count(self).failed += 1;
        }
    }
}

pub(crate) fn check_golds(directory: &Path, reasons: &Path) -> Result<Outcome, String> {
    let problems = read_problems(directory)?;
    let mut counts = Counts {
        golds: Count::default(),
        themselves: Count::default(),
        solutions: Count::default(),
        perturbations: Count::default(),
        undecided: 0,
        reasons: read_reasons(reasons)?,
        excused: BTreeSet::new(),
    };
    for problem in &problems {
        check_problem(problem, &mut counts);
    }
    let rows = [
        ("golds that are read", &counts.golds),
        ("golds equal to themselves", &counts.themselves),
        ("solutions that are correct", &counts.solutions),
        ("perturbed golds that are not", &counts.perturbations),
    ];
    let mut outcome = Outcome::Holds;
    for (name, Count { checked, failed }) in rows {
        println!("{name:<30}{checked:>8} checked{failed:>6} failed");
        if *failed > 0 {
            outcome = Outcome::Fails;
        }
    }
    println!("{} rows are excused; {} perturbed golds were not decided", counts.excused.len(), counts.undecided);
    let read: BTreeSet<&String> = problems.iter().map(|problem| &problem.place).collect();
    for place in counts.reasons.keys().filter(|place| read.contains(place) && !counts.excused.contains(*place)) {
        println!("{place}: listed as wrong and is not any more; take its line out");
        outcome = Outcome::Fails;
    }
    Ok(outcome)
}

fn check_problem(problem: &Problem, counts: &mut Counts) {
    let Problem { place, gold, solution } = problem;
    counts.golds.checked += 1;
    let parsed = match Gold::parse(gold) {
        Ok(parsed) => parsed,
        Err(error) => return counts.failed(|counts| &mut counts.golds, place, &error.to_string()),
    };
    let judge = |completion: &str| check(completion, &parsed, &Extraction::Auto {});
    let found = judge(&boxed(parsed.text()));
    counts.themselves.checked += 1;
    if !found.verdict.is_correct() {
        let failure = format!("gold {:?} against itself: {:?} ({})", parsed.text(), found.verdict, found.reason);
        counts.failed(|counts| &mut counts.themselves, place, &failure);
    }
    if let Some(solution) = solution {
        let found = judge(solution);
        counts.solutions.checked += 1;
        if !found.verdict.is_correct() {
            let (verdict, answer, reason) = (found.verdict, &found.answer, &found.reason);
            let failure = format!("solution against {:?}: {verdict:?} of {answer:?} ({reason})", parsed.text());
            counts.failed(|counts| &mut counts.solutions, place, &failure);
        }
    }
    for Perturbation { change, text } in perturbations(parsed.text()) {
        // A sentence ends with its line.
        let sentence = (!text.contains('\n')).then(|| format!("The final answer is ${text}$."));
        for completion in [Some(boxed(&text)), sentence].into_iter().flatten() {
            let found = judge(&completion);
            counts.perturbations.checked += 1;
            counts.undecided += usize::from(found.verdict == Verdict::Unknown);
            if found.verdict.is_correct() {
                let failure = format!("gold {:?} equals {completion:?} ({change}): {}", parsed.text(), found.reason);
                counts.failed(|counts| &mut counts.perturbations, place, &failure);
            }
        }
    }
}

/// An answer as models give it.
pub(crate) fn boxed(answer: &str) -> String {
    format!("Therefore the answer is $\\boxed{{{answer}}}$.")
}
