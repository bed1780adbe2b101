//! The architectures that are imported: GGUF metadata to `config.json`, GGUF tensor names and orders to those of
//! `transformers`.
//!
//! Names and conversions are the inverse of llama.cpp's `convert_hf_to_gguf.py`.

use serde_json::{Value as Json, json};

use super::{
    file::GgufFile,
    header::{Metadata, Value, required},
};

/// A family of models, named as in `general.architecture`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    Qwen2,
    Qwen3,
}

/// The dimensions of a model, C wide, with H query heads, K key-value heads of width D, L layers, vocabulary V.
#[derive(Debug)]
pub(super) struct Architecture {
    family: Family,
    vocabulary: usize,
    width: usize,
    layers: usize,
    query_heads: usize,
    key_value_heads: usize,
    head_width: usize,
    hidden_width: usize,
    context_tokens: usize,
    rope_theta: f64,
    rope_scaling: Option<Json>,
    rms_norm_epsilon: f64,
    has_own_output: bool,
}

/// A tensor to import.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PlannedTensor {
    /// Its name in the GGUF file.
    pub(super) source: String,
    /// Its name in `model.safetensors`.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) row_order: RowOrder,
}

/// How the rows of a tensor are ordered in the GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOrder {
    AsInTransformers,
    /// Within each of `heads` heads the two halves of the rotary dimensions alternate, as ggml's NORM rotation wants.
    RotaryInterleaved {
        heads: usize,
    },
}

impl RowOrder {
    /// `values` of a tensor with `rows` rows in the order of `transformers`.
    ///
    /// llama.cpp's `LlamaModel.permute` stores head row (half j, i) as row (i, j); this is the inverse.
    pub(super) fn restore(self, values: Vec<f32>, rows: usize) -> Vec<f32> {
        let RowOrder::RotaryInterleaved { heads } = self else { return values };
        let (row_values, half_rows) = (values.len() / rows, rows / heads / 2);
        let mut restored = Vec::with_capacity(values.len());
        for row in 0..rows {
            let (head, half, index) = (row / (2 * half_rows), row / half_rows % 2, row % half_rows);
            let stored_row = (head * half_rows + index) * 2 + half;
            restored.extend_from_slice(&values[stored_row * row_values..][..row_values]);
        }
        restored
    }
}

/// The keys below `<architecture>.` that are read or change nothing.
const KNOWN_KEYS: [&str; 17] = [
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "vocab_size",
];

/// Tensors of a layer, at least: seven matrices and two norms.
const LAYER_TENSORS_MIN: usize = 9;

impl Architecture {
    /// Reads the architecture of `file`; `Err` holds a message naming key and value.
    pub(super) fn read(file: &GgufFile) -> Result<Self, String> {
        let metadata = &file.metadata;
        let name = required(metadata.text("general.architecture")?, "general.architecture")?;
        let family = match name {
            "llama" => Family::Llama,
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            _ => return Err(format!("`general.architecture` is {name}; llama, qwen2 and qwen3 are imported")),
        };
        refuse_unknown_keys(metadata, name)?;
        let count = |key: &str| -> Result<usize, String> {
            let key = format!("{name}.{key}");
            required(metadata.count(&key)?.filter(|count| *count > 0), &key)
        };
        let layers = count("block_count")?;
        if layers * LAYER_TENSORS_MIN > file.tensors.len() {
            return Err(format!("`{name}.block_count` is {layers}, but there are {} tensors", file.tensors.len()));
        }
        let optional_count = |key: &str| metadata.count(&format!("{name}.{key}"));
        let (width, query_heads) = (count("embedding_length")?, count("attention.head_count")?);
        let head_width = optional_count("attention.key_length")?.unwrap_or(width / query_heads);
        let key_value_heads = optional_count("attention.head_count_kv")?.unwrap_or(query_heads);
        for (key, value) in [
            ("attention.value_length", optional_count("attention.value_length")?),
            ("rope.dimension_count", optional_count("rope.dimension_count")?),
        ] {
            if value.is_some_and(|value| value != head_width) {
                return Err(format!("`{name}.{key}` is {value:?}, the head width {head_width}; they must be equal"));
            }
        }
        if head_width == 0 || head_width % 2 != 0 || key_value_heads == 0 || query_heads % key_value_heads != 0 {
            return Err(format!(
                "heads do not divide: {query_heads} query heads, {key_value_heads} key-value heads, width {head_width}"
            ));
        }
        let epsilon_key = format!("{name}.attention.layer_norm_rms_epsilon");
        let rope_theta = metadata.float(&format!("{name}.rope.freq_base"))?.copied().unwrap_or(10_000.0);
        let embedding = file.tensors.get("token_embd.weight").filter(|tensor| tensor.shape.len() == 2);
        let mut architecture = Self {
            family,
            vocabulary: required(embedding, "token_embd.weight")?.shape[0],
            width,
            layers,
            query_heads,
            key_value_heads,
            head_width,
            hidden_width: count("feed_forward_length")?,
            context_tokens: count("context_length")?,
            rope_theta,
            rope_scaling: rope_scaling(metadata, name)?,
            rms_norm_epsilon: *required(metadata.float(&epsilon_key)?, &epsilon_key)?,
            has_own_output: file.tensors.contains_key("output.weight"),
        };
        if file.tensors.contains_key(ROPE_FACTORS) {
            let factors = file.read(ROPE_FACTORS).map_err(|error| error.to_string())?;
            architecture.rope_scaling = llama3_rope_scaling(&factors, rope_theta, head_width)?;
        }
        Ok(architecture)
    }

    /// `general.architecture`, which `config.json` calls `model_type`.
    pub(super) fn name(&self) -> &'static str {
        match self.family {
            Family::Llama => "llama",
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
        }
    }

    /// How many rows the embedding has: V.
    pub(super) fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The fields of `config.json` that the architecture decides.
    pub(super) fn config(&self) -> serde_json::Map<String, Json> {
        let class = match self.family {
            Family::Llama => "LlamaForCausalLM",
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
        };
        let common = json!({
            "architectures": [class],
            "attention_dropout": 0.0,
            "head_dim": self.head_width,
            "hidden_act": "silu",
            "hidden_size": self.width,
            "intermediate_size": self.hidden_width,
            "max_position_embeddings": self.context_tokens,
            "model_type": self.name(),
            "num_attention_heads": self.query_heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.key_value_heads,
            "rms_norm_eps": self.rms_norm_epsilon,
            "rope_scaling": self.rope_scaling,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": !self.has_own_output,
            "use_cache": true,
            "vocab_size": self.vocabulary,
        });
        let own = match self.family {
            Family::Llama => json!({"attention_bias": false, "mlp_bias": false}),
            Family::Qwen2 => json!({"use_sliding_window": false}),
            Family::Qwen3 => json!({"attention_bias": false, "use_sliding_window": false}),
        };
        [common, own].into_iter().filter_map(|part| part.as_object().cloned()).flatten().collect()
    }

    /// The tensors of the model, in the order in which they are written.
    ///
    /// Shapes: embeddings (V, C), query (H·D, C), key and value (K·D, C), output (C, H·D).
    pub(super) fn tensors(&self) -> Vec<PlannedTensor> {
        let plain = |source: &str, name: &str, shape: &[usize]| PlannedTensor {
            source: format!("{source}.weight"),
            name: format!("{name}.weight"),
            shape: shape.to_vec(),
            row_order: RowOrder::AsInTransformers,
        };
        let mut tensors = vec![plain("token_embd", "model.embed_tokens", &[self.vocabulary, self.width])];
        for layer in 0..self.layers {
            tensors.extend(self.layer_tensors(layer));
        }
        tensors.push(plain("output_norm", "model.norm", &[self.width]));
        if self.has_own_output {
            tensors.push(plain("output", "lm_head", &[self.vocabulary, self.width]));
        }
        tensors
    }

    fn layer_tensors(&self, layer: usize) -> Vec<PlannedTensor> {
        let (width, hidden) = (self.width, self.hidden_width);
        let query = self.query_heads * self.head_width;
        let key_value = self.key_value_heads * self.head_width;
        let mut parts = vec![
            ("attn_norm.weight", "input_layernorm.weight", vec![width]),
            ("attn_q.weight", "self_attn.q_proj.weight", vec![query, width]),
            ("attn_k.weight", "self_attn.k_proj.weight", vec![key_value, width]),
            ("attn_v.weight", "self_attn.v_proj.weight", vec![key_value, width]),
            ("attn_output.weight", "self_attn.o_proj.weight", vec![width, query]),
            ("ffn_norm.weight", "post_attention_layernorm.weight", vec![width]),
            ("ffn_gate.weight", "mlp.gate_proj.weight", vec![hidden, width]),
            ("ffn_up.weight", "mlp.up_proj.weight", vec![hidden, width]),
            ("ffn_down.weight", "mlp.down_proj.weight", vec![width, hidden]),
        ];
        match self.family {
            Family::Llama => {}
            Family::Qwen2 => parts.extend([
                ("attn_q.bias", "self_attn.q_proj.bias", vec![query]),
                ("attn_k.bias", "self_attn.k_proj.bias", vec![key_value]),
                ("attn_v.bias", "self_attn.v_proj.bias", vec![key_value]),
            ]),
            Family::Qwen3 => parts.extend([
                ("attn_q_norm.weight", "self_attn.q_norm.weight", vec![self.head_width]),
                ("attn_k_norm.weight", "self_attn.k_norm.weight", vec![self.head_width]),
            ]),
        }
        let planned = |(source, name, shape): (&str, &str, Vec<usize>)| PlannedTensor {
            row_order: match (self.family, source) {
                (Family::Llama, "attn_q.weight") => RowOrder::RotaryInterleaved { heads: self.query_heads },
                (Family::Llama, "attn_k.weight") => RowOrder::RotaryInterleaved { heads: self.key_value_heads },
                _ => RowOrder::AsInTransformers,
            },
            source: format!("blk.{layer}.{source}"),
            name: format!("model.layers.{layer}.{name}"),
            shape,
        };
        parts.into_iter().map(planned).collect()
    }
}

/// A tensor that llama.cpp derives from Llama 3's `rope_scaling`: one divisor for each rotary frequency.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A key that is not known may change what the model computes; it is refused unless it says 0 or false.
fn refuse_unknown_keys(metadata: &Metadata, architecture: &str) -> Result<(), String> {
    let mut own =
        metadata.0.iter().filter_map(|(key, value)| Some((key.strip_prefix(architecture)?.strip_prefix('.')?, value)));
    let changes = |(key, value): &(&str, &Value)| {
        !KNOWN_KEYS.contains(key) && !matches!(value, Value::Integer(0) | Value::Flag(false))
    };
    match own.find(changes) {
        None => Ok(()),
        Some((key, value)) => Err(format!(
            "`{architecture}.{key}` is {value:?}, a feature that is not imported; use a plain {architecture} model"
        )),
    }
}

/// The `rope_scaling` of `config.json` from the metadata keys.
fn rope_scaling(metadata: &Metadata, name: &str) -> Result<Option<Json>, String> {
    let attention_key = format!("{name}.rope.scaling.attn_factor");
    if let Some(factor) = metadata.float(&attention_key)?.filter(|factor| (**factor - 1.0).abs() > 1e-6) {
        return Err(format!("`{attention_key}` is {factor}; only models without it or with 1 are imported"));
    }
    let type_key = format!("{name}.rope.scaling.type");
    let factor_key = format!("{name}.rope.scaling.factor");
    let factor = metadata.float(&factor_key)?;
    match metadata.text(&type_key)? {
        None | Some("none") => Ok(None),
        Some("linear") => Ok(Some(json!({"rope_type": "linear", "factor": required(factor, &factor_key)?}))),
        Some(other) => Err(format!("`{type_key}` is {other}; none and linear are imported, because no other is run")),
    }
}

/// Llama 3's `rope_scaling` from the divisors llama.cpp keeps of it.
///
/// The divisors follow from a factor (the largest divisor) and three constants that all Llama 3.1 to 3.3 models share;
/// `Err` when these constants do not give `factors`.
fn llama3_rope_scaling(factors: &[f32], theta: f64, head_width: usize) -> Result<Option<Json>, String> {
    let (low, high, context) = (1.0, 4.0, 8192.0);
    let factor = f64::from(factors.iter().copied().fold(1.0, f32::max));
    let expected = |index: usize| {
        let wavelength = 2.0 * std::f64::consts::PI * theta.powf(2.0 * index as f64 / head_width as f64);
        let smooth = ((context / wavelength - low) / (high - low)).clamp(0.0, 1.0);
        1.0 / ((1.0 - smooth) / factor + smooth)
    };
    let agrees = |(index, found): (usize, &f32)| (f64::from(*found) / expected(index) - 1.0).abs() < 1e-3;
    if factors.len() * 2 != head_width || !factors.iter().enumerate().all(agrees) {
        return Err(format!("`{ROPE_FACTORS}` does not follow from Llama 3's rotary scaling; only that is imported"));
    }
    Ok((factor > 1.0).then(|| {
        json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": 8192,
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::{RowOrder, llama3_rope_scaling};

    #[test]
    fn interleaved_rotary_rows_return_to_halves() {
        // numpy: arange(8).reshape(2, 2, 2).swapaxes(1, 2) stores rows 0 2 1 3 | 4 6 5 7; one number a row.
        let stored = vec![0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
        let order = RowOrder::RotaryInterleaved { heads: 2 };
        assert_eq!(order.restore(stored, 8), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        // arange(6) as one head of 6 rows: (2, 3) transposed stores 0 3 1 4 2 5; two numbers a row.
        let stored = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0].iter().flat_map(|row| [*row, row + 0.5]).collect();
        let restored = RowOrder::RotaryInterleaved { heads: 1 }.restore(stored, 6);
        assert_eq!(restored, [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5]);
    }

    #[test]
    fn llama_3_rotary_scaling_is_recognised_by_its_divisors() {
        // theta 500000, head width 8, by hand: wavelengths 6.3, 167, 4443, 118143 positions; shorter than 2048 is
        // unscaled, longer than 8192 divided by 8, 4443: smooth = (8192/4442.88 - 1)/3 = 0.281275, 1/(0.718725/8 +
        // 0.281275) = 2.69460.
        let scaling = llama3_rope_scaling(&[1.0, 1.0, 2.6946, 8.0], 500_000.0, 8).unwrap().unwrap();
        assert_eq!(scaling["factor"], 8.0);
        assert_eq!(scaling["rope_type"], "llama3");
        assert_eq!(llama3_rope_scaling(&[1.0; 4], 500_000.0, 8).unwrap(), None);
        assert!(llama3_rope_scaling(&[1.0, 2.0, 3.0, 8.0], 500_000.0, 8).is_err());
    }
}
