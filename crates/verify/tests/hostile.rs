//! Completions and golds made to hang, exhaust or crash a verifier, and large ones that are honest.
//!
//! Work is counted in allocations, which need no clock: a check that computes much allocates much.

use allocation_counter::measure;
use verify::{Extraction, Gold, Verdict, check};

/// Most allocations of one check of a hostile answer; one that is read and compared takes a few hundred.
const ALLOCATIONS_MAX: u64 = 100_000;
/// Most bytes that one check holds at a time, beside the completion.
const HELD_BYTES_MAX: u64 = 4 << 20;

fn nested(opening: &str, inner: &str, closing: &str, depth: usize) -> String {
    format!("{}{inner}{}", opening.repeat(depth), closing.repeat(depth))
}

fn joined(count: usize, separator: &str, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(separator)
}

/// Answers that no one could want computed.
fn hostile_answers() -> Vec<(&'static str, String)> {
    vec![
        ("a tower of powers", "9^{9^{9^{9^{9}}}}".to_owned()),
        ("a tower of plain powers", "9^9^9^9^9^9".to_owned()),
        ("a deep tower", nested("2^{", "2", "}", 150)),
        ("a tower in brackets", nested("(9^", "9", ")", 100)),
        ("a tower of variables", nested("x^{", "x", "}", 150)),
        ("a huge power", "10^{10^{10}}".to_owned()),
        ("a power of a power", "((((((9^9)^9)^9)^9)^9)^9)".to_owned()),
        ("a huge exponent", "1e999999999".to_owned()),
        ("a huge negative exponent", "10^{-999999999999}".to_owned()),
        ("a tiny base", "1.000000001^{1000000000}".to_owned()),
        ("a huge power of a sum", "(a+b+c+d+e+f)^{60}".to_owned()),
        ("a power of a long sum", format!("({})^{{40}}", joined(26, "+", |i| char::from(b'a' + i as u8).to_string()))),
        ("a power of a fraction", "(\\frac{x+1}{x-1}+\\frac{y+1}{y-1})^{200}".to_owned()),
        ("a product of sums", nested("(a+b+c+d)", "1", "", 90)),
        ("a factorial", "99999999!".to_owned()),
        ("factorials of factorials", "9!!!!!!!!!!".to_owned()),
        ("nested factorials", nested("(", "9", ")!", 60)),
        ("a binomial", "\\binom{100000000}{50000000}".to_owned()),
        ("a deep fraction", nested("\\frac{1}{1+", "x", "}", 80)),
        ("deep brackets", nested("(", "1", ")", 490)),
        ("open brackets", "(".repeat(900)),
        ("deep braces", nested("{", "1", "}", 490)),
        ("deep roots", nested("\\sqrt{", "2", "}", 120)),
        ("deep roots of sums", nested("\\sqrt{2+", "2", "}", 100)),
        ("many roots", joined(60, "+", |i| format!("\\sqrt{{{}}}", i * i + 1))),
        ("a product of roots", joined(30, "", |i| format!("(\\sqrt{{{}}}+1)", 2 * i + 3))),
        (
            "a reciprocal of roots",
            format!("\\frac{{1}}{{{}}}", joined(20, "+", |i| format!("\\sqrt{{{}}}", 2 * i + 3))),
        ),
        ("a root of high index", "\\sqrt[999999999]{2}".to_owned()),
        ("deep functions", nested("\\sin(", "x", ")", 150)),
        ("deep logarithms", nested("\\log(", "9", ")", 150)),
        // Written in 234 bytes, but its logarithms hold one another so often that to compare two took minutes.
        (
            "logarithms that hold the same parts many times",
            "6lg1161lg11x37xm18pn37{9999.0063^24lg11x3761lg11x37xm1tan\u{b}ln$$$3$\u{b}66$\u{b}tan\u{b}s5on37{63^24lg61lg\
             11x37xm1tan\u{b}ln$$$3$\u{b}66$\u{b}tan\u{b}s5on37{63^24lg56x3lg56xm18pn37{63^24lg56x3lg56x37817AA56x3lg56\
             xm18pn37{63^24lg56x3lg56x37817AAAAAAAAAAAAAAAAA18bbb"
                .to_owned(),
        ),
        // The least power that makes it rational is beyond 64 bits.
        ("roots of large prime degrees", "2^{1/9973}3^{1/9967}5^{1/9949}7^{1/9941}11^{1/9931}\\sqrt{1000003}".to_owned()),
        ("many signs", joined(60, "", |_| "\\pm 1".to_owned())),
        ("many plus or minus", joined(40, ", ", |i| format!("\\pm {i} \\pm \\sqrt{{{i}}}"))),
        ("many minus signs", format!("{}1", "-".repeat(900))),
        ("many bars", "|".repeat(900)),
        ("many intervals", joined(60, "\\cup", |i| format!("[{i},{}]", i + 1))),
        ("deep sets", nested("\\{", "1", "\\}", 200)),
        ("a wide matrix", format!("\\begin{{pmatrix}}{}\\end{{pmatrix}}", joined(200, "&", |i| i.to_string()))),
        ("a product of matrices", joined(12, "", |_| "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}^{9999}".to_owned())),
        ("many equations", joined(150, "=", |_| "x".to_owned())),
        ("many inequalities", joined(150, "<", |i| i.to_string())),
        ("many commas", ",".repeat(900)),
        ("many alternatives", joined(90, "\\text{ or }", |i| i.to_string())),
        ("many backslashes", "\\".repeat(901)),
        ("many carets", "^".repeat(900)),
        ("many percent signs", "\\%".repeat(400)),
        ("many degrees", "^\\circ".repeat(150)),
        ("a repeating decimal", "0.\\overline{123456789123456789123456789}^{999}".to_owned()),
        ("a base of nothing", "1_{0}".to_owned()),
        ("a huge base", "123_{99999999999999999999}".to_owned()),
        ("long digits", "7".repeat(990)),
        ("long decimals", format!("0.{}7", "0".repeat(980))),
        ("a long fraction", format!("\\frac{{{}}}{{{}}}", "7".repeat(480), "3".repeat(480))),
        ("a modulus", "7^{999999999999} \\bmod 13".to_owned()),
        ("a sum to infinity", "\\sum_{k=1}^{\\infty} \\frac{1}{k^2}".to_owned()),
        ("a long sum", "\\sum_{k=1}^{10^{12}} k".to_owned()),
        ("a long product", "\\prod_{k=1}^{10^{12}} k".to_owned()),
        ("an integral", "\\int_0^1 \\int_0^1 x^y dx dy".to_owned()),
    ]
}

#[test]
fn a_hostile_answer_earns_nothing_and_costs_little() {
    let golds =
        ["7", "x^2+1", "\\{1,2\\}", "\\sqrt{2}", "(0,1)", "\\text{east}"].map(|text| Gold::parse(text).unwrap());
    for (name, answer) in hostile_answers() {
        for gold in &golds {
            for completion in [format!("So $\\boxed{{{answer}}}$."), format!("The answer is ${answer}$.")] {
                let mut verdict = None;
                let work = measure(|| verdict = Some(check(&completion, gold, &Extraction::Auto {}).verdict));
                assert_ne!(verdict, Some(Verdict::Correct), "{name} against {:?}", gold.text());
                let (allocations, bytes) = (work.count_total, work.bytes_max);
                assert!(allocations <= ALLOCATIONS_MAX, "{name}: {allocations} allocations");
                assert!(bytes <= HELD_BYTES_MAX, "{name}: {bytes} bytes");
            }
        }
    }
}

#[test]
fn a_hostile_gold_is_read_or_refused_at_little_cost_and_equals_nothing_else() {
    for (name, text) in hostile_answers() {
        let mut gold = None;
        let work = measure(|| gold = Gold::parse(&text).ok());
        assert!(work.count_total <= ALLOCATIONS_MAX, "{name}: {} allocations", work.count_total);
        let Some(gold) = gold else { continue };
        for completion in ["\\boxed{8}", "\\boxed{x+1}", "\\boxed{0=0}", "\\boxed{\\{1,3\\}}"] {
            let work = measure(|| {
                let found = check(completion, &gold, &Extraction::Auto {});
                assert!(!found.verdict.is_correct(), "{completion} against {name}");
            });
            assert!(work.count_total <= ALLOCATIONS_MAX, "{completion} against {name}: {}", work.count_total);
        }
    }
}

#[test]
fn a_hostile_completion_is_searched_at_a_cost_that_grows_with_its_length_alone() {
    let pieces = [
        "\\boxed{",
        "\\boxed{7",
        "\\boxed{}",
        "\\boxed{7} or ",
        "}",
        "{",
        "$",
        "\\(",
        "\\[",
        "####",
        "#### 7\n",
        "</think>",
        "<think>",
        "The answer is ",
        "the final answer is not ",
        "answer: ",
        "7 ",
        "7",
        "7,",
        "7/",
        "1e",
        "-",
        "\\frac{",
        "\\frac",
        "\\begin{pmatrix}",
        "\\text{",
        "**",
        "\n",
        "\\",
        "^",
        "é",
        "\u{200B}",
        " or ",
        "A) ",
        "not ",
    ];
    let gold = Gold::parse("8").unwrap();
    for piece in pieces {
        let cost = |bytes: usize| {
            let completion = piece.repeat(bytes / piece.len());
            let work = measure(|| {
                let found = check(&completion, &gold, &Extraction::Auto {});
                assert!(!found.verdict.is_correct(), "{piece:?}, many times");
            });
            (work.count_total, work.bytes_total)
        };
        let (short, long) = (cost(50_000), cost(200_000));
        // Four times the length; a cost that grows with its square would be sixteen times as high.
        assert!(long.0 <= 6 * short.0 + 1_000, "{piece:?}: {} allocations, then {}", short.0, long.0);
        assert!(long.1 <= 6 * short.1 + 100_000, "{piece:?}: {} bytes, then {}", short.1, long.1);
    }
}

#[test]
fn a_sum_whose_common_denominator_is_beyond_the_limit_is_too_large() {
    // Each denominator has some 8,190 bits, and no two share a factor.
    let term = |i: usize| {
        let (letter, prime) = (char::from(b'a' + i as u8), [2_u32, 3, 5, 7, 11][i]);
        format!("\\frac{{{letter}}}{{{prime}^{{{}}}}}", (8_190.0 / f64::from(prime).log2()) as u32)
    };
    let gold = Gold::parse("7").unwrap();
    for (opening, closing) in [("\\sqrt{", "}"), ("|", "|"), ("\\ln(", ")"), ("(", ")^{99}")] {
        for terms in [2, 5] {
            let answer = format!("{opening}{}{closing}", joined(terms, "+", term));
            let found = check(&format!("\\boxed{{{answer}}}"), &gold, &Extraction::Auto {});
            assert_eq!(found.verdict, Verdict::TooLarge, "{answer}: {found:?}");
        }
    }
    let small = "\\sqrt{\\frac{x}{3^{99}}+\\frac{y}{7^{99}}}";
    let found = check(&format!("\\boxed{{{small}}}"), &Gold::parse(small).unwrap(), &Extraction::Auto {});
    assert!(found.verdict.is_correct(), "{found:?}");
}

#[test]
fn large_and_honest_answers_are_still_read() {
    let shuffled = joined(60, ", ", |i| ((i * 37) % 60).to_string());
    let sorted = joined(60, ", ", |i| i.to_string());
    let cases = [
        ("2^{100}".to_owned(), "1267650600228229401496703205376".to_owned()),
        ("25!".to_owned(), "15511210043330985984000000".to_owned()),
        ("\\binom{50}{25}".to_owned(), "126410606437752".to_owned()),
        ("10^{50}".to_owned(), format!("1{}", "0".repeat(50))),
        ("(x+1)^{10}".to_owned(), "(1+x)^{10}".to_owned()),
        ("(x+y)^5".to_owned(), "x^5+5x^4y+10x^3y^2+10x^2y^3+5xy^4+y^5".to_owned()),
        (format!("\\{{{shuffled}\\}}"), format!("\\{{{sorted}\\}}")),
        (nested("(", "7", ")", 10), "7".to_owned()),
        ("\\frac{1}{1+\\frac{1}{1+\\frac{1}{1+1}}}".to_owned(), "\\frac{3}{5}".to_owned()),
        ("\\sqrt{2}+\\sqrt{3}+\\sqrt{5}".to_owned(), "\\sqrt{5}+\\sqrt{3}+\\sqrt{2}".to_owned()),
        ("7".repeat(150), "7".repeat(150)),
    ];
    for (answer, gold) in cases {
        let found = check(&format!("\\boxed{{{answer}}}"), &Gold::parse(&gold).unwrap(), &Extraction::Auto {});
        assert!(found.verdict.is_correct(), "{answer:?} against {gold:?}: {found:?}");
    }
}
