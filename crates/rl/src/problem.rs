//! Problems and demonstrations from JSONL or Parquet files.
//!
//! A gold answer stays text here: reading it as a value is the verifier's, which the caller asks once per problem.

mod parquet;
mod row;

use std::{collections::BTreeMap, fmt, path::Path};

use serde::{Deserialize, Serialize};

pub use self::row::plain_decimal;
use self::row::{Cell, Row};
use crate::RlError;

/// Where the fields of a file are mapped, which is what the remedy of an error about a row names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldsFrom {
    /// A table of a config.
    Table(&'static str),
    /// Options of the command line: `--field-question` and the like.
    Options,
    /// A named benchmark, whose fields are known.
    Benchmark,
}

impl FieldsFrom {
    /// What to do about a row whose field for `setting` cannot be used.
    fn remedy(self, setting: &str) -> String {
        match self {
            Self::Table(table) => format!("set `{setting}` in `{table}` to the field that holds it, or mend the row"),
            Self::Options => format!("give the field that holds it with `--field-{setting}`, or mend the row"),
            Self::Benchmark => "mend the row, or get the benchmark's file anew".to_owned(),
        }
    }

    /// What to do about ids that occur twice, other than mending them.
    fn without_ids(self) -> String {
        match self {
            Self::Table(table) => format!("leave `id` out of `{table}` to number the rows"),
            Self::Options => "leave out `--field-id` to number the rows".to_owned(),
            Self::Benchmark => "get the benchmark's file anew".to_owned(),
        }
    }
}

/// Identifies a problem within its file or generator.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProblemId(String);

impl ProblemId {
    /// The id with the text `id`.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id's text, as records carry it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProblemId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// One item of a problem file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The row's own id, or its row number from 1 where no id field is mapped.
    pub id: ProblemId,
    /// The question as the file gives it, before template and instruction.
    pub question: String,
    /// The gold answer as the file gives it; numbers as exact decimals without trailing zeros (145.0 is `145`).
    pub gold: String,
    /// Difficulty level, where a level field is mapped and not null.
    pub level: Option<String>,
}

/// One prompt with the completion to imitate, for supervised fine-tuning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Demonstration {
    /// Text before the completion.
    pub prompt: String,
    /// Text to imitate, without the end token.
    pub completion: String,
}

/// Which fields of a row hold a problem; the table `[problems.fields]`.
///
/// A value names one field, or several joined with one space: `"Body+Question"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProblemFields {
    /// Text of the question.
    pub question: String,
    /// Gold answer, text or a number.
    pub answer: String,
    /// Id, text or a number, unique in the file; rows are numbered from 1 when absent.
    pub id: Option<String>,
    /// Difficulty level, text or a number; no levels when absent.
    pub level: Option<String>,
}

impl Default for ProblemFields {
    fn default() -> Self {
        Self { question: "question".to_owned(), answer: "answer".to_owned(), id: None, level: None }
    }
}

/// Which fields of a row hold a demonstration. A value names one field, or several joined with one space: `"a+b"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemonstrationFields {
    /// Text of the prompt.
    pub prompt: String,
    /// Text of the completion.
    pub completion: String,
}

impl Default for DemonstrationFields {
    fn default() -> Self {
        Self { prompt: "prompt".to_owned(), completion: "completion".to_owned() }
    }
}

/// The problems of a JSONL (`.jsonl`, `.json`) or Parquet (`.parquet`) file, in file order, with `fields` as the table
/// `[problems.fields]` of a config maps them.
///
/// # Errors
/// [`RlError::Row`] for a row without a usable question, answer, id or level, or with an id that was used before;
/// [`RlError::File`] for an empty file, one of an unknown kind, or one that is not what its extension says;
/// [`RlError::Io`] when it can't be read.
pub fn read_problems(path: &Path, fields: &ProblemFields) -> Result<Vec<Problem>, RlError> {
    read_problem_rows(path, fields, FieldsFrom::Table("[problems.fields]"))?.into_iter().collect()
}

/// As [`read_problems`], with fields that are mapped elsewhere, and a row that is unusable in its place as the error that
/// says why.
///
/// # Errors
/// Those of [`read_problems`] that concern the file as a whole.
pub fn read_problem_rows(
    path: &Path,
    fields: &ProblemFields,
    from: FieldsFrom,
) -> Result<Vec<Result<Problem, RlError>>, RlError> {
    let optional = [&fields.id, &fields.level];
    let expressions = [&fields.question, &fields.answer].into_iter().chain(optional.into_iter().flatten());
    let rows = read_rows(path, &expressions.map(String::as_str).collect::<Vec<_>>())?;
    let mut rows_by_id = BTreeMap::new();
    let problem = |row: Result<Row, RlError>| {
        let row = row?;
        let problem = problem_of(&row, (path, from), fields)?;
        if let Some(first) = rows_by_id.insert(problem.id.clone(), row.number) {
            let message =
                format!("id `{}` is that of row {first}; make the ids unique, or {}", problem.id, from.without_ids());
            return Err(RlError::Row { path: path.to_owned(), row: row.number, message });
        }
        Ok(problem)
    };
    Ok(rows.into_iter().map(problem).collect())
}

/// The problem that a row holds.
fn problem_of(row: &Row, (path, from): (&Path, FieldsFrom), fields: &ProblemFields) -> Result<Problem, RlError> {
    let field = |setting, expression| MappedField { path, row, from, setting, expression };
    let id = match &fields.id {
        Some(expression) => field("id", expression).text_or_number()?,
        None => row.number.to_string(),
    };
    let level = match &fields.level {
        Some(expression) => field("level", expression).text_or_number_or_null()?,
        None => None,
    };
    let question = field("question", &fields.question).text()?;
    let gold = field("answer", &fields.answer).text_or_number()?;
    Ok(Problem { id: ProblemId::new(id), question, gold, level })
}

/// The demonstrations of a JSONL (`.jsonl`, `.json`) or Parquet (`.parquet`) file, in file order.
///
/// # Errors
/// Those of [`read_problems`].
pub fn read_demonstrations(path: &Path, fields: &DemonstrationFields) -> Result<Vec<Demonstration>, RlError> {
    let rows = read_rows(path, &[&fields.prompt, &fields.completion])?;
    let demonstration = |row: Result<Row, RlError>| {
        let row = &row?;
        let from = FieldsFrom::Table("[demonstrations.fields]");
        let field = |setting, expression| MappedField { path, row, from, setting, expression };
        let prompt = field("prompt", &fields.prompt).text()?;
        let completion = field("completion", &fields.completion).text()?;
        Ok(Demonstration { prompt, completion })
    };
    rows.into_iter().map(demonstration).collect()
}

/// The rows of a file, with at least the columns that `expressions` name.
fn read_rows(path: &Path, expressions: &[&str]) -> Result<Vec<Result<Row, RlError>>, RlError> {
    let columns: Vec<&str> = expressions.iter().flat_map(|expression| columns(expression)).collect();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let rows = match extension {
        "jsonl" | "json" => row::read_json_lines(path)?,
        "parquet" => parquet::read(path, &columns)?.into_iter().map(Ok).collect(),
        _ => {
            let message =
                format!("the extension is `{extension}`; give a file that ends in `.jsonl`, `.json` or `.parquet`");
            return Err(RlError::File { path: path.to_owned(), message });
        }
    };
    if rows.is_empty() {
        let message = "holds no rows; give a file with one problem or demonstration a row".to_owned();
        return Err(RlError::File { path: path.to_owned(), message });
    }
    Ok(rows)
}

/// The columns that a value of [`ProblemFields`] names.
fn columns(expression: &str) -> impl Iterator<Item = &str> {
    expression.split('+').map(str::trim)
}

/// What a setting such as `answer = "Answer"` finds in one row.
struct MappedField<'a> {
    path: &'a Path,
    row: &'a Row,
    from: FieldsFrom,
    setting: &'static str,
    expression: &'a str,
}

impl MappedField<'_> {
    /// Text that is not blank.
    fn text(&self) -> Result<String, RlError> {
        let parts = columns(self.expression).map(|column| match self.cell(column)? {
            Cell::Text(text) => Ok(text.as_str()),
            Cell::Number(_) => Err(self.failure(column, "is a number, not text")),
            Cell::Null => Err(self.failure(column, "is null")),
            Cell::Other(kind) => Err(self.failure(column, &format!("is {kind}, not text"))),
        });
        self.join(&parts.collect::<Result<Vec<_>, _>>()?)
    }

    /// Text that is not blank, or a number as text.
    fn text_or_number(&self) -> Result<String, RlError> {
        let parts = columns(self.expression).map(|column| match self.cell(column)? {
            Cell::Text(text) | Cell::Number(text) => Ok(text.as_str()),
            Cell::Null => Err(self.failure(column, "is null")),
            Cell::Other(kind) => Err(self.failure(column, &format!("is {kind}, not text or a number"))),
        });
        self.join(&parts.collect::<Result<Vec<_>, _>>()?)
    }

    /// As [`Self::text_or_number`], or `None` where a column is null.
    fn text_or_number_or_null(&self) -> Result<Option<String>, RlError> {
        for column in columns(self.expression) {
            if matches!(self.cell(column)?, Cell::Null) {
                return Ok(None);
            }
        }
        self.text_or_number().map(Some)
    }

    fn cell(&self, column: &str) -> Result<&Cell, RlError> {
        self.row.cells.get(column).ok_or_else(|| self.failure(column, "is missing"))
    }

    fn join(&self, parts: &[&str]) -> Result<String, RlError> {
        let joined = parts.join(" ");
        if joined.trim().is_empty() { Err(self.failure(self.expression, "is empty")) } else { Ok(joined) }
    }

    fn failure(&self, column: &str, problem: &str) -> RlError {
        let found: Vec<_> = self.row.cells.keys().map(|name| format!("`{name}`")).collect();
        let found = found.join(", ");
        let remedy = self.from.remedy(self.setting);
        let message = format!("field `{column}` {problem} (fields found: {found}); {remedy}");
        RlError::Row { path: self.path.to_owned(), row: self.row.number, message }
    }
}

#[cfg(test)]
mod tests;
