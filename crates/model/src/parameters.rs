//! The trainable tensors of a model: names and shapes as in Hugging Face checkpoints, and where each one is used.

use std::borrow::Cow;

use crate::{ModelConfig, card::CardTensors};

/// A trainable tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Name in the checkpoint.
    pub name: String,
    /// \[C\] for norms and biases, \[outputs, inputs\] for projections, \[V, C\] for the embedding.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// Name and shape of a parameter that has no values yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterShape {
    /// Name in the checkpoint.
    pub name: String,
    /// As [`Parameter::shape`].
    pub shape: Vec<usize>,
}

impl ParameterShape {
    /// Number of values.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Index of a parameter in the model's list.
pub(crate) type ParameterIndex = usize;

/// Where a layer's parameters are.
#[derive(Debug, Clone)]
pub(crate) struct LayerLayout {
    pub(crate) attention_norm: ParameterIndex,
    pub(crate) query: ParameterIndex,
    pub(crate) key: ParameterIndex,
    pub(crate) value: ParameterIndex,
    /// Biases of query, key and value.
    pub(crate) biases: Option<[ParameterIndex; 3]>,
    /// Norms of query and key heads.
    pub(crate) head_norms: Option<[ParameterIndex; 2]>,
    pub(crate) output: ParameterIndex,
    pub(crate) mlp_norm: ParameterIndex,
    pub(crate) gate: ParameterIndex,
    pub(crate) up: ParameterIndex,
    pub(crate) down: ParameterIndex,
}

/// Where every parameter is.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) embedding: ParameterIndex,
    pub(crate) layers: Vec<LayerLayout>,
    pub(crate) final_norm: ParameterIndex,
    /// The embedding itself when tied.
    pub(crate) head: ParameterIndex,
    pub(crate) shapes: Vec<ParameterShape>,
}

impl Layout {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let mut shapes = Vec::new();
        let mut add = |name: String, shape: &[usize]| {
            shapes.push(ParameterShape { name, shape: shape.to_vec() });
            shapes.len() - 1
        };
        let (width, mlp) = (config.width, config.mlp_width);
        let queries = config.heads.query * config.heads.width;
        let keys = config.heads.key_value_columns();
        let embedding = add("model.embed_tokens.weight".into(), &[config.vocabulary, width]);
        let mut layer = |index: usize| {
            let mut add = |name: &str, shape: &[usize]| add(format!("model.layers.{index}.{name}"), shape);
            LayerLayout {
                attention_norm: add("input_layernorm.weight", &[width]),
                query: add("self_attn.q_proj.weight", &[queries, width]),
                key: add("self_attn.k_proj.weight", &[keys, width]),
                value: add("self_attn.v_proj.weight", &[keys, width]),
                biases: config.has_projection_biases().then(|| {
                    [
                        add("self_attn.q_proj.bias", &[queries]),
                        add("self_attn.k_proj.bias", &[keys]),
                        add("self_attn.v_proj.bias", &[keys]),
                    ]
                }),
                head_norms: config.has_head_norms().then(|| {
                    [
                        add("self_attn.q_norm.weight", &[config.heads.width]),
                        add("self_attn.k_norm.weight", &[config.heads.width]),
                    ]
                }),
                output: add("self_attn.o_proj.weight", &[width, queries]),
                mlp_norm: add("post_attention_layernorm.weight", &[width]),
                gate: add("mlp.gate_proj.weight", &[mlp, width]),
                up: add("mlp.up_proj.weight", &[mlp, width]),
                down: add("mlp.down_proj.weight", &[width, mlp]),
            }
        };
        let layers = (0..config.layers).map(&mut layer).collect();
        let final_norm = add("model.norm.weight".into(), &[width]);
        let head =
            if config.tied_embeddings { embedding } else { add("lm_head.weight".into(), &[config.vocabulary, width]) };
        Self { embedding, layers, final_norm, head, shapes }
    }
}

/// Names and shapes of every trainable tensor of a model, in checkpoint order.
pub fn parameter_shapes(config: &ModelConfig) -> Vec<ParameterShape> {
    Layout::new(config).shapes
}

/// A number for every trained value of a model: gradients, or moments. They lie where the model computes.
#[derive(Debug, Default)]
pub struct Tensors {
    /// One vector per parameter, in the model's order and with the lengths of its values; none on a card.
    pub tensors: Vec<Vec<f32>>,
    pub(crate) card: Option<CardTensors>,
}

impl Tensors {
    /// Sets every number to zero, keeping the memory.
    pub fn clear(&mut self) {
        for tensor in &mut self.tensors {
            tensor.fill(0.0);
        }
        if let Some(card) = &mut self.card {
            card.clear();
        }
    }

    /// √Σ g² over all parameters, summed in f64 in parameter order.
    pub fn norm(&self) -> f64 {
        let processor =
            || self.tensors.iter().map(|tensor| kernels::vector::sum_of_squares(tensor)).sum::<f64>().sqrt();
        self.card.as_ref().map_or_else(processor, CardTensors::norm)
    }

    /// One vector per parameter, from wherever they lie.
    pub fn values(&self) -> Cow<'_, [Vec<f32>]> {
        match &self.card {
            None => Cow::Borrowed(&self.tensors),
            Some(card) => Cow::Owned(card.values()),
        }
    }
}
