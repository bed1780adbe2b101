//! A GGUF file to a model directory: the steps in order, and nothing left behind when one fails.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value as Json, json};

use super::{
    architecture::{Architecture, PlannedTensor, ROPE_FACTORS},
    blocks::BlockType,
    file::GgufFile,
    vocabulary::Vocabulary,
};
use crate::{
    ModelConfig, ModelError, StoredType, Tokenizer,
    replace::{replace_json, sync_parent},
    safetensors::write_tensors_streamed,
};

/// What an import read and wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportSummary {
    /// `model_type` of the written `config.json`.
    pub architecture: &'static str,
    /// Number of tensors written.
    pub tensors: usize,
    /// Number of parameters written.
    pub parameters: usize,
    /// Number of tokens in the vocabulary, unused ones included.
    pub vocabulary: usize,
    /// How the parameters are stored in `model.safetensors`.
    pub stored: StoredType,
    /// How many tensors the GGUF file holds of each ggml type.
    pub source_types: BTreeMap<&'static str, usize>,
}

/// Imports the GGUF file `file` into `directory`: `config.json`, `model.safetensors`, `tokenizer.json`,
/// `tokenizer_config.json` and `generation_config.json`.
///
/// `stored` is the type of the written parameters. `None` loses nothing: what all matrices of the file are in when that
/// is F16 or BF16, otherwise F32. `Some(StoredType::Bf16)` of a quantised file rounds once more and halves the size.
///
/// The files are written beside `directory` and moved there at the end, so that a failed import leaves nothing.
/// A model that ties its embeddings has no `output.weight` and gets `tie_word_embeddings`.
///
/// # Errors
/// [`ModelError`] when `directory` exists and is not empty, or the file is malformed, incomplete or of an architecture,
/// tokenizer or tensor type that is not imported; the message names key and value.
pub fn import(file: &Path, directory: &Path, stored: Option<StoredType>) -> Result<ImportSummary, ModelError> {
    // Without a slash at its end, which would put the staging directory inside.
    let directory = &directory.components().collect::<PathBuf>();
    refuse_occupied(directory)?;
    let mut staging = directory.as_os_str().to_owned();
    staging.push(".partial");
    let staging = PathBuf::from(staging);
    if staging.exists() {
        let message = "is where the model is written first, and is there already: an import is under way, or was killed; \
                       wait until it has ended, or remove it";
        return Err(ModelError::File { path: staging, message: message.to_owned() });
    }

    let source = GgufFile::open(file)?;
    let architecture = Architecture::read(&source).map_err(|message| source.error(message))?;
    let vocabulary = Vocabulary::read(&source.metadata).map_err(|message| source.error(message))?;
    let (tokens, rows) = (vocabulary.len(), architecture.vocabulary());
    if tokens > rows {
        let message = format!("`tokenizer.ggml.tokens` has {tokens} entries, but `token_embd.weight` has {rows} rows");
        return Err(source.error(message));
    }
    let tensors = architecture.tensors();
    check_tensors(&source, &tensors)?;
    let stored = stored.unwrap_or_else(|| lossless_type(&source));

    let failed = |action, path: &Path, cause| ModelError::Io { action, path: path.to_owned(), source: cause };
    let parent = staging.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent).map_err(|cause| failed("create", parent, cause))?;
    // Not where another import has made it since then.
    fs::create_dir(&staging).map_err(|cause| failed("create", &staging, cause))?;
    let written = write_directory(
        &source,
        &staging,
        &Plan { architecture: &architecture, vocabulary: &vocabulary, tensors: &tensors, stored },
    )
    .and_then(|()| fs::rename(&staging, directory).map_err(|cause| failed("create", directory, cause)))
    .and_then(|()| sync_parent(directory));
    if written.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_dir_all(&staging);
    }
    written?;
    let mut source_types = BTreeMap::new();
    for tensor in source.tensors.values() {
        *source_types.entry(tensor.kind.name()).or_insert(0) += 1;
    }
    Ok(ImportSummary {
        architecture: architecture.name(),
        tensors: tensors.len(),
        parameters: tensors.iter().map(|tensor| tensor.shape.iter().product::<usize>()).sum(),
        vocabulary: vocabulary.len(),
        stored,
        source_types,
    })
}

/// What is to be written.
struct Plan<'a> {
    architecture: &'a Architecture,
    vocabulary: &'a Vocabulary,
    tensors: &'a [PlannedTensor],
    stored: StoredType,
}

fn write_directory(source: &GgufFile, directory: &Path, plan: &Plan) -> Result<(), ModelError> {
    let mut config = plan.architecture.config();
    config.append(&mut plan.vocabulary.special_ids());
    config.insert("torch_dtype".to_owned(), json!(plan.stored.torch_name()));
    // What the network does not do is refused here rather than at the first run.
    let config = Json::Object(config);
    ModelConfig::parse(&config.to_string())
        .map_err(|message| source.error(format!("its config.json would be refused: {message}")))?;
    let tokenizer = plan.vocabulary.tokenizer().map_err(|message| source.error(message))?;
    let tokenizer_config = plan.vocabulary.tokenizer_config(&config["max_position_embeddings"]);
    replace_json(&directory.join("config.json"), &config)?;
    replace_json(&directory.join("tokenizer.json"), &tokenizer)?;
    replace_json(&directory.join("tokenizer_config.json"), &tokenizer_config)?;
    replace_json(&directory.join("generation_config.json"), &plan.vocabulary.generation_config())?;
    // A vocabulary whose merges or added tokens do not fit together is found here rather than at the first run.
    Tokenizer::open(directory)
        .map_err(|error| source.error(format!("its vocabulary does not make a tokenizer: {error}")))?;
    let layout: Vec<_> = plan.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.shape.clone())).collect();
    write_tensors_streamed(&directory.join("model.safetensors"), &layout, plan.stored, |index| {
        let tensor = &plan.tensors[index];
        let values = source.read(&tensor.source)?;
        // The writer would name the file that is not kept.
        if let Some(message) = plan.stored.overflow(&tensor.source, &values) {
            return Err(source.error(message));
        }
        Ok(Cow::Owned(tensor.row_order.restore(values, tensor.shape[0])))
    })
}

/// Every planned tensor is there in its shape, and every tensor of the file is planned.
fn check_tensors(source: &GgufFile, planned: &[PlannedTensor]) -> Result<(), ModelError> {
    for tensor in planned {
        let found = &source.tensor(&tensor.source)?.shape;
        if *found != tensor.shape {
            let message = format!(
                "tensor `{}` has shape {found:?} where the metadata asks for {:?}; download the file again",
                tensor.source, tensor.shape
            );
            return Err(source.error(message));
        }
    }
    let planned: BTreeSet<&str> = planned.iter().map(|tensor| tensor.source.as_str()).chain([ROPE_FACTORS]).collect();
    match source.tensors.keys().find(|name| !planned.contains(name.as_str())) {
        None => Ok(()),
        Some(name) => Err(source.error(format!("has a tensor `{name}`, which plain models lack; it is not imported"))),
    }
}

/// The smallest type that holds every number of `source`: norms are always stored as F32 and were once as the matrices.
fn lossless_type(source: &GgufFile) -> StoredType {
    let mut matrices = source.tensors.values().filter(|tensor| tensor.shape.len() > 1).map(|tensor| tensor.kind);
    match matrices.next() {
        Some(BlockType::Plain(stored)) if matrices.all(|kind| kind == BlockType::Plain(stored)) => stored,
        Some(_) | None => StoredType::F32,
    }
}

/// Refuses a place that a directory beside it cannot be renamed to.
fn refuse_occupied(directory: &Path) -> Result<(), ModelError> {
    let refused = |message: &str| Err(ModelError::File { path: directory.to_owned(), message: message.to_owned() });
    if directory.file_name().is_none() {
        return refused("has no name of its own; give the path of a directory that is to be made");
    }
    if !directory.exists() {
        return Ok(());
    }
    if !fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none()) {
        return refused("exists and is not empty; remove it or name another directory");
    }
    // Where a file system is mounted nothing can be renamed to, and an empty directory is no loss.
    if fs::remove_dir(directory).is_err() {
        return refused("cannot be replaced; name a directory that is not there, in it or elsewhere");
    }
    Ok(())
}
