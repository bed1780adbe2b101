//! `brevity merge`: an adapter and its base to one whole model. Reading, merging and writing are `model`'s.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};
use model::{MergeSummary, merge};
use record::{shell_word, write};

use crate::{Outcome, console::Console, hub, table::labelled};

const EXAMPLES: &str = "\
Examples:
  brevity merge runs/grpo-seed0/model --out models/shorter
  brevity merge my-adapter --out models/shorter && brevity sample --model models/shorter \"How many …?\"

The result is a whole model that needs neither the adapter nor its base.";

/// Make a whole model of an adapter and the base that it names.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Directory of the adapter, with adapter_config.json, as `brevity train` and peft leave it, or its hub name.
    #[arg(value_name = "ADAPTER")]
    adapter: String,
    /// The model directory to make; it must not be there yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// Runs `brevity merge`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    let Arguments { adapter, out } = arguments;
    // Without a slash at its end, which would put what is written inside.
    let out = &out.components().collect::<PathBuf>();
    let mut partial = out.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    if out.exists() {
        bail!("`{}` is there already; give a directory that is not, or remove it", out.display());
    }
    if partial.exists() {
        let partial = partial.display();
        bail!("`{partial}` is there already, where the model is written first; give another --out, or remove it");
    }
    let place = hub::model_place(adapter, console)?;
    console.note(format!("reading {adapter}"));
    if let Some(parent) = partial.parent() {
        write::create_directory(parent)?;
    }
    // Not where another merge has made it since then.
    fs::create_dir(&partial).with_context(|| format!("cannot create {}", partial.display()))?;
    let merged = merge(&place, &partial).with_context(|| format!("cannot merge `{adapter}`")).and_then(|summary| {
        write::sync_directory(&partial)?;
        write::rename_new(&partial, out)?;
        Ok(summary)
    });
    let MergeSummary { adapted, parameters, stored } = merged.inspect_err(|_| {
        // The first failure is the one to report.
        let _ = write::remove_directory(&partial);
    })?;
    let rows = [
        ("base", place.base.display().to_string()),
        ("adapted", format!("{adapted} matrices")),
        ("parameters", format!("{:.2} million, stored as {}", parameters as f64 / 1e6, stored.torch_name())),
        ("directory", out.display().to_string()),
        ("try it", format!("brevity sample --model {} \"…\"", shell_word(out))),
    ];
    labelled(&rows).into_iter().try_for_each(|line| console.result(line))?;
    Ok(Outcome::Done)
}
