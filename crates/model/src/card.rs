//! A model on a card of NVIDIA: the same network as on the processor, over the operations of [`kernels::cuda`], its weights,
//! gradients and moments in the card's memory.
//!
//! Products read bf16 and add up in f32; the masters, their gradients and moments, the residual stream and what norms read
//! are f32. The order of every sum depends on shapes and a row's place in its sequence alone, so sampling and training agree
//! bit by bit here as on the processor, as long as the products keep their promise ([`kernels::cuda::machine::Machine`]).
//!
//! # Panics
//! Where the card refuses something, the payload of the panic is an [`kernels::cuda::Unusable`].

mod cache;
mod layer;
mod memory;
mod training;

use std::sync::Arc;

use kernels::{
    adamw,
    cuda::{
        array::{Array, Bf16},
        machine::Machine,
        operations::{AdamwTensor, Norm, Operations, Rotation},
    },
};

use crate::{
    Model, ModelConfig, ParameterShape,
    parameters::{Layout, ParameterIndex},
};

pub use cache::{CardCache, CardChunk, CardPages, CardSampler};
pub use training::CardTrainer;

/// A decoder-only transformer with its weights on a card.
#[derive(Debug)]
pub struct CardModel {
    config: ModelConfig,
    layout: Layout,
    operations: Operations,
    /// In checkpoint order.
    weights: Vec<Weight>,
    /// Cosines and sines, \[positions, D/2\] each.
    tables: [Array<f32>; 2],
}

/// A tensor of a checkpoint.
#[derive(Debug)]
struct Weight {
    values: Array<f32>,
    /// In bf16, which products read.
    rounded: Array<Bf16>,
}

/// A tensor for every weight of a model, in its order and with its lengths: gradients, or moments.
#[derive(Debug)]
pub struct CardTensors {
    operations: Operations,
    tensors: Vec<Array<f32>>,
}

impl CardTensors {
    /// Sets all to zero.
    pub fn clear(&mut self) {
        self.tensors.iter_mut().for_each(Array::clear);
    }

    /// √Σ x² over all of them, in f64.
    pub fn norm(&self) -> f64 {
        self.operations.global_norm(&self.tensors)
    }

    /// The values of every tensor.
    pub fn values(&self) -> Vec<Vec<f32>> {
        self.tensors.iter().map(Array::values).collect()
    }

    /// Replaces the values of every tensor, which must be as many as there are.
    pub fn set(&mut self, values: &[Vec<f32>]) {
        assert_eq!(values.len(), self.tensors.len(), "tensors of the model");
        for (tensor, values) in self.tensors.iter_mut().zip(values) {
            assert_eq!(values.len(), tensor.len(), "values of a tensor");
            tensor.set(values);
        }
    }
}

/// Why a model of this configuration can't be computed on a card.
pub fn fault_of(config: &ModelConfig) -> Option<String> {
    let uneven = [("hidden_size", config.width), ("intermediate_size", config.mlp_width)];
    if let Some((field, value)) = uneven.into_iter().find(|(_, value)| !value.is_multiple_of(8)) {
        return Some(format!("{field} is {value}; a card takes multiples of 8"));
    }
    Operations::fault_of(&config.heads)
}

impl CardModel {
    /// Puts the weights of `model` on a card. An adapter of it stays behind.
    ///
    /// # Panics
    /// When [`fault_of`] its configuration says why, or the model has no values that are trained.
    pub fn new(model: &Model, machine: Arc<dyn Machine>) -> Self {
        if let Some(fault) = fault_of(&model.config) {
            panic!("{fault}");
        }
        let operations = Operations::new(machine, model.config.heads);
        let machine = operations.machine();
        let weight = |parameter: &crate::Parameter| {
            let values = Array::from_slice(machine, &parameter.values);
            let mut rounded = Array::new(machine);
            operations.round(&mut rounded, &values);
            Weight { values, rounded }
        };
        let weights = model.base.parameters.iter().map(weight).collect();
        let tables = model.base.rope.values().map(|table| Array::from_slice(machine, table));
        Self { config: model.config.clone(), layout: model.layout.clone(), weights, tables, operations }
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Name and shape of every tensor, in checkpoint order.
    pub fn shapes(&self) -> &[ParameterShape] {
        &self.layout.shapes
    }

    /// The values of one of them.
    pub fn values(&self, index: usize) -> Vec<f32> {
        self.weights[index].values.values()
    }

    /// Zeros for every tensor.
    pub fn zeros(&self) -> CardTensors {
        let zeros = |shape: &ParameterShape| Array::zeros(self.operations.machine(), shape.count());
        CardTensors { operations: self.operations.clone(), tensors: self.layout.shapes.iter().map(zeros).collect() }
    }

    /// A copy on the same card.
    #[must_use]
    pub fn copy(&self) -> Self {
        let weight = |weight: &Weight| Weight { values: weight.values.copy(), rounded: weight.rounded.copy() };
        Self {
            config: self.config.clone(),
            layout: self.layout.clone(),
            operations: self.operations.clone(),
            weights: self.weights.iter().map(weight).collect(),
            tables: self.tables.each_ref().map(Array::copy),
        }
    }

    /// Where it is.
    pub fn machine(&self) -> &Arc<dyn Machine> {
        self.operations.machine()
    }

    /// One AdamW update of every tensor; `step` gives the settings for one of this shape.
    pub fn update(
        &mut self,
        gradients: &CardTensors,
        [first, second]: [&mut CardTensors; 2],
        step: impl Fn(&ParameterShape) -> adamw::Step,
    ) {
        let moments = first.tensors.iter_mut().zip(&mut second.tensors);
        let weights = self.weights.iter_mut().zip(&self.layout.shapes);
        for (((weight, shape), gradient), (first_moment, second_moment)) in weights.zip(&gradients.tensors).zip(moments)
        {
            let Weight { values, rounded } = weight;
            let tensor = AdamwTensor { values, rounded, gradient, first_moment, second_moment };
            self.operations.adamw(tensor, &step(shape));
        }
    }

    fn values_of(&self, index: ParameterIndex) -> &Array<f32> {
        &self.weights[index].values
    }

    fn rounded(&self, index: ParameterIndex) -> &Array<Bf16> {
        &self.weights[index].rounded
    }

    /// Outputs and inputs of a projection.
    fn sides(&self, index: ParameterIndex) -> [usize; 2] {
        self.layout.shapes[index].shape[..].try_into().expect("a matrix")
    }

    /// The norm with the weight at `index`.
    fn norm_of(&self, index: ParameterIndex) -> Norm<'_> {
        Norm { weight: self.values_of(index), epsilon: self.config.norm_epsilon }
    }

    /// Norm and positions of queries and of keys in a layer.
    fn rotations<'a>(&'a self, layer: usize, positions: &'a Array<u32>) -> [Rotation<'a>; 2] {
        let norms = self.layout.layers[layer].head_norms;
        let positions = self.config.rotary_layers[layer].then_some((&self.tables, positions));
        let rotation = |heads, norm: Option<ParameterIndex>| Rotation {
            heads,
            norm: norm.map(|index| self.norm_of(index)),
            positions,
        };
        let heads = self.config.heads;
        [rotation(heads.query, norms.map(|[query, _]| query)), rotation(heads.key_value, norms.map(|[_, key]| key))]
    }
}
