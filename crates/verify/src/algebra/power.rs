//! Powers and roots of normal forms.
//!
//! Even roots of even powers are absolute values; otherwise variables under roots count as positive, as school does.

use std::sync::Arc;

use num_bigint::BigInt;
use num_integer::Integer as _;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::{
    algebra::{
        Normal,
        atom::{Atom, Exponent, Monomial, bounded, exponent_of, integer_power, words},
        function::absolute,
        polynomial::{EXPANDED_POWER_MAX, Polynomial},
        radical::{denested, factors, root_of_positive},
        trigonometry::{cosine, sine},
    },
    limits::{DIVISION_BY_ZERO, NUMBER_BITS_MAX, NUMBER_TOO_LARGE, Reading, Refusal, Stop, Work},
};

/// Largest power of a constant sum that is multiplied out: its terms stay few.
const CONSTANT_POWER_MAX: i64 = 128;
/// Largest power of a sum with cosines or roots in it that is multiplied out: each product is reduced.
const REDUCIBLE_POWER_MAX: u64 = 4;
/// Most terms that a power is multiplied out to.
const EXPANDED_TERMS_MAX: usize = 120;

/// A normal form raised to another.
pub(crate) fn power(base: &Normal, exponent: &Normal, work: &mut Work) -> Reading<Normal> {
    work.spend(1)?;
    if let Some(number) = exponent.as_number() {
        return rational_power(base, exponent_of(&number)?, work);
    }
    if base.is_zero() {
        return Err(Stop::Refused(Refusal::Unreadable("zero is raised to a power that is no number")));
    }
    if !exponent.denominator().is_one() {
        let whole = Monomial(vec![(Atom::Base(Arc::new(exponent.clone())), Exponent::one())]);
        return raised(base, &whole, Exponent::one(), work);
    }
    let mut product = Normal::one();
    for (monomial, coefficient) in exponent.numerator().terms() {
        let coefficient = exponent_of(coefficient)?;
        let factor = if monomial.is_one() {
            rational_power(base, coefficient, work)?
        } else {
            raised(base, monomial, coefficient, work)?
        };
        product = product.times(&factor, work)?;
    }
    Ok(product)
}

/// A normal form raised to a rational number.
pub(crate) fn rational_power(base: &Normal, exponent: Exponent, work: &mut Work) -> Reading<Normal> {
    if exponent.is_zero() {
        let is_defined = !base.is_zero();
        return if is_defined {
            Ok(Normal::one())
        } else {
            Err(Stop::Refused(Refusal::Unreadable("0^0 has no value")))
        };
    }
    if base.is_zero() {
        return if exponent.is_positive() { Ok(Normal::zero()) } else { Err(DIVISION_BY_ZERO) };
    }
    if exponent.is_integer() {
        return whole_power(base, exponent.to_integer(), work);
    }
    if let Some(number) = base.as_number() {
        return root_of_number(&number, exponent, work);
    }
    if let Some((monomial, coefficient)) = base.as_term() {
        return root_of_term(monomial, coefficient, exponent, work);
    }
    if base.denominator().is_one() {
        return root_of_sum(base.numerator(), exponent, work);
    }
    let numerator = rational_power(&Normal::from(base.numerator().clone()), exponent, work)?;
    let denominator = rational_power(&Normal::from(base.denominator().clone()), exponent, work)?;
    numerator.over(&denominator, work)
}

fn whole_power(base: &Normal, exponent: i64, work: &mut Work) -> Reading<Normal> {
    if let Some((monomial, coefficient)) = base.as_term() {
        let (factor, monomial) = monomial.raised(Exponent::from_integer(exponent))?;
        let power = Normal::monomial(monomial).scaled(&factor);
        if let Ok(number) = integer_power(coefficient, exponent) {
            return Ok(Normal::from(power.scaled(&number).numerator().clone().reduced(work)?));
        }
        let large = Atom::Base(Arc::new(Normal::number(coefficient.clone())));
        return power.times(&Normal::monomial(Monomial(vec![(large, Exponent::from_integer(exponent))])), work);
    }
    let magnitude = exponent.unsigned_abs();
    let terms = base.numerator().len().max(base.denominator().len());
    let is_algebraic = base
        .numerator()
        .atoms()
        .chain(base.denominator().atoms())
        .all(|(atom, _)| matches!(atom, Atom::Radicand(_) | Atom::Imaginary));
    let is_reducible = base.numerator().atoms().any(|(atom, _)| matches!(atom, Atom::Cosine(_) | Atom::Base(_)));
    let expands = if is_reducible {
        magnitude <= REDUCIBLE_POWER_MAX && terms <= 4
    } else if is_algebraic {
        magnitude <= CONSTANT_POWER_MAX.unsigned_abs() && terms <= 4
    } else {
        magnitude <= EXPANDED_POWER_MAX.unsigned_abs() && expanded_terms(terms, magnitude) <= EXPANDED_TERMS_MAX
    };
    if expands {
        let power = base.powered(u32::try_from(magnitude).unwrap_or_default(), work)?;
        return if exponent < 0 { power.reciprocal(work) } else { Ok(power) };
    }
    let exponent = Exponent::from_integer(exponent);
    let numerator = opaque_power(base.numerator(), exponent, work)?;
    numerator.over(&opaque_power(base.denominator(), exponent, work)?, work)
}

/// How many terms a sum of `terms` has at most when it is multiplied out `power` times: C(terms + power − 1, power).
fn expanded_terms(terms: usize, power: u64) -> usize {
    let power = usize::try_from(power).unwrap_or(usize::MAX);
    (1..terms).fold(1_usize, |count, below| count.saturating_mul(power.saturating_add(below)) / below)
}

/// The power of a sum that is not multiplied out: of its common number, and of the rest as one atom.
fn opaque_power(sum: &Polynomial, exponent: Exponent, work: &mut Work) -> Reading<Normal> {
    if let Some((monomial, coefficient)) = sum.as_term() {
        let term = Normal::monomial(monomial.clone()).scaled(coefficient);
        return rational_power(&term, exponent, work);
    }
    let (content, primitive) = primitive(sum, work)?;
    let content = rational_power(&Normal::number(content), exponent, work)?;
    let atom = Monomial(vec![(Atom::Base(Arc::new(Normal::from(primitive))), exponent)]);
    content.times(&Normal::monomial(atom), work)
}

/// The largest positive number that a sum can be divided by to integer coefficients, and the sum divided by it.
pub(crate) fn primitive(sum: &Polynomial, work: &mut Work) -> Reading<(BigRational, Polynomial)> {
    let mut numerator = BigInt::zero();
    let mut denominator = BigInt::one();
    for (_, coefficient) in sum.terms() {
        let (above, below) = (coefficient.numer(), coefficient.denom());
        // A divisor is found, and the term divided by it, in the square of their lengths.
        work.spend(words(&denominator) * words(below) / 8 + words(&numerator) * words(above) / 8)?;
        numerator = numerator.gcd(above);
        denominator = denominator.lcm(below);
        if denominator.bits() > NUMBER_BITS_MAX {
            return Err(NUMBER_TOO_LARGE);
        }
    }
    if numerator.is_zero() {
        return Ok((BigRational::one(), sum.clone()));
    }
    let content = BigRational::new(numerator.abs(), denominator);
    for (_, coefficient) in sum.terms() {
        work.spend(words(content.denom()) * words(coefficient.denom()) / 8)?;
    }
    let divided = sum.clone().scaled(&content.recip());
    Ok((content, divided))
}

fn root_of_number(number: &BigRational, exponent: Exponent, work: &mut Work) -> Reading<Normal> {
    if number.is_positive() {
        return root_of_positive(number, exponent, work);
    }
    let magnitude = root_of_positive(&-number, exponent, work)?;
    match exponent.denom() {
        2 => {
            let turned = Monomial(vec![(Atom::Imaginary, Exponent::one())]);
            let (sign, turned) = turned.raised(Exponent::from_integer(*exponent.numer()))?;
            magnitude.times(&Normal::monomial(turned).scaled(&sign), work)
        }
        denominator if denominator % 2 != 0 => {
            Ok(if exponent.numer() % 2 == 0 { magnitude } else { magnitude.negated() })
        }
        _ => {
            let atom = Atom::Base(Arc::new(Normal::number(number.clone())));
            Ok(Normal::monomial(Monomial(vec![(atom, exponent)])))
        }
    }
}

fn root_of_term(
    monomial: &Monomial,
    coefficient: &BigRational,
    exponent: Exponent,
    work: &mut Work,
) -> Reading<Normal> {
    let has_imaginary = monomial.0.iter().any(|(atom, _)| *atom == Atom::Imaginary);
    let is_constant = Normal::monomial(monomial.clone()).is_constant();
    if has_imaginary || (coefficient.is_negative() && !is_constant && exponent.denom() % 2 == 0) {
        let base = Normal::monomial(monomial.clone()).scaled(coefficient);
        return Ok(Normal::monomial(Monomial(vec![(Atom::Base(Arc::new(base)), exponent)])));
    }
    let mut product = root_of_number(coefficient, exponent, work)?;
    for (atom, own) in &monomial.0 {
        let (factor, root) = Monomial(vec![(atom.clone(), *own)]).raised(exponent)?;
        let is_even_root_of_even = exponent.denom() % 2 == 0 && own.is_integer() && own.to_integer() % 2 == 0;
        let may_be_negative = matches!(atom, Atom::Symbol(_) | Atom::Call(..) | Atom::Sine(_) | Atom::Cosine(_));
        let root = if is_even_root_of_even && may_be_negative {
            let magnitude = absolute(&Normal::atom(atom.clone()), work)?;
            rational_power(&magnitude, root.exponent(atom), work)?
        } else {
            Normal::monomial(root).scaled(&factor)
        };
        product = product.times(&root, work)?;
    }
    Ok(product)
}

fn root_of_sum(sum: &Polynomial, exponent: Exponent, work: &mut Work) -> Reading<Normal> {
    if *exponent.denom() != 2 {
        return opaque_power(sum, exponent, work);
    }
    let (content, primitive) = primitive(sum, work)?;
    match denested(&Normal::from(primitive), work)? {
        Some(root) => {
            let content = root_of_positive(&content, exponent, work)?;
            content.times(&whole_power(&root, *exponent.numer(), work)?, work)
        }
        None => opaque_power(sum, exponent, work),
    }
}

/// `base` raised to `coefficient · exponent`.
fn raised(base: &Normal, exponent: &Monomial, coefficient: Exponent, work: &mut Work) -> Reading<Normal> {
    let exponent = Arc::new(exponent.clone());
    let atom = |base: Normal| Monomial(vec![(Atom::Raised(Arc::new(base), Arc::clone(&exponent)), coefficient)]);
    let Some((monomial, number)) = base.as_term() else {
        return Ok(Normal::monomial(atom(base.clone())));
    };
    let mut product = Normal::one();
    if number.is_negative() {
        product = Normal::monomial(atom(Normal::integer(-1)));
    }
    for (integer, sign) in [(number.numer(), 1), (number.denom(), -1)] {
        for (prime, count) in factors(&integer.abs(), work)? {
            let prime = atom(Normal::number(BigRational::from_integer(prime)));
            let (_, power) = prime.raised(Exponent::from_integer(sign * count))?;
            product = product.times(&Normal::monomial(power), work)?;
        }
    }
    for (factor, own) in &monomial.0 {
        let power = match (factor, exponent.0.as_slice()) {
            (Atom::Euler, [(Atom::Logarithm(argument), one)]) if one.is_one() => {
                rational_power(argument, coefficient * own, work)?
            }
            (Atom::Euler, [(Atom::Imaginary, _), (Atom::Pi, one)]) if one.is_one() && own.is_one() => {
                turned(coefficient, work)?
            }
            (Atom::Raised(inner, before), _) => {
                let (sign, exponent) = before.times(&exponent)?;
                let coefficient = bounded(bounded(coefficient * own)? * exponent_of(&sign)?)?;
                raised(inner, &exponent, coefficient, work)?
            }
            (Atom::Radicand(base), _) => {
                let prime = Normal::number(BigRational::from_integer(base.clone()));
                Normal::monomial(atom(prime).raised(*own)?.1)
            }
            (_, _) => {
                let (_, power) = atom(Normal::atom(factor.clone())).raised(*own)?;
                Normal::monomial(power)
            }
        };
        product = product.times(&power, work)?;
    }
    Ok(product)
}

/// e^{iπr} by Euler's formula.
fn turned(half_turns: Exponent, work: &mut Work) -> Reading<Normal> {
    let ratio = BigRational::new((*half_turns.numer()).into(), (*half_turns.denom()).into());
    let angle = Normal::atom(Atom::Pi).scaled(&ratio);
    let imaginary = sine(&angle, work)?.times(&Normal::atom(Atom::Imaginary), work)?;
    cosine(&angle, work)?.plus(&imaginary, work)
}

/// A form as a small whole number.
pub(crate) fn small_integer(form: &Normal) -> Option<i64> {
    form.as_integer()?.to_i64()
}
