//! Where every dependency comes from, under which licence, and that none fetches anything while it is built.
//!
//! It reads `Cargo.lock` and what cargo has downloaded already, so it works without a network.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::ci::Outcome;

/// Licences that a dependency may be used under beside ours (MIT or Apache-2.0): all ask for no more than their text.
const LICENCES: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "NCSA",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The one place that dependencies come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Crates that reach the network; a build script must not have one of them.
const NETWORK: [&str; 9] = ["attohttpc", "curl", "git2", "hf-hub", "hyper", "isahc", "minreq", "reqwest", "ureq"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    source: Option<String>,
    checksum: Option<String>,
}

/// Checks the dependencies of the repository at `root`.
pub(crate) fn check(root: &Path) -> Result<Outcome> {
    let mut found = BTreeSet::new();
    let mut packages = BTreeSet::new();
    for (manifest, lock) in [("Cargo.toml", "Cargo.lock"), ("fuzz/Cargo.toml", "fuzz/Cargo.lock")] {
        let metadata = metadata_of(root, manifest)?;
        found.extend(findings(&metadata));
        packages.extend(metadata.packages.into_iter().map(|package| package.id));
        let text = fs::read_to_string(root.join(lock)).with_context(|| format!("cannot read {lock}"))?;
        let parsed: Lock = toml::from_str(&text).with_context(|| format!("cannot read {lock}"))?;
        found.extend(lock_findings(lock, &parsed));
    }
    if !found.is_empty() {
        bail!("{}", found.into_iter().collect::<Vec<_>>().join("\n"));
    }
    println!("{} packages: sources, licences and build scripts are as they should be", packages.len());
    Ok(Outcome::PASSED)
}

fn metadata_of(root: &Path, manifest: &str) -> Result<Metadata> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest]);
    let output = cargo.current_dir(root).output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!(
            "cargo metadata --locked failed for {manifest}; bring its Cargo.lock up to date: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("cannot read what cargo metadata says")
}

fn findings(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    let reached = build_reach(metadata);
    for package in metadata.packages.iter().filter(|package| package.source.is_some()) {
        let Package { id, name, version, license, .. } = package;
        let license = license.as_deref().unwrap_or("none");
        if !is_allowed(license) {
            findings.push(format!("{name} {version} has the licence `{license}`; choose another crate, or allow it"));
        }
        let runs = package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "custom-build"));
        let fetches = reached.get(id).into_iter().flatten().find(|used| NETWORK.contains(&used.as_str()));
        if let (true, Some(fetches)) = (runs, fetches) {
            findings.push(format!("the build script of {name} {version} has `{fetches}`; choose another crate"));
        }
    }
    findings
}

fn lock_findings(lock: &str, parsed: &Lock) -> Vec<String> {
    let foreign = parsed.package.iter().filter_map(|package| {
        let LockedPackage { name, source, checksum } = package;
        match source.as_deref() {
            Some(REGISTRY) if checksum.is_some() => None,
            Some(REGISTRY) => Some(format!("{lock}: {name} has no checksum; run cargo update")),
            Some(other) => Some(format!("{lock}: {name} comes from {other}; take it from crates.io")),
            None => None,
        }
    });
    foreign.collect()
}

/// Names of all packages that each package's build script is linked with.
fn build_reach(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let names: BTreeMap<&str, &str> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package.name.as_str())).collect();
    let of_kind = |id: &str, wanted: Option<&str>| -> Vec<String> {
        let edges = nodes.get(id).map_or(&[][..], |node| &node.deps[..]);
        let wanted = |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() == wanted);
        edges.iter().filter(wanted).map(|edge| edge.pkg.clone()).collect()
    };
    let reach = |id: &str| {
        let mut open = of_kind(id, Some("build"));
        let mut seen = BTreeSet::new();
        while let Some(next) = open.pop() {
            if seen.insert(next.clone()) {
                open.extend(of_kind(&next, None));
            }
        }
        seen.iter().filter_map(|id| names.get(id.as_str())).map(|name| (*name).to_owned()).collect()
    };
    nodes.keys().map(|id| ((*id).to_owned(), reach(id))).collect()
}

/// Whether an SPDX expression can be met with allowed licences alone. Exceptions (`WITH`) only add freedoms.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let allowed = any_of(&words, &mut at);
    allowed && at == words.len()
}

fn any_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = all_of(words, at);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        allowed |= all_of(words, at);
    }
    allowed
}

fn all_of(words: &[&str], at: &mut usize) -> bool {
    let mut allowed = one_of(words, at);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        allowed &= one_of(words, at);
    }
    allowed
}

fn one_of(words: &[&str], at: &mut usize) -> bool {
    let word = words.get(*at).copied();
    *at += 1;
    match word {
        Some("(") => {
            let allowed = any_of(words, at);
            *at += 1;
            allowed && words.get(*at - 1) == Some(&")")
        }
        Some(licence) => {
            if words.get(*at) == Some(&"WITH") {
                *at += 2;
            }
            LICENCES.contains(&licence)
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_read_as_spdx_says() {
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("MIT AND GPL-3.0-only", false),
            ("(MIT OR GPL-3.0-only) AND Unicode-3.0", true),
            ("(MIT AND GPL-3.0-only) OR LGPL-2.1-or-later", false),
            ("Apache-2.0 WITH LLVM-exception OR Apache-2.0 OR MIT", true),
            ("MIT OR", false),
            ("OR MIT", false),
            ("(MIT", false),
            ("MIT)", false),
            ("none", false),
            ("", false),
        ] {
            assert_eq!(is_allowed(expression), expected, "{expression}");
        }
    }

    #[test]
    fn build_scripts_that_fetch_other_sources_and_missing_checksums_are_found() {
        let package = |name: &str, kind: &str, source: &str| {
            serde_json::json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT", "source": source,
                "targets": [{"kind": [kind]}]})
        };
        let edge = |name: &str, kind: Option<&str>| serde_json::json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
        let metadata = serde_json::json!({
            "packages": [package("sys", "custom-build", REGISTRY), package("fetch", "lib", REGISTRY),
                package("ureq", "lib", REGISTRY), package("client", "custom-build", REGISTRY)],
            "resolve": {"nodes": [
                {"id": "sys", "deps": [edge("fetch", Some("build"))]},
                {"id": "fetch", "deps": [edge("ureq", None)]},
                {"id": "ureq", "deps": []},
                {"id": "client", "deps": [edge("ureq", None)]}]}});
        let found = findings(&serde_json::from_value(metadata).unwrap());
        assert_eq!(found, ["the build script of sys 1.0.0 has `ureq`; choose another crate"]);

        let lock = r#"
            package = [
                { name = "ours" },
                { name = "fine", source = "registry+https://github.com/rust-lang/crates.io-index", checksum = "ab" },
                { name = "bare", source = "registry+https://github.com/rust-lang/crates.io-index" },
                { name = "fork", source = "git+https://example.org/fork" },
            ]"#;
        let found = lock_findings("Cargo.lock", &toml::from_str(lock).unwrap());
        assert_eq!(
            found,
            [
                "Cargo.lock: bare has no checksum; run cargo update",
                "Cargo.lock: fork comes from git+https://example.org/fork; take it from crates.io"
            ]
        );
    }
}
