//! What may follow a number without changing what is compared: percent signs, degrees and units.
//!
//! Units are read over, never compared or converted. The danger is a word that does change the number (`5 or 6`,
//! `2 thirds`) or a variable (`5x`): those are no units, and the answer they stand in is no number.

use crate::{
    lex::{Origin, Token},
    number::Mark,
};

/// What follows a number.
pub(crate) struct Suffix {
    /// What a word such as `million` multiplies the number by.
    pub(crate) factor: u64,
    pub(crate) mark: Mark,
}

/// Longest unit, in words: more is a sentence.
const UNIT_WORDS_MAX: usize = 6;

/// Units of one or two letters, and those that may touch their number in mathematics.
const ABBREVIATIONS: &str = "\
    mm cm dm km m mg kg g ml mL cl dl L s h ms hr hrs min mins sec secs ft yd yds mi lb lbs oz pt qt gal \
    mph kph kmh sq cu am pm in";

/// Words that join, compute or count.
const NOT_UNITS: &str = "\
    or and nor not but to plus minus times over mod modulo divided multiplied by squared cubed factorial \
    sin cos tan cot csc log exp sqrt pi theta half halves third thirds fourth fourths fifth fifths sixth \
    sixths seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths dozen dozens \
    dot hundred thousand million billion trillion less more than if unless maybe either approximately \
    doubled tripled twice negative root tens hundreds thousands millions billions";

/// Reads all of what follows a number; nothing where it is more than a suffix.
pub(crate) fn suffix(tokens: &[Token<'_>]) -> Option<Suffix> {
    let (factor, tokens) = match tokens {
        [Token::Space, Token::Word { letters, .. }, rest @ ..] => match scale(&letters.to_lowercase()) {
            Some(factor) => (factor, rest),
            None => (1, tokens),
        },
        _ => (1, tokens),
    };
    let (mark, tokens) = match without_fill(tokens) {
        [Token::Symbol('%') | Token::Word { letters: "percent" | "Percent", .. }, rest @ ..]
        | [Token::Word { letters: "per", .. }, Token::Space, Token::Word { letters: "cent", .. }, rest @ ..] => {
            (Mark::Percent, rest)
        }
        [Token::Symbol('°'), rest @ ..] => (Mark::Plain, rest),
        _ => (Mark::Plain, tokens),
    };
    (without_fill(tokens).is_empty() || is_unit(tokens)).then_some(Suffix { factor, mark })
}

fn scale(word: &str) -> Option<u64> {
    match word {
        "hundred" => Some(100),
        "thousand" => Some(1_000),
        "million" => Some(1_000_000),
        "billion" => Some(1_000_000_000),
        "trillion" => Some(1_000_000_000_000),
        _ => None,
    }
}

fn without_fill<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let fill = tokens.iter().take_while(|token| matches!(token, Token::Space | Token::Dollar)).count();
    &tokens[fill..]
}

/// Whether anything stands between a number and a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Touching,
    Apart,
}

/// Whether tokens are a unit: words, `per` or `/` between them, a square or cube on them.
fn is_unit(tokens: &[Token<'_>]) -> bool {
    let mut rest = tokens;
    let mut spacing = Spacing::Touching;
    let mut words = 0;
    let mut divides = false;
    loop {
        rest = match rest {
            [] => return (1..=UNIT_WORDS_MAX).contains(&words) && !divides,
            [Token::Space | Token::Dollar, rest @ ..] => {
                spacing = Spacing::Apart;
                rest
            }
            [Token::Word { letters, origin }, rest @ ..] if is_unit_word(letters, *origin, spacing) => {
                words += 1;
                spacing = Spacing::Apart;
                divides = false;
                rest
            }
            [Token::Symbol('/'), rest @ ..] if !divides => {
                spacing = Spacing::Apart;
                divides = true;
                rest
            }
            [Token::Symbol('²' | '³' | '.'), rest @ ..] if words > 0 => rest,
            [Token::Symbol('^'), Token::Symbol('{'), Token::Digits("2" | "3"), Token::Symbol('}'), rest @ ..]
                if words > 0 =>
            {
                rest
            }
            _ => return false,
        };
    }
}

fn is_unit_word(letters: &str, origin: Origin, spacing: Spacing) -> bool {
    let lower = letters.to_lowercase();
    if is_listed(NOT_UNITS, &lower) {
        return false;
    }
    match origin {
        Origin::Text => true,
        Origin::Math if spacing == Spacing::Touching => letters.len() > 1 && is_listed(ABBREVIATIONS, letters),
        Origin::Math => letters.chars().count() > 2 || is_listed(ABBREVIATIONS, letters),
    }
}

fn is_listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}
