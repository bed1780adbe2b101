//! What the tests share: recorded values, outcomes written shortly, comparison of numbers; `world` for whole runs.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test whose recorded values cannot be read fails")]

pub(crate) mod world;

use std::{fs, path::PathBuf};

use rl::{
    random::{Purpose, Stream},
    shaping::{self, LengthPenalty, Outcome, Priced, Shaped, Shaping, Step, TopLambda},
};
use serde::de::DeserializeOwned;

/// A file of `tests/data`, written by the script of the same name in `scripts/reference`.
pub(crate) fn recorded<T: DeserializeOwned>(file: &str) -> T {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Correct completions of these lengths, then `wrong` wrong ones of 50 tokens.
pub(crate) fn group(correct_tokens: &[u32], wrong: usize) -> Vec<Outcome> {
    let correct = correct_tokens.iter().map(|&tokens| Outcome { correct: true, tokens });
    correct.chain(std::iter::repeat_n(Outcome { correct: false, tokens: 50 }, wrong)).collect()
}

/// `count` correct lengths, equally spaced: 100, 200, 300 …
pub(crate) fn equally_spaced(count: u32) -> Vec<u32> {
    (1..=count).map(|place| 100 * place).collect()
}

/// The stream that selection reads in a step.
pub(crate) fn selection_stream(seed: u64) -> Stream {
    Stream::new(seed, Purpose::Selection, [0; 3])
}

/// Top-λ with the paper's settings but for λ.
pub(crate) fn top_lambda(lambda: f64) -> TopLambda {
    TopLambda { lambda, ..TopLambda::default() }
}

/// Shapes the first step of a run; chance comes from `seed`.
pub(crate) fn shape(groups: &[Vec<Outcome>], shaping: &Shaping, seed: u64) -> Shaped {
    shaping::shape(&Step::of_outcomes(groups), shaping, &mut shaping.start(), &mut selection_stream(seed))
}

/// Shapes a step under GRPO-λ; chance comes from `seed`.
pub(crate) fn shape_top_lambda(groups: &[Vec<Outcome>], settings: &TopLambda, seed: u64) -> Shaped {
    shape(groups, &Shaping::TopLambda(settings.clone()), seed)
}

/// Rewards of the length penalty in one group.
pub(crate) fn length_penalty(group: &[Outcome], settings: &LengthPenalty) -> Vec<f64> {
    shaping::length_penalty(&group.iter().map(Priced::from).collect::<Vec<_>>(), settings)
}

/// The length penalty with the default standard deviation.
pub(crate) fn penalty(alpha: f64) -> LengthPenalty {
    LengthPenalty { alpha, ..LengthPenalty::default() }
}

/// Fails when any number of `ours` is further than `tolerance` from its partner in `theirs`.
pub(crate) fn assert_close(ours: &[f64], theirs: &[f64], tolerance: f64, what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}: {ours:?} and {theirs:?}");
    for (our, their) in ours.iter().zip(theirs) {
        let difference = (our - their).abs();
        assert!(difference <= tolerance, "{what}: {our} instead of {their}, a difference of {difference:e}");
    }
}
