//! GPQA (arXiv 2311.12022) from the CSV file that its authors give out. The file lies behind an access wall, is yours to
//! get, and may not be passed on in plain text: nothing of it is here.
//!
//! The four options of a question are shuffled by a seed and the row, so that a policy that likes a letter gains nothing
//! on average, and the gold is the letter of the correct one.

use std::{collections::BTreeSet, path::Path};

use record::read;

use crate::{
    Problem, ProblemId, RlError,
    random::{Purpose, Stream},
};

/// The letters of the options.
const LETTERS: [char; 4] = ['A', 'B', 'C', 'D'];

/// Columns of the published file: the question, the correct answer, and three incorrect ones.
const COLUMNS: [&str; 5] =
    ["Question", "Correct Answer", "Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3"];

/// Column of the id; rows are numbered where it is missing.
const ID_COLUMN: &str = "Record ID";

/// The problems of a GPQA file in its published form, options shuffled by `choices_seed`; an unusable row is in its
/// place as the error that says why.
///
/// # Errors
/// [`RlError::File`] when the file can't be read as CSV, is empty, or lacks a column.
pub(crate) fn read_gpqa(path: &Path, choices_seed: u64) -> Result<Vec<Result<Problem, RlError>>, RlError> {
    let refuse = |message: String| RlError::File { path: path.to_owned(), message };
    let file = read::open(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let mut reader = csv::Reader::from_reader(file);
    let header = reader.headers().map_err(|error| refuse(format!("cannot be read as CSV: {error}")))?;
    let place = |name: &str| header.iter().position(|column| column.trim_start_matches('\u{feff}').trim() == name);
    let mut places = [0; COLUMNS.len()];
    for (at, name) in places.iter_mut().zip(COLUMNS) {
        *at = place(name).ok_or_else(|| {
            refuse(format!("has no column `{name}`; use gpqa_diamond.csv as published, with its first line"))
        })?;
    }
    let id_place = place(ID_COLUMN);
    let mut ids = BTreeSet::new();
    let mut problems = Vec::new();
    for (index, record) in reader.records().enumerate() {
        let number = index + 1;
        let refuse_row = |message: String| RlError::Row { path: path.to_owned(), row: number, message };
        let problem = match record {
            Ok(record) => {
                let cell = |at: usize| record.get(at).unwrap_or_default().trim();
                let stream = Stream::new(choices_seed, Purpose::Choices, [index as u64, 0, 0]);
                let id = id_place.map(cell).filter(|id| !id.is_empty()).map_or(number.to_string(), str::to_owned);
                problem_of(places.map(cell), id, stream)
            }
            Err(error) => Err(format!("cannot be read as CSV: {error}; mend the row")),
        };
        let problem = problem.and_then(|problem| {
            let is_new = ids.insert(problem.id.clone());
            is_new.then_some(problem.clone()).ok_or(format!("id `{}` was used before; make the ids unique", problem.id))
        });
        problems.push(problem.map_err(refuse_row));
    }
    if problems.is_empty() {
        return Err(refuse("holds no rows; use gpqa_diamond.csv as published".to_owned()));
    }
    Ok(problems)
}

/// The problem of a row whose cells are those of [`COLUMNS`]; the error is a message.
fn problem_of(cells: [&str; COLUMNS.len()], id: String, mut stream: Stream) -> Result<Problem, String> {
    if let Some(empty) = cells.iter().position(|cell| cell.is_empty()) {
        return Err(format!("column `{}` is empty; mend the row", COLUMNS[empty]));
    }
    let [question, options @ ..] = cells;
    let order = stream.permutation(options.len());
    let lines: Vec<String> =
        LETTERS.iter().zip(&order).map(|(letter, &option)| format!("{letter}) {}", options[option])).collect();
    let correct = order.iter().position(|&option| option == 0).expect("an order holds every option");
    Ok(Problem {
        id: ProblemId::new(id),
        question: format!("{question}\n\n{}", lines.join("\n")),
        gold: LETTERS[correct].to_string(),
        level: None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use record::write;

    use super::*;

    const HEADER: &str = "Pre-Revision Question,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect \
                          Answer 3,Explanation,Record ID\n";

    fn read(rows: &str, seed: u64) -> Result<Vec<Result<Problem, String>>, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gpqa_diamond.csv");
        write::replace(&path, format!("{HEADER}{rows}").as_bytes()).unwrap();
        let problems = read_gpqa(&path, seed).map_err(|error| error.to_string())?;
        Ok(problems.into_iter().map(|problem| problem.map_err(|error| error.to_string())).collect())
    }

    #[test]
    fn options_are_shuffled_and_the_gold_is_the_letter_of_the_correct_one() {
        let row = "old,\"Which,\nof these?\",right,wrong 1,\"wrong, 2\",wrong 3\n,why,rec1\n";
        let row = row.replace("wrong 3\n,", "\"wrong 3\n\",");
        let mut golds = BTreeMap::new();
        for seed in 0..200 {
            let problem = read(&row, seed).unwrap().remove(0).unwrap();
            assert_eq!(problem.id.as_str(), "rec1");
            let (question, options) = problem.question.split_once("\n\n").unwrap();
            assert_eq!(question, "Which,\nof these?");
            let mut lines: Vec<&str> = options.lines().collect();
            assert!(lines.contains(&format!("{}) right", problem.gold).as_str()), "{options} {}", problem.gold);
            assert!(lines.iter().zip(LETTERS).all(|(line, letter)| line.starts_with(&format!("{letter}) "))));
            lines.sort_by_key(|line| &line[3..]);
            assert_eq!(
                lines.iter().map(|line| &line[3..]).collect::<Vec<_>>(),
                ["right", "wrong 1", "wrong 3", "wrong, 2"]
            );
            *golds.entry(problem.gold).or_insert(0) += 1;
        }
        // 200 draws from four letters: 50 each, standard deviation 6.1.
        assert!(golds.len() == 4 && golds.values().all(|count| (25..=75).contains(count)), "{golds:?}");
        assert_eq!(read(&row, 7), read(&row, 7));
    }

    #[test]
    fn unusable_rows_stay_in_their_place_and_say_why() {
        let rows = "o,q,a,b,c,d,e,1\no,q,a,b,,d,e,2\no,q\no,q,a,b,c,d,e,1\n";
        let problems = read(rows, 0).unwrap();
        assert_eq!(problems.len(), 4);
        assert_eq!(problems[0].as_ref().unwrap().id.as_str(), "1");
        for (problem, expected) in problems[1..].iter().zip([
            "gpqa_diamond.csv, row 2: column `Incorrect Answer 2` is empty; mend the row",
            "gpqa_diamond.csv, row 3: cannot be read as CSV: ",
            "gpqa_diamond.csv, row 4: id `1` was used before; make the ids unique",
        ]) {
            let message = problem.as_ref().unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn another_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.csv");
        write::replace(&path, b"Question,Answer\nq,a\n").unwrap();
        let error = read_gpqa(&path, 0).unwrap_err().to_string();
        assert!(error.contains("has no column `Correct Answer`; use gpqa_diamond.csv as published"), "{error}");
        assert!(read("", 0).unwrap_err().contains("holds no rows"));
        let error = read_gpqa(Path::new("/dev/null"), 0).unwrap_err().to_string();
        assert!(error.contains("/dev/null: cannot be read: it is a pipe or a device"), "{error}");
    }
}
