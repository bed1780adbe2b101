//! Tokens to an expression: sums, products, powers and what they are made of. Not lists and relations: see `statement`.
//!
//! A descent by precedence. It is bounded by a depth that every bracket and argument counts towards.

mod cursor;
mod primary;
mod script;

use crate::{
    algebra::Function,
    expression::{Node, Sign},
    lex::Token,
    limits::{Reading, Stop, TOO_DEEP, Work},
};

pub(crate) use cursor::{Cursor, closing, is_function_name};
pub(crate) use primary::FUNCTION_LETTERS;

/// What bounds reading.
pub(crate) struct Bounds<'w> {
    pub(crate) depth_left: usize,
    pub(crate) work: &'w mut Work,
}

impl Bounds<'_> {
    /// Reads something one level deeper.
    pub(crate) fn deeper<T>(&mut self, read: impl FnOnce(&mut Bounds<'_>) -> Reading<T>) -> Reading<T> {
        self.work.spend(1)?;
        let depth_left = self.depth_left.checked_sub(1).ok_or(TOO_DEEP)?;
        read(&mut Bounds { depth_left, work: self.work })
    }
}

/// The expression that all the tokens together are.
pub(crate) fn expression(tokens: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<Node> {
    if let Some((above, operator, below)) = around_infix(tokens) {
        let above = bounds.deeper(|bounds| expression(above, bounds))?;
        let below = bounds.deeper(|bounds| expression(below, bounds))?;
        return Ok(match operator {
            "over" => Node::Quotient(Box::new(above), Box::new(below)),
            _ => Node::Call(Function::Binomial, vec![above, below]),
        });
    }
    let mut cursor = Cursor::new(tokens);
    let node = cursor.sum(bounds)?;
    if cursor.is_done() { Ok(node) } else { Err(Stop::NotMathematics) }
}

/// What stands on both sides of `\over` or `\choose`, the commands that come between their arguments.
fn around_infix<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t [Token<'a>], &'a str, &'t [Token<'a>])> {
    let at = tokens.iter().position(|token| matches!(token, Token::Command("over" | "choose")))?;
    let (Token::Command(operator), before, after) = (tokens[at], &tokens[..at], &tokens[at + 1..]) else { return None };
    let opens = before.iter().filter(|token| matches!(token, Token::Symbol('{'))).count();
    let closes = before.iter().filter(|token| matches!(token, Token::Symbol('}'))).count();
    (opens == closes).then_some((before, operator, after))
}

impl Cursor<'_, '_> {
    /// Terms with signs between them.
    pub(crate) fn sum(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let mut terms = vec![self.signed_term(bounds)?];
        let mut levels_left = bounds.depth_left;
        loop {
            if self.take(Token::Command("cup")) {
                let right = self.signed_term(bounds)?;
                terms = vec![united(joined_terms(terms), right)];
            } else if self.take(Token::Command("setminus")) {
                levels_left = levels_left.checked_sub(1).ok_or(TOO_DEEP)?;
                let right = self.signed_term(bounds)?;
                terms = vec![Node::Without(Box::new(joined_terms(terms)), Box::new(right))];
            } else if matches!(self.peek(), Some(Token::Symbol('+' | '-') | Token::Command("pm" | "mp"))) {
                terms.push(self.signed_term(bounds)?);
            } else {
                return Ok(joined_terms(terms));
            }
        }
    }

    fn signed_term(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        bounds.work.spend(1)?;
        if self.take(Token::Symbol('-')) {
            return self.unsigned_term(bounds).map(|term| Node::Negated(Box::new(term)));
        }
        if self.take(Token::Command("pm")) {
            return self.unsigned_term(bounds).map(|term| Node::EitherSign(Sign::PlusMinus, Box::new(term)));
        }
        if self.take(Token::Command("mp")) {
            return self.unsigned_term(bounds).map(|term| Node::EitherSign(Sign::MinusPlus, Box::new(term)));
        }
        if self.take(Token::Symbol('+')) && self.take(Token::Symbol('/')) && self.take(Token::Symbol('-')) {
            return self.unsigned_term(bounds).map(|term| Node::EitherSign(Sign::PlusMinus, Box::new(term)));
        }
        self.unsigned_term(bounds)
    }

    fn unsigned_term(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        // Two signs in a row are nothing anybody writes.
        if matches!(self.peek(), Some(Token::Symbol('+' | '-'))) {
            return Err(Stop::NotMathematics);
        }
        self.term(bounds)
    }

    /// Factors with signs of multiplication or nothing between them.
    pub(crate) fn term(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let mut factors = vec![self.factor(bounds)?];
        let mut levels_left = bounds.depth_left;
        loop {
            bounds.work.spend(1)?;
            if self.take_product_sign() {
                factors.push(self.signed_factor(bounds)?);
            } else if self.take(Token::Symbol('/')) || self.take(Token::Command("div")) {
                levels_left = levels_left.checked_sub(1).ok_or(TOO_DEEP)?;
                let divisor = self.divisor(bounds)?;
                let dividend = joined_factors(std::mem::take(&mut factors));
                factors.push(Node::Quotient(Box::new(dividend), Box::new(divisor)));
            } else if self.starts_factor() {
                self.juxtaposed(&mut factors, bounds)?;
            } else {
                return Ok(joined_factors(factors));
            }
        }
    }

    /// A factor with nothing between it and the one before.
    fn juxtaposed(&mut self, factors: &mut Vec<Node>, bounds: &mut Bounds<'_>) -> Reading<()> {
        // A number after a number or a name is not a product: `1 2` and `step 2` are something else.
        let after_operand = matches!(factors.last(), Some(Node::Number(_) | Node::Quotient(..) | Node::Symbol(_)));
        if self.next_is_digit() && after_operand {
            return Err(Stop::NotMathematics);
        }
        factors.push(self.factor(bounds)?);
        if factors.iter().rev().take(2).any(is_word) { Err(Stop::NotMathematics) } else { Ok(()) }
    }

    /// A factor that may have a sign, as after `\cdot`.
    fn signed_factor(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        if self.take(Token::Symbol('-')) {
            return self.factor(bounds).map(|factor| Node::Negated(Box::new(factor)));
        }
        self.take(Token::Symbol('+'));
        self.factor(bounds)
    }

    /// What a slash divides by: one factor, with the letters that touch it (`1/2x` divides by 2, `1/xy` by both).
    fn divisor(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let first = self.signed_factor(bounds)?;
        let mut factors = vec![first];
        while matches!(factors.last(), Some(Node::Symbol(_) | Node::Power(..)))
            && matches!(self.next_raw(), Some(Token::Word { .. }))
            && self.starts_factor()
        {
            factors.push(self.factor(bounds)?);
        }
        Ok(joined_factors(factors))
    }
}

/// Whether a name is a word of running text, which is multiplied with nothing beside it.
pub(crate) fn is_word(node: &Node) -> bool {
    let Node::Symbol(name) = node else { return false };
    let letters = name.split('_').next().unwrap_or_default();
    letters.chars().count() > 3 && letters.chars().all(char::is_alphabetic) && letters.chars().any(char::is_lowercase)
}

/// The union of a set with those that are united already.
fn united(left: Node, right: Node) -> Node {
    if let Node::Union(mut sets) = left {
        sets.push(right);
        return Node::Union(sets);
    }
    Node::Union(vec![left, right])
}

fn joined_terms(mut terms: Vec<Node>) -> Node {
    match terms.len() {
        1 => terms.remove(0),
        _ => Node::Sum(terms),
    }
}

pub(crate) fn joined_factors(mut factors: Vec<Node>) -> Node {
    match factors.len() {
        1 => factors.remove(0),
        _ => Node::Product(factors),
    }
}
