//! Documents that `brevity` prints about itself: which there are, writing them, and whether they are current.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::tidy::Finding;

/// A document's path in the repository, and the arguments with which `brevity` prints it.
type GeneratedDocument = (&'static str, &'static [&'static str]);

/// Every generated document: what `docs` writes and `tidy` compares.
fn generated_documents() -> &'static [GeneratedDocument] {
    &[("docs/cli.md", &["docs", "cli"]), ("docs/config.md", &["docs", "config"])]
}

/// Writes every generated document in the repository at `root`.
#[expect(clippy::disallowed_methods, reason = "documents are no run directory; git keeps the old ones")]
pub(crate) fn write_all(root: &Path) -> Result<()> {
    for (path, arguments) in generated_documents() {
        fs::write(root.join(path), printed(root, arguments)?).with_context(|| format!("cannot write {path}"))?;
        println!("wrote {path}");
    }
    Ok(())
}

/// Findings for the generated documents that are not what `brevity` prints now.
pub(crate) fn check_all(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (path, arguments) in generated_documents() {
        let kept = fs::read_to_string(root.join(path)).unwrap_or_default();
        findings.extend(check(path, &kept, &printed(root, arguments)?));
    }
    Ok(findings)
}

fn check(path: &str, kept: &str, printed: &str) -> Option<Finding> {
    if kept == printed {
        return None;
    }
    let agreeing = kept.lines().zip(printed.lines()).take_while(|(kept, printed)| kept == printed).count();
    Some(Finding::new(path, agreeing + 1, "differs from what `brevity` prints", "run `cargo xtask docs` and commit"))
}

fn printed(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("cargo")
        .args(["run", "--quiet", "--package", "cli", "--"])
        .args(arguments)
        .current_dir(root)
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`brevity {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`brevity {}` printed no UTF-8", arguments.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_document_is_reported_at_its_first_differing_line() {
        let line = |kept, printed| check("docs/cli.md", kept, printed).map(|finding| finding.line);
        assert_eq!(line("a\nb\n", "a\nb\n"), None);
        assert_eq!(line("a\nb\n", "a\nc\n"), Some(2));
        assert_eq!(line("a\n", "a\nb\n"), Some(2));
        assert_eq!(line("", "a\n"), Some(1));
    }
}
