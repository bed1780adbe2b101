//! The network: parameters with their packed forms, and the two halves of a layer that sampling and training share.
//!
//! Training and sampling differ in where a row's keys come from, and in nothing else; see `training` and `cache`.

use std::sync::Arc;

use kernels::{
    Buffer, Compute, activation,
    matmul::{self, Left, Matrix, Output, PackedMatrix},
    norm,
    rope::{self, Direction},
    sample::{self, Drawn, Sampling},
    vector,
};

use crate::{
    Adapter, ModelConfig, SamplerWorkspace,
    lora::AdapterScratch,
    parameters::{Layout, Parameter, ParameterIndex, ParameterShape},
    placed::OnCard,
};

/// A decoder-only transformer with its weights.
#[derive(Debug, Clone)]
pub struct Model {
    pub(crate) config: ModelConfig,
    pub(crate) compute: Compute,
    pub(crate) layout: Layout,
    /// Shared by models that differ in their adapters alone.
    pub(crate) base: Arc<Base>,
    pub(crate) trained: Trained,
    /// The weights, where the model is on a card; those of `base` have no values then.
    pub(crate) card: Option<Arc<OnCard>>,
}

/// The weights of a checkpoint, and what is derived from them.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// In checkpoint order; where they are not trained, the matrices have no values but for the embedding, whose rows are
    /// looked up.
    pub(crate) parameters: Vec<Parameter>,
    /// For each matrix its transpose packed as a right side, once per update; empty for norms and biases.
    pub(crate) packed: Vec<PackedMatrix>,
    pub(crate) rope: rope::Table,
}

/// What of a model is trained.
#[derive(Debug, Clone)]
pub(crate) enum Trained {
    /// Every weight of the checkpoint.
    Base,
    /// An adapter over them.
    Adapter(Adapter),
    /// Nothing.
    Nothing,
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
    pub(crate) adapter: AdapterScratch,
}

impl Model {
    /// A model from its parameters, which `parameter` gives in checkpoint order; products compute with `compute`.
    ///
    /// # Errors
    /// The first error of `parameter`.
    pub fn new<E>(
        config: ModelConfig,
        compute: Compute,
        parameter: impl FnMut(&ParameterShape) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        Self::build(config, compute, Trained::Base, parameter)
    }

    /// As [`Model::new`], with nothing to be trained: of its matrices it keeps what products read.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn frozen<E>(
        config: ModelConfig,
        compute: Compute,
        parameter: impl FnMut(&ParameterShape) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        Self::build(config, compute, Trained::Nothing, parameter)
    }

    fn build<E>(
        config: ModelConfig,
        compute: Compute,
        trained: Trained,
        mut parameter: impl FnMut(&ParameterShape) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        let layout = Layout::new(&config);
        let mut parameters = Vec::with_capacity(layout.shapes.len());
        let mut packed = vec![PackedMatrix::empty(compute); layout.shapes.len()];
        for (index, shape) in layout.shapes.iter().enumerate() {
            let values = parameter(shape)?;
            assert_eq!(values.len(), shape.count(), "values of {}", shape.name);
            let mut parameter = Parameter { name: shape.name.clone(), shape: shape.shape.clone(), values };
            pack(&mut packed[index], &parameter);
            let is_looked_up = parameter.shape.len() == 1 || index == layout.embedding;
            if matches!(trained, Trained::Nothing) && !is_looked_up {
                parameter.values = Vec::new();
            }
            parameters.push(parameter);
        }
        let rope = rope::Table::new(&config.rope_frequencies(), config.positions_max);
        Ok(Self { config, compute, layout, base: Arc::new(Base { parameters, packed, rope }), trained, card: None })
    }

    /// The same model with `adapter` in place of the one that it may have, which is what is trained from now on.
    ///
    /// # Panics
    /// On a card, when that has no room for it: see [`crate::card`].
    #[must_use]
    pub fn with_adapter(mut self, mut adapter: Adapter) -> Self {
        if let Some(card) = &self.card {
            self.card = Some(Arc::new(card.with_adapter(Some(&adapter))));
            adapter.leave();
        }
        self.trained = Trained::Adapter(adapter);
        self
    }

    /// Its adapter, where it has one.
    pub fn adapter(&self) -> Option<&Adapter> {
        match &self.trained {
            Trained::Adapter(adapter) => Some(adapter),
            Trained::Base | Trained::Nothing => None,
        }
    }

    /// A copy that stays as this model is now. It shares the weights that are not trained, so that the copy of a model with
    /// a new adapter is its base and takes no memory.
    #[must_use]
    pub fn reference(&self) -> Self {
        let mut reference = self.clone();
        if let Some(card) = &self.card {
            reference.card = Some(Arc::new(card.copy()));
        } else if matches!(self.trained, Trained::Base) {
            // Now rather than at the first change, which would leave the new memory to the model that is trained.
            reference.base = Arc::new(Base::clone(&self.base));
        }
        reference.into_reference()
    }

    /// This model, which is trained no more: without its adapter where that adds nothing.
    #[must_use]
    pub fn into_reference(mut self) -> Self {
        let is_zero = match &self.card {
            None => self.adapter().is_some_and(Adapter::is_zero),
            Some(card) => card.model.has_zero_adapter(),
        };
        if is_zero {
            self.trained = Trained::Nothing;
            self.card = self.card.map(|card| Arc::new(card.with_adapter(None)));
        }
        self
    }

    /// Gives back the memory of the weights where all of them are trained, for a model that takes the place of this one:
    /// both at once would take more than is planned for. This one computes nothing from now on.
    pub fn release(&mut self) {
        if matches!(self.trained, Trained::Base) {
            let rope = rope::Table::new(&[], 0);
            self.base = Arc::new(Base { parameters: Vec::new(), packed: Vec::new(), rope });
            self.card = self.card.take().map(|card| Arc::new(card.released()));
        }
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// What products compute with.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// Every trainable tensor, in checkpoint order; on a card without its values, which [`Model::fetched`] gives.
    pub fn parameters(&self) -> &[Parameter] {
        match &self.trained {
            Trained::Base => &self.base.parameters,
            Trained::Adapter(adapter) => &adapter.parameters,
            Trained::Nothing => &[],
        }
    }

    /// Number of trainable values.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|parameter| parameter.shape.iter().product::<usize>()).sum()
    }

    /// Number of values of the whole model, with its adapter, trained or not.
    pub fn weight_count(&self) -> usize {
        let adapter = if self.adapter().is_some() { self.parameter_count() } else { 0 };
        self.layout.shapes.iter().map(ParameterShape::count).sum::<usize>() + adapter
    }

    /// Changes trainable tensors, each given with its index, and refreshes what is derived from them.
    ///
    /// # Panics
    /// When the model is on a card.
    pub fn update(&mut self, mut change: impl FnMut(usize, &mut Parameter)) {
        assert!(self.card.is_none(), "weights on a card are changed there");
        match &mut self.trained {
            Trained::Base => {
                let base = Arc::make_mut(&mut self.base);
                base.parameters.iter_mut().enumerate().for_each(|(index, parameter)| change(index, parameter));
                base.parameters.iter().zip(&mut base.packed).for_each(|(parameter, packed)| pack(packed, parameter));
            }
            Trained::Adapter(adapter) => {
                adapter.parameters.iter_mut().enumerate().for_each(|(index, parameter)| change(index, parameter));
                adapter.repack();
            }
            Trained::Nothing => {}
        }
    }

    pub(crate) fn values(&self, index: ParameterIndex) -> &[f32] {
        &self.base.parameters[index].values
    }

    pub(crate) fn packed(&self, index: ParameterIndex) -> &PackedMatrix {
        &self.base.packed[index]
    }

    /// Each output = left · weightᵀ, with what an adapter adds.
    fn project<const N: usize>(
        &self,
        outputs: [(&mut Buffer, ParameterIndex); N],
        left: Left<'_>,
        rows: usize,
        scratch: &mut AdapterScratch,
    ) {
        let mut outputs = outputs.map(|(out, weight)| (out.resize(rows * self.packed(weight).columns()), weight));
        let mut products = outputs.each_mut().map(|(out, weight)| (&mut **out, self.packed(*weight)));
        matmul::multiply_all(left, &mut products, Output::Overwrite);
        if let Trained::Adapter(adapter) = &self.trained {
            adapter.add_to(outputs, left, rows, scratch);
        }
    }

    /// out = base + rows · weightᵀ, with what an adapter adds.
    fn project_onto(
        &self,
        (out, weight): (&mut Buffer, ParameterIndex),
        base: &[f32],
        rows: &[f32],
        scratch: &mut AdapterScratch,
    ) {
        let packed = self.packed(weight);
        let (out, rows) = (out.resize(base.len()), Matrix::new(rows, packed.rows()));
        matmul::multiply_onto(out, base, rows, packed);
        if let Trained::Adapter(adapter) = &self.trained {
            let count = out.len() / packed.columns();
            adapter.add_to([(out, weight)], Left::Matrix(rows), count, scratch);
        }
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
        let outputs = [(query, layout.query), (key, layout.key), (value, layout.value)];
        let normed = Left::Normed(self.normed(input, layout.attention_norm));
        self.project(outputs, normed, positions.len(), &mut scratch.adapter);
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
            rope::rotate(&mut state.query, positions, &self.base.rope, Direction::Forward);
            rope::rotate(&mut state.key, positions, &self.base.rope, Direction::Forward);
        }
    }

    /// Second half of a layer: from the attention's output to the layer's output in `scratch.hidden`.
    pub(crate) fn attention_outputs(&self, layer: usize, state: &mut LayerState, scratch: &mut Scratch) {
        let layout = &self.layout.layers[layer];
        let LayerState { input, attended, middle, gate, up, .. } = state;
        self.project_onto((middle, layout.output), input, attended, &mut scratch.adapter);
        let rows = middle.len() / self.config.width;
        let normed = Left::Normed(self.normed(middle, layout.mlp_norm));
        let activated = scratch.activated.resize(rows * self.config.mlp_width);
        if self.is_adapted(&[layout.gate, layout.up]) {
            self.project([(&mut *gate, layout.gate), (&mut *up, layout.up)], normed, rows, &mut scratch.adapter);
            activation::gate(activated, gate, up);
        } else {
            let outputs = [(gate, layout.gate), (up, layout.up)].map(|(out, weight)| {
                let packed = self.packed(weight);
                (out.resize(rows * packed.columns()), packed)
            });
            matmul::multiply_gated(activated, normed, outputs);
        }
        self.project_onto((&mut scratch.hidden, layout.down), middle, activated, &mut scratch.adapter);
    }

    /// Whether an adapter is over any of `projections`.
    pub(crate) fn is_adapted(&self, projections: &[ParameterIndex]) -> bool {
        self.adapter().is_some_and(|adapter| projections.iter().any(|&one| adapter.place(one).is_some()))
    }

    /// Logits after rows that [`Model::advance`] gave. Shapes: rows \[N, C\], out \[N, V\].
    ///
    /// # Panics
    /// When the model is on a card.
    pub fn logits(&self, out: &mut Buffer, rows: &[f32]) {
        assert!(self.card.is_none(), "logits on a card");
        let packed = self.packed(self.layout.head);
        let out = out.resize(rows.len() / packed.rows() * packed.columns());
        matmul::multiply(out, Matrix::new(rows, packed.rows()), packed, Output::Overwrite);
    }

    /// Draws a token after each row that [`Model::advance`] gave, at one uniform number each.
    ///
    /// Shapes: rows \[N, C\], uniforms \[N\]; returns \[N\].
    pub fn draw(
        &self,
        rows: &[f32],
        sampling: &Sampling,
        uniforms: &[f64],
        workspace: &mut SamplerWorkspace,
    ) -> Vec<Drawn> {
        match &self.card {
            None => sample::draw_rows(rows, self.packed(self.layout.head), sampling, uniforms, &mut workspace.draw),
            Some(card) => card.draw(rows, sampling, uniforms, workspace),
        }
    }
}

/// Packs a matrix as a right side; norms and biases are none.
fn pack(packed: &mut PackedMatrix, parameter: &Parameter) {
    if let [_, inputs] = parameter.shape[..] {
        packed.pack(Matrix::new(&parameter.values, inputs).transposed());
    }
}
