//! What decides a run's numbers from outside: its files by checksum, and the system's mathematical library.
//!
//! A run goes on with the files that it began with or not at all; another library or CPU is let pass with a warning.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use model::ModelPlace;
use record::{RunHeader, manifest, read, write};

use crate::{RlError, config::RunConfig};

/// Extensions of the files of a model directory that decide what it computes.
const MODEL_EXTENSIONS: [&str; 4] = ["json", "safetensors", "jinja", "txt"];

/// The files that decide the numbers of a run, by what they are to it.
#[derive(Debug, Clone)]
pub struct Inputs(BTreeMap<String, PathBuf>);

/// Whether a file of a model directory decides what it computes.
fn decides(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| MODEL_EXTENSIONS.contains(&extension)) && path.is_file()
}

/// The files of a model that decide what it computes, by what they are to a run.
fn model_files(model: &ModelPlace) -> Result<BTreeMap<String, PathBuf>, RlError> {
    let mut files = BTreeMap::new();
    let adapter = model.adapter.as_ref().map(|directory| ("model.path/adapter", directory));
    for (role, directory) in [("model.path", &model.base)].into_iter().chain(adapter) {
        let named = write::list(directory)?.into_iter().map(|name| (format!("{role}/{name}"), directory.join(name)));
        files.extend(named.filter(|(_, path)| decides(path)));
    }
    Ok(files)
}

/// One checksum of all files that decide what the model computes.
///
/// # Errors
/// [`RlError`] when one cannot be read.
pub fn model_checksum(model: &ModelPlace) -> Result<String, RlError> {
    let checksums = Inputs(model_files(model)?).of_files()?;
    let lines: Vec<String> = checksums.iter().map(|(name, checksum)| format!("{checksum} {name}")).collect();
    Ok(manifest::checksum_of(lines.join("\n").as_bytes()))
}

impl Inputs {
    /// The files of a run with `config` from the model at `model`.
    ///
    /// # Errors
    /// [`RlError`] when a directory of the model cannot be listed.
    pub fn new(config: &RunConfig, model: &ModelPlace) -> Result<Self, RlError> {
        let mut files = BTreeMap::from([("problems.path".to_owned(), config.problems.path.clone())]);
        if let Some(evaluation) = &config.evaluation {
            files.insert("evaluation.path".to_owned(), evaluation.path.clone());
        }
        if let Some(weights) = config.train.warning.as_ref().and_then(|warning| warning.weights.as_ref()) {
            files.insert("train.warning.weights".to_owned(), weights.clone());
        }
        files.extend(model_files(model)?);
        Ok(Self(files))
    }

    /// Their checksums, and that of the config `toml`.
    ///
    /// # Errors
    /// [`RlError`] when a file cannot be read.
    pub fn checksums(&self, toml: &str) -> Result<BTreeMap<String, String>, RlError> {
        let mut checksums = self.of_files()?;
        checksums.insert("config.toml".to_owned(), manifest::checksum_of(toml.as_bytes()));
        Ok(checksums)
    }

    /// The checksums of the files alone.
    fn of_files(&self) -> Result<BTreeMap<String, String>, RlError> {
        self.0.iter().map(|(name, path)| Ok((name.clone(), manifest::checksum(path)?))).collect()
    }

    /// Refuses a run at `root` that ended, if files of its `header` that are there are others by now: a run made beside it
    /// would begin with those. Files whose checksums are `known` are not read again.
    ///
    /// # Errors
    /// [`RlError::File`] naming the first file that differs; [`RlError`] when one cannot be read.
    pub(crate) fn refuse_others(
        &self,
        (root, header): (&Path, &RunHeader),
        known: &mut BTreeMap<PathBuf, String>,
    ) -> Result<(), RlError> {
        for (name, path) in self.0.iter().filter(|(_, path)| path.exists()) {
            let Some(began) = header.inputs.get(name) else { continue };
            if !known.contains_key(path) {
                known.insert(path.clone(), manifest::checksum(path)?);
            }
            if known[path] != *began {
                let message = format!(
                    "(`{name}`) is not what it was when the finished run in {} began, so a run made now could not stand \
                     beside it; put back what it was, or choose another directory with --out",
                    root.display()
                );
                return Err(RlError::File { path: path.clone(), message });
            }
        }
        Ok(())
    }

    /// Refuses to go on with the run in `root` with files other than those of its `header`.
    ///
    /// # Errors
    /// [`RlError::File`] naming the first file that differs; [`RlError`] when one cannot be read.
    pub fn refuse_changed(&self, root: &Path, header: &RunHeader) -> Result<(), RlError> {
        let config = root.join("config.toml");
        let text =
            read::text(&config).map_err(|source| RlError::Io { action: "read", path: config.clone(), source })?;
        let found = self.checksums(&text)?;
        let path = |name: &String| self.0.get(name).unwrap_or(&config).clone();
        let remedy = "put back what it was, or start a new run";
        let changed = |name: &String, what: &str| {
            let message = format!("(`{name}`) {what}; {remedy}");
            Err(RlError::File { path: path(name), message })
        };
        if let Some(name) = found.keys().find(|name| !header.inputs.contains_key(*name)) {
            return changed(name, "was not there when the run began");
        }
        for (name, checksum) in &header.inputs {
            match found.get(name) {
                Some(found) if found == checksum => {}
                Some(_) => return changed(name, "is not what it was when the run began"),
                None => {
                    let message = format!("misses the file `{name}`, with which the run began; {remedy}");
                    return Err(RlError::File { path: root.to_owned(), message });
                }
            }
        }
        Ok(())
    }
}

/// In what this program and machine differ from those that began the run of `header`, in ways that may change the last
/// bits of its numbers.
pub fn other_surroundings(header: &RunHeader, brevity_version: &str) -> Vec<String> {
    let facts = [
        ("version of brevity", header.brevity_version.as_str(), brevity_version),
        ("instruction set", header.cpu.as_str(), model::instruction_set().name()),
        ("mathematical library", header.mathematics.as_str(), &mathematics()),
    ];
    let differing = facts.into_iter().filter(|(_, began, now)| began != now);
    let told = |(what, began, now)| {
        format!("the run began with {what} {began} and goes on with {now}: its numbers may differ in their last bits")
    };
    differing.map(told).collect()
}

/// A digest of f64 functions at fixed arguments, by which mathematical libraries are told apart.
pub fn mathematics() -> String {
    let arguments = (1..2000).map(|place| f64::from(place) / 128.0);
    let values = arguments.flat_map(|x| [x.exp(), (-x).exp(), x.ln(), x.sin(), x.cos(), x.powf(-0.37)]);
    let bytes: Vec<u8> = values.flat_map(f64::to_le_bytes).collect();
    manifest::checksum_of(&bytes)[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_is_told_apart_by_what_it_computes() {
        let header = |version: &str, cpu: &str, mathematics: String| RunHeader {
            schema: record::SCHEMA_VERSION,
            arm: "grpo".to_owned(),
            seed: 0,
            steps: 1,
            brevity_version: version.to_owned(),
            cpu: cpu.to_owned(),
            compute: "f32".to_owned(),
            mathematics,
            inputs: BTreeMap::new(),
            threads: 1,
            model: "model".to_owned(),
            parameters: 1,
            started_unix_seconds: 0,
        };
        let cpu = model::instruction_set().name();
        assert_eq!(other_surroundings(&header("1", cpu, mathematics()), "1"), [""; 0]);
        let told = other_surroundings(&header("0", "abacus", "unknown".to_owned()), "1");
        assert_eq!(told.len(), 3);
        assert_eq!(
            told[1],
            format!(
                "the run began with instruction set abacus and goes on with {cpu}: its numbers may differ in their last bits"
            )
        );
    }
}
