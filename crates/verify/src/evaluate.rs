//! Expressions to values: what is written is worked out to normal forms.

mod matrix;

use num_rational::BigRational;

use crate::{
    algebra::{Atom, Decision, Normal, call, decide, power},
    expression::{Joiner, Mark, Node, Relation, Sign},
    limits::{Reading, Stop, Work},
    value::{Condition, Constraint, Quantity, Value},
};

/// Most signs of one expression that are chosen each for itself.
const SIGNS_MAX: usize = 4;

/// How the signs of an expression with several `±` are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signs {
    /// All the upper ones, or all the lower ones.
    Alike,
    /// Each for itself, as `\pm 1 \pm i` means four numbers; `\mp` ties an expression's signs together.
    Apart,
}

/// Works out expressions with one choice of signs.
struct Evaluator<'w> {
    signs: Signs,
    /// For each `±` of an expression, from the lowest bit, whether it is minus; the last bit is that of all further ones.
    lower: i32,
    work: &'w mut Work,
}

/// The value that an expression states.
pub(crate) fn evaluate(node: &Node, signs: Signs, work: &mut Work) -> Reading<Value> {
    Evaluator { signs, lower: 0, work }.value(node)
}

impl Evaluator<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "every other expression is a scalar, or refused by `form`")]
    fn value(&mut self, node: &Node) -> Reading<Value> {
        self.work.spend(1)?;
        Ok(match node {
            Node::Infinity => Value::Infinity,
            Node::Negated(inner) if **inner == Node::Infinity => Value::MinusInfinity,
            Node::Based { digits, base } => {
                let digits = digits.trim_start_matches('0');
                Value::Based { digits: if digits.is_empty() { "0" } else { digits }.to_owned(), base: *base }
            }
            Node::Negated(inner) if matches!(**inner, Node::Based { .. }) => {
                let Value::Based { digits, base } = self.value(inner)? else { return Err(Stop::NotMathematics) };
                Value::Based { digits: format!("-{digits}"), base }
            }
            Node::Bracketed { open, close, items } => {
                Value::Tuple { open: *open, close: *close, items: self.values(items)? }
            }
            Node::Set(items) => Value::Set(flattened(self.values(items)?)),
            Node::List(joiner, items) => Value::List(*joiner, flattened(self.values(items)?)),
            Node::Union(sets) => Value::Union(self.values(sets)?),
            Node::Without(from, taken) => Value::Without(Box::new(self.value(from)?), Box::new(self.value(taken)?)),
            Node::EmptySet => Value::Set(Vec::new()),
            Node::Reals => Value::Reals,
            Node::Ratio(parts) => Value::Ratio(self.forms(parts)?),
            Node::Clock(parts, half) => {
                let part = |at: usize| parts.get(at).map_or_else(Normal::zero, |part| Normal::number(part.clone()));
                Value::Clock([part(0), part(1), part(2)], *half)
            }
            Node::Named { naming, name, left, value } => {
                let left = left.as_deref().map(|left| self.form(left)).transpose().ok().flatten();
                Value::Named { naming: *naming, name: name.clone(), left, value: Box::new(self.value(value)?) }
            }
            Node::Agreeing(nodes) => self.agreeing(nodes)?,
            Node::Chain { first, rest } => self.chain(first, rest)?,
            Node::Quantity { node, factor, mark, unit } => {
                if !either_signs(node).is_empty() {
                    return self.both_signs(node);
                }
                let form = self.form(node)?.scaled(&BigRational::from_integer((*factor).into()));
                Value::Scalar(Quantity { form, mark: *mark, unit: unit.clone() })
            }
            Node::Percent(inner) => {
                Value::Scalar(Quantity { form: self.form(inner)?, mark: Mark::Percent, unit: String::new() })
            }
            Node::Degrees(inner) => {
                Value::Scalar(Quantity { form: self.form(inner)?, mark: Mark::Degree, unit: String::new() })
            }
            other if matrix::occurs_in(other) => Value::Matrix(self.matrix(other)?),
            other if !either_signs(other).is_empty() => self.both_signs(other)?,
            other => Value::scalar(self.form(other)?),
        })
    }

    fn values(&mut self, nodes: &[Node]) -> Reading<Vec<Value>> {
        nodes.iter().map(|node| self.value(node)).collect()
    }

    fn forms(&mut self, nodes: &[Node]) -> Reading<Vec<Normal>> {
        nodes.iter().map(|node| self.form(node)).collect()
    }

    /// The values of an expression with `±`.
    fn both_signs(&mut self, node: &Node) -> Reading<Value> {
        let signs = either_signs(node);
        let are_apart = self.signs == Signs::Apart && signs.len() <= SIGNS_MAX && !signs.contains(&Sign::MinusPlus);
        let choices = if are_apart { (0..1 << signs.len()).collect() } else { vec![0, -1] };
        let mut forms: Vec<Normal> = Vec::with_capacity(choices.len());
        for lower in choices {
            let form = Evaluator { signs: self.signs, lower, work: self.work }.form(node)?;
            if !forms.contains(&form) {
                forms.push(form);
            }
        }
        match <[Normal; 1]>::try_from(forms) {
            Ok([only]) => Ok(Value::scalar(only)),
            Err(forms) => Ok(Value::List(Joiner::Or, forms.into_iter().map(Value::scalar).collect())),
        }
    }

    /// Values that are all said to be the same: the last, where that is true.
    fn agreeing(&mut self, nodes: &[Node]) -> Reading<Value> {
        let mut values = self.values(nodes)?;
        let last = values.pop().ok_or(Stop::NotMathematics)?;
        for value in values {
            let agree = match (value.form(), last.form()) {
                (Some(form), Some(last)) => decide(form, last, self.work)? == Decision::Equal,
                (_, _) => value == last,
            };
            if !agree {
                return Err(Stop::NotMathematics);
            }
        }
        Ok(last)
    }

    /// Relations as constraints. An equation of constants is its value where it is true, and nothing where it is not or
    /// where both sides are the same expression.
    fn chain(&mut self, first: &Node, rest: &[(Relation, Node)]) -> Reading<Value> {
        if let [(Relation::Element, set)] = rest {
            return self.value(set);
        }
        if matches!(rest, [(Relation::Equal, right)] if right == first) {
            return Err(Stop::NotMathematics);
        }
        let mut constraints = Vec::with_capacity(rest.len());
        let mut left = self.form(first)?;
        for (relation, node) in rest {
            let right = self.form(node)?;
            let constraint = constraint(left.minus(&right, self.work)?, *relation).ok_or(Stop::NotMathematics)?;
            let is_constant = constraint.condition == Condition::Zero && constraint.difference.is_constant();
            if is_constant && rest.len() == 1 && decide(&left, &right, self.work)? == Decision::Equal {
                return Ok(Value::scalar(right));
            }
            if is_constant {
                return Err(Stop::NotMathematics);
            }
            constraints.push(constraint);
            left = right;
        }
        Ok(Value::Constraints(constraints))
    }

    /// Whether the next `±` is minus.
    fn next_is_lower(&mut self) -> bool {
        let is_lower = self.lower & 1 == 1;
        self.lower >>= 1;
        is_lower
    }

    fn form(&mut self, node: &Node) -> Reading<Normal> {
        self.work.spend(1)?;
        match node {
            Node::Number(number) => Ok(Normal::number(number.clone())),
            Node::Symbol(name) => Ok(Normal::symbol(name)),
            Node::Imaginary => Ok(Normal::atom(Atom::Imaginary)),
            Node::Pi => Ok(Normal::atom(Atom::Pi)),
            Node::Euler => Ok(Normal::atom(Atom::Euler)),
            Node::Sum(terms) => {
                let mut sum = Normal::zero();
                for term in terms {
                    sum = sum.plus(&self.form(term)?, self.work)?;
                }
                Ok(sum)
            }
            Node::Product(factors) => {
                let mut product = Normal::one();
                for factor in factors {
                    product = product.times(&self.form(factor)?, self.work)?;
                }
                Ok(product)
            }
            Node::Quotient(above, below) => {
                let above = self.form(above)?;
                above.over(&self.form(below)?, self.work)
            }
            Node::Negated(inner) => Ok(self.form(inner)?.negated()),
            Node::EitherSign(sign, inner) => {
                let is_lower = self.next_is_lower();
                let inner = self.form(inner)?;
                Ok(if is_lower == (*sign == Sign::PlusMinus) { inner.negated() } else { inner })
            }
            Node::Power(base, exponent) => {
                let exponent = self.form(exponent)?;
                let base = self.form(base)?;
                power(&base, &exponent, self.work)
            }
            Node::Root { radicand, degree } => {
                let radicand = self.form(radicand)?;
                let exponent = self.form(degree)?.reciprocal(self.work)?;
                power(&radicand, &exponent, self.work)
            }
            Node::Call(function, arguments) => {
                let arguments = self.forms(arguments)?;
                call(function, &arguments, self.work)
            }
            Node::Percent(inner) => Ok(self.form(inner)?.scaled(&BigRational::new(1.into(), 100.into()))),
            Node::Degrees(inner) => {
                let degree = Normal::atom(Atom::Pi).scaled(&BigRational::new(1.into(), 180.into()));
                self.form(inner)?.times(&degree, self.work)
            }
            Node::Quantity { node, factor, mark, .. } => {
                let percent = if *mark == Mark::Percent { 100 } else { 1 };
                Ok(self.form(node)?.scaled(&BigRational::new((*factor).into(), percent.into())))
            }
            Node::Infinity
            | Node::Based { .. }
            | Node::Bracketed { .. }
            | Node::Set(_)
            | Node::List(..)
            | Node::Matrix(_)
            | Node::Union(_)
            | Node::Without(..)
            | Node::EmptySet
            | Node::Reals
            | Node::Ratio(_)
            | Node::Clock(..)
            | Node::Named { .. }
            | Node::Agreeing(_)
            | Node::Chain { .. } => Err(Stop::NotMathematics),
        }
    }
}

/// How a difference of two sides stands to 0 by the relation between them.
fn constraint(difference: Normal, relation: Relation) -> Option<Constraint> {
    let (difference, condition) = match relation {
        Relation::Equal => (difference, Condition::Zero),
        Relation::NotEqual => (difference, Condition::NotZero),
        Relation::Less => (difference, Condition::Negative),
        Relation::LessOrEqual => (difference, Condition::NotPositive),
        Relation::Greater => (difference.negated(), Condition::Negative),
        Relation::GreaterOrEqual => (difference.negated(), Condition::NotPositive),
        Relation::Approximate | Relation::Element => return None,
    };
    Some(Constraint { difference, condition })
}

/// The values of `±` as items of their own.
fn flattened(values: Vec<Value>) -> Vec<Value> {
    let mut flat = Vec::with_capacity(values.len());
    for value in values {
        if let Value::List(Joiner::Or, items) = value {
            flat.extend(items);
        } else if let Value::Named { value: inner, .. } = &value
            && let Value::List(Joiner::Or, items) = &**inner
        {
            flat.extend(items.iter().cloned());
        } else {
            flat.push(value);
        }
    }
    flat
}

/// Every `±` and `∓` of an expression.
fn either_signs(node: &Node) -> Vec<Sign> {
    let mut found = Vec::new();
    find_either_signs(node, &mut found);
    found
}

fn find_either_signs(node: &Node, found: &mut Vec<Sign>) {
    match node {
        Node::EitherSign(sign, inner) => {
            found.push(*sign);
            find_either_signs(inner, found);
        }
        Node::Sum(nodes) | Node::Product(nodes) | Node::Call(_, nodes) => {
            for node in nodes {
                find_either_signs(node, found);
            }
        }
        Node::Quotient(a, b) | Node::Power(a, b) | Node::Root { radicand: a, degree: b } => {
            find_either_signs(a, found);
            find_either_signs(b, found);
        }
        Node::Negated(inner) | Node::Percent(inner) | Node::Degrees(inner) | Node::Quantity { node: inner, .. } => {
            find_either_signs(inner, found);
        }
        Node::Number(_)
        | Node::Based { .. }
        | Node::Symbol(_)
        | Node::Imaginary
        | Node::Pi
        | Node::Euler
        | Node::Infinity
        | Node::Bracketed { .. }
        | Node::Set(_)
        | Node::List(..)
        | Node::Matrix(_)
        | Node::Union(_)
        | Node::Without(..)
        | Node::EmptySet
        | Node::Reals
        | Node::Ratio(_)
        | Node::Clock(..)
        | Node::Named { .. }
        | Node::Agreeing(_)
        | Node::Chain { .. } => {}
    }
}
