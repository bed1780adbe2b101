//! What a normal form is worth at one point, in double precision. Used to refuse, and for signs of constants.
//!
//! The point is a fixed number for each name, so the same expression has the same value in every run.

use num_rational::BigRational;
use num_traits::ToPrimitive;

use crate::algebra::{
    Normal,
    atom::{Atom, Exponent, Monomial},
    decide::POINTS,
    polynomial::Polynomial,
};

/// A complex number with the size of what it was summed from, which bounds its rounding error.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Approximation {
    pub(crate) real: f64,
    pub(crate) imaginary: f64,
    pub(crate) scale: f64,
}

impl Approximation {
    fn real(value: f64) -> Self {
        Self { real: value, imaginary: 0.0, scale: value.abs() }
    }

    pub(crate) fn size(self) -> f64 {
        self.real.hypot(self.imaginary)
    }

    fn times(self, other: Self) -> Self {
        Self {
            real: self.real * other.real - self.imaginary * other.imaginary,
            imaginary: self.real * other.imaginary + self.imaginary * other.real,
            scale: self.scale * other.scale,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            real: self.real + other.real,
            imaginary: self.imaginary + other.imaginary,
            scale: self.scale + other.scale,
        }
    }

    fn reciprocal(self) -> Self {
        let square = self.real * self.real + self.imaginary * self.imaginary;
        Self { real: self.real / square, imaginary: -self.imaginary / square, scale: self.scale / square }
    }

    /// The principal logarithm.
    fn logarithm(self) -> Self {
        let (real, imaginary) = (self.size().ln(), self.imaginary.atan2(self.real));
        Self { real, imaginary, scale: real.abs() + imaginary.abs() + self.scale / self.size() }
    }

    fn exponential(self) -> Self {
        let size = self.real.exp();
        Self {
            real: size * self.imaginary.cos(),
            imaginary: size * self.imaginary.sin(),
            scale: size * (1.0 + self.scale),
        }
    }

    fn raised(self, exponent: Self) -> Self {
        if exponent.imaginary == 0.0 && exponent.real.fract() == 0.0 && exponent.real.abs() <= 64.0 {
            let power = (0..exponent.real.abs() as u32).fold(Self::real(1.0), |power, _| power.times(self));
            return if exponent.real < 0.0 { power.reciprocal() } else { power };
        }
        self.logarithm().times(exponent).exponential()
    }

    /// x! as Γ(x + 1) by Stirling's series, which at 16 and above is exact to rounding (NIST DLMF 5.11.1).
    fn factorial(self) -> Option<Self> {
        if self.imaginary != 0.0 || !(0.0..=100.0).contains(&self.real) {
            return None;
        }
        let shifts = 15_u32;
        let skipped: f64 = (1..=shifts).map(|shift| (self.real + f64::from(shift)).ln()).sum();
        let z = self.real + f64::from(shifts) + 1.0;
        let series = z.recip() / 12.0 - z.powi(-3) / 360.0 + z.powi(-5) / 1260.0 - z.powi(-7) / 1680.0;
        let logarithm = (z - 0.5) * z.ln() - z + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - skipped;
        let value = logarithm.exp();
        // The derivative of ln Γ(x + 1) is at most ln(x + 2) in size.
        Some(Self { real: value, imaginary: 0.0, scale: value * (z * z.ln() + self.scale * (self.real + 2.0).ln()) })
    }

    /// A real root; negative numbers have odd ones.
    fn rooted(self, exponent: Exponent) -> Self {
        let power = *exponent.numer() as f64 / *exponent.denom() as f64;
        if self.imaginary == 0.0 && self.real < 0.0 && exponent.denom() % 2 != 0 {
            let size = (-self.real).powf(power);
            let sign = if exponent.numer() % 2 == 0 { 1.0 } else { -1.0 };
            let relative = self.scale / self.size();
            return Self { real: sign * size, imaginary: 0.0, scale: size * relative.max(1.0) };
        }
        self.raised(Self::real(power))
    }
}

/// Largest form that is approximated, in terms and factors at all depths.
const WEIGHT_MAX: usize = 1_000;

/// How many terms and factors a sum has, at all depths.
pub(crate) fn weight(sum: &Polynomial) -> usize {
    let of_form = |form: &Normal| weight(form.numerator()) + weight(form.denominator());
    let factors = sum.atoms().map(|(atom, _)| match atom {
        Atom::Radicand(_) | Atom::Imaginary | Atom::Pi | Atom::Euler | Atom::Symbol(_) => 1,
        Atom::Sine(inner)
        | Atom::Cosine(inner)
        | Atom::Logarithm(inner)
        | Atom::Absolute(inner)
        | Atom::Base(inner) => 1 + of_form(inner),
        Atom::Raised(base, exponent) => 1 + of_form(base) + exponent.0.len(),
        Atom::Call(_, arguments) => 1 + arguments.iter().map(of_form).sum::<usize>(),
    });
    sum.len() + factors.sum::<usize>()
}

/// The value of a form at the point of that number; nothing where it is not known, not finite or not there, or too
/// large to try.
pub(crate) fn approximate(form: &Normal, point: u32) -> Option<Approximation> {
    let is_small = weight(form.numerator()) + weight(form.denominator()) <= WEIGHT_MAX;
    if is_small { of_form(form, point) } else { None }
}

fn of_form(form: &Normal, point: u32) -> Option<Approximation> {
    let numerator = of_polynomial(form.numerator(), point)?;
    let denominator = of_polynomial(form.denominator(), point)?;
    let value = numerator.times(denominator.reciprocal());
    let is_sound = value.real.is_finite() && value.imaginary.is_finite() && value.scale.is_finite();
    is_sound.then_some(value)
}

/// The value of a real constant.
pub(crate) fn approximate_real(form: &Normal) -> Option<f64> {
    if !form.is_constant() {
        return None;
    }
    let value = approximate(form, 0)?;
    let is_real = value.imaginary.abs() <= 1e-12 * value.scale.max(1e-300);
    let is_precise = value.scale <= 1e4 * value.real.abs();
    (is_real && is_precise).then_some(value.real)
}

pub(crate) fn of_polynomial(sum: &Polynomial, point: u32) -> Option<Approximation> {
    let mut value = Approximation { real: 0.0, imaginary: 0.0, scale: 0.0 };
    for (monomial, coefficient) in sum.terms() {
        let term = of_monomial(monomial, point)?.times(Approximation::real(of_number(coefficient)?));
        value = value.plus(term);
    }
    Some(value)
}

fn of_monomial(monomial: &Monomial, point: u32) -> Option<Approximation> {
    let mut value = Approximation::real(1.0);
    for (atom, exponent) in &monomial.0 {
        value = value.times(of_atom(atom, point)?.rooted(*exponent));
    }
    Some(value)
}

fn of_number(number: &BigRational) -> Option<f64> {
    number.to_f64().filter(|value| value.is_finite())
}

fn of_atom(atom: &Atom, point: u32) -> Option<Approximation> {
    Some(match atom {
        Atom::Radicand(base) => Approximation::real(base.to_f64().filter(|value| value.is_finite())?),
        Atom::Imaginary => Approximation { real: 0.0, imaginary: 1.0, scale: 1.0 },
        Atom::Pi => Approximation::real(std::f64::consts::PI),
        Atom::Euler => Approximation::real(std::f64::consts::E),
        Atom::Symbol(name) => Approximation::real(coordinate(name, point)),
        Atom::Sine(angle) => of_real(angle, point, f64::sin)?,
        Atom::Cosine(angle) => of_real(angle, point, f64::cos)?,
        Atom::Logarithm(argument) => of_form(argument, point)?.logarithm(),
        Atom::Absolute(argument) => {
            let value = of_form(argument, point)?;
            Approximation { real: value.size(), imaginary: 0.0, scale: value.scale }
        }
        Atom::Base(base) => of_form(base, point)?,
        Atom::Raised(base, exponent) => of_form(base, point)?.raised(of_monomial(exponent, point)?),
        Atom::Call(name, arguments) => of_call(name, arguments, point)?,
    })
}

fn of_real(argument: &Normal, point: u32, function: impl Fn(f64) -> f64) -> Option<Approximation> {
    let value = of_form(argument, point).filter(|value| value.imaginary == 0.0 && value.scale < 1e6)?;
    let result = function(value.real);
    Some(Approximation { real: result, imaginary: 0.0, scale: 1.0 + value.scale })
}

/// A function without known identities: any smooth function of its arguments stands for it, so that two expressions
/// that differ here cannot be the same for every function of that name.
fn of_call(name: &str, arguments: &[Normal], point: u32) -> Option<Approximation> {
    match (name, arguments) {
        ("cos", [angle]) => of_real(angle, point, f64::cos),
        ("arcsin", [value]) => of_real(value, point, f64::asin),
        ("arccos", [value]) => of_real(value, point, f64::acos),
        ("arctan", [value]) => of_real(value, point, f64::atan),
        ("\\factorial", [number]) => of_form(number, point).and_then(Approximation::factorial),
        _ if name.starts_with('\\') => None,
        _ => {
            let mut angle = coordinate(name, point);
            for (index, argument) in arguments.iter().enumerate() {
                let value = of_form(argument, point).filter(|value| value.imaginary == 0.0 && value.scale < 1e6)?;
                angle += value.real * (0.31 + 0.17 * index as f64);
            }
            Some(Approximation { real: angle.sin() + 2.0, imaginary: 0.0, scale: 4.0 + angle.abs() })
        }
    }
}

/// The coordinate of a name at a point, between 1/2 and 5/2 or, at the last point, the negative of that: FNV-1a over the name and the number of the point.
fn coordinate(name: &str, point: u32) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ u64::from(point).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let size = 0.5 + 2.0 * ((hash >> 11) as f64 / (1_u64 << 53) as f64);
    if point < POINTS { size } else { -size }
}
