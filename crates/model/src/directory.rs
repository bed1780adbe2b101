//! A model directory in Hugging Face layout, read as a whole and written as a whole.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kernels::Compute;

use crate::{
    Adapter, ChatTemplate, Model, ModelConfig, ModelError, ModelPlace, ParameterShape, StoredType, TensorFiles,
    TensorView, Tokenizer, chat, files, parameter_shapes,
    replace::{replace_bytes, replace_json, write_failed},
    write_tensors,
};

/// Most tokens that may end a completion, which is asked of each token that is sampled; models name up to four.
const END_TOKENS_MAX: usize = 1000;

/// Files besides weights and `config.json` that make a directory usable by itself.
const COMPANIONS: [&str; 9] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "generation_config.json",
    "LICENSE",
];

/// Everything that sampling from a checkpoint needs.
#[derive(Debug)]
pub struct ModelDirectory {
    /// Where it was read from.
    pub path: PathBuf,
    /// The network.
    pub model: Model,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, where it has one.
    pub chat: Option<ChatTemplate>,
    /// Tokens that end a completion, in the order of generation_config.json, config.json, then tokenizer_config.json.
    pub end_tokens: Vec<u32>,
    /// The one of them that a turn is written to end with: `eos_token` of tokenizer_config.json, or else the first.
    pub turn_end: u32,
    /// How its weights are stored.
    pub stored: StoredType,
}

impl ModelDirectory {
    /// Reads weights, tokenizer, chat template and end tokens from `directory`, that of a whole model or of an adapter over
    /// one on this disk; the network computes with `compute`.
    ///
    /// # Errors
    /// [`ModelError`] naming the file, what is wrong with it and what to do.
    pub fn open(directory: &Path, compute: Compute) -> Result<Self, ModelError> {
        Self::open_place(&ModelPlace::local(directory)?, compute)
    }

    /// As [`ModelDirectory::open`], of a model whose place is known; an adapter's base is frozen.
    ///
    /// # Errors
    /// As [`ModelDirectory::open`].
    pub fn open_place(place: &ModelPlace, compute: Compute) -> Result<Self, ModelError> {
        let Some(path) = &place.adapter else { return Self::read(&place.base, compute, read_weights) };
        let mut directory = Self::open_frozen(&place.base, compute)?;
        let adapter = Adapter::read(path, (directory.model.config(), compute))?;
        directory.model = directory.model.with_adapter(adapter);
        directory.take_words(path)?;
        directory.path.clone_from(path);
        Ok(directory)
    }

    /// Speaks with the chat template and ends turns with the token that the files of an adapter beside it name, which was
    /// trained with them; what they do not name stays.
    ///
    /// # Errors
    /// [`ModelError`] when one of them is unreadable or malformed.
    pub fn take_words(&mut self, adapter: &Path) -> Result<(), ModelError> {
        if let Some(chat) = ChatTemplate::open(adapter)? {
            self.chat = Some(chat);
        }
        if let Some(end) = named_end(adapter, &self.tokenizer)? {
            self.take_end(end);
        }
        Ok(())
    }

    fn take_end(&mut self, token: u32) {
        self.turn_end = token;
        if !self.end_tokens.contains(&token) {
            self.end_tokens.push(token);
        }
    }

    /// As [`ModelDirectory::open_place`], of a model that stays as it is, which takes less memory.
    ///
    /// # Errors
    /// As [`ModelDirectory::open`].
    pub fn open_frozen_place(place: &ModelPlace, compute: Compute) -> Result<Self, ModelError> {
        if place.adapter.is_some() { Self::open_place(place, compute) } else { Self::open_frozen(&place.base, compute) }
    }

    /// As [`ModelDirectory::open`], of a whole model that stays as it is.
    ///
    /// # Errors
    /// As [`ModelDirectory::open`].
    pub fn open_frozen(directory: &Path, compute: Compute) -> Result<Self, ModelError> {
        Self::read(directory, compute, |directory, config, compute| {
            let (files, stored) = open_weights(directory, &parameter_shapes(&config))?;
            Ok((Model::frozen(config, compute, |shape| files.read(&shape.name, &shape.shape))?, stored))
        })
    }

    fn read(
        directory: &Path,
        compute: Compute,
        weights: impl FnOnce(&Path, ModelConfig, Compute) -> Result<(Model, StoredType), ModelError>,
    ) -> Result<Self, ModelError> {
        let config = ModelConfig::read(directory)?;
        let tokenizer = Tokenizer::open(directory)?;
        check_ids(&tokenizer, &config).map_err(|message| {
            let path = directory.join("tokenizer.json");
            ModelError::File { path, message }
        })?;
        let end_tokens = end_tokens(directory, config.vocabulary)?;
        let named_end = named_end(directory, &tokenizer)?;
        let (model, stored) = weights(directory, config, compute)?;
        let (path, chat) = (directory.to_owned(), ChatTemplate::open(directory)?);
        let mut read = Self { path, model, tokenizer, chat, turn_end: end_tokens[0], end_tokens, stored };
        if let Some(end) = named_end {
            read.take_end(end);
        }
        Ok(read)
    }
}

/// Reads the weights of `config` from `directory`; returns how they are stored, too.
///
/// # Errors
/// [`ModelError`] when a tensor is missing, of another shape, or not one of the model's.
pub fn read_weights(
    directory: &Path,
    config: ModelConfig,
    compute: Compute,
) -> Result<(Model, StoredType), ModelError> {
    let (files, stored) = open_weights(directory, &parameter_shapes(&config))?;
    Ok((Model::new(config, compute, |shape| files.read(&shape.name, &shape.shape))?, stored))
}

/// The weight files in `directory` of a model of these `shapes`, and how they are stored.
///
/// # Errors
/// [`ModelError`] when they cannot be opened or hold a tensor that is not one of the model's.
pub(crate) fn open_weights(
    directory: &Path,
    shapes: &[ParameterShape],
) -> Result<(TensorFiles, StoredType), ModelError> {
    let files = TensorFiles::open(directory)?;
    // Old checkpoints store the tied head again, or the position frequencies: both follow from the rest.
    let derived = |name: &str| name == "lm_head.weight" || name.ends_with("rotary_emb.inv_freq");
    let known: BTreeSet<&str> = shapes.iter().map(|shape| shape.name.as_str()).collect();
    let unknown = files.names().find(|name| !derived(name) && !known.contains(name));
    if let Some(name) = unknown {
        return Err(ModelError::File {
            path: directory.to_owned(),
            message: format!(
                "has a tensor `{name}` that a model of this config.json does not use; its logits would be wrong without it"
            ),
        });
    }
    let stored = files.stored_type(&shapes[0].name)?;
    Ok((files, stored))
}

/// Refuses tokens without a row in the embedding; the error is a message.
fn check_ids(tokenizer: &Tokenizer, config: &ModelConfig) -> Result<(), String> {
    match tokenizer.largest_id() {
        Some(id) if id as usize >= config.vocabulary => Err(format!(
            "has a token with id {id}, and `vocab_size` in config.json is {}; both files must belong to the same model",
            config.vocabulary
        )),
        Some(_) | None => Ok(()),
    }
}

/// The id of the `eos_token` of tokenizer_config.json: where a model was fine-tuned with another chat template than it was
/// made with, the other files often name the former end alone.
fn named_end(directory: &Path, tokenizer: &Tokenizer) -> Result<Option<u32>, ModelError> {
    Ok(chat::end_token(directory)?.and_then(|token| tokenizer.token_id(&token)))
}

/// Ids from `eos_token_id` of generation_config.json, then those that config.json adds.
fn end_tokens(directory: &Path, vocabulary: usize) -> Result<Vec<u32>, ModelError> {
    let mut found = Vec::new();
    for name in ["generation_config.json", "config.json"] {
        let path = directory.join(name);
        if !path.is_file() {
            continue;
        }
        let unusable = |message: String| ModelError::File { path: path.clone(), message };
        let text = files::read(&path)?;
        let json: serde_json::Value = serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        let ids = match &json["eos_token_id"] {
            serde_json::Value::Array(ids) => ids.clone(),
            serde_json::Value::Null => Vec::new(),
            id @ (serde_json::Value::Bool(_)
            | serde_json::Value::Number(_)
            | serde_json::Value::String(_)
            | serde_json::Value::Object(_)) => vec![id.clone()],
        };
        if ids.len() > END_TOKENS_MAX {
            let message = format!("`eos_token_id` holds {} ids; at most {END_TOKENS_MAX} are read", ids.len());
            return Err(unusable(format!("{message}, so name those that end a completion alone")));
        }
        for id in ids {
            let id = id.as_u64().filter(|&id| id < vocabulary as u64).ok_or_else(|| {
                unusable(format!("`eos_token_id` holds {id}, which is not a token id below {vocabulary}"))
            })?;
            if !found.contains(&(id as u32)) {
                found.push(id as u32);
            }
        }
    }
    if found.is_empty() {
        return Err(ModelError::File {
            path: directory.join("generation_config.json"),
            message: "names no `eos_token_id`, and neither does config.json; add one, or no completion would ever end"
                .into(),
        });
    }
    Ok(found)
}

/// Writes `model` to `directory`: one that trains an adapter as that alone, so that PEFT loads it; any other so that
/// transformers loads it, weights as `stored`, and the other files of the model at `source`, with `config.json` naming the
/// new type.
///
/// # Errors
/// [`ModelError`] naming the file that could not be read or written.
pub fn write_directory(model: &Model, source: &Path, directory: &Path, stored: StoredType) -> Result<(), ModelError> {
    if let Some(adapter) = model.adapter() {
        fs::create_dir_all(directory).map_err(|source| write_failed(directory, source))?;
        return adapter.write(&model.fetched(), directory);
    }
    write_companions(source, directory, stored)?;
    let parameters = model.fetched();
    let tensors: Vec<TensorView<'_>> = parameters.iter().map(TensorView::of).collect();
    write_tensors(&directory.join("model.safetensors"), &tensors, stored)
}

/// Bytes of what [`write_directory`] copies beside the weights of `model` from the model at `source`.
pub fn companion_bytes(model: &Model, source: &Path) -> u64 {
    if model.adapter().is_some() {
        return 0;
    }
    let files = COMPANIONS.iter().chain(&["config.json"]).filter_map(|name| fs::metadata(source.join(name)).ok());
    files.filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

/// Writes what a model directory needs beside the weights, from the model at `source`, with `config.json` naming `stored`.
///
/// # Errors
/// [`ModelError`] naming the file that could not be read or written.
pub(crate) fn write_companions(source: &Path, directory: &Path, stored: StoredType) -> Result<(), ModelError> {
    fs::create_dir_all(directory).map_err(|source| write_failed(directory, source))?;
    for name in COMPANIONS.iter().filter(|name| source.join(name).is_file()) {
        replace_bytes(&directory.join(name), &files::read(&source.join(name))?)?;
    }
    let config_path = source.join("config.json");
    let unusable =
        |error: serde_json::Error| ModelError::File { path: config_path.clone(), message: error.to_string() };
    let mut config: serde_json::Value = serde_json::from_slice(&files::read(&config_path)?).map_err(unusable)?;
    if let Some(fields) = config.as_object_mut() {
        // transformers 5 writes `dtype`, earlier versions `torch_dtype`; both read the name they know.
        let field = if fields.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        fields.insert(field.into(), stored.torch_name().into());
    }
    replace_json(&directory.join("config.json"), &config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_beyond_the_embedding_is_refused_however_few_there_are() {
        let directory = tempfile::tempdir().unwrap();
        let tokenizer = serde_json::json!({
            "pre_tokenizer": {"type": "WhitespaceSplit"},
            "model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1000}, "unk_token": "a"},
        });
        replace_json(&directory.path().join("tokenizer.json"), &tokenizer).unwrap();
        let tokenizer = Tokenizer::open(directory.path()).unwrap();
        let check = |vocabulary: usize| {
            let config = include_str!("../tests/data/qwen3/config.json");
            check_ids(&tokenizer, &ModelConfig { vocabulary, ..ModelConfig::parse(config).unwrap() })
        };
        assert_eq!(check(1001), Ok(()));
        let error = check(1000).unwrap_err();
        assert!(
            error.contains("has a token with id 1000, and `vocab_size` in config.json is 1000; both files"),
            "{error}"
        );
    }

    #[test]
    fn end_tokens_are_of_both_files_once_each_and_a_thousand_at_most() {
        let directory = tempfile::tempdir().unwrap();
        let read = |generation: &str, config: &str| {
            for (name, ids) in [("generation_config.json", generation), ("config.json", config)] {
                let text = format!("{{\"eos_token_id\": {ids}}}");
                replace_bytes(&directory.path().join(name), text.as_bytes()).unwrap();
            }
            end_tokens(directory.path(), 2000).map_err(|error| error.to_string())
        };
        assert_eq!(read("[7, 3, 7]", "5"), Ok(vec![7, 3, 5]));
        assert_eq!(read("null", "[3, 3]"), Ok(vec![3]));
        let ids = |count: u32| serde_json::json!((0..count).collect::<Vec<_>>()).to_string();
        assert_eq!(read(&ids(1000), "7").map(|found| found.len()), Ok(1000));
        let error = read(&ids(1001), "7").unwrap_err();
        assert!(
            error.contains("generation_config.json: `eos_token_id` holds 1001 ids; at most 1000 are read"),
            "{error}"
        );
        let error = read("7", "2000").unwrap_err();
        assert!(
            error.contains("config.json: `eos_token_id` holds 2000, which is not a token id below 2000"),
            "{error}"
        );
    }
}
