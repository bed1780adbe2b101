//! Changes to a config before it is read: one setting from a command line, or a table of them. What a setting may be,
//! the types of `config` decide.

use std::collections::BTreeMap;

use toml::{Table, Value};

/// Tables that hold the one choice that is made, by its name. A change that names another choice takes the place of the
/// one there, settings included; in every other table the settings that a change does not name stay.
const CHOICES: [&str; 4] = ["train.shaping", "train.faults.remedy", "train.warning.action", "verifier.extraction"];

/// Applies a change of the form `section.key=value`, the value in TOML; a bare word is a string.
pub(crate) fn apply(table: &mut Table, change: &str) -> Result<(), String> {
    let (path, value) =
        change.split_once('=').ok_or(format!("--set {change} has no `=`; write --set section.key=value"))?;
    // --set model.path=models/tiny needs no quotes.
    let value = toml::from_str::<Table>(&format!("value = {value}"))
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| Value::String(value.to_owned()));
    let nested = path.trim().rsplit('.').fold(value, |value, key| Table::from_iter([(key.to_owned(), value)]).into());
    let Value::Table(changes) = nested else { unreachable!("a path has a key") };
    merge(table, changes).map_err(|message| format!("--set {change}: {message}"))
}

/// Every setting of `table` by its name, as in `train.steps`.
pub(crate) fn settings(table: &Table) -> BTreeMap<String, Value> {
    let below = |(name, value): (&String, &Value)| match value.as_table().filter(|section| !section.is_empty()) {
        Some(section) => {
            settings(section).into_iter().map(|(inner, value)| (format!("{name}.{inner}"), value)).collect()
        }
        None => vec![(name.clone(), value.clone())],
    };
    table.iter().flat_map(below).collect()
}

/// Sets every setting of `changes` in `table`.
///
/// # Errors
/// When a section of `changes` is a value in `table`; the message names it.
pub(crate) fn merge(table: &mut Table, changes: Table) -> Result<(), String> {
    merge_below("", table, changes)
}

fn merge_below(path: &str, table: &mut Table, changes: Table) -> Result<(), String> {
    if CHOICES.contains(&path) && !changes.keys().any(|choice| table.contains_key(choice)) {
        table.clear();
    }
    for (key, change) in changes {
        let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (table.get_mut(&key), change) {
            (Some(Value::Table(inner)), Value::Table(changes)) => merge_below(&below, inner, changes)?,
            (Some(_), Value::Table(_)) => return Err(format!("`{below}` is a value, not a section")),
            (Some(_) | None, change) => drop(table.insert(key, change)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name_and_takes_the_place_of_another_choice() {
        let base = "seed = 1\n[train]\nsteps = 3\nshaping.top-lambda = { lambda = 0.2, alpha = 0.5 }\n";
        for (changes, expected) in [
            ("train.shaping.top-lambda.lambda = 1", "shaping.top-lambda = { lambda = 1, alpha = 0.5 }"),
            ("train.shaping.grpo = {}", "shaping.grpo = {}"),
            ("train.shaping.length-penalty.alpha = 1", "shaping.length-penalty.alpha = 1"),
        ] {
            let mut merged = table(base);
            merge(&mut merged, table(changes)).unwrap();
            assert_eq!(merged, table(&format!("seed = 1\n[train]\nsteps = 3\n{expected}\n")), "{changes}");
        }
        let mut merged = table(base);
        merge(&mut merged, table("seed = 2\nrollout.group_size = 4\n")).unwrap();
        assert_eq!((&merged["seed"], &merged["rollout"]["group_size"]), (&2.into(), &4.into()));
    }

    #[test]
    fn a_section_is_not_put_where_a_value_is() {
        let message = merge(&mut table("[train]\nsteps = 3\n"), table("train.steps.min = 1\n")).unwrap_err();
        assert_eq!(message, "`train.steps` is a value, not a section");
    }

    #[test]
    fn a_command_line_sets_one_setting() {
        let mut changed = table("[model]\npath = 'a'\n");
        for change in ["model.path=b/c", "train.optimizer.learning_rate=2e-6", "train.shaping={grpo={}}"] {
            apply(&mut changed, change).unwrap();
        }
        let expected = "model.path = 'b/c'\ntrain.optimizer.learning_rate = 2e-6\ntrain.shaping.grpo = {}\n";
        assert_eq!(changed, table(expected));
    }
}
