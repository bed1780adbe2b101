//! What the compiler and clippy do not check. Every check is a function of file texts; only this file reads the disk.

mod configs;
mod dependencies;
mod imports;
mod layout;
mod paths;
mod words;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::documents;

/// Something to mend, and how.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    pub(crate) line: usize,
    wrong: String,
    remedy: String,
}

impl Finding {
    pub(crate) fn new(path: &str, line: usize, wrong: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, wrong: wrong.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}; {}", self.path, self.line, self.wrong, self.remedy)
    }
}

/// A text file of the repository; its path is relative to the root, with `/` between the parts.
struct TextFile {
    path: String,
    text: String,
}

impl TextFile {
    fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|own| own == extension)
    }

    /// The 1-based line that holds byte `offset`.
    fn line_at(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }
}

/// A Rust source file with its syntax tree.
struct RustFile<'a> {
    path: &'a str,
    text: &'a str,
    syntax: syn::File,
}

impl<'a> RustFile<'a> {
    fn parse(file: &'a TextFile) -> Result<Self, Finding> {
        let syntax = syn::parse_file(&file.text).map_err(|error| {
            let line = error.span().start().line;
            Finding::new(&file.path, line, format!("is no Rust that syn can parse: {error}"), "mend the syntax")
        })?;
        Ok(Self { path: &file.path, text: &file.text, syntax })
    }
}

/// Prints every finding in the repository at `root` and returns their number.
pub(crate) fn report(root: &Path) -> Result<usize> {
    let files = read_files(root)?;
    let mut findings = check(&files)?;
    findings.extend(configs::check_with_brevity(root, &files)?);
    findings.extend(documents::check_all(root)?);
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: files: {}, findings: {}", files.len(), findings.len());
    Ok(findings.len())
}

fn check(files: &[TextFile]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for file in files {
        findings.extend(paths::check(file));
        if !file.has_extension("rs") {
            continue;
        }
        match RustFile::parse(file) {
            Ok(file) => {
                findings.extend(layout::check(&file));
                findings.extend(imports::check(&file));
                findings.extend(words::check(&file));
            }
            Err(finding) => findings.push(finding),
        }
    }
    findings.extend(configs::check(files));
    findings.extend(dependencies::check(files)?);
    Ok(findings)
}

/// The text files that git tracks or would track, or, where git is not installed, all but build outputs.
fn read_files(root: &Path) -> Result<Vec<TextFile>> {
    let listed = Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output();
    let mut paths: Vec<PathBuf> = match listed {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
            names.split_terminator('\0').map(PathBuf::from).collect()
        }
        _ => walk(root, Path::new(""))?,
    };
    paths.sort();
    paths.dedup();
    let mut files = Vec::new();
    for path in paths {
        let absolute = root.join(&path);
        // Git also lists what was deleted and not yet committed.
        if !absolute.is_file() {
            continue;
        }
        let bytes = fs::read(&absolute).with_context(|| format!("cannot read {}", path.display()))?;
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(TextFile { path: path.to_string_lossy().into_owned(), text });
        }
    }
    Ok(files)
}

fn walk(root: &Path, below: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let directory = root.join(below);
    for entry in fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if !entry.file_type()?.is_dir() {
            paths.push(path);
        } else if entry.file_name() != ".git" && entry.file_name() != "target" {
            paths.extend(walk(root, &path)?);
        }
    }
    Ok(paths)
}

/// The findings of `check` over one Rust file, as `line: what is wrong`.
#[cfg(test)]
fn check_rust(path: &str, text: &str, check: fn(&RustFile<'_>) -> Vec<Finding>) -> Vec<String> {
    let file = TextFile { path: path.to_owned(), text: text.to_owned() };
    let rust = RustFile::parse(&file).expect("the test's source parses");
    check(&rust).into_iter().map(|finding| format!("{}: {}", finding.line, finding.wrong)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_names_place_fault_and_remedy() {
        let finding = Finding::new("crates/rl/src/lib.rs", 3, "`std` stands below", "move it up");
        assert_eq!(finding.to_string(), "crates/rl/src/lib.rs:3: `std` stands below; move it up");
    }

    #[test]
    fn a_file_that_does_not_parse_is_a_finding_at_its_line() {
        let file = TextFile { path: "a.rs".into(), text: "//! A.\n\nfn f( {\n".into() };
        let finding = RustFile::parse(&file).err().expect("the source is broken");
        assert!(finding.line >= 3, "{finding}");
    }

    #[test]
    fn every_finding_of_every_file_is_reported() {
        let file = |path: &str, text: &str| TextFile { path: path.into(), text: text.into() };
        let files = [
            file("crates/a/src/lib.rs", "fn f(data: u8) {}\nuse std::fs;\n"),
            file("configs/b.toml", "x ="),
            file("docs/dependencies.md", ""),
        ];
        let findings = check(&files).expect("no file is missing");
        assert_eq!(findings.len(), 4, "{findings:#?}");
    }
}
