//! Where a model or a benchmark is: on disk, or in a repository of the Hugging Face hub in its cache or on the network.

mod cache;
mod client;
mod download;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use model::{ModelConfig, ModelDirectory, ModelPlace, shard_names};
use rl::{
    HubFile,
    config::ComputeType,
    estimate::{PlannedModel, gibibytes},
};

use self::{
    cache::{Cache, Repository},
    download::{Hub, Listing},
};
use crate::{console::Console, machine};

const WEIGHTS: &str = "model.safetensors";
const WEIGHTS_INDEX: &str = "model.safetensors.index.json";
const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
const OPTIONAL: [&str; 3] = ["generation_config.json", "tokenizer_config.json", "chat_template.jinja"];
/// What an adapter was trained to speak with, where that is not what its base has.
const ADAPTER_WORDS: [&str; 2] = ["tokenizer_config.json", "chat_template.jinja"];
const ADAPTER_CONFIG: &str = "adapter_config.json";
const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// The directory of the model or adapter that `name` means: a directory, or a hub name such as `Qwen/Qwen3-0.6B`, whose
/// files are downloaded unless they are in the cache.
fn model_directory(name: &str, console: &Console) -> Result<PathBuf> {
    let path = Path::new(name);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    machine::refuse_hidden(path)?;
    if path.exists() {
        bail!("`{name}` is a file, not a model directory; give the directory that holds config.json");
    }
    if !is_hub_name(name) {
        bail!(
            "there is no directory `{name}`, and it is no hub name such as `Qwen/Qwen3-0.6B`; check the spelling, or \
             give the path of a directory that holds config.json"
        );
    }
    let cache = Cache::from_environment(name)?;
    let repository = cache.model(name);
    if let Some(directory) = cached_directory(&repository)? {
        return Ok(directory);
    }
    if is_offline() {
        bail!(
            "there is no directory `{name}`, no such model in the cache {}, and HF_HUB_OFFLINE forbids to download it; \
             download it where there is a network, and give the path of its directory",
            cache.path().display()
        );
    }
    console.note(format!("downloading {name} into {}", cache.path().display()));
    download(name, &repository, console)
}

/// Where the model that `name` means lies, as [`model_directory`] finds it: with its base, where it is an adapter.
pub(crate) fn model_place(name: &str, console: &Console) -> Result<ModelPlace> {
    ModelPlace::of(model_directory(name, console)?, |base| {
        model_directory(base, console)
            .with_context(|| format!("`{name}` is an adapter, and its adapter_config.json names the base `{base}`"))
    })
}

/// The model that `name` means, as [`model_place`] finds it, read into memory to be used as it is.
pub(crate) fn open_model(name: &str, compute: Option<ComputeType>, console: &Console) -> Result<ModelDirectory> {
    open_place(name, &model_place(name, console)?, compute, console)
}

/// As [`open_model`], of a model whose place is known.
pub(crate) fn open_place(
    name: &str,
    place: &ModelPlace,
    compute: Option<ComputeType>,
    console: &Console,
) -> Result<ModelDirectory> {
    let compute = ComputeType::resolve(compute);
    let config = ModelConfig::read(&place.base)?;
    let adapter = place.adapter_settings()?;
    let need = PlannedModel { config: &config, adapter: adapter.as_ref() }.frozen(compute.into()) as u64;
    if let Some(available) = machine::memory_bytes_available().filter(|&available| available < need) {
        let [need, available] = [need, available].map(gibibytes);
        bail!("the weights of `{name}` need about {need} and {available} are available; choose a smaller model");
    }
    console.note(format!("reading {}", place.adapter.as_ref().unwrap_or(&place.base).display()));
    Ok(ModelDirectory::open_frozen_place(place, compute)?)
}

/// A file of a data set on the hub, downloaded unless it is in the cache; `name` is the benchmark's.
pub(crate) fn benchmark_file(name: &str, source: HubFile, console: &Console) -> Result<PathBuf> {
    let HubFile { repository, file } = source;
    let cache = Cache::from_environment(name)?;
    let dataset = cache.dataset(repository);
    if let Some(path) = dataset.find(file) {
        return Ok(path);
    }
    let remedy = "pass --data with its file or the directory that holds it";
    let place = cache.path().display();
    if is_offline() {
        bail!(
            "benchmark `{name}` is {file} of the data set {repository}, which is not in the cache {place}, and \
             HF_HUB_OFFLINE forbids to download it; {remedy}"
        );
    }
    console.note(format!("downloading {file} of {repository} into {place}"));
    let fetched = Hub::from_environment(console)?.fetch(&dataset, None, file).with_context(|| {
        format!("benchmark `{name}` cannot be downloaded ({file} of the data set {repository} on the hub); {remedy}")
    })?;
    dataset.set_main(&fetched.commit)?;
    Ok(fetched.path)
}

/// Two parts of letters, digits, `.`, `_` and `-` around one slash.
fn is_hub_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
        part.starts_with(|first: char| first.is_ascii_alphanumeric()) && part.chars().all(allowed)
    };
    name.split_once('/').is_some_and(|(owner, model)| is_part(owner) && is_part(model))
}

fn is_offline() -> bool {
    let variable = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
    matches!(variable.as_str(), "1" | "ON" | "YES" | "TRUE")
}

/// The snapshot in the cache, when it holds weights and everything that is needed beside them. As in a directory, what has
/// an adapter's config is an adapter.
fn cached_directory(cached: &Repository) -> Result<Option<PathBuf>> {
    if let Some(config) = cached.find(ADAPTER_CONFIG) {
        return Ok(cached.find(ADAPTER_WEIGHTS).and(config.parent().map(Path::to_owned)));
    }
    let required = REQUIRED.map(|file| cached.find(file));
    let [Some(config), Some(_)] = required else { return Ok(None) };
    let weights = match (cached.find(WEIGHTS), cached.find(WEIGHTS_INDEX)) {
        (Some(_), _) => true,
        (None, Some(index)) => shard_names(&index)?.iter().all(|shard| cached.find(shard).is_some()),
        (None, None) => false,
    };
    Ok(config.parent().filter(|_| weights).map(Path::to_owned))
}

/// Downloads what is not there yet of the repository's newest state, weights last, so that a cache with weights is complete,
/// and makes it the state that is found from then on.
fn download(name: &str, repository: &Repository, console: &Console) -> Result<PathBuf> {
    let hub = Hub::from_environment(console)?;
    let unreachable = || {
        format!(
            "there is no directory `{name}`, and it cannot be downloaded from the Hugging Face hub; check the spelling \
             and the network, or download it elsewhere and give the path of its directory"
        )
    };
    let Listing { commit, files } = hub.listing(repository).with_context(unreachable)?;
    let is_adapter = files.contains(ADAPTER_CONFIG);
    let format = if is_adapter { "an adapter in the format of PEFT" } else { "a model in the format of transformers" };
    let fetch = |file: &str| {
        if !files.contains(file) {
            bail!("`{name}` holds no {file}; choose {format}");
        }
        Ok(hub.fetch(repository, Some(&commit), file).with_context(unreachable)?.path)
    };
    let fetch_all = |names: &[&str]| names.iter().try_for_each(|file| fetch(file).map(drop));
    let fetch_there =
        |names: &[&str]| names.iter().filter(|file| files.contains(**file)).try_for_each(|file| fetch(file).map(drop));
    if is_adapter {
        fetch_there(&ADAPTER_WORDS)?;
        fetch_all(&[ADAPTER_CONFIG, ADAPTER_WEIGHTS])?;
    } else {
        fetch_all(&REQUIRED)?;
        fetch_there(&OPTIONAL)?;
        if files.contains(WEIGHTS) || !files.contains(WEIGHTS_INDEX) {
            fetch(WEIGHTS)?;
        } else {
            let index = fetch(WEIGHTS_INDEX)?;
            shard_names(&index)?.iter().try_for_each(|shard| fetch(shard).map(drop))?;
        }
    }
    repository.set_main(&commit)?;
    Ok(repository.snapshot(&commit))
}

#[cfg(test)]
mod tests {
    use record::write;

    use super::{download::address, *};

    #[test]
    fn hub_names_have_an_owner_and_a_model() {
        for (name, expected) in [
            ("Qwen/Qwen3-0.6B", true),
            ("HuggingFaceTB/SmolLM2-135M-Instruct", true),
            ("Qwen3", false),
            ("./models/x", false),
            ("../x", false),
            ("/x", false),
            ("a/b/c", false),
            ("a/", false),
            ("a/b c", false),
        ] {
            assert_eq!(is_hub_name(name), expected, "{name}");
        }
    }

    #[test]
    fn benchmark_files_are_fetched_from_the_main_branch() {
        let cache = Cache::at(Path::new("cache"));
        let addresses: Vec<String> = rl::NamedBenchmark::all()
            .iter()
            .filter_map(|named| named.hub)
            .map(|source| address(&cache.dataset(source.repository), None, source.file))
            .collect();
        let expected = [
            "datasets/HuggingFaceH4/aime_2024/resolve/main/data/train-00000-of-00001.parquet",
            "datasets/math-ai/amc23/resolve/main/test-00000-of-00001.parquet",
            "datasets/openai/gsm8k/resolve/main/main/test-00000-of-00001.parquet",
            "datasets/HuggingFaceH4/MATH-500/resolve/main/test.jsonl",
            "datasets/ChilleD/SVAMP/resolve/main/data/test-00000-of-00001.parquet",
        ];
        assert_eq!(addresses, expected);
    }

    /// Layout of the hub's cache: `models--OWNER--NAME/{refs/main, snapshots/COMMIT/…}`.
    #[test]
    fn a_snapshot_counts_as_cached_when_all_its_shards_are_there() {
        let directory = tempfile::tempdir().unwrap();
        let repository = directory.path().join("models--a--b");
        let commit = "c0ffee00".repeat(5);
        let snapshot = repository.join("snapshots").join(&commit);
        let put = |path: &Path, text: &str| {
            write::create_directory(path.parent().unwrap()).unwrap();
            write::replace(path, text.as_bytes()).unwrap();
        };
        let cached = Cache::at(directory.path()).model("a/b");
        assert_eq!(cached_directory(&cached).unwrap(), None);
        put(&repository.join("refs").join("main"), &commit);
        for file in REQUIRED {
            put(&snapshot.join(file), "{}");
        }
        put(&snapshot.join(WEIGHTS_INDEX), r#"{"weight_map": {"x": "1.safetensors", "y": "2.safetensors"}}"#);
        put(&snapshot.join("1.safetensors"), "");
        assert_eq!(cached_directory(&cached).unwrap(), None);
        put(&snapshot.join("2.safetensors"), "");
        assert_eq!(cached_directory(&cached).unwrap(), Some(snapshot.clone()));
        put(&snapshot.join(WEIGHTS_INDEX), r#"{"weight_map": {"x": "../../../x.safetensors"}}"#);
        let refused = cached_directory(&cached).unwrap_err().to_string();
        assert!(refused.contains("`../../../x.safetensors`; it must be the name of a file beside"), "{refused}");
    }
}
