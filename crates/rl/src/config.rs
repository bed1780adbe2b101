//! What a run is asked to do: `brevity train CONFIG.toml`.
//!
//! Every setting is documented here, and `docs/config.md` is generated from this file's types by way of a commented
//! example. Ranges are checked once, in [`RunConfig::check`]; nothing below asks again.

mod checkpoint;
mod evaluation;
mod overrides;

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use model::threads::THREADS_MAX;
use record::read;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml::Value;
use verify::Extraction;

pub use crate::device::{ComputeType, DeviceSetting};
pub use checkpoint::CheckpointSettings;
pub use evaluation::EvaluationConfig;
pub(crate) use overrides::{apply, merge};

use crate::{
    ProblemFields, RlError,
    advantage::AdvantageScale,
    budget::BudgetSettings,
    cost::{self, Cost},
    dynamic_sampling::DynamicSampling,
    fault::FaultSettings,
    lora::LoraSettings,
    loss::LossSettings,
    optimizer::{OptimizerSettings, Schedule},
    shaping::Shaping,
    warning::WarningSettings,
};

/// A training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Name of the run in reports; runs of one arm with different seeds share it. Default: the shaper's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<String>,
    /// Seed of every random stream; it stands for `{seed}` in the paths of model and problems.
    #[serde(default)]
    pub seed: u64,
    /// Threads of the kernels; 0 takes all cores. No number depends on it.
    #[serde(default)]
    pub threads: usize,
    /// What matrix products compute with; default the fastest that the CPU has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute: Option<ComputeType>,
    /// Where the model computes.
    #[serde(default)]
    pub device: DeviceSetting,
    /// The policy.
    pub model: ModelSettings,
    /// Training problems.
    pub problems: ProblemSettings,
    /// From a problem to a prompt.
    #[serde(default)]
    pub prompt: PromptSettings,
    /// How a completion's answer is found.
    #[serde(default)]
    pub verifier: VerifierSettings,
    /// Sampling of training completions.
    pub rollout: RolloutSettings,
    /// Shaping, loss and optimizer.
    pub train: TrainSettings,
    /// Evaluation during training; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<EvaluationConfig>,
    /// Checkpoints.
    #[serde(default)]
    pub checkpoint: CheckpointSettings,
}

/// `[model]`: the policy to start from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSettings {
    /// The directory of a model in Hugging Face layout or of an adapter in that of PEFT, or its hub name, such as
    /// `Qwen/Qwen3-0.6B`.
    pub path: String,
    /// Largest memory that the run may plan for, bytes; 0 takes what the machine has available at the start. What does
    /// not fit costs time and changes no number, as [`crate::estimate::plan`] decides; a run that does not fit even so is
    /// refused.
    #[serde(default)]
    pub memory_bytes_max: u64,
    /// A low-rank adapter that is trained in place of the weights; every weight is trained when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraSettings>,
}

impl ModelSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), RlError> {
        self.lora.as_ref().map_or(Ok(()), LoraSettings::check)
    }
}

/// `[problems]`: what the policy is trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProblemSettings {
    /// A JSONL or Parquet file.
    pub path: PathBuf,
    /// Order in which problems are taken.
    #[serde(default)]
    pub order: ProblemOrder,
    /// Which fields of a row hold what.
    #[serde(default)]
    pub fields: ProblemFields,
    /// Length budgets that problems ask for, in training and in evaluation; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetSettings>,
}

/// Order in which problems are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemOrder {
    /// A new random order each epoch.
    #[default]
    Shuffled,
    /// The file's, epoch after epoch.
    File,
}

/// `[prompt]`: from a problem to a prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptSettings {
    /// Whether the chat template is used.
    pub template: Template,
    /// System message of the chat template; none when empty.
    pub system: String,
    /// Added to every question after a line break; nothing when empty.
    pub instruction: String,
    /// A problem whose prompt is longer than this is refused by name, tokens.
    pub prompt_tokens_max: usize,
    /// What the chat template reads by name, such as `enable_thinking`; `date` is the day that it is told.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, serde_json::Value>,
}

/// Whether the chat template is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Template {
    /// The model's chat template, with the question as the user's message.
    Chat,
    /// The question as it stands.
    Plain,
}

impl Default for PromptSettings {
    fn default() -> Self {
        Self {
            template: Template::Chat,
            system: String::new(),
            instruction: crate::INSTRUCTION.into(),
            prompt_tokens_max: 1024,
            variables: BTreeMap::new(),
        }
    }
}

/// `[verifier]`: how a completion's answer is found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerifierSettings {
    /// `{ auto = {} }`, or `{ marker = { marker = "A" } }` for what follows the last such word on its line.
    pub extraction: Extraction,
}

impl Default for VerifierSettings {
    fn default() -> Self {
        Self { extraction: Extraction::Auto {} }
    }
}

/// `[rollout]`: sampling of training completions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloutSettings {
    /// N: problems, and so groups, of a step.
    pub prompts_per_step: usize,
    /// G: completions per problem.
    pub group_size: usize,
    /// Token limit of a completion, end token included.
    pub completion_tokens_max: usize,
    /// Divides the logits, in sampling and in the policy logprobs alike. There is no top-k or top-p here: the policy
    /// gradient is that of the distribution sampled from, which they would cut.
    #[serde(default = "one")]
    pub temperature: f64,
    /// Completions computed together; more is faster and takes more memory.
    #[serde(default = "sequences_max")]
    pub sequences_max: usize,
    /// Largest memory of the keys and values of prompts and completions, bytes; when it is full, those completions that
    /// began last make room, and are computed again later. 0 takes what `model.memory_bytes_max` leaves.
    #[serde(default)]
    pub cache_bytes_max: usize,
}

fn one() -> f64 {
    1.0
}

fn sequences_max() -> usize {
    64
}

/// `[train]`: shaping, loss and optimizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSettings {
    /// Steps of the run: each samples, shapes and updates once.
    pub steps: u64,
    /// Passes over a step's completions, with an optimizer update after each (μ in arXiv 2402.03300). The clip range
    /// matters only above 1.
    #[serde(default = "passes")]
    pub passes: u64,
    /// Rows that the network holds for one backward, tokens of prompts included; gradients add up over micro-batches.
    #[serde(default = "micro_batch_tokens")]
    pub micro_batch_tokens: usize,
    /// What happens to a completion without an end token.
    #[serde(default)]
    pub truncated: Truncated,
    /// What the difference from the group's mean reward is divided by.
    #[serde(default)]
    pub advantage: AdvantageScale,
    /// Replacement of groups that teach nothing; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_sampling: Option<DynamicSampling>,
    /// Costs by name, beside tokens, for the objectives of the `weighted` shaper.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub costs: BTreeMap<String, Cost>,
    /// From verdicts and lengths to rewards.
    pub shaping: Shaping,
    /// The loss.
    #[serde(default)]
    pub loss: LossSettings,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerSettings,
    /// The learning rate over the run.
    #[serde(default)]
    pub schedule: Schedule,
    /// What happens when a number is not finite.
    #[serde(default)]
    pub faults: FaultSettings,
    /// Early warning of a collapse; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warning: Option<WarningSettings>,
}

fn passes() -> u64 {
    1
}

fn micro_batch_tokens() -> usize {
    2048
}

/// What happens to a completion without an end token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Truncated {
    /// It counts as wrong (the code of arXiv 2502.04463).
    #[default]
    Wrong,
    /// It counts as wrong for its group and takes no part in the loss (DAPO, arXiv 2503.14476, section 3.4).
    Drop,
}

/// Most prompts of a step.
pub(crate) const PROMPTS_MAX: usize = 1 << 20;
/// Most completions of a problem.
const GROUP_SIZE_MAX: usize = 1 << 16;
/// Most tokens of a prompt, and of a completion.
pub(crate) const TOKENS_MAX: usize = 1 << 24;
/// Most rows of one backward.
pub(crate) const MICRO_BATCH_TOKENS_MAX: usize = 1 << 30;

/// Reads a config file and applies `overrides` of the form `section.key=value`, the value in TOML.
///
/// # Errors
/// [`RlError::File`] naming the file, the line or the setting, and what would be right.
pub fn read_config<T: DeserializeOwned>(path: &Path, overrides: &[String]) -> Result<T, RlError> {
    let failed = |source| RlError::Io { action: "read the config", path: path.into(), source };
    let text = read::text(path).map_err(failed)?;
    parse_config(&text, overrides).map_err(|message| RlError::File { path: path.into(), message })
}

/// [`read_config`] over text.
///
/// # Errors
/// What is wrong, with the line or the setting.
pub fn parse_config<T: DeserializeOwned>(text: &str, overrides: &[String]) -> Result<T, String> {
    if overrides.is_empty() {
        let deserializer = toml::Deserializer::parse(text).map_err(|error| error.to_string())?;
        return serde_path_to_error::deserialize(deserializer)
            .map_err(|error| format!("setting `{}`: {}", error.path(), error.inner().to_string().trim_end()));
    }
    let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    for change in overrides {
        apply(&mut table, change)?;
    }
    from_table(table)
}

/// The config that a table holds.
///
/// # Errors
/// What is wrong, with the setting.
pub(crate) fn from_table<T: DeserializeOwned>(table: toml::Table) -> Result<T, String> {
    // A table knows no lines, and its errors would name the setting once more, on a line of its own.
    serde_path_to_error::deserialize(toml::Value::Table(table))
        .map_err(|error| format!("setting `{}`: {}", error.path(), error.inner().message().trim_end()))
}

/// Whether `name` names a file, or a part of its name, in whatever directory, and is short enough to be shown.
pub(crate) fn is_file_name(name: &str) -> bool {
    (1..=100).contains(&name.len()) && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn refuse_no_file_name(field: &'static str, name: Option<&str>) -> Result<(), RlError> {
    match name.filter(|name| !is_file_name(name)) {
        Some(name) => setting(field, format!("is \"{name}\", which is no file name; use letters, digits, `-` and `_`")),
        None => Ok(()),
    }
}

impl RunConfig {
    /// Name of the run in reports.
    pub fn arm(&self) -> &str {
        self.arm.as_deref().unwrap_or(self.train.shaping.name())
    }

    /// Name of the run's directory: `ARM-seedSEED`.
    pub fn directory_name(&self) -> String {
        format!("{}-seed{}", self.arm(), self.seed)
    }

    /// The config of the run under `seed`, which takes the place of `{seed}` in the paths of model and problems.
    #[must_use]
    pub fn for_seed(mut self, seed: u64) -> Self {
        let with_seed = |path: &str| path.replace("{seed}", &seed.to_string());
        let with_seed_in = |path: &PathBuf| path.to_str().map_or_else(|| path.clone(), |path| with_seed(path).into());
        self.model.path = with_seed(&self.model.path);
        self.problems.path = with_seed_in(&self.problems.path);
        if let Some(evaluation) = &mut self.evaluation {
            evaluation.path = with_seed_in(&evaluation.path);
        }
        self.seed = seed;
        self
    }

    /// The first setting in which this config and a recorded one differ, as it stands in each: "`train.steps = 3`", or "no
    /// `arm`"; none when they are the same.
    pub fn first_difference(&self, recorded: &str) -> Option<[String; 2]> {
        let ours = self.to_toml();
        if ours == recorded {
            return None;
        }
        // What cannot be read has none of the settings.
        let [ours, theirs] = [&ours, recorded].map(|text| overrides::settings(&text.parse().unwrap_or_default()));
        let names = ours.keys().chain(theirs.keys());
        let name = names.into_iter().find(|name| ours.get(*name) != theirs.get(*name))?;
        let shown = |settings: &BTreeMap<String, Value>| match settings.get(name) {
            Some(value) => format!("`{name} = {value}`"),
            None => format!("no `{name}`"),
        };
        Some([shown(&ours), shown(&theirs)])
    }

    /// The resolved config, every default written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a config serialises to TOML")
    }

    /// Checks every range and every contradiction between settings.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the first setting that is out of range.
    pub fn check(&self) -> Result<(), RlError> {
        refuse_no_file_name("arm", self.arm.as_deref())?;
        let RolloutSettings { prompts_per_step, group_size, completion_tokens_max, sequences_max, .. } = self.rollout;
        refuse_counts_outside(&[
            ("rollout.prompts_per_step", prompts_per_step, 1, PROMPTS_MAX),
            ("rollout.group_size", group_size, 2, GROUP_SIZE_MAX),
            ("rollout.completion_tokens_max", completion_tokens_max, 1, TOKENS_MAX),
            ("rollout.sequences_max", sequences_max, 1, 1 << 20),
            ("prompt.prompt_tokens_max", self.prompt.prompt_tokens_max, 1, TOKENS_MAX),
            ("train.micro_batch_tokens", self.train.micro_batch_tokens, 1, MICRO_BATCH_TOKENS_MAX),
            ("train.passes", self.train.passes as usize, 1, 1 << 10),
            ("train.steps", self.train.steps as usize, 0, record::STEPS_MAX as usize),
            ("threads", self.threads, 0, THREADS_MAX),
        ])?;
        let loss = &self.train.loss;
        let rounds_max = self.train.dynamic_sampling.map_or(1, |settings| settings.rounds_max);
        let reals = [
            ("rollout.temperature", self.rollout.temperature, *TEMPERATURES.start(), *TEMPERATURES.end()),
            ("train.loss.clip_low", loss.clip_low, 0.0, 1.0),
            ("train.loss.clip_high", loss.clip_high, 0.0, 1e6),
            ("train.loss.kl_weight", loss.kl_weight, 0.0, 1e6),
            ("train.dynamic_sampling.rounds_max", rounds_max as f64, 1.0, 1e3),
        ];
        for (field, value, min, max) in reals {
            if !(min..=max).contains(&value) {
                return setting(field, format!("is {value}; it must be between {min} and {max}"));
            }
        }
        self.model.check()?;
        self.prompt.check()?;
        self.verifier.extraction.check().or_else(|message| setting("verifier.extraction", message))?;
        self.train.optimizer.check()?;
        self.train.faults.check()?;
        self.train.warning.as_ref().map_or(Ok(()), |warning| warning.check(&self.train.shaping))?;
        loss.check()?;
        cost::check(&self.train.costs)?;
        self.problems.budget.as_ref().map_or(Ok(()), |budget| budget.check(completion_tokens_max))?;
        if let Some((field, message)) = self.train.shaping.refusal(self) {
            return setting(field, message);
        }
        self.evaluation.as_ref().map_or(Ok(()), EvaluationConfig::check)?;
        self.checkpoint.check(self.evaluation.as_ref())
    }
}

/// Temperatures that logits are divided by; by less they would leave the range of f32.
const TEMPERATURES: RangeInclusive<f64> = 1e-3..=100.0;

/// Whether completions can be sampled at this temperature; 0 takes the most likely token.
pub fn is_temperature(value: f64) -> bool {
    value == 0.0 || TEMPERATURES.contains(&value)
}

/// Refuses the first count, a setting with its value, outside its bounds.
pub(crate) fn refuse_counts_outside(counts: &[(&'static str, usize, usize, usize)]) -> Result<(), RlError> {
    match counts.iter().find(|(_, value, min, max)| !(min..=max).contains(&value)) {
        Some((field, value, min, max)) => setting(field, format!("is {value}; it must be between {min} and {max}")),
        None => Ok(()),
    }
}

fn setting(field: &'static str, message: String) -> Result<(), RlError> {
    Err(RlError::Setting { field, message })
}
