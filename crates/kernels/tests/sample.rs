//! Drawing tokens: the drawn frequencies, what top-k and top-p keep, and the logprob that comes with a token.

use kernels::{
    logprob::{self, Targets, TokenLogprob},
    matmul::{Compute, Matrix, Output, PackedMatrix, multiply},
    sample::{Drawn, Sampling, draw},
};

use support::{assert_close, naive, numbers, wide};

mod support;

/// The largest f64 below 1.
const ALMOST_1: f64 = 1.0 - f64::EPSILON / 2.0;

const UNRESTRICTED: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 };

/// Draws from a copy of `logits`, whatever an earlier call left in the scratch.
fn drawn(logits: &[f32], sampling: Sampling, uniform: f64) -> Drawn {
    draw(&mut logits.to_vec(), &sampling, uniform)
}

/// The share of each token over a grid of `count` uniform numbers.
fn frequencies(logits: &[f32], sampling: Sampling, count: usize) -> Vec<f64> {
    let mut frequencies = vec![0.0; logits.len()];
    for i in 0..count {
        let uniform = (i as f64 + 0.5) / count as f64;
        frequencies[drawn(logits, sampling, uniform).token as usize] += 1.0 / count as f64;
    }
    frequencies
}

/// ln of whole-number weights, so that probabilities are fractions worked by hand.
fn logits_of(weights: &[f64]) -> Vec<f32> {
    weights.iter().map(|weight| weight.ln() as f32).collect()
}

#[test]
fn frequencies_over_a_grid_are_the_softmax() {
    for temperature in [0.5, 1.0, 1.7] {
        let logits: Vec<f32> = numbers(1, 37).iter().map(|x| 4.0 * x).collect();
        let found = frequencies(&logits, Sampling { temperature, ..UNRESTRICTED }, 20_000);
        let scaled: Vec<f64> = wide(&logits).iter().map(|x| x / f64::from(temperature)).collect();
        for (token, logprob) in naive::log_softmax(&scaled).into_iter().enumerate() {
            // A cell of the grid is 1/20,000 wide, and rounding of the logprobs shifts the ends by less than that.
            let difference = (found[token] - logprob.exp()).abs();
            assert!(difference <= 1.1 / 20_000.0, "token {token} at temperature {temperature}: off by {difference}");
        }
    }
}

#[test]
fn temperature_0_takes_the_first_largest_logit_and_reports_its_logprob_at_1() {
    let greedy = Sampling { temperature: 0.0, ..UNRESTRICTED };
    for (weights, token, probability) in
        [(vec![5.0], 0, 1.0), (vec![1.0, 2.0, 1.0], 1, 0.5), (vec![1.0, 3.0, 3.0, 1.0], 1, 0.375)]
    {
        for uniform in [0.0, 0.5, ALMOST_1] {
            let found = drawn(&logits_of(&weights), greedy, uniform);
            assert_eq!(found.token, token);
            assert_close("logprob", &[found.logprob], &[f64::ln(probability)], 5e-7);
        }
    }
}

#[test]
fn top_k_of_1_is_certain_of_the_first_largest_logit() {
    for temperature in [0.3, 1.0] {
        for uniform in [0.0, 0.5, ALMOST_1] {
            let sampling = Sampling { temperature, top_k: 1, top_p: 1.0 };
            let found = drawn(&[0.5, 2.0, -1.0, 2.0], sampling, uniform);
            assert_eq!((found.token, found.logprob.to_bits()), (1, 0.0_f32.to_bits()));
        }
    }
}

/// Tokens that are drawn for some uniform number, with their probabilities, by token.
fn kept(weights: &[f64], top_k: usize, top_p: f32) -> Vec<(usize, f64)> {
    let frequencies = frequencies(&logits_of(weights), Sampling { temperature: 1.0, top_k, top_p }, 10_000);
    frequencies.into_iter().enumerate().filter(|(_, share)| *share > 0.0).collect()
}

/// Top-k, top-p, and the tokens that they keep with their probabilities.
type Restricted<'a> = (usize, f32, &'a [(usize, f64)]);

#[test]
fn restrictions_keep_the_fewest_likeliest_tokens_and_renormalise() {
    // Of 20: probabilities 0.1, 0.4, 0.05, 0.25, 0.2.
    let weights = [2.0, 8.0, 1.0, 5.0, 4.0];
    let cases: [Restricted; 9] = [
        (0, 1.0, &[(0, 0.1), (1, 0.4), (2, 0.05), (3, 0.25), (4, 0.2)]),
        (9, 1.0, &[(0, 0.1), (1, 0.4), (2, 0.05), (3, 0.25), (4, 0.2)]),
        (0, 0.97, &[(0, 0.1), (1, 0.4), (2, 0.05), (3, 0.25), (4, 0.2)]),
        (0, 0.94, &[(0, 2.0 / 19.0), (1, 8.0 / 19.0), (3, 5.0 / 19.0), (4, 4.0 / 19.0)]),
        (0, 0.66, &[(1, 8.0 / 17.0), (3, 5.0 / 17.0), (4, 4.0 / 17.0)]),
        (0, 0.64, &[(1, 8.0 / 13.0), (3, 5.0 / 13.0)]),
        (0, 0.0, &[(1, 1.0)]),
        (3, 1.0, &[(1, 8.0 / 17.0), (3, 5.0 / 17.0), (4, 4.0 / 17.0)]),
        // Top-p counts the probabilities that top-k renormalised: 8/17 and 5/17 make 0.76.
        (3, 0.75, &[(1, 8.0 / 13.0), (3, 5.0 / 13.0)]),
    ];
    for (top_k, top_p, expected) in cases {
        let found = kept(&weights, top_k, top_p);
        assert_eq!(found.len(), expected.len(), "top-k {top_k}, top-p {top_p}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 2e-4, "{found:?}, expected {expected:?}");
        }
    }
}

#[test]
fn among_equal_logits_the_first_tokens_are_kept() {
    assert_eq!(kept(&[1.0, 2.0, 2.0, 2.0], 2, 1.0).iter().map(|kept| kept.0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(kept(&[2.0, 2.0, 1.0, 2.0], 0, 0.5).iter().map(|kept| kept.0).collect::<Vec<_>>(), [0, 1]);
    for (top_k, top_p) in [(7, 1.0), (0, 0.069)] {
        let tokens: Vec<usize> = kept(&[1.0; 100], top_k, top_p).iter().map(|kept| kept.0).collect();
        assert_eq!(tokens, [0, 1, 2, 3, 4, 5, 6], "top-k {top_k}, top-p {top_p}");
    }
}

#[test]
fn the_logprob_is_that_of_the_renormalised_distribution() {
    let logits = logits_of(&[2.0, 8.0, 1.0, 5.0, 4.0]);
    let restricted = Sampling { temperature: 1.0, top_k: 3, top_p: 0.75 };
    // Likeliest first: token 1 with 8/13 up to 0.615, then token 3 with 5/13.
    for (uniform, token, probability) in [(0.0, 1, 8.0 / 13.0), (0.6, 1, 8.0 / 13.0), (0.63, 3, 5.0 / 13.0)] {
        let found = drawn(&logits, restricted, uniform);
        assert_eq!(found.token, token, "at {uniform}");
        assert_close("logprob", &[found.logprob], &[f64::ln(probability)], 5e-7);
    }
    // Temperature ½ squares the weights: of 110, token 1 has 64 and token 3 has 25; both together pass 0.8.
    let found = drawn(&logits, Sampling { temperature: 0.5, top_k: 0, top_p: 0.8 }, 0.99);
    assert_eq!(found.token, 3);
    assert_close("logprob", &[found.logprob], &[f64::ln(25.0 / 89.0)], 5e-7);
}

#[test]
fn every_uniform_number_gives_a_token_that_has_a_probability() {
    let far = [-1e4, 0.0, -1e4, 1.0, -1e4];
    let cases: [(&[f32], &[u32]); 4] =
        [(&[0.0], &[0]), (&[0.0; 50], &[0, 49]), (&far, &[1, 3]), (&[f32::NEG_INFINITY, 3.0, f32::NEG_INFINITY], &[1])];
    for (logits, ends) in cases {
        for (uniform, token) in [(0.0, ends[0]), (ALMOST_1, ends[ends.len() - 1])] {
            let found = drawn(logits, UNRESTRICTED, uniform);
            // Rounding may leave the probabilities' sum below the largest uniform number; then the likeliest is drawn.
            assert!(found.token == token || uniform > 0.5, "{logits:?} at {uniform}: {found:?}");
            assert!(logits[found.token as usize] > -1e4 && found.logprob <= 0.0, "{logits:?} at {uniform}: {found:?}");
        }
    }
}

#[test]
fn uniform_numbers_near_1_stay_valid_for_any_distribution() {
    for seed in 0..200 {
        let logits: Vec<f32> = numbers(seed, 1 + seed as usize * 5).iter().map(|x| 10.0 * x).collect();
        for (top_k, top_p) in [(0, 1.0), (7, 1.0), (0, 0.9), (7, 0.9)] {
            let found = drawn(&logits, Sampling { temperature: 0.7, top_k, top_p }, ALMOST_1);
            let token = found.token as usize;
            assert!(token < logits.len() && found.logprob.is_finite() && found.logprob <= 0.0, "{found:?}");
        }
    }
}

#[test]
#[should_panic(expected = "uniform number 1")]
fn a_uniform_number_of_1_is_refused() {
    drawn(&[0.0, 1.0], UNRESTRICTED, 1.0);
}

#[test]
fn top_k_and_top_p_that_keep_everything_change_no_logprob() {
    let logits: Vec<f32> = numbers(1, 300).iter().map(|x| 6.0 * x).collect();
    let normaliser = |sampling: Sampling| {
        let found = drawn(&logits, sampling, 0.5);
        logits[found.token as usize] - found.logprob
    };
    let expected = f64::from(logits[0]) - naive::log_softmax(&wide(&logits))[0];
    let unrestricted = [UNRESTRICTED, Sampling { top_k: 300, ..UNRESTRICTED }, Sampling { top_k: 999, ..UNRESTRICTED }];
    for sampling in unrestricted {
        assert_close("normaliser", &[normaliser(sampling)], &[expected], 2e-7);
    }
}

#[test]
fn an_unrestricted_logprob_has_the_bits_of_the_trainers() {
    const WIDTH: usize = 19;
    const VOCABULARY: usize = 301;
    let (hidden, head) = (numbers(1, WIDTH), numbers(2, VOCABULARY * WIDTH));
    let packed = PackedMatrix::new(Matrix::new(&head, WIDTH).transposed(), Compute::F32);
    for temperature in [1.0, 0.7] {
        let tokens: Vec<u32> = (0..VOCABULARY as u32).collect();
        let repeated = hidden.repeat(VOCABULARY);
        let mut trained = vec![TokenLogprob::default(); VOCABULARY];
        logprob::forward(&mut trained, Targets { hidden: &repeated, tokens: &tokens, temperature }, &packed);
        let mut logits = vec![0.0; VOCABULARY];
        multiply(&mut logits, Matrix::new(&hidden, WIDTH), &packed, Output::Overwrite);
        for i in 0..1000 {
            let found = drawn(&logits, Sampling { temperature, ..UNRESTRICTED }, f64::from(i) / 1000.0);
            let expected = trained[found.token as usize].logprob;
            assert_eq!(found.logprob.to_bits(), expected.to_bits(), "token {}", found.token);
        }
    }
}

#[test]
fn logits_without_an_order_have_no_logprob_whatever_restricts_the_tokens() {
    for wrong in [vec![1.0, f32::NAN, 2.0], vec![-f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![f32::NEG_INFINITY; 3]]
    {
        for (top_k, top_p) in [(0, 1.0), (0, 0.95), (2, 1.0), (1, 0.5)] {
            let found = drawn(&wrong, Sampling { temperature: 1.0, top_k, top_p }, 0.5);
            assert!(
                (found.token as usize) < wrong.len() && !found.logprob.is_finite(),
                "{wrong:?} {top_k} {top_p}: {found:?}"
            );
        }
    }
}
