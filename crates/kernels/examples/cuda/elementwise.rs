//! Gated SiLU, AdamW and the global norm.

use kernels::{
    InstructionSet, activation,
    adamw::{self, Step, Tensor},
    cuda::{launch, parameters::AdamwStep},
    instruction_set,
};

use crate::{
    buffers::{Arguments, Array},
    compare::{BF16, F32, F64, Trial},
    draws::{bf16, doubled, widened},
    naive,
};

/// Lengths with and without a whole block of threads; the gate's are multiples of 4.
const LENGTHS: [usize; 4] = [4, 20, 1024, 2300];

/// Whether the CPU contracts products as the kernels do, so that both have the same bits.
fn cpu_has_the_same_bits() -> bool {
    instruction_set() != InstructionSet::Portable
}

pub(crate) fn gate(trial: &mut Trial<'_>) {
    for length in LENGTHS {
        let [gate, up, out_gradient] = [(); 3].map(|()| trial.draws.normal(length, 4.0));
        let [gates, ups, gradients] = [&gate, &up, &out_gradient].map(|values| Array::read(values));
        let out = Array::<u16>::poisoned(length);
        trial.card.run(
            &launch::gate_forward(length),
            Arguments::default().array(&out).array(&gates).array(&ups).long(length),
        );
        let (g, u, d) = (doubled(&gate), doubled(&up), doubled(&out_gradient));
        trial.close("gate_forward", &widened(&out.values()), &naive::gate(&g, &u), BF16);
        if cpu_has_the_same_bits() {
            let mut on_cpu = vec![0.0; length];
            activation::gate(&mut on_cpu, &gate, &up);
            assert_eq!(out.values(), on_cpu.into_iter().map(bf16).collect::<Vec<_>>(), "gate_forward and the CPU");
        }
        let (gate_gradient, up_gradient) = (Array::<u16>::poisoned(length), Array::<u16>::poisoned(length));
        let outputs = Arguments::default().array(&gate_gradient).array(&up_gradient);
        let all = outputs.array(&gates).array(&ups).array(&gradients).long(length);
        trial.card.run(&launch::gate_backward(length), all);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        // d silu(x)/dx = σ(x)·(1 + x·(1 − σ(x)))
        let slope = |x: f64| sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)));
        let by_gate: Vec<f64> = (0..length).map(|i| d[i] * u[i] * slope(g[i])).collect();
        let by_up: Vec<f64> = (0..length).map(|i| d[i] * g[i] * sigmoid(g[i])).collect();
        trial.close("gate_gradient", &widened(&gate_gradient.values()), &by_gate, BF16);
        trial.close("up_gradient", &widened(&up_gradient.values()), &by_up, BF16);
    }
}

pub(crate) fn optimizer(trial: &mut Trial<'_>) {
    for length in [1, 6, 1023, 1024, 2301] {
        update(trial, length);
    }
    norm(trial);
}

fn update(trial: &mut Trial<'_>, length: usize) {
    let step = Step {
        learning_rate: 3e-3,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-6,
        weight_decay: 0.1,
        gradient_scale: 0.7,
        count: 3,
    };
    let [value, gradient, first, square] = [1.0, 0.2, 0.1, 0.1].map(|scale| trial.draws.normal(length, scale));
    let second: Vec<f32> = square.iter().map(|x| x * x).collect();
    let [values, first_moment, second_moment] = [&value, &first, &second].map(|values| Array::change(values));
    let (gradients, rounded) = (Array::read(&gradient), Array::<u16>::poisoned(length));
    let arrays = Arguments::default().array(&values).array(&rounded).array(&gradients);
    let all = arrays.array(&first_moment).array(&second_moment).long(length).value(AdamwStep::from(&step));
    trial.card.run(&launch::adamw(length), all);
    // arXiv 1711.05101, algorithm 2, with PyTorch's place for epsilon.
    let [rate, beta1, beta2, epsilon, decay, scale] =
        [step.learning_rate, step.beta1, step.beta2, step.epsilon, step.weight_decay, step.gradient_scale]
            .map(f64::from);
    let mut expected = [const { Vec::new() }; 3];
    for i in 0..length {
        let g = f64::from(gradient[i]) * scale;
        let m = beta1 * f64::from(first[i]) + (1.0 - beta1) * g;
        let v = beta2 * f64::from(second[i]) + (1.0 - beta2) * g * g;
        let (m_hat, v_hat) = (m / (1.0 - beta1.powi(3)), v / (1.0 - beta2.powi(3)));
        let value = f64::from(value[i]);
        let updated = value - rate * decay * value - rate * m_hat / (v_hat.sqrt() + epsilon);
        expected.iter_mut().zip([updated, m, v]).for_each(|(all, one)| all.push(one));
    }
    let found = [&values, &first_moment, &second_moment].map(Array::values);
    for (what, (found, expected)) in ["values", "first moment", "second moment"].iter().zip(found.iter().zip(&expected))
    {
        trial.close(&format!("adamw {what}"), &doubled(found), expected, F32);
    }
    let masters: Vec<u16> = found[0].iter().map(|&value| bf16(value)).collect();
    assert_eq!(rounded.values(), masters, "adamw's values in bf16");
    if cpu_has_the_same_bits() {
        let [mut value, mut first, mut second] = [value, first, second];
        let moments = (&mut first[..], &mut second[..]);
        let tensor =
            Tensor { values: &mut value, gradient: &gradient, first_moment: moments.0, second_moment: moments.1 };
        adamw::update(tensor, &step);
        assert_eq!([value, first, second], found, "adamw and the CPU");
    }
}

/// Several tensors, one of them without a number in its last blocks.
fn norm(trial: &mut Trial<'_>) {
    let tensors = [1, launch::SQUARES, 3 * launch::SQUARES + 5].map(|length| trial.draws.normal(length, 2.0));
    let mut sums: Vec<f64> = Vec::new();
    for tensor in &tensors {
        let launch = launch::square_blocks(tensor.len());
        let (values, out) = (Array::read(tensor), Array::<f64>::poisoned(launch.grid[0]));
        trial.card.run(&launch, Arguments::default().array(&out).array(&values).long(tensor.len()));
        let squares = tensor.chunks(launch::SQUARES).map(|block| doubled(block).iter().map(|x| x * x).sum());
        let expected: Vec<f64> = squares.collect();
        trial.close("square_blocks", &out.values(), &expected, F64);
        sums.extend(out.values());
    }
    // More sums than threads, as of a large model.
    sums.extend(doubled(&trial.draws.normal(300, 3.0)).iter().map(|x| x * x));
    let (all, norm) = (Array::read(&sums), Array::<f64>::poisoned(1));
    trial.card.run(&launch::global_norm(), Arguments::default().array(&norm).array(&all).int(sums.len()));
    trial.close("global_norm", &norm.values(), &[sums.iter().sum::<f64>().sqrt()], F64);
}
