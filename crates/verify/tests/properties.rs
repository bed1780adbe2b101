//! What holds for every completion and every gold.

use proptest::prelude::*;
use verify::{Check, Extraction, Gold, Verdict, check};

#[expect(clippy::unwrap_used, reason = "a property with an unreadable gold is a broken test")]
fn boxed(answer: &str, gold: &str) -> Check {
    check(&format!("Hence \\boxed{{{answer}}}."), &Gold::parse(gold).unwrap(), &Extraction::Auto {})
}

fn in_threes(digits: &str, separator: &str) -> String {
    let first = (digits.len() - 1) % 3 + 1;
    let mut grouped = digits[..first].to_owned();
    for start in (first..digits.len()).step_by(3) {
        grouped.push_str(separator);
        grouped.push_str(&digits[start..start + 3]);
    }
    grouped
}

/// Pieces that completions are made of, so that random strings get past the first character.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "\\boxed",
        "\\fbox",
        "{",
        "}",
        "(",
        ")",
        "\\frac",
        "\\sqrt",
        "\\text{",
        "^",
        "_",
        "\\left",
        "\\right",
        "$",
        "\\$",
        "%",
        "#",
        "####",
        "</think>",
        "\n",
        " ",
        "A",
        "x",
        "=",
        "\\in",
        "-",
        "\u{2212}",
        "+",
        "/",
        ".",
        ",",
        "\\,",
        "\\!",
        "{,}",
        "0",
        "1",
        "234",
        "10",
        "e",
        "\\times",
        "\\circ",
        "°",
        "é",
        "数",
        "\u{200B}",
        "\\",
        "million",
        "dollars",
        "or",
        "99999999999",
    ]);
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn extractions() -> impl Strategy<Value = Extraction> {
    prop_oneof![
        Just(Extraction::Auto {}),
        ".{0,3}".prop_map(|marker| Extraction::Marker { marker }),
        Just(Extraction::Marker { marker: "A".to_owned() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_completion_panics(text in any::<String>(), made in pieces(), extraction in extractions()) {
        let gold = Gold::parse("18").unwrap();
        for completion in [text, made.clone(), format!("\\boxed{{{made}}}")] {
            let found = check(&completion, &gold, &extraction);
            prop_assert_eq!(found.verdict == Verdict::NoAnswer, found.answer.is_none());
        }
    }

    #[test]
    fn every_gold_that_parses_equals_itself(text in prop_oneof![any::<String>(), pieces()]) {
        if let Ok(gold) = Gold::parse(&text) && !gold.text().contains(['\n', '\r']) {
            let marked = Extraction::Marker { marker: "ANSWER".to_owned() };
            let found = check(&format!("ANSWER {}", gold.text()), &gold, &marked);
            prop_assert!(found.verdict.is_correct(), "{:?}", found);
        }
    }

    #[test]
    fn correctness_is_symmetric(a in pieces(), b in pieces()) {
        let marked = Extraction::Marker { marker: "ANSWER".to_owned() };
        if let (Ok(gold_a), Ok(gold_b)) = (Gold::parse(&a), Gold::parse(&b))
            && !(gold_a.text().contains('\n') || gold_b.text().contains('\n'))
        {
            let there = check(&format!("ANSWER {}", gold_a.text()), &gold_b, &marked);
            let back = check(&format!("ANSWER {}", gold_b.text()), &gold_a, &marked);
            prop_assert_eq!(there.verdict.is_correct(), back.verdict.is_correct(), "{:?} {:?}", gold_a, gold_b);
        }
    }

    #[test]
    fn an_integer_equals_its_reformattings(magnitude in 1_u128.., negative: bool, factor in 2_u32..1_000) {
        let sign = if negative { "-" } else { "" };
        let digits = magnitude.to_string();
        let gold = format!("{sign}{digits}");
        let written = [
            format!("{sign}{}", in_threes(&digits, ",")),
            format!("{sign}{}", in_threes(&digits, "{,}")),
            format!("{sign}{}", in_threes(&digits, "\\,")),
            format!("{sign}{}", in_threes(&digits, " ")),
            format!("{gold}.0"),
            format!("{gold}.000"),
            format!("{gold}/1"),
            format!("{sign}${digits}"),
            format!("x = {gold}"),
            format!("{gold} apples"),
            format!("{gold}e0"),
        ];
        for answer in written {
            prop_assert!(boxed(&answer, &gold).verdict.is_correct(), "{} against {}", answer, gold);
        }
        if let Some(scaled) = magnitude.checked_mul(u128::from(factor)) {
            let answer = format!("{sign}\\frac{{{scaled}}}{{{factor}}}");
            prop_assert!(boxed(&answer, &gold).verdict.is_correct(), "{} against {}", answer, gold);
        }
    }

    #[test]
    fn a_decimal_equals_its_reformattings(hundredths in 1_u64..1_000_000_000) {
        let (whole, rest) = (hundredths / 100, hundredths % 100);
        let gold = format!("{whole}.{rest:02}");
        for answer in [format!("{gold}00"), format!("{hundredths}/100"), format!("{hundredths}e-2"), format!("{hundredths}%")] {
            prop_assert!(boxed(&answer, &gold).verdict.is_correct(), "{} against {}", answer, gold);
        }
    }

    #[test]
    fn a_number_never_equals_another(number in 1_i64..i64::MAX / 1_000, change in 1_i64..1_000) {
        let gold = number.to_string();
        let others = [
            (number + change).to_string(),
            (number - change).to_string(),
            format!("-{gold}"),
            format!("{gold}.{change:03}1"),
            format!("{gold}{change}"),
            format!("{gold}/{}", change + 1),
            format!("{gold}e{change}"),
            format!("{gold} or {change}"),
            format!("{gold}, {change}"),
            format!("{gold}x"),
        ];
        for answer in others {
            prop_assert!(!boxed(&answer, &gold).verdict.is_correct(), "{} against {}", answer, gold);
        }
    }
}
