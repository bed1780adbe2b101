//! Models and adapters of the Hugging Face hub, played by a server on this machine.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Value, json};

use crate::{
    scratch::{Ran, Scratch},
    server::{Play, Received, Server},
};

/// Files of repositories by `OWNER/NAME/FILE`.
type Files = BTreeMap<String, Vec<u8>>;

const ASK: [&str; 6] = ["--plain", "--temperature", "0", "--max-tokens", "12", "7 +3 +4 . . . . . . :"];

/// `tiny/base`, the scratch model, and `tiny/adapter`, which names it.
fn repositories(scratch: &Scratch) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(scratch.path("model")).expect("the model's files").flatten() {
        let name = format!("tiny/base/{}", entry.file_name().to_string_lossy());
        files.insert(name, fs::read(entry.path()).expect("a file"));
    }
    let adapter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/data/adapters/qwen3");
    let read = |file| fs::read(adapter.join(file)).expect("the adapter's file");
    let mut config: Value = serde_json::from_slice(&read("adapter_config.json")).expect("JSON");
    config["base_model_name_or_path"] = "tiny/base".into();
    files.insert("tiny/adapter/adapter_config.json".to_owned(), config.to_string().into_bytes());
    files.insert("tiny/adapter/adapter_model.safetensors".to_owned(), read("adapter_model.safetensors"));
    files.insert("tiny/adapter/README.md".to_owned(), b"# An adapter".to_vec());
    files
}

/// The hub's answers: what a repository holds, and its files from the byte on that is asked for.
fn hub(files: &Files, received: &Received) -> Play {
    let path = received.line.split(' ').nth(1).and_then(|path| path.strip_prefix("/v1/")).unwrap_or_default();
    if let Some(repository) = path.strip_prefix("api/models/").and_then(|path| path.strip_suffix("/revision/main")) {
        let inside = files.keys().filter_map(|name| name.strip_prefix(repository)?.strip_prefix('/'));
        let siblings: Vec<Value> = inside.map(|name| json!({"rfilename": name})).collect();
        if siblings.is_empty() {
            return Play::status(404);
        }
        return Play::json(&json!({"siblings": siblings, "sha": "c0ffee"}));
    }
    let Some(bytes) = files.get(&path.replace("/resolve/main/", "/")) else { return Play::status(404) };
    let range = received.headers.iter().find_map(|header| header.strip_prefix("range: bytes="));
    let (first, last) = range.and_then(|range| range.split_once('-')).expect("the client asks for ranges");
    let first: usize = first.parse().expect("a first byte");
    let end = last.parse().map_or(bytes.len(), |last: usize| last + 1);
    let headers = vec![
        format!("content-range: bytes {first}-{}/{}", end - 1, bytes.len()),
        format!("etag: \"{}\"", path.replace('/', "-")),
        "x-repo-commit: c0ffee".to_owned(),
    ];
    Play::Answer(206, headers, bytes[first..end].to_vec())
}

fn sample(scratch: &Scratch, model: &str, server: Option<&Server>) -> Ran {
    let mut command = scratch.command(&[&["sample", "--model", model][..], &ASK].concat());
    if let Some(server) = server {
        command.env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", server.address());
    }
    Ran::from(command.output().expect("the program starts"))
}

#[test]
fn an_adapter_of_the_hub_is_downloaded_with_its_base_once() {
    let scratch = Scratch::new();
    let files = repositories(&scratch);
    let server = Server::start(move |received| hub(&files, received));
    let first = sample(&scratch, "tiny/adapter", Some(&server));
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let asked = server.received();
    assert!(asked.iter().any(|received| received.line.contains("/tiny/base/resolve/main/model.safetensors ")));
    assert!(asked.iter().all(|received| !received.line.contains("README")), "only what is read is downloaded");

    let again = sample(&scratch, "tiny/adapter", None);
    assert_eq!((again.code, &again.stdout), (Some(0), &first.stdout), "{}", again.stderr);
    assert_eq!(server.received().len(), asked.len());
    let base = sample(&scratch, "tiny/base", None);
    assert_eq!(base.code, Some(0), "{}", base.stderr);
    assert_ne!(base.stdout, first.stdout, "the adapter changes what is written");
}

#[test]
fn a_merge_takes_no_place_that_is_taken_and_removes_nothing() {
    let scratch = Scratch::new();
    let files = repositories(&scratch);
    let server = Server::start(move |received| hub(&files, received));
    // From here on the adapter and its base are in the cache.
    let downloaded = sample(&scratch, "tiny/adapter", Some(&server));
    assert_eq!(downloaded.code, Some(0), "{}", downloaded.stderr);

    scratch.write("merged.partial/mine", b"mine");
    let merge = ["merge", "tiny/adapter", "--out", "merged/"];
    scratch.refuse(&merge, 1, &["`merged.partial` is there already", "give another --out, or remove it"]);
    assert_eq!(scratch.read("merged.partial/mine"), "mine");
    record::write::remove_directory(&scratch.path("merged.partial")).expect("it is removed");
    scratch.succeed(&merge);
    assert!(scratch.path("merged/model.safetensors").exists() && !scratch.path("merged.partial").exists());
    scratch.refuse(&merge, 1, &["`merged` is there already"]);
}

#[test]
fn what_a_repository_of_the_hub_lacks_is_named() {
    let scratch = Scratch::new();
    let mut files = repositories(&scratch);
    files.insert("old/adapter/adapter_config.json".to_owned(), b"{}".to_vec());
    files.insert("old/adapter/adapter_model.bin".to_owned(), Vec::new());
    files.insert("old/model/config.json".to_owned(), b"{}".to_vec());
    let server = Server::start(move |received| hub(&files, received));
    for (name, said) in [
        (
            "old/adapter",
            "error: `old/adapter` holds no adapter_model.safetensors\nhint: choose an adapter in the format",
        ),
        ("old/model", "error: `old/model` holds no tokenizer.json\nhint: choose a model in the format of transformers"),
        (
            "no/model",
            "error: there is no directory `no/model`, and it cannot be downloaded from the Hugging Face hub\n",
        ),
    ] {
        let ran = sample(&scratch, name, Some(&server));
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }
}

#[test]
fn an_index_that_leads_out_of_the_cache_is_refused_before_its_files_are_asked_for() {
    let scratch = Scratch::new();
    let mut files = repositories(&scratch);
    for file in ["config.json", "tokenizer.json"] {
        let bytes = files[&format!("tiny/base/{file}")].clone();
        files.insert(format!("sly/model/{file}"), bytes);
    }
    let index = json!({"weight_map": {"x": "../../../../../planted.safetensors"}});
    files.insert("sly/model/model.safetensors.index.json".to_owned(), index.to_string().into_bytes());
    files.insert("sly/model/../../../../../planted.safetensors".to_owned(), b"planted".to_vec());
    let server = Server::start(move |received| hub(&files, received));
    let ran = sample(&scratch, "sly/model", Some(&server));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let said = "`weight_map` places tensor `x` in `../../../../../planted.safetensors`";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert!(server.received().iter().all(|received| !received.line.contains("planted")));
    assert!(!scratch.path("planted.safetensors").exists());
}
