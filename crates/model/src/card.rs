//! A model on a card of NVIDIA: the same network as on the processor, over the operations of [`kernels::cuda`], its weights,
//! gradients and moments in the card's memory.
//!
//! Products read bf16 and add up in f32; the masters, their gradients and moments, the residual stream and what norms read
//! are f32. The order of every sum depends on shapes and a row's place in its sequence alone, so sampling and training agree
//! bit by bit here as on the processor, as long as the products keep their promise ([`kernels::cuda::machine::Machine`]).
//!
//! # Panics
//! Where the card refuses something, the payload of the panic is an [`kernels::cuda::Unusable`].

mod adapter;
mod cache;
mod layer;
mod memory;
mod training;

use std::{borrow::Cow, sync::Arc};

use kernels::{
    adamw,
    cuda::{
        Unusable,
        array::{Array, Bf16},
        launch,
        machine::Machine,
        operations::{AdamwTensor, Norm, Operations, Rotation},
    },
};

use crate::{
    Adapter, AdapterSettings, Model, ModelConfig, ParameterShape,
    network::Trained,
    parameters::{Layout, ParameterIndex},
};
use adapter::CardAdapter;

pub use cache::{CardCache, CardChunk, CardPages, CardSampler};
pub use training::CardTrainer;

/// A decoder-only transformer with its weights on a card.
#[derive(Debug)]
pub struct CardModel {
    config: ModelConfig,
    layout: Layout,
    operations: Operations,
    /// Shared by models that differ in their adapters alone.
    base: Arc<Base>,
    /// What is trained in place of the base.
    adapter: Option<CardAdapter>,
}

/// The weights of a checkpoint, and what is derived from the configuration.
#[derive(Debug)]
struct Base {
    /// In checkpoint order; where they are not trained, the matrices have bf16 alone but for the embedding, whose rows are
    /// looked up.
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

impl Weight {
    fn new(values: &[f32], operations: &Operations) -> Self {
        let values = Array::from_slice(operations.machine(), values);
        let mut rounded = Array::new(operations.machine());
        operations.round(&mut rounded, &values);
        Self { values, rounded }
    }

    fn copy(&self) -> Self {
        Self { values: self.values.copy(), rounded: self.rounded.copy() }
    }
}

impl Base {
    fn new(model: &Model, operations: &Operations) -> Self {
        let is_trained = matches!(model.trained, Trained::Base);
        let weight = |(index, parameter): (usize, &crate::Parameter)| {
            let is_kept = is_trained || parameter.shape.len() == 1 || index == model.layout.embedding;
            let values = match &parameter.values[..] {
                [] => Cow::Owned(model.packed(index).transposed_factors()),
                values => Cow::Borrowed(values),
            };
            let Weight { values, rounded } = Weight::new(&values, operations);
            Weight { values: if is_kept { values } else { Array::new(operations.machine()) }, rounded }
        };
        Self {
            weights: model.base.parameters.iter().enumerate().map(weight).collect(),
            tables: model.base.rope.values().map(|table| Array::from_slice(operations.machine(), table)),
        }
    }

    fn copy(&self) -> Self {
        Self {
            weights: self.weights.iter().map(Weight::copy).collect(),
            tables: self.tables.each_ref().map(Array::copy),
        }
    }
}

/// A tensor for every trained one of a model, in its order and with its lengths: gradients, or moments.
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

/// Why a model of this configuration, with such an adapter, can't be computed on a card.
pub fn fault_of(config: &ModelConfig, adapter: Option<&AdapterSettings>) -> Option<String> {
    let sizes = [("hidden_size", config.width), ("intermediate_size", config.mlp_width)];
    let rank = adapter.map(|adapter| ("the adapter's rank", adapter.rank));
    if let Some((field, value)) = sizes.into_iter().chain(rank).find(|(_, value)| !value.is_multiple_of(8)) {
        return Some(format!("{field} is {value}; a card takes multiples of 8"));
    }
    let max = launch::VOCABULARY_MAX;
    if config.vocabulary > max {
        return Some(format!("vocab_size is {}; a card takes up to {max}", config.vocabulary));
    }
    Operations::fault_of(&config.heads)
}

/// Why a model of this configuration can't be trained on this card, where [`fault_of`] has nothing to say.
///
/// # Errors
/// When the card does not tell what it has.
pub fn training_fault_of(config: &ModelConfig, machine: &dyn Machine) -> Result<Option<String>, Unusable> {
    Ok(Operations::training_fault_of(&config.heads, machine.block_bytes_max()?))
}

impl CardModel {
    /// Puts the weights of `model`, and of its adapter, on a card.
    ///
    /// # Panics
    /// When [`fault_of`] says why not.
    pub fn new(model: &Model, machine: Arc<dyn Machine>) -> Self {
        let adapter = model.adapter();
        if let Some(fault) = fault_of(&model.config, adapter.map(Adapter::settings)) {
            panic!("{fault}");
        }
        let operations = Operations::new(machine, model.config.heads);
        let base = Arc::new(Base::new(model, &operations));
        let (config, layout) = (model.config.clone(), model.layout.clone());
        Self { config, layout, operations, base, adapter: None }.with_adapter(adapter)
    }

    /// The same base with `adapter` over it, or with none.
    #[must_use]
    pub fn with_adapter(&self, adapter: Option<&Adapter>) -> Self {
        let weights = self.base.weights.len();
        let put = |adapter| CardAdapter::new(adapter, &self.config, &self.operations, weights);
        self.with(Arc::clone(&self.base), adapter.map(put))
    }

    /// A copy on the same card; the base of an adapter is shared.
    #[must_use]
    pub fn copy(&self) -> Self {
        match &self.adapter {
            None => self.with(Arc::new(self.base.copy()), None),
            Some(adapter) => self.with(Arc::clone(&self.base), Some(adapter.copy())),
        }
    }

    /// The same without weights, which computes nothing and is where another model is to be.
    #[must_use]
    pub fn released(&self) -> Self {
        let tables = [Array::new(self.machine()), Array::new(self.machine())];
        self.with(Arc::new(Base { weights: Vec::new(), tables }), None)
    }

    fn with(&self, base: Arc<Base>, adapter: Option<CardAdapter>) -> Self {
        let (config, layout, operations) = (self.config.clone(), self.layout.clone(), self.operations.clone());
        Self { config, layout, operations, base, adapter }
    }

    /// Whether it has an adapter that adds nothing.
    pub fn has_zero_adapter(&self) -> bool {
        self.adapter.as_ref().is_some_and(CardAdapter::is_zero)
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Name and shape of every tensor that is trained, in checkpoint order.
    pub fn shapes(&self) -> &[ParameterShape] {
        self.adapter.as_ref().map_or(&self.layout.shapes, |adapter| &adapter.shapes)
    }

    /// The values of one of them.
    pub fn values(&self, index: usize) -> Vec<f32> {
        let weights = self.adapter.as_ref().map_or(&self.base.weights, |adapter| &adapter.weights);
        weights[index].values.values()
    }

    /// Zeros for every tensor that is trained.
    pub fn zeros(&self) -> CardTensors {
        let zeros = |shape: &ParameterShape| Array::zeros(self.operations.machine(), shape.count());
        CardTensors { operations: self.operations.clone(), tensors: self.shapes().iter().map(zeros).collect() }
    }

    /// Where it is.
    pub fn machine(&self) -> &Arc<dyn Machine> {
        self.operations.machine()
    }

    /// One AdamW update of every tensor that is trained; `step` gives the settings for one of this shape.
    pub fn update(
        &mut self,
        gradients: &CardTensors,
        [first, second]: [&mut CardTensors; 2],
        step: impl Fn(&ParameterShape) -> adamw::Step,
    ) {
        let (weights, shapes) = if let Some(CardAdapter { weights, shapes, .. }) = &mut self.adapter {
            (weights, &*shapes)
        } else {
            let base = Arc::get_mut(&mut self.base).expect("a base that is trained is nobody else's");
            (&mut base.weights, &self.layout.shapes)
        };
        let moments = first.tensors.iter_mut().zip(&mut second.tensors);
        let weights = weights.iter_mut().zip(shapes);
        for (((weight, shape), gradient), (first_moment, second_moment)) in weights.zip(&gradients.tensors).zip(moments)
        {
            let Weight { values, rounded } = weight;
            let tensor = AdamwTensor { values, rounded, gradient, first_moment, second_moment };
            self.operations.adamw(tensor, &step(shape));
        }
    }

    fn values_of(&self, index: ParameterIndex) -> &Array<f32> {
        &self.base.weights[index].values
    }

    fn rounded(&self, index: ParameterIndex) -> &Array<Bf16> {
        &self.base.weights[index].rounded
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
        let positions = self.config.rotary_layers[layer].then_some((&self.base.tables, positions));
        let rotation = |heads, norm: Option<ParameterIndex>| Rotation {
            heads,
            norm: norm.map(|index| self.norm_of(index)),
            positions,
        };
        let heads = self.config.heads;
        [rotation(heads.query, norms.map(|[query, _]| query)), rotation(heads.key_value, norms.map(|[_, key]| key))]
    }
}

#[cfg(test)]
mod tests {
    use kernels::attention::Heads;

    use super::*;
    use crate::{AdapterScaling, Family, Projection, RopeScaling};

    #[test]
    fn what_no_card_computes_is_refused_with_its_size() {
        let config = |width, mlp_width, head_width| ModelConfig {
            family: Family::Qwen3,
            vocabulary: 99,
            width,
            layers: 1,
            heads: Heads { query: 2, key_value: 1, width: head_width },
            mlp_width,
            norm_epsilon: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::Unscaled,
            rotary_layers: vec![true],
            positions_max: 64,
            tied_embeddings: true,
        };
        let adapter = |rank| AdapterSettings {
            rank,
            alpha: 8.0,
            scaling: AdapterScaling::Rank,
            targets: vec![Projection::Query],
        };
        let fits = config(32, 64, 16);
        assert_eq!(fault_of(&fits, None), None);
        assert_eq!(fault_of(&fits, Some(&adapter(8))), None);
        for (config, adapter, expected) in [
            (config(36, 64, 16), None, "hidden_size is 36; a card takes multiples of 8"),
            (config(32, 60, 16), None, "intermediate_size is 60; a card takes multiples of 8"),
            (
                ModelConfig { vocabulary: 300_000, ..fits.clone() },
                None,
                "vocab_size is 300000; a card takes up to 262144",
            ),
            (config(32, 64, 12), None, "heads of 12; a card takes multiples of 8 up to 128"),
            (fits, Some(adapter(4)), "the adapter's rank is 4; a card takes multiples of 8"),
        ] {
            assert_eq!(fault_of(&config, adapter.as_ref()).as_deref(), Some(expected));
        }
    }
}
