//! The random draws that problems and demonstrations are made from.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// What a random stream is for; the discriminant is `ChaCha`'s stream number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stream {
    Training = 1,
    HeldOut = 2,
    Demonstrations = 3,
}

/// Random draws of one seed and stream, in sequence.
pub(super) struct Draws {
    generator: ChaCha8Rng,
    /// Levels that the current block of four still owes, the next one last.
    levels: Vec<usize>,
}

impl Draws {
    /// `ChaCha8` with the seed as the first 8 bytes of its key, little-endian, the other 24 zero, and the given stream.
    pub(super) fn new(seed: u64, stream: Stream) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(stream as u64);
        Self { generator, levels: Vec::new() }
    }

    /// The next level: every block of as many as there are holds each once, in random order.
    pub(super) fn level(&mut self, levels: &[usize; 4]) -> usize {
        if self.levels.is_empty() {
            self.levels = self.shuffled(levels);
        }
        self.levels.pop().expect("a block holds four levels")
    }

    /// An index, as often as its weight says.
    pub(super) fn weighted(&mut self, weights: &[u32]) -> usize {
        let mut place = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            if place < weight {
                return index;
            }
            place -= weight;
        }
        unreachable!("a place below the sum of the weights")
    }

    /// Uniform in 0…`bound` − 1: a word beyond the last multiple of `bound` is dropped. Written here because the draws
    /// must stay the same when a library changes its way of sampling a range.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let limit = u32::MAX - u32::MAX % bound;
        loop {
            let word = self.generator.next_u32();
            if word < limit {
                return word % bound;
            }
        }
    }

    /// Uniform in `low`…`high`, both included.
    pub(super) fn between(&mut self, low: u8, high: u8) -> u8 {
        low + self.below(u32::from(high - low) + 1) as u8
    }

    /// Fisher and Yates.
    fn shuffled(&mut self, levels: &[usize; 4]) -> Vec<usize> {
        let mut levels = levels.to_vec();
        for last in (1..levels.len()).rev() {
            let other = self.below(last as u32 + 1) as usize;
            levels.swap(last, other);
        }
        levels
    }
}
