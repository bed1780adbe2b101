//! AdamW over all parameters with global-norm clipping, and the learning-rate schedule.

use model::{Model, Tensors, adamw};
use serde::{Deserialize, Serialize};

use crate::RlError;

/// Settings of AdamW (arXiv 1711.05101).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerSettings {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Decay of the mean of gradients.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices; norms and biases do not decay.
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm when above it; 0 never scales.
    pub gradient_norm_max: f64,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self { learning_rate: 1e-6, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, gradient_norm_max: 1.0 }
    }
}

impl OptimizerSettings {
    /// Checks every range.
    ///
    /// # Errors
    /// [`RlError::Setting`] naming the first setting that is out of range.
    pub fn check(&self) -> Result<(), RlError> {
        let ranges = [
            ("train.optimizer.learning_rate", self.learning_rate, 0.0, 10.0),
            ("train.optimizer.beta1", self.beta1, 0.0, 0.999_999),
            ("train.optimizer.beta2", self.beta2, 0.0, 0.999_999),
            ("train.optimizer.epsilon", self.epsilon, 1e-20, 1.0),
            ("train.optimizer.weight_decay", self.weight_decay, 0.0, 100.0),
            ("train.optimizer.gradient_norm_max", self.gradient_norm_max, 0.0, 1e9),
        ];
        match ranges.into_iter().find(|(_, value, min, max)| !(min..=max).contains(&value)) {
            Some((field, value, min, max)) => {
                Err(RlError::Setting { field, message: format!("is {value}; it must be between {min} and {max}") })
            }
            None => Ok(()),
        }
    }
}

/// How the learning rate moves over a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Steps over which the learning rate rises linearly to its peak.
    pub warmup_steps: u64,
    /// What it does after the warm-up.
    pub decay: Decay,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { warmup_steps: 0, decay: Decay::Constant }
    }
}

/// What the learning rate does after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Stays at the peak.
    Constant,
    /// Falls linearly to 0 at the end of the run.
    Linear,
    /// Falls to 0 at the end of the run on half a cosine.
    Cosine,
}

/// Share of the peak learning rate at `step` of `steps`.
///
/// The first warm-up step gets 1/(warmup + 1), so that no step is wasted at 0; the last step of a decay stays above 0
/// for the same reason.
pub fn learning_rate_share(schedule: &Schedule, step: u64, steps: u64) -> f64 {
    if step < schedule.warmup_steps {
        return (step + 1) as f64 / (schedule.warmup_steps + 1) as f64;
    }
    let decaying = steps.saturating_sub(schedule.warmup_steps).max(1) as f64;
    let progress = ((step - schedule.warmup_steps) as f64 / decaying).min(1.0);
    match schedule.decay {
        Decay::Constant => 1.0,
        Decay::Linear => 1.0 - progress,
        Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
    }
}

/// Moments of every parameter.
#[derive(Debug, Default)]
pub struct Optimizer {
    /// Running means of gradients.
    pub first_moments: Tensors,
    /// Running means of squared gradients.
    pub second_moments: Tensors,
    /// Updates made.
    pub updates: u64,
}

impl Optimizer {
    /// Zero moments for `model`.
    pub fn new(model: &Model) -> Self {
        Self { first_moments: model.zeros(), second_moments: model.zeros(), updates: 0 }
    }

    /// One update of every parameter; returns the global gradient norm before clipping.
    ///
    /// The gradient is scaled by min(1, max/(norm + 1e-6)), as PyTorch's `clip_grad_norm_` does.
    pub fn update(
        &mut self,
        model: &mut Model,
        gradients: &Tensors,
        settings: &OptimizerSettings,
        learning_rate: f64,
    ) -> f64 {
        let norm = gradients.norm();
        let scale =
            if settings.gradient_norm_max > 0.0 { (settings.gradient_norm_max / (norm + 1e-6)).min(1.0) } else { 1.0 };
        self.updates += 1;
        let count = self.updates;
        model.adamw(gradients, [&mut self.first_moments, &mut self.second_moments], |shape| adamw::Step {
            learning_rate: learning_rate as f32,
            beta1: settings.beta1 as f32,
            beta2: settings.beta2 as f32,
            epsilon: settings.epsilon as f32,
            weight_decay: if shape.len() > 1 { settings.weight_decay as f32 } else { 0.0 },
            gradient_scale: scale as f32,
            count,
        });
        norm
    }
}
