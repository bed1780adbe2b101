//! A family's model before any training: a small Qwen3 with random parameters.

use std::path::Path;

use model::{Compute, Model, ModelConfig, StoredType, parameter_shapes, write_directory};
use record::write;

use super::Family;
use crate::{
    RlError,
    random::{Purpose, Stream},
};

impl Family {
    /// Writes the untrained model of `seed` to `directory` in Hugging Face layout.
    ///
    /// Matrices are normal with deviation 0.5/√C (what GPT-2's 0.02 is at its width), those that write to the residual
    /// stream divided by √(2·layers) as there; norms are 1.
    ///
    /// # Errors
    /// [`RlError`] naming the file that could not be written.
    pub fn write_untrained(&self, directory: &Path, seed: u64) -> Result<(), RlError> {
        write::create_directory(directory)?;
        let generation = format!("{{\"eos_token_id\": {}}}\n", self.end_token_id());
        for (name, text) in [
            ("config.json", &self.config_json()),
            ("tokenizer.json", &self.tokenizer_json()),
            ("tokenizer_config.json", &self.tokenizer_config_json()),
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

    /// Qwen3 in small: 141 thousand parameters with the ring's vocabulary.
    fn config_json(&self) -> String {
        let positions = (self.prompt_tokens + self.completion_tokens_max).next_multiple_of(32);
        format!(
            r#"{{
  "architectures": ["Qwen3ForCausalLM"],
  "model_type": "qwen3",
  "vocab_size": {},
  "hidden_size": 64,
  "intermediate_size": 176,
  "num_hidden_layers": 3,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "head_dim": 16,
  "hidden_act": "silu",
  "max_position_embeddings": {positions},
  "rms_norm_eps": 1e-06,
  "rope_theta": 10000.0,
  "tie_word_embeddings": true,
  "attention_bias": false,
  "eos_token_id": {},
  "pad_token_id": {},
  "torch_dtype": "float32"
}}
"#,
            self.vocabulary().len(),
            self.end_token_id(),
            self.padding_token_id()
        )
    }
}
