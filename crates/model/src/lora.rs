//! Low-rank adapters (LoRA, arXiv 2106.09685): a projection W becomes W + scale · B·A with W frozen, A \[rank, inputs\] and
//! B \[outputs, rank\] trained.
//!
//! The paper's r, α and ΔW = BA are `rank`, `alpha` and B·A here, and `scale` is its α/r. The adapter is two products of
//! its own in sampling and training alike, (scale · x·Aᵀ)·Bᵀ added to what the base gives, so that the base is packed once
//! for a whole run.

use kernels::{
    Buffer, Compute,
    matmul::{self, Left, Matrix, Output, PackedMatrix},
    vector,
};
use serde::{Deserialize, Serialize};

use crate::{
    ModelConfig,
    parameters::{Layout, Parameter, ParameterIndex, ParameterShape, Tensors},
};

/// The largest rank.
pub const RANK_MAX: usize = 4096;

/// Largest magnitude of alpha.
pub const ALPHA_MAX: f64 = 1e6;

/// A projection of a layer, by the name that PEFT and transformers have for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Projection {
    /// Attention queries.
    #[serde(rename = "q_proj")]
    Query,
    /// Attention keys.
    #[serde(rename = "k_proj")]
    Key,
    /// Attention values.
    #[serde(rename = "v_proj")]
    Value,
    /// Attention output.
    #[serde(rename = "o_proj")]
    Output,
    /// Gate of the MLP.
    #[serde(rename = "gate_proj")]
    Gate,
    /// Up projection of the MLP.
    #[serde(rename = "up_proj")]
    Up,
    /// Down projection of the MLP.
    #[serde(rename = "down_proj")]
    Down,
}

impl Projection {
    /// All of them, in the order of a checkpoint.
    pub const ALL: [Self; 7] = [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// Its name in checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }
}

/// Which projections are adapted, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterSettings {
    /// Rows of A and columns of B.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// What alpha is divided by.
    pub scaling: AdapterScaling,
    /// The adapted projections, ascending, each once.
    pub targets: Vec<Projection>,
}

/// What alpha is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdapterScaling {
    /// The rank (arXiv 2106.09685, section 4.1).
    Rank,
    /// Its square root (rsLoRA, arXiv 2312.03732).
    RootOfRank,
}

impl AdapterSettings {
    /// What B·A is multiplied by.
    pub fn scale(&self) -> f32 {
        let rank = self.rank as f64;
        let divisor = match self.scaling {
            AdapterScaling::Rank => rank,
            AdapterScaling::RootOfRank => rank.sqrt(),
        };
        (self.alpha / divisor) as f32
    }

    /// A and B of each adapted projection in checkpoint order, with the index of the base's matrix.
    fn pairs(&self, layout: &Layout) -> Vec<(ParameterIndex, [ParameterShape; 2])> {
        let adapted = |(_, shape): &(usize, &ParameterShape)| {
            shape.shape.len() == 2
                && self.targets.iter().any(|target| shape.name.ends_with(&format!(".{}.weight", target.name())))
        };
        let pair = |(index, of): (usize, &ParameterShape)| {
            let module = of.name.trim_end_matches(".weight");
            let shape = |matrix: &str, shape: [usize; 2]| ParameterShape {
                name: format!("base_model.model.{module}.lora_{matrix}.weight"),
                shape: shape.to_vec(),
            };
            let [outputs, inputs] = [of.shape[0], of.shape[1]];
            (index, [shape("A", [self.rank, inputs]), shape("B", [outputs, self.rank])])
        };
        layout.shapes.iter().enumerate().filter(adapted).map(pair).collect()
    }
}

/// Names, as PEFT has them, and shapes of an adapter's parameters over a model of `config`: A and B of each projection, in
/// checkpoint order.
pub fn adapter_shapes(config: &ModelConfig, settings: &AdapterSettings) -> Vec<ParameterShape> {
    settings.pairs(&Layout::new(config)).into_iter().flat_map(|(_, pair)| pair).collect()
}

/// A low-rank adapter of a model.
#[derive(Debug, Clone)]
pub struct Adapter {
    settings: AdapterSettings,
    base: String,
    /// A and B of each adapted projection, in checkpoint order.
    pub(crate) parameters: Vec<Parameter>,
    /// Their transposes packed as right sides, once per update.
    packed: Vec<PackedMatrix>,
    /// For each parameter of the base the index of its A, after which comes its B.
    places: Vec<Option<usize>>,
}

/// Buffers of an adapter that keep their memory from call to call.
#[derive(Debug, Default)]
pub(crate) struct AdapterScratch {
    /// \[N, rank\], for as many projections as share their inputs.
    low: [Buffer; 3],
    /// Packed for one use; none before the first backward.
    packed: Option<PackedMatrix>,
}

/// What the backward of a projection starts from.
pub(crate) struct ProjectionRows<'a> {
    /// Which one.
    pub(crate) projection: ParameterIndex,
    /// \[N, inputs\].
    pub(crate) inputs: &'a [f32],
    /// The same, packed; of no content where no gradient reads it.
    pub(crate) packed: &'a PackedMatrix,
    /// \[N, outputs\], the gradient of the outputs.
    pub(crate) gradient: &'a [f32],
}

impl Adapter {
    /// An adapter for a model of `config` that computes with `compute`; `base` is the name of that model, which the
    /// adapter's files carry, and `parameter` gives A and B in checkpoint order.
    ///
    /// # Errors
    /// The first error of `parameter`.
    pub fn new<E>(
        settings: AdapterSettings,
        base: String,
        (config, compute): (&ModelConfig, Compute),
        mut parameter: impl FnMut(&ParameterShape) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let layout = Layout::new(config);
        let mut places = vec![None; layout.shapes.len()];
        let mut parameters = Vec::new();
        for (index, pair) in settings.pairs(&layout) {
            places[index] = Some(parameters.len());
            for shape in pair {
                let values = parameter(&shape)?;
                assert_eq!(values.len(), shape.count(), "values of {}", shape.name);
                parameters.push(Parameter { name: shape.name, shape: shape.shape, values });
            }
        }
        let packed = vec![PackedMatrix::empty(compute); parameters.len()];
        let mut adapter = Self { settings, base, parameters, packed, places };
        adapter.repack();
        Ok(adapter)
    }

    /// Which projections are adapted, and how.
    pub fn settings(&self) -> &AdapterSettings {
        &self.settings
    }

    /// The model that it belongs to, as it was named.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether every B is 0, so that the model computes what its base does.
    pub(crate) fn is_zero(&self) -> bool {
        self.parameters.iter().skip(1).step_by(2).all(|b| b.values.iter().all(|value| value.abs() <= 0.0))
    }

    /// Forgets its values, which are on a card.
    pub(crate) fn leave(&mut self) {
        for (parameter, packed) in self.parameters.iter_mut().zip(&mut self.packed) {
            parameter.values = Vec::new();
            *packed = PackedMatrix::empty(packed.compute());
        }
    }

    pub(crate) fn repack(&mut self) {
        for (parameter, packed) in self.parameters.iter().zip(&mut self.packed) {
            packed.pack(Matrix::new(&parameter.values, parameter.shape[1]).transposed());
        }
    }

    /// Index of the A of a projection of the base; none where it is not adapted.
    pub(crate) fn place(&self, projection: ParameterIndex) -> Option<usize> {
        self.places[projection]
    }

    /// weight += scale · B·A, where `projection` is adapted.
    pub(crate) fn merge_into(&self, projection: ParameterIndex, weight: &mut [f32]) {
        let Some(place) = self.place(projection) else { return };
        let [a, b] = [&self.parameters[place], &self.parameters[place + 1]];
        let right = PackedMatrix::new(Matrix::new(&a.values, a.shape[1]), Compute::F32);
        let mut change = vec![0.0; weight.len()];
        matmul::multiply(&mut change, Matrix::new(&b.values, self.settings.rank), &right, Output::Overwrite);
        let scale = self.settings.scale();
        weight.iter_mut().zip(change).for_each(|(weight, change)| *weight += scale * change);
    }

    /// out += (scale · left·Aᵀ)·Bᵀ for each output whose projection is adapted.
    ///
    /// Shapes: left \[N, inputs\], each out \[N, outputs\].
    pub(crate) fn add_to<const N: usize>(
        &self,
        outputs: [(&mut [f32], ParameterIndex); N],
        left: Left<'_>,
        rows: usize,
        scratch: &mut AdapterScratch,
    ) {
        let rank = self.settings.rank;
        let adapted: Vec<(&mut [f32], usize)> =
            outputs.into_iter().filter_map(|(out, projection)| Some((out, self.place(projection)?))).collect();
        let mut low: Vec<(&mut [f32], &PackedMatrix)> = (scratch.low.iter_mut().zip(&adapted))
            .map(|(low, (_, place))| (low.resize(rows * rank), &self.packed[*place]))
            .collect();
        matmul::multiply_all(left, &mut low, Output::Overwrite);
        for ((out, place), (low, _)) in adapted.into_iter().zip(low) {
            vector::scale(low, self.settings.scale());
            matmul::multiply(out, Matrix::new(low, rank), &self.packed[place + 1], Output::Add);
        }
    }

    /// Adds to `gradients` those of the A and B of a projection, where it is adapted, and to `out` the gradient of its inputs
    /// by way of them.
    ///
    /// Shapes: out \[N, inputs\].
    pub(crate) fn backward(
        &self,
        rows: &ProjectionRows<'_>,
        out: &mut [f32],
        scratch: &mut AdapterScratch,
        gradients: &mut Tensors,
    ) {
        let Some(place) = self.place(rows.projection) else { return };
        let (rank, scale) = (self.settings.rank, self.settings.scale());
        let [a, b] = [&self.parameters[place], &self.parameters[place + 1]];
        let (inputs, outputs) = (a.shape[1], b.shape[0]);
        let packed = scratch.packed.get_or_insert_with(|| PackedMatrix::empty(rows.packed.compute()));
        let low = scratch.low[0].resize(rows.gradient.len() / outputs * rank);
        let gradient = Matrix::new(rows.gradient, outputs);

        matmul::multiply(low, Matrix::new(rows.inputs, inputs), &self.packed[place], Output::Overwrite);
        vector::scale(low, scale);
        packed.pack(Matrix::new(low, rank));
        matmul::multiply(&mut gradients.tensors[place + 1], gradient.transposed(), packed, Output::Add);

        packed.pack(Matrix::new(&b.values, rank));
        matmul::multiply(low, gradient, packed, Output::Overwrite);
        vector::scale(low, scale);
        let low = Matrix::new(low, rank);
        matmul::multiply(&mut gradients.tensors[place], low.transposed(), rows.packed, Output::Add);
        packed.pack(Matrix::new(&a.values, inputs));
        matmul::multiply(out, low, packed, Output::Add);
    }
}
