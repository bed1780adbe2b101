//! Copies of a gold with one thing changed that makes it another answer. Not wrong answers of every kind: the table.
//!
//! Everything here is a change of the text that is unequal by construction, whatever a verifier thinks of it; where a
//! change could leave the value as it was (a digit of a factor beside 0, the order of a set), it is not made.

mod numbers;
mod structure;
mod symbols;

use stream::Stream;

#[path = "../stream.rs"]
mod stream;

/// Most perturbed copies of one gold.
pub(crate) const PERTURBATIONS_MAX: usize = 20;

/// A gold with one thing changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Perturbation {
    /// What was changed.
    pub(crate) change: &'static str,
    /// The changed gold.
    pub(crate) text: String,
}

/// Up to [`PERTURBATIONS_MAX`] perturbed copies of a gold, the kinds of change in turn; the same for the same gold.
pub(crate) fn perturbations(gold: &str) -> Vec<Perturbation> {
    let gold = gold.trim();
    let mut drawn = Vec::new();
    let mut add = |change: &'static str, text: String| drawn.push(Perturbation { change, text });
    numbers::perturb(gold, &mut add);
    structure::perturb(gold, &mut add);
    symbols::perturb(gold, &mut add);
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    drawn.retain(|perturbation| bare(&perturbation.text) != bare(gold));
    // A stream of its own for each gold, so that adding a data set changes no other.
    let mut stream = Stream::seeded(gold);
    let mut keyed: Vec<(usize, Perturbation)> = drawn.into_iter().map(|drawn| (stream.below(1 << 40), drawn)).collect();
    keyed.sort();
    keyed.dedup_by(|a, b| a.1.text == b.1.text);
    in_turn(keyed.into_iter().map(|(_, perturbation)| perturbation).collect())
}

/// The first of each change, then the second of each, and so on.
fn in_turn(drawn: Vec<Perturbation>) -> Vec<Perturbation> {
    let mut ranked: Vec<(usize, Perturbation)> = Vec::new();
    for perturbation in drawn {
        let rank = ranked.iter().filter(|(_, before)| before.change == perturbation.change).count();
        if ranked.iter().all(|(_, before)| before.text != perturbation.text) {
            ranked.push((rank, perturbation));
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, perturbation)| perturbation).take(PERTURBATIONS_MAX).collect()
}
