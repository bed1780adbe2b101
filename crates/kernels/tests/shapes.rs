//! A wrong shape is a panic and never a wrong number.

use std::panic::{AssertUnwindSafe, catch_unwind};

use kernels::{
    activation,
    adamw::{self, Tensor},
    attention::{self, Heads, KeyValues, Sequence, Stretch, Tree},
    logprob::{self, Head, Scratch, Targets, TokenLogprob},
    matmul::{Compute, Matrix, Output, PackedMatrix, multiply},
    norm,
    rope::{Direction, Table, rotate},
    vector,
};

mod support;

type Calls<'a> = Vec<(&'a str, Box<dyn Fn() + 'a>)>;

/// Every call must panic; the messages are thrown away.
fn check_refused(calls: Calls<'_>) {
    let accepted: Vec<&str> = calls
        .into_iter()
        .filter(|(_, call)| catch_unwind(AssertUnwindSafe(call)).is_ok())
        .map(|(name, _)| name)
        .collect();
    assert!(accepted.is_empty(), "wrong shapes were accepted: {accepted:?}");
}

#[test]
fn vectors_of_wrong_lengths_are_refused() {
    check_refused(vec![
        ("add_row", Box::new(|| vector::add_row(&mut [0.0; 3], &[0.0; 4]))),
        ("add_bias to a part of a row", Box::new(|| vector::add_bias(&mut [0.0; 5], &[0.0; 2]))),
        ("add_rows of a part of a row", Box::new(|| vector::add_rows(&mut [0.0; 2], &[0.0; 5]))),
        ("dot", Box::new(|| assert!(logprob::dot(&[0.0; 3], &[0.0; 17]) < 1.0))),
        ("gate output", Box::new(|| activation::gate(&mut [0.0; 3], &[0.0; 4], &[0.0; 4]))),
        ("gate up", Box::new(|| activation::gate(&mut [0.0; 4], &[0.0; 4], &[0.0; 3]))),
        ("gate gradient", Box::new(|| activation::gate_backward(&mut [0.0; 4], &mut [0.0; 4], &[0.0; 3]))),
    ]);
}

#[test]
fn norms_of_wrong_shapes_are_refused() {
    let backward = |gradient: usize, weight_gradient: usize, rows: usize| {
        let saved = norm::Saved { rows: &vec![0.0; rows], weight: &[0.0; 3], epsilon: 1e-6 };
        norm::backward(&mut vec![0.0; gradient], Some(&mut vec![0.0; weight_gradient]), saved);
    };
    check_refused(vec![
        ("output", Box::new(|| norm::forward(&mut [0.0; 3], &[0.0; 6], &[0.0; 3], 1e-6))),
        ("a part of a row", Box::new(|| norm::forward(&mut [0.0; 7], &[0.0; 7], &[0.0; 3], 1e-6))),
        ("gradient", Box::new(move || backward(3, 3, 6))),
        ("a part of a row, backward", Box::new(move || backward(7, 3, 7))),
        ("short weight gradient", Box::new(move || backward(6, 2, 6))),
        ("long weight gradient", Box::new(move || backward(6, 4, 6))),
    ]);
}

#[test]
fn rotations_of_wrong_shapes_are_refused() {
    let rotate = |floats: usize, positions: &[u32]| {
        rotate(&mut vec![0.0; floats], positions, &Table::new(&[1.0, 0.1], 8), Direction::Forward);
    };
    check_refused(vec![
        ("a part of a head", Box::new(move || rotate(12, &[0, 1]))),
        ("rows without positions", Box::new(move || rotate(4, &[]))),
        ("a position beyond the table", Box::new(move || rotate(4, &[8]))),
    ]);
}

#[test]
fn products_of_wrong_shapes_are_refused() {
    let packed = PackedMatrix::new(Matrix::new(&[0.0; 15], 5), Compute::F32);
    let product = |out: usize, inner: usize| {
        multiply(&mut vec![0.0; out], Matrix::new(&vec![0.0; 2 * inner], inner), &packed, Output::Overwrite);
    };
    check_refused(vec![
        ("a part of a row", Box::new(|| assert!(format!("{:?}", Matrix::new(&[0.0; 7], 3)).is_empty()))),
        ("inner dimensions", Box::new(|| product(10, 4))),
        ("short output", Box::new(|| product(9, 3))),
        ("long output", Box::new(|| product(15, 3))),
    ]);
}

const HEADS: Heads = Heads { query: 4, key_value: 2, width: 3 };

/// Attention of `queries` floats to a stretch of `floats` of keys and of values.
fn attend(heads: Heads, queries: usize, out: usize, floats: [usize; 2]) {
    let mut own = Stretch::new(HEADS, Compute::F32);
    own.append(&vec![0.0; floats[0]], &vec![0.0; floats[1]]);
    let sequence = Sequence { rows: 1, shared: None, own: &own, seen: own.len() };
    attention::forward(&mut vec![0.0; out], &vec![0.0; queries], &heads, &[sequence]);
}

#[test]
fn attention_of_wrong_shapes_is_refused() {
    attend(HEADS, 12, 12, [6, 6]);
    check_refused(vec![
        ("output", Box::new(|| attend(HEADS, 12, 24, [6, 6]))),
        ("a part of a row of queries", Box::new(|| attend(HEADS, 13, 13, [6, 6]))),
        ("a part of a row of keys", Box::new(|| attend(HEADS, 12, 12, [7, 7]))),
        ("fewer values than keys", Box::new(|| attend(HEADS, 12, 12, [12, 6]))),
        ("more values than keys", Box::new(|| attend(HEADS, 12, 12, [6, 12]))),
        ("no keys", Box::new(|| attend(HEADS, 12, 12, [0, 0]))),
        ("heads that do not group", Box::new(|| attend(Heads { key_value: 3, ..HEADS }, 12, 12, [6, 6]))),
        ("a stretch of other heads", Box::new(|| attend(Heads { key_value: 1, ..HEADS }, 12, 12, [6, 6]))),
    ]);
}

/// The backward of 4 rows, with arrays of these many rows: gradients of queries, keys and values, then saved queries,
/// keys and values, then the gradient of the output.
fn attention_backward(trees: &[Tree], rows: [usize; 7]) {
    let zeros = |index: usize| vec![0.0; rows[index] * if [0, 3, 6].contains(&index) { 12 } else { 6 }];
    let (mut queries, mut keys, mut values) = (zeros(0), zeros(1), zeros(2));
    let gradients = attention::Gradients { queries: &mut queries, keys: &mut keys, values: &mut values };
    let key_values = KeyValues { keys: &zeros(4), values: &zeros(5) };
    let saved = attention::Saved { queries: &zeros(3), key_values };
    attention::backward(gradients, saved, &zeros(6), (&HEADS, Compute::F32), trees);
}

#[test]
fn attention_backwards_of_wrong_shapes_are_refused() {
    let good = || vec![Tree { trunk: 0..1, branches: vec![1..2, 2..3] }, Tree { trunk: 3..4, branches: vec![] }];
    attention_backward(&good(), [4; 7]);
    for index in 0..7 {
        for wrong in [3, 5] {
            let mut rows = [4; 7];
            rows[index] = wrong;
            check_refused(vec![(
                ["query", "key", "value", "saved query", "saved key", "saved value", "output"][index % 7],
                Box::new(move || attention_backward(&good(), rows)),
            )]);
        }
    }
}

#[test]
fn trees_that_do_not_cover_the_rows_in_order_are_refused() {
    let tree = |trunk: std::ops::Range<usize>, branches: &[std::ops::Range<usize>]| Tree {
        trunk,
        branches: branches.to_vec(),
    };
    let check = |name, trees: Vec<Tree>| {
        check_refused(vec![(name, Box::new(move || attention_backward(&trees, [4; 7])))]);
    };
    check("rows missing at the end", vec![tree(0..3, &[])]);
    check("rows beyond the end", vec![tree(0..5, &[])]);
    check("rows missing between trees", vec![tree(0..1, &[]), tree(2..4, &[]), tree(3..4, &[])]);
    check("trees in the wrong order", vec![tree(2..4, &[]), tree(0..2, &[])]);
    check("a gap before a branch", vec![tree(0..1, &[2..3, 3..4])]);
    check("branches in the wrong order", vec![tree(0..1, &[3..4, 1..3, 3..4])]);
    check("overlapping branches", vec![tree(0..1, &[1..3, 2..4])]);
}

/// Logprobs of `hidden` floats and `tokens` tokens, or their backward, width 3 and vocabulary 5.
fn logprobs(out: usize, hidden: usize, tokens: &[u32]) {
    let head = PackedMatrix::new(Matrix::new(&[0.0; 15], 5), Compute::F32);
    let targets = Targets { hidden: &vec![0.0; hidden], tokens, temperature: 1.0 };
    logprob::forward(&mut vec![TokenLogprob::default(); out], targets, &head);
}

/// The backward of 2 rows: floats of the gradients of hidden rows and head, gradients given, results of the forward,
/// floats of hidden rows and of the head's rows.
fn logprobs_backward(floats: [usize; 6]) {
    let forward = PackedMatrix::new(Matrix::new(&[0.0; 15], 5), Compute::F32);
    let zeros = floats.map(|length| vec![0.0; length]);
    let backward = PackedMatrix::new(Matrix::new(&zeros[5], 3), Compute::F32);
    let targets = Targets { hidden: &zeros[4], tokens: &[0, 4], temperature: 1.0 };
    let (mut hidden, mut head_gradient) = (zeros[0].clone(), zeros[1].clone());
    let mut gradients = logprob::Gradients { hidden: &mut hidden, head: Some(&mut head_gradient) };
    let out = vec![TokenLogprob::default(); floats[3]];
    let head = Head { forward: &forward, backward: &backward };
    logprob::backward(&mut gradients, (&zeros[2], &out), targets, head, &mut Scratch::default());
}

#[test]
fn logprobs_of_wrong_shapes_are_refused() {
    logprobs(2, 6, &[0, 4]);
    check_refused(vec![
        ("output", Box::new(|| logprobs(3, 6, &[0, 4]))),
        ("hidden rows", Box::new(|| logprobs(2, 9, &[0, 4]))),
        ("a token beyond the vocabulary", Box::new(|| logprobs(2, 6, &[0, 5]))),
    ]);
    let good = [6, 15, 2, 2, 6, 15];
    logprobs_backward(good);
    check_refused(vec![("one hidden row of two", Box::new(|| logprobs_backward([3, 15, 2, 2, 3, 15])))]);
    for index in 0..6 {
        for wrong in [good[index] - 1, good[index] + 1, good[index] + 6, good[index] - 2] {
            let mut floats = good;
            floats[index] = wrong;
            let names =
                ["hidden gradient", "head gradient", "logprob gradients", "results", "hidden rows", "head rows"];
            check_refused(vec![(names[index], Box::new(move || logprobs_backward(floats)))]);
        }
    }
}

#[test]
fn updates_of_wrong_shapes_are_refused() {
    let step = adamw::Step {
        learning_rate: 0.1,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        gradient_scale: 1.0,
        count: 1,
    };
    for index in 0..4 {
        let mut lengths = [3; 4];
        lengths[index] = 4;
        let update = move || {
            let [mut values, gradient, mut first_moment, mut second_moment] = lengths.map(|length| vec![0.0; length]);
            let tensor = Tensor {
                values: &mut values,
                gradient: &gradient,
                first_moment: &mut first_moment,
                second_moment: &mut second_moment,
            };
            adamw::update(tensor, &step);
        };
        check_refused(vec![(["values", "gradient", "first", "second moment"][index], Box::new(update))]);
    }
}
