//! Rows of features with outcomes in, a logistic model out: ridge regression by Newton's method, deterministic, in f64.

/// A row to fit on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// Standardised features.
    pub(super) features: Vec<f64>,
    /// What came.
    pub(super) outcome: bool,
}

/// P(outcome) = σ(intercept + weights · features).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Logistic {
    /// Log odds at features of 0.
    pub(super) intercept: f64,
    /// Of each feature.
    pub(super) weights: Vec<f64>,
}

/// Newton steps tried, each halved at most as often; both are far more than a convex problem of a few features needs.
const ROUNDS_MAX: usize = 100;

impl Logistic {
    /// The probability of the outcome.
    pub(super) fn probability(&self, features: &[f64]) -> f64 {
        sigmoid(self.log_odds(features))
    }

    fn log_odds(&self, features: &[f64]) -> f64 {
        assert_eq!(features.len(), self.weights.len(), "a weight for each feature");
        self.weights.iter().zip(features).fold(self.intercept, |sum, (weight, feature)| sum + weight * feature)
    }

    /// The minimum of Σ ln(1 + e^−z) over rows with the outcome + Σ ln(1 + e^z) over those without + ridge/2 Σ weight²,
    /// z being the log odds; the intercept is not held back. Unique for a positive ridge when both outcomes occur.
    pub(super) fn fit(rows: &[Row], ridge: f64) -> Self {
        assert!(ridge > 0.0, "a ridge of {ridge} has no unique fit");
        assert!(rows.iter().any(|row| row.outcome) && rows.iter().any(|row| !row.outcome), "one outcome only");
        let mut fitted = Self { intercept: 0.0, weights: vec![0.0; rows[0].features.len()] };
        let mut loss = fitted.loss(rows, ridge);
        for _ in 0..ROUNDS_MAX {
            let step = fitted.newton_step(rows, ridge);
            let shares = std::iter::successors(Some(1.0), |share| Some(0.5 * share)).take(ROUNDS_MAX);
            let moved = shares.map(|share| fitted.moved(&step, share));
            let lower = moved.map(|moved| (moved.loss(rows, ridge), moved)).find(|(moved, _)| *moved < loss);
            let Some((lower_loss, moved)) = lower else { break };
            (loss, fitted) = (lower_loss, moved);
        }
        fitted
    }

    fn loss(&self, rows: &[Row], ridge: f64) -> f64 {
        let of_row = |row: &Row| {
            let log_odds = self.log_odds(&row.features);
            let z = if row.outcome { -log_odds } else { log_odds };
            z.max(0.0) + (-z.abs()).exp().ln_1p()
        };
        rows.iter().map(of_row).sum::<f64>() + 0.5 * ridge * self.weights.iter().map(|w| w * w).sum::<f64>()
    }

    fn moved(&self, step: &[f64], share: f64) -> Self {
        let weights = self.weights.iter().zip(&step[1..]).map(|(weight, step)| weight - share * step).collect();
        Self { intercept: self.intercept - share * step[0], weights }
    }

    /// H⁻¹g with the intercept first.
    fn newton_step(&self, rows: &[Row], ridge: f64) -> Vec<f64> {
        let size = self.weights.len() + 1;
        let (mut gradient, mut hessian) = (vec![0.0; size], vec![vec![0.0; size]; size]);
        for (index, weight) in self.weights.iter().enumerate() {
            gradient[index + 1] = ridge * weight;
            hessian[index + 1][index + 1] = ridge;
        }
        for row in rows {
            let p = self.probability(&row.features);
            let curvature = p * (1.0 - p);
            let error = p - f64::from(u8::from(row.outcome));
            let inputs: Vec<f64> = std::iter::once(1.0).chain(row.features.iter().copied()).collect();
            for (i, a) in inputs.iter().enumerate() {
                gradient[i] += error * a;
                hessian[i].iter_mut().zip(&inputs).for_each(|(second, b)| *second += curvature * a * b);
            }
        }
        // Where the fit is sure of every row, rounding may leave nothing of the intercept's curvature.
        hessian[0][0] += f64::EPSILON * rows.len() as f64;
        solve(hessian, gradient)
    }
}

/// 1/(1 + e^−x) without overflow.
fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// x of Ax = b for a symmetric positive definite A, by Cholesky's A = LLᵀ.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let size = b.len();
    for i in 0..size {
        for j in 0..=i {
            let rest = a[i][j] - (0..j).map(|k| a[i][k] * a[j][k]).sum::<f64>();
            a[i][j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / a[j][j] };
        }
    }
    for i in 0..size {
        b[i] = (b[i] - (0..i).map(|k| a[i][k] * b[k]).sum::<f64>()) / a[i][i];
    }
    for i in (0..size).rev() {
        b[i] = (b[i] - (i + 1..size).map(|k| a[k][i] * b[k]).sum::<f64>()) / a[i][i];
    }
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&[f64], bool)]) -> Vec<Row> {
        rows.iter().map(|&(features, outcome)| Row { features: features.to_vec(), outcome }).collect()
    }

    #[test]
    fn a_feature_of_two_values_gets_the_log_odds_that_were_counted() {
        // Without the feature one of four, with it three of four: ln 1/3, and ln 3 − ln 1/3.
        let values = [(0.0, 1), (1.0, 3)];
        let counted = values.iter().flat_map(|&(value, count)| (0..4).map(move |index| (value, index < count)));
        let rows: Vec<Row> = counted.map(|(value, outcome)| Row { features: vec![value], outcome }).collect();
        let Logistic { intercept, weights } = Logistic::fit(&rows, 1e-12);
        assert!((intercept - (1.0_f64 / 3.0).ln()).abs() < 1e-10, "{intercept}");
        assert!((weights[0] - 9.0_f64.ln()).abs() < 1e-10, "{weights:?}");
    }

    #[test]
    fn a_ridge_holds_the_weights_back_as_pytorch_finds() {
        let rows = rows(&[
            (&[0.5, -1.0], false),
            (&[1.5, 0.25], true),
            (&[-0.75, 2.0], false),
            (&[-1.25, -0.5], false),
            (&[0.25, 0.75], true),
            (&[2.0, -1.5], true),
        ]);
        // PyTorch 2.15, LBFGS on the summed cross-entropy + 0.25 Σw², gradient below 4e-9.
        let expected = [-0.573_947_885_921, 1.427_859_988_255, 0.317_460_406_914];
        let fitted = Logistic::fit(&rows, 0.5);
        let found = std::iter::once(fitted.intercept).chain(fitted.weights.iter().copied());
        for (found, expected) in found.zip(expected) {
            assert!((found - expected).abs() < 1e-7, "{found} is not {expected}");
        }
        // σ(−0.5739 + 1.4279) by hand.
        assert!(
            (fitted.probability(&[1.0, 0.0]) - 0.701_387_150_762).abs() < 1e-6,
            "{}",
            fitted.probability(&[1.0, 0.0])
        );
    }

    #[test]
    fn rows_that_a_line_parts_have_a_finite_fit() {
        let rows = rows(&[(&[-1.0, 0.0], false), (&[-2.0, 0.0], false), (&[1.0, 0.0], true), (&[3.0, 0.0], true)]);
        let fitted = Logistic::fit(&rows, 1e-3);
        assert!(fitted.weights[0] > 1.0 && fitted.weights[0].is_finite(), "{fitted:?}");
        assert!(fitted.weights[1].abs() < 1e-12 && fitted.probability(&[1e6, 0.0]) <= 1.0, "{fitted:?}");
    }
}
