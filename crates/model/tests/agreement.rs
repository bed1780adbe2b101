//! Sampling and training give the same bits (docs/numerics.md): whatever the batch, the chunks, the cache and threads.

mod support;

use kernels::{
    logprob::{TokenLogprob, divide_by_temperature, log_sum_exp},
    threads::Pool,
};
use model::{Batch, Buffer, Cache, Chunk, Compute, Model, SamplerWorkspace, TrainerWorkspace};

use support::{ADAPTED, FAMILIES, adapted, model, sequences, tensors};

const COMPUTES: [Compute; 2] = [Compute::F32, Compute::Bf16];

/// How the sampler comes by its logprobs.
#[derive(Debug, Clone, Copy)]
struct Sampling {
    prompt_tokens: usize,
    /// Tokens of a prompt that are computed at once.
    piece: usize,
    temperature: f32,
    /// Sequences that are decoded together.
    together: usize,
}

/// Logprob bits of the tokens after the prompt of each sequence, as the sampler sees them: prompts prefilled in pieces,
/// then the sequences decoded in batches.
fn sampled(model: &Model, sequences: &[Vec<u32>], how: Sampling) -> Vec<Vec<u32>> {
    sequences.chunks(how.together).flat_map(|sequences| sampled_together(model, sequences, how)).collect()
}

fn sampled_together(model: &Model, sequences: &[Vec<u32>], how: Sampling) -> Vec<Vec<u32>> {
    let Sampling { prompt_tokens, piece, temperature, .. } = how;
    let mut workspace = SamplerWorkspace::default();
    let mut prompts: Vec<Cache> = vec![Cache::new(model); sequences.len()];
    let mut owns = prompts.clone();
    let mut hidden: Vec<Vec<f32>> = Vec::new();
    for (tokens, prompt) in sequences.iter().zip(&mut prompts) {
        let mut row = Vec::new();
        for tokens in tokens[..prompt_tokens].chunks(piece) {
            row = model.advance(&mut [Chunk { tokens, shared: None, own: prompt }], &mut workspace).to_vec();
        }
        hidden.push(row);
    }
    let mut bits = vec![Vec::new(); sequences.len()];
    let mut logits = Buffer::new();
    for position in prompt_tokens.. {
        let live: Vec<usize> = (0..sequences.len()).filter(|&i| position < sequences[i].len()).collect();
        if live.is_empty() {
            return bits;
        }
        let rows: Vec<f32> = live.iter().flat_map(|&i| hidden[i].clone()).collect();
        model.logits(&mut logits, &rows);
        for (logits, &i) in logits.chunks_exact_mut(model.config().vocabulary).zip(&live) {
            divide_by_temperature(logits, temperature);
            let logprob = logits[sequences[i][position] as usize] - log_sum_exp(logits).log_sum;
            bits[i].push(logprob.to_bits());
        }
        let mut chunks: Vec<Chunk<'_>> = owns
            .iter_mut()
            .enumerate()
            .filter(|(i, _)| live.contains(i))
            .map(|(i, own)| Chunk { tokens: &sequences[i][position..=position], shared: Some(&prompts[i]), own })
            .collect();
        let rows = model.advance(&mut chunks, &mut workspace);
        for (row, &i) in rows.chunks_exact(model.config().width).zip(&live) {
            hidden[i] = row.to_vec();
        }
    }
    unreachable!("sequences end")
}

/// The same bits as the trainer computes them, all sequences packed into one batch.
fn trained(model: &Model, sequences: &[Vec<u32>], prompt_tokens: usize, temperature: f32) -> Vec<Vec<u32>> {
    let mut batch = Batch::new(temperature);
    for tokens in sequences {
        let (prompt, completion) = tokens.split_at(prompt_tokens);
        // A second completion in the same group must not disturb the first.
        batch.push_group(prompt, &[completion, &completion[..completion.len() / 2]]);
    }
    let mut workspace = TrainerWorkspace::default();
    let out = model.forward(&batch, &mut workspace);
    let mut out = out.iter().map(|token: &TokenLogprob| token.logprob.to_bits());
    let mut take = |count: usize| out.by_ref().take(count).collect::<Vec<_>>();
    let completions = sequences.iter().map(|tokens| tokens.len() - prompt_tokens);
    completions
        .map(|count| {
            let bits = take(count);
            take(count / 2);
            bits
        })
        .collect()
}

/// Every model that is looked at, with its family and a name: four families, and two of them with an adapter, each in f32
/// and in bf16.
fn models() -> impl Iterator<Item = (&'static str, String, Model)> {
    let named = |family, what: &str, model: Model| (family, format!("{family}{what}, {:?}", model.compute()), model);
    let whole = FAMILIES.into_iter().flat_map(move |family| COMPUTES.map(|of| named(family, "", model(family, of))));
    let adapter = " with an adapter";
    let over =
        ADAPTED.into_iter().flat_map(move |family| COMPUTES.map(|of| named(family, adapter, adapted(family, of))));
    whole.chain(over)
}

/// Sequences of many lengths over the model's vocabulary.
fn ragged(model: &Model, count: usize) -> Vec<Vec<u32>> {
    let vocabulary = model.config().vocabulary as u32;
    let token = |sequence: usize, position: usize| (sequence as u32 * 31 + position as u32 * 17 + 5) % vocabulary;
    (0..count).map(|i| (0..7 + i * 5 % 34).map(|position| token(i, position)).collect()).collect()
}

#[test]
fn sampler_and_trainer_agree_bit_for_bit() {
    for (family, name, model) in models() {
        let sequences = sequences(&tensors(family, "reference.safetensors"));
        for (prompt_tokens, piece, temperature) in [(1, 1, 1.0), (4, 4, 1.0), (5, 2, 0.7), (6, 1, 1.3)] {
            let expected = trained(&model, &sequences, prompt_tokens, temperature);
            for threads in [1, 2, 3] {
                let how = Sampling { prompt_tokens, piece, temperature, together: 64 };
                let pool = Pool::new(threads).unwrap();
                let bits = pool.install(|| sampled(&model, &sequences, how));
                assert_eq!(bits, expected, "{name}, {how:?}, {threads} threads");
            }
        }
    }
}

#[test]
fn sampler_and_trainer_agree_bit_for_bit_over_ragged_batches_of_1_to_64() {
    for (_, name, model) in models() {
        let sequences = ragged(&model, 64);
        let expected = trained(&model, &sequences, 6, 1.0);
        for together in [1, 2, 3, 5, 13, 14, 15, 31, 64] {
            let how = Sampling { prompt_tokens: 6, piece: 6, temperature: 1.0, together };
            let bits = Pool::new(2).unwrap().install(|| sampled(&model, &sequences, how));
            assert_eq!(bits, expected, "{name}, {together} together");
        }
    }
}

#[test]
fn layers_that_are_computed_again_give_the_same_bits() {
    for (family, name, model) in models() {
        let sequences = sequences(&tensors(family, "reference.safetensors"));
        let mut batch = Batch::new(1.0);
        batch.push_group(&sequences[2][..5], &[&sequences[2][5..], &sequences[1][..]]);
        let trained = |recomputed: usize| {
            let mut workspace = TrainerWorkspace::new(recomputed);
            let out = model.forward(&batch, &mut workspace).to_vec();
            let mut gradients = model.zeros();
            let weights: Vec<f32> = (0..out.len()).map(|i| (i as f32 * 0.7).sin()).collect();
            model.backward(&batch, &weights, &mut workspace, &mut gradients);
            (out, gradients.tensors)
        };
        let expected = trained(0);
        for recomputed in 1..=model.config().layers + 1 {
            assert_eq!(trained(recomputed), expected, "{name}, {recomputed} layers again");
        }
    }
}

#[test]
fn a_group_trains_to_the_same_gradients_as_its_completions_alone() {
    for family in FAMILIES {
        let model = model(family, Compute::F32);
        let sequences = sequences(&tensors(family, "reference.safetensors"));
        let (prompt, completions) = (&sequences[2][..5], [&sequences[2][5..], &sequences[1][..], &sequences[0][3..]]);
        let mut shared = Batch::new(1.0);
        shared.push_group(prompt, &completions);
        let mut separate = Batch::new(1.0);
        for completion in completions {
            separate.push_group(prompt, &[completion]);
        }
        let [shared, separate] = [shared, separate].map(|batch| {
            let mut workspace = TrainerWorkspace::default();
            let out = model.forward(&batch, &mut workspace).to_vec();
            let mut gradients = model.zeros();
            let weights: Vec<f32> = (0..out.len()).map(|i| (i as f32 * 0.7).sin()).collect();
            model.backward(&batch, &weights, &mut workspace, &mut gradients);
            (out, gradients.tensors)
        });
        assert_eq!(shared.0, separate.0, "{family}: logprobs");
        for (index, (a, b)) in shared.1.iter().zip(&separate.1).enumerate() {
            let largest = b.iter().fold(0.0f32, |m, x| m.max(x.abs()));
            let difference = a.iter().zip(b).fold(0.0f32, |m, (x, y)| m.max((x - y).abs()));
            // Sums over the rows of a group run in another order: f32 rounding of about 40 terms.
            assert!(difference <= 2e-5 * largest, "{family}, parameter {index}: {difference:e} of {largest:e}");
        }
    }
}

#[test]
fn a_frozen_model_and_a_new_adapter_compute_what_the_whole_model_does() {
    for (family, compute) in ADAPTED.into_iter().flat_map(|family| COMPUTES.map(|compute| (family, compute))) {
        let (whole, trained) = (model(family, compute), adapted(family, compute));
        let sequences = sequences(&tensors(family, "reference.safetensors"));
        let expected = self::trained(&whole, &sequences, 4, 1.0);
        assert_ne!(self::trained(&trained, &sequences, 4, 1.0), expected, "{family}, {compute:?}: with the adapter");
        let mut new = trained;
        // As it starts: B is 0.
        new.update(|index, parameter| {
            if index % 2 == 1 {
                parameter.values.fill(0.0);
            }
        });
        assert_eq!(self::trained(&new, &sequences, 4, 1.0), expected, "{family}, {compute:?}: with a new adapter");
        let reference = new.reference();
        assert!(reference.adapter().is_none(), "{family}, {compute:?}: the reference has an adapter");
        assert_eq!(self::trained(&reference, &sequences, 4, 1.0), expected, "{family}, {compute:?}: without it");
    }
}
