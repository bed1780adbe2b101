//! The long form of fuzzing: `cargo fuzz` on the kept corpora. The short forms are tests: `crates/cli/tests/fuzzed` of the
//! readers, `crates/verify/tests/fuzzed.rs` of the verifier.
//!
//! The corpus of a target is kept in one file, an input a line, and unpacked to the files that libFuzzer reads. Text is a
//! JSON string; bytes that are no text are `{"hex": "…"}`.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::programs::build_outputs;

/// Largest input that is kept, in bytes; what is larger shows the same in a slower way.
const KEPT_BYTES_MAX: u64 = 2_400;
/// Most inputs that are kept of a target.
const KEPT_INPUTS_MAX: usize = 500;
/// A target whose kept inputs have so many bytes gets no more.
const KEPT_TOTAL_BYTES_MAX: usize = 64 << 10;

/// Which targets are run, and how.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Names of corpora in fuzz/corpus; all of them without any.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// Wall-clock time to spend on each.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Longest time of one input, above which it counts as a hang.
    #[arg(long, default_value_t = 2)]
    timeout_seconds: u64,
    /// Adds the small inputs that were found to the kept corpora.
    #[arg(long)]
    keep: bool,
}

/// Runs the targets one after the other; a failure names those that found something.
pub(crate) fn fuzz(root: &Path, options: &Options) -> Result<ExitCode> {
    let corpora = root.join("fuzz/corpus");
    let targets = chosen(&corpora, &options.targets)?;
    let scratch = scratch()?;
    let fuzzer = Fuzzer { root, scratch: &scratch };
    let mut found = Vec::new();
    for target in &targets {
        println!("== {target}");
        if !fuzzer.run(&corpora, target, options)? {
            found.push(target.as_str());
        }
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    if found.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("found something: {}; the inputs are in fuzz/artifacts/target", found.join(", "));
    Ok(ExitCode::FAILURE)
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

/// What every `cargo fuzz` needs.
struct Fuzzer<'a> {
    root: &'a Path,
    scratch: &'a Path,
}

impl Fuzzer<'_> {
    /// Runs a target; whether it found nothing.
    #[expect(clippy::disallowed_methods, reason = "the corpus is no file of a run")]
    fn run(&self, corpora: &Path, target: &str, options: &Options) -> Result<bool> {
        let kept = corpora.join(format!("{target}.jsonl"));
        let corpus = build_outputs(self.root).join("fuzz").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
        for (index, input) in read_kept(&kept)?.iter().enumerate() {
            let path = corpus.join(format!("kept-{index}"));
            fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let mut command = self.cargo_fuzz("run", target, &corpus);
        command.args(["--", "-max_len=4096", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        command.arg(format!("-timeout={}", options.timeout_seconds));
        command.arg(format!("-max_total_time={}", options.seconds));
        let status = command.status().context("cannot start cargo fuzz; cargo install cargo-fuzz")?;
        if options.keep {
            let minimised = self.cargo_fuzz("cmin", target, &corpus).status().context("cannot start cargo fuzz")?;
            ensure!(minimised.success(), "the corpus of {target} could not be minimised");
            keep(&kept, &corpus)?;
        }
        Ok(status.success())
    }

    fn cargo_fuzz(&self, verb: &str, target: &str, corpus: &Path) -> Command {
        let mut command = Command::new("cargo");
        // The flags that cargo fuzz gives the compiler are those of a nightly one, which a stable one takes when told so.
        // Without the address sanitizer: no reader has unsafe code of ours, and all run several times as fast.
        command
            .args(["fuzz", verb, "--sanitizer", "none", "target"])
            .arg(corpus)
            .envs([("RUSTC_BOOTSTRAP", "1"), ("BREVITY_FUZZ", target)])
            .env("TMPDIR", self.scratch)
            .current_dir(self.root);
        command
    }
}

fn read_kept(path: &Path) -> Result<Vec<Vec<u8>>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |line: &str| {
        let value = serde_json::from_str(line).ok();
        value.and_then(|value| input(&value)).with_context(|| format!("{}: {line}: is no input", path.display()))
    };
    text.lines().map(read).collect()
}

/// The input that a line holds.
fn input(line: &Value) -> Option<Vec<u8>> {
    if let Some(text) = line.as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    line.get("hex")?.as_str()?.as_bytes().chunks(2).map(byte).collect()
}

fn line(input: &[u8]) -> Value {
    match std::str::from_utf8(input) {
        Ok(text) => json!(text),
        Err(_) => json!({"hex": input.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()}),
    }
}

/// Writes the kept corpus anew: what was kept, and the smallest of the inputs that were found.
#[expect(clippy::disallowed_methods, reason = "the corpus is no file of a run")]
fn keep(kept: &Path, corpus: &Path) -> Result<()> {
    let mut inputs: BTreeSet<Vec<u8>> = read_kept(kept)?.into_iter().collect();
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
    let lines: Vec<String> = inputs.iter().map(|input| format!("{}\n", line(input))).collect();
    fs::write(kept, lines.concat()).with_context(|| format!("cannot write {}", kept.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_text_and_of_bytes_are_lines() {
        for (bytes, expected) in
            [(&b"a\n\"\xc3\xa9"[..], r#""a\n\"é""#), (b"", r#""""#), (b"\xff\x00\x10", r#"{"hex":"ff0010"}"#)]
        {
            assert_eq!(line(bytes).to_string(), expected);
            assert_eq!(input(&line(bytes)).as_deref(), Some(bytes));
        }
        for wrong in [json!(7), json!({"hex": "0g"}), json!({"hex": 7}), json!([])] {
            assert_eq!(input(&wrong), None, "{wrong}");
        }
    }
}
