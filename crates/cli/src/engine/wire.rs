//! What is sent to an OpenAI-compatible server, and what may come back. Knows no network.

use std::fmt;

use clap::ValueEnum;
use model::Message;
use record::StopReason;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json, value::RawValue};

/// Characters of a wrong answer that a message shows.
const SHOWN_CHARACTERS: usize = 160;

/// Most completions that are asked for in one request, and most that are read of an answer: a server may send millions.
pub(super) const CHOICES_MAX: u32 = 1 << 10;

/// Fields of a request that options set; `--body` may not.
pub(super) const OWN_FIELDS: [&str; 9] =
    ["model", "messages", "prompt", "temperature", "top_p", "max_tokens", "seed", "n", "stream"];

/// Which form of the API is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Api {
    /// `/chat/completions`: the server puts its own chat template around the question.
    Chat,
    /// `/completions`: the text that the model continues.
    Completions,
}

impl Api {
    /// The path after the address.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Completions => "completions",
        }
    }

    /// As the option spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
        }
    }
}

/// What the model is given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RemotePrompt {
    /// For [`Api::Chat`].
    Messages(Vec<Message>),
    /// For [`Api::Completions`].
    Text(String),
}

/// Settings that all requests share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RemoteSampling {
    /// The model's name at the server.
    pub(crate) model: String,
    pub(crate) temperature: f64,
    pub(crate) top_p: f64,
    pub(crate) completion_tokens_max: u32,
    /// Further fields of the request.
    pub(crate) extra: Map<String, Value>,
}

impl RemoteSampling {
    /// The body of a request for `choices` completions under `seed`.
    pub(super) fn body(&self, prompt: &RemotePrompt, choices: u32, seed: u32) -> Value {
        let mut body = json!({
            "model": self.model,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.completion_tokens_max,
            "seed": seed,
            "n": choices,
            "stream": false,
        });
        match prompt {
            RemotePrompt::Messages(messages) => body["messages"] = json!(messages),
            RemotePrompt::Text(text) => body["prompt"] = json!(text),
        }
        for (name, value) in &self.extra {
            body[name] = value.clone();
        }
        body
    }
}

/// One completion as the server gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    /// With reasoning that the server split off put back.
    pub(super) text: String,
    pub(super) stop: StopReason,
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// As many as were asked for, in their order.
    pub(super) choices: Vec<Choice>,
    /// Tokens of all choices together, where the server tells.
    pub(super) completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct AnswerJson {
    choices: Option<ChoicesJson>,
    usage: Option<UsageJson>,
    /// As it stands: its values would take many times as much memory.
    error: Option<Box<RawValue>>,
}

/// The first [`CHOICES_MAX`] choices, and how many there are.
struct ChoicesJson {
    first: Vec<ChoiceJson>,
    count: usize,
}

impl<'de> Deserialize<'de> for ChoicesJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstChoices)
    }
}

struct FirstChoices;

impl<'de> Visitor<'de> for FirstChoices {
    type Value = ChoicesJson;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<ChoicesJson, A::Error> {
        let mut first = Vec::new();
        while first.len() < CHOICES_MAX as usize {
            let Some(choice) = sequence.next_element()? else { break };
            first.push(choice);
        }
        let mut count = first.len();
        while sequence.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(ChoicesJson { first, count })
    }
}

#[derive(Deserialize)]
struct ChoiceJson {
    index: Option<usize>,
    text: Option<String>,
    message: Option<MessageJson>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct MessageJson {
    content: Option<String>,
    /// As vLLM (before 0.12), SGLang and llama.cpp call it.
    reasoning_content: Option<String>,
    /// As vLLM and OpenRouter call it.
    reasoning: Option<String>,
}

#[derive(Deserialize)]
struct UsageJson {
    completion_tokens: Option<u64>,
}

impl Answer {
    /// Reads the body of an answer to a request for `wanted` completions.
    ///
    /// # Errors
    /// What is wrong with it, as a clause that begins with a verb.
    pub(super) fn read(body: &[u8], api: Api, wanted: usize) -> Result<Self, String> {
        let answer: AnswerJson = serde_json::from_slice(body).map_err(|error| misread(body, &error))?;
        if let Some(error) = answer.error {
            return Err(format!("reports an error: {}", shown(error.get().as_bytes())));
        }
        let Some(ChoicesJson { first: mut choices, count }) = answer.choices else {
            return Err(format!("has no `choices`: {}", shown(body)));
        };
        if count != wanted {
            return Err(format!("has {count} `choices` where {wanted} were asked for"));
        }
        // A server may send them in any order; without `index` they count as sent in order.
        for (position, choice) in choices.iter_mut().enumerate() {
            choice.index.get_or_insert(position);
        }
        choices.sort_by_key(|choice| choice.index);
        if let Some(position) = (0..wanted).find(|&position| choices[position].index != Some(position)) {
            return Err(format!("has no choice whose `index` is {position}"));
        }
        let choices = choices.into_iter().map(|choice| choice.read(api)).collect::<Result<_, _>>()?;
        Ok(Self { choices, completion_tokens: answer.usage.and_then(|usage| usage.completion_tokens) })
    }
}

impl ChoiceJson {
    fn read(self, api: Api) -> Result<Choice, String> {
        let stop = match self.finish_reason.as_deref() {
            Some("stop" | "eos" | "eos_token" | "stop_sequence" | "end_turn") => StopReason::End,
            Some("length" | "max_tokens") => StopReason::Limit,
            Some(other) => {
                let other = shown(other.as_bytes());
                return Err(format!("ends with `finish_reason` {other}, which is neither `stop` nor `length`"));
            }
            None => return Err("has a choice without `finish_reason`".to_owned()),
        };
        let text = match api {
            Api::Completions => self.text.ok_or("has a choice without `text`")?,
            Api::Chat => self.message.ok_or("has a choice without `message`")?.read(stop)?,
        };
        Ok(Choice { text, stop })
    }
}

impl MessageJson {
    /// The content, behind the reasoning that the server split off. Reasoning that was cut off stays open, as the model
    /// left it.
    fn read(self, stop: StopReason) -> Result<String, String> {
        let reasoning = [self.reasoning_content, self.reasoning].into_iter().flatten().find(|text| !text.is_empty());
        match (reasoning, self.content) {
            (None, None) => Err("has a message without `content`".to_owned()),
            (None, Some(content)) => Ok(content),
            (Some(reasoning), content) => {
                let content = content.unwrap_or_default();
                let cut_off = stop == StopReason::Limit && content.is_empty();
                let close = if cut_off { "" } else { "</think>" };
                Ok(format!("<think>{reasoning}{close}{content}"))
            }
        }
    }
}

/// Why a body is no answer.
fn misread(body: &[u8], error: &serde_json::Error) -> String {
    if error.is_data() {
        // JSON, but of another form; the error quotes the value that is, whole.
        return format!("is of another form ({}): {}", shown(error.to_string().as_bytes()), shown(body));
    }
    if body.is_empty() {
        return "is empty".to_owned();
    }
    let kind = if body.trim_ascii_start().starts_with(b"<") { "is HTML, no JSON" } else { "is no JSON" };
    format!("{kind}: {}", shown(body))
}

/// The beginning of what a server sent, on one line.
pub(super) fn shown(bytes: &[u8]) -> String {
    // A character takes four bytes at most; what is cut within one is replaced and cut off again.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN_CHARACTERS + 4)]);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}…", &words[..end]),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use model::Role;

    use super::*;

    fn read(body: &str, api: Api, wanted: usize) -> Result<Vec<(String, StopReason)>, String> {
        let answer = Answer::read(body.as_bytes(), api, wanted)?;
        Ok(answer.choices.into_iter().map(|choice| (choice.text, choice.stop)).collect())
    }

    #[test]
    fn a_request_holds_settings_prompt_and_what_else_is_asked() {
        let extra = json!({"top_k": 20, "chat_template_kwargs": {"enable_thinking": false}});
        let sampling = RemoteSampling {
            model: "m".into(),
            temperature: 0.6,
            top_p: 0.95,
            completion_tokens_max: 512,
            extra: extra.as_object().unwrap().clone(),
        };
        let messages = vec![Message { role: Role::User, content: "7?".into() }];
        assert_eq!(
            sampling.body(&RemotePrompt::Messages(messages), 2, 9),
            json!({
                "model": "m", "messages": [{"role": "user", "content": "7?"}], "temperature": 0.6, "top_p": 0.95,
                "max_tokens": 512, "seed": 9, "n": 2, "stream": false, "top_k": 20,
                "chat_template_kwargs": {"enable_thinking": false},
            })
        );
        assert_eq!(sampling.body(&RemotePrompt::Text("7?".into()), 1, 0)["prompt"], "7?");
    }

    #[test]
    fn choices_come_in_the_order_of_their_index_with_tokens_and_ends() {
        let body = r#"{"id": "x", "choices": [
            {"index": 1, "text": "b", "finish_reason": "length", "logprobs": null},
            {"index": 0, "text": "a", "finish_reason": "stop"}], "usage": {"completion_tokens": 7, "prompt_tokens": 3}}"#;
        let answer = Answer::read(body.as_bytes(), Api::Completions, 2).unwrap();
        let expected = [("a", StopReason::End), ("b", StopReason::Limit)];
        assert_eq!(answer.choices, expected.map(|(text, stop)| Choice { text: text.into(), stop }));
        assert_eq!(answer.completion_tokens, Some(7));
    }

    #[test]
    fn reasoning_that_a_server_splits_off_is_put_back() {
        use StopReason::{End, Limit};
        for (message, finish, expected) in [
            (r#""content": "5""#, "stop", ("5", End)),
            (r#""content": "5", "reasoning_content": "2+3""#, "stop", ("<think>2+3</think>5", End)),
            (r#""content": "5", "reasoning": "2+3", "reasoning_content": null"#, "stop", ("<think>2+3</think>5", End)),
            (r#""content": "5", "reasoning_content": """#, "stop", ("5", End)),
            (r#""content": null, "reasoning_content": "2+""#, "length", ("<think>2+", Limit)),
            (r#""content": "so", "reasoning_content": "2+""#, "length", ("<think>2+</think>so", Limit)),
            (r#""content": null, "reasoning": "2+3""#, "stop", ("<think>2+3</think>", End)),
        ] {
            let body = format!(r#"{{"choices": [{{"message": {{{message}}}, "finish_reason": "{finish}"}}]}}"#);
            let (text, stop) = expected;
            assert_eq!(read(&body, Api::Chat, 1), Ok(vec![(text.to_owned(), stop)]), "{message}");
        }
    }

    #[test]
    fn what_is_no_answer_is_named() {
        let choice = |fields: &str| format!(r#"{{"choices": [{{{fields}}}]}}"#);
        for (body, said) in [
            (String::new(), "is empty"),
            ("<!DOCTYPE html>\n<html>".into(), "is HTML, no JSON: <!DOCTYPE html> <html>"),
            ("upstream gone".into(), "is no JSON: upstream gone"),
            (r#"{"choices": [{"text": "a"#.into(), "is no JSON: {\"choices\": [{\"text\": \"a"),
            (r#"{"choices": "a"}"#.into(), "is of another form (invalid type: string \"a\", expected a sequence"),
            ("[]".into(), "is of another form ("),
            (r#"{"object": "list"}"#.into(), "has no `choices`: {\"object\": \"list\"}"),
            (r#"{"error": {"message": "out of memory"}}"#.into(), "reports an error: {\"message\": \"out of memory\"}"),
            (r#"{"error": null}"#.into(), "has no `choices`"),
            (r#"{"choices": []}"#.into(), "has 0 `choices` where 1 were asked for"),
            (choice(r#""index": 3, "text": "a", "finish_reason": "stop""#), "has no choice whose `index` is 0"),
            (choice(r#""text": "a""#), "has a choice without `finish_reason`"),
            (choice(r#""text": "a", "finish_reason": null"#), "has a choice without `finish_reason`"),
            (choice(r#""text": "a", "finish_reason": "content_filter""#), "ends with `finish_reason` content_filter"),
            (choice(r#""finish_reason": "stop""#), "has a choice without `text`"),
        ] {
            let message = read(&body, Api::Completions, 1).unwrap_err();
            assert!(message.starts_with(said), "{body}: {message}");
        }
        let long = format!(r#"{{"choices": "{}"}}"#, "a".repeat(1 << 20));
        let message = read(&long, Api::Completions, 1).unwrap_err();
        assert!(message.starts_with("is of another form (") && message.len() < 1000, "{} bytes", message.len());
        for (fields, said) in [
            (r#""text": "a", "finish_reason": "stop""#, "has a choice without `message`"),
            (r#""message": {"role": "assistant"}, "finish_reason": "stop""#, "has a message without `content`"),
        ] {
            assert_eq!(read(&choice(fields), Api::Chat, 1), Err(said.to_owned()));
        }
    }

    #[test]
    fn choices_beyond_those_that_may_be_asked_for_are_counted_and_not_read() {
        // Were they read, the one that is no choice would be refused as that.
        let choice = |more: &str| format!(r#"{{"text": "a", "finish_reason": "stop"}}{more}"#);
        let body = format!(r#"{{"choices": [{}7, []]}}"#, choice(", ").repeat(CHOICES_MAX as usize));
        let said = format!("has {} `choices` where 2 were asked for", CHOICES_MAX + 2);
        assert_eq!(read(&body, Api::Completions, 2), Err(said));
    }

    #[test]
    fn what_is_shown_of_a_wrong_answer_is_short_and_on_one_line() {
        assert_eq!(shown(b"a\n\n  b\xff"), "a b\u{fffd}");
        assert_eq!(shown("ü".repeat(1000).as_bytes()), format!("{}…", "ü".repeat(160)));
    }
}
