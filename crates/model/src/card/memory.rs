//! Bytes that a model, its trainer and its sampler take on a card, from a configuration alone. Each function lists the arrays
//! of the structure that it is about.

use kernels::cuda::{
    launch::{CHUNK_ROWS, VOCABULARY_BLOCK},
    parameters::{BlockSum, DrawnToken, RowLogprob},
};

use super::{
    CardModel, CardSampler, CardTrainer,
    cache::{PREFILL_ROWS_MAX, decoded_rows},
    training::TARGETS_AT_ONCE,
};
use crate::{AdapterSettings, BatchRows, ModelConfig, ParameterShape, adapter_shapes, parameter_shapes};

const FLOAT: usize = 4;
const ROUNDED: usize = 2;
const WORD: usize = 4;

/// Bytes of one row in the network's arrays.
struct RowBytes<'a> {
    config: &'a ModelConfig,
    queries: usize,
    keys: usize,
}

impl<'a> RowBytes<'a> {
    fn new(config: &'a ModelConfig) -> Self {
        Self { config, queries: config.heads.query_columns(), keys: config.heads.key_value_columns() }
    }

    fn layer(&self) -> usize {
        let Self { config, queries, keys } = self;
        let raw = if config.has_head_norms() { queries + keys } else { 0 };
        let floats = 2 * config.width + raw + config.heads.query + 2 * config.mlp_width;
        floats * FLOAT + (2 * queries + 2 * keys) * ROUNDED
    }

    fn scratch(&self) -> usize {
        let ModelConfig { width, mlp_width, .. } = self.config;
        (width + self.queries.max(self.keys)) * FLOAT + (width + mlp_width) * ROUNDED + 2 * WORD
    }

    fn backward(&self) -> usize {
        let Self { config: ModelConfig { width, mlp_width, heads, .. }, queries, keys } = self;
        let (inputs, partial) = (queries + 2 * keys, width.max(queries).div_ceil(CHUNK_ROWS));
        let floats = 2 * width + mlp_width + queries + heads.query + inputs + 1 + partial;
        floats * FLOAT + (width + 2 * mlp_width + queries + inputs) * ROUNDED + 3 * WORD
    }
}

impl CardModel {
    /// Bytes of the weights, in f32 and in bf16, and of the table of positions.
    pub fn bytes(config: &ModelConfig) -> usize {
        let values: usize = parameter_shapes(config).iter().map(ParameterShape::count).sum();
        values * (FLOAT + ROUNDED) + config.positions_max * config.heads.width * FLOAT
    }

    /// Bytes of weights that are not trained: as [`CardModel::bytes`], without the f32 of the matrices that are not looked
    /// up.
    pub fn frozen_bytes(config: &ModelConfig) -> usize {
        let is_dropped = |shape: &&ParameterShape| shape.shape.len() > 1;
        let shapes = parameter_shapes(config);
        let dropped: usize = shapes.iter().filter(is_dropped).skip(1).map(ParameterShape::count).sum();
        Self::bytes(config) - dropped * FLOAT
    }

    /// Bytes of an adapter over such weights.
    pub fn adapter_bytes(config: &ModelConfig, adapter: &AdapterSettings) -> usize {
        let values: usize = adapter_shapes(config, adapter).iter().map(ParameterShape::count).sum();
        values * (FLOAT + ROUNDED)
    }

    /// Bytes of an adapter's buffers for `rows` rows.
    pub fn adapter_scratch_bytes(adapter: &AdapterSettings, rows: usize) -> usize {
        rows * adapter.rank * (FLOAT + ROUNDED)
    }
}

impl CardTrainer {
    /// Bytes of a trainer whose first `recomputed` layers keep their inputs alone.
    pub fn bytes(config: &ModelConfig, batch: BatchRows, recomputed: usize) -> usize {
        let (row, recomputed) = (RowBytes::new(config), recomputed.min(config.layers));
        let transient = if recomputed > 0 { row.layer() } else { 0 };
        let layers = (config.layers - recomputed) * row.layer() + recomputed * config.width * FLOAT + transient;
        let targets = batch.rows * (5 * WORD + size_of::<RowLogprob>());
        batch.rows * (layers + row.scratch() + row.backward()) + targets + head_bytes(config, batch.rows)
    }
}

/// Bytes of the head's arrays for up to `targets` targets.
fn head_bytes(config: &ModelConfig, targets: usize) -> usize {
    let &ModelConfig { width, vocabulary, .. } = config;
    let sums = vocabulary.div_ceil(VOCABULARY_BLOCK) * size_of::<BlockSum>();
    let floats = 3 * width + 2;
    targets.min(TARGETS_AT_ONCE) * (floats * FLOAT + (width + vocabulary.next_multiple_of(8)) * ROUNDED + sums)
}

impl CardSampler {
    /// Rows that it computes at once, at most, to decode `live` sequences, any of which may come back at up to `positions`
    /// positions, 0 where none does.
    pub fn rows(live: usize, positions: usize) -> usize {
        decoded_rows(live).max(live.saturating_mul(positions).min(PREFILL_ROWS_MAX.max(positions)))
    }

    /// Bytes of a sampler that computes `rows` rows at once and draws a token for each of `sequences` sequences.
    pub fn bytes(config: &ModelConfig, rows: usize, sequences: usize) -> usize {
        let (row, &ModelConfig { width, vocabulary, .. }) = (RowBytes::new(config), config);
        let sums = vocabulary.div_ceil(VOCABULARY_BLOCK) * size_of::<BlockSum>();
        let drawn = (width + vocabulary) * FLOAT + width * ROUNDED + sums + size_of::<f64>() + size_of::<DrawnToken>();
        rows * (row.layer() + row.scratch() + WORD) + sequences * drawn
    }
}
