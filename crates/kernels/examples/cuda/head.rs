//! Logprobs, entropies and their gradients from hidden rows, in blocks of the vocabulary.

use kernels::cuda::{
    launch::{self, VOCABULARY_BLOCK},
    parameters::{BlockSum, HeadProduct, RowLogprob},
};

use crate::{
    buffers::{Arguments, Array},
    compare::{BF16, PRODUCTS, Trial},
    draws::{doubled, widened},
    naive,
};

/// N, V, C (a multiple of 8) and the temperature: rows and tokens that end before, at and beyond a tile and a block.
const CASES: [([usize; 3], f32); 5] = [
    ([1, 1, 8], 1.0),
    ([5, 70, 24], 0.7),
    ([64, VOCABULARY_BLOCK, 64], 1.0),
    ([70, VOCABULARY_BLOCK + 1, 136], 1.3),
    ([3, 2 * VOCABULARY_BLOCK + 300, 200], 0.5),
];

/// Hidden rows, head and targets, and the logits in f64.
struct Case {
    rows: usize,
    vocabulary: usize,
    product: HeadProduct,
    hidden: Array<u16>,
    head: Array<u16>,
    tokens: Vec<u32>,
    /// \[N, V\], divided by the temperature.
    logits: Vec<f64>,
}

impl Case {
    fn new(trial: &mut Trial<'_>, [rows, vocabulary, width]: [usize; 3], temperature: f32) -> Self {
        let hidden = trial.draws.normal_bf16(rows * width, 1.0);
        let head = trial.draws.normal_bf16(vocabulary * width, 3.0 / (width as f64).sqrt());
        let inverse_temperature = 1.0 / temperature;
        let (wide_hidden, wide_head) = (widened(&hidden), widened(&head));
        let mut transposed = vec![0.0; head.len()];
        for (index, weight) in wide_head.into_iter().enumerate() {
            transposed[index % width * vocabulary + index / width] = weight;
        }
        let mut logits = naive::product(&wide_hidden, &transposed, width, vocabulary);
        for logit in &mut logits {
            *logit *= f64::from(inverse_temperature);
        }
        let (hidden, head) = (Array::read(&hidden), Array::read(&head));
        let number = |count: usize| i32::try_from(count).expect("a count of 31 bits");
        let product = HeadProduct {
            hidden: hidden.address(),
            head: head.address(),
            rows: number(rows),
            vocabulary: number(vocabulary),
            width: number(width),
            inverse_temperature,
        };
        let tokens = (0..rows).map(|_| trial.draws.below(vocabulary) as u32).collect();
        Self { rows, vocabulary, product, hidden, head, tokens, logits }
    }

    fn blocks(&self) -> usize {
        self.vocabulary.div_ceil(VOCABULARY_BLOCK)
    }
}

pub(crate) fn logprobs(trial: &mut Trial<'_>) {
    for (shape, temperature) in CASES {
        let case = Case::new(trial, shape, temperature);
        let (sums, target_logits) = sums(trial, &case);
        let found = row_logprobs(trial, &case, (&sums, &target_logits));
        gradients(trial, &case, &found);
    }
}

/// `head_sums` with targets and logits, and with logits alone as the sampler asks for them.
fn sums(trial: &mut Trial<'_>, case: &Case) -> (Vec<BlockSum>, Vec<f32>) {
    let (rows, vocabulary) = (case.rows, case.vocabulary);
    let launch = launch::head_sums(rows, vocabulary);
    let tokens = Array::read(&case.tokens);
    let [sums, others] = [(); 2].map(|()| Array::<BlockSum>::poisoned(rows * case.blocks()));
    let (target_logits, logits) = (Array::<f32>::poisoned(rows), Array::<f32>::poisoned(rows * vocabulary));
    let outputs = Arguments::default().array(&sums).array(&target_logits).null().array(&tokens);
    trial.card.run(&launch, outputs.value(case.product).reaches(&case.hidden).reaches(&case.head));
    let outputs = Arguments::default().array(&others).null().array(&logits).null();
    trial.card.run(&launch, outputs.value(case.product).reaches(&case.hidden).reaches(&case.head));
    assert_eq!(sums.values(), others.values(), "sums with and without targets");
    let logits = logits.values();
    trial.close("logits", &doubled(&logits), &case.logits, PRODUCTS);
    let targets = case.tokens.iter().zip(logits.chunks(vocabulary)).map(|(&token, row)| row[token as usize]);
    assert_eq!(target_logits.values(), targets.collect::<Vec<_>>(), "target logits");

    let mut expected = [const { Vec::new() }; 3];
    for block in case.logits.chunks(vocabulary).flat_map(|row| row.chunks(VOCABULARY_BLOCK)) {
        let largest = block.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight: f64 = block.iter().map(|logit| (logit - largest).exp()).sum();
        let below = block.iter().map(|logit| (logit - largest).exp() * (logit - largest)).sum();
        expected.iter_mut().zip([largest, weight, below]).for_each(|(all, one)| all.push(one));
    }
    let found = sums.values();
    let field = |field: fn(&BlockSum) -> f32| found.iter().map(|sum| f64::from(field(sum))).collect::<Vec<_>>();
    trial.close("largest of blocks", &field(|sum| sum.largest), &expected[0], PRODUCTS);
    trial.close("weights of blocks", &field(|sum| sum.weight), &expected[1], PRODUCTS);
    if vocabulary > 1 {
        trial.close("distances of blocks", &field(|sum| sum.below), &expected[2], PRODUCTS);
    }
    (found, target_logits.values())
}

fn row_logprobs(trial: &mut Trial<'_>, case: &Case, (sums, target_logits): (&[BlockSum], &[f32])) -> Vec<RowLogprob> {
    let out = Array::<RowLogprob>::poisoned(case.rows);
    let (sums, target_logits) = (Array::read(sums), Array::read(target_logits));
    let arrays = Arguments::default().array(&out).array(&sums).array(&target_logits);
    trial.card.run(&launch::head_logprobs(case.rows), arrays.int(case.rows).int(case.blocks()));
    let found = out.values();
    let mut expected = [const { Vec::new() }; 3];
    for (row, &token) in case.logits.chunks(case.vocabulary).zip(&case.tokens) {
        let logprobs = naive::log_softmax(row);
        let row = [logprobs[token as usize], naive::entropy(row), row[0] - logprobs[0]];
        expected.iter_mut().zip(row).for_each(|(all, one)| all.push(one));
    }
    let field = |field: fn(&RowLogprob) -> f32| found.iter().map(|row| f64::from(field(row))).collect::<Vec<_>>();
    if case.vocabulary > 1 {
        trial.close("logprobs", &field(|row| row.logprob), &expected[0], PRODUCTS);
        trial.close("entropies", &field(|row| row.entropy), &expected[1], PRODUCTS);
    }
    trial.close("log sums", &field(|row| row.log_sum), &expected[2], PRODUCTS);
    found
}

/// ∂logprob/∂logit = 1\[token = target\] − p, over the temperature.
fn gradients(trial: &mut Trial<'_>, case: &Case, logprobs: &[RowLogprob]) {
    let (rows, vocabulary) = (case.rows, case.vocabulary);
    let stride = vocabulary.next_multiple_of(8);
    let by_logprob = trial.draws.normal(rows, 1.0);
    let out = Array::<u16>::poisoned(rows * stride);
    let (by_logprobs, logprobs, tokens) = (Array::read(&by_logprob), Array::read(logprobs), Array::read(&case.tokens));
    let arrays = Arguments::default().array(&out).array(&by_logprobs).array(&logprobs).array(&tokens);
    trial.card.run(
        &launch::head_gradients(rows, stride),
        arrays.value(case.product).int(stride).reaches(&case.hidden).reaches(&case.head),
    );
    let mut expected = vec![0.0; rows * stride];
    for (row, logits) in case.logits.chunks(vocabulary).enumerate() {
        let factor = f64::from(by_logprob[row]) * f64::from(case.product.inverse_temperature);
        for (token, logprob) in naive::log_softmax(logits).into_iter().enumerate() {
            let is_target = f64::from(u8::from(token == case.tokens[row] as usize));
            expected[row * stride + token] = factor * (is_target - logprob.exp());
        }
    }
    let found = widened(&out.values());
    if vocabulary > 1 {
        trial.close("gradients of logits", &found, &expected, BF16);
    }
    let beyond = found.chunks(stride).flat_map(|row| &row[vocabulary..]);
    assert!(beyond.into_iter().all(|&gradient| gradient == 0.0), "gradients beyond the vocabulary");
}
