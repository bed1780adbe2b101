//! Completion text and gold answer in, verdict out.
//!
//! Pure and bounded: no I/O, no clock, no panic on any input. What the policy wrote is data, never an error.
//!
//! An answer passes through one type per stage: `extract` finds the [`Extraction`]'s `AnswerText`, `value` reads it
//! as a `Value` (a number where it can be, its normalised text always), `compare` sets it against the [`Gold`].
//! There is no symbolic algebra here: what is not a number is equal only if it is written the same way.

mod arguments;
mod check;
mod compare;
mod extract;
mod gold;
mod last_number;
mod lex;
mod number;
mod unit;
mod value;
mod verdict;

pub use check::check;
pub use extract::Extraction;
pub use gold::{Gold, GoldError};
pub use value::{ANSWER_BYTES_MAX, EXPONENT_MAX, NUMBER_DIGITS_MAX};
pub use verdict::{Check, Verdict};
