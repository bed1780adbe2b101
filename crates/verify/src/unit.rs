//! What may follow a number without changing what is compared: percent signs, degrees and units.
//!
//! Units are read over, but for a few that both sides may give: those are converted. The danger is a word that does change the number (`5 or 6`,
//! `2 thirds`) or a variable (`5x`): those are no units, and the answer they stand in is no number.

use num_rational::BigRational;

use crate::{
    expression::{HalfDay, Mark},
    lex::{Origin, Token},
    text::{joined, trimmed},
};

/// What follows a number.
pub(crate) struct Suffix {
    /// What a word such as `million` multiplies the number by.
    pub(crate) factor: u64,
    pub(crate) mark: Mark,
    /// The unit as it is written, spaces left out.
    pub(crate) unit: String,
}

impl Suffix {
    /// Whether nothing is in it.
    pub(crate) fn is_blank(&self) -> bool {
        self.factor == 1 && self.mark == Mark::Plain && self.unit.is_empty()
    }
}

/// Longest unit, in words: more is a sentence.
const UNIT_WORDS_MAX: usize = 6;

/// Units of one or two letters, and those that may touch their number in mathematics.
const ABBREVIATIONS: &str = "\
    mm cm dm km m mg kg g ml mL cl dl L s h ms hr hrs min mins sec secs ft yd yds mi lb lbs oz pt qt gal \
    mph kph kmh sq cu am pm in";

/// Words that join, compute, count or make a sentence.
const NOT_UNITS: &str = "\
    or and nor not but to plus minus times over mod modulo divided multiplied by squared cubed factorial \
    sin cos tan cot csc log exp sqrt pi theta half halves third thirds fourth fourths fifth fifths sixth \
    sixths seventh sevenths eighth eighths ninth ninths tenth tenths hundredth hundredths dozen dozens \
    dot hundred thousand million billion trillion less more than if unless maybe either approximately \
    doubled tripled twice negative root tens hundreds thousands millions billions \
    is isn are was were be can cannot could may might too";

/// Reads all of what follows a number; nothing where it is more than a suffix.
pub(crate) fn suffix(tokens: &[Token<'_>]) -> Option<Suffix> {
    let (factor, tokens) = match tokens {
        [Token::Space, Token::Word { letters, .. }, rest @ ..] => match scale(&letters.to_lowercase()) {
            Some(factor) => (factor, rest),
            None => (1, tokens),
        },
        _ => (1, tokens),
    };
    let (mark, tokens) = match without_fill(tokens) {
        [Token::Symbol('%') | Token::Word { letters: "percent" | "Percent" | "percentage" | "pct", .. }, rest @ ..]
        | [Token::Word { letters: "per", .. }, Token::Space, Token::Word { letters: "cent", .. }, rest @ ..] => {
            (Mark::Percent, rest)
        }
        [Token::Symbol('°') | Token::Word { letters: "degrees" | "degree", .. }, rest @ ..] => (Mark::Degree, rest),
        _ => (Mark::Plain, tokens),
    };
    let unit = joined(without_fill(tokens));
    (unit.is_empty() || is_unit(tokens)).then_some(Suffix { factor, mark, unit })
}

/// The tokens before `a.m.` or `p.m.` in any way of writing, and which of them it is.
pub(crate) fn before_half_day<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t [Token<'a>], HalfDay)> {
    let (before, letters) = match tokens {
        [before @ .., Token::Word { letters, .. }] if letters.len() == 2 => (before, *letters),
        [before @ .., Token::Word { letters, .. }, Token::Symbol('.'), Token::Word { letters: "m" | "M", .. }]
        | [
            before @ ..,
            Token::Word { letters, .. },
            Token::Symbol('.'),
            Token::Space,
            Token::Word { letters: "m" | "M", .. },
        ] => (before, *letters),
        _ => return None,
    };
    let half = match letters {
        "am" | "AM" | "Am" | "a" | "A" => HalfDay::Morning,
        "pm" | "PM" | "Pm" | "p" | "P" => HalfDay::Afternoon,
        _ => return None,
    };
    Some((trimmed(before), half))
}

/// The half of a day that a unit names, as in `a.m. on Monday` or `in the evening`.
pub(crate) fn half_day_in(unit: &str) -> Option<HalfDay> {
    let words = unit.replace('.', "").to_lowercase();
    let starts = |letters: &str| words.strip_prefix(letters).is_some_and(|rest| !rest.starts_with('p'));
    if starts("am") || words.contains("morning") {
        Some(HalfDay::Morning)
    } else if starts("pm") || words.contains("afternoon") || words.contains("evening") {
        Some(HalfDay::Afternoon)
    } else {
        None
    }
}

fn scale(word: &str) -> Option<u64> {
    match word {
        "hundred" => Some(100),
        "thousand" => Some(1_000),
        "million" => Some(1_000_000),
        "billion" => Some(1_000_000_000),
        "trillion" => Some(1_000_000_000_000),
        _ => None,
    }
}

fn without_fill<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let fill = tokens.iter().take_while(|token| matches!(token, Token::Space | Token::Dollar)).count();
    &tokens[fill..]
}

/// Whether anything stands between a number and a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spacing {
    Touching,
    Apart,
}

/// Whether tokens are a unit: words, `per` or `/` between them, a square or cube on them.
fn is_unit(tokens: &[Token<'_>]) -> bool {
    let mut rest = tokens;
    let mut spacing = Spacing::Touching;
    let mut words = 0;
    let mut divides = false;
    loop {
        rest = match rest {
            [] => return (1..=UNIT_WORDS_MAX).contains(&words) && !divides,
            [Token::Space | Token::Dollar, rest @ ..] => {
                spacing = Spacing::Apart;
                rest
            }
            [Token::Word { letters, origin }, rest @ ..] if is_unit_word(letters, *origin, spacing) => {
                words += 1;
                spacing = Spacing::Apart;
                divides = false;
                rest
            }
            [Token::Symbol('/'), rest @ ..] if !divides => {
                spacing = Spacing::Apart;
                divides = true;
                rest
            }
            [Token::Symbol('.'), rest @ ..] if words > 0 => rest,
            [Token::Symbol('^'), Token::Symbol('{'), Token::Digits("2" | "3"), Token::Symbol('}'), rest @ ..]
                if words > 0 =>
            {
                rest
            }
            _ => return false,
        };
    }
}

fn is_unit_word(letters: &str, origin: Origin, spacing: Spacing) -> bool {
    let lower = letters.to_lowercase();
    if is_listed(NOT_UNITS, &lower) {
        return false;
    }
    match origin {
        // An upright e or i is the number.
        Origin::Text => !matches!(letters, "e" | "i"),
        Origin::Math if spacing == Spacing::Touching => letters.len() > 1 && is_listed(ABBREVIATIONS, letters),
        Origin::Math => {
            let is_word = letters.chars().count() > 3 || (letters.chars().count() == 3 && !is_variables(letters));
            is_word || is_listed(ABBREVIATIONS, letters)
        }
    }
}

/// Whether three letters are variables side by side (`xyz`, `abc`) rather than a word.
fn is_variables(letters: &str) -> bool {
    let is_vowel = |letter: char| matches!(letter.to_ascii_lowercase(), 'a' | 'e' | 'i' | 'o' | 'u');
    let follow_each_other = letters.as_bytes().windows(2).all(|pair| pair[0] + 1 == pair[1]);
    follow_each_other || !letters.chars().any(is_vowel)
}

fn is_listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

/// Units of one quantity by name, each worth so much of the first: a numerator and a denominator.
type Measure = &'static [(&'static [&'static str], u64, u64)];

const MEASURES: [Measure; 4] = [
    &[
        (&["mm", "millimeter", "millimeters", "millimetres"], 1, 1),
        (&["cm", "centimeter", "centimeters", "centimetres"], 10, 1),
        (&["m", "meter", "meters", "metres"], 1_000, 1),
        (&["km", "kilometer", "kilometers", "kilometres"], 1_000_000, 1),
        (&["in", "inch", "inches"], 254, 10),
        (&["ft", "foot", "feet"], 3_048, 10),
        (&["yd", "yard", "yards"], 9_144, 10),
        (&["mi", "mile", "miles"], 1_609_344, 1),
    ],
    &[
        (&["s", "sec", "secs", "second", "seconds"], 1, 1),
        (&["min", "mins", "minute", "minutes"], 60, 1),
        (&["h", "hr", "hrs", "hour", "hours"], 3_600, 1),
        (&["day", "days"], 86_400, 1),
        (&["week", "weeks"], 604_800, 1),
    ],
    &[
        (&["mg", "milligram", "milligrams"], 1, 1),
        (&["g", "gram", "grams"], 1_000, 1),
        (&["kg", "kilogram", "kilograms"], 1_000_000, 1),
    ],
    &[(&["cent", "cents"], 1, 1), (&["dollar", "dollars"], 100, 1)],
];

/// How two units stand to each other.
pub(crate) enum Conversion {
    /// They are the same, or one of them is not known: they are read over.
    ReadOver,
    /// Both are known and measure different things.
    Impossible,
    /// What a number of the first is multiplied by to be one of the second.
    Factor(BigRational),
}

/// How to get from one unit to another.
pub(crate) fn conversion(from: &str, to: &str) -> Conversion {
    if let (Some(own), Some(other)) = (half_day_in(from), half_day_in(to))
        && own != other
    {
        return Conversion::Impossible;
    }
    let (Some(own), Some(other)) = (measure(from), measure(to)) else { return Conversion::ReadOver };
    if own == other {
        return Conversion::ReadOver;
    }
    if (own.quantity, own.power) != (other.quantity, other.power) {
        return Conversion::Impossible;
    }
    Conversion::Factor(own.worth / other.worth)
}

/// A known unit.
#[derive(PartialEq)]
struct Unit {
    /// Which of [`MEASURES`] it is of.
    quantity: usize,
    /// 2 for a square, 3 for a cube.
    power: u32,
    /// How many it is of the first unit of its quantity, to that power.
    worth: BigRational,
}

fn measure(unit: &str) -> Option<Unit> {
    let (name, power) = base_and_power(unit.trim_end_matches('.'));
    MEASURES.iter().enumerate().find_map(|(quantity, units)| {
        let (_, above, below) = units.iter().find(|(names, _, _)| names.contains(&name))?;
        let worth = BigRational::new(above.pow(power).into(), below.pow(power).into());
        Some(Unit { quantity, power, worth })
    })
}

/// `cm^2`, `square cm` and `sq cm` as cm and 2, likewise with cubes; anything else as itself and 1.
fn base_and_power(unit: &str) -> (&str, u32) {
    let marks = [("square ", "^{2}", 2), ("sq ", "^{2}", 2), ("cubic ", "^{3}", 3), ("cu ", "^{3}", 3)];
    let base = |(before, after, power)| {
        let base: Option<&str> = unit.strip_prefix(before).or_else(|| unit.strip_suffix(after));
        base.map(|base| (base, power))
    };
    marks.into_iter().find_map(base).unwrap_or((unit, 1))
}
