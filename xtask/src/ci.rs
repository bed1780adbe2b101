//! What a change must pass, part by part. Where the parts run (a server, a laptop) is no concern of this file.

use std::{
    fmt,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{cuda, golden, python, results, supply, tidy, verifier};

/// How many tests or checks ended which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    passed: usize,
    failed: usize,
}

/// How a part ended when nothing kept it from running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran; a check counts as one, a test runner as its tests.
    Ran(Counts),
    /// There is nothing for it to check, and why.
    NothingToDo(&'static str),
}

impl Outcome {
    /// One check that passed.
    pub(crate) const PASSED: Self = Self::Ran(Counts { passed: 1, failed: 0 });
    const FAILED: Self = Self::Ran(Counts { passed: 0, failed: 1 });

    /// Whether a check or a test failed.
    pub(crate) fn has_failed(self) -> bool {
        self.counts().failed > 0
    }

    fn counts(self) -> Counts {
        match self {
            Self::Ran(counts) => counts,
            Self::NothingToDo(_) => Counts::default(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ran(Counts { failed: 0, .. }) => formatter.write_str("passed"),
            Self::Ran(_) => formatter.write_str("FAILED"),
            Self::NothingToDo(reason) => write!(formatter, "nothing to do: {reason}"),
        }
    }
}

/// A `cargo` command line with the variables it is run under.
struct Invocation {
    environment: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
}

impl Invocation {
    const fn new(arguments: &'static [&'static str]) -> Self {
        Self { environment: &[], arguments }
    }

    fn command(&self, root: &Path) -> Command {
        let mut command = Command::new("cargo");
        command.args(self.arguments).envs(self.environment.iter().copied()).current_dir(root);
        command
    }
}

impl fmt::Display for Invocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (variable, setting) in self.environment {
            write!(formatter, "{variable}='{setting}' ")?;
        }
        write!(formatter, "cargo {}", self.arguments.join(" "))
    }
}

/// What a part does.
enum Work {
    /// A command that passes or fails as a whole.
    Check,
    /// A test runner, whose tests are counted.
    Tests,
    /// A function of this program, which the part's command runs alone.
    Call(fn(&Path) -> Result<Outcome>),
}

/// What runs the tests other than those in documentation.
#[derive(Debug, Clone, Copy)]
enum TestRunner {
    Nextest,
    Cargo,
}

impl TestRunner {
    /// The faster one of those that are installed.
    fn installed(root: &Path) -> Self {
        let version = Invocation::new(&["nextest", "--version"]).command(root).output();
        if version.is_ok_and(|output| output.status.success()) { Self::Nextest } else { Self::Cargo }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Nextest => &["nextest", "run", "--workspace", "--no-fail-fast"],
            // `--lib` would link a test of the Python module, which has none, with a Python.
            Self::Cargo => &[
                "test",
                "--workspace",
                "--exclude=python",
                "--no-fail-fast",
                "--lib",
                "--bins",
                "--tests",
                "--examples",
            ],
        }
    }
}

struct Part {
    name: &'static str,
    /// What runs the part alone.
    command: Invocation,
    work: Work,
}

impl Part {
    const fn new(name: &'static str, work: Work, arguments: &'static [&'static str]) -> Self {
        Self { name, command: Invocation::new(arguments), work }
    }

    fn run(&self, root: &Path) -> Result<Outcome> {
        match self.work {
            Work::Check => {
                let status = self.command.command(root).status().context("cannot start cargo")?;
                Ok(if status.success() { Outcome::PASSED } else { Outcome::FAILED })
            }
            Work::Tests => run_tests(&mut self.command.command(root)),
            Work::Call(call) => call(root),
        }
    }
}

/// A part that has run.
struct Report {
    name: &'static str,
    spent: Duration,
    outcome: Outcome,
}

/// Runs the parts in the repository at `root` until one fails. The last line printed is `N passed, N failed`.
#[expect(clippy::disallowed_methods, reason = "seconds per part are what the table is for")]
pub(crate) fn run(root: &Path) -> ExitCode {
    let mut reports = Vec::new();
    let mut failed = None;
    for part in parts(TestRunner::installed(root)) {
        println!("== {}: {}", part.name, part.command);
        let start = Instant::now();
        let outcome = part.run(root).unwrap_or_else(|error| {
            println!("{error:#}");
            Outcome::FAILED
        });
        reports.push(Report { name: part.name, spent: start.elapsed(), outcome });
        if outcome.has_failed() {
            failed = Some(part);
            break;
        }
    }
    print!("\n{}", table(&reports));
    if let Some(part) = &failed {
        println!("\n{} failed; to reproduce it, run\n  {}", part.name, part.command);
    }
    println!("\nTests and checks together:\n{}", summary(&reports));
    if failed.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Outside the workspace, since it is built with flags and a runtime of its own; here it need only compile.
const FUZZ_CHECK: [&str; 6] =
    ["check", "--manifest-path", "fuzz/Cargo.toml", "--locked", "--target-dir", "target/fuzz-check"];

fn parts(runner: TestRunner) -> Vec<Part> {
    let document =
        Invocation { environment: &[("RUSTDOCFLAGS", "-D warnings")], arguments: &["doc", "--workspace", "--no-deps"] };
    vec![
        Part::new("format", Work::Check, &["fmt", "--all", "--check"]),
        Part::new("format fuzz", Work::Check, &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]),
        Part::new("clippy", Work::Check, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
        Part::new("fuzz target", Work::Check, &FUZZ_CHECK),
        Part::new("tidy", Work::Call(run_tidy), &["xtask", "tidy"]),
        Part::new("supply", Work::Call(supply::check), &["xtask", "supply"]),
        Part::new("results", Work::Call(run_results), &["xtask", "results", "check"]),
        Part::new("tests", Work::Tests, runner.arguments()),
        // A check, since there need not be any.
        Part::new("doc tests", Work::Check, &["test", "--workspace", "--doc"]),
        Part { name: "doc", command: document, work: Work::Check },
        Part::new("verifier", Work::Call(verifier::pairs), &["xtask", "verifier", "pairs"]),
        Part::new("cuda", Work::Call(cuda::check), &["xtask", "cuda"]),
        Part::new("python", Work::Call(python::check), &["xtask", "python"]),
        Part::new("python trl", Work::Call(python::check_trl), &["xtask", "python", "--with", "trl"]),
        Part::new("golden run", Work::Call(golden::golden), &["xtask", "golden"]),
    ]
}

fn run_tidy(root: &Path) -> Result<Outcome> {
    match tidy::report(root)? {
        0 => Ok(Outcome::PASSED),
        findings => bail!("tidy has findings: {findings}"),
    }
}

fn run_results(root: &Path) -> Result<Outcome> {
    results::check(root).map(|()| Outcome::PASSED)
}

/// Runs a test runner, passing its output on and counting from its summary lines; one that runs no test has failed.
pub(crate) fn run_tests(command: &mut Command) -> Result<Outcome> {
    let mut runner =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cannot start the test runner")?;
    let (stdout, stderr) = (runner.stdout.take(), runner.stderr.take());
    let [from_stdout, from_stderr] = thread::scope(|scope| {
        let threads = [scope.spawn(|| pass_on(stdout)), scope.spawn(|| pass_on(stderr))];
        threads.map(|thread| thread.join().expect("reading lines does not panic"))
    });
    let status = runner.wait().context("cannot wait for the test runner")?;
    let (from_stdout, from_stderr) = (from_stdout?, from_stderr?);
    let mut counts =
        Counts { passed: from_stdout.passed + from_stderr.passed, failed: from_stdout.failed + from_stderr.failed };
    if status.success() && counts.passed == 0 {
        println!("no test ran; a name or a target that tests are chosen by has changed");
        counts.failed = 1;
    }
    if !status.success() {
        // A test target that does not compile is a failure that no summary line counts.
        counts.failed = counts.failed.max(1);
    }
    Ok(Outcome::Ran(counts))
}

fn pass_on(output: Option<impl Read>) -> Result<Counts> {
    let mut counts = Counts::default();
    let Some(output) = output else { return Ok(counts) };
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("cannot read what the test runner prints")?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(summary) = summary_counts(&line) {
            counts.passed += summary.passed;
            counts.failed += summary.failed;
        }
    }
    Ok(counts)
}

/// The counts of a summary line of libtest (`test result: ok. 3 passed; 0 failed; …`) or nextest
/// (`Summary [0.1s] 3 tests run: 3 passed, 0 skipped`); nothing for any other line.
fn summary_counts(line: &str) -> Option<Counts> {
    let nextest = line.trim_start().strip_prefix("Summary [").and_then(|rest| rest.split_once(" run: "));
    let tallies = match nextest {
        Some((_, tallies)) => tallies,
        None => line.strip_prefix("test result: ")?.split_once(". ")?.1,
    };
    let mut counts = Counts::default();
    for tally in tallies.split([',', ';']) {
        let Some((count, kind)) = tally.trim().split_once(' ') else { continue };
        let Ok(count) = count.parse::<usize>() else { continue };
        match kind.split(" (").next() {
            Some("passed") => counts.passed += count,
            Some("failed" | "exec failed" | "timed out") => counts.failed += count,
            _ => {}
        }
    }
    Some(counts)
}

fn table(reports: &[Report]) -> String {
    let total: Duration = reports.iter().map(|report| report.spent).sum();
    let row = |name: &str, spent: Duration, ending: &dyn fmt::Display| {
        format!("{name:<12}{:>8.1}  {ending}\n", spent.as_secs_f64())
    };
    let mut table = format!("{:<12}{:>8}\n", "part", "seconds");
    for report in reports {
        table += &row(report.name, report.spent, &report.outcome);
    }
    table + &row("total", total, &"")
}

fn summary(reports: &[Report]) -> String {
    let sum = |count: fn(Counts) -> usize| reports.iter().map(|report| count(report.outcome.counts())).sum::<usize>();
    format!("{} passed, {} failed", sum(|counts| counts.passed), sum(|counts| counts.failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_of_both_test_runners_are_counted() {
        for (line, expected) in [
            ("test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s", (12, 0)),
            ("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out", (3, 2)),
            ("     Summary [   0.012s] 5 tests run: 5 passed, 0 skipped", (5, 0)),
            ("     Summary [   1.0s] 1 test run: 1 passed (1 slow), 7 skipped", (1, 0)),
            ("     Summary [   9.0s] 4/6 tests run: 1 passed, 1 failed, 1 exec failed, 1 timed out, 0 skipped", (1, 3)),
        ] {
            assert_eq!(summary_counts(line), Some(Counts { passed: expected.0, failed: expected.1 }), "{line}");
        }
        for line in ["test tests::works ... ok", "running 3 tests", "", "Summary of it all"] {
            assert_eq!(summary_counts(line), None, "{line}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_part_and_the_sum() {
        let reports = [
            Report { name: "format", spent: Duration::from_millis(1500), outcome: Outcome::PASSED },
            Report {
                name: "tests",
                spent: Duration::from_secs(10),
                outcome: Outcome::Ran(Counts { passed: 7, failed: 2 }),
            },
            Report { name: "golden run", spent: Duration::ZERO, outcome: Outcome::NothingToDo("none") },
        ];
        let expected = "\
part         seconds
format           1.5  passed
tests           10.0  FAILED
golden run       0.0  nothing to do: none
total           11.5  
";
        assert_eq!(table(&reports), expected);
        assert_eq!(summary(&reports), "8 passed, 2 failed");
    }

    #[test]
    fn a_part_can_be_reproduced_from_its_command() {
        let commands: Vec<String> = parts(TestRunner::Cargo).iter().map(|part| part.command.to_string()).collect();
        assert!(commands.contains(&"RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps".to_owned()));
        assert!(commands.contains(&"cargo xtask tidy".to_owned()));
        assert!(!commands.iter().any(|command| command.contains("nextest")));
    }
}
