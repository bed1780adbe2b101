//! Square roots and i out of denominators, by multiplying with conjugates.

use num_rational::BigRational;
use num_traits::One;

use crate::{
    algebra::{
        atom::{Atom, Exponent, Monomial},
        polynomial::Polynomial,
    },
    limits::{Reading, Work},
};

/// Most conjugates that are multiplied with: each takes one root away, and may double the number of terms.
const CONJUGATES_MAX: usize = 4;

/// The same fraction with no square root of an integer and no i in the denominator, where few conjugates do it.
pub(crate) fn rationalised(
    numerator: Polynomial,
    denominator: Polynomial,
    work: &mut Work,
) -> Reading<(Polynomial, Polynomial)> {
    let (mut numerator, mut denominator) = (numerator, denominator);
    for _ in 0..CONJUGATES_MAX {
        if denominator.len() < 2 {
            break;
        }
        let Some(atom) = square_root(&denominator) else { break };
        let conjugate = conjugate(&denominator, &atom, work)?;
        numerator = numerator.times(&conjugate, work)?;
        denominator = denominator.times(&conjugate, work)?;
    }
    Ok((numerator, denominator))
}

fn half() -> Exponent {
    Exponent::new_raw(1, 2)
}

/// An atom whose square is rational, where all its powers in the polynomial are that root.
fn square_root(polynomial: &Polynomial) -> Option<Atom> {
    let is_root = |(atom, exponent): &(Atom, Exponent)| {
        (matches!(atom, Atom::Radicand(_)) && *exponent == half()) || (*atom == Atom::Imaginary && exponent.is_one())
    };
    let (found, _) = polynomial.atoms().find(|power| is_root(power))?;
    let only_root = polynomial.atoms().filter(|(atom, _)| atom == found).all(is_root);
    only_root.then(|| found.clone())
}

/// The polynomial with the other sign at one root.
fn conjugate(polynomial: &Polynomial, root: &Atom, work: &mut Work) -> Reading<Polynomial> {
    let mut conjugate = Polynomial::zero();
    for (monomial, coefficient) in polynomial.terms() {
        let has_root = monomial.0.iter().any(|(atom, _)| atom == root);
        let sign = if has_root { -BigRational::one() } else { BigRational::one() };
        let term = Polynomial::term(Monomial(monomial.0.clone()), coefficient * sign);
        conjugate = conjugate.plus(&term, work)?;
    }
    Ok(conjugate)
}
