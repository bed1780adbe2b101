//! The page of one evaluation: its numbers, its settings, and every problem with its completions and verdicts.
//!
//! It opens without a network and reads without a script, which only filters completions by outcome and length. The
//! same records give the same bytes, and everything that comes from them is escaped.

mod numbers;
mod problems;

use super::{
    STYLE,
    escape::{Markup, block, clip, clipped_line, line},
    ticks::number,
};
use crate::{EvaluationHeader, EvaluationRecord, EvaluationSummary, PolicySource};

const PAGE_STYLE: &str = include_str!("evaluation.css");
const SCRIPT: &str = include_str!("evaluation.js");

const PROMPT_CHARACTERS_MAX: usize = 40_000;
/// Left-out problems that are listed.
const LEFT_OUT_MAX: usize = 200;

/// The page of an evaluation.
pub fn evaluation_page(header: &EvaluationHeader, summary: &EvaluationSummary, records: &[EvaluationRecord]) -> String {
    let mut page = Markup::default();
    let title = line(&format!("{} on {}", header.model, header.benchmark));
    page.put(format_args!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{title}</title><style>\n{STYLE}{PAGE_STYLE}</style></head>\n\
         <body><header><h1>{title}</h1><p class=\"facts\">{}</p></header>\n<main>",
        line(&facts(summary))
    ));
    numbers::section(header, summary, records, &mut page);
    left_out(header, &mut page);
    problems::section(records, &mut page);
    settings(header, &mut page);
    page.put(format_args!("</main>\n<script>\n{SCRIPT}</script></body></html>\n"));
    page.into_string()
}

/// What was measured, in one sentence.
fn facts(summary: &EvaluationSummary) -> String {
    let sampling = if summary.temperature > 0.0 {
        format!("sampled at temperature {} and nucleus mass {}", summary.temperature, summary.top_p)
    } else {
        "decoded greedily".to_owned()
    };
    let tokens_max = number(f64::from(summary.completion_tokens_max), 0);
    format!("{} problems, mean@{}, {sampling}, at most {tokens_max} tokens.", summary.problems, summary.samples)
}

/// The problems that were not measured.
fn left_out(header: &EvaluationHeader, out: &mut Markup) {
    let problems = &header.problems_left_out;
    if problems.is_empty() {
        return;
    }
    out.put(format_args!(
        "<section><h2>Left out</h2><p class=\"caption\">Not measured and counted nowhere: {} of the file.</p>\
         <ul class=\"left-out\">",
        if problems.len() == 1 { "1 problem".to_owned() } else { format!("{} problems", problems.len()) }
    ));
    for left_out in problems.iter().take(LEFT_OUT_MAX) {
        let (problem, reason) = (line(&left_out.problem), clipped_line(&left_out.reason, 500));
        out.put(format_args!("<li><bdi>{problem}</bdi>: <bdi>{reason}</bdi></li>"));
    }
    if problems.len() > LEFT_OUT_MAX {
        out.put(format_args!("<li>{} more are named in evaluation.json</li>", problems.len() - LEFT_OUT_MAX));
    }
    out.put_str("</ul></section>");
}

/// How it was measured: every setting, and one prompt as the policy was given it.
fn settings(header: &EvaluationHeader, out: &mut Markup) {
    let or_none = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let policy = match &header.policy {
        PolicySource::Engine { directory, parameters, cpu, compute, .. } => format!(
            "{} parameters from {}, computed in {compute} on {cpu}",
            number(*parameters as f64, 0),
            directory.display()
        ),
        PolicySource::Server { url, api, choices, body, tokenizer } => {
            let body: Vec<String> = body.iter().map(|(name, value)| format!(", {name} = {value}")).collect();
            let tokenizer = tokenizer.as_ref().map(|path| format!(", tokenizer from {}", path.display()));
            format!("{url} ({api}, {choices} in a request{}{})", body.concat(), tokenizer.unwrap_or_default())
        }
    };
    let limit = header.problems_limit.map_or_else(String::new, |limit| format!(", the first {limit} of the file"));
    let rows = [
        ("Model", header.model.clone()),
        ("Policy", policy),
        ("Benchmark", header.benchmark.clone()),
        ("Problems", format!("{}{limit}, from {}", header.problems, header.problems_path.display())),
        ("Completions for each", header.samples.to_string()),
        ("Temperature", header.temperature.to_string()),
        ("Nucleus mass (top-p)", header.top_p.to_string()),
        ("Tokens kept (top-k)", header.tokens_kept()),
        ("Token limit", number(f64::from(header.completion_tokens_max), 0)),
        ("Seed", header.seed.to_string()),
        (
            "Seed of the order of options",
            header.choices_seed.map_or_else(|| "none".to_owned(), |seed| seed.to_string()),
        ),
        ("Template", header.template.clone()),
        ("System message", or_none(&header.system)),
        ("Instruction", or_none(&header.instruction)),
        ("Extraction", serde_json::to_string(&header.extraction).expect("an extraction serialises to JSON")),
        ("Measured by", format!("brevity {}", header.brevity_version)),
    ];
    out.put_str("<section><h2>How it was measured</h2><dl class=\"settings\">");
    for (name, value) in rows {
        out.put(format_args!("<dt>{name}</dt><dd><bdi>{}</bdi></dd>", clipped_line(&value, 2000)));
    }
    out.put_str("</dl>");
    if let Some(prompt) = &header.prompt_example {
        out.put(format_args!(
            "<details><summary>The first problem's prompt, as the policy was given it</summary><pre>{}</pre></details>",
            block(&clip(prompt, PROMPT_CHARACTERS_MAX))
        ));
    }
    out.put_str("</section>");
}
