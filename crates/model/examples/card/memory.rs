//! The memory that is planned for a model, a trainer and a sampler is what they take, of an emulated card.

use std::sync::Arc;

use kernels::{
    cuda::{emulation::Emulation, machine::Machine},
    sample::Sampling,
};
use model::{
    Adapter, Batch, BatchRows, Compute,
    card::{CardChunk, CardModel, CardPages, CardSampler, CardTrainer},
};

use crate::{draws::Draws, models::Shape};

/// Lengths of a prompt and of its three completions.
const LENGTHS: [usize; 2] = [60, 100];
const COMPLETIONS: usize = 3;
/// How much of what was planned is taken at least.
const SHARE_MIN: f64 = 0.9;
/// What may be taken beyond it, for the places of blocks and pages, which are not counted.
const TABLES_BYTES: usize = 1024;

/// Bytes that `work` took beyond those that were taken before, at most.
fn taken<T>(emulation: &Emulation, work: impl FnOnce() -> T) -> (usize, T) {
    emulation.largest_bytes();
    let before = emulation.largest_bytes();
    let done = work();
    (emulation.largest_bytes() - before, done)
}

pub(crate) fn check(shape: &Shape, emulation: &Arc<Emulation>, seed: u64) {
    let machine: Arc<dyn Machine> = Arc::<Emulation>::clone(emulation);
    let model = shape.model(Compute::Bf16, seed);
    let (config, adapter) = (model.config().clone(), model.adapter().map(Adapter::settings));
    let (weights, card) = taken(emulation, || CardModel::new(&model, machine));
    let planned_weights = adapter.map_or_else(
        || CardModel::bytes(&config),
        |adapter| CardModel::frozen_bytes(&config) + CardModel::adapter_bytes(&config, adapter),
    );
    let scratch = |rows| adapter.map_or(0, |adapter| CardModel::adapter_scratch_bytes(adapter, rows));

    let mut draws = Draws::new(seed);
    let [prompt, completion] = LENGTHS;
    let mut batch = Batch::new(1.0);
    let group = [prompt, completion, completion, completion].map(|count| shape.tokens(count, &mut draws));
    batch.push_group(&group[0], &group[1..].iter().map(Vec::as_slice).collect::<Vec<_>>());
    let rows = batch.rows();
    let of_batch = BatchRows { rows, tree: rows, sequence: prompt + completion - 1, completion };
    let mut gradients = card.zeros();
    let (trainer, ()) = taken(emulation, || {
        let mut trainer = CardTrainer::new(&card, 0);
        card.forward(&batch, &mut trainer);
        card.backward(&batch, &vec![0.1; batch.targets().len()], &mut trainer, &mut gradients);
    });
    let planned_trainer = CardTrainer::bytes(&config, of_batch, 0) + scratch(rows);

    let mut pages = CardPages::new(&card, 64);
    let (sampler, ()) = taken(emulation, || sample(&card, &group, &mut pages));
    let rows = CardSampler::rows(COMPLETIONS, prompt + completion);
    let planned_sampler = CardSampler::bytes(&config, rows, COMPLETIONS) + scratch(rows);

    let parts = [
        ("weights", weights, planned_weights),
        ("trainer", trainer, planned_trainer),
        ("sampler", sampler, planned_sampler),
    ];
    let said = parts.map(|(part, bytes, planned)| format!("{part} {:.0} %", 100.0 * bytes as f64 / planned as f64));
    println!("{}: of the memory that was planned for, {}", shape.name, said.join(", "));
    for (part, bytes, planned) in parts {
        let is_near = bytes <= planned + TABLES_BYTES && bytes as f64 >= SHARE_MIN * planned as f64;
        assert!(is_near, "{}, {part}: {bytes} bytes, {planned} were planned for", shape.name);
    }
}

/// What takes most: completions that were put back are computed again with their prompt, and draw a token each.
fn sample(card: &CardModel, group: &[Vec<u32>], pages: &mut CardPages) {
    let mut sampler = CardSampler::new(card);
    let mut shared = pages.cache();
    card.advance(&mut [CardChunk { tokens: &group[0], shared: None, own: &mut shared }], pages, &mut sampler);
    let mut owns = [pages.cache(), pages.cache(), pages.cache()];
    let completions = group[1..].iter().zip(&mut owns);
    let mut chunks: Vec<CardChunk<'_>> =
        completions.map(|(tokens, own)| CardChunk { tokens, shared: Some(&shared), own }).collect();
    let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 };
    card.advance_and_draw(&mut chunks, (&sampling, &[0.5; COMPLETIONS]), pages, &mut sampler);
}
