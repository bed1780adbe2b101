//! A family's files on disk: problems, demonstrations, supervised starts, and the config that trains from them.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io,
    path::{Path, PathBuf},
};

use record::{read, write};
use serde::Serialize;
use verify::Extraction;

use super::Family;
use crate::{
    Demonstration, DemonstrationFields, Problem, ProblemFields, RlError,
    advantage::AdvantageScale,
    config::{
        CheckpointSettings, ComputeType, DeviceSetting, EvaluationConfig, ModelSettings, ProblemOrder, ProblemSettings,
        PromptSettings, RolloutSettings, RunConfig, Template, TrainSettings, Truncated, VerifierSettings, read_config,
    },
    fault::FaultSettings,
    loss::LossSettings,
    optimizer::{Decay, OptimizerSettings, Schedule},
    sft::{DemonstrationSettings, FineTuning, SftConfig, SftMetrics, SftTrainSettings},
    shaping::Shaping,
};

/// Problems of a training step.
const PROMPTS_PER_STEP: usize = 16;
const GROUP_SIZE: usize = 16;
/// So few rows that what a layer keeps of them stays in a second-level cache, as do the keys and values of one group.
const MICRO_BATCH_TOKENS: usize = 256;
const HELD_OUT_PROBLEMS: usize = 600;
const DEMONSTRATIONS: usize = 8000;

/// Where a family's files are.
#[derive(Debug, Clone)]
pub struct TaskFiles {
    family: &'static Family,
    problems: PathBuf,
    starts: PathBuf,
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

impl TaskFiles {
    /// Files of `family`: problems and demonstrations in the directory `problems`; the start of seed 1 in the directory
    /// whose path is `starts` with `1` at its end.
    pub fn new(family: &'static Family, problems: PathBuf, starts: PathBuf) -> Self {
        Self { family, problems, starts }
    }

    /// Writes problems for `steps` steps of each seed, demonstrations of each seed, and held-out problems.
    ///
    /// A file that is there with the same bytes stays.
    ///
    /// # Errors
    /// [`RlError`] when a file is there with other bytes or cannot be written.
    pub fn write(&self, seeds: &[u64], steps: u64) -> Result<(), RlError> {
        write::create_directory(&self.problems)?;
        write_problems(&self.held_out(), &self.family.held_out_problems(HELD_OUT_PROBLEMS, 0))?;
        for &seed in seeds {
            write_problems(&self.problems(seed), &self.family.problems(steps as usize * PROMPTS_PER_STEP, seed))?;
            write_demonstrations(&self.demonstrations(seed), &self.family.demonstrations(DEMONSTRATIONS, seed))?;
        }
        Ok(())
    }

    /// Writes the config of `brevity train` to `path`, with `{seed}` in place of the seed, unless there is a file.
    ///
    /// # Errors
    /// [`RlError`] when the file cannot be written.
    pub fn write_train_config(&self, path: &Path, steps: u64) -> Result<(), RlError> {
        if path.exists() {
            return Ok(());
        }
        let name = self.family.name;
        let head =
            format!("# Training on the task `{name}`; {{seed}} in the paths stands for the seed of the run.\n\n");
        let text = head + &self.run_config("{seed}", steps).to_toml();
        Ok(write::replace(path, text.as_bytes())?)
    }

    /// Makes the start of `seed`: random parameters, then supervised fine-tuning on demonstrations of all plans. Its
    /// model is in [`TaskFiles::start_model`], and its log is returned. A start that is there already is kept.
    ///
    /// `watch` sees each step's metrics and says whether to go on; a start that it stops leaves nothing.
    ///
    /// # Errors
    /// [`RlError`] when a file cannot be read or written.
    pub fn start(&self, seed: u64, mut watch: impl FnMut(&SftMetrics) -> bool) -> Result<Vec<SftMetrics>, RlError> {
        let root = self.start_root(seed);
        write::end_removal(&root)?;
        let untrained = root.join("untrained");
        let config = self.start_config(seed, &untrained);
        // Steps of an earlier fine-tuning with the same settings; [`FineTuning`] refuses one with others.
        if read_config::<SftConfig>(&root.join("config.toml"), &[]).is_ok_and(|there| there == config) {
            let log = root.join("sft.jsonl");
            // None where a kill came before the first step.
            let log = if log.exists() { read_log(&log)? } else { Vec::new() };
            if log.len() as u64 == config.train.steps && self.start_model(seed).join("model.safetensors").exists() {
                return Ok(log);
            }
            write::remove_whole(&root)?;
        }
        self.family.write_untrained(&untrained, seed)?;
        let mut log = Vec::new();
        // So small a model needs no plan of memory.
        FineTuning::start(&config, (&untrained.clone().into(), &root), None)?.run(|metrics| {
            log.push(*metrics);
            watch(metrics)
        })?;
        if (log.len() as u64) < config.train.steps {
            write::remove_whole(&root)?;
        }
        Ok(log)
    }

    /// The model that runs of `seed` start from.
    pub fn start_model(&self, seed: impl Display) -> PathBuf {
        self.start_root(seed).join("model")
    }

    /// Config of a run of `steps` steps from the start of `seed`, to be completed by an arm.
    pub fn run_config(&self, seed: impl Display, steps: u64) -> RunConfig {
        let fields = ProblemFields { id: Some("id".into()), level: Some("level".into()), ..ProblemFields::default() };
        RunConfig {
            device: DeviceSetting::Auto,
            arm: None,
            seed: 0,
            threads: 1,
            compute: Some(ComputeType::F32),
            model: ModelSettings {
                path: self.start_model(&seed).display().to_string(),
                memory_bytes_max: 0,
                lora: None,
            },
            problems: ProblemSettings {
                path: self.problems(&seed),
                order: ProblemOrder::File,
                fields: fields.clone(),
                budget: None,
            },
            prompt: plain_prompt(),
            verifier: VerifierSettings { extraction: Extraction::Marker { marker: "A".into() } },
            rollout: RolloutSettings {
                prompts_per_step: PROMPTS_PER_STEP,
                group_size: GROUP_SIZE,
                completion_tokens_max: self.family.completion_tokens_max,
                temperature: 1.0,
                sequences_max: GROUP_SIZE,
                cache_bytes_max: 0,
            },
            train: TrainSettings {
                steps,
                passes: 1,
                micro_batch_tokens: MICRO_BATCH_TOKENS,
                truncated: Truncated::Wrong,
                advantage: AdvantageScale::GroupStd,
                dynamic_sampling: None,
                costs: BTreeMap::new(),
                shaping: Shaping::Grpo {},
                loss: LossSettings::default(),
                optimizer: OptimizerSettings { learning_rate: 5e-4, beta2: 0.95, ..OptimizerSettings::default() },
                schedule: Schedule::default(),
                faults: FaultSettings::default(),
                warning: None,
            },
            evaluation: Some(EvaluationConfig {
                every_steps: 10,
                path: self.held_out(),
                name: Some(format!("{}-held-out", self.family.name)),
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
            device: DeviceSetting::Auto,
            seed,
            threads: 1,
            compute: Some(ComputeType::F32),
            model: ModelSettings { path: untrained.display().to_string(), memory_bytes_max: 0, lora: None },
            demonstrations: DemonstrationSettings {
                path: self.demonstrations(seed),
                fields: DemonstrationFields::default(),
            },
            prompt: plain_prompt(),
            train: SftTrainSettings {
                steps: self.family.start_steps,
                batch_size: 64,
                micro_batch_tokens: MICRO_BATCH_TOKENS,
                optimizer: OptimizerSettings { learning_rate: 4e-3, beta2: 0.98, ..OptimizerSettings::default() },
                schedule: Schedule { warmup_steps: 20, decay: Decay::Cosine },
            },
        }
    }

    fn held_out(&self) -> PathBuf {
        self.problems.join("held-out.jsonl")
    }

    fn problems(&self, seed: impl Display) -> PathBuf {
        self.problems.join(format!("problems-seed{seed}.jsonl"))
    }

    fn demonstrations(&self, seed: u64) -> PathBuf {
        self.problems.join(format!("demonstrations-seed{seed}.jsonl"))
    }

    fn start_root(&self, seed: impl Display) -> PathBuf {
        let mut path = self.starts.clone().into_os_string();
        path.push(seed.to_string());
        path.into()
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
    write_or_agree(path, &write::json_lines(&rows))
}

fn write_demonstrations(path: &Path, demonstrations: &[Demonstration]) -> Result<(), RlError> {
    let rows: Vec<DemonstrationRow<'_>> = demonstrations
        .iter()
        .map(|demonstration| DemonstrationRow { prompt: &demonstration.prompt, completion: &demonstration.completion })
        .collect();
    write_or_agree(path, &write::json_lines(&rows))
}

/// Writes `bytes`, unless the file holds them; other bytes are refused.
fn write_or_agree(path: &Path, bytes: &[u8]) -> Result<(), RlError> {
    match read::bytes(path) {
        Ok(there) if there == bytes => Ok(()),
        Ok(_) => {
            let message = "holds something else than this task; choose another directory with --out".into();
            Err(RlError::File { path: path.into(), message })
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(write::replace(path, bytes)?),
        Err(source) => Err(RlError::Io { action: "read", path: path.into(), source }),
    }
}

fn read_log(path: &Path) -> Result<Vec<SftMetrics>, RlError> {
    let failed = |source| RlError::Io { action: "read", path: path.into(), source };
    let text = read::text(path).map_err(failed)?;
    // A line that a crash tore makes the log shorter, and so the start incomplete.
    Ok(text.lines().map_while(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests;
