//! Prompts in, groups of completions out, with continuous batching.
//!
//! A prompt is computed once and its completions read its cache; a completion that ends leaves the batch at once and a
//! waiting one enters. Which sequences share a batch never changes a number, since every row is computed alone and
//! every completion has a random stream of its own.

use model::{Cache, Chunk, Drawn, Model, SamplerWorkspace, Sampling, draw};
use rayon::prelude::*;
use record::StopReason;

use crate::random::Stream;

/// How completions are sampled.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerSettings {
    /// Temperature, top-k and top-p.
    pub sampling: Sampling,
    /// Token limit of a completion, end token included.
    pub completion_tokens_max: usize,
    /// Sequences computed together; bounds the memory of the cache.
    pub sequences_max: usize,
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
    ended: bool,
}

/// A prompt whose completions are not all done.
struct Prompt {
    cache: Cache,
    /// Logits after the last token, \[V\].
    logits: Vec<f32>,
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
    live: Vec<Live>,
    /// Caches of ended completions, kept for their memory.
    spare: Vec<Cache>,
    logits: Vec<f32>,
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
    let mut sampler = Sampler {
        model,
        settings,
        requests,
        workspace: SamplerWorkspace::default(),
        prompts: requests.iter().map(|_| None).collect(),
        live: Vec::new(),
        spare: Vec::new(),
        logits: Vec::new(),
    };
    let mut done: Vec<Vec<Option<Completion>>> =
        requests.iter().map(|request| vec![None; request.streams.len()]).collect();
    let mut waiting = requests
        .iter()
        .enumerate()
        .flat_map(|(request, wanted)| (0..wanted.streams.len()).map(move |index| (request, index)))
        .peekable();
    while !sampler.live.is_empty() || waiting.peek().is_some() {
        let free = settings.sequences_max.max(1) - sampler.live.len();
        let entering: Vec<_> = waiting.by_ref().take(free).collect();
        sampler.advance();
        sampler.enter(&entering);
        sampler.retire(&mut done, &mut ended);
    }
    let whole = |group: Vec<Option<Completion>>| {
        group.into_iter().map(|completion| completion.expect("every completion ends")).collect()
    };
    done.into_iter().map(whole).collect()
}

impl Sampler<'_> {
    /// Draws the first token of completions that enter, after computing prompts that are new.
    fn enter(&mut self, entering: &[(usize, usize)]) {
        let mut fresh: Vec<usize> = entering.iter().map(|&(request, _)| request).collect();
        fresh.dedup();
        fresh.retain(|&request| self.prompts[request].is_none());
        if !fresh.is_empty() {
            let mut caches: Vec<Cache> = fresh.iter().map(|_| Cache::new()).collect();
            let mut chunks: Vec<Chunk<'_>> = fresh
                .iter()
                .zip(&mut caches)
                .map(|(&request, own)| Chunk { tokens: &self.requests[request].prompt, shared: None, own })
                .collect();
            let hidden = self.model.advance(&mut chunks, &mut self.workspace);
            self.model.logits(&mut self.logits, hidden);
            let vocabulary = self.model.config().vocabulary;
            for ((request, cache), logits) in fresh.into_iter().zip(caches).zip(self.logits.chunks_exact(vocabulary)) {
                let open = self.requests[request].streams.len();
                self.prompts[request] = Some(Prompt { cache, logits: logits.to_vec(), open });
            }
        }
        for &(request, index) in entering {
            let prompt = self.prompts[request].as_ref().expect("the prompt was computed");
            let mut live = Live {
                request,
                index,
                own: self.spare.pop().unwrap_or_default(),
                stream: self.requests[request].streams[index].clone(),
                completion: Completion {
                    tokens: Vec::new(),
                    logprobs: Vec::new(),
                    entropy_nats: 0.0,
                    stop: StopReason::Limit,
                },
                ended: false,
            };
            live.draw(&mut prompt.logits.clone(), &mut Vec::new(), self.settings);
            self.live.push(live);
        }
    }

    /// Runs the last token of every live completion through the network and draws the next one.
    fn advance(&mut self) {
        if self.live.is_empty() {
            return;
        }
        let (prompts, settings) = (&self.prompts, self.settings);
        let mut chunks: Vec<Chunk<'_>> = self
            .live
            .iter_mut()
            .map(|live| Chunk {
                tokens: std::slice::from_ref(live.completion.tokens.last().expect("a live completion has a token")),
                shared: prompts[live.request].as_ref().map(|prompt| &prompt.cache),
                own: &mut live.own,
            })
            .collect();
        let hidden = self.model.advance(&mut chunks, &mut self.workspace);
        self.model.logits(&mut self.logits, hidden);
        self.live
            .par_iter_mut()
            .zip(self.logits.par_chunks_exact_mut(self.model.config().vocabulary))
            .for_each_init(Vec::new, |scratch, (live, logits)| live.draw(logits, scratch, settings));
    }

    /// Moves ended completions to `done`, and frees prompts that no completion needs any more.
    fn retire(&mut self, done: &mut [Vec<Option<Completion>>], ended: &mut impl FnMut(usize)) {
        let mut index = 0;
        while index < self.live.len() {
            let limit = self.completion_tokens_max(self.live[index].request);
            let live = &self.live[index];
            if !live.ended && live.completion.tokens.len() < limit {
                index += 1;
                continue;
            }
            let mut live = self.live.swap_remove(index);
            live.completion.entropy_nats /= live.completion.tokens.len() as f64;
            ended(live.completion.tokens.len());
            let slot = &mut self.prompts[live.request];
            let prompt = slot.as_mut().expect("a live completion has its prompt");
            prompt.open -= 1;
            if prompt.open == 0 {
                *slot = None;
            }
            done[live.request][live.index] = Some(live.completion);
            live.own.clear();
            self.spare.push(live.own);
        }
    }

    /// The token limit, or what the model's context leaves after the prompt.
    fn completion_tokens_max(&self, request: usize) -> usize {
        let room = self.model.config().positions_max.saturating_sub(self.requests[request].prompt.len());
        self.settings.completion_tokens_max.min(room).max(1)
    }
}

impl Live {
    fn draw(&mut self, logits: &mut [f32], scratch: &mut Vec<f32>, settings: &SamplerSettings) {
        let Drawn { token, logprob, entropy } = draw(logits, &settings.sampling, self.stream.uniform(), scratch);
        self.completion.tokens.push(token);
        self.completion.logprobs.push(logprob);
        self.completion.entropy_nats += f64::from(entropy);
        if settings.end_tokens.contains(&token) {
            self.completion.stop = StopReason::End;
            self.ended = true;
        }
    }
}
