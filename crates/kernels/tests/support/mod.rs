//! What the tests of this crate share: inputs, comparisons, finite differences, thread counts. Holds no expected numbers.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod naive;

/// `length` numbers in [−1, 1), the same for the same seed (SplitMix64, Steele et al. 2014).
pub(crate) fn numbers(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..length).map(|_| (next() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// The same numbers in f64.
pub(crate) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&x| f64::from(x)).collect()
}

/// Bit patterns, which unlike floats can be compared for equality.
pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// Σ aᵢ·bᵢ: a scalar whose gradient with respect to a is b.
pub(crate) fn inner_product(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "lengths of an inner product");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Largest |found − expected| over the largest |expected|; infinite when anything found is not finite.
pub(crate) fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "numbers found and expected");
    if found.iter().any(|x| !x.is_finite()) {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()));
    let error = found.iter().zip(expected).fold(0.0_f64, |error, (&x, y)| error.max((f64::from(x) - y).abs()));
    error / largest
}

/// Panics when [`relative_error`] exceeds `tolerance`.
pub(crate) fn assert_close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    let error = relative_error(found, expected);
    assert!(error <= tolerance, "{what}: relative error {error:e} exceeds {tolerance:e}");
}

/// ∂loss/∂input by central differences of 10⁻⁵ in f64, whose own error is near 10⁻¹⁰.
pub(crate) fn central_differences(input: &[f32], loss: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut input = wide(input);
    let mut slopes = Vec::with_capacity(input.len());
    for i in 0..input.len() {
        let middle = input[i];
        let [above, below] = [middle + STEP, middle - STEP].map(|x| {
            input[i] = x;
            loss(&input)
        });
        input[i] = middle;
        slopes.push((above - below) / (2.0 * STEP));
    }
    slopes
}

/// Runs `work` in a pool of `threads` threads.
pub(crate) fn with_threads<R>(threads: usize, work: impl FnOnce() -> R) -> R {
    kernels::threads::Pool::new(threads).expect("a pool of threads").install(work)
}
