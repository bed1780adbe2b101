//! Scored, shaped groups in, changed parameters out: forward, loss, backward, optimizer.

use model::{Batch, Model, Tensors, TrainerWorkspace};
use record::RolloutPlace;

use crate::{
    batch::{GroupPart, micro_batches},
    config::TrainSettings,
    fault::{self, Fault},
    loss::{CompletionLogprobs, Denominator, LossSum, completion_loss},
    optimizer::{Optimizer, learning_rate_share},
};

/// What an update changes and what it works in.
pub struct Updater {
    /// Moments of every parameter.
    pub optimizer: Optimizer,
    /// The frozen policy of the KL term; none at weight 0.
    pub reference: Option<Model>,
    workspace: TrainerWorkspace,
    reference_workspace: TrainerWorkspace,
    gradients: Tensors,
}

/// What one step's update came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateSummary {
    /// Sums over the completions trained on, of the last pass.
    pub sum: LossSum,
    /// Global gradient norm before clipping, of the last pass.
    pub gradient_norm: f64,
    /// Learning rate.
    pub learning_rate: f64,
}

/// A step's completions as the update needs them.
pub struct StepBatch<'a> {
    /// The step.
    pub step: u64,
    /// Completions that carry a gradient, by group.
    pub groups: Vec<GroupPart<'a>>,
    /// Places of these completions in the step, in their order.
    pub places: Vec<RolloutPlace>,
    /// What the loss is divided by.
    pub denominator: Denominator,
    /// Temperature that the completions were sampled with.
    pub temperature: f32,
}

impl Updater {
    /// An updater for `model`; the first `recomputed_layers` layers are computed again in its backward.
    pub fn new(model: &Model, optimizer: Optimizer, reference: Option<Model>, recomputed_layers: usize) -> Self {
        Self {
            optimizer,
            reference,
            workspace: TrainerWorkspace::new(recomputed_layers),
            // Nothing is kept for a backward that never comes.
            reference_workspace: TrainerWorkspace::new(model.config().layers),
            gradients: model.zeros(),
        }
    }

    /// One optimizer update per pass over the step's completions.
    ///
    /// # Errors
    /// [`Fault`] before any parameter is changed by a loss or gradient that is not finite, or larger than allowed.
    pub fn update(
        &mut self,
        model: &mut Model,
        batch: &StepBatch<'_>,
        settings: &TrainSettings,
    ) -> Result<UpdateSummary, Fault> {
        let share = learning_rate_share(&settings.schedule, batch.step, settings.steps);
        let learning_rate = settings.optimizer.learning_rate * share;
        let batches = micro_batches(batch.groups.clone(), settings.micro_batch_tokens);
        let mut summary = UpdateSummary { sum: LossSum::default(), gradient_norm: 0.0, learning_rate };
        for pass in 0..settings.passes {
            self.gradients.clear();
            let mut sum = LossSum::default();
            let policy = if pass == 0 { PolicyIs::Behavior } else { PolicyIs::Ahead };
            for groups in &batches {
                sum.add(&self.accumulate(model, groups, batch, (settings, policy)));
            }
            if let Some((quantity, value)) = fault::of_update(sum.loss, self.gradients.norm(), &settings.faults) {
                let rollouts = self.culprits(model, batch, (settings, policy));
                return Err(Fault { pass: Some(pass), quantity, value, rollouts });
            }
            let norm = self.optimizer.update(model, &self.gradients, &settings.optimizer, learning_rate);
            summary = UpdateSummary { sum, gradient_norm: norm, learning_rate };
        }
        Ok(summary)
    }

    /// The completions that a fault of the present pass comes from, each looked at alone.
    fn culprits(
        &mut self,
        model: &Model,
        batch: &StepBatch<'_>,
        (settings, policy): (&TrainSettings, PolicyIs),
    ) -> Vec<RolloutPlace> {
        let mut alone = Vec::with_capacity(batch.places.len());
        for groups in micro_batches(batch.groups.clone(), 0) {
            self.gradients.clear();
            let sum = self.accumulate(model, &groups, batch, (settings, policy));
            alone.push((sum.loss, self.gradients.norm()));
        }
        fault::culprits(&batch.places, &alone)
    }

    /// Forward, loss and backward of one micro-batch; gradients add up.
    fn accumulate(
        &mut self,
        model: &Model,
        groups: &[GroupPart<'_>],
        step: &StepBatch<'_>,
        (settings, policy_is): (&TrainSettings, PolicyIs),
    ) -> LossSum {
        let mut batch = Batch::new(step.temperature);
        for group in groups {
            let completions: Vec<&[u32]> = group.completions.iter().map(|completion| completion.tokens).collect();
            batch.push_group(group.prompt, &completions);
        }
        let policy: Vec<f32> = model.forward(&batch, &mut self.workspace).iter().map(|token| token.logprob).collect();
        let reference: Option<Vec<f32>> = self.reference.as_ref().map(|reference| {
            reference.forward(&batch, &mut self.reference_workspace).iter().map(|token| token.logprob).collect()
        });
        let mut sum = LossSum::default();
        let mut logprob_gradients = Vec::with_capacity(policy.len());
        for completion in groups.iter().flat_map(|group| &group.completions) {
            let at = logprob_gradients.len()..logprob_gradients.len() + completion.tokens.len();
            let logprobs = CompletionLogprobs {
                policy: &policy[at.clone()],
                behavior: completion.behavior,
                reference: reference.as_ref().map(|reference| &reference[at.clone()]),
                advantage: completion.advantage,
                token_weight: step.denominator.token_weight(settings.loss.aggregation, completion.tokens.len()),
            };
            if policy_is == PolicyIs::Behavior {
                assert_eq!(logprobs.policy, logprobs.behavior, "sampler and trainer disagree on the same parameters");
            }
            let (completion_sum, gradient) = completion_loss(&logprobs, &settings.loss);
            sum.add(&completion_sum);
            logprob_gradients.extend(gradient);
        }
        model.backward(&batch, &logprob_gradients, &mut self.workspace, &mut self.gradients);
        sum
    }
}

/// How the parameters stand to those that the completions were sampled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PolicyIs {
    /// The same: every importance ratio is exactly 1 (docs/numerics.md).
    Behavior,
    /// Updated since.
    Ahead,
}
