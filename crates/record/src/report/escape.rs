//! Text from runs made safe to put in a page: markup is escaped, and what a reader could not see is made visible.
//! Not a sanitiser of HTML: nothing from a run is ever markup.

use std::fmt::{self, Write};

/// HTML being written. Everything put in that came from a run has passed [`line`] or [`block`].
#[derive(Debug, Default)]
pub(super) struct Markup(String);

impl Markup {
    /// Appends formatted markup.
    pub(super) fn put(&mut self, text: fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes any text");
    }

    /// Appends markup as it is.
    pub(super) fn put_str(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// The markup.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Text for one line or an attribute: line breaks and tabs are made visible too.
pub(super) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        push_escaped(&mut out, character);
    }
    out
}

/// Text for a `<pre>`: line feeds and tabs stay.
pub(super) fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => out.push(character),
            other => push_escaped(&mut out, other),
        }
    }
    out
}

/// `text` cut in the middle when it is longer than `characters_max`, saying how much was left out on a line of its own; not
/// escaped.
pub(super) fn clip(text: &str, characters_max: usize) -> String {
    clipped(text, characters_max, "\n")
}

/// The same for a text on one line, escaped as [`line`] does.
pub(super) fn clipped_line(text: &str, characters_max: usize) -> String {
    line(&clipped(text, characters_max, " "))
}

fn clipped(text: &str, characters_max: usize, between: &str) -> String {
    let characters = text.chars().count();
    if characters <= characters_max {
        return text.to_owned();
    }
    let half = characters_max / 2;
    let head: String = text.chars().take(half).collect();
    let tail: String = text.chars().skip(characters - half).collect();
    format!("{head}{between}[… {} characters left out …]{between}{tail}", characters - 2 * half)
}

fn push_escaped(out: &mut String, character: char) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        '\'' => out.push_str("&#39;"),
        other if is_invisible(other) => {
            write!(out, "⟨U+{:04X}⟩", other as u32).expect("a String takes any text");
        }
        other => out.push(other),
    }
}

/// Characters that change how their neighbours are shown without being shown: controls, bidirectional marks,
/// overrides and isolates, zero-width characters, line and paragraph separators, annotation and tag characters.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_and_invisible_characters_are_shown_as_text() {
        let cases = [
            ("<script>alert('x')</script>", "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"),
            ("a & \"b\"", "a &amp; &quot;b&quot;"),
            ("\u{1b}[31mred", "⟨U+001B⟩[31mred"),
            ("nul\0bell\u{7}delete\u{7f}", "nul⟨U+0000⟩bell⟨U+0007⟩delete⟨U+007F⟩"),
            ("abc\u{202e}fed", "abc⟨U+202E⟩fed"),
            ("zero\u{200b}width\u{feff}", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
            ("csi \u{9b}2J", "csi ⟨U+009B⟩2J"),
            ("tag \u{e0041}", "tag ⟨U+E0041⟩"),
            ("λ ≤ 20 % 数", "λ ≤ 20 % 数"),
        ];
        for (text, expected) in cases {
            assert_eq!(line(text), expected);
            assert_eq!(block(text), expected);
        }
    }

    #[test]
    fn a_clipped_text_says_what_was_left_out_on_its_line_or_on_one_of_its_own() {
        assert_eq!(clip("abcdefgh", 4), "ab\n[… 4 characters left out …]\ngh");
        assert_eq!(clipped_line("a<cdefgh", 4), "a&lt; [… 4 characters left out …] gh");
        assert_eq!((clip("abcd", 4), clipped_line("abcd", 4)), ("abcd".to_owned(), "abcd".to_owned()));
    }

    #[test]
    fn line_breaks_stay_in_blocks_and_are_visible_in_lines() {
        assert_eq!(line("a\nb\tc\r"), "a⟨U+000A⟩b⟨U+0009⟩c⟨U+000D⟩");
        assert_eq!(block("a\nb\tc\r"), "a\nb\tc⟨U+000D⟩");
    }

    #[test]
    fn long_text_is_cut_in_the_middle_and_says_so() {
        assert_eq!(clip("short", 5), "short");
        assert_eq!(clip("äbcdefghij", 4), "äb\n[… 6 characters left out …]\nij");
    }
}
