//! Tokens to an exact number. Not to an expression: there is nothing here that computes.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use crate::{
    lex::Token,
    unit::{Suffix, suffix},
    value::{EXPONENT_MAX, NUMBER_DIGITS_MAX, Refusal},
};

/// Whether a number was written with a percent sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Plain,
    Percent,
}

/// An exact number; `value` leaves a percent sign out of account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) value: BigRational,
    pub(crate) mark: Mark,
}

/// Why reading stopped.
enum Stop {
    NotANumber,
    Refused(Refusal),
}

type Reading<T> = Result<T, Stop>;

const TOO_MANY_DIGITS: Stop = Stop::Refused(Refusal::TooLarge("a number has over 200 digits"));
const EXPONENT_TOO_LARGE: Stop = Stop::Refused(Refusal::TooLarge("an exponent is beyond 400"));
const DIVISION_BY_ZERO: Stop = Stop::Refused(Refusal::Unreadable("the answer divides by zero"));

/// The number that all the tokens together are, if they are one.
pub(crate) fn number(tokens: &[Token<'_>]) -> Result<Option<Number>, Refusal> {
    match (Cursor { tokens: without_parentheses(tokens) }).quantity() {
        Ok(number) => Ok(Some(number)),
        Err(Stop::NotANumber) => Ok(None),
        Err(Stop::Refused(refusal)) => Err(refusal),
    }
}

/// What stands in parentheses around all the tokens; with a comma in them they are a point or an interval and stay.
fn without_parentheses<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    match tokens {
        [Token::Symbol('('), inner @ .., Token::Symbol(')')] if !inner.contains(&Token::Symbol(',')) => inner,
        all => all,
    }
}

/// Digits with their decimal point.
struct Decimal {
    digits: String,
    fraction_digits: usize,
}

impl Decimal {
    fn value(&self) -> Reading<BigRational> {
        if self.digits.len() > NUMBER_DIGITS_MAX {
            return Err(TOO_MANY_DIGITS);
        }
        let digits: BigInt = self.digits.parse().map_err(|_| Stop::NotANumber)?;
        Ok(BigRational::new(digits, BigInt::from(10).pow(self.fraction_digits as u32)))
    }
}

fn ratio(numerator: BigRational, denominator: &BigRational) -> Reading<BigRational> {
    if denominator.is_zero() { Err(DIVISION_BY_ZERO) } else { Ok(numerator / denominator) }
}

/// A whole and a proper fraction; `2 4/3` is not a number anybody writes.
fn mixed(whole: BigRational, fraction: BigRational) -> Reading<BigRational> {
    let is_proper = fraction > BigRational::zero() && fraction < BigRational::one();
    if whole.is_integer() && is_proper { Ok(whole + fraction) } else { Err(Stop::NotANumber) }
}

/// What is left to read.
#[derive(Clone, Copy)]
struct Cursor<'t, 'a> {
    tokens: &'t [Token<'a>],
}

impl<'a> Cursor<'_, 'a> {
    fn quantity(mut self) -> Reading<Number> {
        self.skip_fill();
        let is_negative = self.sign();
        self.skip_fill();
        let magnitude = self.magnitude()?;
        let Suffix { factor, mark } = suffix(self.tokens).ok_or(Stop::NotANumber)?;
        let magnitude = magnitude * BigRational::from_integer(factor.into());
        Ok(Number { value: if is_negative { -magnitude } else { magnitude }, mark })
    }

    fn magnitude(&mut self) -> Reading<BigRational> {
        if let Some(fraction) = self.fraction()? {
            return Ok(fraction);
        }
        if let [Token::Digits(whole), Token::Space, Token::Digits(top), Token::Symbol('/'), Token::Digits(bottom), ..] =
            self.tokens
        {
            self.tokens = &self.tokens[5..];
            let [whole, top, bottom] =
                [whole, top, bottom].map(|run| Decimal { digits: (*run).to_owned(), fraction_digits: 0 }.value());
            return mixed(whole?, ratio(top?, &bottom?)?);
        }
        let start = *self;
        let decimal = self.decimal()?;
        let value = decimal.value()?;
        let after_decimal = *self;
        self.skip_fill();
        if let Some(fraction) = self.fraction()? {
            return mixed(value, fraction);
        }
        if self.take(Token::Symbol('/')) {
            self.skip_fill();
            if let Ok(denominator) = self.decimal() {
                return ratio(value, &denominator.value()?);
            }
        }
        *self = after_decimal;
        if let Some(power) = self.power_of_ten()? {
            return Ok(value * power);
        }
        let is_ten = matches!(start.tokens, [Token::Digits("10"), Token::Symbol('^'), ..]);
        if is_ten { self.raised().map_or(Err(Stop::NotANumber), power_of_ten) } else { Ok(value) }
    }

    /// `\frac{a}{b}` with a signed decimal in each place.
    fn fraction(&mut self) -> Reading<Option<BigRational>> {
        if !self.take(Token::Command("frac")) {
            return Ok(None);
        }
        let numerator = self.argument()?;
        let denominator = self.argument()?;
        ratio(numerator, &denominator).map(Some)
    }

    fn argument(&mut self) -> Reading<BigRational> {
        self.skip_fill();
        self.expect(Token::Symbol('{'))?;
        self.skip_fill();
        let is_negative = self.sign();
        self.skip_fill();
        let magnitude = self.decimal()?.value()?;
        self.skip_fill();
        self.expect(Token::Symbol('}'))?;
        Ok(if is_negative { -magnitude } else { magnitude })
    }

    /// Digits, grouped in threes by commas or by spaces or not at all, with or without a decimal point.
    fn decimal(&mut self) -> Reading<Decimal> {
        let mut digits = self.digits().unwrap_or_default().to_owned();
        if (1..=3).contains(&digits.len()) && !digits.starts_with('0') {
            let separator = self.tokens.first().copied();
            while let [mark, Token::Digits(group), rest @ ..] = self.tokens
                && matches!(mark, Token::Symbol(',') | Token::Space)
                && Some(*mark) == separator
                && group.len() == 3
            {
                digits.push_str(group);
                self.tokens = rest;
            }
        }
        let mut fraction_digits = 0;
        if let [Token::Symbol('.'), Token::Digits(fraction), rest @ ..] = self.tokens {
            digits.push_str(fraction);
            fraction_digits = fraction.len();
            self.tokens = rest;
        }
        if digits.is_empty() { Err(Stop::NotANumber) } else { Ok(Decimal { digits, fraction_digits }) }
    }

    /// `e5` directly after a number, or `\times 10^{5}`.
    fn power_of_ten(&mut self) -> Reading<Option<BigRational>> {
        let mut ahead = *self;
        if let [Token::Word { letters: "e" | "E", .. }, rest @ ..] = ahead.tokens {
            ahead.tokens = rest;
            let is_negative = ahead.sign();
            let Some(digits) = ahead.digits() else { return Ok(None) };
            *self = ahead;
            return power_of_ten((is_negative, digits)).map(Some);
        }
        ahead.skip_fill();
        let times = matches!(
            ahead.tokens.first(),
            Some(Token::Command("times" | "cdot") | Token::Symbol('*') | Token::Word { letters: "x" | "X", .. })
        );
        if !times {
            return Ok(None);
        }
        ahead.tokens = &ahead.tokens[1..];
        ahead.skip_fill();
        if !ahead.take(Token::Digits("10")) {
            return Ok(None);
        }
        let Some(exponent) = ahead.raised() else { return Ok(None) };
        *self = ahead;
        power_of_ten(exponent).map(Some)
    }

    /// `^{5}`: whether the exponent is negative, and its digits.
    fn raised(&mut self) -> Option<(bool, &'a str)> {
        if !(self.take(Token::Symbol('^')) && self.take(Token::Symbol('{'))) {
            return None;
        }
        let is_negative = self.sign();
        let digits = self.digits()?;
        self.take(Token::Symbol('}')).then_some((is_negative, digits))
    }

    fn digits(&mut self) -> Option<&'a str> {
        let [Token::Digits(digits), rest @ ..] = self.tokens else { return None };
        self.tokens = rest;
        Some(digits)
    }

    /// Passes over a sign and says whether it is a minus.
    fn sign(&mut self) -> bool {
        let is_negative = self.take(Token::Symbol('-'));
        if !is_negative {
            self.take(Token::Symbol('+'));
        }
        is_negative
    }

    fn skip_fill(&mut self) {
        while self.take(Token::Space) || self.take(Token::Dollar) {}
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let is_next = self.tokens.first() == Some(&token);
        self.tokens = &self.tokens[usize::from(is_next)..];
        is_next
    }

    fn expect(&mut self, token: Token<'_>) -> Reading<()> {
        if self.take(token) { Ok(()) } else { Err(Stop::NotANumber) }
    }
}

fn power_of_ten((is_negative, digits): (bool, &str)) -> Reading<BigRational> {
    let exponent = digits.parse::<u32>().ok().filter(|exponent| *exponent <= EXPONENT_MAX).ok_or(EXPONENT_TOO_LARGE)?;
    let power = BigRational::from_integer(BigInt::from(10).pow(exponent));
    Ok(if is_negative { power.recip() } else { power })
}
