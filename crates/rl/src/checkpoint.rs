//! Checkpoints of a run: a model directory that any tool loads, with the optimizer's state beside it.
//!
//! A checkpoint is written under another name, synced, listed with a checksum for each file, and made current by one
//! rename: a crash at any moment leaves it whole or not there. It is read only when every file is as it was listed.
//! The random streams need no state: they are keyed by place.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

use model::{
    Adapter, Model, ModelDirectory, StoredType, TensorFiles, TensorView, companion_bytes, read_weights,
    write_directory, write_tensors,
};
use record::{RunDirectory, STEPS_MAX, manifest, read, shell_word, write};
use serde::{Deserialize, Serialize};

use crate::{
    RlError,
    config::CheckpointSettings,
    device,
    fault::RETURNS_MAX,
    optimizer::Optimizer,
    retention,
    shaping::{ShaperState, Shaping},
};

/// How far a run has come, beside parameters and moments.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Steps done; the run goes on with this one.
    pub step: u64,
    /// Problems taken; more than a step's by step under dynamic sampling.
    pub problems_taken: u64,
    /// What the shaper remembers.
    pub shaper: ShaperState,
    /// How often the run went back to a checkpoint because of a fault.
    pub detours: u64,
}

impl Progress {
    /// Before step 0 of a run under `shaping`.
    pub fn start(shaping: &Shaping) -> Self {
        Self { step: 0, problems_taken: 0, shaper: shaping.start(), detours: 0 }
    }
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// As in [`Progress`].
    pub(crate) step: u64,
    /// Optimizer updates done.
    pub(crate) updates: u64,
    /// As in [`Progress`].
    pub(crate) problems_taken: u64,
    /// As in [`Progress`].
    pub(crate) shaper: ShaperState,
    /// As in [`Progress`].
    pub(crate) detours: u64,
}

impl State {
    /// Refuses counts that no run comes to, with which nobody could count on.
    pub(crate) fn check(&self) -> Result<(), String> {
        let counts = [
            ("step", self.step, STEPS_MAX),
            ("updates", self.updates, 1 << 50),
            ("problems_taken", self.problems_taken, 1 << 60),
            ("detours", self.detours, RETURNS_MAX),
        ];
        match counts.iter().find(|(_, count, most)| count > most) {
            Some((field, count, most)) => Err(format!("`{field}` is {count}, and no run comes to more than {most}")),
            None => Ok(()),
        }
    }
}

/// Where the optimizer's moments are; a directory, because a tensor file is found as `model.safetensors` in one.
const OPTIMIZER: &str = "optimizer";

/// What a run is after a step.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    /// Parameters.
    pub model: &'a Model,
    /// Model directory whose tokenizer and other files go along.
    pub source: &'a Path,
    /// Moments and count of updates.
    pub optimizer: &'a Optimizer,
    /// How far it has come.
    pub progress: &'a Progress,
}

/// Writes a checkpoint, and removes those that `settings` no longer keep.
///
/// # Errors
/// [`RlError`] naming the file; the checkpoints before stay, and nothing of this one.
pub fn save(run: &RunDirectory, snapshot: &Snapshot<'_>, settings: &CheckpointSettings) -> Result<PathBuf, RlError> {
    retention::make_room(run, settings)?;
    let directory = path(run, snapshot.progress.step);
    let partial = directory.with_extension("partial");
    if let Err(error) = write_partial(snapshot, &partial) {
        // The first failure is the one to report; a leftover is removed by the next attempt.
        let _ = write::remove_directory(&partial);
        return Err(error);
    }
    write::rename_directory(&partial, &directory)?;
    retention::prune(run, settings)?;
    Ok(directory)
}

fn write_partial(snapshot: &Snapshot<'_>, partial: &Path) -> Result<(), RlError> {
    let &Snapshot { model, source, optimizer, progress } = snapshot;
    write::remove_directory(partial)?;
    // Not with its parents: a run directory that was taken away is not made again.
    let failed = |source| RlError::Io { action: "create the directory", path: partial.to_owned(), source };
    fs::create_dir(partial).map_err(failed)?;
    write_directory(model, source, partial, StoredType::F32)?;
    let moments = [("first", optimizer.first_moments.values()), ("second", optimizer.second_moments.values())];
    let named: Vec<(String, &Vec<usize>, &Vec<f32>)> = moments
        .iter()
        .flat_map(|(prefix, moments)| {
            let parameters = model.parameters().iter().zip(&**moments);
            parameters
                .map(move |(parameter, values)| (format!("{prefix}.{}", parameter.name), &parameter.shape, values))
        })
        .collect();
    let tensors: Vec<TensorView<'_>> =
        named.iter().map(|(name, shape, values)| TensorView { name, shape: (*shape).clone(), values }).collect();
    write::create_directory(&partial.join(OPTIMIZER))?;
    write_tensors(&partial.join(OPTIMIZER).join("model.safetensors"), &tensors, StoredType::F32)?;
    let Progress { step, problems_taken, shaper, detours } = progress.clone();
    let state = State { step, updates: optimizer.updates, problems_taken, shaper, detours };
    write::replace(&partial.join("state.json"), &serde_json::to_vec(&state).expect("the state serialises to JSON"))?;
    Ok(manifest::write(partial)?)
}

/// Room for what a tensor file says of one tensor, beside its name.
const ENTRY_BYTES: usize = 160;

/// Room for state and manifest.
const STATE_BYTES: u64 = 1 << 16;

/// Bytes that a checkpoint of `source` may come to.
fn bytes_of(source: &ModelDirectory) -> u64 {
    let parameters = source.model.parameters();
    // Parameters and two moments in f32.
    let values = 12 * source.model.parameter_count() as u64;
    let entries: usize = parameters.iter().map(|parameter| 3 * (parameter.name.len() + ENTRY_BYTES)).sum();
    values + entries as u64 + companion_bytes(&source.model, &source.path) + STATE_BYTES
}

/// Refuses a budget that a checkpoint of `source` does not fit in while the one before is still there.
///
/// # Errors
/// [`RlError::Setting`].
pub fn refuse_small_budget(settings: &CheckpointSettings, source: &ModelDirectory) -> Result<(), RlError> {
    let least = 2 * bytes_of(source);
    if settings.bytes_max == 0 || settings.bytes_max >= least {
        return Ok(());
    }
    let message =
        format!("is {}, and two checkpoints take up to {least}; raise it, or set 0 for no bound", settings.bytes_max);
    Err(RlError::Setting { field: "checkpoint.bytes_max", message })
}

/// Writes the model of `source` to the directory `path`, which appears whole.
///
/// # Errors
/// [`RlError`] naming the file.
pub fn write_model(source: &ModelDirectory, path: &Path) -> Result<(), RlError> {
    let partial = path.with_extension("partial");
    write::remove_directory(&partial)?;
    if let Err(error) = write_directory(&source.model, &source.path, &partial, source.stored) {
        // As for a checkpoint: the room that it takes is wanted.
        let _ = write::remove_directory(&partial);
        return Err(error.into());
    }
    write::sync_directory(&partial)?;
    Ok(write::rename_directory(&partial, path)?)
}

/// What a run goes on from.
pub struct Restored {
    /// Parameters.
    pub model: Model,
    /// Moments and count of updates.
    pub optimizer: Optimizer,
    /// How far it has come.
    pub progress: Progress,
}

/// What is done about a checkpoint that is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The run does not go on.
    Refuse,
    /// The run goes on from the one before.
    FallBack,
}

/// Reads the newest checkpoint of `run`, a later state of `start`; none where there is none yet. With it come what is wrong
/// with those that were passed over.
///
/// # Errors
/// [`RlError::File`] naming the checkpoint, the file and in what it differs.
pub fn load_newest(
    run: &RunDirectory,
    start: &Model,
    damage: Damage,
) -> Result<(Option<Restored>, Vec<String>), RlError> {
    let mut passed_over = Vec::new();
    let kept = steps(run)?;
    for &step in kept.iter().rev() {
        match load(&path(run, step), start) {
            Ok(restored) => return Ok((Some(restored), passed_over)),
            Err(error) => {
                if let Some(cause) = refusal(&error).filter(|_| damage == Damage::FallBack) {
                    let place = path(run, step);
                    let message =
                        format!("{error} ({cause}); mend that, or remove {} to go on before it", place.display());
                    return Err(RlError::File { path: run.checkpoints(), message });
                }
                passed_over.push(error.to_string());
            }
        }
        if damage == Damage::Refuse {
            break;
        }
    }
    match passed_over.last() {
        None => Ok((None, passed_over)),
        Some(last) => {
            let message = match damage {
                Damage::Refuse if kept.len() > 1 => format!(
                    "its newest checkpoint is not whole: {last}; run `brevity train --resume {} --fallback` to go on from \
                     the checkpoint before it",
                    shell_word(run.root())
                ),
                Damage::Refuse | Damage::FallBack => format!(
                    "holds no checkpoint that is whole: {last}; start the run again in another directory, or remove this \
                     one first"
                ),
            };
            Err(RlError::File { path: run.checkpoints(), message })
        }
    }
}

/// Reads the checkpoint of `run` after `step` steps, an earlier state of `model`; none where there is none.
///
/// # Errors
/// [`RlError::File`] naming the checkpoint, the file and in what it differs, or why it cannot be read.
pub(crate) fn load_at(run: &RunDirectory, step: u64, model: &Model) -> Result<Option<Restored>, RlError> {
    if !steps(run)?.contains(&step) {
        return Ok(None);
    }
    let place = path(run, step);
    load(&place, model).map(Some).map_err(|error| {
        let cause = refusal(&error).map_or_else(String::new, |cause| format!(" ({cause})"));
        let (place, root) = (place.display(), shell_word(run.root()));
        let message = format!(
            "holds no checkpoint to go back to: {error}{cause}; mend {place}, or remove it to have the run go back \
             further, and run `brevity train --resume {root}`"
        );
        RlError::File { path: run.checkpoints(), message }
    })
}

/// Why the machine does not let a file be read, where that says nothing of what is in it.
fn refusal(error: &RlError) -> Option<&io::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            // What is gone, cut, or something else than a file.
            let is_damage = matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::InvalidData
                    | io::ErrorKind::InvalidInput
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::NotADirectory
            );
            return (!is_damage).then_some(error);
        }
        cause = error.source();
    }
    None
}

/// Reads the checkpoint in `directory` when all its files are as they were written.
fn load(directory: &Path, start: &Model) -> Result<Restored, RlError> {
    manifest::check(directory)?;
    let path = directory.join("state.json");
    let text = read::bytes(&path).map_err(|source| RlError::Io { action: "read", path: path.clone(), source })?;
    let refused = |message| RlError::File { path: path.clone(), message };
    let state: State = serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
    state.check().map_err(refused)?;
    let model = if start.adapter().is_some() {
        let adapter = Adapter::read(directory, (start.config(), start.compute()))?;
        start.clone().with_adapter(adapter)
    } else {
        let read = read_weights(directory, model::ModelConfig::read(directory)?, start.compute())?.0;
        device::beside(read, start)?
    };
    let files = TensorFiles::open(&directory.join(OPTIMIZER))?;
    let moments = |prefix: &str| {
        let read = |parameter: &model::Parameter| files.read(&format!("{prefix}.{}", parameter.name), &parameter.shape);
        let values = model.parameters().iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok::<_, RlError>(model.tensors(values))
    };
    let optimizer =
        Optimizer { first_moments: moments("first")?, second_moments: moments("second")?, updates: state.updates };
    let State { step, problems_taken, shaper, detours, .. } = state;
    Ok(Restored { model, optimizer, progress: Progress { step, problems_taken, shaper, detours } })
}

/// Steps after which `run` has a checkpoint to return to, ascending: those that are due, which a run has whether or not it
/// was interrupted.
///
/// # Errors
/// [`RlError`] naming the directory.
pub(crate) fn steps_to_return_to(run: &RunDirectory, settings: &CheckpointSettings) -> Result<Vec<u64>, RlError> {
    let is_due = |step: &u64| settings.every_steps > 0 && retention::is_due(*step, settings);
    Ok(steps(run)?.into_iter().filter(is_due).collect())
}

/// Removes what a run that goes on after `step` steps writes again: later checkpoints, and parts of one.
///
/// # Errors
/// [`RlError`] naming the directory.
pub fn forget_after(run: &RunDirectory, step: u64) -> Result<(), RlError> {
    for later in steps(run)?.into_iter().filter(|later| *later > step) {
        write::remove_whole(&path(run, later))?;
    }
    for name in write::list(&run.checkpoints())?.iter().filter(|name| name.ends_with(".partial")) {
        write::remove_directory(&run.checkpoints().join(name))?;
    }
    Ok(())
}

/// The directory of the checkpoint after `step` steps.
pub fn path(run: &RunDirectory, step: u64) -> PathBuf {
    run.checkpoints().join(format!("step-{step:06}"))
}

/// Steps of the checkpoints of `run`, ascending.
///
/// # Errors
/// [`RlError`] when the directory cannot be listed.
pub fn steps(run: &RunDirectory) -> Result<Vec<u64>, RlError> {
    let names = write::list(&run.checkpoints())?;
    let mut steps: Vec<u64> = names.iter().filter_map(|name| name.strip_prefix("step-")?.parse().ok()).collect();
    steps.sort_unstable();
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use record::RecordError;

    use super::*;

    #[test]
    fn what_the_machine_does_not_let_be_read_is_no_damage() {
        for (kind, expected) in [
            (io::ErrorKind::PermissionDenied, true),
            (io::ErrorKind::ResourceBusy, true),
            (io::ErrorKind::Other, true),
            (io::ErrorKind::NotFound, false),
            (io::ErrorKind::UnexpectedEof, false),
        ] {
            let path = PathBuf::from("state.json");
            let ours = RlError::Io { action: "read", path: path.clone(), source: kind.into() };
            let of_records = RlError::Record(RecordError::Io { action: "read", path, source: kind.into() });
            for error in [ours, of_records] {
                assert_eq!(refusal(&error).map(io::Error::kind), expected.then_some(kind));
            }
        }
        assert!(refusal(&RlError::File { path: "state.json".into(), message: "is cut".into() }).is_none());
    }
}
