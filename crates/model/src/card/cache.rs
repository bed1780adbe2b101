//! Keys and values in pages, and the forward that continues them: the sampler's half of the network.
//!
//! A sequence that has one new token is decoded from its pages. Any other, a prompt or a completion that comes back, is
//! computed from its beginning, since its keys are needed beside one another; it gives the same bits.

use std::sync::{Arc, Mutex, PoisonError};

use kernels::{
    attention::Tree,
    cuda::{
        array::{Array, Bf16},
        launch::{TILE_KEYS, WARP_ROWS},
        operations::{AttentionRows, Blocks, CachedRows, HeadRows, PagedCache},
        parameters::{BlockSum, CachedSequence, DrawnToken, SequenceTile},
    },
    sample::{Drawn, Sampling},
};

use super::{
    CardModel,
    layer::{LayerState, Scratch},
};
use crate::ModelConfig;

/// Rows that are computed at once when sequences are computed from their beginning; a longer one alone.
pub(super) const PREFILL_ROWS_MAX: usize = 8192;
/// The slot of a row whose keys and values are not kept.
const NOWHERE: i32 = -1;

/// Rows that are computed to decode so many sequences: a multiple of 8, at most eight of them from one power of two to the next.
pub(super) fn decoded_rows(sequences: usize) -> usize {
    sequences.next_multiple_of((sequences.next_power_of_two() / 16).max(8))
}

/// The pages of a card's caches: a page holds 64 positions of one sequence in every layer.
#[derive(Debug)]
pub struct CardPages {
    layers: Vec<PagedCache>,
    /// Numbers of pages that nobody has.
    free: Arc<Mutex<Vec<i32>>>,
}

/// One stretch of a sequence: a prompt, or what follows it.
#[derive(Debug)]
pub struct CardCache {
    tokens: Vec<u32>,
    pages: Vec<i32>,
    free: Arc<Mutex<Vec<i32>>>,
}

impl CardPages {
    /// So many pages for `model`.
    pub fn new(model: &CardModel, pages: usize) -> Self {
        let layers = (0..model.config.layers).map(|_| PagedCache::new(&model.operations, pages)).collect();
        let pages = i32::try_from(pages).expect("pages of a card");
        Self { layers, free: Arc::new(Mutex::new((0..pages).rev().collect())) }
    }

    /// A cache that holds nothing.
    pub fn cache(&self) -> CardCache {
        CardCache { tokens: Vec::new(), pages: Vec::new(), free: Arc::clone(&self.free) }
    }

    /// How many more pages there are.
    pub fn free(&self) -> usize {
        self.free.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Bytes of a page.
    pub fn page_bytes(config: &ModelConfig) -> usize {
        2 * config.layers * TILE_KEYS * config.heads.key_value_columns() * size_of::<Bf16>()
    }

    /// Bytes of the pages that a stretch of so many positions takes.
    pub fn bytes(config: &ModelConfig, positions: usize) -> usize {
        positions.div_ceil(TILE_KEYS) * Self::page_bytes(config)
    }
}

impl CardCache {
    /// Positions held.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Forgets all positions and gives their pages back.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).append(&mut self.pages);
    }

    /// Takes in new tokens and the pages that they need; returns the slot of each.
    fn grow(&mut self, tokens: &[u32]) -> Vec<i32> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots = Vec::with_capacity(tokens.len());
        for &token in tokens {
            let within = self.tokens.len() % TILE_KEYS;
            if within == 0 {
                self.pages.push(free.pop().expect("the sampler keeps within the pages that there are"));
            }
            let page = self.pages.last().expect("a page for the first position");
            slots.push(page * number(TILE_KEYS) + number(within));
            self.tokens.push(token);
        }
        slots
    }
}

impl Clone for CardCache {
    /// Another cache of the same pages.
    ///
    /// # Panics
    /// When it holds something: pages are not copied.
    fn clone(&self) -> Self {
        assert!(self.is_empty(), "a cache of {} positions on a card is not copied", self.len());
        Self { tokens: Vec::new(), pages: Vec::new(), free: Arc::clone(&self.free) }
    }
}

impl Drop for CardCache {
    fn drop(&mut self) {
        self.clear();
    }
}

fn number(count: usize) -> i32 {
    i32::try_from(count).expect("a count of 31 bits")
}

/// New tokens of one sequence.
#[derive(Debug)]
pub struct CardChunk<'a> {
    /// At least one token id.
    pub tokens: &'a [u32],
    /// What the sequence shares with others: its prompt.
    pub shared: Option<&'a CardCache>,
    /// What is the sequence's own; grows by the tokens.
    pub own: &'a mut CardCache,
}

impl CardChunk<'_> {
    fn first_position(&self) -> usize {
        self.shared.map_or(0, CardCache::len) + self.own.len()
    }

    /// Whether it has one new token after others.
    fn is_decoded(&self) -> bool {
        self.tokens.len() == 1 && self.first_position() > 0
    }
}

/// Buffers of the sampler's forward, which keep their memory from call to call.
#[derive(Debug)]
pub struct CardSampler {
    state: LayerState,
    scratch: Scratch,
    blocks: Blocks,
    cached: CachedRows,
    slots: Array<i32>,
    /// The last row of each sequence.
    places: Array<u32>,
    last: Array<f32>,
    normed: Array<Bf16>,
    uniforms: Array<f64>,
    logits: Array<f32>,
    sums: Array<BlockSum>,
    drawn: Array<DrawnToken>,
}

impl CardSampler {
    /// Buffers that hold nothing.
    pub fn new(model: &CardModel) -> Self {
        let machine = model.operations.machine();
        Self {
            state: LayerState::new(&model.operations),
            scratch: Scratch::new(&model.operations),
            blocks: Blocks::new(&model.operations),
            cached: CachedRows::new(&model.operations),
            slots: Array::new(machine),
            places: Array::new(machine),
            last: Array::new(machine),
            normed: Array::new(machine),
            uniforms: Array::new(machine),
            logits: Array::new(machine),
            sums: Array::new(machine),
            drawn: Array::new(machine),
        }
    }
}

/// Rows of a forward that is not decoding.
#[derive(Default)]
struct Packed {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    trees: Vec<Tree>,
    /// Where each row goes; [`NOWHERE`] if it is there already.
    slots: Vec<i32>,
    /// The last row of each chunk.
    last: Vec<u32>,
}

impl Packed {
    fn push(&mut self, tokens: &[u32], first_position: usize) -> std::ops::Range<usize> {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((first_position..first_position + tokens.len()).map(|position| position as u32));
        start..self.tokens.len()
    }

    /// A sequence from its beginning to the end of its new tokens.
    fn add(&mut self, chunk: &mut CardChunk<'_>) {
        let shared: &[u32] = chunk.shared.map_or(&[], |shared| &shared.tokens);
        let known = shared.len() + chunk.own.len();
        let trunk = self.push(shared, 0);
        let new = chunk.own.grow(chunk.tokens);
        let own = self.push(&chunk.own.tokens, shared.len());
        self.slots.resize(trunk.start + known, NOWHERE);
        self.slots.extend(new);
        self.last.push(own.end as u32 - 1);
        // Where there is no prompt, the sequence is a prompt itself.
        let tree = if shared.is_empty() {
            Tree { trunk: own, branches: Vec::new() }
        } else {
            Tree { trunk, branches: vec![own] }
        };
        self.trees.push(tree);
    }
}

impl CardModel {
    /// Runs new tokens of several sequences through the network and returns the last layer's row of each sequence's last
    /// token, after which [`CardModel::draw`] draws.
    ///
    /// Shapes: returns \[B, C\].
    ///
    /// # Panics
    /// When the pages or the model's positions do not suffice.
    pub fn advance(&self, chunks: &mut [CardChunk<'_>], pages: &mut CardPages, sampler: &mut CardSampler) -> Vec<f32> {
        self.check_positions(chunks);
        let (decoded, others): (Vec<_>, Vec<_>) =
            chunks.iter_mut().enumerate().partition(|(_, chunk)| chunk.is_decoded());
        let width = self.config.width;
        let mut rows = vec![0.0; decoded.len() * width + others.len() * width];
        let mut put = |places: &[usize], computed: Vec<f32>| {
            for (row, place) in computed.chunks_exact(width).zip(places) {
                rows[place * width..][..width].copy_from_slice(row);
            }
        };
        if !decoded.is_empty() {
            let (places, mut chunks): (Vec<_>, Vec<_>) = decoded.into_iter().unzip();
            self.decode(&mut chunks, pages, sampler);
            put(&places, sampler.scratch.hidden.values());
        }
        let mut others = others.into_iter().peekable();
        while others.peek().is_some() {
            let (mut places, mut chunks, mut total) = (Vec::new(), Vec::new(), 0);
            let fits = |total: usize, chunk: &CardChunk<'_>| {
                let rows = chunk.first_position() + chunk.tokens.len();
                (total == 0 || total + rows <= PREFILL_ROWS_MAX).then_some(total + rows)
            };
            while let Some((place, chunk)) = others.next_if(|(_, chunk)| fits(total, chunk).is_some()) {
                total = fits(total, chunk).expect("it was asked just now");
                places.push(place);
                chunks.push(chunk);
            }
            self.prefill(&mut chunks, pages, sampler);
            put(&places, sampler.last.values());
        }
        rows
    }

    /// [`CardModel::advance`] and [`CardModel::draw`] after each of its rows, which stay on the card where every sequence has
    /// one new token.
    ///
    /// Shapes: uniforms \[B\]; returns \[B\].
    ///
    /// # Panics
    /// As [`CardModel::advance`].
    pub fn advance_and_draw(
        &self,
        chunks: &mut [CardChunk<'_>],
        (sampling, uniforms): (&Sampling, &[f64]),
        pages: &mut CardPages,
        sampler: &mut CardSampler,
    ) -> Vec<Drawn> {
        if !chunks.iter().all(CardChunk::is_decoded) {
            let rows = self.advance(chunks, pages, sampler);
            return self.draw(&rows, sampling, uniforms, sampler);
        }
        self.check_positions(chunks);
        self.decode(&mut chunks.iter_mut().collect::<Vec<_>>(), pages, sampler);
        let CardSampler { scratch, normed, .. } = sampler;
        self.operations.normalise(normed, &scratch.hidden, self.norm_of(self.layout.final_norm));
        self.draw_normed((sampling, uniforms), sampler)
    }

    fn check_positions(&self, chunks: &[CardChunk<'_>]) {
        for chunk in chunks {
            let end = chunk.first_position() + chunk.tokens.len();
            assert!(end <= self.config.positions_max, "{end} positions, the model has {}", self.config.positions_max);
        }
    }

    /// One new token of each sequence; its row is left in `sampler.scratch.hidden`.
    ///
    /// Rows that belong to no sequence fill up their count, so that a step asks for the same as the one before even where a
    /// sequence has ended; a card then starts it at once.
    fn decode(&self, chunks: &mut [&mut CardChunk<'_>], pages: &mut CardPages, sampler: &mut CardSampler) {
        let CardSampler { state, scratch, cached, slots, .. } = sampler;
        let rows = decoded_rows(chunks.len());
        let mut tokens: Vec<u32> = chunks.iter().map(|chunk| chunk.tokens[0]).collect();
        let mut positions: Vec<u32> = chunks.iter().map(|chunk| chunk.first_position() as u32).collect();
        let mut new: Vec<i32> = chunks.iter_mut().flat_map(|chunk| chunk.own.grow(chunk.tokens)).collect();
        tokens.resize(rows, 0);
        positions.resize(rows, 0);
        new.resize(rows, NOWHERE);
        slots.set(&new);
        scratch.set(&tokens, &positions);
        self.set_sequences(chunks, cached);
        self.operations.together(|| {
            self.embed_in(state, scratch);
            for (layer, cache) in pages.layers.iter_mut().enumerate() {
                self.attention_inputs(layer, state, scratch);
                self.operations.append(cache, &state.key, &state.value, slots);
                self.operations.attend_cached(&mut state.attended, &state.query, cache, cached);
                self.attention_outputs(layer, state, scratch);
            }
        });
        scratch.hidden.resize(chunks.len() * self.config.width);
    }

    /// [`CardModel::embed`] into the buffer that it was in the step before: each layer swaps that with the other one.
    fn embed_in(&self, state: &mut LayerState, scratch: &mut Scratch) {
        if !self.config.layers.is_multiple_of(2) {
            std::mem::swap(&mut scratch.hidden, &mut state.input);
        }
        self.embed(scratch);
    }

    /// The pages of each sequence, those of one prompt in tiles.
    fn set_sequences(&self, chunks: &[&mut CardChunk<'_>], cached: &mut CachedRows) {
        let (mut table, mut tiles, mut sequences) = (Vec::new(), Vec::<SequenceTile>::new(), Vec::new());
        let heads = self.config.heads;
        let together = number(WARP_ROWS / (heads.query / heads.key_value));
        let mut previous: Option<*const CardCache> = None;
        for chunk in chunks {
            let prompt = chunk.shared.map(std::ptr::from_ref);
            let has_room = tiles.last().is_some_and(|tile| tile.sequences < together);
            if prompt.is_some() && prompt == previous && has_room {
                tiles.last_mut().expect("one with room").sequences += 1;
            } else {
                let (pages, positions) = (number(table.len()), chunk.shared.map_or(0, |shared| number(shared.len())));
                table.extend(chunk.shared.iter().flat_map(|shared| &shared.pages));
                tiles.push(SequenceTile { first: number(sequences.len()), sequences: 1, pages, positions });
            }
            previous = prompt;
            sequences.push(CachedSequence { pages: number(table.len()), positions: number(chunk.own.len()) });
            table.extend(&chunk.own.pages);
        }
        tiles.resize(decoded_rows(tiles.len()), SequenceTile { first: 0, sequences: 0, pages: 0, positions: 0 });
        sequences.resize(decoded_rows(sequences.len()), CachedSequence { pages: 0, positions: 0 });
        cached.set(&table, &tiles, &sequences);
    }

    /// All tokens of each sequence; the row of its last one is left in `sampler.last`.
    fn prefill(&self, chunks: &mut [&mut CardChunk<'_>], pages: &mut CardPages, sampler: &mut CardSampler) {
        let mut packed = Packed::default();
        for chunk in &mut *chunks {
            packed.add(chunk);
        }
        let CardSampler { state, scratch, blocks, slots, places, last, .. } = sampler;
        blocks.set(&packed.trees);
        slots.set(&packed.slots);
        scratch.set(&packed.tokens, &packed.positions);
        self.embed_in(state, scratch);
        for (layer, cache) in pages.layers.iter_mut().enumerate() {
            self.attention_inputs(layer, state, scratch);
            self.operations.append(cache, &state.key, &state.value, slots);
            let LayerState { query, key, value, attended, log_sums, .. } = &mut *state;
            let rows = AttentionRows { queries: query, keys: key, values: value, blocks };
            self.operations.attend(attended, log_sums, rows);
            self.attention_outputs(layer, state, scratch);
        }
        places.set(&packed.last);
        self.operations.gather(last, &scratch.hidden, places, self.config.width);
    }

    /// Draws a token after each row that [`CardModel::advance`] gave, at one uniform number each.
    ///
    /// Shapes: rows \[N, C\], uniforms \[N\]; returns \[N\].
    pub fn draw(&self, rows: &[f32], sampling: &Sampling, uniforms: &[f64], sampler: &mut CardSampler) -> Vec<Drawn> {
        let CardSampler { last, normed, .. } = sampler;
        last.set(rows);
        self.operations.normalise(normed, last, self.norm_of(self.layout.final_norm));
        self.draw_normed((sampling, uniforms), sampler)
    }

    /// Draws a token after each of the rows whose norm was taken.
    fn draw_normed(&self, (sampling, uniforms): (&Sampling, &[f64]), sampler: &mut CardSampler) -> Vec<Drawn> {
        let CardSampler { normed, uniforms: places, logits, sums, drawn, .. } = sampler;
        places.set(uniforms);
        let (head, width) = (self.rounded(self.layout.head), self.config.width);
        let rows = HeadRows { hidden: normed, head, width, temperature: 1.0 };
        self.operations.draw(drawn, rows, (sampling, places), (logits, sums));
        let token = |drawn: DrawnToken| Drawn { token: drawn.token, logprob: drawn.logprob, entropy: drawn.entropy };
        drawn.values().into_iter().map(token).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_a_step_fill_up_to_few_counts() {
        let counts = [1, 8, 9, 65, 128, 129, 256, 257, 1000].map(decoded_rows);
        assert_eq!(counts, [8, 8, 16, 72, 128, 144, 256, 288, 1024]);
    }
}
