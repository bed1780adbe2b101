//! Sums of terms with rational coefficients: the numerators and denominators of normal forms.

use std::collections::BTreeMap;

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use crate::{
    algebra::atom::{Atom, Exponent, Monomial, product as times, steps},
    limits::{NUMBER_BITS_MAX, NUMBER_TOO_LARGE, Reading, Work},
};

/// Largest power of a sum that is multiplied out.
pub(crate) const EXPANDED_POWER_MAX: i64 = 12;

/// Terms by monomial, no coefficient 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Polynomial {
    terms: BTreeMap<Monomial, BigRational>,
}

impl Polynomial {
    pub(crate) fn zero() -> Self {
        Self::default()
    }

    pub(crate) fn constant(number: BigRational) -> Self {
        Self::term(Monomial::one(), number)
    }

    pub(crate) fn one() -> Self {
        Self::constant(BigRational::one())
    }

    pub(crate) fn term(monomial: Monomial, coefficient: BigRational) -> Self {
        let mut terms = BTreeMap::new();
        if !coefficient.is_zero() {
            terms.insert(monomial, coefficient);
        }
        Self { terms }
    }

    pub(crate) fn terms(&self) -> impl DoubleEndedIterator<Item = (&Monomial, &BigRational)> + Clone {
        self.terms.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Atoms of all terms at all depths.
    pub(crate) fn size(&self) -> usize {
        self.terms.keys().map(Monomial::size).fold(0, usize::saturating_add)
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.terms.is_empty()
    }

    pub(crate) fn is_one(&self) -> bool {
        self.as_constant().is_some_and(One::is_one)
    }

    /// The number, where the polynomial is one other than 0.
    fn as_constant(&self) -> Option<&BigRational> {
        self.as_term().and_then(|(monomial, coefficient)| monomial.is_one().then_some(coefficient))
    }

    /// The number that the polynomial is.
    pub(crate) fn as_number(&self) -> Option<BigRational> {
        if self.is_zero() { Some(BigRational::zero()) } else { self.as_constant().cloned() }
    }

    /// The only term.
    pub(crate) fn as_term(&self) -> Option<(&Monomial, &BigRational)> {
        if self.len() == 1 { self.terms.iter().next() } else { None }
    }

    pub(crate) fn atoms(&self) -> impl Iterator<Item = &(Atom, Exponent)> {
        self.terms.keys().flat_map(|monomial| &monomial.0)
    }

    pub(crate) fn negated(mut self) -> Self {
        self.terms.values_mut().for_each(|coefficient| *coefficient = -&*coefficient);
        self
    }

    pub(crate) fn scaled(mut self, factor: &BigRational) -> Self {
        if factor.is_zero() {
            return Self::zero();
        }
        self.terms.values_mut().for_each(|coefficient| *coefficient *= factor);
        self
    }

    fn add_term(&mut self, monomial: Monomial, coefficient: BigRational) -> Reading<()> {
        if coefficient.numer().bits().max(coefficient.denom().bits()) > NUMBER_BITS_MAX {
            return Err(NUMBER_TOO_LARGE);
        }
        let entry = self.terms.entry(monomial);
        match entry {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                if !coefficient.is_zero() {
                    vacant.insert(coefficient);
                }
            }
            std::collections::btree_map::Entry::Occupied(mut occupied) => {
                let sum = occupied.get_mut();
                if sum.denom().is_one() && coefficient.denom().is_one() {
                    *sum = BigRational::from_integer(sum.numer() + coefficient.numer());
                } else {
                    *sum += coefficient;
                }
                if occupied.get().is_zero() {
                    occupied.remove();
                }
            }
        }
        Ok(())
    }

    pub(crate) fn plus(&self, other: &Self, work: &mut Work) -> Reading<Self> {
        let mut sum = self.clone();
        for (monomial, coefficient) in &other.terms {
            work.spend(1 + steps(coefficient) + monomial.depth_steps())?;
            sum.add_term(monomial.clone(), coefficient.clone())?;
        }
        Ok(sum)
    }

    pub(crate) fn times(&self, other: &Self, work: &mut Work) -> Reading<Self> {
        if self.is_one() {
            return Ok(other.clone());
        }
        if other.is_one() {
            return Ok(self.clone());
        }
        let mut product = Self::zero();
        for (left, left_coefficient) in &self.terms {
            for (right, right_coefficient) in &other.terms {
                work.spend(1 + (left.0.len() + right.0.len()).div_ceil(2))?;
                work.spend(left.depth_steps() + right.depth_steps())?;
                work.spend(steps(left_coefficient) + steps(right_coefficient))?;
                let (factor, monomial) = left.times(right)?;
                product.add_term(monomial, scaled_product(left_coefficient, right_coefficient, &factor))?;
            }
        }
        product.reduced(work)
    }

    pub(crate) fn powered(&self, exponent: u32, work: &mut Work) -> Reading<Self> {
        let mut power = Self::one();
        for _ in 0..exponent {
            power = power.times(self, work)?;
        }
        Ok(power)
    }

    /// Replaces squares of cosines by sines, and whole powers of sums by their expansion.
    pub(crate) fn reduced(self, work: &mut Work) -> Reading<Self> {
        let mut polynomial = self;
        while let Some((atom, replacement)) = polynomial.reducible(work)? {
            let mut next = Self::zero();
            for (monomial, coefficient) in &polynomial.terms {
                let term = replaced(monomial, coefficient, (&atom, &replacement), work)?;
                next = next.plus(&term, work)?;
            }
            polynomial = next;
        }
        Ok(polynomial)
    }

    /// An atom that some term has too high a power of, with what its square or first power equals.
    fn reducible(&self, work: &mut Work) -> Reading<Option<(Atom, Self)>> {
        let found = self.atoms().find(|(atom, exponent)| replaced_power(atom, *exponent) > 0);
        match found {
            Some((Atom::Cosine(angle), _)) => {
                let sine = Monomial(vec![(Atom::Sine(angle.clone()), Exponent::from_integer(2))]);
                let squared = Self::one().plus(&Self::term(sine, -BigRational::one()), work)?;
                Ok(Some((Atom::Cosine(angle.clone()), squared)))
            }
            Some((Atom::Base(base), _)) => Ok(Some((Atom::Base(base.clone()), base.numerator().clone()))),
            _ => Ok(None),
        }
    }

    /// The sum times the powers of sums and cosines that it has in denominators, so that it can be compared with 0.
    pub(crate) fn cleared(&self, work: &mut Work) -> Reading<Self> {
        let mut lowest: BTreeMap<&Atom, Exponent> = BTreeMap::new();
        for (atom, exponent) in self.atoms() {
            if matches!(atom, Atom::Cosine(_) | Atom::Base(_)) && exponent.is_negative() {
                let least = lowest.entry(atom).or_insert_with(Exponent::zero);
                *least = (*least).min(*exponent);
            }
        }
        let clearing = Monomial(lowest.into_iter().map(|(atom, exponent)| (atom.clone(), -exponent)).collect());
        self.times(&Self::term(clearing, BigRational::one()), work)?.reduced(work)
    }
}

/// A term with the powers of an atom replaced that it holds too many of.
fn replaced(
    monomial: &Monomial,
    coefficient: &BigRational,
    (atom, replacement): (&Atom, &Polynomial),
    work: &mut Work,
) -> Reading<Polynomial> {
    let exponent = monomial.exponent(atom);
    let power = replaced_power(atom, exponent);
    if power == 0 {
        return Ok(Polynomial::term(monomial.clone(), coefficient.clone()));
    }
    let left = exponent - Exponent::from_integer(power * step(atom));
    let left = if left.is_zero() { Monomial::one() } else { Monomial(vec![(atom.clone(), left)]) };
    let (factor, rest) = monomial.without(atom).times(&left)?;
    let expansion = replacement.powered(u32::try_from(power).unwrap_or_default(), work)?;
    Polynomial::term(rest, coefficient * factor).times(&expansion, work)
}

fn scaled_product(a: &BigRational, b: &BigRational, factor: &BigRational) -> BigRational {
    let product = times(a, b);
    if factor.is_one() { product } else { times(&product, factor) }
}

/// The exponent that the replacement of an atom stands for.
fn step(atom: &Atom) -> i64 {
    if matches!(atom, Atom::Cosine(_)) { 2 } else { 1 }
}

/// How many replacements a power of an atom holds; 0 where it stays.
fn replaced_power(atom: &Atom, exponent: Exponent) -> i64 {
    let whole = exponent.floor().to_integer();
    match atom {
        Atom::Cosine(_) if (2..=2 * EXPANDED_POWER_MAX).contains(&whole) => whole / 2,
        Atom::Base(base) if (1..=EXPANDED_POWER_MAX).contains(&whole) && base.denominator().is_one() => whole,
        Atom::Radicand(_)
        | Atom::Imaginary
        | Atom::Pi
        | Atom::Euler
        | Atom::Symbol(_)
        | Atom::Sine(_)
        | Atom::Cosine(_)
        | Atom::Logarithm(_)
        | Atom::Absolute(_)
        | Atom::Base(_)
        | Atom::Raised(..)
        | Atom::Call(..) => 0,
    }
}
