//! The speed comparison: our engine, the peers, and what the machine can do at most, row by row.
//!
//! Of a row everything runs one after the other, so that what else the machine does disturbs all alike. What is
//! measured and how is in [`rows`] and `scripts/bench`; that a row is slow is no failure of this command.
#![expect(clippy::print_stderr, reason = "progress; the table on standard output stays clean")]

mod limit;
mod measure;
mod rows;
mod table;

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use self::{
    limit::Probe,
    measure::{Engine, Outcome, Peers, Repetition},
    rows::{Peer, ROWS, Row},
    table::Form,
};

/// What to measure, and where the numbers go.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct Options {
    /// Rows to measure; all of them without any.
    #[arg(value_name = "ROW")]
    rows: Vec<String>,
    /// Measures the peers too: the virtual environment in which scripts/bench/requirements.txt is installed.
    #[arg(long, value_name = "VENV")]
    peers: Option<PathBuf>,
    /// Measures the rows of NVIDIA cards instead, on card N of the driver's order; docs/gpu.md says what it needs.
    #[arg(long, value_name = "N")]
    card: Option<usize>,
    /// Measures with the engine of this folder, which `cargo xtask cuda --bundle` made.
    #[arg(long, value_name = "FOLDER")]
    programs: Option<PathBuf>,
    /// Measured repeats of each row, after one that warms up.
    #[arg(long, default_value_t = 5, value_parser = positive)]
    repeats: usize,
    /// Threads of ours, the peers and the probe; rows that are about threads have their own.
    #[arg(long, default_value_t = 2, value_parser = positive)]
    threads: usize,
    /// JSON lines with every number, one line a row, appended to [default: target/bench/UNIX-SECONDS.jsonl].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Prints the table as Markdown.
    #[arg(long)]
    markdown: bool,
    /// Prints the names of the rows and measures nothing.
    #[arg(long)]
    list: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&number| number > 0).ok_or_else(|| format!("`{text}` is no number above 0"))
}

/// A row with all that was measured of it.
struct Measured {
    row: Row,
    threads: usize,
    /// When the row started.
    load_average: Option<f64>,
    probe_before: Probe,
    probe_after: Probe,
    ours: Outcome,
    peers: Vec<(Peer, Outcome)>,
}

impl Measured {
    fn outcome_of(&self, peer: Peer) -> Option<&Outcome> {
        self.peers.iter().find(|(of, _)| *of == peer).map(|(_, outcome)| outcome)
    }

    /// Tokens of a repeat, by whomever was timed.
    fn tokens(&self) -> Option<u64> {
        let outcomes = [&self.ours].into_iter().chain(self.peers.iter().map(|(_, outcome)| outcome));
        outcomes.filter_map(Outcome::timing).map(|timing| timing.tokens).next()
    }

    fn our_seconds(&self) -> Option<f64> {
        Some(self.ours.timing()?.median_seconds())
    }

    /// By the mean of both probes: a disturbed one counts half.
    fn limit_seconds(&self) -> f64 {
        limit::seconds(&self.row, &self.probe_before.mean(self.probe_after))
    }

    fn share_of_limit(&self) -> Option<f64> {
        Some(self.limit_seconds() / self.our_seconds()?)
    }

    /// Our speed over that of the fastest peer.
    fn times_as_fast(&self) -> Option<f64> {
        let timings = self.peers.iter().filter_map(|(_, outcome)| outcome.timing());
        let best = timings.map(measure::Timing::median_seconds).min_by(f64::total_cmp)?;
        Some(best / self.our_seconds()?)
    }

    /// The row's line of the file.
    fn json(&self) -> Value {
        let peers: serde_json::Map<String, Value> =
            self.peers.iter().map(|(peer, outcome)| (peer.row(&self.row), json!(outcome))).collect();
        json!({
            "row": self.row.name,
            "threads": self.threads,
            "load_average": self.load_average,
            "probe_before": self.probe_before,
            "probe_after": self.probe_after,
            "ours": self.ours,
            "peers": peers,
            "our_median_seconds": self.our_seconds(),
            "times_as_fast": self.times_as_fast(),
            "limit_seconds": self.limit_seconds(),
            "share_of_limit": self.share_of_limit(),
            "aim_share_of_limit": self.row.aim,
        })
    }
}

/// Measures the rows of `options` with what the repository at `root` builds, and prints the table.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if options.list {
        for row in ROWS {
            println!("{}", row.name);
        }
        return Ok(());
    }
    let rows = chosen(options)?;
    let peers = options.peers.as_deref().map(|environment| Peers::new(root, environment)).transpose()?;
    let path = options.out.clone().unwrap_or_else(|| default_path(root));
    let executable = options.programs.as_ref().map_or_else(|| build_engine(root), |folder| Ok(folder.join(ENGINE)))?;
    let engine = Engine::new(executable);
    let mut measured = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        eprintln!("{} ({} of {})", row.name, index + 1, rows.len());
        let threads = row.threads.unwrap_or(options.threads);
        let repetition = Repetition { threads, repeats: options.repeats, card: options.card };
        let row = measure_row(row, &engine, peers.as_ref(), repetition)?;
        append(&path, &row.json())?;
        measured.push(row);
    }
    print!("{}", table::table(&measured, if options.markdown { Form::Markdown } else { Form::Aligned }));
    eprintln!("every number is in {}", path.display());
    Ok(())
}

/// The name of the engine's benchmark among programs that were built elsewhere.
pub(crate) const ENGINE: &str = "engine";

/// Builds the engine's benchmark in the repository at `root`; where it lies.
pub(crate) fn build_engine(root: &Path) -> Result<PathBuf> {
    Engine::build(root)
}

/// The rows of these names in the order of the table, of a card or of the processor.
fn chosen(options: &Options) -> Result<Vec<&'static Row>> {
    let (names, is_on_card) = (&options.rows, options.card.is_some());
    for name in names {
        match Row::named(name) {
            None => bail!("there is no row `{name}`; `cargo xtask bench --list` prints those there are"),
            Some(row) if row.is_on_card != is_on_card => {
                bail!("the row `{name}` is of {}", if row.is_on_card { "a card; pass --card" } else { "the processor" })
            }
            Some(_) => (),
        }
    }
    let is_chosen = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.name);
    Ok(ROWS.iter().filter(|row| row.is_on_card == is_on_card).filter(is_chosen).collect())
}

fn measure_row(row: &Row, engine: &Engine, peers: Option<&Peers>, repetition: Repetition) -> Result<Measured> {
    let load_average = measure::load_average();
    let probe_before = engine.probe(repetition)?;
    let ours = engine.time(row, repetition);
    report("ours", &ours);
    let mut outcomes = Vec::new();
    for &peer in peers.map_or(&[][..], |_| row.peers) {
        let Some(peers) = peers else { break };
        let outcome = peers.time(row, peer, repetition);
        report(&peer.row(row), &outcome);
        outcomes.push((peer, outcome));
    }
    let probe_after = engine.probe(repetition)?;
    Ok(Measured {
        row: *row,
        threads: repetition.threads,
        load_average,
        probe_before,
        probe_after,
        ours,
        peers: outcomes,
    })
}

fn report(who: &str, outcome: &Outcome) {
    match outcome {
        Outcome::Timed(timing) => eprintln!("  {who}: {:.3} s, {}", timing.median_seconds(), timing.peer),
        Outcome::Failed { failed } => eprintln!("  {who} failed: {failed}"),
    }
}

/// Row by row, so that a run that is broken off leaves what it measured.
fn append(path: &Path, line: &Value) -> Result<()> {
    let write = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        writeln!(OpenOptions::new().create(true).append(true).open(path)?, "{line}")
    };
    write().with_context(|| format!("cannot write {}; name another file with --out", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "the name says when the numbers were measured")]
fn default_path(root: &Path) -> PathBuf {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    root.join("target/bench").join(format!("{seconds}.jsonl"))
}
