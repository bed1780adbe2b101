//! `ring`: a walk on a ring of twelve squares with a trap door, the task of the demonstration.
//!
//! A prompt gives a start square and 2, 4, 6 or 8 rolls; the answer is the final square. Landing on square 5 moves the
//! walker to 10. The quick plan never looks at the door and so is right on the walks that never land on it, which can't
//! be told when the plan is chosen.

use super::{BLANK, Draws, Exercise, Family, LABELS};

/// The walk on a ring with a trap door.
pub static RING: Family = Family {
    name: "ring",
    asks: "the final square of a walk on a ring with a trap door",
    shows: "the shortcut fails on a minority that cannot be told beforehand",
    level_unit: "rolls",
    levels: [2, 4, 6, 8],
    quick_wrong_shares: [1.0 / 6.0, 827.0 / 2592.0, 10283.0 / 23328.0, 1_818_857.0 / 3_359_232.0],
    plan_weights: [9, 5, 4, 2],
    words: &[
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", // squares
        "+1", "+2", "+3", "+4", "+5", "+6", // rolls
        "a", "b", "c", "d", "e", "f", "g", "h", // labels: the index of a roll
    ],
    prompt_tokens: ROLLS_MAX + 2,
    completion_tokens_max: 80,
    start_steps: 800,
    draw: |draws, rolls| Box::new(Walk::draw(draws, rolls)),
};

const SQUARES: u8 = 12;
const DOOR: u8 = 5;
const BEHIND_DOOR: u8 = 10;
const ROLL_MAX: u8 = 6;
const ROLLS_MAX: usize = 8;

/// A start square, 0…11, and the rolls that follow, 1…6 each.
#[derive(Debug, Clone)]
struct Walk {
    start: u8,
    rolls: Vec<u8>,
}

impl Walk {
    fn draw(draws: &mut Draws, rolls: usize) -> Self {
        let start = draws.between(0, SQUARES - 1);
        Self { start, rolls: (0..rolls).map(|_| draws.between(1, ROLL_MAX)).collect() }
    }

    fn walked(&self, step: impl Fn(u8, u8) -> u8) -> u8 {
        self.rolls.iter().fold(self.start, |square, roll| step(square, *roll))
    }
}

impl Exercise for Walk {
    /// 12 · rolls + start, followed by the rolls as digits of base 7.
    fn number(&self) -> u64 {
        let head = 12 * self.rolls.len() as u64 + u64::from(self.start);
        self.rolls.iter().fold(head, |number, roll| number * 7 + u64::from(*roll))
    }

    /// `9 +1 +2 +2 +2 . . . . :`.
    fn question(&self) -> String {
        let mut words = vec![self.start.to_string()];
        words.extend(self.rolls.iter().map(|roll| format!("+{roll}")));
        words.resize(ROLLS_MAX + 1, BLANK.to_owned());
        words.push(":".to_owned());
        words.join(" ")
    }

    fn gold(&self) -> String {
        self.walked(|square, roll| behind_door(step(square, roll))).to_string()
    }

    /// For each roll its label and the square: `a 10 b 0 c 2 d 4`. Wrong where the walk ever lands on the door: each
    /// landing adds 5 squares, and no multiple of 5 up to eight times is a multiple of the ring's 12.
    fn quick(&self) -> (String, String) {
        let mut square = self.start;
        let words = self.rolls.iter().zip(LABELS).map(|(roll, label)| {
            square = step(square, *roll);
            format!("{label} {square}")
        });
        (words.collect::<Vec<_>>().join(" "), self.walked(step).to_string())
    }

    /// For each roll its label, the square rolled to and the square after the door: `a 10 10 b 0 0 c 2 2 d 4 4`.
    fn careful(&self) -> String {
        let mut square = self.start;
        let words = self.rolls.iter().zip(LABELS).map(|(roll, label)| {
            let raw = step(square, *roll);
            square = behind_door(raw);
            format!("{label} {raw} {square}")
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

fn step(square: u8, roll: u8) -> u8 {
    (square + roll) % SQUARES
}

fn behind_door(square: u8) -> u8 {
    if square == DOOR { BEHIND_DOOR } else { square }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Plan;

    fn walk(start: u8, rolls: &[u8]) -> Walk {
        Walk { start, rolls: rolls.to_vec() }
    }

    #[test]
    fn walks_end_where_a_hand_calculation_ends() {
        for (start, rolls, gold, landed) in [
            (9, vec![1, 2, 2, 2], "4", false),             // 10, 0, 2, 4
            (3, vec![2, 1], "11", true),                   // 5→10, 11
            (11, vec![5, 1], "10", true),                  // 4, 5→10: the door counts after the last roll
            (5, vec![1, 1], "7", false),                   // 6, 7: starting on the door is not landing on it
            (0, vec![5, 6, 1, 6, 2, 2], "8", true),        // 5→10, 4, 5→10, 4, 6, 8
            (11, vec![6, 6, 6, 6, 6, 6, 6, 6], "4", true), // 5→10, 4, 10, 4, 10, 4, 10, 4
            (2, vec![3, 1, 2, 4, 3, 2, 1, 1], "10", true), // 5→10, 11, 1, 5→10, 1, 3, 4, 5→10
        ] {
            let walk = walk(start, &rolls);
            assert_eq!((walk.gold().as_str(), walk.quick().1 != walk.gold()), (gold, landed), "{walk:?}");
        }
    }

    #[test]
    fn prompts_and_completions_have_the_text_of_the_task() {
        let plain = walk(9, &[1, 2, 2, 2]);
        assert_eq!(plain.question(), "9 +1 +2 +2 +2 . . . . :");
        let through_the_door = walk(3, &[2, 1]);
        assert_eq!(through_the_door.question(), "3 +2 +1 . . . . . . :");
        for (walk, plan, expected) in [
            (&plain, Plan::Quick, "<q> a 10 b 0 c 2 d 4 A 4"),
            (&plain, Plan::Careful, "<c> a 10 10 b 0 0 c 2 2 d 4 4 A 4"),
            (&plain, Plan::Verify, "<v> a 10 10 b 0 0 c 2 2 d 4 4 W a 10 10 b 0 0 c 2 2 d 4 4 A 4"),
            (&through_the_door, Plan::Quick, "<q> a 5 b 6 A 6"),
            (&through_the_door, Plan::Careful, "<c> a 5 10 b 11 11 A 11"),
            (&through_the_door, Plan::Verify, "<v> a 5 10 b 11 11 W a 5 10 b 11 11 A 11"),
            (&through_the_door, Plan::VerifyTwice, "<w> a 5 10 b 11 11 W a 5 10 b 11 11 W a 5 10 b 11 11 A 11"),
        ] {
            assert_eq!(plan.completion(walk), expected);
        }
    }

    #[test]
    fn the_quick_plan_is_wrong_exactly_on_walks_that_land_on_the_door() {
        let mut counts = [(0, 0); 2];
        for (count, rolls_max) in counts.iter_mut().zip([2, 4]) {
            for walk in all_walks(rolls_max) {
                let landed = walk.careful().contains(" 5 10");
                assert_eq!(walk.quick().1 != walk.gold(), landed, "{walk:?}");
                count.0 += usize::from(landed);
                count.1 += 1;
            }
        }
        // 1/6 and 827/2592, by powers of the walk's Markov chain with square 5 absorbing.
        assert_eq!(counts, [(72, 432), (4962, 15_552)]);
    }

    fn all_walks(rolls: u32) -> impl Iterator<Item = Walk> {
        (0..12 * 6_u32.pow(rolls)).map(move |code| {
            let roll = |place| (code / 12 / 6_u32.pow(place) % 6) as u8 + 1;
            Walk { start: (code % 12) as u8, rolls: (0..rolls).map(roll).collect() }
        })
    }
}
