//! AdamW with decoupled weight decay (arXiv 1711.05101, algorithm 2, in PyTorch's arrangement).

use crate::{
    dispatch::{Arithmetic, dispatched},
    threads::{self, Parts},
};

/// Settings of one update of one tensor.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Learning rate of this update.
    pub learning_rate: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the corrected second moment.
    pub epsilon: f32,
    /// Decoupled weight decay; the parameter shrinks by learning_rate · weight_decay of itself.
    pub weight_decay: f32,
    /// Factor on the gradient (global-norm clipping).
    pub gradient_scale: f32,
    /// Updates including this one, from 1.
    pub count: u64,
}

impl Step {
    /// 1 − β1ⁿ and √(1 − β2ⁿ), computed in f64.
    pub(crate) fn corrections(&self) -> [f32; 2] {
        let rest = |beta: f32| 1.0 - f64::from(beta).powf(self.count as f64);
        [rest(self.beta1) as f32, rest(self.beta2).sqrt() as f32]
    }
}

/// A tensor with its moments, all \[N\].
pub struct Tensor<'a> {
    /// Updated in place.
    pub values: &'a mut [f32],
    /// Read only.
    pub gradient: &'a [f32],
    /// Running mean of gradients.
    pub first_moment: &'a mut [f32],
    /// Running mean of squared gradients.
    pub second_moment: &'a mut [f32],
}

#[inline(always)]
fn update_body<A: Arithmetic>(tensor: &mut Tensor<'_>, step: &Step) {
    let [correction1, correction2] = step.corrections();
    let step_size = step.learning_rate / correction1;
    let keep = 1.0 - step.learning_rate * step.weight_decay;
    let moments = tensor.first_moment.iter_mut().zip(tensor.second_moment.iter_mut());
    for ((value, &gradient), (m, v)) in tensor.values.iter_mut().zip(tensor.gradient).zip(moments) {
        let g = gradient * step.gradient_scale;
        *m = A::mul_add(step.beta1, *m, (1.0 - step.beta1) * g);
        *v = A::mul_add(step.beta2, *v, (1.0 - step.beta2) * g * g);
        *value = A::mul_add(*value, keep, -(step_size * *m / (v.sqrt() / correction2 + step.epsilon)));
    }
}

dispatched! {
    fn update_block(tensor: &mut Tensor<'_>, step: &Step) = update_body;
}

/// One AdamW update in place, in parallel blocks; elements are independent, so threads change nothing.
pub fn update(tensor: Tensor<'_>, step: &Step) {
    const BLOCK: usize = 1 << 14;
    let Tensor { values, gradient, first_moment, second_moment } = tensor;
    let length = values.len();
    assert_eq!((gradient.len(), first_moment.len(), second_moment.len()), (length, length, length), "tensor lengths");
    let (first_moment, second_moment) = (Parts::new(first_moment), Parts::new(second_moment));
    threads::for_each_chunk(values, BLOCK, |index, values| {
        let at = index * BLOCK..index * BLOCK + values.len();
        let gradient = &gradient[at.clone()];
        // SAFETY: chunks of different indices do not overlap.
        let first_moment = unsafe { first_moment.part(at.clone()) };
        // SAFETY: as above.
        let second_moment = unsafe { second_moment.part(at) };
        update_block(&mut Tensor { values, gradient, first_moment, second_moment }, step);
    });
}
