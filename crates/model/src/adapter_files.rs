//! An adapter's directory in the format of PEFT: `adapter_config.json`, read as the file of a stranger, and
//! `adapter_model.safetensors`. Both are written so that `peft` loads them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use kernels::Compute;
use serde_json::{Map, Value, json};

use crate::{
    Adapter, AdapterScaling, AdapterSettings, ModelConfig, ModelError, Parameter, Projection, StoredType, TensorFiles,
    TensorView, files,
    lora::{ALPHA_MAX, RANK_MAX, adapter_shapes},
    replace::replace_json,
    write_tensors,
};

pub(crate) const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Fields whose value decides nothing that is computed here: dropout is for training by others, and all else is told by
/// the weights.
const PLAIN: [&str; 14] = [
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// Where a model is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPlace {
    /// The directory of a whole model.
    pub base: PathBuf,
    /// That of an adapter over it, where there is one.
    pub adapter: Option<PathBuf>,
}

impl From<PathBuf> for ModelPlace {
    /// A whole model.
    fn from(base: PathBuf) -> Self {
        Self { base, adapter: None }
    }
}

impl ModelPlace {
    /// The place of the model in `directory`: a whole one, or an adapter over that which its `adapter_config.json` names;
    /// `resolve` finds the directory of that name.
    ///
    /// # Errors
    /// What `resolve` returns, and [`ModelError`] naming the file and the field that is missing, out of range or not
    /// supported.
    pub fn of<E: From<ModelError>>(
        directory: PathBuf,
        resolve: impl FnOnce(&str) -> Result<PathBuf, E>,
    ) -> Result<Self, E> {
        if !directory.join(CONFIG).is_file() {
            return Ok(directory.into());
        }
        let name = AdapterConfig::read(&directory)?.base;
        let base = resolve(&name)?;
        if base.join(CONFIG).is_file() {
            let message = format!(
                "`base_model_name_or_path` is \"{name}\", which is an adapter itself; merge that one with `brevity merge` \
                 and name the result"
            );
            return Err(ModelError::File { path: directory.join(CONFIG), message }.into());
        }
        Ok(Self { base, adapter: Some(directory) })
    }

    /// The place of the model in `directory`, whose base is found as a directory alone.
    ///
    /// # Errors
    /// As [`ModelPlace::of`].
    pub fn local(directory: &Path) -> Result<Self, ModelError> {
        Self::of(directory.to_owned(), |name| {
            if Path::new(name).is_dir() {
                return Ok(name.into());
            }
            let message = format!(
                "`base_model_name_or_path` is \"{name}\", and there is no such directory; set it to the directory of the \
                 model that the adapter belongs to"
            );
            Err(ModelError::File { path: directory.join(CONFIG), message })
        })
    }

    /// Which projections its adapter adapts, and how; none of a whole model.
    ///
    /// # Errors
    /// [`ModelError`] naming the file and the field that is missing, out of range or not supported.
    pub fn adapter_settings(&self) -> Result<Option<AdapterSettings>, ModelError> {
        let read = |directory| Ok(AdapterConfig::read(directory)?.settings);
        self.adapter.as_deref().map(read).transpose()
    }
}

/// What `adapter_config.json` says.
struct AdapterConfig {
    settings: AdapterSettings,
    base: String,
}

impl AdapterConfig {
    fn read(directory: &Path) -> Result<Self, ModelError> {
        let path = directory.join(CONFIG);
        let text = files::read(&path)?;
        Self::parse(&text).map_err(|message| ModelError::File { path, message })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        let fields: Map<String, Value> = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let field = |name: &str| fields.get(name).unwrap_or(&Value::Null);
        if field("peft_type") != "LORA" {
            return Err(format!("`peft_type` is {}; supported is \"LORA\"", field("peft_type")));
        }
        if !matches!(field("task_type").as_str(), None | Some("CAUSAL_LM")) {
            return Err(format!("`task_type` is {}; supported is \"CAUSAL_LM\"", field("task_type")));
        }
        refuse_unsupported(&fields)?;
        let rank = field("r").as_u64().filter(|rank| (1..=RANK_MAX as u64).contains(rank));
        let rank = rank.ok_or_else(|| format!("`r` is {}; it must be between 1 and {RANK_MAX}", field("r")))? as usize;
        let alpha = field("lora_alpha").as_f64().filter(|alpha| alpha.abs() <= ALPHA_MAX);
        let alpha = alpha.ok_or_else(|| {
            format!("`lora_alpha` is {}; it must be a number of magnitude {ALPHA_MAX} at most", field("lora_alpha"))
        })?;
        let scaling = match field("use_rslora") {
            Value::Bool(true) => AdapterScaling::RootOfRank,
            Value::Bool(false) | Value::Null => AdapterScaling::Rank,
            other @ (Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
                return Err(format!("`use_rslora` is {other}; it must be true or false"));
            }
        };
        let base = field("base_model_name_or_path").as_str().filter(|name| !name.is_empty());
        let base = base.ok_or_else(|| {
            let found = field("base_model_name_or_path");
            format!("`base_model_name_or_path` is {found}; set it to the model that the adapter belongs to")
        })?;
        let targets = targets(field("target_modules"))?;
        Ok(Self { settings: AdapterSettings { rank, alpha, scaling, targets }, base: base.to_owned() })
    }
}

/// Refuses every field that would change what is computed, known or not, unless it is at rest.
fn refuse_unsupported(fields: &Map<String, Value>) -> Result<(), String> {
    let merge = "merge the adapter with peft (`merge_and_unload`) and use the whole model";
    let is_at_rest = |name: &str, value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::String(text) => matches!((name, text.as_str()), ("bias", "none") | ("revision", "main")),
        Value::Bool(true) | Value::Number(_) => false,
    };
    let unsupported = fields.iter().find(|(name, value)| !PLAIN.contains(&name.as_str()) && !is_at_rest(name, value));
    if let Some((name, value)) = unsupported {
        return Err(format!("`{name}` is {value}, which is not supported; {merge}"));
    }
    // Other beginnings than these change the base, too.
    match fields.get("init_lora_weights") {
        Some(Value::String(name)) if !matches!(name.as_str(), "gaussian" | "eva" | "orthogonal") => {
            Err(format!("`init_lora_weights` is \"{name}\", which changes the base, too; {merge}"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The projections that `target_modules` names.
fn targets(modules: &Value) -> Result<Vec<Projection>, String> {
    let known = Projection::ALL.map(Projection::name).join(", ");
    let unusable = || format!("`target_modules` is {modules}; it must be a list of some of {known}");
    let names = modules.as_array().filter(|names| !names.is_empty()).ok_or_else(unusable)?;
    let mut targets = Vec::with_capacity(names.len());
    for name in names {
        let target = Projection::ALL.into_iter().find(|target| name == target.name()).ok_or_else(|| {
            format!("`target_modules` names {name}, which is not supported; it must be a list of some of {known}")
        })?;
        targets.push(target);
    }
    targets.sort_unstable();
    targets.dedup();
    Ok(targets)
}

impl Adapter {
    /// Reads the adapter in `directory` for a model of `config` that computes with `compute`.
    ///
    /// # Errors
    /// [`ModelError`] naming the file, and the field or tensor that is missing, of another shape, or not supported.
    pub fn read(directory: &Path, (config, compute): (&ModelConfig, Compute)) -> Result<Self, ModelError> {
        let AdapterConfig { settings, base } = AdapterConfig::read(directory)?;
        let path = directory.join(WEIGHTS);
        let unusable = |message: String| ModelError::File { path: path.clone(), message };
        if !path.is_file() {
            let message = format!(
                "has no {WEIGHTS}; save the adapter in the format of safetensors, as peft does unless told otherwise"
            );
            return Err(ModelError::File { path: directory.to_owned(), message });
        }
        let files = TensorFiles::open_file(path.clone())?;
        let shapes = adapter_shapes(config, &settings);
        let known: BTreeSet<&str> = shapes.iter().map(|shape| shape.name.as_str()).collect();
        if let Some(name) = files.names().find(|name| !known.contains(name)) {
            return Err(unusable(format!(
                "has a tensor `{name}`, for which the base has no place under this {CONFIG}; its logits would be wrong \
                 without it"
            )));
        }
        Self::new(settings, base, (config, compute), |shape| {
            let (name, expected) = (&shape.name, &shape.shape);
            match files.shape(name) {
                None => {
                    Err(unusable(format!("has no tensor `{name}`, which {CONFIG} asks for; save the adapter again")))
                }
                Some(found) if found != expected => Err(unusable(format!(
                    "tensor `{name}` has shape {found:?} where {CONFIG} and the base ask for {expected:?}; use the base \
                     that the adapter was trained on"
                ))),
                Some(_) => files.read(name, expected),
            }
        })
    }

    /// Writes the adapter to `directory`, in f32; its `parameters` may be on a card.
    ///
    /// # Errors
    /// [`ModelError`] naming the file that could not be written.
    pub(crate) fn write(&self, parameters: &[Parameter], directory: &Path) -> Result<(), ModelError> {
        let AdapterSettings { rank, alpha, scaling, targets } = self.settings();
        let names: Vec<&str> = targets.iter().map(|target| target.name()).collect();
        // PEFT has alpha as an integer where it is one.
        let whole = (alpha.fract().abs() <= 0.0).then_some(json!(*alpha as i64));
        let config = json!({
            "base_model_name_or_path": self.base(),
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": whole.unwrap_or(json!(alpha)),
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": rank,
            "target_modules": names,
            "task_type": "CAUSAL_LM",
            "use_dora": false,
            "use_rslora": *scaling == AdapterScaling::RootOfRank,
        });
        replace_json(&directory.join(CONFIG), &config)?;
        let tensors: Vec<TensorView<'_>> = parameters.iter().map(TensorView::of).collect();
        write_tensors(&directory.join(WEIGHTS), &tensors, StoredType::F32)
    }
}

#[cfg(test)]
#[path = "adapter_files_tests.rs"]
mod tests;
