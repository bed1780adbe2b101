//! `\boxed{…}` and `\fbox{…}`: where they are, and which of them belong together.

use std::borrow::Cow;

/// Most boxes that are put together.
const GROUP_MAX: usize = 64;
/// Most words between two boxes that belong together.
const JOINT_WORDS_MAX: usize = 5;
/// Words after which a box is a new try or a conclusion.
const NEW_TRY: [&str; 18] = [
    "no",
    "not",
    "wait",
    "so",
    "thus",
    "hence",
    "therefore",
    "then",
    "actually",
    "but",
    "instead",
    "rather",
    "because",
    "since",
    "final",
    "correct",
    "check",
    "which",
];

/// The last boxes that belong together.
pub(super) struct Group<'a> {
    /// The content, with commas between the contents of several boxes.
    pub(super) text: Cow<'a, str>,
    /// Where the last box ends.
    pub(super) end: usize,
}

/// A closed box that holds no other.
struct Box_ {
    start: usize,
    content: std::ops::Range<usize>,
}

/// The last closed box, with those before it that only `and`, `or` or a comma keeps apart.
pub(super) fn last_group(text: &str) -> Option<Group<'_>> {
    let boxes = innermost(text);
    let last = boxes.last()?;
    let mut first = boxes.len() - 1;
    while first > 0 && boxes.len() - first < GROUP_MAX {
        let (before, after) = (&boxes[first - 1], &boxes[first]);
        if !belong_together(text, before, after) {
            break;
        }
        first -= 1;
    }
    let mut contents: Vec<&str> = Vec::new();
    for found in &boxes[first..] {
        let content = text[found.content.clone()].trim();
        if !contents.contains(&content) {
            contents.push(content);
        }
    }
    let text = match contents.as_slice() {
        [only] => Cow::Borrowed(*only),
        several => Cow::Owned(several.join(", ")),
    };
    Some(Group { text, end: last.content.end + 1 })
}

fn belong_together(text: &str, before: &Box_, after: &Box_) -> bool {
    let Some(gap) = text.get(before.content.end + 1..after.start) else { return false };
    if gap.len() > 120 || [before, after].iter().any(|found| text[found.content.clone()].trim().is_empty()) {
        return false;
    }
    let words = words(gap);
    if words.is_empty() {
        return true;
    }
    let is_new_try = words.iter().any(|word| NEW_TRY.iter().any(|known| word.eq_ignore_ascii_case(known)));
    if is_new_try || words.len() > JOINT_WORDS_MAX || ends_sentence(gap) {
        return false;
    }
    let joins = words.iter().any(|word| matches!(*word, "and" | "or" | "And" | "Or" | "AND" | "OR"));
    let is_option = |found: &Box_| {
        let content = text[found.content.clone()].trim();
        content.len() == 1 && content.chars().all(|letter| letter.is_ascii_uppercase())
    };
    // `A is \boxed{A}, B is \boxed{B}` takes every option, whatever stands between.
    joins || (is_option(before) && is_option(after))
}

fn ends_sentence(gap: &str) -> bool {
    let mut characters = gap.chars().peekable();
    while let Some(c) = characters.next() {
        if matches!(c, '.' | '!' | '?') && characters.peek().is_none_or(|next| next.is_whitespace()) {
            return true;
        }
    }
    false
}

/// Words of a text that are no LaTeX commands.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_alphabetic() || c == '\\') {
        rest = &rest[start..];
        let is_command = rest.starts_with('\\');
        let name = if is_command { &rest[1..] } else { rest };
        let length = name.find(|c: char| !c.is_alphabetic()).unwrap_or(name.len());
        if !is_command {
            words.push(&name[..length]);
        }
        rest = &name[length..];
    }
    words
}

/// An open brace of a scan for boxes.
enum Brace {
    Plain,
    Box { start: usize, content_start: usize },
}

/// The closed boxes without others in them, in the order they open. Braces balance; escaped ones are passed over.
fn innermost(text: &str) -> Vec<Box_> {
    let bytes = text.as_bytes();
    let mut open: Vec<Brace> = Vec::new();
    let mut found: Vec<Box_> = Vec::new();
    let Some(mut at) = text.find("\\boxed").into_iter().chain(text.find("\\fbox")).min() else { return found };
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                if let Some(content_start) = content_start(bytes, at) {
                    open.push(Brace::Box { start: at, content_start });
                    at = content_start;
                    continue;
                }
                // Two backslashes are a line break, so only an odd number of them escapes the brace that follows.
                let run = bytes[at..].iter().take_while(|byte| **byte == b'\\').count();
                let before_brace = matches!(bytes.get(at + run), Some(b'{' | b'}'));
                at += match (before_brace, run % 2) {
                    (true, 1) => run,
                    (true, _) => run - 1,
                    // On to the last one, which may open a box.
                    (false, _) => run.saturating_sub(2),
                };
            }
            b'{' => open.push(Brace::Plain),
            b'}' => {
                if let Some(Brace::Box { start, content_start }) = open.pop()
                    && found.last().is_none_or(|last| last.start < start)
                {
                    found.push(Box_ { start, content: content_start..at });
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Where the content starts of a box whose backslash is at `at`.
fn content_start(bytes: &[u8], at: usize) -> Option<usize> {
    let named = ["\\boxed", "\\fbox"].into_iter().find(|name| bytes[at..].starts_with(name.as_bytes()))?;
    let after_name = at + named.len();
    let spaces = bytes[after_name..].iter().take_while(|byte| **byte == b' ').count();
    (bytes.get(after_name + spaces) == Some(&b'{')).then_some(after_name + spaces + 1)
}

/// What follows the last box that lacks its closing brace or both, up to the end of its formula.
pub(super) fn unclosed(text: &str) -> Option<&str> {
    let (_, after) = text.rsplit_once("\\boxed")?;
    let content = after.trim_start().strip_prefix('{').unwrap_or(after);
    let end =
        ["$", "\n", "\\)", "\\]"].into_iter().filter_map(|mark| content.find(mark)).min().unwrap_or(content.len());
    let content = content[..end].trim();
    (!content.is_empty()).then_some(content)
}

/// What follows the last `\boxed` that has no braces, as in `\boxed 9`, up to the end of its formula.
pub(super) fn unbraced(text: &str) -> Option<&str> {
    let (_, after) = text.rsplit_once("\\boxed ")?;
    if after.trim_start().starts_with('{') { None } else { unclosed(text) }
}
