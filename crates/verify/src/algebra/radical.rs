//! Roots of numbers as products of roots of primes, and square roots of sums that are sums themselves.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::{
    algebra::{
        Normal,
        atom::{Atom, Exponent, Monomial, bounded, integer_power},
    },
    limits::{Reading, Work},
};

/// Largest divisor that is tried.
const DIVISOR_MAX: u64 = 1_000;

/// A positive integer as powers of primes; what is left beyond the divisors tried stands as one factor.
pub(crate) fn factors(number: &BigInt, work: &mut Work) -> Reading<Vec<(BigInt, i64)>> {
    if number.is_one() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let rest = match number.to_u64() {
        Some(small) => {
            work.spend(4)?;
            BigInt::from(divided_out(small, &mut found))
        }
        None => long_divided_out(number.clone(), &mut found, work)?,
    };
    if !rest.is_one() {
        work.spend((rest.bits() / 16) as usize)?;
        let (root, exponent) = perfect_power(rest);
        match found.iter_mut().find(|(prime, _)| *prime == root) {
            Some((_, known)) => *known += exponent,
            None => found.push((root, exponent)),
        }
    }
    Ok(found)
}

/// Takes small primes out of a number and returns what is left.
fn divided_out(number: u64, found: &mut Vec<(BigInt, i64)>) -> u64 {
    let mut rest = number;
    let mut divisor = 2;
    while divisor <= DIVISOR_MAX && divisor * divisor <= rest {
        let mut exponent = 0;
        while rest.is_multiple_of(divisor) {
            rest /= divisor;
            exponent += 1;
        }
        if exponent > 0 {
            found.push((BigInt::from(divisor), exponent));
        }
        divisor += if divisor == 2 { 1 } else { 2 };
    }
    rest
}

/// The same for a number of many bits, with few primes: each division costs as much as the number is long.
fn long_divided_out(number: BigInt, found: &mut Vec<(BigInt, i64)>, work: &mut Work) -> Reading<BigInt> {
    let mut rest = number;
    for divisor in [2_u64, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47] {
        let mut exponent = 0;
        loop {
            work.spend(1 + (rest.bits() / 64) as usize)?;
            let quotient = &rest / divisor;
            if &quotient * divisor != rest {
                break;
            }
            rest = quotient;
            exponent += 1;
        }
        if exponent > 0 {
            found.push((BigInt::from(divisor), exponent));
        }
    }
    Ok(rest)
}

/// The number as the highest power of an integer, for exponents whose primes are 2, 3 and 5.
fn perfect_power(number: BigInt) -> (BigInt, i64) {
    let (mut root, mut exponent) = (number, 1);
    for degree in [2_u32, 3, 5] {
        if root.bits() > 2_048 {
            break;
        }
        loop {
            let candidate = root.nth_root(degree);
            if candidate.is_one() || candidate.pow(degree) != root {
                break;
            }
            root = candidate;
            exponent *= i64::from(degree);
        }
    }
    (root, exponent)
}

/// A positive number raised to a fraction.
pub(crate) fn root_of_positive(number: &BigRational, exponent: Exponent, work: &mut Work) -> Reading<Normal> {
    assert!(number.is_positive(), "a root is taken of {number}");
    let mut result = Normal::one();
    for (integer, sign) in [(number.numer(), 1), (number.denom(), -1)] {
        for (prime, count) in factors(integer, work)? {
            let (factor, monomial) =
                Monomial(vec![(Atom::Radicand(prime), bounded(exponent * sign * count)?)]).raised(Exponent::one())?;
            result = result.times(&Normal::monomial(monomial).scaled(&factor), work)?;
        }
    }
    Ok(result)
}

/// √(a + b√n) as √x ± √y, where x and y are rational: they are (a ± √(a² − b²n))/2.
pub(crate) fn denested(sum: &Normal, work: &mut Work) -> Reading<Option<Normal>> {
    let mut terms = sum.numerator().terms();
    let (Some((one, a)), Some((root, b)), None) = (terms.next(), terms.next(), terms.next()) else { return Ok(None) };
    let half = Exponent::new_raw(1, 2);
    let is_square_root = |(atom, exponent): &(Atom, Exponent)| matches!(atom, Atom::Radicand(_)) && *exponent == half;
    if !one.is_one() || !a.is_positive() || !root.0.iter().all(is_square_root) {
        return Ok(None);
    }
    let mut radicand = BigRational::one();
    for (atom, _) in &root.0 {
        if let Atom::Radicand(base) = atom {
            radicand *= BigRational::from_integer(base.clone());
        }
    }
    let Some(d) = rational_square_root(&(a * a - b * b * radicand)) else { return Ok(None) };
    let two = BigRational::from_integer(2.into());
    let (x, y) = ((a + &d) / &two, (a - &d) / &two);
    if !y.is_positive() {
        return Ok(None);
    }
    let first = root_of_positive(&x, half, work)?;
    let second = root_of_positive(&y, half, work)?;
    let second = if b.is_negative() { second.negated() } else { second };
    first.plus(&second, work).map(Some)
}

fn rational_square_root(number: &BigRational) -> Option<BigRational> {
    if number.is_negative() || number.is_zero() {
        return number.is_zero().then(BigRational::zero);
    }
    let root = BigRational::new(number.numer().sqrt(), number.denom().sqrt());
    (integer_power(&root, 2).ok()? == *number).then_some(root)
}
