//! `brevity eval`: a model on a benchmark, every completion kept. Sampling, verifying and statistics are `rl`'s.

mod compare;
mod measure;
mod page;
mod remote;
mod resume;
mod show;

use std::{
    collections::BTreeMap,
    path::{Component, Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use record::{EvaluationDirectory, RunLock, write};
use rl::{
    Benchmark, NamedBenchmark, ProblemFields,
    device::{self, DeviceSetting, Place},
};
use serde_json::Value;
use verify::Extraction;

use self::{remote::Remote, resume::Existing};
use crate::{
    Outcome,
    console::Console,
    engine::EngineArguments,
    hub, machine,
    options::{ComputeOption, TemplateOption, extraction, nucleus_mass, positive, temperature, variable},
};

const EXAMPLES: &str = "\
Examples:
  brevity eval --model Qwen/Qwen3-0.6B --benchmark math500
  brevity eval --model runs/grpo-seed0/model --benchmark gsm8k --data data --limit 200
  brevity eval --model models/tiny --benchmark mine.jsonl --template plain --instruction \"\"
  brevity eval --model Qwen/Qwen3-0.6B --benchmark gpqa-diamond --data gpqa_diamond.csv
  brevity eval --engine http://127.0.0.1:8000/v1 --model Qwen/Qwen3-0.6B --benchmark math500
  brevity eval compare evals/before-gsm8k-seed0 evals/after-gsm8k-seed0
  brevity eval page evals/after-gsm8k-seed0

Benchmarks known by name:
  aime24        30 problems of the 2024 AIME, mean of 16 completions
  amc23         40 problems of the 2023 AMC 12, mean of 16 completions
  gpqa-diamond  198 multiple-choice questions, mean of 4; the file is yours to get
  gsm8k         1,319 grade-school word problems
  math500       500 competition problems by level
  svamp         arithmetic word problems with a twist
Each is read from --data where that is given, otherwise downloaded from the Hugging Face hub and kept.
Instruction, extraction, samples, temperature, top-p and token limit are the field's practice unless given.
All of them are printed with the result, so that a number is never without its settings.
Models evaluated under one seed are compared on common random numbers.";

/// Measure a model's accuracy and completion length on a benchmark, or compare two measurements.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Option<MeasureArguments>,
    #[command(flatten)]
    engine: EngineArguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(compare::Arguments),
    Page(page::Arguments),
}

/// What to do with problems that cannot be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Unusable {
    /// Name and count them, and measure the others.
    LeaveOut,
    /// Measure nothing.
    Refuse,
}

/// Heading of the options that map the fields of a problem file.
const FIELDS: &str = "Fields of a problem file";

/// What is measured and how. All options are its own: clap finds out by them whether something is to be measured.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct MeasureArguments {
    /// Directory of a model or an adapter, or a hub name such as `Qwen/Qwen3-0.6B`.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// Benchmark by name, or a problem file that ends in `.jsonl`, `.json` or `.parquet`.
    #[arg(long, value_name = "NAME|FILE")]
    benchmark: String,
    /// File of the benchmark, or the directory that holds benchmarks as NAME/test.jsonl or NAME/test.parquet.
    #[arg(long = "data", value_name = "FILE|DIR")]
    benchmarks: Option<PathBuf>,
    /// Only the first N problems of the file.
    #[arg(long, value_name = "N", value_parser = positive)]
    limit: Option<usize>,
    /// Completions per problem, whose mean counts; the benchmark's number unless given.
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1 << 16))]
    samples: Option<u32>,
    /// Sampling temperature, 0 for the most likely token; the benchmark's unless given.
    #[arg(long, value_name = "T", value_parser = temperature)]
    temperature: Option<f64>,
    /// Keep the fewest most likely tokens whose probabilities add up to P, 1 for all; the benchmark's unless given.
    #[arg(long, value_name = "P", value_parser = nucleus_mass)]
    top_p: Option<f64>,
    /// Keep only the K most likely tokens; 0 keeps all, and leaves it to a server.
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Token limit of a completion, wrong where reached; the benchmark's unless given.
    #[arg(long, value_name = "N", value_parser = positive)]
    max_tokens: Option<usize>,
    /// Seed of the sampling.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Whether the model's chat template is used.
    #[arg(long, value_enum, default_value_t = TemplateOption::Chat)]
    template: TemplateOption,
    /// System message of the chat template; none when empty.
    #[arg(long, value_name = "TEXT", default_value = "")]
    system: String,
    /// A variable of the chat template, its value JSON or else text, as in `--variable enable_thinking=false`; `date` is the
    /// day that a template is told. May be repeated.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, Value)>,
    /// Added to every question on a line of its own, nothing when empty; the benchmark's unless given.
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
    /// How the answer is found: `auto` (a box, `####`, the last formula or number), or `marker:WORD` for what follows WORD; the
    /// benchmark's unless given.
    #[arg(long, value_name = "HOW", value_parser = extraction)]
    extraction: Option<Extraction>,
    /// What to do with problems that cannot be measured: rows and gold answers that cannot be read, prompts too long.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Unusable::LeaveOut)]
    unusable: Unusable,
    /// Seed of the order of multiple-choice options; it is part of the prompts, so keep it to compare.
    #[arg(long, value_name = "N", default_value_t = 0)]
    choices_seed: u64,
    /// Directory for the numbers, the completions and the page; `evals/MODEL-BENCHMARK-seedSEED` unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace an evaluation that is in the directory.
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Go on with an evaluation in the directory that was interrupted; its settings must be the same.
    #[arg(long)]
    resume: bool,
    /// Completions computed together; more is faster and takes more memory; 64 unless given.
    #[arg(long, value_name = "N", value_parser = positive)]
    sequences: Option<usize>,
    /// Threads; all cores unless given, or 0. No number depends on it.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// What matrix products compute with; the fastest that the CPU has unless given, bf16 on a card.
    #[arg(long, value_enum, value_name = "TYPE")]
    compute: Option<ComputeOption>,
    /// Where the model computes: auto, which it is unless given, cpu, or cuda:N for card N; see `brevity devices`.
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceSetting>,
    /// Field of the question; several are joined with a space, as in `Body+Question`; `question` unless given.
    #[arg(long, value_name = "FIELD", help_heading = FIELDS)]
    field_question: Option<String>,
    /// Field of the gold answer; `answer` unless given.
    #[arg(long, value_name = "FIELD", help_heading = FIELDS)]
    field_answer: Option<String>,
    /// Field of the problem's id; rows are numbered from 1 without it.
    #[arg(long, value_name = "FIELD", help_heading = FIELDS)]
    field_id: Option<String>,
    /// Field of the difficulty level; no levels without it.
    #[arg(long, value_name = "FIELD", help_heading = FIELDS)]
    field_level: Option<String>,
}

impl MeasureArguments {
    /// What the chat template reads by name.
    fn variables(&self) -> BTreeMap<String, Value> {
        self.variables.iter().cloned().collect()
    }

    /// Where this program's engine computes.
    fn device(&self) -> DeviceSetting {
        self.device.unwrap_or_default()
    }

    /// Refuses what a server is not asked for.
    fn refuse_options_of_our_engine(&self) -> Result<()> {
        let options = [
            ("--sequences", self.sequences.is_some()),
            ("--threads", self.threads.is_some()),
            ("--compute", self.compute.is_some()),
            ("--device", self.device.is_some()),
        ];
        match options.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => bail!("{name} is for this program's own engine; leave it out, or leave out --engine"),
            None => Ok(()),
        }
    }

    /// What an evaluation that is in the directory means.
    fn existing(&self) -> Existing {
        if self.resume { Existing::GoOn } else { Existing::Replace }
    }
}

/// Runs `brevity eval`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    match (&arguments.command, &arguments.measure) {
        (Some(Command::Compare(arguments)), _) => compare::run(arguments, console),
        (Some(Command::Page(arguments)), _) => page::run(arguments, console),
        (None, Some(measure)) => run_measure(measure, &arguments.engine, console),
        (None, None) => bail!("nothing to measure; give --model and --benchmark"),
    }
}

fn run_measure(arguments: &MeasureArguments, engine: &EngineArguments, console: &Console) -> Result<Outcome> {
    let mut benchmark = open_benchmark(arguments, console)?;
    benchmark.problems.truncate(arguments.limit.unwrap_or(usize::MAX));
    let (directory, _lock) = output_directory(arguments, &benchmark.name)?;
    if let Some(url) = &engine.url {
        arguments.refuse_options_of_our_engine()?;
        remote::run(&Remote { arguments, engine, url }, &benchmark, &directory, console)?;
        return Ok(Outcome::Done);
    }
    let device = arguments.device();
    machine::warn_of_card(device, console);
    let compute = device::compute(device, arguments.compute.map(Into::into));
    let place = Place::new(device, compute, &machine::resources(device, machine::memory_bytes_available())?)?;
    let work = || {
        let model = hub::model_place(&arguments.model, console)?;
        let source = hub::open_place(&arguments.model, &model, Some(compute.into()), console)?;
        let policy = measure::policy(arguments, &source, &model)?;
        let job = measure::prepare(arguments, &benchmark, (source, policy, &place), console)?;
        measure::measure(&job, &directory, arguments.existing(), console)
    };
    machine::thread_pool(arguments.threads.unwrap_or(0))?.install(|| machine::with_card(work))?;
    Ok(Outcome::Done)
}

/// The benchmark of this name, from `--data` or the hub, or the problem file of this path.
fn open_benchmark(arguments: &MeasureArguments, console: &Console) -> Result<Benchmark> {
    let MeasureArguments { field_question, field_answer, field_id, field_level, .. } = arguments;
    let Some(named) = NamedBenchmark::named(&arguments.benchmark) else {
        let default = ProblemFields::default();
        let fields = ProblemFields {
            question: field_question.clone().unwrap_or(default.question),
            answer: field_answer.clone().unwrap_or(default.answer),
            id: field_id.clone(),
            level: field_level.clone(),
        };
        return Ok(Benchmark::read_file(Path::new(&arguments.benchmark), &fields)?);
    };
    if [field_question, field_answer, field_id, field_level].into_iter().any(Option::is_some) {
        bail!("the fields of benchmark `{}` are known; leave out the --field options", named.name);
    }
    let path = match (&arguments.benchmarks, named.hub) {
        (Some(place), _) => named.find(place)?,
        (None, Some(source)) => hub::benchmark_file(named.name, source, console)?,
        (None, None) => bail!(
            "the questions of GPQA lie behind an access wall and are not downloaded: agree to its terms at \
             https://huggingface.co/datasets/Idavidrein/gpqa, download gpqa_diamond.csv there, and do not publish it; \
             pass --data gpqa_diamond.csv"
        ),
    };
    Ok(named.read(&path, arguments.choices_seed)?)
}

/// Where the evaluation is kept: known, free, writable and locked before hours are spent on it.
///
/// There is no lock for an evaluation that is complete and to be shown, perhaps in a directory that nobody may write to.
fn output_directory(arguments: &MeasureArguments, benchmark: &str) -> Result<(PathBuf, Option<RunLock>)> {
    let directory = match &arguments.out {
        Some(directory) => directory.clone(),
        None => {
            Path::new("evals").join(format!("{}-{benchmark}-seed{}", model_label(&arguments.model), arguments.seed))
        }
    };
    refuse_taken(arguments, &directory)?;
    if arguments.resume && directory.join("summary.json").is_file() {
        return Ok((directory, None));
    }
    write::create_directory(&directory)?;
    let lock = RunLock::take(&directory)?;
    // What has ended since then may have filled it.
    refuse_taken(arguments, &directory)?;
    Ok((directory, Some(lock)))
}

fn refuse_taken(arguments: &MeasureArguments, directory: &Path) -> Result<()> {
    let occupied = EvaluationDirectory::is_taken(directory)?;
    if occupied && (arguments.resume || arguments.overwrite) && !directory.join("evaluation.json").is_file() {
        bail!("{} holds files and no evaluation; choose another directory with --out", directory.display());
    }
    if occupied && !arguments.overwrite && !arguments.resume {
        bail!(
            "{} is not empty; choose another directory with --out, pass --resume to go on with the evaluation in it, \
             or --overwrite to replace it",
            directory.display()
        );
    }
    Ok(())
}

/// The model's name without what leads to it; a run's model is named after the run.
fn model_label(model: &str) -> String {
    let names_of = |path: &Path| -> Vec<String> {
        let normal = path.components().filter(|part| matches!(part, Component::Normal(_)));
        normal.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    let mut names = names_of(Path::new(model));
    if names.is_empty() {
        // `.` and `..` have a name only where they are.
        names = Path::new(model).canonicalize().map(|path| names_of(&path)).unwrap_or_default();
    }
    match names.as_slice() {
        [.., run, last] if last == "model" => run.clone(),
        [.., last] => last.clone(),
        [] => "model".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_is_named_after_the_model_or_the_run_that_made_it() {
        for (model, expected) in [
            ("Qwen/Qwen3-0.6B", "Qwen3-0.6B"),
            ("models/tiny/", "tiny"),
            ("runs/grpo-seed0/model", "grpo-seed0"),
            ("model", "model"),
            ("", "model"),
        ] {
            assert_eq!(model_label(model), expected);
        }
    }
}
