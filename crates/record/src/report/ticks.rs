//! Axis ticks at round numbers, and numbers as text.

/// A range of an axis with its ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ticks {
    /// Lower end of the axis.
    pub(super) low: f64,
    /// Upper end of the axis.
    pub(super) high: f64,
    /// Where the ticks are, ascending.
    pub(super) values: Vec<f64>,
    /// Distance between two ticks: 1, 2 or 5 times a power of ten.
    pub(super) step: f64,
}

/// The least and greatest value that a quantity can take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits(pub(super) f64, pub(super) f64);

impl Ticks {
    /// Ticks for values between `low` and `high`, the axis ending on a tick at both ends and inside `limits`;
    /// about `count` intervals.
    pub(super) fn around(low: f64, high: f64, count: usize, limits: Limits) -> Self {
        let (low, high) = widened(low, high, limits);
        let step = round_step((high - low) / count as f64);
        // A value on a tick must not gain an interval by the rounding of the division.
        let first = (low / step + 1e-9).floor();
        let last = (high / step - 1e-9).ceil();
        Self::at(first, last, step)
    }

    /// Ticks inside the axis from `low` to `high`, which stays as it is.
    pub(super) fn inside(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = widened(low, high, Limits(0.0, f64::INFINITY));
        // Steps are whole numbers.
        let step = round_step((high - low) / count as f64).max(1.0);
        let first = (low / step - 1e-9).ceil();
        let last = (high / step + 1e-9).floor();
        Self { low, high, ..Self::at(first, last, step) }
    }

    fn at(first: f64, last: f64, step: f64) -> Self {
        let count = (last - first).round().max(0.0) as usize;
        let values: Vec<f64> = (0..=count).map(|index| (first + index as f64) * step).collect();
        Self { low: first * step, high: last * step, values, step }
    }

    /// A tick's label.
    pub(super) fn label(&self, value: f64) -> String {
        let greatest = self.low.abs().max(self.high.abs());
        match greatest {
            size if size >= 1e12 => self.scientific(value),
            size if size >= 1e9 => number(value / 1e9, decimals(self.step / 1e9)) + "G",
            size if size >= 1e6 => number(value / 1e6, decimals(self.step / 1e6)) + "M",
            size if size >= 1e5 => number(value / 1e3, decimals(self.step / 1e3)) + "k",
            _ if self.step < 1e-4 => self.scientific(value),
            _ => number(value, decimals(self.step)),
        }
    }

    /// `value` as a power of ten, with the digits that tell ticks apart from each other.
    fn scientific(&self, value: f64) -> String {
        if value.abs() < self.step / 2.0 {
            return "0".to_owned();
        }
        let digits = (value.abs().log10() + 1e-9).floor() - (self.step.log10() + 1e-9).floor();
        let digits = digits.max(0.0) as usize;
        format!("{value:.digits$e}")
    }
}

/// `value` with `decimals` places, a true minus sign and thousands set apart from 10,000 on.
pub(super) fn number(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "—".to_owned();
    }
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = digits.split_once('.').map_or((digits.as_str(), None), |(w, f)| (w, Some(f)));
    let mut out = String::new();
    if value < 0.0 && digits.bytes().any(|byte| (b'1'..=b'9').contains(&byte)) {
        out.push('\u{2212}');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && whole.len() > 4 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// As [`number`], with a plus sign on what is above zero.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = number(value, decimals);
    let is_zero = !text.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    if value > 0.0 && !is_zero { format!("+{text}") } else { text }
}

/// Decimal places that tell two ticks `step` apart from each other.
fn decimals(step: f64) -> usize {
    (-(step.log10() + 1e-9).floor()).max(0.0) as usize
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `raw`.
fn round_step(raw: f64) -> f64 {
    let power = raw.log10().floor();
    let unit = 10f64.powf(power);
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * unit >= raw * (1.0 - 1e-9)).unwrap_or(10.0);
    // Dividing by a whole power of ten keeps 0.1 and its kin exact to the last bit.
    if power < 0.0 { factor / 10f64.powf(-power) } else { factor * unit }
}

/// Values this close to 0 are drawn as 0: a tenth of their distance would have no power of ten.
const TINY: f64 = 1e-290;

/// A range of some width: a single value gets room around it, within `limits`.
fn widened(low: f64, high: f64, limits: Limits) -> (f64, f64) {
    if high - low > TINY.max(f64::EPSILON * high.abs().max(low.abs())) {
        return (low, high);
    }
    let room = if low.abs() > TINY { low.abs() * 0.1 } else { 1.0 };
    ((low - room).max(limits.0), (high + room).min(limits.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Limits = Limits(f64::NEG_INFINITY, f64::INFINITY);

    fn labels(ticks: &Ticks) -> Vec<String> {
        ticks.values.iter().map(|&value| ticks.label(value)).collect()
    }

    #[test]
    fn ticks_are_round_and_cover_the_values() {
        let cases: [(f64, f64, &[&str]); 8] = [
            (61.0, 98.0, &["60", "70", "80", "90", "100"]),
            (0.0, 1.0, &["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (15.2, 24.9, &["14", "16", "18", "20", "22", "24", "26"]),
            (0.031, 0.069, &["0.03", "0.04", "0.05", "0.06", "0.07"]),
            (-0.2, 0.61, &["\u{2212}0.2", "0.0", "0.2", "0.4", "0.6", "0.8"]),
            (1200.0, 13_000.0, &["0", "5000", "10,000", "15,000"]),
            (1e6, 3e6, &["1.0M", "1.5M", "2.0M", "2.5M", "3.0M"]),
            (2e-5, 4e-5, &["2.0e-5", "2.5e-5", "3.0e-5", "3.5e-5", "4.0e-5"]),
        ];
        for (low, high, expected) in cases {
            assert_eq!(labels(&Ticks::around(low, high, 5, ANY)), expected, "{low} to {high}");
        }
    }

    #[test]
    fn a_single_value_gets_room_within_its_limits() {
        let all_correct = Ticks::around(100.0, 100.0, 5, Limits(0.0, 100.0));
        assert_eq!(labels(&all_correct), ["90", "92", "94", "96", "98", "100"]);
        let never = Ticks::around(0.0, 0.0, 5, Limits(0.0, 100.0));
        assert_eq!(labels(&never), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
    }

    #[test]
    fn values_that_no_power_of_ten_tells_apart_are_drawn_as_one() {
        for (low, high) in [(-5e-324, 5e-324), (0.0, 5e-324), (5e-324, 1e-323)] {
            let ticks = Ticks::around(low, high, 5, ANY);
            assert_eq!(labels(&ticks), ["\u{2212}1.0", "\u{2212}0.5", "0.0", "0.5", "1.0"], "{low:e} to {high:e}");
        }
    }

    #[test]
    fn an_axis_of_steps_keeps_its_ends_and_whole_ticks() {
        let cases: [(f64, f64, &[&str]); 3] =
            [(0.0, 70.0, &["0", "20", "40", "60"]), (0.0, 2.0, &["0", "1", "2"]), (0.0, 1234.0, &["0", "500", "1000"])];
        for (low, high, expected) in cases {
            let ticks = Ticks::inside(low, high, 5);
            assert_eq!(labels(&ticks), expected, "{low} to {high}");
            assert!((ticks.low - low).abs() < 1e-12 && (ticks.high - high).abs() < 1e-12);
        }
    }

    #[test]
    fn numbers_have_true_minus_signs_and_no_negative_zero() {
        let cases = [(-12.34, "\u{2212}12.3"), (-0.01, "0.0"), (1_234_567.0, "1,234,567.0"), (f64::NAN, "—")];
        for (value, expected) in cases {
            assert_eq!(number(value, 1), expected);
        }
        assert_eq!([signed(0.04, 1), signed(0.06, 1), signed(-2.0, 1)], ["0.0", "+0.1", "\u{2212}2.0"]);
    }
}
