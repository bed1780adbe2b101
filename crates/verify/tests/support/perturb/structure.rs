//! Changes of lists, tuples, sets, intervals and unions: members dropped, added and exchanged, brackets opened.

/// Adds the perturbed copies of `gold`.
pub(super) fn perturb(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    change_members(gold, add);
    change_brackets(gold, add);
    change_union(gold, add);
}

/// The text before, inside and after the brackets around all of a gold.
fn bracketed(gold: &str) -> [&str; 3] {
    let openings = ["\\left(", "\\left[", "\\left\\{", "\\{", "(", "["];
    let closings = ["\\right)", "\\right]", "\\right\\}", "\\}", ")", "]"];
    let opening = openings.into_iter().find(|opening| gold.starts_with(opening)).unwrap_or_default();
    let closing = closings.into_iter().find(|closing| gold.ends_with(closing)).unwrap_or_default();
    if opening.is_empty() || closing.is_empty() || gold.len() < opening.len() + closing.len() {
        return ["", gold, ""];
    }
    let inner = &gold[opening.len()..gold.len() - closing.len()];
    let mut depth = 0_i32;
    for character in inner.chars() {
        depth += i32::from("([{".contains(character)) - i32::from(")]}".contains(character));
        if depth < 0 {
            return ["", gold, ""];
        }
    }
    [opening, inner, closing]
}

/// The parts of `text` between commas that stand in no brackets.
fn members(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_i32, 0);
    for (at, character) in text.char_indices() {
        depth += i32::from("([{".contains(character)) - i32::from(")]}".contains(character));
        // `\,` is a space.
        if character == ',' && depth == 0 && !text[..at].ends_with('\\') {
            parts.push(text[start..at].trim());
            start = at + 1;
        }
    }
    parts.push(text[start..].trim());
    parts
}

fn change_members(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    let [opening, inner, closing] = bracketed(gold);
    let parts = members(inner);
    let holds_text = gold.contains("\\text") || gold.contains('=') || parts.iter().any(|part| part.is_empty());
    if parts.len() < 2 || holds_text {
        return;
    }
    let joined = |parts: &[&str]| format!("{opening}{}{closing}", parts.join(", "));
    for dropped in 0..parts.len().min(4) {
        let rest: Vec<&str> =
            parts.iter().enumerate().filter(|(at, _)| *at != dropped).map(|(_, part)| *part).collect();
        // A member that stands twice, perhaps in another form, is still there.
        let are_apart = !opening.is_empty() || parts.iter().all(|part| is_integer(part));
        if are_apart && !rest.contains(&parts[dropped]) {
            add("member lost", joined(&rest));
        }
    }
    let mut longer = parts.clone();
    longer.push("977");
    add("member added", joined(&longer));
    let mut changed = parts.clone();
    changed[0] = "977";
    add("member changed", joined(&changed));
    if let Some(flipped) = flipped(parts[0])
        && !parts.contains(&flipped.as_str())
        && !gold.contains("\\pm")
    {
        let mut changed = parts.clone();
        changed[0] = &flipped;
        add("sign of a member", joined(&changed));
    }
    if opening.ends_with('(')
        && closing.ends_with(')')
        && is_integer(parts[0])
        && is_integer(parts[1])
        && parts[0] != parts[1]
    {
        let mut swapped = parts.clone();
        swapped.swap(0, 1);
        add("members exchanged", joined(&swapped));
    }
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
}

fn flipped(member: &str) -> Option<String> {
    is_integer(member).then(|| member.strip_prefix('-').map_or_else(|| format!("-{member}"), str::to_owned))
}

/// Opens a closed end of an interval or closes an open one that is not at infinity.
fn change_brackets(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    let is_interval = gold.contains("\\cup")
        || gold.contains("\\infty")
        || (gold.starts_with('[') && members(bracketed(gold)[1]).len() == 2)
        || (gold.ends_with(']') && members(bracketed(gold)[1]).len() == 2);
    if !is_interval || gold.contains("f(") || gold.contains("\\{") || gold.contains('=') {
        return;
    }
    for (at, bracket) in gold.char_indices() {
        let (before, after) = (gold[..at].trim_end(), gold[at + bracket.len_utf8()..].trim_start());
        let before = before.strip_suffix("\\right").unwrap_or(before).trim_end();
        let other = match bracket {
            '(' if !after.starts_with("-\\infty") => '[',
            '[' if !after.starts_with("-\\infty") => '(',
            ')' if !before.ends_with("\\infty") => ']',
            ']' if !before.ends_with("\\infty") => ')',
            _ => continue,
        };
        add("end of an interval", format!("{}{other}{}", &gold[..at], &gold[at + 1..]));
    }
}

fn change_union(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    let parts: Vec<&str> = gold.split("\\cup").collect();
    if parts.len() < 2 || gold.contains('=') {
        return;
    }
    add("interval lost", parts[1..].join("\\cup"));
    add("interval lost", parts[..parts.len() - 1].join("\\cup"));
    if !gold.contains("\\infty") {
        add("interval added", format!("{gold} \\cup (97701, 97702)"));
    }
}
