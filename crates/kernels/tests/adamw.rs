//! AdamW against two steps worked by hand, and its bits over blocks and threads.

use kernels::adamw::{Step, Tensor, update};

use support::{assert_close, bits, numbers, with_threads};

mod support;

/// PyTorch's defaults but for the learning rate.
const STEP: Step = Step {
    learning_rate: 0.1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.01,
    gradient_scale: 1.0,
    count: 1,
};

/// Values, first and second moments.
#[derive(Clone)]
struct State([Vec<f32>; 3]);

impl State {
    fn new(values: Vec<f32>) -> Self {
        let zeros = vec![0.0; values.len()];
        Self([values, zeros.clone(), zeros])
    }

    fn update(&mut self, gradient: &[f32], step: &Step) {
        let [values, first_moment, second_moment] = &mut self.0;
        update(Tensor { values, gradient, first_moment, second_moment }, step);
    }

    fn bits(&self) -> [Vec<u32>; 3] {
        [0, 1, 2].map(|i| bits(&self.0[i]))
    }
}

#[test]
fn two_steps_match_the_hand_calculation() {
    let mut state = State::new(vec![1.0]);
    // Step 1, g = 0.5: m = 0.05, v = 0.00025; corrected 0.5 and 0.25; 1·0.999 − 0.1·0.5/0.5 = 0.899.
    state.update(&[0.5], &STEP);
    assert_close("step 1", &state.0.concat(), &[0.899, 0.05, 0.00025], 1e-7);
    // Step 2, g = −0.25: m = 0.045 − 0.025 = 0.02, v = 0.00024975 + 0.0000625 = 0.00031225; corrected by 0.19 and
    // 0.001999: 0.105263158 and 0.156203102 with root 0.395225381; 0.899·0.999 − 0.1·0.105263158/0.395225381.
    state.update(&[-0.25], &Step { count: 2, ..STEP });
    assert_close("step 2", &state.0.concat(), &[0.871_467_286, 0.02, 0.000_312_25], 1e-7);
}

#[test]
fn many_steps_match_f64() {
    let mut state = State::new(numbers(1, 37));
    let start = state.0[0].clone();
    let mut expected: Vec<[f64; 3]> = start.iter().map(|&x| [f64::from(x), 0.0, 0.0]).collect();
    for count in 1..=50_u8 {
        let gradient = numbers(u64::from(count), 37);
        state.update(&gradient, &Step { learning_rate: 1e-3, count: u64::from(count), gradient_scale: 0.3, ..STEP });
        for ([value, m, v], g) in expected.iter_mut().zip(gradient) {
            let g = 0.3 * f64::from(g);
            *m = 0.9 * *m + 0.1 * g;
            *v = 0.999 * *v + 0.001 * g * g;
            let corrected = *m / (1.0 - 0.9_f64.powi(count.into()));
            let root = (*v / (1.0 - 0.999_f64.powi(count.into()))).sqrt();
            *value = *value * (1.0 - 1e-3 * 0.01) - 1e-3 * corrected / (root + 1e-8);
        }
    }
    // Moved distances rather than values, which hardly change. Values are rounded to 6e-8 at each step, and the longest
    // distance is 0.02.
    let moved: Vec<f32> = state.0[0].iter().zip(&start).map(|(x, start)| x - start).collect();
    let distances: Vec<f64> = expected.iter().zip(&start).map(|(x, &start)| x[0] - f64::from(start)).collect();
    assert_close("distances", &moved, &distances, 1e-4);
    assert_close("first moments", &state.0[1], &expected.iter().map(|x| x[1]).collect::<Vec<_>>(), 1e-6);
    // 1 − β₂ of the f32 nearest to 0.999 is 1.3e-5 below 0.001.
    assert_close("second moments", &state.0[2], &expected.iter().map(|x| x[2]).collect::<Vec<_>>(), 2e-5);
}

#[test]
fn a_gradient_of_0_only_decays() {
    let mut state = State::new(vec![1.0, -2.0]);
    state.update(&[0.0, 0.0], &STEP);
    assert_close("values", &state.0[0], &[0.999, -1.998], 1e-7);
    state = State::new(vec![1.0, -2.0]);
    state.update(&[0.0, 0.0], &Step { weight_decay: 0.0, ..STEP });
    assert_eq!(bits(&state.0[0]), bits(&[1.0, -2.0]));
}

#[test]
fn scaling_the_gradient_equals_giving_the_scaled_gradient() {
    let gradient = numbers(2, 100);
    let halves: Vec<f32> = gradient.iter().map(|x| 0.5 * x).collect();
    let (mut scaled, mut given) = (State::new(numbers(1, 100)), State::new(numbers(1, 100)));
    scaled.update(&gradient, &Step { gradient_scale: 0.5, ..STEP });
    given.update(&halves, &STEP);
    assert_eq!(scaled.bits(), given.bits());
}

#[test]
fn blocks_and_threads_change_no_bit() {
    // Two whole blocks of 16,384 elements and a part of one.
    let length = 2 * 16_384 + 77;
    let (start, gradient) = (State::new(numbers(1, length)), numbers(2, length));
    let two_steps = |mut state: State, gradient: &[f32]| {
        state.update(gradient, &STEP);
        state.update(gradient, &Step { count: 2, ..STEP });
        state.bits()
    };
    let one = with_threads(1, || two_steps(start.clone(), &gradient));
    for threads in [2, 3] {
        assert!(with_threads(threads, || two_steps(start.clone(), &gradient)) == one, "{threads} threads");
    }
    for index in [0, 1, 16_383, 16_384, 32_767, 32_768, length - 1] {
        let alone = two_steps(State::new(vec![start.0[0][index]]), &gradient[index..=index]);
        assert_eq!(alone, [0, 1, 2].map(|i| vec![one[i][index]]), "element {index}");
    }
}
