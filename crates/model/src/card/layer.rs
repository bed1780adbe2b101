//! The two halves of a layer, which sampling and training share.

use kernels::cuda::{
    array::{Array, Bf16},
    operations::{Operations, Output},
};

use super::{CardModel, adapter::AdapterScratch};

/// What one layer computed for N rows; the backward reads it.
#[derive(Debug)]
pub(super) struct LayerState {
    /// \[N, C\], the layer's input.
    pub(super) input: Array<f32>,
    /// \[N, H, D\] before head norm and position embedding; empty without head norms.
    pub(super) query_raw: Array<f32>,
    /// \[N, K, D\] before head norm and position embedding; empty without head norms.
    pub(super) key_raw: Array<f32>,
    /// \[N, H, D\].
    pub(super) query: Array<Bf16>,
    /// \[N, K, D\].
    pub(super) key: Array<Bf16>,
    /// \[N, K, D\].
    pub(super) value: Array<Bf16>,
    /// \[N, H, D\], the attention's output.
    pub(super) attended: Array<Bf16>,
    /// \[N, H\], of the attention's scores.
    pub(super) log_sums: Array<f32>,
    /// \[N, C\], the input plus the projected attention.
    pub(super) middle: Array<f32>,
    /// \[N, mlp\].
    pub(super) gate: Array<f32>,
    /// \[N, mlp\].
    pub(super) up: Array<f32>,
}

impl LayerState {
    pub(super) fn new(operations: &Operations) -> Self {
        let machine = operations.machine();
        let (floats, rounded) = (|| Array::new(machine), || Array::new(machine));
        Self {
            input: floats(),
            query_raw: floats(),
            key_raw: floats(),
            query: rounded(),
            key: rounded(),
            value: rounded(),
            attended: rounded(),
            log_sums: floats(),
            middle: floats(),
            gate: floats(),
            up: floats(),
        }
    }
}

/// Buffers that keep their memory from call to call.
#[derive(Debug)]
pub(super) struct Scratch {
    /// \[N, C\], the residual stream between layers.
    pub(super) hidden: Array<f32>,
    /// \[N, C\], normalised rows.
    pub(super) normed: Array<Bf16>,
    /// \[N, mlp\].
    pub(super) activated: Array<Bf16>,
    /// \[N, H, D\] or \[N, K, D\], a projection that is rounded next.
    pub(super) projected: Array<f32>,
    /// \[N\], ids.
    pub(super) tokens: Array<u32>,
    /// \[N\].
    pub(super) positions: Array<u32>,
    pub(super) adapter: AdapterScratch,
}

impl Scratch {
    pub(super) fn new(operations: &Operations) -> Self {
        let machine = operations.machine();
        Self {
            hidden: Array::new(machine),
            normed: Array::new(machine),
            activated: Array::new(machine),
            projected: Array::new(machine),
            tokens: Array::new(machine),
            positions: Array::new(machine),
            adapter: AdapterScratch::new(operations),
        }
    }

    /// The rows that are computed next.
    pub(super) fn set(&mut self, tokens: &[u32], positions: &[u32]) {
        self.tokens.set(tokens);
        self.positions.set(positions);
    }
}

impl CardModel {
    /// Embeddings of the tokens in `scratch` into the residual stream.
    pub(super) fn embed(&self, scratch: &mut Scratch) {
        let table = self.values_of(self.layout.embedding);
        self.operations.gather(&mut scratch.hidden, table, &scratch.tokens, self.config.width);
    }

    /// First half of a layer: from its input (taken from `scratch.hidden`) to queries, keys and values.
    pub(super) fn attention_inputs(&self, layer: usize, state: &mut LayerState, scratch: &mut Scratch) {
        let (layout, operations) = (&self.layout.layers[layer], &self.operations);
        std::mem::swap(&mut scratch.hidden, &mut state.input);
        operations.normalise(&mut scratch.normed, &state.input, self.norm_of(layout.attention_norm));
        let Scratch { normed, projected, positions, adapter, .. } = scratch;
        let mut project = |out: &mut Array<f32>, weight, bias: Option<usize>| {
            self.project(Output::Overwrite(&mut *out), normed, weight, adapter);
            if let Some(bias) = bias {
                operations.add_bias(out, self.values_of(bias));
            }
        };
        let biases = layout.biases.map_or([None; 3], |biases| biases.map(Some));
        let [queries, keys] = self.rotations(layer, positions);
        for (rotation, weight, bias, out, raw) in [
            (queries, layout.query, biases[0], &mut state.query, &mut state.query_raw),
            (keys, layout.key, biases[1], &mut state.key, &mut state.key_raw),
        ] {
            // The backward of a norm reads what went into it.
            let raw = if rotation.norm.is_some() { raw } else { &mut *projected };
            project(raw, weight, bias);
            operations.rotate(out, raw, rotation);
        }
        project(projected, layout.value, biases[2]);
        operations.round(&mut state.value, projected);
    }

    /// Second half of a layer: from the attention's output to the layer's output in `scratch.hidden`.
    pub(super) fn attention_outputs(&self, layer: usize, state: &mut LayerState, scratch: &mut Scratch) {
        let (layout, operations) = (&self.layout.layers[layer], &self.operations);
        let Scratch { hidden, normed, activated, adapter, .. } = scratch;
        let LayerState { input, attended, middle, gate, up, .. } = state;
        self.project(Output::Sum(middle, input), attended, layout.output, adapter);
        operations.normalise(normed, middle, self.norm_of(layout.mlp_norm));
        self.project(Output::Overwrite(gate), normed, layout.gate, adapter);
        self.project(Output::Overwrite(up), normed, layout.up, adapter);
        operations.gate(activated, gate, up);
        self.project(Output::Sum(hidden, middle), activated, layout.down, adapter);
    }
}
