//! Tokens to the number that digits, separators and a decimal point are. Not to a value with signs or units.

use num_bigint::BigInt;
use num_rational::BigRational;

use crate::{
    lex::Token,
    limits::{EXPONENT_MAX, EXPONENT_TOO_LARGE, NUMBER_DIGITS_MAX, Reading, Stop, TOO_MANY_DIGITS},
};

/// A number as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numeral {
    digits: String,
    fraction_digits: usize,
    /// Digits that repeat without end after the others.
    repeating: String,
    exponent: i64,
    /// How many tokens it takes up.
    pub(crate) tokens: usize,
}

impl Numeral {
    /// The number that starts at the first token.
    pub(crate) fn read(tokens: &[Token<'_>]) -> Reading<Option<Self>> {
        let Some(mut numeral) = whole(tokens) else { return Ok(None) };
        if let [Token::Command("overline"), Token::Symbol('{'), Token::Digits(repeating), Token::Symbol('}'), ..] =
            tokens[numeral.tokens..]
            && numeral.fraction_starts(tokens)
        {
            repeating.clone_into(&mut numeral.repeating);
            numeral.tokens += 4;
        }
        numeral.exponent(tokens)?;
        if numeral.digits.len() + numeral.repeating.len() > NUMBER_DIGITS_MAX {
            return Err(TOO_MANY_DIGITS);
        }
        Ok(Some(numeral))
    }

    /// Whether a decimal point has been read.
    fn fraction_starts(&self, tokens: &[Token<'_>]) -> bool {
        self.fraction_digits > 0 || tokens[..self.tokens].last() == Some(&Token::Symbol('.'))
    }

    /// Whether it has neither decimals nor an exponent.
    pub(crate) fn is_whole(&self) -> bool {
        self.fraction_digits == 0 && self.exponent == 0 && self.repeating.is_empty()
    }

    /// The digits with their point, as they stand in any base.
    pub(crate) fn digits(&self) -> String {
        let whole = self.digits.len() - self.fraction_digits;
        if self.fraction_digits == 0 {
            self.digits.clone()
        } else {
            format!("{}.{}", &self.digits[..whole], &self.digits[whole..])
        }
    }

    pub(crate) fn value(&self) -> Reading<BigRational> {
        let ten = BigInt::from(10_u32);
        let digits: BigInt = if self.digits.is_empty() { BigInt::ZERO } else { parsed(&self.digits)? };
        let scale = ten.pow(self.fraction_digits as u32);
        let mut value = BigRational::new(digits, scale.clone());
        if !self.repeating.is_empty() {
            let nines = ten.pow(self.repeating.len() as u32) - 1_u32;
            value += BigRational::new(parsed(&self.repeating)?, nines * scale);
        }
        let power = BigRational::from_integer(ten.pow(self.exponent.unsigned_abs() as u32));
        Ok(if self.exponent < 0 { value / power } else { value * power })
    }

    /// `e5` directly after the digits.
    fn exponent(&mut self, tokens: &[Token<'_>]) -> Reading<()> {
        let [Token::Word { letters: "e" | "E", .. }, rest @ ..] = &tokens[self.tokens..] else { return Ok(()) };
        let (sign, rest, used) = match rest {
            [Token::Symbol('-'), rest @ ..] => (-1, rest, 3),
            [Token::Symbol('+'), rest @ ..] => (1, rest, 3),
            rest => (1, rest, 2),
        };
        let [Token::Digits(digits), ..] = rest else { return Ok(()) };
        let magnitude = digits.parse::<u32>().ok().filter(|exponent| *exponent <= EXPONENT_MAX);
        self.exponent = sign * i64::from(magnitude.ok_or(EXPONENT_TOO_LARGE)?);
        self.tokens += used;
        Ok(())
    }
}

fn parsed(digits: &str) -> Reading<BigInt> {
    if digits.len() <= 18 {
        return digits.parse::<u64>().map(BigInt::from).map_err(|_| Stop::NotMathematics);
    }
    digits.parse().map_err(|_| Stop::NotMathematics)
}

/// Digits with their separators and their decimal point.
fn whole(tokens: &[Token<'_>]) -> Option<Numeral> {
    let mut numeral =
        Numeral { digits: String::new(), fraction_digits: 0, repeating: String::new(), exponent: 0, tokens: 0 };
    if let [Token::Digits(first), ..] = tokens {
        numeral.digits.push_str(first);
        numeral.tokens = 1;
        // `1.234,56` and `1.234.567` group by full stops.
        let stops = groups(&tokens[1..], Token::Symbol('.'));
        if is_first_group(first)
            && let Some([Token::Symbol(','), Token::Digits(fraction), ..]) = tokens.get(1 + 2 * stops..)
            && stops > 0
            && fraction.len() != 3
        {
            numeral.take_groups(&tokens[1..], stops);
            numeral.take_fraction(fraction);
            return Some(numeral);
        }
        if is_first_group(first) && stops > 1 {
            numeral.take_groups(&tokens[1..], stops);
            return Some(numeral);
        }
        if is_first_group(first) {
            let separator = tokens.get(1).copied().filter(|mark| matches!(mark, Token::Symbol(',') | Token::Space));
            let count = separator.map_or(0, |separator| groups(&tokens[1..], separator));
            numeral.take_groups(&tokens[1..], count);
        }
    }
    match tokens.get(numeral.tokens..) {
        Some([Token::Symbol('.'), Token::Digits(fraction), ..]) => numeral.take_fraction(fraction),
        // A full stop before a bar starts the decimals too: `0.\overline{3}`.
        Some([Token::Symbol('.'), Token::Command("overline"), ..]) if numeral.tokens > 0 => numeral.tokens += 1,
        _ => {}
    }
    (numeral.tokens > 0).then_some(numeral)
}

fn is_first_group(digits: &str) -> bool {
    digits.len() <= 3 && !digits.starts_with('0')
}

/// How many groups of a separator and three digits tokens start with.
fn groups(tokens: &[Token<'_>], separator: Token<'_>) -> usize {
    let is_group =
        |pair: &&[Token<'_>]| matches!(pair, [mark, Token::Digits(digits)] if *mark == separator && digits.len() == 3);
    let mut count = tokens.chunks(2).take_while(is_group).count();
    // After white space, digits that go on as a fraction are a mixed number, not a group: `1 234/5`.
    let goes_on = matches!(tokens.get(2 * count), Some(Token::Symbol('/')));
    if separator == Token::Space && goes_on && count > 0 {
        count -= 1;
    }
    count
}

impl Numeral {
    fn take_groups(&mut self, tokens: &[Token<'_>], count: usize) {
        for pair in tokens.chunks(2).take(count) {
            if let [_, Token::Digits(group)] = pair {
                self.digits.push_str(group);
            }
        }
        self.tokens += 2 * count;
    }

    fn take_fraction(&mut self, fraction: &str) {
        self.digits.push_str(fraction);
        self.fraction_digits = fraction.len();
        self.tokens += 2;
    }
}
