//! Means, quantiles, errors, intervals, correlations and pass@k. Pure functions; sums are f64. What is drawn by chance
//! is in `resampling`, the summary of an evaluation in `summary`.

use std::cmp::Ordering;

/// The two-sided 95 % quantile of the standard normal distribution.
const NORMAL_QUANTILE_95: f64 = 1.959_963_984_540_054;

/// Σx / n, summed in order; `None` for no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// √(Σ(x − x̄)² / n): the spread of all there is. `None` for no values, exactly 0 for equal ones.
pub fn population_standard_deviation(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| (squared_deviations(values) / values.len() as f64).sqrt())
}

/// √(Σ(x − x̄)² / (n − 1)), which estimates the spread where the values came from. `None` below two values, exactly 0
/// for equal ones.
pub fn sample_standard_deviation(values: &[f64]) -> Option<f64> {
    (values.len() > 1).then(|| (squared_deviations(values) / (values.len() - 1) as f64).sqrt())
}

/// Sample standard deviation / √n: the standard error of the mean of independent values. `None` below two values.
///
/// For mean@k the values are the means of each problem: completions of one problem are not independent (Miller,
/// "Adding Error Bars to Evals", arXiv 2411.00640).
pub fn standard_error(values: &[f64]) -> Option<f64> {
    sample_standard_deviation(values).map(|deviation| deviation / (values.len() as f64).sqrt())
}

/// The value below which a share of the values lies: sorted, position `share`·(n − 1), linear between neighbours
/// (method 7 of Hyndman and Fan 1996, The American Statistician 50, 361; NumPy's default). `None` for no values.
///
/// # Panics
/// When `share` is outside 0…1.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    assert!((0.0..=1.0).contains(&share), "share {share}");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let position = share * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[position.floor() as usize], sorted[position.ceil() as usize]);
    Some(below + (above - below) * position.fract())
}

/// The unbiased estimate of pass@k from n completions of which c are correct: 1 − C(n − c, k) / C(n, k), computed as
/// 1 − Π (1 − k/i) over i from n − c + 1 to n (arXiv 2107.03374, equation 1 and figure 3).
///
/// # Panics
/// When c exceeds n, or k is not within 1…n.
pub fn pass_at_k(n: u32, c: u32, k: u32) -> f64 {
    assert!(c <= n && (1..=n).contains(&k), "pass@{k} of {c} in {n}");
    if n - c < k {
        return 1.0;
    }
    let none_correct: f64 = (n - c + 1..=n).map(|i| 1.0 - f64::from(k) / f64::from(i)).product();
    1.0 - none_correct
}

/// The lower and upper end of an interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 95 % score interval of a share p of n independent trials (Wilson 1927; method 3 of Newcombe 1998, Statistics in
/// Medicine 17, 857): (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n), with z = 1.96.
///
/// # Panics
/// When `share` is outside 0…1 or there are no trials.
pub fn wilson_interval(share: f64, trials: usize) -> Interval {
    assert!((0.0..=1.0).contains(&share) && trials > 0, "share {share} of {trials} trials");
    let n = trials as f64;
    let z_squared = NORMAL_QUANTILE_95 * NORMAL_QUANTILE_95;
    let center = share + z_squared / (2.0 * n);
    let half_width = NORMAL_QUANTILE_95 * (share * (1.0 - share) / n + z_squared / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z_squared / n;
    Interval { low: ((center - half_width) / scale).max(0.0), high: ((center + half_width) / scale).min(1.0) }
}

/// Pearson's correlation of pairs (x, y) pooled within groups, each group's means subtracted first:
/// Σ dx dy / √(Σ dx² Σ dy²) with dx = x − x̄ of the group (the pooled within-class correlation of discriminant
/// analysis). `None` where x or y is constant in every group.
pub fn correlation_within_groups(groups: &[Vec<(f64, f64)>]) -> Option<f64> {
    let (mut products, mut x_squares, mut y_squares) = (0.0, 0.0, 0.0);
    for group in groups {
        let (x, y): (Vec<f64>, Vec<f64>) = group.iter().copied().unzip();
        for (dx, dy) in deviations(&x).into_iter().zip(deviations(&y)) {
            products += dx * dy;
            x_squares += dx * dx;
            y_squares += dy * dy;
        }
    }
    (x_squares > 0.0 && y_squares > 0.0).then(|| (products / (x_squares.sqrt() * y_squares.sqrt())).clamp(-1.0, 1.0))
}

/// x − x̄ of each value; zeros for equal values, whose rounded mean may differ from them.
fn deviations(values: &[f64]) -> Vec<f64> {
    let Some(mean) = mean(values) else { return Vec::new() };
    let is_constant = values.iter().all(|value| value.total_cmp(&values[0]) == Ordering::Equal);
    values.iter().map(|value| if is_constant { 0.0 } else { value - mean }).collect()
}

/// Σ(x − x̄)²; exactly 0 for equal values and for none.
pub(crate) fn squared_deviations(values: &[f64]) -> f64 {
    deviations(values).iter().map(|deviation| deviation * deviation).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_near(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected} within {tolerance}");
    }

    #[test]
    fn means_and_deviations_match_a_hand_calculation() {
        // Mean 5; squared deviations 9 + 1 + 1 + 1 + 0 + 0 + 4 + 16 = 32.
        let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_near(mean(&values).unwrap(), 5.0, 1e-15);
        assert_near(population_standard_deviation(&values).unwrap(), 2.0, 1e-15);
        assert_near(sample_standard_deviation(&values).unwrap(), (32.0_f64 / 7.0).sqrt(), 1e-15);
        assert_near(standard_error(&values).unwrap(), (4.0_f64 / 7.0).sqrt(), 1e-15);
    }

    #[test]
    fn too_few_values_have_no_statistics() {
        assert_eq!(mean(&[]), None);
        assert_eq!(population_standard_deviation(&[]), None);
        assert_eq!(population_standard_deviation(&[3.0]), Some(0.0));
        assert_eq!(sample_standard_deviation(&[3.0]), None);
        assert_eq!(standard_error(&[3.0]), None);
    }

    #[test]
    fn equal_values_have_exactly_no_spread() {
        // In f64 the mean of three times 0.1 is not 0.1.
        assert_eq!(population_standard_deviation(&[0.1; 3]), Some(0.0));
        assert_eq!(correlation_within_groups(&[vec![(0.1, 1.0), (0.1, 2.0), (0.1, 4.0)]]), None);
    }

    #[test]
    fn wilson_intervals_match_the_published_examples() {
        // Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3.
        for (successes, trials, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let interval = wilson_interval(f64::from(successes) / trials as f64, trials);
            assert_near(interval.low, low, 5e-5);
            assert_near(interval.high, high, 5e-5);
        }
        assert_near(wilson_interval(1.0, 20).low, 1.0 - 0.1611, 5e-5);
    }

    #[test]
    fn correlation_is_pooled_after_subtracting_group_means() {
        for (groups, expected) in [
            // One group: dx −1 0 1, dy −1 1 0; Σdxdy 1, Σdx² 2, Σdy² 2.
            (vec![vec![(1.0, 1.0), (2.0, 3.0), (3.0, 2.0)]], Some(0.5)),
            // Rising in both groups though the pooled raw pairs fall.
            (vec![vec![(1.0, 10.0), (2.0, 11.0)], vec![(8.0, 0.0), (9.0, 1.0)]], Some(1.0)),
            // Σdxdy = 0.5 − 2, Σdx² = 0.5 + 2, Σdy² = 0.5 + 2.
            (vec![vec![(0.0, 0.0), (1.0, 1.0)], vec![(0.0, 2.0), (2.0, 0.0)]], Some(-0.6)),
            // A group that is all correct adds its spread of x alone: Σdxdy 0.5, Σdx² 0.5 + 2, Σdy² 0.5.
            (vec![vec![(0.0, 0.0), (1.0, 1.0)], vec![(0.0, 1.0), (2.0, 1.0)]], Some(0.5 / 1.25_f64.sqrt())),
            (vec![vec![(0.0, 1.0), (2.0, 1.0)]], None),
            (vec![vec![], vec![(1.0, 2.0)]], None),
            (vec![], None),
        ] {
            match (correlation_within_groups(&groups), expected) {
                (Some(value), Some(expected)) => assert_near(value, expected, 1e-15),
                (value, expected) => assert_eq!(value, expected, "{groups:?}"),
            }
        }
    }

    #[test]
    fn quantiles_match_numpy() {
        // numpy.quantile([7, 1, 3, 10], q) for q = 0, 0.5, 0.95, 1 (NumPy 2.3).
        let values = [7.0, 1.0, 3.0, 10.0];
        for (share, expected) in [(0.0, 1.0), (0.5, 5.0), (0.95, 9.55), (1.0, 10.0)] {
            assert_near(quantile(&values, share).unwrap(), expected, 1e-12);
        }
        assert_eq!(quantile(&[4.0], 0.95), Some(4.0));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn pass_at_k_is_the_chance_that_a_drawn_set_holds_a_correct_completion() {
        // 1 − C(n − c, k) / C(n, k) by hand: C(7,3)/C(10,3) = 35/120; C(2,2)/C(4,2) = 1/6; C(15,8)/C(16,8) = 6435/12870.
        for (n, c, k, expected) in [
            (10, 3, 3, 1.0 - 35.0 / 120.0),
            (4, 2, 2, 1.0 - 1.0 / 6.0),
            (16, 1, 8, 0.5),
            (16, 4, 1, 0.25),
            (5, 0, 5, 0.0),
            (5, 1, 5, 1.0),
            (1, 1, 1, 1.0),
        ] {
            assert_near(pass_at_k(n, c, k), expected, 1e-14);
        }
    }
}
