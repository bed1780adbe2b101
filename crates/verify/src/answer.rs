//! Answer text to what it may mean: its normalised text, its option letter, and its values.

use std::borrow::Cow;

use crate::{
    arguments::{brace_arguments, read_unions},
    evaluate::{Signs, evaluate},
    expression::Mark,
    extract::AnswerText,
    lex::{Origin, Token, tokens},
    limits::{ANSWER_BYTES_MAX, DEPTH_MAX, Reading, Refusal, Stop, Work},
    numeral::Numeral,
    parse::Bounds,
    statement::{statement, unit_as_variable},
    text::{joined, named_value, normal_text, trimmed},
    value::Value,
};

/// An answer as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The answer without what only concerns its looks and without its name.
    pub(crate) text: String,
    /// What the answer gives a value to: the left side of `x = 5`.
    pub(crate) name: Option<String>,
    /// The letter of a multiple choice before the rest, as in `(C) 12`.
    pub(crate) option: Option<char>,
    /// What the answer may mean, the likeliest reading first; nothing where it is only a text.
    pub(crate) values: Vec<Value>,
}

impl Answer {
    pub(crate) fn read(answer: &AnswerText<'_>) -> Result<Self, Refusal> {
        if answer.as_str().len() > ANSWER_BYTES_MAX {
            return Err(Refusal::TooLarge("the answer is over 1,000 bytes long"));
        }
        let written = half_width(answer.as_str());
        let tokens = tokens(&written);
        let mut tokens = brace_arguments(&tokens);
        read_unions(&mut tokens);
        let (option, tokens) = split_option(without_label(trimmed(&tokens)));
        let is_readable = |token: &Token| matches!(token, Token::Digits(_) | Token::Word { .. } | Token::Command(_));
        if !tokens.iter().any(is_readable) {
            return Err(Refusal::Unreadable("the answer holds neither a digit nor a letter"));
        }
        let mut values = Vec::new();
        let mut work = Work::new();
        match values_of(tokens, &mut work) {
            Ok(found) => values = found,
            Err(Stop::NotMathematics) => {}
            Err(Stop::Refused(refusal)) => return Err(refusal),
        }
        if let Some(tokens) = with_decimal_comma(tokens)
            && let Ok(found) = values_of(&tokens, &mut work)
        {
            values.extend(found);
        }
        if is_price(&written) {
            values.iter_mut().for_each(price);
        }
        let (name, value) = named_value(tokens);
        Ok(Self { text: normal_text(value), name: name.map(joined), option, values })
    }

    /// The option that the whole answer is.
    pub(crate) fn letter(&self) -> Option<char> {
        let mut characters = self.text.chars();
        let letter = characters.next().filter(|letter| is_option(*letter))?;
        characters.next().is_none().then_some(letter)
    }

    /// Whether the answer is mathematics and not only a text.
    pub(crate) fn is_mathematical(&self) -> bool {
        !self.values.is_empty()
    }
}

/// The value of tokens, and the other one that a unit of one letter or several `±` leave open.
fn values_of(tokens: &[Token<'_>], work: &mut Work) -> Reading<Vec<Value>> {
    if is_prose(tokens) {
        return Err(Stop::NotMathematics);
    }
    let node = statement(tokens, &mut Bounds { depth_left: DEPTH_MAX, work })?;
    let mut values = vec![evaluate(&node, Signs::Alike, work)?];
    if let Some(other) = unit_as_variable(&node)
        && let Ok(value) = evaluate(&other, Signs::Alike, work)
    {
        values.push(value);
    }
    if tokens.iter().filter(|token| **token == Token::Command("pm")).count() > 1
        && let Ok(value) = evaluate(&node, Signs::Apart, work)
        && value != values[0]
    {
        values.push(value);
    }
    Ok(values)
}

/// Whether a text starts with a currency sign, after the letter of an option or not; a `$` that another one follows is
/// the edge of a formula.
fn is_price(text: &str) -> bool {
    let without_option =
        text.strip_prefix('(').and_then(|rest| rest.split_once(") ")).filter(|(option, _)| option.len() == 1);
    let text = without_option.map_or(text, |(_, rest)| rest);
    let amount = text.strip_prefix("\\$").or_else(|| text.strip_prefix('$').filter(|rest| !rest.contains('$')));
    amount.is_some_and(|amount| amount.trim_start().starts_with(|c: char| c.is_ascii_digit() || c == '.'))
}

/// Makes a plain number one of dollars.
fn price(value: &mut Value) {
    if let Value::Scalar(quantity) = value
        && quantity.mark == Mark::Plain
        && quantity.unit.is_empty()
    {
        "dollars".clone_into(&mut quantity.unit);
    }
}

/// The text with the wide forms of ASCII characters, which East Asian keyboards give, as the narrow ones.
fn half_width(text: &str) -> Cow<'_, str> {
    const WIDE: std::ops::RangeInclusive<char> = '\u{FF01}'..='\u{FF5D}';
    if !text.contains(|c| WIDE.contains(&c)) {
        return Cow::Borrowed(text);
    }
    let narrow = |c: char| if WIDE.contains(&c) { char::from((c as u32 - 0xFEE0) as u8) } else { c };
    Cow::Owned(text.chars().map(narrow).collect())
}

/// Whether tokens are words alone, one of them long: `east`, `not even`. Words that join are not counted.
fn is_prose(tokens: &[Token<'_>]) -> bool {
    let is_word = |token: &Token| matches!(token, Token::Word { .. } | Token::Space | Token::Symbol('-' | '\''));
    let is_long = |token: &Token| match token {
        Token::Word { letters, origin } => {
            let is_joiner = matches!(*letters, "and" | "or");
            !is_joiner && letters.chars().count() > if *origin == Origin::Text { 1 } else { 3 }
        }
        Token::Digits(_) | Token::Command(_) | Token::Symbol(_) | Token::Dollar | Token::Space => false,
    };
    tokens.iter().all(is_word) && tokens.iter().any(is_long)
}

fn is_option(letter: char) -> bool {
    ('A'..='J').contains(&letter)
}

/// The tokens without the word before the letter of an option: `Option B`, `Choice (B)`.
fn without_label<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let [Token::Word { letters: "Option" | "option" | "Choice" | "choice", .. }, rest @ ..] = tokens else {
        return tokens;
    };
    let rest = trimmed(rest);
    let (Token::Word { letters, .. }, after) = (match rest {
        [Token::Symbol('('), letter, Token::Symbol(')'), after @ ..] | [letter, after @ ..] => (*letter, after),
        [] => return tokens,
    }) else {
        return tokens;
    };
    let is_letter = letters.len() == 1 && letters.chars().all(is_option);
    let is_alone = matches!(after, [] | [Token::Symbol(')' | '.' | ':') | Token::Space, ..]);
    if is_letter && is_alone { rest } else { tokens }
}

/// The letter of an option and what follows it: `(C) 12`, `C) 12`, `C. 12`, `C: 12`; not `(C) or 12`.
fn split_option<'t, 'a>(tokens: &'t [Token<'a>]) -> (Option<char>, &'t [Token<'a>]) {
    let (letters, rest) = match tokens {
        [Token::Symbol('('), Token::Word { letters, .. }, Token::Symbol(')'), rest @ ..]
        | [Token::Word { letters, .. }, Token::Symbol(')'), rest @ ..]
        | [Token::Word { letters, .. }, Token::Symbol('.' | ':'), Token::Space, rest @ ..] => (*letters, trimmed(rest)),
        _ => return (None, tokens),
    };
    let mut characters = letters.chars();
    match (characters.next(), characters.next()) {
        (Some(letter), None) if is_option(letter) && !rest.is_empty() && !goes_on(rest) => (Some(letter), rest),
        (_, _) => (None, tokens),
    }
}

/// Whether tokens add another answer to the one before them.
fn goes_on(tokens: &[Token<'_>]) -> bool {
    matches!(
        tokens.first(),
        Some(
            Token::Symbol(',' | ';' | '/')
                | Token::Word { letters: "or" | "and" | "Or" | "And" | "nor", .. }
                | Token::Command("or" | "and")
        )
    )
}

/// The same tokens with the comma of `3,14` as a decimal point. Of two single digits the comma makes a list.
fn with_decimal_comma<'a>(tokens: &[Token<'a>]) -> Option<Vec<Token<'a>>> {
    let mut commas = tokens.iter().enumerate().filter(|(_, token)| **token == Token::Symbol(','));
    let (Some((at, _)), None) = (commas.next(), commas.next()) else { return None };
    if tokens.iter().any(|token| matches!(token, Token::Symbol('(' | '[' | '{') | Token::Command("{" | "langle"))) {
        return None;
    }
    let [.., Token::Digits(whole)] = tokens[..at] else { return None };
    let [Token::Digits(fraction), ref rest @ ..] = tokens[at + 1..] else { return None };
    let starts_whole = !matches!(tokens[..at - 1].last(), Some(Token::Symbol('.' | '}' | ')' | '_' | '^')));
    let is_decimal = fraction.len() >= 2 || whole == "0";
    let is_grouped = Numeral::read(&tokens[at - 1..]).ok().flatten().is_some_and(|numeral| numeral.tokens > 1);
    let goes_on = matches!(rest.first(), Some(Token::Symbol('.' | '/' | '^' | '(' | '!')));
    if !starts_whole || !is_decimal || is_grouped || goes_on {
        return None;
    }
    let mut changed = tokens.to_vec();
    changed[at] = Token::Symbol('.');
    Some(changed)
}
