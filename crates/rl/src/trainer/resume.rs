//! A run that goes on: from its newest checkpoint, after a crash or after a fault.

use std::path::Path;

use model::{ModelDirectory, ModelPlace};
use record::{RunDirectory, RunLock};

use super::{
    Surroundings, Trainer,
    setup::{Setup, refuse_what_cannot_fit},
};
use crate::{
    RlError,
    checkpoint::{self, Damage, Progress},
    collapse::CollapseWatch,
    config::RunConfig,
    device::{self, Place, Resources},
    inputs::Inputs,
    lora,
    optimizer::Optimizer,
    problem_queue::ProblemQueue,
    recorded::Recorded,
    retention,
    warning::RiskWatch,
};

impl Trainer {
    /// Continues the run in `root` from its newest checkpoint, dropping what was recorded after it; `resolve` finds the
    /// model that it started from, and it may take `resources`. A run that was cut short before
    /// its first checkpoint begins again.
    ///
    /// # Errors
    /// [`RlError`] as [`Trainer::start`]; when a file that decides numbers is not what it was; when the checkpoint is not
    /// as it was written; or when there is none, and more to lose than what comes before the first.
    pub fn resume(
        root: &Path,
        resolve: impl Fn(&str) -> Result<ModelPlace, RlError>,
        resources: impl Into<Resources>,
    ) -> Result<Self, RlError> {
        Self::go_on(root, resolve, &resources.into(), Damage::Refuse)
    }

    /// As [`Trainer::resume`], from the newest checkpoint that is as it was written; see [`Trainer::passed_over`].
    ///
    /// # Errors
    /// As [`Trainer::resume`].
    pub fn resume_or_fall_back(
        root: &Path,
        resolve: impl Fn(&str) -> Result<ModelPlace, RlError>,
        resources: impl Into<Resources>,
    ) -> Result<Self, RlError> {
        Self::go_on(root, resolve, &resources.into(), Damage::FallBack)
    }

    fn go_on(
        root: &Path,
        resolve: impl Fn(&str) -> Result<ModelPlace, RlError>,
        resources: &Resources,
        damage: Damage,
    ) -> Result<Self, RlError> {
        let run = RunDirectory::open(root)?;
        let owner = RunLock::last_owner(root);
        let lock = RunLock::take(root)?;
        let config: RunConfig = crate::config::read_config(&root.join("config.toml"), &[])?;
        config.check()?;
        if !run.checkpoints().is_dir() || checkpoint::steps(&run)?.is_empty() {
            Recorded::of(&run, &config)?.refuse_to_begin_again(&run, &config, owner)?;
        }
        let compute = device::compute(config.device, config.compute);
        let place = Place::new(config.device, compute, resources)?;
        let model = resolve(&config.model.path)?;
        Inputs::new(&config, &model)?.refuse_changed(root, &run.header()?)?;
        refuse_what_cannot_fit(&config, &model, &place)?;
        let source = lora::open(&config.model, config.seed, &model, compute)?;
        let mut setup = Setup::new(config, model, source, &place)?;
        let (config, source) = (&setup.config, &mut setup.source);
        let has_reference = config.train.loss.kl_weight > 0.0;
        if !has_reference && !checkpoint::steps(&run)?.is_empty() {
            source.model.release();
        }
        let (restored, passed_over) = checkpoint::load_newest(&run, &source.model, damage)?;
        let shaping = &config.train.shaping;
        let (reference, optimizer, progress) = if let Some(restored) = restored {
            let start = std::mem::replace(&mut source.model, restored.model);
            (has_reference.then(|| start.into_reference()), restored.optimizer, restored.progress)
        } else {
            let reference = has_reference.then(|| source.model.reference());
            (reference, Optimizer::new(&source.model), Progress::start(shaping))
        };
        if !shaping.accepts(&progress.shaper) {
            let message = format!("its checkpoint is not one of the shaper `{}`", shaping.name());
            return Err(RlError::File { path: root.into(), message });
        }
        run.rewind_faults(progress.step, progress.detours)?;
        run.rewind(progress.step)?;
        checkpoint::forget_after(&run, progress.step)?;
        // A crash between the newest checkpoint and the removal of older ones left more than are kept.
        retention::prune(&run, &setup.config.checkpoint)?;
        let trainer = setup.trainer((run, lock), (optimizer, reference), progress)?;
        Ok(Self { passed_over, ..trainer })
    }

    /// What was wrong with newer checkpoints than the one that the run goes on from.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// Goes back to the checkpoint after `step` steps, or to the start where that is 0, with other random numbers from
    /// there. Later checkpoints are removed.
    pub(super) fn take_detour(&mut self, step: u64, surroundings: &mut Surroundings<'_>) -> Result<(), RlError> {
        // Parameters and moments make room before those of the checkpoint are read.
        self.source.model.release();
        self.updater.optimizer = Optimizer::default();
        let restored = checkpoint::load_at(&self.run, step, &self.source.model)?;
        // Only now: one that is damaged must not be all that is left.
        checkpoint::forget_after(&self.run, step)?;
        let progress = if let Some(restored) = restored {
            self.source.model = restored.model;
            self.updater.optimizer = restored.optimizer;
            restored.progress
        } else {
            let compute = self.source.model.compute();
            let adapter =
                lora::start(&self.config.model, self.config.seed, &self.start, (self.source.model.config(), compute))?;
            self.source.model = if let Some(adapter) = adapter {
                self.source.model.clone().with_adapter(adapter)
            } else {
                let start = ModelDirectory::open(&self.start.base, compute)?.model;
                device::beside(start, &self.source.model)?
            };
            self.updater.optimizer = Optimizer::new(&self.source.model);
            Progress::start(&self.config.train.shaping)
        };
        (self.step, self.shaper) = (progress.step, progress.shaper);
        let (order, seed) = (self.config.problems.order, self.config.seed);
        self.queue = ProblemQueue::new(order, seed, self.prompts.len(), progress.problems_taken);
        self.detours += 1;
        self.run.rewind(self.step)?;
        self.collapse = CollapseWatch::of_run(&self.run)?;
        self.risk = RiskWatch::of_run(&self.config.train, &self.run)?;
        if self.step == 0 { self.evaluate(surroundings) } else { Ok(()) }
    }
}
