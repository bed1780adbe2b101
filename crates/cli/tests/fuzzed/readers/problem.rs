//! Problem files.

use rl::{FieldsFrom, NamedBenchmark, Problem, ProblemFields, RlError, read_problem_rows};

use super::{Reading, place, refused, write};

/// The fields of [`ProblemFields`] with an id and a level.
fn all_fields() -> ProblemFields {
    ProblemFields { id: Some("id".to_owned()), level: Some("level".to_owned()), ..ProblemFields::default() }
}

/// The usable rows of what was read; every other is refused with its number.
fn usable(rows: Vec<Result<Problem, RlError>>) -> Vec<Problem> {
    let usable = |row: Result<Problem, RlError>| match row {
        Ok(problem) => {
            assert!(!problem.question.trim().is_empty() && !problem.gold.trim().is_empty(), "{problem:?}");
            Some(problem)
        }
        Err(error) => {
            refused(&error, ", row ");
            None
        }
    };
    rows.into_iter().filter_map(usable).collect()
}

fn read(name: &str, bytes: &[u8], fields: &ProblemFields) -> Result<Vec<Result<Problem, RlError>>, RlError> {
    place(|place| {
        let path = place.join(name);
        write(&path, bytes);
        read_problem_rows(&path, fields, FieldsFrom::Options)
    })
}

fn file(name: &str, bytes: &[u8], mappings: &[ProblemFields]) -> Reading {
    let mut reading = Reading::Refused;
    for fields in mappings {
        match read(name, bytes, fields) {
            Ok(rows) => {
                let problems = usable(rows);
                if !problems.is_empty() {
                    reading = Reading::Read;
                    same_again(&problems);
                }
            }
            Err(error) => {
                refused(&error, name);
            }
        }
    }
    reading
}

/// Problems that are written as JSON lines are read as they were.
fn same_again(problems: &[Problem]) {
    let row = |problem: &Problem| {
        let Problem { id, question, gold, level } = problem;
        serde_json::json!({"id": id.as_str(), "question": question, "answer": gold, "level": level}).to_string()
    };
    let text = problems.iter().map(row).collect::<Vec<_>>().join("\n");
    let again = read("problems-again.jsonl", text.as_bytes(), &all_fields()).expect("what was written is read");
    let again: Vec<Problem> = again.into_iter().collect::<Result<_, _>>().expect("every row is usable");
    assert_eq!(again, problems);
}

pub(super) fn json_lines(bytes: &[u8]) -> Reading {
    file("problems.jsonl", bytes, &[ProblemFields::default(), all_fields()])
}

pub(super) fn parquet(bytes: &[u8]) -> Reading {
    let fields = |answer: &str, level: Option<&str>| ProblemFields {
        question: "problem".to_owned(),
        answer: answer.to_owned(),
        id: None,
        level: level.map(str::to_owned),
    };
    file("problems.parquet", bytes, &[fields("answer", Some("level")), fields("price", None)])
}

pub(super) fn gpqa(bytes: &[u8]) -> Reading {
    place(|place| {
        let path = place.join("gpqa_diamond.csv");
        write(&path, bytes);
        let benchmark = NamedBenchmark::named("gpqa-diamond").expect("it is known by name");
        match benchmark.read(&path, 0) {
            Ok(benchmark) => {
                let problems: Vec<&Problem> = benchmark.problems.iter().filter_map(|row| row.as_ref().ok()).collect();
                assert!(problems.iter().all(|problem| "ABCD".contains(&problem.gold)), "{problems:?}");
                if problems.is_empty() { Reading::Refused } else { Reading::Read }
            }
            Err(error) => refused(&error, "gpqa_diamond.csv"),
        }
    })
}
