//! Words that the code does not use where it chooses a name. Names that other crates chose are not looked at.
#![expect(clippy::wildcard_enum_match_arm, reason = "of syn's open enums a check names the kinds that it is about")]

use syn::{
    FieldPat, Ident, ImplItem, ItemImpl,
    ext::IdentExt,
    visit::{self, Visit},
};

use super::{Finding, RustFile};

/// A word to avoid, alone or as part of a name, in the singular; and what to say. Parts are joined by `_`.
const AVOIDED: &[(&str, &str)] = &[
    ("actor", "`policy`"),
    ("data", "the noun for what it holds (`problems`, `bytes`, `weights`)"),
    ("episode", "`rollout`"),
    ("experiment", "`run`"),
    ("handle", "the noun for what it refers to (`worker`, `file`), or a verb that says what is done"),
    ("helper", "the noun for what it does"),
    ("info", "the noun for what it tells (`header`, `shape`, `summary`)"),
    ("iteration", "`step`"),
    ("logp", "`logprob`"),
    ("manager", "the noun for what it owns"),
    ("pass_rate", "`correctness_ratio`"),
    ("process", "a verb that says what is done"),
    ("response", "`completion`"),
    ("trajectory", "`rollout`"),
    ("trajectorie", "`rollout`"),
    ("util", "the noun for what it does"),
];

pub(super) fn check(file: &RustFile<'_>) -> Vec<Finding> {
    let mut definitions = Definitions::default();
    definitions.visit_file(&file.syntax);
    let mut findings = Vec::new();
    for (line, name) in definitions.names {
        if let Some((word, instead)) = avoided_word(&name) {
            let wrong = format!("`{name}` uses the word `{word}`");
            findings.push(Finding::new(file.path, line, wrong, format!("use {instead}")));
        }
    }
    findings
}

fn avoided_word(name: &str) -> Option<(String, &'static str)> {
    let words = words(name);
    AVOIDED.iter().find_map(|(avoided, instead)| {
        let length = avoided.split('_').count();
        let used = words.windows(length).map(|window| window.join("_"));
        let mut matching = used.filter(|used| used == avoided || used.strip_suffix('s') == Some(avoided));
        matching.next().map(|used| (used, *instead))
    })
}

/// The words of a snake-case or CamelCase name, in lower case.
fn words(name: &str) -> Vec<String> {
    let characters: Vec<char> = name.chars().collect();
    let mut words = vec![String::new()];
    for (index, &character) in characters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| characters[index]);
        let after = characters.get(index + 1);
        let starts_word = character.is_uppercase()
            && (before.is_some_and(|before| before.is_lowercase() || before.is_ascii_digit())
                || after.is_some_and(|after| after.is_lowercase()));
        if character == '_' || starts_word {
            words.push(String::new());
        }
        if character != '_' {
            words.last_mut().expect("words start with one entry").extend(character.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The names that a file defines, each with its line.
#[derive(Default)]
struct Definitions {
    names: Vec<(usize, String)>,
}

impl Definitions {
    fn record(&mut self, name: &Ident) {
        self.names.push((name.span().start().line, name.unraw().to_string()));
    }
}

/// Visits that record the node's name and then what is inside it.
macro_rules! record_names {
    ($($visit:ident: $node:ident.$name:ident,)*) => {
        $(fn $visit(&mut self, node: &'ast syn::$node) {
            self.record(&node.$name);
            visit::$visit(self, node);
        })*
    };
}

impl<'ast> Visit<'ast> for Definitions {
    record_names! {
        visit_item_const: ItemConst.ident,
        visit_item_enum: ItemEnum.ident,
        visit_item_mod: ItemMod.ident,
        visit_item_static: ItemStatic.ident,
        visit_item_struct: ItemStruct.ident,
        visit_item_trait: ItemTrait.ident,
        visit_item_type: ItemType.ident,
        visit_item_union: ItemUnion.ident,
        visit_pat_ident: PatIdent.ident,
        visit_trait_item_const: TraitItemConst.ident,
        visit_trait_item_type: TraitItemType.ident,
        visit_type_param: TypeParam.ident,
        visit_use_rename: UseRename.rename,
        visit_variant: Variant.ident,
    }

    fn visit_item_fn(&mut self, node: &'ast syn::ItemFn) {
        self.record(&node.sig.ident);
        visit::visit_item_fn(self, node);
    }

    fn visit_trait_item_fn(&mut self, node: &'ast syn::TraitItemFn) {
        self.record(&node.sig.ident);
        visit::visit_trait_item_fn(self, node);
    }

    fn visit_field(&mut self, node: &'ast syn::Field) {
        if let Some(name) = &node.ident {
            self.record(name);
        }
        visit::visit_field(self, node);
    }

    fn visit_item_impl(&mut self, node: &'ast ItemImpl) {
        // The items of a trait's implementation are named by the trait.
        let own_items: &[ImplItem] = if node.trait_.is_none() { &node.items } else { &[] };
        for item in own_items {
            match item {
                ImplItem::Fn(function) => self.record(&function.sig.ident),
                ImplItem::Const(constant) => self.record(&constant.ident),
                _ => {}
            }
        }
        visit::visit_item_impl(self, node);
    }

    fn visit_field_pat(&mut self, node: &'ast FieldPat) {
        // The shorthand `Header { length, .. }` takes the name of a field that is checked where it is defined.
        if node.colon_token.is_some() {
            visit::visit_field_pat(self, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::check_rust;

    #[test]
    fn names_are_split_into_words() {
        for (name, expected) in [
            ("completion_tokens_max", &["completion", "tokens", "max"][..]),
            ("TensorInfo", &["tensor", "info"]),
            ("HTTPServer", &["http", "server"]),
            ("Qwen3Config", &["qwen3", "config"]),
            ("DATA_DIR", &["data", "dir"]),
            ("_data", &["data"]),
            ("metadata", &["metadata"]),
        ] {
            assert_eq!(words(name), expected, "{name}");
        }
    }

    #[test]
    fn every_kind_of_definition_is_looked_at() {
        for text in [
            "fn process() {}",
            "struct TensorInfo;",
            "enum Data {}",
            "enum E { Episode }",
            "trait RunManager {}",
            "trait T { fn handle(&self); }",
            "trait T { const INFO: u8; }",
            "trait T { type Data; }",
            "mod utils;",
            "type Trajectory = u8;",
            "type Trajectories = u8;",
            "const OLD_LOGPS: u8 = 0;",
            "static DATA: u8 = 0;",
            "struct S { row_data: u8 }",
            "fn f(data: &[u8]) {}",
            "fn f() { let info = 1; }",
            "fn f() { let (a, iteration) = (1, 2); }",
            "fn f() { for episode in 0..2 {} }",
            "fn f() { let g = |actor: u8| actor; }",
            "fn f() { let Some(response) = None::<u8> else { return }; }",
            "fn f(H { length: data, .. }: H) {}",
            "impl S { fn behavior_logp(&self) {} }",
            "impl S { const PASS_RATE: f32 = 0.0; }",
            "impl T for S { fn run(&self) { let helper = 1; } }",
            "use a::b as helpers;",
            "fn f<Data>() {}",
        ] {
            assert_eq!(check_rust("a.rs", text, check).len(), 1, "{text}");
        }
    }

    #[test]
    fn names_that_others_chose_pass() {
        for text in [
            "use std::process;",
            "use safetensors::tensor::TensorInfo;",
            "fn f(x: TensorInfo) { x.data(); process::exit(x.info); }",
            "fn f(TensorInfo { data, .. }: TensorInfo) {}",
            "impl Handler for S { fn handle(&self) {} type Data = u8; }",
            "fn f() { read(\"tests/data\"); }",
            "fn metadata(processor: u8) {}",
            "fn rate(pass: u8) {}",
        ] {
            assert_eq!(check_rust("a.rs", text, check), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_finding_names_line_name_and_word() {
        assert_eq!(check_rust("a.rs", "\nfn row_datas() {}", check), ["2: `row_datas` uses the word `datas`"]);
    }
}
