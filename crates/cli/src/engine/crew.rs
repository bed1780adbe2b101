//! Several requests at a time, each made again while its failure may pass. What becomes of completions is the caller's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use record::{StopReason, TokenSource};
use rl::random::{Purpose, Stream};

use super::{
    Engine, Remote,
    client::{Failure, Passing},
    wire::{Answer, Choice, RemotePrompt},
};

/// How long a waiting worker sleeps before it looks whether the work has ended.
const NAP: Duration = Duration::from_millis(50);

/// Most bytes of a completion for each token that it may have: the longest tokens of known vocabularies have a few hundred.
const TOKEN_BYTES_MAX: u64 = 1 << 10;

/// One request: neighbouring completions of one problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Position of the problem.
    pub(crate) problem: usize,
    /// Index of the first completion.
    pub(crate) first_sample: u32,
    /// Completions wanted.
    pub(crate) choices: u32,
}

/// A completion that a server made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RemoteCompletion {
    pub(crate) text: String,
    pub(crate) tokens: u32,
    pub(crate) tokens_from: TokenSource,
    pub(crate) stop: StopReason,
}

/// What happens to a request.
#[derive(Debug)]
pub(crate) enum Event {
    /// Its completions are there, in order.
    Ended(Ask, Vec<RemoteCompletion>),
    /// It failed and is made again.
    Retried(Passing),
    /// It failed for good.
    Failed(Ask, String),
    /// So would every other.
    Unusable(String),
}

/// What the workers share.
struct Work {
    engine: Engine,
    asks: Vec<Ask>,
    /// By problem.
    prompts: Vec<RemotePrompt>,
    next: AtomicUsize,
    over: AtomicBool,
}

/// The requests under way. Workers end with it: one that waits for an answer may outlive it, and is not heard any more.
pub(crate) struct Crew {
    events: Receiver<Event>,
    work: Arc<Work>,
}

impl Crew {
    /// Begins to ask for all of `asks`, in order, `engine.concurrency` at a time.
    pub(crate) fn start(engine: Engine, prompts: Vec<RemotePrompt>, asks: Vec<Ask>) -> Result<Self> {
        let workers = engine.concurrency.min(asks.len());
        let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = Arc::new(Work { engine, asks, prompts, next, over });
        let (sender, events) = channel();
        for _ in 0..workers {
            let (work, sender) = (Arc::clone(&work), sender.clone());
            let worker = thread::Builder::new().spawn(move || work.take_turns(&sender));
            worker.with_context(|| format!("cannot start {workers} threads; lower --concurrency"))?;
        }
        Ok(Self { events, work })
    }

    /// The next thing that happens; `None` when all requests have ended.
    pub(crate) fn next_event(&self) -> Option<Event> {
        self.events.recv().ok()
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.work.over.store(true, Ordering::Relaxed);
    }
}

impl Work {
    /// Makes one request after the other until none is left.
    fn take_turns(&self, events: &Sender<Event>) {
        while !self.is_over() {
            let Some(&ask) = self.asks.get(self.next.fetch_add(1, Ordering::Relaxed)) else { return };
            let event = match self.complete(ask, events) {
                Ok(completions) => Event::Ended(ask, completions),
                Err(Failure::Passing { reason, .. } | Failure::Lasting(reason)) => Event::Failed(ask, reason),
                Err(Failure::Unusable(reason)) => {
                    self.over.store(true, Ordering::Relaxed);
                    Event::Unusable(reason)
                }
            };
            if events.send(event).is_err() {
                return;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn complete(&self, ask: Ask, events: &Sender<Event>) -> Result<Vec<RemoteCompletion>, Failure> {
        let Engine { remote, sampling, seed, .. } = &self.engine;
        let place = [ask.problem as u64, u64::from(ask.first_sample), 0];
        // Servers read seeds of 31 bits.
        let request_seed = Stream::new(*seed, Purpose::Evaluation, place).below(1 << 31) as u32;
        let mut jitter = Stream::new(*seed, Purpose::Retry, place);
        let body = sampling.body(&self.prompts[ask.problem], ask.choices, request_seed).to_string();
        let mut retry = 0;
        let answer = loop {
            let (kind, reason, wait_seconds) = match remote.client.post(body.as_bytes()) {
                Ok(answer) => break answer,
                Err(Failure::Passing { kind, reason, wait_seconds }) => (kind, reason, wait_seconds),
                Err(failure) => return Err(failure),
            };
            if retry == remote.back_off.retries {
                return Err(given_up(kind, &format!("{reason} (asked {} times)", retry + 1)));
            }
            // Nobody counts retries any more when the work is over.
            let _ = events.send(Event::Retried(kind));
            self.wait(remote.back_off.wait_seconds(retry, wait_seconds, jitter.uniform()));
            retry += 1;
        };
        let wrong = |wrong: String| Failure::Lasting(format!("the answer {wrong}"));
        let answer = Answer::read(&answer, remote.api, ask.choices as usize).map_err(wrong)?;
        counted(answer, remote, sampling.completion_tokens_max).map_err(wrong)
    }

    /// Waits, but not after the work has ended.
    fn wait(&self, seconds: f64) {
        let mut left = Duration::from_secs_f64(seconds);
        while !left.is_zero() && !self.is_over() {
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
        }
    }
}

/// A failure that did not pass: without a connection every request fails, while a status may be this request's.
fn given_up(kind: Passing, reason: &str) -> Failure {
    match kind {
        Passing::Unreachable => Failure::Unusable(format!(
            "cannot reach the server: {reason}; check that it runs and listens at the address of --engine"
        )),
        Passing::BrokenOff | Passing::Timeout | Passing::Status(_) => Failure::Lasting(reason.to_owned()),
    }
}

/// The choices with their tokens: as the server counts them where it counts this completion alone, else as the
/// tokenizer does, with the end token where there was one.
fn counted(answer: Answer, remote: &Remote, completion_tokens_max: u32) -> Result<Vec<RemoteCompletion>, String> {
    let alone = answer.choices.len() == 1;
    let by_server = answer.completion_tokens.filter(|_| alone);
    let completion = |Choice { text, stop }: Choice| {
        let bytes_max = TOKEN_BYTES_MAX * u64::from(completion_tokens_max);
        if text.len() as u64 > bytes_max {
            return Err(format!(
                "of {} has a text of {} bytes, and `max_tokens` = {completion_tokens_max} allows {bytes_max}; check \
                 that the server heeds `max_tokens`",
                remote.client.url(),
                text.len()
            ));
        }
        // No text is made of no tokens, whatever a server says.
        let (tokens, tokens_from) = match (by_server.filter(|&tokens| tokens > 0 || text.is_empty()), &remote.tokenizer)
        {
            (Some(tokens), _) => (tokens, TokenSource::Server),
            (None, Some(tokenizer)) => {
                let tokens = tokenizer.encode(&text).map_err(|error| format!("cannot be counted: {error}"))?.len();
                (tokens as u64 + u64::from(stop == StopReason::End), TokenSource::Tokenizer)
            }
            (None, None) => {
                return Err("has no `usage.completion_tokens`; pass --tokenizer to have tokens counted".to_owned());
            }
        };
        if tokens_from == TokenSource::Server && tokens > u64::from(completion_tokens_max) {
            return Err(format!("has {tokens} tokens where {completion_tokens_max} are allowed"));
        }
        Ok(RemoteCompletion { text, tokens: tokens as u32, tokens_from, stop })
    };
    answer.choices.into_iter().map(completion).collect()
}
