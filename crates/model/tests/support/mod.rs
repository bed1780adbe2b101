//! Reads the models and reference values that `scripts/reference/model_reference.py` recorded.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test whose recorded values cannot be read fails")]

use std::{collections::BTreeMap, convert::Infallible, fs, path::PathBuf};

use model::{Adapter, Compute, Model, ModelConfig};
use safetensors::{Dtype, SafeTensors};

/// The families with reference values.
pub(crate) const FAMILIES: [&str; 4] = ["qwen3", "qwen2", "llama", "smollm3"];

/// The directory of a family's model.
pub(crate) fn directory(family: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(family)
}

/// The families with reference values of an adapter.
pub(crate) const ADAPTED: [&str; 2] = ["qwen3", "qwen2"];

/// The directory of a family's adapter.
pub(crate) fn adapter_directory(family: &str) -> PathBuf {
    directory("adapters").join(family)
}

/// The family's model, frozen, with its adapter.
pub(crate) fn adapted(family: &str, compute: Compute) -> Model {
    let mut values = tensors(family, "model.safetensors");
    let config = ModelConfig::read(&directory(family)).unwrap();
    let Ok(model) = Model::frozen(config, compute, |shape| Ok::<_, Infallible>(values.remove(&shape.name).unwrap()));
    let adapter = Adapter::read(&adapter_directory(family), (model.config(), compute)).unwrap();
    model.with_adapter(adapter)
}

/// Every tensor of a file as f32; token ids, which are stored as integers, are small enough to be exact.
pub(crate) fn tensors(family: &str, file: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(directory(family).join(file)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: &str| -> Vec<f32> {
        let view = tensors.tensor(name).unwrap();
        let (words, _) = view.data().as_chunks::<4>();
        if view.dtype() == Dtype::I32 {
            return words.iter().map(|&word| i32::from_le_bytes(word) as f32).collect();
        }
        assert_eq!(view.dtype(), Dtype::F32, "{name}");
        words.iter().map(|&word| f32::from_le_bytes(word)).collect()
    };
    tensors.names().into_iter().map(|name| (name.to_string(), values(name))).collect()
}

/// The family's model as recorded, computing with `compute`.
pub(crate) fn model(family: &str, compute: Compute) -> Model {
    let mut values = tensors(family, "model.safetensors");
    let config = ModelConfig::read(&directory(family)).unwrap();
    let Ok(model) = Model::new(config, compute, |shape| Ok::<_, Infallible>(values.remove(&shape.name).unwrap()));
    assert!(values.is_empty(), "tensors that the model does not use: {:?}", values.keys());
    model
}

/// The three token sequences of the reference.
pub(crate) fn sequences(reference: &BTreeMap<String, Vec<f32>>) -> Vec<Vec<u32>> {
    (0..3).map(|i| reference[&format!("tokens.{i}")].iter().map(|&token| token as u32).collect()).collect()
}
