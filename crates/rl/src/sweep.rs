//! A sweep: every arm of a comparison under every seed, from one base config. Which runs there are, where each is, and how
//! far it has come; whoever calls decides how many run at a time, and shows progress.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use model::ModelPlace;
use record::{RecordError, RunDirectory, RunLock, read, write};
use serde::Deserialize;
use toml::Table;

use crate::{
    RlError, checkpoint,
    config::{RunConfig, from_table, is_file_name, merge, parse_config},
    device,
    inputs::Inputs,
    recorded::Recorded,
    trainer::{Provenance, Trainer},
};

/// The weights that a run leaves, one of these: of a whole model or of an adapter.
const WEIGHTS: [&str; 2] = ["model.safetensors", "adapter_model.safetensors"];

/// `brevity sweep SWEEP.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// The file that it was read from.
    #[serde(skip)]
    path: PathBuf,
    /// The `brevity train` config that every run starts from. `{seed}` in its paths of model and problems stands for the
    /// seed of the run. All paths are relative to where the program runs.
    pub base: PathBuf,
    /// Seeds, each with every arm.
    pub seeds: Vec<u64>,
    /// What is compared, in the order of the report.
    pub arms: Vec<SweepArm>,
}

/// `[[arms]]`: one side of the comparison.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepArm {
    /// Name in reports, and of its runs' directories.
    pub name: String,
    /// Settings in which the arm differs from the base config, as they would stand there.
    #[serde(default)]
    pub set: Table,
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepRun {
    /// Its config.
    pub config: RunConfig,
    /// Its run directory.
    pub root: PathBuf,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is there.
    New,
    /// It stopped on the way.
    Unfinished {
        /// Steps of its latest checkpoint; 0 of a run that was cut short before its first, and begins again.
        step: u64,
    },
    /// Its numbers are complete.
    Finished,
}

impl Sweep {
    /// Reads a sweep.
    ///
    /// # Errors
    /// [`RlError`] naming the file, the line or the setting, and what would be right.
    pub fn read(path: &Path) -> Result<Self, RlError> {
        let refused = |message| RlError::File { path: path.into(), message };
        let sweep: Self = parse_config(&read_text(path)?, &[]).map_err(refused)?;
        sweep.check().map_err(refused)?;
        Ok(Self { path: path.into(), ..sweep })
    }

    fn check(&self) -> Result<(), String> {
        if self.seeds.is_empty() || self.arms.is_empty() {
            return Err("has no run; give `seeds` and `arms` at least one entry each".into());
        }
        if let Some(seed) = repeated(self.seeds.iter()) {
            return Err(format!("`seeds` holds {seed} twice; leave one out"));
        }
        if let Some(name) = repeated(self.arms.iter().map(|arm| &arm.name)) {
            return Err(format!("two arms have the name \"{name}\"; give each its own"));
        }
        match self.arms.iter().find(|arm| !is_file_name(&arm.name)) {
            Some(arm) => {
                Err(format!("the arm name \"{}\" is no file name; use letters, digits, `-` and `_`", arm.name))
            }
            None => Ok(()),
        }
    }

    /// Every run, seed after seed for each arm in turn, in directories below `out`. `overrides` change the base config, as
    /// `--set` does.
    ///
    /// # Errors
    /// [`RlError`] when the base config cannot be read, or an arm makes a config of it that is out of range.
    pub fn runs(&self, out: &Path, overrides: &[String]) -> Result<Vec<SweepRun>, RlError> {
        let mut base: Table = toml::from_str(&read_text(&self.base)?)
            .map_err(|error| RlError::File { path: self.base.clone(), message: error.to_string() })?;
        let refused = |message| RlError::File { path: self.base.clone(), message };
        for change in overrides {
            let setting = change.split('=').next().unwrap_or_default().trim();
            if let Some(owner) = owner_in_sweep(setting) {
                let message = format!(
                    "`{setting}` is given by the sweep's {owner}; leave it out, or change {}",
                    self.path.display()
                );
                return Err(refused(message));
            }
            crate::config::apply(&mut base, change).map_err(refused)?;
        }
        let mut runs = Vec::new();
        for arm in &self.arms {
            let of_arm = |message: String| self.blamed(message, arm, &base);
            if let Some((setting, owner)) = arm.set.keys().find_map(|key| Some((key, owner_in_sweep(key)?))) {
                let message = format!("arm {}: `{setting}` is given by the sweep's {owner}; leave it out", arm.name);
                return Err(RlError::File { path: self.path.clone(), message });
            }
            let mut table = base.clone();
            merge(&mut table, arm.set.clone()).map_err(of_arm)?;
            let mut config = checked(table).map_err(of_arm)?;
            config.arm = Some(arm.name.clone());
            config.compute = Some(device::compute(config.device, config.compute).into());
            let of_seed = |&seed| config.clone().for_seed(seed);
            runs.extend(self.seeds.iter().map(of_seed).map(|config| SweepRun::new(config, out)));
        }
        Ok(runs)
    }

    /// The error of an arm's config, or of the base config, where that has it wrong by itself.
    fn blamed(&self, message: String, arm: &SweepArm, base: &Table) -> RlError {
        if checked(base.clone()).is_err_and(|alone| alone == message) {
            return RlError::File { path: self.base.clone(), message };
        }
        RlError::File { path: self.path.clone(), message: format!("arm {}: {message}", arm.name) }
    }
}

/// The config that a table holds, in range.
fn checked(table: Table) -> Result<RunConfig, String> {
    let config: RunConfig = from_table(table)?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

/// What of a sweep gives a run the setting `name`; none where its config does.
fn owner_in_sweep(name: &str) -> Option<&'static str> {
    match name {
        "seed" => Some("`seeds`"),
        "arm" => Some("names of arms"),
        _ => None,
    }
}

fn read_text(path: &Path) -> Result<String, RlError> {
    read::text(path).map_err(|source| RlError::Io { action: "read", path: path.into(), source })
}

fn repeated<T: Ord>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    for value in values {
        if seen.contains(&value) {
            return Some(value);
        }
        seen.insert(value);
    }
    None
}

impl SweepRun {
    /// The run of `config` in its own directory below `out`.
    pub fn new(config: RunConfig, out: &Path) -> Self {
        let root = out.join(config.directory_name());
        Self { config, root }
    }

    /// Arm and seed, for messages.
    pub fn name(&self) -> String {
        format!("{}, seed {}", self.config.arm(), self.config.seed)
    }

    /// How far the run has come.
    ///
    /// A run is finished when all its steps are done, the last evaluation is, and its model is written; one without
    /// checkpoints needs no model, so that the records can be kept alone.
    ///
    /// # Errors
    /// [`RlError`] when its directory holds another run or something else, or records that nothing can go on from and that
    /// are not those of a run cut short before its first checkpoint, naming it.
    pub fn standing(&self) -> Result<Standing, RlError> {
        if !self.root.join("run.json").is_file() {
            return match RunDirectory::refuse_taken(&self.root) {
                Err(RecordError::Unusable { path, .. }) => {
                    let message = "holds files and no run; move them away, or choose another directory with --out";
                    Err(RlError::File { path, message: message.into() })
                }
                taken => Ok(taken.map(|()| Standing::New)?),
            };
        }
        let run = RunDirectory::open(&self.root)?;
        if let Some([asked, recorded]) = self.config.first_difference(&run.config_toml()?) {
            let message = format!(
                "the run there has {recorded} where {asked} is asked for; choose another directory with --out, or \
                 move that run away"
            );
            return Err(RlError::File { path: self.root.clone(), message });
        }
        let recorded = Recorded::of(&run, &self.config)?;
        if recorded.is_whole && (self.has_model() || !run.checkpoints().exists()) {
            return Ok(Standing::Finished);
        }
        let newest = if run.checkpoints().is_dir() { checkpoint::steps(&run)?.last().copied() } else { None };
        if newest.is_none() {
            recorded.refuse_to_begin_again(&run, &self.config, RunLock::last_owner(&self.root))?;
        }
        Ok(Standing::Unfinished { step: newest.unwrap_or(0) })
    }

    /// Refuses this run, which is finished, if its files are others by now than those that it began with; those in `known`
    /// have been read.
    ///
    /// # Errors
    /// [`RlError`] naming the first file that differs, or one that cannot be read.
    pub fn refuse_changed(&self, model: &ModelPlace, known: &mut BTreeMap<PathBuf, String>) -> Result<(), RlError> {
        let header = RunDirectory::open(&self.root)?.header()?;
        Inputs::new(&self.config, model)?.refuse_others((&self.root, &header), known)
    }

    /// Whether the trained model is there, which appears whole.
    fn has_model(&self) -> bool {
        WEIGHTS.iter().any(|name| self.root.join("model").join(name).is_file())
    }

    /// The run from where it stands, started from the model at `model`: from its beginning, or from its latest checkpoint.
    /// One that was cut short before its first checkpoint is removed and begins again.
    ///
    /// # Errors
    /// [`RlError`] as [`Self::standing`], [`Trainer::start`] and [`Trainer::resume`].
    pub fn trainer(&self, model: &ModelPlace, provenance: &Provenance) -> Result<Trainer, RlError> {
        let standing = self.standing()?;
        if standing == (Standing::Unfinished { step: 0 }) {
            // Nobody else may be writing what is removed.
            let _lock = RunLock::take(&self.root)?;
            write::remove_whole(&self.root)?;
        } else if !self.root.exists() {
            // A crash may have left what was being removed.
            write::end_removal(&self.root)?;
        }
        match standing {
            Standing::New | Standing::Unfinished { step: 0 } => {
                Trainer::start(self.config.clone(), model, &self.root, provenance)
            }
            Standing::Unfinished { .. } | Standing::Finished => {
                Trainer::resume(&self.root, |_| Ok(model.clone()), provenance.resources.clone())
            }
        }
    }
}
