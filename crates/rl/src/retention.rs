//! Which checkpoints of a run stay on disk. The newest always does. What an interrupt left between two that are due is no
//! more than that: it takes the place of none, so that the run may go back to those that it would have had without.

use std::{collections::BTreeSet, fs, path::Path};

use record::{RunDirectory, write};

use crate::{RlError, checkpoint, config::CheckpointSettings};

/// A checkpoint as the choice sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Steps done.
    pub step: u64,
    /// Size on disk.
    pub bytes: u64,
    /// Accuracy on the held-out problems after that step, where it was measured.
    pub accuracy: Option<f64>,
}

/// The steps of those `candidates`, which ascend by step, that no setting keeps.
pub fn outdated(candidates: &[Candidate], settings: &CheckpointSettings) -> Vec<u64> {
    if settings.keep_last == 0 {
        return Vec::new();
    }
    let mut kept = best(candidates, settings);
    kept.extend(candidates.last().map(|newest| newest.step));
    let due = candidates.iter().filter(|one| is_due(one.step, settings));
    kept.extend(due.rev().take(settings.keep_last).map(|candidate| candidate.step));
    let is_kept = |step: u64| {
        kept.contains(&step) || (settings.keep_every_steps > 0 && step.is_multiple_of(settings.keep_every_steps))
    };
    candidates.iter().map(|candidate| candidate.step).filter(|step| !is_kept(*step)).collect()
}

/// Whether a checkpoint after `step` steps is one that the config asks for; all are where it asks for none but the last.
pub(crate) fn is_due(step: u64, settings: &CheckpointSettings) -> bool {
    settings.every_steps == 0 || step.is_multiple_of(settings.every_steps)
}

/// The steps of those `candidates`, which ascend by step, that go so that they and `incoming_bytes` more take at most
/// `checkpoint.bytes_max`: what interrupts left first, then the oldest, the best after all others, the newest never.
pub fn over_budget(candidates: &[Candidate], settings: &CheckpointSettings, incoming_bytes: u64) -> Vec<u64> {
    let mut total = incoming_bytes + candidates.iter().map(|candidate| candidate.bytes).sum::<u64>();
    let Some((_, older)) = candidates.split_last() else { return Vec::new() };
    let (due, left): (Vec<Candidate>, Vec<Candidate>) = older.iter().partition(|one| is_due(one.step, settings));
    let best = best(candidates, settings);
    let (last_to_go, next_to_go): (Vec<Candidate>, Vec<Candidate>) =
        due.into_iter().partition(|candidate| best.contains(&candidate.step));
    let mut removed = Vec::new();
    for candidate in left.into_iter().chain(next_to_go).chain(last_to_go) {
        if settings.bytes_max == 0 || total <= settings.bytes_max {
            break;
        }
        total -= candidate.bytes;
        removed.push(candidate.step);
    }
    removed
}

/// The steps of the `keep_best` due candidates of the highest accuracy, the later one of equal ones.
fn best(candidates: &[Candidate], settings: &CheckpointSettings) -> BTreeSet<u64> {
    let due = candidates.iter().filter(|one| is_due(one.step, settings));
    let mut measured: Vec<(f64, u64)> = due.filter_map(|one| Some((one.accuracy?, one.step))).collect();
    measured.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    measured.into_iter().take(settings.keep_best).map(|(_, step)| step).collect()
}

/// Removes checkpoints of `run` so that another one fits beside them.
///
/// # Errors
/// [`RlError`] naming the file that cannot be read or removed.
pub(crate) fn make_room(run: &RunDirectory, settings: &CheckpointSettings) -> Result<(), RlError> {
    if settings.bytes_max == 0 {
        return Ok(());
    }
    let candidates = candidates(run)?;
    let incoming_bytes = candidates.last().map_or(0, |newest| newest.bytes);
    remove(run, &over_budget(&candidates, settings, incoming_bytes))
}

/// Removes those checkpoints of `run` that `settings` do not keep.
///
/// # Errors
/// [`RlError`] naming the file that cannot be read or removed.
pub(crate) fn prune(run: &RunDirectory, settings: &CheckpointSettings) -> Result<(), RlError> {
    remove(run, &outdated(&candidates(run)?, settings))
}

fn remove(run: &RunDirectory, steps: &[u64]) -> Result<(), RlError> {
    Ok(steps.iter().try_for_each(|&step| write::remove_whole(&checkpoint::path(run, step)))?)
}

fn candidates(run: &RunDirectory) -> Result<Vec<Candidate>, RlError> {
    let evaluations = run.evaluations()?;
    let accuracy = |step| evaluations.iter().rev().find(|summary| summary.step == step).map(|summary| summary.accuracy);
    let candidate =
        |step| Ok(Candidate { step, bytes: directory_bytes(&checkpoint::path(run, step))?, accuracy: accuracy(step) });
    checkpoint::steps(run)?.into_iter().map(candidate).collect()
}

/// Bytes of all files under `directory`.
fn directory_bytes(directory: &Path) -> Result<u64, RlError> {
    let mut bytes = 0;
    for name in write::list(directory)? {
        let path = directory.join(name);
        let failed = |source| RlError::Io { action: "read", path: path.clone(), source };
        let metadata = fs::symlink_metadata(&path).map_err(failed)?;
        bytes += if metadata.is_dir() { directory_bytes(&path)? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checkpoints of 10 bytes after steps 10, 20, … with these accuracies in percent; 0 stands for not measured.
    fn candidates(accuracies: &[u8]) -> Vec<Candidate> {
        let accuracy = |percent: u8| (percent > 0).then(|| f64::from(percent) / 100.0);
        let numbered = accuracies.iter().zip(1..);
        numbered
            .map(|(&percent, place)| Candidate { step: place * 10, bytes: 10, accuracy: accuracy(percent) })
            .collect()
    }

    fn settings(keep_last: usize, keep_best: usize, keep_every_steps: u64, bytes_max: u64) -> CheckpointSettings {
        CheckpointSettings { every_steps: 10, keep_last, keep_best, keep_every_steps, bytes_max }
    }

    #[test]
    fn the_last_the_best_and_every_so_many_stay() {
        let all = candidates(&[50, 90, 70, 90, 80, 60]);
        for (kept, expected) in [
            (settings(0, 0, 0, 0), vec![]),
            (settings(1, 0, 0, 0), vec![10, 20, 30, 40, 50]),
            (settings(2, 0, 0, 0), vec![10, 20, 30, 40]),
            // Of the two at 90 % the later one.
            (settings(1, 1, 0, 0), vec![10, 20, 30, 50]),
            (settings(1, 3, 0, 0), vec![10, 30]),
            (settings(1, 0, 30, 0), vec![10, 20, 40, 50]),
            (settings(1, 1, 50, 0), vec![10, 20, 30]),
            (settings(9, 0, 0, 0), vec![]),
        ] {
            assert_eq!(outdated(&all, &kept), expected, "{kept:?}");
        }
        assert_eq!(outdated(&candidates(&[0, 0, 40, 0]), &settings(1, 2, 0, 0)), [10, 20], "not measured is not best");
        assert!(outdated(&[], &settings(1, 1, 1, 1)).is_empty());
    }

    #[test]
    fn what_an_interrupt_left_takes_the_place_of_no_checkpoint_that_is_due() {
        let mut all = candidates(&[50, 60, 40]);
        all.insert(2, Candidate { step: 25, bytes: 10, accuracy: Some(0.9) });
        all.push(Candidate { step: 35, bytes: 10, accuracy: Some(0.95) });
        assert_eq!(outdated(&all, &settings(1, 0, 0, 0)), [10, 20, 25]);
        assert_eq!(outdated(&all, &settings(2, 1, 0, 0)), [10, 25]);
        assert_eq!(over_budget(&all, &settings(0, 1, 0, 40), 0), [25]);
        assert_eq!(over_budget(&all, &settings(0, 1, 0, 20), 10), [25, 10, 30, 20]);
        // Where none is due, all are alike.
        let every = CheckpointSettings { every_steps: 0, ..settings(2, 0, 0, 0) };
        assert_eq!(outdated(&all, &every), [10, 20, 25]);
    }

    #[test]
    fn a_budget_takes_the_oldest_first_the_best_last_and_the_newest_never() {
        let all = candidates(&[90, 50, 80, 60]);
        for (bytes_max, incoming, expected) in [
            (0, 10, vec![]),
            (50, 10, vec![]),
            (49, 10, vec![20]),
            (40, 0, vec![]),
            (30, 10, vec![20, 30]),
            (20, 10, vec![20, 30, 10]),
            (1, 10, vec![20, 30, 10]),
        ] {
            assert_eq!(over_budget(&all, &settings(0, 1, 0, bytes_max), incoming), expected, "{bytes_max} {incoming}");
        }
        assert!(over_budget(&[], &settings(0, 0, 0, 1), 10).is_empty());
    }
}
