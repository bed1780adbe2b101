//! Finding the answer in a completion. Not reading it: see `answer`.

mod boxes;
mod doubt;
mod last_number;
mod phrase;
mod span;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use self::phrase::Words;

pub(crate) use span::after_last_equal;

/// Most lines with `####` that are looked at, from the last.
const HASHES_MAX: usize = 8;

/// How the answer is found in a completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Extraction {
    /// What a person would take for the answer, in what follows the last `</think>` and comes before a token that ends
    /// the turn. The first of these that is there:
    ///
    /// 1. the last closed `\boxed{…}` or `\fbox{…}`, with the boxes beside it that are joined to it by `and`, `or` or a
    ///    comma; or what follows the last `final answer is`, where that comes later; with the option that a later
    ///    `answer:` names;
    /// 2. what follows the last `####` on its line, but for a heading in words that has text below it;
    /// 3. what follows a `\boxed` without braces, then what follows the last `answer is`, `answer:` or `correct option is`;
    /// 4. what a box holds that is never closed, else the whole text, where it is one line that reads as mathematics or
    ///    is one letter;
    /// 5. the last formula between `$…$`, `\(…\)` or `\[…\]`, or the last number, whichever comes last, that its sentence
    ///    does not deny, ask for or leave open.
    ///
    /// A `<think>` that is never closed is no answer. A box or `####` line that is blank is no answer.
    Auto {},
    /// What follows the last occurrence of a marker on its line; without the marker there is no answer.
    Marker {
        /// The marker, matched as a whole word between white space. An empty marker is never found.
        marker: String,
    },
}

impl Extraction {
    /// Checks that an answer can be found so.
    ///
    /// # Errors
    /// What is wrong with the marker, and the remedy.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Marker { marker } if marker.is_empty() || marker.trim() != marker => Err(format!(
                "has the marker {marker:?}, which is never found between white space; give it without space around"
            )),
            Self::Auto {} | Self::Marker { .. } => Ok(()),
        }
    }
}

/// The text of a completion that is taken for its answer; trimmed and never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerText<'a>(Cow<'a, str>);

impl<'a> AnswerText<'a> {
    /// The text itself, or the absence of an answer where it is blank.
    pub(crate) fn new(text: impl Into<Cow<'a, str>>) -> Result<Self, Absence> {
        let text = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        if text.is_empty() { Err(Absence::Blank) } else { Ok(Self(text)) }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a completion holds no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// The place for the answer is there and empty.
    Blank,
    /// A `<think>` is never closed.
    Thinking,
    /// Nothing that could be an answer.
    Nothing,
    /// The marker does not occur.
    NoMarker,
}

impl Absence {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Blank => "the place for the answer is blank",
            Self::Thinking => "the thinking never ends",
            Self::Nothing => "no box, no ####, no answer phrase, no formula and no number",
            Self::NoMarker => "the marker does not occur",
        }
    }
}

/// The answer of a completion. Linear in the length of the completion.
pub(crate) fn extract<'a>(completion: &'a str, extraction: &Extraction) -> Result<AnswerText<'a>, Absence> {
    match extraction {
        Extraction::Auto {} => AnswerText::new(found(spoken(completion)?).ok_or(Absence::Nothing)?),
        Extraction::Marker { marker } => AnswerText::new(after_marker(completion, marker).ok_or(Absence::NoMarker)?),
    }
}

fn found(spoken: &str) -> Option<Cow<'_, str>> {
    let boxed = boxes::last_group(spoken);
    let after_box = &spoken[boxed.as_ref().map_or(0, |group| group.end)..];
    let words = if boxed.is_some() { Words::Refused } else { Words::Taken };
    let concluded = phrase::final_answer(after_box, words).map(Cow::Borrowed);
    if let Some(group) = boxed {
        let answer = concluded.unwrap_or(group.text);
        return Some(match phrase::option(after_box) {
            Some(option) => with_option(option, &answer),
            None => answer,
        });
    }
    if concluded.is_some() {
        return concluded;
    }
    let found = after_hashes(spoken)
        .or_else(|| boxes::unbraced(spoken))
        .or_else(|| phrase::answer(spoken))
        .or_else(|| boxes::unclosed(spoken))
        .or_else(|| phrase::whole(spoken))
        .or_else(|| span::last(spoken));
    found.map(Cow::Borrowed)
}

/// Tokens of chat templates after which somebody else speaks or nobody does.
const TURN_ENDS: [&str; 7] =
    ["<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<|user|>", "<｜end▁of▁sentence｜>"];

/// Whether nothing that follows `token` in a completion is said by the model in its turn.
pub fn ends_turn(token: &str) -> bool {
    TURN_ENDS.contains(&token)
}

/// What a box holds with the option that is named after it; the option alone where the box names one itself.
fn with_option<'a>(option: phrase::NamedOption<'a>, boxed: &str) -> Cow<'a, str> {
    match option.letter {
        Some(letter) if !boxed.trim().is_empty() && !phrase::names_option(boxed) => {
            Cow::Owned(format!("({letter}) {boxed}"))
        }
        _ => Cow::Borrowed(option.text),
    }
}

/// What is said rather than thought, up to the end of the turn.
fn spoken(completion: &str) -> Result<&str, Absence> {
    let said = completion.rsplit_once("</think>").map_or(completion, |(_, after)| after);
    if said.contains("<think>") {
        return Err(Absence::Thinking);
    }
    let candidates = said.match_indices('<');
    let end = candidates.map(|(at, _)| at).find(|at| TURN_ENDS.iter().any(|token| said[*at..].starts_with(token)));
    Ok(&said[..end.unwrap_or(said.len())])
}

/// What a gold answer or a solution marks as its answer: the last box, what follows the last `####`, or what follows
/// the last `final answer is`.
pub(crate) fn marked_answer(text: &str) -> Option<Cow<'_, str>> {
    boxes::last_group(text)
        .map(|group| group.text)
        .or_else(|| after_hashes(text).map(Cow::Borrowed))
        .or_else(|| boxes::unclosed(text).map(Cow::Borrowed))
        .or_else(|| phrase::final_answer(text, Words::Refused).map(Cow::Borrowed))
}

/// What follows the last `####` on its line, where it may be an answer: a heading such as `#### Analysis of the options`
/// with more below it is none.
fn after_hashes(text: &str) -> Option<&str> {
    text.rmatch_indices("####").take(HASHES_MAX).find_map(|(at, hashes)| {
        let after = &text[at + hashes.len()..];
        let line = first_line(after);
        let is_last = after[line.len()..].trim().is_empty();
        (is_last || line.trim().is_empty() || phrase::may_be_answer(line)).then_some(line)
    })
}

fn after_marker<'a>(completion: &'a str, marker: &str) -> Option<&'a str> {
    if marker.is_empty() {
        return None;
    }
    completion.rmatch_indices(marker).find_map(|(start, _)| {
        let (before, after) = (&completion[..start], &completion[start + marker.len()..]);
        let whole_word = before.chars().next_back().is_none_or(char::is_whitespace)
            && after.chars().next().is_none_or(char::is_whitespace);
        whole_word.then(|| first_line(after))
    })
}

fn first_line(text: &str) -> &str {
    text.split(['\n', '\r']).next().unwrap_or_default()
}
