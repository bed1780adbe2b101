//! Numbers for the checks, from a seed.

/// A generator of its own, because this crate has none: splitmix64 (Steele, Lea and Flood 2014).
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In \[0, 1).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.uniform() * limit as f64) as usize
    }

    /// Normal numbers (Box and Muller 1958) times `scale`.
    pub(crate) fn normal(&mut self, count: usize, scale: f64) -> Vec<f32> {
        let one = |draws: &mut Self| {
            let (a, b) = (1.0 - draws.uniform(), draws.uniform());
            ((-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos() * scale) as f32
        };
        (0..count).map(|_| one(self)).collect()
    }

    /// The same, rounded to bf16.
    pub(crate) fn normal_bf16(&mut self, count: usize, scale: f64) -> Vec<u16> {
        self.normal(count, scale).into_iter().map(bf16).collect()
    }
}

/// Nearest, ties to even.
pub(crate) fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The number that bf16 bits are.
pub(crate) fn wide(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

/// The same of many.
pub(crate) fn widened(bits: &[u16]) -> Vec<f64> {
    bits.iter().map(|&bits| wide(bits)).collect()
}

/// f32 as f64.
pub(crate) fn doubled(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
