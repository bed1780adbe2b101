//! Files of a model: weights, GGUF, `config.json`, tokenizer and chat template.

use std::{collections::BTreeMap, path::Path};

use model::{
    ChatTemplate, Compute, Message, Model, ModelConfig, ModelError, ModelPlace, RANK_MAX, Role, StoredType,
    TensorFiles, TensorView, Tokenizer, import, parameter_shapes, write_tensors,
};

use super::{Reading, place, refused, remove_directory, write};

/// A text with what tokenizers treat in their own ways.
const TEXT: &str = "What's 7 + 12?\n\n  <|end|> \u{e9}\u{1f600} \u{ff11} A";

/// Name, shape and values.
type Tensor = (String, Vec<usize>, Vec<f32>);

/// Every tensor of a directory.
fn tensors(directory: &Path) -> Result<Vec<Tensor>, ModelError> {
    let files = TensorFiles::open(directory)?;
    let tensor = |name: &str| {
        let shape = files.shape(name).expect("a listed tensor has a shape").to_vec();
        Ok((name.to_owned(), shape.clone(), files.read(name, &shape)?))
    };
    files.names().map(tensor).collect()
}

/// Tensors that are read, and written as f32, are read again as they were.
pub(super) fn safetensors(bytes: &[u8]) -> Reading {
    place(|place| {
        let (directory, copy) = (place.join("safetensors"), place.join("safetensors-copy"));
        write(&directory.join("model.safetensors"), bytes);
        let found = match tensors(&directory) {
            Ok(found) => found,
            Err(error) => return refused(&error, "model.safetensors"),
        };
        let views: Vec<TensorView<'_>> =
            found.iter().map(|(name, shape, values)| TensorView { name, shape: shape.clone(), values }).collect();
        remove_directory(&copy);
        std::fs::create_dir_all(&copy).expect("a directory for the copy");
        write_tensors(&copy.join("model.safetensors"), &views, StoredType::F32).expect("f32 holds every number");
        let again = tensors(&copy).expect("what was written is read");
        let bits = |tensors: &[(String, Vec<usize>, Vec<f32>)]| -> Vec<(String, Vec<usize>, Vec<u32>)> {
            let of = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
            tensors.iter().map(|(name, shape, values)| (name.clone(), shape.clone(), of(values))).collect()
        };
        assert_eq!(bits(&found), bits(&again));
        Reading::Read
    })
}

/// An index, beside a file `a.safetensors` with the tensors `x` and `y`.
pub(super) fn safetensors_index(bytes: &[u8]) -> Reading {
    place(|place| {
        let directory = place.join("safetensors-index");
        if !directory.exists() {
            std::fs::create_dir_all(&directory).expect("a directory for the inputs");
            let [x, y] = ["x", "y"].map(|name| TensorView { name, shape: vec![2], values: &[1.0, 2.0] });
            write_tensors(&directory.join("a.safetensors"), &[x, y], StoredType::Bf16).expect("a shard");
        }
        write(&directory.join("model.safetensors.index.json"), bytes);
        match tensors(&directory) {
            Ok(found) => {
                assert!(found.iter().all(|(name, ..)| name == "x" || name == "y"), "{found:?}");
                Reading::Read
            }
            Err(error) => refused(&error, "safetensors"),
        }
    })
}

/// What is imported is a directory that the reader of models takes; a failed import leaves nothing.
pub(super) fn gguf(bytes: &[u8]) -> Reading {
    place(|place| {
        let (file, directory) = (place.join("model.gguf"), place.join("gguf"));
        remove_directory(&directory);
        write(&file, bytes);
        if let Err(error) = import(&file, &directory, None) {
            assert!(!directory.exists() && !place.join("gguf.partial").exists(), "{error}");
            return refused(&error, "model.gguf");
        }
        let config = ModelConfig::read(&directory).expect("the config is of a model");
        Tokenizer::open(&directory).expect("the tokenizer is one");
        let files = TensorFiles::open(&directory).expect("the weights are whole");
        for shape in parameter_shapes(&config) {
            files.read(&shape.name, &shape.shape).expect("every parameter is there in its shape");
        }
        Reading::Read
    })
}

/// Whatever a config says, its sizes can be added up, and its positions have frequencies.
pub(super) fn config(bytes: &[u8]) -> Reading {
    place(|place| {
        let directory = place.join("model-config");
        write(&directory.join("config.json"), bytes);
        let config = match ModelConfig::read(&directory) {
            Ok(config) => config,
            Err(error) => return refused(&error, "config.json"),
        };
        assert!(config.rope_frequencies().iter().all(|frequency| frequency.is_finite()), "{config:?}");
        assert!(config.norm_epsilon.is_finite(), "{config:?}");
        let positions = config.positions_max * config.heads.width;
        assert!(positions <= 1 << 28, "the table of positions would have {positions} numbers");
        assert_eq!(config.rotary_layers.len(), config.layers);
        assert!(Model::bytes(&config, Compute::F32) >= Model::parameter_bytes(&config));
        Reading::Read
    })
}

/// Whatever an adapter's config says, its scale is a number, and its projections are named once each.
pub(super) fn adapter_config(bytes: &[u8]) -> Reading {
    place(|place| {
        let directory = place.join("adapter");
        write(&directory.join("adapter_config.json"), bytes);
        let place = ModelPlace { base: place.to_owned(), adapter: Some(directory) };
        let settings = match place.adapter_settings() {
            Ok(settings) => settings.expect("the place has an adapter"),
            Err(error) => return refused(&error, "adapter_config.json"),
        };
        assert!(settings.scale().is_finite() && (1..=RANK_MAX).contains(&settings.rank), "{settings:?}");
        assert!(!settings.targets.is_empty() && settings.targets.is_sorted_by(|a, b| a < b), "{settings:?}");
        Reading::Read
    })
}

/// A tokenizer that is read encodes text, or says that it cannot, and decodes every id.
pub(super) fn tokenizer(bytes: &[u8]) -> Reading {
    place(|place| {
        let directory = place.join("tokenizer");
        write(&directory.join("tokenizer.json"), bytes);
        let tokenizer = match Tokenizer::open(&directory) {
            Ok(tokenizer) => tokenizer,
            Err(error) => return refused(&error, "tokenizer.json"),
        };
        if let Err(error) = tokenizer.encode(TEXT) {
            refused(&error, "tokenizer.json");
        }
        let ids: Vec<u32> = (0..tokenizer.vocabulary_size().min(600) as u32 + 2).chain([u32::MAX]).collect();
        tokenizer.decode(&ids);
        tokenizer.decode_with_special(&ids);
        let mut stream = tokenizer.stream();
        for &id in &ids {
            stream.push(id);
            tokenizer.token(id);
        }
        stream.finish();
        Reading::Read
    })
}

/// A template, once with a system message and once without.
fn render(directory: &Path, file: &str) -> Reading {
    let template = match ChatTemplate::open(directory) {
        Ok(Some(template)) => template,
        Ok(None) => return Reading::Refused,
        Err(error) => return refused(&error, file),
    };
    let message = |role, content: &str| Message { role, content: content.to_owned() };
    let conversation = [
        message(Role::System, "Be brief."),
        message(Role::User, "What is 7 + 5?"),
        message(Role::Assistant, "<think>7 + 5</think>12"),
        message(Role::User, "And {{ 1 }}?"),
    ];
    let mut reading = Reading::Refused;
    for messages in [&conversation[..], &conversation[1..2]] {
        match template.render(messages, &BTreeMap::new()) {
            Ok(text) => {
                let again = template.render(messages, &BTreeMap::new());
                assert_eq!(again.expect("it was rendered before"), text);
                reading = Reading::Read;
            }
            Err(error) => {
                refused(&error, file);
            }
        }
    }
    reading
}

pub(super) fn chat_template(bytes: &[u8]) -> Reading {
    place(|place| {
        let directory = place.join("chat-template");
        write(&directory.join("chat_template.jinja"), bytes);
        render(&directory, "chat_template.jinja")
    })
}

pub(super) fn tokenizer_config(bytes: &[u8]) -> Reading {
    place(|place| {
        let directory = place.join("tokenizer-config");
        write(&directory.join("tokenizer_config.json"), bytes);
        render(&directory, "tokenizer_config.json")
    })
}
