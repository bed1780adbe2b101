//! Models and adapters of the Hugging Face hub, played by a server on this machine.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use record::write;
use ring::digest;
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

/// The state that all played repositories are in.
const COMMIT: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";

fn hexadecimal(digest: &digest::Digest) -> String {
    let digits = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect()
}

/// As the hub has it: weights in the large file storage, which goes by SHA-256, all else as blobs of git.
fn etag(file: &str, bytes: &[u8]) -> String {
    if file.ends_with(".safetensors") {
        return hexadecimal(&digest::digest(&digest::SHA256, bytes));
    }
    let blob = [format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat();
    hexadecimal(&digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &blob))
}

/// The path that is asked for below the hub's address.
fn path(received: &Received) -> &str {
    received.line.split([' ', '?']).nth(1).and_then(|path| path.strip_prefix("/v1/")).unwrap_or_default()
}

/// The file that is asked for, as [`Files`] name it.
fn file(received: &Received) -> String {
    path(received).replace(&format!("/resolve/{COMMIT}/"), "/").replace("/resolve/main/", "/")
}

/// The first byte that is asked for, where a part of a file is.
fn first_byte(received: &Received) -> Option<usize> {
    let range = received.headers.iter().find_map(|header| header.strip_prefix("range: bytes="))?;
    Some(range.strip_suffix('-').expect("a range without an end").parse().expect("a first byte"))
}

/// The headers that the hub sends with a file.
fn told(file: &str, bytes: &[u8]) -> Vec<String> {
    vec![format!("etag: W/\"{}\"", etag(file, bytes)), format!("x-repo-commit: {COMMIT}")]
}

/// The hub's answers: what a repository holds, and its files from the byte on that is asked for.
fn hub(files: &Files, received: &Received) -> Play {
    let repository = path(received).strip_prefix("api/models/").and_then(|path| path.strip_suffix("/revision/main"));
    if let Some(repository) = repository {
        let inside = files.keys().filter_map(|name| name.strip_prefix(repository)?.strip_prefix('/'));
        let siblings: Vec<Value> = inside.map(|name| json!({"rfilename": name})).collect();
        if siblings.is_empty() {
            return Play::status(404);
        }
        return Play::json(&json!({"siblings": siblings, "sha": COMMIT}));
    }
    let name = file(received);
    let Some(bytes) = files.get(&name) else { return Play::status(404) };
    let mut headers = told(&name, bytes);
    let Some(first) = first_byte(received) else { return Play::Answer(200, headers, bytes.clone()) };
    headers.push(format!("content-range: bytes {first}-{}/{}", bytes.len() - 1, bytes.len()));
    Play::Answer(206, headers, bytes[first..].to_vec())
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
    assert!(asked.iter().any(|received| file(received) == "tiny/base/model.safetensors"));
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
    write::remove_directory(&scratch.path("merged.partial")).expect("it is removed");
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

/// What there is of `tiny/base` in the cache.
fn cached(scratch: &Scratch, directory: &str) -> Vec<String> {
    write::list(&scratch.path(&format!("hub/hub/models--tiny--base/{directory}"))).unwrap_or_default()
}

#[test]
fn what_a_hub_may_not_say_is_refused_and_nothing_of_it_stays() {
    let files = repositories(&Scratch::new());
    let config = files["tiny/base/config.json"].clone();
    let size = config.len();
    let fine = told("config.json", &config);
    let with = |header: &str| {
        let name = header.split_once(": ").expect("a name").0;
        let others = fine.iter().filter(|told| !told.starts_with(name));
        [header.to_owned()].into_iter().chain(others.cloned()).collect::<Vec<_>>()
    };
    let answer = |headers: Vec<String>| Play::Answer(200, headers, config.clone());
    let to = |location: &str| Play::Answer(302, vec![format!("location: {location}")], Vec::new());
    let chunked = |body: &str| {
        let size = format!("x-linked-size: {size}");
        let head = [&["HTTP/1.1 200 OK".to_owned(), size, "transfer-encoding: chunked".to_owned()], &fine[..]].concat();
        Play::Raw(format!("{}\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", head.join("\r\n"), body.len()).into_bytes())
    };
    let mut other = config.clone();
    other[0] ^= 1;
    for (play, said) in [
        (
            answer(with("etag: \"../../x\"")),
            "came with the header `etag: \\\"../../x\\\"`, which is no SHA-1 or SHA-256",
        ),
        (answer(with("etag: \"/abs\"")), "which is no SHA-1 or SHA-256 of a file"),
        (answer(with("x-linked-etag: ../../x")), "came with the header `x-linked-etag: ../../x`, which is no SHA-1"),
        (answer(with("x-repo-commit: /abs")), "came with the header `x-repo-commit: /abs`, which is no commit"),
        (answer(with(&format!("x-repo-commit: {}", "0".repeat(40)))), "is of the commit 0000000000000000000000"),
        (answer(fine[..1].to_vec()), "came without the header `x-repo-commit`"),
        (answer(with("x-linked-size: -1")), "came with the header `x-linked-size: -1`, which is no number of bytes"),
        (answer(with("x-linked-size: 5")), "bytes in place of 5"),
        (answer(with("x-linked-size: 99999")), "bytes in place of 99999"),
        (answer(with("x-linked-size: 1099511627776")), "a file without weights has 256 MiB at most"),
        (chunked(&"a".repeat(size + 1)), &format!("sends more than {size} bytes")),
        (chunked("a"), &format!("ended after 1 of {size} bytes")),
        (Play::Answer(200, fine.clone(), other), "config.json has the SHA-1 as a git blob "),
        (Play::Answer(206, fine.clone(), config.clone()), "answers 206 Partial Content"),
        (Play::Answer(304, fine.clone(), Vec::new()), "answers 304 Not Modified"),
        (Play::Answer(302, fine.clone(), Vec::new()), "answers 302 Found"),
        (to("config.json"), "leads elsewhere more than 10 times"),
        (to("file:///etc/passwd"), "leads to `file:///etc/passwd`, which is no address"),
    ] {
        let scratch = Scratch::new();
        let (files, play) = (files.clone(), play);
        let server =
            Server::start(
                move |received| {
                    if file(received) == "tiny/base/config.json" { play.clone() } else { hub(&files, received) }
                },
            );
        let ran = sample(&scratch, "tiny/base", Some(&server));
        assert_eq!(ran.code, Some(1), "{said}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{said}\nis not in\n{}", ran.stderr);
        assert!(ran.stderr.contains("hint: check the spelling and the network, or download it"), "{}", ran.stderr);
        let kept: Vec<String> = cached(&scratch, "blobs").into_iter().chain(cached(&scratch, "snapshots")).collect();
        assert!(kept.iter().all(|name| name.ends_with(".brevity.incomplete")), "{said}: {kept:?}");
        assert_eq!(kept.is_empty(), !said.starts_with("ended after"), "{said}: {kept:?}");
    }
}

#[test]
fn a_list_of_files_that_is_none_is_refused() {
    let list = |sha: &str| json!({"sha": sha, "siblings": []}).to_string().into_bytes();
    for (body, said) in [
        (list("../../x"), "sends `sha` `../../x`, which is no commit"),
        (b"<html>".to_vec(), "sends no list of files as the hub has it"),
        (vec![b' '; (16 << 20) + 1], "cannot read http://127.0.0.1:"),
        (list(COMMIT), "`tiny/base` holds no config.json"),
    ] {
        let scratch = Scratch::new();
        let server = Server::start(move |_| Play::Answer(200, Vec::new(), body.clone()));
        let ran = sample(&scratch, "tiny/base", Some(&server));
        assert_eq!(ran.code, Some(1), "{said}: {}", ran.stderr);
        assert!(ran.stderr.contains(said), "{said}\nis not in\n{}", ran.stderr);
        assert_eq!(server.received().len(), 1, "{said}");
    }
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let scratch = Scratch::new();
    let files = repositories(&scratch);
    // A place for large files: it knows tags of its own, and nothing of repositories.
    let stored = files.clone();
    let storage = Server::start(move |received| {
        Play::Answer(200, vec!["etag: \"another\"".to_owned()], stored[&file(received)].clone())
    });
    let place = storage.address();
    let server = Server::start(move |received| {
        let Some(bytes) = files.get(&file(received)) else { return hub(&files, received) };
        let mut headers = vec![format!("location: {place}/{}?signature=hidden", path(received))];
        headers.push(format!("x-linked-etag: \"{}\"", etag(path(received), bytes)));
        headers.push(format!("x-linked-size: {}", bytes.len()));
        headers.push(format!("x-repo-commit: {COMMIT}"));
        Play::Answer(302, headers, b"elsewhere".to_vec())
    });
    let mut command = scratch.command(&[&["sample", "--model", "tiny/base"][..], &ASK].concat());
    command.env("HF_HUB_OFFLINE", "0").env("HF_ENDPOINT", server.address()).env("HF_TOKEN", "hf_secret");
    let ran = Ran::from(command.output().expect("the program starts"));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let shows = |received: &Received| received.headers.iter().any(|header| header == "authorization: bearer hf_secret");
    let (asked, stored) = (server.received(), storage.received());
    assert!(asked.iter().all(shows));
    assert!(stored.len() + 1 == asked.len() && !stored.iter().any(shows));
    assert!(!stored.iter().flat_map(|received| &received.headers).any(|header| header.contains("secret")));
    assert!(!ran.stderr.contains("secret") && !ran.stderr.contains("hidden"), "{}", ran.stderr);
}

#[test]
fn a_download_that_broke_off_is_gone_on_with_and_never_garbled() {
    let files = repositories(&Scratch::new());
    let weights = files["tiny/base/model.safetensors"].clone();
    let size = weights.len();
    let ranges = |first: usize| format!("content-range: bytes {first}-{}/{size}", size - 1);
    let [half, wrong] = [&weights[..size / 2], &vec![7; size / 2]].map(<[u8]>::to_vec);
    let part = |header: String, first: usize| Play::Answer(206, vec![header], weights[first..].to_vec());
    // What an earlier download left, what the server does when a part is asked for, and how many bytes are asked to be
    // passed over.
    for (left, play, first) in [
        (half.clone(), None, Some(size / 2)),
        (half.clone(), Some(Play::Answer(200, Vec::new(), weights.clone())), Some(size / 2)),
        (half.clone(), Some(part(ranges(0), 0)), Some(size / 2)),
        (half.clone(), Some(part(ranges(1), size / 2)), Some(size / 2)),
        (half.clone(), Some(part(format!("content-range: bytes {}-{size}/{}", size / 2, size + 1), 0)), Some(size / 2)),
        (half.clone(), Some(Play::status(416)), Some(size / 2)),
        (wrong, None, Some(size / 2)),
        (vec![7; size], None, None),
        (weights.clone(), None, None),
        ([&weights[..], b"more"].concat(), None, None),
    ] {
        let scratch = Scratch::new();
        let blob = format!("hub/hub/models--tiny--base/blobs/{}", etag("model.safetensors", &weights));
        scratch.write(&format!("{blob}.brevity.incomplete"), &left);
        let files = files.clone();
        let server = Server::start(move |received| {
            let play = play.clone().filter(|_| first_byte(received).is_some());
            play.unwrap_or_else(|| hub(&files, received))
        });
        let ran = sample(&scratch, "tiny/base", Some(&server));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(server.received().iter().find_map(first_byte), first);
        assert!(fs::read(scratch.path(&blob)).expect("the weights") == weights);
        assert!(!scratch.path(&format!("{blob}.brevity.incomplete")).exists());
    }
}

#[test]
fn a_connection_that_breaks_is_made_again_for_what_is_missing() {
    let scratch = Scratch::new();
    let files = repositories(&scratch);
    let size = files["tiny/base/model.safetensors"].len();
    let server = Server::start(move |received| {
        let play = hub(&files, received);
        let Play::Answer(200, headers, bytes) = &play else { return play };
        if !path(received).ends_with(".safetensors") {
            return play;
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n{}\r\n\r\n", headers.join("\r\n"));
        Play::Raw([head.as_bytes(), &bytes[..size / 2]].concat())
    });
    let ran = sample(&scratch, "tiny/base", Some(&server));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let said = format!("broke off after {} of {size} bytes", size / 2);
    assert!(ran.stderr.contains(&said) && ran.stderr.contains("; trying again"), "{}", ran.stderr);
    assert_eq!(server.received().iter().filter_map(first_byte).collect::<Vec<_>>(), [size / 2]);
}

#[test]
fn a_hub_that_is_busy_is_asked_again_when_it_says_and_not_at_all_when_that_is_late() {
    let scratch = Scratch::new();
    let files = repositories(&scratch);
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |received| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Play::Answer(429, vec!["retry-after: 0.3".to_owned()], Vec::new()),
        1 => Play::Answer(503, vec!["retry-after: 1.2".to_owned()], Vec::new()),
        _ => hub(&files, received),
    });
    let ran = sample(&scratch, "tiny/base", Some(&server));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for said in ["429 Too Many Requests; trying again after 0.3 s", "503 Service Unavailable; trying again after 1.2 s"]
    {
        assert!(ran.stderr.contains(said), "{said}\nis not in\n{}", ran.stderr);
    }

    let late = Server::start(|_| Play::Answer(429, vec!["retry-after: 3600".to_owned()], Vec::new()));
    let ran = sample(&Scratch::new(), "tiny/base", Some(&late));
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("it asks to wait 3600 seconds, and 600 are waited at most"), "{}", ran.stderr);
    assert_eq!(late.received().len(), 1);
}

#[test]
fn the_cache_has_the_layout_that_the_programs_of_hugging_face_share() {
    let scratch = Scratch::new();
    let files = repositories(&scratch);
    let tag = etag("model.safetensors", &files["tiny/base/model.safetensors"]);
    let server = Server::start(move |received| hub(&files, received));
    let ran = sample(&scratch, "tiny/base", Some(&server));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(cached(&scratch, ""), ["blobs", "refs", "snapshots"]);
    assert_eq!(scratch.read("hub/hub/models--tiny--base/refs/main"), COMMIT);
    let link = scratch.path(&format!("hub/hub/models--tiny--base/snapshots/{COMMIT}/model.safetensors"));
    assert_eq!(fs::read_link(link).expect("a link"), Path::new("../../blobs").join(tag));
    assert!(ran.stderr.contains("model.safetensors: "), "the size is said before: {}", ran.stderr);
}
