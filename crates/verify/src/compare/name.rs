//! Names that values are given in a list: which of them belong together, and in what order a point has them.

use std::collections::BTreeMap;

use crate::value::Value;

/// The items of two lists with the same names, each name once, by these names; nothing where they are not so.
pub(super) fn paired_by_name<'v>(items: &'v [Value], others: &'v [Value]) -> Option<Vec<(&'v Value, &'v Value)>> {
    let (items, others) = (by_name(items)?, by_name(others)?);
    items.keys().eq(others.keys()).then(|| items.into_values().zip(others.into_values()).collect())
}

/// The items of a list in the order that a point has its coordinates in: that of their names, where these are letters
/// that follow each other in the alphabet (`x`, `y`) or one letter with indices that do (`x_1`, `x_2`); else as they stand.
pub(super) fn as_coordinates(items: &[Value]) -> Vec<&Value> {
    let by_place = || {
        let mut placed: Vec<(Place, &Value)> = Vec::with_capacity(items.len());
        for (name, item) in by_name(items)? {
            placed.push((Place::of(&name)?, item));
        }
        placed.sort_by_key(|(place, _)| *place);
        let follow = placed.windows(2).all(|pair| pair[0].0.comes_before(pair[1].0));
        follow.then(|| placed.into_iter().map(|(_, item)| item).collect())
    };
    by_place().unwrap_or_else(|| items.iter().collect())
}

/// The items by their names, where each has one and no two the same.
fn by_name(items: &[Value]) -> Option<BTreeMap<String, &Value>> {
    let name = |item: &Value| {
        let Value::Named { name, .. } = item else { return None };
        Some(segment(name).map_or_else(|| name.clone(), String::from_iter))
    };
    let named: Option<BTreeMap<String, &Value>> = items.iter().map(|item| Some((name(item)?, item))).collect();
    named.filter(|named| named.len() == items.len())
}

/// A letter and the index below it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    letter: u32,
    index: Option<u32>,
}

impl Place {
    fn of(name: &str) -> Option<Self> {
        let mut letters = name.chars();
        let letter = letters.next().filter(char::is_ascii_alphabetic)?.into();
        let index = match letters.as_str() {
            "" => None,
            below => Some(below.strip_prefix("_{")?.strip_suffix('}')?.parse().ok()?),
        };
        Some(Self { letter, index })
    }

    fn comes_before(self, next: Self) -> bool {
        match (self.index, next.index) {
            (None, None) => self.letter + 1 == next.letter,
            (Some(index), Some(next_index)) => self.letter == next.letter && index.checked_add(1) == Some(next_index),
            (_, _) => false,
        }
    }
}

/// The ends of a segment by its name, in one order: `AB` is `BA`.
pub(super) fn segment(name: &str) -> Option<[char; 2]> {
    let mut ends = <[char; 2]>::try_from(name.chars().collect::<Vec<_>>()).ok()?;
    ends.sort_unstable();
    ends.iter().all(char::is_ascii_uppercase).then_some(ends)
}
