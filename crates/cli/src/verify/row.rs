//! One row of completions made elsewhere: its fields, and the verdict on each completion.

use std::{collections::BTreeMap, fmt};

use anyhow::{Result, anyhow, bail};
use rl::plain_decimal;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use verify::{Extraction, Gold, Verdict, check};

use super::lines::{LINE_BYTES_MAX, Line, Text};

/// Names of fields that a message lists at most.
const FIELDS_LISTED: usize = 12;

/// Most fields of a row, which take ten times as much memory as they do of a line.
const FIELDS_MAX: usize = 1 << 12;

/// Most completions of a row.
const COMPLETIONS_MAX: usize = 1 << 16;

/// Most bytes of id and gold answer in the verdicts of a row together, which repeat both.
const REPEATED_BYTES_MAX: usize = 64 << 20;

/// Which fields of a row hold what.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Fields of a row")]
pub(crate) struct FieldArguments {
    /// Field of the completion: a text, or a list of texts where a problem was answered several times.
    #[arg(long = "field-completion", value_name = "FIELD", default_value = "completion")]
    completion: String,
    /// Field of the gold answer: a text, which may be a whole solution, or a number.
    #[arg(long = "field-gold", value_name = "FIELD", default_value = "gold")]
    gold: String,
    /// Field of the problem's id, a text or a number, which is copied to the verdict.
    #[arg(long = "field-id", value_name = "FIELD")]
    id: Option<String>,
    /// Field of how a completion ended, a list where the completion is one; `length` and `limit` make it wrong whatever
    /// its text says, as `brevity eval` has it. Without it all completions count as whole.
    #[arg(long = "field-stop", value_name = "FIELD")]
    stop: Option<String>,
}

/// The verdict on one completion: a line of the output.
#[derive(Debug, Serialize)]
pub(super) struct Judgement {
    /// Line of the row, from 1.
    line: u64,
    /// The problem's id, where a field is named for it.
    id: Option<String>,
    /// Which of the row's completions, from 0.
    sample: usize,
    /// The gold answer without the solution around it.
    gold: String,
    pub(super) verdict: Verdict,
    /// The text taken for the answer.
    answer: Option<String>,
    reason: String,
    /// Whether it was cut off at its limit.
    pub(super) truncated: bool,
}

impl Judgement {
    /// Whether the completion counts as correct: verdict correct and not truncated.
    pub(super) fn is_correct(&self) -> bool {
        self.verdict.is_correct() && !self.truncated
    }
}

/// The verdicts on the completions of one row; `None` for a blank line.
///
/// # Errors
/// A message that names field and remedy, but not file and line.
pub(super) fn judge(line: &Line, fields: &FieldArguments, extraction: &Extraction) -> Result<Option<Vec<Judgement>>> {
    let Text::Whole(bytes) = &line.text else {
        bail!("has more than {} MiB; give each row a line of its own", LINE_BYTES_MAX >> 20);
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| anyhow!("is not UTF-8 from byte {} on; write it in UTF-8", error.valid_up_to()))?;
    let text = if line.number == 1 { text.trim_start_matches('\u{feff}') } else { text };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let row = Row::read(text)?;
    let id = match &fields.id {
        Some(field) => Some(row.scalar("id", field)?),
        None => None,
    };
    let source = row.scalar("gold", &fields.gold)?;
    let gold = Gold::parse(&source).map_err(|error| anyhow!("field `{}`: {error}", fields.gold))?;
    let completions = row.texts("completion", &fields.completion)?;
    let stops = match &fields.stop {
        Some(field) => row.texts("stop", field)?,
        None => vec!["stop".to_owned(); completions.len()],
    };
    if stops.len() != completions.len() {
        bail!("has {} completions and {} ends; give each completion its own", completions.len(), stops.len());
    }
    refuse_repetition(id.as_deref().unwrap_or_default().len() + gold.text().len(), completions.len())?;
    let judgement = |(sample, (completion, stop)): (usize, (&String, &String))| {
        let check = check(completion, &gold, extraction);
        Judgement {
            line: line.number,
            id: id.clone(),
            sample,
            gold: gold.text().to_owned(),
            verdict: check.verdict,
            answer: check.answer,
            reason: check.reason,
            truncated: matches!(stop.as_str(), "length" | "limit"),
        }
    };
    Ok(Some(completions.iter().zip(&stops).enumerate().map(judgement).collect()))
}

/// Refuses a short row that would become a long output.
fn refuse_repetition(bytes: usize, completions: usize) -> Result<()> {
    if bytes.saturating_mul(completions) > REPEATED_BYTES_MAX {
        bail!(
            "has {completions} completions, whose verdicts would each repeat an id and a gold answer of {bytes} bytes, and \
             {} MiB are allowed together; shorten them, or give each completion a row of its own",
            REPEATED_BYTES_MAX >> 20
        );
    }
    Ok(())
}

/// The fields of a row, their values not yet read.
struct Row<'a>(BTreeMap<String, &'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Row<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Row<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
        let mut fields = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            fields.insert(name, value);
            if fields.len() > FIELDS_MAX {
                return Err(Error::custom(format!("it has more than {FIELDS_MAX} fields")));
            }
        }
        Ok(Row(fields))
    }
}

impl<'a> Row<'a> {
    fn read(text: &'a str) -> Result<Self> {
        if text.trim_start().starts_with('[') {
            bail!("begins a list; write one JSON object a line (`jq -c '.[]'` splits a list)");
        }
        serde_json::from_str(text).map_err(|error| {
            let error = error.to_string().replace(" at line 1 column ", " at column ");
            anyhow!("is no JSON object: {error}; write one JSON object a line")
        })
    }

    /// A text that is not blank, or a number as an exact decimal.
    fn scalar(&self, option: &str, field: &str) -> Result<String> {
        let value = self.value(option, field)?;
        let number = || plain_decimal(value.get());
        let text = serde_json::from_str::<String>(value.get()).ok().or_else(number);
        let text = text.ok_or_else(|| self.failure(option, field, "is neither a text nor a number"))?;
        if text.trim().is_empty() { Err(self.failure(option, field, "is blank")) } else { Ok(text) }
    }

    /// A text, or a list of at least one.
    fn texts(&self, option: &str, field: &str) -> Result<Vec<String>> {
        let value = self.value(option, field)?;
        if let Ok(text) = serde_json::from_str::<String>(value.get()) {
            return Ok(vec![text]);
        }
        // Counted before they are read: an empty text takes ten times as much memory as it does of a line.
        let count = serde_json::from_str::<Vec<IgnoredAny>>(value.get()).map_or(0, |all| all.len());
        if count > COMPLETIONS_MAX {
            return Err(self.failure(option, field, &format!("is a list of {count}, and {COMPLETIONS_MAX} are read")));
        }
        match serde_json::from_str::<Vec<String>>(value.get()) {
            Ok(texts) if texts.is_empty() => Err(self.failure(option, field, "is an empty list")),
            Ok(texts) => Ok(texts),
            Err(_) => Err(self.failure(option, field, "is neither a text nor a list of texts")),
        }
    }

    fn value(&self, option: &str, field: &str) -> Result<&'a RawValue> {
        self.0.get(field).copied().ok_or_else(|| self.failure(option, field, "is missing"))
    }

    fn failure(&self, option: &str, field: &str, wrong: &str) -> anyhow::Error {
        let mut found: Vec<String> = self.0.keys().take(FIELDS_LISTED).map(|name| format!("`{name}`")).collect();
        if self.0.len() > FIELDS_LISTED {
            found.push("…".to_owned());
        }
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        anyhow!(
            "field `{field}` {wrong} (fields found: {found}); pass --field-{option} with the field that holds it, or \
             mend the row"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(row: &str) -> Result<Option<Vec<Judgement>>> {
        let fields = FieldArguments {
            completion: "completion".into(),
            gold: "gold".into(),
            id: None,
            stop: row.contains("\"stop\"").then(|| "stop".into()),
        };
        let line = Line { number: 1, text: Text::Whole(row.as_bytes().to_vec()) };
        judge(&line, &fields, &Extraction::Auto {})
    }

    #[test]
    fn each_completion_of_a_row_gets_a_verdict() {
        for (row, expected) in [
            (r#"{"completion": "so \\boxed{72}", "gold": 72}"#, vec![true]),
            (r#"{"completion": ["\\boxed{72}", "\\boxed{71}", ""], "gold": "so #### 72"}"#, vec![true, false, false]),
            (r#"{"completion": "0.5", "gold": 5e-1, "more": {"a": []}}"#, vec![true]),
            (
                r#"{"completion": ["7", "7", "7"], "gold": "7", "stop": ["stop", "length", "limit"]}"#,
                vec![true, false, false],
            ),
            ("\u{feff}{\"completion\": \"7\", \"gold\": 7.0}\r", vec![true]),
        ] {
            let judgements = judged(row).unwrap().unwrap();
            assert_eq!(judgements.iter().map(Judgement::is_correct).collect::<Vec<_>>(), expected, "{row}");
        }
        assert!(judged("  \r").unwrap().is_none());
    }

    #[test]
    fn a_bad_row_names_field_and_remedy() {
        for (row, said) in [
            ("[1", "begins a list; write one"),
            ("{\"completion\": ", "is no JSON object: EOF while parsing a value at column 15; write"),
            (r#"{"gold": 1}"#, "field `completion` is missing (fields found: `gold`); pass --field-completion"),
            ("{}", "field `gold` is missing (fields found: none); pass --field-gold"),
            (r#"{"gold": " ", "completion": ""}"#, "field `gold` is blank"),
            (r#"{"gold": null, "completion": ""}"#, "field `gold` is neither a text nor a number"),
            (r#"{"gold": "\\boxed", "completion": ""}"#, "field `gold`: gold answer of 6 bytes has a `\\boxed`"),
            (r#"{"gold": 1, "completion": []}"#, "field `completion` is an empty list"),
            (r#"{"gold": 1, "completion": ["1", 2]}"#, "field `completion` is neither a text nor a list of texts"),
            (r#"{"gold": 1, "completion": ["1", "2"], "stop": "stop"}"#, "has 2 completions and 1 ends"),
        ] {
            let message = judged(row).unwrap_err().to_string();
            assert!(message.starts_with(said), "{row}: {message}");
        }
        let fields: BTreeMap<String, u32> = (0..=FIELDS_MAX as u32).map(|field| (field.to_string(), field)).collect();
        let message = judged(&serde_json::json!(fields).to_string()).unwrap_err().to_string();
        assert!(message.starts_with("is no JSON object: it has more than 4096 fields at column"), "{message}");
        let many = vec![""; COMPLETIONS_MAX + 1];
        let row = serde_json::json!({"gold": 1, "completion": many}).to_string();
        let message = judged(&row).unwrap_err().to_string();
        assert!(message.starts_with("field `completion` is a list of 65537, and 65536 are read"), "{message}");
        let line = Line { number: 1, text: Text::Whole(b"{\"a\": \"\xff\"}".to_vec()) };
        let fields = FieldArguments { completion: "a".into(), gold: "a".into(), id: None, stop: None };
        let message = judge(&line, &fields, &Extraction::Auto {}).unwrap_err().to_string();
        assert_eq!(message, "is not UTF-8 from byte 7 on; write it in UTF-8");
    }

    #[test]
    fn a_row_whose_verdicts_would_repeat_a_long_id_too_often_is_refused() {
        let fields =
            FieldArguments { completion: "completion".into(), gold: "gold".into(), id: Some("id".into()), stop: None };
        let judged = |completions: usize| {
            let row = serde_json::json!({"gold": 1, "id": "i".repeat(1 << 20), "completion": vec![""; completions]});
            judge(&Line { number: 1, text: Text::Whole(row.to_string().into_bytes()) }, &fields, &Extraction::Auto {})
        };
        assert_eq!(judged(63).unwrap().unwrap().len(), 63);
        let message = judged(64).unwrap_err().to_string();
        let said =
            "has 64 completions, whose verdicts would each repeat an id and a gold answer of 1048577 bytes, and 64 MiB";
        assert!(message.starts_with(said), "{message}");
    }
}
