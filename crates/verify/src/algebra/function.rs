//! Functions by name: what each is worth at exact arguments, and a name for the rest.

use std::sync::Arc;

use num_bigint::BigInt;
use num_integer::Integer as _;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::{
    algebra::{
        Normal,
        approximate::approximate_real,
        atom::{Atom, Exponent, Monomial},
        logarithm::logarithm,
        power::{power, primitive, rational_power, small_integer},
        trigonometry::{Inverse, cosine, inverse, sine},
    },
    limits::{NUMBER_BITS_MAX, NUMBER_TOO_LARGE, Reading, Work},
};

/// Largest number whose factorial is worked out, and largest upper number of a binomial.
const FACTORIAL_MAX: i64 = 500;

/// A function that identities are known of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Function {
    Sine,
    Cosine,
    Tangent,
    Cotangent,
    Secant,
    Cosecant,
    Inverse(Inverse),
    /// Natural logarithm.
    Logarithm,
    /// Logarithm of the second argument to the base of the first.
    LogarithmTo,
    Exponential,
    Absolute,
    Factorial,
    Binomial,
    Floor,
    Ceiling,
    GreatestDivisor,
    LeastMultiple,
    Maximum,
    Minimum,
    /// A function of which only the name is known; with a backslash where it has a meaning that is not worked out.
    Named(String),
}

/// The value of a function at its arguments.
pub(crate) fn call(function: &Function, arguments: &[Normal], work: &mut Work) -> Reading<Normal> {
    work.spend(2)?;
    match (function, arguments) {
        (Function::Sine, [angle]) => sine(angle, work),
        (Function::Cosine, [angle]) => cosine(angle, work),
        (Function::Tangent, [angle]) => sine(angle, work)?.over(&cosine(angle, work)?, work),
        (Function::Cotangent, [angle]) => cosine(angle, work)?.over(&sine(angle, work)?, work),
        (Function::Secant, [angle]) => cosine(angle, work)?.reciprocal(work),
        (Function::Cosecant, [angle]) => sine(angle, work)?.reciprocal(work),
        (Function::Inverse(kind), [value]) => inverse(*kind, value, work),
        (Function::Logarithm, [argument]) => logarithm(argument, work),
        (Function::LogarithmTo, [base, argument]) => logarithm(argument, work)?.over(&logarithm(base, work)?, work),
        (Function::Exponential, [exponent]) => power(&Normal::atom(Atom::Euler), exponent, work),
        (Function::Absolute, [argument]) => absolute(argument, work),
        (Function::Factorial, [number]) => factorial(number, work),
        (Function::Binomial, [upper, lower]) => binomial(upper, lower, work),
        (Function::Floor, [number]) => Ok(rounded(number, BigRational::floor, f64::floor, "\\floor")),
        (Function::Ceiling, [number]) => Ok(rounded(number, BigRational::ceil, f64::ceil, "\\ceil")),
        (Function::GreatestDivisor, [_, _, ..]) => Ok(of_integers("\\gcd", arguments, BigInt::gcd)),
        (Function::LeastMultiple, [_, _, ..]) => Ok(of_integers("\\lcm", arguments, BigInt::lcm)),
        (Function::Maximum, [_, _, ..]) => Ok(of_integers("\\max", arguments, |a, b| a.max(b).clone())),
        (Function::Minimum, [_, _, ..]) => Ok(of_integers("\\min", arguments, |a, b| a.min(b).clone())),
        (Function::Named(name), _) => Ok(named(name, arguments)),
        (_, _) => Ok(named(&format!("\\{function:?}"), arguments)),
    }
}

fn named(name: &str, arguments: &[Normal]) -> Normal {
    Normal::atom(Atom::Call(name.into(), arguments.into()))
}

/// The absolute value: of constants by their sign, of complex numbers by Pythagoras, else of the primitive part.
pub(crate) fn absolute(argument: &Normal, work: &mut Work) -> Reading<Normal> {
    if let Some(number) = argument.as_number() {
        return Ok(Normal::number(number.abs()));
    }
    work.spend(10)?;
    if let Some(value) = approximate_real(argument).filter(|value| value.abs() > 1e-9) {
        return Ok(if value < 0.0 { argument.clone().negated() } else { argument.clone() });
    }
    if let Some(modulus) = modulus(argument, work)? {
        return Ok(modulus);
    }
    if !argument.denominator().is_one() {
        let numerator = absolute(&Normal::from(argument.numerator().clone()), work)?;
        return numerator.over(&absolute(&Normal::from(argument.denominator().clone()), work)?, work);
    }
    let (content, primitive) = primitive(argument.numerator(), work)?;
    let leads_negative = primitive.terms().next().is_some_and(|(_, coefficient)| coefficient.is_negative());
    let primitive = if leads_negative { primitive.negated() } else { primitive };
    let magnitude = match primitive.as_term() {
        Some((monomial, _)) => absolute_of_product(monomial, work)?,
        None => Normal::atom(Atom::Absolute(Arc::new(Normal::from(primitive)))),
    };
    Ok(magnitude.scaled(&content))
}

/// The absolute value of each factor that may be negative, but for its even powers.
fn absolute_of_product(monomial: &Monomial, work: &mut Work) -> Reading<Normal> {
    let mut product = Normal::one();
    for (atom, exponent) in &monomial.0 {
        let plain = Normal::atom(atom.clone());
        let is_even = exponent.is_integer() && exponent.to_integer() % 2 == 0;
        let is_positive = matches!(atom, Atom::Radicand(_) | Atom::Pi | Atom::Euler | Atom::Absolute(_));
        let magnitude = if *atom == Atom::Imaginary {
            Normal::one()
        } else if is_even || is_positive {
            plain
        } else {
            Normal::atom(Atom::Absolute(Arc::new(plain)))
        };
        product = product.times(&rational_power(&magnitude, *exponent, work)?, work)?;
    }
    Ok(product)
}

/// √(a² + b²) of a constant a + bi.
fn modulus(argument: &Normal, work: &mut Work) -> Reading<Option<Normal>> {
    let is_plain = argument.denominator().is_one()
        && argument.numerator().atoms().all(|(atom, _)| matches!(atom, Atom::Radicand(_) | Atom::Imaginary | Atom::Pi));
    if !is_plain {
        return Ok(None);
    }
    let (mut real, mut imaginary) = (Normal::zero(), Normal::zero());
    for (monomial, coefficient) in argument.numerator().terms() {
        let part = Normal::monomial(monomial.without(&Atom::Imaginary)).scaled(coefficient);
        if monomial.exponent(&Atom::Imaginary).is_zero() {
            real = real.plus(&part, work)?;
        } else {
            imaginary = imaginary.plus(&part, work)?;
        }
    }
    let squares = real.times(&real, work)?.plus(&imaginary.times(&imaginary, work)?, work)?;
    rational_power(&squares, Exponent::new_raw(1, 2), work).map(Some)
}

/// n! for whole numbers up to 500; a larger one keeps its name.
fn factorial(number: &Normal, work: &mut Work) -> Reading<Normal> {
    let Some(n) = small_integer(number).filter(|n| (0..=FACTORIAL_MAX).contains(n)) else {
        return Ok(named("\\factorial", std::slice::from_ref(number)));
    };
    work.spend(usize::try_from(n).unwrap_or_default())?;
    let product: BigInt = (1..=n).map(BigInt::from).product();
    Ok(Normal::number(BigRational::from_integer(product)))
}

fn binomial(upper: &Normal, lower: &Normal, work: &mut Work) -> Reading<Normal> {
    let (Some(n), Some(k)) = (small_integer(upper), small_integer(lower)) else {
        return Ok(named("\\binom", &[upper.clone(), lower.clone()]));
    };
    if !(0..=FACTORIAL_MAX).contains(&n) || !(0..=n).contains(&k) {
        return Ok(named("\\binom", &[upper.clone(), lower.clone()]));
    }
    let k = k.min(n - k);
    work.spend(usize::try_from(k).unwrap_or_default())?;
    let mut value = BigInt::one();
    for step in 0..k {
        value = value * BigInt::from(n - step) / BigInt::from(step + 1);
    }
    if value.bits() > NUMBER_BITS_MAX {
        Err(NUMBER_TOO_LARGE)
    } else {
        Ok(Normal::number(BigRational::from_integer(value)))
    }
}

fn rounded(
    number: &Normal,
    exact: impl Fn(&BigRational) -> BigRational,
    approximate: impl Fn(f64) -> f64,
    name: &str,
) -> Normal {
    if let Some(number) = number.as_number() {
        return Normal::number(exact(&number));
    }
    let safe = approximate_real(number).filter(|value| value.abs() < 1e9 && (value - value.round()).abs() > 1e-6);
    match safe.and_then(|value| approximate(value).to_i64()) {
        Some(integer) => Normal::integer(integer),
        None => named(name, std::slice::from_ref(number)),
    }
}

fn of_integers(name: &str, arguments: &[Normal], join: impl Fn(&BigInt, &BigInt) -> BigInt) -> Normal {
    let integers: Option<Vec<BigInt>> = arguments.iter().map(Normal::as_integer).collect();
    let joined = integers.and_then(|integers| integers.into_iter().reduce(|a, b| join(&a, &b)));
    joined.map_or_else(|| named(name, arguments), |value| Normal::number(BigRational::from_integer(value)))
}
