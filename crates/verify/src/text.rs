//! Tokens as text in one way of writing, for answers that are words and for names. Not what the text is worth.

use std::fmt::Write as _;

use crate::lex::Token;

/// The tokens without spaces, delimiters and emphasis around them and without stops and line breaks at their end.
pub(crate) fn trimmed<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let is_edge =
        |token: &Token| matches!(token, Token::Space | Token::Dollar | Token::Symbol('*' | '`' | '"' | '“' | '”'));
    let is_stop =
        |token: &Token| is_edge(token) || matches!(token, Token::Symbol('.' | ',' | ';') | Token::Command("\\"));
    let start = tokens.iter().position(|token| !is_edge(token)).unwrap_or(tokens.len());
    let end = tokens.iter().rposition(|token| !is_stop(token)).map_or(start, |last| last + 1);
    &tokens[start..end.max(start)]
}

/// The name that tokens give a value and the value: the sides of `x = 5`, `f(x) = 5` or `x \in S`; no name and all of
/// anything else.
pub(crate) fn named_value<'t, 'a>(tokens: &'t [Token<'a>]) -> (Option<&'t [Token<'a>]>, &'t [Token<'a>]) {
    let is_relation = |token: &Token| matches!(token, Token::Symbol('=') | Token::Command("in"));
    let mut relations = tokens.iter().enumerate().filter(|(_, token)| is_relation(token));
    match (relations.next(), relations.next()) {
        (Some((at, _)), None) if is_name(&tokens[..at]) && at + 1 < tokens.len() => {
            (Some(trimmed(&tokens[..at])), trimmed(&tokens[at + 1..]))
        }
        (_, _) => (None, tokens),
    }
}

/// Whether tokens name a quantity: words, with subscripts or arguments that are words, and nothing to compute.
pub(crate) fn is_name(tokens: &[Token<'_>]) -> bool {
    let starts_with_name = tokens
        .iter()
        .find(|token| **token != Token::Symbol('('))
        .is_some_and(|token| matches!(token, Token::Word { .. } | Token::Command(_)));
    let mut subscripted = false;
    let inverse = [Token::Symbol('^'), Token::Symbol('{'), Token::Symbol('-'), Token::Digits("1"), Token::Symbol('}')];
    let (before, after) = match tokens.windows(inverse.len()).position(|window| window == inverse) {
        Some(at) => (&tokens[..at], &tokens[at + inverse.len()..]),
        None => (tokens, &[][..]),
    };
    starts_with_name
        && before.iter().chain(after).all(|token| match token {
            Token::Command(name) => !matches!(
                *name,
                "not"
                    | "neg"
                    | "lnot"
                    | "frac"
                    | "sqrt"
                    | "surd"
                    | "pm"
                    | "mp"
                    | "times"
                    | "cdot"
                    | "div"
                    | "infty"
                    | "pi"
                    | "sin"
                    | "cos"
                    | "tan"
                    | "log"
                    | "ln"
                    | "emptyset"
                    | "le"
                    | "ge"
                    | "ne"
                    | "in"
                    | "cup"
                    | "begin"
                    | "binom"
            ),
            Token::Symbol('_') => {
                subscripted = true;
                true
            }
            Token::Word { letters, .. } => !letters.eq_ignore_ascii_case("not"),
            Token::Space | Token::Dollar | Token::Symbol('{' | '}' | '(' | ')' | '\'') => true,
            Token::Symbol(',') => tokens.first() == Some(&Token::Symbol('(')),
            Token::Digits(_) => subscripted,
            Token::Symbol(_) => false,
        })
}

/// Whether tokens measure something by the names of points: `|AB|`, `\frac{NO}{BO}`, `S_{ABC} : S`.
pub(crate) fn is_measure(tokens: &[Token<'_>]) -> bool {
    let mut subscripted = false;
    let mut named = false;
    let only_names = tokens.iter().all(|token| match token {
        Token::Word { letters, .. } => {
            let is_point = letters.chars().all(|letter| letter.is_ascii_uppercase());
            named |= is_point;
            is_point
        }
        Token::Command(name) => matches!(*name, "frac" | "angle" | "overline" | "triangle" | "|"),
        Token::Symbol('_') => {
            subscripted = true;
            true
        }
        Token::Digits(_) => subscripted,
        Token::Symbol(symbol) => matches!(symbol, '|' | '{' | '}' | ':' | '/' | '(' | ')'),
        Token::Space | Token::Dollar => true,
    });
    named && only_names
}

/// The tokens as text in one way of writing: no spaces but between two words or two numbers, no delimiters, plain
/// words in lower case and without an article before them, an option `(C)` or `C)` as its letter.
pub(crate) fn normal_text(tokens: &[Token<'_>]) -> String {
    let tokens = match tokens {
        [Token::Symbol('('), letter @ Token::Word { letters, .. }, Token::Symbol(')')]
        | [letter @ Token::Word { letters, .. }, Token::Symbol(')')]
            if letters.len() == 1 =>
        {
            std::slice::from_ref(letter)
        }
        all => without_article(all),
    };
    let is_word = |token: &Token| matches!(token, Token::Word { .. });
    let is_plain_words = tokens.iter().all(|token| is_word(token) || matches!(token, Token::Space))
        && tokens.iter().any(|token| matches!(token, Token::Word { letters, .. } if letters.chars().count() > 1));
    if is_plain_words { joined(tokens).to_lowercase() } else { joined(tokens) }
}

/// The tokens without an article before a word.
fn without_article<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match tokens {
        [Token::Word { letters: "the" | "The" | "a" | "an" | "An", .. }, Token::Space, rest @ ..] if matches!(rest, [Token::Word { letters, .. }, ..] if letters.len() > 2 && *letters != "and") => {
            rest
        }
        all => all,
    }
}

/// The tokens as text without spaces, but between two words or two numbers.
pub(crate) fn joined(tokens: &[Token<'_>]) -> String {
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
