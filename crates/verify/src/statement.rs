//! Tokens to what an answer states: values in a list, relations, ratios, quantities with units.

use crate::{
    asked::{is_asked, is_number},
    expression::{HalfDay, Joiner, Mark, Naming, Node, Relation},
    lex::{Origin, Token},
    limits::{Reading, Stop},
    numeral::Numeral,
    parse::{Bounds, expression, is_function_name, is_word},
    text::{is_measure, is_name, joined, trimmed},
    unit::{Suffix, before_half_day, suffix},
};

/// Most items of a list.
const ITEMS_MAX: usize = 64;

/// All of an answer: items with semicolons, or with commas, `and` or `or` between them.
pub(crate) fn statement(tokens: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<Node> {
    let tokens = trimmed(tokens);
    if let [Token::Symbol('<'), inner @ .., Token::Symbol('>')] = tokens
        && inner.contains(&Token::Symbol(','))
    {
        let items = items(inner, bounds)?;
        return Ok(Node::Bracketed { open: '(', close: ')', items });
    }
    let semicolon = |token| (token == Token::Symbol(';')).then_some(Joiner::Comma);
    let (_, parts) = split(tokens, Thousands::Grouped, semicolon)?;
    if parts.len() > 1 {
        let lists: Reading<Vec<Node>> = parts.into_iter().map(|part| list(part, bounds)).collect();
        return Ok(Node::List(Joiner::Comma, lists?));
    }
    list(tokens, bounds)
}

/// Items with commas, `and` or `or` between them; a single one is itself.
fn list(tokens: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<Node> {
    let (joiner, parts) = split(tokens, Thousands::Grouped, joiner)?;
    if parts.len() > ITEMS_MAX {
        return Err(Stop::NotMathematics);
    }
    let mut items = Vec::with_capacity(parts.len());
    for part in parts {
        items.push(item(part, bounds)?);
    }
    match items.len() {
        0 => Err(Stop::NotMathematics),
        1 => Ok(items.remove(0)),
        _ => Ok(Node::List(joiner, items)),
    }
}

/// The items of a bracket.
pub(crate) fn items(tokens: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<Vec<Node>> {
    // In a bracket a bare comma separates, unless others are set apart by a space.
    let is_spaced = tokens.windows(2).any(|pair| pair == [Token::Symbol(','), Token::Space]);
    let thousands = if is_spaced { Thousands::Grouped } else { Thousands::Separate };
    let separator = |token| matches!(token, Token::Symbol(',' | ';')).then_some(Joiner::Comma);
    let (_, parts) = split(tokens, thousands, separator)?;
    if parts.len() > ITEMS_MAX {
        return Err(Stop::NotMathematics);
    }
    parts.into_iter().map(|part| item(part, bounds)).collect()
}

fn joiner(token: Token<'_>) -> Option<Joiner> {
    match token {
        Token::Symbol(',') => Some(Joiner::Comma),
        Token::Word { letters: "and" | "And" | "AND", .. } | Token::Symbol('&') | Token::Command("and") => {
            Some(Joiner::And)
        }
        Token::Word { letters: "or" | "Or" | "OR", .. } | Token::Command("or") => Some(Joiner::Or),
        Token::Digits(_) | Token::Word { .. } | Token::Command(_) | Token::Symbol(_) | Token::Dollar | Token::Space => {
            None
        }
    }
}

/// Whether a comma before three digits groups them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Thousands {
    Grouped,
    Separate,
}

/// The parts between separators outside brackets, and the strongest separator. A word may follow a comma, as in
/// `1, and 2`, and the last separator may end the list; a comma with nothing before it is no list.
fn split<'t, 'a>(
    tokens: &'t [Token<'a>],
    thousands: Thousands,
    separator: impl Fn(Token<'a>) -> Option<Joiner>,
) -> Reading<(Joiner, Vec<&'t [Token<'a>]>)> {
    let mut parts = Vec::new();
    let mut strongest = Joiner::Comma;
    let (mut start, mut at, mut depth) = (0, 0, 0_usize);
    let mut push = |part: &'t [Token<'a>]| {
        let part = trimmed(part);
        if !part.is_empty() {
            parts.push(part);
        }
    };
    while at < tokens.len() {
        let token = tokens[at];
        match token {
            Token::Symbol('(' | '[' | '{') | Token::Command("{" | "begin" | "langle") => depth += 1,
            Token::Symbol(')' | ']' | '}') | Token::Command("}" | "end" | "rangle") => depth = depth.saturating_sub(1),
            Token::Digits(_) if depth == 0 && thousands == Thousands::Grouped => {
                at = grouped_end(tokens, at);
                continue;
            }
            _ if depth == 0 && separator(token).is_some() => {
                if matches!(token, Token::Symbol(',' | ';')) && trimmed(&tokens[start..at]).is_empty() {
                    return Err(Stop::NotMathematics);
                }
                push(&tokens[start..at]);
                start = at + 1;
                strongest = separator(token).filter(|joiner| *joiner != Joiner::Comma).unwrap_or(strongest);
            }
            Token::Digits(_)
            | Token::Word { .. }
            | Token::Command(_)
            | Token::Symbol(_)
            | Token::Dollar
            | Token::Space => {}
        }
        at += 1;
    }
    push(&tokens[start..]);
    Ok((strongest, parts))
}

/// The end of the digits that start at `at`, with the groups that they clearly have.
fn grouped_end(tokens: &[Token<'_>], at: usize) -> usize {
    let follows_comma = at > 0 && tokens[at - 1] == Token::Symbol(',');
    let Some(numeral) = Numeral::read(&tokens[at..]).ok().flatten().filter(|_| !follows_comma) else { return at + 1 };
    let end = at + numeral.tokens;
    let goes_on = matches!(tokens[end..], [Token::Symbol(','), Token::Digits(_), ..]);
    if goes_on { at + 1 } else { end }
}

/// A relation that was found, with the tokens it takes up.
struct Found {
    start: usize,
    end: usize,
    relation: Relation,
}

fn relations(tokens: &[Token<'_>]) -> Vec<Found> {
    let mut found = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while at < tokens.len() {
        match tokens[at] {
            Token::Symbol('(' | '[' | '{') | Token::Command("{" | "begin") => depth += 1,
            Token::Symbol(')' | ']' | '}') | Token::Command("}" | "end") => depth = depth.saturating_sub(1),
            Token::Digits(_)
            | Token::Word { .. }
            | Token::Command(_)
            | Token::Symbol(_)
            | Token::Dollar
            | Token::Space => {}
        }
        if depth == 0
            && let Some((relation, count)) = relation(&tokens[at..])
        {
            found.push(Found { start: at, end: at + count, relation });
            at += count;
        } else {
            at += 1;
        }
    }
    found
}

fn relation(tokens: &[Token<'_>]) -> Option<(Relation, usize)> {
    Some(match tokens {
        [Token::Symbol('<'), Token::Symbol('='), ..] => (Relation::LessOrEqual, 2),
        [Token::Symbol('>'), Token::Symbol('='), ..] => (Relation::GreaterOrEqual, 2),
        [Token::Symbol('!') | Token::Command("not"), Token::Symbol('='), ..] => (Relation::NotEqual, 2),
        [Token::Symbol('='), Token::Symbol('='), ..] => (Relation::Equal, 2),
        [Token::Symbol('='), ..] => (Relation::Equal, 1),
        [Token::Symbol('<'), ..] => (Relation::Less, 1),
        [Token::Symbol('>'), ..] => (Relation::Greater, 1),
        [Token::Command("le"), ..] => (Relation::LessOrEqual, 1),
        [Token::Command("ge"), ..] => (Relation::GreaterOrEqual, 1),
        [Token::Command("ne"), ..] => (Relation::NotEqual, 1),
        [Token::Command("approx"), ..] => (Relation::Approximate, 1),
        [Token::Command("in"), ..] => (Relation::Element, 1),
        _ => return None,
    })
}

/// One item: a value, or sides with relations between them.
fn item(tokens: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<Node> {
    let tokens = trimmed(tokens);
    let mut found = relations(tokens);
    let mut end = tokens.len();
    // What is only about equal adds nothing to an exact value before it.
    if let Some(at) = found.iter().position(|relation| relation.relation == Relation::Approximate) {
        let before = trimmed(&tokens[..found[0].start]);
        if at == 0 && before.is_empty() {
            return item(&tokens[found[0].end..], bounds);
        }
        if at == 0 && is_name(before) {
            found[0].relation = Relation::Equal;
        } else {
            end = found[at].start;
            found.truncate(at);
        }
    }
    let mut sides = Vec::with_capacity(found.len() + 1);
    let mut start = 0;
    for relation in &found {
        sides.push(trimmed(&tokens[start..relation.start]));
        start = relation.end;
    }
    sides.push(trimmed(&tokens[start..end]));
    match (found.as_slice(), sides.as_slice()) {
        ([], [only]) | ([Found { relation: Relation::Equal, .. }], [[], only]) => side(only, bounds),
        ([Found { relation: Relation::Equal | Relation::Element, .. }], [left, right]) if names(left, right) => {
            named(Naming::Name, left, right, bounds)
        }
        ([Found { relation: Relation::Equal, .. }], [left, right]) if is_name(right) => {
            named(Naming::Name, right, left, bounds)
        }
        ([Found { relation: Relation::Equal, .. }], [left, right]) if is_asked(left) && is_number(right) => {
            named(Naming::Asked, left, right, bounds)
        }
        ([_, _, ..], _) if found.iter().all(|relation| relation.relation == Relation::Equal) => {
            agreeing(&sides, bounds)
        }
        (_, _) => chain(&found, &sides, bounds),
    }
}

fn names(left: &[Token<'_>], right: &[Token<'_>]) -> bool {
    let is_constant = !right.iter().any(|token| matches!(token, Token::Word { origin: Origin::Math, .. }));
    is_name(left) || (is_constant && is_measure(left))
}

fn named(naming: Naming, name: &[Token<'_>], value: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<Node> {
    let left = expression(name, bounds).ok().map(Box::new);
    let value = Box::new(side(value, bounds)?);
    Ok(Node::Named { naming, name: joined(name), left, value })
}

/// Sides that all claim to be equal: names, and values that must agree.
fn agreeing(sides: &[&[Token<'_>]], bounds: &mut Bounds<'_>) -> Reading<Node> {
    let (names, values): (Vec<_>, Vec<_>) = sides.iter().copied().partition(|tokens| is_name(tokens));
    let values: Reading<Vec<Node>> = values.into_iter().map(|tokens| side(tokens, bounds)).collect();
    let value = match values? {
        values if values.is_empty() => return Err(Stop::NotMathematics),
        values => Node::Agreeing(values),
    };
    Ok(match names.first() {
        Some(name) => Node::Named {
            naming: Naming::Name,
            name: joined(name),
            left: expression(name, bounds).ok().map(Box::new),
            value: Box::new(value),
        },
        None => value,
    })
}

fn chain(found: &[Found], sides: &[&[Token<'_>]], bounds: &mut Bounds<'_>) -> Reading<Node> {
    let mut nodes = Vec::with_capacity(sides.len());
    for tokens in sides {
        nodes.push(side(tokens, bounds)?);
    }
    let first = Box::new(nodes.remove(0));
    let rest = found.iter().map(|relation| relation.relation).zip(nodes).collect();
    Ok(Node::Chain { first, rest })
}

/// A side of a relation: a ratio, a quantity, or an expression.
fn side(tokens: &[Token<'_>], bounds: &mut Bounds<'_>) -> Reading<Node> {
    let tokens = trimmed(tokens);
    if tokens.is_empty() {
        return Err(Stop::NotMathematics);
    }
    if let Some((parts, half)) = time_of_day(tokens) {
        let parts: Reading<Vec<_>> = parts.iter().map(Numeral::value).collect();
        return Ok(Node::Clock(parts?, half));
    }
    let colon = |token| (token == Token::Symbol(':')).then_some(Joiner::Comma);
    let (_, parts) = split(tokens, Thousands::Grouped, colon)?;
    if parts.len() > 1 {
        let parts: Reading<Vec<Node>> = parts.into_iter().map(|part| expression(part, bounds)).collect();
        let parts = parts?;
        // `Total: 5` is a label and its value, not a ratio.
        return if parts.iter().any(is_word) { Err(Stop::NotMathematics) } else { Ok(Node::Ratio(parts)) };
    }
    if let Some((core, suffix)) = with_suffix(tokens) {
        match expression(core, bounds) {
            Ok(node) => {
                let Suffix { factor, mark, unit } = suffix;
                return Ok(Node::Quantity { node: Box::new(node), factor, mark, unit });
            }
            Err(Stop::NotMathematics) => {}
            Err(refused) => return Err(refused),
        }
    }
    expression(tokens, bounds)
}

/// The numbers of a time of day such as `9 a.m.` or `8:34:05 PM`.
fn time_of_day(tokens: &[Token<'_>]) -> Option<(Vec<Numeral>, HalfDay)> {
    let (tokens, half) = before_half_day(tokens)?;
    let mut parts = Vec::with_capacity(3);
    for part in tokens.split(|token| *token == Token::Symbol(':')) {
        let part = trimmed(part);
        let numeral = Numeral::read(part).ok()??;
        if !numeral.is_whole() || numeral.tokens != part.len() {
            return None;
        }
        parts.push(numeral);
    }
    (1..=3).contains(&parts.len()).then_some((parts, half))
}

/// The tokens before the longest suffix that is a unit or mark, where a number is among them.
fn with_suffix<'t, 'a>(tokens: &'t [Token<'a>]) -> Option<(&'t [Token<'a>], Suffix)> {
    let mut depth = 0_usize;
    // The degrees of `\sin 15^\circ` are those of its angle.
    let has_function =
        tokens.iter().any(|token| matches!(token, Token::Command(name) if is_function_name(name) && *name != "sqrt"));
    let mut has_number = false;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Symbol('(' | '[' | '{') | Token::Command("{" | "begin") => depth += 1,
            Token::Symbol(')' | ']' | '}') | Token::Command("}" | "end") => depth = depth.saturating_sub(1),
            Token::Digits(_) | Token::Command("pi" | "sqrt") => has_number = true,
            Token::Space | Token::Dollar | Token::Word { .. } | Token::Symbol('%' | '°')
                if depth == 0 && has_number =>
            {
                let is_angle = |suffix: &Suffix| has_function && suffix.mark == Mark::Degree;
                let is_suffix = |suffix: &Suffix| !suffix.is_blank() && !is_angle(suffix);
                if let Some(suffix) = suffix(&tokens[at..]).filter(is_suffix) {
                    return Some((&tokens[..at], suffix));
                }
            }
            // `18/hour`, but not `3/m`.
            Token::Symbol('/') if depth == 0 && has_number => {
                let names_unit = matches!(tokens[at + 1..], [Token::Word { letters, .. }, ..] if letters.len() > 2);
                if let Some(suffix) = suffix(&tokens[at..]).filter(|_| names_unit) {
                    return Some((&tokens[..at], suffix));
                }
            }
            Token::Word { .. } | Token::Command(_) | Token::Symbol(_) | Token::Dollar | Token::Space => {}
        }
    }
    None
}

/// The same answer with a unit of one letter, set apart by a space, read as a variable: `2 m` as `2m`.
pub(crate) fn unit_as_variable(node: &Node) -> Option<Node> {
    let Node::Quantity { node, factor: 1, mark: Mark::Plain, unit } = node else { return None };
    (unit.chars().count() == 1).then(|| Node::Product(vec![(**node).clone(), Node::Symbol(unit.clone())]))
}
