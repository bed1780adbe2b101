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

    #[test]
    fn a_polynomial_equals_its_reformattings_and_no_other(
        (a, b, c) in (-50_i32..50, -50_i32..50, -50_i32..50),
        factor in 2_i32..20,
        change in 1_i32..50,
    ) {
        let gold = format!("{a}x^2+({b})x+({c})");
        let same = [
            format!("({a}x+({b}))x+({c})"),
            format!("{c} + ({b})x + ({a})x^{{2}}"),
            format!("\\frac{{{}x^2+({})x+({})}}{{{factor}}}", a * factor, b * factor, c * factor),
            format!("({a})(x-1)^2 + ({})(x-1) + ({})", 2 * a + b, a + b + c),
        ];
        for answer in same {
            prop_assert!(boxed(&answer, &gold).verdict.is_correct(), "{} against {}", answer, gold);
        }
        let others = [
            format!("{}x^2+({b})x+({c})", a + change),
            format!("{a}x^2+({})x+({c})", b - change),
            format!("{a}x^2+({b})x+({})", c + change),
            format!("{a}y^2+({b})y+({c}) + y"),
            format!("{a}x^2+({b})x+({c}) = 0"),
        ];
        for answer in others {
            prop_assert_eq!(boxed(&answer, &gold).verdict, Verdict::Incorrect, "{} against {}", answer, gold);
        }
    }

    #[test]
    fn a_surd_equals_its_reformattings_and_no_other(a in 1_u32..60, b in 1_u32..60, n in 2_u32..200, change in 1_u32..40) {
        let gold = format!("{a}+{b}\\sqrt{{{n}}}");
        let same = [
            format!("\\sqrt{{{}}}+{a}", b * b * n),
            format!("\\frac{{{}+{a}\\sqrt{{{n}}}}}{{\\sqrt{{{n}}}}}", b * n),
            format!("{b}\\cdot {n}^{{1/2}}+{a}"),
            format!("\\frac{{{}-{}}}{{{a}-{b}\\sqrt{{{n}}}}}", a * a, b * b * n),
        ];
        for answer in same {
            // The last divides by its conjugate, which may be 0.
            let verdict = boxed(&answer, &gold).verdict;
            let has_no_value = a * a == b * b * n && verdict == Verdict::Unreadable;
            prop_assert!(verdict.is_correct() || has_no_value, "{} against {}", answer, gold);
        }
        let others = [
            format!("{}+{b}\\sqrt{{{n}}}", a + change),
            format!("{a}+{}\\sqrt{{{n}}}", b + change),
            format!("{a}+{b}\\sqrt{{{}}}", n + change),
            format!("{a}-{b}\\sqrt{{{n}}}"),
        ];
        for answer in others {
            prop_assert_eq!(boxed(&answer, &gold).verdict, Verdict::Incorrect, "{} against {}", answer, gold);
        }
    }

    #[test]
    fn a_set_equals_itself_in_any_order_and_no_other(items in prop::collection::btree_set(-99_i32..99, 2..6), change in 200_i32..300) {
        let written = |items: &[i32], open: &str, close: &str| {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            format!("{open}{}{close}", items.join(", "))
        };
        let ascending: Vec<i32> = items.iter().copied().collect();
        let descending: Vec<i32> = items.iter().rev().copied().collect();
        let mut other = ascending.clone();
        other[0] = change;
        let gold = written(&ascending, "\\{", "\\}");
        for answer in [written(&descending, "\\{", "\\}"), written(&descending, "", "")] {
            prop_assert!(boxed(&answer, &gold).verdict.is_correct(), "{} against {}", answer, gold);
        }
        let shorter = &ascending[1..];
        for answer in [written(&other, "\\{", "\\}"), written(shorter, "\\{", "\\}"), written(&ascending, "(", ")")] {
            prop_assert_eq!(boxed(&answer, &gold).verdict, Verdict::Incorrect, "{} against {}", answer, gold);
        }
        let point = written(&ascending, "(", ")");
        prop_assert!(!boxed(&written(&descending, "(", ")"), &point).verdict.is_correct(), "{}", point);
    }
}
