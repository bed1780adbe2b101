//! Changes of expressions, relations, options and words.

use super::numbers::digit_runs;

/// Adds the perturbed copies of `gold`.
pub(super) fn perturb(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    match kind(gold) {
        Kind::Option(letter) => change_option(letter, add),
        Kind::Words(words) => change_words(words, add),
        Kind::Relation => change_relation(gold, add),
        Kind::Expression => change_expression(gold, add),
        Kind::Other => hedge(gold, add),
    }
}

enum Kind<'a> {
    Option(char),
    Words(&'a str),
    Relation,
    Expression,
    Other,
}

fn kind(gold: &str) -> Kind<'_> {
    let bare = ["\\text{", "\\textbf{", "\\mbox{", "\\mathrm{"]
        .into_iter()
        .find_map(|command| gold.strip_prefix(command)?.strip_suffix('}'))
        .unwrap_or(gold);
    let letter = bare.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(bare);
    let is_words = |text: &str| text.chars().all(|c| c.is_ascii_alphabetic() || c == ' ') && text.len() > 2;
    let holds = |marks: &[&str]| marks.iter().any(|mark| gold.contains(mark));
    match letter.chars().next() {
        Some(first) if letter.len() == 1 && first.is_ascii_uppercase() => Kind::Option(first),
        _ if is_words(bare) => Kind::Words(bare),
        _ if holds(&[
            "\\text", "\\mbox", "\\begin", "\\infty", "\\pm", "_", "\\in", ":", "\\mathbb", "%", "\\ldots",
        ]) =>
        {
            Kind::Other
        }
        _ if holds(&["=", "<", ">", "\\le", "\\ge", "\\lt", "\\gt", "\\ne"]) => Kind::Relation,
        _ if holds(&[",", "\\{", "\\cup", "\\$", ";", "&", "["]) => Kind::Other,
        _ => Kind::Expression,
    }
}

fn change_option(letter: char, add: &mut dyn FnMut(&'static str, String)) {
    for other in ('A'..='H').filter(|other| *other != letter) {
        add("option", other.to_string());
        add("two options", format!("{letter} \\text{{ or }} {other}"));
    }
    add("negated", format!("\\text{{not }}{letter}"));
}

fn change_words(words: &str, add: &mut dyn FnMut(&'static str, String)) {
    add("negated", format!("\\text{{not {words}}}"));
    add("two named", format!("\\text{{{words} or otherwise}}"));
    add("two named", format!("\\text{{perhaps otherwise or {words}}}"));
    add("letter added", format!("\\text{{{words}q}}"));
    add("letter added", format!("\\text{{q{words}}}"));
    add("letter lost", format!("\\text{{{}}}", &words[1..]));
    add("a number", "5".to_owned());
    add("other words", "\\text{otherwise}".to_owned());
}

fn change_relation(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    // Both sides of the last relation are an expression, so a term added to the right one changes it.
    if !gold.contains(',') {
        add("term added", format!("{gold} + 1"));
        add("term added", format!("{gold} - 2"));
    }
    let exchanges = [
        ("\\leq", "<"),
        ("\\geq", ">"),
        ("\\le ", "< "),
        ("\\ge ", "> "),
        ("\\le ", "\\ge "),
        ("\\ge ", "\\le "),
        ("<", "\\le "),
        (">", "\\ge "),
        ("<", ">"),
        (">", "<"),
        ("=", "\\ne "),
        ("=", "<"),
    ];
    for (relation, other) in exchanges {
        if gold.contains(relation) {
            add("relation", gold.replacen(relation, other, 1));
        }
    }
    add("nothing said", "0 = 0".to_owned());
    add("nothing said", "x = x".to_owned());
    hedge(gold, add);
}

fn change_expression(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    let is_zero = digit_runs(gold).iter().all(|run| gold[run.clone()].bytes().all(|digit| digit == b'0'))
        && !gold.contains(|character: char| character.is_ascii_alphabetic());
    if is_zero || gold.is_empty() {
        return;
    }
    add("term added", format!("{gold} + 1"));
    add("term added", format!("{gold} - 1"));
    add("term added", format!("{gold} + 977\\pi"));
    add("negated", format!("-({gold})"));
    add("doubled", format!("2({gold})"));
    add("halved", format!("\\frac{{{gold}}}{{2}}"));
    if gold.contains("\\pi") {
        add("constant lost", gold.replace("\\pi", "(1)"));
        add("constant", gold.replace("\\pi", "e"));
    }
    if let Some(at) = gold.find("\\sqrt{")
        && !gold[at..].starts_with("\\sqrt{1}")
        && !gold[at..].starts_with("\\sqrt{0}")
    {
        add("root", format!("{}\\sqrt[5]{}", &gold[..at], &gold[at + "\\sqrt".len()..]));
    }
    if let Some((at, variable)) = lone_variable(gold) {
        let other = if variable == 'z' { 'w' } else { 'z' };
        if !gold.contains(other) {
            add("variable", format!("{}{other}{}", &gold[..at], &gold[at + 1..]));
        }
        add("variable squared", format!("{}({variable}^2+3){}", &gold[..at], &gold[at + 1..]));
    }
    hedge(gold, add);
}

/// The first letter that is no part of a command or a word, and where it stands; none where it is taken away again.
fn lone_variable(gold: &str) -> Option<(usize, char)> {
    let bytes = gold.as_bytes();
    let is_letter = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphabetic);
    let in_command = |at: usize| {
        let letters = bytes[..at].iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
        at > letters && bytes[at - letters - 1] == b'\\'
    };
    let at = (0..bytes.len()).find(|at| is_letter(*at) && !in_command(*at) && !b"edi".contains(&bytes[*at]))?;
    Some((at, char::from(bytes[at])))
}

fn hedge(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    add("two named", format!("{gold} \\text{{ or }} 97701"));
    add("two named", format!("97701 \\text{{ or }} {gold}"));
    add("negated in words", format!("\\text{{not }} {gold}"));
}
