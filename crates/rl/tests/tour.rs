//! One problem through every stage, from a file to a report: the file to read first.
//!
//! Each block says what goes in, what comes out, and what must hold. `rl::trainer` is these same calls in a loop, with
//! evaluations and checkpoints between. Letters of shapes: N groups of a step, G completions of a group, T tokens of a
//! completion, V vocabulary.
//!
//! The task is the embedded one (`rl::task::RING`): a walk on a ring of twelve squares, where square 5 is a trap door to 10.
//! The policy was fine-tuned for a few seconds on demonstrations, so that it is right sometimes.

#![expect(clippy::unwrap_used, reason = "a stage that fails ends the tour")]

mod support;

use model::{Batch, Compute, ModelDirectory, Sampling, Tensors, TrainerWorkspace};
use record::{PhaseSeconds, RunDirectory, StopReason, report};
use rl::{
    advantage::is_level,
    batch::{GroupPart, TrainedCompletion, micro_batches},
    config::{RunConfig, parse_config},
    loss::{CompletionLogprobs, Denominator, LossSum, completion_loss},
    metrics::{StepView, step_metrics},
    optimizer::Optimizer,
    prompt::{Prompt, Prompter},
    random::{Purpose, Stream},
    read_problems,
    sampler::{Completion, Request, SamplerSettings, sample},
    score::ScoredCompletion,
    shaping::{Outcome, Shaped, Step, shape},
    task::RING,
    update::UpdateSummary,
};

use support::world::{World, header};

/// The problem that is followed: the first of the file, so the first group of the step.
const FOLLOWED: usize = 0;

type Completions = Vec<Vec<Completion>>;
type Groups = Vec<Vec<ScoredCompletion>>;
type Learned<'a> = (&'a Groups, &'a Shaped, &'a UpdateSummary);

#[test]
fn one_problem_travels_from_a_file_to_a_report() {
    let world = World::new();
    let config = configure(&world);
    let mut policy = ModelDirectory::open(&world.model(), Compute::F32).unwrap();
    let prompts = ask(&config, &policy);
    let completions = answer(&config, &policy, &prompts);
    let groups = verify(&config, &policy, &prompts, completions);
    let (shaped, advantages) = judge(&config, &groups);
    let update = learn(&config, &mut policy, (&prompts, &groups, &advantages));
    leave_behind(&world, &config, (&groups, &shaped, &update));
}

/// 0. TOML in, `RunConfig` out. Ranges are checked here, and nothing below asks again.
fn configure(world: &World) -> RunConfig {
    let text = world.config_text();
    let config: RunConfig = parse_config(&text, &["train.micro_batch_tokens=300".to_owned()]).unwrap();
    config.check().unwrap();
    // What is not a setting is refused with its line and its place, so that a typo never trains the wrong thing.
    let error = parse_config::<RunConfig>(&text.replace("group_size", "grop_size"), &[]).unwrap_err();
    assert!(error.contains("rollout") && error.contains("unknown field `grop_size`"), "{error}");
    config
}

/// 1 and 2. Rows of a file in, problems out; problems in, prompts out: token ids, \[prompt\].
fn ask(config: &RunConfig, policy: &ModelDirectory) -> Vec<Prompt> {
    // A bad row would be named by file and line here. The gold answer is still text.
    let problems = read_problems(&config.problems.path, &config.problems.fields).unwrap();
    assert_eq!(problems[FOLLOWED].id.as_str(), "walk-0");
    // Instruction and chat template are added (this task has neither), tokens made, the gold answer parsed once.
    let positions_max = policy.model.config().positions_max;
    let prompter =
        Prompter { tokenizer: &policy.tokenizer, chat: policy.chat.as_ref(), settings: &config.prompt, positions_max };
    let count = config.rollout.prompts_per_step;
    let prompts: Vec<Prompt> = problems[..count].iter().map(|problem| prompter.prompt(problem).unwrap()).collect();
    for prompt in &prompts {
        assert_eq!(prompt.tokens.len(), RING.prompt_tokens);
        assert!(prompt.tokens.len() < positions_max, "a prompt leaves room to answer");
    }
    prompts
}

/// 3. Prompts in, G completions of each out: tokens and behavior logprobs \[N\]\[G\]\[T\], and why each ended.
fn answer(config: &RunConfig, policy: &ModelDirectory, prompts: &[Prompt]) -> Completions {
    let rollout = &config.rollout;
    let settings = SamplerSettings {
        sampling: Sampling { temperature: rollout.temperature as f32, top_k: 0, top_p: 1.0 },
        completion_tokens_max: rollout.completion_tokens_max,
        sequences_max: rollout.sequences_max,
        cache_bytes_max: 0,
        end_tokens: policy.end_tokens.clone(),
    };
    // Every completion has a random stream of its own, keyed by seed, step, place in the step and place in the group.
    let stream = |group, index| Stream::new(config.seed, Purpose::Rollout, [0, group as u64, index as u64]);
    let request = |(group, prompt): (usize, &Prompt)| Request {
        prompt: prompt.tokens.clone(),
        streams: (0..rollout.group_size).map(|index| stream(group, index)).collect(),
    };
    let requests: Vec<Request> = prompts.iter().enumerate().map(request).collect();
    let completions = sample(&policy.model, &requests, &settings, |_| {});
    // What is computed beside a completion changes none of its bits: alone, the followed problem gets the same.
    let alone = sample(&policy.model, &requests[FOLLOWED..=FOLLOWED], &settings, |_| {});
    assert_eq!(alone[0], completions[FOLLOWED]);
    for completion in &completions[FOLLOWED] {
        assert_eq!(completion.logprobs.len(), completion.tokens.len());
        let ends = policy.end_tokens.contains(completion.tokens.last().unwrap());
        assert_eq!(completion.stop, if ends { StopReason::End } else { StopReason::Limit });
    }
    completions
}

/// 4. Completions in, completions with text and verdict out. What the policy wrote is never an error, only a verdict.
fn verify(config: &RunConfig, policy: &ModelDirectory, prompts: &[Prompt], completions: Completions) -> Groups {
    let (tokenizer, extraction) = (&policy.tokenizer, &config.verifier.extraction);
    let score = |(prompt, group): (&Prompt, Vec<Completion>)| {
        group.into_iter().map(|one| ScoredCompletion::new(one, prompt, tokenizer, extraction)).collect()
    };
    let groups: Groups = prompts.iter().zip(completions).map(score).collect();
    for scored in &groups[FOLLOWED] {
        // Here the answer is the word after the last `A`; a truncated completion is wrong whatever it says.
        let answer = scored.text.rsplit_once("A ").and_then(|(_, rest)| rest.split(' ').next());
        let is_gold = answer == Some(prompts[FOLLOWED].gold.text());
        assert_eq!(scored.outcome().correct, is_gold && scored.completion.stop == StopReason::End, "{}", scored.text);
    }
    groups
}

/// 5 and 6. Outcomes of **all** groups in, rewards \[N\]\[G\] out; rewards in, advantages \[N\]\[G\] out.
fn judge(config: &RunConfig, groups: &[Vec<ScoredCompletion>]) -> (Shaped, Vec<Vec<f64>>) {
    // The only stage that sees the step as a whole: GRPO-λ ranks its groups by correctness ratio and puts the first
    // λ·N under length penalty; in the others a correct completion gets 1 and a wrong one 0.
    let outcomes: Vec<Vec<Outcome>> =
        groups.iter().map(|group| group.iter().map(ScoredCompletion::outcome).collect()).collect();
    let mut chance = Stream::new(config.seed, Purpose::Selection, [0; 3]);
    let shaping = &config.train.shaping;
    let shaped = shape(&Step::of_outcomes(&outcomes), shaping, &mut shaping.start(), &mut chance);
    assert_eq!(shaped.selected.groups.len(), 2, "0.34 · 6 groups, rounded");
    // An advantage is how much better than its group a completion is: they sum to 0, and are 0 in a group of equals.
    let advantages = shaped.advantages(config.train.advantage);
    for (rewards, advantages) in shaped.rewards.iter().zip(&advantages) {
        assert!(advantages.iter().sum::<f64>().abs() < 1e-9, "{advantages:?}");
        assert_eq!(is_level(rewards), advantages.iter().all(|advantage| *advantage == 0.0));
    }
    (shaped, advantages)
}

/// What a step learns from: prompts \[N\], scored completions \[N\]\[G\], advantages \[N\]\[G\].
type Judged<'a> = (&'a [Prompt], &'a [Vec<ScoredCompletion>], &'a [Vec<f64>]);

/// 7 to 10. Groups and advantages in, new parameters out.
fn learn(config: &RunConfig, policy: &mut ModelDirectory, judged: Judged<'_>) -> UpdateSummary {
    let mut gradients = policy.model.zeros();
    let mut sum = LossSum::default();
    let batches = pack(config, judged);
    assert!(batches.len() > 1, "the step is larger than a micro-batch, so that gradients add up");
    let completions = judged.1.iter().flatten().map(|scored| &scored.completion);
    let denominator = Denominator {
        completions: completions.clone().count(),
        tokens: completions.map(|completion| completion.tokens.len()).sum(),
        completion_tokens_max: config.rollout.completion_tokens_max,
    };
    for groups in &batches {
        sum.add(&learn_from(config, policy, (groups, &denominator), &mut gradients));
    }
    // Every ratio is 1, so the loss is the mean of −A, which is 0; its gradient is not.
    assert_eq!([sum.ratio_min, sum.ratio_max].map(f64::to_bits), [1.0_f64.to_bits(); 2]);
    assert!(sum.loss.abs() < 1e-9, "{}", sum.loss);

    // 10. Gradients in, parameters of version 1 out. Every parameter has a finite gradient, and every one moves.
    assert!(gradients.tensors.iter().flatten().all(|gradient| gradient.is_finite()));
    let before = policy.model.clone();
    let mut optimizer = Optimizer::new(&policy.model);
    let settings = &config.train.optimizer;
    let gradient_norm = optimizer.update(&mut policy.model, &gradients, settings, settings.learning_rate);
    assert_eq!(optimizer.updates, 1);
    for (old, new) in before.parameters().iter().zip(policy.model.parameters()) {
        assert_ne!(old.values, new.values, "{}", new.name);
    }
    UpdateSummary { sum, gradient_norm, learning_rate: settings.learning_rate }
}

/// 7. Groups in, micro-batches out: a prompt stands once before its completions, and nothing is padded.
fn pack<'a>(config: &RunConfig, (prompts, groups, advantages): Judged<'a>) -> Vec<Vec<GroupPart<'a>>> {
    let trained = |(scored, &advantage): (&'a ScoredCompletion, &f64)| TrainedCompletion {
        tokens: &scored.completion.tokens,
        behavior: &scored.completion.logprobs,
        advantage,
    };
    let parts = prompts.iter().zip(groups).zip(advantages).map(|((prompt, group), advantages)| GroupPart {
        prompt: &prompt.tokens,
        completions: group.iter().zip(advantages).map(trained).collect(),
    });
    micro_batches(parts.collect(), config.train.micro_batch_tokens)
}

/// 8 to 10. One micro-batch in, its share of the loss out; its share of the gradient is added to `gradients`.
fn learn_from(
    config: &RunConfig,
    policy: &ModelDirectory,
    (groups, denominator): (&[GroupPart<'_>], &Denominator),
    gradients: &mut Tensors,
) -> LossSum {
    // 8. Tokens in, policy logprobs out, \[T\] of one completion after another. The sampler computed the same tokens one
    // by one beside others and the trainer computes them all at once: the bits are the same.
    let mut batch = Batch::new(config.rollout.temperature as f32);
    for group in groups {
        batch.push_group(group.prompt, &group.completions.iter().map(|one| one.tokens).collect::<Vec<_>>());
    }
    assert!(batch.rows() <= config.train.micro_batch_tokens);
    let mut workspace = TrainerWorkspace::default();
    let policy_logprobs: Vec<f32> =
        policy.model.forward(&batch, &mut workspace).iter().map(|token| token.logprob).collect();
    let completions = || groups.iter().flat_map(|group| &group.completions);
    let bits = |logprobs: &[f32]| logprobs.iter().map(|logprob| logprob.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&policy_logprobs), completions().flat_map(|one| bits(one.behavior)).collect::<Vec<_>>());

    // 9. Logprobs and advantages in, a sum over tokens and its slope for every logprob out. The loss never asks which
    // algorithm runs, and each token's weight was fixed for the whole step, so micro-batches do not matter.
    let settings = &config.train.loss;
    let (mut sum, mut slopes) = (LossSum::default(), Vec::new());
    for one in completions() {
        let logprobs = CompletionLogprobs {
            policy: &policy_logprobs[slopes.len()..][..one.tokens.len()],
            behavior: one.behavior,
            reference: None,
            advantage: one.advantage,
            token_weight: denominator.token_weight(settings.aggregation, one.tokens.len()),
        };
        let (completion_sum, completion_slopes) = completion_loss(&logprobs, settings);
        sum.add(&completion_sum);
        slopes.extend(completion_slopes);
    }

    // 10. Slopes in, a gradient for every parameter out, of the parameter's shape.
    policy.model.backward(&batch, &slopes, &mut workspace, gradients);
    sum
}

/// 11 and 12. Numbers in, a run directory out; run directories in, one HTML page out.
fn leave_behind(world: &World, config: &RunConfig, (groups, shaped, update): Learned<'_>) {
    // 11. The resolved config, a header, and then one line a step. Clocks are arguments, so these bytes never change.
    let run = RunDirectory::create(&world.path("run"), &header(config), &config.to_toml()).unwrap();
    let seconds = PhaseSeconds { sample: 1.0, shape: 1.0, update: 1.0, total: 3.0 };
    let advantages = &shaped.advantages(config.train.advantage);
    let metrics = step_metrics(&StepView {
        step: 0,
        levels: &vec![None; groups.len()],
        groups,
        shaped,
        advantages,
        update,
        has_reference: false,
        dynamic_sampling: None,
        seconds,
    });
    run.append_metrics(&metrics).unwrap();
    assert!((0.1..1.0).contains(&metrics.correctness_ratio), "the policy is right sometimes");
    assert_eq!(run.metrics().unwrap().len(), 1);

    // 12. A report needs no model: everything that it shows is in the run directory.
    let options = report::ReportOptions { title: "The tour".into(), ..Default::default() };
    let page = report::html(&[run], &options).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("The tour") && page.contains("top-lambda"));
}
