//! What an evaluation prints: its settings, its numbers, its files. 80 columns are enough for all but long names.

use anyhow::Result;
use record::{EvaluationDirectory, EvaluationHeader, EvaluationSummary, PolicySource};
use verify::Extraction;

use crate::{
    console::Console,
    table::{aligned, counted, labelled, percent},
};

/// Below this many problems the standard error is said aloud: it is then 5 points at an accuracy of one half.
const PROBLEMS_FEW: u32 = 100;

/// Every setting of the evaluation, named as its option.
pub(super) fn settings(header: &EvaluationHeader, sequences: usize, console: &Console) -> Result<()> {
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let extraction = match &header.extraction {
        Extraction::Auto {} => "auto".to_owned(),
        Extraction::Marker { marker } => format!("marker:{marker}"),
    };
    let PolicySource::Engine { parameters, cpu, compute, .. } = &header.policy;
    let rows = [
        ("model", format!("{}, {:.2} million parameters", header.model, *parameters as f64 / 1e6)),
        ("benchmark", format!("{}, {}", header.benchmark, counted(header.problems as usize, "problem"))),
        ("problems", header.problems_path.display().to_string()),
        ("samples", header.samples.to_string()),
        ("temperature", header.temperature.to_string()),
        ("top-p", header.top_p.to_string()),
        ("top-k", header.top_k.to_string()),
        ("max-tokens", header.completion_tokens_max.to_string()),
        ("seed", header.seed.to_string()),
        ("template", header.template.clone()),
        ("system", or_none(&header.system)),
        ("instruction", or_none(&header.instruction)),
        ("extraction", extraction),
        ("sequences", sequences.to_string()),
        ("machine", format!("{}, {cpu}, {compute}", counted(model::threads::count(), "thread"))),
    ];
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))
}

/// The numbers of an evaluation.
pub(super) fn summary(summary: &EvaluationSummary, console: &Console) -> Result<()> {
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

/// Where the evaluation is kept.
pub(super) fn files(directory: &EvaluationDirectory, console: &Console) -> Result<()> {
    let shown = |path: std::path::PathBuf| path.display().to_string();
    console.result("")?;
    let rows = [("summary", shown(directory.summary_path())), ("completions", shown(directory.records_path()))];
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))
}
