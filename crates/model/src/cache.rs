//! Keys and values of past positions, and the forward that continues them: the sampler's half of the network.

use kernels::{
    Buffer, Compute,
    attention::{self, Sequence, Stretch},
    sample::{self, Drawn, Sampling},
    threads,
};

use crate::{
    ModelConfig,
    card::{CardCache, CardSampler},
    network::{LayerState, Model, Scratch},
};

/// Keys and values of one stretch of a sequence.
#[derive(Debug, Clone)]
pub struct Cache {
    pub(crate) held: Held,
}

/// Where they are.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// On the processor, one stretch per layer.
    Stretches(Vec<Stretch>),
    /// In pages of a card.
    Pages(CardCache),
}

impl Held {
    /// Those on the processor.
    fn stretches(&self) -> &[Stretch] {
        match self {
            Self::Stretches(layers) => layers,
            Self::Pages(_) => panic!("a cache of a model on a card"),
        }
    }

    fn stretches_mut(&mut self) -> &mut [Stretch] {
        match self {
            Self::Stretches(layers) => layers,
            Self::Pages(_) => panic!("a cache of a model on a card"),
        }
    }

    /// Those on a card.
    pub(crate) fn pages(&self) -> &CardCache {
        match self {
            Self::Pages(pages) => pages,
            Self::Stretches(_) => panic!("a cache of a model on the processor"),
        }
    }
}

impl Cache {
    /// An empty cache for `model`.
    pub fn new(model: &Model) -> Self {
        let held = match &model.card {
            None => Held::Stretches(vec![Stretch::new(model.config.heads, model.compute); model.config.layers]),
            Some(card) => Held::Pages(card.cache()),
        };
        Self { held }
    }

    /// Positions held.
    pub fn len(&self) -> usize {
        match &self.held {
            Held::Stretches(layers) => layers.last().map_or(0, Stretch::len),
            Held::Pages(pages) => pages.len(),
        }
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all positions; on the processor it keeps the memory.
    pub fn clear(&mut self) {
        match &mut self.held {
            Held::Stretches(layers) => layers.iter_mut().for_each(Stretch::clear),
            Held::Pages(pages) => pages.clear(),
        }
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
    pub(crate) draw: sample::Scratch,
    /// What a model on a card has in place of all that.
    pub(crate) card: Option<CardSampler>,
    /// \[B, C\], the rows that it gave.
    rows: Vec<f32>,
}

impl Model {
    /// [`Model::advance`], and [`Model::draw`] after each of its rows, which need not leave a card.
    ///
    /// Shapes: uniforms \[B\]; returns \[B\].
    pub fn advance_and_draw(
        &self,
        chunks: &mut [Chunk<'_>],
        (sampling, uniforms): (&Sampling, &[f64]),
        workspace: &mut SamplerWorkspace,
    ) -> Vec<Drawn> {
        if let Some(card) = &self.card {
            return card.advance_and_draw(chunks, (sampling, uniforms), workspace);
        }
        let rows = self.advance(chunks, workspace).to_vec();
        self.draw(&rows, sampling, uniforms, workspace)
    }

    /// Runs new tokens of several sequences through the network and returns the hidden row of each sequence's last token,
    /// after which [`Model::draw`] draws the next one, and from which [`Model::logits`] gives its logits.
    ///
    /// Shapes: returns \[B, C\].
    pub fn advance<'a>(&self, chunks: &mut [Chunk<'_>], workspace: &'a mut SamplerWorkspace) -> &'a [f32] {
        if let Some(card) = &self.card {
            workspace.rows = card.advance(chunks, workspace);
            return &workspace.rows;
        }
        let SamplerWorkspace { tokens, positions, last, normed, state, scratch, .. } = workspace;
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
                    let (rows, own) = (chunk.tokens.len(), &chunk.own.held.stretches()[layer]);
                    Sequence {
                        rows,
                        shared: chunk.shared.map(|cache| &cache.held.stretches()[layer]),
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
                chunk.own.held.stretches_mut()[layer].append(&state.key[at.clone()], &state.value[at]);
            }
        });
    }
}
