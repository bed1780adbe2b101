//! Tests of encoding, decoding and streaming with a tokenizer of 256 byte tokens, two merges and two added tokens.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Tokenizer, byte_of, pattern_cost};

/// Bytes have their own value as id, "he" is 256, "llo" 258, `<|end|>` 259 (special), `<think>` 260 (not special).
fn byte_tokenizer() -> Value {
    let mut vocabulary: serde_json::Map<String, Value> = (0..=0x1ff_u32)
        .filter_map(char::from_u32)
        .filter_map(|character| Some((character.to_string(), byte_of(character)?.into())))
        .collect();
    for (id, token) in (256..).zip(["he", "lo", "llo"]) {
        vocabulary.insert(token.to_owned(), id.into());
    }
    let added = |id: u32, content: &str, special: bool| {
        json!({"id": id, "content": content, "special": special, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false})
    };
    json!({
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "added_tokens": [added(259, "<|end|>", true), added(260, "<think>", false)],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "vocab": vocabulary, "merges": [["h", "e"], ["l", "o"], ["l", "lo"]]},
    })
}

#[expect(clippy::disallowed_methods, reason = "a test writes the file it reads")]
fn directory_with(test: &str, tokenizer: &Value) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("brevity-tokenizer-{}-{test}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    directory
}

/// What reading `tokenizer` comes to; the error is its text.
fn reading(test: &str, tokenizer: &Value) -> Result<Tokenizer, String> {
    let directory = directory_with(test, tokenizer);
    let opened = Tokenizer::open(&directory).map_err(|error| error.to_string());
    fs::remove_dir_all(directory).unwrap();
    opened
}

fn opened(test: &str) -> Tokenizer {
    let directory = directory_with(test, &byte_tokenizer());
    let tokenizer = Tokenizer::open(&directory).unwrap();
    fs::remove_dir_all(directory).unwrap();
    tokenizer
}

#[test]
fn special_tokens_in_a_text_are_recognised_and_none_is_added() {
    let tokenizer = opened("encode");
    let ids = tokenizer.encode("hello<|end|> <think>é").unwrap();
    assert_eq!(ids, [256, 258, 259, 32, 260, 0xc3, 0xa9]);
    assert_eq!(tokenizer.decode(&ids), "hello <think>é");
    assert_eq!(tokenizer.decode_with_special(&ids), "hello<|end|> <think>é");
    assert_eq!(tokenizer.vocabulary_size(), 261);
    assert_eq!((tokenizer.token(32), tokenizer.token(999)), (Some("Ġ".to_owned()), None));
    assert_eq!(tokenizer.token_id("<|end|>"), Some(259));
}

#[test]
fn what_a_file_puts_around_a_text_is_left_out() {
    let mut tokenizer = byte_tokenizer();
    let ids = reading("alone", &tokenizer).unwrap().encode("hello").unwrap();
    // The text a thousand times, and padding to 2^40 tokens.
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    tokenizer["post_processor"] =
        json!({"type": "TemplateProcessing", "single": vec![text; 1000], "pair": [], "special_tokens": {}});
    tokenizer["padding"] = json!({"strategy": {"Fixed": 1_u64 << 40}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "a"});
    assert_eq!(reading("around", &tokenizer).unwrap().encode("hello").unwrap(), ids);
}

#[test]
fn what_a_file_puts_before_a_text_begins_a_plain_prompt_once() {
    let [text, end] =
        [json!({"Sequence": {"id": "A", "type_id": 0}}), json!({"SpecialToken": {"id": "<|end|>", "type_id": 0}})];
    let template = |single: [&Value; 2], ids: Value| {
        json!({"type": "TemplateProcessing", "single": single, "pair": [text.clone(), text.clone()],
            "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": ids, "tokens": ["<|end|>"]}}})
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let with = |post_processor: Value| {
        let mut tokenizer = byte_tokenizer();
        tokenizer["post_processor"] = post_processor;
        reading("before", &tokenizer)
    };
    let before = template([&end, &text], json!([259]));
    for post_processor in [before.clone(), json!({"type": "Sequence", "processors": [byte_level, before]})] {
        let tokenizer = with(post_processor).unwrap();
        assert_eq!(tokenizer.encode("hello").unwrap(), [256, 258]);
        for text in ["hello", "<|end|>hello"] {
            assert_eq!(tokenizer.encode_from_beginning(text).unwrap(), [259, 256, 258], "{text}");
        }
    }
    let after = with(template([&text, &end], json!([259]))).unwrap();
    assert_eq!(after.encode_from_beginning("hello").unwrap(), [256, 258]);
    for (ids, said) in [
        (json!([999]), "`post_processor` puts 999 before a text, which is no token's id"),
        (json!(["x"]), "`post_processor.special_tokens.\"<|end|>\".ids` holds no token ids"),
        (json!(vec![259; 17]), "`post_processor` puts more than 16 tokens before a text"),
    ] {
        let error = with(template([&end, &text], ids)).unwrap_err();
        assert!(error.ends_with(said), "{error}");
    }
}

#[test]
fn a_model_without_a_type_is_bpe_or_refused() {
    let mut tokenizer = byte_tokenizer();
    let ids = reading("typed", &tokenizer).unwrap().encode("hello").unwrap();
    tokenizer["model"]["type"] = Value::Null;
    assert_eq!(reading("untyped", &tokenizer).unwrap().encode("hello").unwrap(), ids);
    // A Unigram model, but for the merges.
    tokenizer["model"] = json!({"merges": [], "unk_id": 0, "vocab": [["a", 0.0]]});
    let error = reading("unigram", &tokenizer).unwrap_err();
    assert!(error.contains("not a tokenizer: "), "{error}");
}

#[test]
fn any_token_ids_decode_to_text() {
    let tokenizer = opened("decode");
    assert_eq!(tokenizer.decode(&[0xff, 65, 0xe2, 0x82, 4000]), "\u{fffd}A\u{fffd}");
    assert_eq!(tokenizer.decode(&[]), "");
}

#[test]
fn a_stream_gives_out_a_character_when_its_last_byte_arrives() {
    let tokenizer = opened("stream");
    let mut stream = tokenizer.stream();
    let mut texts: Vec<String> =
        [0xe2, 0x82, 0xac, 256, 259, 0xff, 0xf0, 65].into_iter().map(|id| stream.push(id)).collect();
    stream.push(0xc3);
    texts.push(stream.finish());
    assert_eq!(texts, ["", "", "€", "he", "", "\u{fffd}", "", "\u{fffd}A", "\u{fffd}"]);
}

#[test]
fn a_stream_gives_the_same_text_as_decoding_at_once() {
    let tokenizer = opened("agreement");
    // A linear congruential generator; high bytes are common, so most characters are broken.
    let mut state = 1_u32;
    let ids: Vec<u32> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % 261
    })
    .take(5000)
    .collect();
    let mut stream = tokenizer.stream();
    let mut text: String = ids.iter().map(|id| stream.push(*id)).collect();
    text.push_str(&stream.finish());
    assert_eq!(text, tokenizer.decode(&ids));
}

#[test]
fn regular_expressions_are_refused_by_what_they_cost() {
    // That of GPT-4o (o200k_base), which other models took over.
    let gpt = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    // Three times its bytes, 25 named classes, 5 of white space or not, and 9 in brackets.
    assert_eq!(pattern_cost(gpt), 3 * (gpt.len() + 64 * (25 + 5 + 9)));
    for (pattern, cost) in [
        ("", 0),
        (r"a{2}", 2 * 4),
        (r"(a{2,30}b{40,}){ 5 }", 30 * 40 * 5 * 20),
        // An escaped brace, a brace that nothing ends, a name that looks like a count, and the end of an escape.
        (r"\{9}\\{3}", 3 * 9),
        ("a{7", 7 * 3),
        (r"..\.", 4 + 2 * 64),
        (r"\p{900}\", 8 + 64),
        (r"\p{L}{99999999999}{99999999999}", usize::MAX),
    ] {
        assert_eq!(pattern_cost(pattern), cost, "{pattern}");
    }
    let opened = |pattern: &str| {
        let mut tokenizer = byte_tokenizer();
        let split = json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        let bytes = tokenizer["pre_tokenizer"].take();
        tokenizer["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [split, bytes]});
        let directory = directory_with("regex", &tokenizer);
        let opened = Tokenizer::open(&directory).map(drop).map_err(|error| error.to_string());
        fs::remove_dir_all(directory).unwrap();
        opened
    };
    assert_eq!(opened(gpt), Ok(()));
    let error = opened(&r"(?=\p{L}{900})".repeat(3)).unwrap_err();
    assert!(error.contains("its regular expressions cost 170586000000: bytes, and 64"), "{error}");
    // Words between spaces, too, may stand behind a normalizer.
    let words = json!({
        "normalizer": {"type": "Replace", "pattern": {"Regex": r"\p{L}{900}"}, "content": ""},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"},
    });
    let directory = directory_with("regex-words", &words);
    let error = Tokenizer::open(&directory).unwrap_err().to_string();
    assert!(error.contains("its regular expressions cost 66600: "), "{error}");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn steps_that_make_much_of_a_text_are_refused_before_one_is_encoded() {
    let replace =
        |found: &str, content: &str| json!({"type": "Replace", "pattern": {"String": found}, "content": content});
    let byte_level = |prefix: bool| json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true});
    let normalizers = |steps: Value| json!({"type": "Sequence", "normalizers": steps});
    let read = |normalizer: Value, splitter: Value| {
        let mut tokenizer = byte_tokenizer();
        tokenizer["normalizer"] = normalizer;
        tokenizer["pre_tokenizer"] = splitter;
        reading("steps", &tokenizer).map(|tokenizer| tokenizer.encode("a b").unwrap().len())
    };
    let doubling = vec![replace("a", "aa"); 40];
    let message = "its `normalizer` and `pre_tokenizer` make up to";
    for (normalizer, splitter, growth) in [
        // 2^40, and 2 for the bytes.
        (normalizers(json!(doubling)), byte_level(false), 1_usize << 41),
        (normalizers(json!([normalizers(json!(doubling))])), byte_level(false), 1 << 41),
        (
            normalizers(json!([{"type": "Prepend", "prepend": "b"}, replace("b", &"b".repeat(100))])),
            byte_level(false),
            400,
        ),
        (replace("", &"a".repeat(99)), byte_level(false), 200),
        (json!({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "a".repeat(99)}), byte_level(false), 200),
        // Every character beyond ASCII is two bytes, which become two characters beyond ASCII.
        (Value::Null, json!({"type": "Sequence", "pretokenizers": vec![byte_level(false); 30]}), 1 << 30),
        (json!([]), byte_level(true), 0),
    ] {
        let error = read(normalizer, splitter).unwrap_err();
        let expected = if growth == 0 {
            "`normalizer.type` is missing".to_owned()
        } else {
            format!("{message} {growth} bytes of one")
        };
        assert!(error.contains(&expected), "{error}");
    }
    // As Qwen's; and the most there is, with a space in front.
    assert_eq!(read(json!({"type": "NFC"}), byte_level(false)), Ok(3));
    assert_eq!(read(replace("a", &"a".repeat(32)), byte_level(true)), Ok(35));
    let error =
        read(json!({"type": "Sequence", "normalizers": vec![json!({"type": "Strip"}); 64]}), Value::Null).unwrap_err();
    assert!(error.contains("`normalizer` brings it to more than 64 steps"), "{error}");
}

#[test]
fn a_token_that_would_make_much_of_a_completion_is_refused() {
    for (field, token) in [("model.vocab", json!("a")), ("added_tokens", json!("Ġ"))] {
        let read = |repeated: usize| {
            let mut tokenizer = byte_tokenizer();
            let token = token.as_str().unwrap().repeat(repeated);
            match field {
                "model.vocab" => tokenizer["model"]["vocab"][token] = json!(261),
                _ => tokenizer["added_tokens"][1]["content"] = json!(token),
            }
            reading("long-token", &tokenizer).map(drop)
        };
        let bytes = token.as_str().unwrap().len();
        assert_eq!(read(4096 / bytes), Ok(()));
        let error = read(4096 / bytes + 1).unwrap_err();
        let expected = format!("`{field}` has a token of {} bytes; at most 4096 are read", 4096 + bytes);
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn white_space_that_takes_what_is_behind_it_is_no_token() {
    let replace = json!({"type": "Replace", "pattern": {"String": "€"}, "content": "\t "});
    for (normalizer, content, rstrip, is_read) in [
        (Value::Null, " ", true, false),
        // What the text is searched for is the token after the normalizer.
        (replace.clone(), "€", true, false),
        (replace, "€", false, true),
        (Value::Null, "\n", false, true),
        (Value::Null, " <think>", true, true),
    ] {
        let mut tokenizer = byte_tokenizer();
        tokenizer["normalizer"] = normalizer;
        for (field, value) in [("content", json!(content)), ("rstrip", json!(rstrip)), ("normalized", json!(true))] {
            tokenizer["added_tokens"][1][field] = value;
        }
        let opened = reading("white-space", &tokenizer);
        assert_eq!(opened.is_ok(), is_read, "{content:?} {opened:?}");
        if let Err(error) = opened {
            let expected = format!("`added_tokens` has {content:?}, white space with `rstrip`; set that to false");
            assert!(error.contains(&expected), "{error}");
        }
    }
}

#[test]
fn steps_whose_growth_nobody_knows_are_refused_by_name() {
    for (field, step, message) in [
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
            "`normalizer.type` is Precompiled",
        ),
        // Without a type the crate takes a step by the fields it has.
        ("normalizer", json!({"prepend": "a"}), "`normalizer.type` is missing"),
        // A length of 0 ends in a panic.
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0}), "`pre_tokenizer.type` is FixedLength"),
        ("pre_tokenizer", json!({"type": "Metaspace", "replacement": "a"}), "`pre_tokenizer.type` is Metaspace"),
    ] {
        let mut tokenizer = byte_tokenizer();
        tokenizer[field] = step;
        let error = reading("unknown-step", &tokenizer).unwrap_err();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn what_is_not_a_byte_level_bpe_is_refused_by_name() {
    let missing = Tokenizer::open(Path::new("/nonexistent")).unwrap_err().to_string();
    assert!(missing.contains("tokenizer.json: there is no such file; download"), "{missing}");
    for (pointer, value, message) in [
        ("/model/type", json!("Unigram"), "`model.type` is Unigram"),
        ("/decoder/type", json!("Metaspace"), "`decoder.type` is Metaspace"),
        ("/model/vocab", json!({}), "not a tokenizer"),
        ("/model/dropout", json!(0.5), "`model.dropout` is 0.5, under which a text has other tokens each time"),
        ("/model/merges", json!([["h", "o"]]), "not a tokenizer"),
        ("/model/merges/2", json!(["llo", "lo"]), "`model.merges` has [\"llo\",\"lo\"], longer than any token"),
        ("/model/merges", json!(["h e", "llo lo"]), "`model.merges` has \"llo lo\", longer than any token"),
    ] {
        let mut tokenizer = byte_tokenizer();
        *tokenizer.pointer_mut(pointer).unwrap() = value;
        let directory = directory_with("refused", &tokenizer);
        let error = Tokenizer::open(&directory).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        fs::remove_dir_all(directory).unwrap();
    }
    for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
        let with = |text: &str| {
            let mut tokenizer = byte_tokenizer();
            tokenizer["model"][field] = json!(text);
            let directory = directory_with("affix", &tokenizer);
            let opened = Tokenizer::open(&directory).map(drop).map_err(|error| error.to_string());
            fs::remove_dir_all(directory).unwrap();
            opened
        };
        assert_eq!(with(""), Ok(()));
        let error = with("###").unwrap_err();
        assert!(error.contains(&format!("`model.{field}` is \"###\"")), "{error}");
    }
}
