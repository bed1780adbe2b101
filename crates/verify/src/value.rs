//! What an answer states once it is worked out: numbers, sets, tuples, relations in their normal forms.

use crate::{
    algebra::Normal,
    expression::{HalfDay, Joiner, Mark, Naming},
};

/// A number or expression with what was written after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quantity {
    pub(crate) form: Normal,
    pub(crate) mark: Mark,
    pub(crate) unit: String,
}

/// How a difference stands to 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Zero,
    NotZero,
    Negative,
    NotPositive,
}

/// One relation, all on one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Constraint {
    pub(crate) difference: Normal,
    pub(crate) condition: Condition,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    Scalar(Quantity),
    Infinity,
    MinusInfinity,
    /// Digits in a base: equal to the same digits in the same base alone.
    Based {
        digits: String,
        base: u32,
    },
    /// Items in brackets; two of them may be a point or an interval.
    Tuple {
        open: char,
        close: char,
        items: Vec<Value>,
    },
    Set(Vec<Value>),
    /// Items without brackets.
    List(Joiner, Vec<Value>),
    Union(Vec<Value>),
    Without(Box<Value>, Box<Value>),
    Reals,
    Matrix(Vec<Vec<Normal>>),
    Ratio(Vec<Normal>),
    /// A time of day: hours, minutes, seconds.
    Clock([Normal; 3], HalfDay),
    Named {
        naming: Naming,
        name: String,
        left: Option<Normal>,
        value: Box<Value>,
    },
    Constraints(Vec<Constraint>),
}

impl Value {
    pub(crate) fn scalar(form: Normal) -> Self {
        Self::Scalar(Quantity { form, mark: Mark::Plain, unit: String::new() })
    }

    /// The expression that the value is, whatever was written after it.
    pub(crate) fn form(&self) -> Option<&Normal> {
        match self {
            Self::Scalar(quantity) => Some(&quantity.form),
            Self::Named { value, .. } => value.form(),
            Self::Infinity
            | Self::MinusInfinity
            | Self::Based { .. }
            | Self::Tuple { .. }
            | Self::Set(_)
            | Self::List(..)
            | Self::Union(_)
            | Self::Without(..)
            | Self::Reals
            | Self::Matrix(_)
            | Self::Ratio(_)
            | Self::Clock(..)
            | Self::Constraints(_) => None,
        }
    }
}
