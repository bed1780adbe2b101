//! Whether two normal forms are equal: proved by algebra, refuted by algebra or by numbers, else undecided.

use std::collections::BTreeMap;

use num_integer::Integer as _;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

use crate::{
    algebra::{
        Normal,
        approximate::{approximate_real, of_polynomial, weight},
        atom::{Atom, Exponent, Monomial, integer_power, steps},
        polynomial::Polynomial,
    },
    limits::{Reading, Work},
};

/// What is known about the equality of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Equal,
    Different,
    Undecided,
}

/// Points of positive numbers at which a difference is looked for; the next one has negative numbers.
pub(crate) const POINTS: u32 = 4;
/// A difference this large beside what it was summed from is none of rounding.
const RELATIVE_DIFFERENCE_MIN: f64 = 1e-9;
/// Highest power that two roots are raised to, to compare them.
const TWO_ROOTS_DEGREE_MAX: i64 = 12;

impl Decision {
    /// What a comparison of canonical things says.
    pub(crate) fn between<T: PartialEq + ?Sized>(a: &T, b: &T) -> Self {
        if a == b { Self::Equal } else { Self::Different }
    }

    /// Both decisions together: one difference decides.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Different, _) | (_, Self::Different) => Self::Different,
            (Self::Undecided, _) | (_, Self::Undecided) => Self::Undecided,
            (Self::Equal, Self::Equal) => Self::Equal,
        }
    }

    /// Either decision: one equality decides.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Equal, _) | (_, Self::Equal) => Self::Equal,
            (Self::Undecided, _) | (_, Self::Undecided) => Self::Undecided,
            (Self::Different, Self::Different) => Self::Different,
        }
    }
}

/// Whether two forms are equal wherever both are defined.
pub(crate) fn decide(a: &Normal, b: &Normal, work: &mut Work) -> Reading<Decision> {
    if a == b {
        return Ok(Decision::Equal);
    }
    if let (Some(a), Some(b)) = (a.as_number(), b.as_number()) {
        return Ok(Decision::between(&a, &b));
    }
    let left = a.numerator().times(b.denominator(), work)?;
    let right = b.numerator().times(a.denominator(), work)?;
    is_zero(&left.plus(&right.negated(), work)?, work)
}

fn is_zero(difference: &Polynomial, work: &mut Work) -> Reading<Decision> {
    let difference = difference.cleared(work)?;
    if difference.is_zero() {
        return Ok(Decision::Equal);
    }
    // Roots of primes, i, variables and one of π and e are independent, so no other sum of them is 0.
    let mut transcendental = None;
    let independent = difference.atoms().all(|(atom, _)| {
        let is_transcendental = matches!(atom, Atom::Pi | Atom::Euler);
        atom.is_independent() || (is_transcendental && *transcendental.get_or_insert(atom) == atom)
    });
    if independent {
        return Ok(Decision::Different);
    }
    if let Some(decision) = two_roots(&difference, work)? {
        return Ok(decision);
    }
    work.spend(POINTS as usize * weight(&difference) / 4)?;
    // Where absolute values are taken, negative numbers tell more than positive ones.
    let has_absolute = difference.atoms().any(|(atom, _)| matches!(atom, Atom::Absolute(_)));
    let points = if has_absolute { POINTS + 1 } else { POINTS };
    for point in 0..points {
        let Some(value) = of_polynomial(&difference, point) else { continue };
        if value.size().is_finite() && value.scale.is_finite() && value.size() > RELATIVE_DIFFERENCE_MIN * value.scale {
            return Ok(Decision::Different);
        }
    }
    Ok(Decision::Undecided)
}

/// Whether two roots of positive integers with coefficients cancel, by the power that makes both rational; nothing for
/// any other sum, or where the power is too large.
fn two_roots(difference: &Polynomial, work: &mut Work) -> Reading<Option<Decision>> {
    let are_roots = difference.atoms().all(|(atom, _)| matches!(atom, Atom::Radicand(_)));
    let mut terms = difference.terms();
    let (true, Some((a, of_a)), Some((b, of_b)), None) = (are_roots, terms.next(), terms.next(), terms.next()) else {
        return Ok(None);
    };
    if of_a.is_positive() == of_b.is_positive() {
        return Ok(Some(Decision::Different));
    }
    // Each is bounded before the next is taken in, so that no product of many exponents overflows.
    let degree = difference.atoms().try_fold(1_i64, |degree, (_, exponent)| {
        Some(degree.lcm(exponent.denom())).filter(|degree| *degree <= TWO_ROOTS_DEGREE_MAX)
    });
    let Some(degree) = degree else { return Ok(None) };
    let power = |monomial: &Monomial, coefficient: &BigRational| {
        let (factor, rest) = monomial.raised(Exponent::from_integer(degree)).ok()?;
        assert!(rest.is_one(), "the power {degree} of {monomial:?} is not rational");
        Some(factor * integer_power(&coefficient.abs(), degree).ok()?)
    };
    let (Some(a), Some(b)) = (power(a, of_a), power(b, of_b)) else { return Ok(None) };
    work.spend(steps(&a) + steps(&b))?;
    Ok(Some(Decision::between(&a, &b)))
}

/// Whether one sum is a constant other than 0 times the other, and that constant where it is.
pub(crate) fn is_proportional(a: &Normal, b: &Normal, work: &mut Work) -> Reading<(Decision, Option<Normal>)> {
    let (a, b) = (without_negative_powers(a.numerator(), work)?, without_negative_powers(b.numerator(), work)?);
    let (Some(leading_a), Some(leading_b)) = (leading_coefficient(&a, work)?, leading_coefficient(&b, work)?) else {
        return Ok((Decision::between(&a, &b), None));
    };
    let factor = leading_a.over(&leading_b, work)?;
    let scaled = Normal::from(b).times(&factor, work)?;
    Ok((decide(&Normal::from(a), &scaled, work)?, Some(factor)))
}

/// The sum times the least powers of its variables that leave none in a denominator.
fn without_negative_powers(sum: &Polynomial, work: &mut Work) -> Reading<Polynomial> {
    let mut lowest: BTreeMap<&Atom, Exponent> = BTreeMap::new();
    for (atom, exponent) in sum.atoms() {
        if !matches!(atom, Atom::Radicand(_) | Atom::Imaginary) && exponent.is_negative() {
            let least = lowest.entry(atom).or_insert_with(Exponent::zero);
            *least = (*least).min(*exponent);
        }
    }
    let clearing = Monomial(lowest.into_iter().map(|(atom, exponent)| (atom.clone(), -exponent)).collect());
    sum.times(&Polynomial::term(clearing, BigRational::from_integer(1.into())), work)
}

/// The constant that the first product of variables is multiplied by.
fn leading_coefficient(sum: &Polynomial, work: &mut Work) -> Reading<Option<Normal>> {
    let mut coefficients: BTreeMap<Monomial, Normal> = BTreeMap::new();
    for (monomial, coefficient) in sum.terms() {
        let (variable, constant): (Vec<_>, Vec<_>) =
            monomial.0.iter().cloned().partition(|(atom, _)| !Normal::atom(atom.clone()).is_constant());
        let constant = Normal::monomial(Monomial(constant)).scaled(coefficient);
        let entry = coefficients.entry(Monomial(variable)).or_insert_with(Normal::zero);
        *entry = entry.plus(&constant, work)?;
    }
    Ok(coefficients.into_values().rev().find(|coefficient| !coefficient.is_zero()))
}

/// Whether a value is the same as another once both are rounded to so many decimals, halves either way.
pub(crate) fn rounds_to(a: &Normal, b: &Normal, decimals: u32) -> bool {
    let half_unit =
        BigRational::new(1.into(), num_bigint::BigInt::from(10).pow(decimals)) / BigRational::from_integer(2.into());
    if let (Some(a), Some(b)) = (a.as_number(), b.as_number()) {
        return (a - b).abs() <= half_unit;
    }
    let half_unit = half_unit.to_f64().unwrap_or_default();
    match (approximate_real(a), approximate_real(b)) {
        (Some(a), Some(b)) => (a - b).abs() <= half_unit,
        (_, _) => false,
    }
}
