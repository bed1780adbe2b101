//! Keys and values of past positions, and the forward that continues them: the sampler's half of the network.

use kernels::{
    Buffer, Compute,
    attention::{self, Sequence, Stretch},
    threads,
};

use crate::{
    ModelConfig,
    network::{LayerState, Model, Scratch},
};

/// Keys and values of one stretch of a sequence, one stretch per layer.
#[derive(Debug, Clone)]
pub struct Cache {
    layers: Vec<Stretch>,
}

impl Cache {
    /// An empty cache for `model`.
    pub fn new(model: &Model) -> Self {
        let stretch = Stretch::new(model.config.heads, model.compute);
        Self { layers: vec![stretch; model.config.layers] }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        self.layers.last().map_or(0, Stretch::len)
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all positions and keeps the memory.
    pub fn clear(&mut self) {
        self.layers.iter_mut().for_each(Stretch::clear);
    }

    /// Bytes that `positions` positions take in a cache of a model of `config` that computes with `compute`.
    pub fn bytes(config: &ModelConfig, compute: Compute, positions: usize) -> usize {
        config.layers * Stretch::bytes(config.heads, compute, positions)
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
    last: Buffer,
    normed: Buffer,
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
        // The first row of each chunk, and the end.
        let mut starts = vec![0];
        for chunk in &*chunks {
            let first = chunk.shared.map_or(0, Cache::len) + chunk.own.len();
            let end = first + chunk.tokens.len();
            assert!(end <= self.config.positions_max, "{end} positions, the model has {}", self.config.positions_max);
            tokens.extend_from_slice(chunk.tokens);
            positions.extend((first..end).map(|position| position as u32));
            starts.push(tokens.len());
        }
        self.embed(&mut scratch.hidden, tokens);
        for layer in 0..self.config.layers {
            self.attention_inputs(layer, state, positions, scratch);
            self.append(layer, chunks, &starts, state);
            let sequences: Vec<Sequence<'_>> = chunks
                .iter()
                .map(|chunk| {
                    let (rows, own) = (chunk.tokens.len(), &chunk.own.layers[layer]);
                    Sequence {
                        rows,
                        shared: chunk.shared.map(|cache| &cache.layers[layer]),
                        own,
                        seen: own.len() + 1 - rows,
                    }
                })
                .collect();
            let attended = state.attended.resize(state.query.len());
            attention::forward(attended, &state.query, &self.config.heads, &sequences);
            self.attention_outputs(layer, state, scratch);
        }
        let width = self.config.width;
        for (row, end) in last.resize(chunks.len() * width).chunks_exact_mut(width).zip(&starts[1..]) {
            row.copy_from_slice(&scratch.hidden[(end - 1) * width..end * width]);
        }
        self.normalise(normed, last, self.layout.final_norm);
        normed
    }

    /// Adds the new keys and values of a layer to each chunk's own cache.
    fn append(&self, layer: usize, chunks: &mut [Chunk<'_>], starts: &[usize], state: &LayerState) {
        const TOGETHER: usize = 4;
        let columns = self.config.heads.key_value_columns();
        threads::for_each_chunk(chunks, TOGETHER, |index, chunks| {
            for (chunk, rows) in chunks.iter_mut().zip(starts[index * TOGETHER..].windows(2)) {
                let at = rows[0] * columns..rows[1] * columns;
                chunk.own.layers[layer].append(&state.key[at.clone()], &state.value[at]);
            }
        });
    }
}
