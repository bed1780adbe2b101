//! The sampler: what else is computed at the same time never changes a completion, and every completion ends in time.

#![expect(clippy::unwrap_used, reason = "a policy that cannot be read fails the test")]

mod support;

use model::{Buffer, Cache, Chunk, Compute, ModelDirectory, SamplerWorkspace, Sampling};
use record::StopReason;
use rl::{
    random::{Purpose, Stream},
    sampler::{Completion, Request, SamplerSettings, sample, sample_each},
    task::RING,
};

use support::world::World;

const SAMPLED: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 };
const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 };

fn settings(completion_tokens_max: usize, sequences_max: usize) -> SamplerSettings {
    SamplerSettings {
        sampling: SAMPLED,
        completion_tokens_max,
        sequences_max,
        cache_bytes_max: 0,
        end_tokens: vec![RING.end_token_id()],
    }
}

fn policy() -> ModelDirectory {
    ModelDirectory::open(&World::new().model(), Compute::F32).unwrap()
}

/// Requests of 1, 2, 3 … completions, so that they end and enter at different times.
fn requests(source: &ModelDirectory, count: usize) -> Vec<Request> {
    let request = |(place, problem): (usize, rl::Problem)| Request {
        prompt: source.tokenizer.encode(&problem.question).unwrap(),
        streams: (0..=place).map(|index| Stream::new(5, Purpose::Rollout, [0, place as u64, index as u64])).collect(),
    };
    RING.problems(count, 9).into_iter().enumerate().map(request).collect()
}

fn completions(source: &ModelDirectory, requests: &[Request], settings: &SamplerSettings) -> Vec<Vec<Completion>> {
    let mut ended = Vec::new();
    let completions = sample(&source.model, requests, settings, |tokens| ended.push(tokens));
    let mut tokens: Vec<usize> = completions.iter().flatten().map(|completion| completion.tokens.len()).collect();
    ended.sort_unstable();
    tokens.sort_unstable();
    assert_eq!(ended, tokens, "every completion is announced once, with its tokens");
    completions
}

#[test]
fn a_completion_is_the_same_whatever_is_sampled_beside_it() {
    let source = policy();
    let requests = requests(&source, 6);
    let together = completions(&source, &requests, &settings(80, 64));
    for sequences_max in [1, 2, 5, 21] {
        assert_eq!(completions(&source, &requests, &settings(80, sequences_max)), together, "{sequences_max} at once");
    }
    let backwards: Vec<Request> = requests.iter().rev().cloned().collect();
    let mut reversed = completions(&source, &backwards, &settings(80, 4));
    reversed.reverse();
    assert_eq!(reversed, together);
    let alone = Request { prompt: requests[4].prompt.clone(), streams: vec![requests[4].streams[3].clone()] };
    assert_eq!(completions(&source, &[alone], &settings(80, 64))[0][0], together[4][3]);
}

#[test]
fn each_completion_is_given_out_once_with_its_place_until_somebody_refuses() {
    let source = policy();
    let requests = requests(&source, 4);
    let settings = settings(80, 3);
    let expected = completions(&source, &requests, &settings);
    let mut given: Vec<Vec<Option<Completion>>> = expected.iter().map(|group| vec![None; group.len()]).collect();
    let all = sample_each(&source.model, &requests, &settings, |place, completion| {
        let before = given[place.request][place.stream].replace(completion);
        if before.is_none() { Ok(()) } else { Err(place) }
    });
    assert_eq!(all, Ok(()));
    let given: Vec<Vec<Completion>> = given.into_iter().map(|group| group.into_iter().flatten().collect()).collect();
    assert_eq!(given, expected);

    let mut taken = 0;
    let refused = sample_each(&source.model, &requests, &settings, |_, _| {
        taken += 1;
        if taken < 4 { Ok(()) } else { Err("enough") }
    });
    assert_eq!((refused, taken), (Err("enough"), 4));
}

#[test]
fn a_full_cache_makes_completions_wait_and_changes_none() {
    let source = policy();
    let requests = requests(&source, 6);
    let endless = SamplerSettings { end_tokens: Vec::new(), ..settings(70, 64) };
    let together = completions(&source, &requests, &endless);
    // From room for one sequence, whose prompt and completion take a page and three, to room for all.
    let page = Cache::bytes(source.model.config(), Compute::F32, 1);
    for pages in [1, 4, 5, 9, 20, 47, 1000] {
        let bounded = SamplerSettings { cache_bytes_max: pages * page, ..endless.clone() };
        assert_eq!(completions(&source, &requests, &bounded), together, "{pages} pages");
    }
}

#[test]
fn a_long_prompt_is_computed_in_pieces_beside_short_ones() {
    // Longer than the 1,024 rows that are computed at once, on a model with a longer context.
    let world = World::new();
    let config = std::fs::read_to_string(world.model().join("config.json")).unwrap();
    let longer = config.replace("\"max_position_embeddings\": 96", "\"max_position_embeddings\": 4096");
    record::write::replace(&world.model().join("config.json"), longer.as_bytes()).unwrap();
    let source = ModelDirectory::open(&world.model(), Compute::F32).unwrap();
    let mut all = requests(&source, 3);
    all[1].prompt = all[1].prompt.repeat(250);
    let together = completions(&source, &all, &settings(9, 64));
    for (request, expected) in all.iter().zip(&together) {
        assert_eq!(&completions(&source, std::slice::from_ref(request), &settings(9, 1))[0], expected);
    }
    let alone = completions(&source, &all[1..2], &settings(1, 64)).concat();
    let mut cache = Cache::new(&source.model);
    let mut workspace = SamplerWorkspace::default();
    let mut logits = Buffer::new();
    let chunk = Chunk { tokens: &all[1].prompt, shared: None, own: &mut cache };
    source.model.logits(&mut logits, source.model.advance(&mut [chunk], &mut workspace));
    for one in alone {
        let log_sum = logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
        let expected = f64::from(logits[one.tokens[0] as usize]) - log_sum;
        assert!((f64::from(one.logprobs[0]) - expected).abs() < 1e-5, "the prompt in one piece says the same");
    }
}

#[test]
fn a_completion_ends_with_the_end_token_or_at_the_limit() {
    let source = policy();
    let requests = requests(&source, 6);
    let free = completions(&source, &requests, &settings(80, 8));
    for limit in [1, 2, 12, 20] {
        let limited = completions(&source, &requests, &settings(limit, 8));
        for (short, long) in limited.iter().flatten().zip(free.iter().flatten()) {
            let kept = long.tokens.len().min(limit);
            assert_eq!(short.tokens, long.tokens[..kept], "a limit cuts and changes nothing before");
            assert_eq!(short.logprobs, long.logprobs[..kept]);
            let ends = short.tokens.last() == Some(&RING.end_token_id());
            assert_eq!(short.stop, if ends { StopReason::End } else { StopReason::Limit });
        }
    }
    let stops = completions(&source, &requests, &settings(16, 8)).concat();
    assert!(
        stops.iter().any(|one| one.stop == StopReason::End) && stops.iter().any(|one| one.stop == StopReason::Limit)
    );
    let inner = stops.iter().flat_map(|one| &one.tokens[..one.tokens.len() - 1]);
    assert!(inner.into_iter().all(|&token| token != RING.end_token_id()), "nothing follows an end token");
}

#[test]
fn behavior_logprobs_and_entropies_are_those_of_a_distribution_over_the_vocabulary() {
    let source = policy();
    let entropy_max = (RING.vocabulary().len() as f64).ln();
    for one in completions(&source, &requests(&source, 4), &settings(80, 8)).concat() {
        assert_eq!(one.logprobs.len(), one.tokens.len());
        assert!(one.logprobs.iter().all(|logprob| *logprob <= 0.0 && logprob.is_finite()), "{:?}", one.logprobs);
        assert!((0.0..=entropy_max).contains(&one.entropy_nats), "{}", one.entropy_nats);
    }
}

#[test]
fn a_completion_never_leaves_the_models_context() {
    let source = policy();
    let positions_max = source.model.config().positions_max;
    let mut requests = requests(&source, 3);
    requests[1].prompt = requests[1].prompt.repeat(9);
    requests[2].prompt = vec![0; positions_max - 1];
    let endless = SamplerSettings { end_tokens: Vec::new(), ..settings(1 << 20, 64) };
    for (request, group) in requests.iter().zip(completions(&source, &requests, &endless)) {
        for one in group {
            assert_eq!(one.tokens.len(), positions_max - request.prompt.len());
            assert_eq!(one.stop, StopReason::Limit);
        }
    }
}

#[test]
fn greedy_sampling_takes_the_most_likely_token_each_time() {
    let source = policy();
    let requests = requests(&source, 3);
    let greedy = SamplerSettings { sampling: GREEDY, ..settings(40, 64) };
    for (request, group) in requests.iter().zip(completions(&source, &requests, &greedy)) {
        assert!(group.iter().all(|one| *one == group[0]), "chance plays no part");
        let (mut text, mut logits) = (request.prompt.clone(), Buffer::new());
        for (&token, &logprob) in group[0].tokens.iter().zip(&group[0].logprobs) {
            let (mut own, mut workspace) = (Cache::new(&source.model), SamplerWorkspace::default());
            let hidden =
                source.model.advance(&mut [Chunk { tokens: &text, shared: None, own: &mut own }], &mut workspace);
            source.model.logits(&mut logits, hidden);
            let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(logits.iter().position(|logit| logit.to_bits() == best.to_bits()), Some(token as usize));
            let log_sum = logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
            assert!((f64::from(best) - log_sum - f64::from(logprob)).abs() < 1e-5, "{logprob}");
            text.push(token);
        }
    }
}
