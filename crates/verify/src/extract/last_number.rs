//! The last number of running text. Only where it stands: what it is worth is for `number`.
//!
//! A digit that belongs to a name, a power or an index (`x2`, `cm^2`, `a_1`) is no number of its own.

/// The last number of `text` with its sign, separators, fraction, exponent and percent sign.
pub(super) fn last_number(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut last = None;
    let mut at = 0;
    while at < bytes.len() {
        if let Some(end) = fraction_end(bytes, at) {
            last = Some((at, percent_end(bytes, end)));
            at = end;
        } else if starts_number(bytes, at) {
            let end = number_end(bytes, at);
            if !belongs_to_name(bytes, at) {
                last = Some((at, percent_end(bytes, end)));
            }
            at = end;
        } else {
            at += 1;
        }
    }
    last.map(|(start, end)| &text[sign_start(text, start)..end])
}

fn is_digit(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(u8::is_ascii_digit)
}

fn digits_end(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn starts_number(bytes: &[u8], at: usize) -> bool {
    is_digit(bytes, at) || (bytes[at] == b'.' && is_digit(bytes, at + 1))
}

fn belongs_to_name(bytes: &[u8], start: usize) -> bool {
    let before = &bytes[..start];
    before.last().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'^' | b'_'))
        || [&b"^{"[..], b"_{", b"^-", b"^{-"].into_iter().any(|opening| before.ends_with(opening))
}

/// The end of the number that starts at `start`.
fn number_end(bytes: &[u8], start: usize) -> usize {
    let whole_end = grouped_end(bytes, start);
    let fraction_start = whole_end + usize::from(bytes.get(whole_end) == Some(&b' '));
    let mixed = if fraction_start > whole_end { ratio_end(bytes, fraction_start) } else { None };
    if let Some(end) = mixed.or_else(|| fraction_end(bytes, fraction_start)).or_else(|| ratio_end(bytes, start)) {
        return end;
    }
    if let Some(end) = comma_end(bytes, start, whole_end) {
        return end;
    }
    let has_fraction = bytes.get(whole_end) == Some(&b'.') && is_digit(bytes, whole_end + 1);
    let decimal_end = if has_fraction { digits_end(bytes, whole_end + 1) } else { whole_end };
    if bytes.get(decimal_end) == Some(&b'/') && is_digit(bytes, decimal_end + 1) {
        return grouped_end(bytes, decimal_end + 1);
    }
    exponent_end(bytes, decimal_end)
}

/// The end of `2,74`, whose comma is a decimal point or makes a list; the reader decides.
fn comma_end(bytes: &[u8], start: usize, whole_end: usize) -> Option<usize> {
    let is_plain = digits_end(bytes, start) == whole_end && bytes.get(whole_end) == Some(&b',');
    if !is_plain {
        return None;
    }
    let end = digits_end(bytes, whole_end + 1);
    let goes_on = matches!(bytes.get(end), Some(b',' | b'.')) && is_digit(bytes, end + 1);
    let follows = start > 0 && matches!(bytes[start - 1], b',' | b'.');
    (end > whole_end + 1 && !goes_on && !follows).then_some(end)
}

/// The end of digits with thousands separators.
fn grouped_end(bytes: &[u8], start: usize) -> usize {
    let mut end = digits_end(bytes, start);
    if end == start || end - start > 3 {
        return end;
    }
    let group_end = |end: usize| {
        let separator =
            ["{,}", ",\\!", ",", "\\,"].into_iter().find(|mark| bytes[end..].starts_with(mark.as_bytes()))?;
        let group_start = end + separator.len();
        let group_end = digits_end(bytes, group_start);
        (group_end - group_start == 3).then_some(group_end)
    };
    while let Some(longer) = group_end(end) {
        end = longer;
    }
    end
}

/// The end of `a/b` in plain digits.
fn ratio_end(bytes: &[u8], start: usize) -> Option<usize> {
    let numerator_end = digits_end(bytes, start);
    let denominator_start = numerator_end + 1;
    let is_ratio =
        numerator_end > start && bytes.get(numerator_end) == Some(&b'/') && is_digit(bytes, denominator_start);
    is_ratio.then(|| digits_end(bytes, denominator_start))
}

/// The end of `\frac{a}{b}`, `\frac 12` and the like, where both arguments are digits.
fn fraction_end(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start..)?;
    let names = ["\\frac", "\\dfrac", "\\tfrac", "\\cfrac"];
    let name = names.into_iter().find(|name| rest.starts_with(name.as_bytes()))?;
    let argument_end = |at: usize| {
        let at = spaces_end(bytes, at);
        if bytes.get(at) != Some(&b'{') {
            return is_digit(bytes, at).then_some(at + 1);
        }
        let sign_start = spaces_end(bytes, at + 1);
        let digits_start = sign_start + usize::from(bytes.get(sign_start) == Some(&b'-'));
        let digits_end = grouped_end(bytes, digits_start);
        let end = spaces_end(bytes, digits_end);
        (digits_end > digits_start && bytes.get(end) == Some(&b'}')).then_some(end + 1)
    };
    argument_end(argument_end(start + name.len())?)
}

fn spaces_end(bytes: &[u8], at: usize) -> usize {
    at + bytes[at..].iter().take_while(|byte| **byte == b' ').count()
}

/// The end of `e5`, `^5` or `^{5}` after a number, so that a power is never read as its base.
fn exponent_end(bytes: &[u8], end: usize) -> usize {
    let opening = match bytes.get(end) {
        Some(b'e' | b'E') => 1,
        Some(b'^') => 1 + usize::from(bytes.get(end + 1) == Some(&b'{')),
        _ => return end,
    };
    let signed = matches!(bytes.get(end + opening), Some(b'+' | b'-'));
    let digits_start = end + opening + usize::from(signed);
    if !is_digit(bytes, digits_start) {
        return end;
    }
    let digits_end = digits_end(bytes, digits_start);
    digits_end + usize::from(opening == 2 && bytes.get(digits_end) == Some(&b'}'))
}

fn percent_end(bytes: &[u8], end: usize) -> usize {
    let sign = ["%", "\\%", " %", " \\%"].into_iter().find(|sign| bytes[end..].starts_with(sign.as_bytes()));
    end + sign.map_or(0, str::len)
}

/// Where a number starts once its sign is counted in: a minus after another operand is an operator.
fn sign_start(text: &str, start: usize) -> usize {
    let unpriced = text[..start].trim_end_matches(['$', '\\']);
    let Some(before) = unpriced.strip_suffix(['-', '\u{2212}']) else { return start };
    let is_operator =
        before.chars().next_back().is_some_and(|last| last.is_alphanumeric() || matches!(last, ')' | '}' | ']' | '%'));
    if is_operator { start } else { before.len() }
}
