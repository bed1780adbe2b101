//! Task families: problems that the program makes itself, so that a small model can be trained on them from nothing.
//!
//! A prompt asks for a computation of several steps; a completion names a plan first and then computes by it. The quick
//! plan takes a shortcut and is wrong where the shortcut does not hold; the careful plan is always right, and two more
//! check it once or twice. Families differ in how often the shortcut fails and in whether that can be seen beforehand:
//! docs/tasks.md.
//!
//! Problems never repeat across splits. Small levels have a few hundred problems, so drawing and comparing would run
//! out of new ones; instead every problem belongs to one split by a hash of itself. Within a split problems are drawn
//! independently and may repeat.

mod chain;
mod draws;
mod files;
mod hex;
mod ring;
mod sum;
mod tokenizer;
mod untrained;

use std::fmt;

use self::draws::{Draws, Stream};
pub use self::{chain::CHAIN, files::TaskFiles, hex::HEX, ring::RING, sum::SUM};
use crate::{Demonstration, Problem, ProblemId};

/// All families, the first of which is that of the demonstration.
pub static FAMILIES: [&Family; 4] = [&RING, &SUM, &HEX, &CHAIN];

/// Blank, in place of a step that a shorter problem does not have.
const BLANK: &str = ".";
/// Labels of steps, in order.
const LABELS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A family of problems.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What is asked, in a few words.
    pub asks: &'static str,
    /// What it is built to show, a sentence.
    pub shows: &'static str,
    /// What the numbers of [`Family::levels`] count.
    pub level_unit: &'static str,
    /// Difficulty levels.
    pub levels: [usize; 4],
    /// Share of all problems of each level on which the quick plan is wrong, exact.
    pub quick_wrong_shares: [f64; 4],
    /// How often demonstrations follow each of [`Plan::ALL`], of their sum.
    pub plan_weights: [u32; 4],
    /// Words of prompts and completions that are the family's own; see [`Family::vocabulary`].
    pub words: &'static [&'static str],
    /// Tokens of every prompt.
    pub prompt_tokens: usize,
    /// Token limit of a completion, above the longest plan.
    pub completion_tokens_max: usize,
    /// Optimizer steps of the supervised start.
    pub start_steps: u64,
    /// A problem of a level, uniform over all of that level.
    draw: fn(&mut Draws, usize) -> Box<dyn Exercise>,
}

/// A problem that is worked out step by step.
trait Exercise {
    /// Its number among all of its family.
    fn number(&self) -> u64;
    /// The prompt's text.
    fn question(&self) -> String;
    /// The gold answer.
    fn gold(&self) -> String;
    /// Steps and answer by the shortcut.
    fn quick(&self) -> (String, String);
    /// Steps to the gold answer.
    fn careful(&self) -> String;
}

/// How a completion computes the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// `<q>`: by the shortcut.
    Quick,
    /// `<c>`: step by step.
    Careful,
    /// `<v>`: as [`Plan::Careful`], then the same once more.
    Verify,
    /// `<w>`: as [`Plan::Careful`], then the same twice more.
    VerifyTwice,
}

/// Which problems a problem may stand beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Split {
    /// Training and demonstrations, about 7/8 of all problems.
    Training,
    /// Evaluation alone, about 1/8.
    HeldOut,
}

impl Plan {
    /// Every plan, in the order of [`Family::plan_weights`].
    pub const ALL: [Self; 4] = [Self::Quick, Self::Careful, Self::Verify, Self::VerifyTwice];

    /// The word that names it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Quick => "<q>",
            Self::Careful => "<c>",
            Self::Verify => "<v>",
            Self::VerifyTwice => "<w>",
        }
    }

    /// The completion of `exercise` by this plan, without the end token: plan, passes with `W` between, `A`, answer.
    fn completion(self, exercise: &dyn Exercise) -> String {
        let careful_passes = |count| (vec![exercise.careful(); count].join(" W "), exercise.gold());
        let (passes, answer) = match self {
            Self::Quick => exercise.quick(),
            Self::Careful => careful_passes(1),
            Self::Verify => careful_passes(2),
            Self::VerifyTwice => careful_passes(3),
        };
        format!("{} {passes} A {answer}", self.word())
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Family({})", self.name)
    }
}

impl Family {
    /// The family of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        FAMILIES.into_iter().find(|family| family.name == name)
    }

    /// `count` training problems. Every block of four holds each level once in random order; fewer problems of the same
    /// seed are the first of more.
    pub fn problems(&self, count: usize, seed: u64) -> Vec<Problem> {
        self.problems_of(Split::Training, count, seed)
    }

    /// `count` problems for evaluation, none of which any seed trains on, in blocks like those of [`Family::problems`].
    ///
    /// They are independent draws: small levels have some tens of held-out problems, so large sets repeat them.
    pub fn held_out_problems(&self, count: usize, seed: u64) -> Vec<Problem> {
        self.problems_of(Split::HeldOut, count, seed)
    }

    /// `count` demonstrations on training problems, in blocks like those of [`Family::problems`]. Each draws its plan
    /// independently, by [`Family::plan_weights`]. The quick ones are wrong where the shortcut does not hold.
    pub fn demonstrations(&self, count: usize, seed: u64) -> Vec<Demonstration> {
        let mut draws = Draws::new(seed, Stream::Demonstrations);
        let demonstration = |_| {
            let (_, exercise) = self.exercise(&mut draws, Split::Training);
            let plan = Plan::ALL[draws.weighted(&self.plan_weights)];
            Demonstration { prompt: exercise.question(), completion: plan.completion(&*exercise) }
        };
        (0..count).map(demonstration).collect()
    }

    /// Mean entropy of a demonstration's tokens, nats, estimated from `demonstrations`: only the plan is drawn, all else
    /// follows from prompt and plan. No model has a lower loss on new demonstrations.
    pub fn demonstration_entropy_nats(&self, demonstrations: &[Demonstration]) -> f64 {
        let sum = f64::from(self.plan_weights.iter().sum::<u32>());
        let shares = self.plan_weights.iter().filter(|weight| **weight > 0).map(|weight| f64::from(*weight) / sum);
        let entropy: f64 = shares.map(|share| -share * share.ln()).sum();
        let tokens = |one: &Demonstration| one.completion.split(' ').count() + 1;
        entropy * demonstrations.len() as f64 / demonstrations.iter().map(tokens).sum::<usize>() as f64
    }

    fn problems_of(&self, split: Split, count: usize, seed: u64) -> Vec<Problem> {
        let (stream, name) = match split {
            Split::Training => (Stream::Training, "training"),
            Split::HeldOut => (Stream::HeldOut, "held-out"),
        };
        let mut draws = Draws::new(seed, stream);
        let problem = |index| {
            let (level, exercise) = self.exercise(&mut draws, split);
            Problem {
                id: ProblemId::new(format!("{}-{name}-{index}", self.name)),
                question: exercise.question(),
                gold: exercise.gold(),
                level: Some(level.to_string()),
            }
        };
        (0..count).map(problem).collect()
    }

    /// The next level and a problem of it, uniform over the problems of `split`: others are drawn and dropped.
    fn exercise(&self, draws: &mut Draws, split: Split) -> (usize, Box<dyn Exercise>) {
        let level = draws.level(&self.levels);
        loop {
            let exercise = (self.draw)(draws, level);
            if split_of(exercise.number()) == split {
                return (level, exercise);
            }
        }
    }
}

/// The split that the problem of this number belongs to: held out when the hash of the number is a multiple of 8.
///
/// The hash is `SplitMix64`'s output function (Steele, Lea and Flood 2014).
fn split_of(number: u64) -> Split {
    let mut hash = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^= hash >> 31;
    if hash.is_multiple_of(8) { Split::HeldOut } else { Split::Training }
}

#[cfg(test)]
mod tests;
