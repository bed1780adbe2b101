//! Measuring a policy of this program's engine: prompts, sampling, records. What is printed is `show`'s.

use std::path::Path;

use anyhow::{Result, bail};
use model::{Compute, ModelDirectory, ModelPlace, Sampling};
use record::{
    EVALUATION_SCHEMA_VERSION, EvaluationHeader, PolicySource, ProblemLeftOut, report::evaluation_page, write,
};
use rl::{
    Benchmark, ProblemId, RlError,
    config::{PromptSettings, Template},
    device::Place,
    estimate::{SamplingLoad, plan_sampling},
    evaluation::{Evaluation, evaluate_missing, in_problem_order},
    left_out,
    prompt::{Prompt, Prompter},
    sampler::SamplerSettings,
    summary::{EvaluationSettings, summarise},
};
use verify::Extraction;

use super::{
    MeasureArguments, Unusable,
    resume::{Beginning, Begun, Done, Existing, begin, watch_for_interrupt},
    show,
};
use crate::{console::Console, machine, options::TemplateOption, plan, progress::Progress, table::counted};

/// Problems left out of which the reason is printed; all are in `evaluation.json`.
const LEFT_OUT_SHOWN_MAX: usize = 5;

/// Everything that an evaluation needs.
pub(super) struct Job {
    source: ModelDirectory,
    evaluation: Evaluation,
    header: EvaluationHeader,
    /// Completions computed together.
    sequences: usize,
}

/// Problems to prompts, options and the benchmark's defaults to settings.
pub(super) fn prepare(
    arguments: &MeasureArguments,
    benchmark: &Benchmark,
    (mut source, policy, place): (ModelDirectory, PolicySource, &Place),
    console: &Console,
) -> Result<Job> {
    if arguments.template == TemplateOption::Chat && source.chat.is_none() {
        bail!("`{}` has no chat template; pass --template plain to give it the bare question", arguments.model);
    }
    if arguments.template == TemplateOption::Plain && (!arguments.system.is_empty() || !arguments.variables.is_empty())
    {
        bail!("--system and --variable need a chat template; leave them out, or pass --template chat");
    }
    let positions_max = source.model.config().positions_max;
    let prompt = PromptSettings {
        template: arguments.template.into(),
        system: arguments.system.clone(),
        instruction: arguments.instruction.clone().unwrap_or_else(|| benchmark.instruction.clone()),
        prompt_tokens_max: positions_max,
        variables: arguments.variables(),
    };
    let (tokenizer, chat) = (&source.tokenizer, source.chat.as_ref());
    let prompter = Prompter { tokenizer, chat, settings: &prompt, positions_max };
    let (prompts, problems_left_out) = prompts(benchmark, &prompter)?;
    report_left_out(arguments.unusable, benchmark, &problems_left_out, console)?;
    let asked = arguments.max_tokens.unwrap_or(benchmark.completion_tokens_max as usize);
    let shortest = prompts.iter().map(|prompt| prompt.tokens.len()).min().unwrap_or(0);
    let completion_tokens_max = asked.min(positions_max - shortest);
    if completion_tokens_max < asked {
        console.warning(format!(
            "the model takes {positions_max} tokens, prompt included: completions end after {completion_tokens_max} \
             tokens at most instead of {asked}"
        ));
    }
    let settings = sampling_settings(arguments, benchmark, completion_tokens_max as u32);
    let longest = prompts.iter().map(|prompt| prompt.tokens.len()).max().unwrap_or(1);
    let sequences = arguments.sequences.unwrap_or(64);
    let load = SamplingLoad {
        groups: prompts.len(),
        group_size: settings.samples as usize,
        lengths: [longest, completion_tokens_max],
        sequences_max: sequences,
    };
    let plan = plan_sampling(&source.model, place.memory(), load, place.free_bytes())?;
    let layers = source.model.config().layers;
    console.note(format!("memory: {}", plan::described(&plan, place.free_bytes(), layers)));
    let sampler = SamplerSettings {
        sampling: Sampling {
            temperature: settings.temperature as f32,
            top_k: arguments.top_k,
            top_p: settings.top_p as f32,
        },
        completion_tokens_max,
        sequences_max: sequences,
        cache_bytes_max: plan.cache_bytes_max,
        end_tokens: source.end_tokens.clone(),
    };
    let prompt_example = prompts.first().map(|prompt| prompter.text(&prompt.problem.question)).transpose()?;
    let extraction = extraction(arguments, benchmark);
    let header = EvaluationHeader {
        problems: prompts.len() as u32,
        prompt_example,
        problems_left_out,
        ..header(arguments, benchmark, (policy, &prompt), (&settings, &extraction))
    };
    source.model = place.put(source.model, plan.estimate.cache as usize)?;
    let evaluation = Evaluation { prompts, extraction, settings, sampler };
    Ok(Job { source, evaluation, header, sequences })
}

/// The prompts of the problems that can be measured, and the problems that cannot.
fn prompts(benchmark: &Benchmark, prompter: &Prompter<'_>) -> Result<(Vec<Prompt>, Vec<ProblemLeftOut>)> {
    let mut prompts = Vec::new();
    let mut problems_left_out = Vec::new();
    for problem in &benchmark.problems {
        match problem.as_ref().map(|problem| prompter.prompt(problem)) {
            Ok(Ok(prompt)) => prompts.push(prompt),
            Ok(Err(error @ RlError::Problem { .. })) => problems_left_out.push(left_out(error)),
            Ok(Err(error)) => return Err(error.into()),
            Err(unusable) => problems_left_out.push(unusable.clone()),
        }
    }
    Ok((prompts, problems_left_out))
}

/// The options with the benchmark's defaults.
pub(super) fn sampling_settings(
    arguments: &MeasureArguments,
    benchmark: &Benchmark,
    completion_tokens_max: u32,
) -> EvaluationSettings {
    EvaluationSettings {
        step: 0,
        benchmark: benchmark.name.clone(),
        samples: arguments.samples.unwrap_or(benchmark.samples),
        temperature: arguments.temperature.unwrap_or(benchmark.temperature),
        top_p: arguments.top_p.unwrap_or(benchmark.top_p),
        completion_tokens_max,
        seed: arguments.seed,
    }
}

/// How answers are found: as the option says, or the benchmark.
pub(super) fn extraction(arguments: &MeasureArguments, benchmark: &Benchmark) -> Extraction {
    arguments.extraction.clone().unwrap_or_else(|| benchmark.extraction.clone())
}

/// Says which problems are left out, or refuses to measure the others.
pub(super) fn report_left_out(
    unusable: Unusable,
    benchmark: &Benchmark,
    problems: &[ProblemLeftOut],
    console: &Console,
) -> Result<()> {
    let Some(first) = problems.first() else { return Ok(()) };
    let (path, all) = (benchmark.path.display(), counted(benchmark.problems.len(), "problem"));
    let ProblemLeftOut { problem, reason } = first;
    if problems.len() == benchmark.problems.len() {
        bail!("no problem of {path} can be measured; {problem}: {reason}");
    }
    if unusable == Unusable::Refuse {
        bail!("{} of {all} of {path} cannot be measured; {problem}: {reason}", problems.len());
    }
    console.warning(format!("{} of {all} of {path} cannot be measured and count nowhere", problems.len()));
    for ProblemLeftOut { problem, reason } in problems.iter().take(LEFT_OUT_SHOWN_MAX) {
        console.warning(format!("{problem}: {reason}"));
    }
    if problems.len() > LEFT_OUT_SHOWN_MAX {
        console.note(format!("{} more are named in evaluation.json", problems.len() - LEFT_OUT_SHOWN_MAX));
    }
    Ok(())
}

/// This program's engine with the model of `source`.
pub(super) fn policy(
    arguments: &MeasureArguments,
    source: &ModelDirectory,
    place: &ModelPlace,
) -> Result<PolicySource> {
    let compute = match source.model.compute() {
        Compute::F32 => "f32",
        Compute::Bf16 => "bf16",
    };
    Ok(PolicySource::Engine {
        directory: source.path.clone(),
        parameters: source.model.weight_count() as u64,
        cpu: match arguments.device().card() {
            None => model::instruction_set().name().to_owned(),
            Some(_) => arguments.device().to_string(),
        },
        compute: compute.to_owned(),
        checksum: Some(rl::inputs::model_checksum(place)?),
    })
}

/// The header without problems and prompts.
pub(super) fn header(
    arguments: &MeasureArguments,
    benchmark: &Benchmark,
    (policy, prompt): (PolicySource, &PromptSettings),
    (settings, extraction): (&EvaluationSettings, &Extraction),
) -> EvaluationHeader {
    let template = match prompt.template {
        Template::Chat => "chat",
        Template::Plain => "plain",
    };
    EvaluationHeader {
        schema: EVALUATION_SCHEMA_VERSION,
        brevity_version: env!("CARGO_PKG_VERSION").to_owned(),
        model: arguments.model.clone(),
        policy,
        benchmark: benchmark.name.clone(),
        problems_path: benchmark.path.clone(),
        problems_limit: arguments.limit.map(|limit| limit as u32),
        problems: 0,
        problems_left_out: Vec::new(),
        samples: settings.samples,
        temperature: settings.temperature,
        top_p: settings.top_p,
        top_k: arguments.top_k as u32,
        completion_tokens_max: settings.completion_tokens_max,
        seed: settings.seed,
        choices_seed: benchmark.choices_seed,
        template: template.to_owned(),
        variables: prompt.variables.clone(),
        system: prompt.system.clone(),
        instruction: prompt.instruction.clone(),
        extraction: extraction.clone(),
        prompt_example: None,
        started_unix_seconds: machine::unix_seconds(),
    }
}

/// Samples and verifies what is not in `directory` yet, and keeps it there.
pub(super) fn measure(job: &Job, directory: &Path, existing: Existing, console: &Console) -> Result<()> {
    let Job { evaluation, header, sequences, .. } = job;
    let beginning = begin(directory, header.clone(), existing)?;
    let threads = counted(model::threads::count(), "thread");
    show::settings(header, &[("sequences", sequences.to_string()), ("threads", threads)], console)?;
    let mut begun = match beginning {
        Beginning::Open(begun) => *begun,
        Beginning::Complete(directory) => return show::complete(&directory, console),
    };
    watch_for_interrupt(console)?;
    sample_missing(job, &mut begun, console)?;
    finish(&mut begun, evaluation.prompts.iter().map(|prompt| &prompt.problem.id), &evaluation.settings, console)
}

fn sample_missing(job: &Job, begun: &mut Begun, console: &Console) -> Result<()> {
    let Job { source, evaluation, .. } = job;
    let prompts = &evaluation.prompts;
    let done = Done::of(begun, prompts.iter().map(|prompt| (&prompt.problem, &prompt.gold)))?;
    let completions = prompts.len() * evaluation.settings.samples as usize;
    done.tell(completions, console);
    let mut bar = Progress::new(console).completions("evaluating", (done.count(), completions));
    let is_missing = |problem: usize, sample| done.lacks(&prompts[problem].problem, sample);
    evaluate_missing((&source.model, &source.tokenizer), evaluation, is_missing, |record| {
        bar.completion_ended_of_many(record.completion_tokens as usize);
        Ok(begun.keep(record)?)
    })
}

/// Writes the numbers, the completions in the order of the problems, and the page; shows them.
pub(super) fn finish<'a>(
    begun: &mut Begun,
    problems: impl Iterator<Item = &'a ProblemId>,
    settings: &EvaluationSettings,
    console: &Console,
) -> Result<()> {
    begun.opened()?;
    let Begun { directory, header, records, .. } = begun;
    in_problem_order(records, problems);
    let summary = summarise(records, settings);
    directory.write_records(records)?;
    write::replace(&directory.page_path(), evaluation_page(header, &summary, records).as_bytes())?;
    directory.write_summary(&summary)?;
    show::summary(header, &summary, console)?;
    show::files(directory, console)
}
