//! What a run will take of memory, and what it does without so that it fits: planned from its config and the model's,
//! before anything is allocated.
//!
//! What is done without costs time and changes no number: completions wait for room in the key-value cache, and layers
//! are computed again in the backward instead of being kept.

use model::{
    Adapter, AdapterSettings, BatchRows, Cache, Compute, Model, ModelConfig, SamplerWorkspace, TrainerWorkspace,
    card::{CardModel, CardPages, CardSampler, CardTrainer},
    product_bytes, threads,
};

use crate::{
    RlError,
    config::{ModelSettings, RunConfig},
    sampler::PREFILL_ROWS,
    sft::SftConfig,
};

/// The program without a model; 13 MiB were measured, and some more for problems and records.
const PROGRAM_BYTES: usize = 16 << 20;
/// A token of the tokenizer with its merge, as measured on byte-level BPE of 49,152 and 151,936 tokens.
const TOKEN_BYTES: usize = 1 << 10;

/// Bytes by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The program and the tokenizer.
    pub program: u64,
    /// Parameters with their packed copies, and those of a reference.
    pub weights: u64,
    /// Gradients and both moments.
    pub optimizer: u64,
    /// What the forward keeps for the backward of one micro-batch, and the buffers of both.
    pub activations: u64,
    /// Keys and values of prompts and completions under way.
    pub cache: u64,
    /// Rows and logits of the sampler.
    pub sampling: u64,
}

impl Estimate {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.program + self.weights + self.optimizer + self.activations + self.cache + self.sampling
    }
}

/// What a run takes, and what it does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Memory that it takes.
    pub estimate: Estimate,
    /// How many of the first layers keep their input alone and are computed again in the backward.
    pub recomputed_layers: usize,
    /// Largest memory of keys and values, bytes; completions wait when it is full. 0 where all fit.
    pub cache_bytes_max: usize,
}

/// "1.25 GiB".
pub fn gibibytes(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Bytes that may be planned for: the setting's, else what is available, where that is known.
pub fn limit_bytes(settings: &ModelSettings, available: Option<u64>) -> Option<u64> {
    if settings.memory_bytes_max > 0 { Some(settings.memory_bytes_max) } else { available }
}

/// Whose memory is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// That of the processor, whose products compute with this.
    Processor(Compute),
    /// That of a card.
    Card,
}

impl From<Compute> for Memory {
    fn from(compute: Compute) -> Self {
        Self::Processor(compute)
    }
}

impl Memory {
    /// Rows of prompts of up to `longest` tokens that are computed at once; the processor computes a longer one in pieces.
    fn prompt_rows_max(self, longest: usize) -> usize {
        match self {
            Self::Processor(_) => PREFILL_ROWS,
            Self::Card => PREFILL_ROWS.max(longest),
        }
    }

    /// Bytes of the keys and values of a stretch of so many positions.
    fn cache(self, model: &ModelConfig, positions: usize) -> usize {
        match self {
            Self::Processor(compute) => Cache::bytes(model, compute, positions),
            Self::Card => CardPages::bytes(model, positions),
        }
    }
}

/// The model that is planned for.
#[derive(Debug, Clone, Copy)]
pub struct PlannedModel<'a> {
    /// Its shape.
    pub config: &'a ModelConfig,
    /// The adapter that is trained over it; every weight is without one.
    pub adapter: Option<&'a AdapterSettings>,
}

impl<'a> From<&'a ModelConfig> for PlannedModel<'a> {
    fn from(config: &'a ModelConfig) -> Self {
        Self { config, adapter: None }
    }
}

impl<'a> From<&'a Model> for PlannedModel<'a> {
    fn from(model: &'a Model) -> Self {
        Self { config: model.config(), adapter: model.adapter().map(Adapter::settings) }
    }
}

impl PlannedModel<'_> {
    /// Bytes of one that stays as it is: the weights, in the form that products read.
    pub fn frozen(self, memory: Memory) -> usize {
        let base = match memory {
            Memory::Processor(compute) => Model::frozen_bytes(self.config, compute),
            Memory::Card => CardModel::frozen_bytes(self.config),
        };
        base + self.adapters(memory, 1)
    }

    /// Bytes of `models` of them, of which the second is a reference: the weights, with their packed copies. What stands
    /// under adapters they share.
    fn weights(self, memory: Memory, models: usize) -> usize {
        match (memory, self.adapter) {
            (Memory::Card, None) => models * CardModel::bytes(self.config),
            (Memory::Processor(compute), None) => models * Model::bytes(self.config, compute),
            (_, Some(_)) => self.frozen(memory) + self.adapters(memory, models - 1),
        }
    }

    /// Bytes of the adapters of so many of them.
    fn adapters(self, memory: Memory, models: usize) -> usize {
        let Some(adapter) = self.adapter else { return 0 };
        models
            * match memory {
                Memory::Processor(compute) => Adapter::bytes(self.config, adapter, compute),
                Memory::Card => CardModel::adapter_bytes(self.config, adapter),
            }
    }

    /// Bytes of what is trained.
    fn trained(self) -> usize {
        match self.adapter {
            None => Model::parameter_bytes(self.config),
            Some(adapter) => Adapter::parameter_bytes(self.config, adapter),
        }
    }
}

/// Plans a training run that takes at most `limit` bytes; without a limit it does without nothing.
///
/// First the cache gives way, down to a quarter of what all sequences would take at full length; then as few layers as
/// possible are computed again; then the cache gives way down to one sequence of full length.
///
/// # Errors
/// [`RlError::Memory`] when even that does not fit, naming the parts and the setting that lowers the largest;
/// [`RlError::Setting`] when `rollout.cache_bytes_max` leaves no room for one sequence.
pub fn plan<'a>(
    config: &RunConfig,
    model: impl Into<PlannedModel<'a>>,
    memory: impl Into<Memory>,
    limit: Option<u64>,
) -> Result<Plan, RlError> {
    let job = Job::training(config, model.into(), memory.into());
    let (bound, one) = (config.rollout.cache_bytes_max, job.sampled.one);
    if (1..one).contains(&bound) {
        let message = format!(
            "is {bound}, and one prompt and completion of full length take {one}; set at least that, or 0 for no bound"
        );
        return Err(RlError::Setting { field: "rollout.cache_bytes_max", message });
    }
    job.plan(bound, limit)
}

/// Plans supervised fine-tuning on demonstrations of up to `longest` rows, as [`plan`] does a run.
///
/// # Errors
/// [`RlError::Memory`] when it does not fit, naming the parts and the setting that lowers the largest.
pub fn plan_fine_tuning<'a>(
    config: &SftConfig,
    model: impl Into<PlannedModel<'a>>,
    memory: impl Into<Memory>,
    longest: usize,
    limit: Option<u64>,
) -> Result<Plan, RlError> {
    let micro_batch = config.train.micro_batch_tokens;
    let rows = config.train.batch_size.saturating_mul(longest).min(micro_batch.max(longest));
    let batch = BatchRows { rows, tree: longest, sequence: longest, completion: longest };
    let shorten = if longest > micro_batch { "the length of demonstrations" } else { "`train.micro_batch_tokens`" };
    let advice = Advice { activations: shorten, ..Advice::RUN };
    let (model, memory) = (model.into(), memory.into());
    Job { model, memory, models: 1, is_trained: true, batch, advice, sampled: Sampled::default() }.plan(0, limit)
}

/// Plans sampling alone from a model that stays as it is, as [`plan`] does a run.
///
/// # Errors
/// [`RlError::Memory`] when it does not fit, naming the parts and what lowers the largest.
pub fn plan_sampling<'a>(
    model: impl Into<PlannedModel<'a>>,
    memory: impl Into<Memory>,
    load: SamplingLoad,
    limit: Option<u64>,
) -> Result<Plan, RlError> {
    let (model, memory, [prompt, completion]) = (model.into(), memory.into(), load.lengths);
    let sequence = (prompt + completion).min(model.config.positions_max);
    let batch = BatchRows { rows: 0, tree: 0, sequence, completion };
    let sampled = Sampled::new(model.config, memory, load);
    Job { model, memory, models: 1, is_trained: false, batch, advice: Advice::SAMPLING, sampled }.plan(0, limit)
}

/// What is sampled together.
#[derive(Debug, Clone, Copy)]
pub struct SamplingLoad {
    /// Prompts.
    pub groups: usize,
    /// Completions of each.
    pub group_size: usize,
    /// Of the longest prompt and the longest completion, tokens, each within the model's context; together they may be
    /// beyond it, where no prompt of that length has a completion of that one.
    pub lengths: [usize; 2],
    /// Completions computed at a time, at most.
    pub sequences_max: usize,
}

/// What lowers each part.
#[derive(Debug, Clone, Copy)]
struct Advice {
    activations: &'static str,
    cache: &'static str,
    sampling: &'static str,
}

impl Advice {
    const RUN: Self =
        Self { activations: "`train.micro_batch_tokens`", cache: LENGTHS, sampling: "`rollout.sequences_max`" };
    const SAMPLING: Self = Self {
        activations: "the model's size",
        cache: "the token limit of completions",
        sampling: "how many completions are computed together",
    };
}

/// The settings of a run that bound its sequences.
const LENGTHS: &str = "`rollout.completion_tokens_max` or `prompt.prompt_tokens_max`";

/// What decides how much memory is needed.
struct Job<'a> {
    model: PlannedModel<'a>,
    memory: Memory,
    /// The policy, and the reference of a KL term.
    models: usize,
    /// Whether there are gradients, moments and what a backward needs.
    is_trained: bool,
    batch: BatchRows,
    advice: Advice,
    sampled: Sampled,
}

/// What the sampler does at once, at most; all 0 without one.
#[derive(Debug, Clone, Copy, Default)]
struct Sampled {
    /// Sequences under way.
    live: usize,
    /// Rows of prompts.
    prompt_rows: usize,
    /// Rows of completions that come back after they made room for others.
    returning_rows: usize,
    /// Bytes of the keys and values of all sequences at full length, prompts once per group.
    cache: usize,
    /// The same of one sequence.
    one: usize,
}

impl<'a> Job<'a> {
    fn training(config: &RunConfig, planned: PlannedModel<'a>, memory: Memory) -> Self {
        let (model, rollout) = (planned.config, &config.rollout);
        let [prompt, completion] =
            within_context([config.prompt.prompt_tokens_max, rollout.completion_tokens_max], model);
        let group = prompt + rollout.group_size.saturating_mul(completion - 1);
        let (sequence, micro_batch) = (prompt + completion - 1, config.train.micro_batch_tokens);
        let rows = rollout.prompts_per_step.saturating_mul(group).min(micro_batch.max(sequence));
        let load = SamplingLoad {
            groups: rollout.prompts_per_step,
            group_size: rollout.group_size,
            lengths: [prompt, completion],
            sequences_max: rollout.sequences_max,
        };
        let mut sampled = Sampled::new(model, memory, load);
        if let Some(evaluation) = &config.evaluation {
            let limit = evaluation.completion_tokens_max.unwrap_or(rollout.completion_tokens_max);
            let load = SamplingLoad {
                groups: if evaluation.limit == 0 { usize::MAX } else { evaluation.limit },
                group_size: evaluation.samples as usize,
                lengths: [config.prompt.prompt_tokens_max, limit].map(|tokens| tokens.min(model.positions_max)),
                ..load
            };
            sampled = sampled.largest(Sampled::new(model, memory, load));
        }
        Self {
            model: planned,
            memory,
            models: if config.train.loss.kl_weight > 0.0 { 2 } else { 1 },
            is_trained: true,
            batch: BatchRows { rows, tree: group.min(rows), sequence, completion },
            advice: if sequence > micro_batch { Advice { activations: LENGTHS, ..Advice::RUN } } else { Advice::RUN },
            sampled,
        }
    }

    /// Bytes with `recomputed` layers that are computed again and `cache` bytes of keys and values.
    fn estimate(&self, recomputed: usize, cache: usize) -> Estimate {
        let (weights, optimizer) = if self.is_trained {
            (self.model.weights(self.memory, self.models) as u64, 3 * self.model.trained() as u64)
        } else {
            (self.model.frozen(self.memory) as u64, 0)
        };
        match self.memory {
            Memory::Processor(compute) => {
                let (activations, sampling) = self.on_processor(compute, recomputed, cache);
                let program = (PROGRAM_BYTES + self.model.config.vocabulary * TOKEN_BYTES) as u64;
                Estimate { program, weights, optimizer, activations, cache: cache as u64, sampling }
            }
            Memory::Card => {
                let (activations, sampling) = self.on_card(recomputed, cache);
                Estimate { program: 0, weights, optimizer, activations, cache: cache as u64, sampling }
            }
        }
    }

    /// Bytes of activations and of sampling.
    fn on_processor(&self, compute: Compute, recomputed: usize, cache: usize) -> (u64, u64) {
        let Self { model: planned, batch, sampled, .. } = self;
        let model = planned.config;
        let returning = if cache < sampled.cache { sampled.live + sampled.returning_rows } else { sampled.live };
        let sampled_rows = sampled.prompt_rows.max(returning);
        let threads = threads::count();
        let passes = if self.is_trained {
            // The reference runs no backward, so it keeps no layer.
            let references = (self.models - 1) * TrainerWorkspace::forward_bytes(model, compute, *batch, model.layers);
            TrainerWorkspace::forward_bytes(model, compute, *batch, recomputed)
                + TrainerWorkspace::backward_bytes(model, compute, *batch, threads)
                + references
        } else {
            0
        };
        let activations = passes
            + product_bytes(model, compute, batch.rows.max(sampled_rows), threads)
            + planned.adapter.map_or(0, |adapter| {
                let workspace = |rows| Adapter::workspace_bytes(adapter, compute, rows);
                self.models * workspace(batch.rows) + workspace(sampled_rows)
            });
        (activations as u64, SamplerWorkspace::bytes(model, sampled_rows, sampled.live) as u64)
    }

    /// The same on a card, where whatever is not decoded is computed from its beginning.
    fn on_card(&self, recomputed: usize, cache: usize) -> (u64, u64) {
        let Self { model: PlannedModel { config, adapter }, batch, sampled, .. } = self;
        let scratch = |rows| adapter.map_or(0, |adapter| CardModel::adapter_scratch_bytes(adapter, rows));
        let returning = if cache < sampled.cache { batch.sequence } else { 0 };
        let rows = CardSampler::rows(sampled.live, returning).max(sampled.prompt_rows);
        let references = (self.models - 1) * CardTrainer::bytes(config, *batch, config.layers);
        let activations =
            CardTrainer::bytes(config, *batch, recomputed) + references + self.models * scratch(batch.rows);
        (activations as u64, (CardSampler::bytes(config, rows, sampled.live) + scratch(rows)) as u64)
    }

    /// `bound` is the config's largest cache, bytes, 0 for none.
    fn plan(&self, bound: usize, limit: Option<u64>) -> Result<Plan, RlError> {
        let Sampled { cache: whole, one, .. } = self.sampled;
        let most = if bound == 0 { whole } else { whole.min(bound) };
        let planned = |recomputed_layers, cache| Plan {
            estimate: self.estimate(recomputed_layers, cache),
            recomputed_layers,
            cache_bytes_max: if cache == whole { bound } else { cache },
        };
        let Some(limit) = limit else { return Ok(planned(0, most)) };
        let layers = self.model.config.layers;
        let quarter = (whole / 4).max(one).min(most);
        let choices = (0..=layers).map(|recomputed| (recomputed, quarter)).chain([(layers, one)]);
        for (recomputed, least) in choices {
            if let Some(cache) = self.largest_cache(recomputed, least..=most, limit) {
                return Ok(planned(recomputed, cache));
            }
        }
        Err(self.refusal(&self.estimate(layers, one), limit))
    }

    /// The largest cache within `sizes` with which the whole takes at most `limit` bytes.
    fn largest_cache(&self, recomputed: usize, sizes: std::ops::RangeInclusive<usize>, limit: u64) -> Option<usize> {
        let (&least, &most) = (sizes.start(), sizes.end());
        if self.estimate(recomputed, most).total() <= limit {
            return Some(most);
        }
        let with_least = self.estimate(recomputed, least).total();
        (with_least <= limit).then(|| most.min(least + (limit - with_least) as usize))
    }

    fn refusal(&self, need: &Estimate, limit: u64) -> RlError {
        let Advice { activations, cache, sampling } = self.advice;
        let parts = [
            (need.program, "program and tokenizer", ""),
            (need.weights, "weights", ""),
            (need.optimizer, "gradients and optimizer", ""),
            (need.activations, "activations", activations),
            (need.cache, "key-value cache", cache),
            (need.sampling, "sampling", sampling),
        ];
        // The first three follow from the model; the advice names what the config can change, where that is enough.
        let adjustable = parts[3..].iter().max_by_key(|part| part.0).map_or("", |part| part.2);
        let fixed = need.program + need.weights + need.optimizer;
        let references = if self.model.adapter.is_some() { 0 } else { self.models - 1 };
        let remedy = match (fixed > limit, references) {
            (true, 0) => "the model's size",
            (true, _) => "the model's size, or `train.loss.kl_weight` to 0 for no reference",
            (false, _) => adjustable,
        };
        let described: Vec<String> =
            parts.iter().map(|(bytes, name, _)| format!("{name} {}", gibibytes(*bytes))).collect();
        RlError::Memory {
            needed: gibibytes(need.total()),
            available: gibibytes(limit),
            parts: described.join(", "),
            remedy,
        }
    }
}

impl Sampled {
    fn new(model: &ModelConfig, memory: Memory, load: SamplingLoad) -> Self {
        let SamplingLoad { groups, group_size, lengths, sequences_max } = load;
        let live = groups.saturating_mul(group_size).min(sequences_max);
        let prompts = groups.min(live);
        let ([longest, _], [prompt, completion]) = (lengths, within_context(lengths, model));
        let [prompt_bytes, bytes] = [prompt, completion].map(|positions| memory.cache(model, positions));
        Self {
            live,
            prompt_rows: prompts.saturating_mul(longest).min(memory.prompt_rows_max(longest)),
            returning_rows: live.saturating_mul(completion).min(PREFILL_ROWS.max(completion)),
            cache: prompts * prompt_bytes + live * bytes,
            one: prompt_bytes + bytes,
        }
    }

    /// The larger of two by each number.
    fn largest(self, other: Self) -> Self {
        Self {
            live: self.live.max(other.live),
            prompt_rows: self.prompt_rows.max(other.prompt_rows),
            returning_rows: self.returning_rows.max(other.returning_rows),
            cache: self.cache.max(other.cache),
            one: self.one.max(other.one),
        }
    }
}

/// The longest completion that the model's context has room for, and the longest prompt before that, tokens.
fn within_context([prompt, completion]: [usize; 2], model: &ModelConfig) -> [usize; 2] {
    let completion = completion.min(model.positions_max.saturating_sub(1)).max(1);
    [prompt.min(model.positions_max.saturating_sub(completion)).max(1), completion]
}
