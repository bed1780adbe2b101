//! Completions made by another engine: a server with OpenAI's API, such as vLLM, SGLang or llama.cpp's.
//!
//! Threads and blocking requests, no async runtime: a server computes a few hundred completions at a time at most.

mod client;
mod crew;
mod wire;

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use model::Tokenizer;
use serde_json::{Map, Value};

use self::{
    client::Client,
    wire::{CHOICES_MAX, OWN_FIELDS},
};
pub(crate) use self::{
    client::Passing,
    crew::{Ask, Crew, Event, RemoteCompletion},
    wire::{Api, RemotePrompt, RemoteSampling},
};
use crate::{
    options::{named_value, positive},
    retry::BackOff,
};

/// The options of a server.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Another engine")]
pub(crate) struct EngineArguments {
    /// Ask a server with OpenAI's API for the completions (vLLM, SGLang, llama.cpp), such as `http://127.0.0.1:8000/v1`;
    /// `--model` is then the model's name there.
    #[arg(id = "engine", long = "engine", value_name = "URL", value_parser = address)]
    pub(crate) url: Option<String>,
    /// Which form of the API.
    #[arg(long, value_enum, default_value_t = Api::Chat, requires = "engine")]
    pub(crate) api: Api,
    /// Environment variable that holds the server's API key; no key is sent without it.
    #[arg(long, value_name = "NAME", requires = "engine")]
    pub(crate) api_key_env: Option<String>,
    /// Model directory or hub name whose tokenizer counts tokens where the server does not, and whose chat template is
    /// used with `--api completions`.
    #[arg(long, value_name = "MODEL", requires = "engine")]
    pub(crate) tokenizer: Option<String>,
    /// Completions of a problem asked for in one request; above 1 the server must know `n`, and `--tokenizer` counts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(CHOICES_MAX)), default_value_t = 1, requires = "engine")]
    pub(crate) choices: u32,
    /// A further field of every request, its value JSON or else text, as in `--body min_p=0`; may be repeated.
    #[arg(long, value_name = "FIELD=VALUE", value_parser = body_field, requires = "engine")]
    pub(crate) body: Vec<(String, Value)>,
    /// Requests under way at a time.
    #[arg(long, value_name = "N", value_parser = positive, default_value = "16", requires = "engine")]
    pub(crate) concurrency: usize,
    /// Seconds that a request may take.
    #[arg(long = "timeout", value_name = "SECONDS", value_parser = seconds, default_value = "600", requires = "engine")]
    pub(crate) timeout_seconds: f64,
    /// Times that a request is made again after a status 408, 425, 429, 500 or 502 to 599, a time-out or a broken
    /// connection.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100), default_value_t = 5, requires = "engine")]
    pub(crate) retries: u32,
    /// Longest wait before a request is made again, doubled each time up to a minute, unless the server says how long.
    #[arg(long = "retry-wait", value_name = "SECONDS", value_parser = seconds, default_value = "1", requires = "engine")]
    pub(crate) retry_wait_seconds: f64,
    /// What becomes of a problem whose request fails for good.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Failed::AskAgain, requires = "engine")]
    pub(crate) failed: Failed,
    /// Stop asking after this many requests have failed for good.
    #[arg(long, value_name = "N", value_parser = positive, default_value = "20", requires = "engine")]
    pub(crate) failures_max: usize,
}

/// What becomes of a problem whose request fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Failed {
    /// The evaluation ends without numbers, and `--resume` asks again.
    AskAgain,
    /// It is named and counted, and the others are measured.
    LeaveOut,
}

/// A server, and what it is asked for.
pub(crate) struct Engine {
    remote: Remote,
    sampling: RemoteSampling,
    seed: u64,
    concurrency: usize,
}

/// How a server is asked.
struct Remote {
    client: Client,
    api: Api,
    back_off: BackOff,
    tokenizer: Option<Arc<Tokenizer>>,
}

impl Engine {
    /// The server at `url` as `arguments` have it asked.
    ///
    /// # Errors
    /// When the variable of the key is not set, or tokens of several choices could not be counted.
    pub(crate) fn new(
        url: &str,
        arguments: &EngineArguments,
        tokenizer: Option<Arc<Tokenizer>>,
        (sampling, seed): (RemoteSampling, u64),
    ) -> Result<Self> {
        if arguments.choices > 1 && tokenizer.is_none() {
            bail!(
                "--choices is {}, and a server counts the tokens of all choices together; pass --tokenizer to have \
                 each counted, or leave out --choices",
                arguments.choices
            );
        }
        let key = match &arguments.api_key_env {
            Some(name) => {
                let key = std::env::var(name).with_context(|| {
                    format!("cannot read the API key from the variable {name}; set it, or leave out --api-key-env")
                })?;
                Some(key.trim().to_owned())
            }
            None => None,
        };
        let timeout = Duration::from_secs_f64(arguments.timeout_seconds);
        let url = format!("{url}/{}", arguments.api.path());
        let remote = Remote {
            client: Client::new(url, key.as_deref(), arguments.concurrency, timeout),
            api: arguments.api,
            back_off: BackOff { retries: arguments.retries, first_seconds: arguments.retry_wait_seconds },
            tokenizer,
        };
        Ok(Self { remote, sampling, seed, concurrency: arguments.concurrency })
    }
}

impl EngineArguments {
    /// The fields of `--body`.
    pub(crate) fn extra_fields(&self) -> Map<String, Value> {
        self.body.iter().cloned().collect()
    }
}

/// An address with a scheme, without a slash at its end.
fn address(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.starts_with('/') || rest.contains(char::is_whitespace)) {
        return Err("give an address such as http://127.0.0.1:8000/v1".to_owned());
    }
    let address = text.trim_end_matches('/');
    match ["/chat/completions", "/completions"].iter().find(|path| address.ends_with(*path)) {
        Some(path) => Err(format!("leave out `{path}` and say it with --api")),
        None => Ok(address.to_owned()),
    }
}

/// `FIELD=VALUE`, the value as JSON where it is some.
fn body_field(text: &str) -> Result<(String, Value), String> {
    let (name, value) = named_value(text).ok_or("write FIELD=VALUE")?;
    if OWN_FIELDS.contains(&name.as_str()) {
        return Err(format!("`{name}` is set by an option of its own; use that"));
    }
    // 0 and -1 keep all tokens, depending on the server.
    if name == "top_k" && value.as_i64().is_none_or(|kept| kept > 0) {
        return Err("a number of tokens to keep is set by --top-k; use that".to_owned());
    }
    Ok((name, value))
}

/// A time above 0, up to a day.
fn seconds(text: &str) -> Result<f64, String> {
    let allowed = |value: &f64| (1e-3..=86_400.0).contains(value);
    text.parse().ok().filter(allowed).ok_or("give a number of seconds from 0.001 to 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_have_a_scheme_and_no_path_of_the_api() {
        for (text, expected) in [
            ("http://127.0.0.1:8000/v1", Some("http://127.0.0.1:8000/v1")),
            ("https://host/v1/", Some("https://host/v1")),
            ("127.0.0.1:8000", None),
            ("http://", None),
            ("http:///v1", None),
            ("http://a b", None),
            ("http://host/v1/completions", None),
            ("http://host/v1/chat/completions/", None),
        ] {
            assert_eq!(address(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn fields_of_the_body_are_json_or_text() {
        for (text, name, value) in [
            ("top_k=-1", "top_k", json!(-1)),
            ("a={\"b\": [1]}", "a", json!({"b": [1]})),
            ("stop=a=b", "stop", json!("a=b")),
            ("x=", "x", json!("")),
        ] {
            assert_eq!(body_field(text), Ok((name.to_owned(), value)));
        }
        for text in ["top_k", "=1", "temperature=1", "n=2", "top_k=20"] {
            assert!(body_field(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_positive() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "1e9", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
