//! One request to the server, and how it failed. Making it again is `crew`'s.

use std::{io::ErrorKind, time::Duration};

use ureq::{
    Agent, Error, Timeout,
    http::{HeaderMap, StatusCode},
};

use super::wire::shown;
use crate::retry;

/// Largest body of an answer that is read, bytes.
const BODY_BYTES_MAX: u64 = 64 << 20;

/// Of a body that only explains a failure.
const EXPLANATION_BYTES_MAX: u64 = 64 << 10;

const CONNECT_SECONDS_MAX: u64 = 10;

/// Why a request brought no answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Failure {
    /// It may go well another time.
    Passing {
        kind: Passing,
        reason: String,
        /// Seconds that the server asks to wait.
        wait_seconds: Option<f64>,
    },
    /// This request fails whenever it is made.
    Lasting(String),
    /// Every request would fail in this way.
    Unusable(String),
}

/// Kinds of failures that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Passing {
    /// No connection could be made.
    Unreachable,
    /// A connection broke off.
    BrokenOff,
    /// No answer in time.
    Timeout,
    /// An HTTP status that says so.
    Status(u16),
}

impl Passing {
    /// As messages have it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Unreachable => "no connection".to_owned(),
            Self::BrokenOff => "broken off".to_owned(),
            Self::Timeout => "time-out".to_owned(),
            Self::Status(status) => format!("status {status}"),
        }
    }
}

/// A client of one server. Its connections are kept open between requests.
pub(super) struct Client {
    agent: Agent,
    url: String,
    /// Value of the header `Authorization`; neither shown nor recorded.
    authorization: Option<String>,
}

impl Client {
    /// A client for `connections` requests at a time to `url`, each of which may take `timeout`.
    pub(super) fn new(url: String, key: Option<&str>, connections: usize, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(timeout))
            .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS_MAX).min(timeout)))
            .max_idle_connections(connections)
            .max_idle_connections_per_host(connections)
            .user_agent(concat!("brevity/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), url, authorization: key.map(|key| format!("Bearer {key}")) }
    }

    /// Where requests go.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The body of the server's answer to `body`, which is JSON.
    pub(super) fn post(&self, body: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut answer = request.send(body).map_err(|error| of_error(&error))?;
        let status = answer.status();
        let bytes_max = if status.is_success() { BODY_BYTES_MAX } else { EXPLANATION_BYTES_MAX };
        if status.is_success() && answer.body().content_length().is_some_and(|bytes| bytes > bytes_max) {
            return Err(of_error(&Error::BodyExceedsLimit(bytes_max)));
        }
        let body = answer.body_mut().with_config().limit(bytes_max).read_to_vec();
        if status.is_success() {
            return body.map_err(|error| of_error(&error));
        }
        Err(self.of_status(status, answer.headers(), &shown(&body.unwrap_or_default())))
    }

    fn of_status(&self, status: StatusCode, headers: &HeaderMap, explanation: &str) -> Failure {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let said = if explanation.is_empty() { String::new() } else { format!(": {explanation}") };
        let reason = format!("the server answers {status}{said}");
        match status.as_u16() {
            408 | 425 | 429 | 500 | 502..=599 => {
                let wait_seconds = retry::asked_seconds(headers);
                match wait_seconds.and_then(retry::too_long) {
                    Some(why) => Failure::Lasting(format!("{reason}; {why}")),
                    None => Failure::Passing { kind: Passing::Status(status.as_u16()), reason, wait_seconds },
                }
            }
            300..=399 => {
                let to = header("location").unwrap_or("an address that it does not tell");
                Failure::Unusable(format!("{} leads to {to}; give that address with --engine", self.url))
            }
            401 | 403 => Failure::Unusable(format!("{reason}; pass --api-key-env with the variable that holds a key")),
            404 | 405 => Failure::Unusable(format!(
                "{reason}; check the address {} and the model's name, or choose another --api",
                self.url
            )),
            _ => Failure::Lasting(reason),
        }
    }
}

/// What an error below HTTP's statuses means.
#[expect(clippy::wildcard_enum_match_arm, reason = "ureq's errors are open; what is not known to pass is told at once")]
fn of_error(error: &Error) -> Failure {
    let passing = |kind| Failure::Passing { kind, reason: told(error), wait_seconds: None };
    match error {
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::ConnectProxyFailed(_)
        | Error::Timeout(Timeout::Connect | Timeout::Resolve) => passing(Passing::Unreachable),
        Error::Io(cause) if cause.kind() == ErrorKind::ConnectionRefused => passing(Passing::Unreachable),
        Error::Timeout(_) => passing(Passing::Timeout),
        Error::Io(cause) if cause.kind() == ErrorKind::TimedOut => passing(Passing::Timeout),
        Error::Io(_) | Error::Protocol(_) | Error::BodyStalled => passing(Passing::BrokenOff),
        Error::BodyExceedsLimit(_) => {
            Failure::Lasting(format!("the answer has more than {} MiB", BODY_BYTES_MAX >> 20))
        }
        other => Failure::Unusable(format!("cannot ask the server: {}", told(other))),
    }
}

/// The error with its causes.
fn told(error: &Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        message = format!("{message}: {next}");
        cause = next.source();
    }
    message
}
