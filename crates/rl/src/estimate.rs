//! Memory that a run will need, from its config and the model's, before anything is allocated.

use model::{ModelConfig, parameter_shapes};

use crate::{RlError, config::RunConfig};

/// Bytes by purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Estimate {
    /// Parameters with their packed copies, and those of a reference.
    pub weights: u64,
    /// Gradients and both moments.
    pub optimizer: u64,
    /// What the forward keeps for the backward of one micro-batch, and its buffers.
    pub activations: u64,
    /// Keys and values of the sequences sampled together.
    pub cache: u64,
    /// Logits.
    pub logits: u64,
}

const FLOAT: u64 = size_of::<f32>() as u64;

impl Estimate {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.optimizer + self.activations + self.cache + self.logits
    }

    /// Refuses when more is needed than `limit_bytes`.
    ///
    /// # Errors
    /// [`RlError::Memory`] naming the parts and the settings that lower the largest.
    pub fn check(&self, limit_bytes: u64) -> Result<(), RlError> {
        if self.total() <= limit_bytes {
            return Ok(());
        }
        let parts = [
            (self.weights, "weights", "the model's size (or set `train.loss.kl_weight` to 0 to need no reference)"),
            (self.optimizer, "gradients and optimizer", "the model's size"),
            (self.activations, "activations", "`train.micro_batch_tokens`"),
            (self.cache, "key-value cache", "`rollout.sequences_max` or `rollout.completion_tokens_max`"),
            (self.logits, "logits", "`rollout.sequences_max`"),
        ];
        // Weights and optimizer follow from the model; the advice names what the config can change, where that is large.
        let adjustable = parts[2..].iter().max_by_key(|part| part.0).map_or("the model's size", |part| part.2);
        let fixed = self.weights + self.optimizer;
        let remedy = if fixed > limit_bytes { "the model's size" } else { adjustable };
        let described: Vec<String> =
            parts.iter().map(|(bytes, name, _)| format!("{name} {}", gibibytes(*bytes))).collect();
        Err(RlError::Memory {
            needed: gibibytes(self.total()),
            available: gibibytes(limit_bytes),
            parts: described.join(", "),
            remedy,
        })
    }
}

/// "1.25 GiB".
pub fn gibibytes(bytes: u64) -> String {
    format!("{:.2} GiB", bytes as f64 / f64::from(1 << 30))
}

/// Memory of a training run.
pub fn training(config: &RunConfig, model: &ModelConfig) -> Estimate {
    let shapes = parameter_shapes(model);
    let counts = || shapes.iter().map(|shape| shape.count() as u64);
    let (parameters, largest): (u64, u64) = (counts().sum(), counts().max().unwrap_or(0));
    let copies = if config.train.loss.kl_weight > 0.0 { 4 } else { 2 };
    let (queries, keys) = ((model.heads.query * model.heads.width) as u64, model.heads.key_value_columns() as u64);
    let (width, mlp, layers) = (model.width as u64, model.mlp_width as u64, model.layers as u64);
    let raw = if model.has_head_norms() { queries + keys } else { 0 };
    let kept = 2 * width + 2 * queries + 2 * keys + raw + 2 * mlp;
    let buffers = 6 * width + 3 * queries + 3 * keys + 3 * mlp;
    let references = copies / 2;
    let evaluated = config.evaluation.as_ref().and_then(|evaluation| evaluation.completion_tokens_max).unwrap_or(0);
    let completion = config.rollout.completion_tokens_max.max(evaluated);
    let positions = (config.prompt.prompt_tokens_max + completion).min(model.positions_max);
    // An evaluation may fill every place; training has N·G completions.
    let wanted = if config.evaluation.is_some() {
        usize::MAX
    } else {
        config.rollout.prompts_per_step * config.rollout.group_size
    };
    let live = wanted.min(config.rollout.sequences_max) as u64;
    let vocabulary = model.vocabulary as u64;
    Estimate {
        weights: copies * parameters * FLOAT,
        // The largest weight is packed a second time during the backward.
        optimizer: (3 * parameters + largest) * FLOAT,
        activations: references * config.train.micro_batch_tokens as u64 * (layers * kept + buffers) * FLOAT,
        cache: live * positions as u64 * layers * 2 * keys * FLOAT,
        logits: (live + 128) * vocabulary * FLOAT,
    }
}
