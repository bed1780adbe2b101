//! The network: parameters with their packed forms, and the two halves of a layer that sampling and training share.
//!
//! Training and sampling differ in where a row's keys come from, and in nothing else; see `training` and `cache`.

use kernels::{
    activation,
    matmul::{self, Matrix, Output, PackedMatrix},
    norm,
    rope::{self, Direction},
    vector,
};

use crate::{
    ModelConfig,
    parameters::{Gradients, Layout, Parameter, ParameterIndex, ParameterShape},
};

/// A decoder-only transformer with its weights.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) config: ModelConfig,
    pub(crate) layout: Layout,
    pub(crate) parameters: Vec<Parameter>,
    /// For each matrix its transpose packed as a right side; empty for norms and biases.
    pub(crate) packed: Vec<PackedMatrix>,
    pub(crate) rope: rope::Table,
}

/// What one layer computed for N rows; the backward reads it.
#[derive(Debug, Default)]
pub(crate) struct LayerState {
    /// \[N, C\], the layer's input.
    pub(crate) input: Vec<f32>,
    /// \[N, H, D\] before head norm and position embedding; empty without head norms.
    pub(crate) query_raw: Vec<f32>,
    /// \[N, K, D\] before head norm and position embedding; empty without head norms.
    pub(crate) key_raw: Vec<f32>,
    /// \[N, H, D\].
    pub(crate) query: Vec<f32>,
    /// \[N, K, D\].
    pub(crate) key: Vec<f32>,
    /// \[N, K, D\].
    pub(crate) value: Vec<f32>,
    /// \[N, H, D\], the attention's output.
    pub(crate) attended: Vec<f32>,
    /// \[N, C\], the input plus the projected attention.
    pub(crate) middle: Vec<f32>,
    /// \[N, mlp\].
    pub(crate) gate: Vec<f32>,
    /// \[N, mlp\].
    pub(crate) up: Vec<f32>,
}

/// Buffers that keep their memory from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// \[N, C\], the residual stream between layers.
    pub(crate) hidden: Vec<f32>,
    /// \[N, C\], normalised rows.
    pub(crate) normed: Vec<f32>,
    /// \[N, mlp\].
    pub(crate) activated: Vec<f32>,
}

/// Sets `buffer` to `length` values, of whatever content.
pub(crate) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}

impl Model {
    /// A model from its parameters, which `parameter` gives in checkpoint order.
    ///
    /// # Errors
    /// The first error of `parameter`.
    pub fn new<E>(
        config: ModelConfig,
        mut parameter: impl FnMut(&ParameterShape) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let layout = Layout::new(&config);
        let mut parameters = Vec::with_capacity(layout.shapes.len());
        for shape in &layout.shapes {
            let values = parameter(shape)?;
            assert_eq!(values.len(), shape.count(), "values of {}", shape.name);
            parameters.push(Parameter { name: shape.name.clone(), shape: shape.shape.clone(), values });
        }
        let rope = rope::Table::new(&config.rope_frequencies(), config.positions_max);
        let packed = vec![PackedMatrix::default(); parameters.len()];
        let mut model = Self { config, layout, parameters, packed, rope };
        model.repack();
        Ok(model)
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Every trainable tensor, in checkpoint order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Number of trainable values.
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(|parameter| parameter.values.len()).sum()
    }

    /// Zero gradients of this model's shapes.
    pub fn zero_gradients(&self) -> Gradients {
        Gradients { tensors: self.parameters.iter().map(|parameter| vec![0.0; parameter.values.len()]).collect() }
    }

    /// Changes parameters, each given with its index, and refreshes what is derived from them.
    pub fn update(&mut self, mut change: impl FnMut(usize, &mut Parameter)) {
        for (index, parameter) in self.parameters.iter_mut().enumerate() {
            change(index, parameter);
        }
        self.repack();
    }

    fn repack(&mut self) {
        for (parameter, packed) in self.parameters.iter().zip(&mut self.packed) {
            if let [_, inputs] = parameter.shape[..] {
                packed.pack(Matrix::new(&parameter.values, inputs).transposed());
            }
        }
    }

    pub(crate) fn values(&self, index: ParameterIndex) -> &[f32] {
        &self.parameters[index].values
    }

    /// out = rows · weightᵀ.
    fn project(&self, out: &mut Vec<f32>, rows: &[f32], weight: ParameterIndex) {
        let packed = &self.packed[weight];
        let left = Matrix::new(rows, packed.rows());
        matmul::multiply(sized(out, rows.len() / packed.rows() * packed.columns()), left, packed, Output::Overwrite);
    }

    /// out = norm(rows) with the weight at `weight`.
    pub(crate) fn normalise(&self, out: &mut Vec<f32>, rows: &[f32], weight: ParameterIndex) {
        norm::forward(sized(out, rows.len()), rows, self.values(weight), self.config.norm_epsilon);
    }

    /// \[N, C\] embeddings of `tokens`.
    pub(crate) fn embed(&self, out: &mut Vec<f32>, tokens: &[u32]) {
        let width = self.config.width;
        let table = self.values(self.layout.embedding);
        out.clear();
        for &token in tokens {
            let at = token as usize * width;
            out.extend_from_slice(&table[at..at + width]);
        }
    }

    /// First half of a layer: from its input (taken from `scratch.hidden`) to queries, keys and values.
    pub(crate) fn attention_inputs(
        &self,
        layer: usize,
        state: &mut LayerState,
        positions: &[u32],
        scratch: &mut Scratch,
    ) {
        let layout = &self.layout.layers[layer];
        std::mem::swap(&mut scratch.hidden, &mut state.input);
        self.normalise(&mut scratch.normed, &state.input, layout.attention_norm);
        self.project(&mut state.query, &scratch.normed, layout.query);
        self.project(&mut state.key, &scratch.normed, layout.key);
        self.project(&mut state.value, &scratch.normed, layout.value);
        if let Some([query, key, value]) = layout.biases {
            vector::add_bias(&mut state.query, self.values(query));
            vector::add_bias(&mut state.key, self.values(key));
            vector::add_bias(&mut state.value, self.values(value));
        }
        if let Some([query, key]) = layout.head_norms {
            std::mem::swap(&mut state.query, &mut state.query_raw);
            std::mem::swap(&mut state.key, &mut state.key_raw);
            self.normalise(&mut state.query, &state.query_raw, query);
            self.normalise(&mut state.key, &state.key_raw, key);
        }
        if self.config.rotary_layers[layer] {
            rope::rotate(&mut state.query, positions, &self.rope, Direction::Forward);
            rope::rotate(&mut state.key, positions, &self.rope, Direction::Forward);
        }
    }

    /// Second half of a layer: from the attention's output to the layer's output in `scratch.hidden`.
    pub(crate) fn attention_outputs(&self, layer: usize, state: &mut LayerState, scratch: &mut Scratch) {
        let layout = &self.layout.layers[layer];
        self.project(&mut state.middle, &state.attended, layout.output);
        vector::add(&mut state.middle, &state.input);
        self.normalise(&mut scratch.normed, &state.middle, layout.mlp_norm);
        self.project(&mut state.gate, &scratch.normed, layout.gate);
        self.project(&mut state.up, &scratch.normed, layout.up);
        activation::gate(sized(&mut scratch.activated, state.gate.len()), &state.gate, &state.up);
        self.project(&mut scratch.hidden, &scratch.activated, layout.down);
        vector::add(&mut scratch.hidden, &state.middle);
    }

    /// Logits of normalised hidden rows. Shapes: rows \[N, C\], out \[N, V\].
    pub fn logits(&self, out: &mut Vec<f32>, rows: &[f32]) {
        self.project(out, rows, self.layout.head);
    }
}
