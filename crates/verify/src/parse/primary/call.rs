//! Functions that are called by name: `\sin 2x`, `\log_2 8`, `sqrt(5)`, `gcd(4, 6)`.

use num_rational::BigRational;

use crate::{
    algebra::{Function, Inverse},
    expression::Node,
    lex::Token,
    limits::{Reading, Stop},
    parse::{Bounds, Cursor, closing, is_function_name, joined_factors, primary::square_root},
};

impl Cursor<'_, '_> {
    /// The call whose name has just been passed.
    pub(super) fn call(&mut self, name: &str, bounds: &mut Bounds<'_>) -> Reading<Node> {
        let base = if name == "log" && self.peek() == Some(Token::Symbol('_')) {
            self.skip(1);
            Some(self.argument(bounds)?)
        } else {
            None
        };
        let mut power = None;
        if self.take(Token::Symbol('^')) {
            power = Some(self.exponent(bounds)?);
        }
        let arguments = self.arguments(bounds)?;
        let minus_one = Node::Negated(Box::new(Node::Number(BigRational::from_integer(1.into()))));
        let is_inverse = power.as_ref() == Some(&minus_one);
        let function = if is_inverse { inverse(name).ok_or(Stop::NotMathematics)? } else { function(name) };
        let node = match (function, base) {
            (Called::Root, _) => match <[Node; 1]>::try_from(arguments) {
                Ok([radicand]) => square_root(radicand),
                Err(_) => return Err(Stop::NotMathematics),
            },
            (Called::Logarithm, base) => {
                let ten = || Node::Number(BigRational::from_integer(10.into()));
                let mut both = vec![base.unwrap_or_else(ten)];
                both.extend(arguments);
                Node::Call(Function::LogarithmTo, both)
            }
            (Called::Function(function), _) => Node::Call(function, arguments),
        };
        Ok(match power {
            Some(power) if !is_inverse => Node::Power(Box::new(node), Box::new(power)),
            _ => node,
        })
    }

    /// Arguments in brackets, or what is written side by side up to the next function or sign.
    fn arguments(&mut self, bounds: &mut Bounds<'_>) -> Reading<Vec<Node>> {
        match self.rest() {
            [Token::Symbol('('), inner @ ..] => {
                let end = closing(inner).ok_or(Stop::NotMathematics)?;
                let items = Self::items(&inner[..end], bounds)?;
                self.resume(&inner[end + 1..]);
                return Ok(items);
            }
            [Token::Symbol('{'), ..] => return Ok(vec![self.argument(bounds)?]),
            _ => {}
        }
        let mut factors = vec![self.factor(bounds)?];
        while self.starts_factor() && !self.starts_call() {
            factors.push(self.factor(bounds)?);
        }
        Ok(vec![joined_factors(factors)])
    }

    fn starts_call(&self) -> bool {
        match self.peek() {
            Some(Token::Command(name) | Token::Word { letters: name, .. }) => is_function_name(name) && name != "sqrt",
            Some(Token::Symbol('(' | '[')) => true,
            Some(Token::Digits(_) | Token::Symbol(_) | Token::Dollar | Token::Space) | None => false,
        }
    }
}

enum Called {
    Function(Function),
    Logarithm,
    Root,
}

/// The inverse that `\sin^{-1}` is.
fn inverse(name: &str) -> Option<Called> {
    let inverse = match name {
        "sin" => Inverse::Sine,
        "cos" => Inverse::Cosine,
        "tan" => Inverse::Tangent,
        _ => return None,
    };
    Some(Called::Function(Function::Inverse(inverse)))
}

fn function(name: &str) -> Called {
    Called::Function(match name {
        "arcsin" | "asin" => Function::Inverse(Inverse::Sine),
        "arccos" | "acos" => Function::Inverse(Inverse::Cosine),
        "arctan" | "atan" => Function::Inverse(Inverse::Tangent),
        "sin" => Function::Sine,
        "cos" => Function::Cosine,
        "tan" => Function::Tangent,
        "cot" => Function::Cotangent,
        "sec" => Function::Secant,
        "csc" => Function::Cosecant,
        "ln" => Function::Logarithm,
        "log" | "lg" => return Called::Logarithm,
        "sqrt" => return Called::Root,
        "exp" => Function::Exponential,
        "gcd" => Function::GreatestDivisor,
        "lcm" => Function::LeastMultiple,
        "max" => Function::Maximum,
        "min" => Function::Minimum,
        "floor" => Function::Floor,
        "ceil" => Function::Ceiling,
        "abs" => Function::Absolute,
        "binom" => Function::Binomial,
        other => Function::Named(format!("\\{other}")),
    })
}
