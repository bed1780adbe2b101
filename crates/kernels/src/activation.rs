//! The exponential that every softmax here uses, and the gated SiLU of the MLP.

use crate::dispatch::{Arithmetic, dispatched};

/// eˣ by Cephes' method: x = n·ln 2 + r, a polynomial of degree 6 in r, scaled by 2ⁿ through the exponent bits.
///
/// Relative error below 2e-7 on [−87, 88]; clamped outside, so it is never infinite and never 0. Our own because the
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
    assert_eq!((out.len(), gate.len()), (up.len(), up.len()), "gate, up and output of different lengths");
    for (out, (&g, &u)) in out.iter_mut().zip(gate.iter().zip(up)) {
        *out = g * sigmoid::<A>(g) * u;
    }
}

dispatched! {
    /// out = silu(gate) · up with silu(x) = x·σ(x).
    ///
    /// Shapes: all \[N\].
    pub fn gate(out: &mut [f32], gate: &[f32], up: &[f32]) = gate_body;
}

#[inline(always)]
fn gate_backward_body<A: Arithmetic>(gate: &mut [f32], up: &mut [f32], out_gradient: &[f32]) {
    assert_eq!((gate.len(), up.len()), (out_gradient.len(), out_gradient.len()), "gate, up and gradient lengths");
    for ((g, u), &d) in gate.iter_mut().zip(up.iter_mut()).zip(out_gradient) {
        let s = sigmoid::<A>(*g);
        let silu = *g * s;
        let gate_gradient = d * *u * A::mul_add(silu, 1.0 - s, s);
        *u = d * silu;
        *g = gate_gradient;
    }
}

dispatched! {
    /// Replaces `gate` and `up` by their gradients: with s = σ(gate), ∂out/∂gate = up·(s + gate·s·(1 − s)) and
    /// ∂out/∂up = gate·s.
    ///
    /// Shapes: all \[N\].
    pub fn gate_backward(gate: &mut [f32], up: &mut [f32], out_gradient: &[f32]) = gate_backward_body;
}
