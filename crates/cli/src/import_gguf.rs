//! `brevity import-gguf`: a GGUF file to a model directory. Reading and writing are `model`'s.

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use model::{ImportSummary, StoredType, import};
use record::shell_word;

use crate::{Outcome, console::Console, table::labelled};

const EXAMPLES: &str = "\
Examples:
  brevity import-gguf qwen3-0.6b-q8_0.gguf models/qwen3-0.6b
  brevity import-gguf qwen3-0.6b-q4_k.gguf models/qwen3-0.6b --dtype bf16

Parameters of a quantised file are what the quantisation left of them; training goes on from there.";

/// Make a model directory of a GGUF file, as llama.cpp and Ollama use them.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The GGUF file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The model directory to make, new or empty.
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// How the parameters are stored; what loses nothing unless given.
    #[arg(long, value_enum, value_name = "TYPE")]
    dtype: Option<StoredTypeOption>,
}

/// Types that parameters are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoredTypeOption {
    /// 32 bits.
    F32,
    /// 16 bits with the range of f32.
    Bf16,
    /// 16 bits with more precision and less range.
    F16,
}

impl From<StoredTypeOption> for StoredType {
    fn from(option: StoredTypeOption) -> Self {
        match option {
            StoredTypeOption::F32 => Self::F32,
            StoredTypeOption::Bf16 => Self::Bf16,
            StoredTypeOption::F16 => Self::F16,
        }
    }
}

/// Runs `brevity import-gguf`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let Arguments { file, directory, dtype } = arguments;
    console.note(format!("reading {}", file.display()));
    let ImportSummary { architecture, tensors, parameters, vocabulary, stored, source_types } =
        import(file, directory, dtype.map(StoredType::from))?;
    let kinds: Vec<String> = source_types.iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    let rows = [
        ("architecture", architecture.to_owned()),
        ("parameters", format!("{:.2} million in {tensors} tensors", parameters as f64 / 1e6)),
        ("in the file", kinds.join(", ")),
        ("stored as", stored.torch_name().to_owned()),
        ("vocabulary", format!("{vocabulary} tokens")),
        ("directory", directory.display().to_string()),
        ("try it", format!("brevity sample --model {} \"…\"", shell_word(directory))),
    ];
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))?;
    Ok(Outcome::Done)
}
