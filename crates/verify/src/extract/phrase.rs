//! What follows `the answer is`, and completions that are nothing but their answer.

use crate::{
    answer::Answer,
    extract::{AnswerText, span},
};

/// Longest completion that may be its answer as a whole, in bytes.
const WHOLE_BYTES_MAX: usize = 300;
/// Longest answer of words after a phrase.
const WORDS_MAX: usize = 3;
/// Most occurrences of the phrase that are looked at, from the last.
const OCCURRENCES_MAX: usize = 8;

/// Whether a phrase may be followed by words alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    Taken,
    /// Only mathematics or an option, where there is an answer beside it.
    Refused,
}

/// What follows the last `final answer is`, `final answer:` or heading `Final Answer` that anything follows.
pub(super) fn final_answer(text: &str, words: Words) -> Option<&str> {
    occurrences(text).find_map(|(before, after)| {
        let is_final = before.len() >= 7 && before.is_char_boundary(before.len() - 7);
        let is_final = is_final && before[before.len() - 7..].eq_ignore_ascii_case("final a");
        let content = if is_final { after_verb(after).or_else(|| after_heading(after)) } else { None };
        content.and_then(|content| answer_in(content, words))
    })
}

/// What follows the last `answer is`, `answer:` or `correct option is` that anything follows.
pub(super) fn answer(text: &str) -> Option<&str> {
    occurrences(text).find_map(|(_, after)| answer_in(after_verb(after)?, Words::Taken))
}

/// An option of a multiple choice that a phrase gives for the answer.
#[derive(Clone, Copy)]
pub(super) struct NamedOption<'a> {
    pub(super) text: &'a str,
    /// The letter, where the text is nothing else.
    pub(super) letter: Option<char>,
}

/// The option that follows the last `answer is`, `answer:` or `correct option is`, where what follows it is one.
pub(super) fn option(text: &str) -> Option<NamedOption<'_>> {
    let text = answer(text)?;
    let read = read(text)?;
    let letter = read.letter();
    (letter.is_some() || read.option.is_some()).then_some(NamedOption { text, letter })
}

/// Whether a text is the letter of an option, or starts with one.
pub(super) fn names_option(text: &str) -> bool {
    read(text).is_some_and(|answer| answer.letter().is_some() || answer.option.is_some())
}

/// What stands before and after `nswer`, `correct option` and `correct choice`, from the last.
fn occurrences(text: &str) -> impl Iterator<Item = (&str, &str)> {
    const NOUNS: [&str; 3] = ["nswer", "correct option", "correct choice"];
    let starts = text.rmatch_indices(['n', 'N', 'c', 'C']).map(|(at, _)| at);
    let found = starts.filter_map(|at| {
        let after = NOUNS.iter().find_map(|noun| {
            let (found, after) = text[at..].split_at_checked(noun.len())?;
            found.eq_ignore_ascii_case(noun).then_some(after)
        });
        Some((&text[..at], after?))
    });
    found.take(OCCURRENCES_MAX)
}

/// What follows `is`, `are`, `:` or `=`.
fn after_verb(after: &str) -> Option<&str> {
    let after = after.strip_prefix('s').unwrap_or(after).trim_start_matches(['*', ' ', '_', ')']);
    if let Some(content) = after.strip_prefix([':', '=']) {
        return Some(content.trim_start_matches(['*', ' ', ':']));
    }
    let verbs = ["is", "are", "would be", "will be", "must be", "to the question is", "to the problem is"];
    let content = verbs.iter().find_map(|verb| after.strip_prefix(verb))?;
    let is_whole_word = content.starts_with(|c: char| c.is_whitespace() || c == ':');
    is_whole_word.then(|| content.trim_start_matches([':', '*', ' ']))
}

/// What follows a heading on its own line.
fn after_heading(after: &str) -> Option<&str> {
    let content = after.trim_start_matches(['*', '#', ' ', '_', ':']);
    content.starts_with(['\n', '\r']).then(|| content.trim_start())
}

/// The answer in what follows a phrase: what it starts with, where that is a formula; its sentence, where that is
/// mathematics; the last formula or number of the sentence; its words, where they are few.
fn answer_in(content: &str, words: Words) -> Option<&str> {
    let content = content.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '"' | '`'));
    let content = content.strip_prefix("\\\"").unwrap_or(content);
    let sentence = first_sentence(content);
    if let Some((group, after)) = span::starting(content) {
        return Some(if names_another(after) { sentence } else { group });
    }
    if sentence.is_empty() {
        return None;
    }
    if is_mathematics(sentence) {
        return Some(sentence);
    }
    if let Some(clause) = first_clause(sentence) {
        return Some(clause);
    }
    let has_digit = sentence.contains(|c: char| c.is_ascii_digit());
    let is_short = words == Words::Taken && !has_digit && sentence.split_whitespace().count() <= WORDS_MAX;
    span::last(sentence).or(is_short.then_some(sentence))
}

/// Whether a text goes on with `and` or `or` and a number, as what follows `$18$` in `$18$ apples and $19$ pears` does.
fn names_another(after: &str) -> bool {
    let mut words = after.split_whitespace();
    let joint = words
        .by_ref()
        .take(WORDS_MAX)
        .find(|word| matches!(*word, "and" | "or") || !word.chars().all(char::is_alphabetic));
    let is_joined = matches!(joint, Some("and" | "or"));
    is_joined
        && words.next().is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit() || c == '$' || c == '\\'))
}

/// The mathematics before a comma, as in `12, since there are 3` or `12, not 13`; with what follows, where that is
/// another answer, as in `5, or it could be 6`; nothing where it goes on in any other way.
fn first_clause(sentence: &str) -> Option<&str> {
    let (clause, rest) = sentence.split_once(", ")?;
    if !is_mathematics(clause) {
        return None;
    }
    let next = rest.trim_start().split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    match next {
        "or" | "maybe" | "perhaps" | "possibly" => Some(if span::last(rest).is_some() { sentence } else { clause }),
        "but" if span::last(rest).is_none() => Some(clause),
        "" | "and" | "but" => None,
        _ => Some(clause),
    }
}

/// Whether a text is an answer by itself: mathematics, an option, or what is refused as such.
pub(super) fn may_be_answer(text: &str) -> bool {
    AnswerText::new(text).is_ok_and(|text| {
        Answer::read(&text).map_or(true, |answer| answer.is_mathematical() || answer.option.is_some())
    })
}

fn is_mathematics(text: &str) -> bool {
    read(text).is_some_and(|answer| answer.is_mathematical() || answer.option.is_some())
}

fn read(text: &str) -> Option<Answer> {
    Answer::read(&AnswerText::new(text).ok()?).ok()
}

/// The text up to a full stop that ends a sentence, or the end of the line.
fn first_sentence(text: &str) -> &str {
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        let after = &line[at + c.len_utf8()..];
        let is_stop = matches!(c, '.' | '!' | '?' | '。');
        let ends_word =
            after.is_empty() || after.starts_with(|next: char| next.is_whitespace() || matches!(next, '*' | '"' | '<'));
        let after_letter =
            line[..at].ends_with(|c: char| c.is_alphanumeric() || matches!(c, '$' | '}' | ')' | ']' | '%' | '*' | '"'));
        if is_stop && ends_word && after_letter && !is_option_letter(&line[..at]) {
            end = at;
            break;
        }
    }
    line[..end].trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '"' | '\\' | '`'))
}

/// Whether a text is nothing but the letter of an option, as before the stop of `B. 12`.
fn is_option_letter(text: &str) -> bool {
    text.len() == 1 && text.chars().all(|letter| letter.is_ascii_uppercase())
}

/// A completion of one line that is mathematics or the letter of an option.
pub(super) fn whole(text: &str) -> Option<&str> {
    let text = text.trim();
    // What a box that is never closed holds has been looked for; without it there is nothing.
    if text.len() > WHOLE_BYTES_MAX || text.contains('\n') || text.contains("\\boxed") {
        return None;
    }
    let letter = text.trim_matches(['(', ')', '.', '*', ' ']);
    let is_letter = letter.len() == 1 && letter.chars().all(|letter| letter.is_ascii_uppercase());
    (is_letter || is_mathematics(text)).then_some(text)
}
