//! The forward over packed sequences that keeps what the backward needs, and the backward.

use kernels::{
    cuda::{
        array::{Array, Bf16},
        operations::{
            AttentionGradients, AttentionRows, Blocks, HeadRows, LogitGradients, NormScratch, Operations, Output,
            Scatter,
        },
        parameters::{BlockSum, RowLogprob},
    },
    logprob::TokenLogprob,
};

use super::{
    CardModel, CardTensors,
    layer::{LayerState, Scratch},
};
use crate::{Batch, Target};

/// Targets whose logits' gradients are held at once.
pub(super) const TARGETS_AT_ONCE: usize = 1024;

/// What a forward leaves for the backward, and buffers; keeps its memory from batch to batch.
#[derive(Debug)]
pub struct CardTrainer {
    /// How many of the first layers keep their input alone; the backward computes the rest of them again.
    recomputed: usize,
    /// Inputs of the layers that are computed again, \[N, C\] each.
    inputs: Vec<Array<f32>>,
    /// The layer that is being computed again.
    transient: LayerState,
    /// The other layers.
    layers: Vec<LayerState>,
    blocks: Blocks,
    scratch: Scratch,
    head: HeadScratch,
    /// How many targets the head takes at once.
    targets_at_once: usize,
    /// The targets, so many at a time.
    targets: Vec<TargetRows>,
    backward: BackwardScratch,
}

/// Neighbouring targets of a batch.
#[derive(Debug)]
struct TargetRows {
    /// \[targets\], their rows.
    rows: Array<u32>,
    /// The same, for gradients.
    scatter: Scatter,
    /// \[targets\], token ids.
    tokens: Array<u32>,
    /// \[targets\], what the forward left.
    logprobs: Array<RowLogprob>,
}

/// Buffers of the head.
#[derive(Debug)]
struct HeadScratch {
    /// \[targets, C\], hidden rows of the targets.
    hidden: Array<f32>,
    /// \[targets, C\], the same with their norm.
    normed: Array<Bf16>,
    sums: Array<BlockSum>,
    target_logits: Array<f32>,
    logprob_gradients: Array<f32>,
    logits: LogitGradients,
    /// \[targets, C\], gradients of the normalised rows.
    normed_gradient: Array<f32>,
    /// \[targets, C\], gradients of the hidden rows.
    hidden_gradient: Array<f32>,
}

/// Gradients of intermediate results.
#[derive(Debug)]
struct BackwardScratch {
    /// \[N, C\], of the residual stream.
    hidden: Array<f32>,
    /// The same in bf16.
    hidden_rounded: Array<Bf16>,
    /// \[N, C\], on its way through a norm.
    normed: Array<f32>,
    /// \[N, mlp\].
    activated: Array<f32>,
    /// \[N, mlp\].
    gate: Array<Bf16>,
    /// \[N, mlp\].
    up: Array<Bf16>,
    /// \[N, H, D\], of the attention's output.
    attended: Array<f32>,
    /// The same in bf16.
    attended_rounded: Array<Bf16>,
    /// \[N, H\].
    delta: Array<f32>,
    /// \[N, H, D\], \[N, K, D\] and \[N, K, D\], of queries, keys and values.
    inputs: [Array<f32>; 3],
    /// The same in bf16.
    factors: [Array<Bf16>; 3],
    norm: NormScratch,
    tokens: Scatter,
}

impl CardTrainer {
    /// A trainer that keeps the inputs alone of the first `recomputed` layers, for less memory and more time. No number
    /// depends on it.
    pub fn new(model: &CardModel, recomputed: usize) -> Self {
        let operations = &model.operations;
        let machine = operations.machine();
        let recomputed = recomputed.min(model.config.layers);
        let layers = model.config.layers - recomputed;
        Self {
            recomputed,
            inputs: (0..recomputed).map(|_| Array::new(machine)).collect(),
            transient: LayerState::new(operations),
            layers: (0..layers).map(|_| LayerState::new(operations)).collect(),
            blocks: Blocks::new(operations),
            scratch: Scratch::new(operations),
            head: HeadScratch::new(operations),
            targets_at_once: TARGETS_AT_ONCE,
            targets: Vec::new(),
            backward: BackwardScratch::new(operations),
        }
    }
}

impl CardTrainer {
    /// This trainer with another count of targets that the head takes at once. The order in which the head's gradient is
    /// added up depends on it.
    #[must_use]
    pub fn with_targets_at_once(mut self, targets: usize) -> Self {
        self.targets_at_once = targets.max(1);
        self
    }
}

impl TargetRows {
    fn new(operations: &Operations) -> Self {
        let machine = operations.machine();
        Self {
            rows: Array::new(machine),
            scatter: Scatter::new(operations),
            tokens: Array::new(machine),
            logprobs: Array::new(machine),
        }
    }

    fn set(&mut self, targets: &[Target]) {
        let rows: Vec<u32> = targets.iter().map(|target| target.row).collect();
        let tokens: Vec<u32> = targets.iter().map(|target| target.token).collect();
        self.rows.set(&rows);
        self.scatter.set(&rows);
        self.tokens.set(&tokens);
    }
}

impl HeadScratch {
    fn new(operations: &Operations) -> Self {
        let machine = operations.machine();
        Self {
            hidden: Array::new(machine),
            normed: Array::new(machine),
            sums: Array::new(machine),
            target_logits: Array::new(machine),
            logprob_gradients: Array::new(machine),
            logits: LogitGradients { gradients: Array::new(machine), stride: 0 },
            normed_gradient: Array::new(machine),
            hidden_gradient: Array::new(machine),
        }
    }
}

impl BackwardScratch {
    fn new(operations: &Operations) -> Self {
        let machine = operations.machine();
        Self {
            hidden: Array::new(machine),
            hidden_rounded: Array::new(machine),
            normed: Array::new(machine),
            activated: Array::new(machine),
            gate: Array::new(machine),
            up: Array::new(machine),
            attended: Array::new(machine),
            attended_rounded: Array::new(machine),
            delta: Array::new(machine),
            inputs: [(); 3].map(|()| Array::new(machine)),
            factors: [(); 3].map(|()| Array::new(machine)),
            norm: NormScratch::new(operations),
            tokens: Scatter::new(operations),
        }
    }
}

/// What the backward of every layer needs besides the layer.
struct Pass<'a> {
    blocks: &'a Blocks,
    scratch: &'a mut Scratch,
    backward: &'a mut BackwardScratch,
    gradients: &'a mut CardTensors,
}

impl CardModel {
    /// Logprob and entropy of every target, keeping what [`CardModel::backward`] needs.
    ///
    /// Shapes: returns \[targets\].
    pub fn forward(&self, batch: &Batch, trainer: &mut CardTrainer) -> Vec<TokenLogprob> {
        let CardTrainer {
            recomputed, inputs, transient, layers, blocks, scratch, head, targets, targets_at_once, ..
        } = trainer;
        blocks.set(&batch.trees);
        scratch.set(&batch.tokens, &batch.positions);
        self.embed(scratch);
        for (layer, input) in inputs.iter_mut().enumerate() {
            self.layer_forward(layer, (transient, blocks), scratch);
            std::mem::swap(&mut transient.input, input);
        }
        for (layer, state) in (*recomputed..).zip(&mut *layers) {
            self.layer_forward(layer, (state, blocks), scratch);
        }
        let parts = batch.targets.chunks(*targets_at_once);
        targets.resize_with(parts.len(), || TargetRows::new(&self.operations));
        for (part, targets) in parts.zip(&mut *targets) {
            targets.set(part);
            self.head_forward(batch.temperature, targets, &scratch.hidden, head);
        }
        let token = |row: RowLogprob| TokenLogprob { logprob: row.logprob, entropy: row.entropy, log_sum: row.log_sum };
        targets.iter().flat_map(|targets| targets.logprobs.values()).map(token).collect()
    }

    /// One layer, from its input to its output in `scratch.hidden`.
    fn layer_forward(&self, layer: usize, (state, blocks): (&mut LayerState, &Blocks), scratch: &mut Scratch) {
        self.attention_inputs(layer, state, scratch);
        let LayerState { query, key, value, attended, log_sums, .. } = state;
        let rows = AttentionRows { queries: query, keys: key, values: value, blocks };
        self.operations.attend(attended, log_sums, rows);
        self.attention_outputs(layer, state, scratch);
    }

    /// The normalised rows of some targets.
    fn target_rows<'a>(
        &'a self,
        temperature: f32,
        targets: &TargetRows,
        hidden: &Array<f32>,
        (rows, normed): (&mut Array<f32>, &'a mut Array<Bf16>),
    ) -> HeadRows<'a> {
        self.operations.gather(rows, hidden, &targets.rows, self.config.width);
        self.operations.normalise(normed, rows, self.norm_of(self.layout.final_norm));
        HeadRows { hidden: normed, head: self.rounded(self.layout.head), width: self.config.width, temperature }
    }

    fn head_forward(&self, temperature: f32, targets: &mut TargetRows, hidden: &Array<f32>, head: &mut HeadScratch) {
        let rows = self.target_rows(temperature, targets, hidden, (&mut head.hidden, &mut head.normed));
        let scratch = (&mut head.sums, &mut head.target_logits);
        self.operations.logprobs(&mut targets.logprobs, rows, &targets.tokens, scratch);
    }

    /// Adds to `gradients` those of Σ logprob_gradients · logprob for the batch of the last [`CardModel::forward`].
    ///
    /// Shapes: logprob_gradients \[targets\].
    pub fn backward(
        &self,
        batch: &Batch,
        logprob_gradients: &[f32],
        trainer: &mut CardTrainer,
        gradients: &mut CardTensors,
    ) {
        assert_eq!(logprob_gradients.len(), batch.targets.len(), "a gradient for every target");
        let CardTrainer {
            recomputed,
            inputs,
            transient,
            layers,
            blocks,
            scratch,
            head,
            targets_at_once,
            targets,
            backward,
        } = trainer;
        backward.hidden.resize(batch.rows() * self.config.width).clear();
        for (part, targets) in logprob_gradients.chunks(*targets_at_once).zip(&*targets) {
            head.logprob_gradients.set(part);
            self.head_backward(batch.temperature, (targets, &scratch.hidden), (head, backward), gradients);
        }
        for layer in (0..self.config.layers).rev() {
            let state = if let Some(kept) = layer.checked_sub(*recomputed) {
                &mut layers[kept]
            } else {
                std::mem::swap(&mut scratch.hidden, &mut inputs[layer]);
                self.layer_forward(layer, (transient, blocks), scratch);
                &mut *transient
            };
            let mut pass = Pass { blocks, scratch, backward, gradients };
            self.mlp_backward(layer, state, &mut pass);
            self.attention_backward(layer, state, &mut pass);
        }
        backward.tokens.set(&batch.tokens);
        if let Some(embedding) = self.base_gradient(gradients, self.layout.embedding) {
            self.operations.scatter(embedding, &backward.hidden, &backward.tokens, self.config.width);
        }
    }

    /// From the gradients of some targets' logprobs to those of the last layer's output, added to `backward.hidden`.
    fn head_backward(
        &self,
        temperature: f32,
        (targets, hidden): (&TargetRows, &Array<f32>),
        (scratch, backward): (&mut HeadScratch, &mut BackwardScratch),
        gradients: &mut CardTensors,
    ) {
        let (operations, index, norm) = (&self.operations, self.layout.head, self.layout.final_norm);
        let HeadScratch { hidden: rows, normed, logprob_gradients, logits, normed_gradient, hidden_gradient, .. } =
            scratch;
        let head = self.target_rows(temperature, targets, hidden, (rows, normed));
        operations.logit_gradients(logits, head, (logprob_gradients, &targets.logprobs, &targets.tokens));
        operations.head_back(Output::Overwrite(normed_gradient), head, logits);
        if let Some(sum) = self.base_gradient(gradients, index) {
            operations.add_head_gradient(sum, head, logits);
        }
        let weight_gradient = self.base_gradient(gradients, norm);
        let values = (&*normed_gradient, &*rows, self.norm_of(norm));
        operations.normalise_back(hidden_gradient, values, weight_gradient, &mut backward.norm);
        operations.scatter(&mut backward.hidden, hidden_gradient, &targets.scatter, self.config.width);
    }

    /// hidden = middle + down(silu(gate)·up), backwards; replaces the gradient of the output by that of `middle`.
    fn mlp_backward(&self, layer: usize, state: &LayerState, pass: &mut Pass<'_>) {
        let (layout, operations) = (&self.layout.layers[layer], &self.operations);
        let Pass { scratch, backward, gradients, .. } = pass;
        let BackwardScratch { hidden, hidden_rounded, normed, activated, gate, up, norm, .. } = &mut **backward;
        let Scratch { normed: inputs, activated: gated, adapter, .. } = &mut **scratch;
        operations.round(hidden_rounded, hidden);
        operations.gate(gated, &state.gate, &state.up);
        let rows = (layout.down, &*gated, &*hidden_rounded);
        self.project_back(Output::Overwrite(activated), rows, (gradients, adapter));
        operations.gate_back([gate, up], [&state.gate, &state.up, activated]);

        let weight = self.norm_of(layout.mlp_norm);
        operations.normalise(inputs, &state.middle, weight);
        self.project_back(Output::Overwrite(normed), (layout.gate, inputs, gate), (gradients, adapter));
        self.project_back(Output::Add(normed), (layout.up, inputs, up), (gradients, adapter));
        let sum = self.base_gradient(gradients, layout.mlp_norm);
        operations.normalise_back_onto(hidden, (normed, &state.middle, weight), sum, norm);
    }

    /// middle = input + output(attention(norm(input))), backwards; replaces the gradient of `middle` by that of `input`.
    fn attention_backward(&self, layer: usize, state: &LayerState, pass: &mut Pass<'_>) {
        let (layout, operations) = (&self.layout.layers[layer], &self.operations);
        self.attention_gradients(layer, state, pass);
        let Pass { scratch, backward, gradients, .. } = pass;
        let BackwardScratch { hidden, normed, factors, norm, .. } = &mut **backward;
        let Scratch { normed: inputs, adapter, .. } = &mut **scratch;
        let weight = self.norm_of(layout.attention_norm);
        operations.normalise(inputs, &state.input, weight);
        for (place, projection) in [layout.query, layout.key, layout.value].into_iter().enumerate() {
            let out = if place == 0 { Output::Overwrite(&mut *normed) } else { Output::Add(&mut *normed) };
            self.project_back(out, (projection, inputs, &factors[place]), (gradients, adapter));
        }
        let sum = self.base_gradient(gradients, layout.attention_norm);
        operations.normalise_back_onto(hidden, (normed, &state.input, weight), sum, norm);
    }

    /// From the gradient of `middle` to those of the three projections' outputs, in bf16 in `factors`.
    fn attention_gradients(&self, layer: usize, state: &LayerState, pass: &mut Pass<'_>) {
        let (layout, operations) = (&self.layout.layers[layer], &self.operations);
        let Pass { blocks, scratch, backward, gradients } = pass;
        let BackwardScratch {
            hidden, hidden_rounded, attended, attended_rounded, delta, inputs, factors, norm, ..
        } = &mut **backward;
        operations.round(hidden_rounded, hidden);
        let rows = (layout.output, &state.attended, &*hidden_rounded);
        self.project_back(Output::Overwrite(attended), rows, (gradients, &mut scratch.adapter));
        operations.round(attended_rounded, attended);
        let rows = AttentionRows { queries: &state.query, keys: &state.key, values: &state.value, blocks };
        let [queries, keys, values] = &mut *inputs;
        let outputs = AttentionGradients { queries, keys, values, delta };
        operations.attend_back(outputs, attended_rounded, (&state.attended, &state.log_sums), rows);

        let rotations = self.rotations(layer, &scratch.positions);
        let raws = [&state.query_raw, &state.key_raw];
        for (place, (rotation, raw)) in rotations.into_iter().zip(raws).enumerate() {
            let sum = layout.head_norms.and_then(|norms| self.base_gradient(gradients, norms[place]));
            let rows = (rotation.norm.map(|_| raw), rotation);
            operations.rotate_back((&mut inputs[place], &mut factors[place]), rows, sum, norm);
        }
        operations.round(&mut factors[2], &inputs[2]);
        for (bias, rows) in layout.biases.into_iter().flatten().zip(&*inputs) {
            if let Some(sum) = self.base_gradient(gradients, bias) {
                operations.add_rows(sum, rows, norm);
            }
        }
    }
}
