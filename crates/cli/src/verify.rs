//! `brevity verify`: verdicts on completions made elsewhere, row by row, in constant memory. Deciding is the crate
//! `verify`'s.

mod in_order;
mod lines;
mod row;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use flate2::read::MultiGzDecoder;
use record::write::{self, Replacement};
use rl::statistics::wilson_interval;
use verify::{Extraction, Verdict};

use self::{
    in_order::in_order,
    lines::{Batch, LINE_BYTES_MAX, Lines},
    row::{FieldArguments, Judgement, judge},
};
use crate::{
    Outcome,
    console::Console,
    machine,
    options::extraction,
    output::refuse_unlike,
    progress::Progress,
    table::{aligned, counted, labelled, percent},
};

const EXAMPLES: &str = "\
Examples:
  brevity verify completions.jsonl --out verdicts.jsonl
  brevity verify samples.jsonl --field-completion outputs --field-gold answer --bad-rows skip
  brevity verify evals/tiny-gsm8k-seed0/records.jsonl --field-id problem --field-stop stop
  zcat completions.jsonl.gz | brevity verify - > verdicts.jsonl

A row is a JSON object on a line of its own: {\"gold\": \"72\", \"completion\": \"… \\\\boxed{72}\"}.
Each completion gives a line with `line`, `id`, `sample`, `gold`, `verdict`, `answer`, `reason`, `truncated`.
They come in the order of the rows, and the number of threads changes no byte of them.
Accuracy is the mean over rows of the share of correct completions, with the rows as sample size of its interval.";

/// Decide which completions made elsewhere are correct.
///
/// The verdicts go to the file of --out, or to standard output; what they add up to comes after them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// File with one JSON object a line, packed where its name ends in `.gz`; `-` reads standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    fields: FieldArguments,
    /// How the answer is found: `auto` (a box, `####`, the last formula or number), or `marker:WORD` for what follows
    /// WORD.
    #[arg(long, value_name = "HOW", value_parser = extraction, default_value = "auto")]
    extraction: Extraction,
    /// File for the verdicts, which is there when all rows are read; standard output unless given.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What a row that cannot be read does.
    #[arg(long, value_enum, value_name = "HOW", default_value_t = BadRows::Refuse)]
    bad_rows: BadRows,
    /// Threads; 0 takes all cores. No verdict depends on it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

/// What a row that cannot be read does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum BadRows {
    /// It ends the command.
    Refuse,
    /// It is named, counted and passed over.
    Skip,
}

/// A row that could not be read.
struct BadRow {
    line: u64,
    message: String,
}

/// What a batch of rows came to.
#[derive(Default)]
struct Judged {
    /// Lines of the output.
    output: Vec<u8>,
    tally: Tally,
    /// Share of correct completions of each row, in order.
    shares: Vec<f64>,
    bad_rows: Vec<BadRow>,
    /// Of the input.
    bytes: u64,
}

/// Completions counted.
#[derive(Debug, Default)]
struct Tally {
    by_verdict: BTreeMap<Verdict, u64>,
    truncated: u64,
}

/// Sums over all rows so far.
#[derive(Debug, Default)]
struct Totals {
    tally: Tally,
    rows: u64,
    /// Σ over rows of the share of correct completions, added row by row.
    shares: f64,
    bad_rows: u64,
}

/// Runs `brevity verify`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let (source, bytes) = open(&arguments.file)?;
    let mut out = arguments.out.as_deref().map(|out| begin(out, &arguments.file)).transpose()?;
    let mut lines = Lines::new(source, LINE_BYTES_MAX);
    let next = || lines.next_batch().with_context(|| format!("cannot read {}", name(&arguments.file)));
    let bar = bytes.map(|bytes| Progress::new(console).work(0, bytes));
    let mut totals = Totals::default();
    let consume = |judged: Judged| {
        match &mut out {
            Some(file) => file.write(&judged.output)?,
            None => console.stream(std::str::from_utf8(&judged.output).context("verdicts are UTF-8")?)?,
        }
        for bad in &judged.bad_rows {
            let message = format!("{}, line {}: {}", name(&arguments.file), bad.line, bad.message);
            match arguments.bad_rows {
                BadRows::Refuse => bail!(message),
                BadRows::Skip => console.warning(format!("passed over: {message}")),
            }
        }
        totals.add(&judged);
        if let Some(bar) = &bar {
            bar.advance(judged.bytes, totals.message());
        }
        Ok(())
    };
    let threads = if arguments.threads == 0 { machine::cores() } else { arguments.threads };
    in_order(threads, next, |batch| judge_batch(&batch, arguments), consume)?;
    drop(bar);
    if totals.rows == 0 {
        let passed_over = counted(totals.bad_rows as usize, "bad row");
        bail!("{} holds no row to judge ({passed_over}); give one JSON object a line", name(&arguments.file));
    }
    let to_file = out.is_some();
    if let Some(out) = out {
        out.finish()?;
    }
    for line in totals.summary() {
        if to_file { console.result(line)? } else { console.note(line) }
    }
    Ok(Outcome::Done)
}

/// The rows' source, with its length where it has one.
fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let failed = || format!("cannot read {}", path.display());
    if fs::metadata(path).with_context(failed)?.is_dir() {
        bail!("{} is a directory; give a file with one JSON object a line", path.display());
    }
    let file = File::open(path).with_context(failed)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok((Box::new(MultiGzDecoder::new(file)), None));
    }
    let bytes = file.metadata().with_context(failed)?.len();
    Ok((Box::new(file), (bytes > 0).then_some(bytes)))
}

/// Begins the file of verdicts, which must not be the one that `rows` are read from.
fn begin(path: &Path, rows: &Path) -> Result<Replacement> {
    if path.canonicalize().is_ok_and(|path| rows.canonicalize().is_ok_and(|rows| rows == path)) {
        bail!("`{}` holds the rows, which the verdicts would replace; give --out another file", path.display());
    }
    refuse_unlike(path, b"{\"line\":", "verdicts")?;
    Ok(Replacement::begin_output(path)?)
}

fn name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

fn judge_batch(batch: &Batch, arguments: &Arguments) -> Judged {
    let mut judged = Judged { bytes: batch.bytes, ..Judged::default() };
    for line in &batch.lines {
        match judge(line, &arguments.fields, &arguments.extraction) {
            Ok(Some(judgements)) => judged.add(&judgements),
            Ok(None) => {}
            Err(error) => {
                judged.bad_rows.push(BadRow { line: line.number, message: error.to_string() });
                if arguments.bad_rows == BadRows::Refuse {
                    break;
                }
            }
        }
    }
    judged
}

impl Judged {
    /// Adds a row's completions.
    fn add(&mut self, judgements: &[Judgement]) {
        self.output.extend(write::json_lines(judgements));
        for judgement in judgements {
            *self.tally.by_verdict.entry(judgement.verdict).or_default() += 1;
            self.tally.truncated += u64::from(judgement.truncated);
        }
        let correct = judgements.iter().filter(|judgement| judgement.is_correct()).count();
        self.shares.push(correct as f64 / judgements.len() as f64);
    }
}

impl Totals {
    fn add(&mut self, judged: &Judged) {
        for (&verdict, completions) in &judged.tally.by_verdict {
            *self.tally.by_verdict.entry(verdict).or_default() += completions;
        }
        self.tally.truncated += judged.tally.truncated;
        self.rows += judged.shares.len() as u64;
        for share in &judged.shares {
            self.shares += share;
        }
        self.bad_rows += judged.bad_rows.len() as u64;
    }

    fn accuracy(&self) -> f64 {
        self.shares / self.rows.max(1) as f64
    }

    fn message(&self) -> String {
        format!("{}, accuracy {}", counted(self.rows as usize, "row"), percent(self.accuracy()))
    }

    /// The counts by verdict and the accuracy, as lines.
    fn summary(&self) -> Vec<String> {
        let completions: u64 = self.tally.by_verdict.values().sum();
        let mut verdicts = vec![["verdict", "completions", "share"].map(str::to_owned).to_vec()];
        verdicts.extend(self.tally.by_verdict.iter().map(|(verdict, count)| {
            let share = percent(*count as f64 / completions.max(1) as f64);
            vec![verdict_name(*verdict), count.to_string(), share]
        }));
        let interval = wilson_interval(self.accuracy().min(1.0), self.rows as usize);
        let (low, high) = (interval.low * 100.0, percent(interval.high));
        let numbers = [
            ("accuracy", format!("{} (95 % interval {low:.1} to {high})", percent(self.accuracy()))),
            ("rows", self.rows.to_string()),
            ("completions", completions.to_string()),
            ("truncated", self.tally.truncated.to_string()),
            ("bad rows", self.bad_rows.to_string()),
        ];
        let mut lines = aligned(&verdicts);
        lines.push(String::new());
        lines.extend(labelled(&numbers));
        lines
    }
}

/// The verdict as the output spells it.
fn verdict_name(verdict: Verdict) -> String {
    serde_json::to_value(verdict).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}
