//! Answer text to a value: its number, where it is one, and its normalised text.

use std::fmt::Write as _;

use crate::{
    arguments::brace_arguments,
    extract::AnswerText,
    lex::{Token, tokens},
    number::{Number, number},
};

/// Longest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1_000;
/// Most digits a number may be written with.
pub const NUMBER_DIGITS_MAX: usize = 200;
/// Largest absolute exponent of a power of ten.
pub const EXPONENT_MAX: u32 = 400;

/// An answer as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// What the answer is worth, where it is a number.
    pub(crate) number: Option<Number>,
    /// The answer without what only concerns its looks.
    pub(crate) text: String,
}

/// Why an answer is not a value, as a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unreadable(&'static str),
    TooLarge(&'static str),
}

impl Value {
    pub(crate) fn read(answer: AnswerText<'_>) -> Result<Self, Refusal> {
        if answer.as_str().len() > ANSWER_BYTES_MAX {
            return Err(Refusal::TooLarge("the answer is over 1,000 bytes long"));
        }
        let tokens = brace_arguments(&tokens(answer.as_str()));
        let tokens = right_side(trimmed(&tokens));
        let is_readable = |token: &Token| matches!(token, Token::Digits(_) | Token::Word { .. } | Token::Command(_));
        if !tokens.iter().any(is_readable) {
            return Err(Refusal::Unreadable("the answer holds neither a digit nor a letter"));
        }
        Ok(Self { number: number(tokens)?, text: normal_text(tokens) })
    }
}

/// The tokens without spaces, delimiters, emphasis and full stops around them.
fn trimmed<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let is_edge = |token: &Token| matches!(token, Token::Space | Token::Dollar | Token::Symbol('*' | '`'));
    let is_stop = |token: &Token| is_edge(token) || matches!(token, Token::Symbol('.'));
    let start = tokens.iter().position(|token| !is_edge(token)).unwrap_or(tokens.len());
    let end = tokens.iter().rposition(|token| !is_stop(token)).map_or(start, |last| last + 1);
    &tokens[start..end.max(start)]
}

/// What a name is said to be: the right side of `x = 5`, `f(x) = 5` or `x \in S`; all of anything else.
fn right_side<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let is_relation = |token: &Token| matches!(token, Token::Symbol('=') | Token::Command("in"));
    let mut relations = tokens.iter().enumerate().filter(|(_, token)| is_relation(token));
    match (relations.next(), relations.next()) {
        (Some((at, _)), None) if is_name(&tokens[..at]) && at + 1 < tokens.len() => trimmed(&tokens[at + 1..]),
        (_, _) => tokens,
    }
}

/// Whether tokens name a quantity: words, with subscripts or arguments that are words, and nothing to compute.
fn is_name(tokens: &[Token<'_>]) -> bool {
    let starts_with_name = matches!(tokens.first(), Some(Token::Word { .. } | Token::Command(_)));
    let mut subscripted = false;
    starts_with_name
        && tokens.iter().all(|token| match token {
            Token::Command(name) => {
                !matches!(*name, "not" | "neg" | "lnot" | "frac" | "sqrt" | "pm" | "times" | "cdot")
            }
            Token::Symbol('_') => {
                subscripted = true;
                true
            }
            Token::Word { letters, .. } => !letters.eq_ignore_ascii_case("not"),
            Token::Space | Token::Dollar | Token::Symbol('{' | '}' | '(' | ')') => true,
            Token::Digits(_) => subscripted,
            Token::Symbol(_) => false,
        })
}

/// The tokens as text in one way of writing: no spaces but between two words or two numbers, no delimiters, plain
/// words in lower case, an option `(C)` as its letter.
fn normal_text(tokens: &[Token<'_>]) -> String {
    let tokens = match tokens {
        [Token::Symbol('('), letter @ Token::Word { letters, .. }, Token::Symbol(')')] if letters.len() == 1 => {
            std::slice::from_ref(letter)
        }
        all => all,
    };
    let is_word = |token: &Token| matches!(token, Token::Word { .. });
    let is_plain_words = tokens.iter().all(|token| is_word(token) || matches!(token, Token::Space))
        && tokens.iter().any(|token| matches!(token, Token::Word { letters, .. } if letters.chars().count() > 1));
    let mut text = String::new();
    let mut previous = Token::Dollar;
    let mut spaced = false;
    for &token in tokens {
        match (previous, token) {
            (Token::Word { .. }, Token::Word { .. }) if spaced => text.push(' '),
            (Token::Digits(_), Token::Digits(_)) | (Token::Command(_), Token::Word { .. }) => text.push(' '),
            (_, _) => {}
        }
        match token {
            Token::Digits(digits) => text.push_str(digits),
            Token::Word { letters, .. } if is_plain_words => text.push_str(&letters.to_lowercase()),
            Token::Word { letters, .. } => text.push_str(letters),
            Token::Command(name) => write!(text, "\\{name}").expect("a string takes any text"),
            Token::Symbol(symbol) => text.push(symbol),
            Token::Dollar | Token::Space => {
                spaced = true;
                continue;
            }
        }
        previous = token;
        spaced = false;
    }
    text
}
