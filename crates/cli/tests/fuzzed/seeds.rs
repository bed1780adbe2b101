//! Inputs that every corpus begins with: small, whole, and written by what writes such files here.

use std::{fs, path::Path};

use model::{StoredType, TensorView, write_tensors};
use rl::task::RING;
use serde_json::{Value, json};

use crate::readers::{
    convert,
    record::{RUN_FILES, evaluation_files, run},
};

/// Bytes of a seed, at most: a corpus of small inputs is tried more often.
const SEED_BYTES_MAX: usize = 4_000;

/// The seeds of a target.
pub(crate) fn seeds(target: &str) -> Vec<Vec<u8>> {
    let texts = |texts: &[&str]| texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let seeds: Vec<Vec<u8>> = match target {
        "safetensors" => [StoredType::F32, StoredType::F16, StoredType::Bf16].map(safetensors).into(),
        "safetensors-index" => texts(&[
            r#"{"metadata": {"total_size": 8}, "weight_map": {"x": "a.safetensors", "y": "a.safetensors"}}"#,
            r#"{"weight_map": {"x": "../a.safetensors"}}"#,
        ]),
        "gguf" => vec![
            gguf(&[]),
            gguf(&[("llama.rope.scaling.type", json!("linear")), ("llama.rope.scaling.factor", json!(2.0))]),
        ],
        "model-config" => ["qwen3", "qwen2", "llama", "smollm3"]
            .map(|family| fixture(&format!("../model/tests/data/{family}/config.json")))
            .into(),
        "tokenizer" => vec![RING.tokenizer_json().into_bytes(), byte_level().to_string().into_bytes()],
        "chat-template" => vec![fixture("../model/tests/data/chat/think.jinja"), LOOP.as_bytes().to_vec()],
        "adapter-config" => ["qwen3", "qwen2"]
            .map(|family| fixture(&format!("../model/tests/data/adapters/{family}/adapter_config.json")))
            .to_vec(),
        "tokenizer-config" => vec![
            fixture("../model/tests/data/chat/smollm2_tokenizer_config.json"),
            RING.tokenizer_config_json().into_bytes(),
            json!({"bos_token": {"content": "<s>"}, "chat_template": [{"name": "default", "template": LOOP}]})
                .to_string()
                .into_bytes(),
        ],
        "problems-jsonl" => texts(&[
            "{\"question\": \"1+1?\", \"answer\": \"#### 2\"}\n\n{\"question\": \"2+2?\", \"answer\": 4.0}\n",
            "\u{feff}{\"id\": \"a-7\", \"question\": \"q\\u00e9\", \"answer\": -2.5e-1, \"level\": null, \"more\": [1, {}]}\r\n",
        ]),
        "problems-parquet" => ["problems-snappy", "problems-gzip", "problems-many"]
            .map(|name| fixture(&format!("../rl/tests/data/{name}.parquet")))
            .into(),
        "problems-gpqa" => {
            texts(&["Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,Record ID\n\
             \"Which,\nof these?\",right,\"wrong \"\"1\"\"\",2,3,rec1\nq,a,b,c,d,\n"])
        }
        "run-config" => vec![RUN.as_bytes().to_vec(), fixture("../../configs/ring.toml")],
        "sweep" => texts(&[SWEEP]),
        "run-directory" => run_files().iter().map(|(name, text)| named(name, text)).collect(),
        "evaluation-directory" => {
            evaluation_files().iter().map(|(name, text)| [name.as_bytes(), b"\n", &**text].concat()).collect()
        }
        "convert" => convert::files().iter().map(|(name, text)| [name.as_bytes(), b"\n", &**text].concat()).collect(),
        "rollouts-gz" => run_files()
            .into_iter()
            .filter(|(name, _)| name.starts_with("rollouts"))
            .map(|(_, text)| record::write::compressed(text.as_bytes()))
            .chain([record::write::compressed(b"")])
            .collect(),
        "manifest" => vec![manifest()],
        "checkpoint-state" => texts(&[
            r#"{"step":2,"updates":2,"problems_taken":8,"shaper":{"nothing":{}},"detours":0}"#,
            r#"{"step":0,"updates":0,"problems_taken":0,"shaper":{"weighted":[{"nothing":{}}]},"detours":1}"#,
        ]),
        "server-answer" => texts(&[
            "completions 2\n{\"choices\": [{\"index\": 1, \"text\": \"b\", \"finish_reason\": \"length\"}, {\"index\": 0, \
             \"text\": \"a\", \"finish_reason\": \"stop\"}], \"usage\": {\"completion_tokens\": 7}}",
            "chat 1\n{\"choices\": [{\"message\": {\"content\": \"5\", \"reasoning_content\": \"2+3\"}, \"finish_reason\": \
             \"stop\"}]}",
            "chat 1\n{\"error\": {\"message\": \"out of memory\"}}",
        ]),
        _ => panic!("there are no seeds of {target}"),
    };
    assert!(seeds.iter().all(|seed| seed.len() <= SEED_BYTES_MAX), "a seed of {target} is too large");
    seeds
}

const LOOP: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim }}\
                    {% if loop.last and add_generation_prompt %}{{ message | tojson(indent=2) }}{% endif %}{% endfor %}";

const RUN: &str = "arm = 'a'\nmodel.path = 'm'\nproblems = { path = 'p.jsonl', fields = { answer = 'gold' } }\n\
    [rollout]\nprompts_per_step = 4\ngroup_size = 4\ncompletion_tokens_max = 8\n\
    [train]\nsteps = 2\nshaping = { weighted = { objectives = [{ shaper = { grpo = {} }, weight = 1.0 }] } }\n\
    faults.remedy.skip.steps_max = 3\n[evaluation]\nevery_steps = 1\npath = 'e.jsonl'\n";

const SWEEP: &str = "base = '@'\nseeds = [1, 2]\n[[arms]]\nname = 'grpo'\n[[arms]]\nname = 'half'\n\
                     set.train.shaping.top-lambda.lambda = 0.5\nset.train.steps = 3\n";

/// A file of the repository, relative to this crate.
fn fixture(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An input whose first line is the name of a file; of records as many as are small together, and at least one.
fn named(name: &str, text: &str) -> Vec<u8> {
    let is_records = name.contains(".jsonl");
    let mut input = format!("{name}\n");
    for line in text.split_inclusive('\n') {
        if is_records && input.len() > name.len() + 1 && input.len() + line.len() > SEED_BYTES_MAX / 2 {
            break;
        }
        input.push_str(line);
    }
    input.into_bytes()
}

fn safetensors(stored: StoredType) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("model.safetensors");
    let tensors = [
        TensorView { name: "a", shape: vec![2, 3], values: &[0.0, 1.0, -2.5, 0.1, 65504.0, f32::INFINITY] },
        TensorView { name: "b", shape: vec![0], values: &[] },
    ];
    write_tensors(&path, &tensors, stored).expect("the tensors");
    fs::read(path).expect("the file")
}

fn manifest() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, bytes) in [("a", &b"1"[..]), ("below/b", b"")] {
        let path = directory.path().join(name);
        record::write::create_directory(path.parent().expect("a directory")).expect("a directory");
        record::write::replace(&path, bytes).expect("a file");
    }
    record::manifest::write(directory.path()).expect("the list");
    let text = fs::read_to_string(directory.path().join("manifest")).expect("the list");
    let end = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
    text.as_bytes()[..end].to_vec()
}

/// A byte-level tokenizer of eight bytes and a merge.
fn byte_level() -> Value {
    let part = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let split =
        json!({"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}|\\s+"}, "behavior": "Isolated", "invert": false});
    json!({
        "added_tokens": [{"id": 8, "content": "<|end|>", "special": true, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false}],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, part]},
        "decoder": part,
        "model": {"type": "BPE", "vocab": {"1": 0, "2": 1, "7": 2, "a": 3, "t": 4, "\u{120}": 5, "\u{10a}": 6, "12": 7},
            "merges": [["1", "2"]]},
    })
}

/// A GGUF file of a llama with one layer of width 4 and four tokens; `more` are further values of its header.
fn gguf(more: &[(&str, Value)]) -> Vec<u8> {
    let values = [
        ("general.architecture", json!("llama")),
        ("llama.block_count", json!(1)),
        ("llama.context_length", json!(16)),
        ("llama.embedding_length", json!(4)),
        ("llama.feed_forward_length", json!(4)),
        ("llama.attention.head_count", json!(2)),
        ("llama.attention.head_count_kv", json!(1)),
        ("llama.attention.layer_norm_rms_epsilon", json!(1e-6)),
        ("tokenizer.ggml.model", json!("gpt2")),
        ("tokenizer.ggml.pre", json!("smollm")),
        ("tokenizer.ggml.tokens", json!(["a", "b", "ab", "<|im_end|>"])),
        ("tokenizer.ggml.token_type", json!([1, 1, 1, 3])),
        ("tokenizer.ggml.merges", json!(["a b"])),
        ("tokenizer.ggml.eos_token_id", json!(3)),
        ("tokenizer.chat_template", json!("{{ messages[0].content }}")),
    ];
    let tensors: [(&str, &[u64]); 11] = [
        ("token_embd.weight", &[4, 4]),
        ("output_norm.weight", &[4]),
        ("blk.0.attn_norm.weight", &[4]),
        ("blk.0.attn_q.weight", &[4, 4]),
        ("blk.0.attn_k.weight", &[4, 2]),
        ("blk.0.attn_v.weight", &[4, 2]),
        ("blk.0.attn_output.weight", &[4, 4]),
        ("blk.0.ffn_norm.weight", &[4]),
        ("blk.0.ffn_gate.weight", &[4, 4]),
        ("blk.0.ffn_up.weight", &[4, 4]),
        ("blk.0.ffn_down.weight", &[4, 4]),
    ];
    let values: Vec<(&str, &Value)> = values.iter().chain(more).map(|(key, value)| (*key, value)).collect();
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend([tensors.len(), values.len()].iter().flat_map(|count| (*count as u64).to_le_bytes()));
    for (key, value) in values {
        put_text(&mut bytes, key);
        bytes.extend(kind(value).to_le_bytes());
        put_value(&mut bytes, value);
    }
    let mut offset = 0_u64;
    for (name, dimensions) in tensors {
        put_text(&mut bytes, name);
        bytes.extend((dimensions.len() as u32).to_le_bytes());
        bytes.extend(dimensions.iter().flat_map(|dimension| dimension.to_le_bytes()));
        // F16, at an offset that is a multiple of 32.
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        offset += (2 * dimensions.iter().product::<u64>()).next_multiple_of(32);
    }
    bytes.resize(bytes.len().next_multiple_of(32) + offset as usize, 0x3c);
    bytes
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// GGUF's number for u32, f32, text and list.
fn kind(value: &Value) -> u32 {
    match value {
        Value::Number(number) if number.is_f64() => 6,
        Value::Number(_) => 4,
        Value::String(_) => 8,
        Value::Array(_) => 9,
        Value::Null | Value::Bool(_) | Value::Object(_) => panic!("{value} is in no seed"),
    }
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            bytes.extend((number.as_f64().expect("a float") as f32).to_le_bytes());
        }
        Value::Number(number) => bytes.extend((number.as_u64().expect("a count") as u32).to_le_bytes()),
        Value::String(text) => put_text(bytes, text),
        Value::Array(items) => {
            bytes.extend(kind(&items[0]).to_le_bytes());
            bytes.extend((items.len() as u64).to_le_bytes());
            for item in items {
                put_value(bytes, item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Object(_) => panic!("{value} is in no seed"),
    }
}

/// The files of a run in which nothing is wrong, as inputs give them.
fn run_files() -> Vec<(&'static str, String)> {
    run(|run| {
        let text = |name| record::whole_lines(&run.root().join(name)).expect("a file of the run");
        RUN_FILES.into_iter().map(|name| (name, text(name))).collect()
    })
}
