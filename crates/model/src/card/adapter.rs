//! A low-rank adapter on a card: what [`Adapter`] is on the processor, with factors rounded to bf16 at the same places.

use kernels::cuda::{
    array::{Array, Bf16},
    operations::{Operations, Output},
};

use super::{CardModel, CardTensors, Weight};
use crate::{Adapter, ModelConfig, ParameterShape, adapter_shapes, parameters::ParameterIndex};

/// A and B of every adapted projection.
#[derive(Debug)]
pub(super) struct CardAdapter {
    rank: usize,
    scale: f32,
    /// For each weight of the base the index of its A, after which comes its B.
    places: Vec<Option<usize>>,
    /// \[rank, inputs\] and \[outputs, rank\] of each adapted projection, in checkpoint order.
    pub(super) shapes: Vec<ParameterShape>,
    pub(super) weights: Vec<Weight>,
}

/// Buffers that keep their memory from call to call.
#[derive(Debug)]
pub(super) struct AdapterScratch {
    /// \[N, rank\], what comes between A and B, or its gradient.
    low: Array<f32>,
    /// scale · `low`.
    factors: Array<Bf16>,
}

impl AdapterScratch {
    pub(super) fn new(operations: &Operations) -> Self {
        Self { low: Array::new(operations.machine()), factors: Array::new(operations.machine()) }
    }
}

impl CardAdapter {
    pub(super) fn new(adapter: &Adapter, config: &ModelConfig, operations: &Operations, base: usize) -> Self {
        Self {
            rank: adapter.settings().rank,
            scale: adapter.settings().scale(),
            places: (0..base).map(|projection| adapter.place(projection)).collect(),
            shapes: adapter_shapes(config, adapter.settings()),
            weights: adapter.parameters.iter().map(|parameter| Weight::new(&parameter.values, operations)).collect(),
        }
    }

    pub(super) fn copy(&self) -> Self {
        Self {
            rank: self.rank,
            scale: self.scale,
            places: self.places.clone(),
            shapes: self.shapes.clone(),
            weights: self.weights.iter().map(Weight::copy).collect(),
        }
    }

    /// Whether every B is 0.
    pub(super) fn is_zero(&self) -> bool {
        let is_zero = |b: &Weight| b.values.values().iter().all(|value| value.abs() <= 0.0);
        self.weights.iter().skip(1).step_by(2).all(is_zero)
    }

    /// out += (scale · rows·Aᵀ)·Bᵀ, where the projection is adapted. Shapes: rows \[N, inputs\], out \[N, outputs\].
    fn add_to(
        &self,
        mut out: Output<'_>,
        (rows, projection): (&Array<Bf16>, ParameterIndex),
        operations: &Operations,
        scratch: &mut AdapterScratch,
    ) {
        let Some(place) = self.places[projection] else { return };
        let AdapterScratch { low, factors } = scratch;
        let [a, b] = [place, place + 1].map(|index| (&self.weights[index].rounded, self.sides(index)));
        operations.project(Output::Overwrite(low), rows, a.0, a.1);
        operations.round_scaled(factors, low, self.scale);
        operations.project(out.added(), factors, b.0, b.1);
    }

    /// Adds the gradients of A and B, and to `out` that of the inputs by way of them, where the projection is adapted.
    ///
    /// Shapes: rows \[N, inputs\], gradient \[N, outputs\], out \[N, inputs\].
    fn backward(
        &self,
        mut out: Output<'_>,
        (projection, rows, gradient): (ParameterIndex, &Array<Bf16>, &Array<Bf16>),
        operations: &Operations,
        (gradients, scratch): (&mut CardTensors, &mut AdapterScratch),
    ) {
        let Some(place) = self.places[projection] else { return };
        let AdapterScratch { low, factors } = scratch;
        let [a, b] = [place, place + 1].map(|index| (&self.weights[index].rounded, self.sides(index)));
        operations.project(Output::Overwrite(&mut *low), rows, a.0, a.1);
        operations.round_scaled(factors, low, self.scale);
        operations.add_weight_gradient(&mut gradients.tensors[place + 1], gradient, factors, b.1);

        operations.project_back(Output::Overwrite(&mut *low), gradient, b.0, b.1);
        operations.round_scaled(factors, low, self.scale);
        operations.add_weight_gradient(&mut gradients.tensors[place], factors, rows, a.1);
        operations.project_back(out.added(), factors, a.0, a.1);
    }

    /// Rows and columns of one of its matrices.
    fn sides(&self, index: usize) -> [usize; 2] {
        self.shapes[index].shape[..].try_into().expect("a matrix")
    }
}

impl CardModel {
    /// The outputs of a projection, with what an adapter adds. Shapes: rows \[N, inputs\], out \[N, outputs\].
    pub(super) fn project(
        &self,
        mut out: Output<'_>,
        rows: &Array<Bf16>,
        projection: ParameterIndex,
        scratch: &mut AdapterScratch,
    ) {
        self.operations.project(out.again(), rows, self.rounded(projection), self.sides(projection));
        if let Some(adapter) = &self.adapter {
            adapter.add_to(out, (rows, projection), &self.operations, scratch);
        }
    }

    /// Adds the gradients of what of a projection is trained, and puts (or adds) that of its inputs where `out` says.
    ///
    /// Shapes: rows \[N, inputs\], gradient \[N, outputs\], out \[N, inputs\].
    pub(super) fn project_back(
        &self,
        mut out: Output<'_>,
        (projection, rows, gradient): (ParameterIndex, &Array<Bf16>, &Array<Bf16>),
        (gradients, scratch): (&mut CardTensors, &mut AdapterScratch),
    ) {
        let sides = self.sides(projection);
        if let Some(sum) = self.base_gradient(gradients, projection) {
            self.operations.add_weight_gradient(sum, gradient, rows, sides);
        }
        self.operations.project_back(out.again(), gradient, self.rounded(projection), sides);
        if let Some(adapter) = &self.adapter {
            adapter.backward(out, (projection, rows, gradient), &self.operations, (gradients, scratch));
        }
    }

    /// The gradient of a weight of the base; none where an adapter is trained in its place.
    pub(super) fn base_gradient<'a>(
        &self,
        gradients: &'a mut CardTensors,
        weight: ParameterIndex,
    ) -> Option<&'a mut Array<f32>> {
        self.adapter.is_none().then(|| &mut gradients.tensors[weight])
    }
}
