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

/// Words that change the number before them.
const MULTIPLIERS: [&str; 10] =
    ["base", "times", "percent", "dozen", "hundred", "thousand", "thousands", "million", "millions", "billion"];

/// Whether a phrase may be followed by words alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    Taken,
    /// Only mathematics, an option or a sentence with one number, where there is an answer beside it.
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
    if let Some(letter) = explained_letter(sentence) {
        return Some(letter);
    }
    if is_mathematics(sentence) {
        return Some(sentence);
    }
    if let Some(clause) = first_clause(sentence) {
        return Some(clause);
    }
    if words == Words::Refused {
        return span::only(sentence);
    }
    let has_digit = sentence.contains(|c: char| c.is_ascii_digit());
    let is_short = !has_digit && sentence.split_whitespace().count() <= WORDS_MAX;
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

/// The letter of an option that a remark or a reason follows, as in `B (10^-4 eV)`, `B** - Photosynthesis` or `B because
/// it is small`; nothing where another option is named beside it.
fn explained_letter(sentence: &str) -> Option<&str> {
    let letter = sentence.get(..1).filter(|letter| is_option_letter(letter) && *letter <= "J")?;
    let after = sentence[1..].trim_start_matches('*');
    let follows = |openings: &[&str]| openings.iter().find_map(|opening| after.strip_prefix(opening));
    let is_alone = if let Some(remark) = follows(&[" (", " - ", " – ", " — "]) {
        let is_joint = |word: &str| matches!(word, "" | "or" | "nor" | "and") || word.ends_with([',', ';']);
        !names_option_after(remark, is_joint)
    } else if let Some(reason) = follows(&[" because ", " since ", " as "]) {
        // A reason may say of several options that they are wrong.
        !reason.starts_with("well ") && !names_option_after(reason, |word| matches!(word, "or" | "nor"))
    } else {
        false
    };
    is_alone.then_some(letter)
}

/// Whether the letter of an option follows a word that joins it to the one before; the first word follows nothing.
fn names_option_after(text: &str, is_joint: impl Fn(&str) -> bool) -> bool {
    let mut before = "";
    text.split_whitespace().any(|word| {
        let follows_joint = is_joint(before);
        before = word;
        follows_joint && is_option_letter(word.trim_matches(|c: char| !c.is_alphanumeric()))
    })
}

/// How a sentence goes on after what could be its answer.
enum Rest {
    /// It says more of the same answer.
    Explains,
    /// It names another answer, or makes another of it.
    Offers,
    /// It may compute on, or list.
    Unclear,
}

/// The mathematics before a comma, a bracket or a reason, as in `12, since there are 3`, `12, not 13`, `12 (4 packs of 3)`
/// or `12 because there are 3`; with what follows, where that is another answer, as in `5, or it could be 6`; nothing
/// where it goes on in any other way.
fn first_clause(sentence: &str) -> Option<&str> {
    let separators = [", ", " (", " because ", " since ", " as "];
    let mut ends: Vec<(usize, &str)> =
        separators.into_iter().filter_map(|separator| Some((sentence.find(separator)?, separator))).collect();
    ends.sort_unstable();
    ends.into_iter().find_map(|(at, separator)| {
        let (clause, rest) = (&sentence[..at], &sentence[at + separator.len()..]);
        // Of a letter and a reason, see `explained_letter`.
        if !is_mathematics(clause) || (separator != ", " && is_option_letter(clause)) {
            return None;
        }
        let goes_on = match separator {
            ", " => after_comma(rest),
            " (" => after_bracket(rest),
            _ if offers(rest) => Rest::Offers,
            _ => Rest::Explains,
        };
        match goes_on {
            Rest::Explains => Some(clause),
            Rest::Offers => Some(sentence),
            Rest::Unclear => None,
        }
    })
}

fn after_comma(rest: &str) -> Rest {
    match first_word(rest) {
        _ if offers(rest) => Rest::Offers,
        "" | "and" => Rest::Unclear,
        "but" if span::last(rest).is_some() => Rest::Unclear,
        _ => Rest::Explains,
    }
}

/// How a sentence goes on after an opening bracket, which may hold a factor: `2 (x + 1)`.
fn after_bracket(rest: &str) -> Rest {
    let Some((remark, after)) = rest.split_once(')') else { return Rest::Unclear };
    let after = after.trim_start_matches([',', ' ']);
    if offers(remark) || names_another(after) || MULTIPLIERS.contains(&first_word(remark)) {
        Rest::Offers
    } else if is_mathematics(remark) || after.starts_with(|c: char| !c.is_alphabetic()) {
        Rest::Unclear
    } else {
        Rest::Explains
    }
}

/// Whether a text starts with a word that offers another answer, and names one.
fn offers(text: &str) -> bool {
    matches!(first_word(text), "or" | "maybe" | "perhaps" | "possibly" | "well")
        && (span::last(text).is_some() || names_option_after(text, |_| true))
}

fn first_word(text: &str) -> &str {
    text.trim_start().split(|c: char| !c.is_alphabetic()).next().unwrap_or_default()
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
