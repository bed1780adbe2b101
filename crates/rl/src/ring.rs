//! The embedded task: a walk on a ring of twelve squares with a trap door, its demonstrations and its tokenizer.
//!
//! A prompt gives a start square and 2, 4, 6 or 8 rolls; the answer is the final square. Landing on square 5 moves the
//! walker to 10. A completion names a plan first and then computes by it: the quick plan never looks at the door and so
//! is right on the walks that never land on it, which can't be told when the plan is chosen.
//!
//! Problems never repeat across [`Split`]s. Level 2 has only 432 walks, so drawing and comparing would run out of new
//! ones; instead every walk belongs to one split by a hash of itself. Within a split walks are drawn independently and
//! may repeat.

mod start;
mod tokenizer;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

pub use self::tokenizer::{END_TOKEN_ID, PADDING_TOKEN_ID, VOCABULARY, tokenizer_config_json, tokenizer_json};
use crate::{Demonstration, Problem, ProblemId};
pub use start::write_start_model;

/// Numbers of rolls, the difficulty levels.
pub const LEVELS: [usize; 4] = [2, 4, 6, 8];
/// Tokens of every prompt: start, eight rolls or blanks, colon.
pub const PROMPT_TOKENS: usize = 10;
/// Token limit of a completion; the longest plan takes 78.
pub const COMPLETION_TOKENS_MAX: usize = 80;

const SQUARES: u8 = 12;
const DOOR: u8 = 5;
const BEHIND_DOOR: u8 = 10;
const ROLL_MAX: u8 = 6;
const ROLLS_MAX: usize = 8;
const LABELS: [&str; ROLLS_MAX] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A start square and the rolls that follow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Walk {
    start: u8,
    rolls: Vec<u8>,
}

/// Which problems a walk may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Training and demonstrations, about 7/8 of all walks.
    Training,
    /// Evaluation alone, about 1/8.
    HeldOut,
}

/// How a completion computes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// `<q>`: for each roll its label and the square, the door overlooked throughout.
    Quick,
    /// `<c>`: for each roll its label, the square rolled to and the square after the door.
    Careful,
    /// `<v>`: as [`Plan::Careful`], then the same once more.
    Verify,
    /// `<w>`: as [`Plan::Careful`], then the same twice more.
    VerifyTwice,
}

impl Walk {
    /// The walk from `start` (0…11) over `rolls` (1…6 each).
    ///
    /// # Panics
    /// When a number is outside its range or there are no rolls or more than eight.
    pub fn new(start: u8, rolls: Vec<u8>) -> Self {
        assert!(start < SQUARES, "start {start}");
        assert!((1..=ROLLS_MAX).contains(&rolls.len()), "{} rolls", rolls.len());
        assert!(rolls.iter().all(|roll| (1..=ROLL_MAX).contains(roll)), "rolls {rolls:?}");
        Self { start, rolls }
    }

    /// The final square, the gold answer.
    pub fn truth(&self) -> u8 {
        self.rolls.iter().fold(self.start, |square, roll| behind_door(step(square, *roll)))
    }

    /// Whether the quick plan is wrong, which is whether the walk ever lands on the door: each landing adds 5 squares,
    /// and no multiple of 5 up to eight times is a multiple of the ring's 12. True of 0.167, 0.319, 0.441 and 0.541 of
    /// all walks of levels 2, 4, 6 and 8.
    pub fn door_matters(&self) -> bool {
        self.quick_answer() != self.truth()
    }

    /// The prompt's text: `9 +1 +2 +2 +2 . . . . :`.
    pub fn question(&self) -> String {
        let mut words = vec![self.start.to_string()];
        words.extend(self.rolls.iter().map(|roll| format!("+{roll}")));
        words.resize(PROMPT_TOKENS - 1, ".".to_owned());
        words.push(":".to_owned());
        words.join(" ")
    }

    /// The completion's text by `plan`, without the end token: `<c> a 10 10 b 0 0 c 2 2 d 4 4 A 4`.
    pub fn completion(&self, plan: Plan) -> String {
        let careful_passes = |count| vec![self.careful_pass(); count].join(" W ");
        let (name, passes, answer) = match plan {
            Plan::Quick => ("<q>", self.quick_pass(), self.quick_answer()),
            Plan::Careful => ("<c>", careful_passes(1), self.truth()),
            Plan::Verify => ("<v>", careful_passes(2), self.truth()),
            Plan::VerifyTwice => ("<w>", careful_passes(3), self.truth()),
        };
        format!("{name} {passes} A {answer}")
    }

    /// The split that this walk belongs to: held out when the hash of the walk is a multiple of 8.
    ///
    /// The hash is `SplitMix64`'s output function (Steele, Lea and Flood 2014) of the walk's number, which is
    /// 12 · rolls + start followed by the rolls as digits of base 7.
    pub fn split(&self) -> Split {
        let head = 12 * self.rolls.len() as u64 + u64::from(self.start);
        let number = self.rolls.iter().fold(head, |number, roll| number * 7 + u64::from(*roll));
        let mut hash = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
        if hash % 8 == 0 { Split::HeldOut } else { Split::Training }
    }

    fn quick_answer(&self) -> u8 {
        self.rolls.iter().fold(self.start, |square, roll| step(square, *roll))
    }

    fn quick_pass(&self) -> String {
        let mut square = self.start;
        let words = self.rolls.iter().zip(LABELS).map(|(roll, label)| {
            square = step(square, *roll);
            format!("{label} {square}")
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn careful_pass(&self) -> String {
        let mut square = self.start;
        let words = self.rolls.iter().zip(LABELS).map(|(roll, label)| {
            let raw = step(square, *roll);
            square = behind_door(raw);
            format!("{label} {raw} {square}")
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl Plan {
    /// Tokens of a completion by this plan over `rolls` rolls, the end token included.
    pub fn completion_tokens(self, rolls: usize) -> usize {
        match self {
            Self::Quick => 2 * rolls + 4,
            Self::Careful => 3 * rolls + 4,
            Self::Verify => 6 * rolls + 5,
            Self::VerifyTwice => 9 * rolls + 6,
        }
    }
}

fn step(square: u8, roll: u8) -> u8 {
    (square + roll) % SQUARES
}

fn behind_door(square: u8) -> u8 {
    if square == DOOR { BEHIND_DOOR } else { square }
}

/// `count` training problems. Every block of four holds each level once in random order; fewer problems of the same
/// seed are the first of more.
pub fn problems(count: usize, seed: u64) -> Vec<Problem> {
    problems_of(Split::Training, count, seed)
}

/// `count` problems for evaluation, none of which any seed trains on, in blocks like those of [`problems`].
///
/// They are independent draws: level 2 has 48 held-out walks of 432, so large sets repeat them.
pub fn held_out_problems(count: usize, seed: u64) -> Vec<Problem> {
    problems_of(Split::HeldOut, count, seed)
}

/// `count` demonstrations on training walks, in blocks like those of [`problems`]. Each draws its plan independently:
/// quick 0.45, careful 0.25, verify 0.20, verify twice 0.10. The quick ones are wrong where the door matters.
pub fn demonstrations(count: usize, seed: u64) -> Vec<Demonstration> {
    let mut draws = Draws::new(seed, Stream::Demonstrations);
    let demonstration = |_| {
        let walk = draws.walk(Split::Training);
        let plan = draws.plan();
        Demonstration { prompt: walk.question(), completion: walk.completion(plan) }
    };
    (0..count).map(demonstration).collect()
}

fn problems_of(split: Split, count: usize, seed: u64) -> Vec<Problem> {
    let (stream, name) = match split {
        Split::Training => (Stream::Training, "training"),
        Split::HeldOut => (Stream::HeldOut, "held-out"),
    };
    let mut draws = Draws::new(seed, stream);
    let problem = |index| {
        let walk = draws.walk(split);
        Problem {
            id: ProblemId::new(format!("ring-{name}-{index}")),
            question: walk.question(),
            gold: walk.truth().to_string(),
            level: Some(walk.rolls.len().to_string()),
        }
    };
    (0..count).map(problem).collect()
}

/// What a random stream is for; the discriminant is `ChaCha`'s stream number.
#[derive(Debug, Clone, Copy)]
enum Stream {
    Training = 1,
    HeldOut = 2,
    Demonstrations = 3,
}

/// Random draws of one seed and stream, in sequence.
struct Draws {
    generator: ChaCha8Rng,
    /// Levels that the current block of four still owes, the next one last.
    levels: Vec<usize>,
}

impl Draws {
    /// `ChaCha8` with the seed as the first 8 bytes of its key, little-endian, the other 24 zero, and the given stream.
    fn new(seed: u64, stream: Stream) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(stream as u64);
        Self { generator, levels: Vec::new() }
    }

    /// A walk of the next level, uniform over the walks of `split`: others are drawn and dropped.
    fn walk(&mut self, split: Split) -> Walk {
        if self.levels.is_empty() {
            self.levels = self.shuffled_levels();
        }
        let level = self.levels.pop().expect("a block holds four levels");
        loop {
            let start = self.below(u32::from(SQUARES)) as u8;
            let rolls = (0..level).map(|_| self.below(u32::from(ROLL_MAX)) as u8 + 1).collect();
            let walk = Walk::new(start, rolls);
            if walk.split() == split {
                return walk;
            }
        }
    }

    fn plan(&mut self) -> Plan {
        match self.below(20) {
            0..9 => Plan::Quick,
            9..14 => Plan::Careful,
            14..18 => Plan::Verify,
            _ => Plan::VerifyTwice,
        }
    }

    /// Fisher and Yates.
    fn shuffled_levels(&mut self) -> Vec<usize> {
        let mut levels = LEVELS.to_vec();
        for last in (1..levels.len()).rev() {
            let other = self.below(last as u32 + 1) as usize;
            levels.swap(last, other);
        }
        levels
    }

    /// Uniform in 0…`bound` − 1: a word beyond the last multiple of `bound` is dropped. Written here because the draws
    /// must stay the same when a library changes its way of sampling a range.
    fn below(&mut self, bound: u32) -> u32 {
        let limit = u32::MAX - u32::MAX % bound;
        loop {
            let word = self.generator.next_u32();
            if word < limit {
                return word % bound;
            }
        }
    }
}

#[cfg(test)]
mod tests;
