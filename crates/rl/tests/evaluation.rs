//! An evaluation end to end on the tiny world: what its summary says of smaller limits is what they give.

#![expect(clippy::unwrap_used, reason = "a policy that cannot be read fails the test")]

mod support;

use model::{Compute, ModelDirectory, Sampling};
use record::{EvaluationRecord, EvaluationSummary};
use rl::{
    ProblemFields,
    config::{PromptSettings, Template},
    evaluation::{Evaluation, evaluate},
    prompt::Prompter,
    read_problems,
    sampler::SamplerSettings,
    summary::EvaluationSettings,
    task::RING,
};
use verify::Extraction;

use support::world::World;

fn measure(source: &ModelDirectory, world: &World, limit: u32) -> (EvaluationSummary, Vec<EvaluationRecord>) {
    let settings = PromptSettings {
        template: Template::Plain,
        system: String::new(),
        instruction: String::new(),
        prompt_tokens_max: 64,
        ..PromptSettings::default()
    };
    let prompter = Prompter { tokenizer: &source.tokenizer, chat: None, settings: &settings, positions_max: 128 };
    let problems = read_problems(&world.path("held-out.jsonl"), &ProblemFields::default()).unwrap();
    let evaluation = Evaluation {
        prompts: problems.iter().map(|problem| prompter.prompt(problem).unwrap()).collect(),
        extraction: Extraction::Marker { marker: "A".to_owned() },
        settings: EvaluationSettings {
            step: 0,
            benchmark: "held-out".to_owned(),
            samples: 4,
            temperature: 1.0,
            top_p: 1.0,
            completion_tokens_max: limit,
            seed: 11,
        },
        sampler: SamplerSettings {
            sampling: Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 },
            completion_tokens_max: limit as usize,
            sequences_max: 16,
            cache_bytes_max: 0,
            end_tokens: vec![RING.end_token_id()],
        },
    };
    evaluate(&source.model, &source.tokenizer, &evaluation, |_| {})
}

/// An answer ends a walk: what follows the first correct one is the end token alone, which is no writing after it.
fn answers_at_its_end(record: &EvaluationRecord) -> bool {
    record.prefixes.as_ref().unwrap().first_correct_tokens == Some(record.completion_tokens)
}

/// A completion is the same under any limit as far as it goes, so its beginnings are what a smaller limit leaves.
#[test]
fn what_is_said_of_a_smaller_limit_is_what_an_evaluation_with_it_measures() {
    let world = World::new();
    let source = ModelDirectory::open(&world.model(), Compute::F32).unwrap();
    for (limit, smaller) in [(40, 20), (20, 10), (16, 8)] {
        let (whole, of_whole) = measure(&source, &world, limit);
        assert!((0.05..0.95).contains(&whole.accuracy), "this policy tells nothing: {}", whole.accuracy);
        assert!(of_whole.iter().filter(|record| record.is_correct()).all(answers_at_its_end));
        let (cut, records) = measure(&source, &world, smaller);
        let budget = whole.budgets.iter().find(|budget| budget.budget_tokens == smaller).unwrap();
        assert_eq!(budget.accuracy.to_bits(), cut.accuracy.to_bits(), "{smaller} of {limit} tokens");
        // A truncated completion counts here as its text reads.
        let correct = records.iter().filter(|record| record.verdict.is_correct()).count();
        assert!((budget.accuracy_cut.unwrap() - correct as f64 / records.len() as f64).abs() < 1e-12);
    }
}
