//! A run: step after step of sampling, verifying, shaping and updating, with evaluations and checkpoints between.
//!
//! The trainer does not know which algorithm runs: shaping hands it rewards, the loss reads advantages.

mod resume;
mod settle;
mod setup;
mod warn;

use std::path::{Path, PathBuf};

use model::{ModelDirectory, ModelPlace, Sampling};
use record::{
    DynamicSamplingMetrics, EvaluationSummary, FaultOutcome, FaultRecord, PhaseSeconds, RolloutPlace, RolloutRecord,
    RunDirectory, RunHeader, RunLock, SCHEMA_VERSION, StepMetrics, write,
};

use self::setup::{Setup, refuse_what_cannot_fit};
use crate::{
    RlError,
    batch::{GroupPart, TrainedCompletion},
    checkpoint::{self, Progress, Snapshot},
    collapse::CollapseWatch,
    config::{RunConfig, Truncated},
    cost::costs,
    device::{self, ComputeType, Place, Resources},
    estimate::Plan,
    evaluation::{Evaluation, evaluate},
    fault::{self, Fault},
    inputs::{Inputs, mathematics},
    lora,
    loss::Denominator,
    metrics::{StepView, step_metrics},
    optimizer::Optimizer,
    problem_queue::ProblemQueue,
    prompt::Prompt,
    random::{Purpose, Stream},
    sampler::{Completion, Request, SamplerSettings, sample},
    score::ScoredCompletion,
    shaping::{Outcome, Shaped, ShaperState, Step, shape},
    update::{StepBatch, UpdateSummary, Updater},
    warning::{RiskWatch, Warning, WarningOutcome},
};

/// What a run tells whoever watches it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step began; so many completions are to be sampled.
    StepBegan {
        /// The step.
        step: u64,
        /// Completions of the step.
        completions: usize,
    },
    /// A completion of the present step or evaluation ended.
    CompletionEnded {
        /// Its tokens.
        tokens: usize,
    },
    /// A step is recorded.
    StepEnded(&'a StepMetrics),
    /// An evaluation began; so many completions are to be sampled.
    EvaluationBegan {
        /// Its completions.
        completions: usize,
    },
    /// An evaluation is recorded.
    EvaluationEnded(&'a EvaluationSummary),
    /// A checkpoint is in place.
    CheckpointWritten(&'a Path),
    /// A step had a fault, and something is done about it.
    FaultSettled(&'a FaultRecord),
    /// The risk of a collapse is too high, and something may be done about it.
    Warned(&'a Warning),
}

/// What a run needs from the world, handed in.
pub struct Surroundings<'a> {
    /// Seconds since some fixed moment.
    pub clock: &'a dyn Fn() -> f64,
    /// Whether the run should stop after the present step.
    pub interrupted: &'a dyn Fn() -> bool,
    /// Told of every event.
    pub watch: &'a mut dyn FnMut(Event<'_>),
}

/// Facts about the process that a run header records.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// Version of the program.
    pub brevity_version: String,
    /// Seconds since 1970-01-01 UTC.
    pub started_unix_seconds: u64,
    /// What the run may take.
    pub resources: Resources,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// All steps done; the trained model is at this path.
    Finished(PathBuf),
    /// Stopped on request after so many steps, with a checkpoint.
    Interrupted {
        /// Steps done.
        step: u64,
    },
    /// Stopped because of the risk of a collapse after so many steps, with a checkpoint.
    Warned {
        /// Steps done.
        step: u64,
    },
}

/// A training run and all its state.
pub struct Trainer {
    config: RunConfig,
    plan: Plan,
    run: RunDirectory,
    /// Where the model lies that the run started from.
    start: ModelPlace,
    source: ModelDirectory,
    prompts: Vec<Prompt>,
    /// Of each prompt, tokens; none without `[problems.budget]`.
    budgets: Option<Vec<u32>>,
    queue: ProblemQueue,
    evaluation: Option<Evaluation>,
    collapse: CollapseWatch,
    /// None without `[train.warning]`.
    risk: Option<RiskWatch>,
    updater: Updater,
    shaper: ShaperState,
    step: u64,
    /// How often the run went back to a checkpoint because of a fault.
    detours: u64,
    passed_over: Vec<String>,
    _lock: RunLock,
}

impl Trainer {
    /// Starts a run in the new directory `root`, from the model at `model`.
    ///
    /// # Errors
    /// [`RlError`] when a setting, a file or the memory does not allow the run; nothing is left in `root` then.
    pub fn start(
        mut config: RunConfig,
        model: &ModelPlace,
        root: &Path,
        provenance: &Provenance,
    ) -> Result<Self, RlError> {
        config.check()?;
        let compute = device::compute(config.device, config.compute);
        config.compute = Some(compute.into());
        let place = Place::new(config.device, compute, &provenance.resources)?;
        refuse_what_cannot_fit(&config, model, &place)?;
        let source = lora::open(&config.model, config.seed, model, compute)?;
        let setup = Setup::new(config, model.clone(), source, &place)?;
        let (config, source) = (&setup.config, &setup.source);
        checkpoint::refuse_small_budget(&config.checkpoint, source)?;
        RunDirectory::refuse_taken(root)?;
        write::create_directory(root)?;
        let lock = RunLock::take(root)?;
        let toml = config.to_toml();
        let header = RunHeader {
            schema: SCHEMA_VERSION,
            arm: config.arm().to_owned(),
            seed: config.seed,
            steps: config.train.steps,
            brevity_version: provenance.brevity_version.clone(),
            cpu: model::instruction_set().name().to_owned(),
            compute: ComputeType::from(compute).name().to_owned(),
            mathematics: mathematics(),
            inputs: Inputs::new(config, model)?.checksums(&toml)?,
            threads: model::threads::count() as u32,
            model: config.model.path.clone(),
            parameters: source.model.parameter_count() as u64,
            started_unix_seconds: provenance.started_unix_seconds,
        };
        let run = RunDirectory::create(root, &header, &toml)?;
        let reference = (config.train.loss.kl_weight > 0.0).then(|| source.model.reference());
        let (optimizer, progress) = (Optimizer::new(&source.model), Progress::start(&config.train.shaping));
        setup.trainer((run, lock), (optimizer, reference), progress)
    }

    /// The run's config.
    pub fn config(&self) -> &RunConfig {
        &self.config
    }

    /// Its memory, and what it does without to fit.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Layers of the policy.
    pub fn layers(&self) -> usize {
        self.source.model.config().layers
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The run directory.
    pub fn run_directory(&self) -> &RunDirectory {
        &self.run
    }

    /// Runs to the last step, or to the step at which `surroundings` interrupt it.
    ///
    /// # Errors
    /// [`RlError`] when a file cannot be written or a number is not finite; the last checkpoint stays.
    pub fn run(&mut self, surroundings: &mut Surroundings<'_>) -> Result<Ending, RlError> {
        if self.step == 0 {
            self.evaluate(surroundings)?;
        }
        while self.step < self.config.train.steps {
            let (warned, returned) = match self.train_step(surroundings)? {
                Ok(metrics) => {
                    (surroundings.watch)(Event::StepEnded(&metrics));
                    let warned = self.heed(&metrics, surroundings)?;
                    (warned, matches!(warned, Some(WarningOutcome::Returned { .. })))
                }
                Err(fault) => (None, self.settle(&fault, surroundings)? == FaultOutcome::Returned),
            };
            // It is as its checkpoint has it, but for the return, which the run comes to again.
            if returned && (surroundings.interrupted)() {
                return Ok(Ending::Interrupted { step: self.step });
            }
            if returned {
                continue;
            }
            self.step += 1;
            let is_last = self.step == self.config.train.steps;
            let step = self.step;
            let due = |every: u64| every > 0 && step.is_multiple_of(every);
            if is_last || due(self.config.evaluation.as_ref().map_or(0, |evaluation| evaluation.every_steps)) {
                self.evaluate(surroundings)?;
            }
            let warned = (warned == Some(WarningOutcome::Stopped)).then_some(Ending::Warned { step });
            let interrupted = || (surroundings.interrupted)().then_some(Ending::Interrupted { step });
            let stop = if is_last { None } else { warned.or_else(interrupted) };
            if is_last || stop.is_some() || due(self.config.checkpoint.every_steps) {
                self.save(surroundings)?;
            }
            if let Some(ending) = stop {
                return Ok(ending);
            }
        }
        let trained = self.run.root().join("model");
        checkpoint::write_model(&self.source, &trained)?;
        Ok(Ending::Finished(trained))
    }

    fn save(&self, surroundings: &mut Surroundings<'_>) -> Result<(), RlError> {
        let progress = Progress {
            step: self.step,
            problems_taken: self.queue.taken(),
            shaper: self.shaper.clone(),
            detours: self.detours,
        };
        let (model, source, optimizer) = (&self.source.model, &*self.source.path, &self.updater.optimizer);
        let snapshot = Snapshot { model, source, optimizer, progress: &progress };
        let path = checkpoint::save(&self.run, &snapshot, &self.config.checkpoint)?;
        (surroundings.watch)(Event::CheckpointWritten(&path));
        Ok(())
    }

    fn evaluate(&mut self, surroundings: &mut Surroundings<'_>) -> Result<(), RlError> {
        let Some(evaluation) = &mut self.evaluation else { return Ok(()) };
        evaluation.settings.step = self.step;
        let completions = evaluation.prompts.len() * evaluation.settings.samples as usize;
        (surroundings.watch)(Event::EvaluationBegan { completions });
        let (mut summary, records) = evaluate(&self.source.model, &self.source.tokenizer, evaluation, |tokens| {
            (surroundings.watch)(Event::CompletionEnded { tokens });
        });
        summary.decline = self.collapse.observe(self.step, &records);
        self.run.append_evaluation(&summary, &records)?;
        (surroundings.watch)(Event::EvaluationEnded(&summary));
        Ok(())
    }

    /// One step: sample, score, shape, update, record. A fault leaves its rollouts and no metrics.
    fn train_step(&mut self, surroundings: &mut Surroundings<'_>) -> Result<Result<StepMetrics, Fault>, RlError> {
        let began = (surroundings.clock)();
        let mut problems = self.queue.take(self.config.rollout.prompts_per_step);
        let completions = self.sample(&problems, 0, surroundings.watch);
        let mut sampled = (surroundings.clock)();
        let mut groups = self.score(&problems, completions);
        let dynamic_sampling = self.resample(&mut problems, &mut groups, surroundings.watch);
        if dynamic_sampling.is_some() {
            sampled = (surroundings.clock)();
        }
        let shaped = self.shape(&problems, &groups);
        let advantages = shaped.advantages(self.config.train.advantage);
        // Before the update, so that a step whose numbers are not finite leaves its rollouts to look at.
        let rollouts = self.rollout_records(&problems, &groups, (&shaped, &advantages));
        self.run.write_rollouts(self.step, &rollouts)?;
        let shaped_at = (surroundings.clock)();
        if let Some(fault) = fault::of_rollouts(&groups, &shaped.rewards, &advantages) {
            return Ok(Err(fault));
        }
        let update = match self.update(&problems, &groups, &advantages) {
            Ok(update) => update,
            Err(fault) => return Ok(Err(fault)),
        };
        let updated = (surroundings.clock)();
        let levels: Vec<_> = problems.iter().map(|&problem| self.prompts[problem].problem.level.as_deref()).collect();
        let mut metrics = step_metrics(&StepView {
            step: self.step,
            levels: &levels,
            groups: &groups,
            shaped: &shaped,
            advantages: &advantages,
            update: &update,
            has_reference: self.updater.reference.is_some(),
            dynamic_sampling,
            seconds: PhaseSeconds {
                sample: sampled - began,
                shape: shaped_at - sampled,
                update: updated - shaped_at,
                total: updated - began,
            },
        });
        if let Some(risk) = &mut self.risk {
            risk.observe(&mut metrics);
        }
        self.run.append_metrics(&metrics)?;
        Ok(Ok(metrics))
    }

    /// The step as random streams know it: another number on each detour.
    fn place(&self) -> u64 {
        self.step + (self.detours << 40)
    }

    /// Completions of `problems`, the first of which has the position `first` in the step.
    fn sample(&self, problems: &[usize], first: usize, watch: &mut dyn FnMut(Event<'_>)) -> Vec<Vec<Completion>> {
        let rollout = &self.config.rollout;
        let stream = |position: usize, index: usize| {
            Stream::new(self.config.seed, Purpose::Rollout, [self.place(), position as u64, index as u64])
        };
        let requests: Vec<Request> = problems
            .iter()
            .enumerate()
            .map(|(position, &problem)| Request {
                prompt: self.prompts[problem].tokens.clone(),
                streams: (0..rollout.group_size).map(|index| stream(first + position, index)).collect(),
            })
            .collect();
        let settings = SamplerSettings {
            sampling: Sampling { temperature: rollout.temperature as f32, top_k: 0, top_p: 1.0 },
            completion_tokens_max: rollout.completion_tokens_max,
            sequences_max: rollout.sequences_max,
            cache_bytes_max: self.plan.cache_bytes_max,
            end_tokens: self.source.end_tokens.clone(),
        };
        watch(Event::StepBegan { step: self.step, completions: problems.len() * rollout.group_size });
        sample(&self.source.model, &requests, &settings, |tokens| watch(Event::CompletionEnded { tokens }))
    }

    fn score(&self, problems: &[usize], completions: Vec<Vec<Completion>>) -> Vec<Vec<ScoredCompletion>> {
        let (tokenizer, extraction) = (&self.source.tokenizer, &self.config.verifier.extraction);
        let score = |(&problem, group): (&usize, Vec<Completion>)| {
            let prompt = &self.prompts[problem];
            group.into_iter().map(|one| ScoredCompletion::new(one, prompt, tokenizer, extraction)).collect()
        };
        problems.iter().zip(completions).map(score).collect()
    }

    /// Replaces groups without a signal, as `[train.dynamic_sampling]` says.
    fn resample(
        &mut self,
        problems: &mut [usize],
        groups: &mut [Vec<ScoredCompletion>],
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Option<DynamicSamplingMetrics> {
        let settings = self.config.train.dynamic_sampling?;
        Some(settings.replace(problems, groups, |count, first| {
            let problems = self.queue.take(count);
            let completions = self.sample(&problems, first, watch);
            let groups = self.score(&problems, completions);
            (problems, groups)
        }))
    }

    fn shape(&mut self, problems: &[usize], groups: &[Vec<ScoredCompletion>]) -> Shaped {
        let outcomes: Vec<Vec<Outcome>> =
            groups.iter().map(|group| group.iter().map(ScoredCompletion::outcome).collect()).collect();
        let mut step = Step {
            index: self.step,
            cost_max: Some(self.config.rollout.completion_tokens_max as f64),
            costs: costs(&self.config.train.costs, groups),
            scale: self.config.train.advantage,
            ..Step::of_outcomes(&outcomes)
        };
        if let Some(budgets) = &self.budgets {
            step.give_budgets(problems.iter().map(|&problem| budgets[problem]));
        }
        let mut stream = Stream::new(self.config.seed, Purpose::Selection, [self.place(), 0, 0]);
        shape(&step, &self.shaping(), &mut self.shaper, &mut stream)
    }

    fn update(
        &mut self,
        problems: &[usize],
        groups: &[Vec<ScoredCompletion>],
        advantages: &[Vec<f64>],
    ) -> Result<UpdateSummary, Fault> {
        let settings = &self.config.train;
        let counts = |scored: &&ScoredCompletion| {
            settings.truncated == Truncated::Wrong || scored.completion.stop == record::StopReason::End
        };
        // Without a KL term a completion of advantage 0 has no gradient, and its forward and backward are spared.
        let carries = |advantage: f64| advantage != 0.0 || settings.loss.kl_weight > 0.0;
        let (mut parts, mut places) = (Vec::new(), Vec::new());
        for (index, ((&problem, group), advantages)) in problems.iter().zip(groups).zip(advantages).enumerate() {
            let trained = || {
                let numbered = group.iter().zip(advantages).enumerate();
                numbered.filter(|(_, (scored, advantage))| counts(scored) && carries(**advantage))
            };
            let completions: Vec<TrainedCompletion<'_>> = trained()
                .map(|(_, (scored, &advantage))| TrainedCompletion {
                    tokens: &scored.completion.tokens,
                    behavior: &scored.completion.logprobs,
                    advantage,
                })
                .collect();
            places.extend(trained().map(|(rollout, _)| RolloutPlace { group: index as u32, rollout: rollout as u32 }));
            if !completions.is_empty() {
                parts.push(GroupPart { prompt: &self.prompts[problem].tokens, completions });
            }
        }
        let counted = || groups.iter().flatten().filter(counts);
        let batch = StepBatch {
            step: self.step,
            groups: parts,
            places,
            denominator: Denominator {
                completions: counted().count(),
                tokens: counted().map(|scored| scored.completion.tokens.len()).sum(),
                completion_tokens_max: self.config.rollout.completion_tokens_max,
            },
            temperature: self.config.rollout.temperature as f32,
        };
        self.updater.update(&mut self.source.model, &batch, settings)
    }

    fn rollout_records(
        &self,
        problems: &[usize],
        groups: &[Vec<ScoredCompletion>],
        (shaped, advantages): (&Shaped, &[Vec<f64>]),
    ) -> Vec<RolloutRecord> {
        let mut records = Vec::new();
        for (group, (&problem, completions)) in problems.iter().zip(groups).enumerate() {
            let prompt = &self.prompts[problem];
            for (rollout, scored) in completions.iter().enumerate() {
                records.push(RolloutRecord {
                    step: self.step,
                    group: group as u32,
                    rollout: rollout as u32,
                    problem: prompt.problem.id.to_string(),
                    level: prompt.problem.level.clone(),
                    question: prompt.problem.question.clone(),
                    gold: prompt.gold.text().to_owned(),
                    completion: scored.text.clone(),
                    completion_tokens: scored.completion.tokens.len() as u32,
                    stop: scored.completion.stop,
                    verdict: scored.check.verdict,
                    answer: scored.check.answer.clone(),
                    selected: shaped.selected.contains(group),
                    reward: shaped.rewards[group][rollout],
                    advantage: advantages[group][rollout],
                    behavior_logprob_nats: scored.completion.logprobs.iter().map(|&x| f64::from(x)).sum(),
                });
            }
        }
        records
    }
}
