//! The demonstration: the embedded task trained from nothing under several shapers, from the same starts.
//!
//! It prepares files and configs and runs what `sft` and `train` run; whoever calls it decides on threads and shows
//! progress.

use std::path::{Path, PathBuf};

use record::write;
use serde::Serialize;
use verify::Extraction;

use crate::{
    Demonstration, DemonstrationFields, Problem, ProblemFields, RlError,
    advantage::AdvantageScale,
    config::{
        CheckpointSettings, ComputeType, EvaluationConfig, ModelSettings, ProblemOrder, ProblemSettings,
        PromptSettings, RolloutSettings, RunConfig, Template, TrainSettings, Truncated, VerifierSettings,
    },
    fault::FaultSettings,
    loss::LossSettings,
    optimizer::{Decay, OptimizerSettings, Schedule},
    ring,
    sft::{DemonstrationSettings, SftConfig, SftMetrics, SftTrainSettings, fine_tune},
    shaping::{LengthPenalty, Shaping, TopLambda, Which},
    sweep::SweepRun,
};

/// Seeds of the demonstration. Each has a start of its own, which its arms share.
pub const SEEDS: [u64; 3] = [1, 2, 3];
/// Optimizer steps of the supervised start: enough that every seed tried reached the demonstrations' entropy.
pub const START_STEPS: u64 = 800;
/// Optimizer steps of each run.
pub const STEPS: u64 = 80;

const PROMPTS_PER_STEP: usize = 16;
const GROUP_SIZE: usize = 16;
const HELD_OUT_PROBLEMS: usize = 600;
const DEMONSTRATIONS: usize = 8000;

/// What is compared, in the order of the report: the method, its two baselines, and the control that selects as many
/// groups by chance.
pub fn arms() -> [(&'static str, Shaping); 4] {
    let random = TopLambda { select: Which::Random, ..TopLambda::default() };
    [
        ("grpo", Shaping::Grpo {}),
        ("length-penalty", Shaping::LengthPenalty(LengthPenalty::default())),
        ("top-lambda", Shaping::TopLambda(TopLambda::default())),
        ("random-lambda", Shaping::TopLambda(random)),
    ]
}

/// What the report says above its figures, so that nobody takes it for more than it is.
pub fn notes() -> Vec<String> {
    [
        "A small transformer (Qwen3 architecture, 141 thousand parameters) walks on a ring of twelve squares: it adds up \
         dice rolls modulo 12, except that landing on square 5 moves it to 10. It chooses a plan first: a quick one that \
         never looks at that door, a careful one, or careful ones with one or two further passes. Whether the door matters \
         cannot be seen beforehand; it does on about a sixth of the walks of 2 rolls and on half of those of 8.",
        "Every arm of a seed starts from the same supervised model and sees the same problems. Accuracy and tokens in the \
         table are measured on 600 problems that no training saw, at temperature 1.",
        "Read it for what it is. The task was the fourth design tried, built so that a length penalty on every group can \
         collapse: a shortcut that is harmless on most problems and fatal on a minority that cannot be told apart \
         beforehand, and a clean start that solves most problems. On two tasks tried before, each without one of those \
         properties, a plain length penalty did not collapse. What there is to save is bounded by the task: the careful plan alone takes 19 tokens on average.",
        "random-lambda is a control: it puts the length penalty on as many groups as top-lambda, chosen by chance rather \
         than by correctness. Where both do equally well, it is the bounded share of groups under pressure that helps here, \
         not the ranking.",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// Files of a demonstration.
#[derive(Debug, Clone)]
pub struct Demo {
    root: PathBuf,
}

#[derive(Serialize)]
struct ProblemRow<'a> {
    id: &'a str,
    question: &'a str,
    answer: &'a str,
    level: Option<&'a str>,
}

#[derive(Serialize)]
struct DemonstrationRow<'a> {
    prompt: &'a str,
    completion: &'a str,
}

impl Demo {
    /// Writes the task's problems and demonstrations into the new directory `root`.
    ///
    /// # Errors
    /// [`RlError`] when `root` holds files or cannot be written.
    pub fn prepare(root: &Path) -> Result<Self, RlError> {
        if std::fs::read_dir(root).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RlError::File {
                path: root.into(),
                message: "is not empty; choose another directory with --out".into(),
            });
        }
        let demo = Self { root: root.to_owned() };
        write::create_directory(&demo.task())?;
        write_problems(&demo.task().join("held-out.jsonl"), &ring::held_out_problems(HELD_OUT_PROBLEMS, 0))?;
        for seed in SEEDS {
            let count = STEPS as usize * PROMPTS_PER_STEP;
            write_problems(&demo.problems(seed), &ring::problems(count, seed))?;
            write_demonstrations(&demo.demonstrations(seed), &ring::demonstrations(DEMONSTRATIONS, seed))?;
        }
        Ok(demo)
    }

    /// Every run, in the order of the arms.
    pub fn runs(&self) -> Vec<SweepRun> {
        let of_arm = |(arm, shaping): (&str, Shaping)| SEEDS.map(|seed| self.run_config(arm, shaping.clone(), seed));
        let root = self.root.join("runs");
        arms().into_iter().flat_map(of_arm).map(|config| SweepRun::new(config, &root)).collect()
    }

    /// The model that every arm of `seed` starts from; made by [`Demo::start`].
    pub fn start_model(&self, seed: u64) -> PathBuf {
        self.start_root(seed).join("model")
    }

    /// Makes the start of `seed`: random parameters, then supervised fine-tuning on demonstrations of all four plans.
    ///
    /// # Errors
    /// [`RlError`] when a file cannot be written.
    pub fn start(&self, seed: u64, watch: impl FnMut(&SftMetrics) -> bool) -> Result<PathBuf, RlError> {
        let untrained = self.start_root(seed).join("untrained");
        ring::write_start_model(&untrained, seed)?;
        let (config, root) = (self.start_config(seed, &untrained), self.start_root(seed));
        // So small a model needs no plan.
        fine_tune(&config, (&untrained, &root), None, watch)
    }

    /// Config of an arm and seed; `brevity train` on it repeats the run.
    pub fn run_config(&self, arm: &str, shaping: Shaping, seed: u64) -> RunConfig {
        let fields = ProblemFields { id: Some("id".into()), level: Some("level".into()), ..ProblemFields::default() };
        RunConfig {
            arm: Some(arm.to_owned()),
            seed,
            threads: 1,
            compute: Some(ComputeType::F32),
            model: ModelSettings { path: self.start_model(seed).display().to_string(), memory_bytes_max: 0 },
            problems: ProblemSettings { path: self.problems(seed), order: ProblemOrder::File, fields: fields.clone() },
            prompt: plain_prompt(),
            verifier: VerifierSettings { extraction: Extraction::Marker { marker: "A".into() } },
            rollout: RolloutSettings {
                prompts_per_step: PROMPTS_PER_STEP,
                group_size: GROUP_SIZE,
                completion_tokens_max: ring::COMPLETION_TOKENS_MAX,
                temperature: 1.0,
                sequences_max: PROMPTS_PER_STEP * GROUP_SIZE,
                cache_bytes_max: 0,
            },
            train: TrainSettings {
                steps: STEPS,
                passes: 1,
                micro_batch_tokens: 2048,
                truncated: Truncated::Wrong,
                advantage: AdvantageScale::GroupStd,
                shaping,
                loss: LossSettings::default(),
                optimizer: OptimizerSettings { learning_rate: 5e-4, beta2: 0.95, ..OptimizerSettings::default() },
                schedule: Schedule::default(),
                faults: FaultSettings::default(),
            },
            evaluation: Some(EvaluationConfig {
                every_steps: 10,
                path: self.task().join("held-out.jsonl"),
                name: Some("ring-held-out".into()),
                fields,
                limit: 0,
                samples: 1,
                temperature: 1.0,
                completion_tokens_max: None,
            }),
            checkpoint: CheckpointSettings { every_steps: 0, keep_last: 1, ..CheckpointSettings::default() },
        }
    }

    fn start_config(&self, seed: u64, untrained: &Path) -> SftConfig {
        SftConfig {
            seed,
            threads: 1,
            compute: Some(ComputeType::F32),
            model: ModelSettings { path: untrained.display().to_string(), memory_bytes_max: 0 },
            demonstrations: DemonstrationSettings {
                path: self.demonstrations(seed),
                fields: DemonstrationFields::default(),
            },
            prompt: plain_prompt(),
            train: SftTrainSettings {
                steps: START_STEPS,
                batch_size: 64,
                micro_batch_tokens: 2048,
                optimizer: OptimizerSettings { learning_rate: 4e-3, beta2: 0.98, ..OptimizerSettings::default() },
                schedule: Schedule { warmup_steps: 20, decay: Decay::Cosine },
            },
        }
    }

    fn task(&self) -> PathBuf {
        self.root.join("task")
    }

    fn problems(&self, seed: u64) -> PathBuf {
        self.task().join(format!("problems-seed{seed}.jsonl"))
    }

    fn demonstrations(&self, seed: u64) -> PathBuf {
        self.task().join(format!("demonstrations-seed{seed}.jsonl"))
    }

    fn start_root(&self, seed: u64) -> PathBuf {
        self.root.join("start").join(format!("seed{seed}"))
    }
}

fn plain_prompt() -> PromptSettings {
    PromptSettings { template: Template::Plain, instruction: String::new(), ..PromptSettings::default() }
}

fn write_problems(path: &Path, problems: &[Problem]) -> Result<(), RlError> {
    let rows: Vec<ProblemRow<'_>> = problems
        .iter()
        .map(|problem| ProblemRow {
            id: problem.id.as_str(),
            question: &problem.question,
            answer: &problem.gold,
            level: problem.level.as_deref(),
        })
        .collect();
    Ok(write::replace(path, &write::json_lines(&rows))?)
}

fn write_demonstrations(path: &Path, demonstrations: &[Demonstration]) -> Result<(), RlError> {
    let rows: Vec<DemonstrationRow<'_>> = demonstrations
        .iter()
        .map(|demonstration| DemonstrationRow { prompt: &demonstration.prompt, completion: &demonstration.completion })
        .collect();
    Ok(write::replace(path, &write::json_lines(&rows))?)
}
