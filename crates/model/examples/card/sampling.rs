//! Sampling from pages gives the logprobs that training computes, bit by bit: whatever is decoded together, in tiles of what
//! size, and whether a completion was put back and computed again.

use std::sync::Arc;

use kernels::{
    cuda::{launch::WARP_ROWS, machine::Machine},
    sample::Sampling,
};
use model::{
    Batch, Compute, Drawn,
    card::{CardCache, CardChunk, CardModel, CardPages, CardSampler, CardTrainer},
};

use crate::{draws::Draws, models::Shape};

/// Tokens of the prompts: beyond a page, at its end, and few.
const PROMPTS: [usize; 3] = [67, 64, 2];
/// Completions of each.
const GROUP: usize = 5;
const TOKENS: usize = 6;
/// After so many tokens the second completion of each group is put back.
const PUT_BACK: usize = 4;
const PAGES: usize = 64;

/// A completion under way.
struct Live {
    group: usize,
    own: CardCache,
    drawn: Vec<Drawn>,
}

pub(crate) fn check(shape: &Shape, machine: &Arc<dyn Machine>, seed: u64) {
    let model = CardModel::new(&shape.model(Compute::Bf16, seed), Arc::clone(machine));
    let mut draws = Draws::new(seed ^ 0x5a3e);
    let prompts = PROMPTS.map(|count| shape.tokens(count, &mut draws));
    let sampling = Sampling { temperature: 0.8, top_k: 0, top_p: 1.0 };
    let (mut pages, mut sampler) = (CardPages::new(&model, PAGES), CardSampler::new(&model));
    let mut shared: Vec<CardCache> = prompts.iter().map(|_| pages.cache()).collect();
    let chunks = prompts.iter().zip(&mut shared).map(|(tokens, own)| CardChunk { tokens, shared: None, own });
    let rows = model.advance(&mut chunks.collect::<Vec<_>>(), &mut pages, &mut sampler);
    let width = model.config().width;
    let rows: Vec<f32> = rows.chunks_exact(width).flat_map(|row| row.repeat(GROUP)).collect();
    let start = |group| (0..GROUP).map(move |_| group);
    let mut live: Vec<Live> =
        (0..prompts.len()).flat_map(start).map(|group| Live { group, own: pages.cache(), drawn: Vec::new() }).collect();
    let uniforms: Vec<Vec<f64>> = (0..TOKENS).map(|_| live.iter().map(|_| draws.uniform()).collect()).collect();
    let mut drawn = model.draw(&rows, &sampling, &uniforms[0], &mut sampler);
    let repeated = machine.repeated();
    for token in 0..TOKENS {
        live.iter_mut().zip(drawn).for_each(|(live, drawn)| live.drawn.push(drawn));
        if token == PUT_BACK {
            live.iter_mut().skip(1).step_by(GROUP).for_each(|live| live.own.clear());
        }
        let new: Vec<Vec<u32>> =
            live.iter().map(|live| live.drawn[live.own.len()..].iter().map(|drawn| drawn.token).collect()).collect();
        let chunks = live.iter_mut().zip(&new);
        let mut chunks: Vec<CardChunk<'_>> = chunks
            .map(|(live, tokens)| CardChunk { tokens, shared: Some(&shared[live.group]), own: &mut live.own })
            .collect();
        let Some(uniforms) = uniforms.get(token + 1) else { break };
        // After those that were put back rows leave the card, in all other steps they stay.
        drawn = model.advance_and_draw(&mut chunks, (&sampling, uniforms), &mut pages, &mut sampler);
    }
    compare(&model, (&prompts, &live), sampling.temperature);
    // All before some were put back ask for the same; the one after it where its tiles are filled up to as many.
    let heads = model.config().heads;
    let together = WARP_ROWS / (heads.query / heads.key_value);
    let [before, after] = [GROUP, GROUP - 1].map(|decoded| PROMPTS.len() * decoded.div_ceil(together));
    let expected = PUT_BACK - 1 + usize::from(before.next_multiple_of(8) == after.next_multiple_of(8));
    assert_eq!(machine.repeated() - repeated, expected, "steps that were started at once");
    drop((live, shared));
    assert_eq!(pages.free(), PAGES, "pages that nobody gave back");
    println!(
        "{}: {} sampled logprobs and entropies equal those of training",
        shape.name,
        PROMPTS.len() * GROUP * TOKENS
    );
}

/// Logprobs and entropies as they were sampled, against one forward over everything.
fn compare(model: &CardModel, (prompts, live): (&[Vec<u32>], &[Live]), temperature: f32) {
    let mut batch = Batch::new(temperature);
    for (prompt, live) in prompts.iter().zip(live.chunks_exact(GROUP)) {
        let tokens = |live: &Live| live.drawn.iter().map(|drawn| drawn.token).collect::<Vec<u32>>();
        let completions: Vec<Vec<u32>> = live.iter().map(tokens).collect();
        batch.push_group(prompt, &completions.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    let trained = model.forward(&batch, &mut CardTrainer::new(model, 0));
    let sampled = live.iter().flat_map(|live| &live.drawn);
    for (place, (trained, sampled)) in trained.iter().zip(sampled).enumerate() {
        let [ours, theirs] = [[sampled.logprob, sampled.entropy], [trained.logprob, trained.entropy]];
        assert_eq!(ours.map(f32::to_bits), theirs.map(f32::to_bits), "token {place}: {sampled:?}, trained {trained:?}");
    }
}
