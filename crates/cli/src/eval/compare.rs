//! `brevity eval compare`: two evaluations of the same problems, side by side. The statistics are `rl`'s.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use record::{EvaluationDirectory, EvaluationHeader, EvaluationRecord, PolicySource, TokenSource};
use rl::comparison::{Comparison, PairedDifference, compare, require_same_settings};

use crate::{
    Outcome,
    console::Console,
    table::{aligned, counted, labelled},
};

const EXAMPLES: &str = "\
Examples:
  brevity eval compare evals/before-gsm8k-seed0 evals/after-gsm8k-seed0

Differences are taken problem by problem and are those of B less A.
The interval is a bootstrap over problems, the p-value a sign-flip test: how often a
difference as large would come by chance, were both sides the same. With one completion
for each problem that is McNemar's exact test.
Evaluations that differ in benchmark, prompts, limits or sampling are refused; what else
a server was asked for, and who counted tokens, may differ and is said.";

/// Compare two evaluations problem by problem: accuracy and completion tokens.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Directory of the evaluation to compare with.
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Directory of the evaluation to compare.
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Seed of the intervals, and of tests whose sign flips are drawn.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Runs `brevity eval compare`.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let (header_a, records_a) = read(&arguments.a)?;
    let (header_b, records_b) = read(&arguments.b)?;
    let refused = "the evaluations cannot be compared";
    require_same_settings(&header_a, &header_b).context(refused)?;
    let comparison = compare(&records_a, &records_b, arguments.seed).context(refused)?;
    let side = |path: &Path, header: &EvaluationHeader| format!("{} ({})", path.display(), header.model);
    let completions = match header_a.samples {
        1 => "one completion each".to_owned(),
        samples => format!("mean of {samples} completions"),
    };
    let rows = [
        ("benchmark", header_a.benchmark.clone()),
        ("problems", format!("{}, {completions}", comparison.problems)),
        ("A", side(&arguments.a, &header_a)),
        ("B", side(&arguments.b, &header_b)),
    ];
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))?;
    console.result("")?;
    show(&comparison, console)?;
    warn(&header_a, &header_b, console);
    warn_of_counts(&records_a, &records_b, console);
    Ok(Outcome::Done)
}

fn read(path: &Path) -> Result<(EvaluationHeader, Vec<EvaluationRecord>)> {
    let directory = EvaluationDirectory::open(path)?;
    directory.summary()?;
    let records = directory.records()?;
    if records.is_empty() {
        bail!("{} holds no records; evaluate again", directory.records_path().display());
    }
    Ok((directory.header()?, records))
}

fn show(comparison: &Comparison, console: &Console) -> Result<()> {
    let Comparison { problems, accuracy, completion_tokens, better, worse } = comparison;
    let heading = ["", "A", "B", "B − A", "95 % interval", "p"].map(str::to_owned).to_vec();
    let rows = [heading, row("accuracy, %", accuracy, 100.0), row("completion tokens", completion_tokens, 1.0)];
    aligned(&rows).into_iter().try_for_each(|line| console.result(line))?;
    console.result("")?;
    let equal = problems - better - worse;
    console.result(format!("B has more correct on {}, A on {worse}, neither on {equal}", problems_of(*better)))?;
    if completion_tokens.a > 0.0 {
        let ratio = completion_tokens.b / completion_tokens.a;
        console.result(format!("B writes {:.1} % of the tokens of A", ratio * 100.0))?;
    }
    Ok(())
}

fn problems_of(count: u32) -> String {
    counted(count as usize, "problem")
}

fn row(name: &str, difference: &PairedDifference, scale: f64) -> Vec<String> {
    let PairedDifference { a, b, difference, interval, test } = difference;
    // Problems that all differ by the same have an interval of one point, which says too much.
    let interval = if interval.low < interval.high {
        format!("{} to {}", signed(interval.low * scale), signed(interval.high * scale))
    } else {
        "–".to_owned()
    };
    let p_value = if test.p_value < 1e-4 { "< 0.0001".to_owned() } else { format!("{:.4}", test.p_value) };
    vec![
        name.to_owned(),
        format!("{:.1}", a * scale),
        format!("{:.1}", b * scale),
        signed(difference * scale),
        interval,
        p_value,
    ]
}

/// One decimal place with a sign, a true minus; 0 has none.
fn signed(value: f64) -> String {
    let text = format!("{:.1}", value.abs());
    match text.as_str() {
        "0.0" => text,
        _ if value < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// What a reader should know and what does not forbid to compare.
fn warn(a: &EvaluationHeader, b: &EvaluationHeader, console: &Console) {
    if a.brevity_version != b.brevity_version {
        let (a, b) = (&a.brevity_version, &b.brevity_version);
        console.warning(format!("A was verified by brevity {a} and B by {b}, whose verdicts may differ"));
    }
    if a.prompt_example.is_some() && b.prompt_example.is_some() && a.prompt_example != b.prompt_example {
        console.warning("the chat templates of A and B differ, so the models saw other words around the questions");
    }
    let (maker_a, maker_b) = (maker(&a.policy), maker(&b.policy));
    if maker_a != maker_b {
        console.warning(format!("{maker_a} made A and {maker_b} B, so prompts or sampling may differ"));
    }
}

/// Who made an evaluation, and what a server was asked for besides what both headers say.
fn maker(policy: &PolicySource) -> String {
    match policy {
        PolicySource::Engine { .. } => "the engine".to_owned(),
        PolicySource::Server { api, body, .. } => {
            let body = body.iter().map(|(name, value)| format!("{name} = {value}"));
            let asked: Vec<String> = std::iter::once(api.clone()).chain(body).collect();
            format!("a server ({})", asked.join(", "))
        }
    }
}

/// Says who counted the tokens of A and B, where that differs: not all count the token that ends a completion.
fn warn_of_counts(a: &[EvaluationRecord], b: &[EvaluationRecord], console: &Console) {
    let counters = |records: &[EvaluationRecord]| -> BTreeSet<&str> {
        records.iter().map(|record| counter(record.tokens_from)).collect()
    };
    let (a, b) = (counters(a), counters(b));
    if a != b {
        let [a, b] = [a, b].map(|names| names.into_iter().collect::<Vec<_>>().join(" and "));
        console.warning(format!(
            "tokens of A were counted by {a} and those of B by {b}, which may differ by the token that ends a completion"
        ));
    }
}

fn counter(source: TokenSource) -> &'static str {
    match source {
        TokenSource::Engine => "the engine",
        TokenSource::Server => "the server",
        TokenSource::Tokenizer => "the tokenizer",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_have_a_sign_unless_they_round_to_nothing() {
        for (value, expected) in [(1.25, "+1.2"), (-111.06, "−111.1"), (0.04, "0.0"), (-0.04, "0.0"), (0.0, "0.0")] {
            assert_eq!(signed(value), expected, "{value}");
        }
    }
}
