//! The normal form of an expression: a fraction of two polynomials.
//!
//! A denominator of one term goes into the numerator, so what stays below is 1 or a sum; the sum's last coefficient
//! is 1. Fractions are not reduced: two of them are compared by multiplying across.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

use crate::{
    algebra::{
        atom::{Atom, COMPARED_PER_STEP, Exponent, Monomial},
        conjugate::rationalised,
        polynomial::Polynomial,
    },
    limits::{DIVISION_BY_ZERO, Reading, Work},
};

/// A fraction of polynomials; see the module.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Normal {
    numerator: Polynomial,
    denominator: Polynomial,
    /// Atoms at all depths, known so that nothing has to be walked through to find what walking through it costs.
    size: usize,
}

impl Normal {
    pub(crate) fn number(number: BigRational) -> Self {
        Self::from(Polynomial::constant(number))
    }

    pub(crate) fn integer(number: i64) -> Self {
        Self::number(BigRational::from_integer(BigInt::from(number)))
    }

    pub(crate) fn ratio(numerator: i64, denominator: i64) -> Self {
        Self::number(BigRational::new(numerator.into(), denominator.into()))
    }

    pub(crate) fn zero() -> Self {
        Self::from(Polynomial::zero())
    }

    pub(crate) fn one() -> Self {
        Self::from(Polynomial::one())
    }

    pub(crate) fn atom(atom: Atom) -> Self {
        Self::monomial(Monomial(vec![(atom, Exponent::one())]))
    }

    pub(crate) fn monomial(monomial: Monomial) -> Self {
        Self::from(Polynomial::term(monomial, BigRational::one()))
    }

    pub(crate) fn symbol(name: &str) -> Self {
        Self::atom(Atom::Symbol(name.into()))
    }

    pub(crate) fn numerator(&self) -> &Polynomial {
        &self.numerator
    }

    pub(crate) fn denominator(&self) -> &Polynomial {
        &self.denominator
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.numerator.is_zero()
    }

    /// The rational number that the form is.
    pub(crate) fn as_number(&self) -> Option<BigRational> {
        if self.denominator.is_one() { self.numerator.as_number() } else { None }
    }

    pub(crate) fn as_integer(&self) -> Option<BigInt> {
        self.as_number().filter(BigRational::is_integer).map(|number| number.to_integer())
    }

    /// The only term, where the form is one.
    pub(crate) fn as_term(&self) -> Option<(&Monomial, &BigRational)> {
        if self.denominator.is_one() { self.numerator.as_term() } else { None }
    }

    /// Whether neither a symbol nor a function without a meaning, such as f, occurs at any depth.
    pub(crate) fn is_constant(&self) -> bool {
        self.numerator.atoms().chain(self.denominator.atoms()).all(|(atom, _)| match atom {
            Atom::Symbol(_) => false,
            Atom::Radicand(_) | Atom::Imaginary | Atom::Pi | Atom::Euler => true,
            Atom::Sine(inner)
            | Atom::Cosine(inner)
            | Atom::Logarithm(inner)
            | Atom::Absolute(inner)
            | Atom::Base(inner) => inner.is_constant(),
            Atom::Raised(base, exponent) => base.is_constant() && Self::monomial((**exponent).clone()).is_constant(),
            Atom::Call(name, arguments) => !is_letter(name) && arguments.iter().all(Self::is_constant),
        })
    }

    fn whole(numerator: Polynomial, denominator: Polynomial) -> Self {
        let size = numerator.size().saturating_add(denominator.size());
        Self { numerator, denominator, size }
    }

    /// Atoms at all depths.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn fraction(numerator: Polynomial, denominator: Polynomial, work: &mut Work) -> Reading<Self> {
        if denominator.is_zero() {
            return Err(DIVISION_BY_ZERO);
        }
        if denominator.is_one() || numerator.is_zero() {
            return Ok(Self::from(numerator));
        }
        let (numerator, denominator) = rationalised(numerator, denominator, work)?;
        if denominator.is_zero() {
            return Err(DIVISION_BY_ZERO);
        }
        if let Some((monomial, coefficient)) = denominator.as_term() {
            let (factor, inverse) = monomial.raised(-Exponent::one())?;
            let inverse = Polynomial::term(inverse, factor / coefficient);
            return Ok(Self::from(numerator.times(&inverse, work)?));
        }
        let leading = denominator.terms().next_back().map_or_else(BigRational::one, |(_, leading)| leading.recip());
        let (numerator, denominator) = (numerator.scaled(&leading), denominator.scaled(&leading));
        work.spend(numerator.len())?;
        if let Some(quotient) = constant_quotient(&numerator, &denominator) {
            return Ok(Self::number(quotient));
        }
        Ok(Self::whole(numerator, denominator))
    }

    pub(crate) fn plus(&self, other: &Self, work: &mut Work) -> Reading<Self> {
        // Only the denominators are compared here, mostly to their first difference.
        work.spend(self.size.min(other.size) / (COMPARED_PER_STEP * COMPARED_PER_STEP))?;
        if self.denominator == other.denominator {
            let sum = self.numerator.plus(&other.numerator, work)?;
            return Self::fraction(sum, self.denominator.clone(), work);
        }
        let left = self.numerator.times(&other.denominator, work)?;
        let right = other.numerator.times(&self.denominator, work)?;
        let denominator = self.denominator.times(&other.denominator, work)?;
        Self::fraction(left.plus(&right, work)?, denominator, work)
    }

    pub(crate) fn minus(&self, other: &Self, work: &mut Work) -> Reading<Self> {
        self.plus(&other.clone().negated(), work)
    }

    pub(crate) fn times(&self, other: &Self, work: &mut Work) -> Reading<Self> {
        let numerator = self.numerator.times(&other.numerator, work)?;
        let denominator = self.denominator.times(&other.denominator, work)?;
        Self::fraction(numerator, denominator, work)
    }

    pub(crate) fn over(&self, other: &Self, work: &mut Work) -> Reading<Self> {
        self.times(&other.reciprocal(work)?, work)
    }

    pub(crate) fn reciprocal(&self, work: &mut Work) -> Reading<Self> {
        Self::fraction(self.denominator.clone(), self.numerator.clone(), work)
    }

    pub(crate) fn negated(self) -> Self {
        Self { numerator: self.numerator.negated(), ..self }
    }

    pub(crate) fn scaled(self, factor: &BigRational) -> Self {
        if factor.is_zero() {
            return Self::zero();
        }
        Self { numerator: self.numerator.scaled(factor), ..self }
    }

    /// A whole power, multiplied out.
    pub(crate) fn powered(&self, exponent: u32, work: &mut Work) -> Reading<Self> {
        let numerator = self.numerator.powered(exponent, work)?;
        let denominator = self.denominator.powered(exponent, work)?;
        Self::fraction(numerator, denominator, work)
    }
}

impl From<Polynomial> for Normal {
    fn from(numerator: Polynomial) -> Self {
        Self::whole(numerator, Polynomial::one())
    }
}

/// The number that one polynomial is of another, where it is one.
pub(crate) fn constant_quotient(numerator: &Polynomial, denominator: &Polynomial) -> Option<BigRational> {
    if numerator.len() != denominator.len() {
        return None;
    }
    let mut pairs = numerator.terms().zip(denominator.terms());
    let ((first, above), (other, below)) = pairs.next()?;
    let quotient = above / below;
    let is_constant = first == other && pairs.all(|((l, above), (r, below))| l == r && *above == below * &quotient);
    is_constant.then_some(quotient)
}

/// Whether the name of a function is a letter that may stand for any function, with its index or primes.
fn is_letter(name: &str) -> bool {
    !name.starts_with('\\') && !name.chars().nth(1).is_some_and(char::is_alphabetic)
}
