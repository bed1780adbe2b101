//! Tokens that are a quantity as a question asks for it, before its value: `f(2) = 5`, `\cos C = 3/5`, `|z| = 5`,
//! `a:b = 3:4`. Not names of one: see `text`; not equations to solve, such as `2x = 7`.

use crate::{
    command::is_letter,
    lex::{Origin, Token},
    parse::{FUNCTION_LETTERS, closing},
};

/// Whether tokens are one call, the bars around a name, or names in a ratio.
pub(crate) fn is_asked(tokens: &[Token<'_>]) -> bool {
    match tokens {
        [Token::Word { letters, .. }, rest @ ..] if letters.len() == 1 && FUNCTION_LETTERS.contains(letters) => {
            is_in_brackets(without_script(rest))
        }
        [Token::Command(name) | Token::Word { letters: name, .. }, rest @ ..] if is_of_angles(name) => {
            is_in_brackets(rest) || is_plain_angle(rest)
        }
        [Token::Symbol('|'), inner @ .., Token::Symbol('|')]
        | [Token::Command("|"), inner @ .., Token::Command("|")] => is_sum_of_names(inner),
        _ => is_ratio_of_letters(tokens),
    }
}

/// Whether tokens are a number, whatever unit it has.
pub(crate) fn is_number(tokens: &[Token<'_>]) -> bool {
    let has_digit = tokens.iter().any(|token| matches!(token, Token::Digits(_) | Token::Command("pi")));
    let is_variable = |token: &Token| match token {
        Token::Word { origin, .. } => *origin == Origin::Math,
        Token::Command(name) => *name != "pi" && is_letter(name),
        Token::Digits(_) | Token::Symbol(_) | Token::Dollar | Token::Space => false,
    };
    has_digit && !tokens.iter().any(is_variable)
}

fn is_of_angles(name: &str) -> bool {
    matches!(name, "sin" | "cos" | "tan" | "cot" | "sec" | "csc")
}

/// What follows the index, the primes or the `^{-1}` of a function.
fn without_script<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match tokens {
        [Token::Symbol('\''), rest @ ..] => without_script(rest),
        [
            Token::Symbol('^'),
            Token::Symbol('{'),
            Token::Symbol('-'),
            Token::Digits("1"),
            Token::Symbol('}'),
            rest @ ..,
        ] => rest,
        [Token::Symbol('_'), Token::Symbol('{'), index @ ..] => closing(index).map_or(tokens, |end| &index[end + 1..]),
        _ => tokens,
    }
}

/// Whether tokens are one pair of brackets that holds something.
fn is_in_brackets(tokens: &[Token<'_>]) -> bool {
    let ([Token::Space, tokens @ ..] | tokens) = tokens;
    let [Token::Symbol('('), inner @ ..] = tokens else { return false };
    closing(inner).is_some_and(|end| end > 0 && end + 1 == inner.len())
}

/// Whether tokens are an angle without a sign, a power or a function.
fn is_plain_angle(tokens: &[Token<'_>]) -> bool {
    tokens.iter().any(|token| !matches!(token, Token::Space))
        && tokens.iter().all(|token| match token {
            Token::Digits(_) | Token::Space => true,
            Token::Word { letters, .. } => !is_of_angles(letters),
            Token::Command(name) => is_letter(name) || matches!(*name, "angle" | "frac"),
            Token::Symbol(symbol) => matches!(symbol, '{' | '}' | '_' | '°' | '/' | '\''),
            Token::Dollar => false,
        })
}

/// Whether tokens are names with signs between them and no number but below them.
fn is_sum_of_names(tokens: &[Token<'_>]) -> bool {
    let mut is_subscripted = false;
    let is_name = |token: &Token| match token {
        Token::Command(name) => is_letter(name) || matches!(*name, "vec" | "overline" | "overrightarrow" | "bar"),
        Token::Symbol('_') => {
            is_subscripted = true;
            true
        }
        Token::Symbol(symbol) => matches!(symbol, '{' | '}' | '+' | '-' | '\''),
        Token::Digits(_) => std::mem::take(&mut is_subscripted),
        Token::Word { .. } | Token::Space => true,
        Token::Dollar => false,
    };
    tokens.iter().all(is_name) && tokens.iter().any(|token| matches!(token, Token::Word { .. } | Token::Command(_)))
}

/// Whether tokens are letters in a fraction or ratio, in the order of the alphabet, as a question gives them.
fn is_ratio_of_letters(tokens: &[Token<'_>]) -> bool {
    let written = tokens.iter().filter(|token| !matches!(token, Token::Space | Token::Symbol('{' | '}')));
    let parts: Vec<&Token<'_>> = written.collect();
    let parts = match parts.as_slice() {
        [Token::Command("frac"), above, below] | [above, Token::Symbol('/'), below] => vec![*above, *below],
        [first, rest @ ..] if rest.len() >= 2 && rest.chunks(2).all(|pair| matches!(pair, [Token::Symbol(':'), _])) => {
            std::iter::once(*first).chain(rest.iter().skip(1).step_by(2).copied()).collect()
        }
        _ => return false,
    };
    let letter = |token: &&Token<'_>| match token {
        Token::Word { letters, origin: Origin::Math } if letters.len() == 1 => letters.chars().next(),
        Token::Word { .. } | Token::Digits(_) | Token::Command(_) | Token::Symbol(_) | Token::Dollar | Token::Space => {
            None
        }
    };
    let letters: Option<Vec<char>> = parts.iter().map(letter).collect();
    letters.is_some_and(|letters| letters.windows(2).all(|pair| pair[0] < pair[1]))
}
