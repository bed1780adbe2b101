//! Finding the answer in a completion. Not reading it: see `value`.

use serde::{Deserialize, Serialize};

use crate::last_number::last_number;

/// How the answer is found in a completion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Extraction {
    /// What a person would take for the answer. After the last `</think>`, if there is one: the content of the last
    /// closed `\boxed{…}` or `\fbox{…}`, else what follows the last `####` on its line, else the last number.
    ///
    /// A box that is never closed counts as not there. A box or `####` line that is closed and blank is no answer.
    Auto {},
    /// What follows the last occurrence of a marker on its line; without the marker there is no answer.
    Marker {
        /// The marker, matched as a whole word between white space. An empty marker is never found.
        marker: String,
    },
}

/// The text of a completion that is taken for its answer; trimmed and never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AnswerText<'a>(&'a str);

impl<'a> AnswerText<'a> {
    /// The text itself, or the absence of an answer where it is blank.
    pub(crate) fn new(text: &'a str) -> Result<Self, Absence> {
        let text = text.trim();
        if text.is_empty() { Err(Absence::Blank) } else { Ok(Self(text)) }
    }

    pub(crate) fn as_str(self) -> &'a str {
        self.0
    }
}

/// Why a completion holds no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absence {
    /// The place for the answer is there and empty.
    Blank,
    /// Neither a box, nor `####`, nor a number.
    NoNumber,
    /// The marker does not occur.
    NoMarker,
}

impl Absence {
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Blank => "the place for the answer is blank",
            Self::NoNumber => "no box, no #### and no number",
            Self::NoMarker => "the marker does not occur",
        }
    }
}

/// The answer of a completion. Linear in the length of the completion.
pub(crate) fn extract<'a>(completion: &'a str, extraction: &Extraction) -> Result<AnswerText<'a>, Absence> {
    match extraction {
        Extraction::Auto {} => {
            let spoken = completion.rsplit_once("</think>").map_or(completion, |(_, after)| after);
            let found = marked_answer(spoken).or_else(|| last_number(spoken)).ok_or(Absence::NoNumber)?;
            AnswerText::new(found)
        }
        Extraction::Marker { marker } => AnswerText::new(after_marker(completion, marker).ok_or(Absence::NoMarker)?),
    }
}

/// The content of the last closed box, else what follows the last `####` on its line.
pub(crate) fn marked_answer(text: &str) -> Option<&str> {
    last_box(text).or_else(|| text.rsplit_once("####").map(|(_, after)| first_line(after)))
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

/// An open brace of a scan for boxes.
enum Brace {
    Plain,
    Box { content_start: usize },
}

/// The content of the closed box that opens last, braces balanced and escaped braces passed over.
fn last_box(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut open: Vec<Brace> = Vec::new();
    let mut last: Option<(usize, usize)> = None;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                if let Some(content_start) = box_content_start(bytes, at) {
                    open.push(Brace::Box { content_start });
                    at = content_start;
                    continue;
                }
                let escapes = matches!(bytes.get(at + 1), Some(b'{' | b'}'));
                at += usize::from(escapes);
            }
            b'{' => open.push(Brace::Plain),
            b'}' => {
                if let Some(Brace::Box { content_start }) = open.pop()
                    && last.is_none_or(|(start, _)| start < content_start)
                {
                    last = Some((content_start, at));
                }
            }
            _ => {}
        }
        at += 1;
    }
    last.map(|(start, end)| &text[start..end])
}

/// Where the content starts of a box whose backslash is at `at`.
fn box_content_start(bytes: &[u8], at: usize) -> Option<usize> {
    let named = ["\\boxed", "\\fbox"].into_iter().find(|name| bytes[at..].starts_with(name.as_bytes()))?;
    let after_name = at + named.len();
    let spaces = bytes[after_name..].iter().take_while(|byte| **byte == b' ').count();
    (bytes.get(after_name + spaces) == Some(&b'{')).then_some(after_name + spaces + 1)
}
