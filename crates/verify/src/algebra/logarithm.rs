//! Natural logarithms: of products as sums, of numbers by their prime factors.

use std::sync::Arc;

use num_rational::BigRational;
use num_traits::Signed;

use crate::{
    algebra::{
        Normal,
        atom::{Atom, Monomial},
        polynomial::Polynomial,
        power::primitive,
        radical::factors,
    },
    limits::{Reading, Refusal, Stop, Work},
};

/// The natural logarithm; variables in a product count as positive.
pub(crate) fn logarithm(argument: &Normal, work: &mut Work) -> Reading<Normal> {
    if argument.is_zero() {
        return Err(Stop::Refused(Refusal::Unreadable("zero has no logarithm")));
    }
    let numerator = of_sum(argument.numerator(), work)?;
    numerator.minus(&of_sum(argument.denominator(), work)?, work)
}

fn of_sum(sum: &Polynomial, work: &mut Work) -> Reading<Normal> {
    if let Some((monomial, coefficient)) = sum.as_term() {
        return of_term(monomial, coefficient, work);
    }
    let (content, primitive) = primitive(sum, work)?;
    let rest = Normal::atom(Atom::Logarithm(Arc::new(Normal::from(primitive))));
    of_number(&content, work)?.plus(&rest, work)
}

fn of_term(monomial: &Monomial, coefficient: &BigRational, work: &mut Work) -> Reading<Normal> {
    let has_imaginary = monomial.0.iter().any(|(atom, _)| *atom == Atom::Imaginary);
    if coefficient.is_negative() || has_imaginary {
        let argument = Normal::monomial(monomial.clone()).scaled(coefficient);
        return Ok(Normal::atom(Atom::Logarithm(Arc::new(argument))));
    }
    let mut sum = of_number(coefficient, work)?;
    for (atom, exponent) in &monomial.0 {
        let exponent = BigRational::new((*exponent.numer()).into(), (*exponent.denom()).into());
        #[expect(clippy::wildcard_enum_match_arm, reason = "every other factor is an argument of its own")]
        let logarithm = match atom {
            Atom::Euler => Normal::one(),
            Atom::Radicand(base) => of_number(&BigRational::from_integer(base.clone()), work)?,
            Atom::Raised(base, power) => logarithm(base, work)?.times(&Normal::monomial((**power).clone()), work)?,
            other => Normal::atom(Atom::Logarithm(Arc::new(Normal::atom(other.clone())))),
        };
        sum = sum.plus(&logarithm.scaled(&exponent), work)?;
    }
    Ok(sum)
}

fn of_number(number: &BigRational, work: &mut Work) -> Reading<Normal> {
    let mut sum = Normal::zero();
    for (integer, sign) in [(number.numer(), 1_i64), (number.denom(), -1)] {
        for (prime, count) in factors(integer, work)? {
            let atom = Normal::atom(Atom::Logarithm(Arc::new(Normal::number(BigRational::from_integer(prime)))));
            sum = sum.plus(&atom.scaled(&BigRational::from_integer((sign * count).into())), work)?;
        }
    }
    Ok(sum)
}
