//! `brevity sft`: supervised fine-tuning on prompt and completion pairs. The training itself is `rl`'s.

use std::path::{Path, PathBuf};

use anyhow::Result;
use model::ModelPlace;
use rl::{
    config::read_config,
    sft::{FineTuning, SftConfig},
};

use crate::{
    Outcome,
    console::Console,
    hub, machine, plan,
    progress::Progress,
    table::{counted, labelled},
};

const EXAMPLES: &str = "\
Examples:
  brevity sft configs/sft.toml --out runs/sft
  brevity sft configs/sft.toml --set train.steps=100 --set model.path=Qwen/Qwen3-0.6B

A demonstration is a row with a `prompt` and a `completion`; other field names are mapped in [demonstrations.fields].
Ctrl-C finishes the present step and writes the model as it is.";

/// Fine-tune a model on demonstrations, and leave it with a log.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Config of the fine-tuning.
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
    /// Directory for the model and the log, without an earlier fine-tuning; `runs/sft-seedSEED` unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Change a setting of the config, as in `--set train.steps=100`; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Check the config and its ranges, and stop; needs neither model nor demonstrations.
    #[arg(long)]
    check: bool,
}

/// Runs `brevity sft`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let config: SftConfig = read_config(&arguments.config, &arguments.overrides)?;
    config.check()?;
    if arguments.check {
        console.result(format!("{}: OK", arguments.config.display()))?;
        return Ok(Outcome::Done);
    }
    let model = hub::model_place(&config.model.path, console)?;
    let default = || Path::new("runs").join(format!("sft-seed{}", config.seed));
    let root = arguments.out.clone().unwrap_or_else(default);
    let pool = machine::thread_pool(config.threads)?;
    machine::with_card(|| pool.install(|| train(&config, &model, &root, console)))
}

fn train(config: &SftConfig, model: &ModelPlace, root: &Path, console: &Console) -> Result<Outcome> {
    machine::warn_of_card(config.device, console);
    let tuning = FineTuning::start(
        config,
        (model, root),
        machine::resources(config.device, machine::memory_bytes_available())?,
    )?;
    describe(&tuning, (config, root), console);
    let progress = Progress::new(console);
    let told = progress.clone();
    machine::watch_for_stop(move || told.line("stopping after this step; press Ctrl-C again to end at once"))?;
    let bar = progress.steps(0, config.train.steps);
    let mut first_and_last: Option<(f64, f64)> = None;
    let mut done = 0;
    let trained = tuning.run(|metrics| {
        let first = first_and_last.map_or(metrics.loss_nats, |(first, _)| first);
        first_and_last = Some((first, metrics.loss_nats));
        done = metrics.step as usize + 1;
        let numbers = format!("loss {:.4} nats, gradient norm {:.2}", metrics.loss_nats, metrics.gradient_norm);
        bar.step_ended(metrics.step + 1, numbers);
        !machine::stop_requested()
    });
    drop(bar);
    let trained = trained?;
    let loss = first_and_last.map_or_else(String::new, |(first, last)| format!("{first:.4} → {last:.4} nats"));
    let rows = [
        ("steps", counted(done, "step")),
        ("loss", loss),
        ("model", trained.display().to_string()),
        ("log", root.join("sft.jsonl").display().to_string()),
    ];
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))?;
    Ok(if (done as u64) < config.train.steps { Outcome::Interrupted } else { Outcome::Done })
}

fn describe(tuning: &FineTuning<'_>, (config, root): (&SftConfig, &Path), console: &Console) {
    let (steps, batch) = (counted(config.train.steps as usize, "step"), config.train.batch_size);
    let demonstrations = counted(tuning.demonstrations(), "demonstration");
    let model = tuning.model();
    let millions = model.parameter_count() as f64 / 1e6;
    let memory = plan::described(&tuning.plan(), tuning.limit_bytes(), model.config().layers);
    let rows = [
        ("fine-tuning", format!("seed {}, {steps} of {batch} out of {demonstrations}", config.seed)),
        ("model", format!("{}, {millions:.2} million parameters", config.model.path)),
        ("machine", machine::described()),
        ("memory", memory),
        ("directory", root.display().to_string()),
    ];
    for line in labelled(&rows) {
        console.note(line);
    }
}
