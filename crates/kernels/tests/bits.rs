//! Bits of the routines over rows and elements: those of a row or element alone, whatever is computed beside it.

use kernels::{
    activation, logprob, norm,
    rope::{Direction, Table, rotate},
    vector,
};

use support::{bits, numbers};

mod support;

/// A width of two vector registers and a rest.
const WIDTH: usize = 37;
const ROWS: usize = 11;

/// `compute` of all rows equals `compute` of each row.
fn check_rows(name: &str, widths: usize, compute: impl Fn(std::ops::Range<usize>) -> Vec<f32>) {
    let together = bits(&compute(0..ROWS));
    assert_eq!(together.len(), ROWS * widths, "{name}");
    for row in 0..ROWS {
        assert_eq!(bits(&compute(row..row + 1)), together[row * widths..][..widths], "{name}, row {row}");
    }
}

#[test]
fn a_normalised_row_and_its_gradient_do_not_depend_on_other_rows() {
    let (rows, weight, gradient) = (numbers(1, ROWS * WIDTH), numbers(2, WIDTH), numbers(3, ROWS * WIDTH));
    check_rows("forward", WIDTH, |at| {
        let rows = &rows[at.start * WIDTH..at.end * WIDTH];
        let mut out = vec![f32::NAN; rows.len()];
        norm::forward(&mut out, rows, &weight, 1e-6);
        out
    });
    check_rows("backward", WIDTH, |at| {
        let at = at.start * WIDTH..at.end * WIDTH;
        let mut gradient = gradient[at.clone()].to_vec();
        let saved = norm::Saved { rows: &rows[at], weight: &weight, epsilon: 1e-6 };
        norm::backward(&mut gradient, None, saved);
        gradient
    });
}

#[test]
fn sums_over_rows_have_the_same_bits_in_one_call_and_in_many() {
    let (rows, weight, gradient) = (numbers(1, ROWS * WIDTH), numbers(2, WIDTH), numbers(3, ROWS * WIDTH));
    let sums = |rows_per_call: usize| {
        let (mut norm_sum, mut bias_sum) = ([0.5; WIDTH], [0.25; WIDTH]);
        let calls = rows.chunks(rows_per_call * WIDTH).zip(gradient.chunks(rows_per_call * WIDTH));
        for (rows, gradient) in calls {
            let saved = norm::Saved { rows, weight: &weight, epsilon: 1e-6 };
            norm::backward(&mut gradient.to_vec(), Some(&mut norm_sum), saved);
            vector::add_rows(&mut bias_sum, gradient);
        }
        [bits(&norm_sum), bits(&bias_sum)]
    };
    let at_once = sums(ROWS);
    for rows_per_call in 1..ROWS {
        assert_eq!(sums(rows_per_call), at_once, "{rows_per_call} rows a call");
    }
}

#[test]
fn a_rotated_head_does_not_depend_on_other_rows_and_heads() {
    let frequencies: Vec<f64> = (0..19).map(|i| 0.7_f64.powi(i)).collect();
    let table = Table::new(&frequencies, 100);
    let positions: Vec<u32> = (0..ROWS as u32).map(|row| row * 9).collect();
    let rows = numbers(1, ROWS * 3 * 38);
    let turned = |rows: &[f32], positions: &[u32]| {
        let mut rows = rows.to_vec();
        rotate(&mut rows, positions, &table, Direction::Forward);
        rows
    };
    check_rows("rotation", 3 * 38, |at| turned(&rows[at.start * 114..at.end * 114], &positions[at]));
    let together = turned(&rows, &positions);
    for head in 0..3 {
        let at = 4 * 114 + head * 38;
        let alone = turned(&rows[at..at + 38], &positions[4..5]);
        assert_eq!(bits(&alone), bits(&together[at..at + 38]), "head {head}");
    }
}

#[test]
fn an_element_does_not_depend_on_its_place_in_a_slice() {
    let (x, y, z) = (numbers(1, WIDTH), numbers(2, WIDTH), numbers(3, WIDTH));
    let all = |at: std::ops::Range<usize>| {
        let (mut gate, mut up, mut out) = (x[at.clone()].to_vec(), y[at.clone()].to_vec(), z[at.clone()].to_vec());
        activation::gate(&mut out, &gate, &up);
        activation::gate_backward(&mut gate, &mut up, &z[at.clone()]);
        let (mut sum, mut scaled) = (x[at.clone()].to_vec(), x[at.clone()].to_vec());
        vector::add_row(&mut sum, &y[at]);
        vector::scale(&mut scaled, 0.3);
        [out, gate, up, sum, scaled].map(|x| bits(&x))
    };
    let together = all(0..WIDTH);
    for start in 0..WIDTH {
        for end in [start + 1, WIDTH] {
            let expected = together.clone().map(|bits| bits[start..end].to_vec());
            assert_eq!(all(start..end), expected, "elements {start} to {end}");
        }
    }
}

#[test]
fn a_sum_runs_in_16_lanes_that_are_added_pairwise() {
    for length in 0..=70 {
        let values = numbers(1, length);
        let mut lanes = [0.0_f32; 16];
        values.iter().enumerate().for_each(|(i, x)| lanes[i % 16] += x);
        // 8 apart, 4 apart, 2 apart, 1 apart.
        let eight: Vec<f32> = (0..8).map(|i| lanes[i] + lanes[i + 8]).collect();
        let four: Vec<f32> = (0..4).map(|i| eight[i] + eight[i + 4]).collect();
        let expected = (four[0] + four[2]) + (four[1] + four[3]);
        // Products with 1 are exact, so fused and separate rounding agree.
        let found = logprob::dot(&values, &vec![1.0; length]);
        assert_eq!(found.to_bits(), expected.to_bits(), "{length} elements");
    }
}
