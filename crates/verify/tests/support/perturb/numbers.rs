//! Changes of numbers: of one digit wherever a number stands, and of golds that are one number.

use std::ops::Range;

/// Adds the perturbed copies of `gold`.
pub(super) fn perturb(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    change_digits(gold, add);
    if let Some(number) = Plain::read(gold) {
        change_integer(&number, add);
        change_decimal(&number, add);
    }
    if let Some((numerator, denominator, range)) = first_fraction(gold) {
        change_fraction(gold, [numerator, denominator], &range, add);
    }
}

/// Replaces one digit of one number.
fn change_digits(gold: &str, add: &mut dyn FnMut(&'static str, String)) {
    // What stands left of a relation is often a name, which a verifier may read over.
    let start = gold.rfind('=').map_or(0, |at| at + 1);
    let has_product = ["\\frac", "/", "\\cdot", "\\times", "^", "(", "\\sqrt"].iter().any(|mark| gold.contains(mark));
    // `1\frac{9}{5}` may be read as a product, which is 1 4/5; what follows `\approx` is the same number again.
    let is_mixed = ["\\frac", "\\dfrac", "\\tfrac"].iter().any(|fraction| {
        gold.match_indices(fraction).any(|(at, _)| gold[..at].trim_end().ends_with(|last: char| last.is_ascii_digit()))
    });
    if is_mixed || gold.contains("\\approx") {
        return;
    }
    let runs = digit_runs(gold);
    let is_zero = |run: &Range<usize>| gold[run.clone()].bytes().all(|digit| digit == b'0');
    // Beside a factor or a base of 0 or an exponent of 0, other digits may not matter.
    if has_product && runs.iter().any(is_zero) && !is_flat(gold) {
        return;
    }
    for run in runs.into_iter().filter(|run| run.start >= start && counts(gold, run)) {
        for at in [run.start, run.end - 1, usize::midpoint(run.start, run.end)] {
            let digit = gold.as_bytes()[at] - b'0';
            for other in [(digit + 1) % 10, (digit + 9) % 10, (digit + 5) % 10] {
                add("digit", format!("{}{other}{}", &gold[..at], &gold[at + 1..]));
            }
        }
        // A last 0 behind the point says nothing, and one of a time little.
        let is_decimal_zero =
            gold[..run.start].ends_with('.') && gold[run.clone()].ends_with('0') || gold.contains(':');
        if run.len() > 1 && !is_decimal_zero {
            add("digit lost", format!("{}{}", &gold[..run.end - 1], &gold[run.end..]));
        }
    }
}

/// Whether a gold is numbers in brackets with nothing between them that computes.
fn is_flat(gold: &str) -> bool {
    !gold.contains('\\') && gold.bytes().all(|byte| byte.is_ascii_digit() || b" ,.()[]-$".contains(&byte))
}

/// The digits of `text` that stand together.
pub(super) fn digit_runs(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            runs.push(at..at + digits);
        }
        at += digits.max(1);
    }
    runs
}

/// Whether the digits are a number that the value hangs on: no index, no power of a unit, no digit of a name, and
/// no zeros after a decimal point.
fn counts(gold: &str, run: &Range<usize>) -> bool {
    let before = gold[..run.start].trim_end_matches(['{', ' ', '-']);
    let powers_unit = before.strip_suffix('^').is_some_and(|base| {
        gold.contains("\\text")
            || gold.contains("\\mbox")
            || base.ends_with(|last: char| last.is_ascii_alphabetic() && base.len() > 1 && base.contains(' '))
    });
    let is_decimal_zero = gold[..run.start].ends_with('.') && gold[run.clone()].bytes().all(|digit| digit == b'0');
    !(before.ends_with('_') || powers_unit || is_decimal_zero)
}

/// A gold that is one plain number.
struct Plain<'a> {
    sign: &'a str,
    whole: &'a str,
    fraction: &'a str,
}

impl<'a> Plain<'a> {
    fn read(gold: &'a str) -> Option<Self> {
        let (sign, magnitude) = gold.strip_prefix('-').map_or(("", gold), |rest| ("-", rest));
        let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let fraction = fraction.trim_end_matches('0');
        (!whole.is_empty() && is_digits(whole) && is_digits(fraction)).then_some(Self { sign, whole, fraction })
    }
}

fn change_integer(number: &Plain<'_>, add: &mut dyn FnMut(&'static str, String)) {
    let Plain { sign, whole, fraction: "" } = *number else { return };
    let Ok(value) = format!("{sign}{whole}").parse::<i64>() else { return };
    if value.unsigned_abs() > 1 << 40 {
        return;
    }
    for other in [value + 1, value - 1, value + 2, value + 10, value - 10, value + 100] {
        add("off by", other.to_string());
    }
    add("half more", format!("{value}.5"));
    add("two named", format!("{value} \\text{{ or }} {}", value + 1));
    add("two named", format!("{}, {value}", value + 1));
    add("two named", format!("\\{{{value}, {}\\}}", value + 1));
    add("more than", format!("x > {value}"));
    add("digit added", format!("{value}1"));
    add("plus or minus", format!("\\pm {}", value.abs() + i64::from(value == 0)));
    add("near decimal", format!("{value}.001"));
    if value == 0 {
        return;
    }
    add("sign", (-value).to_string());
    add("zero added", format!("{value}0"));
    add("doubled", (2 * value).to_string());
    add("with a variable", format!("{value}x"));
    add("with a constant", format!("{value}\\pi"));
    add("imaginary", format!("{value}i"));
    add("point moved", format!("{sign}0.{whole}"));
    add("hundredth", format!("\\frac{{{value}}}{{100}}"));
    if value.abs() > 1 {
        add("reciprocal", format!("\\frac{{1}}{{{value}}}"));
        add("squared", format!("({value})^2"));
        add("rooted", format!("\\sqrt{{{}}}", value.abs()));
        add("halved", format!("\\frac{{{value}}}{{2}}"));
    }
    if value > 2 {
        add("factorial", format!("{value}!"));
    }
}

fn change_decimal(number: &Plain<'_>, add: &mut dyn FnMut(&'static str, String)) {
    let Plain { sign, whole, fraction } = *number;
    if fraction.is_empty() {
        return;
    }
    add("point lost", format!("{sign}{whole}{fraction}"));
    add("fraction lost", format!("{sign}{whole}"));
    add("point moved", format!("{sign}{whole}{}.{}", &fraction[..1], &fraction[1..]).trim_end_matches('.').to_owned());
    add("sign", if sign.is_empty() { format!("-{whole}.{fraction}") } else { format!("{whole}.{fraction}") });
    add("digit added", format!("{sign}{whole}.{fraction}1"));
    add("digit lost", format!("{sign}{whole}.{}", &fraction[..fraction.len() - 1]).trim_end_matches('.').to_owned());
    add("with a variable", format!("{sign}{whole}.{fraction}x"));
}

/// The first `\frac{a}{b}` of two plain integers, and where it stands.
fn first_fraction(gold: &str) -> Option<(u64, u64, Range<usize>)> {
    let start = gold.find("\\frac{").or_else(|| gold.find("\\dfrac{"))?;
    let open = start + gold[start..].find('{')?;
    let (numerator, rest) = gold[open + 1..].split_once("}{")?;
    let (denominator, after) = rest.split_once('}')?;
    let end = gold.len() - after.len();
    Some((numerator.parse().ok()?, denominator.parse().ok()?, start..end))
}

/// Changes a fraction of the gold; nothing is done where other parts could cancel the change.
fn change_fraction(gold: &str, parts: [u64; 2], range: &Range<usize>, add: &mut dyn FnMut(&'static str, String)) {
    let [numerator, denominator] = parts;
    if numerator == 0 || denominator == 0 {
        return;
    }
    let mut replace =
        |change, text: String| add(change, format!("{}{text}{}", &gold[..range.start], &gold[range.end..]));
    if numerator != denominator {
        replace("upside down", format!("\\frac{{{denominator}}}{{{numerator}}}"));
    }
    replace("numerator", format!("\\frac{{{}}}{{{denominator}}}", numerator + 1));
    replace("denominator", format!("\\frac{{{numerator}}}{{{}}}", denominator + 1));
    if *range == (0..gold.len()) {
        if denominator > 1 {
            replace("denominator lost", numerator.to_string());
        }
        replace("joined", format!("{numerator}{denominator}"));
        replace("rounded", rounded(numerator, denominator));
        replace("sign", format!("-\\frac{{{numerator}}}{{{denominator}}}"));
        if numerator < denominator {
            replace("two more", format!("2\\frac{{{numerator}}}{{{denominator}}}"));
        }
        replace("with a variable", format!("\\frac{{{numerator}x}}{{{denominator}}}"));
    }
}

/// The fraction to two decimal places, one hundredth too high where that is its value.
fn rounded(numerator: u64, denominator: u64) -> String {
    let hundredths = u128::from(numerator) * 100 / u128::from(denominator);
    let is_exact = u128::from(numerator) * 100 % u128::from(denominator) == 0;
    let hundredths = hundredths + u128::from(is_exact);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}
