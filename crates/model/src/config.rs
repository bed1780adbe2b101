//! `config.json` of a checkpoint, read into what the network needs. Anything it says that the network would ignore at
//! the price of wrong logits is refused by name.

use std::path::Path;

use kernels::attention::Heads;
use serde::Deserialize;

use crate::{ModelError, files};

/// Numbers in the table of positions, at most: 1 GiB, which is 2 million positions of heads of 128.
const POSITION_NUMBERS_MAX: usize = 1 << 28;

/// Model families, which differ in a few switches only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Normalises each query and key head before the position embedding.
    Qwen3,
    /// Biases on the query, key and value projections.
    Qwen2,
    /// Neither; SmolLM2 is of this family.
    Llama,
    /// Llama with some layers without position embedding.
    SmolLm3,
}

/// How position frequencies are stretched beyond the trained context.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    Unscaled,
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, blended between.
    Llama3 {
        /// Divides the frequencies of long wavelengths.
        factor: f64,
        /// Wavelengths above context / this are scaled fully.
        low_frequency_factor: f64,
        /// Wavelengths below context / this are kept.
        high_frequency_factor: f64,
        /// Context of the original training, tokens.
        original_positions: f64,
    },
    /// All positions divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
}

/// What the network needs to know of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Family.
    pub family: Family,
    /// V.
    pub vocabulary: usize,
    /// C.
    pub width: usize,
    /// L.
    pub layers: usize,
    /// H, K and D.
    pub heads: Heads,
    /// Width of the gated MLP.
    pub mlp_width: usize,
    /// Epsilon of every norm.
    pub norm_epsilon: f32,
    /// Base of the position frequencies.
    pub rope_theta: f64,
    /// Scaling of the position frequencies.
    pub rope_scaling: RopeScaling,
    /// For each layer, whether queries and keys carry positions.
    pub rotary_layers: Vec<bool>,
    /// Longest sequence, tokens.
    pub positions_max: usize,
    /// Whether the head shares the embedding's weights.
    pub tied_embeddings: bool,
}

/// The fields of `config.json` that matter, in the spellings of transformers 4 and 5.
#[derive(Deserialize)]
struct Raw {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    max_position_embeddings: usize,
    tie_word_embeddings: Option<bool>,
    hidden_act: Option<String>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    use_sliding_window: Option<bool>,
    no_rope_layers: Option<Vec<u8>>,
    num_experts: Option<usize>,
    quantization_config: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawRope {
    rope_type: Option<String>,
    /// What `rope_type` was called before; `transformers` writes both.
    #[serde(rename = "type")]
    former_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

impl ModelConfig {
    /// Reads `config.json` of a model directory.
    ///
    /// # Errors
    /// [`ModelError`] naming the file and the field that is missing, out of range or not supported.
    pub fn read(directory: &Path) -> Result<Self, ModelError> {
        let path = directory.join("config.json");
        let text = files::read_text(&path)?;
        Self::parse(&text).map_err(|message| ModelError::File { path, message })
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// What is missing, out of range or not supported.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: Raw = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let family = match raw.model_type.as_str() {
            "qwen3" => Family::Qwen3,
            "qwen2" => Family::Qwen2,
            "llama" => Family::Llama,
            "smollm3" => Family::SmolLm3,
            other => {
                return Err(format!("`model_type` is \"{other}\"; supported are qwen3, qwen2, llama and smollm3"));
            }
        };
        refuse_unsupported(&raw)?;
        let key_value = raw.num_key_value_heads.unwrap_or(raw.num_attention_heads);
        let heads = Heads {
            query: raw.num_attention_heads,
            key_value,
            width: raw.head_dim.unwrap_or(raw.hidden_size / raw.num_attention_heads.max(1)),
        };
        let rope = raw.rope_parameters.as_ref().or(raw.rope_scaling.as_ref());
        let config = Self {
            family,
            vocabulary: raw.vocab_size,
            width: raw.hidden_size,
            layers: raw.num_hidden_layers,
            heads,
            mlp_width: raw.intermediate_size,
            norm_epsilon: raw.rms_norm_eps as f32,
            rope_theta: rope.and_then(|rope| rope.rope_theta).or(raw.rope_theta).unwrap_or(10_000.0),
            rope_scaling: rope_scaling(rope)?,
            rotary_layers: rotary_layers(&raw, family)?,
            positions_max: raw.max_position_embeddings,
            // Each family's default in transformers when the field is absent.
            tied_embeddings: raw.tie_word_embeddings.unwrap_or(matches!(family, Family::SmolLm3)),
        };
        config.check_ranges()?;
        Ok(config)
    }

    fn check_ranges(&self) -> Result<(), String> {
        let bounded = [
            ("vocab_size", self.vocabulary, 1 << 24),
            ("hidden_size", self.width, 1 << 20),
            ("num_hidden_layers", self.layers, 1 << 12),
            ("num_attention_heads", self.heads.query, 1 << 12),
            ("num_key_value_heads", self.heads.key_value, 1 << 12),
            ("head_dim", self.heads.width, 1 << 12),
            ("intermediate_size", self.mlp_width, 1 << 22),
            ("max_position_embeddings", self.positions_max, 1 << 24),
        ];
        for (field, value, limit) in bounded {
            if value == 0 || value > limit {
                return Err(format!("`{field}` is {value}; it must be between 1 and {limit}"));
            }
        }
        if !self.heads.query.is_multiple_of(self.heads.key_value) {
            return Err(format!(
                "`num_attention_heads` is {}, which `num_key_value_heads` = {} does not divide",
                self.heads.query, self.heads.key_value
            ));
        }
        let together = self.heads.query / self.heads.key_value;
        if together > Heads::RATIO_MAX {
            let max = Heads::RATIO_MAX;
            return Err(format!(
                "`num_attention_heads` gives each of `num_key_value_heads` {together} query heads; at most {max} are supported"
            ));
        }
        if !self.heads.width.is_multiple_of(2) {
            return Err(format!("`head_dim` is {}; the position embedding needs an even one", self.heads.width));
        }
        let positions = self.positions_max;
        if positions * self.heads.width > POSITION_NUMBERS_MAX {
            return Err(format!(
                "`max_position_embeddings` is {positions}, for which the table of positions takes more than 1 GiB; lower it"
            ));
        }
        if !(self.norm_epsilon >= 0.0 && self.norm_epsilon.is_finite()) {
            let epsilon = self.norm_epsilon;
            return Err(format!("`rms_norm_eps` is {epsilon} in f32; it must be a finite number ≥ 0"));
        }
        if self.rope_theta <= 1.0 {
            return Err(format!("`rope_theta` is {}; it must be > 1", self.rope_theta));
        }
        if !self.rope_frequencies().iter().all(|frequency| frequency.is_finite()) {
            let scaling = self.rope_scaling;
            return Err(format!("`rope_scaling` is {scaling:?}, which gives no frequencies; download the file again"));
        }
        Ok(())
    }

    /// Whether queries and keys are normalised per head.
    pub fn has_head_norms(&self) -> bool {
        self.family == Family::Qwen3
    }

    /// Whether query, key and value projections have biases.
    pub fn has_projection_biases(&self) -> bool {
        self.family == Family::Qwen2
    }

    /// Position frequencies, radians per position, \[D/2\]: theta^(−2i/D), scaled.
    pub fn rope_frequencies(&self) -> Vec<f64> {
        let width = self.heads.width;
        let unscaled = (0..width / 2).map(|i| self.rope_theta.powf(-((2 * i) as f64) / width as f64));
        unscaled.map(|frequency| self.rope_scaling.apply(frequency)).collect()
    }
}

impl RopeScaling {
    fn apply(self, frequency: f64) -> f64 {
        match self {
            Self::Unscaled => frequency,
            Self::Linear { factor } => frequency / factor,
            // transformers, `_compute_llama3_parameters`.
            Self::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_positions } => {
                let turns = original_positions * frequency / std::f64::consts::TAU;
                let kept = (turns - low_frequency_factor) / (high_frequency_factor - low_frequency_factor);
                let kept = kept.clamp(0.0, 1.0);
                (1.0 - kept) * frequency / factor + kept * frequency
            }
        }
    }
}

fn refuse_unsupported(raw: &Raw) -> Result<(), String> {
    if let Some(activation) = raw.hidden_act.as_deref().filter(|name| *name != "silu") {
        return Err(format!("`hidden_act` is \"{activation}\"; only \"silu\" is supported"));
    }
    let switches = [
        ("attention_bias", raw.attention_bias == Some(true) && raw.model_type != "qwen2"),
        ("mlp_bias", raw.mlp_bias == Some(true)),
        ("use_sliding_window", raw.use_sliding_window == Some(true)),
    ];
    if let Some((field, _)) = switches.iter().find(|(_, on)| *on) {
        return Err(format!("`{field}` is true, which is not supported; use a checkpoint without it"));
    }
    if raw.num_experts.is_some_and(|experts| experts > 0) {
        return Err("`num_experts` is set; mixtures of experts are not supported".into());
    }
    if raw.quantization_config.is_some() {
        return Err(
            "`quantization_config` is set; use the unquantised checkpoint, or a GGUF file with import-gguf".into()
        );
    }
    Ok(())
}

fn rope_scaling(rope: Option<&RawRope>) -> Result<RopeScaling, String> {
    let Some(rope) = rope else { return Ok(RopeScaling::Unscaled) };
    let need = |name: &str, value: Option<f64>| {
        value.filter(|&x| x > 0.0).ok_or(format!("`rope_scaling` needs a positive `{name}`"))
    };
    match rope.rope_type.as_deref().or(rope.former_type.as_deref()) {
        None | Some("default") => Ok(RopeScaling::Unscaled),
        Some("linear") => Ok(RopeScaling::Linear { factor: need("factor", rope.factor)? }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: need("factor", rope.factor)?,
            low_frequency_factor: need("low_freq_factor", rope.low_freq_factor)?,
            high_frequency_factor: need("high_freq_factor", rope.high_freq_factor)?,
            original_positions: need("original_max_position_embeddings", rope.original_max_position_embeddings)?,
        }),
        Some(other) => Err(format!("`rope_type` is \"{other}\"; supported are default, linear and llama3")),
    }
}

fn rotary_layers(raw: &Raw, family: Family) -> Result<Vec<bool>, String> {
    let layers = raw.num_hidden_layers;
    match (&raw.no_rope_layers, family) {
        // The field's name misleads: 1 means that the layer does have positions.
        (Some(marks), Family::SmolLm3) if marks.len() == layers => Ok(marks.iter().map(|&mark| mark == 1).collect()),
        (Some(marks), Family::SmolLm3) => {
            Err(format!("`no_rope_layers` has {} entries for {layers} layers", marks.len()))
        }
        (None, Family::SmolLm3) => Err("`no_rope_layers` is missing".into()),
        (_, Family::Llama | Family::Qwen2 | Family::Qwen3) => Ok(vec![true; layers.min(1 << 12)]),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
