//! A family's vocabulary as a tokenizer in Hugging Face's file formats.

use super::Family;

/// The end token.
const END: &str = "$";
/// The padding token.
const PADDING: &str = "_";

/// Words that every family has, after its own.
const COMMON_WORDS: [&str; 10] = [
    "<q>", "<c>", "<v>", "<w>", // plans
    ":",   // end of the prompt
    "W",   // another pass
    "A",   // the answer follows
    END, PADDING, ".", // blank, in place of what a shorter prompt lacks
];

impl Family {
    /// Words of prompts and completions: the family's own, then those of every family. A token's id is its index.
    pub fn vocabulary(&self) -> Vec<&'static str> {
        [self.words, &COMMON_WORDS].concat()
    }

    /// Id of the end token `$`.
    pub fn end_token_id(&self) -> u32 {
        self.token_id(END)
    }

    /// Id of the padding token `_`.
    pub fn padding_token_id(&self) -> u32 {
        self.token_id(PADDING)
    }

    fn token_id(&self, token: &str) -> u32 {
        self.vocabulary().iter().position(|word| *word == token).expect("every vocabulary has the special tokens")
            as u32
    }

    /// `tokenizer.json`: words between spaces are tokens, `$` and `_` are special, decoding joins by spaces.
    ///
    /// There is no unknown token: the format wants one named, and the name given is not in the vocabulary, so that
    /// encoding any other word is an error rather than a silent blank.
    pub fn tokenizer_json(&self) -> String {
        let vocabulary: Vec<_> =
            self.vocabulary().iter().enumerate().map(|(id, token)| format!("\"{token}\": {id}")).collect();
        let vocabulary = vocabulary.join(", ");
        let special = [END, PADDING].map(|token| {
            let id = self.token_id(token);
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
    pub fn tokenizer_config_json(&self) -> String {
        let tokens_max = self.prompt_tokens + self.completion_tokens_max;
        format!(
            r#"{{
  "tokenizer_class": "PreTrainedTokenizerFast",
  "eos_token": "{END}",
  "pad_token": "{PADDING}",
  "clean_up_tokenization_spaces": false,
  "model_max_length": {tokens_max}
}}
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use tokenizers::Tokenizer;

    use crate::task::RING;

    #[test]
    fn the_ring_has_36_tokens_and_square_ids_are_numbers() {
        assert_eq!(RING.vocabulary().len(), 36);
        assert!((0..12).all(|square| RING.vocabulary()[square] == square.to_string()));
        assert_eq!((RING.end_token_id(), RING.padding_token_id()), (33, 34));
    }

    #[test]
    fn the_tokenizers_library_reads_encodes_and_decodes() {
        let tokenizer = Tokenizer::from_bytes(RING.tokenizer_json().as_bytes()).unwrap();
        assert_eq!(tokenizer.get_vocab_size(true), 36);
        for (id, token) in (0..).zip(RING.vocabulary()) {
            assert_eq!(tokenizer.token_to_id(token), Some(id), "{token}");
        }
        let text = "9 +1 +2 +2 +2 . . . . : <q> a 10 b 0 c 2 d 4 A 4 $";
        let encoding = tokenizer.encode(text, true).unwrap();
        let ids = [9, 12, 13, 13, 13, 35, 35, 35, 35, 30, 26, 18, 10, 19, 0, 20, 2, 21, 4, 32, 4, 33];
        assert_eq!(encoding.get_ids(), ids);
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), text.trim_end_matches(" $"));
    }

    #[test]
    fn a_word_outside_the_vocabulary_is_an_error() {
        let tokenizer = Tokenizer::from_bytes(RING.tokenizer_json().as_bytes()).unwrap();
        assert!(tokenizer.encode("9 +7 :", true).is_err());
    }

    #[test]
    fn the_tokenizer_config_names_the_special_tokens() {
        let config: serde_json::Value = serde_json::from_str(&RING.tokenizer_config_json()).unwrap();
        assert_eq!((&config["eos_token"], &config["pad_token"]), (&"$".into(), &"_".into()));
        assert_eq!(config["model_max_length"], 90);
    }
}
