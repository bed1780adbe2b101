//! `brevity eval`: a model on a benchmark, every completion kept. Sampling, verifying and statistics are `rl`'s.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use model::{ModelDirectory, Sampling};
use record::{EvaluationSummary, write};
use rl::{
    Benchmark, ProblemFields,
    config::{PromptSettings, Template},
    evaluation::{Evaluation, evaluate},
    prompt::{Prompt, Prompter},
    sampler::SamplerSettings,
    statistics::EvaluationSettings,
};
use serde::Serialize;
use verify::Extraction;

use crate::{
    Outcome,
    console::Console,
    hub, machine,
    options::{ComputeOption, TemplateOption, extraction, nucleus_mass, positive, temperature},
    progress::Progress,
    table::{aligned, counted, labelled, percent},
};

/// Below this many problems the standard error is said aloud: it is then 5 points at an accuracy of one half.
const PROBLEMS_FEW: u32 = 100;

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

/// `evaluation.json`: what was measured with which settings.
#[derive(Debug, Serialize)]
struct EvaluationFile<'a> {
    brevity_version: &'static str,
    cpu: &'static str,
    /// The model as it was asked for.
    model: &'a str,
    /// Where it was read from.
    model_directory: &'a Path,
    parameters: usize,
    /// The benchmark as it was asked for.
    benchmark: &'a str,
    problems_limit: Option<usize>,
    template: Template,
    system: &'a str,
    instruction: &'a str,
    extraction: &'a Extraction,
    top_k: usize,
    sequences_max: usize,
    summary: &'a EvaluationSummary,
}

/// Everything that an evaluation needs.
struct Job<'a> {
    arguments: &'a Arguments,
    source: ModelDirectory,
    prompt: PromptSettings,
    evaluation: Evaluation,
    /// Where it is kept.
    directory: PathBuf,
}

/// Runs `brevity eval`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let fields = problem_fields(arguments)?;
    let mut benchmark = Benchmark::open(&arguments.benchmark, arguments.benchmarks.as_deref(), &fields)?;
    benchmark.problems.truncate(arguments.limit.unwrap_or(usize::MAX));
    let directory = output_directory(arguments, &benchmark.name)?;
    machine::thread_pool(arguments.threads)?.install(|| {
        let source = hub::open_model(&arguments.model, arguments.compute.map(Into::into), console)?;
        let job = prepare(arguments, &benchmark, (source, directory), console)?;
        measure(&job, console)
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

fn prepare<'a>(
    arguments: &'a Arguments,
    benchmark: &Benchmark,
    (source, directory): (ModelDirectory, PathBuf),
    console: &Console,
) -> Result<Job<'a>> {
    if arguments.template == TemplateOption::Chat && source.chat.is_none() {
        bail!("`{}` has no chat template; pass --template plain to give it the bare question", arguments.model);
    }
    let positions_max = source.model.config().positions_max;
    let prompt = PromptSettings {
        template: arguments.template.into(),
        system: arguments.system.clone(),
        instruction: arguments.instruction.clone().unwrap_or_else(|| benchmark.instruction.clone()),
        prompt_tokens_max: positions_max,
    };
    let (tokenizer, chat) = (&source.tokenizer, source.chat.as_ref());
    let prompter = Prompter { tokenizer, chat, settings: &prompt, positions_max };
    let prompts: Vec<Prompt> =
        benchmark.problems.iter().map(|problem| prompter.prompt(problem)).collect::<Result<_, _>>()?;
    let asked = arguments.max_tokens.unwrap_or(benchmark.completion_tokens_max as usize);
    let shortest = prompts.iter().map(|prompt| prompt.tokens.len()).min().unwrap_or(0);
    let completion_tokens_max = asked.min(positions_max - shortest);
    if completion_tokens_max < asked {
        console.warning(format!(
            "the model takes {positions_max} tokens, prompt included: completions end after {completion_tokens_max} \
             tokens at most instead of {asked}"
        ));
    }
    let settings = EvaluationSettings {
        step: 0,
        benchmark: benchmark.name.clone(),
        samples: arguments.samples.unwrap_or(benchmark.samples),
        temperature: arguments.temperature.unwrap_or(benchmark.temperature),
        top_p: arguments.top_p.unwrap_or(benchmark.top_p),
        completion_tokens_max: completion_tokens_max as u32,
        seed: arguments.seed,
    };
    let sampler = SamplerSettings {
        sampling: Sampling {
            temperature: settings.temperature as f32,
            top_k: arguments.top_k,
            top_p: settings.top_p as f32,
        },
        completion_tokens_max,
        sequences_max: arguments.sequences,
        // Completions wait when the memory is full; a quarter stays for the rest.
        cache_bytes_max: machine::memory_bytes_available().map_or(0, |bytes| (bytes / 4 * 3) as usize),
        end_tokens: source.end_tokens.clone(),
    };
    let evaluation = Evaluation { prompts, extraction: arguments.extraction.clone(), settings, sampler };
    Ok(Job { arguments, source, prompt, evaluation, directory })
}

fn measure(job: &Job<'_>, console: &Console) -> Result<()> {
    let Job { arguments, source, evaluation, .. } = job;
    labelled(&settings(job)).into_iter().try_for_each(|line| console.result(line))?;
    let completions = evaluation.prompts.len() * evaluation.settings.samples as usize;
    let mut bar = Progress::new(console).completions("evaluating", completions);
    let (summary, records) = evaluate(&source.model, &source.tokenizer, evaluation, |tokens| {
        bar.completion_ended_of_many(tokens);
    });
    drop(bar);
    let file = EvaluationFile {
        brevity_version: env!("CARGO_PKG_VERSION"),
        cpu: model::instruction_set().name(),
        model: &arguments.model,
        model_directory: &source.path,
        parameters: source.model.parameter_count(),
        benchmark: &arguments.benchmark,
        problems_limit: arguments.limit,
        template: job.prompt.template,
        system: &job.prompt.system,
        instruction: &job.prompt.instruction,
        extraction: &evaluation.extraction,
        top_k: arguments.top_k,
        sequences_max: arguments.sequences,
        summary: &summary,
    };
    let paths = ["evaluation.json", "records.jsonl"].map(|name| job.directory.join(name));
    let mut text = serde_json::to_vec_pretty(&file).context("cannot write the evaluation as JSON")?;
    text.push(b'\n');
    write::replace(&paths[1], &write::json_lines(&records))?;
    write::replace(&paths[0], &text)?;
    show(&summary, console)?;
    console.result("")?;
    let paths = [("summary", paths[0].display().to_string()), ("completions", paths[1].display().to_string())];
    labelled(&paths).into_iter().try_for_each(|line| console.result(line))
}

/// Every setting of the evaluation, named as its option.
fn settings(job: &Job<'_>) -> Vec<(&'static str, String)> {
    let Job { arguments, source, prompt, evaluation, .. } = job;
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let template = match prompt.template {
        Template::Chat => "chat",
        Template::Plain => "plain",
    };
    let extraction = match &evaluation.extraction {
        Extraction::Auto {} => "auto".to_owned(),
        Extraction::Marker { marker } => format!("marker:{marker}"),
    };
    vec![
        (
            "model",
            format!("{}, {:.2} million parameters", arguments.model, source.model.parameter_count() as f64 / 1e6),
        ),
        ("benchmark", format!("{}, {}", arguments.benchmark, counted(evaluation.prompts.len(), "problem"))),
        ("samples", evaluation.settings.samples.to_string()),
        ("temperature", evaluation.settings.temperature.to_string()),
        ("top-p", evaluation.settings.top_p.to_string()),
        ("top-k", arguments.top_k.to_string()),
        ("max-tokens", evaluation.settings.completion_tokens_max.to_string()),
        ("seed", evaluation.settings.seed.to_string()),
        ("template", template.to_owned()),
        ("system", or_none(&prompt.system)),
        ("instruction", or_none(&prompt.instruction)),
        ("extraction", extraction),
        ("sequences", arguments.sequences.to_string()),
        ("machine", format!("{}, {}", counted(model::threads::count(), "thread"), model::instruction_set().name())),
    ]
}

fn show(summary: &EvaluationSummary, console: &Console) -> Result<()> {
    let points = summary.accuracy_error * 100.0;
    let interval = format!("95 % interval {:.1} to {}", summary.accuracy_low * 100.0, percent(summary.accuracy_high));
    let rows = [
        ("accuracy", format!("{} ± {points:.1} ({interval})", percent(summary.accuracy))),
        ("completion tokens", format!("{:.1} ± {:.1}", summary.completion_tokens, summary.completion_tokens_error)),
        ("truncated", percent(summary.truncated_share)),
        ("no answer", percent(summary.no_answer_share)),
        ("problems", summary.problems.to_string()),
    ];
    console.result("")?;
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))?;
    if !summary.levels.is_empty() {
        let mut rows = vec![["level", "problems", "accuracy", "completion tokens"].map(str::to_owned).to_vec()];
        rows.extend(summary.levels.iter().map(|level| {
            let tokens = format!("{:.1}", level.completion_tokens);
            vec![level.level.clone(), level.problems.to_string(), percent(level.accuracy), tokens]
        }));
        console.result("")?;
        aligned(&rows).into_iter().try_for_each(|line| console.result(line))?;
    }
    if summary.problems < PROBLEMS_FEW {
        console.warning(format!(
            "{} give a standard error of {points:.1} points; differences below twice that tell nothing",
            counted(summary.problems as usize, "problem")
        ));
    }
    Ok(())
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
