//! Answer text to tokens, with everything gone that only concerns looks.
//!
//! The tokens are a flat list: braces stay in it as symbols, so nothing here recurses.

use crate::command::{Meaning, Script, character, greek, is_escaped_twice, meaning, script, vulgar_fraction};

/// Where letters stand: in mathematics they may be variables, in `\text{…}` they are words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Math,
    Text,
}

/// One piece of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A run of ASCII digits.
    Digits(&'a str),
    /// A run of letters.
    Word { letters: &'a str, origin: Origin },
    /// A LaTeX command without its backslash, synonyms merged.
    Command(&'a str),
    /// Any other character that means something.
    Symbol(char),
    /// A currency sign or the edge of mathematics; `$` is both.
    Dollar,
    /// White space or a LaTeX space, however wide.
    Space,
}

/// What a closing brace ends.
enum Group {
    /// Braces that stay.
    Brace,
    /// Braces of a command that only changes looks; they go with it.
    Style { outer: Origin },
}

/// The numbers 00 to 99, for exponents of two raised characters.
const PAIRS_OF_DIGITS: &str = "\
    00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555\
    65758596061626364656667686970717273747576777879808182838485868788899091929394959697\
    9899";

struct Lexer<'a> {
    rest: &'a str,
    origin: Origin,
    open: Vec<Group>,
    /// Environments that are open; a double backslash ends a row in them.
    environments: usize,
    tokens: Vec<Token<'a>>,
}

/// The tokens of an answer.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer =
        Lexer { rest: text, origin: Origin::Math, open: Vec::new(), environments: 0, tokens: Vec::with_capacity(16) };
    while let Some(first) = lexer.rest.chars().next() {
        lexer.token(first);
    }
    lexer.tokens
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !matches!(c, 'º' | 'Ø') && script(c).is_none() && greek(c).is_none()
}

impl<'a> Lexer<'a> {
    fn token(&mut self, first: char) {
        if let Some(after) = after_degree(self.rest) {
            self.rest = after;
            self.tokens.push(Token::Symbol('°'));
        } else if first.is_ascii_digit() {
            let digits = self.take_while(|c| c.is_ascii_digit());
            self.tokens.push(Token::Digits(digits));
        } else if first.is_ascii_alphabetic() || (!first.is_ascii() && is_letter(first)) {
            let letters = self.take_while(is_letter);
            self.word(letters);
        } else if first == '\\' {
            self.rest = &self.rest[1..];
            self.command();
        } else if let Some(after) = after_separator(self.rest) {
            self.rest = after;
            self.tokens.push(Token::Symbol(','));
        } else if let Some((kind, _)) = script(first) {
            self.script(kind);
        } else {
            self.rest = &self.rest[first.len_utf8()..];
            self.character(first);
        }
    }

    fn take_while(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// A word; `orW` between two values is `or W`.
    fn word(&mut self, letters: &'a str) {
        let origin = self.origin;
        let joined = letters.strip_prefix("or").filter(|rest| {
            origin == Origin::Math && rest.len() == 1 && rest.chars().all(|letter| letter.is_ascii_uppercase())
        });
        match joined {
            Some(rest) => {
                self.tokens.push(Token::Word { letters: &letters[..2], origin });
                self.space();
                self.tokens.push(Token::Word { letters: rest, origin });
            }
            None => self.tokens.push(Token::Word { letters, origin }),
        }
    }

    fn space(&mut self) {
        if self.tokens.last() != Some(&Token::Space) {
            self.tokens.push(Token::Space);
        }
    }

    /// A run of raised or lowered characters, as a script in braces.
    fn script(&mut self, kind: Script) {
        self.tokens.push(Token::Symbol(if kind == Script::Raised { '^' } else { '_' }));
        self.tokens.push(Token::Symbol('{'));
        while let Some(plain) = self.script_character(kind) {
            if let Some(tens) = plain.parse::<usize>().ok().filter(|tens| *tens > 0)
                && let Some(ones) =
                    self.rest.chars().next().and_then(script).and_then(|(_, ones)| ones.parse::<usize>().ok())
            {
                self.script_character(kind);
                let at = 2 * (10 * tens + ones);
                self.tokens.push(Token::Digits(&PAIRS_OF_DIGITS[at..at + 2]));
                continue;
            }
            self.tokens.push(match plain {
                "-" => Token::Symbol('-'),
                "+" => Token::Symbol('+'),
                "n" => Token::Word { letters: plain, origin: Origin::Math },
                digit => Token::Digits(digit),
            });
        }
        self.tokens.push(Token::Symbol('}'));
    }

    /// What the next character stands for, where it is a script of that kind.
    fn script_character(&mut self, kind: Script) -> Option<&'static str> {
        let next = self.rest.chars().next()?;
        let (_, plain) = script(next).filter(|(own, _)| *own == kind)?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(plain)
    }

    fn character(&mut self, c: char) {
        let token = match c {
            '~' => return self.space(),
            _ if c.is_whitespace() => return self.space(),
            '{' => {
                self.open.push(Group::Brace);
                Token::Symbol('{')
            }
            '}' => match self.open.pop() {
                Some(Group::Style { outer }) => {
                    self.origin = outer;
                    return;
                }
                Some(Group::Brace) | None => Token::Symbol('}'),
            },
            _ if c.is_ascii() && c != '$' => Token::Symbol(c),
            _ => {
                if let Some((above, below)) = vulgar_fraction(c) {
                    let [open, close] = [Token::Symbol('{'), Token::Symbol('}')];
                    let digits = [open, Token::Digits(above), close, open, Token::Digits(below), close];
                    self.tokens.push(Token::Command("frac"));
                    self.tokens.extend(digits);
                    return;
                }
                match character(c) {
                    Some(token) => token,
                    None => return,
                }
            }
        };
        self.tokens.push(token);
    }

    /// Reads the command whose backslash has just been passed.
    fn command(&mut self) {
        let name = match self.take_while(|c| c.is_ascii_alphabetic()) {
            "" => {
                let Some(escaped) = self.rest.chars().next() else { return };
                if escaped == '\\' && self.environments == 0 && is_escaped_twice(leading_letters(&self.rest[1..])) {
                    return;
                }
                let (name, rest) = self.rest.split_at(escaped.len_utf8());
                self.rest = rest;
                name
            }
            letters => letters,
        };
        // `\quadx` is a space that nobody set apart from its variable.
        if let Some(glued) = name.strip_prefix("quad").filter(|glued| glued.len() == 1) {
            self.space();
            return self.word(glued);
        }
        match meaning(name) {
            Meaning::Look => {}
            Meaning::Bracket => self.rest = self.rest.strip_prefix('.').unwrap_or(self.rest),
            Meaning::Space => self.space(),
            Meaning::Style(origin) => self.style(origin),
            Meaning::SameStyle => self.style(self.origin),
            Meaning::Colour => {
                if let Some((_, after)) =
                    self.rest.trim_start().strip_prefix('{').and_then(|content| content.split_once('}'))
                {
                    self.rest = after;
                    self.style(self.origin);
                }
            }
            Meaning::Is(Token::Command("!")) => self.rest = self.rest.trim_start(),
            Meaning::Is(token) => {
                match name {
                    "begin" => self.environments += 1,
                    "end" => self.environments = self.environments.saturating_sub(1),
                    _ => {}
                }
                self.tokens.push(token);
            }
        }
    }

    /// Opens the group of a command that only changes looks.
    fn style(&mut self, origin: Origin) {
        if let Some(content) = self.rest.trim_start().strip_prefix('{') {
            self.rest = content;
            self.open.push(Group::Style { outer: self.origin });
            self.origin = origin;
        }
    }
}

fn leading_letters(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    &text[..end]
}

/// What follows a comma in braces, which separates thousands.
fn after_separator(text: &str) -> Option<&str> {
    ["{,}", "{, }", "{ ,}", "{\\,}"].into_iter().find_map(|mark| text.strip_prefix(mark))
}

/// What follows a raised circle, in any of the ways to write one.
fn after_degree(text: &str) -> Option<&str> {
    if !text.starts_with('^') {
        return None;
    }
    let marks = ["^\\circ", "^{\\circ}", "^ \\circ", "^ {\\circ}", "^{ \\circ }", "^°", "^{°}", "^{o}"];
    marks.into_iter().find_map(|mark| text.strip_prefix(mark))
}
