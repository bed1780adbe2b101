//! Every case of the table in `tests/table`, and perturbed copies of its golds.

use verify::{Extraction, Gold, Verdict, check};

use perturb::{PERTURBATIONS_MAX, perturbations};
use support::{Case, Wanted, cases};

#[path = "support/perturb/mod.rs"]
mod perturb;
#[path = "support/table.rs"]
mod support;

#[test]
fn every_case_of_the_table_has_the_verdict_that_a_careful_person_gives() {
    let cases = cases();
    let disagreements: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let gold = match Gold::parse(&case.gold) {
                Ok(gold) => gold,
                Err(error) => return Some(format!("{}: gold {:?}: {error}", case.place, case.gold)),
            };
            let found = check(&case.completion, &gold, &case.extraction);
            (!accepts(case.wanted, found.verdict)).then(|| {
                format!(
                    "{}: {:?} against {:?}: wanted {:?}, got {:?} of {:?} ({})",
                    case.place, case.completion, case.gold, case.wanted, found.verdict, found.answer, found.reason
                )
            })
        })
        .collect();
    assert!(
        disagreements.is_empty(),
        "{} of {} cases disagree\n{}",
        disagreements.len(),
        cases.len(),
        disagreements.join("\n")
    );
}

fn accepts(wanted: Wanted, verdict: Verdict) -> bool {
    match wanted {
        Wanted::Verdict(wanted) => verdict == wanted,
        Wanted::Wrong => !verdict.is_correct(),
    }
}

#[test]
fn the_table_has_600_cases_and_at_least_half_of_them_earn_nothing() {
    let cases = cases();
    let negatives = cases.iter().filter(|case| case.wanted.is_negative()).count();
    assert!(cases.len() >= 600, "{}", cases.len());
    assert!(2 * negatives >= cases.len(), "{negatives} of {}", cases.len());
}

#[test]
fn no_case_stands_twice_in_the_table() {
    let cases = cases();
    let key = |case: &Case| format!("{:?} {:?} {:?}", case.extraction, case.completion, case.gold);
    let mut keys: Vec<_> = cases.iter().map(|case| (key(case), &case.place)).collect();
    keys.sort();
    for pair in keys.windows(2) {
        let ((first, first_place), (second, second_place)) = (&pair[0], &pair[1]);
        assert!(first != second, "{first_place} and {second_place} are the same case");
    }
}

#[test]
fn no_perturbed_copy_of_a_gold_is_correct() {
    let mut checked = 0;
    let mut failures = Vec::new();
    let mut golds: Vec<String> = cases().into_iter().map(|case| case.gold).collect();
    golds.sort();
    golds.dedup();
    for text in golds {
        let Ok(gold) = Gold::parse(&text) else { continue };
        for perturbation in perturbations(gold.text()) {
            checked += 1;
            let found = check(&format!("So $\\boxed{{{}}}$.", perturbation.text), &gold, &Extraction::Auto {});
            if found.verdict.is_correct() {
                failures.push(format!(
                    "{text:?} equals {:?} ({}): {}",
                    perturbation.text, perturbation.change, found.reason
                ));
            }
        }
    }
    assert!(checked > 5_000, "{checked}");
    assert!(failures.is_empty(), "{} of {checked}\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn perturbed_copies_are_other_texts_and_the_same_ones_every_time() {
    for (gold, expected) in [
        ("B", "option"),
        ("12", "off by"),
        ("-7", "sign"),
        ("\\frac{3}{4}", "upside down"),
        ("(1,2)", "members exchanged"),
        ("[0,5)", "end of an interval"),
        ("\\text{east}", "negated"),
        ("x^2+1", "term added"),
        ("0.5", "point moved"),
        ("x \\le 3", "relation"),
    ] {
        let drawn = perturbations(gold);
        assert!(drawn.len() <= PERTURBATIONS_MAX);
        assert!(drawn.iter().any(|perturbation| perturbation.change == expected), "{gold}: {drawn:#?}");
        assert!(drawn.iter().all(|perturbation| perturbation.text != gold), "{gold}: {drawn:#?}");
        assert_eq!(drawn, perturbations(gold));
    }
}
