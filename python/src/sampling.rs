//! Completions from a model directory, by this repository's engine.

use std::{collections::BTreeMap, path::PathBuf};

use ::model::{ModelDirectory, Sampling, threads::Pool};
use numpy::PyArray1;
use pyo3::{prelude::*, types::PyDict};
use record::StopReason;
use rl::{
    config::{ComputeType, PromptSettings, Template, is_temperature},
    prompt::Prompter,
    random::{Purpose, Stream},
    sampler::{Completion, Request, SamplerSettings, sample},
};
use serde_json::Value;

use crate::convert::{exception, from_python, refused};

/// A model directory in Hugging Face layout, in memory.
#[pyclass(module = "brevity_rl._native", frozen)]
pub(crate) struct Model(ModelDirectory);

/// How completions are sampled.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Settings {
    n: usize,
    temperature: f32,
    top_k: usize,
    top_p: f32,
    max_tokens: usize,
    seed: u64,
    /// System message of the chat template; `None` continues the texts as they stand, without a template.
    system: Option<String>,
    threads: usize,
}

#[pymethods]
impl Model {
    #[new]
    fn new(py: Python<'_>, path: PathBuf, compute: &Bound<'_, PyAny>) -> PyResult<Self> {
        let compute = ComputeType::resolve(from_python(compute, "compute")?);
        py.detach(|| ModelDirectory::open(&path, compute)).map(Self).map_err(|error| exception(&error))
    }

    /// Trainable parameters.
    #[getter]
    fn parameter_count(&self) -> usize {
        self.0.model.parameter_count()
    }

    /// `n` completions of each text.
    fn sample<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<String>,
        settings: Settings,
        variables: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Vec<Bound<'py, PyDict>>>> {
        let (temperature, top_p) = (settings.temperature, settings.top_p);
        let allowed = is_temperature(temperature.into()) && top_p > 0.0 && top_p <= 1.0 && settings.max_tokens > 0;
        if !allowed {
            return refused(
                "`temperature` must be 0 or between 0.001 and 100, `top_p` above 0 and at most 1, `max_tokens` above 0",
            );
        }
        let variables = from_python(variables, "variables")?;
        let prompts = self.prompts(&texts, &settings, variables)?;
        let groups = py.detach(|| {
            let pool = Pool::new(settings.threads).map_err(|error| exception(&error))?;
            Ok::<_, PyErr>(pool.install(|| self.complete(prompts, &settings)))
        })?;
        groups.iter().map(|group| group.iter().map(|one| self.python(py, one)).collect()).collect()
    }
}

impl Model {
    fn prompts(
        &self,
        texts: &[String],
        settings: &Settings,
        variables: BTreeMap<String, Value>,
    ) -> PyResult<Vec<Vec<u32>>> {
        let Self(source) = self;
        let positions_max = source.model.config().positions_max;
        let prompt = PromptSettings {
            template: if settings.system.is_some() { Template::Chat } else { Template::Plain },
            system: settings.system.clone().unwrap_or_default(),
            instruction: String::new(),
            variables,
            prompt_tokens_max: positions_max,
        };
        if settings.system.is_none() && !prompt.variables.is_empty() {
            return refused("`variables` are read by a chat template, and `system` is None; leave one of them out");
        }
        let (tokenizer, chat) = (&source.tokenizer, source.chat.as_ref());
        let prompter = Prompter { tokenizer, chat, settings: &prompt, positions_max };
        let tokens = |text: &String| {
            let text = prompter.text(text).map_err(|error| exception(&error))?;
            let tokens = prompter.tokens(&text).map_err(|error| exception(&error))?;
            if tokens.is_empty() || tokens.len() >= positions_max {
                let tokens = tokens.len();
                return refused(format!("a prompt has {tokens} tokens; allowed are 1 to {}", positions_max - 1));
            }
            Ok(tokens)
        };
        texts.iter().map(tokens).collect()
    }

    /// The tokens of `brevity sample` for the same texts and seed.
    fn complete(&self, prompts: Vec<Vec<u32>>, settings: &Settings) -> Vec<Vec<Completion>> {
        let Self(source) = self;
        let streams = |position: usize| {
            let stream =
                move |index| Stream::new(settings.seed, Purpose::Evaluation, [position as u64, index as u64, 0]);
            (0..settings.n).map(stream).collect()
        };
        let requests: Vec<Request> = prompts
            .into_iter()
            .enumerate()
            .map(|(position, prompt)| Request { prompt, streams: streams(position) })
            .collect();
        let Settings { temperature, top_k, top_p, max_tokens, .. } = *settings;
        let settings = SamplerSettings {
            sampling: Sampling { temperature, top_k, top_p },
            completion_tokens_max: max_tokens,
            sequences_max: 64,
            cache_bytes_max: 0,
            end_tokens: source.end_tokens.clone(),
        };
        sample(&source.model, &requests, &settings, |_| ())
    }

    fn python<'py>(&self, py: Python<'py>, completion: &Completion) -> PyResult<Bound<'py, PyDict>> {
        let record = PyDict::new(py);
        record.set_item("text", self.0.tokenizer.decode(&completion.tokens))?;
        record.set_item("tokens", PyArray1::from_iter(py, completion.tokens.iter().map(|&token| i64::from(token))))?;
        record.set_item("logprobs", PyArray1::from_slice(py, &completion.logprobs))?;
        record.set_item("entropy_nats", completion.entropy_nats)?;
        record.set_item("ended", completion.stop == StopReason::End)?;
        Ok(record)
    }
}
