//! The vocabulary of a GGUF file as `tokenizer.json`, `tokenizer_config.json` and `generation_config.json`.
//!
//! GGUF names a pre-tokenizer (`tokenizer.ggml.pre`) where `transformers` spells out its parts; the parts here are
//! those of the models' own files.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::header::{Metadata, required};

/// Split pattern of Qwen2, Qwen2.5 and Qwen3: digits one by one.
const QWEN2_SPLIT: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Split pattern of Llama 3: up to three digits together.
const LLAMA3_SPLIT: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Tokens that end a turn or a text in the model families at hand, as llama.cpp recognises them by their text.
const END_TOKENS: [&str; 6] = ["<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>"];

/// How a text is split before byte-pair encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PreTokenizer {
    Gpt2,
    SmolLm,
    Qwen2,
    Llama3,
}

/// What a token is, `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenType {
    /// Made by merges.
    Normal,
    /// Special: recognised in texts, skipped in decoding.
    Control,
    /// Added: recognised in texts, kept in decoding.
    UserDefined,
    /// Padding of the embedding to a round size.
    Unused,
}

/// A file's vocabulary and special tokens.
#[derive(Debug)]
pub(super) struct Vocabulary {
    tokens: Vec<String>,
    types: Vec<TokenType>,
    merges: Vec<(String, String)>,
    pre_tokenizer: PreTokenizer,
    bos_id: Option<usize>,
    eos_id: Option<usize>,
    padding_id: Option<usize>,
    /// All ids that end a completion, `eos_id` first.
    end_ids: Vec<usize>,
    begins_with_bos: bool,
    chat_template: Option<String>,
}

impl Vocabulary {
    /// Reads the vocabulary; `Err` holds a message naming key and value.
    pub(super) fn read(metadata: &Metadata) -> Result<Self, String> {
        let model = required(metadata.text("tokenizer.ggml.model")?, "tokenizer.ggml.model")?;
        if model != "gpt2" {
            return Err(format!("`tokenizer.ggml.model` is {model}; only byte-level BPE (gpt2) is imported"));
        }
        let pre = required(metadata.text("tokenizer.ggml.pre")?, "tokenizer.ggml.pre")?;
        let pre_tokenizer = match pre {
            "default" | "gpt-2" => PreTokenizer::Gpt2,
            "smollm" => PreTokenizer::SmolLm,
            // DeepSeek's distillations into Qwen renamed special tokens alone: llama.cpp splits as Qwen2 does there,
            // and `transformers` reads them with its class for Qwen2 (pull request 48211).
            "qwen2" | "deepseek-r1-qwen" => PreTokenizer::Qwen2,
            "llama-bpe" => PreTokenizer::Llama3,
            _ => {
                return Err(format!(
                    "`tokenizer.ggml.pre` is {pre}; default, gpt-2, smollm, qwen2, deepseek-r1-qwen and llama-bpe are \
                     imported"
                ));
            }
        };
        let tokens = required(metadata.texts("tokenizer.ggml.tokens")?, "tokenizer.ggml.tokens")?.to_vec();
        let types = token_types(metadata, tokens.len())?;
        let merges = required(metadata.texts("tokenizer.ggml.merges")?, "tokenizer.ggml.merges")?;
        let merges = merges.iter().map(|merge| split_merge(merge)).collect::<Result<_, _>>()?;
        let id = |name: &str| token_id(metadata, name, tokens.len());
        let eos_id = id("eos")?;
        let marked = [eos_id, id("eot")?, id("eom")?].into_iter().flatten();
        let named: Vec<usize> = (0..tokens.len())
            .filter(|id| types[*id] == TokenType::Control && END_TOKENS.contains(&tokens[*id].as_str()))
            .collect();
        if named.len() > END_TOKENS.len() {
            return Err(format!(
                "`tokenizer.ggml.tokens` has {} ends of a text, of which there are {}; tokens must differ",
                named.len(),
                END_TOKENS.len()
            ));
        }
        let mut end_ids = Vec::new();
        for id in marked.chain(named) {
            if !end_ids.contains(&id) {
                end_ids.push(id);
            }
        }
        Ok(Self {
            types,
            merges,
            pre_tokenizer,
            bos_id: id("bos")?,
            eos_id,
            padding_id: id("padding")?,
            end_ids,
            // llama.cpp adds it for this pre-tokenizer unless told otherwise.
            begins_with_bos: metadata.flag("tokenizer.ggml.add_bos_token")?.copied().unwrap_or(pre == "llama-bpe"),
            chat_template: metadata.text("tokenizer.chat_template")?.map(str::to_owned),
            tokens,
        })
    }

    /// How many tokens there are, unused ones included.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// `tokenizer.json`; `Err` when two ids have the same token.
    pub(super) fn tokenizer(&self) -> Result<Json, String> {
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        let mut added = Vec::new();
        for (id, (token, kind)) in self.tokens.iter().zip(&self.types).enumerate() {
            if *kind == TokenType::Unused {
                continue;
            }
            if let Some(first) = ids.insert(token, id) {
                return Err(format!(
                    "`tokenizer.ggml.tokens` has {token:?} as {first} and as {id}; tokens must differ"
                ));
            }
            if *kind != TokenType::Normal {
                added.push(json!({"id": id, "content": token, "special": *kind == TokenType::Control,
                    "single_word": false, "lstrip": false, "rstrip": false, "normalized": false}));
            }
        }
        let is_qwen = self.pre_tokenizer == PreTokenizer::Qwen2;
        Ok(json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": if is_qwen { json!({"type": "NFC"}) } else { Json::Null },
            "pre_tokenizer": self.pre_tokenizer.json(),
            "post_processor": self.post_processor(),
            "decoder": byte_level_part(),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                // Llama 3 takes a word that is a token as it is, even where merges would not lead to it.
                "ignore_merges": self.pre_tokenizer == PreTokenizer::Llama3,
                "vocab": ids, "merges": self.merges,
            },
        }))
    }

    /// Puts the token that begins every text in front where the model wants one; `transformers` reads it, our prompts
    /// get it from the chat template.
    fn post_processor(&self) -> Json {
        let byte_level =
            json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
        let Some(bos_id) = self.bos_id.filter(|_| self.begins_with_bos) else { return byte_level };
        let bos = &self.tokens[bos_id];
        let bos_part = json!({"SpecialToken": {"id": bos, "type_id": 0}});
        let text_part = |name: &str, type_id: u32| json!({"Sequence": {"id": name, "type_id": type_id}});
        let template = json!({
            "type": "TemplateProcessing",
            "single": [bos_part, text_part("A", 0)],
            "pair": [bos_part, text_part("A", 0), {"SpecialToken": {"id": bos, "type_id": 1}}, text_part("B", 1)],
            "special_tokens": {bos: {"id": bos, "ids": [bos_id], "tokens": [bos]}},
        });
        json!({"type": "Sequence", "processors": [byte_level, template]})
    }

    /// `tokenizer_config.json`.
    pub(super) fn tokenizer_config(&self, context_tokens: &Json) -> Json {
        let text = |id: Option<usize>| id.map(|id| &self.tokens[id]);
        let mut config = json!({
            "add_bos_token": self.begins_with_bos,
            "add_prefix_space": false,
            "bos_token": text(self.bos_id),
            "clean_up_tokenization_spaces": false,
            "eos_token": text(self.eos_id),
            "model_max_length": context_tokens,
            "pad_token": text(self.padding_id),
            // The class that takes tokenizer.json as it is.
            "tokenizer_class": "PreTrainedTokenizerFast",
        });
        if let Some(template) = &self.chat_template {
            config["chat_template"] = json!(template);
        }
        config
    }

    /// `generation_config.json`: the ids that end a completion, end-of-turn tokens included.
    pub(super) fn generation_config(&self) -> Json {
        let mut config = self.special_ids();
        config.insert("eos_token_id".to_owned(), json!(self.end_ids));
        Json::Object(config)
    }

    /// The token ids that `config.json` names.
    pub(super) fn special_ids(&self) -> serde_json::Map<String, Json> {
        [("bos_token_id", self.bos_id), ("eos_token_id", self.eos_id), ("pad_token_id", self.padding_id)]
            .into_iter()
            .filter_map(|(name, id)| Some((name.to_owned(), json!(id?))))
            .collect()
    }
}

impl PreTokenizer {
    /// Its form in `tokenizer.json`.
    fn json(self) -> Json {
        let byte_level = |splits_words: bool| {
            let mut part = byte_level_part();
            part["use_regex"] = json!(splits_words);
            part
        };
        let split = |pattern: &str| {
            let pattern = json!({"Regex": pattern});
            json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false})
        };
        let parts = match self {
            PreTokenizer::Gpt2 => return byte_level(true),
            PreTokenizer::SmolLm => [json!({"type": "Digits", "individual_digits": true}), byte_level(true)],
            PreTokenizer::Qwen2 => [split(QWEN2_SPLIT), byte_level(false)],
            PreTokenizer::Llama3 => [split(LLAMA3_SPLIT), byte_level(false)],
        };
        json!({"type": "Sequence", "pretokenizers": parts})
    }
}

/// The byte alphabet as a part of `tokenizer.json`, the same for splitting, post-processing and decoding.
fn byte_level_part() -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
}

fn token_types(metadata: &Metadata, token_count: usize) -> Result<Vec<TokenType>, String> {
    let key = "tokenizer.ggml.token_type";
    let types = required(metadata.integers(key)?, key)?;
    if types.len() != token_count {
        return Err(format!("`{key}` has {} entries for {token_count} tokens", types.len()));
    }
    let token_type = |(id, kind): (usize, &i64)| match kind {
        1 => Ok(TokenType::Normal),
        3 => Ok(TokenType::Control),
        4 => Ok(TokenType::UserDefined),
        5 => Ok(TokenType::Unused),
        _ => Err(format!("`{key}` of token {id} is {kind}; byte-level BPE has 1, 3, 4 and 5")),
    };
    types.iter().enumerate().map(token_type).collect()
}

/// The two tokens of a merge, which are separated by a space; a token may begin with one.
fn split_merge(merge: &str) -> Result<(String, String), String> {
    let after_first = merge.chars().next().map_or(0, char::len_utf8);
    match merge[after_first..].split_once(' ') {
        Some((left, right)) => Ok((merge[..after_first + left.len()].to_owned(), right.to_owned())),
        None => Err(format!("`tokenizer.ggml.merges` has {merge:?}, which is not two tokens separated by a space")),
    }
}

fn token_id(metadata: &Metadata, name: &str, token_count: usize) -> Result<Option<usize>, String> {
    let key = format!("tokenizer.ggml.{name}_token_id");
    match metadata.count(&key)? {
        Some(id) if id >= token_count => Err(format!("`{key}` is {id}, but there are {token_count} tokens")),
        id => Ok(id),
    }
}
