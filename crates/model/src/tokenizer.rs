//! Text to token ids and back, through a model's own `tokenizer.json`.
//!
//! Two kinds are read: byte-level BPE, as Qwen, Llama 3 and SmolLM2 use it, where every token is a string of bytes; and
//! words between spaces, for small vocabularies such as the embedded task's. Decoding cannot fail in either, and text can
//! be given out while tokens arrive. Chat formatting is [`crate::ChatTemplate`]'s.

mod steps;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{ModelError, files};

const TOKENIZER_FILE: &str = "tokenizer.json";
/// Most that the regular expressions of a file may cost together: some 20 MB. That of GPT-4o's tokenizer costs 8,310.
const REGEX_COST_MAX: usize = 1 << 14;
/// Longest token; those of runs of spaces have some hundred bytes. A completion may be the longest one again and again.
const TOKEN_BYTES_MAX: usize = 1 << 12;
/// Most tokens that a file puts before a text.
const BEGINNING_TOKENS_MAX: usize = 16;
/// Parts of a file that a prompt is encoded without: it is taken as it is, whole, with no tokens around it.
const UNUSED_PARTS: [&str; 3] = ["truncation", "padding", "post_processor"];
/// What a class of characters, as `\p{L}`, `.` or `[^a]`, costs beside its bytes.
const REGEX_CLASS_COST: usize = 64;

/// The tokenizer of a model.
#[derive(Debug)]
pub struct Tokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    kind: Kind,
    /// Ids of special tokens, which decoding skips.
    special: BTreeSet<u32>,
    /// What the file puts before a text, such as `<|begin_of_text|>`.
    beginning: Vec<u32>,
}

/// What a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Bytes, each written as one character.
    ByteLevel,
    /// A word; a space stands between two.
    Words,
}

impl Tokenizer {
    /// Reads `tokenizer.json` in `directory`.
    ///
    /// Truncation, padding and tokens after a text, that the file may ask for, are left out: a prompt is encoded as it is.
    ///
    /// # Errors
    /// [`ModelError`] when the file is missing or malformed, or is of neither kind.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let path = directory.join(TOKENIZER_FILE);
        let unusable = |message: String| ModelError::File { path: path.clone(), message };
        if !path.is_file() {
            let message = "there is no such file; download the model's tokenizer.json into its directory";
            return Err(unusable(message.to_owned()));
        }
        let text = files::read(&path)?;
        let mut json: Value =
            serde_json::from_slice(&text).map_err(|error| unusable(format!("not JSON: {error}; download it again")))?;
        let kind = kind_of(&json).map_err(unusable)?;
        check_regexes(&json).map_err(unusable)?;
        steps::check(&json).map_err(unusable)?;
        check_lengths(&json).map_err(unusable)?;
        let beginning = beginning(&json["post_processor"]).map_err(unusable)?;
        for part in UNUSED_PARTS {
            json[part] = Value::Null;
        }
        if kind == Kind::ByteLevel {
            // A file without it is taken for whatever model its other fields allow.
            json["model"]["type"] = "BPE".into();
        }
        // What was checked, and not a field that comes twice.
        let checked = serde_json::to_vec(&json).expect("JSON is written as it was read");
        let inner = tokenizers::Tokenizer::from_bytes(&checked)
            .map_err(|error| unusable(format!("not a tokenizer: {error}; download it again")))?;
        refuse_spreading(&inner).map_err(unusable)?;
        let special = inner.get_added_tokens_decoder().into_iter().filter(|(_, token)| token.special);
        let special = special.map(|(id, _)| id).collect();
        if let Some(id) = beginning.iter().find(|&&id| inner.id_to_token(id).is_none()) {
            return Err(unusable(format!("`post_processor` puts {id} before a text, which is no token's id")));
        }
        Ok(Self { path, inner, kind, special, beginning })
    }

    /// As [`encode`](Self::encode), with the tokens before it that the file puts before a text, as `transformers` has it by
    /// default; none where the text begins with them. Text from a chat template has its own.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_from_beginning(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let tokens = self.encode(text)?;
        let before: &[u32] = if tokens.starts_with(&self.beginning) { &[] } else { &self.beginning };
        Ok([before, &tokens].concat())
    }

    /// The special token with id `id`, as it is spelt; `None` for any other id.
    pub fn special_token(&self, id: u32) -> Option<String> {
        self.special.contains(&id).then(|| self.token(id)).flatten()
    }

    /// The token ids of `text`; special tokens written out in it become their ids, none is added.
    ///
    /// # Errors
    /// [`ModelError`] naming the text when a word-level vocabulary lacks one of its words; byte-level BPE encodes every text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| ModelError::File {
            path: self.path.clone(),
            message: format!("cannot encode {text:?}: {error}; write it in words of the vocabulary"),
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of the token ids `ids` without special tokens; bytes that are not UTF-8 and unknown ids become U+FFFD
    /// and nothing.
    pub fn decode(&self, ids: &[u32]) -> String {
        let plain: Vec<u32> = ids.iter().copied().filter(|id| !self.special.contains(id)).collect();
        self.decode_with_special(&plain)
    }

    /// As [`decode`](Self::decode), with special tokens written out.
    ///
    /// # Panics
    /// Never: the decoders of both kinds accept every token.
    pub fn decode_with_special(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, false).expect("the decoders of both kinds accept every token")
    }

    /// The token with id `id` as `tokenizer.json` spells it (`Ġthe` for " the"); `None` for an id without a token.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of the token that `tokenizer.json` spells `token`.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// How many tokens there are, special ones included. A model's embedding may have more rows.
    pub fn vocabulary_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The largest id that a token has; `None` without tokens. Ids may leave gaps.
    pub(crate) fn largest_id(&self) -> Option<u32> {
        self.inner.get_vocab(true).into_values().max()
    }

    /// A decoder that gives out text while token ids arrive.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { tokenizer: self, pending: Vec::new(), begun: false }
    }

    /// The bytes that the token with id `id` stands for; empty for special tokens and unknown ids.
    fn bytes(&self, id: u32) -> Vec<u8> {
        if self.special.contains(&id) {
            return Vec::new();
        }
        let token = self.token(id).unwrap_or_default();
        if self.kind == Kind::Words {
            return token.into_bytes();
        }
        // Added tokens are plain text: where a character stands for no byte, the whole token is text.
        token.chars().map(byte_of).collect::<Option<_>>().unwrap_or_else(|| token.into_bytes())
    }
}

/// Ids that `post_processor` of a file puts before a text; `Err` holds a message naming the field.
fn beginning(post_processor: &Value) -> Result<Vec<u32>, String> {
    let steps = post_processor["processors"].as_array().map_or(std::slice::from_ref(post_processor), Vec::as_slice);
    let Some(template) = steps.iter().find(|step| step["type"] == "TemplateProcessing") else { return Ok(Vec::new()) };
    let parts = template["single"].as_array().map_or(&[][..], Vec::as_slice);
    let mut ids = Vec::new();
    for name in parts.iter().map_while(|part| part["SpecialToken"]["id"].as_str()) {
        let named = template["special_tokens"][name]["ids"].as_array().map_or(&[][..], Vec::as_slice);
        for id in named {
            let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
            ids.push(id.ok_or_else(|| format!("`post_processor.special_tokens.{name:?}.ids` holds no token ids"))?);
        }
        if ids.len() > BEGINNING_TOKENS_MAX {
            return Err(format!("`post_processor` puts more than {BEGINNING_TOKENS_MAX} tokens before a text"));
        }
    }
    Ok(ids)
}

/// Decodes token ids one by one; characters come out when all their bytes have arrived. Special tokens are skipped.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    /// The first bytes of a character that is not complete: at most 3 between calls.
    pending: Vec<u8>,
    /// Whether a word was given out, so that the next one follows a space.
    begun: bool,
}

impl TextStream<'_> {
    /// Takes the next token id and returns the text that became complete, possibly none. Bytes that cannot become a
    /// character come out as U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        let bytes = self.tokenizer.bytes(id);
        if self.tokenizer.kind == Kind::Words && self.begun && !bytes.is_empty() {
            self.pending.push(b' ');
        }
        self.begun |= !bytes.is_empty();
        self.pending.extend(bytes);
        let complete = self.pending.len() - unfinished_bytes(&self.pending);
        let text = String::from_utf8_lossy(&self.pending[..complete]).into_owned();
        self.pending.drain(..complete);
        text
    }

    /// Ends the text: U+FFFD when a character is left incomplete, otherwise nothing.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.pending).into_owned()
    }
}

/// How many bytes at the end of `bytes` begin a character whose other bytes are still to come.
fn unfinished_bytes(bytes: &[u8]) -> usize {
    let Some(last) = bytes.utf8_chunks().last() else { return 0 };
    let unfinished = std::str::from_utf8(last.invalid()).is_err_and(|error| error.error_len().is_none());
    if unfinished { last.invalid().len() } else { 0 }
}

/// The byte that a character of a byte-level token stands for.
///
/// GPT-2's `bytes_to_unicode`: printable Latin-1 characters stand for themselves, the other 68 bytes in ascending order
/// for U+0100 and following.
fn byte_of(character: char) -> Option<u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u8::try_from(character) {
        Ok(byte) => printable(byte).then_some(byte),
        Err(_) => (0..=u8::MAX).filter(|byte| !printable(*byte)).nth((character as usize).checked_sub(0x100)?),
    }
}

/// The kind of `tokenizer` (a whole `tokenizer.json`), or a message naming the field that neither kind has.
fn kind_of(tokenizer: &Value) -> Result<Kind, String> {
    let model = &tokenizer["model"];
    // Files older than the `type` field are BPE when they have merges.
    let named = model["type"].as_str().unwrap_or(if model["merges"].is_array() { "BPE" } else { "missing" });
    let splitter = tokenizer["pre_tokenizer"]["type"].as_str().unwrap_or("missing");
    let decoder = tokenizer["decoder"]["type"].as_str().unwrap_or("missing");
    match (named, splitter, decoder) {
        ("WordLevel", "WhitespaceSplit", "missing") => return Ok(Kind::Words),
        ("WordLevel", ..) => {
            return Err(format!(
                "`model.type` is WordLevel with `pre_tokenizer.type` {splitter} and `decoder.type` {decoder}; word-level tokenizers are read with WhitespaceSplit and no decoder"
            ));
        }
        ("BPE", _, "ByteLevel") => {}
        ("BPE", ..) => {
            return Err(format!("`decoder.type` is {decoder}; only byte-level tokenizers (ByteLevel) are read"));
        }
        _ => return Err(format!("`model.type` is {named}; only BPE and WordLevel models are read")),
    }
    // Bytes of a token would not be those of its text with these.
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[field].as_str().is_some_and(|text| !text.is_empty()) {
            return Err(format!("`model.{field}` is {}; byte-level tokenizers are read without one", model[field]));
        }
    }
    if model["dropout"].as_f64().is_some_and(|share| share.abs() > 0.0) {
        return Err(format!(
            "`model.dropout` is {}, under which a text has other tokens each time; set it to null",
            model["dropout"]
        ));
    }
    if let Some(merge) = overlong_merge(model) {
        return Err(format!("`model.merges` has {merge}, longer than any token of `model.vocab`; download it again"));
    }
    match model["unk_token"].as_str() {
        Some(token) if model["vocab"].get(token).is_none() => {
            Err(format!("`model.unk_token` is {token:?}, which `model.vocab` lacks; set it to null"))
        }
        Some(_) | None => Ok(Kind::ByteLevel),
    }
}

/// Refuses a whole `tokenizer.json` with a token longer than [`TOKEN_BYTES_MAX`]; the error is a message.
fn check_lengths(tokenizer: &Value) -> Result<(), String> {
    let vocabulary = tokenizer["model"]["vocab"].as_object().into_iter().flatten().map(|(token, _)| token.as_str());
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    let added = added.filter_map(|token| token["content"].as_str());
    for (field, bytes) in
        vocabulary.map(|token| ("model.vocab", token.len())).chain(added.map(|token| ("added_tokens", token.len())))
    {
        if bytes > TOKEN_BYTES_MAX {
            return Err(format!(
                "`{field}` has a token of {bytes} bytes; at most {TOKEN_BYTES_MAX} are read, so remove it"
            ));
        }
    }
    Ok(())
}

/// Refuses an added token of white space that takes all white space behind it, too: of a run of a thousand spaces the
/// `tokenizers` crate makes a thousand texts, of a thousand spaces, of 999, and so on. The error is a message.
fn refuse_spreading(tokenizer: &tokenizers::Tokenizer) -> Result<(), String> {
    // What a text is searched for, which is the token after the normalizer where it has to do with that.
    let is_space = |id: u32| tokenizer.id_to_token(id).is_some_and(|token| token.trim().is_empty());
    let added = tokenizer.get_added_tokens_decoder().into_iter();
    match added.filter(|(id, token)| token.rstrip && is_space(*id)).min_by_key(|(id, _)| *id) {
        None => Ok(()),
        Some((_, token)) => {
            Err(format!("`added_tokens` has {:?}, white space with `rstrip`; set that to false", token.content))
        }
    }
}

/// A merge of BPE that makes more bytes than any token has, which ends the `tokenizers` crate in a panic; other merges of
/// tokens that are not there it refuses itself.
fn overlong_merge(model: &Value) -> Option<&Value> {
    let longest = model["vocab"].as_object()?.keys().map(String::len).max()?;
    let bytes = |merge: &Value| match merge.as_array() {
        Some(parts) => parts.iter().filter_map(|part| part.as_str()).map(str::len).sum(),
        // Older files have the two with a space between them.
        None => merge.as_str().map_or(0, |pair| pair.len().saturating_sub(1)),
    };
    model["merges"].as_array()?.iter().find(|merge| bytes(merge) > longest)
}

/// Refuses a whole `tokenizer.json`, of either kind, whose regular expressions cost too much; the error is a message.
fn check_regexes(tokenizer: &Value) -> Result<(), String> {
    let cost = regex_cost(tokenizer);
    if cost > REGEX_COST_MAX {
        return Err(format!(
            "its regular expressions cost {cost}: bytes, and {REGEX_CLASS_COST} for each class of characters, times their repetitions; {REGEX_COST_MAX} are read"
        ));
    }
    Ok(())
}

/// What all regular expressions in `json` cost together. The `tokenizers` crate compiles them without a bound of its own, and
/// fifty bytes, as `\p{L}{900}` within assertions, come to a gigabyte.
fn regex_cost(json: &Value) -> usize {
    let field = |(name, value): (&String, &Value)| match value.as_str() {
        Some(pattern) if name == "Regex" => pattern_cost(pattern),
        _ => regex_cost(value),
    };
    match json {
        Value::Array(values) => values.iter().map(regex_cost).fold(0, usize::saturating_add),
        Value::Object(fields) => fields.iter().map(field).fold(0, usize::saturating_add),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Bytes and classes of a regular expression, times all the counts in it, as if each were within the others.
fn pattern_cost(pattern: &str) -> usize {
    let (mut classes, mut repetitions, mut rest) = (0, 1_usize, pattern);
    while let Some(at) = rest.find(['\\', '{', '.', '[']) {
        let (found, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        if found == b'.' || found == b'[' {
            classes += 1;
            rest = after;
        } else if found == b'\\' {
            let escaped = after.chars().next();
            classes += usize::from(escaped.is_some_and(|escaped| "pPwWdDsS".contains(escaped)));
            rest = &after[escaped.map_or(0, char::len_utf8)..];
            // The name of a class.
            rest = rest.strip_prefix('{').filter(|_| matches!(escaped, Some('p' | 'P'))).unwrap_or(rest);
        } else {
            let end = after.find('}').unwrap_or(after.len());
            let largest = after[..end].split(',').filter_map(|count| count.trim().parse::<usize>().ok()).max();
            repetitions = repetitions.saturating_mul(largest.unwrap_or(1).max(1));
            rest = after;
        }
    }
    repetitions.saturating_mul(pattern.len() + REGEX_CLASS_COST * classes)
}

#[cfg(test)]
#[path = "tokenizer_tests.rs"]
mod tests;
