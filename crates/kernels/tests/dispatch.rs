//! The same bits from AVX-512 and AVX2, and nearly the same numbers from portable code.
//!
//! A process settles on one instruction set, so each set computes in a child process of this test binary, which prints
//! the outputs of every public routine for fixed inputs.

use std::{collections::BTreeMap, process::Command};

use kernels::{
    activation,
    adamw::{self, Tensor},
    attention::{self, Forest, Heads, KeyValues, Tree},
    instruction_set,
    logprob::{self, Head, Scratch, Targets, TokenLogprob},
    matmul::{Compute, Matrix, Output, PackedMatrix, multiply, multiply_once},
    norm,
    rope::{Direction, Table, rotate},
    sample::{Sampling, draw},
    vector,
};

use support::{bits, numbers, relative_error, wide};

mod support;

/// Largest difference of portable outputs, relative to the largest number of an output. Measured: 4e-7.
const PORTABLE: f64 = 1e-6;
/// The same between two orders of the sums in bf16, which may round a weight or a score to the other neighbour.
const REORDERED_BF16: f64 = 5e-3;

type Outputs = Vec<(&'static str, Vec<f32>)>;

fn of_vectors() -> Outputs {
    let (x, y, z) = (numbers(1, 999), numbers(2, 999), numbers(3, 999));
    let wide_gate: Vec<f32> = x.iter().map(|x| 20.0 * x).collect();
    let (mut sum, mut biased, mut rows, mut scaled, mut gated) =
        (x.clone(), x.clone(), [0.0; 37].to_vec(), x.clone(), x.clone());
    vector::add_row(&mut sum, &y);
    vector::add_bias(&mut biased, &y[..37]);
    vector::add_rows(&mut rows, &x);
    vector::scale(&mut scaled, 0.3);
    activation::gate(&mut gated, &wide_gate, &y);
    let (mut gate_gradient, mut up_gradient) = (wide_gate, y.clone());
    activation::gate_backward(&mut gate_gradient, &mut up_gradient, &z);
    let dots = (0..99).map(|n| logprob::dot(&x[..n], &y[..n])).collect();
    let squares = vec![vector::sum_of_squares(&x) as f32];
    vec![
        ("add_row", sum),
        ("add_bias", biased),
        ("add_rows", rows),
        ("scale", scaled),
        ("dot", dots),
        ("sum_of_squares", squares),
        ("gate", gated),
        ("gate_backward gate", gate_gradient),
        ("gate_backward up", up_gradient),
    ]
}

fn of_rows() -> Outputs {
    let (rows, weight) = (numbers(1, 27 * 37), numbers(2, 37));
    let (mut out, mut gradient, mut weight_gradient) = (vec![0.0; 999], numbers(3, 999), vec![0.0; 37]);
    norm::forward(&mut out, &rows, &weight, 1e-6);
    let saved = norm::Saved { rows: &rows, weight: &weight, epsilon: 1e-6 };
    norm::backward(&mut gradient, Some(&mut weight_gradient), saved);
    let table = Table::new(&(0..19).map(|i| 0.7_f64.powi(i)).collect::<Vec<_>>(), 100);
    let positions: Vec<u32> = (0..13).map(|row| row * 7).collect();
    let mut there = numbers(1, 13 * 2 * 38);
    let mut back = there.clone();
    rotate(&mut there, &positions, &table, Direction::Forward);
    rotate(&mut back, &positions, &table, Direction::Backward);
    vec![
        ("norm", out),
        ("norm backward rows", gradient),
        ("norm backward weight", weight_gradient),
        ("rotate forward", there),
        ("rotate backward", back),
    ]
}

fn of_products(compute: Compute) -> [Vec<f32>; 2] {
    let mut products = Vec::new();
    let mut sums = Vec::new();
    for (rows, inner, columns) in [(1, 1, 1), (2, 40, 200), (5, 257, 33), (23, 300, 65), (98, 64, 96)] {
        let (left, right) = (numbers(1, rows * inner), numbers(2, inner * columns));
        let mut out = vec![0.0; rows * columns];
        let packed = PackedMatrix::new(Matrix::new(&right, columns), compute);
        multiply(&mut out, Matrix::new(&left, inner), &packed, Output::Overwrite);
        products.extend_from_slice(&out);
        let (left, right) = (Matrix::new(&left, rows).transposed(), Matrix::new(&right, inner).transposed());
        multiply_once(&mut out, left, right, &mut PackedMatrix::empty(compute), Output::Add);
        sums.extend(out);
    }
    [products, sums]
}

fn of_all_products() -> Outputs {
    let [[f32_products, f32_sums], [bf16_products, bf16_sums]] = [Compute::F32, Compute::Bf16].map(of_products);
    vec![
        ("multiply", f32_products),
        ("multiply_once", f32_sums),
        ("multiply bf16", bf16_products),
        ("multiply_once bf16", bf16_sums),
    ]
}

fn of_attention(compute: Compute) -> [Vec<f32>; 4] {
    let heads = Heads { query: 6, key_value: 2, width: 22 };
    let trees =
        [Tree { trunk: 0..5, branches: vec![5..30, 30..31] }, Tree { trunk: 31..31, branches: vec![31..33, 33..40] }];
    let (queries, keys, values) = (numbers(1, 40 * 132), numbers(2, 40 * 44), numbers(3, 40 * 44));
    let key_values = KeyValues { keys: &keys, values: &values };
    let mut forest = Forest::default();
    forest.fill(key_values, (&heads, compute), &trees);
    let mut out = vec![0.0; queries.len()];
    attention::forward(&mut out, &queries, &heads, &forest.sequences(&trees));
    let gradient = numbers(4, out.len());
    let (mut query_gradient, mut key_gradient, mut value_gradient) = (queries.clone(), keys.clone(), values.clone());
    let gradients =
        attention::Gradients { queries: &mut query_gradient, keys: &mut key_gradient, values: &mut value_gradient };
    let saved = attention::Saved { queries: &queries, key_values };
    attention::backward(gradients, saved, &gradient, (&heads, compute), &trees);
    [out, query_gradient, key_gradient, value_gradient]
}

fn of_all_attention() -> Outputs {
    let names = [
        ["attention", "attention backward queries", "attention backward keys", "attention backward values"],
        ["attention bf16", "backward queries bf16", "backward keys bf16", "backward values bf16"],
    ];
    let outputs = [Compute::F32, Compute::Bf16].map(of_attention);
    names.into_iter().flatten().zip(outputs.into_iter().flatten()).collect()
}

fn of_logprobs() -> Outputs {
    let (hidden, head, given) = (numbers(1, 150 * 19), numbers(2, 301 * 19), numbers(3, 150));
    let tokens: Vec<u32> = (0..150).map(|row| row * 2).collect();
    let targets = Targets { hidden: &hidden, tokens: &tokens, temperature: 0.7 };
    let packed = PackedMatrix::new(Matrix::new(&head, 19).transposed(), Compute::F32);
    let mut out = vec![TokenLogprob::default(); 150];
    logprob::forward(&mut out, targets, &packed);
    let (mut hidden_gradient, mut head_gradient) = (vec![0.0; hidden.len()], vec![0.0; head.len()]);
    let mut gradients = logprob::Gradients { hidden: &mut hidden_gradient, head: Some(&mut head_gradient) };
    let backward = PackedMatrix::new(Matrix::new(&head, 19), Compute::F32);
    let both = Head { forward: &packed, backward: &backward };
    logprob::backward(&mut gradients, (&given, &out), targets, both, &mut Scratch::default());
    let logits: Vec<f32> = numbers(5, 301).iter().map(|x| 5.0 * x).collect();
    let normaliser = logprob::log_sum_exp(&logits);
    let mut divided = logits.clone();
    logprob::divide_by_temperature(&mut divided, 0.7);
    let draws = (0..200).flat_map(|i| {
        let sampling = Sampling { temperature: 0.7, top_k: [0, 20][i % 2], top_p: [1.0, 0.9][i / 2 % 2] };
        let drawn = draw(&mut logits.clone(), &sampling, i as f64 / 200.0);
        [drawn.token as f32, drawn.logprob]
    });
    let draws: Vec<f32> = draws.collect();
    vec![
        ("logprob", out.iter().flat_map(|out| [out.logprob, out.entropy]).collect()),
        ("logprob backward hidden", hidden_gradient),
        ("logprob backward head", head_gradient),
        ("log_sum_exp", vec![normaliser.log_sum, normaliser.entropy, normaliser.largest]),
        ("divide_by_temperature", divided),
        ("drawn tokens", draws.iter().step_by(2).copied().collect()),
        ("drawn logprobs", draws.iter().skip(1).step_by(2).copied().collect()),
    ]
}

fn of_updates() -> Outputs {
    let (mut values, gradient) = (numbers(1, 999), numbers(2, 999));
    let (mut first_moment, mut second_moment) = (vec![0.0; 999], vec![0.0; 999]);
    for count in 1..=3 {
        let step = adamw::Step {
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            gradient_scale: 0.7,
            count,
        };
        let tensor = Tensor {
            values: &mut values,
            gradient: &gradient,
            first_moment: &mut first_moment,
            second_moment: &mut second_moment,
        };
        adamw::update(tensor, &step);
    }
    vec![("update values", values), ("update first moment", first_moment), ("update second moment", second_moment)]
}

fn of_all_routines() -> Outputs {
    [of_vectors(), of_rows(), of_all_products(), of_all_attention(), of_logprobs(), of_updates()].concat()
}

/// Also what a child process runs.
#[test]
#[expect(clippy::print_stdout, reason = "how a child process answers; captured otherwise")]
fn computing_twice_gives_the_same_bits() {
    let outputs = of_all_routines();
    println!("\nSET {}", instruction_set().name());
    for ((name, first), (_, second)) in outputs.iter().zip(of_all_routines()) {
        assert_eq!(bits(first), bits(&second), "{name}");
        let hex: Vec<String> = first.iter().map(|x| format!("{:08x}", x.to_bits())).collect();
        println!("OUT {name}:{}", hex.join(" "));
    }
}

/// The instruction set that a child process took under `BREVITY_CPU` = `wish`, and its outputs.
fn child(wish: Option<&str>) -> (String, BTreeMap<String, Vec<f32>>) {
    let mut command = Command::new(std::env::current_exe().expect("the path of this test"));
    command.args(["--exact", "computing_twice_gives_the_same_bits", "--nocapture"]);
    match wish {
        Some(wish) => command.env("BREVITY_CPU", wish),
        None => command.env_remove("BREVITY_CPU"),
    };
    let answer = command.output().expect("a child process");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let text = String::from_utf8(answer.stdout).expect("text");
    let set = text.lines().find_map(|line| line.strip_prefix("SET ")).expect("an instruction set").to_owned();
    let float = |hex: &str| f32::from_bits(u32::from_str_radix(hex, 16).expect("eight hexadecimal digits"));
    let output = |line: &str| {
        let (name, values) = line.split_once(':').expect("a name and values");
        (name.to_owned(), values.split(' ').map(float).collect())
    };
    (set, text.lines().filter_map(|line| line.strip_prefix("OUT ")).map(output).collect())
}

#[test]
#[expect(clippy::print_stderr, reason = "says what this CPU leaves unchecked")]
fn vector_instruction_sets_give_the_same_bits_and_portable_code_nearly_so() {
    let (mut widest, mut expected) = child(None);
    assert_eq!(expected.len(), of_all_routines().len());
    if widest.ends_with("+amx") {
        // Matrix registers have an order of their own in bf16, and in bf16 alone.
        let (set, found) = child(Some("avx512-bf16"));
        assert_eq!(set, "avx512+bf16");
        for (output, values) in &expected {
            if output.ends_with("bf16") {
                let error = relative_error(&found[output], &wide(values));
                assert!(error <= REORDERED_BF16, "{output}: {set} differs by {error:e} from {widest}");
            } else {
                assert!(bits(values) == bits(&found[output]), "{output}: {set} and {widest} differ");
            }
        }
        (widest, expected) = (set, found);
    }
    let mut wishes = vec![("avx512", "avx512"), ("avx2", "avx2+fma")];
    while wishes.first().is_some_and(|(_, name)| widest == *name || !widest.starts_with("avx512")) {
        eprintln!("{} against a wider set not checked: the widest of this CPU is {widest}", wishes.remove(0).1);
    }
    for (wish, name) in wishes {
        let (set, found) = child(Some(wish));
        assert_eq!(set, name);
        for (output, values) in &expected {
            assert!(bits(values) == bits(&found[output]), "{output}: {name} and {widest} differ");
        }
    }
    let (set, found) = child(Some("portable"));
    assert_eq!(set, "portable");
    for (name, values) in &expected {
        let error = relative_error(&found[name], &wide(values));
        assert!(error <= PORTABLE, "{name}: portable code differs by {error:e} from {widest}");
    }
}

#[test]
fn a_wish_that_is_no_instruction_set_takes_the_widest() {
    assert_eq!(child(Some("avx1024")).0, child(None).0);
    assert_eq!(child(Some("")).0, child(None).0);
}
