//! Numbers that a text names without giving them as its answer: denied, asked for, an end of a range, in a heading.

/// Words between a denial and what it denies: `cannot be equal to 18`.
const FILLING: [&str; 6] = ["be", "equal", "to", "exactly", "the", "simply"];
/// Words that deny what follows.
const DENIALS: [&str; 5] = ["not", "never", "neither", "nor", "cannot"];
/// Words that leave open what follows `be` after them.
const POSSIBILITIES: [&str; 3] = ["could", "may", "might"];
/// Most words that are looked at before a number.
const WORDS_MAX: usize = 6;

/// Where the sentence starts that the byte at `at` is in, if what stands from there to `end` is said in doubt.
pub(super) fn doubted_from(text: &str, at: usize, end: usize) -> Option<usize> {
    let (before, after) = (&text[..at], &text[end..]);
    (is_heading(before) || is_denied(before) || is_asked(after)).then(|| sentence_start(before))
}

/// Whether the line that a text ends in is a heading that could have been the line of the answer and is not.
fn is_heading(before: &str) -> bool {
    before.rsplit('\n').next().unwrap_or_default().starts_with("####")
}

/// Whether a text ends in words that take back what follows them.
fn is_denied(before: &str) -> bool {
    let before = before.trim_end_matches(|c: char| c.is_whitespace() || "$\\([{*-".contains(c));
    let mut words = before
        .rsplit(|c: char| c.is_whitespace())
        .filter(|word| !word.is_empty())
        .map(|word| word.trim_matches(['*', '_', '"']).to_ascii_lowercase())
        .take(WORDS_MAX)
        .peekable();
    if words.peek().is_some_and(|word| word == "between") {
        return true;
    }
    if words.peek().is_some_and(|word| word == "and") {
        // `between 17 and`
        return words.nth(2).is_some_and(|word| word == "between");
    }
    let mut passed_be = false;
    while let Some(word) = words.next_if(|word| FILLING.contains(&word.as_str())) {
        passed_be |= word == "be";
    }
    words.next().is_some_and(|word| {
        let is_negated = word.ends_with("n't") || word.ends_with("n’t");
        is_negated || DENIALS.contains(&word.as_str()) || (passed_be && POSSIBILITIES.contains(&word.as_str()))
    })
}

/// Whether the sentence that goes on with a text ends with a question mark.
fn is_asked(after: &str) -> bool {
    let mut characters = after.chars().peekable();
    while let Some(c) = characters.next() {
        let ends = characters.peek().is_none_or(|next| next.is_whitespace());
        match c {
            '?' => return true,
            '\n' => return false,
            '.' | '!' if ends => return false,
            _ => {}
        }
    }
    false
}

/// Where the last sentence or line of a text starts.
fn sentence_start(text: &str) -> usize {
    let stops = ["\n", ". ", "! ", "? "];
    stops.into_iter().filter_map(|stop| text.rfind(stop).map(|at| at + stop.len())).max().unwrap_or_default()
}
