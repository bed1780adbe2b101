//! Runs that a page sets beside each other although they were not made alike: what differs is said, as the page can't know
//! whether it was meant.

use std::collections::BTreeMap;

use toml::Table;

use super::{
    escape::{Markup, line},
    series::{Arm, Comparison, Run},
};
use crate::{EvaluationSummary, RecordError};

/// Settings of which no number of a run but its seed's depends, or that a seed may have of its own.
const FREE: [&str; 6] = ["seed", "threads", "device", "model.path", "problems.path", "evaluation.path"];

/// A remark for each difference: between runs of an arm in a setting, between runs of a seed in the file that they were
/// evaluated on, and between any two in how they were.
///
/// # Errors
/// [`RecordError`] when a config cannot be read.
pub(super) fn section(comparison: &Comparison, out: &mut Markup) -> Result<(), RecordError> {
    let mut remarks = Vec::new();
    for arm in &comparison.arms {
        remarks.extend(config_remark(arm)?);
    }
    remarks.extend(file_remark(comparison));
    remarks.extend(evaluation_remark(comparison));
    for remark in remarks {
        out.put(format_args!("<p class=\"remark\">{}</p>", line(&remark)));
    }
    Ok(())
}

/// The first setting by which a run of the arm is no other seed of its first one.
fn config_remark(arm: &Arm) -> Result<Option<String>, RecordError> {
    let Some(first) = arm.runs.first() else { return Ok(None) };
    let expected = settings(&first.directory.config_toml()?);
    for run in &arm.runs[1..] {
        let found = settings(&run.directory.config_toml()?);
        let differing = expected.keys().chain(found.keys()).find(|name| expected.get(*name) != found.get(*name));
        if let Some(name) = differing {
            let value =
                |settings: &BTreeMap<String, String>| settings.get(name).map_or("none", String::as_str).to_owned();
            return Ok(Some(format!(
                "Runs of the arm {} were not trained alike, and are taken together as its seeds: {} has {name} = {}, and \
                 {} has {}.",
                arm.name,
                run.name(),
                value(&found),
                first.name(),
                value(&expected)
            )));
        }
    }
    Ok(None)
}

/// The settings of a config by their names, without those that are free; none of what is no config.
fn settings(config: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    if let Ok(table) = config.parse::<Table>() {
        flatten("", &table, &mut settings);
    }
    settings.retain(|name, _| !FREE.contains(&name.as_str()));
    settings
}

fn flatten(above: &str, table: &Table, settings: &mut BTreeMap<String, String>) {
    for (name, value) in table {
        let name = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
        // One without settings names a choice by its own name.
        if let Some(table) = value.as_table().filter(|table| !table.is_empty()) {
            flatten(&name, table, settings);
        } else {
            settings.insert(name, value.to_string());
        }
    }
}

/// Two runs of one seed whose evaluation files differ; those of two seeds may.
fn file_remark(comparison: &Comparison) -> Option<String> {
    let mut by_seed: BTreeMap<u64, (&Run, &String)> = BTreeMap::new();
    for run in comparison.runs().filter(|run| !run.evaluations.is_empty()) {
        let Some(checksum) = run.header.inputs.get("evaluation.path") else { continue };
        let (other, expected) = *by_seed.entry(run.header.seed).or_insert((run, checksum));
        if expected != checksum {
            return Some(format!(
                "The files that {} and {} were evaluated on differ, so their accuracies answer different questions.",
                other.name(),
                run.name()
            ));
        }
    }
    None
}

/// Two runs that were evaluated with other settings.
fn evaluation_remark(comparison: &Comparison) -> Option<String> {
    let mut evaluated = comparison.runs().filter_map(|run| Some((run, said(run.evaluations.last()?))));
    let (first, expected) = evaluated.next()?;
    let (run, found) = evaluated.find(|(_, found)| *found != expected)?;
    Some(format!("Not all runs were evaluated alike: {} on {found}, {} on {expected}.", run.name(), first.name()))
}

fn said(row: &EvaluationSummary) -> String {
    format!(
        "{} problems with mean@{}, temperature {}, nucleus mass {} and at most {} tokens",
        row.problems, row.samples, row.temperature, row.top_p, row.completion_tokens_max
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_their_whole_names_and_seeds_their_own_files() {
        let config = "seed = 3\narm = 'a'\n[model]\npath = 'm'\n[train]\nsteps = 2\nshaping = { grpo = {} }\n";
        let expected = [("arm", "\"a\""), ("train.shaping.grpo", "{}"), ("train.steps", "2")];
        let found = settings(config);
        assert_eq!(found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
        assert!(settings("no config").is_empty());
    }
}
