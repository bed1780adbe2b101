//! The one place that prints: results to standard output, everything else to standard error.
//!
//! What a model, a file or a user wrote never reaches a terminal with its control characters, and begins no line of
//! standard error.

use std::{
    borrow::Cow,
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use anyhow::{Context, Result};
use clap::{
    ColorChoice,
    builder::styling::{AnsiColor, Style},
};
use record::turns_writing;

use crate::table::clipped;

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressForm {
    /// Bars that are drawn over, in a terminal.
    Bars,
    /// A line for everything that is complete.
    Lines,
    /// Nothing.
    Silent,
}

/// How much the program says beside its results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Progress, notes, warnings and errors.
    Normal,
    /// Warnings and errors.
    Quiet,
}

/// How labels are set off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coloring {
    Colored,
    Plain,
}

/// How the program talks.
#[derive(Debug, Clone)]
pub(crate) struct Console {
    verbosity: Verbosity,
    coloring: Coloring,
}

impl Console {
    /// A console as the command line asks for it.
    pub(crate) fn new(verbosity: Verbosity, color: ColorChoice) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let coloring = match color {
            ColorChoice::Always => Coloring::Colored,
            ColorChoice::Auto if io::stderr().is_terminal() && !plain => Coloring::Colored,
            ColorChoice::Auto | ColorChoice::Never => Coloring::Plain,
        };
        Self { verbosity, coloring }
    }

    /// How progress is to be shown.
    pub(crate) fn progress_form(&self) -> ProgressForm {
        match self.verbosity {
            Verbosity::Quiet => ProgressForm::Silent,
            Verbosity::Normal if io::stderr().is_terminal() => ProgressForm::Bars,
            Verbosity::Normal => ProgressForm::Lines,
        }
    }

    /// A line of the result.
    pub(crate) fn result(&self, line: impl Display) -> Result<()> {
        self.stream(&format!("{line}\n"))
    }

    /// A part of the result, at once.
    #[expect(clippy::unused_self, reason = "output goes through a console, so that what it needs is handed in")]
    pub(crate) fn stream(&self, text: &str) -> Result<()> {
        let mut output = io::stdout().lock();
        let text = if output.is_terminal() { printable(text) } else { Cow::Borrowed(text) };
        output.write_all(text.as_bytes()).and_then(|()| output.flush()).context("cannot write to standard output")
    }

    /// What is going on; silent when quiet.
    pub(crate) fn note(&self, line: impl Display) {
        if self.verbosity == Verbosity::Normal {
            say(&one_line(&line.to_string()));
        }
    }

    /// Something that the result should be read with.
    pub(crate) fn warning(&self, line: impl Display) {
        self.labelled(WARNING, "warning", &line.to_string());
    }

    /// Why the program fails: the error, its causes, and what to do where a message says so.
    pub(crate) fn failure(&self, error: &anyhow::Error) {
        let messages: Vec<String> = error.chain().map(ToString::to_string).collect();
        let mut remedies = Vec::new();
        for (index, message) in messages.iter().enumerate() {
            // Some libraries repeat the message of their cause in their own.
            if index > 0 && messages[index - 1].contains(message.as_str()) {
                continue;
            }
            let (cause, remedy) = split_remedy(message.trim_end());
            self.labelled(ERROR, if index == 0 { "error" } else { "  cause" }, cause);
            remedies.extend(remedy);
        }
        for remedy in remedies {
            self.labelled(HINT, "hint", remedy);
        }
    }

    fn labelled(&self, style: Style, label: &str, text: &str) {
        let text = one_line(text);
        match self.coloring {
            Coloring::Colored => say(&format!("{style}{label}:{style:#} {text}")),
            Coloring::Plain => say(&format!("{label}: {text}")),
        }
    }
}

/// A line to standard error. One that can't be written is lost: there is nobody to tell.
fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether the error is that nobody reads our output any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(broken))
}

/// `text` with a replacement character for each control character that could move the cursor or worse, and for those that
/// turn the direction of writing.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    let moves = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    let unsafe_to_print = |character: char| moves(character) || turns_writing(character);
    if text.contains(unsafe_to_print) {
        Cow::Owned(text.replace(unsafe_to_print, "\u{fffd}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// What a message about TOML says before it shows the line in question.
const TOML: &str = "TOML parse error at line ";

/// Most characters of a message: a file may hold values of any length, and messages name them.
const MESSAGE_CHARACTERS_MAX: usize = 8_000;

/// `text`, printable, clipped and without line breaks: a name that has some could forge lines of ours. What TOML draws
/// beside a line of a file keeps them, indented.
fn one_line(text: &str) -> String {
    let text = clipped(text, MESSAGE_CHARACTERS_MAX);
    let text = printable(&text);
    let between = if text.contains(TOML) { "\n    " } else { "\\n" };
    text.split('\n').collect::<Vec<_>>().join(between)
}

/// Verbs with which the messages of our crates begin their remedies.
const REMEDY_VERBS: [&str; 27] = [
    "add", "check", "choose", "correct", "download", "drop", "export", "give", "install", "leave", "lower", "make",
    "mend", "move", "pass", "put", "raise", "remove", "replace", "run", "set", "shorten", "split", "start", "use",
    "wait", "write",
];

/// A message of the form `cause; remedy` in its two parts; the whole message where no remedy follows.
fn split_remedy(message: &str) -> (&str, Option<&str>) {
    // A line break is TOML's, which shows a line of a file, and a remedy has none.
    let is_remedy = |rest: &str| {
        !rest.contains('\n') && rest.split([' ', ',']).next().is_some_and(|word| REMEDY_VERBS.contains(&word))
    };
    match last_semicolon(message).map(|end| (&message[..end], &message[end + 2..])) {
        Some((cause, rest)) if is_remedy(rest) => (cause, Some(rest)),
        Some(_) | None => (message, None),
    }
}

/// Where the last `; ` of a message stands that is outside of backquotes and quotes: what is within them is somebody else's.
/// None where they do not match.
fn last_semicolon(message: &str) -> Option<usize> {
    let (mut quote, mut last, mut is_escaped) = (None, None, false);
    for (index, character) in message.char_indices() {
        match quote {
            Some('"') if is_escaped => is_escaped = false,
            Some('"') if character == '\\' => is_escaped = true,
            Some(open) if character == open => quote = None,
            None if matches!(character, '`' | '"') => quote = Some(character),
            None if message[index..].starts_with("; ") => last = Some(index),
            Some(_) | None => {}
        }
    }
    last.filter(|_| quote.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_what_follows_the_last_semicolon_and_starts_with_a_verb() {
        for (message, expected) in [
            ("a is missing; add it", ("a is missing", Some("add it"))),
            ("a is 3; b is 4; lower a", ("a is 3; b is 4", Some("lower a"))),
            ("`threads` is 9; it must be less", ("`threads` is 9; it must be less", None)),
            ("no remedy", ("no remedy", None)),
        ] {
            assert_eq!(split_remedy(message), expected);
        }
    }

    #[test]
    fn what_a_message_quotes_is_never_taken_for_its_remedy() {
        for (message, expected) in [
            ("`a; run b` is no name", ("`a; run b` is no name", None)),
            ("`a; run b` is no name; use c", ("`a; run b` is no name", Some("use c"))),
            (
                r#"invalid type: string "a\"; run b", expected"#,
                (r#"invalid type: string "a\"; run b", expected"#, None),
            ),
            ("is `a`; run `b; run c`", ("is `a`", Some("run `b; run c`"))),
            ("`a`; run `b", ("`a`; run `b", None)),
            ("at line 1\n1 | x = 1 # a; run b\nunknown `x`", ("at line 1\n1 | x = 1 # a; run b\nunknown `x`", None)),
        ] {
            assert_eq!(split_remedy(message), expected);
        }
    }

    #[test]
    fn a_line_break_in_a_name_begins_no_line() {
        assert_eq!(
            one_line("cannot read a\nerror: b\r\nhint: run c"),
            "cannot read a\\nerror: b\u{fffd}\\nhint: run c"
        );
        assert_eq!(
            one_line("TOML parse error at line 1\n  |\nhint: a"),
            "TOML parse error at line 1\n      |\n    hint: a"
        );
        assert_eq!(one_line(""), "");
    }

    #[test]
    fn a_message_of_any_length_is_clipped() {
        assert_eq!(one_line(&"é".repeat(8_001)), format!("{}…", "é".repeat(8_000)));
        assert_eq!(one_line(&"é".repeat(8_000)), "é".repeat(8_000));
    }

    #[test]
    fn control_characters_are_replaced_except_line_breaks_and_tabs() {
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
        assert_eq!(printable("\u{1b}[2Jx\r\u{9b}y\u{7f}"), "\u{fffd}[2Jx\u{fffd}\u{fffd}y\u{fffd}");
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{5d0}"), "a\u{fffd}b\u{fffd}c\u{5d0}");
    }
}
