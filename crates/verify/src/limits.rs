//! What a check may cost: the limits that every text is held to, and the count of work that stops what exceeds them.
//!
//! Nothing here looks at a clock, so a verdict is the same on every machine and every thread.

/// Longest answer that is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1_000;
/// Most digits a number may be written with.
pub const NUMBER_DIGITS_MAX: usize = 200;
/// Largest absolute exponent of a power of ten written as a number (`1e400`).
pub const EXPONENT_MAX: u32 = 400;
/// Deepest nesting of brackets, arguments and exponents that is read.
pub const DEPTH_MAX: usize = 24;
/// Largest number that is computed with, in bits.
pub const NUMBER_BITS_MAX: u64 = 8_192;
/// Most steps of work that reading and comparing one answer may take; a step is about one product of two terms.
pub const WORK_STEPS_MAX: u32 = 8_000;

/// Why an answer is not a value, as a clause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unreadable(&'static str),
    TooLarge(&'static str),
}

/// Why reading stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The tokens are no mathematics that is known here; they are a text.
    NotMathematics,
    Refused(Refusal),
}

pub(crate) type Reading<T> = Result<T, Stop>;

pub(crate) const DIVISION_BY_ZERO: Stop = Stop::Refused(Refusal::Unreadable("the answer divides by zero"));
pub(crate) const NUMBER_TOO_LARGE: Stop = Stop::Refused(Refusal::TooLarge("a number is over 8,192 bits long"));
pub(crate) const EXPONENT_TOO_LARGE: Stop = Stop::Refused(Refusal::TooLarge("an exponent is beyond 400"));
pub(crate) const TOO_MANY_DIGITS: Stop = Stop::Refused(Refusal::TooLarge("a number has over 200 digits"));
pub(crate) const TOO_DEEP: Stop = Stop::Refused(Refusal::TooLarge("the answer is nested over 24 levels deep"));
const TOO_MUCH_WORK: Stop = Stop::Refused(Refusal::TooLarge("the answer takes too many steps to work out"));

/// The steps that are left for one answer.
#[derive(Debug)]
pub(crate) struct Work {
    steps_left: u32,
}

impl Work {
    pub(crate) fn new() -> Self {
        Self { steps_left: WORK_STEPS_MAX }
    }

    /// Takes steps from what is left.
    pub(crate) fn spend(&mut self, steps: usize) -> Reading<()> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        self.steps_left = self.steps_left.checked_sub(steps).ok_or(TOO_MUCH_WORK)?;
        Ok(())
    }
}
