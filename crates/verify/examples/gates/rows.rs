//! Reading JSON lines, reasons, and the problems of a data directory. Not judging them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// The lines of a file that hold JSON objects.
pub(crate) fn read_rows(path: &Path) -> Result<Vec<Value>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let row: Value = serde_json::from_str(line)
            .map_err(|error| format!("{}:{}: is no JSON: {error}", path.display(), index + 1))?;
        rows.push(row);
    }
    Ok(rows)
}

/// The text of a field, whether it is written as text or as a number.
pub(crate) fn text_of(row: &Value, field: &str) -> Option<String> {
    match row.get(field)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A problem as far as its gold matters.
pub(crate) struct Problem {
    /// Set, file and line.
    pub(crate) place: String,
    /// The gold as the set gives it: the answer, or the solution that holds it.
    pub(crate) gold: String,
    /// The solution, where the set has one.
    pub(crate) solution: Option<String>,
}

/// The problems of every `*.jsonl` one level below `directory`, sorted by path.
///
/// The gold is the field `answer` or `Answer`; where there is none, `solution` holds it. The solution is the field
/// `solution`, or the field `answer` where that is one, as it is in GSM8K, with its `####`.
pub(crate) fn read_problems(directory: &Path) -> Result<Vec<Problem>, String> {
    let mut problems = Vec::new();
    for path in problem_files(directory)? {
        let parts: Vec<_> = path.iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
        for (index, row) in read_rows(&path)?.iter().enumerate() {
            let place = format!("{}/{}:{}", parts[1], parts[0], index + 1);
            let answer = text_of(row, "answer").or_else(|| text_of(row, "Answer"));
            let solution = text_of(row, "solution").or_else(|| answer.clone().filter(|text| text.contains("####")));
            let Some(gold) = answer.or_else(|| solution.clone()) else {
                return Err(format!("{place}: has none of the fields answer, Answer and solution"));
            };
            problems.push(Problem { place, gold, solution });
        }
    }
    Ok(problems)
}

fn problem_files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let listed = |path: &Path| -> Result<Vec<PathBuf>, String> {
        let entries = fs::read_dir(path).map_err(|error| format!("cannot list {}: {error}", path.display()))?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        Ok(paths)
    };
    let mut files = Vec::new();
    for set in listed(directory)?.iter().filter(|path| path.is_dir()) {
        files.extend(listed(set)?.into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "jsonl")));
    }
    if files.is_empty() {
        return Err(format!("{} has no SET/FILE.jsonl; give the directory of the data sets", directory.display()));
    }
    Ok(files)
}

/// Lines `place | reason`, by place; lines that start with `#` are comments.
pub(crate) fn read_reasons(path: &Path) -> Result<BTreeMap<String, String>, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut reasons = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = format!("{}:{}", path.display(), index + 1);
        let (place, reason) =
            line.split_once(" | ").ok_or_else(|| format!("{at}: is no `place | reason`; write one"))?;
        if reasons.insert(place.to_owned(), reason.to_owned()).is_some() {
            return Err(format!("{at}: {place} is listed twice; keep one line"));
        }
    }
    Ok(reasons)
}
