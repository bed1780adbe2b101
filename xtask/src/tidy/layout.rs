//! How a source file opens and how long it may be.

use syn::{Attribute, Item, ItemMod, spanned::Spanned};

use super::{Finding, RustFile};

/// Lines of a file, its tests apart.
const FILE_LINES_MAX: usize = 500;

pub(super) fn check(file: &RustFile<'_>) -> Vec<Finding> {
    header(file).into_iter().chain(length(file)).collect()
}

fn header(file: &RustFile<'_>) -> Option<Finding> {
    let wrong = "does not open with `//!`";
    let remedy = "say in the first line what the file is and what it is not";
    (!file.text.starts_with("//!")).then(|| Finding::new(file.path, 1, wrong, remedy))
}

fn length(file: &RustFile<'_>) -> Option<Finding> {
    // `src/x/tests.rs` is the out-of-line form of the trailing test module.
    let is_test = file.path.split('/').any(|part| part == "tests" || part == "tests.rs");
    let lines = file.text.lines().count() - trailing_test_lines(&file.syntax.items);
    (!is_test && lines > FILE_LINES_MAX).then(|| {
        let wrong = format!("has {lines} lines, tests apart; the limit is {FILE_LINES_MAX}");
        Finding::new(file.path, FILE_LINES_MAX + 1, wrong, "split it at its nouns")
    })
}

fn trailing_test_lines(items: &[Item]) -> usize {
    match items.last() {
        Some(Item::Mod(module)) if is_test_module(module) => {
            let span = module.span();
            span.end().line - span.start().line + 1
        }
        _ => 0,
    }
}

fn is_test_module(module: &ItemMod) -> bool {
    let is_cfg_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
    };
    module.attrs.iter().any(is_cfg_test)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::check_rust;

    /// A source of `lines` lines, followed by a test module of `test_lines`.
    fn source(lines: usize, test_lines: usize) -> String {
        let mut text = "//! A file.\n".to_owned() + &"const _: () = ();\n".repeat(lines - 1);
        if test_lines > 0 {
            text += "#[cfg(test)]\nmod tests {\n";
            text += &"const _: () = ();\n".repeat(test_lines - 3);
            text += "}\n";
        }
        text
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(check_rust("a.rs", "//! A.\n", check), [""; 0]);
        for text in ["", "fn f() {}\n", "// A.\n", "#![allow(unused)]\n//! A.\n", "\n//! A.\n"] {
            assert_eq!(check_rust("a.rs", text, check), ["1: does not open with `//!`"], "{text:?}");
        }
    }

    #[test]
    fn lines_count_up_to_the_trailing_test_module() {
        let too_long = ["501: has 501 lines, tests apart; the limit is 500"];
        for (path, text, expected) in [
            ("src/a.rs", source(500, 0), &[][..]),
            ("src/a.rs", source(501, 0), &too_long),
            ("src/a.rs", source(500, 400), &[]),
            ("src/a.rs", source(501, 400), &too_long),
            ("tests/a.rs", source(501, 0), &[]),
            ("src/a/tests.rs", source(501, 0), &[]),
        ] {
            assert_eq!(check_rust(path, &text, check), expected, "{path}, {} lines", text.lines().count());
        }
    }

    #[test]
    fn a_test_module_in_the_middle_counts() {
        let text = source(400, 200) + "fn last() {}\n";
        assert_eq!(check_rust("src/a.rs", &text, check), ["501: has 601 lines, tests apart; the limit is 500"]);
    }
}
