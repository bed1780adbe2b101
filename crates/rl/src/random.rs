//! Random streams: one for each purpose and place, so that no number depends on what else was drawn before it.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// What a stream is for; each purpose has streams of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Tokens of a training completion, by step, problem position and rollout.
    Rollout,
    /// Tokens of an evaluation completion, by benchmark problem and sample.
    Evaluation,
    /// Order of problems, by epoch.
    ProblemOrder,
    /// Ties and random choices between groups, by step.
    Selection,
    /// Order of demonstrations, by epoch.
    DemonstrationOrder,
    /// Initial parameters, by parameter index.
    Parameters,
    /// Order of the options of a multiple-choice problem, by problem position.
    Choices,
    /// Problems drawn with replacement for an interval.
    Bootstrap,
    /// Signs drawn for a permutation test.
    Signs,
    /// Waits before a request to a server is made again, by benchmark problem and sample.
    Retry,
    /// Length budgets, by problem id.
    Budget,
    /// The start of an adapter, by index of its parameter.
    Adapter,
}

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `purpose` at `place` under `seed`: ChaCha8 keyed with the seed, the purpose in the high byte of the
    /// second word with the first coordinate, and the other coordinates.
    pub fn new(seed: u64, purpose: Purpose, place: [u64; 3]) -> Self {
        assert!(place[0] < 1 << 56, "coordinate {}", place[0]);
        let words = [seed, (purpose as u64) << 56 | place[0], place[1], place[2]];
        let mut key = [0; 32];
        for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in 0…bound − 1, bias below 2⁻³² for bounds below 2³².
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound > 0, "an empty range");
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Standard normal, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A random order of 0…count − 1, by Fisher and Yates.
    pub fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}
