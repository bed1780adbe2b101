//! `brevity train`: a config to a run directory, or a run directory to its end. The training itself is `rl`'s.

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use model::{ModelError, ModelPlace, cuda::Unusable};
use record::{Decline, FaultOutcome, FaultRecord, RecordError, StepMetrics, shell_word};
use rl::{
    RlError,
    config::{DeviceSetting, RunConfig, read_config},
    device,
    estimate::limit_bytes,
    inputs::other_surroundings,
    trainer::{Ending, Event, Provenance, Surroundings, Trainer},
    warning::{Warning, WarningOutcome},
};

use crate::{
    Outcome,
    console::Console,
    hub, machine, plan,
    progress::{CompletionBar, Progress, StepBar},
    table::{aligned, counted, labelled, percent},
};

const EXAMPLES: &str = "\
Examples:
  brevity train configs/gsm8k-smollm2.toml
  brevity train configs/gsm8k-smollm2.toml --seed 1 --set train.steps=50
  brevity train configs/gsm8k-smollm2.toml --set model.path=Qwen/Qwen3-0.6B --check
  brevity train --resume runs/top-lambda-0.2-seed1

Every setting of a config is described in docs/config.md.
Ctrl-C finishes the present step, writes a checkpoint and says how to go on; a second one ends at once.";

/// Train a policy as a config says, and leave a run directory.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Arguments {
    /// Config of the run; with `--resume` also the run directory to go on with.
    #[arg(value_name = "CONFIG")]
    path: PathBuf,
    /// Run directory, new or empty; `runs/ARM-seedSEED` unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Change a setting of the config, as in `--set train.optimizer.learning_rate=2e-6`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Seed of every random stream, in place of the config's.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Check the config and its ranges, and stop; needs neither model nor problems.
    #[arg(long, conflicts_with = "resume")]
    check: bool,
    /// Where the model computes, in place of the config's device: auto, cpu, or cuda:N for card N; see `brevity devices`.
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceSetting>,
    /// Go on from the newest checkpoint of a run that was interrupted.
    #[arg(long)]
    resume: bool,
    /// Where the newest checkpoint is damaged, go on from the one before.
    #[arg(long, requires = "resume")]
    fallback: bool,
}

/// What is to be run, and where.
struct Plan {
    config: RunConfig,
    root: PathBuf,
    start: Start,
}

/// From where the run goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The beginning.
    New,
    /// Its newest checkpoint.
    Resume,
    /// Its newest checkpoint that is whole.
    FallBack,
}

/// Runs `brevity train`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let plan = plan(arguments)?;
    plan.config.check()?;
    if arguments.check {
        let path = arguments.path.display();
        console.result(format!("{path}: OK ({})", described(&plan.config)))?;
        return Ok(Outcome::Done);
    }
    let model = hub::model_place(&plan.config.model.path, console)?;
    let root = plan.root.clone();
    let pool = machine::thread_pool(plan.config.threads)?;
    machine::with_card(|| pool.install(|| train(plan, &model, console))).map_err(|error| with_way_on(error, &root))
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    let Arguments { path, out, overrides, seed, device, resume, fallback, .. } = arguments;
    let start = match (resume, fallback) {
        (false, _) => Start::New,
        (true, false) => Start::Resume,
        (true, true) => Start::FallBack,
    };
    let shown = path.display();
    if *resume && path.try_exists().is_ok_and(|exists| !exists) {
        bail!(
            "there is neither a run nor a config at `{shown}`; give the directory of a run, or the config it began with"
        );
    }
    if !path.is_dir() {
        let mut config: RunConfig = read_config(path, overrides)?;
        config.device = device.unwrap_or(config.device);
        config.compute = Some(device::compute(config.device, config.compute).into());
        let seed = seed.unwrap_or(config.seed);
        let config = config.for_seed(seed);
        let default = || Path::new("runs").join(config.directory_name());
        let root = out.clone().unwrap_or_else(default);
        if *resume {
            refuse_other_config(&config, path, &root)?;
        }
        return Ok(Plan { config, root, start });
    }
    if !resume {
        bail!(
            "`{shown}` is a directory, not a config; give a config file, or add --resume to go on with the run in it"
        );
    }
    if !overrides.is_empty() || seed.is_some() || device.is_some() || out.is_some() {
        bail!("a run goes on as it was started; leave out --set, --seed, --device and --out, or start a new run");
    }
    refuse_missing_run(path)?;
    Ok(Plan { config: read_config(&path.join("config.toml"), &[])?, root: path.clone(), start })
}

fn refuse_missing_run(root: &Path) -> Result<()> {
    if root.join("run.json").is_file() {
        return Ok(());
    }
    machine::refuse_hidden(&root.join("run.json"))?;
    bail!("there is no run in `{}`; give the directory of a run, or leave out --resume to start one", root.display())
}

fn refuse_other_config(config: &RunConfig, path: &Path, root: &Path) -> Result<()> {
    refuse_missing_run(root)?;
    let recorded = root.join("config.toml");
    let recorded = record::read::text(&recorded).with_context(|| format!("cannot read {}", recorded.display()))?;
    let Some([asked, recorded]) = config.first_difference(&recorded) else { return Ok(()) };
    bail!(
        "{} asks for {asked} where the run in {} has {recorded}; run `brevity train --resume {}` to go on as it was started",
        path.display(),
        root.display(),
        shell_word(root)
    )
}

fn train(plan: Plan, model: &ModelPlace, console: &Console) -> Result<Outcome> {
    let Plan { config, root, start } = plan;
    machine::warn_of_card(config.device, console);
    let provenance = Provenance {
        brevity_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_seconds: machine::unix_seconds(),
        resources: machine::resources(config.device, machine::memory_bytes_available())?,
    };
    let resources = provenance.resources.clone();
    // Before the run takes its part.
    let free_bytes = machine::free_bytes(config.device, &resources);
    let resolved = |_: &str| Ok(model.clone());
    let mut trainer = match start {
        Start::New => Trainer::start(config, model, &root, &provenance)?,
        Start::Resume => Trainer::resume(&root, resolved, resources)?,
        Start::FallBack => Trainer::resume_or_fall_back(&root, resolved, resources)?,
    };
    for damaged in trainer.passed_over() {
        console.warning(format!("passed over a checkpoint: {damaged}"));
    }
    for other in other_surroundings(&trainer.run_directory().header()?, &provenance.brevity_version) {
        console.warning(other);
    }
    describe(&trainer, free_bytes, console)?;
    let progress = Progress::new(console);
    let told = progress.clone();
    machine::watch_for_stop(move || {
        told.line("stopping after this step, with a checkpoint; press Ctrl-C again to end at once");
    })?;
    match run_watched(&mut trainer, progress)? {
        Ending::Finished(trained) => {
            summarise(&trainer, &trained, console)?;
            Ok(Outcome::Done)
        }
        Ending::Interrupted { step } => {
            let steps = trainer.config().train.steps;
            console.note(format!("stopped after {step} of {}; go on with", counted(steps as usize, "step")));
            console.result(format!("brevity train --resume {}", shell_word(&root)))?;
            Ok(Outcome::Interrupted)
        }
        Ending::Warned { step } => {
            let steps = counted(trainer.config().train.steps as usize, "step");
            console.warning(format!("stopped after {step} of {steps} because of the risk of a collapse"));
            console
                .note("go on all the same with the command below, or start another run with less pressure on length");
            console.result(format!("brevity train --resume {}", shell_word(&root)))?;
            Ok(Outcome::Warned)
        }
    }
}

/// Runs `trainer` to its end, or to the step at which [`machine::stop_requested`], and shows how it goes.
pub(crate) fn run_watched(trainer: &mut Trainer, progress: Progress) -> Result<Ending> {
    let mut view = RunView::new(trainer, progress);
    Ok(trainer.run(&mut Surroundings {
        clock: &machine::clock(),
        interrupted: &machine::stop_requested,
        watch: &mut |event| view.show(&event),
    })?)
}

/// What stopped a run from outside, with what to do once that is mended.
#[derive(Debug)]
struct Stopped {
    cause: anyhow::Error,
    remedy: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.cause, self.remedy)
    }
}

impl Error for Stopped {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.source()
    }
}

/// Adds the command that goes on with the run in `root` to a failure of the file system, which leaves its last checkpoint.
fn with_way_on(cause: anyhow::Error, root: &Path) -> anyhow::Error {
    let is_outside = matches!(
        cause.downcast_ref(),
        Some(RlError::Io { .. } | RlError::Record(RecordError::Io { .. }) | RlError::Model(ModelError::Io { .. }))
    );
    let is_outside = is_outside || cause.is::<Unusable>();
    if !is_outside || !root.join("run.json").is_file() {
        return cause;
    }
    let remedy = format!("mend the cause and go on with `brevity train --resume {}`", shell_word(root));
    Stopped { cause, remedy }.into()
}

/// `arm grpo, seed 0, 200 steps of 8 problems × 8 completions`.
fn described(config: &RunConfig) -> String {
    let rollout = &config.rollout;
    format!(
        "arm {}, seed {}, {} of {} × {}",
        config.arm(),
        config.seed,
        counted(config.train.steps as usize, "step"),
        counted(rollout.prompts_per_step, "problem"),
        counted(rollout.group_size, "completion"),
    )
}

fn describe(trainer: &Trainer, free_bytes: Option<u64>, console: &Console) -> Result<()> {
    let config = trainer.config();
    let header = trainer.run_directory().header()?;
    let millions = header.parameters as f64 / 1e6;
    let mut rows = vec![
        ("run", described(config)),
        ("policy", format!("{}, {millions:.2} million parameters", config.model.path)),
        // Where the run goes on, which the header does not know.
        ("machine", machine::described()),
        ("memory", plan::described(trainer.plan(), limit_bytes(&config.model, free_bytes), trainer.layers())),
        ("directory", trainer.run_directory().root().display().to_string()),
    ];
    if trainer.step() > 0 {
        rows.push(("resumed", format!("after {}", counted(trainer.step() as usize, "step"))));
    }
    for line in labelled(&rows) {
        console.note(line);
    }
    Ok(())
}

/// What someone sees of a run that is under way.
struct RunView {
    progress: Progress,
    done: u64,
    steps: u64,
    step_bar: Option<StepBar>,
    completion_bar: Option<CompletionBar>,
}

impl RunView {
    fn new(trainer: &Trainer, progress: Progress) -> Self {
        let (done, steps) = (trainer.step(), trainer.config().train.steps);
        Self { progress, done, steps, step_bar: None, completion_bar: None }
    }

    fn show(&mut self, event: &Event<'_>) {
        match event {
            &Event::StepBegan { step, completions } => {
                let bar = self.step_bar.get_or_insert_with(|| self.progress.steps(self.done, self.steps));
                bar.stand_at(step);
                self.completion_bar = Some(self.progress.completions("sampling", (0, completions)));
            }
            &Event::EvaluationBegan { completions } => {
                self.completion_bar = Some(self.progress.completions("evaluating", (0, completions)));
            }
            &Event::CompletionEnded { tokens } => {
                if let Some(bar) = &mut self.completion_bar {
                    bar.completion_ended(tokens);
                }
            }
            Event::StepEnded(metrics) => {
                self.completion_bar = None;
                if let Some(bar) = &self.step_bar {
                    bar.step_ended(metrics.step + 1, numbers(metrics));
                }
            }
            Event::EvaluationEnded(summary) => {
                self.completion_bar = None;
                self.progress.line(&format!(
                    "after {}: {} accuracy {} ± {:.1}, tokens {:.1}{}",
                    counted(summary.step as usize, "step"),
                    summary.benchmark,
                    percent(summary.accuracy),
                    summary.accuracy_error * 100.0,
                    summary.completion_tokens,
                    collapse_said(summary.decline.as_ref()).map_or_else(String::new, |said| format!("; {said}"))
                ));
            }
            Event::CheckpointWritten(path) => self.progress.line(&format!("checkpoint {}", path.display())),
            Event::FaultSettled(fault) => {
                self.completion_bar = None;
                self.progress.line(&settled(fault));
                if let (Some(bar), FaultOutcome::Skipped) = (&self.step_bar, fault.outcome) {
                    bar.stand_at(fault.step + 1);
                }
            }
            Event::Warned(warning) => self.progress.line(&warning_said(warning)),
        }
    }
}

/// `collapsed: 21.3 points, 6.2 tokens below step 20`; nothing of an evaluation within the bounds.
pub(crate) fn collapse_said(decline: Option<&Decline>) -> Option<String> {
    let decline = decline.filter(|decline| decline.collapsed)?;
    let (points, tokens) = (decline.accuracy_fall * 100.0, decline.completion_tokens_fall);
    Some(format!("collapsed: {points:.1} points, {tokens:.1} tokens below step {}", decline.best_step))
}

/// `step 3: the loss is NaN, from 2 rollouts; the step is skipped`.
pub(crate) fn settled(fault: &FaultRecord) -> String {
    let FaultRecord { step, quantity, value, rollouts, outcome, .. } = fault;
    let done = match outcome {
        FaultOutcome::Stopped => "the run stops",
        FaultOutcome::Skipped => "the step is skipped",
        FaultOutcome::Returned => "the run goes back to its last checkpoint",
    };
    format!("step {step}: the {quantity} is {value}, from {}; {done}", counted(rollouts.len(), "rollout"))
}

/// `step 12: the risk of a collapse is 41.2 %; the run stops`.
pub(crate) fn warning_said(warning: &Warning) -> String {
    let done = match warning.outcome {
        WarningOutcome::Said => String::new(),
        WarningOutcome::Stopped => "; the run stops".to_owned(),
        WarningOutcome::LambdaLowered { factor } => format!("; λ is multiplied by {factor} from now on"),
        WarningOutcome::Returned { step } => {
            format!("; the run goes back to where it was after {}", counted(step as usize, "step"))
        }
    };
    format!("step {}: the risk of a collapse is {}{done}", warning.step, percent(warning.risk))
}

fn numbers(metrics: &StepMetrics) -> String {
    format!(
        "accuracy {}, tokens {:.1}, entropy {:.2}, selected {:.0} %, {:.1} s",
        percent(metrics.correctness_ratio),
        metrics.completion_tokens.mean,
        metrics.entropy_nats,
        metrics.selection.share * 100.0,
        metrics.seconds.total
    )
}

/// Accuracy and length at the start and at the end, and where everything is.
fn summarise(trainer: &Trainer, trained: &Path, console: &Console) -> Result<()> {
    let run = trainer.run_directory();
    let root = run.root();
    let evaluations = run.evaluations()?;
    let metrics = run.metrics()?;
    let accuracy = |share: f64, error: f64| format!("{} ± {:.1}", percent(share), error * 100.0);
    let (source, first, last) = match (evaluations.first(), evaluations.last(), metrics.first(), metrics.last()) {
        (Some(first), Some(last), ..) => (
            format!("{} ({})", last.benchmark, counted(last.problems as usize, "problem")),
            (accuracy(first.accuracy, first.accuracy_error), first.completion_tokens),
            (accuracy(last.accuracy, last.accuracy_error), last.completion_tokens),
        ),
        (_, _, Some(first), Some(last)) => (
            "rollouts of one step".to_owned(),
            (percent(first.correctness_ratio), first.completion_tokens.mean),
            (percent(last.correctness_ratio), last.completion_tokens.mean),
        ),
        _ => return console.result(format!("nothing to train; the policy is in {}", trained.display())),
    };
    let rows = [
        vec![source, "first".to_owned(), "last".to_owned()],
        vec!["accuracy".to_owned(), first.0, last.0],
        vec!["completion tokens".to_owned(), format!("{:.1}", first.1), format!("{:.1}", last.1)],
    ];
    aligned(&rows).into_iter().try_for_each(|line| console.result(line))?;
    if let Some(step) = evaluations.last().and_then(|last| last.decline?.collapse_step) {
        console.warning(format!("the run collapsed: at step {step} its accuracy had fallen away with its length"));
    }
    console.result("")?;
    let report = PathBuf::from(format!("{}.html", root.display()));
    let paths = [
        ("run", root.display().to_string()),
        ("model", trained.display().to_string()),
        ("report", format!("brevity report {} -o {}", shell_word(root), shell_word(&report))),
    ];
    labelled(&paths).into_iter().try_for_each(|line| console.result(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collapse_is_said_with_its_falls_and_the_step_of_the_best() {
        let within = Decline {
            best_step: 20,
            accuracy_fall: 0.2134,
            accuracy_fall_error: 0.02,
            completion_tokens_fall: 6.25,
            completion_tokens_fall_error: 0.2,
            collapsed: false,
            collapse_step: Some(40),
        };
        assert_eq!([collapse_said(None), collapse_said(Some(&within))], [None, None]);
        let beyond = Decline { collapsed: true, ..within };
        let said = "collapsed: 21.3 points, 6.2 tokens below step 20";
        assert_eq!(collapse_said(Some(&beyond)).as_deref(), Some(said));
    }
}
