//! One request to the hub with the redirects that it leads to, and how it failed. Making it again, and what is done with
//! the answer, is `download`'s.

use std::{fmt::Display, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use record::RecordError;
use ureq::{
    Agent, Body,
    http::{
        HeaderMap, Response, StatusCode, Uri,
        header::LOCATION,
        uri::{Authority, Scheme},
    },
};

use super::cache::{self, shown};
use crate::retry;

const ENDPOINT: &str = "https://huggingface.co";

/// Where mirrors such as hf-mirror.com lead those from whom they keep nothing.
const HUB_HOST: &str = "huggingface.co";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For the headers of an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// For the next bytes of a body; a large file may take hours as long as some come.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(60);

const REDIRECTS_MAX: usize = 10;

/// Why a request or a download came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may go well another time.
    Passing(anyhow::Error),
    /// The same, and whoever answers asks to wait so long.
    Busy(anyhow::Error, Duration),
    /// It may go well another time, and much has come before it.
    Underway(anyhow::Error),
    /// It fails in this way whenever it is tried.
    Lasting(anyhow::Error),
}

/// Bytes with which a download that breaks off again and again gets on.
const UNDERWAY_BYTES_MIN: u64 = 1 << 20;

impl Failure {
    /// One of [`Self::Lasting`] that says `message`.
    pub(super) fn lasting(message: String) -> Self {
        Self::Lasting(anyhow!(message))
    }

    /// That of a connection which broke after `bytes` bytes.
    pub(super) fn after(bytes: u64, error: anyhow::Error) -> Self {
        if bytes >= UNDERWAY_BYTES_MIN { Self::Underway(error) } else { Self::Passing(error) }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Lasting(error)
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        Self::Lasting(error.into())
    }
}

/// An answer of status 200, or 206 where a part was asked for.
pub(super) struct Answer {
    /// Headers that the hub or a mirror of it sent, a later answer's before an earlier one's. What it leads to for large
    /// files knows nothing of repositories, and has tags of its own.
    pub(super) told: HeaderMap,
    /// Where the answer came from, fit to be shown.
    pub(super) place: String,
    pub(super) received: Response<Body>,
}

impl Answer {
    /// The value of a header that the hub or a mirror of it sent.
    pub(super) fn told(&self, name: &str) -> Option<String> {
        text(&self.told, name)
    }

    /// The value of a header of the answer itself.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        text(self.received.headers(), name)
    }
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned())
}

/// The hub or a mirror of it.
pub(super) struct Client {
    agent: Agent,
    /// Without a slash at the end.
    endpoint: String,
    home: Origin,
    /// Value of the header `Authorization`; for the hub itself alone, and never shown.
    authorization: Option<String>,
}

impl Client {
    /// The hub that the environment names, with the user's token.
    pub(super) fn from_environment() -> Result<Self> {
        let endpoint = cache::variable("HF_ENDPOINT");
        let endpoint = endpoint.map_or(ENDPOINT.to_owned(), |endpoint| endpoint.to_string_lossy().into_owned());
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        let Some(home) = endpoint.parse().ok().as_ref().and_then(Origin::of) else {
            let given = shown(&endpoint);
            bail!("HF_ENDPOINT is `{given}`, which is no http or https address; set it to one such as {ENDPOINT}");
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .timeout_per_read(Some(PROGRESS_TIMEOUT))
            .timeout_per_write(Some(PROGRESS_TIMEOUT))
            // Sizes and checksums are those of the files, not of what they are packed into.
            .accept_encoding("identity")
            .user_agent(concat!("brevity/", env!("CARGO_PKG_VERSION")))
            .build();
        let authorization = cache::token()?.map(|token| format!("Bearer {token}"));
        Ok(Self { agent: config.into(), endpoint, home, authorization })
    }

    /// What the hub answers to a request for `path`, whole or from the byte `first` on.
    pub(super) fn get(&self, path: &str, first: Option<u64>) -> Result<Answer, Failure> {
        let url = format!("{}/{path}", self.endpoint);
        let mut url: Uri = url.parse().with_context(|| format!("{} is no address", shown(&url)))?;
        let asked = place(&url);
        let mut told = HeaderMap::new();
        // Once it has led elsewhere, nobody but the new place decides where it goes, and the token stays here.
        let mut authorization = self.authorization.as_deref();
        let mut is_hub = true;
        for _ in 0..=REDIRECTS_MAX {
            let origin = Origin::of(&url);
            authorization = authorization.filter(|_| origin.as_ref() == Some(&self.home));
            is_hub = is_hub && origin.is_some_and(|origin| self.is_hub(&origin));
            let received = self.ask(&url, first, authorization)?;
            if is_hub {
                told.extend(received.headers().clone());
            }
            match received.status() {
                StatusCode::OK => return Ok(Answer { told, place: place(&url), received }),
                StatusCode::PARTIAL_CONTENT if first.is_some() => {
                    return Ok(Answer { told, place: place(&url), received });
                }
                status => match received.headers().get(LOCATION) {
                    Some(location) if matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) => {
                        url = redirected(&url, &String::from_utf8_lossy(location.as_bytes()))?;
                    }
                    Some(_) | None => return Err(of_status(&url, status, received.headers())),
                },
            }
        }
        Err(Failure::lasting(format!("{asked} leads elsewhere more than {REDIRECTS_MAX} times")))
    }

    /// Whether what comes from `origin` is the hub's: the one that was asked for, the same under https, or the one that its
    /// mirrors lead to.
    fn is_hub(&self, origin: &Origin) -> bool {
        let is_safe = origin.scheme == Scheme::HTTPS;
        *origin == self.home || is_safe && (origin.host == self.home.host || origin.host == HUB_HOST)
    }

    fn ask(&self, url: &Uri, first: Option<u64>, authorization: Option<&str>) -> Result<Response<Body>, Failure> {
        let mut request = self.agent.get(url);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(first) = first {
            request = request.header("range", format!("bytes={first}-"));
        }
        let failed = |error| Failure::Passing(anyhow::Error::new(error).context(format!("cannot ask {}", place(url))));
        request.call().map_err(failed)
    }
}

/// Whom a request goes to.
#[derive(Debug, PartialEq)]
struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// `None` where the address is not one of http or https.
    fn of(url: &Uri) -> Option<Self> {
        let scheme = url.scheme().filter(|&scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS)?;
        let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        let host = url.host().filter(|host| !host.is_empty())?.to_lowercase();
        Some(Self { scheme: scheme.clone(), host, port: url.port_u16().unwrap_or(usual) })
    }
}

/// The address without what may be secret in it: a password before the host, a signature in the query.
fn place(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let host = url.authority().map_or("", Authority::as_str).rsplit('@').next().unwrap_or_default();
    shown(&format!("{scheme}://{host}{}", url.path()))
}

/// Where an answer from `url` leads by its header `Location` (RFC 9110, section 10.2.2).
fn redirected(url: &Uri, location: &str) -> Result<Uri, Failure> {
    let scheme = url.scheme_str().unwrap_or_default();
    let authority = url.authority().map_or("", Authority::as_str);
    let has_scheme = location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':'));
    let absolute = if has_scheme {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", url.path())
    } else {
        let directory = url.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    let refused = |why: &dyn Display| {
        let location = shown(location.split('?').next().unwrap_or_default());
        Failure::lasting(format!("{} leads to `{location}`, which {why}", place(url)))
    };
    let next: Uri = absolute.parse().map_err(|error| refused(&format_args!("is no address ({error})")))?;
    let Some(origin) = Origin::of(&next) else { return Err(refused(&"is no http or https address")) };
    if url.scheme() == Some(&Scheme::HTTPS) && origin.scheme == Scheme::HTTP {
        return Err(refused(&"anybody on the way could read and change, as it is not https"));
    }
    Ok(next)
}

/// A status that is neither an answer nor a redirect.
fn of_status(url: &Uri, status: StatusCode, headers: &HeaderMap) -> Failure {
    let said = format!("{} answers {status}", place(url));
    match status.as_u16() {
        401 | 403 => Failure::lasting(format!("{said}; set HF_TOKEN to a token that may read it")),
        408 | 425 | 429 | 500..=599 => match retry::asked_seconds(headers) {
            None => Failure::Passing(anyhow!(said)),
            Some(seconds) => match retry::too_long(seconds) {
                Some(why) => Failure::lasting(format!("{said}; {why}")),
                None => Failure::Busy(anyhow!(said), Duration::from_secs_f64(seconds)),
            },
        },
        _ => Failure::lasting(said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_http_or_https_and_never_from_https_to_http() {
        // RFC 3986, section 5.4, as far as servers use it.
        let from = "https://hub.example:8443/a/b?c";
        for (from, location, expected) in [
            (from, "https://cdn.example/x?y=z", Ok("https://cdn.example/x?y=z")),
            (from, "//cdn.example/x", Ok("https://cdn.example/x")),
            (from, "/x/y", Ok("https://hub.example:8443/x/y")),
            (from, "x", Ok("https://hub.example:8443/a/x")),
            (from, "?x", Ok("https://hub.example:8443/a/b?x")),
            (from, "x?at=12:00", Ok("https://hub.example:8443/a/x?at=12:00")),
            ("http://hub.example/a", "https://hub.example/a", Ok("https://hub.example/a")),
            (from, "http://hub.example:8443/a", Err("which anybody on the way could read")),
            (from, "file:///etc/passwd", Err("`file:///etc/passwd`, which is no")),
            (from, "ftp://hub.example/x", Err("which is no http or https address")),
            (from, "https://", Err("which is no address")),
            (from, "/\u{1b}[2J", Err("leads to `/\\u{1b}[2J`, which is no address")),
        ] {
            let led = redirected(&from.parse().unwrap(), location);
            match (led, expected) {
                (Ok(led), Ok(expected)) => assert_eq!(led.to_string(), expected, "{location}"),
                (Err(Failure::Lasting(error)), Err(said)) => assert!(error.to_string().contains(said), "{error}"),
                (led, _) => panic!("{location}: {led:?}"),
            }
        }
    }

    #[test]
    fn the_hub_itself_is_known_by_scheme_host_and_port() {
        let home = Origin::of(&"https://hub.example/v1".parse().unwrap());
        for (url, expected) in [
            ("https://hub.example:443/x", true),
            ("https://user@HUB.example/", true),
            ("http://hub.example/x", false),
            ("https://hub.example:8443/x", false),
            ("https://hub.example.evil/x", false),
            ("https://hub.example@evil.example/x", false),
        ] {
            assert_eq!(Origin::of(&url.parse().unwrap()) == home, expected, "{url}");
        }
    }

    #[test]
    fn headers_are_those_of_the_hub_where_a_mirror_leads_to_it() {
        let origin = |url: &str| Origin::of(&url.parse().unwrap()).unwrap();
        for (home, url, expected) in [
            ("https://mirror.example", "https://mirror.example/x", true),
            // As hf-mirror.com does, and what asks for https.
            ("https://mirror.example", "https://huggingface.co/x", true),
            ("http://mirror.example:80", "https://mirror.example/x", true),
            ("https://mirror.example", "http://huggingface.co/x", false),
            ("https://huggingface.co", "https://cdn.huggingface.co/x", false),
            ("https://huggingface.co", "https://huggingface.co.evil.example/x", false),
        ] {
            let client = Client {
                agent: Agent::new_with_defaults(),
                endpoint: home.to_owned(),
                home: origin(home),
                authorization: None,
            };
            assert_eq!(client.is_hub(&origin(url)), expected, "{home} to {url}");
        }
    }

    #[test]
    fn an_address_is_shown_without_what_is_secret_in_it() {
        let url = "https://user:secret@cdn.example:8443/x?signature=secret".parse().unwrap();
        assert_eq!(place(&url), "https://cdn.example:8443/x");
    }
}
