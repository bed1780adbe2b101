//! Measuring a policy behind a server: prompts, requests, records. Requests are `engine`'s, what is printed `show`'s.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Result, bail};
use model::{ChatTemplate, Tokenizer};
use record::{EvaluationHeader, PolicySource, ProblemLeftOut, TokenSource};
use rl::{
    Benchmark, Problem, RlError,
    config::{PromptSettings, Template},
    evaluation::{Measured, evaluation_record},
    left_out,
    prefix::PrefixReader,
    prompt::{self, Opening},
    score::judge,
    summary::EvaluationSettings,
};
use verify::{Extraction, Gold};

use super::{
    MeasureArguments,
    measure::{extraction, finish, header, report_left_out, sampling_settings},
    resume::{Beginning, Begun, Done, begin, watch_for_interrupt},
    show,
};
use crate::{
    console::Console,
    engine::{
        Api, Ask, Crew, Engine, EngineArguments, Event, Failed, Passing, RemoteCompletion, RemotePrompt, RemoteSampling,
    },
    hub,
    options::TemplateOption,
    progress::Progress,
    table::counted,
};

/// A problem with what the server is given.
struct Question {
    problem: Problem,
    gold: Gold,
    prompt: RemotePrompt,
}

/// Everything that an evaluation by a server needs.
struct Job {
    questions: Vec<Question>,
    settings: EvaluationSettings,
    extraction: Extraction,
    header: EvaluationHeader,
    tokenizer: Option<Arc<Tokenizer>>,
    engine: Engine,
}

/// What was asked for, and of which server.
pub(super) struct Remote<'a> {
    pub(super) arguments: &'a MeasureArguments,
    pub(super) engine: &'a EngineArguments,
    /// The server's address.
    pub(super) url: &'a str,
}

/// Measures the model that a server has.
pub(super) fn run(remote: &Remote<'_>, benchmark: &Benchmark, directory: &Path, console: &Console) -> Result<()> {
    let Remote { arguments, engine: options, .. } = remote;
    let job = prepare(remote, benchmark, console)?;
    let beginning = begin(directory, job.header.clone(), arguments.existing())?;
    show::settings(&job.header, &[("concurrency", options.concurrency.to_string())], console)?;
    let mut begun = match beginning {
        Beginning::Open(begun) => *begun,
        Beginning::Complete(directory) => return show::complete(&directory, console),
    };
    watch_for_interrupt(console)?;
    let Job { questions, settings, extraction, tokenizer, engine, .. } = job;
    let failures = ask(&mut begun, engine, (&questions, &extraction, tokenizer.as_deref()), options, console)?;
    let missing = leave_out(&mut begun, &questions, &failures, options.failed, console);
    if begun.has_replaced_nothing() {
        bail!(
            "no problem was answered, and the evaluation in {} stays as it is; check the server",
            directory.display()
        );
    }
    if missing > 0 {
        let all = counted(questions.len() * settings.samples as usize, "completion");
        bail!("{missing} of {all} are missing; run the same command with --resume to ask for them again");
    }
    if begun.records.is_empty() {
        bail!("no problem was answered; check the server");
    }
    begun.directory.write_header(&begun.header)?;
    finish(&mut begun, questions.iter().map(|question| &question.problem.id), &settings, console)
}

fn prepare(remote: &Remote<'_>, benchmark: &Benchmark, console: &Console) -> Result<Job> {
    let Remote { arguments, engine: options, url } = remote;
    let (tokenizer, chat, tokenizer_path) = match &options.tokenizer {
        Some(name) => {
            let path = hub::model_place(name, console)?.base;
            (Some(Arc::new(Tokenizer::open(&path)?)), ChatTemplate::open(&path)?, Some(path))
        }
        None => (None, None, None),
    };
    let prompt = PromptSettings {
        template: arguments.template.into(),
        system: arguments.system.clone(),
        instruction: arguments.instruction.clone().unwrap_or_else(|| benchmark.instruction.clone()),
        // The server knows its limit.
        prompt_tokens_max: usize::MAX,
        variables: arguments.variables(),
    };
    check_template(arguments, options.api, chat.as_ref())?;
    let (questions, problems_left_out) = questions(benchmark, options.api, &prompt, chat.as_ref())?;
    report_left_out(arguments.unusable, benchmark, &problems_left_out, console)?;
    let limit = arguments.max_tokens.unwrap_or(benchmark.completion_tokens_max as usize) as u32;
    let settings = sampling_settings(arguments, benchmark, limit);
    let extraction = extraction(arguments, benchmark);
    let mut extra = options.extra_fields();
    if arguments.top_k > 0 {
        extra.insert("top_k".to_owned(), arguments.top_k.into());
    }
    let sampling = RemoteSampling {
        model: arguments.model.clone(),
        temperature: settings.temperature,
        top_p: settings.top_p,
        completion_tokens_max: limit,
        extra: extra.clone(),
    };
    let engine = Engine::new(url, options, tokenizer.clone(), (sampling, settings.seed))?;
    let policy = PolicySource::Server {
        url: (*url).to_owned(),
        api: options.api.name().to_owned(),
        choices: options.choices,
        body: extra,
        tokenizer: tokenizer_path,
    };
    let prompt_example = questions.first().and_then(|question| match &question.prompt {
        RemotePrompt::Messages(_) => None,
        RemotePrompt::Text(text) => Some(text.clone()),
    });
    let header = EvaluationHeader {
        problems: questions.len() as u32,
        problems_left_out,
        prompt_example,
        ..header(arguments, benchmark, (policy, &prompt), (&settings, &extraction))
    };
    Ok(Job { questions, settings, extraction, header, tokenizer, engine })
}

/// A chat template is the server's with `--api chat`, and the tokenizer's directory's with `--api completions`.
fn check_template(arguments: &MeasureArguments, api: Api, chat: Option<&ChatTemplate>) -> Result<()> {
    if api == Api::Chat && !arguments.variables.is_empty() {
        bail!(
            "with --api chat the server has the template; give it its variables by --body, as in --body \
             'chat_template_kwargs={{\"enable_thinking\": false}}', or pass --api completions"
        );
    }
    match (api, arguments.template) {
        (Api::Chat, TemplateOption::Plain) => bail!(
            "a server puts its chat template around what comes by --api chat; pass --api completions with --template \
             plain, or leave --template out"
        ),
        (Api::Completions, TemplateOption::Chat) if chat.is_none() => bail!(
            "--api completions sends the whole prompt, and no chat template is known; pass --tokenizer with the \
             model's directory, or --template plain"
        ),
        (Api::Completions, TemplateOption::Plain) if !arguments.system.is_empty() => {
            bail!("--system needs a chat template; leave it out, or pass --template chat")
        }
        (Api::Chat | Api::Completions, TemplateOption::Chat) | (Api::Completions, TemplateOption::Plain) => Ok(()),
    }
}

/// The problems that can be asked for, and those that cannot.
fn questions(
    benchmark: &Benchmark,
    api: Api,
    settings: &PromptSettings,
    chat: Option<&ChatTemplate>,
) -> Result<(Vec<Question>, Vec<ProblemLeftOut>)> {
    let (mut questions, mut problems_left_out) = (Vec::new(), Vec::new());
    for problem in &benchmark.problems {
        let problem = match problem {
            Ok(problem) => problem,
            Err(unusable) => {
                problems_left_out.push(unusable.clone());
                continue;
            }
        };
        let gold = match Gold::parse(&problem.gold) {
            Ok(gold) => gold,
            Err(error) => {
                let message = format!("gold answer: {error}");
                problems_left_out.push(left_out(RlError::Problem { problem: problem.id.to_string(), message }));
                continue;
            }
        };
        let prompt = match (api, settings.template) {
            (Api::Chat, Template::Chat | Template::Plain) => {
                RemotePrompt::Messages(prompt::messages(settings, &problem.question))
            }
            (Api::Completions, Template::Chat | Template::Plain) => {
                RemotePrompt::Text(prompt::text(settings, chat, &problem.question)?)
            }
        };
        questions.push(Question { problem: problem.clone(), gold, prompt });
    }
    Ok((questions, problems_left_out))
}

/// Requests that failed for good, each with the reason.
type Failures = Vec<(Ask, String)>;

/// Asks for what is missing and logs every completion that comes.
///
/// # Errors
/// When no request can succeed, or a record cannot be written.
fn ask(
    begun: &mut Begun,
    engine: Engine,
    (questions, extraction, tokenizer): (&[Question], &Extraction, Option<&Tokenizer>),
    options: &EngineArguments,
    console: &Console,
) -> Result<Failures> {
    let done = Done::of(begun, questions.iter().map(|question| (&question.problem, &question.gold)))?;
    let completions = questions.len() * begun.header.samples as usize;
    done.tell(completions, console);
    let asks = missing(questions, begun.header.samples, options.choices, &done);
    let mut bar = Progress::new(console).completions("evaluating", (done.count(), completions));
    let prompts = questions.iter().map(|question| question.prompt.clone()).collect();
    let crew = Crew::start(engine, prompts, asks)?;
    let (mut failures, mut retries) = (Failures::new(), BTreeMap::<Passing, usize>::new());
    while let Some(event) = crew.next_event() {
        match event {
            Event::Ended(ask, made) => {
                let Question { problem, gold, prompt } = &questions[ask.problem];
                let opening = match prompt {
                    RemotePrompt::Text(text) => Opening::after(text),
                    // The server alone knows the prompt.
                    RemotePrompt::Messages(_) => Opening::Free,
                };
                let completion_tokens_max = begun.header.completion_tokens_max;
                let reader = tokenizer.map(|tokenizer| PrefixReader {
                    tokenizer,
                    gold,
                    extraction,
                    completion_tokens_max,
                    opening,
                });
                for (sample, completion) in (ask.first_sample..).zip(made) {
                    bar.completion_ended_of_many(completion.tokens as usize);
                    let measured = measured(completion, (gold, opening), extraction, reader.as_ref())?;
                    let record = evaluation_record(problem, gold, sample, measured);
                    begun.keep(record)?;
                }
            }
            Event::Retried(kind) => *retries.entry(kind).or_default() += 1,
            Event::Failed(ask, reason) => failures.push((ask, reason)),
            Event::Unusable(reason) => bail!(reason),
        }
        if failures.len() >= options.failures_max {
            break;
        }
    }
    drop(bar);
    tell_retries(&retries, console);
    Ok(failures)
}

/// The completions that are not there, those of one problem in requests of at most `choices`.
fn missing(questions: &[Question], samples: u32, choices: u32, done: &Done) -> Vec<Ask> {
    let mut asks: Vec<Ask> = Vec::new();
    for (problem, question) in questions.iter().enumerate() {
        for sample in (0..samples).filter(|&sample| done.lacks(&question.problem, sample)) {
            match asks.last_mut() {
                Some(last)
                    if last.problem == problem
                        && last.choices < choices
                        && last.first_sample + last.choices == sample =>
                {
                    last.choices += 1;
                }
                Some(_) | None => asks.push(Ask { problem, first_sample: sample, choices: 1 }),
            }
        }
    }
    asks
}

/// What a server's completion came to. Beginnings are judged where the tokenizer counted, whose tokens are known.
fn measured(
    completion: RemoteCompletion,
    (gold, opening): (&Gold, Opening),
    extraction: &Extraction,
    reader: Option<&PrefixReader<'_>>,
) -> Result<Measured> {
    let check = judge(&completion.text, opening, gold, extraction);
    let prefixes = match reader.filter(|_| completion.tokens_from == TokenSource::Tokenizer) {
        Some(reader) => {
            let mut tokens = reader.tokenizer.encode(&completion.text)?;
            // The end token counts, and has no text whatever its id.
            tokens.resize(completion.tokens as usize, u32::MAX);
            (!tokens.is_empty()).then(|| reader.verdicts(&tokens, check.verdict))
        }
        None => None,
    };
    Ok(Measured {
        text: completion.text,
        completion_tokens: completion.tokens,
        tokens_from: completion.tokens_from,
        stop: completion.stop,
        check,
        prefixes,
    })
}

fn tell_retries(retries: &BTreeMap<Passing, usize>, console: &Console) {
    let all: usize = retries.values().sum();
    if all > 0 {
        let kinds: Vec<String> = retries.iter().map(|(kind, count)| format!("{}: {count}", kind.name())).collect();
        console.warning(format!("{} made again ({})", counted(all, "request"), kinds.join(", ")));
    }
}

/// Names every request that failed. Leaves their problems out where that is wanted; otherwise, the completions that
/// are missing.
fn leave_out(
    begun: &mut Begun,
    questions: &[Question],
    failures: &[(Ask, String)],
    failed: Failed,
    console: &Console,
) -> usize {
    for (ask, reason) in failures {
        let Ask { problem, first_sample, choices } = *ask;
        let which = if choices == 1 { first_sample.to_string() } else { format!("{first_sample} and following") };
        console.warning(format!("problem {}, completion {which}: {reason}", questions[problem].problem.id));
    }
    if failed == Failed::LeaveOut {
        let reasons: BTreeMap<&str, &str> = failures
            .iter()
            .rev()
            .map(|(ask, reason)| (questions[ask.problem].problem.id.as_str(), reason.as_str()))
            .collect();
        begun.records.retain(|record| !reasons.contains_key(record.problem.as_str()));
        let left_out = reasons
            .iter()
            .map(|(problem, reason)| ProblemLeftOut { problem: (*problem).to_owned(), reason: (*reason).to_owned() });
        begun.header.problems_left_out.extend(left_out);
        begun.header.problems -= reasons.len() as u32;
    }
    begun.header.problems as usize * begun.header.samples as usize - begun.records.len()
}
