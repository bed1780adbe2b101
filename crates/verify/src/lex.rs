//! Answer text to tokens, with everything gone that only concerns looks.
//!
//! The tokens are a flat list: braces stay in it as symbols, so nothing here or after it recurses.

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

struct Lexer<'a> {
    rest: &'a str,
    origin: Origin,
    open: Vec<Group>,
    tokens: Vec<Token<'a>>,
}

/// The tokens of an answer.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { rest: text, origin: Origin::Math, open: Vec::new(), tokens: Vec::new() };
    while let Some(first) = lexer.rest.chars().next() {
        lexer.token(first);
    }
    lexer.tokens
}

fn is_letter(c: char) -> bool {
    c.is_alphabetic() && !matches!(c, 'π' | 'º')
}

impl<'a> Lexer<'a> {
    fn token(&mut self, first: char) {
        if let Some(after) = after_degree(self.rest) {
            self.rest = after;
            self.tokens.push(Token::Symbol('°'));
        } else if first.is_ascii_digit() {
            let digits = self.take_while(|c| c.is_ascii_digit());
            self.tokens.push(Token::Digits(digits));
        } else if is_letter(first) {
            let letters = self.take_while(is_letter);
            self.tokens.push(Token::Word { letters, origin: self.origin });
        } else if first == '\\' {
            self.rest = &self.rest[1..];
            self.command();
        } else if let Some(after) = self.rest.strip_prefix("{,}") {
            self.rest = after;
            self.tokens.push(Token::Symbol(','));
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

    fn space(&mut self) {
        if self.tokens.last() != Some(&Token::Space) {
            self.tokens.push(Token::Space);
        }
    }

    fn character(&mut self, c: char) {
        let token = match c {
            '~' => return self.space(),
            _ if c.is_whitespace() => return self.space(),
            '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}' => return,
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
            '\u{2212}' | '\u{2010}'..='\u{2013}' | '\u{FE63}' | '\u{FF0D}' => Token::Symbol('-'),
            '$' | '€' | '£' | '¥' | '₹' => Token::Dollar,
            '％' => Token::Symbol('%'),
            'º' => Token::Symbol('°'),
            '×' => Token::Command("times"),
            '·' | '⋅' => Token::Command("cdot"),
            'π' => Token::Command("pi"),
            '∞' => Token::Command("infty"),
            '√' => Token::Command("sqrt"),
            '±' => Token::Command("pm"),
            '≤' => Token::Command("le"),
            '≥' => Token::Command("ge"),
            '≠' => Token::Command("ne"),
            '∪' => Token::Command("cup"),
            '∅' => Token::Command("emptyset"),
            other => Token::Symbol(other),
        };
        self.tokens.push(token);
    }

    /// Reads the command whose backslash has just been passed.
    fn command(&mut self) {
        let name = match self.take_while(|c| c.is_ascii_alphabetic()) {
            "" => {
                let Some(escaped) = self.rest.chars().next() else { return };
                let (name, rest) = self.rest.split_at(escaped.len_utf8());
                self.rest = rest;
                name
            }
            letters => letters,
        };
        let token = match name {
            "!" => {
                self.rest = self.rest.trim_start();
                return;
            }
            "left" | "right" | "big" | "Big" | "bigl" | "bigr" | "Bigl" | "Bigr" | "bigg" | "Bigg" | "displaystyle"
            | "textstyle" => return,
            "," | ";" | ":" | "quad" | "qquad" | "thinspace" => return self.space(),
            _ if name.trim().is_empty() => return self.space(),
            "text" | "mbox" | "hbox" | "textrm" | "textbf" | "textit" | "textnormal" | "mathrm" | "operatorname" => {
                return self.style(Origin::Text);
            }
            "mathbf" | "mathit" | "boldsymbol" | "boxed" | "fbox" => return self.style(self.origin),
            "$" | "(" | ")" | "[" | "]" | "pounds" | "euro" => Token::Dollar,
            "%" => Token::Symbol('%'),
            "&" => Token::Symbol('&'),
            "#" => Token::Symbol('#'),
            "_" => Token::Symbol('_'),
            "degree" => Token::Symbol('°'),
            "frac" | "dfrac" | "tfrac" | "cfrac" => Token::Command("frac"),
            "leq" | "leqslant" => Token::Command("le"),
            "geq" | "geqslant" => Token::Command("ge"),
            "neq" => Token::Command("ne"),
            "varnothing" => Token::Command("emptyset"),
            other => Token::Command(other),
        };
        self.tokens.push(token);
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

/// What follows a raised circle, in any of the ways to write one.
fn after_degree(text: &str) -> Option<&str> {
    let marks = ["^\\circ", "^{\\circ}", "^ \\circ", "^ {\\circ}", "^{ \\circ }", "^°", "^{°}"];
    marks.into_iter().find_map(|mark| text.strip_prefix(mark))
}
