//! Evaluations that were interrupted: what is missing is sampled as if it had never been.

#![expect(clippy::unwrap_used, reason = "a policy that cannot be read fails the test")]

mod support;

use model::{Compute, ModelDirectory, Sampling};
use record::EvaluationRecord;
use rl::{
    config::{PromptSettings, Template},
    evaluation::{Evaluation, evaluate, evaluate_missing, in_problem_order},
    prompt::{Prompt, Prompter},
    sampler::SamplerSettings,
    summary::{EvaluationSettings, summarise},
    task::RING,
};
use verify::Extraction;

use support::world::World;

fn evaluation(source: &ModelDirectory) -> Evaluation {
    let settings = PromptSettings {
        template: Template::Plain,
        system: String::new(),
        instruction: String::new(),
        prompt_tokens_max: 64,
        ..PromptSettings::default()
    };
    let prompter = Prompter { tokenizer: &source.tokenizer, chat: None, settings: &settings, positions_max: 128 };
    let prompts: Vec<Prompt> =
        RING.held_out_problems(5, 0).iter().map(|problem| prompter.prompt(problem).unwrap()).collect();
    Evaluation {
        prompts,
        extraction: Extraction::Auto {},
        settings: EvaluationSettings {
            step: 0,
            benchmark: "ring".to_owned(),
            samples: 3,
            temperature: 1.0,
            top_p: 1.0,
            completion_tokens_max: 40,
            seed: 4,
        },
        sampler: SamplerSettings {
            sampling: Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 },
            completion_tokens_max: 40,
            sequences_max: 4,
            cache_bytes_max: 0,
            end_tokens: vec![RING.end_token_id()],
        },
    }
}

#[test]
fn an_evaluation_that_was_interrupted_comes_to_the_records_of_one_that_was_not() {
    let source = ModelDirectory::open(&World::new().model(), Compute::F32).unwrap();
    let evaluation = evaluation(&source);
    let mut announced = 0;
    let (summary, whole) = evaluate(&source.model, &source.tokenizer, &evaluation, |_| announced += 1);
    assert_eq!((whole.len(), announced), (15, 15));

    for interrupted_after in [0, 1, 7, 15] {
        let policy = (&source.model, &source.tokenizer);
        let mut records: Vec<EvaluationRecord> = Vec::new();
        let stopped = evaluate_missing(
            policy,
            &evaluation,
            |_, _| true,
            |record| {
                if records.len() == interrupted_after {
                    return Err("stopped");
                }
                records.push(record);
                Ok(())
            },
        );
        assert_eq!((stopped.is_err(), records.len()), (interrupted_after < 15, interrupted_after));

        let there: Vec<(String, u32)> = records.iter().map(|record| (record.problem.clone(), record.sample)).collect();
        let id = |problem: usize| evaluation.prompts[problem].problem.id.to_string();
        let is_missing = |problem, sample| !there.contains(&(id(problem), sample));
        let resumed = evaluate_missing(policy, &evaluation, is_missing, |record| {
            records.push(record);
            Ok::<(), &str>(())
        });
        assert_eq!(resumed, Ok(()));
        in_problem_order(&mut records, evaluation.prompts.iter().map(|prompt| &prompt.problem.id));
        assert_eq!(records, whole, "interrupted after {interrupted_after}");
        assert_eq!(summarise(&records, &evaluation.settings), summary);
    }
}
