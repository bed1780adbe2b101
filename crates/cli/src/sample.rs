//! `brevity sample`: completions of a text, given out token by token. Sampling many at once is `rl`'s sampler's.

use std::io::Read;

use anyhow::{Context, Result, bail};
use model::{Cache, Chunk, Model, ModelDirectory, SamplerWorkspace, Sampling};
use record::StopReason;
use rl::{
    config::{PromptSettings, Template},
    device::{self, DeviceSetting, Place},
    estimate::{SamplingLoad, plan_sampling},
    prompt::Prompter,
    random::{Purpose, Stream},
    sampler::{PREFILL_ROWS, SamplerSettings},
};
use serde_json::Value;

use crate::{
    Outcome,
    console::Console,
    hub, machine,
    options::{ComputeOption, nucleus_mass, positive, temperature, variable},
    table::counted,
};

const EXAMPLES: &str = "\
Examples:
  brevity sample --model Qwen/Qwen3-0.6B \"What is 17 · 24?\"
  brevity sample --model runs/grpo-seed0/model --temperature 0 \"What is 17 · 24?\"
  brevity sample --model models/tiny --plain --special -n 3 --seed 1 \"7 +3 +4\"
  brevity sample --model models/tiny - < question.txt";

/// Write what a model answers, while it answers.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Arguments {
    /// Directory of a model or an adapter, or a hub name such as `Qwen/Qwen3-0.6B`.
    #[arg(long, value_name = "MODEL")]
    model: String,
    /// What to complete, one after the other; `-` reads standard input.
    #[arg(value_name = "TEXT", required = true)]
    texts: Vec<String>,
    /// Completions of each text.
    #[arg(long, short, value_name = "N", value_parser = positive, default_value = "1")]
    n: usize,
    /// Sampling temperature; 0 takes the most likely token.
    #[arg(long, value_name = "T", value_parser = temperature, default_value = "1")]
    temperature: f64,
    /// Keep the fewest most likely tokens whose probabilities add up to P; 1 keeps all.
    #[arg(long, value_name = "P", value_parser = nucleus_mass, default_value = "1")]
    top_p: f64,
    /// Keep only the K most likely tokens; 0 keeps all.
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Seed; the same seed gives the same completions.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Token limit of a completion.
    #[arg(long, value_name = "N", value_parser = positive, default_value = "4096")]
    max_tokens: usize,
    /// System message of the chat template; none when empty.
    #[arg(long, value_name = "TEXT", default_value = "", conflicts_with = "plain")]
    system: String,
    /// A variable of the chat template, its value JSON or else text, as in `--variable enable_thinking=false`; `date` is the
    /// day that a template is told. May be repeated.
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable, conflicts_with = "plain")]
    variables: Vec<(String, Value)>,
    /// Continue the text as it stands, without the chat template.
    #[arg(long)]
    plain: bool,
    /// Write special tokens, such as the end token, as well.
    #[arg(long)]
    special: bool,
    /// Threads; 0 takes all cores. No token depends on it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// What matrix products compute with; the fastest that the CPU has unless given.
    #[arg(long, value_enum, value_name = "TYPE")]
    compute: Option<ComputeOption>,
    /// Where the model computes: auto, cpu, or cuda:N for card N; see `brevity devices`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceSetting,
}

/// Runs `brevity sample`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let texts = arguments.texts.iter().map(|text| read_text(text)).collect::<Result<Vec<_>>>()?;
    machine::warn_of_card(arguments.device, console);
    let compute = device::compute(arguments.device, arguments.compute.map(Into::into));
    let place = Place::new(
        arguments.device,
        compute,
        &machine::resources(arguments.device, machine::memory_bytes_available())?,
    )?;
    let work = || {
        let mut source = hub::open_model(&arguments.model, Some(compute.into()), console)?;
        let prompts = texts.iter().map(|text| prompt_tokens(arguments, &source, text)).collect::<Result<Vec<_>>>()?;
        source.model = put(source.model, &place, &prompts, arguments.max_tokens)?;
        for (position, prompt) in prompts.iter().enumerate() {
            complete(arguments, &source, (position, prompt), console)?;
        }
        Ok(Outcome::Done)
    };
    machine::thread_pool(arguments.threads)?.install(|| machine::with_card(work))
}

/// `model` at its place, if the longest completion of the longest of `prompts` finds room there.
fn put(model: Model, place: &Place, prompts: &[Vec<u32>], tokens_max: usize) -> Result<Model> {
    let longest = prompts.iter().map(Vec::len).max().unwrap_or(1);
    let room = model.config().positions_max - longest;
    let load = SamplingLoad { groups: 1, group_size: 1, lengths: [longest, tokens_max.min(room)], sequences_max: 1 };
    let plan = plan_sampling(&model, place.memory(), load, place.free_bytes())?;
    Ok(place.put(model, plan.estimate.cache as usize)?)
}

fn read_text(text: &str) -> Result<String> {
    if text != "-" {
        return Ok(text.to_owned());
    }
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).context("cannot read standard input as UTF-8 text")?;
    Ok(input.trim_end_matches(['\n', '\r']).to_owned())
}

/// Writes every completion of one text.
fn complete(
    arguments: &Arguments,
    source: &ModelDirectory,
    (position, prompt): (usize, &[u32]),
    console: &Console,
) -> Result<()> {
    let settings = SamplerSettings {
        sampling: Sampling {
            temperature: arguments.temperature as f32,
            top_k: arguments.top_k,
            top_p: arguments.top_p as f32,
        },
        completion_tokens_max: arguments.max_tokens,
        sequences_max: 1,
        cache_bytes_max: 0,
        end_tokens: source.end_tokens.clone(),
    };
    let prefix = Prefix::new(&source.model, prompt);
    let several = arguments.n > 1 || arguments.texts.len() > 1;
    for index in 0..arguments.n {
        if several {
            let of_text = if arguments.texts.len() > 1 { format!("text {}, ", position + 1) } else { String::new() };
            console.result(format!("== {of_text}completion {} of {}", index + 1, arguments.n))?;
        }
        // The stream of an evaluation's completion: a problem's text gives here what it gives there.
        let stream = Stream::new(arguments.seed, Purpose::Evaluation, [position as u64, index as u64, 0]);
        let clock = machine::clock();
        let mut written = source.tokenizer.stream();
        let mut last = String::new();
        let (tokens, stop) = stream_completion(&source.model, &prefix, &settings, stream, |token| {
            let mut part = written.push(token);
            if arguments.special && source.tokenizer.decode(&[token]).is_empty() {
                part.push_str(&source.tokenizer.decode_with_special(&[token]));
            }
            console.stream(&part)?;
            if !part.is_empty() {
                last = part;
            }
            Ok(())
        })?;
        let rest = written.finish();
        console.stream(&rest)?;
        if !last.ends_with('\n') || !rest.is_empty() {
            console.stream("\n")?;
        }
        console.note(remark(tokens, stop, clock()));
    }
    Ok(())
}

/// `[57 tokens, 41 tokens/s]`.
fn remark(tokens: usize, stop: StopReason, seconds: f64) -> String {
    let how = match stop {
        StopReason::End => "",
        StopReason::Limit => ", cut off at the limit",
    };
    format!("[{}{how}, {:.0} tokens/s]", counted(tokens, "token"), tokens as f64 / seconds.max(1e-3))
}

fn prompt_tokens(arguments: &Arguments, source: &ModelDirectory, text: &str) -> Result<Vec<u32>> {
    if !arguments.plain && source.chat.is_none() {
        bail!("`{}` has no chat template; pass --plain to continue the text as it stands", arguments.model);
    }
    let positions_max = source.model.config().positions_max;
    let settings = PromptSettings {
        template: if arguments.plain { Template::Plain } else { Template::Chat },
        system: arguments.system.clone(),
        instruction: String::new(),
        prompt_tokens_max: positions_max,
        variables: arguments.variables.iter().cloned().collect(),
    };
    let (tokenizer, chat) = (&source.tokenizer, source.chat.as_ref());
    let prompter = Prompter { tokenizer, chat, settings: &settings, positions_max };
    let tokens = prompter.tokens(&prompter.text(text)?)?;
    if tokens.is_empty() {
        bail!("the text is empty; give some, or leave out --plain to use the chat template");
    }
    if tokens.len() >= positions_max {
        bail!("the prompt has {} tokens and the model takes {positions_max}; shorten the text", tokens.len());
    }
    Ok(tokens)
}

/// A prompt as the network left it.
struct Prefix {
    cache: Cache,
    /// Hidden row of the last token, \[C\].
    hidden: Vec<f32>,
    /// Tokens that the model's context leaves.
    room: usize,
}

impl Prefix {
    fn new(model: &Model, prompt: &[u32]) -> Self {
        let (mut cache, mut workspace) = (Cache::new(model), SamplerWorkspace::default());
        let mut hidden = Vec::new();
        for tokens in prompt.chunks(PREFILL_ROWS) {
            hidden = model.advance(&mut [Chunk { tokens, shared: None, own: &mut cache }], &mut workspace).to_vec();
        }
        Self { cache, hidden, room: model.config().positions_max.saturating_sub(prompt.len()) }
    }
}

/// Draws a completion and calls `each` with every token, the end token included. The tokens are those of
/// [`rl::sampler::sample`] for the same stream.
fn stream_completion(
    model: &Model,
    prefix: &Prefix,
    settings: &SamplerSettings,
    mut stream: Stream,
    mut each: impl FnMut(u32) -> Result<()>,
) -> Result<(usize, StopReason)> {
    let (mut own, mut workspace) = (Cache::new(model), SamplerWorkspace::default());
    let sampling = &settings.sampling;
    let mut drawn = model.draw(&prefix.hidden, sampling, &[stream.uniform()], &mut workspace);
    let limit = settings.completion_tokens_max.min(prefix.room).max(1);
    let mut tokens = 0;
    loop {
        let token = drawn[0].token;
        tokens += 1;
        each(token)?;
        if settings.end_tokens.contains(&token) {
            return Ok((tokens, StopReason::End));
        }
        if tokens == limit {
            return Ok((tokens, StopReason::Limit));
        }
        let chunk = Chunk { tokens: &[token], shared: Some(&prefix.cache), own: &mut own };
        drawn = model.advance_and_draw(&mut [chunk], (sampling, &[stream.uniform()]), &mut workspace);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::{Compute, ModelConfig, read_weights};
    use rl::sampler::{Request, sample};

    use super::*;

    #[test]
    fn streamed_tokens_are_those_of_the_sampler() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/data/qwen3");
        let (model, _) = read_weights(&directory, ModelConfig::read(&directory).unwrap(), Compute::F32).unwrap();
        for (temperature, top_k, top_p) in [(1.0, 0, 1.0), (0.7, 9, 0.9), (0.0, 0, 1.0)] {
            let settings = SamplerSettings {
                sampling: Sampling { temperature, top_k, top_p },
                completion_tokens_max: 1000,
                sequences_max: 3,
                cache_bytes_max: 0,
                end_tokens: vec![2],
            };
            check_against_sampler(&model, &[3, 1, 4, 1, 5], &settings);
        }
    }

    fn check_against_sampler(model: &Model, prompt: &[u32], settings: &SamplerSettings) {
        let streams = || (0..4).map(|index| Stream::new(7, Purpose::Evaluation, [0, index, 0]));
        let requests = [Request { prompt: prompt.to_vec(), streams: streams().collect() }];
        let expected = &sample(model, &requests, settings, |_| ())[0];
        let prefix = Prefix::new(model, prompt);
        for (stream, expected) in streams().zip(expected) {
            let mut tokens = Vec::new();
            let each = |token| {
                tokens.push(token);
                Ok(())
            };
            let ending = stream_completion(model, &prefix, settings, stream, each).unwrap();
            assert_eq!(tokens, expected.tokens);
            assert_eq!(ending, (expected.tokens.len(), expected.stop));
        }
    }
}
