//! What a `tokenizer.json` does to a text before it looks for tokens, bounded: a text becomes another one step by step, and
//! forty steps that each make two bytes of one make a terabyte.
//!
//! Only steps whose growth is known are read. What follows on tokens, as truncation, padding and special tokens around
//! them, is left out when the file is read.

use serde_json::Value;

/// Most bytes that all steps make of one. Those of Qwen make 6 at most: 3 under NFC, and 2 as characters for bytes.
const GROWTH_MAX: usize = 128;
/// Most steps, those that hold others counted; DeepSeek's tokenizers have ten.
const STEPS_MAX: usize = 64;

/// One of the two places where steps stand.
struct Place {
    field: &'static str,
    /// Where a step that holds others has them.
    members: &'static str,
    /// What a step that holds no others makes of one byte at most; none where it is not read.
    growth: fn(&str, &Value) -> Option<usize>,
}

const PLACES: [Place; 2] = [
    Place { field: "normalizer", members: "normalizers", growth: normalizer_growth },
    Place { field: "pre_tokenizer", members: "pretokenizers", growth: splitter_growth },
];

/// Refuses a whole `tokenizer.json` with too many steps, with one that is not known, or with steps that make too much of a
/// text; the error is a message.
pub(super) fn check(tokenizer: &Value) -> Result<(), String> {
    let mut steps = Steps { count: 0, growth: 1 };
    for place in &PLACES {
        let first = &tokenizer[place.field];
        if !first.is_null() {
            steps.add(place, first)?;
        }
    }
    if steps.growth > GROWTH_MAX {
        let growth = steps.growth;
        return Err(format!(
            "its `normalizer` and `pre_tokenizer` make up to {growth} bytes of one; at most {GROWTH_MAX} are read, so use the tokenizer of the model itself"
        ));
    }
    Ok(())
}

/// The steps so far, and what they make of one byte together.
struct Steps {
    count: usize,
    growth: usize,
}

impl Steps {
    fn add(&mut self, place: &Place, step: &Value) -> Result<(), String> {
        let field = place.field;
        self.count += 1;
        if self.count > STEPS_MAX {
            return Err(format!("`{field}` brings it to more than {STEPS_MAX} steps, which no tokenizer has"));
        }
        let kind = step["type"].as_str().unwrap_or("missing");
        if kind == "Sequence" {
            let mut members = step[place.members].as_array().into_iter().flatten();
            return members.try_for_each(|member| self.add(place, member));
        }
        let growth = (place.growth)(kind, step).ok_or_else(|| {
            format!("`{field}.type` is {kind}, which byte-level and word-level tokenizers do without; it is not read")
        })?;
        self.growth = self.growth.saturating_mul(growth);
        Ok(())
    }
}

/// What a normalizer makes of a byte. Unicode's forms: <https://www.unicode.org/faq/normalization.html>, "maximum expansion
/// factors". `Precompiled` is not among those that are read: its tables may make anything of a byte, and end in a panic.
fn normalizer_growth(kind: &str, step: &Value) -> Option<usize> {
    match kind {
        "NFC" | "NFD" => Some(3),
        "NFKC" | "NFKD" => Some(11),
        // "İ" of 2 bytes becomes an "i" and a dot of 3 together; and a byte a character of up to 2.
        "Lowercase" | "ByteLevel" => Some(2),
        "Nmt" | "Strip" | "StripAccents" => Some(1),
        // A text that gets something in front has a byte at least.
        "Prepend" => Some(step["prepend"].as_str().map_or(0, str::len) + 1),
        "Replace" => {
            let content = step["content"].as_str().map_or(0, str::len);
            match step["pattern"]["String"].as_str().map_or(0, str::len) {
                // What may be found between any two bytes, as may a regular expression.
                0 => Some(content + 1),
                found => Some(content.div_ceil(found).max(1)),
            }
        }
        _ => None,
    }
}

/// What a step that splits makes of a byte.
fn splitter_growth(kind: &str, step: &Value) -> Option<usize> {
    match kind {
        // A byte becomes a character of up to 2, and a word of one byte may get a space in front.
        "ByteLevel" if step["add_prefix_space"] == true => Some(4),
        "ByteLevel" => Some(2),
        "BertPreTokenizer" | "Delimiter" | "Digits" | "Punctuation" | "Split" | "UnicodeScripts" | "Whitespace"
        | "WhitespaceSplit" => Some(1),
        _ => None,
    }
}
