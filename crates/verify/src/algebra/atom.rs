//! The factors that terms are products of, and their products. Not sums: see `polynomial`.

use std::sync::Arc;

use num_bigint::BigInt;
use num_rational::{BigRational, Ratio};
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::{
    algebra::Normal,
    limits::{EXPONENT_TOO_LARGE, NUMBER_BITS_MAX, NUMBER_TOO_LARGE, Reading},
};

/// An exponent; exponents stay small, see [`bounded`].
pub(crate) type Exponent = Ratio<i64>;

/// Atoms within others that are compared in the time of a step.
pub(crate) const COMPARED_PER_STEP: usize = 8;
const EXPONENT_NUMERATOR_MAX: i64 = 1_000_000;
const EXPONENT_DENOMINATOR_MAX: i64 = 10_000;

/// What terms are made of beside rational numbers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Atom {
    /// A positive integer under a root; a prime unless it is beyond what is factored. Its exponent is in (0, 1).
    Radicand(BigInt),
    /// The imaginary unit; its exponent is 1.
    Imaginary,
    Pi,
    Euler,
    /// A variable, or anything else of which only the name is known.
    Symbol(Arc<str>),
    Sine(Arc<Normal>),
    Cosine(Arc<Normal>),
    Logarithm(Arc<Normal>),
    Absolute(Arc<Normal>),
    /// A sum with an exponent that it is not expanded to.
    Base(Arc<Normal>),
    /// A base raised to a monomial: `2^x` is the atom of 2 and x, and `2^{3x}` its third power.
    Raised(Arc<Normal>, Arc<Monomial>),
    /// A function of which no identity is used.
    Call(Arc<str>, Arc<[Normal]>),
}

/// A product of powers of distinct atoms in ascending order, no exponent 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Monomial(pub(crate) Vec<(Atom, Exponent)>);

/// An exponent that is small enough to compute with.
pub(crate) fn bounded(exponent: Exponent) -> Reading<Exponent> {
    let small = exponent.numer().abs() <= EXPONENT_NUMERATOR_MAX && *exponent.denom() <= EXPONENT_DENOMINATOR_MAX;
    if small { Ok(exponent) } else { Err(EXPONENT_TOO_LARGE) }
}

/// A rational number as an exponent.
pub(crate) fn exponent_of(number: &BigRational) -> Reading<Exponent> {
    let parts = (number.numer().to_i64(), number.denom().to_i64());
    let (Some(numerator), Some(denominator)) = parts else { return Err(EXPONENT_TOO_LARGE) };
    bounded(Exponent::new_raw(numerator, denominator))
}

/// An integer raised to an integer, negative ones included.
pub(crate) fn integer_power(base: &BigRational, exponent: i64) -> Reading<BigRational> {
    let magnitude = exponent.unsigned_abs();
    let bits = base.numer().bits().max(base.denom().bits()).saturating_sub(1);
    if bits.saturating_mul(magnitude) > NUMBER_BITS_MAX {
        return Err(NUMBER_TOO_LARGE);
    }
    // Only 0, 1 and −1 get here with a large exponent; their powers depend on whether it is even.
    let magnitude = u32::try_from(magnitude).unwrap_or(2 + (magnitude % 2) as u32);
    let powered = BigRational::new_raw(base.numer().pow(magnitude), base.denom().pow(magnitude));
    Ok(if exponent < 0 { powered.recip() } else { powered })
}

/// A sum of exponents, quick where both are whole.
fn added(a: Exponent, b: Exponent) -> Exponent {
    if a.is_integer() && b.is_integer() { Exponent::from_integer(a.numer() + b.numer()) } else { a + b }
}

/// A product of numbers, quick where both are whole.
pub(crate) fn product(a: &BigRational, b: &BigRational) -> BigRational {
    if a.denom().is_one() && b.denom().is_one() { BigRational::from_integer(a.numer() * b.numer()) } else { a * b }
}

/// How long an integer is, in words of 64 bits.
pub(crate) fn words(integer: &BigInt) -> usize {
    (integer.bits() / 64) as usize
}

/// What arithmetic on a number of so many bits costs, in steps.
pub(crate) fn steps(number: &BigRational) -> usize {
    let (above, below) = (words(number.numer()), words(number.denom()));
    // A fraction is reduced, which takes the square of its length.
    above + below + if number.denom().is_one() { 0 } else { above * below / 8 }
}

impl Monomial {
    pub(crate) fn one() -> Self {
        Self(Vec::new())
    }

    /// Atoms at all depths, as often as they are written; see [`Atom::size`].
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|(atom, _)| atom.size()).fold(0, usize::saturating_add)
    }

    /// What comparing its arguments of functions may cost, in steps.
    pub(crate) fn depth_steps(&self) -> usize {
        (self.size() - self.0.len()) / COMPARED_PER_STEP
    }

    pub(crate) fn is_one(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn exponent(&self, atom: &Atom) -> Exponent {
        self.0.iter().find(|(own, _)| own == atom).map_or_else(Exponent::zero, |(_, exponent)| *exponent)
    }

    /// The product without one of its atoms.
    pub(crate) fn without(&self, atom: &Atom) -> Self {
        Self(self.0.iter().filter(|(own, _)| own != atom).cloned().collect())
    }

    /// The product of two monomials, and the number that comes out of roots and of powers of i.
    pub(crate) fn times(&self, other: &Self) -> Reading<(BigRational, Self)> {
        if self.is_one() || other.is_one() {
            let product = if self.is_one() { other } else { self };
            return Ok((BigRational::one(), product.clone()));
        }
        let mut factor = BigRational::one();
        let mut product = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut left, mut right) = (self.0.iter().peekable(), other.0.iter().peekable());
        loop {
            let (atom, exponent) = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) if l.0 == r.0 => {
                    let merged = (l.0.clone(), added(l.1, r.1));
                    left.next();
                    right.next();
                    merged
                }
                (Some(l), Some(r)) if l.0 > r.0 => right.next().expect("peeked").clone(),
                (Some(_), _) => left.next().expect("peeked").clone(),
                (None, Some(_)) => right.next().expect("peeked").clone(),
                (None, None) => break,
            };
            push(&mut product, &mut factor, atom, exponent)?;
        }
        Ok((factor, Self(product)))
    }

    /// The monomial raised to an exponent, atom by atom; the caller answers for signs.
    pub(crate) fn raised(&self, to: Exponent) -> Reading<(BigRational, Self)> {
        let mut factor = BigRational::one();
        let mut product = Vec::with_capacity(self.0.len());
        for (atom, exponent) in &self.0 {
            push(&mut product, &mut factor, atom.clone(), bounded(bounded(to)? * exponent)?)?;
        }
        Ok((factor, Self(product)))
    }
}

/// Appends a power, with what is rational of it in `factor`.
fn push(product: &mut Vec<(Atom, Exponent)>, factor: &mut BigRational, atom: Atom, exponent: Exponent) -> Reading<()> {
    let exponent = bounded(exponent)?;
    let kept = match &atom {
        Atom::Radicand(base) => {
            if exponent < Exponent::one() && exponent > Exponent::zero() {
                product.push((atom, exponent));
                return Ok(());
            }
            let whole = exponent.floor();
            *factor *= integer_power(&BigRational::from_integer(base.clone()), whole.to_integer())?;
            exponent - whole
        }
        Atom::Imaginary if exponent.is_integer() => {
            let quarter = exponent.to_integer().rem_euclid(4);
            if quarter >= 2 {
                *factor = -&*factor;
            }
            Exponent::from_integer(quarter % 2)
        }
        Atom::Imaginary
        | Atom::Pi
        | Atom::Euler
        | Atom::Symbol(_)
        | Atom::Sine(_)
        | Atom::Cosine(_)
        | Atom::Logarithm(_)
        | Atom::Absolute(_)
        | Atom::Base(_)
        | Atom::Raised(..)
        | Atom::Call(..) => exponent,
    };
    if !kept.is_zero() {
        product.push((atom, kept));
    }
    Ok(())
}

impl Atom {
    /// Atoms at all depths, itself included. A part that several hold together counts once for each of them, as it does
    /// where atoms are compared, so that the size of what is short to write may be exponential in its depth.
    fn size(&self) -> usize {
        let within = match self {
            Self::Radicand(_) | Self::Imaginary | Self::Pi | Self::Euler | Self::Symbol(_) => 0,
            Self::Sine(inner)
            | Self::Cosine(inner)
            | Self::Logarithm(inner)
            | Self::Absolute(inner)
            | Self::Base(inner) => inner.size(),
            Self::Raised(base, exponent) => base.size().saturating_add(exponent.size()),
            Self::Call(_, arguments) => arguments.iter().map(Normal::size).fold(0, usize::saturating_add),
        };
        within.saturating_add(1)
    }

    /// Whether distinct monomials of such atoms are known to be linearly independent over the rational numbers.
    pub(crate) fn is_independent(&self) -> bool {
        match self {
            // Beyond this square nothing was factored, so two such numbers may share a factor.
            Self::Radicand(base) => base < &BigInt::from(1_000_000) && base.is_positive(),
            Self::Imaginary | Self::Symbol(_) => true,
            Self::Pi
            | Self::Euler
            | Self::Sine(_)
            | Self::Cosine(_)
            | Self::Logarithm(_)
            | Self::Absolute(_)
            | Self::Base(_)
            | Self::Raised(..)
            | Self::Call(..) => false,
        }
    }
}
