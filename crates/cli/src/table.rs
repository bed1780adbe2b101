//! Columns of text, aligned. Numbers as people read them.

/// Longest cell of a table; names may come from a file that is anyone's.
const CELL_CHARACTERS_MAX: usize = 200;

/// Rows of cells, the first column to the left and the others to the right, two spaces apart; long cells are clipped.
pub(crate) fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| clipped(&unbroken(cell), CELL_CHARACTERS_MAX)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell_width = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| cell_width(row, column)).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// The text on one line: a name that has line breaks could forge rows.
fn unbroken(text: &str) -> String {
    text.replace('\n', "\\n")
}

/// The first `characters_max` characters of a text, and a mark where there are more.
pub(crate) fn clipped(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A name with what it names, two spaces apart, the names as wide as the widest.
pub(crate) fn labelled(rows: &[(&str, String)]) -> Vec<String> {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {}", unbroken(value)).trim_end().to_owned()).collect()
}

/// 0.4567 is `45.7 %`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `1 problem`, `2 problems`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_any_length_is_clipped() {
        let rows = [vec!["é".repeat(70_000), "x".to_owned()], vec!["é".repeat(200), "y".to_owned()]];
        let whole = "é".repeat(200);
        assert_eq!(aligned(&rows), [format!("{whole}…  x"), format!("{whole}   y")]);
    }

    #[test]
    fn a_line_break_in_a_cell_begins_no_row() {
        let broken = "a\naccuracy  100 %".to_owned();
        assert_eq!(aligned(&[vec![broken.clone(), "x".to_owned()]]), [r"a\naccuracy  100 %  x"]);
        assert_eq!(labelled(&[("model", broken)]), [r"model  a\naccuracy  100 %"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = aligned(&[row(["", "first", "last"]), row(["accuracy", "9 %", "±100 %"])]);
        assert_eq!(lines, ["          first    last", "accuracy    9 %  ±100 %"]);
    }

    #[test]
    fn nouns_follow_their_count() {
        assert_eq!([counted(1, "step"), counted(0, "step"), counted(2, "step")], ["1 step", "0 steps", "2 steps"]);
    }
}
