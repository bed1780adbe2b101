//! Small models of every family with weights from a seed, and batches of them.

use std::convert::Infallible;

use kernels::attention::Heads;
use model::{
    Adapter, AdapterScaling, AdapterSettings, Compute, Family, Model, ModelConfig, ParameterShape, Projection,
    RopeScaling,
};

use crate::draws::Draws;

/// Widths of the heads of [`SHAPES`].
pub(crate) const HEAD_WIDTHS: [usize; 3] = [16, 40, 64];

/// What distinguishes the models.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    family: Family,
    heads: Heads,
    width: usize,
    mlp_width: usize,
    vocabulary: usize,
    rotary_layers: &'static [bool],
    tied_embeddings: bool,
    /// The projections that an adapter is over; every weight is trained where there are none.
    adapted: &'static [Projection],
}

/// One of each family; vocabularies that end before and beyond a block, and at no multiple of 8.
pub(crate) const SHAPES: [Shape; 4] = [
    Shape {
        name: "Qwen3",
        family: Family::Qwen3,
        heads: Heads { query: 4, key_value: 2, width: 16 },
        width: 40,
        mlp_width: 72,
        vocabulary: 531,
        rotary_layers: &[true, true],
        tied_embeddings: true,
        adapted: &[],
    },
    Shape {
        name: "Qwen2",
        family: Family::Qwen2,
        heads: Heads { query: 6, key_value: 1, width: 16 },
        width: 64,
        mlp_width: 80,
        vocabulary: 96,
        rotary_layers: &[true, true, true],
        tied_embeddings: false,
        adapted: &[],
    },
    Shape {
        name: "Llama",
        family: Family::Llama,
        heads: Heads { query: 3, key_value: 3, width: 64 },
        width: 128,
        mlp_width: 136,
        vocabulary: 77,
        rotary_layers: &[true, true],
        tied_embeddings: true,
        adapted: &[],
    },
    Shape {
        name: "SmolLM3",
        family: Family::SmolLm3,
        heads: Heads { query: 2, key_value: 1, width: 40 },
        width: 88,
        mlp_width: 96,
        vocabulary: 64,
        rotary_layers: &[true, false],
        tied_embeddings: true,
        adapted: &[],
    },
];

/// Of two of them, with an adapter over all projections, and over some in each half of a layer.
pub(crate) const ADAPTED: [Shape; 2] = [
    Shape { name: "Qwen3 with an adapter", adapted: &Projection::ALL, ..SHAPES[0] },
    Shape {
        name: "Qwen2 with an adapter",
        adapted: &[Projection::Query, Projection::Value, Projection::Down],
        ..SHAPES[1]
    },
];

impl Shape {
    fn config(&self) -> ModelConfig {
        ModelConfig {
            family: self.family,
            vocabulary: self.vocabulary,
            width: self.width,
            layers: self.rotary_layers.len(),
            heads: self.heads,
            mlp_width: self.mlp_width,
            norm_epsilon: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::Unscaled,
            rotary_layers: self.rotary_layers.to_vec(),
            positions_max: 512,
            tied_embeddings: self.tied_embeddings,
        }
    }

    /// The model with weights from `seed`: the same for either way of computing.
    pub(crate) fn model(&self, compute: Compute, seed: u64) -> Model {
        let mut draws = Draws::new(seed);
        let weights = |shape: &ParameterShape| {
            let count = shape.count();
            let is_norm = shape.name.contains("norm");
            // Weights of norms around 1; of matrices as large as keeps a row's size.
            let scale = shape.shape.get(1).map_or(0.2, |&inputs| 1.0 / (inputs as f64).sqrt());
            let center = if is_norm { 1.0 } else { 0.0 };
            let values = draws.normal(count, scale).into_iter().map(|value| value + center).collect();
            Ok::<_, Infallible>(values)
        };
        if self.adapted.is_empty() {
            let Ok(model) = Model::new(self.config(), compute, weights);
            return model;
        }
        let Ok(model) = Model::frozen(self.config(), compute, weights);
        model.with_adapter(self.adapter(compute, &mut draws))
    }

    /// An adapter that adds something.
    fn adapter(&self, compute: Compute, draws: &mut Draws) -> Adapter {
        let settings =
            AdapterSettings { rank: 8, alpha: 6.0, scaling: AdapterScaling::Rank, targets: self.adapted.to_vec() };
        let config = self.config();
        let Ok(adapter) = Adapter::new(settings, String::new(), (&config, compute), |shape| {
            let scale = 1.0 / (shape.shape[1] as f64).sqrt();
            Ok::<_, Infallible>(draws.normal(shape.count(), scale))
        });
        adapter
    }

    /// So many tokens.
    pub(crate) fn tokens(&self, count: usize, draws: &mut Draws) -> Vec<u32> {
        (0..count).map(|_| draws.below(self.vocabulary) as u32).collect()
    }
}
