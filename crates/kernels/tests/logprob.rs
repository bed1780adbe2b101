//! Token logprobs: against naive f64 loops and differences across chunks, on extreme logits, and their bits.
//!
//! Tolerances are relative to the largest expected number of an array. Measured errors are less than half of them.

use kernels::{
    logprob::{self, Gradients, Head, Normaliser, Scratch, Targets, TokenLogprob, log_sum_exp},
    matmul::{Compute, Matrix, PackedMatrix},
};

use support::{assert_close, bits, central_differences, inner_product, naive, numbers, wide, with_threads};

mod support;

const FORWARD: f64 = 5e-7;
const BACKWARD: f64 = 1e-6;

const VOCABULARY: usize = 37;
const WIDTH: usize = 9;
/// More than one chunk of 256 rows.
const ROWS: usize = 300;

/// Hidden rows \[N, C\], targets and their logprobs' gradients \[N\], and the head \[V, C\].
struct Inputs {
    hidden: Vec<f32>,
    tokens: Vec<u32>,
    gradients: Vec<f32>,
    head: Vec<f32>,
    temperature: f32,
}

impl Inputs {
    fn new(temperature: f32) -> Self {
        Self {
            hidden: numbers(1, ROWS * WIDTH).iter().map(|x| 2.0 * x).collect(),
            tokens: (0..ROWS as u32).map(|row| row * 7 % VOCABULARY as u32).collect(),
            gradients: numbers(2, ROWS),
            head: numbers(3, VOCABULARY * WIDTH),
            temperature,
        }
    }

    fn targets(&self, rows: std::ops::Range<usize>) -> Targets<'_> {
        let hidden = &self.hidden[rows.start * WIDTH..rows.end * WIDTH];
        Targets { hidden, tokens: &self.tokens[rows], temperature: self.temperature }
    }

    fn packed(&self) -> PackedMatrix {
        PackedMatrix::new(Matrix::new(&self.head, WIDTH).transposed(), Compute::F32)
    }

    /// Logprobs, then entropies, of `rows`.
    fn forward(&self, rows: std::ops::Range<usize>) -> [Vec<f32>; 2] {
        let mut out = vec![TokenLogprob::default(); rows.len()];
        logprob::forward(&mut out, self.targets(rows), &self.packed());
        [out.iter().map(|out| out.logprob).collect(), out.iter().map(|out| out.entropy).collect()]
    }

    /// The gradient of `rows` of the hidden rows; adds to `head`.
    fn backward(&self, rows: std::ops::Range<usize>, head: &mut [f32]) -> Vec<f32> {
        let mut hidden = vec![f32::NAN; rows.len() * WIDTH];
        let mut gradients = Gradients { hidden: &mut hidden, head: Some(head) };
        let given = &self.gradients[rows.clone()];
        let (forward, targets) = (self.packed(), self.targets(rows));
        let backward = PackedMatrix::new(Matrix::new(&self.head, WIDTH), Compute::F32);
        let mut out = vec![TokenLogprob::default(); given.len()];
        logprob::forward(&mut out, targets, &forward);
        let head = Head { forward: &forward, backward: &backward };
        logprob::backward(&mut gradients, (given, &out), targets, head, &mut Scratch::default());
        hidden
    }

    /// ln p of the targets by the naive loops.
    fn naive(&self, hidden: &[f64], head: &[f64], tokens: &[u32]) -> Vec<f64> {
        let all = naive::logprobs(hidden, head, WIDTH, f64::from(self.temperature));
        all.chunks_exact(VOCABULARY).zip(tokens).map(|(row, &token)| row[token as usize]).collect()
    }
}

#[test]
fn logprobs_and_entropies_match_f64() {
    for temperature in [1.0, 0.7] {
        let inputs = Inputs::new(temperature);
        let (hidden, head) = (wide(&inputs.hidden), wide(&inputs.head));
        let [logprobs, entropies] = inputs.forward(0..ROWS);
        assert_close("logprobs", &logprobs, &inputs.naive(&hidden, &head, &inputs.tokens), FORWARD);
        let all = naive::logprobs(&hidden, &head, WIDTH, f64::from(temperature));
        let expected: Vec<f64> = all.chunks_exact(VOCABULARY).map(naive::entropy).collect();
        assert_close("entropies", &entropies, &expected, FORWARD);
    }
}

#[test]
fn the_hidden_gradient_matches_the_differences_across_chunks() {
    for temperature in [1.0, 0.7] {
        let inputs = Inputs::new(temperature);
        let head = wide(&inputs.head);
        let found = inputs.backward(0..ROWS, &mut vec![0.0; VOCABULARY * WIDTH]);
        // A row's logprob depends on that row alone.
        let expected = (0..ROWS).flat_map(|row| {
            let loss = |hidden: &[f64]| {
                f64::from(inputs.gradients[row]) * inputs.naive(hidden, &head, &inputs.tokens[row..=row])[0]
            };
            central_differences(&inputs.hidden[row * WIDTH..][..WIDTH], loss)
        });
        assert_close("hidden gradient", &found, &expected.collect::<Vec<_>>(), BACKWARD);
    }
}

#[test]
fn the_head_gradient_is_added_and_matches_the_differences_across_chunks() {
    for temperature in [1.0, 0.7] {
        let inputs = Inputs::new(temperature);
        let mut found = vec![0.5; VOCABULARY * WIDTH];
        inputs.backward(0..ROWS, &mut found);
        let (hidden, gradients) = (wide(&inputs.hidden), wide(&inputs.gradients));
        let loss = |head: &[f64]| inner_product(&inputs.naive(&hidden, head, &inputs.tokens), &gradients);
        let expected: Vec<f64> = central_differences(&inputs.head, loss).iter().map(|x| x + 0.5).collect();
        assert_close("head gradient", &found, &expected, BACKWARD);
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_300() {
    let inputs = Inputs::new(0.7);
    let together = inputs.forward(0..ROWS);
    let mut head = vec![0.5; VOCABULARY * WIDTH];
    let hidden = inputs.backward(0..ROWS, &mut head);
    let mut head_of_rows = vec![0.5; VOCABULARY * WIDTH];
    for row in 0..ROWS {
        let alone = inputs.forward(row..row + 1);
        for i in 0..2 {
            assert_eq!(alone[i][0].to_bits(), together[i][row].to_bits(), "result {i} of row {row}");
        }
        let alone = inputs.backward(row..row + 1, &mut head_of_rows);
        assert_eq!(bits(&alone), bits(&hidden[row * WIDTH..][..WIDTH]), "hidden gradient of row {row}");
    }
    assert_eq!(bits(&head_of_rows), bits(&head), "head gradient summed row by row");
}

#[test]
fn threads_change_no_bit() {
    let inputs = Inputs::new(0.7);
    let all = |threads: usize| {
        with_threads(threads, || {
            let mut head = vec![0.5; VOCABULARY * WIDTH];
            let hidden = inputs.backward(0..ROWS, &mut head);
            let [logprobs, entropies] = inputs.forward(0..ROWS);
            [hidden, head, logprobs, entropies].map(|x| bits(&x))
        })
    };
    let one = all(1);
    for threads in [2, 3] {
        assert_eq!(all(threads), one, "{threads} threads");
    }
}

fn normaliser(logits: &[f32]) -> Normaliser {
    log_sum_exp(logits)
}

#[test]
fn a_normaliser_matches_f64_at_every_length() {
    for length in 1..=70 {
        let logits: Vec<f32> = numbers(1, length).iter().map(|x| 8.0 * x).collect();
        let found = normaliser(&logits);
        let wide_logits = wide(&logits);
        let expected = [wide_logits[0] - naive::log_softmax(&wide_logits)[0], naive::entropy(&wide_logits)];
        assert_close("normaliser", &[found.log_sum, found.entropy], &expected, FORWARD);
        assert!(logits.contains(&found.largest) && logits.iter().all(|&x| x <= found.largest));
    }
}

#[test]
fn equal_logits_have_the_entropy_of_their_number() {
    for (length, logit) in [(1, 3.5), (2, 0.0), (37, -1e4), (1000, 1e4), (50_000, 0.25)] {
        let found = normaliser(&vec![logit; length]);
        let nats = (length as f64).ln();
        // Beside a logit of 10⁴ the sum is rounded to 10⁻³.
        assert_close("log sum", &[found.log_sum], &[f64::from(logit) + nats], 1e-7);
        assert_close("entropy", &[1.0 + found.entropy], &[1.0 + nats], 1e-7);
    }
}

#[test]
fn a_one_hot_distribution_has_entropy_0_and_the_logprob_0() {
    for extreme in [1e4, 200.0, f32::MAX / 4.0] {
        let mut logits = vec![-extreme; 1000];
        logits[123] = extreme;
        let found = normaliser(&logits);
        assert_eq!((found.log_sum.to_bits(), found.largest.to_bits()), (extreme.to_bits(), extreme.to_bits()));
        assert!(found.entropy.abs() < 1e-30, "entropy {} at ±{extreme}", found.entropy);
    }
}

#[test]
fn a_logit_of_minus_infinity_takes_its_token_out_of_the_distribution() {
    let mut logits = numbers(1, 50);
    let without = [&logits[..20], &logits[21..]].concat();
    logits[20] = f32::NEG_INFINITY;
    let (with, without) = (normaliser(&logits), normaliser(&without));
    assert_close("normaliser", &[with.log_sum, with.entropy], &wide(&[without.log_sum, without.entropy]), FORWARD);
}

#[test]
fn entropy_is_never_below_0_by_more_than_rounding() {
    for seed in 0..200 {
        let spread = 10_f32.powf(seed as f32 / 40.0 - 1.0);
        let logits: Vec<f32> = numbers(seed, 1 + seed as usize * 7).iter().map(|x| spread * x).collect();
        let Normaliser { log_sum, entropy, .. } = normaliser(&logits);
        let most = (logits.len() as f32).ln();
        assert!(log_sum.is_finite() && entropy >= -1e-6 && entropy <= most + 2e-6, "{entropy} of {most}, seed {seed}");
    }
}

#[test]
fn a_dot_product_matches_f64_at_every_length() {
    for length in 1..=70 {
        let (a, b) = (numbers(1, length), numbers(2, length));
        let expected = inner_product(&wide(&a), &wide(&b));
        assert!((f64::from(logprob::dot(&a, &b)) - expected).abs() < 1e-6, "length {length}");
    }
}
