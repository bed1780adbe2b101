//! Checkpoints of a run: a model directory that any tool loads, with the optimizer's state beside it.
//!
//! A checkpoint is written under another name and renamed when complete; `latest` is replaced last. A crash at any
//! moment leaves the old checkpoint or the new one. The random streams need no state: they are keyed by place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model::{Compute, Model, StoredType, TensorFiles, TensorView, read_weights, write_directory, write_tensors};
use record::{RunDirectory, write};
use serde::{Deserialize, Serialize};

use crate::{RlError, optimizer::Optimizer};

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    /// Steps done; the run goes on with this one.
    step: u64,
    /// Optimizer updates done.
    updates: u64,
}

/// Where the optimizer's moments are; a directory, because a tensor file is found as `model.safetensors` in one.
const OPTIMIZER: &str = "optimizer";

/// Writes a checkpoint after `step` steps, makes it the latest, and removes all but the last `keep_last` (0: none).
///
/// # Errors
/// [`RlError`] naming the file; the previous checkpoint stays the latest.
pub fn save(
    run: &RunDirectory,
    step: u64,
    (model, source): (&Model, &Path),
    optimizer: &Optimizer,
    keep_last: usize,
) -> Result<PathBuf, RlError> {
    let name = format!("step-{step:06}");
    let directory = run.checkpoints().join(&name);
    let partial = run.checkpoints().join(format!("{name}.partial"));
    remove(&partial)?;
    write_directory(model, source, &partial, StoredType::F32)?;
    let moments = [("first", &optimizer.first_moments), ("second", &optimizer.second_moments)];
    let named: Vec<(String, &Vec<usize>, &Vec<f32>)> = moments
        .into_iter()
        .flat_map(|(prefix, moments)| {
            let parameters = model.parameters().iter().zip(moments);
            parameters
                .map(move |(parameter, values)| (format!("{prefix}.{}", parameter.name), &parameter.shape, values))
        })
        .collect();
    let tensors: Vec<TensorView<'_>> =
        named.iter().map(|(name, shape, values)| TensorView { name, shape: (*shape).clone(), values }).collect();
    write::create_directory(&partial.join(OPTIMIZER))?;
    write_tensors(&partial.join(OPTIMIZER).join("model.safetensors"), &tensors, StoredType::F32)?;
    let state = State { step, updates: optimizer.updates };
    write::replace(&partial.join("state.json"), &serde_json::to_vec(&state).expect("the state serialises to JSON"))?;
    remove(&directory)?;
    fs::rename(&partial, &directory).map_err(|source| RlError::Io { action: "rename", path: partial, source })?;
    write::replace(&run.checkpoints().join("latest"), name.as_bytes())?;
    prune(run, keep_last)?;
    Ok(directory)
}

/// What a run goes on from.
pub struct Restored {
    /// Parameters.
    pub model: Model,
    /// Moments and count of updates.
    pub optimizer: Optimizer,
    /// Steps done.
    pub step: u64,
}

/// Reads the latest checkpoint of `run`, whose products compute with `compute`.
///
/// # Errors
/// [`RlError`] when there is none, or a file of it is missing or malformed.
pub fn load_latest(run: &RunDirectory, compute: Compute) -> Result<Restored, RlError> {
    let latest = run.checkpoints().join("latest");
    let name = fs::read_to_string(&latest).map_err(|_| RlError::File {
        path: run.root().into(),
        message: "has no checkpoint to resume from; start the run again in another directory".into(),
    })?;
    let directory = run.checkpoints().join(name.trim());
    let state_path = directory.join("state.json");
    let text =
        fs::read(&state_path).map_err(|source| RlError::Io { action: "read", path: state_path.clone(), source })?;
    let state: State = serde_json::from_slice(&text)
        .map_err(|error| RlError::File { path: state_path, message: error.to_string() })?;
    let (model, _) = read_weights(&directory, model::ModelConfig::read(&directory)?, compute)?;
    let files = TensorFiles::open(&directory.join(OPTIMIZER))?;
    let moments = |prefix: &str| {
        let read = |parameter: &model::Parameter| files.read(&format!("{prefix}.{}", parameter.name), &parameter.shape);
        model.parameters().iter().map(read).collect::<Result<Vec<_>, _>>()
    };
    let optimizer =
        Optimizer { first_moments: moments("first")?, second_moments: moments("second")?, updates: state.updates };
    Ok(Restored { optimizer, step: state.step, model })
}

fn prune(run: &RunDirectory, keep_last: usize) -> Result<(), RlError> {
    let path = run.checkpoints();
    let entries = fs::read_dir(&path).map_err(|source| RlError::Io { action: "list", path: path.clone(), source })?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("step-") && !name.contains('.'))
        .collect();
    names.sort();
    let excess = if keep_last == 0 { 0 } else { names.len().saturating_sub(keep_last) };
    names.iter().take(excess).try_for_each(|name| remove(&path.join(name)))
}

fn remove(directory: &Path) -> Result<(), RlError> {
    if !directory.exists() {
        return Ok(());
    }
    fs::remove_dir_all(directory).map_err(|source| RlError::Io { action: "remove", path: directory.into(), source })
}
