//! Intervals and p-values from resampling problems: the percentile bootstrap and the sign-flip test. Seeded; the same
//! values and seed give the same numbers.

use crate::{
    random::{Purpose, Stream},
    statistics::{Interval, quantile},
};

/// Sets of problems drawn for a bootstrap interval.
pub const BOOTSTRAP_DRAWS: usize = 10_000;

/// Sets of signs drawn where a sign-flip test is not computed exactly.
pub const SIGN_DRAWS: u32 = 100_000;

/// Additions up to which a sign-flip test is computed exactly: below half a second.
const EXACT_ADDITIONS_MAX: u64 = 400_000_000;

/// The 95 % percentile bootstrap intervals of the means of several quantities of the same problems (Efron and
/// Tibshirani 1993, An Introduction to the Bootstrap, section 13.3): problems are drawn with replacement, as many as
/// there are, [`BOOTSTRAP_DRAWS`] times, and the 2.5 % and 97.5 % quantiles of the means are taken.
///
/// All quantities see the same draws. Where all values are equal the interval is a point, which for a share of 0 or 1
/// says too much: the Wilson interval does not.
///
/// # Panics
/// When there are no problems, or the quantities differ in their number.
pub fn bootstrap_intervals<const N: usize>(quantities: [&[f64]; N], seed: u64) -> [Interval; N] {
    let problems = quantities.first().map_or(0, |values| values.len());
    assert!(problems > 0 && quantities.iter().all(|values| values.len() == problems), "{problems} problems");
    let mut stream = Stream::new(seed, Purpose::Bootstrap, [0; 3]);
    let mut means = [const { Vec::new() }; N];
    for _ in 0..BOOTSTRAP_DRAWS {
        let mut sums = [0.0; N];
        for _ in 0..problems {
            let drawn = stream.below(problems);
            for (sum, values) in sums.iter_mut().zip(quantities) {
                *sum += values[drawn];
            }
        }
        for (means, sum) in means.iter_mut().zip(sums) {
            means.push(sum / problems as f64);
        }
    }
    means.map(|means| {
        let at = |share| quantile(&means, share).expect("there are draws");
        Interval { low: at(0.025), high: at(0.975) }
    })
}

/// How a p-value was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignFlipMethod {
    /// From all assignments of signs.
    Exact,
    /// From [`SIGN_DRAWS`] drawn ones.
    Drawn,
}

/// The result of a sign-flip test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignFlipTest {
    /// Two-sided p-value.
    pub p_value: f64,
    /// How it was computed.
    pub method: SignFlipMethod,
}

/// The two-sided sign-flip test of paired differences (Fisher 1935, The Design of Experiments, section 21): were both
/// sides the same, each problem's difference would have either sign with equal chance. The p-value is the chance that
/// the sum is at least as far from 0 as it is.
///
/// It is exact as long as the work is bounded, by adding up the distribution of the sum; with differences of −1, 0
/// and 1 it is then McNemar's exact test. Beyond that signs are drawn, and p = (1 + as extreme) / (1 + drawn).
pub fn sign_flip_test(differences: &[i64], seed: u64) -> SignFlipTest {
    let observed = differences.iter().sum::<i64>().unsigned_abs();
    let sizes: Vec<u64> = differences.iter().map(|difference| difference.unsigned_abs()).filter(|&d| d > 0).collect();
    let unit = sizes.iter().copied().fold(0, greatest_common_divisor).max(1);
    let sizes: Vec<u64> = sizes.into_iter().map(|size| size / unit).collect();
    let observed = observed / unit;
    let all: u64 = sizes.iter().sum();
    if all.saturating_mul(sizes.len() as u64) <= EXACT_ADDITIONS_MAX {
        return SignFlipTest { p_value: exact_p_value(&sizes, observed), method: SignFlipMethod::Exact };
    }
    let mut stream = Stream::new(seed, Purpose::Signs, [0; 3]);
    let as_extreme = (0..SIGN_DRAWS).filter(|_| {
        let sum: i64 = sizes.iter().map(|&size| [size.cast_signed(), -size.cast_signed()][stream.below(2)]).sum();
        sum.unsigned_abs() >= observed
    });
    let p_value = (1 + as_extreme.count()) as f64 / f64::from(1 + SIGN_DRAWS);
    SignFlipTest { p_value, method: SignFlipMethod::Drawn }
}

/// The chance that |Σ ± size| ≥ `observed`. A sum of signed sizes is the sum of all less twice that of the flipped, so
/// it is that of the flipped that counts.
fn exact_p_value(sizes: &[u64], observed: u64) -> f64 {
    let all: u64 = sizes.iter().sum();
    if observed == 0 {
        return 1.0;
    }
    // Flipped sums up to this are as extreme on one side; the other side is as likely.
    let flipped_max = (all - observed) / 2;
    // Two problems of many tokens have no more than four sums, however large these are.
    let assignments = 1_u64.checked_shl(sizes.len() as u32).unwrap_or(u64::MAX);
    let one_side = if assignments <= flipped_max {
        let extreme = (0..assignments).filter(|&flipped| sum_of(sizes, flipped) <= flipped_max);
        extreme.count() as f64 / assignments as f64
    } else {
        chance_up_to(flipped_max as usize, sizes)
    };
    (2.0 * one_side).min(1.0)
}

/// The sum of the sizes whose bits are set in `flipped`.
fn sum_of(sizes: &[u64], flipped: u64) -> u64 {
    sizes.iter().enumerate().map(|(place, size)| if flipped >> place & 1 == 1 { *size } else { 0 }).sum()
}

/// The chance that the flipped sizes, each with equal chance, add up to `flipped_max` at most: the distribution of their
/// sum, one size after the other.
fn chance_up_to(flipped_max: usize, sizes: &[u64]) -> f64 {
    let mut chances = vec![0.0; flipped_max + 1];
    chances[0] = 1.0;
    for &size in sizes {
        let size = size as usize;
        for sum in (0..=flipped_max).rev() {
            let from = if sum >= size { chances[sum - size] } else { 0.0 };
            chances[sum] = f64::midpoint(chances[sum], from);
        }
    }
    chances.iter().sum()
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;

    use super::*;

    #[track_caller]
    fn assert_near(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected} within {tolerance}");
    }

    #[test]
    fn bootstrap_intervals_match_scipy() {
        // scipy.stats.bootstrap(…, numpy.mean, method="percentile", n_resamples=1_000_000), SciPy 1.17.1; with 10,000
        // draws an end moves by about 1 % of the width.
        let shares = [1.0, 1.0, 0.0, 0.5, 0.25, 1.0, 0.0, 0.75, 1.0, 0.5];
        let tokens = [120.0, 300.0, 45.0, 210.0, 90.0, 512.0, 77.0, 130.0, 260.0, 333.0];
        for seed in 0..3 {
            let [shares, tokens] = bootstrap_intervals([&shares, &tokens], seed);
            assert_near(shares.low, 0.35, 0.026);
            assert_near(shares.high, 0.825, 0.026);
            assert_near(tokens.low, 128.3, 5.0);
            assert_near(tokens.high, 298.3, 5.0);
        }
    }

    #[test]
    fn intervals_follow_the_seed_and_equal_values_leave_a_point() {
        let values = [0.1, 0.7, 0.2, 0.9];
        assert_eq!(bootstrap_intervals([&values], 4), bootstrap_intervals([&values], 4));
        let [point] = bootstrap_intervals([&[1.0; 7]], 0);
        assert_eq!(point, Interval { low: 1.0, high: 1.0 });
    }

    #[test]
    fn exact_p_values_match_scipy() {
        // scipy.stats.permutation_test(…, permutation_type="samples", n_resamples=inf), SciPy 1.17.1; the last two are
        // McNemar's exact test, scipy.stats.binomtest(3, 15) and (20, 60).
        let discordant = |more: usize, fewer: usize| [vec![1; more], vec![-1; fewer], vec![0; 30]].concat();
        for (differences, expected) in [
            (vec![1, 1, 1, -1, 0, 0], 0.625),
            (vec![3, -1, 4, 1, -5, 9, 2, 6], 0.1875),
            (vec![120, -80, 33, 7], 0.625),
            (vec![2, 2, 2, 2, 2], 0.0625),
            (vec![], 1.0),
            (vec![0, 0], 1.0),
            (vec![5, -5], 1.0),
            (discordant(12, 3), 0.035_156_25),
            (discordant(20, 40), 0.013_489_293_731_191_86),
        ] {
            let test = sign_flip_test(&differences, 0);
            assert_near(test.p_value, expected, 1e-12);
            assert_eq!(test.method, SignFlipMethod::Exact, "{differences:?}");
        }
    }

    #[test]
    fn few_differences_take_little_memory_however_large_they_are() {
        // By hand: |±99,000,000 ± 98,999,999| is 1 at least; of ±60,000,000 ± 30,000,001 ± 20,000,000 two of eight are as
        // far from 0 as their sum, and four as the sum with the last one taken away.
        for (differences, expected) in [
            (vec![99_000_000, -98_999_999], 1.0),
            (vec![60_000_000, 30_000_001, 20_000_000], 0.25),
            (vec![60_000_000, 30_000_001, -20_000_000], 0.5),
            (vec![4_294_967_295], 1.0),
        ] {
            let mut test = None;
            let work = measure(|| test = Some(sign_flip_test(&differences, 0)));
            assert_eq!(
                test,
                Some(SignFlipTest { p_value: expected, method: SignFlipMethod::Exact }),
                "{differences:?}"
            );
            assert!(work.bytes_max < 1 << 10, "{differences:?}: {} bytes", work.bytes_max);
        }
    }

    #[test]
    fn p_values_too_costly_to_compute_are_drawn() {
        // All 2^21 assignments of signs, scipy.stats.permutation_test: 0.054353; 100,000 draws have an error of 0.0007.
        let differences = [
            812, -4210, 1377, 90, -2222, -3111, 451, -998, -1500, 222, -640, -75, 1810, -2750, -33, -999, 412, -1888,
            -620, 777, -1234,
        ];
        assert_eq!(sign_flip_test(&differences, 0).method, SignFlipMethod::Exact);
        assert_near(sign_flip_test(&differences, 0).p_value, 0.054_352_760_314_941_406, 1e-12);
        // A hundred thousand times as large, and one more so that the differences have no common divisor: the same test but for rounding.
        let large: Vec<i64> =
            differences.iter().enumerate().map(|(at, size)| size * 100_000 + i64::from(at == 0)).collect();
        let test = sign_flip_test(&large, 7);
        assert_eq!(test.method, SignFlipMethod::Drawn);
        assert_near(test.p_value, 0.054_353, 0.003);
        assert_near(sign_flip_test(&large, 7).p_value, test.p_value, 0.0);
    }
}
