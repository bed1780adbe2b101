//! The network: parameters with their packed forms, and the two halves of a layer that sampling and training share.
//!
//! Training and sampling differ in where a row's keys come from, and in nothing else; see `training` and `cache`.

use kernels::{
    Buffer, Compute,
    matmul::{self, Left, Matrix, Output, PackedMatrix},
    memory, norm,
    rope::{self, Direction},
    sample::{self, Drawn, Sampling},
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
    pub(crate) compute: Compute,
    pub(crate) layout: Layout,
    pub(crate) parameters: Vec<Parameter>,
    /// For each matrix its transpose packed as a right side, once per update; empty for norms and biases.
    pub(crate) packed: Vec<PackedMatrix>,
    pub(crate) rope: rope::Table,
}

/// What one layer computed for N rows; the backward reads it.
#[derive(Debug, Default)]
pub(crate) struct LayerState {
    /// \[N, C\], the layer's input.
    pub(crate) input: Buffer,
    /// \[N, H, D\] before head norm and position embedding; empty without head norms.
    pub(crate) query_raw: Buffer,
    /// \[N, K, D\] before head norm and position embedding; empty without head norms.
    pub(crate) key_raw: Buffer,
    /// \[N, H, D\].
    pub(crate) query: Buffer,
    /// \[N, K, D\].
    pub(crate) key: Buffer,
    /// \[N, K, D\].
    pub(crate) value: Buffer,
    /// \[N, H, D\], the attention's output.
    pub(crate) attended: Buffer,
    /// \[N, C\], the input plus the projected attention.
    pub(crate) middle: Buffer,
    /// \[N, mlp\].
    pub(crate) gate: Buffer,
    /// \[N, mlp\].
    pub(crate) up: Buffer,
}

/// Buffers that keep their memory from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// \[N, C\], the residual stream between layers.
    pub(crate) hidden: Buffer,
    /// \[N, C\], normalised rows.
    pub(crate) normed: Buffer,
    /// \[N, mlp\].
    pub(crate) activated: Buffer,
}

impl Model {
    /// A model from its parameters, which `parameter` gives in checkpoint order; products compute with `compute`.
    ///
    /// # Errors
    /// The first error of `parameter`.
    pub fn new<E>(
        config: ModelConfig,
        compute: Compute,
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
        let packed = vec![PackedMatrix::empty(compute); parameters.len()];
        let mut model = Self { config, compute, layout, parameters, packed, rope };
        model.repack();
        Ok(model)
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What products compute with.
    pub fn compute(&self) -> Compute {
        self.compute
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
        Gradients { tensors: self.parameters.iter().map(|parameter| memory::zeros(parameter.values.len())).collect() }
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

    /// The output of each of several projections of the same `rows` rows, with the projection's weight.
    fn outputs<'a, const N: usize>(
        &'a self,
        rows: usize,
        outputs: [(&'a mut Buffer, ParameterIndex); N],
    ) -> [(&'a mut [f32], &'a PackedMatrix); N] {
        outputs.map(|(out, weight)| {
            let packed = &self.packed[weight];
            (out.resize(rows * packed.columns()), packed)
        })
    }

    /// out = base + rows · weightᵀ.
    fn project_onto(&self, out: &mut Buffer, base: &[f32], rows: &[f32], weight: ParameterIndex) {
        let packed = &self.packed[weight];
        matmul::multiply_onto(out.resize(base.len()), base, Matrix::new(rows, packed.rows()), packed);
    }

    /// Rows to be normalised with the weight at `weight`.
    pub(crate) fn normed<'a>(&'a self, rows: &'a [f32], weight: ParameterIndex) -> norm::Saved<'a> {
        norm::Saved { rows, weight: self.values(weight), epsilon: self.config.norm_epsilon }
    }

    /// out = norm(rows) with the weight at `weight`.
    pub(crate) fn normalise(&self, out: &mut Buffer, rows: &[f32], weight: ParameterIndex) {
        norm::forward(out.resize(rows.len()), rows, self.values(weight), self.config.norm_epsilon);
    }

    /// \[N, C\] embeddings of `tokens`.
    pub(crate) fn embed(&self, out: &mut Buffer, tokens: &[u32]) {
        let width = self.config.width;
        let table = self.values(self.layout.embedding);
        for (row, &token) in out.resize(tokens.len() * width).chunks_exact_mut(width).zip(tokens) {
            row.copy_from_slice(&table[token as usize * width..][..width]);
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
        let LayerState { input, query, key, value, .. } = state;
        let mut outputs =
            self.outputs(positions.len(), [(query, layout.query), (key, layout.key), (value, layout.value)]);
        let normed = Left::Normed(self.normed(input, layout.attention_norm));
        matmul::multiply_all(normed, &mut outputs, Output::Overwrite);
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
        let LayerState { input, attended, middle, gate, up, .. } = state;
        self.project_onto(middle, input, attended, layout.output);
        let rows = middle.len() / self.config.width;
        let outputs = self.outputs(rows, [(gate, layout.gate), (up, layout.up)]);
        let activated = scratch.activated.resize(rows * self.config.mlp_width);
        matmul::multiply_gated(activated, Left::Normed(self.normed(middle, layout.mlp_norm)), outputs);
        self.project_onto(&mut scratch.hidden, middle, activated, layout.down);
    }

    /// Logits of normalised hidden rows. Shapes: rows \[N, C\], out \[N, V\].
    pub fn logits(&self, out: &mut Buffer, rows: &[f32]) {
        let packed = &self.packed[self.layout.head];
        let out = out.resize(rows.len() / packed.rows() * packed.columns());
        matmul::multiply(out, Matrix::new(rows, packed.rows()), packed, Output::Overwrite);
    }

    /// Draws a token after each normalised hidden row, at one uniform number each.
    ///
    /// Shapes: rows \[N, C\], uniforms \[N\]; returns \[N\].
    pub fn draw(
        &self,
        rows: &[f32],
        sampling: &Sampling,
        uniforms: &[f64],
        scratch: &mut sample::Scratch,
    ) -> Vec<Drawn> {
        sample::draw_rows(rows, &self.packed[self.layout.head], sampling, uniforms, scratch)
    }
}
