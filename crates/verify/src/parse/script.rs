//! What follows a factor: exponents, factorials, percent signs and degrees; and subscripts.

use crate::{
    algebra::Function,
    expression::Node,
    lex::Token,
    limits::{Reading, Stop, TOO_DEEP},
    parse::{Bounds, Cursor, closing, expression},
    text::joined,
};

impl<'a> Cursor<'_, 'a> {
    /// A factor with what is written after it.
    pub(crate) fn factor(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let mut node = self.primary(bounds)?;
        // Each mark is a level of the tree, as a bracket is.
        for _ in 0..bounds.depth_left {
            bounds.work.spend(1)?;
            node = match self.rest() {
                [Token::Symbol('!'), Token::Symbol('='), ..] => return Ok(node),
                [Token::Symbol('!'), ..] if self.peek().is_some() => {
                    self.skip(1);
                    Node::Call(Function::Factorial, vec![node])
                }
                [Token::Symbol('%'), ..] if self.peek().is_some() => {
                    self.skip(1);
                    Node::Percent(Box::new(node))
                }
                [Token::Symbol('°'), ..] if self.peek().is_some() => {
                    self.skip(1);
                    Node::Degrees(Box::new(node))
                }
                [Token::Symbol('*'), Token::Symbol('*'), ..] if self.peek().is_some() => {
                    self.skip(2);
                    let exponent = self.exponent(bounds)?;
                    Node::Power(Box::new(node), Box::new(exponent))
                }
                [Token::Symbol('^'), ..] if self.peek().is_some() => {
                    self.skip(1);
                    let exponent = self.exponent(bounds)?;
                    Node::Power(Box::new(node), Box::new(exponent))
                }
                _ => return Ok(node),
            };
        }
        Err(TOO_DEEP)
    }

    /// The exponent after `^`: a group, or one factor with a sign. `x^y^z` raises the exponent.
    pub(crate) fn exponent(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        if self.take(Token::Symbol('-')) {
            return bounds.deeper(|bounds| self.exponent(bounds)).map(|node| Node::Negated(Box::new(node)));
        }
        let node = bounds.deeper(|bounds| self.argument(bounds))?;
        if self.peek() == Some(Token::Symbol('^')) {
            self.skip(1);
            let upper = bounds.deeper(|bounds| self.exponent(bounds))?;
            return Ok(Node::Power(Box::new(node), Box::new(upper)));
        }
        Ok(node)
    }

    /// The argument of a command: a group in braces, or one primary.
    pub(crate) fn argument(&mut self, bounds: &mut Bounds<'_>) -> Reading<Node> {
        if let [Token::Symbol('{'), inner @ ..] = self.rest() {
            // A brace that is never closed closes at the end.
            let end = closing(inner).unwrap_or(inner.len());
            let node = bounds.deeper(|bounds| expression(&inner[..end], bounds))?;
            self.resume(inner.get(end + 1..).unwrap_or_default());
            return Ok(node);
        }
        self.primary(bounds)
    }

    /// What a subscript says, as text: `_1`, `_{n-1}`.
    pub(crate) fn subscript(&mut self) -> Option<String> {
        let [Token::Symbol('_'), rest @ ..] = self.rest() else { return None };
        self.peek()?;
        let (name, after) = match rest {
            [Token::Symbol('{'), inner @ ..] => {
                let end = closing(inner).unwrap_or(inner.len());
                (joined(&inner[..end]), inner.get(end + 1..).unwrap_or_default())
            }
            [_, after @ ..] => (joined(&rest[..1]), after),
            [] => return None,
        };
        self.resume(after);
        Some(name)
    }

    /// Items between brackets that have been found, with commas or semicolons between them.
    pub(crate) fn items(tokens: &[Token<'a>], bounds: &mut Bounds<'_>) -> Reading<Vec<Node>> {
        let blank = tokens.iter().all(|token| matches!(token, Token::Space | Token::Dollar));
        if blank {
            return Err(Stop::NotMathematics);
        }
        bounds.deeper(|bounds| crate::statement::items(tokens, bounds))
    }
}
