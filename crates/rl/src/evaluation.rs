//! A policy on a benchmark: every problem sampled, verified and recorded.

use std::{collections::BTreeMap, convert::Infallible};

use model::{Model, Tokenizer};
use record::{EvaluationRecord, EvaluationSummary, PrefixVerdicts, StopReason, TokenSource};
use verify::{Check, Extraction, Gold};

use crate::{
    Problem, ProblemId,
    prefix::PrefixReader,
    prompt::Prompt,
    random::{Purpose, Stream},
    sampler::{Request, SamplerSettings, sample_each},
    score::ScoredCompletion,
    summary::{EvaluationSettings, summarise},
};

/// What is measured and how.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// The benchmark's problems as prompts.
    pub prompts: Vec<Prompt>,
    /// How answers are found.
    pub extraction: Extraction,
    /// Copied into the summary.
    pub settings: EvaluationSettings,
    /// Nucleus and top-k are those of the settings; end tokens those of the model.
    pub sampler: SamplerSettings,
}

/// Samples and verifies every problem; `ended` is called with each completion's token count as it ends.
///
/// Each completion's random stream depends on the seed, the problem's position and the sample alone, so policies
/// evaluated under one seed are compared on common random numbers.
pub fn evaluate(
    model: &Model,
    tokenizer: &Tokenizer,
    evaluation: &Evaluation,
    mut ended: impl FnMut(usize),
) -> (EvaluationSummary, Vec<EvaluationRecord>) {
    let mut records = Vec::new();
    let Ok(()) = evaluate_missing(
        (model, tokenizer),
        evaluation,
        |_, _| true,
        |record| {
            ended(record.completion_tokens as usize);
            records.push(record);
            Ok::<(), Infallible>(())
        },
    );
    in_problem_order(&mut records, evaluation.prompts.iter().map(|prompt| &prompt.problem.id));
    (summarise(&records, &evaluation.settings), records)
}

/// As [`evaluate`], of those completions alone that `is_missing` names by their problem's position and sample; each
/// record is given to `ended` when its completion ends, in whatever order they do. A completion is the same whatever
/// else is missing.
///
/// # Errors
/// The first of `ended`, after which nothing more is sampled.
pub fn evaluate_missing<E>(
    (model, tokenizer): (&Model, &Tokenizer),
    evaluation: &Evaluation,
    is_missing: impl Fn(usize, u32) -> bool,
    mut ended: impl FnMut(EvaluationRecord) -> Result<(), E>,
) -> Result<(), E> {
    let Evaluation { prompts, extraction, settings, sampler } = evaluation;
    let missing: Vec<(usize, Vec<u32>)> = (0..prompts.len())
        .map(|problem| (problem, (0..settings.samples).filter(|&sample| is_missing(problem, sample)).collect()))
        .filter(|(_, samples): &(usize, Vec<u32>)| !samples.is_empty())
        .collect();
    let stream = |problem: usize, sample: u32| {
        Stream::new(settings.seed, Purpose::Evaluation, [problem as u64, u64::from(sample), 0])
    };
    let request = |(problem, samples): &(usize, Vec<u32>)| Request {
        prompt: prompts[*problem].tokens.clone(),
        streams: samples.iter().map(|&sample| stream(*problem, sample)).collect(),
    };
    let requests: Vec<Request> = missing.iter().map(request).collect();
    sample_each(model, &requests, sampler, |place, completion| {
        let (problem, samples) = &missing[place.request];
        let prompt = &prompts[*problem];
        let Prompt { problem, gold, opening, .. } = prompt;
        let reader = PrefixReader {
            tokenizer,
            gold,
            extraction,
            completion_tokens_max: settings.completion_tokens_max,
            opening: *opening,
        };
        let scored = ScoredCompletion::new(completion, prompt, tokenizer, extraction);
        let prefixes = reader.verdicts(&scored.completion.tokens, scored.check.verdict);
        let measured = Measured {
            completion_tokens: scored.completion.tokens.len() as u32,
            tokens_from: TokenSource::Engine,
            stop: scored.completion.stop,
            text: scored.text,
            check: scored.check,
            prefixes: Some(prefixes),
        };
        ended(evaluation_record(problem, gold, samples[place.stream], measured))
    })
}

/// Sorts records by the positions of their problems among `problems`, and by sample.
///
/// # Panics
/// When a record's problem is not among them.
pub fn in_problem_order<'a>(records: &mut [EvaluationRecord], problems: impl Iterator<Item = &'a ProblemId>) {
    let positions: BTreeMap<&str, usize> = problems.enumerate().map(|(position, id)| (id.as_str(), position)).collect();
    let place = |record: &EvaluationRecord| {
        let position = positions.get(record.problem.as_str());
        (*position.unwrap_or_else(|| panic!("problem {} is not in the benchmark", record.problem)), record.sample)
    };
    records.sort_by_cached_key(place);
}

/// What a completion came to, whoever made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Its text, without special tokens.
    pub text: String,
    /// Its tokens.
    pub completion_tokens: u32,
    /// Who counted them.
    pub tokens_from: TokenSource,
    /// Why it ended.
    pub stop: StopReason,
    /// What the verifier decided.
    pub check: Check,
    /// What it decided about beginnings, where the tokens are known.
    pub prefixes: Option<PrefixVerdicts>,
}

/// The record of a completion, the one of this number for its problem.
pub fn evaluation_record(problem: &Problem, gold: &Gold, sample: u32, measured: Measured) -> EvaluationRecord {
    EvaluationRecord {
        problem: problem.id.to_string(),
        sample,
        level: problem.level.clone(),
        question: problem.question.clone(),
        gold: gold.text().to_owned(),
        completion: measured.text,
        completion_tokens: measured.completion_tokens,
        tokens_from: measured.tokens_from,
        stop: measured.stop,
        verdict: measured.check.verdict,
        answer: measured.check.answer,
        reason: measured.check.reason,
        prefixes: measured.prefixes,
    }
}
