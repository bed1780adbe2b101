//! Commands that several chores run, and where what they build lies.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// Whether `command` ends well.
pub(crate) fn succeeds(command: &mut Command) -> Result<bool> {
    Ok(command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?.success())
}

/// Runs `command`, called `what` where it fails.
pub(crate) fn succeed(command: &mut Command, what: &str) -> Result<()> {
    ensure!(succeeds(command)?, "{what} failed");
    Ok(())
}

/// The folder of build outputs, which git ignores.
pub(crate) fn build_outputs(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |target| root.join(target))
}
