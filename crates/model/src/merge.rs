//! An adapter and its base made into one whole model.

use std::{borrow::Cow, path::Path};

use kernels::Compute;

use crate::{
    Adapter, ModelConfig, ModelError, ModelPlace, ParameterShape, StoredType,
    adapter_files::CONFIG,
    directory::{open_weights, write_companions},
    parameter_shapes,
    safetensors::write_tensors_streamed,
};

/// What a merge came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeSummary {
    /// Matrices that the adapter changed.
    pub adapted: usize,
    /// Parameters of the whole model.
    pub parameters: usize,
    /// How they are stored, as the base's are.
    pub stored: StoredType,
}

/// Writes the model at `place` to the new directory `directory` in Hugging Face layout, with W + scale · B·A, computed in
/// f32 and rounded once to the base's stored type, in place of each adapted W.
///
/// # Errors
/// [`ModelError`] when `place` has no adapter, a file of either is not as it must be, or one cannot be written.
pub fn merge(place: &ModelPlace, directory: &Path) -> Result<MergeSummary, ModelError> {
    let base = &place.base;
    let Some(adapter) = &place.adapter else {
        let is_model = base.join("config.json").is_file();
        let what = if is_model { "is a whole model" } else { "holds no adapter_config.json" };
        let inner = base.join("model");
        let remedy = if inner.join(CONFIG).is_file() {
            format!("give the directory of the adapter, {}", inner.display())
        } else {
            "give the directory of an adapter, which holds adapter_config.json".to_owned()
        };
        return Err(ModelError::File { path: base.clone(), message: format!("{what}; {remedy}") });
    };
    let config = ModelConfig::read(base)?;
    let adapter = Adapter::read(adapter, (&config, Compute::F32))?;
    let shapes = parameter_shapes(&config);
    let (files, stored) = open_weights(base, &shapes)?;
    write_companions(base, directory, stored)?;
    let layout: Vec<_> = shapes.iter().map(|shape| (shape.name.clone(), shape.shape.clone())).collect();
    write_tensors_streamed(&directory.join("model.safetensors"), &layout, stored, |index| {
        let mut values = files.read(&shapes[index].name, &shapes[index].shape)?;
        adapter.merge_into(index, &mut values);
        Ok(Cow::Owned(values))
    })?;
    let adapted = (0..shapes.len()).filter(|&index| adapter.place(index).is_some()).count();
    Ok(MergeSummary { adapted, parameters: shapes.iter().map(ParameterShape::count).sum(), stored })
}
