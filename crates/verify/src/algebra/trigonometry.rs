//! Sines and cosines: exact at known angles, sums and multiples of angles multiplied out.

use std::sync::Arc;

use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive};

use crate::{
    algebra::{
        Normal,
        approximate::approximate_real,
        atom::{Atom, Exponent, Monomial},
        power::rational_power,
    },
    limits::{Reading, Work},
};

/// Largest sum of multiples of angles that is multiplied out, as 5 in sin(2x + 3y).
const MULTIPLES_MAX: i64 = 5;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wave {
    Sine,
    Cosine,
}

pub(crate) fn sine(angle: &Normal, work: &mut Work) -> Reading<Normal> {
    wave(Wave::Sine, angle, work)
}

pub(crate) fn cosine(angle: &Normal, work: &mut Work) -> Reading<Normal> {
    wave(Wave::Cosine, angle, work)
}

fn wave(kind: Wave, angle: &Normal, work: &mut Work) -> Reading<Normal> {
    work.spend(4)?;
    let leads_negative = angle.numerator().terms().next().is_some_and(|(_, coefficient)| coefficient.is_negative());
    if leads_negative {
        let mirrored = wave(kind, &angle.clone().negated(), work)?;
        return Ok(if kind == Wave::Sine { mirrored.negated() } else { mirrored });
    }
    if angle.is_zero() {
        return Ok(if kind == Wave::Sine { Normal::zero() } else { Normal::one() });
    }
    if let Some(half_turns) = half_turns(angle) {
        let half = BigRational::new(1.into(), 2.into());
        return known_cosine(&if kind == Wave::Cosine { half_turns } else { half - half_turns }, work);
    }
    let multiples = angle.numerator().terms().map(|(monomial, coefficient)| {
        let is_known = matches!(monomial.0.as_slice(), [(Atom::Pi, one)] if one.is_one());
        if is_known { 1 } else { coefficient.numer().abs().to_i64().unwrap_or(i64::MAX) }
    });
    let multiples = multiples.fold(0_i64, i64::saturating_add);
    let expands = angle.denominator().is_one() && (2..=MULTIPLES_MAX).contains(&multiples);
    if expands && angle.numerator().len() > 1 {
        let (monomial, coefficient) = angle.numerator().terms().next().expect("a sum has a first term");
        let first = Normal::monomial(monomial.clone()).scaled(coefficient);
        let rest = angle.minus(&first, work)?;
        return of_sum(kind, &first, &rest, work);
    }
    if let Some((monomial, coefficient)) = angle.as_term().filter(|_| expands)
        && let Some(multiple) = coefficient.numer().to_i64()
    {
        let unit = Normal::monomial(monomial.clone()).scaled(&BigRational::new(1.into(), coefficient.denom().clone()));
        let ratio = BigRational::from_integer((multiple - 1).into());
        return of_sum(kind, &unit, &unit.clone().scaled(&ratio), work);
    }
    let angle = Arc::new(angle.clone());
    Ok(Normal::atom(if kind == Wave::Sine { Atom::Sine(angle) } else { Atom::Cosine(angle) }))
}

fn of_sum(kind: Wave, first: &Normal, second: &Normal, work: &mut Work) -> Reading<Normal> {
    let sines = (sine(first, work)?, sine(second, work)?);
    let cosines = (cosine(first, work)?, cosine(second, work)?);
    if kind == Wave::Sine {
        let left = sines.0.times(&cosines.1, work)?;
        left.plus(&cosines.0.times(&sines.1, work)?, work)
    } else {
        let left = cosines.0.times(&cosines.1, work)?;
        left.minus(&sines.0.times(&sines.1, work)?, work)
    }
}

/// The angle over π, where that is rational.
fn half_turns(angle: &Normal) -> Option<BigRational> {
    let (Monomial(atoms), coefficient) = angle.as_term()?;
    matches!(atoms.as_slice(), [(Atom::Pi, one)] if one.is_one()).then(|| coefficient.clone())
}

/// The cosine of a rational multiple of π: by roots where they are short, else an atom at an angle below π/2.
fn known_cosine(half_turns: &BigRational, work: &mut Work) -> Reading<Normal> {
    let two = BigRational::from_integer(2.into());
    let half = BigRational::new(1.into(), 2.into());
    let mut turn = half_turns.abs();
    turn -= (&turn / &two).floor() * &two;
    if turn > BigRational::one() {
        turn = two - turn;
    }
    if turn > half {
        return Ok(known_cosine(&(BigRational::one() - turn), work)?.negated());
    }
    let parts = (turn.numer().to_i64().unwrap_or(-1), turn.denom().to_i64().unwrap_or(-1));
    let root = |number: i64| rational_power(&Normal::integer(number), Exponent::new_raw(1, 2), &mut Work::new());
    let fourth = BigRational::new(1.into(), 4.into());
    let value = match parts {
        (0, 1) => Normal::one(),
        (1, 2) => Normal::zero(),
        (1, 3) => Normal::ratio(1, 2),
        (1, 4) => root(2)?.scaled(&half),
        (1, 6) => root(3)?.scaled(&half),
        (1, 12) => root(6)?.plus(&root(2)?, work)?.scaled(&fourth),
        (5, 12) => root(6)?.minus(&root(2)?, work)?.scaled(&fourth),
        (1, 5) => root(5)?.plus(&Normal::one(), work)?.scaled(&fourth),
        (2, 5) => root(5)?.minus(&Normal::one(), work)?.scaled(&fourth),
        (numerator @ (1 | 3), denominator @ (8 | 10)) => {
            // cos(π/8) = √(2 + √2)/2 and cos(π/10) = √(10 + 2√5)/4; with a minus inside for three times the angle.
            let (sum, inner, scale) = if denominator == 8 { (2, root(2)?, &half) } else { (10, root(20)?, &fourth) };
            let inner = if numerator == 1 { inner } else { inner.negated() };
            let radicand = Normal::integer(sum).plus(&inner, work)?;
            rational_power(&radicand, Exponent::new_raw(1, 2), work)?.scaled(scale)
        }
        _ => {
            let angle = Normal::atom(Atom::Pi).scaled(&turn);
            Normal::atom(Atom::Call("cos".into(), [angle].into()))
        }
    };
    Ok(value)
}

/// Which trigonometric function is inverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Inverse {
    Sine,
    Cosine,
    Tangent,
}

/// The angle of a known value: guessed as a multiple of π, then proved by its sine, cosine or tangent.
pub(crate) fn inverse(kind: Inverse, value: &Normal, work: &mut Work) -> Reading<Normal> {
    let name = match kind {
        Inverse::Sine => "arcsin",
        Inverse::Cosine => "arccos",
        Inverse::Tangent => "arctan",
    };
    let unknown = Normal::atom(Atom::Call(name.into(), [value.clone()].into()));
    let Some(approximation) = approximate_real(value) else { return Ok(unknown) };
    let angle = match kind {
        Inverse::Sine => approximation.asin(),
        Inverse::Cosine => approximation.acos(),
        Inverse::Tangent => approximation.atan(),
    };
    for denominator in [1_i64, 2, 3, 4, 5, 6, 8, 10, 12] {
        let numerator = angle / std::f64::consts::PI * denominator as f64;
        if numerator.is_nan() || (numerator - numerator.round()).abs() >= 1e-9 {
            continue;
        }
        let angle =
            Normal::atom(Atom::Pi).scaled(&BigRational::new((numerator.round() as i64).into(), denominator.into()));
        let back = match kind {
            Inverse::Sine => sine(&angle, work)?,
            Inverse::Cosine => cosine(&angle, work)?,
            Inverse::Tangent => {
                let below = cosine(&angle, work)?;
                if below.is_zero() {
                    continue;
                }
                sine(&angle, work)?.over(&below, work)?
            }
        };
        if back.minus(value, work)?.is_zero() {
            return Ok(angle);
        }
    }
    Ok(unknown)
}
