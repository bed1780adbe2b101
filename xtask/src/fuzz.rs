//! The long form of fuzzing: `cargo fuzz` on the kept corpora. The short forms are tests: `crates/cli/tests/fuzzed` of the
//! readers, `crates/verify/tests/fuzzed.rs` of the verifier.
//!
//! The corpus of a target is kept in one file, an input a line, and unpacked to the files that libFuzzer reads. The time
//! of a target is that of the processor, so that on a busy machine an hour is an hour.

#[path = "../../crates/cli/tests/fuzzed/kept.rs"]
mod kept;
mod program;

use std::{
    collections::BTreeSet,
    env, fs,
    iter::from_fn,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Mutex, PoisonError},
    thread,
};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::programs::{build_outputs, succeed};
use program::{Outcome, Program};

/// Largest input that is kept, in bytes; what is larger shows the same in a slower way.
const KEPT_BYTES_MAX: u64 = 2_400;
/// Most inputs that are kept of a target.
const KEPT_INPUTS_MAX: usize = 500;
/// A target whose kept inputs have so many bytes gets no more.
const KEPT_TOTAL_BYTES_MAX: usize = 64 << 10;
/// Where `cargo fuzz` builds.
const BUILD: &str = "fuzz/target";

/// Which targets are run, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Names of corpora in fuzz/corpus; all of them without any.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Processor time to spend on each.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Targets that run side by side.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: u64,
    /// Longest wall-clock time of one input, above which it counts as a hang; raise it on a busy machine.
    #[arg(long, default_value_t = 2)]
    timeout_seconds: u64,
    /// Adds the small inputs that were found to the kept corpora.
    #[arg(long)]
    keep: bool,
}

/// Runs the targets, so many side by side, and prints their figures; a failure names those that found something.
pub(crate) fn fuzz(root: &Path, options: &Options) -> Result<ExitCode> {
    let corpora = root.join("fuzz/corpus");
    let targets = chosen(&corpora, &options.targets)?;
    let scratch = scratch()?;
    succeed(&mut cargo_fuzz(root, "build"), "cargo fuzz build; cargo install cargo-fuzz")?;
    let program =
        Program { root, executable: executable(root)?, scratch: &scratch, outputs: build_outputs(root).join("fuzz") };
    for target in &targets {
        unpack(&corpora, target, &program.corpus(target))?;
    }
    let ended = side_by_side(&program, &targets, options)?;
    if options.keep {
        for target in &targets {
            let corpus = program.corpus(target);
            let mut minimise = cargo_fuzz(root, "cmin");
            minimise.arg(&corpus).env("BREVITY_FUZZ", target).env("TMPDIR", &scratch);
            succeed(&mut minimise, &format!("minimising the corpus of {target}"))?;
            keep(&corpora.join(format!("{target}.jsonl")), &corpus)?;
        }
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    println!("| target | hours | executions | coverage | found |\n|---|---:|---:|---:|---|");
    for Outcome { target, processor_seconds, executions, coverage, found } in &ended {
        let found = if *found { "something" } else { "nothing" };
        println!("| `{target}` | {:.2} | {executions} | {coverage} | {found} |", processor_seconds / 3600.0);
    }
    Ok(if ended.iter().any(|outcome| outcome.found) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs the targets, with a line at the start and at the end of each.
fn side_by_side(program: &Program<'_>, targets: &[String], options: &Options) -> Result<Vec<Outcome>> {
    let waiting = Mutex::new(targets.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || from_fn(next).map(|target| told(program, target, options)).collect::<Vec<_>>();
    let ended = thread::scope(|scope| {
        let workers: Vec<_> = (0..options.jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect::<Vec<_>>()
    });
    let mut ended = ended.into_iter().collect::<Result<Vec<_>>>()?;
    ended.sort_by(|a, b| a.target.cmp(&b.target));
    Ok(ended)
}

/// Runs a target, and says so.
fn told(program: &Program<'_>, target: &str, options: &Options) -> Result<Outcome> {
    println!("{target}: starts; its output goes to {}", program.output(target).display());
    let outcome = program.run(target, options)?;
    let Outcome { processor_seconds, executions, coverage, .. } = outcome;
    println!("{target}: {processor_seconds:.0} s of processor time, {executions} executions, coverage {coverage}");
    if outcome.found {
        println!("{target}: found something; the input is in {}", program.artifacts(target).display());
    }
    Ok(outcome)
}

/// The targets of these names, or all.
fn chosen(corpora: &Path, names: &[String]) -> Result<Vec<String>> {
    let mut known = Vec::new();
    for entry in fs::read_dir(corpora).with_context(|| format!("cannot list {}", corpora.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        known.extend(name.strip_suffix(".jsonl").map(str::to_owned));
    }
    known.sort();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("there is no target `{unknown}`; choose of {}", known.join(", "));
    }
    Ok(if names.is_empty() { known } else { names.to_vec() })
}

/// Where targets write the files that they read: in memory, where the system has such a place.
fn scratch() -> Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
    let scratch = parent.join(format!("brevity-fuzz-{}", std::process::id()));
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    Ok(scratch)
}

/// A command of `cargo fuzz` on the one program of all targets.
fn cargo_fuzz(root: &Path, verb: &str) -> Command {
    let mut command = Command::new("cargo");
    // The flags that cargo fuzz gives the compiler are those of a nightly one, which a stable one takes when told so.
    // Without the address sanitizer: no reader has unsafe code of ours, and all run several times as fast.
    command.args(["fuzz", verb, "--sanitizer", "none", "--target-dir", BUILD, "target"]);
    command.env("RUSTC_BOOTSTRAP", "1").current_dir(root);
    command
}

/// The program that `cargo fuzz build` left.
fn executable(root: &Path) -> Result<PathBuf> {
    let host = Command::new("rustc").args(["--print", "host-tuple"]).output().context("cannot start rustc")?;
    let host = String::from_utf8(host.stdout).context("rustc names no host")?;
    let path = root.join(BUILD).join(host.trim()).join("release/target");
    ensure!(path.is_file(), "{} is not there", path.display());
    Ok(path)
}

/// Writes the kept inputs of a target to the files that libFuzzer reads.
#[expect(clippy::disallowed_methods, reason = "the corpus is no file of a run")]
fn unpack(corpora: &Path, target: &str, corpus: &Path) -> Result<()> {
    fs::create_dir_all(corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
    for (index, input) in read_kept(&corpora.join(format!("{target}.jsonl")))?.iter().enumerate() {
        let path = corpus.join(format!("kept-{index}"));
        fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn read_kept(path: &Path) -> Result<Vec<Vec<u8>>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    kept::inputs(&text).map_err(|message| anyhow!("{}: {message}", path.display()))
}

/// Writes the kept corpus anew: what was kept, and the smallest of the inputs that were found.
#[expect(clippy::disallowed_methods, reason = "the corpus is no file of a run")]
fn keep(path: &Path, corpus: &Path) -> Result<()> {
    let mut inputs: BTreeSet<Vec<u8>> = read_kept(path)?.into_iter().collect();
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(corpus).with_context(|| format!("cannot list {}", corpus.display()))? {
        let entry = entry?;
        found.push((entry.metadata()?.len(), entry.path()));
    }
    found.sort();
    let mut total: usize = inputs.iter().map(Vec::len).sum();
    for (_, path) in found.iter().filter(|(bytes, _)| *bytes <= KEPT_BYTES_MAX) {
        let input = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if inputs.len() < KEPT_INPUTS_MAX && total + input.len() <= KEPT_TOTAL_BYTES_MAX {
            total += input.len();
            inputs.insert(input);
        }
    }
    fs::write(path, kept::text(&inputs)).with_context(|| format!("cannot write {}", path.display()))
}
