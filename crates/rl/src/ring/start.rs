//! The embedded task's model before any training: a small Qwen3 with random parameters.

use std::path::Path;

use model::{Compute, Model, ModelConfig, StoredType, parameter_shapes, write_directory};
use record::write;

use super::{END_TOKEN_ID, tokenizer_config_json, tokenizer_json};
use crate::{
    RlError,
    random::{Purpose, Stream},
};

/// Qwen3 in small: 141 thousand parameters.
const CONFIG: &str = r#"{
  "architectures": ["Qwen3ForCausalLM"],
  "model_type": "qwen3",
  "vocab_size": 36,
  "hidden_size": 64,
  "intermediate_size": 176,
  "num_hidden_layers": 3,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "head_dim": 16,
  "hidden_act": "silu",
  "max_position_embeddings": 96,
  "rms_norm_eps": 1e-06,
  "rope_theta": 10000.0,
  "tie_word_embeddings": true,
  "attention_bias": false,
  "eos_token_id": 33,
  "pad_token_id": 34,
  "torch_dtype": "float32"
}
"#;

/// Writes the untrained model of `seed` to `directory` in Hugging Face layout.
///
/// Matrices are normal with deviation 0.5/√C (what GPT-2's 0.02 is at its width), those that write to the residual
/// stream divided by √(2·layers) as there; norms are 1.
///
/// # Errors
/// [`RlError`] naming the file that could not be written.
pub fn write_start_model(directory: &Path, seed: u64) -> Result<(), RlError> {
    write::create_directory(directory)?;
    let generation = format!("{{\"eos_token_id\": {END_TOKEN_ID}}}\n");
    for (name, text) in [
        ("config.json", CONFIG),
        ("tokenizer.json", &tokenizer_json()),
        ("tokenizer_config.json", &tokenizer_config_json()),
        ("generation_config.json", &generation),
    ] {
        write::replace(&directory.join(name), text.as_bytes())?;
    }
    let config = ModelConfig::read(directory)?;
    let deviation = 0.5 / (config.width as f64).sqrt();
    let residual = 1.0 / (2.0 * config.layers as f64).sqrt();
    let names: Vec<String> = parameter_shapes(&config).into_iter().map(|shape| shape.name).collect();
    let Ok(model) = Model::new(config, Compute::F32, |shape| {
        let index = names.iter().position(|name| *name == shape.name).unwrap_or_default();
        let mut stream = Stream::new(seed, Purpose::Parameters, [index as u64, 0, 0]);
        let writes_residual = shape.name.ends_with("o_proj.weight") || shape.name.ends_with("down_proj.weight");
        let deviation = deviation * if writes_residual { residual } else { 1.0 };
        let value = || if shape.shape.len() == 1 { 1.0 } else { (deviation * stream.normal()) as f32 };
        Ok::<_, std::convert::Infallible>(std::iter::repeat_with(value).take(shape.count()).collect())
    });
    write_directory(&model, directory, directory, StoredType::F32)?;
    Ok(())
}
