//! The forward over packed sequences that keeps what the backward needs, and the backward: the trainer's half of the
//! network.

use kernels::{
    Buffer, activation,
    attention::{self, Forest, KeyValues, Tree},
    logprob::{self, Head, Targets, TokenLogprob},
    matmul::{self, Matrix, Output, PackedMatrix},
    norm,
    rope::{self, Direction},
    vector,
};

use crate::{
    card::CardTrainer,
    lora::{AdapterScratch, ProjectionRows},
    network::{LayerState, Model, Scratch, Trained},
    parameters::{ParameterIndex, Tensors},
};

/// A row of the batch and the token that follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Row whose hidden state predicts the token.
    pub row: u32,
    /// Token id.
    pub token: u32,
}

/// Sequences packed without padding: each prompt once, followed by the completions that continue it.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    pub(crate) temperature: f32,
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) trees: Vec<Tree>,
    pub(crate) targets: Vec<Target>,
}

impl Batch {
    /// An empty batch whose logprobs are those of softmax(logits / temperature).
    pub fn new(temperature: f32) -> Self {
        Self { temperature, tokens: Vec::new(), positions: Vec::new(), trees: Vec::new(), targets: Vec::new() }
    }

    /// Rows that the network computes.
    pub fn rows(&self) -> usize {
        self.tokens.len()
    }

    /// What is predicted, in the order in which it was pushed.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Adds a prompt and completions of it; every completion token becomes a target, completion by completion.
    /// The last token of a completion predicts nothing and takes no row.
    ///
    /// # Panics
    /// When the prompt is empty: nothing would predict the first token.
    pub fn push_group(&mut self, prompt: &[u32], completions: &[&[u32]]) {
        assert!(!prompt.is_empty(), "a prompt of no tokens");
        let trunk = self.push_rows(prompt, 0);
        let mut branches = Vec::with_capacity(completions.len());
        for completion in completions {
            let Some((_, inputs)) = completion.split_last() else { continue };
            let branch = self.push_rows(inputs, prompt.len());
            let rows = std::iter::once(trunk.end - 1).chain(branch.clone());
            self.targets.extend(rows.zip(*completion).map(|(row, &token)| Target { row: row as u32, token }));
            branches.push(branch);
        }
        self.trees.push(Tree { trunk, branches });
    }

    fn push_rows(&mut self, tokens: &[u32], first_position: usize) -> std::ops::Range<usize> {
        let start = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((first_position..first_position + tokens.len()).map(|position| position as u32));
        start..self.tokens.len()
    }
}

/// What the forward leaves for the backward, and buffers; keeps its memory from batch to batch.
#[derive(Debug, Default)]
pub struct TrainerWorkspace {
    /// How many of the first layers keep their input alone; the backward computes the rest of them again.
    pub(crate) recomputed: usize,
    /// Inputs of the layers that are computed again, \[N, C\] each.
    inputs: Vec<Buffer>,
    /// The layer that is being computed again.
    transient: LayerState,
    /// The other layers.
    layers: Vec<LayerState>,
    forest: Forest,
    scratch: Scratch,
    /// Ids of the target tokens.
    target_tokens: Vec<u32>,
    /// \[targets, C\], normalised rows of the targets.
    target_rows: Buffer,
    /// \[targets\], what the forward returned.
    out: Vec<TokenLogprob>,
    backward: BackwardScratch,
    /// The same of a model on a card, in place of all that.
    pub(crate) card: Option<CardTrainer>,
}

/// Gradients of intermediate results, and weights packed for use as they stand.
#[derive(Debug, Default)]
struct BackwardScratch {
    /// \[targets, C\].
    targets: Buffer,
    /// \[N, C\], of the residual stream.
    hidden: Buffer,
    /// \[N, C\], on its way through a norm.
    normed: Buffer,
    /// \[N, H, D\], of the attention's output.
    attended: Buffer,
    /// \[N, mlp\].
    activated: Buffer,
    /// \[N, H, D\].
    query: Buffer,
    /// \[N, K, D\].
    key: Buffer,
    /// \[N, K, D\].
    value: Buffer,
    /// Packed matrices; none before the first backward.
    packed: Option<PackedScratch>,
    logprob: logprob::Scratch,
}

/// Matrices packed for one use.
#[derive(Debug)]
struct PackedScratch {
    /// The inputs of a projection, packed once for all weight gradients that read them.
    inputs: PackedMatrix,
    /// A weight as it stands.
    weight: PackedMatrix,
}

impl TrainerWorkspace {
    /// A workspace that keeps the inputs alone of the first `recomputed` layers, for less memory and more time. No number
    /// depends on it.
    pub fn new(recomputed: usize) -> Self {
        Self { recomputed, ..Self::default() }
    }
}

/// What the backward of a projection's weights works in, and where it adds up.
struct WeightPass<'a> {
    packed: &'a mut PackedScratch,
    adapter: &'a mut AdapterScratch,
    gradients: &'a mut Tensors,
}

/// What the backward of every layer needs besides the layer.
struct Pass<'a> {
    batch: &'a Batch,
    scratch: &'a mut Scratch,
    backward: &'a mut BackwardScratch,
    gradients: &'a mut Tensors,
}

impl Model {
    /// Logprob and entropy of every target, keeping what [`Model::backward`] needs.
    ///
    /// Shapes: returns \[targets\].
    pub fn forward<'a>(&self, batch: &Batch, workspace: &'a mut TrainerWorkspace) -> &'a [TokenLogprob] {
        if let Some(card) = &self.card {
            workspace.out = card.forward(batch, workspace);
            return &workspace.out;
        }
        let recomputed = workspace.recomputed.min(self.config.layers);
        let TrainerWorkspace { inputs, transient, layers, forest, scratch, target_tokens, target_rows, out, .. } =
            workspace;
        inputs.resize_with(recomputed, Buffer::new);
        layers.resize_with(self.config.layers - recomputed, LayerState::default);
        self.embed(&mut scratch.hidden, &batch.tokens);
        for layer in 0..self.config.layers {
            if layer < recomputed {
                self.layer_forward(layer, batch, (transient, forest), scratch);
                std::mem::swap(&mut transient.input, &mut inputs[layer]);
            } else {
                self.layer_forward(layer, batch, (&mut layers[layer - recomputed], forest), scratch);
            }
        }
        self.normalise(&mut scratch.normed, &scratch.hidden, self.layout.final_norm);
        let width = self.config.width;
        target_tokens.clear();
        target_tokens.extend(batch.targets.iter().map(|target| target.token));
        let rows = target_rows.resize(batch.targets.len() * width).chunks_exact_mut(width);
        for (row, target) in rows.zip(&batch.targets) {
            row.copy_from_slice(&scratch.normed[target.row as usize * width..][..width]);
        }
        out.clear();
        out.resize(batch.targets.len(), TokenLogprob::default());
        let targets = Targets { hidden: target_rows, tokens: target_tokens, temperature: batch.temperature };
        logprob::forward(out, targets, self.packed(self.layout.head));
        out
    }

    /// One layer, from its input to its output in `scratch.hidden`.
    fn layer_forward(
        &self,
        layer: usize,
        batch: &Batch,
        (state, forest): (&mut LayerState, &mut Forest),
        scratch: &mut Scratch,
    ) {
        self.attention_inputs(layer, state, &batch.positions, scratch);
        let heads = (&self.config.heads, self.compute);
        forest.fill(KeyValues { keys: &state.key, values: &state.value }, heads, &batch.trees);
        let attended = state.attended.resize(state.query.len());
        attention::forward(attended, &state.query, &self.config.heads, &forest.sequences(&batch.trees));
        self.attention_outputs(layer, state, scratch);
    }

    /// Adds to `gradients` those of Σ logprob_gradients · logprob for the batch of the last [`Model::forward`].
    ///
    /// Shapes: logprob_gradients \[targets\].
    pub fn backward(
        &self,
        batch: &Batch,
        logprob_gradients: &[f32],
        workspace: &mut TrainerWorkspace,
        gradients: &mut Tensors,
    ) {
        if let Some(card) = &self.card {
            return card.backward(batch, logprob_gradients, workspace, gradients);
        }
        self.head_backward(batch, logprob_gradients, workspace, gradients);
        let TrainerWorkspace { inputs, transient, layers, forest, scratch, backward, .. } = workspace;
        self.norm_backward(&mut backward.hidden, &scratch.hidden, self.layout.final_norm, gradients);
        let recomputed = inputs.len();
        for layer in (0..self.config.layers).rev() {
            let state = if layer < recomputed {
                std::mem::swap(&mut scratch.hidden, &mut inputs[layer]);
                self.layer_forward(layer, batch, (transient, forest), scratch);
                &mut *transient
            } else {
                &mut layers[layer - recomputed]
            };
            let mut pass = Pass { batch, scratch, backward, gradients };
            self.mlp_backward(layer, state, &mut pass);
            self.attention_backward(layer, state, &mut pass);
        }
        let width = self.config.width;
        let Some(embedding) = self.gradient_of(self.layout.embedding, gradients) else { return };
        for (&token, gradient) in batch.tokens.iter().zip(backward.hidden.chunks_exact(width)) {
            vector::add_row(&mut embedding[token as usize * width..][..width], gradient);
        }
    }

    /// From the gradients of the logprobs to those of the last layer's normalised output, in `backward.hidden`.
    fn head_backward(
        &self,
        batch: &Batch,
        logprob_gradients: &[f32],
        workspace: &mut TrainerWorkspace,
        gradients: &mut Tensors,
    ) {
        let TrainerWorkspace { target_tokens, target_rows, out, backward, .. } = workspace;
        let (width, head) = (self.config.width, self.layout.head);
        let targets = Targets { hidden: target_rows, tokens: target_tokens, temperature: batch.temperature };
        let mut outputs = logprob::Gradients {
            hidden: backward.targets.resize(targets.hidden.len()),
            head: self.gradient_of(head, gradients),
        };
        let packed = backward.packed.get_or_insert_with(|| PackedScratch {
            inputs: PackedMatrix::empty(self.compute),
            weight: PackedMatrix::empty(self.compute),
        });
        self.pack_weight(&mut packed.weight, head);
        let both = Head { forward: self.packed(head), backward: &packed.weight };
        logprob::backward(&mut outputs, (logprob_gradients, out), targets, both, &mut backward.logprob);
        let hidden = backward.hidden.resize(batch.rows() * width);
        hidden.fill(0.0);
        for (target, gradient) in batch.targets.iter().zip(backward.targets.chunks_exact(width)) {
            vector::add_row(&mut hidden[target.row as usize * width..][..width], gradient);
        }
    }

    /// `gradient` of a norm's output becomes that of its input `rows`.
    fn norm_backward(&self, gradient: &mut [f32], rows: &[f32], weight: ParameterIndex, gradients: &mut Tensors) {
        norm::backward(gradient, self.gradient_of(weight, gradients), self.normed(rows, weight));
    }

    /// Where the gradient of a weight of the base adds up; nowhere when the base is not trained.
    fn gradient_of<'a>(&self, weight: ParameterIndex, gradients: &'a mut Tensors) -> Option<&'a mut [f32]> {
        matches!(self.trained, Trained::Base).then(|| gradients.tensors[weight].as_mut_slice())
    }

    /// Packs a projection as it stands, for gradients of its inputs: ∂inputs = ∂outputs · weight.
    fn pack_weight(&self, packed: &mut PackedMatrix, weight: ParameterIndex) {
        match self.trained {
            Trained::Base => packed.pack(Matrix::new(self.values(weight), self.packed(weight).rows())),
            Trained::Adapter(_) | Trained::Nothing => packed.pack_transposed(self.packed(weight)),
        }
    }

    /// Packs the inputs of `projections`, where gradients of weights read them.
    fn pack_inputs(&self, packed: &mut PackedMatrix, inputs: Matrix<'_>, projections: &[ParameterIndex]) {
        if matches!(self.trained, Trained::Base) || self.is_adapted(projections) {
            packed.pack(inputs);
        }
    }

    /// Adds the gradients of a projection's weights to those of `pass`, and puts (or adds) that of its inputs in `out`.
    fn projection_backward(
        &self,
        projection: ParameterIndex,
        (inputs, gradient): (&[f32], &[f32]),
        (out, output): (&mut [f32], Output),
        pass: &mut WeightPass<'_>,
    ) {
        let WeightPass { packed, adapter: scratch, gradients } = pass;
        if let Some(weight_gradient) = self.gradient_of(projection, gradients) {
            let outputs = gradient.len() / packed.inputs.rows();
            let left = Matrix::new(gradient, outputs).transposed();
            matmul::multiply(weight_gradient, left, &packed.inputs, Output::Add);
        }
        self.pack_weight(&mut packed.weight, projection);
        matmul::multiply(out, Matrix::new(gradient, packed.weight.rows()), &packed.weight, output);
        if let Trained::Adapter(adapter) = &self.trained {
            let rows = ProjectionRows { projection, inputs, packed: &packed.inputs, gradient };
            adapter.backward(&rows, out, scratch, gradients);
        }
    }

    /// hidden = middle + down(silu(gate)·up), backwards; replaces the gradient of the output by that of `middle`.
    fn mlp_backward(&self, layer: usize, state: &mut LayerState, pass: &mut Pass<'_>) {
        let layout = &self.layout.layers[layer];
        let Pass { scratch, backward, gradients, .. } = pass;
        let Scratch { normed: inputs, activated: gated, adapter, .. } = &mut **scratch;
        let BackwardScratch { hidden, normed, activated, packed, .. } = &mut **backward;
        let packed = packed.as_mut().expect("the head's backward came first");
        let mut weights = WeightPass { packed, adapter, gradients };
        activation::gate(gated.resize(state.gate.len()), &state.gate, &state.up);
        self.pack_inputs(&mut weights.packed.inputs, Matrix::new(gated, self.config.mlp_width), &[layout.down]);
        let activated = activated.resize(state.gate.len());
        self.projection_backward(layout.down, (gated, hidden), (activated, Output::Overwrite), &mut weights);
        activation::gate_backward(&mut state.gate, &mut state.up, activated);

        self.normalise(inputs, &state.middle, layout.mlp_norm);
        let projections = [layout.gate, layout.up];
        self.pack_inputs(&mut weights.packed.inputs, Matrix::new(inputs, self.config.width), &projections);
        let normed = normed.resize(state.middle.len());
        for (projection, (gradient, output)) in
            projections.into_iter().zip([(&state.gate, Output::Overwrite), (&state.up, Output::Add)])
        {
            self.projection_backward(projection, (inputs, gradient), (normed, output), &mut weights);
        }
        let norm = layout.mlp_norm;
        norm::backward_onto(hidden, normed, self.gradient_of(norm, gradients), self.normed(&state.middle, norm));
    }

    /// middle = input + output(attention(norm(input))), backwards; replaces the gradient of `middle` by that of `input`.
    fn attention_backward(&self, layer: usize, state: &mut LayerState, pass: &mut Pass<'_>) {
        let layout = &self.layout.layers[layer];
        let Pass { batch, scratch, backward, gradients } = pass;
        let Scratch { normed: inputs, adapter, .. } = &mut **scratch;
        let BackwardScratch { hidden, normed, attended, query, key, value, packed, .. } = &mut **backward;
        let packed = packed.as_mut().expect("the head's backward came first");
        let mut weights = WeightPass { packed, adapter, gradients };
        let rows = Matrix::new(&state.attended, state.attended.len() / batch.rows());
        self.pack_inputs(&mut weights.packed.inputs, rows, &[layout.output]);
        let attended = attended.resize(state.attended.len());
        let values = (&*state.attended, &**hidden);
        self.projection_backward(layout.output, values, (attended, Output::Overwrite), &mut weights);

        let key_values = KeyValues { keys: &state.key, values: &state.value };
        let outputs = attention::Gradients {
            queries: query.resize(state.query.len()),
            keys: key.resize(state.key.len()),
            values: value.resize(state.value.len()),
        };
        let saved = attention::Saved { queries: &state.query, key_values };
        attention::backward(outputs, saved, attended, (&self.config.heads, self.compute), &batch.trees);
        if self.config.rotary_layers[layer] {
            rope::rotate(query, &batch.positions, &self.base.rope, Direction::Backward);
            rope::rotate(key, &batch.positions, &self.base.rope, Direction::Backward);
        }
        if let Some([query_norm, key_norm]) = layout.head_norms {
            self.norm_backward(query, &state.query_raw, query_norm, weights.gradients);
            self.norm_backward(key, &state.key_raw, key_norm, weights.gradients);
        }
        for (bias, rows) in layout.biases.into_iter().flatten().zip([&*query, &*key, &*value]) {
            if let Some(gradient) = self.gradient_of(bias, weights.gradients) {
                vector::add_rows(gradient, rows);
            }
        }

        self.normalise(inputs, &state.input, layout.attention_norm);
        let projections = [layout.query, layout.key, layout.value];
        self.pack_inputs(&mut weights.packed.inputs, Matrix::new(inputs, self.config.width), &projections);
        let normed = normed.resize(state.input.len());
        for (projection, (gradient, output)) in
            projections.into_iter().zip([(&*query, Output::Overwrite), (key, Output::Add), (value, Output::Add)])
        {
            self.projection_backward(projection, (inputs, gradient), (normed, output), &mut weights);
        }
        let norm = layout.attention_norm;
        norm::backward_onto(hidden, normed, self.gradient_of(norm, gradients), self.normed(&state.input, norm));
    }
}
