//! Rows as both file formats give them, and the reading of JSON lines. Knows nothing of problems.

use std::{collections::BTreeMap, path::Path};

use record::read;
use serde_json::value::RawValue;

use crate::RlError;

/// Exponents beyond this, either way, are refused rather than written out as zeros.
const EXPONENT_MAX: usize = 100;

/// One row of a file.
#[derive(Debug)]
pub(super) struct Row {
    /// Row number from 1; the line number in a JSONL file.
    pub(super) number: usize,
    /// By field name.
    pub(super) cells: BTreeMap<String, Cell>,
}

/// A field's value, as far as a problem could use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell {
    /// No value.
    Null,
    /// Text, as it is.
    Text(String),
    /// A number as an exact decimal without exponent or trailing zeros.
    Number(String),
    /// Anything else; the words finish a sentence that starts with "the field is".
    Other(&'static str),
}

/// The rows of a file with one JSON object a line. A byte order mark, `\r\n` and blank lines are passed over.
/// A line that is no object is in its place as an error.
pub(super) fn read_json_lines(path: &Path) -> Result<Vec<Result<Row, RlError>>, RlError> {
    let bytes =
        read::bytes(path).map_err(|source| RlError::Io { action: "read the file", path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let message = format!(
            "is not UTF-8 from byte {} on; convert it to UTF-8 (a Parquet file must end in `.parquet`)",
            error.utf8_error().valid_up_to()
        );
        RlError::File { path: path.to_owned(), message }
    })?;
    let text = text.trim_start_matches('\u{feff}');
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let row = |(index, line): (usize, &str)| {
        let number = index + 1;
        let cells =
            json_cells(line.trim()).map_err(|message| RlError::Row { path: path.to_owned(), row: number, message })?;
        Ok(Row { number, cells })
    };
    Ok(lines.map(row).collect())
}

/// The fields of one JSON object; the error is a message.
fn json_cells(line: &str) -> Result<BTreeMap<String, Cell>, String> {
    if line.starts_with('[') {
        return Err("a list begins here; write one JSON object a line (`jq -c '.[]'` splits a list)".to_owned());
    }
    let malformed = |error: serde_json::Error| {
        let error = error.to_string().replace(" at line 1 column ", " at column ");
        format!("not a JSON object: {error}; write one JSON object a line, such as {{\"question\": …, \"answer\": …}}")
    };
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(line).map_err(malformed)?;
    fields.into_iter().map(|(name, value)| Ok((name, json_cell(value.get()).map_err(malformed)?))).collect()
}

/// The cell that a JSON value's source text stands for. Numbers never pass through a float, so no digit is lost.
fn json_cell(source: &str) -> Result<Cell, serde_json::Error> {
    Ok(match source.as_bytes().first() {
        Some(b'"') => Cell::Text(serde_json::from_str(source)?),
        Some(b'n') => Cell::Null,
        Some(b't' | b'f') => Cell::Other("true or false"),
        Some(b'[') => Cell::Other("a list"),
        Some(b'{') => Cell::Other("an object"),
        _ => number_cell(source),
    })
}

/// The cell of a number written as a decimal, perhaps with an exponent.
pub(super) fn number_cell(source: &str) -> Cell {
    plain_decimal(source).map_or(Cell::Other("a number that is not finite or has a huge exponent"), Cell::Number)
}

/// `source` without exponent, leading or trailing zeros: `145.0` is `145`, `2.50e-1` is `0.25`, `-0.0` is `0`.
/// `None` when it is no decimal number or its exponent exceeds 100, either way.
pub fn plain_decimal(source: &str) -> Option<String> {
    let (negative, source) = source.strip_prefix('-').map_or((false, source), |rest| (true, rest));
    let (mantissa, exponent) = source.split_once(['e', 'E']).unwrap_or((source, "0"));
    let exponent: isize = exponent.parse().ok()?;
    if exponent.unsigned_abs() > EXPONENT_MAX {
        return None;
    }
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let zeros = "0".repeat(EXPONENT_MAX);
    let padded = format!("{zeros}{digits}{zeros}");
    let point = (EXPONENT_MAX + whole.len()).checked_add_signed(exponent)?;
    let (whole, fraction) = padded.split_at(point);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let sign = if negative && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_exact_decimals() {
        for (source, expected) in [
            ("145.0", Some("145")),
            ("27", Some("27")),
            ("-3.50", Some("-3.5")),
            ("0.1", Some("0.1")),
            ("-0.0", Some("0")),
            ("1e3", Some("1000")),
            ("1E+3", Some("1000")),
            ("2.50e-1", Some("0.25")),
            ("1e-05", Some("0.00001")),
            ("123456789012345678901234567890.5", Some("123456789012345678901234567890.5")),
            ("1e100", Some(&format!("1{}", "0".repeat(100)))),
            ("1e101", None),
            ("1e99999999999999999999", None),
            ("NaN", None),
            ("inf", None),
            ("-", None),
        ] {
            assert_eq!(plain_decimal(source).as_deref(), expected, "{source}");
        }
    }

    #[test]
    fn json_values_become_cells_by_their_kind() {
        for (source, expected) in [
            (r#""a\n\u00e9""#, Cell::Text("a\né".to_owned())),
            ("null", Cell::Null),
            ("true", Cell::Other("true or false")),
            ("[1]", Cell::Other("a list")),
            ("{}", Cell::Other("an object")),
            ("19.0", Cell::Number("19".to_owned())),
        ] {
            assert_eq!(json_cell(source).unwrap(), expected, "{source}");
        }
    }
}
