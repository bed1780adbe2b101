//! One run of the program of the fuzz targets: its start, its processor time, its end, and what its output says of it.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::Options;

/// Of `/proc/ID/stat`: `sysconf(_SC_CLK_TCK)` is 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;
/// How often a run is asked for its time.
const PAUSE: Duration = Duration::from_millis(500);

/// What every run needs.
pub(super) struct Program<'a> {
    pub(super) root: &'a Path,
    pub(super) executable: PathBuf,
    /// Where targets write the files that they read.
    pub(super) scratch: &'a Path,
    /// Directory of the corpora that libFuzzer reads, and of what it prints.
    pub(super) outputs: PathBuf,
}

/// How a run of a target ended.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) target: String,
    pub(super) processor_seconds: f64,
    /// Inputs that were tried.
    pub(super) executions: u64,
    /// Edges of the program that some input came to.
    pub(super) coverage: u64,
    /// Whether an input panicked, hung or held too much memory.
    pub(super) found: bool,
}

impl Program<'_> {
    /// Where the corpus of `target` is unpacked to.
    pub(super) fn corpus(&self, target: &str) -> PathBuf {
        self.outputs.join(target)
    }

    /// What a run of `target` printed.
    pub(super) fn output(&self, target: &str) -> PathBuf {
        self.outputs.join(format!("{target}.txt"))
    }

    /// Where the inputs of `target` that something is wrong with are left.
    pub(super) fn artifacts(&self, target: &str) -> PathBuf {
        self.root.join("fuzz/artifacts").join(target)
    }

    /// Runs a target until it has had its processor time, or has found something.
    pub(super) fn run(&self, target: &str, options: &Options) -> Result<Outcome> {
        let mut child = self.start(target, options)?;
        let mut processor_seconds = 0.0;
        let mut is_told = false;
        let status = loop {
            if let Some(status) = child.try_wait().context("the fuzzer cannot be waited for")? {
                break status;
            }
            // A process that has ended and was not waited for yet has its times still.
            processor_seconds = processor_seconds_of(child.id())?;
            if processor_seconds >= options.seconds as f64 && !is_told {
                end(&child)?;
                is_told = true;
            }
            thread::sleep(PAUSE);
        };
        let output = self.output(target);
        let mut printed = Vec::new();
        let read = fs::File::open(&output).and_then(|mut file| file.read_to_end(&mut printed));
        read.with_context(|| format!("cannot read {}", output.display()))?;
        outcome(target, status, processor_seconds, &String::from_utf8_lossy(&printed))
            .with_context(|| format!("{} does not say how the run ended", output.display()))
    }

    #[expect(clippy::disallowed_methods, reason = "what a fuzzer prints is no file of a run")]
    fn start(&self, target: &str, options: &Options) -> Result<Child> {
        let (output, scratch, artifacts) = (self.output(target), self.scratch.join(target), self.artifacts(target));
        for directory in [&scratch, &artifacts] {
            fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let file = fs::File::create(&output).with_context(|| format!("cannot create {}", output.display()))?;
        let mut command = Command::new(&self.executable);
        command.args(["-max_len=4096", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        command.arg(format!("-timeout={}", options.timeout_seconds));
        command.arg(format!("-artifact_prefix={}/", artifacts.display())).arg(self.corpus(target));
        command.env("BREVITY_FUZZ", target).env("TMPDIR", scratch).current_dir(self.root);
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        command.spawn().with_context(|| format!("cannot start {}", self.executable.display()))
    }
}

/// Processor time of a process, its own and the system's for it.
fn processor_seconds_of(id: u32) -> Result<f64> {
    let path = format!("/proc/{id}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}; fuzzing needs Linux"))?;
    // After the name in brackets come the state and the rest of proc_pid_stat(5); 14 and 15 are the two times.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok());
    let ticks = ticks(11).zip(ticks(12)).with_context(|| format!("{path} has no times"))?;
    Ok((ticks.0 + ticks.1) / TICKS_PER_SECOND)
}

/// Has libFuzzer finish its input, print its figures and end well; interrupted it would end with a code of failure.
fn end(child: &Child) -> Result<()> {
    let asked = Command::new("kill").args(["-USR1", &child.id().to_string()]).status().context("cannot start kill")?;
    ensure!(asked.success(), "the fuzzer {} cannot be told to end", child.id());
    Ok(())
}

/// What the last lines of libFuzzer's output say; none where the figures are missing.
fn outcome(target: &str, status: ExitStatus, processor_seconds: f64, printed: &str) -> Option<Outcome> {
    let number = |text: &str| text.split_whitespace().next()?.parse::<u64>().ok();
    let executions = number(printed.rsplit_once("stat::number_of_executed_units:")?.1)?;
    let coverage = number(printed.rsplit_once(" cov: ")?.1)?;
    Some(Outcome { target: target.to_owned(), processor_seconds, executions, coverage, found: !status.success() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_end_of_what_libfuzzer_prints() {
        let printed = "INFO: Running with entropic power schedule (0xFF, 100).\n\
                       #2\tINITED cov: 900 ft: 901 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                       #4096\tNEW    cov: 1234 ft: 5678 corp: 7/70b lim: 4 exec/s: 2048 rss: 52Mb L: 3/9 MS: 1 EraseBytes-\n\
                       INFO: signal received, trying to exit gracefully\n\
                       stat::number_of_executed_units: 5000\n\
                       stat::average_exec_per_sec:     2500\n";
        let ended = outcome("gguf", ExitStatus::default(), 1.5, printed).expect("figures");
        let expected =
            Outcome { target: "gguf".into(), processor_seconds: 1.5, executions: 5000, coverage: 1234, found: false };
        assert_eq!(ended, expected);
        assert_eq!(outcome("gguf", ExitStatus::default(), 1.5, "killed"), None);
    }
}
