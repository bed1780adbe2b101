//! Exact algebra: expressions as fractions of polynomials in symbols, radicals, constants and functions.
//!
//! [`Normal`] is the form that expressions are brought to. Every step to it is an identity wherever both sides are
//! defined, so equal forms prove equal values; whether unequal forms prove unequal values is for [`decide`].

mod approximate;
mod atom;
mod conjugate;
mod decide;
mod function;
mod logarithm;
mod normal;
mod polynomial;
mod power;
mod radical;
mod trigonometry;

pub(crate) use approximate::approximate;
pub(crate) use atom::Atom;
pub(crate) use decide::{Decision, decide, is_proportional, rounds_to};
pub(crate) use function::{Function, call};
pub(crate) use normal::Normal;
pub(crate) use power::power;
pub(crate) use trigonometry::Inverse;
