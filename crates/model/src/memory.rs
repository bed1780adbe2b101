//! Bytes that a model and its workspaces take, from a configuration alone: what a plan adds up before anything is
//! allocated. Each function lists the fields of the structure that it is about.

use kernels::{
    Compute, attention,
    matmul::{self, PackedMatrix},
};

use crate::{
    Adapter, AdapterSettings, Cache, Model, ModelConfig, SamplerWorkspace, TrainerWorkspace, adapter_shapes,
    parameter_shapes,
};

const FLOAT: usize = size_of::<f32>();

/// Rows whose logits the head's backward holds at once.
const LOGIT_ROWS: usize = 256;
/// Tokens whose logits are summed up together.
const LOGIT_BLOCK: usize = 512;
/// Bytes of such a sum.
const LOGIT_SUM_BYTES: usize = 12;

/// The rows of the largest micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRows {
    /// All of them.
    pub rows: usize,
    /// Those of the largest tree: a prompt and the completions packed with it.
    pub tree: usize,
    /// Longest sequence, prompt and completion, positions.
    pub sequence: usize,
    /// Longest completion, positions.
    pub completion: usize,
}

/// Floats of one row in the network's buffers.
struct RowFloats {
    width: usize,
    queries: usize,
    keys: usize,
    mlp: usize,
    /// Of queries and keys before their norms.
    raw: usize,
}

impl RowFloats {
    fn new(config: &ModelConfig) -> Self {
        let (queries, keys) = (config.heads.query_columns(), config.heads.key_value_columns());
        let raw = if config.has_head_norms() { queries + keys } else { 0 };
        Self { width: config.width, queries, keys, mlp: config.mlp_width, raw }
    }

    /// `LayerState`: input, middle, queries, attended, keys, values, gate and up.
    fn layer(&self) -> usize {
        2 * (self.width + self.queries + self.keys + self.mlp) + self.raw
    }

    /// `Scratch`: hidden, normed and activated.
    fn scratch(&self) -> usize {
        2 * self.width + self.mlp
    }

    /// Longest row that is the left side of a product, or is packed for weight gradients.
    fn widest(&self) -> usize {
        self.width.max(self.queries).max(self.mlp)
    }
}

impl Model {
    /// Bytes of the parameters alone.
    pub fn parameter_bytes(config: &ModelConfig) -> usize {
        parameter_shapes(config).iter().map(|shape| shape.count() * FLOAT).sum()
    }

    /// Bytes of a model: parameters, packed copies of the matrices, and the table of positions.
    pub fn bytes(config: &ModelConfig, compute: Compute) -> usize {
        let packed = matrices(config).map(|[outputs, inputs]| PackedMatrix::bytes(inputs, outputs, compute));
        let positions = config.positions_max * config.heads.width * FLOAT;
        Self::parameter_bytes(config) + packed.sum::<usize>() + positions
    }

    /// Bytes of a model that is not trained: of its parameters the embedding, norms and biases alone, and the rest as in
    /// [`Model::bytes`].
    pub fn frozen_bytes(config: &ModelConfig, compute: Compute) -> usize {
        let dropped: usize = matrices(config).skip(1).map(|[outputs, inputs]| outputs * inputs * FLOAT).sum();
        Self::bytes(config, compute) - dropped
    }
}

impl Adapter {
    /// Bytes of an adapter's parameters alone.
    pub fn parameter_bytes(config: &ModelConfig, settings: &AdapterSettings) -> usize {
        adapter_shapes(config, settings).iter().map(|shape| shape.count() * FLOAT).sum()
    }

    /// Bytes of an adapter: parameters, and packed copies of A and B.
    pub fn bytes(config: &ModelConfig, settings: &AdapterSettings, compute: Compute) -> usize {
        let packed = |shape: crate::ParameterShape| PackedMatrix::bytes(shape.shape[1], shape.shape[0], compute);
        let packed: usize = adapter_shapes(config, settings).into_iter().map(packed).sum();
        Self::parameter_bytes(config, settings) + packed
    }

    /// Bytes of its buffers for `rows` rows: what A gives of three projections, and packed rows of one rank.
    pub fn workspace_bytes(settings: &AdapterSettings, compute: Compute, rows: usize) -> usize {
        3 * rows * settings.rank * FLOAT + PackedMatrix::bytes(rows, settings.rank, compute)
    }
}

impl TrainerWorkspace {
    /// Bytes that a forward leaves for the backward when the first `recomputed` layers keep their inputs alone, and the
    /// buffers of the forward.
    pub fn forward_bytes(config: &ModelConfig, compute: Compute, batch: BatchRows, recomputed: usize) -> usize {
        let floats = RowFloats::new(config);
        let recomputed = recomputed.min(config.layers);
        let transient = if recomputed > 0 { floats.layer() } else { 0 };
        let layers = (config.layers - recomputed) * floats.layer() + recomputed * floats.width + transient;
        // Beside the layers: `scratch` and `target_rows`.
        let rows = batch.rows * (layers + floats.scratch() + floats.width) * FLOAT;
        let stretch = batch.completion.clamp(1, batch.rows.max(1));
        let forest = batch.rows.div_ceil(stretch) * Cache::bytes(config, compute, stretch) / config.layers;
        rows + forest
    }

    /// Bytes of `BackwardScratch`, and of the attention's backward on each of `threads` threads.
    pub fn backward_bytes(config: &ModelConfig, compute: Compute, batch: BatchRows, threads: usize) -> usize {
        let floats = RowFloats::new(config);
        let gradients = 3 * floats.width + 2 * floats.queries + 2 * floats.keys + floats.mlp;
        let inputs = PackedMatrix::bytes(batch.rows, floats.widest(), compute);
        let weight = matrices(config).map(|[outputs, inputs]| PackedMatrix::bytes(outputs, inputs, compute)).max();
        let logit_rows = batch.rows.min(LOGIT_ROWS);
        let logits = logit_rows * config.vocabulary * FLOAT + PackedMatrix::bytes(logit_rows, config.width, compute);
        let head_width = config.heads.width.next_multiple_of(32);
        // Of one key-value head: its stretches as they are and exchanged, gradients of keys and values, and scores.
        let stretches = 2 * Cache::bytes(config, compute, batch.tree) / (config.layers * config.heads.key_value);
        let positions = batch.sequence * attention::backward_position_bytes(compute);
        let attention = stretches + 2 * batch.tree * head_width * FLOAT + positions;
        batch.rows * gradients * FLOAT + inputs + weight.unwrap_or(0) + logits + threads * attention
    }
}

impl SamplerWorkspace {
    /// Bytes of a workspace for `rows` rows at once, and of drawing a token for each of `sequences` sequences.
    pub fn bytes(config: &ModelConfig, rows: usize, sequences: usize) -> usize {
        let floats = RowFloats::new(config);
        // `last`, `normed` and their copy; the logits and their sums.
        let drawn = (3 * floats.width + config.vocabulary) * FLOAT;
        rows * (floats.layer() + floats.scratch()) * FLOAT + sequences * (drawn + logit_sums(config))
    }
}

/// Bytes that products of up to `rows` rows keep on `threads` threads: packed left sides, and the logits on their way
/// with their sums.
pub fn product_bytes(config: &ModelConfig, compute: Compute, rows: usize, threads: usize) -> usize {
    let widest = RowFloats::new(config).widest();
    // Inputs of projections, gradients of their outputs, and those of logits.
    let sides = [(rows, widest), (widest, rows), (rows.min(LOGIT_ROWS), config.vocabulary)];
    let left = sides.into_iter().map(|(rows, inner)| matmul::left_bytes(compute, rows, inner)).max();
    let normed = rows.min(matmul::LEFT_ROWS_MAX) * config.width * FLOAT;
    let logits = matmul::logit_rows(rows, config.vocabulary, threads) * LOGIT_BLOCK * FLOAT;
    threads * (left.unwrap_or(0) + normed + logits) + rows * logit_sums(config)
}

/// Bytes of the sums over blocks of one row's logits.
fn logit_sums(config: &ModelConfig) -> usize {
    config.vocabulary.div_ceil(LOGIT_BLOCK) * LOGIT_SUM_BYTES
}

/// Outputs and inputs of every matrix.
fn matrices(config: &ModelConfig) -> impl Iterator<Item = [usize; 2]> {
    parameter_shapes(config).into_iter().filter_map(|shape| shape.shape.try_into().ok())
}
