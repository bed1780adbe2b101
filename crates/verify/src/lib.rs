//! Completion text and gold answer in, verdict out.
//!
//! Pure and bounded: no I/O, no clock, no panic on any input. What the policy wrote is data, never an error.
//!
//! An answer passes through one type per stage: `extract` finds the [`Extraction`]'s `AnswerText`; `lex`, `parse` and
//! `statement` make a tree of it; `evaluate` works it out to a `Value` over the normal forms of `algebra`; `compare`
//! sets it against the [`Gold`]. What is no mathematics is compared as normalised text.

mod algebra;
mod answer;
mod arguments;
mod asked;
mod check;
mod command;
mod compare;
mod evaluate;
mod expression;
mod extract;
mod gold;
mod lex;
mod limits;
mod numeral;
mod parse;
mod region;
mod statement;
mod text;
mod unit;
mod value;
mod verdict;

pub use check::{check, equivalent};
pub use extract::{Extraction, ends_turn};
pub use gold::{Gold, GoldError};
pub use limits::{ANSWER_BYTES_MAX, DEPTH_MAX, EXPONENT_MAX, NUMBER_BITS_MAX, NUMBER_DIGITS_MAX, WORK_STEPS_MAX};
pub use verdict::{Check, Verdict};
