//! Whether a file names a place that only the machine it was written on has.

use super::{Finding, TextFile};

/// Directories at the root of one machine under which nothing in the repository may depend.
const MACHINE_DIRECTORIES: &[&str] = &["root", "work", "tmp"];

pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if let Some(directory) = MACHINE_DIRECTORIES.iter().find(|directory| names_path_under(line, directory)) {
            let wrong = format!("names a path under /{directory}, which other machines do not have");
            let remedy = "write it relative to the repository, or take it as an argument";
            findings.push(Finding::new(&file.path, index + 1, wrong, remedy));
        }
    }
    findings
}

fn names_path_under(line: &str, directory: &str) -> bool {
    let prefix = format!("/{directory}/");
    line.match_indices(&prefix).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + prefix.len()..]);
        // `a/b`, `./b`, `~/b`, `{a}/b` and `//b` do not begin at the root of the file system.
        let continues = |character: char| character.is_alphanumeric() || "_-.~})]*/".contains(character);
        let is_absolute = before.ends_with("file://") || !before.ends_with(continues);
        is_absolute && after.starts_with(|character: char| character.is_alphanumeric() || "_-.${<*".contains(character))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_one_machine_are_found_and_others_pass() {
        // `§` stands for a slash, or this file would be a finding of its own check.
        for (line, expected) in [
            ("see §root§notes.md", &[2][..]),
            ("\"§work§main\"", &[2]),
            ("--out=§tmp§run", &[2]),
            ("file:§§§tmp§run", &[2]),
            ("(§tmp§{name})", &[2]),
            ("https:§§host§work§main", &[]),
            (".§tmp§run", &[]),
            ("~§work§main", &[]),
            ("$HOME§work§main", &[]),
            ("{directory}§tmp§run", &[]),
            ("§tmp", &[]),
            ("\"§tmp§\": 3100", &[]),
            ("§tmpfiles§a", &[]),
        ] {
            let text = format!("first line\n{line}\n").replace('§', "/");
            let lines: Vec<usize> =
                check(&TextFile { path: "a".into(), text }).iter().map(|finding| finding.line).collect();
            assert_eq!(lines, expected, "{line}");
        }
    }
}
