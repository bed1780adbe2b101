//! Forwards against naive f64 loops, backwards against central differences of those loops, at odd shapes.
//!
//! Tolerances are relative to the largest expected number of an array. Measured errors are less than half of them.

use kernels::{
    activation, norm,
    rope::{Direction, Table, rotate},
    vector,
};

use support::{assert_close, central_differences, inner_product, naive, numbers, relative_error, wide};

mod support;

const FORWARD: f64 = 5e-7;
const BACKWARD: f64 = 1e-6;

#[test]
fn the_checker_accepts_a_right_gradient_and_rejects_wrong_ones() {
    let input = numbers(1, 9);
    // f = Σ x³, f′ = 3x².
    let slopes = central_differences(&input, |x| x.iter().map(|x| x.powi(3)).sum());
    let right: Vec<f32> = input.iter().map(|x| 3.0 * x * x).collect();
    assert_close("right", &right, &slopes, BACKWARD);
    let changed = |i: usize, change: fn(f32) -> f32| {
        let mut wrong = right.clone();
        wrong[i] = change(wrong[i]);
        wrong
    };
    let largest = (0..9).max_by(|&a, &b| right[a].total_cmp(&right[b])).unwrap();
    let wrongs = [
        ("sign", changed(largest, |x| -x)),
        ("factor", changed(largest, |x| 1.0001 * x)),
        ("missing", changed(largest, |_| 0.0)),
        ("not a number", changed(largest, |_| f32::NAN)),
        ("infinite", changed(0, |_| f32::INFINITY)),
        ("whole gradient", vec![0.0; 9]),
    ];
    for (name, wrong) in wrongs {
        assert!(relative_error(&wrong, &slopes) > BACKWARD, "a gradient wrong by {name} passed");
    }
}

#[test]
#[should_panic(expected = "exceeds 1e-4")]
fn the_checker_panics_beyond_its_tolerance() {
    assert_close("a wrong gradient", &[1.0, 2.0], &[1.002, 2.0], 1e-4);
}

#[test]
fn norm_matches_f64_and_its_backward_the_differences() {
    for (n, width, epsilon) in [(1, 1, 1e-5), (3, 5, 1e-6), (4, 12, 0.1), (2, 37, 1e-6)] {
        let (rows, weight, out_gradient) = (numbers(1, n * width), numbers(2, width), numbers(3, n * width));
        let (wide_rows, wide_weight) = (wide(&rows), wide(&weight));
        let loss = |rows: &[f64], weight: &[f64]| {
            inner_product(&naive::norm(rows, weight, f64::from(epsilon)), &wide(&out_gradient))
        };
        let mut out = vec![0.0; rows.len()];
        norm::forward(&mut out, &rows, &weight, epsilon);
        assert_close("norm", &out, &naive::norm(&wide_rows, &wide_weight, f64::from(epsilon)), FORWARD);

        let (mut gradient, mut weight_gradient) = (out_gradient.clone(), vec![0.5; width]);
        norm::backward(
            &mut gradient,
            Some(&mut weight_gradient),
            norm::Saved { rows: &rows, weight: &weight, epsilon },
        );
        let expected = central_differences(&rows, |rows| loss(rows, &wide_weight));
        // A row of width 1 has gradients that cancel to near 0, so the error is taken relative to the weight.
        let scale = if width == 1 { wide(&weight) } else { vec![] };
        let shown: Vec<f32> = gradient.iter().copied().chain(weight.iter().copied().take(scale.len())).collect();
        assert_close("norm's rows", &shown, &[expected, scale].concat(), BACKWARD);
        let added = central_differences(&weight, |weight| loss(&wide_rows, weight));
        let expected: Vec<f64> = added.iter().map(|x| x + 0.5).collect();
        assert_close("norm's weight", &weight_gradient, &expected, BACKWARD);
    }
}

#[test]
fn gate_matches_f64_and_its_backward_the_differences() {
    for length in [1, 5, 16, 37] {
        let gate: Vec<f32> = numbers(1, length).iter().map(|x| 12.0 * x).collect();
        let (up, out_gradient) = (numbers(2, length), numbers(3, length));
        let loss = |gate: &[f64], up: &[f64]| inner_product(&naive::gate(gate, up), &wide(&out_gradient));
        let mut out = vec![0.0; length];
        activation::gate(&mut out, &gate, &up);
        assert_close("gate", &out, &naive::gate(&wide(&gate), &wide(&up)), FORWARD);

        let (mut gate_gradient, mut up_gradient) = (gate.clone(), up.clone());
        activation::gate_backward(&mut gate_gradient, &mut up_gradient, &out_gradient);
        let expected = central_differences(&gate, |gate| loss(gate, &wide(&up)));
        assert_close("gate's gate", &gate_gradient, &expected, BACKWARD);
        let expected = central_differences(&up, |up| loss(&wide(&gate), up));
        assert_close("gate's up", &up_gradient, &expected, BACKWARD);
    }
}

#[test]
fn gate_saturates_without_overflow() {
    let gate = [-1e4, -100.0, 0.0, 100.0, 1e4];
    let mut out = [f32::NAN; 5];
    activation::gate(&mut out, &gate, &[1.0; 5]);
    // silu(x) tends to 0 on the left and to x on the right.
    assert_close("silu", &out, &[0.0, 0.0, 0.0, 100.0, 1e4], 1e-12);
    let (mut gate, mut up) = (gate, [1.0; 5]);
    activation::gate_backward(&mut gate, &mut up, &[1.0; 5]);
    // silu′ is 0 on the left, ½ at 0, 1 on the right.
    assert_close("silu′", &gate, &[0.0, 0.0, 0.5, 1.0, 1.0], 1e-12);
}

/// Frequencies 10⁴^(−i/pairs), as in the paper.
fn frequencies(pairs: usize) -> Vec<f64> {
    (0..pairs).map(|i| 1e4_f64.powf(-(i as f64) / pairs as f64)).collect()
}

#[test]
fn rotation_matches_f64_and_its_backward_is_inverse_and_transpose() {
    for (heads, pairs, positions) in [(1, 1, vec![7]), (3, 5, vec![0, 2, 2, 900]), (2, 6, vec![5, 1, 0])] {
        let frequencies = frequencies(pairs);
        let table = Table::new(&frequencies, 1000);
        assert_eq!(table.positions(), 1000);
        let length = positions.len() * heads * 2 * pairs;
        let (rows, gradient) = (numbers(1, length), numbers(2, length));
        let turned = |rows: &[f32], direction| {
            let mut rows = rows.to_vec();
            rotate(&mut rows, &positions, &table, direction);
            rows
        };
        let forward = turned(&rows, Direction::Forward);
        assert_close("rotation", &forward, &naive::rotate(&wide(&rows), &positions, &frequencies), FORWARD);
        assert_close("there and back", &turned(&forward, Direction::Backward), &wide(&rows), FORWARD);

        let back = turned(&gradient, Direction::Backward);
        let loss = |rows: &[f64]| inner_product(&naive::rotate(rows, &positions, &frequencies), &wide(&gradient));
        assert_close("rotation's rows", &back, &central_differences(&rows, loss), BACKWARD);
        // ⟨Rx, g⟩ = ⟨x, Rᵀg⟩.
        let [left, right] = [(&forward, &gradient), (&rows, &back)].map(|(a, b)| inner_product(&wide(a), &wide(b)));
        assert!((left - right).abs() < 1e-6 * length as f64, "{left} and {right}");
    }
}

#[test]
fn position_0_is_left_exactly_as_it_is() {
    let rows = numbers(1, 24);
    let mut turned = rows.clone();
    rotate(&mut turned, &[0, 0], &Table::new(&frequencies(6), 1), Direction::Forward);
    assert_eq!(support::bits(&turned), support::bits(&rows));
}

#[test]
fn bias_is_added_to_every_row_and_its_gradient_is_the_sum_of_rows() {
    for (n, width) in [(1, 1), (7, 5), (3, 37)] {
        let (rows, bias, out_gradient) = (numbers(1, n * width), numbers(2, width), numbers(3, n * width));
        let biased = |rows: &[f64], bias: &[f64]| -> Vec<f64> {
            rows.iter().enumerate().map(|(i, x)| x + bias[i % width]).collect()
        };
        let mut out = rows.clone();
        vector::add_bias(&mut out, &bias);
        assert_close("bias", &out, &biased(&wide(&rows), &wide(&bias)), FORWARD);

        let mut bias_gradient = vec![0.25; width];
        vector::add_rows(&mut bias_gradient, &out_gradient);
        let loss = |bias: &[f64]| inner_product(&biased(&wide(&rows), bias), &wide(&out_gradient));
        let expected: Vec<f64> = central_differences(&bias, loss).iter().map(|x| x + 0.25).collect();
        assert_close("bias's gradient", &bias_gradient, &expected, BACKWARD);
    }
}

#[test]
fn a_sum_of_squares_is_exact_to_f64() {
    for length in [0, 1, 4096, 4097, 10_000] {
        let values = numbers(1, length);
        let expected: f64 = values.iter().rev().map(|&x| f64::from(x).powi(2)).sum();
        let found = vector::sum_of_squares(&values);
        assert!((found - expected).abs() <= 1e-12 * expected, "{found} and {expected} over {length}");
    }
}
