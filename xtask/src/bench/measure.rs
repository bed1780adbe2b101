//! Running what is measured, one process each, and reading the line of JSON that it prints.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    limit::Probe,
    rows::{Peer, Row, Work},
};

/// Where the script of the peers lies in the repository.
const PEERS_SCRIPT: &str = "scripts/bench/peers.py";

/// What a process says of the row that it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Timing {
    /// What ran, with version or instruction set and threads.
    pub(super) peer: String,
    /// One number for each repeat.
    pub(super) seconds: Vec<f64>,
    /// Trained or sampled tokens of a repeat.
    pub(super) tokens: u64,
    /// Largest resident memory of the process.
    pub(super) peak_bytes: u64,
    #[serde(default)]
    pub(super) note: String,
}

impl Timing {
    /// Median of the repeats; of two in the middle their mean.
    pub(super) fn median_seconds(&self) -> f64 {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        let middle = seconds.len() / 2;
        if seconds.len() % 2 == 1 { seconds[middle] } else { f64::midpoint(seconds[middle - 1], seconds[middle]) }
    }

    pub(super) fn seconds_min(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(super) fn seconds_max(&self) -> f64 {
        self.seconds.iter().copied().fold(0.0, f64::max)
    }
}

/// How a measurement ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Timed(Timing),
    Failed { failed: String },
}

impl Outcome {
    pub(super) fn timing(&self) -> Option<&Timing> {
        match self {
            Self::Timed(timing) => Some(timing),
            Self::Failed { .. } => None,
        }
    }
}

impl From<Result<Timing>> for Outcome {
    fn from(result: Result<Timing>) -> Self {
        result.map_or_else(|error| Self::Failed { failed: format!("{error:#}") }, Self::Timed)
    }
}

/// How often and how wide everything is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repetition {
    pub(super) threads: usize,
    pub(super) repeats: usize,
    /// The card to measure on, in the driver's order.
    pub(super) card: Option<usize>,
}

impl Repetition {
    /// The options of a command that both the engine and the peers take.
    fn card_option(self) -> Option<String> {
        self.card.map(|index| format!("--card={index}"))
    }
}

/// The engine's benchmark, built.
pub(super) struct Engine {
    executable: PathBuf,
}

impl Engine {
    pub(super) fn new(executable: PathBuf) -> Self {
        Self { executable }
    }

    /// Builds it in the repository at `root`; where it lies.
    pub(super) fn build(root: &Path) -> Result<PathBuf> {
        let output = Command::new("cargo")
            .args(["bench", "-p", "rl", "--bench", "engine", "--no-run", "--message-format=json"])
            .current_dir(root)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            bail!("the engine's benchmark does not build; mend `cargo bench -p rl --bench engine --no-run`");
        }
        executable(&String::from_utf8_lossy(&output.stdout))
            .context("cargo names no executable of the benchmark `engine`; look at `[[bench]]` in crates/rl/Cargo.toml")
    }

    pub(super) fn probe(&self, repetition: Repetition) -> Result<Probe> {
        let mut command = Command::new(&self.executable);
        command.arg("probe").arg(format!("--threads={}", repetition.threads)).args(repetition.card_option());
        answer(&mut command).context("cannot probe the machine")
    }

    pub(super) fn time(&self, row: &Row, repetition: Repetition) -> Outcome {
        let Repetition { threads, repeats, .. } = repetition;
        let mut command = Command::new(&self.executable);
        command.arg(row.engine).arg(format!("--threads={threads}")).arg(format!("--repeats={repeats}"));
        command.args(repetition.card_option());
        timing(&mut command).into()
    }
}

/// The peers' script with the Python that runs it.
pub(super) struct Peers {
    python: PathBuf,
    script: PathBuf,
}

impl Peers {
    pub(super) fn new(root: &Path, environment: &Path) -> Result<Self> {
        // Not made canonical: the link is how Python knows its environment.
        let python = std::path::absolute(environment.join("bin/python"))?;
        let script = root.join(PEERS_SCRIPT);
        for file in [&python, &script] {
            if !file.is_file() {
                bail!("--peers: there is no {}; scripts/bench/README.md says how to make it", file.display());
            }
        }
        Ok(Self { python, script })
    }

    pub(super) fn time(&self, row: &Row, peer: Peer, repetition: Repetition) -> Outcome {
        let Repetition { threads, repeats, .. } = repetition;
        let mut command = Command::new(&self.python);
        command.arg(&self.script).arg(peer.row(row));
        command.args(["--threads", &threads.to_string(), "--repeats", &repeats.to_string()]);
        command.args(repetition.card_option());
        // On a processor it is a little faster and takes a minute first; on a card it is what people do.
        if row.is_on_card && matches!(row.work, Work::Train { .. }) {
            command.arg("--compile");
        }
        timing(&mut command).into()
    }
}

fn timing(command: &mut Command) -> Result<Timing> {
    let timing: Timing = answer(command)?;
    if timing.seconds.is_empty() {
        bail!("it timed no repeat; ask for more with --repeats");
    }
    Ok(timing)
}

/// Runs `command` and reads the last line it prints.
fn answer<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{} ({})", reason(&String::from_utf8_lossy(&output.stderr)), output.status);
    }
    parse(&String::from_utf8_lossy(&output.stdout))
}

fn parse<T: DeserializeOwned>(stdout: &str) -> Result<T> {
    let line = stdout.lines().rfind(|line| !line.trim().is_empty()).context("it printed nothing")?;
    serde_json::from_str(line).with_context(|| format!("it printed no answer but `{line}`"))
}

/// The line of `stderr` that says what went wrong: the last one, but for Rust's hint at backtraces.
fn reason(stderr: &str) -> &str {
    let tells = |line: &&str| !line.is_empty() && !line.starts_with("note:");
    stderr.lines().map(str::trim).rfind(tells).unwrap_or("it ended without a word")
}

/// The path of the benchmark `engine` among the messages of cargo, one JSON object a line.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut built = messages.filter(|message| message["target"]["name"] == "engine");
    built.find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// Processes that ran or waited in the last minute, on average; none where there is no /proc.
pub(super) fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_read_as_a_timing() {
        let stdout = "loading\n{\"row\": \"s-train-f32\", \"peer\": \"brevity avx512, 2 threads\", \"seconds\": [0.5, 0.25], \
            \"tokens\": 4096, \"peak_bytes\": 1024}\n\n";
        let expected = Timing {
            peer: "brevity avx512, 2 threads".into(),
            seconds: vec![0.5, 0.25],
            tokens: 4096,
            peak_bytes: 1024,
            note: String::new(),
        };
        assert_eq!(parse::<Timing>(stdout).expect("it is a timing"), expected);
        let noted = stdout.replace("1024}", "1024, \"note\": \"fused AdamW\"}");
        assert_eq!(parse::<Timing>(&noted).expect("it is a timing").note, "fused AdamW");
    }

    #[test]
    fn a_probe_may_lack_bf16() {
        let line = "{\"row\": \"probe\", \"f32_gflops\": 50.5, \"bf16_gflops\": null, \"memory_gigabytes_per_second\": 20, \"cache_gigabytes_per_second\": 80}";
        let expected = Probe {
            f32_gflops: Some(50.5),
            bf16_gflops: None,
            memory_gigabytes_per_second: 20.0,
            cache_gigabytes_per_second: Some(80.0),
        };
        assert_eq!(parse::<Probe>(line).expect("it is a probe"), expected);
    }

    #[test]
    fn what_is_no_answer_is_quoted() {
        for (stdout, expected) in [("", "it printed nothing"), ("ready\n", "it printed no answer but `ready`")] {
            assert_eq!(parse::<Timing>(stdout).expect_err("it is none").to_string(), expected);
        }
    }

    #[test]
    fn the_reason_is_the_last_word_of_python_and_rust() {
        for (stderr, expected) in [
            (
                "Traceback:\n  import x\nModuleNotFoundError: No module named 'x'\n",
                "ModuleNotFoundError: No module named 'x'",
            ),
            (
                "thread 'main' panicked at engine.rs:1:2:\nthere is no row z\nnote: run with `RUST_BACKTRACE=1`\n",
                "there is no row z",
            ),
            ("", "it ended without a word"),
        ] {
            assert_eq!(reason(stderr), expected);
        }
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_is_an_outcome() {
        let outcome: Outcome = timing(&mut Command::new("no-such-program-of-ours")).into();
        assert!(
            matches!(&outcome, Outcome::Failed { failed } if failed.starts_with("cannot start no-such")),
            "{outcome:?}"
        );
        let line = serde_json::to_string(&Outcome::Failed { failed: "out of memory".into() }).expect("it is JSON");
        assert_eq!(line, "{\"failed\":\"out of memory\"}");
    }

    #[test]
    fn the_executable_is_found_among_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"rl\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"engine\"},\"executable\":\"target/engine-1\"}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("target/engine-1")));
        assert_eq!(executable("{\"reason\":\"build-finished\",\"success\":true}\n"), None);
    }

    #[test]
    fn the_median_of_an_even_number_is_the_mean_of_the_middle() {
        let timing = |seconds: &[f64]| Timing {
            peer: String::new(),
            seconds: seconds.to_vec(),
            tokens: 1,
            peak_bytes: 0,
            note: String::new(),
        };
        for (seconds, expected) in [(&[3.0, 1.0, 2.0][..], 2.0), (&[4.0, 1.0, 2.0, 3.0], 2.5), (&[7.0], 7.0)] {
            assert!((timing(seconds).median_seconds() - expected).abs() < 1e-12, "{seconds:?}");
        }
        assert!((timing(&[3.0, 1.0]).seconds_min() - 1.0).abs() < 1e-12);
        assert!((timing(&[3.0, 1.0]).seconds_max() - 3.0).abs() < 1e-12);
    }
}
