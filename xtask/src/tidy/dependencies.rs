//! Which crate may import which of ours, and that every dependency from outside has a written reason.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Finding, TextFile};

/// The table of reasons.
const REASONS: &str = "docs/dependencies.md";

/// Each crate of the workspace with those of ours that it may import.
const IMPORTS: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("model", &["kernels"]),
    ("verify", &[]),
    ("record", &["verify"]),
    ("rl", &["model", "verify", "record"]),
    ("cli", &["rl", "model", "verify", "record"]),
    ("python", &["rl", "model", "verify", "record"]),
    ("fuzz", &["model", "verify", "record", "rl"]),
    ("xtask", &[]),
];

/// A crate's `Cargo.toml`, as far as it matters here.
struct Manifest {
    path: String,
    package: String,
    package_line: usize,
    /// Direct dependencies of every kind and target.
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    line: usize,
}

/// A row of the table of reasons.
struct Reason {
    name: String,
    line: usize,
    used_by: BTreeSet<String>,
    why: String,
}

pub(super) fn check(files: &[TextFile]) -> Result<Vec<Finding>> {
    let mut manifests = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with("/Cargo.toml")) {
        manifests.extend(read_manifest(file)?);
    }
    let mut findings = check_imports(&manifests);
    let table = files.iter().find(|file| file.path == REASONS).map_or("", |file| &file.text);
    findings.extend(check_reasons(&manifests, &read_reasons(table)));
    Ok(findings)
}

fn check_imports(manifests: &[Manifest]) -> Vec<Finding> {
    let ours = packages(manifests);
    let mut findings = Vec::new();
    for Manifest { path, package, package_line, dependencies } in manifests {
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| name == package) else {
            let wrong = format!("crate `{package}` has no place in the import order");
            let remedy = "give the reason for it in ARCHITECTURE.md and a row in xtask/src/tidy/dependencies.rs";
            findings.push(Finding::new(path, *package_line, wrong, remedy));
            continue;
        };
        for Dependency { name, line } in dependencies {
            if !ours.contains(name.as_str()) || allowed.contains(&name.as_str()) {
                continue;
            }
            let wrong = format!("`{package}` may not import `{name}`");
            let remedy = match allowed {
                [] => "it imports none of our crates; move the code to the crate that may".to_owned(),
                _ => format!("it may import {}; move the code to the crate that may", allowed.join(", ")),
            };
            findings.push(Finding::new(path, *line, wrong, remedy));
        }
    }
    findings
}

fn check_reasons(manifests: &[Manifest], reasons: &[Reason]) -> Vec<Finding> {
    let ours = packages(manifests);
    let mut findings = Vec::new();
    let mut users: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for manifest in manifests {
        for Dependency { name, line } in &manifest.dependencies {
            if ours.contains(name.as_str()) {
                continue;
            }
            users.entry(name).or_default().insert(manifest.package.clone());
            if !reasons.iter().any(|reason| reason.name == *name) {
                let wrong = format!("`{name}` has no reason in {REASONS}");
                findings.push(Finding::new(&manifest.path, *line, wrong, "add its row, or do without it"));
            }
        }
    }
    for Reason { name, line, used_by, why } in reasons {
        let fault = match users.get(name.as_str()) {
            None => Some((format!("`{name}` is no direct dependency of any crate"), "remove the row".to_owned())),
            Some(users) if users != used_by => {
                let users = users.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                Some((format!("`{name}` has the wrong users"), format!("write `{users}`")))
            }
            Some(_) if why.is_empty() => Some((format!("`{name}` has no reason"), "write why it is used".to_owned())),
            Some(_) => None,
        };
        findings.extend(fault.map(|(wrong, remedy)| Finding::new(REASONS, *line, wrong, remedy)));
    }
    findings
}

fn packages(manifests: &[Manifest]) -> BTreeSet<&str> {
    manifests.iter().map(|manifest| manifest.package.as_str()).collect()
}

/// The rows `` | `crate` | user, user | why | `` of a Markdown table.
fn read_reasons(markdown: &str) -> Vec<Reason> {
    let mut reasons = Vec::new();
    for (index, line) in markdown.lines().enumerate() {
        let cells: Vec<&str> = line.trim().trim_matches('|').splitn(3, '|').map(str::trim).collect();
        let [name, used_by, why] = cells[..] else { continue };
        let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) else { continue };
        reasons.push(Reason {
            name: name.to_owned(),
            line: index + 1,
            used_by: used_by.split(',').map(|user| user.trim().to_owned()).collect(),
            why: why.to_owned(),
        });
    }
    reasons
}

/// The manifest of a crate; none for a workspace's own, which has no package.
fn read_manifest(file: &TextFile) -> Result<Option<Manifest>> {
    let document = DeTable::parse(&file.text).map_err(|error| anyhow!("{}: {error}", file.path))?;
    let document = document.get_ref();
    let Some(package) = table(document, "package") else { return Ok(None) };
    let name = package.get("name").ok_or_else(|| anyhow!("{}: `package.name` is missing", file.path))?;
    let mut dependencies = read_dependencies(file, document);
    for target in table(document, "target").into_iter().flat_map(|targets| targets.values()) {
        dependencies.extend(target.get_ref().as_table().into_iter().flat_map(|table| read_dependencies(file, table)));
    }
    Ok(Some(Manifest {
        path: file.path.clone(),
        package: name.get_ref().as_str().unwrap_or_default().to_owned(),
        package_line: file.line_at(name.span().start),
        dependencies,
    }))
}

fn read_dependencies(file: &TextFile, parent: &DeTable<'_>) -> Vec<Dependency> {
    let mut dependencies = Vec::new();
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (key, requirement) in table(parent, kind).into_iter().flatten() {
            // `alias = { package = "name" }` is a dependency on `name`.
            let renamed = requirement.get_ref().as_table().and_then(|table| table.get("package"));
            let name = renamed.and_then(|name| name.get_ref().as_str()).unwrap_or(key.get_ref());
            dependencies.push(Dependency { name: name.to_owned(), line: file.line_at(key.span().start) });
        }
    }
    dependencies
}

fn table<'a, 'text>(parent: &'a DeTable<'text>, name: &str) -> Option<&'a DeTable<'text>> {
    let value: &Spanned<DeValue<'text>> = parent.get(name)?;
    value.get_ref().as_table()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(package: &str, dependencies: &str) -> TextFile {
        let text = format!("[package]\nname = \"{package}\"\n\n{dependencies}");
        TextFile { path: format!("crates/{package}/Cargo.toml"), text }
    }

    fn findings(files: Vec<TextFile>, reasons: &str) -> Vec<String> {
        let reasons = TextFile { path: REASONS.into(), text: reasons.into() };
        let files: Vec<TextFile> = files.into_iter().chain([reasons]).collect();
        check(&files).expect("the manifests parse").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn dependencies_of_every_kind_need_a_reason() {
        let text = "[dependencies]\na = \"1\"\nalias = { package = \"b\", version = \"1\" }\n\
            [dev-dependencies.c]\nversion = \"1\"\n[build-dependencies]\nd = \"1\"\n\
            [target.'cfg(unix)'.dependencies]\ne = \"1\"\nf.version = \"1\"\n";
        let found = findings(vec![manifest("verify", text)], "");
        let place = |line: usize, name: &str| {
            let wrong = format!("`{name}` has no reason in docs/dependencies.md");
            format!("crates/verify/Cargo.toml:{line}: {wrong}; add its row, or do without it")
        };
        let expected = [(5, "a"), (6, "b"), (7, "c"), (10, "d"), (12, "e"), (13, "f")];
        assert_eq!(found, expected.map(|(line, name)| place(line, name)));
    }

    #[test]
    fn rows_must_be_needed_complete_and_name_the_users() {
        let files =
            || vec![manifest("verify", "[dependencies]\na = \"1\"\n"), manifest("rl", "[dependencies]\na = \"1\"\n")];
        for (row, expected) in [
            ("| `a` | rl, verify | it adds |", &[][..]),
            ("| `a` | verify,rl | it adds \\| subtracts |", &[]),
            ("| `a` | rl | it adds |", &["docs/dependencies.md:3: `a` has the wrong users; write `rl, verify`"]),
            ("| `a` | rl, verify | |", &["docs/dependencies.md:3: `a` has no reason; write why it is used"]),
        ] {
            let table = format!("| crate | used by | why |\n|---|---|---|\n{row}\n");
            assert_eq!(findings(files(), &table), expected, "{row}");
        }
        let stale = "| `a` | rl, verify | it adds |\n| `z` | rl | it was there once |\n";
        let expected = "docs/dependencies.md:2: `z` is no direct dependency of any crate; remove the row";
        assert_eq!(findings(files(), stale), [expected]);
    }

    #[test]
    fn crates_import_in_one_direction() {
        let rl = "[dependencies]\nmodel.workspace = true\nverify = { path = \"../verify\" }\n";
        let pass = [manifest("kernels", ""), manifest("model", "[dependencies]\nkernels.workspace = true\n")];
        let pass = pass.into_iter().chain([manifest("verify", ""), manifest("rl", rl)]).collect();
        assert_eq!(findings(pass, ""), [""; 0]);

        let upwards = vec![manifest("rl", ""), manifest("verify", "[dev-dependencies]\nrl.workspace = true\n")];
        let expected = "crates/verify/Cargo.toml:5: `verify` may not import `rl`; \
            it imports none of our crates; move the code to the crate that may";
        assert_eq!(findings(upwards, ""), [expected]);

        let around = vec![manifest("kernels", ""), manifest("rl", "[dependencies]\nkernels.workspace = true\n")];
        let expected = "crates/rl/Cargo.toml:5: `rl` may not import `kernels`; \
            it may import model, verify, record; move the code to the crate that may";
        assert_eq!(findings(around, ""), [expected]);
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let found = findings(vec![manifest("common", "")], "");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/common/Cargo.toml:2: crate `common` has no place"), "{found:?}");
    }
}
