//! The exponential that every softmax here uses, and the gated SiLU of the MLP.

use crate::{
    dispatch::{Arithmetic, dispatched},
    threads::{self, ELEMENTS, Parts},
};

/// eˣ by Cephes' method: x = n·ln 2 + r, a polynomial of degree 6 in r, scaled by 2ⁿ through the exponent bits.
///
/// Relative error below 1e-7 (measured 8.2e-8) on [−87, 88]; clamped outside, so it is never infinite and never 0. Our own because the
/// C library's differs between systems and is not vectorised.
#[inline(always)]
pub(crate) fn exp<A: Arithmetic>(x: f32) -> f32 {
    // Adding 1.5·2²³ leaves the rounded integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = A::mul_add(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = A::mul_add(n, -LN2_LOW, A::mul_add(n, -LN2_HIGH, x));
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = A::mul_add(p, r, coefficient);
    }
    let e = A::mul_add(p, r * r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    e * power
}

#[inline(always)]
fn sigmoid<A: Arithmetic>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<A>(-x))
}

#[inline(always)]
fn gate_body<A: Arithmetic>(out: &mut [f32], gate: &[f32], up: &[f32]) {
    for (out, (&g, &u)) in out.iter_mut().zip(gate.iter().zip(up)) {
        *out = g * sigmoid::<A>(g) * u;
    }
}

dispatched! {
    pub(crate) fn gate_part(out: &mut [f32], gate: &[f32], up: &[f32]) = gate_body;
}

/// out = silu(gate) · up with silu(x) = x·σ(x).
///
/// Shapes: all \[N\].
pub fn gate(out: &mut [f32], gate: &[f32], up: &[f32]) {
    assert_eq!((out.len(), gate.len()), (up.len(), up.len()), "gate, up and output of different lengths");
    threads::for_each_chunk(out, ELEMENTS, |index, out| {
        let at = index * ELEMENTS..index * ELEMENTS + out.len();
        gate_part(out, &gate[at.clone()], &up[at]);
    });
}

#[inline(always)]
fn gate_backward_body<A: Arithmetic>(gate: &mut [f32], up: &mut [f32], out_gradient: &[f32]) {
    for ((g, u), &d) in gate.iter_mut().zip(up.iter_mut()).zip(out_gradient) {
        let s = sigmoid::<A>(*g);
        let silu = *g * s;
        let gate_gradient = d * *u * A::mul_add(silu, 1.0 - s, s);
        *u = d * silu;
        *g = gate_gradient;
    }
}

dispatched! {
    fn gate_backward_part(gate: &mut [f32], up: &mut [f32], out_gradient: &[f32]) = gate_backward_body;
}

/// Replaces `gate` and `up` by their gradients: with s = σ(gate), ∂out/∂gate = up·(s + gate·s·(1 − s)) and
/// ∂out/∂up = gate·s.
///
/// Shapes: all \[N\].
pub fn gate_backward(gate: &mut [f32], up: &mut [f32], out_gradient: &[f32]) {
    assert_eq!((gate.len(), up.len()), (out_gradient.len(), out_gradient.len()), "gate, up and gradient lengths");
    let up = Parts::new(up);
    threads::for_each_chunk(gate, ELEMENTS, |index, gate| {
        let at = index * ELEMENTS..index * ELEMENTS + gate.len();
        // SAFETY: chunks of different indices do not overlap.
        gate_backward_part(gate, unsafe { up.part(at.clone()) }, &out_gradient[at]);
    });
}

#[cfg(test)]
mod tests {
    use super::exp;
    use crate::dispatch::{Arithmetic, Fused, Separate};

    /// Largest relative error against f64 over a grid of [−87, 88] and over every 2,003rd float within it.
    fn largest_error<A: Arithmetic>() -> f64 {
        let grid = (0..=1_000_000).map(|i| (-87.0 + 175.0 * f64::from(i) / 1e6) as f32);
        let positive = (0..=88.0_f32.to_bits()).step_by(2003).map(f32::from_bits);
        let negative = (0..=87.0_f32.to_bits()).step_by(2003).map(|bits| -f32::from_bits(bits));
        let error = |x: f32| {
            let expected = f64::from(x).exp();
            (f64::from(exp::<A>(x)) - expected).abs() / expected
        };
        grid.chain(positive).chain(negative).map(error).fold(0.0, f64::max)
    }

    #[test]
    fn exp_is_within_its_stated_error_of_f64() {
        let errors = [largest_error::<Fused>(), largest_error::<Separate>()];
        assert!(errors.iter().all(|&error| error < 1e-7), "fused and separate: {errors:?}");
    }

    #[test]
    fn exp_of_0_is_exactly_1() {
        assert_eq!(
            [exp::<Fused>(0.0), exp::<Fused>(-0.0), exp::<Separate>(0.0)].map(f32::to_bits),
            [1.0_f32.to_bits(); 3]
        );
    }

    #[test]
    fn exp_outside_its_range_stays_at_the_ends() {
        let ends = [-87.0, 88.0].map(exp::<Fused>);
        assert!(ends[0] > 0.0 && ends[0].is_normal() && ends[1].is_finite(), "{ends:?}");
        for (x, end) in
            [(-87.001, 0), (-1e4, 0), (f32::MIN, 0), (f32::NEG_INFINITY, 0), (88.001, 1), (1e4, 1), (f32::INFINITY, 1)]
        {
            assert_eq!(exp::<Fused>(x).to_bits(), ends[end].to_bits(), "exp({x})");
        }
    }

    #[test]
    fn exp_rises_but_for_rounding() {
        let mut last = 0.0;
        for i in 0..=1_750_000 {
            let value = exp::<Fused>((-87.0 + f64::from(i) / 1e4) as f32);
            assert!(value >= last * (1.0 - 2e-7), "exp falls at step {i}: {last} to {value}");
            last = value;
        }
    }

    #[test]
    fn exp_of_what_is_not_a_number_is_not_a_number() {
        assert!(exp::<Fused>(f32::NAN).is_nan() && exp::<Separate>(f32::NAN).is_nan());
    }
}
