//! The demonstration: the embedded task trained from nothing under several shapers, from the same starts.
//!
//! It prepares files and configs and runs what `sft` and `train` run; whoever calls it decides on threads and shows
//! progress.

use std::path::{Path, PathBuf};

use crate::{
    RlError,
    config::RunConfig,
    sft::SftMetrics,
    shaping::{LengthPenalty, Shaping, TopLambda, Which},
    sweep::SweepRun,
    task::{RING, TaskFiles},
};

/// Seeds of the demonstration. Each has a start of its own, which its arms share.
pub const SEEDS: [u64; 3] = [1, 2, 3];
/// Optimizer steps of the supervised start.
pub const START_STEPS: u64 = RING.start_steps;
/// Optimizer steps of each run.
pub const STEPS: u64 = 80;

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
    files: TaskFiles,
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
        let files = TaskFiles::new(&RING, root.join("task"), root.join("start").join("seed"));
        files.write(&SEEDS, STEPS)?;
        Ok(Self { root: root.to_owned(), files })
    }

    /// Every run, in the order of the arms.
    pub fn runs(&self) -> Vec<SweepRun> {
        let of_arm = |(arm, shaping): (&str, Shaping)| SEEDS.map(|seed| self.run_config(arm, shaping.clone(), seed));
        let root = self.root.join("runs");
        arms().into_iter().flat_map(of_arm).map(|config| SweepRun::new(config, &root)).collect()
    }

    /// The model that every arm of `seed` starts from; made by [`Demo::start`].
    pub fn start_model(&self, seed: u64) -> PathBuf {
        self.files.start_model(seed)
    }

    /// Makes the start of `seed`: random parameters, then supervised fine-tuning on demonstrations of all four plans.
    ///
    /// # Errors
    /// [`RlError`] when a file cannot be written.
    pub fn start(&self, seed: u64, watch: impl FnMut(&SftMetrics) -> bool) -> Result<(), RlError> {
        self.files.start(seed, watch).map(drop)
    }

    /// Config of an arm and seed; `brevity train` on it repeats the run.
    pub fn run_config(&self, arm: &str, shaping: Shaping, seed: u64) -> RunConfig {
        let mut config = RunConfig { arm: Some(arm.to_owned()), seed, ..self.files.run_config(seed, STEPS) };
        config.train.shaping = shaping;
        config
    }
}
