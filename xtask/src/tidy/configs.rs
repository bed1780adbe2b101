//! Whether the configs in `configs/` are TOML. Whether they are configs, `brevity` decides.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};
use toml::de::DeTable;

use super::{Finding, TextFile};

pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    configs(files).filter_map(check_syntax).collect()
}

fn configs(files: &[TextFile]) -> impl Iterator<Item = &TextFile> {
    files.iter().filter(|file| file.path.starts_with("configs/") && file.has_extension("toml"))
}

fn check_syntax(file: &TextFile) -> Option<Finding> {
    let error = DeTable::parse(&file.text).err()?;
    let line = error.span().map_or(1, |span| file.line_at(span.start));
    Some(Finding::new(&file.path, line, format!("is no TOML: {}", error.message()), "mend the syntax"))
}

/// The command of `brevity` that a config is for: files of sweeps are named `sweep-…`, those of fine-tuning `sft…`.
fn command_of(path: &str) -> &'static str {
    match path.strip_prefix("configs/") {
        Some(name) if name.starts_with("sweep-") => "sweep",
        Some(name) if name.starts_with("sft") => "sft",
        _ => "train",
    }
}

/// Findings for the configs that `--check` of their command refuses.
pub(super) fn check_with_brevity(root: &Path, files: &[TextFile]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in configs(files) {
        let command = command_of(&file.path);
        let output = Command::new("cargo")
            .args(["run", "--quiet", "--package", "cli", "--", command, "--check", &file.path])
            .current_dir(root)
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            let wrong = format!("is refused: {}", String::from_utf8_lossy(&output.stderr).trim());
            let remedy = format!("mend it until `brevity {command} --check {}` passes", file.path);
            findings.push(Finding::new(&file.path, 1, wrong, remedy));
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_that_is_no_toml_is_found_at_its_line() {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let files = [
            file("configs/good.toml", "[train]\nsteps = 3\n"),
            file("configs/bad.toml", "[train]\nsteps = \n"),
            file("configs/notes.md", "steps = "),
            file("crates/a.toml", "steps = "),
        ];
        let findings = check(&files);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!((findings[0].path.as_str(), findings[0].line), ("configs/bad.toml", 2));
    }
}
