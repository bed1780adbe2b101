//! Prompts in, groups of completions out, with continuous batching.
//!
//! A prompt is computed once and its completions read its cache; a completion that ends leaves the batch at once and a
//! waiting one enters. When the cache is full, those that entered last make room and come back later: their tokens are
//! kept, their keys and values computed again. Which sequences share a batch never changes a number, since every row is
//! computed alone and every completion has a random stream of its own.

use std::{collections::VecDeque, convert::Infallible};

use model::{Cache, Chunk, Drawn, Model, SamplerWorkspace, Sampling};
use record::StopReason;

use crate::random::Stream;

/// Rows of prompts, or of completions that come back, that the network computes at once; a longer prompt is computed in
/// pieces, a longer completion alone.
pub const PREFILL_ROWS: usize = 1024;

/// How completions are sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerSettings {
    /// Temperature, top-k and top-p.
    pub sampling: Sampling,
    /// Token limit of a completion, end token included.
    pub completion_tokens_max: usize,
    /// Sequences computed together.
    pub sequences_max: usize,
    /// Largest memory of the keys and values held, bytes; 0 for no bound but that of `sequences_max`. A single sequence
    /// is computed whatever it takes.
    pub cache_bytes_max: usize,
    /// Tokens that end a completion.
    pub end_tokens: Vec<u32>,
}

/// A prompt and how many completions of it are wanted.
#[derive(Debug, Clone)]
pub struct Request {
    /// Token ids, at least one.
    pub prompt: Vec<u32>,
    /// One random stream per completion.
    pub streams: Vec<Stream>,
}

/// Tokens sampled after a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Token ids, the end token included.
    pub tokens: Vec<u32>,
    /// Behavior logprob of each token, nats: of the distribution that it was drawn from (see [`Drawn::logprob`]).
    pub logprobs: Vec<f32>,
    /// Mean over tokens of that distribution's entropy, nats.
    pub entropy_nats: f64,
    /// Why it ended.
    pub stop: StopReason,
}

/// A completion under way.
struct Live {
    request: usize,
    index: usize,
    own: Cache,
    stream: Stream,
    completion: Completion,
}

/// A prompt whose completions are not all done.
struct Prompt {
    cache: Cache,
    /// Hidden row of the last token, \[C\].
    hidden: Vec<f32>,
    /// Completions that have not ended.
    open: usize,
}

/// State of one sampling job.
struct Sampler<'a> {
    model: &'a Model,
    settings: &'a SamplerSettings,
    requests: &'a [Request],
    workspace: SamplerWorkspace,
    prompts: Vec<Option<Prompt>>,
    /// In the order of their requests, so that those of one prompt are neighbours.
    live: Vec<Live>,
    /// Not yet begun, or put back; in the order of their requests.
    waiting: VecDeque<Live>,
    /// Caches of ended completions, kept for their memory.
    spare: Vec<Cache>,
}

/// Where a completion belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Position of its request.
    pub request: usize,
    /// Position of its stream in the request.
    pub stream: usize,
}

/// Samples every completion asked for; `ended` is called with each one's token count as it ends.
///
/// Returns the completions of each request, in the order of its streams.
pub fn sample(
    model: &Model,
    requests: &[Request],
    settings: &SamplerSettings,
    mut ended: impl FnMut(usize),
) -> Vec<Vec<Completion>> {
    let mut done: Vec<Vec<Option<Completion>>> =
        requests.iter().map(|request| vec![None; request.streams.len()]).collect();
    let Ok(()) = sample_each(model, requests, settings, |place, completion| {
        ended(completion.tokens.len());
        done[place.request][place.stream] = Some(completion);
        Ok::<(), Infallible>(())
    });
    let whole = |group: Vec<Option<Completion>>| {
        group.into_iter().map(|completion| completion.expect("every completion ends")).collect()
    };
    done.into_iter().map(whole).collect()
}

/// As [`sample`], but every completion is given to `ended` when it ends, in whatever order they do.
///
/// # Errors
/// The first of `ended`, after which nothing more is sampled.
pub fn sample_each<E>(
    model: &Model,
    requests: &[Request],
    settings: &SamplerSettings,
    mut ended: impl FnMut(Place, Completion) -> Result<(), E>,
) -> Result<(), E> {
    let mut sampler = Sampler::new(model, requests, settings);
    while !sampler.live.is_empty() || !sampler.waiting.is_empty() {
        sampler.make_room();
        sampler.admit();
        sampler.advance();
        for live in sampler.retire() {
            let place = Place { request: live.request, stream: live.index };
            ended(place, live.completion)?;
        }
    }
    Ok(())
}

impl<'a> Sampler<'a> {
    fn new(model: &'a Model, requests: &'a [Request], settings: &'a SamplerSettings) -> Self {
        let waiting = requests.iter().enumerate().flat_map(|(request, wanted)| {
            let completion =
                Completion { tokens: Vec::new(), logprobs: Vec::new(), entropy_nats: 0.0, stop: StopReason::Limit };
            wanted.streams.iter().enumerate().map(move |(index, stream)| Live {
                request,
                index,
                own: Cache::new(model),
                stream: stream.clone(),
                completion: completion.clone(),
            })
        });
        Self {
            model,
            settings,
            requests,
            workspace: SamplerWorkspace::default(),
            prompts: requests.iter().map(|_| None).collect(),
            live: Vec::new(),
            waiting: waiting.collect(),
            spare: Vec::new(),
        }
    }

    fn bytes(&self, positions: usize) -> usize {
        self.model.cache_bytes(positions)
    }

    /// Bytes of all prompts held and of the live completions once each has one token more.
    fn cache_bytes(&self) -> usize {
        let prompts = self.prompts.iter().flatten().map(|prompt| self.bytes(prompt.cache.len()));
        let owns = self.live.iter().map(|live| self.bytes(live.completion.tokens.len()));
        prompts.sum::<usize>() + owns.sum::<usize>()
    }

    /// Bytes that `live` adds: its tokens with the next one, and its prompt where that is not held.
    fn bytes_to_enter(&self, live: &Live) -> usize {
        let prompt = if self.prompts[live.request].is_none() { self.requests[live.request].prompt.len() } else { 0 };
        self.bytes(prompt) + self.bytes(live.completion.tokens.len() + 1)
    }

    fn is_full(&self, bytes: usize) -> bool {
        let (settings, there) = (self.settings.cache_bytes_max, self.model.cache_bytes_max());
        (settings > 0 && bytes > settings) || there.is_some_and(|there| bytes > there)
    }

    /// Until the next token of every live completion fits, lets go of prompts whose completions all wait or are done, then
    /// puts the last live completions back among the waiting.
    fn make_room(&mut self) {
        while self.is_full(self.cache_bytes()) {
            // Computed again when a completion of it enters.
            if let Some(idle) = self.idle_prompt() {
                self.prompts[idle] = None;
                continue;
            }
            if self.live.len() < 2 {
                break;
            }
            let mut last = self.live.pop().expect("more than one is live");
            last.own = Cache::new(self.model);
            self.waiting.push_front(last);
        }
    }

    /// A prompt that is held and of which no completion is live.
    fn idle_prompt(&self) -> Option<usize> {
        let is_live = |request| self.live.iter().any(|live| live.request == request);
        (0..self.prompts.len()).find(|&request| self.prompts[request].is_some() && !is_live(request))
    }

    /// Lets waiting completions in while there is room, and computes prompts that are new.
    fn admit(&mut self) {
        let mut bytes = self.cache_bytes();
        let mut returning = 0;
        let mut fresh: Vec<usize> = Vec::new();
        while self.live.len() < self.settings.sequences_max.max(1) {
            let Some(next) = self.waiting.front() else { break };
            let (request, tokens) = (next.request, next.completion.tokens.len());
            let entering =
                if fresh.last() == Some(&request) { self.bytes(tokens + 1) } else { self.bytes_to_enter(next) };
            let together = returning == 0 || returning + tokens <= PREFILL_ROWS;
            if !self.live.is_empty() && (self.is_full(bytes + entering) || !together) {
                break;
            }
            returning += tokens;
            bytes += entering;
            if self.prompts[request].is_none() && fresh.last() != Some(&request) {
                fresh.push(request);
            }
            let mut next = self.waiting.pop_front().expect("it was at the front");
            if let Some(spare) = self.spare.pop() {
                next.own = spare;
            }
            self.live.push(next);
        }
        self.compute_prompts(&fresh);
    }

    /// Computes prompts, several short ones at once and long ones in pieces.
    fn compute_prompts(&mut self, fresh: &[usize]) {
        let mut start = 0;
        while start < fresh.len() {
            let mut end = start;
            let mut rows = 0;
            while end < fresh.len() && (end == start || rows + self.requests[fresh[end]].prompt.len() <= PREFILL_ROWS) {
                rows += self.requests[fresh[end]].prompt.len();
                end += 1;
            }
            self.compute_together(&fresh[start..end]);
            start = end;
        }
    }

    fn compute_together(&mut self, requests: &[usize]) {
        let (model, all) = (self.model, self.requests);
        let mut caches: Vec<Cache> = requests.iter().map(|_| Cache::new(model)).collect();
        let pieces = requests.iter().map(|&request| all[request].prompt.len().div_ceil(PREFILL_ROWS)).max();
        let mut hidden = Vec::new();
        // More than one piece only for a prompt that stands alone.
        for piece in 0..pieces.unwrap_or(0) {
            let mut chunks: Vec<Chunk<'_>> = requests
                .iter()
                .zip(&mut caches)
                .map(|(&request, own)| {
                    let prompt = &all[request].prompt;
                    let tokens = &prompt[piece * PREFILL_ROWS..prompt.len().min((piece + 1) * PREFILL_ROWS)];
                    Chunk { tokens, shared: None, own }
                })
                .collect();
            hidden = model.advance(&mut chunks, &mut self.workspace).to_vec();
        }
        let waiting_or_live =
            |request: usize| self.live.iter().chain(&self.waiting).filter(|live| live.request == request).count();
        let open: Vec<usize> = requests.iter().map(|&request| waiting_or_live(request)).collect();
        let rows = hidden.chunks_exact(model.config().width);
        for (((&request, cache), hidden), open) in requests.iter().zip(caches).zip(rows).zip(open) {
            self.prompts[request] = Some(Prompt { cache, hidden: hidden.to_vec(), open });
        }
    }

    /// Runs what is new of every live completion through the network and draws its next token.
    fn advance(&mut self) {
        let (prompts, model) = (&self.prompts, self.model);
        let uniforms: Vec<f64> = self.live.iter_mut().map(|live| live.stream.uniform()).collect();
        // A completion without tokens goes on from its prompt; the others have tokens that are not in their cache: the
        // last one, or all of those that were put back.
        let mut chunks: Vec<Chunk<'_>> = self
            .live
            .iter_mut()
            .filter(|live| !live.completion.tokens.is_empty())
            .map(|live| Chunk {
                tokens: &live.completion.tokens[live.own.len()..],
                shared: prompts[live.request].as_ref().map(|prompt| &prompt.cache),
                own: &mut live.own,
            })
            .collect();
        let sampling = &self.settings.sampling;
        let drawn = if chunks.len() == uniforms.len() {
            model.advance_and_draw(&mut chunks, (sampling, &uniforms), &mut self.workspace)
        } else {
            let computed = if chunks.is_empty() { &[] } else { model.advance(&mut chunks, &mut self.workspace) };
            let rows = rows_of(&self.live, prompts, computed.chunks_exact(model.config().width));
            model.draw(&rows, sampling, &uniforms, &mut self.workspace)
        };
        for (live, Drawn { token, logprob, entropy }) in self.live.iter_mut().zip(drawn) {
            live.completion.tokens.push(token);
            live.completion.logprobs.push(logprob);
            live.completion.entropy_nats += f64::from(entropy);
            if self.settings.end_tokens.contains(&token) {
                live.completion.stop = StopReason::End;
            }
        }
    }

    /// Takes out what has ended, and frees prompts that no completion needs any more.
    fn retire(&mut self) -> Vec<Live> {
        let (mut kept, mut retired) = (Vec::with_capacity(self.live.len()), Vec::new());
        for mut live in std::mem::take(&mut self.live) {
            let tokens = live.completion.tokens.len();
            if live.completion.stop != StopReason::End && tokens < self.completion_tokens_max(live.request) {
                kept.push(live);
                continue;
            }
            live.completion.entropy_nats /= tokens as f64;
            let slot = &mut self.prompts[live.request];
            let prompt = slot.as_mut().expect("a live completion has its prompt");
            prompt.open -= 1;
            if prompt.open == 0 {
                *slot = None;
            }
            let mut own = std::mem::replace(&mut live.own, Cache::new(self.model));
            // With a bound, what is held must be what `cache_bytes` counts.
            if self.settings.cache_bytes_max == 0 {
                own.clear();
                self.spare.push(own);
            }
            retired.push(live);
        }
        self.live = kept;
        retired
    }

    /// The token limit, or what the model's context leaves after the prompt.
    fn completion_tokens_max(&self, request: usize) -> usize {
        let room = self.model.config().positions_max.saturating_sub(self.requests[request].prompt.len());
        self.settings.completion_tokens_max.min(room).max(1)
    }
}

/// The row that the next token of each completion is drawn after: of its prompt, or the next one that was computed.
/// Shapes: returns \[B, C\].
fn rows_of<'a>(
    live: &[Live],
    prompts: &'a [Option<Prompt>],
    mut computed: impl Iterator<Item = &'a [f32]>,
) -> Vec<f32> {
    let row = |live: &Live| {
        let prompt = || prompts[live.request].as_ref().map(|prompt| &prompt.hidden[..]);
        let row = if live.completion.tokens.is_empty() { prompt() } else { computed.next() };
        row.expect("a row for every live completion")
    };
    live.iter().flat_map(row).copied().collect()
}
