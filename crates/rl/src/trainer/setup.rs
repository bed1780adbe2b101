//! What a run reads and plans before its first step, the same when it starts and when it goes on.

use model::{AdapterSettings, Model, ModelConfig, ModelDirectory, ModelPlace, Sampling};
use record::{RunDirectory, RunLock};

use super::Trainer;
use crate::{
    FieldsFrom, Problem, RlError,
    checkpoint::Progress,
    collapse::CollapseWatch,
    config::RunConfig,
    device::Place,
    estimate::{self, Plan, PlannedModel},
    evaluation::Evaluation,
    lora,
    optimizer::Optimizer,
    problem_queue::ProblemQueue,
    prompt::{Prompt, Prompter},
    read_problem_rows, read_problems,
    sampler::SamplerSettings,
    summary::EvaluationSettings,
    update::Updater,
    warning::{RiskWatch, Weights},
};

/// All of a run but its directory and how far it has come.
pub(super) struct Setup {
    pub(super) config: RunConfig,
    start: ModelPlace,
    pub(super) source: ModelDirectory,
    prompts: Vec<Prompt>,
    budgets: Option<Vec<u32>>,
    evaluation: Option<Evaluation>,
    plan: Plan,
    /// Of the early warning. Read with the rest, as a file found bad later would leave a run that cannot go on.
    weights: Option<Weights>,
}

impl Setup {
    /// The policy of `source` with its problems and its memory; `start` is where the model lies that the run started from.
    pub(super) fn new(
        config: RunConfig,
        start: ModelPlace,
        mut source: ModelDirectory,
        place: &Place,
    ) -> Result<Self, RlError> {
        let weights = Weights::of(&config.train)?;
        let (prompts, budgets) = training_prompts(&config, &source)?;
        let mut evaluation = evaluation_of(&config, &source)?;
        let plan = plan(&config, &source, &prompts, &mut evaluation, place)?;
        source.model = place.put(source.model, plan.estimate.cache as usize)?;
        Ok(Self { config, start, source, prompts, budgets, evaluation, plan, weights })
    }

    /// The run in a directory that has no record of a later step than `progress`.
    pub(super) fn trainer(
        self,
        (run, lock): (RunDirectory, RunLock),
        (optimizer, reference): (Optimizer, Option<Model>),
        progress: Progress,
    ) -> Result<Trainer, RlError> {
        let Self { config, start, source, prompts, budgets, evaluation, plan, weights } = self;
        let Progress { step, problems_taken, shaper, detours } = progress;
        Ok(Trainer {
            queue: ProblemQueue::new(config.problems.order, config.seed, prompts.len(), problems_taken),
            collapse: CollapseWatch::of_run(&run)?,
            risk: RiskWatch::with_weights(&config.train, weights, &run)?,
            updater: Updater::new(&source.model, optimizer, reference, plan.recomputed_layers),
            config,
            plan,
            run,
            start,
            source,
            prompts,
            budgets,
            evaluation,
            shaper,
            step,
            detours,
            passed_over: Vec::new(),
            _lock: lock,
        })
    }
}

fn prompter<'a>(config: &'a RunConfig, source: &'a ModelDirectory) -> Prompter<'a> {
    Prompter {
        tokenizer: &source.tokenizer,
        chat: source.chat.as_ref(),
        settings: &config.prompt,
        positions_max: source.model.config().positions_max,
    }
}

/// Prompts of the training problems, and the budgets that they ask for.
fn training_prompts(config: &RunConfig, source: &ModelDirectory) -> Result<(Vec<Prompt>, Option<Vec<u32>>), RlError> {
    let mut problems = read_problems(&config.problems.path, &config.problems.fields)?;
    let budgets = config.problems.budget.as_ref().map(|budget| budget.ask(config.seed, &mut problems));
    let prompter = prompter(config, source);
    let prompts = problems.iter().map(|problem| prompter.prompt(problem)).collect::<Result<Vec<_>, _>>()?;
    refuse_cut_completions(config, &prompts, prompter.positions_max)?;
    Ok((prompts, budgets))
}

/// Refuses a token limit that the model's context cuts: penalties and budgets are taken of the limit, which no completion
/// could come to.
fn refuse_cut_completions(config: &RunConfig, prompts: &[Prompt], positions_max: usize) -> Result<(), RlError> {
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(0);
    let (room, asked) = (positions_max.saturating_sub(longest), config.rollout.completion_tokens_max);
    if asked <= room {
        return Ok(());
    }
    Err(RlError::Setting {
        field: "rollout.completion_tokens_max",
        message: format!(
            "is {asked}, and the model takes {positions_max} positions, of which the longest prompt has {longest}; set it to \
             {room} or less, or `prompt.prompt_tokens_max` lower"
        ),
    })
}

/// The evaluation that the config asks for, if any; the plan has still to bound its cache.
fn evaluation_of(config: &RunConfig, source: &ModelDirectory) -> Result<Option<Evaluation>, RlError> {
    let Some(settings) = &config.evaluation else { return Ok(None) };
    let rows = read_problem_rows(&settings.path, &settings.fields, FieldsFrom::Table("[evaluation.fields]"))?;
    let mut problems: Vec<Problem> = rows.into_iter().collect::<Result<_, _>>()?;
    if settings.limit > 0 {
        problems.truncate(settings.limit);
    }
    if let Some(budget) = &config.problems.budget {
        budget.ask(config.seed, &mut problems);
    }
    let prompter = prompter(config, source);
    let prompts = problems.iter().map(|problem| prompter.prompt(problem)).collect::<Result<_, _>>()?;
    let completion_tokens_max = settings.completion_tokens_max.unwrap_or(config.rollout.completion_tokens_max);
    let stem = || settings.path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let sampling = Sampling { temperature: settings.temperature as f32, top_k: 0, top_p: 1.0 };
    Ok(Some(Evaluation {
        prompts,
        extraction: config.verifier.extraction.clone(),
        settings: EvaluationSettings {
            step: 0,
            benchmark: settings.name.clone().unwrap_or_else(stem),
            samples: settings.samples,
            temperature: settings.temperature,
            top_p: 1.0,
            completion_tokens_max: completion_tokens_max as u32,
            seed: config.seed,
        },
        sampler: SamplerSettings {
            sampling,
            completion_tokens_max,
            sequences_max: config.rollout.sequences_max,
            cache_bytes_max: 0,
            end_tokens: source.end_tokens.clone(),
        },
    }))
}

/// What a run is planned for, beside its config.
struct Load {
    /// Of the longest prompt.
    prompt_tokens: usize,
    evaluated_problems: usize,
}

/// Refuses a run that would not fit if its prompts were of one token, before any weight is read.
pub(super) fn refuse_what_cannot_fit(config: &RunConfig, model: &ModelPlace, place: &Place) -> Result<(), RlError> {
    let load = Load { prompt_tokens: 1, evaluated_problems: 1 };
    let (shape, adapter) = (ModelConfig::read(&model.base)?, lora::adapter_settings(&config.model, model)?);
    place.refuse(&shape, adapter.as_ref())?;
    plan_for(config, (&shape, adapter), place, &load).map(drop)
}

/// What the run does without to fit its memory, with the prompts that there are; the evaluation is bounded by it.
fn plan(
    config: &RunConfig,
    source: &ModelDirectory,
    prompts: &[Prompt],
    evaluation: &mut Option<Evaluation>,
    place: &Place,
) -> Result<Plan, RlError> {
    let evaluated = evaluation.as_ref().map_or(&[][..], |evaluation| &evaluation.prompts);
    let longest = prompts.iter().chain(evaluated).map(|prompt| prompt.tokens.len()).max();
    let load = Load { prompt_tokens: longest.unwrap_or(1), evaluated_problems: evaluated.len().max(1) };
    let adapter = source.model.adapter().map(|adapter| adapter.settings().clone());
    let plan = plan_for(config, (source.model.config(), adapter), place, &load)?;
    if let Some(evaluation) = evaluation {
        evaluation.sampler.cache_bytes_max = plan.cache_bytes_max;
    }
    Ok(plan)
}

fn plan_for(
    config: &RunConfig,
    (model, adapter): (&ModelConfig, Option<AdapterSettings>),
    place: &Place,
    load: &Load,
) -> Result<Plan, RlError> {
    let mut config = config.clone();
    config.prompt.prompt_tokens_max = load.prompt_tokens;
    if let Some(evaluation) = &mut config.evaluation {
        evaluation.limit = load.evaluated_problems;
    }
    let model = PlannedModel { config: model, adapter: adapter.as_ref() };
    estimate::plan(&config, model, place.memory(), estimate::limit_bytes(&config.model, place.free_bytes()))
}
