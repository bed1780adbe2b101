//! The golden run: `brevity` end to end at tiny size, its records compared with recorded digests.
//!
//! The run itself is a test, `crates/rl/tests/golden.rs`, which the tests of the workspace run in the arithmetic of this
//! CPU. Here it is run in the other one.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::ci::Outcome;

/// Runs the golden run of the repository at `root` in portable arithmetic; an error is a run that failed or a digest
/// that moved.
pub(crate) fn golden(root: &Path) -> Result<Outcome> {
    if !cfg!(target_arch = "x86_64") {
        return Ok(Outcome::NothingToDo("the tests ran it in the only arithmetic of this CPU"));
    }
    let mut command = Command::new("cargo");
    command.args(["test", "-p", "rl", "--test", "golden"]).env("BREVITY_CPU", "portable").current_dir(root);
    if !command.status().context("cannot start cargo")?.success() {
        bail!("the golden run differs; see BREVITY_CPU=portable cargo test -p rl --test golden");
    }
    Ok(Outcome::PASSED)
}
