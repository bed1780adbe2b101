//! The embedded task's vocabulary and its tokenizer in Hugging Face's file formats.

/// The 36 tokens; a token's id is its index, so a square's id is its number.
pub const VOCABULARY: [&str; 36] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", // squares
    "+1", "+2", "+3", "+4", "+5", "+6", // rolls
    "a", "b", "c", "d", "e", "f", "g", "h", // labels: the index of a roll
    "<q>", "<c>", "<v>", "<w>", // plans
    ":",   // end of the prompt
    "W",   // another pass
    "A",   // the answer follows
    "$",   // end
    "_",   // padding
    ".",   // blank, in place of a roll
];
/// Id of the end token `$`.
pub const END_TOKEN_ID: u32 = 33;
/// Id of the padding token `_`.
pub const PADDING_TOKEN_ID: u32 = 34;

/// `tokenizer.json`: words between spaces are tokens, `$` and `_` are special, decoding joins by spaces.
///
/// There is no unknown token: the format wants one named, and the name given is not in the vocabulary, so that
/// encoding any other word is an error rather than a silent blank.
pub fn tokenizer_json() -> String {
    let vocabulary: Vec<_> = VOCABULARY.iter().enumerate().map(|(id, token)| format!("\"{token}\": {id}")).collect();
    let vocabulary = vocabulary.join(", ");
    let special = [END_TOKEN_ID, PADDING_TOKEN_ID].map(|id| {
        let token = VOCABULARY[id as usize];
        format!(
            r#"{{"id": {id}, "content": "{token}", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}}"#
        )
    });
    let special = special.join(", ");
    format!(
        r#"{{
  "version": "1.0",
  "truncation": null,
  "padding": null,
  "added_tokens": [{special}],
  "normalizer": null,
  "pre_tokenizer": {{"type": "WhitespaceSplit"}},
  "post_processor": null,
  "decoder": null,
  "model": {{"type": "WordLevel", "vocab": {{{vocabulary}}}, "unk_token": "<unknown>"}}
}}
"#
    )
}

/// `tokenizer_config.json`: the special tokens and the longest sequence, prompt and completion together.
pub fn tokenizer_config_json() -> String {
    let [end, padding] = [END_TOKEN_ID, PADDING_TOKEN_ID].map(|id| VOCABULARY[id as usize]);
    let tokens_max = super::PROMPT_TOKENS + super::COMPLETION_TOKENS_MAX;
    format!(
        r#"{{
  "tokenizer_class": "PreTrainedTokenizerFast",
  "eos_token": "{end}",
  "pad_token": "{padding}",
  "clean_up_tokenization_spaces": false,
  "model_max_length": {tokens_max}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use tokenizers::Tokenizer;

    use super::*;
    use crate::ring::{Plan, Walk};

    #[test]
    fn the_vocabulary_has_36_different_tokens_and_square_ids_are_numbers() {
        let different: std::collections::BTreeSet<_> = VOCABULARY.into_iter().collect();
        assert_eq!(different.len(), 36);
        assert!((0..12).all(|square| VOCABULARY[square] == square.to_string()));
        assert_eq!((VOCABULARY[END_TOKEN_ID as usize], VOCABULARY[PADDING_TOKEN_ID as usize]), ("$", "_"));
    }

    #[test]
    fn the_tokenizers_library_reads_encodes_and_decodes() {
        let tokenizer = Tokenizer::from_bytes(tokenizer_json().as_bytes()).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), 36);
        for (id, token) in (0..).zip(VOCABULARY) {
            assert_eq!(tokenizer.token_to_id(token), Some(id), "{token}");
        }
        let text = "9 +1 +2 +2 +2 . . . . : <q> a 10 b 0 c 2 d 4 A 4 $";
        let encoding = tokenizer.encode(text, true).unwrap();
        let ids = [9, 12, 13, 13, 13, 35, 35, 35, 35, 30, 26, 18, 10, 19, 0, 20, 2, 21, 4, 32, 4, 33];
        assert_eq!(encoding.get_ids(), ids);
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text.trim_end_matches(" $"));
        let longest = Walk::new(11, vec![6; 8]);
        let text = format!("{} {} $ _", longest.question(), longest.completion(Plan::VerifyTwice));
        let encoding = tokenizer.encode(text.as_str(), true).unwrap();
        assert_eq!(encoding.get_ids().len(), 10 + 78 + 1);
        assert_eq!(tokenizer.decode(encoding.get_ids(), false).unwrap(), text);
    }

    #[test]
    fn a_word_outside_the_vocabulary_is_an_error() {
        let tokenizer = Tokenizer::from_bytes(tokenizer_json().as_bytes()).unwrap();
        assert!(tokenizer.encode("9 +7 :", true).is_err());
    }

    #[test]
    fn the_tokenizer_config_names_the_special_tokens() {
        let config: serde_json::Value = serde_json::from_str(&tokenizer_config_json()).unwrap();
        assert_eq!((&config["eos_token"], &config["pad_token"]), (&"$".into(), &"_".into()));
        assert_eq!(config["model_max_length"], 90);
    }
}
