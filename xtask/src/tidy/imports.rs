//! Whether the imports of a module stand in three groups at its top. Order inside a group is rustfmt's.
#![expect(clippy::wildcard_enum_match_arm, reason = "of syn's open enums a check names the kinds that it is about")]

use syn::{Ident, Item, ItemUse, UseTree, Visibility, spanned::Spanned};

use super::{Finding, RustFile};

/// The groups, in the order in which they stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Std,
    External,
    Crate,
}

impl Group {
    fn name(self) -> &'static str {
        match self {
            Self::Std => "std",
            Self::External => "other crates",
            Self::Crate => "this crate",
        }
    }
}

pub(super) fn check(file: &RustFile<'_>) -> Vec<Finding> {
    check_module(file, &file.syntax.items)
}

fn check_module(file: &RustFile<'_>, items: &[Item]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut previous = None;
    let mut first_item_line = None;
    for item in items {
        match item {
            Item::Use(import) if matches!(import.vis, Visibility::Inherited) => {
                findings.extend(misplaced(file, import, first_item_line));
                let group = group(&import.tree, items);
                findings.extend(ungrouped(file, import, group, previous));
                previous = Some((group, import.span().end().line));
            }
            // Re-exports belong with the modules they come from.
            Item::Use(_) | Item::ExternCrate(_) => {}
            Item::Mod(module) => match &module.content {
                None => {}
                Some((_, inner)) => {
                    findings.extend(check_module(file, inner));
                    first_item_line.get_or_insert(item.span().start().line);
                }
            },
            _ => _ = first_item_line.get_or_insert(item.span().start().line),
        }
    }
    findings
}

fn misplaced(file: &RustFile<'_>, import: &ItemUse, first_item_line: Option<usize>) -> Option<Finding> {
    let wrong = format!("import stands below the item in line {}", first_item_line?);
    Some(Finding::new(file.path, import.span().start().line, wrong, "move it to the top of its module"))
}

fn ungrouped(file: &RustFile<'_>, import: &ItemUse, group: Group, previous: Option<(Group, usize)>) -> Option<Finding> {
    let (previous_group, previous_line) = previous?;
    let line = import.span().start().line;
    let between = file.text.lines().take(line - 1).skip(previous_line);
    let is_apart = between.into_iter().any(|line| line.trim().is_empty());
    let (name, previous_name) = (group.name(), previous_group.name());
    let (wrong, remedy) = if group < previous_group {
        (format!("import from {name} stands below one from {previous_name}"), "order: std, other crates, this crate")
    } else if group > previous_group && !is_apart {
        (format!("import from {name} touches one from {previous_name}"), "put a blank line between the groups")
    } else if group == previous_group && is_apart {
        (format!("imports from {name} stand in two groups"), "join them")
    } else {
        return None;
    };
    Some(Finding::new(file.path, line, wrong, remedy))
}

fn group(tree: &UseTree, siblings: &[Item]) -> Group {
    let first = match tree {
        UseTree::Path(path) => &path.ident,
        UseTree::Name(name) => &name.ident,
        UseTree::Rename(rename) => &rename.ident,
        _ => return Group::External,
    };
    if ["std", "core", "alloc"].iter().any(|name| first == name) {
        Group::Std
    } else if ["crate", "self", "super"].iter().any(|name| first == name)
        || siblings.iter().filter_map(local_name).any(|name| first == name)
    {
        Group::Crate
    } else {
        Group::External
    }
}

/// The name of an item that a path may start with.
fn local_name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Mod(module) => Some(&module.ident),
        Item::Enum(item) => Some(&item.ident),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::check_rust;

    fn findings(text: &str) -> Vec<String> {
        check_rust("a.rs", text, check)
    }

    #[test]
    fn three_groups_with_blank_lines_between_them_pass() {
        for text in [
            "use std::fs;\n\nuse serde::Serialize;\n\nuse crate::run;\nuse super::x;\n",
            "mod shaping;\n\nuse core::fmt;\nuse std::{\n    fs,\n    io,\n};\n\nuse shaping::Shaper;\nfn f() {}\n",
            "pub use error::E;\nuse std::fs;\n",
            "enum E {}\nfn f() { use std::fmt::Write; }\n",
            "use serde::Serialize;\nfn f() {}\nmod tests {\n    use std::fs;\n\n    use super::*;\n}\n",
            "use std::fs;\n// Needed for intrinsics.\n#[cfg(unix)]\nuse std::arch;\n",
        ] {
            assert_eq!(findings(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn groups_out_of_order_together_or_split_are_found() {
        for (text, expected) in [
            ("use serde::S;\n\nuse std::fs;\n", "3: import from std stands below one from other crates"),
            ("use crate::run;\n\nuse model::Model;\n", "3: import from other crates stands below one from this crate"),
            ("use std::fs;\nuse serde::S;\n", "2: import from other crates touches one from std"),
            ("use std::fs;\n\nuse std::io;\n", "3: imports from std stand in two groups"),
            ("mod tests {\n    use std::fs;\n    use super::*;\n}\n", "3: import from this crate touches one from std"),
        ] {
            assert_eq!(findings(text), [expected], "{text}");
        }
    }

    #[test]
    fn an_import_below_an_item_is_found() {
        let text = "use std::fs;\n\nconst A: u8 = 1;\n\nuse serde::S;\n";
        assert_eq!(findings(text), ["5: import stands below the item in line 3"]);
    }
}
