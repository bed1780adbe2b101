//! `brevity eval`: a model on a benchmark, every completion kept. Sampling, verifying and statistics are `rl`'s.

mod measure;
mod show;

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Result, bail};
use record::write;
use rl::{Benchmark, ProblemFields};
use verify::Extraction;

use crate::{
    Outcome,
    console::Console,
    hub, machine,
    options::{ComputeOption, TemplateOption, extraction, nucleus_mass, positive, temperature},
};

const EXAMPLES: &str = "\
Examples:
  brevity eval --model Qwen/Qwen3-0.6B --benchmark gsm8k --data data --limit 200
  brevity eval --model runs/top-lambda-0.2-seed0/model --benchmark math500 --data data
  brevity eval --model models/tiny --benchmark my-problems.jsonl --template plain --instruction \"\"

Benchmarks known by name: aime24, amc23, gsm8k, math500, svamp, each read from DIR/NAME/test.jsonl.
Their instruction, samples, temperature, top-p and token limit are the defaults of those options.
Models evaluated under one seed are compared on common random numbers.";

/// Measure a model's accuracy and completion length on a benchmark.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Model directory, or a hub name such as `Qwen/Qwen3-0.6B`.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// Benchmark by name, or a problem file that ends in `.jsonl`, `.json` or `.parquet`.
    #[arg(long, value_name = "NAME|FILE")]
    benchmark: String,
    /// Directory that holds the benchmarks known by name.
    #[arg(long = "data", value_name = "DIR")]
    benchmarks: Option<PathBuf>,
    /// Only the first N problems.
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
    /// Keep only the K most likely tokens; 0 keeps all.
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
    /// Added to every question on a line of its own, nothing when empty; the benchmark's unless given.
    #[arg(long, value_name = "TEXT")]
    instruction: Option<String>,
    #[command(flatten)]
    fields: FieldArguments,
    /// How the answer is found: `auto` (a box, `####`, the last formula or number), or `marker:WORD` for what follows WORD.
    #[arg(long, value_name = "HOW", value_parser = extraction, default_value = "auto")]
    extraction: Extraction,
    /// Directory for the summary and the completions; `evals/MODEL-BENCHMARK-seedSEED` unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace an evaluation that is in the directory.
    #[arg(long)]
    overwrite: bool,
    /// Completions computed together; more is faster and takes more memory.
    #[arg(long, value_name = "N", value_parser = positive, default_value = "64")]
    sequences: usize,
    /// Threads; 0 takes all cores. No number depends on it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// What matrix products compute with; the fastest that the CPU has unless given.
    #[arg(long, value_enum, value_name = "TYPE")]
    compute: Option<ComputeOption>,
}

/// Fields of a problem file.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Fields of a problem file")]
struct FieldArguments {
    /// Field of the question; several are joined with a space, as in `Body+Question`; `question` unless given.
    #[arg(long = "field-question", value_name = "FIELD")]
    question: Option<String>,
    /// Field of the gold answer; `answer` unless given.
    #[arg(long = "field-answer", value_name = "FIELD")]
    answer: Option<String>,
    /// Field of the problem's id; rows are numbered from 1 without it.
    #[arg(long = "field-id", value_name = "FIELD")]
    id: Option<String>,
    /// Field of the difficulty level; no levels without it.
    #[arg(long = "field-level", value_name = "FIELD")]
    level: Option<String>,
}

/// Runs `brevity eval`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let fields = problem_fields(arguments)?;
    let mut benchmark = Benchmark::open(&arguments.benchmark, arguments.benchmarks.as_deref(), &fields)?;
    benchmark.problems.truncate(arguments.limit.unwrap_or(usize::MAX));
    let directory = output_directory(arguments, &benchmark.name)?;
    machine::thread_pool(arguments.threads)?.install(|| {
        let source = hub::open_model(&arguments.model, arguments.compute.map(Into::into), console)?;
        let job = measure::prepare(arguments, &benchmark, source, console)?;
        measure::measure(&job, &directory, console)
    })?;
    Ok(Outcome::Done)
}

fn problem_fields(arguments: &Arguments) -> Result<ProblemFields> {
    let FieldArguments { question, answer, id, level } = &arguments.fields;
    let given = [question, answer, id, level].into_iter().any(Option::is_some);
    if given && Benchmark::names().any(|name| name == arguments.benchmark) {
        bail!("the fields of benchmark `{}` are known; leave out the --field options", arguments.benchmark);
    }
    let default = ProblemFields::default();
    Ok(ProblemFields {
        question: question.clone().unwrap_or(default.question),
        answer: answer.clone().unwrap_or(default.answer),
        id: id.clone(),
        level: level.clone(),
    })
}

/// Where the evaluation is kept: known, free and writable before hours are spent on it.
fn output_directory(arguments: &Arguments, benchmark: &str) -> Result<PathBuf> {
    let directory = match &arguments.out {
        Some(directory) => directory.clone(),
        None => {
            Path::new("evals").join(format!("{}-{benchmark}-seed{}", model_label(&arguments.model), arguments.seed))
        }
    };
    let occupied = fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !arguments.overwrite {
        bail!(
            "{} is not empty; choose another directory with --out, or pass --overwrite to replace what is there",
            directory.display()
        );
    }
    write::create_directory(&directory)?;
    Ok(directory)
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
