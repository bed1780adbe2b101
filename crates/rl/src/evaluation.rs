//! A policy on a benchmark: every problem sampled, verified and recorded.

use model::{Model, Tokenizer};
use record::{EvaluationRecord, EvaluationSummary, PrefixVerdicts};
use verify::Extraction;

use crate::{
    prefix::PrefixReader,
    prompt::Prompt,
    random::{Purpose, Stream},
    sampler::{Request, SamplerSettings, sample},
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
    ended: impl FnMut(usize),
) -> (EvaluationSummary, Vec<EvaluationRecord>) {
    let Evaluation { prompts, extraction, settings, sampler } = evaluation;
    let stream = |problem: usize, index: u32| {
        Stream::new(settings.seed, Purpose::Evaluation, [problem as u64, u64::from(index), 0])
    };
    let requests: Vec<Request> = prompts
        .iter()
        .enumerate()
        .map(|(problem, prompt)| Request {
            prompt: prompt.tokens.clone(),
            streams: (0..settings.samples).map(|index| stream(problem, index)).collect(),
        })
        .collect();
    let completions = sample(model, &requests, sampler, ended);
    let mut records = Vec::with_capacity(prompts.len() * settings.samples as usize);
    for (prompt, group) in prompts.iter().zip(completions) {
        let gold = &prompt.gold;
        let reader =
            PrefixReader { tokenizer, gold, extraction, completion_tokens_max: settings.completion_tokens_max };
        for (index, completion) in group.into_iter().enumerate() {
            let scored = ScoredCompletion::new(completion, gold, tokenizer, extraction);
            let prefixes = reader.verdicts(&scored.completion.tokens, scored.check.verdict);
            records.push(evaluation_record(prompt, index, scored, Some(prefixes)));
        }
    }
    (summarise(&records, settings), records)
}

/// The record of the completion of this `index` of a problem; `prefixes` where its tokens are known.
pub fn evaluation_record(
    prompt: &Prompt,
    index: usize,
    scored: ScoredCompletion,
    prefixes: Option<PrefixVerdicts>,
) -> EvaluationRecord {
    EvaluationRecord {
        problem: prompt.problem.id.to_string(),
        sample: index as u32,
        level: prompt.problem.level.clone(),
        question: prompt.problem.question.clone(),
        gold: prompt.gold.text().to_owned(),
        completion_tokens: scored.completion.tokens.len() as u32,
        stop: scored.completion.stop,
        completion: scored.text,
        verdict: scored.check.verdict,
        answer: scored.check.answer,
        reason: scored.check.reason,
        prefixes,
    }
}
