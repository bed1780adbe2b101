//! Keys and values of past positions, and the forward that continues them: the sampler's half of the network.

use kernels::attention::{self, Context, KeyValues};

use crate::network::{LayerState, Model, Scratch, sized};

/// Keys and values of one stretch of a sequence, per layer \[S, K, D\].
#[derive(Debug, Clone, Default)]
pub struct Cache {
    layers: Vec<LayerCache>,
    positions: usize,
}

#[derive(Debug, Clone, Default)]
struct LayerCache {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.positions
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.positions == 0
    }

    /// Forgets all positions and keeps the memory.
    pub fn clear(&mut self) {
        self.positions = 0;
        for layer in &mut self.layers {
            layer.keys.clear();
            layer.values.clear();
        }
    }

    fn append(&mut self, layer: usize, keys: &[f32], values: &[f32]) {
        if self.layers.len() <= layer {
            self.layers.resize_with(layer + 1, LayerCache::default);
        }
        self.layers[layer].keys.extend_from_slice(keys);
        self.layers[layer].values.extend_from_slice(values);
    }

    fn layer(&self, layer: usize) -> KeyValues<'_> {
        self.layers.get(layer).map_or(KeyValues { keys: &[], values: &[] }, |layer| KeyValues {
            keys: &layer.keys,
            values: &layer.values,
        })
    }
}

/// New tokens of one sequence.
pub struct Chunk<'a> {
    /// At least one token id.
    pub tokens: &'a [u32],
    /// What the sequence shares with others: its prompt; read only.
    pub shared: Option<&'a Cache>,
    /// What is the sequence's own; grows by the tokens.
    pub own: &'a mut Cache,
}

/// Buffers of [`Model::advance`].
#[derive(Debug, Default)]
pub struct SamplerWorkspace {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    last: Vec<f32>,
    normed: Vec<f32>,
    state: LayerState,
    scratch: Scratch,
}

impl Model {
    /// Runs new tokens of several sequences through the network and returns the normalised hidden row of each
    /// sequence's last token, from which [`Model::logits`] gives the next token's logits.
    ///
    /// Shapes: returns \[B, C\].
    pub fn advance<'a>(&self, chunks: &mut [Chunk<'_>], workspace: &'a mut SamplerWorkspace) -> &'a [f32] {
        let SamplerWorkspace { tokens, positions, last, normed, state, scratch } = workspace;
        tokens.clear();
        positions.clear();
        // For each row the chunk it belongs to and how many of that chunk's rows it sees.
        let mut rows = Vec::new();
        for (index, chunk) in chunks.iter().enumerate() {
            let first = chunk.shared.map_or(0, Cache::len) + chunk.own.len();
            let end = first + chunk.tokens.len();
            assert!(end <= self.config.positions_max, "{end} positions, the model has {}", self.config.positions_max);
            tokens.extend_from_slice(chunk.tokens);
            positions.extend((first..end).map(|position| position as u32));
            rows.extend((1..=chunk.tokens.len()).map(|seen| (index, chunk.own.len() + seen)));
        }
        self.embed(&mut scratch.hidden, tokens);
        let columns = self.config.heads.key_value_columns();
        for layer in 0..self.config.layers {
            self.attention_inputs(layer, state, positions, scratch);
            let mut start = 0;
            for chunk in chunks.iter_mut() {
                let at = start * columns..(start + chunk.tokens.len()) * columns;
                chunk.own.append(layer, &state.key[at.clone()], &state.value[at]);
                start += chunk.tokens.len();
            }
            let chunks = &*chunks;
            let context = |row: usize| -> Context<'_> {
                let (chunk, seen): (usize, usize) = rows[row];
                let shared = chunks[chunk].shared.map_or(KeyValues { keys: &[], values: &[] }, |c| c.layer(layer));
                [shared, chunks[chunk].own.layer(layer).rows(0..seen, columns)]
            };
            attention::forward(
                sized(&mut state.attended, state.query.len()),
                &state.query,
                &self.config.heads,
                context,
            );
            self.attention_outputs(layer, state, scratch);
        }
        last.clear();
        let mut end = 0;
        for chunk in chunks.iter_mut() {
            chunk.own.positions += chunk.tokens.len();
            end += chunk.tokens.len();
            last.extend_from_slice(&scratch.hidden[(end - 1) * self.config.width..end * self.config.width]);
        }
        self.normalise(normed, last, self.layout.final_norm);
        normed
    }
}
