//! What expressions are made of: numbers, names, functions, brackets, roots, fractions, matrices.

use num_rational::BigRational;
use num_traits::{One, Signed};

use crate::{
    algebra::Function,
    command::is_letter,
    expression::Node,
    lex::Token,
    limits::{Reading, Stop},
    numeral::Numeral,
    parse::{Bounds, Cursor, closing, expression, joined_factors},
    text::joined,
};

mod call;
mod matrix;

/// Most letters of a word that is read as a product of variables; a longer word is a name.
const PRODUCT_LETTERS_MAX: usize = 3;

/// Letters that stand for functions where a bracket touches them.
pub(crate) const FUNCTION_LETTERS: &str = "fghFGHPQWT";

impl<'a> Cursor<'_, 'a> {
    /// One number, name, bracket or function.
    pub(crate) fn primary(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        bounds.work.spend(1)?;
        if let Some(letter) = self.left_letter() {
            return Ok(self.variable(letter));
        }
        match self.rest() {
            [Token::Digits(_) | Token::Symbol('.'), ..] => self.number(bounds),
            [Token::Word { letters, .. }, ..] => self.word(letters, bounds),
            [Token::Command(name), ..] => bounds.deeper(|bounds| self.command(name, bounds)),
            [Token::Symbol('('), inner @ ..] => self.bracketed('(', inner, bounds),
            [Token::Symbol('['), inner @ ..] => self.bracketed('[', inner, bounds),
            [Token::Symbol('{'), inner @ ..] => self.bracketed('{', inner, bounds),
            [Token::Symbol('|'), inner @ ..] => self.bars(inner, Token::Symbol('|'), bounds),
            _ => Err(Stop::NotMathematics),
        }
    }

    fn number(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let Some(numeral) = Numeral::read(self.rest())? else { return Err(Stop::NotMathematics) };
        self.skip(numeral.tokens);
        if self.next_raw() == Some(Token::Symbol('_'))
            && let Some(base) = self.subscript()
        {
            let base = base_of(&base).ok_or(Stop::NotMathematics)?;
            return Ok(if base == 10 {
                Node::Number(numeral.value()?)
            } else {
                Node::Based { digits: numeral.digits(), base }
            });
        }
        let value = numeral.value()?;
        if numeral.is_whole()
            && let Some(fraction) = self.mixed_fraction(bounds)?
        {
            return Ok(Node::Number(value + fraction));
        }
        Ok(Node::Number(value))
    }

    /// A proper fraction of plain numbers after a whole one: `1 1/2`, `1\frac{1}{2}`.
    fn mixed_fraction(&mut self, bounds: &mut Bounds<'_>) -> Reading<Option<BigRational>> {
        let is_slashed = self.next_raw() == Some(Token::Space)
            && matches!(self.rest(), [Token::Digits(_), Token::Symbol('/'), Token::Digits(_), ..]);
        if is_slashed {
            let [Token::Digits(above), _, Token::Digits(below), ..] = self.rest() else { return Ok(None) };
            let fraction = proper(above, below).ok_or(Stop::NotMathematics)?;
            self.skip(3);
            return Ok(Some(fraction));
        }
        bounds.work.spend(1)?;
        let (tokens, is_braced) = match self.rest() {
            [Token::Symbol('{'), tokens @ ..] => (tokens, true),
            tokens => (tokens, false),
        };
        let [
            Token::Command("frac"),
            Token::Symbol('{'),
            Token::Digits(above),
            Token::Symbol('}'),
            Token::Symbol('{'),
            Token::Digits(below),
            Token::Symbol('}'),
            after @ ..,
        ] = tokens
        else {
            return Ok(None);
        };
        let after = match after {
            [Token::Symbol('}'), after @ ..] if is_braced => after,
            _ if is_braced => return Ok(None),
            after => after,
        };
        let fraction = proper(above, below);
        if fraction.is_some() {
            self.resume(after);
        }
        Ok(fraction)
    }

    fn word(&mut self, letters: &'a str, bounds: &mut Bounds<'_>) -> Reading<Node> {
        self.skip(1);
        if super::is_function_name(letters) {
            return bounds.deeper(|bounds| self.call(letters, bounds));
        }
        match letters {
            "pi" | "Pi" => return Ok(Node::Pi),
            "infinity" | "Infinity" | "inf" | "oo" => return Ok(Node::Infinity),
            "or" | "and" | "not" | "if" | "is" | "to" | "the" => return Err(Stop::NotMathematics),
            _ => {}
        }
        if letters.chars().count() > PRODUCT_LETTERS_MAX {
            return Ok(self.named(letters.to_owned()));
        }
        let first = letters.chars().next().ok_or(Stop::NotMathematics)?;
        let (letter, rest) = letters.split_at(first.len_utf8());
        self.leave(rest);
        if rest.is_empty() && FUNCTION_LETTERS.contains(letter) {
            return self.applied(letter.to_owned(), bounds);
        }
        Ok(self.variable(letter))
    }

    /// A single letter with its subscript and primes.
    fn variable(&mut self, letter: &str) -> Node {
        match letter {
            "e" => Node::Euler,
            "i" => Node::Imaginary,
            _ => self.named(letter.to_owned()),
        }
    }

    /// A name with its subscript and primes, unless letters are still to come.
    fn named(&mut self, name: String) -> Node {
        Node::Symbol(self.full_name(name))
    }

    fn full_name(&mut self, mut name: String) -> String {
        if self.peek().is_some()
            && let Some(subscript) = self.subscript()
        {
            name.push('_');
            name.push_str(&subscript);
        }
        while self.next_raw() == Some(Token::Symbol('\'')) {
            self.skip(1);
            name.push('\'');
        }
        name
    }

    /// A letter that is a function where a bracket touches it.
    fn applied(&mut self, letter: String, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let mut name = self.full_name(letter);
        if let [
            Token::Symbol('^'),
            Token::Symbol('{'),
            Token::Symbol('-'),
            Token::Digits("1"),
            Token::Symbol('}'),
            Token::Symbol('('),
            ..,
        ] = self.rest()
        {
            self.skip(5);
            name.push_str("^-1");
        }
        if self.next_raw() != Some(Token::Symbol('(')) {
            return Ok(Node::Symbol(name));
        }
        let [_, inner @ ..] = self.rest() else { return Err(Stop::NotMathematics) };
        let end = closing(inner).ok_or(Stop::NotMathematics)?;
        let arguments = Self::items(&inner[..end], bounds)?;
        self.resume(&inner[end + 1..]);
        Ok(Node::Call(Function::Named(name), arguments))
    }

    fn command(&mut self, name: &'a str, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let rest = &self.rest()[1..];
        if super::is_function_name(name) && name != "sqrt" && name != "binom" {
            self.skip(1);
            return self.call(name, bounds);
        }
        match name {
            "{" => return self.bracketed('\\', rest, bounds),
            "langle" => return self.bracketed('<', rest, bounds),
            "lfloor" | "lceil" => return self.bracketed(if name == "lfloor" { 'f' } else { 'c' }, rest, bounds),
            "|" => return self.bars(rest, Token::Command("|"), bounds),
            "begin" => return self.matrix(rest, bounds),
            _ => {}
        }
        self.skip(1);
        match name {
            "frac" => {
                let above = self.argument(bounds)?;
                let below = self.argument(bounds)?;
                Ok(Node::Quotient(Box::new(above), Box::new(below)))
            }
            "binom" => {
                let above = self.argument(bounds)?;
                let below = self.argument(bounds)?;
                Ok(Node::Call(Function::Binomial, vec![above, below]))
            }
            "sqrt" => self.root(bounds),
            "surd" => {
                let radicand = self.primary(bounds)?;
                Ok(square_root(radicand))
            }
            "pi" => Ok(Node::Pi),
            "infty" => Ok(Node::Infinity),
            "emptyset" => Ok(Node::EmptySet),
            "overline" | "vec" | "hat" | "bar" | "overrightarrow" | "tilde" | "dot" | "widehat" | "mathbb"
            | "mathcal" | "angle" => Ok(self.decorated(name)),
            "sum" | "prod" | "int" => self.accumulated(name, bounds),
            _ if is_letter(name) => Ok(self.named(format!("\\{name}"))),
            _ => Err(Stop::NotMathematics),
        }
    }

    /// A name under a decoration, which is part of it; blackboard letters are sets.
    fn decorated(&mut self, decoration: &str) -> Node {
        let (inner, after) = match self.rest() {
            [Token::Symbol('{'), inner @ ..] => {
                let end = closing(inner).unwrap_or(inner.len());
                (joined(&inner[..end]), inner.get(end + 1..).unwrap_or_default())
            }
            [only, after @ ..] => (joined(&[*only]), after),
            [] => (String::new(), &[][..]),
        };
        self.resume(after);
        match (decoration, inner.as_str()) {
            ("mathbb", "R") => Node::Reals,
            _ => self.named(format!("\\{decoration} {inner}")),
        }
    }

    /// A sum, product or integral: only its parts are compared.
    fn accumulated(&mut self, name: &str, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let mut label = format!("\\{name}");
        if let Some(below) = self.subscript() {
            label.push('_');
            label.push_str(&below);
        }
        let mut parts = Vec::new();
        if self.take(Token::Symbol('^')) {
            parts.push(self.argument(bounds)?);
        }
        parts.push(self.term(bounds)?);
        Ok(Node::Call(Function::Named(label), parts))
    }

    /// The root of an argument, with a degree in square brackets.
    fn root(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let mut degree = None;
        if let [Token::Symbol('['), inner @ ..] = self.rest() {
            let end = closing(inner).ok_or(Stop::NotMathematics)?;
            degree = Some(bounds.deeper(|bounds| expression(&inner[..end], bounds))?);
            self.resume(&inner[end + 1..]);
        }
        let radicand = self.argument(bounds)?;
        match degree {
            Some(degree) => Ok(Node::Root { radicand: Box::new(radicand), degree: Box::new(degree) }),
            None => Ok(square_root(radicand)),
        }
    }

    /// What stands between bars: an absolute value.
    fn bars(&mut self, inner: &[Token<'a>], bar: Token<'_>, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let mut depth = 0_usize;
        let end = inner.iter().position(|token| {
            match token {
                Token::Symbol('(' | '[' | '{') | Token::Command("{") => depth += 1,
                Token::Symbol(')' | ']' | '}') | Token::Command("}") => depth = depth.saturating_sub(1),
                Token::Digits(_)
                | Token::Word { .. }
                | Token::Command(_)
                | Token::Symbol(_)
                | Token::Dollar
                | Token::Space => {}
            }
            depth == 0 && *token == bar
        });
        let end = end.ok_or(Stop::NotMathematics)?;
        let node = bounds.deeper(|bounds| expression(&inner[..end], bounds))?;
        let opened = self.rest().len() - inner.len();
        self.skip(opened + end + 1);
        Ok(Node::Call(Function::Absolute, vec![node]))
    }

    /// A bracket and what it holds: one item is grouped, several are a tuple, an interval or a set.
    fn bracketed(&mut self, open: char, inner: &[Token<'a>], bounds: &mut Bounds<'_>) -> Reading<Node> {
        let opened = self.rest().len() - inner.len();
        let end = closing(inner);
        if open == '{' && end.is_none() {
            self.skip(opened);
            return bounds.deeper(|bounds| self.sum(bounds));
        }
        let end = end.ok_or(Stop::NotMathematics)?;
        let close = match (open, inner[end]) {
            ('(' | '[', Token::Symbol(close @ (')' | ']'))) | ('{', Token::Symbol(close @ '}')) => close,
            ('\\', Token::Command("}")) => '}',
            ('<', Token::Command("rangle")) => '>',
            ('f', Token::Command("rfloor")) | ('c', Token::Command("rceil")) => open,
            _ => return Err(Stop::NotMathematics),
        };
        let is_empty = inner[..end].iter().all(|token| *token == Token::Space);
        let items = if is_empty && open == '\\' { Vec::new() } else { Self::items(&inner[..end], bounds)? };
        self.skip(opened + end + 1);
        Ok(match (open, close) {
            ('\\', _) if items.is_empty() => Node::EmptySet,
            ('\\', _) => Node::Set(items),
            ('f', _) => Node::Call(Function::Floor, items),
            ('c', _) => Node::Call(Function::Ceiling, items),
            ('{', _) if items.len() > 1 => Node::List(crate::expression::Joiner::Comma, items),
            ('<', _) => Node::Bracketed { open: '(', close: ')', items },
            (_, _) if items.len() == 1 && (open, close) != ('(', ']') && (open, close) != ('[', ')') => {
                joined_factors(items)
            }
            (_, _) => Node::Bracketed { open, close, items },
        })
    }
}

pub(super) fn square_root(radicand: Node) -> Node {
    let two = Node::Number(BigRational::from_integer(2.into()));
    Node::Root { radicand: Box::new(radicand), degree: Box::new(two) }
}

fn proper(above: &str, below: &str) -> Option<BigRational> {
    let (above, below) = (above.parse::<u64>().ok()?, below.parse::<u64>().ok().filter(|below| *below > 0)?);
    let fraction = BigRational::new(above.into(), below.into());
    (fraction.is_positive() && fraction < BigRational::one()).then_some(fraction)
}

/// The base that a subscript names, in digits or words.
fn base_of(subscript: &str) -> Option<u32> {
    let words = [
        "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
        "fourteen", "fifteen", "sixteen",
    ];
    let named = words.iter().position(|word| word.eq_ignore_ascii_case(subscript)).map(|at| at as u32 + 2);
    subscript.parse().ok().or(named).filter(|base| (2..=36).contains(base))
}
