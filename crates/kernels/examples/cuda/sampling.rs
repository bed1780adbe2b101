//! Drawing tokens: against the cumulative distribution in f64, and token by token against the CPU.

use kernels::{
    cuda::{
        launch::{self, VOCABULARY_BLOCK},
        parameters::{BlockSum, DrawSettings, DrawnToken},
    },
    sample::{Sampling, draw},
};

use crate::{
    buffers::{Arguments, Array},
    compare::Trial,
    naive,
};

const VOCABULARIES: [usize; 5] = [1, 7, VOCABULARY_BLOCK, VOCABULARY_BLOCK + 1, 5 * VOCABULARY_BLOCK + 77];
/// Temperature (by which logits are already divided), top-k and top-p.
const SETTINGS: [Settings; 8] = [
    (0.0, 0, 1.0),
    (0.0, 3, 0.5),
    (1.0, 0, 1.0),
    (1.0, 1, 1.0),
    (1.0, 20, 1.0),
    (1.0, 0, 0.9),
    (1.0, 0, 1e-6),
    (1.0, 20, 0.83),
];
/// Temperature, top-k and top-p.
type Settings = (f32, usize, f32);

const ROWS: usize = 24;
/// Share of a distribution by which sums of f32 weights and of f64 weights may differ.
const SHARE: f64 = 1e-6;
/// Error of logprobs and entropies, nats, as a share of the largest logit (of 1 where all are smaller).
const NATS: f64 = 1e-6;

pub(crate) fn draws(trial: &mut Trial<'_>) {
    let (mut same, mut drawn) = (0, 0);
    for vocabulary in VOCABULARIES {
        for settings in SETTINGS {
            let logits = logits(trial, vocabulary);
            let uniforms = uniforms(trial);
            let found = sample(trial, (&logits, vocabulary), settings, &uniforms);
            for ((row, found), &uniform) in logits.chunks(vocabulary).zip(&found).zip(&uniforms) {
                same += usize::from(check(row, (settings, uniform), *found));
                drawn += 1;
            }
            trial.compared(1);
        }
    }
    println!("sampling: {same} of {drawn} tokens are the CPU's for the same uniform number");
    // A number that lies within rounding of a boundary may fall on either side of it: a few in a million.
    assert!(drawn - same <= 1, "{same} of {drawn} tokens are the CPU's");
}

/// Rows of several kinds: normal, with many equal logits, with −∞, far apart, and all equal.
fn logits(trial: &mut Trial<'_>, vocabulary: usize) -> Vec<f32> {
    let mut all = Vec::new();
    for row in 0..ROWS {
        let mut logits = trial.draws.normal(vocabulary, 2.0);
        match row % 5 {
            1 => logits.iter_mut().for_each(|logit| *logit = (*logit * 2.0).round() / 2.0),
            2 => {
                // At least one token is left.
                for _ in 0..vocabulary / 2 {
                    logits[trial.draws.below(vocabulary - 1) + 1] = f32::NEG_INFINITY;
                }
            }
            3 => logits.iter_mut().for_each(|logit| *logit *= 300.0),
            4 => logits = vec![logits[0]; vocabulary],
            _ => {}
        }
        all.extend(logits);
    }
    all
}

/// The ends, and numbers between.
fn uniforms(trial: &mut Trial<'_>) -> Vec<f64> {
    let mut uniforms: Vec<f64> = (0..ROWS).map(|_| trial.draws.uniform()).collect();
    uniforms[ROWS - 1] = 1.0 - f64::EPSILON / 2.0;
    uniforms[ROWS - 2] = 0.0;
    uniforms
}

/// Tokens by the kernel `sample`, whose block sums are worked out here in f64.
fn sample(
    trial: &Trial<'_>,
    (logits, vocabulary): (&[f32], usize),
    (temperature, top_k, top_p): Settings,
    uniforms: &[f64],
) -> Vec<DrawnToken> {
    let blocks = logits.chunks(vocabulary).flat_map(|row| row.chunks(VOCABULARY_BLOCK));
    let sums: Vec<BlockSum> = blocks.map(block_sum).collect();
    let out = Array::<DrawnToken>::poisoned(uniforms.len());
    let (logits, sums, uniforms) = (Array::read(logits), Array::read(&sums), Array::read(uniforms));
    let settings = DrawSettings { temperature, top_k: i32::try_from(top_k).expect("a small k"), top_p };
    let arrays = Arguments::default().array(&out).array(&logits).array(&sums).array(&uniforms);
    let arguments = arrays.value(settings).int(vocabulary).int(vocabulary.div_ceil(VOCABULARY_BLOCK));
    trial.card.run(&launch::sample(ROWS, vocabulary), arguments);
    out.values()
}

fn block_sum(logits: &[f32]) -> BlockSum {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let below = |logit: f32| f64::from(logit) - f64::from(largest);
    let weight: f64 = logits.iter().map(|&logit| below(logit).exp()).sum();
    let finite = logits.iter().filter(|logit| logit.is_finite());
    let sum: f64 = finite.map(|&logit| below(logit).exp() * below(logit)).sum();
    BlockSum { largest, weight: weight as f32, below: sum as f32 }
}

/// The tokens that top-k and top-p leave, in the order of the cumulative distribution: without either in that of tokens, else
/// by falling probability with lower tokens first among equals. As Hugging Face applies them: top-k, then of what is left the
/// fewest whose probabilities add up to at least top-p.
fn kept(logits: &[f64], (top_k, top_p): (usize, f32)) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    if top_k == 0 && top_p >= 1.0 {
        return order;
    }
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    order.truncate(if top_k == 0 { order.len() } else { top_k });
    let total: f64 = order.iter().map(|&token| (logits[token] - logits[order[0]]).exp()).sum();
    let mut before = 0.0;
    let nucleus = order.iter().take_while(|&&token| {
        let is_kept = before < f64::from(top_p);
        before += (logits[token] - logits[order[0]]).exp() / total;
        is_kept
    });
    let count = nucleus.count();
    order.truncate(count);
    order
}

/// Checks one draw, and tells whether the CPU draws the same token.
fn check(logits: &[f32], ((temperature, top_k, top_p), uniform): (Settings, f64), found: DrawnToken) -> bool {
    let wide: Vec<f64> = logits.iter().map(|&logit| f64::from(logit)).collect();
    let restriction = if temperature > 0.0 { (top_k, top_p) } else { (0, 1.0) };
    let order = kept(&wide, restriction);
    let of_kept: Vec<f64> = order.iter().map(|&token| wide[token]).collect();
    let logprobs = naive::log_softmax(&of_kept);
    let place = order.iter().position(|&token| token == found.token as usize);
    let place = place.unwrap_or_else(|| panic!("token {} is not among those kept", found.token));
    let before: f64 = logprobs[..place].iter().map(|logprob| logprob.exp()).sum();
    let after = before + logprobs[place].exp();
    if temperature > 0.0 {
        // At the very end rounding decides, and any token of some weight will do.
        let is_there = uniform > 1.0 - SHARE || (before <= uniform + SHARE && uniform <= after + SHARE);
        assert!(is_there, "token {} at {uniform}, whose share is {before} to {after}", found.token);
        assert!(logprobs[place].is_finite(), "token {} of weight 0 at {uniform}", found.token);
    } else {
        let largest = wide.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(wide.iter().position(|&logit| logit >= largest), Some(found.token as usize), "the most likely");
    }
    let terms = logprobs.iter().filter(|logprob| logprob.is_finite()).map(|logprob| -logprob.exp() * logprob);
    let entropy: f64 = terms.sum();
    let size = of_kept.iter().filter(|logit| logit.is_finite()).fold(1.0_f64, |size, logit| size.max(logit.abs()));
    for (found, expected) in [(found.logprob, logprobs[place]), (found.entropy, entropy)] {
        let error = (f64::from(found) - expected).abs();
        assert!(error <= NATS * size, "{found} nats where {expected} are right, of logits up to {size}");
    }
    let sampling = Sampling { temperature, top_k, top_p };
    uniform > 1.0 - SHARE || draw(&mut logits.to_vec(), &sampling, uniform).token == found.token
}
