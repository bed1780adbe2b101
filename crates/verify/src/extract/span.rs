//! Formulas in running text, between `$…$`, `$$…$$`, `\(…\)` and `\[…\]`, and the last of formulas and numbers.

use std::ops::Range;

use crate::extract::{doubt::doubted_from, last_number::last_number};

/// How much of the end of a completion is searched for formulas, in bytes.
const TAIL_BYTES: usize = 4_000;
/// Longest formula in a line, in bytes.
const INLINE_BYTES_MAX: usize = 400;

/// Most sentences that are passed over because they deny or ask for their number.
const DOUBTED_MAX: usize = 8;

/// The formula between delimiters that a text starts with, with those joined to it by `and`, `or` or a comma; and what
/// follows.
pub(super) fn starting(text: &str) -> Option<(&str, &str)> {
    let first = at(text, 0)?;
    let mut end = first.end;
    while let Some(next) = next_joined(text, end) {
        end = next.end;
    }
    let group = &text[..end];
    // A single formula is taken out of its delimiters; of several, the reader passes over them.
    let content = if end == first.end { &text[first.content] } else { group };
    let content = content.trim();
    (!content.is_empty() && !is_bare_name(content)).then_some((content, &text[end..]))
}

/// The last formula or number of a text that is said without doubt.
pub(super) fn last(text: &str) -> Option<&str> {
    let mut searched = text;
    for _ in 0..DOUBTED_MAX {
        let found = last_named(searched)?;
        let start = offset(text, found);
        match doubted_from(text, start, start + found.len()) {
            None => return Some(found),
            Some(sentence) => searched = &text[..sentence],
        }
    }
    None
}

/// The formula or number of a text that holds one, said without doubt.
pub(super) fn only(text: &str) -> Option<&str> {
    let found = last(text)?;
    let before = &text[..offset(text, found)];
    let has_formula = spans(before).iter().any(|span| !is_bare_name(&before[span.content.clone()]));
    (!has_formula && last_number(before).is_none()).then_some(found)
}

/// Where a slice of a text starts in it.
fn offset(text: &str, slice: &str) -> usize {
    slice.as_ptr() as usize - text.as_ptr() as usize
}

fn last_named(text: &str) -> Option<&str> {
    let tail_start = (text.len().saturating_sub(TAIL_BYTES)..=text.len()).find(|at| text.is_char_boundary(*at))?;
    let tail = &text[tail_start..];
    let spans = spans(tail);
    let with_content = spans.iter().rposition(|span| !is_bare_name(&tail[span.content.clone()]));
    let after_spans = with_content.map_or(0, |index| spans[index].end);
    // What follows the last formula may be a unit's power or a full stop, or a number of its own.
    let number = last_number(&tail[after_spans..]);
    match (with_content, number) {
        (Some(_), Some(number)) => Some(number),
        (Some(index), None) => Some(joined(tail, &spans, index)),
        (None, _) => with_alternative(text, last_number(text)).or_else(|| {
            spans.last().map(|span| tail[span.content.clone()].trim()).filter(|content| !content.is_empty())
        }),
    }
}

/// The formula at an index with those before it that are joined to it, and the value of a chain of equations.
fn joined<'a>(text: &'a str, spans: &[Span], index: usize) -> &'a str {
    let mut first = index;
    while first > 0 && is_joint(&text[spans[first - 1].end..spans[first].start]) {
        first -= 1;
    }
    if first < index {
        return &text[spans[first].start..spans[index].end];
    }
    after_last_equal(text[spans[index].content.clone()].trim())
}

/// A number with the one before it that `or` joins to it.
fn with_alternative<'a>(text: &'a str, number: Option<&'a str>) -> Option<&'a str> {
    let number = number?;
    let start = offset(text, number);
    let Some(before) = text[..start].trim_end().strip_suffix(" or") else { return Some(number) };
    match last_number(before) {
        Some(first) if before.trim_end().ends_with(first) => Some(&text[offset(text, first)..start + number.len()]),
        _ => Some(number),
    }
}

/// The value that a chain of equations ends with: what follows the last `=` of several, or of one after a number. What
/// is only about equal is left out.
pub(crate) fn after_last_equal(formula: &str) -> &str {
    let exact = if formula.contains('=') { formula.split("\\approx").next().unwrap_or(formula) } else { formula };
    if exact.contains([',', ';', '<', '>']) || exact.contains("\\text{ and }") {
        return formula;
    }
    let mut depth = 0_usize;
    let mut equals = Vec::new();
    for (at, c) in exact.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            '=' if depth == 0 && !exact[..at].ends_with(['\\', '!', '<', '>', '=']) => equals.push(at),
            _ => {}
        }
    }
    let Some(&last) = equals.last() else { return formula };
    // `==` is one sign.
    let value = exact[last..].trim_start_matches('=').trim_matches(|c: char| c.is_whitespace() || c == '&');
    let computes = || !has_variable(&exact[..last]) && exact[..last].trim() != value;
    if !value.is_empty() && (equals.len() > 1 || computes()) { value } else { formula }
}

/// Whether a letter occurs that is no part of a command.
fn has_variable(formula: &str) -> bool {
    let mut characters = formula.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '\\' {
            while characters.peek().is_some_and(char::is_ascii_alphabetic) {
                characters.next();
            }
        } else if c.is_alphabetic() {
            return true;
        }
    }
    false
}

/// Whether a formula is only a name, such as the `$x$` of "the value of $x$".
fn is_bare_name(formula: &str) -> bool {
    let formula = formula.trim();
    let has_value = formula.contains(|c: char| c.is_ascii_digit() || "+*/=<>|!%^".contains(c));
    let commands = ["\\pi", "\\infty", "\\emptyset", "\\sqrt", "\\frac", "\\text", "\\cup", "\\le", "\\ge", "\\mathbb"];
    !has_value && !commands.iter().any(|command| formula.contains(command))
}

/// A formula with its delimiters, and without them.
struct Span {
    start: usize,
    content: Range<usize>,
    end: usize,
}

fn spans(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut from = 0;
    while let Some(offset) = text[from..].find(['$', '\\']) {
        let start = from + offset;
        if let Some(span) = at(text, start) {
            from = span.end;
            spans.push(span);
        } else {
            // A backslash takes the character after it along, so that `\$` is no delimiter.
            let skipped = text[start + 1..].chars().next().filter(|_| text[start..].starts_with('\\'));
            from = start + 1 + skipped.map_or(0, char::len_utf8);
        }
    }
    spans
}

/// The formula whose delimiter is at `start`.
fn at(text: &str, start: usize) -> Option<Span> {
    let rest = &text[start..];
    let (opening, closing) = [("$$", "$$"), ("\\[", "\\]"), ("\\(", "\\)"), ("$", "$")]
        .into_iter()
        .find(|(opening, _)| rest.starts_with(opening))?;
    let content_start = start + opening.len();
    let content_end = if opening == "$" {
        content_start + inline_end(&text[content_start..])?
    } else {
        content_start + text[content_start..].find(closing)?
    };
    Some(Span { start, content: content_start..content_end, end: content_end + closing.len() })
}

/// The length of a formula up to its closing `$` in the same line; nothing where the `$` before it is a currency sign.
fn inline_end(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '\n' => return None,
            '$' if !escaped => {
                let before_digit = text[at + 1..].starts_with(|c: char| c.is_ascii_digit());
                let is_formula = at > 0 && at <= INLINE_BYTES_MAX && !before_digit && !is_prose(&text[..at]);
                return is_formula.then_some(at);
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

/// Whether a text has two words of three letters or more that stand beside each other outside `\text{…}`.
fn is_prose(text: &str) -> bool {
    if text.contains("\\text") || text.contains("\\mbox") {
        return false;
    }
    let is_word = |word: &str| word.len() >= 3 && word.chars().all(|c| c.is_ascii_alphabetic());
    let words: Vec<&str> = text.split_whitespace().collect();
    words.windows(2).any(|pair| is_word(pair[0]) && is_word(pair[1]))
}

/// The formula after `end` that is joined to what ends there.
fn next_joined(text: &str, end: usize) -> Option<Span> {
    let gap = text[end..].find(['$', '\\'])?;
    let next = at(text, end + gap)?;
    is_joint(&text[end..next.start]).then_some(next)
}

/// Whether a text between two formulas makes a list of them.
fn is_joint(gap: &str) -> bool {
    let gap = gap.trim().trim_start_matches(',').trim();
    matches!(gap, "and" | "or" | "," | "") && gap.len() <= 3
}
