//! Expressions as they are written: the tree that `parse` makes of tokens and `evaluate` works out.

use num_rational::BigRational;

use crate::algebra::Function;

/// How two sides of a relation stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
    Equal,
    Approximate,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Element,
}

/// What stands between the items of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Joiner {
    Comma,
    And,
    Or,
}

/// Which of two signs is meant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    PlusMinus,
    MinusPlus,
}

/// Whether a number was written with a mark that may or may not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    Plain,
    Percent,
    Degree,
}

/// What stands before the value that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// A variable, a function or words, which others may call otherwise.
    Name,
    /// A quantity that is written out: `f(2)`, `\cos C`, `|z|`.
    Asked,
}

/// The half of a day that a time is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HalfDay {
    Morning,
    Afternoon,
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Number(BigRational),
    /// Digits in a base that is written.
    Based {
        digits: String,
        base: u32,
    },
    Symbol(String),
    Imaginary,
    Pi,
    Euler,
    Infinity,
    Sum(Vec<Node>),
    Product(Vec<Node>),
    Quotient(Box<Node>, Box<Node>),
    Negated(Box<Node>),
    EitherSign(Sign, Box<Node>),
    Power(Box<Node>, Box<Node>),
    Root {
        radicand: Box<Node>,
        degree: Box<Node>,
    },
    Call(Function, Vec<Node>),
    Percent(Box<Node>),
    Degrees(Box<Node>),
    /// A quantity with what follows it read over.
    Quantity {
        node: Box<Node>,
        factor: u64,
        mark: Mark,
        unit: String,
    },
    /// Items in brackets, in order.
    Bracketed {
        open: char,
        close: char,
        items: Vec<Node>,
    },
    Set(Vec<Node>),
    List(Joiner, Vec<Node>),
    Matrix(Vec<Vec<Node>>),
    Union(Vec<Node>),
    Without(Box<Node>, Box<Node>),
    EmptySet,
    Reals,
    Ratio(Vec<Node>),
    /// Hours, minutes and seconds as far as they are written, with `a.m.` or `p.m.`.
    Clock(Vec<BigRational>, HalfDay),
    /// A value that is given a name: `x = 5`, `x \in S`.
    Named {
        naming: Naming,
        name: String,
        left: Option<Box<Node>>,
        value: Box<Node>,
    },
    /// Values that are all said to be the same.
    Agreeing(Vec<Node>),
    /// Sides with a relation after each but the last.
    Chain {
        first: Box<Node>,
        rest: Vec<(Relation, Node)>,
    },
}
