//! Supervised fine-tuning on demonstrations: the mean negative logprob of completion tokens, end token included.

use std::path::{Path, PathBuf};

use model::{
    Batch, Model, ModelConfig, ModelDirectory, ModelPlace, Tensors, TrainerWorkspace, threads::THREADS_MAX,
    write_directory,
};
use record::{RunLock, write};
use serde::{Deserialize, Serialize};

use crate::{
    DemonstrationFields, RlError,
    batch::{GroupPart, TrainedCompletion, micro_batches},
    config::{MICRO_BATCH_TOKENS_MAX, ModelSettings, PROMPTS_MAX, PromptSettings, TOKENS_MAX, refuse_counts_outside},
    device::{self, ComputeType, DeviceSetting, Place, Resources},
    estimate::{Plan, PlannedModel, limit_bytes, plan_fine_tuning},
    lora,
    optimizer::{Optimizer, OptimizerSettings, Schedule, learning_rate_share},
    prompt::Prompter,
    random::{Purpose, Stream},
    read_demonstrations,
};

/// `brevity sft CONFIG.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftConfig {
    /// Seed of the order of demonstrations, and of a new adapter.
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
    /// The model to start from.
    pub model: ModelSettings,
    /// What to imitate.
    pub demonstrations: DemonstrationSettings,
    /// From a demonstration's prompt to tokens.
    #[serde(default)]
    pub prompt: PromptSettings,
    /// The optimization.
    pub train: SftTrainSettings,
}

/// `[demonstrations]`: what to imitate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemonstrationSettings {
    /// A JSONL or Parquet file.
    pub path: PathBuf,
    /// Which fields of a row hold what.
    #[serde(default)]
    pub fields: DemonstrationFields,
}

/// `[train]` of supervised fine-tuning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftTrainSettings {
    /// Optimizer steps; epochs follow one another, each in a new random order.
    pub steps: u64,
    /// Demonstrations of a step.
    pub batch_size: usize,
    /// Rows that the network holds for one backward.
    #[serde(default = "micro_batch_tokens")]
    pub micro_batch_tokens: usize,
    /// The optimizer.
    #[serde(default)]
    pub optimizer: OptimizerSettings,
    /// The learning rate over the run.
    #[serde(default)]
    pub schedule: Schedule,
}

fn micro_batch_tokens() -> usize {
    2048
}

/// One line of `sft.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SftMetrics {
    /// Optimizer step, from 0.
    pub step: u64,
    /// Mean negative logprob of the step's completion tokens before the update, nats.
    pub loss_nats: f64,
    /// Global gradient norm before clipping.
    pub gradient_norm: f64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Completion tokens of the step.
    pub tokens: u64,
}

/// A demonstration as token ids.
struct TokenizedDemonstration {
    prompt: Vec<u32>,
    completion: Vec<u32>,
}

impl TokenizedDemonstration {
    /// Rows of the network that it takes.
    fn rows(&self) -> usize {
        self.prompt.len() + self.completion.len() - 1
    }
}

impl SftConfig {
    /// Checks every range.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), RlError> {
        refuse_counts_outside(&[
            ("train.steps", self.train.steps as usize, 0, record::STEPS_MAX as usize),
            ("train.batch_size", self.train.batch_size, 1, PROMPTS_MAX),
            ("train.micro_batch_tokens", self.train.micro_batch_tokens, 1, MICRO_BATCH_TOKENS_MAX),
            ("prompt.prompt_tokens_max", self.prompt.prompt_tokens_max, 1, TOKENS_MAX),
            ("threads", self.threads, 0, THREADS_MAX),
        ])?;
        self.model.check()?;
        self.prompt.check()?;
        self.train.optimizer.check()
    }
}

/// A fine-tuning that is ready for its first step.
pub struct FineTuning<'a> {
    config: &'a SftConfig,
    root: PathBuf,
    source: ModelDirectory,
    demonstrations: Vec<TokenizedDemonstration>,
    plan: Plan,
    limit_bytes: Option<u64>,
    _lock: RunLock,
}

impl<'a> FineTuning<'a> {
    /// Reads the model at `model` and the demonstrations, plans the memory, and makes `root` with `config.toml` in it. It
    /// may take `resources`.
    ///
    /// # Errors
    /// [`RlError`] when a setting, a file or the memory does not allow it.
    pub fn start(
        config: &'a SftConfig,
        (model, root): (&ModelPlace, &Path),
        resources: impl Into<Resources>,
    ) -> Result<Self, RlError> {
        config.check()?;
        refuse_taken(root)?;
        let compute = device::compute(config.device, config.compute);
        let place = Place::new(config.device, compute, &resources.into())?;
        let adapter = lora::adapter_settings(&config.model, model)?;
        let limit_bytes = limit_bytes(&config.model, place.free_bytes());
        let plan = |longest| {
            let shape = ModelConfig::read(&model.base)?;
            place.refuse(&shape, adapter.as_ref())?;
            let planned = PlannedModel { config: &shape, adapter: adapter.as_ref() };
            plan_fine_tuning(config, planned, place.memory(), longest, limit_bytes)
        };
        // Before the weights are read, with demonstrations of one token; then with the longest there is.
        plan(1)?;
        let mut source = lora::open(&config.model, config.seed, model, compute)?;
        let demonstrations = tokenize(config, &source)?;
        let plan = plan(demonstrations.iter().map(TokenizedDemonstration::rows).max().unwrap_or(1))?;
        write::create_directory(root)?;
        let lock = RunLock::take(root)?;
        refuse_taken(root)?;
        let resolved = SftConfig { compute: Some(compute.into()), ..config.clone() };
        let text = toml::to_string(&resolved).expect("a config serialises to TOML");
        write::replace(&root.join("config.toml"), text.as_bytes())?;
        source.model = place.put(source.model, 0)?;
        Ok(Self { config, root: root.into(), source, demonstrations, plan, limit_bytes, _lock: lock })
    }

    /// What it takes of the memory.
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Bytes that were planned for, where known.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.limit_bytes
    }

    /// The model before the first step.
    pub fn model(&self) -> &Model {
        &self.source.model
    }

    /// Demonstrations that there are.
    pub fn demonstrations(&self) -> usize {
        self.demonstrations.len()
    }

    /// Takes all steps and writes the model to `root/model`, with `root/sft.jsonl` beside it; `watch` sees each step's
    /// metrics and says whether to go on. Returns the trained model's directory.
    ///
    /// # Errors
    /// [`RlError`] when a file cannot be written, or a loss or gradient is not finite.
    pub fn run(mut self, mut watch: impl FnMut(&SftMetrics) -> bool) -> Result<PathBuf, RlError> {
        let settings = &self.config.train;
        let log = self.root.join("sft.jsonl");
        let mut optimizer = Optimizer::new(&self.source.model);
        let mut workspace = TrainerWorkspace::new(self.plan.recomputed_layers);
        let mut gradients = self.source.model.zeros();
        let count = self.demonstrations.len();
        let mut order = DemonstrationOrder { seed: self.config.seed, count, epoch: None };
        for step in 0..settings.steps {
            let first = step as usize * settings.batch_size;
            let chosen: Vec<usize> = (first..first + settings.batch_size).map(|position| order.at(position)).collect();
            gradients.clear();
            let (loss_nats, tokens) = self.accumulate(&chosen, &mut workspace, &mut gradients);
            if !loss_nats.is_finite() {
                return Err(RlError::NotFinite { step, quantity: "loss", value: loss_nats });
            }
            let share = learning_rate_share(&settings.schedule, step, settings.steps);
            let learning_rate = settings.optimizer.learning_rate * share;
            let model = &mut self.source.model;
            let gradient_norm = optimizer.update(model, &gradients, &settings.optimizer, learning_rate);
            if !gradient_norm.is_finite() {
                return Err(RlError::NotFinite { step, quantity: "gradient norm", value: gradient_norm });
            }
            let metrics = SftMetrics { step, loss_nats, gradient_norm, learning_rate, tokens };
            write::append_line(&log, &metrics)?;
            if !watch(&metrics) {
                break;
            }
        }
        let trained = self.root.join("model");
        write_directory(&self.source.model, &self.source.path, &trained, self.source.stored)?;
        Ok(trained)
    }

    /// Adds the gradients of the mean negative logprob of the `chosen` demonstrations' completion tokens; returns that mean
    /// in nats, and how many tokens there are.
    fn accumulate(&self, chosen: &[usize], workspace: &mut TrainerWorkspace, gradients: &mut Tensors) -> (f64, u64) {
        let groups: Vec<GroupPart<'_>> = chosen.iter().map(|&index| group_part(&self.demonstrations[index])).collect();
        let tokens: usize = groups.iter().map(|group| group.completions[0].tokens.len()).sum();
        let mut negative_logprobs = 0.0;
        for groups in micro_batches(groups, self.config.train.micro_batch_tokens) {
            let mut batch = Batch::new(1.0);
            for group in groups {
                batch.push_group(group.prompt, &[group.completions[0].tokens]);
            }
            let out = self.source.model.forward(&batch, workspace);
            negative_logprobs -= out.iter().map(|token| f64::from(token.logprob)).sum::<f64>();
            let slopes = vec![-1.0 / tokens as f32; batch.targets().len()];
            self.source.model.backward(&batch, &slopes, workspace, gradients);
        }
        (negative_logprobs / tokens as f64, tokens as u64)
    }
}

/// Refuses a directory that holds anything but what a start that was cut short left, or the untrained model of a task.
fn refuse_taken(root: &Path) -> Result<(), RlError> {
    let refused = |message: &str| Err(RlError::File { path: root.into(), message: message.into() });
    let names = if root.exists() { write::list(root)? } else { Vec::new() };
    if names.iter().any(|name| name == "sft.jsonl") {
        return refused("holds an earlier fine-tuning, which cannot go on; choose another directory, or remove it");
    }
    // A start makes the lock first: a config without one is somebody's own.
    let harmless: &[&str] = if names.iter().any(|name| name == RunLock::NAME) {
        &[RunLock::NAME, "config.toml", "config.toml.partial", "untrained"]
    } else {
        &["untrained"]
    };
    if names.iter().any(|name| !harmless.contains(&name.as_str())) {
        return refused("is not empty; choose another directory");
    }
    Ok(())
}

fn group_part(demonstration: &TokenizedDemonstration) -> GroupPart<'_> {
    let completion = TrainedCompletion { tokens: &demonstration.completion, behavior: &[], advantage: 1.0 };
    GroupPart { prompt: &demonstration.prompt, completions: vec![completion] }
}

/// The order of demonstrations: a new permutation each epoch.
struct DemonstrationOrder {
    seed: u64,
    count: usize,
    epoch: Option<(usize, Vec<usize>)>,
}

impl DemonstrationOrder {
    fn at(&mut self, position: usize) -> usize {
        let (epoch, index) = (position / self.count, position % self.count);
        if self.epoch.as_ref().is_none_or(|(known, _)| *known != epoch) {
            let mut stream = Stream::new(self.seed, Purpose::DemonstrationOrder, [epoch as u64, 0, 0]);
            self.epoch = Some((epoch, stream.permutation(self.count)));
        }
        self.epoch.as_ref().map_or(0, |(_, order)| order[index])
    }
}

fn tokenize(config: &SftConfig, source: &ModelDirectory) -> Result<Vec<TokenizedDemonstration>, RlError> {
    let positions_max = source.model.config().positions_max;
    let (tokenizer, settings) = (&source.tokenizer, &config.prompt);
    let prompter = Prompter { tokenizer, chat: source.chat.as_ref(), settings, positions_max };
    let end = source.turn_end;
    let demonstrations = read_demonstrations(&config.demonstrations.path, &config.demonstrations.fields)?;
    let tokenized = demonstrations.iter().enumerate().map(|(index, demonstration)| {
        let prompt = prompter.tokens(&prompter.text(&demonstration.prompt)?)?;
        let mut completion = tokenizer.encode(&demonstration.completion)?;
        completion.push(end);
        let refuse = |message| Err(RlError::Row { path: config.demonstrations.path.clone(), row: index + 1, message });
        if prompt.is_empty() || prompt.len() + completion.len() > positions_max {
            return refuse(format!(
                "prompt and completion have {} and {} tokens; the model takes {positions_max} together, and a prompt of at least 1",
                prompt.len(),
                completion.len()
            ));
        }
        if prompt.len() > settings.prompt_tokens_max {
            return refuse(format!(
                "its prompt has {} tokens, and `prompt.prompt_tokens_max` is {}; raise that, or leave out the row",
                prompt.len(),
                settings.prompt_tokens_max
            ));
        }
        Ok(TokenizedDemonstration { prompt, completion })
    });
    tokenized.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{config::parse_config, task::RING};

    #[test]
    fn a_prompt_longer_than_allowed_is_refused_with_its_row() {
        let directory = tempfile::TempDir::new().unwrap();
        let [start, path] = ["start", "demonstrations.jsonl"].map(|name| directory.path().join(name));
        RING.write_untrained(&start, 1).unwrap();
        let source = ModelDirectory::open(&start, model::Compute::F32).unwrap();
        let demonstration = RING.demonstrations(1, 1).remove(0);
        let tokens = source.tokenizer.encode(&demonstration.prompt).unwrap().len();
        let row = json!({"prompt": demonstration.prompt, "completion": demonstration.completion});
        let short = json!({"prompt": "A", "completion": demonstration.completion});
        write::replace(&path, &write::json_lines(&[short, row])).unwrap();
        let text = format!(
            "model.path = ''\ntrain = {{ steps = 1, batch_size = 1 }}\ndemonstrations.path = '{}'\n\
             prompt = {{ template = 'plain', instruction = '', prompt_tokens_max = {tokens} }}",
            path.display()
        );
        let tokenized = |change: &str| tokenize(&parse_config(&text, &[change.to_owned()]).unwrap(), &source);
        assert_eq!(tokenized("seed=1").unwrap()[1].prompt.len(), tokens);
        let change = format!("prompt.prompt_tokens_max={}", tokens - 1);
        let error = tokenized(&change).map(drop).unwrap_err().to_string();
        let expected = format!(
            "demonstrations.jsonl, row 2: its prompt has {tokens} tokens, and `prompt.prompt_tokens_max` is {}; raise that",
            tokens - 1
        );
        assert!(error.contains(&expected), "{error}");
    }
}
