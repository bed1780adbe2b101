//! A place in the tokens of an expression, and what can stand there.

use crate::{command::is_letter, lex::Token};

/// What is left to read. White space and currency signs are passed over unless asked for.
pub(crate) struct Cursor<'t, 'a> {
    tokens: &'t [Token<'a>],
    /// The letters of a word that are still to be read, each a variable.
    letters: &'a str,
}

impl<'t, 'a> Cursor<'t, 'a> {
    pub(crate) fn new(tokens: &'t [Token<'a>]) -> Self {
        Self { tokens, letters: "" }
    }

    fn fill(&self) -> usize {
        self.tokens.iter().take_while(|token| matches!(token, Token::Space | Token::Dollar)).count()
    }

    /// The tokens from the next one that is no white space.
    pub(crate) fn rest(&self) -> &'t [Token<'a>] {
        &self.tokens[self.fill()..]
    }

    pub(crate) fn peek(&self) -> Option<Token<'a>> {
        if self.letters.is_empty() { self.rest().first().copied() } else { None }
    }

    /// The next token, white space included.
    pub(crate) fn next_raw(&self) -> Option<Token<'a>> {
        if self.letters.is_empty() { self.tokens.first().copied() } else { None }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.letters.is_empty() && self.rest().is_empty()
    }

    /// Passes over white space and so many tokens.
    pub(crate) fn skip(&mut self, count: usize) {
        self.tokens = &self.rest()[count..];
    }

    pub(crate) fn take(&mut self, token: Token<'_>) -> bool {
        let is_next = self.peek() == Some(token);
        if is_next {
            self.skip(1);
        }
        is_next
    }

    /// Goes on after the tokens of a bracket that has been read.
    pub(crate) fn resume(&mut self, tokens: &'t [Token<'a>]) {
        self.tokens = tokens;
    }

    /// Leaves letters of a word to be read one by one.
    pub(crate) fn leave(&mut self, letters: &'a str) {
        self.letters = letters;
    }

    /// The next letter that was left.
    pub(crate) fn left_letter(&mut self) -> Option<&'a str> {
        let first = self.letters.chars().next()?;
        let (letter, rest) = self.letters.split_at(first.len_utf8());
        self.letters = rest;
        Some(letter)
    }

    pub(crate) fn take_product_sign(&mut self) -> bool {
        match self.rest() {
            _ if !self.letters.is_empty() => false,
            [Token::Symbol('*'), Token::Symbol('*'), ..] => false,
            [Token::Command("times" | "cdot") | Token::Symbol('*'), ..] => {
                self.skip(1);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn next_is_digit(&self) -> bool {
        matches!(self.peek(), Some(Token::Digits(_) | Token::Symbol('.')))
    }

    /// Whether the next token can start a factor without a sign of multiplication before it.
    pub(crate) fn starts_factor(&self) -> bool {
        if !self.letters.is_empty() {
            return true;
        }
        match self.peek() {
            Some(Token::Digits(_) | Token::Word { .. } | Token::Symbol('(' | '[' | '{')) => true,
            Some(Token::Command(name)) => {
                is_letter(name)
                    || is_function_name(name)
                    || matches!(
                        name,
                        "frac"
                            | "sqrt"
                            | "surd"
                            | "binom"
                            | "{"
                            | "langle"
                            | "lfloor"
                            | "lceil"
                            | "begin"
                            | "infty"
                            | "emptyset"
                            | "mathbb"
                            | "overline"
                            | "vec"
                            | "hat"
                            | "bar"
                            | "overrightarrow"
                            | "tilde"
                            | "dot"
                            | "widehat"
                            | "sum"
                            | "prod"
                            | "int"
                            | "angle"
                            | "mathcal"
                    )
            }
            Some(Token::Symbol(_) | Token::Dollar | Token::Space) | None => false,
        }
    }
}

/// Whether a command or word names a function.
pub(crate) fn is_function_name(name: &str) -> bool {
    matches!(
        name,
        "sin"
            | "cos"
            | "tan"
            | "cot"
            | "sec"
            | "csc"
            | "arcsin"
            | "arccos"
            | "arctan"
            | "asin"
            | "acos"
            | "atan"
            | "log"
            | "ln"
            | "lg"
            | "exp"
            | "sinh"
            | "cosh"
            | "tanh"
            | "gcd"
            | "lcm"
            | "max"
            | "min"
            | "sqrt"
            | "floor"
            | "ceil"
            | "abs"
            | "det"
            | "deg"
            | "binom"
            | "arg"
    )
}

/// Where the bracket closes that opens before the first token; nothing where it does not.
pub(crate) fn closing(tokens: &[Token<'_>]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol('(' | '[' | '{') | Token::Command("{" | "langle" | "lfloor" | "lceil" | "begin") => {
                depth += 1;
            }
            Token::Symbol(')' | ']' | '}') | Token::Command("}" | "rangle" | "rfloor" | "rceil" | "end") => {
                if depth == 0 {
                    return Some(at);
                }
                depth -= 1;
            }
            Token::Digits(_)
            | Token::Word { .. }
            | Token::Command(_)
            | Token::Symbol(_)
            | Token::Dollar
            | Token::Space => {}
        }
    }
    None
}
