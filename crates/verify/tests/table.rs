//! Every case of the table, in `tests/table`.

use verify::{Gold, check};

use support::{Case, cases};

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
            (!case.wanted.accepts(found.verdict)).then(|| {
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
