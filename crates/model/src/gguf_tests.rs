//! GGUF files written here, imported and read back: names, shapes, orders, configuration, tokenization and refusals.
//!
//! Token ids are llama.cpp's, recorded by `tests/data/gguf/record_tokens.py`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{StoredType, TensorFiles, Tokenizer, import};

const TOKENS: &str = include_str!("../tests/data/gguf/tokens.json");

/// A GGUF file in the making.
#[derive(Clone, Default)]
struct Gguf {
    values: Vec<(String, Value)>,
    /// Name, dimensions in the file's order, ggml type, bytes.
    tensors: Vec<(String, Vec<usize>, u32, Vec<u8>)>,
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// ggml's number for the type of a value: u32, f32, bool, string, list.
fn type_id(value: &Value) -> u32 {
    match value {
        Value::Number(number) if number.is_f64() => 6,
        Value::Number(_) | Value::Null | Value::Object(_) => 4,
        Value::Bool(_) => 7,
        Value::String(_) => 8,
        Value::Array(_) => 9,
    }
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) if number.is_f64() => bytes.extend((number.as_f64().unwrap() as f32).to_le_bytes()),
        Value::Number(number) => bytes.extend((number.as_u64().unwrap() as u32).to_le_bytes()),
        Value::Bool(flag) => bytes.push(u8::from(*flag)),
        Value::String(text) => put_text(bytes, text),
        Value::Array(items) => {
            bytes.extend(type_id(&items[0]).to_le_bytes());
            bytes.extend((items.len() as u64).to_le_bytes());
            for item in items {
                put_value(bytes, item);
            }
        }
        Value::Null | Value::Object(_) => panic!("GGUF has no {value}"),
    }
}

impl Gguf {
    fn set(&mut self, key: &str, value: Value) -> &mut Self {
        self.values.retain(|(present, _)| present != key);
        self.values.push((key.to_owned(), value));
        self
    }

    /// Adds a tensor in f32 whose numbers count up from `first`.
    fn count_up(&mut self, name: &str, shape: &[usize], first: usize) -> &mut Self {
        let count: usize = shape.iter().product();
        let bytes = (first..first + count).flat_map(|value| (value as f32).to_le_bytes()).collect();
        self.tensors.push((name.to_owned(), shape.iter().rev().copied().collect(), 0, bytes));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.values.len() as u64).to_le_bytes());
        for (key, value) in &self.values {
            put_text(&mut bytes, key);
            bytes.extend(type_id(value).to_le_bytes());
            put_value(&mut bytes, value);
        }
        let mut offset = 0_u64;
        for (name, dimensions, kind, content) in &self.tensors {
            put_text(&mut bytes, name);
            bytes.extend((dimensions.len() as u32).to_le_bytes());
            bytes.extend(dimensions.iter().flat_map(|dimension| (*dimension as u64).to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
            offset += (content.len() as u64).next_multiple_of(32);
        }
        for (_, _, _, content) in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(32), 0);
            bytes.extend(content);
        }
        bytes
    }

    /// Imports the file; the result is the directory's path or the error's text.
    fn imported(&self, test: &str, stored: Option<StoredType>) -> Result<PathBuf, String> {
        imported(test, &self.bytes(), stored)
    }
}

#[expect(clippy::disallowed_methods, reason = "a test writes the file it imports")]
fn imported(test: &str, bytes: &[u8], stored: Option<StoredType>) -> Result<PathBuf, String> {
    let root = std::env::temp_dir().join(format!("brevity-gguf-{}-{test}", std::process::id()));
    let _ = fs::remove_dir_all(&root);
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("model.gguf"), bytes).unwrap();
    let directory = root.join("imported");
    let summary = import(&root.join("model.gguf"), &directory, stored).map_err(|error| error.to_string());
    assert_eq!(directory.exists(), summary.is_ok());
    assert!(!root.join("imported.partial").exists());
    summary.map(|_| directory)
}

fn remove(directory: &Path) {
    fs::remove_dir_all(directory.parent().unwrap()).unwrap();
}

fn json_file(directory: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(directory.join(name)).unwrap()).unwrap()
}

/// One layer, width 8, 2 query heads and 1 key-value head of width 4, hidden width 32; the vocabulary of tokens.json.
fn model(architecture: &str, pre_tokenizer: &str) -> Gguf {
    let recorded: Value = serde_json::from_str(TOKENS).unwrap();
    let vocabulary = recorded["tokens"].as_array().unwrap().len();
    let mut file = Gguf::default();
    file.set("general.architecture", json!(architecture));
    for (key, value) in [
        ("block_count", json!(1)),
        ("context_length", json!(128)),
        ("embedding_length", json!(8)),
        ("feed_forward_length", json!(32)),
        ("attention.head_count", json!(2)),
        ("attention.head_count_kv", json!(1)),
        ("attention.layer_norm_rms_epsilon", json!(1e-6)),
        ("rope.freq_base", json!(1_000_000.0)),
    ] {
        file.set(&format!("{architecture}.{key}"), value);
    }
    file.set("tokenizer.ggml.model", json!("gpt2")).set("tokenizer.ggml.pre", json!(pre_tokenizer));
    file.set("tokenizer.ggml.tokens", recorded["tokens"].clone());
    file.set("tokenizer.ggml.merges", recorded["merges"].clone());
    file.set("tokenizer.ggml.token_type", recorded["types"].clone());
    file.set("tokenizer.ggml.bos_token_id", json!(vocabulary - 5));
    file.set("tokenizer.ggml.eos_token_id", json!(vocabulary - 4));
    file.set("tokenizer.chat_template", json!("{{ messages[0].content }}"));
    file.count_up("token_embd.weight", &[vocabulary, 8], 0).count_up("output_norm.weight", &[8], 10);
    for (name, shape) in [
        ("attn_norm", [8].as_slice()),
        ("attn_q", &[8, 8]),
        ("attn_k", &[4, 8]),
        ("attn_v", &[4, 8]),
        ("attn_output", &[8, 8]),
        ("ffn_norm", &[8]),
        ("ffn_gate", &[32, 8]),
        ("ffn_up", &[32, 8]),
        ("ffn_down", &[8, 32]),
    ] {
        file.count_up(&format!("blk.0.{name}.weight"), shape, 100);
    }
    file
}

/// The first number of each row of a tensor with `rows` rows of 8 that count up from 100.
fn rows_of(directory: &Path, name: &str, rows: usize) -> Vec<usize> {
    let values = TensorFiles::open(directory).unwrap().read(name, &[rows, 8]).unwrap();
    values.iter().step_by(8).map(|first| (*first as usize - 100) / 8).collect()
}

#[test]
fn a_llama_gets_its_names_rows_and_configuration_back() {
    let directory = model("llama", "smollm").imported("llama", None).unwrap();
    let files = TensorFiles::open(&directory).unwrap();
    assert_eq!(files.names().count(), 11);
    assert_eq!(files.shape("model.layers.0.mlp.down_proj.weight"), Some([8, 32].as_slice()));
    assert_eq!(files.read("model.norm.weight", &[8]).unwrap()[..2], [10.0, 11.0]);
    // Row (half j, index i) of a head of 4 was stored as row (i, j): 0 2 1 3.
    assert_eq!(rows_of(&directory, "model.layers.0.self_attn.q_proj.weight", 8), [0, 2, 1, 3, 4, 6, 5, 7]);
    assert_eq!(rows_of(&directory, "model.layers.0.self_attn.k_proj.weight", 4), [0, 2, 1, 3]);
    assert_eq!(rows_of(&directory, "model.layers.0.self_attn.v_proj.weight", 4), [0, 1, 2, 3]);
    let config = json_file(&directory, "config.json");
    for (field, value) in [
        ("architectures", json!(["LlamaForCausalLM"])),
        ("model_type", json!("llama")),
        ("hidden_size", json!(8)),
        ("intermediate_size", json!(32)),
        ("num_attention_heads", json!(2)),
        ("num_key_value_heads", json!(1)),
        ("head_dim", json!(4)),
        ("rms_norm_eps", json!(1e-6)),
        ("rope_theta", json!(1e6)),
        ("rope_scaling", Value::Null),
        ("tie_word_embeddings", json!(true)),
        ("torch_dtype", json!("float32")),
    ] {
        assert_eq!(config[field], value, "{field}");
    }
    assert_eq!(json_file(&directory, "tokenizer_config.json")["eos_token"], "<|im_end|>");
    let vocabulary = config["vocab_size"].as_u64().unwrap();
    // The end of a turn first, then the end of a text.
    let end_ids = json!([vocabulary - 4, vocabulary - 6]);
    assert_eq!(json_file(&directory, "generation_config.json")["eos_token_id"], end_ids);
    remove(&directory);
}

#[test]
fn a_qwen3_keeps_its_rows_and_has_query_and_key_norms() {
    let mut file = model("qwen3", "qwen2");
    file.set("qwen3.attention.key_length", json!(4)).set("qwen3.attention.value_length", json!(4));
    file.set("qwen3.rope.scaling.type", json!("linear")).set("qwen3.rope.scaling.factor", json!(4.0));
    file.count_up("blk.0.attn_q_norm.weight", &[4], 1).count_up("blk.0.attn_k_norm.weight", &[4], 5);
    file.count_up("output.weight", &[606, 8], 0);
    let directory = file.imported("qwen3", Some(StoredType::Bf16)).unwrap();
    let files = TensorFiles::open(&directory).unwrap();
    assert_eq!(files.read("model.layers.0.self_attn.k_norm.weight", &[4]).unwrap(), [5.0, 6.0, 7.0, 8.0]);
    assert_eq!(files.stored_type("lm_head.weight").unwrap(), StoredType::Bf16);
    assert_eq!(rows_of(&directory, "model.layers.0.self_attn.k_proj.weight", 4), [0, 1, 2, 3]);
    let config = json_file(&directory, "config.json");
    assert_eq!(config["tie_word_embeddings"], false);
    assert_eq!(config["rope_scaling"], json!({"rope_type": "linear", "factor": 4.0}));
    remove(&directory);
}

#[test]
fn a_position_scaling_that_the_network_does_not_run_is_refused_by_name() {
    let mut file = model("qwen3", "qwen2");
    file.set("qwen3.rope.scaling.type", json!("yarn")).set("qwen3.rope.scaling.factor", json!(4.0));
    let error = file.imported("yarn", None).unwrap_err();
    assert!(error.contains("`qwen3.rope.scaling.type` is yarn"), "{error}");
}

#[test]
fn a_qwen2_has_biases() {
    let mut file = model("qwen2", "qwen2");
    for (name, width) in [("attn_q", 8), ("attn_k", 4), ("attn_v", 4)] {
        file.count_up(&format!("blk.0.{name}.bias"), &[width], 3);
    }
    let directory = file.imported("qwen2", None).unwrap();
    let files = TensorFiles::open(&directory).unwrap();
    assert_eq!(files.read("model.layers.0.self_attn.k_proj.bias", &[4]).unwrap(), [3.0, 4.0, 5.0, 6.0]);
    remove(&directory);
}

#[test]
fn texts_become_the_token_ids_of_llama_cpp() {
    let recorded: Value = serde_json::from_str(TOKENS).unwrap();
    for pre_tokenizer in ["smollm", "qwen2", "deepseek-r1-qwen", "llama-bpe", "gpt-2"] {
        let split_as = if pre_tokenizer == "deepseek-r1-qwen" { "qwen2" } else { pre_tokenizer };
        let directory = model("llama", pre_tokenizer).imported(pre_tokenizer, None).unwrap();
        let tokenizer = Tokenizer::open(&directory).unwrap();
        let (texts, ids) = (recorded["texts"].as_array().unwrap(), recorded["ids"][split_as].as_array().unwrap());
        for (text, ids) in texts.iter().zip(ids) {
            let text = text.as_str().unwrap();
            let encoded = tokenizer.encode(text).unwrap();
            // Qwen's own tokenizer.json normalises to NFC, which llama.cpp leaves out.
            if split_as == "qwen2" && text.starts_with("e\u{301} vs") {
                assert_eq!(encoded, tokenizer.encode("\u{e9} vs \u{e9}; \u{c5} \u{fb01}").unwrap());
                continue;
            }
            assert_eq!(json!(encoded), *ids, "{pre_tokenizer}: {text:?}");
            assert_eq!(tokenizer.decode_with_special(&encoded), text);
        }
        // 606 tokens, one of them unused.
        assert_eq!(tokenizer.vocabulary_size(), 605);
        remove(&directory);
    }
}

#[test]
fn what_cannot_be_imported_is_named() {
    let base = model("llama", "smollm");
    let cases: [(&str, Value, &str); 9] = [
        (
            "general.architecture",
            json!("mamba"),
            "`general.architecture` is mamba; llama, qwen2 and qwen3 are imported",
        ),
        ("tokenizer.ggml.model", json!("llama"), "`tokenizer.ggml.model` is llama; only byte-level BPE"),
        ("tokenizer.ggml.pre", json!("chatglm-bpe"), "`tokenizer.ggml.pre` is chatglm-bpe"),
        ("llama.expert_count", json!(8), "`llama.expert_count` is Integer(8), a feature that is not imported"),
        (
            "llama.embedding_length",
            json!(16),
            "tensor `token_embd.weight` has shape [606, 8] where the metadata asks for",
        ),
        ("llama.block_count", json!(2_000_000_000), "`llama.block_count` is 2000000000, but there are 11 tensors"),
        ("llama.block_count", json!(2), "`llama.block_count` is 2, but there are 11 tensors"),
        ("llama.block_count", json!("1"), "`llama.block_count` is a text where an integer belongs"),
        ("tokenizer.ggml.eos_token_id", json!(606), "`tokenizer.ggml.eos_token_id` is 606, but there are 606 tokens"),
    ];
    for (key, value, message) in cases {
        let error = base.clone().set(key, value).imported("named", None).unwrap_err();
        assert!(error.contains("model.gguf: ") && error.contains(message), "{error}");
    }
    let mut surplus = base.clone();
    surplus.tensors.remove(0);
    let surplus = surplus.count_up("token_embd.weight", &[605, 8], 0).imported("surplus", None).unwrap_err();
    assert!(surplus.contains("has 606 entries, but `token_embd.weight` has 605 rows"), "{surplus}");
    let extra = base.clone().count_up("blk.0.attn_sinks.weight", &[2], 0).imported("extra", None).unwrap_err();
    assert!(extra.contains("has a tensor `blk.0.attn_sinks.weight`"), "{extra}");
    let mut ends = base.clone();
    ends.set("tokenizer.ggml.tokens", json!(vec!["<|im_end|>"; 606]));
    ends.set("tokenizer.ggml.token_type", json!(vec![3; 606]));
    let ends = ends.imported("ends", None).unwrap_err();
    assert!(
        ends.contains("`tokenizer.ggml.tokens` has 606 ends of a text, of which there are 6; tokens must"),
        "{ends}"
    );
    let mut incomplete = base.clone();
    incomplete.tensors.pop();
    let missing = incomplete.imported("missing", None).unwrap_err();
    assert!(missing.contains("has no tensor `blk.0.ffn_down.weight`"), "{missing}");
}

#[test]
fn what_the_reader_of_models_would_refuse_is_refused_at_the_import_and_leaves_nothing() {
    let base = model("llama", "smollm");
    let refused = |file: &Gguf, message: &str| {
        // That neither the directory nor the one beside it is left is asserted where the file is imported.
        let error = file.imported("refused", None).unwrap_err();
        assert!(error.contains("model.gguf: ") && error.contains(message), "{error}");
    };
    // Above the largest f32, which is infinite in the file.
    let infinite = json!(1e39);
    for (key, value, message) in [
        ("context_length", json!(1 << 25), "`max_position_embeddings` is 33554432; it must be between 1 and 16777216"),
        ("attention.layer_norm_rms_epsilon", json!(-1e-6), "`rms_norm_eps` is -0.000001 in f32; it must be"),
        ("attention.layer_norm_rms_epsilon", infinite.clone(), "_rms_epsilon` is inf, not a finite number"),
        ("rope.freq_base", json!(0.5), "`rope_theta` is 0.5; it must be > 1"),
        ("rope.freq_base", infinite, "`llama.rope.freq_base` is inf, not a finite number"),
    ] {
        refused(base.clone().set(&format!("llama.{key}"), value), message);
    }
    let mut scaled = base.clone();
    scaled.set("llama.rope.scaling.type", json!("linear")).set("llama.rope.scaling.factor", json!(0.0));
    refused(&scaled, "its config.json would be refused: `rope_scaling` needs a positive `factor`");
    // Heads of 32 numbers have a gibibyte for 2^23 positions; here is one position more.
    let mut wide = base.clone();
    for (key, value) in [("attention.head_count", 1), ("attention.key_length", 32), ("context_length", (1 << 23) + 1)] {
        wide.set(&format!("llama.{key}"), json!(value));
    }
    wide.tensors.retain(|(name, ..)| !name.contains(".attn_") || name.contains("norm"));
    for (name, shape) in [("attn_q", [32, 8]), ("attn_k", [32, 8]), ("attn_v", [32, 8]), ("attn_output", [8, 32])] {
        wide.count_up(&format!("blk.0.{name}.weight"), &shape, 100);
    }
    refused(&wide, "`max_position_embeddings` is 8388609, for which the table of positions takes more than 1 GiB");
    wide.set("llama.context_length", json!(1 << 23));
    remove(&wide.imported("wide", None).unwrap());
    let mut merges = base.clone();
    merges.set("tokenizer.ggml.merges", json!(["no such", "tokens here"]));
    refused(&merges, "its vocabulary does not make a tokenizer: ");
    let mut large = base.clone();
    large.tensors.retain(|(name, ..)| name != "output_norm.weight");
    large.count_up("output_norm.weight", &[8], 65_520);
    let error = large.imported("refused", Some(StoredType::F16)).unwrap_err();
    let message = "model.gguf: tensor `output_norm.weight` holds 65520, which float16 cannot hold; store it as float32";
    assert!(error.contains(message), "{error}");
}

#[test]
fn tensors_that_share_bytes_are_refused_by_name() {
    let whole = model("llama", "smollm").bytes();
    let moved = |name: &str, change: fn(u64) -> u64| {
        let mut bytes = whole.clone();
        let entry = [&(name.len() as u64).to_le_bytes()[..], name.as_bytes()].concat();
        let at = whole.windows(entry.len()).position(|bytes| bytes == entry).unwrap() + entry.len();
        // Two dimensions behind their number, then the type, then where the values begin.
        let offset = at + 4 + 2 * 8 + 4;
        let begins = u64::from_le_bytes(whole[offset..][..8].try_into().unwrap());
        bytes[offset..][..8].copy_from_slice(&change(begins).to_le_bytes());
        imported("overlap", &bytes, None)
    };
    for (change, other) in [
        // That of the embedding, and the last number of the tensor before, of 8 × 32 numbers of 4 bytes.
        ((|_| 0) as fn(u64) -> u64, "blk.0.ffn_down.weight` and `token_embd.weight"),
        (|begins| begins - 4, "blk.0.ffn_up.weight` and `blk.0.ffn_down.weight"),
    ] {
        let error = moved("blk.0.ffn_down.weight", change).unwrap_err();
        assert!(error.contains(&format!("tensors `{other}` share bytes; download it again")), "{error}");
    }
    remove(&moved("blk.0.ffn_down.weight", |begins| begins).unwrap());
}

#[test]
fn a_directory_with_files_is_not_written_into() {
    let directory = model("llama", "smollm").imported("occupied", None).unwrap();
    let file = directory.with_file_name("model.gguf");
    let with_slash = directory.with_file_name("other/");
    import(&file, &with_slash, None).unwrap();
    assert_eq!(fs::read_dir(&with_slash).unwrap().count(), 5);
    let error = import(&file, &directory, None).unwrap_err().to_string();
    assert!(error.contains("imported: exists and is not empty; remove it or name another directory"), "{error}");
    for unnamed in [".", "..", "/"].map(Path::new) {
        let error = import(&file, unnamed, None).unwrap_err().to_string();
        assert!(error.contains("has no name of its own"), "{error}");
    }
    // What another import writes meanwhile, or left when it was killed.
    fs::create_dir(directory.with_file_name("under.partial")).unwrap();
    let error = import(&file, &directory.with_file_name("under"), None).unwrap_err().to_string();
    assert!(error.contains("under.partial: is where the model is written first"), "{error}");
    remove(&directory);
}

#[test]
fn a_damaged_file_is_an_error_wherever_it_is_damaged() {
    let whole = model("llama", "smollm").bytes();
    // Cut anywhere in the header or the values.
    for length in (0..whole.len()).step_by(997) {
        assert!(imported("cut", &whole[..length], None).is_err(), "{length} bytes");
    }
    // Bytes of the beginning, and some later ones, set to 255: lengths, counts and types become absurd. Some changes are
    // harmless (a letter of a name that is not read); none may panic or exhaust memory.
    for position in (0..256).chain((256..whole.len()).step_by(499)) {
        let mut damaged = whole.clone();
        damaged[position] = 0xff;
        let _ = imported("damaged", &damaged, None);
    }
    let mut nested = b"GGUF\x03\0\0\0".to_vec();
    nested.extend([0, 1].iter().flat_map(|count: &u64| count.to_le_bytes()));
    put_text(&mut nested, "key");
    nested.extend([9_u32, 9, 9].iter().flat_map(|kind| kind.to_le_bytes()));
    nested.extend([0; 64]);
    let error = imported("nested", &nested, None).unwrap_err();
    assert!(error.contains("a list has items of type 9"), "{error}");
}
