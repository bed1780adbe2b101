//! Logprobs, gradients and updates beside those of the processor.

use std::sync::Arc;

use kernels::{adamw, cuda::machine::Machine, logprob::TokenLogprob};
use model::{
    Batch, Compute, Model, TrainerWorkspace,
    card::{CardModel, CardTrainer},
};

use crate::{draws::Draws, models::Shape};

/// Lengths of a prompt and its completions: within a tile, beyond one, without a completion, of one token.
const GROUPS: [(usize, &[usize]); 4] = [(5, &[3, 9, 1]), (70, &[2, 66]), (3, &[]), (1, &[40])];
/// How much further from f32 the card may be than the processor's bf16, which rounds at other places.
const WORSE: f64 = 2.0;
/// And what is too small to be compared.
const NOISE: f64 = 1e-3;
const UPDATES: u64 = 2;
/// Fewer targets than a batch has, in the middle of a completion.
const AT_ONCE: usize = 50;
/// What adding up the head's gradient in another order changes.
const ROUNDING: f64 = 1e-4;

/// What a forward and backward come to.
struct Outcome {
    logprobs: Vec<f32>,
    entropies: Vec<f32>,
    gradients: Vec<Vec<f32>>,
}

impl Outcome {
    fn new(tokens: &[TokenLogprob], gradients: Vec<Vec<f32>>) -> Self {
        Self {
            logprobs: tokens.iter().map(|token| token.logprob).collect(),
            entropies: tokens.iter().map(|token| token.entropy).collect(),
            gradients,
        }
    }

    fn of_processor(model: &Model, batch: &Batch, logprob_gradients: &[f32]) -> Self {
        let (mut workspace, mut gradients) = (TrainerWorkspace::default(), model.zeros());
        let tokens = model.forward(batch, &mut workspace).to_vec();
        model.backward(batch, logprob_gradients, &mut workspace, &mut gradients);
        Self::new(&tokens, gradients.tensors)
    }

    fn of_card(model: &CardModel, batch: &Batch, logprob_gradients: &[f32], mut trainer: CardTrainer) -> Self {
        let mut gradients = model.zeros();
        let tokens = model.forward(batch, &mut trainer);
        model.backward(batch, logprob_gradients, &mut trainer, &mut gradients);
        Self::new(&tokens, gradients.values())
    }

    fn bits(&self) -> Vec<u32> {
        let all = self.gradients.iter().flatten().chain(&self.logprobs).chain(&self.entropies);
        all.map(|value| value.to_bits()).collect()
    }
}

fn batch(shape: &Shape, draws: &mut Draws, temperature: f32) -> Batch {
    let mut batch = Batch::new(temperature);
    for (prompt, completions) in GROUPS {
        let prompt = shape.tokens(prompt, draws);
        let completions: Vec<Vec<u32>> = completions.iter().map(|&count| shape.tokens(count, draws)).collect();
        batch.push_group(&prompt, &completions.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }
    batch
}

/// ‖ours − theirs‖ / ‖theirs‖.
fn distance(ours: &[f32], theirs: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let mut differences = ours.iter().zip(theirs).map(|(&ours, &theirs)| f64::from(ours) - f64::from(theirs));
    norm(&mut differences) / norm(&mut theirs.iter().map(|&value| f64::from(value)))
}

/// Panics unless the card is about as near to f32 as the processor's bf16; returns both distances.
fn hold(what: &str, card: &[f32], bf16: &[f32], exact: &[f32]) -> [f64; 2] {
    assert_eq!(card.len(), exact.len(), "{what}");
    let distances = [distance(card, exact), distance(bf16, exact)];
    let [ours, theirs] = distances;
    assert!(
        ours.is_finite() && ours < WORSE * theirs + NOISE,
        "{what}: {ours:.2e} from f32, the processor {theirs:.2e}"
    );
    distances
}

pub(crate) fn check(shape: &Shape, machine: &Arc<dyn Machine>, seed: u64) {
    let mut draws = Draws::new(seed ^ 0x7a11);
    let batch = batch(shape, &mut draws, 0.8);
    let logprob_gradients = draws.normal(batch.targets().len(), 0.1);
    let [exact, bf16] = [Compute::F32, Compute::Bf16].map(|compute| shape.model(compute, seed));
    let card = CardModel::new(&bf16, Arc::clone(machine));
    let ours = Outcome::of_card(&card, &batch, &logprob_gradients, CardTrainer::new(&card, 0));
    let [theirs, exact_outcome] = [&bf16, &exact].map(|model| Outcome::of_processor(model, &batch, &logprob_gradients));
    let logprobs = hold("logprobs", &ours.logprobs, &theirs.logprobs, &exact_outcome.logprobs);
    hold("entropies", &ours.entropies, &theirs.entropies, &exact_outcome.entropies);
    let mut largest = [0.0_f64; 2];
    for (place, shape) in card.shapes().iter().enumerate() {
        let of = |outcome: &Outcome| outcome.gradients[place].clone();
        let distances = hold(&shape.name, &of(&ours), &of(&theirs), &of(&exact_outcome));
        largest = [0, 1].map(|side| largest[side].max(distances[side]));
    }
    let again = Outcome::of_card(&card, &batch, &logprob_gradients, CardTrainer::new(&card, 1));
    assert_eq!(again.bits(), ours.bits(), "the first layer computed again");
    let in_parts = CardTrainer::new(&card, 0).with_targets_at_once(AT_ONCE);
    let in_parts = Outcome::of_card(&card, &batch, &logprob_gradients, in_parts);
    assert_eq!(in_parts.logprobs, ours.logprobs, "logprobs of {AT_ONCE} targets at once");
    for (shape, (parts, whole)) in card.shapes().iter().zip(in_parts.gradients.iter().zip(&ours.gradients)) {
        let name = &shape.name;
        let away = distance(parts, whole);
        assert!(away < ROUNDING, "{name}: {AT_ONCE} targets at once change its gradient by {away:.1e}");
    }
    let losses = updates((card, bf16), &batch);
    println!(
        "{}: from f32 logprobs {:.1e}, largest gradient {:.1e} (processor {:.1e}, {:.1e}); loss after {UPDATES} updates \
         {:.4} (processor {:.4}, before {:.4})",
        shape.name, logprobs[0], largest[0], logprobs[1], largest[1], losses[0], losses[1], losses[2],
    );
}

/// Losses after a few updates of the card and of the processor, and before.
fn updates((mut card, mut model): (CardModel, Model), batch: &Batch) -> [f64; 3] {
    let count = batch.targets().len();
    let logprob_gradients = vec![-1.0 / count as f32; count];
    let loss =
        |tokens: &[TokenLogprob]| -tokens.iter().map(|token| f64::from(token.logprob)).sum::<f64>() / count as f64;
    let step = |update: u64, norm: f64, is_matrix: bool| adamw::Step {
        learning_rate: 3e-3,
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: if is_matrix { 0.1 } else { 0.0 },
        gradient_scale: (1.0 / (norm + 1e-6)).min(1.0) as f32,
        count: update,
    };
    let (mut trainer, mut gradients, mut moments) =
        (CardTrainer::new(&card, 0), card.zeros(), [card.zeros(), card.zeros()]);
    let (mut workspace, mut sums) = (TrainerWorkspace::default(), model.zeros());
    let mut host: Vec<[Vec<f32>; 2]> =
        model.parameters().iter().map(|parameter| [0, 1].map(|_| vec![0.0; parameter.values.len()])).collect();
    // As a reference is, of an adapter that has learned something, too.
    let kept = card.copy();
    let mut before = Vec::new();
    for update in 1..=UPDATES {
        gradients.clear();
        let tokens = card.forward(batch, &mut trainer);
        if update == 1 {
            before = tokens;
        }
        card.backward(batch, &logprob_gradients, &mut trainer, &mut gradients);
        let norm = gradients.norm();
        let [first, second] = &mut moments;
        card.update(&gradients, [first, second], |shape| step(update, norm, shape.shape.len() > 1));

        sums.clear();
        model.forward(batch, &mut workspace);
        model.backward(batch, &logprob_gradients, &mut workspace, &mut sums);
        let norm_there = sums.norm();
        assert!((norm / norm_there - 1.0).abs() < 0.02, "update {update}: norm {norm}, on the processor {norm_there}");
        model.update(|index, parameter| {
            let [first_moment, second_moment] = &mut host[index];
            let is_matrix = parameter.shape.len() > 1;
            let values = &mut parameter.values;
            let tensor = adamw::Tensor { values, gradient: &sums.tensors[index], first_moment, second_moment };
            adamw::update(tensor, &step(update, norm_there, is_matrix));
        });
    }
    let bits = |tokens: &[TokenLogprob]| tokens.iter().map(|token| token.logprob.to_bits()).collect::<Vec<_>>();
    let of_kept = kept.forward(batch, &mut CardTrainer::new(&kept, 0));
    assert_eq!(bits(&of_kept), bits(&before), "a copy that was made before the updates");
    let losses = [loss(&card.forward(batch, &mut trainer)), loss(model.forward(batch, &mut workspace)), loss(&before)];
    let [ours, theirs, before] = losses;
    assert!(
        (ours - theirs).abs() < 0.05 * (before - theirs),
        "losses {ours}, on the processor {theirs}, before {before}"
    );
    losses
}
