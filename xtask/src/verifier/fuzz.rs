//! The long form of fuzzing: `cargo fuzz` on the kept corpus. The short form is a test, `crates/verify/tests/fuzzed.rs`.
//!
//! The corpus of a target is kept in one file, a JSON string a line, and unpacked to the files that libFuzzer reads.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Largest input that is kept, in bytes; what is larger shows the same in a slower way.
const KEPT_BYTES_MAX: u64 = 400;
/// Most inputs that are kept of a target.
const KEPT_INPUTS_MAX: usize = 500;

/// How a target is run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// `extraction`, `gold`, `check` or `comparison`.
    #[arg(value_parser = ["extraction", "gold", "check", "comparison"])]
    target: String,
    /// Wall-clock time to spend.
    #[arg(long, default_value_t = 3600)]
    seconds: u64,
    /// Adds the small inputs that were found to the kept corpus.
    #[arg(long)]
    keep: bool,
}

/// Runs a target; whether it found nothing.
#[expect(clippy::disallowed_methods, reason = "the corpus is no file of a run")]
pub(super) fn fuzz(root: &Path, directory: &Path, options: &Options) -> Result<bool> {
    let target = &options.target;
    let kept = root.join("fuzz/corpus").join(format!("{target}.jsonl"));
    let corpus = directory.join("fuzz").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("cannot create {}", corpus.display()))?;
    for (index, input) in read_kept(&kept)?.iter().enumerate() {
        let path = corpus.join(format!("kept-{index}"));
        fs::write(&path, input).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut command = cargo_fuzz(root, "run", target, &corpus);
    command.args(["--", "-max_len=4096", "-timeout=1", "-rss_limit_mb=1024"]);
    command.arg(format!("-max_total_time={}", options.seconds));
    let status = command.status().context("cannot start cargo fuzz; cargo install cargo-fuzz")?;
    if options.keep {
        let minimised = cargo_fuzz(root, "cmin", target, &corpus).status().context("cannot start cargo fuzz")?;
        ensure!(minimised.success(), "the corpus of {target} could not be minimised");
        keep(&kept, &corpus)?;
    }
    Ok(status.success())
}

fn cargo_fuzz(root: &Path, verb: &str, target: &str, corpus: &Path) -> Command {
    let mut command = Command::new("cargo");
    // The flags that cargo fuzz gives the compiler are those of a nightly one, which a stable one takes when told so.
    // Without the address sanitizer: the verifier has no unsafe code, and runs several times as fast.
    command
        .args(["fuzz", verb, "--sanitizer", "none", target])
        .arg(corpus)
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(root);
    command
}

fn read_kept(path: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |line| serde_json::from_str(line).with_context(|| format!("{}: {line}: is no string", path.display()));
    text.lines().map(read).collect()
}

/// Writes the kept corpus anew: what was kept, and the smallest of the inputs that were found.
#[expect(clippy::disallowed_methods, reason = "the corpus is no file of a run")]
fn keep(kept: &Path, corpus: &Path) -> Result<()> {
    let mut inputs: BTreeSet<String> = read_kept(kept)?.into_iter().collect();
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(corpus).with_context(|| format!("cannot list {}", corpus.display()))? {
        let entry = entry?;
        found.push((entry.metadata()?.len(), entry.path()));
    }
    found.sort();
    for (_, path) in found.iter().filter(|(bytes, _)| *bytes <= KEPT_BYTES_MAX) {
        if let Ok(text) = String::from_utf8(fs::read(path)?)
            && inputs.len() < KEPT_INPUTS_MAX
        {
            inputs.insert(text);
        }
    }
    let mut lines = String::new();
    for input in &inputs {
        lines += &serde_json::to_string(input)?;
        lines.push('\n');
    }
    fs::write(kept, lines).with_context(|| format!("cannot write {}", kept.display()))
}
