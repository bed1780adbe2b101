//! Run directories of older schema versions made into those of this one, in place.
//!
//! Every file is written anew whole and `run.json` last, so a conversion that was cut short is begun again by the same
//! command. What schema 1 and 2 lack and nobody can know, such as the files that the run began with, is taken as it is
//! now and said.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use record::{
    EvaluationRecord, EvaluationSummary, RecordError, RunDirectory, RunHeader, RunLock, SCHEMA_VERSION, STEPS_MAX,
    Versioned, manifest, read, write,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    RlError,
    checkpoint::State,
    config::RunConfig,
    inputs::Inputs,
    summary::{EvaluationSettings, summarise},
};

/// Makes the run directory `root`, of schema 1 or 2, one of this version. `resolve` finds the model that it started
/// from. Returns what could not be known, or nothing of a run that is of this version already.
///
/// # Errors
/// [`RlError`] when `root` is of another version, a file of it is malformed, or it cannot be written; the same call
/// begins anew then.
pub fn convert(
    root: &Path,
    resolve: impl Fn(&str) -> Result<PathBuf, RlError>,
) -> Result<Option<Vec<String>>, RlError> {
    let header = root.join("run.json");
    let schema = Versioned::read(&header)?.schema;
    if schema == Some(SCHEMA_VERSION) {
        return Ok(None);
    }
    if !matches!(schema, Some(1 | 2)) {
        let found = schema.map_or("none".to_owned(), |schema| schema.to_string());
        let message =
            format!("is of schema {found}, and schemas 1 and 2 are converted; use a later version of brevity");
        return Err(RlError::File { path: root.to_owned(), message });
    }
    let _lock = RunLock::take(root)?;
    let config: RunConfig = crate::config::read_config(&root.join("config.toml"), &[])?;
    let toml = config.to_toml();
    for part in ["rollouts", "evaluations", "checkpoints"] {
        write::create_directory(&root.join(part))?;
    }
    // Whole before anything is changed; the header comes last, because the run is of this version from then on.
    RunDirectory::metrics_in(root)?;
    evaluations(root)?;
    compress(&root.join("rollouts"))?;
    compress(&root.join("evaluations"))?;
    checkpoints(&root.join("checkpoints"), config.rollout.prompts_per_step as u64)?;
    write::replace(&root.join("config.toml"), toml.as_bytes())?;
    let (inputs, unknown) = inputs(&config, &toml, resolve);
    let mut fields: Map<String, Value> = read_json(&header)?;
    let compute = config.compute.map_or("unknown", crate::config::ComputeType::name);
    fields.insert("compute".into(), compute.into());
    fields.insert("mathematics".into(), "unknown".into());
    fields.insert("inputs".into(), serde_json::to_value(inputs).expect("names and checksums serialise to JSON"));
    fields.insert("schema".into(), SCHEMA_VERSION.into());
    let converted: RunHeader = serde_json::from_value(Value::Object(fields)).map_err(|e| malformed(&header, &e))?;
    write::replace_json(&header, &converted)?;
    Ok(Some(unknown))
}

/// The files that decide numbers as they are now; and what is not there, without which the run cannot be resumed.
fn inputs(
    config: &RunConfig,
    toml: &str,
    resolve: impl Fn(&str) -> Result<PathBuf, RlError>,
) -> (BTreeMap<String, String>, Vec<String>) {
    let found = resolve(&config.model.path).and_then(|model| Inputs::new(config, &model.into())?.checksums(toml));
    match found {
        Ok(checksums) => {
            let note = "which files the run began with is not known; they are taken to be those that are there now";
            (checksums, vec![note.to_owned()])
        }
        Err(error) => (BTreeMap::new(), vec![format!("the run can be read and not be resumed: {error}")]),
    }
}

/// What a line of `evaluations.jsonl` says in every schema.
#[derive(Debug, Deserialize)]
struct AnySummary {
    step: u64,
    benchmark: String,
    problems: usize,
    samples: u32,
    temperature: f64,
    #[serde(default = "all_mass")]
    top_p: f64,
    completion_tokens_max: u32,
    seed: u64,
}

/// Before there was `top_p`, all of it was kept.
const fn all_mass() -> f64 {
    1.0
}

/// Adds to records and summaries what schema 1 did not have.
fn evaluations(root: &Path) -> Result<(), RlError> {
    let path = root.join("evaluations.jsonl");
    let (mut summaries, mut known) = (String::new(), BTreeSet::new());
    for (index, line) in lines(&path)?.into_iter().enumerate() {
        let wrong = |message| RecordError::Malformed { path: path.clone(), line: index + 1, message };
        let summary: AnySummary = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
        let AnySummary { step, benchmark, .. } = &summary;
        if *step > STEPS_MAX {
            return Err(wrong(format!("`step` is {step}, and no run comes to more than {STEPS_MAX}")).into());
        }
        if benchmark.contains(['/', '\\', '\0']) {
            return Err(wrong(format!("names the benchmark `{benchmark}`, which is no part of a file name")).into());
        }
        let plain = root.join(format!("evaluations/step-{step:06}-{benchmark}.jsonl"));
        if !known.insert(plain.clone()) {
            let message = format!("is a second evaluation on `{benchmark}` at step {step}; remove one of the lines");
            return Err(wrong(message).into());
        }
        let records = records(&plain)?;
        if serde_json::from_str::<EvaluationSummary>(&line).is_ok() {
            keep(&plain, &records)?;
            summaries.extend([line.as_str(), "\n"]);
            continue;
        }
        refuse_others(&records, &summary).map_err(|message| RlError::File { path: plain.clone(), message })?;
        keep(&plain, &records)?;
        let settings = EvaluationSettings {
            step: summary.step,
            benchmark: summary.benchmark,
            samples: summary.samples,
            temperature: summary.temperature,
            top_p: summary.top_p,
            completion_tokens_max: summary.completion_tokens_max,
            seed: summary.seed,
        };
        summaries.push_str(&json_line(&summarise(&records, &settings)));
    }
    Ok(write::replace(&path, summaries.as_bytes())?)
}

/// Refuses records that are not those that their line says.
fn refuse_others(records: &[EvaluationRecord], summary: &AnySummary) -> Result<(), String> {
    let AnySummary { problems, samples, .. } = *summary;
    let mut by_problem: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for EvaluationRecord { problem, sample, .. } in records {
        let is_new = by_problem.entry(problem).or_default().insert(*sample);
        if *sample >= samples || !is_new {
            return Err(format!(
                "has completion {sample} of problem `{problem}` twice, or more than the {samples} that evaluations.jsonl \
                 says; put the file back"
            ));
        }
    }
    if by_problem.len() != problems || problems == 0 {
        let found = by_problem.len();
        return Err(format!("has {found} problems where evaluations.jsonl says {problems}; put the file back"));
    }
    match by_problem.iter().find(|(_, known)| known.len() != samples as usize) {
        Some((problem, known)) => Err(format!(
            "has {} completions of problem `{problem}` where evaluations.jsonl says {samples}; put the file back",
            known.len()
        )),
        None => Ok(()),
    }
}

/// The records in `plain`, or in its compressed form where an earlier attempt made that, with the fields of this version.
fn records(plain: &Path) -> Result<Vec<EvaluationRecord>, RlError> {
    let compressed = plain.with_extension("jsonl.gz");
    let path = if plain.exists() { plain } else { &compressed };
    if !path.exists() {
        let message =
            "is missing, and evaluations.jsonl has a line of it; put the file back, or remove that line".into();
        return Err(RlError::File { path: plain.to_owned(), message });
    }
    let record = |line: String| {
        let mut fields: Map<String, Value> = serde_json::from_str(&line).map_err(|error| malformed(path, &error))?;
        fields.entry("tokens_from").or_insert("engine".into());
        fields.entry("prefixes").or_insert(Value::Null);
        serde_json::from_value(Value::Object(fields)).map_err(|error| malformed(path, &error))
    };
    lines(path)?.into_iter().map(record).collect()
}

/// Writes the compressed form of the records in `plain`, in place of that.
fn keep(plain: &Path, records: &[EvaluationRecord]) -> Result<(), RlError> {
    write::replace(&plain.with_extension("jsonl.gz"), &write::compressed(&write::json_lines(records)))?;
    Ok(write::remove(plain)?)
}

/// Compresses the plain files of `directory`.
fn compress(directory: &Path) -> Result<(), RlError> {
    let paths = write::list(directory)?.into_iter().map(|name| directory.join(name));
    for plain in paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")) {
        let text: String = lines(&plain)?.into_iter().map(|line| line + "\n").collect();
        write::replace(&plain.with_extension("jsonl.gz"), &write::compressed(text.as_bytes()))?;
        write::remove(&plain)?;
    }
    Ok(())
}

/// Gives every checkpoint its manifest, and takes away the name of the latest, which the highest number says now.
fn checkpoints(directory: &Path, prompts_per_step: u64) -> Result<(), RlError> {
    for name in write::list(directory)?.iter().filter(|name| name.starts_with("step-") && !name.contains('.')) {
        let path = directory.join(name).join("state.json");
        let mut fields: Map<String, Value> = read_json(&path)?;
        let steps = fields.get("step").and_then(Value::as_u64).unwrap_or_default();
        fields.entry("detours").or_insert(0.into());
        fields.entry("problems_taken").or_insert(steps.saturating_mul(prompts_per_step).into());
        fields.entry("shaper").or_insert(json!({ "nothing": {} }));
        let state: State = serde_json::from_value(Value::Object(fields)).map_err(|error| malformed(&path, &error))?;
        state.check().map_err(|message| RlError::File { path: path.clone(), message })?;
        write::replace(&path, json_line(&state).trim_end().as_bytes())?;
        manifest::write(&directory.join(name))?;
    }
    Ok(write::remove(&directory.join("latest"))?)
}

fn json_line<T: Serialize>(value: &T) -> String {
    String::from_utf8(write::json_lines(std::slice::from_ref(value))).expect("JSON is UTF-8")
}

fn lines(path: &Path) -> Result<Vec<String>, RlError> {
    Ok(record::whole_lines(path)?.lines().map(str::to_owned).collect())
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, RlError> {
    let bytes = read::bytes(path).map_err(|source| RlError::Io { action: "read", path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|error| malformed(path, &error))
}

fn malformed(path: &Path, error: &serde_json::Error) -> RlError {
    RecordError::Malformed { path: path.to_owned(), line: error.line(), message: error.to_string() }.into()
}
