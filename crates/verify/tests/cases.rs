//! Completions, golds and the verdicts a careful person gives them.

use verify::{
    Extraction, Gold,
    Verdict::{self, Correct, Incorrect, NoAnswer, TooLarge, Unreadable},
    check,
};

type Case = (&'static str, &'static str, Verdict);

#[expect(clippy::unwrap_used, reason = "a table with an unreadable gold is a broken test")]
#[track_caller]
fn check_all(extraction: &Extraction, cases: &[Case]) {
    for (completion, gold, expected) in cases {
        let gold = Gold::parse(gold).unwrap();
        let found = check(completion, &gold, extraction);
        assert_eq!(found.verdict, *expected, "{completion:?} against {:?} gave {found:?}", gold.text());
        assert_eq!(found.verdict == NoAnswer, found.answer.is_none(), "{completion:?} gave {found:?}");
    }
}

/// Checks answers as the content of a box.
#[expect(clippy::unwrap_used, reason = "a table with an unreadable gold is a broken test")]
#[track_caller]
fn check_boxed(cases: &[Case]) {
    for (answer, gold, expected) in cases {
        let gold = Gold::parse(gold).unwrap();
        let found = check(&format!("Thus $\\boxed{{{answer}}}$."), &gold, &Extraction::Auto {});
        assert_eq!(found.verdict, *expected, "{answer:?} against {:?} gave {found:?}", gold.text());
        assert_eq!(found.answer.as_deref(), Some(answer.trim()), "{answer:?}");
    }
}

#[test]
fn auto_reads_the_last_box_then_the_last_hash_line_then_the_last_number() {
    check_all(
        &Extraction::Auto {},
        &[
            ("First $\\boxed{17}$, no: $\\boxed{18}$.", "18", Correct),
            ("First $\\boxed{18}$, no: $\\boxed{17}$.", "18", Incorrect),
            ("It is\nso \\boxed{\\frac{1}{2", "2", Incorrect),
            ("The answer is 17, but not 18.", "17", Correct),
            ("The answer is 17, but not 18.", "18", Incorrect),
            ("\\boxed{A} \\boxed{B} \\boxed{C} \\boxed{D}", "B", Incorrect),
            ("\\boxed{A} \\boxed{B} \\boxed{C} \\boxed{D}", "D", Incorrect),
            ("The total is \\boxed{18} and then 99 more words, 7.", "18", Correct),
            ("\\boxed{18}\n#### 17", "18", Correct),
            ("\\boxed{17}\n#### 18", "18", Incorrect),
            ("\\fbox{18}", "18", Correct),
            ("\\boxed {18}", "18", Correct),
            ("\\boxed{\\boxed{18}}", "18", Correct),
            ("\\boxed{\\frac{3}{\\text{4}}}", "3/4", Correct),
            ("She makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 18", "18", Correct),
            ("#### 17\nWait.\n#### 18", "18", Correct),
            ("#### 18\n#### 17", "18", Incorrect),
            ("#### 18 dollars\nDone in 3 steps.", "18", Correct),
            ("#### **18**", "18", Correct),
            ("#### 1,234", "1234", Correct),
            ("so 16 - 3 - 4 = 9 and 9 * 2 = 18", "18", Correct),
            ("The answer is 18.", "18", Correct),
            ("The answer is $18.50.", "18.5", Correct),
            ("It is 5 or 6.", "5", Incorrect),
            ("It is -4.", "-4", Correct),
            ("It is $-4$.", "4", Incorrect),
            ("10-4", "6", Correct),
            ("so 10-4", "4", Correct),
            ("The area is 18 cm^2.", "18", Correct),
            ("The probability is 3/4.", "0.75", Correct),
            ("The probability is $\\frac{3}{4}$.", "0.75", Correct),
            ("The probability is $\\frac{3}{4}$.", "4", Incorrect),
            ("They need $1 \\frac{1}{2}$ cups.", "3/2", Correct),
            ("They need 1 1/2 cups.", "3/2", Correct),
            ("It is $\\frac 34$.", "0.75", Correct),
            ("It is $\\dfrac{1}{2{,}000}$.", "1/2000", Correct),
            ("It fell by 25%.", "0.25", Correct),
            ("It is 2^{10}", "2", Incorrect),
            ("答案是18。", "18", Correct),
            ("I do not know.", "18", NoAnswer),
            ("", "18", NoAnswer),
            ("x2 and y3 remain unknown", "3", NoAnswer),
        ],
    );
}

#[test]
fn a_blank_place_for_the_answer_is_no_answer_and_an_open_box_is_not_there() {
    check_all(
        &Extraction::Auto {},
        &[
            ("18 \\boxed{}", "18", NoAnswer),
            ("\\boxed{18} \\boxed{ }", "18", NoAnswer),
            ("It is 18.\n####", "18", NoAnswer),
            ("It is 18.\n####   \n18", "18", NoAnswer),
            ("\\boxed{18} and so \\boxed{1", "18", Correct),
            ("\\boxed{17} and so \\boxed{18", "18", Incorrect),
            ("#### 18\nthat is \\boxed{17", "18", Correct),
            ("that is \\boxed{18", "18", Correct),
            ("that is \\boxed{", "18", NoAnswer),
            ("\\boxed{\\frac{1}{2}", "1/2", Correct),
            ("\\boxed{\\left\\{ 1, 2 \\right.} and", "\\{1,2", Correct),
        ],
    );
}

#[test]
fn auto_reads_only_what_follows_the_thinking() {
    check_all(
        &Extraction::Auto {},
        &[
            ("<think>\\boxed{17}</think>It is \\boxed{18}.", "18", Correct),
            ("<think>\\boxed{18}</think>It is \\boxed{17}.", "18", Incorrect),
            ("<think>It is \\boxed{18}</think>", "18", NoAnswer),
            ("<think>It is \\boxed{18}</think>Sorry.", "18", NoAnswer),
            ("a</think>#### 17</think>#### 18", "18", Correct),
        ],
    );
}

#[test]
fn a_marker_is_found_as_a_whole_word_or_not_at_all() {
    check_all(
        &Extraction::Marker { marker: "A".into() },
        &[
            ("<c> a 10 10 b 0 0 A 4", "4", Correct),
            ("<c> a 10 10 b 0 0 A 5", "4", Incorrect),
            ("A 5 A 4", "4", Correct),
            ("A 4 A 5", "4", Incorrect),
            ("A 4\nand 5", "4", Correct),
            ("A 4 5", "4", Incorrect),
            ("AA 4", "4", NoAnswer),
            ("BA 4", "4", NoAnswer),
            ("A4", "4", NoAnswer),
            ("a 4", "4", NoAnswer),
            ("4", "4", NoAnswer),
            ("A", "4", NoAnswer),
            ("A\n4", "4", NoAnswer),
            ("\\boxed{4}", "4", NoAnswer),
        ],
    );
    check_all(&Extraction::Marker { marker: String::new() }, &[("4", "4", NoAnswer)]);
    check_all(
        &Extraction::Marker { marker: "The answer is:".into() },
        &[("The answer is: 4.", "4", Correct), ("The answer is:4", "4", NoAnswer)],
    );
}

#[test]
fn integers_and_decimals_are_equal_by_value() {
    check_boxed(&[
        ("18", "18", Correct),
        ("18.0", "18", Correct),
        ("18", "18.000", Correct),
        ("018", "18", Correct),
        ("+18", "18", Correct),
        ("18.", "18", Correct),
        (".5", "0.50", Correct),
        ("-5", "\u{2212}5", Correct),
        ("- 5", "-5", Correct),
        ("025", "25", Correct),
        ("27", "27.0", Correct),
        ("(18)", "18", Correct),
        ("\\textbf{(18) }", "18", Correct),
        ("100000000000000000000000000001", "100000000000000000000000000001.0", Correct),
        ("100000000000000000000000000001", "100000000000000000000000000002", Incorrect),
        ("0.1000000000000000000000000001", "0.1", Incorrect),
        ("19", "18", Incorrect),
        ("-18", "18", Incorrect),
        ("--18", "18", Incorrect),
        ("\\pm 18", "18", Incorrect),
        ("1.8", "18", Incorrect),
        ("180", "18", Incorrect),
        ("18.5", "18", Incorrect),
        ("3.14", "\\pi", Incorrect),
        ("1.2.3", "1.2", Incorrect),
        ("18!", "18", Incorrect),
    ]);
}

#[test]
fn thousands_are_grouped_in_threes_by_one_kind_of_separator() {
    check_boxed(&[
        ("1,234", "1234", Correct),
        ("1 234", "1234", Correct),
        ("1{,}234", "1234", Correct),
        ("1\\,234", "1234", Correct),
        ("1,\\!234", "1234", Correct),
        ("1\u{202F}234\u{202F}567", "1234567", Correct),
        ("11,\\! 111,\\! 111,\\! 100", "11111111100", Correct),
        ("1,234.50", "1234.5", Correct),
        ("1,23", "123", Incorrect),
        ("1,2345", "12345", Incorrect),
        ("1234,567", "1234567", Incorrect),
        ("1,234 567", "1234567", Incorrect),
        ("0,234", "234", Incorrect),
        ("1, 234", "1234", Incorrect),
        ("1 2", "12", Incorrect),
        ("(1,234)", "1234", Incorrect),
        ("1,2", "1,2", Correct),
        ("1, 2", "1,2", Correct),
        ("12", "1,2", Incorrect),
    ]);
}

#[test]
fn fractions_and_mixed_numbers_are_exact() {
    check_boxed(&[
        ("1/2", "\\frac{1}{2}", Correct),
        ("\\dfrac{1}{2}", "\\tfrac12", Correct),
        ("\\frac 12", "0.5", Correct),
        ("\\frac1{2}", "0.5", Correct),
        ("\\frac{10}{20}", "1/2", Correct),
        ("-\\frac{1}{2}", "\\frac{-1}{2}", Correct),
        ("\\frac{1}{-2}", "-0.5", Correct),
        ("\\frac{12}{5,\\!525}", "12/5525", Correct),
        ("3 / 4", "0.75", Correct),
        ("1.5/2", "0.75", Correct),
        ("1 1/2", "1.5", Correct),
        ("1\\frac{1}{2}", "1.5", Correct),
        ("-1 \\frac12", "-1.5", Correct),
        ("137 \\frac{1}{2}", "137.5", Correct),
        ("0.333", "1/3", Incorrect),
        ("0.33333333333333333333", "1/3", Incorrect),
        ("2/1", "1/2", Incorrect),
        ("11/2", "1 1/2", Incorrect),
        ("1 1/2", "11/2", Incorrect),
        ("1 234/5", "1234/5", Incorrect),
        ("2\\frac{4}{3}", "10/3", Incorrect),
        ("1.5\\frac12", "2", Incorrect),
        ("1/2/3", "1/6", Correct),
        ("\\frac12", "12", Incorrect),
        ("1/0", "0", Unreadable),
        ("\\frac{5}{0}", "5", Unreadable),
        ("\\frac{0}{0.0}", "0", Unreadable),
    ]);
}

#[test]
fn scientific_notation_is_exact() {
    check_boxed(&[
        ("1.5e3", "1500", Correct),
        ("1.5E-3", "0.0015", Correct),
        ("1.5 \\times 10^3", "1500", Correct),
        ("1.5×10^{3}", "1500", Correct),
        ("6.72 \\cdot 10^{-5}", ".0000672", Correct),
        ("10^{6}", "1,000,000", Correct),
        ("-10^2", "-100", Correct),
        ("1.5e3", "1.5", Incorrect),
        ("1.5 \\times 10^4", "1500", Incorrect),
        ("10^2", "102", Incorrect),
        ("10^2", "10", Incorrect),
        ("2e", "2", Incorrect),
        ("1e401", "1", TooLarge),
        ("10^{-99999999999999999999}", "0", TooLarge),
        ("1e400", "1", Incorrect),
    ]);
}

#[test]
fn a_percent_sign_on_one_side_may_stand_for_a_hundredth() {
    check_boxed(&[
        ("50%", "50", Correct),
        ("50\\%", "0.5", Correct),
        ("50 percent", "50\\%", Correct),
        ("50", "50\\%", Correct),
        ("0.5", "50\\%", Correct),
        ("\\frac12", "50\\%", Correct),
        ("50", "0.5", Incorrect),
        ("0.5", "50", Incorrect),
        ("50%", "0.5%", Incorrect),
        ("0.5%", "50", Incorrect),
        ("50%", "5000", Incorrect),
        ("5%", "0.5", Incorrect),
    ]);
}

#[test]
fn money_degrees_and_units_are_read_over() {
    check_boxed(&[
        ("$18", "18", Correct),
        ("\\$18", "18", Correct),
        ("-\\$18", "-18", Correct),
        ("€18", "18", Correct),
        ("18 £", "18", Correct),
        ("18 dollars", "18", Correct),
        ("5\\text{ cm}", "5", Correct),
        ("5 cm", "5", Correct),
        ("5cm", "5", Correct),
        ("864 \\mbox{ inches}^2", "864", Correct),
        ("18 miles per hour", "18", Correct),
        ("18 km/h", "18", Correct),
        ("\\$18/hour", "18", Correct),
        ("90^\\circ", "90", Correct),
        ("90°", "90^{\\circ}", Correct),
        ("\\frac{270}7\\text{ degrees}", "270/7", Correct),
        ("\\$32,\\!348", "32348", Correct),
        ("5 million", "5000000", Correct),
        ("\\$2.5 billion dollars", "2500000000", Correct),
        ("5 Million", "5000000", Correct),
        ("5 million", "5", Incorrect),
        ("5 thousands", "5", Incorrect),
        ("5 doubled", "5", Incorrect),
        ("\\cancel{5}", "5", Incorrect),
        ("1\\!8", "18", Incorrect),
        ("2 thirds", "2", Incorrect),
        ("5 dozen", "5", Incorrect),
        ("5x", "5", Incorrect),
        ("5 x", "5", Incorrect),
        ("5\\pi", "5", Incorrect),
        ("2 pi", "2", Incorrect),
        ("5i", "5", Incorrect),
        ("5m", "5", Incorrect),
        ("5² cm", "5", Incorrect),
        ("5 squared", "5", Incorrect),
        ("52_8", "52", Incorrect),
        ("5^2", "5", Incorrect),
        ("5 or 6", "5", Incorrect),
        ("5 or 6", "6", Incorrect),
        ("the answer is 5 or 6", "5", Incorrect),
        ("the answer is 5 or 6", "6", Incorrect),
        ("5 or more", "5", Incorrect),
        ("5 and 6", "11", Incorrect),
        ("5 dollars and 50 cents", "5", Incorrect),
        ("5 apples 6", "5", Incorrect),
        ("5\\text{ or }6", "5", Incorrect),
        ("4+1", "5", Correct),
        ("\\text{five}", "5", Incorrect),
    ]);
}

#[test]
fn a_named_answer_is_its_right_side() {
    check_boxed(&[
        ("x = 5", "5", Correct),
        ("5", "x=5", Correct),
        ("x_1 = 5", "5", Correct),
        ("f(x) = 2x", "2x", Correct),
        ("\\text{Total cost} = \\$5", "5", Correct),
        ("x \\in [-2,7]", "[-2,7]", Correct),
        ("x = 6", "5", Incorrect),
        ("5 = 6", "6", Incorrect),
        ("2+3 = 6", "6", Incorrect),
        ("2x = 5", "5", Incorrect),
        ("x = 4, y = 5", "5", Incorrect),
        ("x = 4 = 5", "5", Incorrect),
        ("x \\ne 5", "5", Incorrect),
        ("x \\not= 5", "5", Incorrect),
        ("x is not = 5", "5", Incorrect),
        ("x != 5", "5", Incorrect),
        ("x <= 5", "5", Incorrect),
        ("x > 5", "5", Incorrect),
    ]);
}

#[test]
fn what_is_no_number_is_equal_as_normalised_text() {
    check_boxed(&[
        ("\\left( 3, \\dfrac{\\pi}{2} \\right)", "(3,\\frac{\\pi}{2})", Correct),
        ("(3,\\frac\\pi2)", "(3,\\frac{\\pi}{2})", Correct),
        ("11\\sqrt{2}", "11\\sqrt2", Correct),
        ("11 \\sqrt 2", "11\\sqrt2", Correct),
        ("x^2+1", "x^{2} + 1", Correct),
        ("x^{-2}", "x^-2", Correct),
        ("4210_{5}", "4210_5", Correct),
        ("evelyn", "\\text{Evelyn}", Correct),
        ("East", "\\text{east}", Correct),
        ("C", "\\text{(C)}", Correct),
        ("$p - q$", "p-q", Correct),
        ("2π", "2\\pi", Correct),
        ("(-\\infty, 2)\\cup(3, \\infty)", "(-\\infty,2) \\cup (3,\\infty)", Correct),
        ("(3,\\frac{\\pi}{3})", "(3,\\frac{\\pi}{2})", Incorrect),
        ("(3,4)", "(3,4]", Incorrect),
        ("(4,3)", "(3,4)", Incorrect),
        ("11\\sqrt{3}", "11\\sqrt2", Incorrect),
        ("x^{12}", "x^12", Correct),
        ("x^{2}1", "x^{21}", Incorrect),
        ("X+1", "x+1", Incorrect),
        ("c", "C", Incorrect),
        ("B", "\\text{(C)}", Incorrect),
        ("A or C", "C", Incorrect),
        ("west", "\\text{east}", Incorrect),
        ("even", "\\text{east}", Incorrect),
        ("the answer is east", "\\text{east}", Incorrect),
        ("not even", "even", Incorrect),
        ("q - p", "p-q", Incorrect),
        ("5", "\\text{east}", Incorrect),
    ]);
}

#[test]
fn an_answer_of_signs_alone_is_unreadable() {
    check_boxed(&[
        ("?", "18", Unreadable),
        ("...", "18", Unreadable),
        ("$$", "18", Unreadable),
        ("\\ ", "18", Unreadable),
        ("{}", "18", Unreadable),
        ("-", "18", Unreadable),
        ("\\text{}", "18", Unreadable),
    ]);
}

#[test]
fn limits_hold_just_where_they_are_said_to() {
    let gold = Gold::parse("7").unwrap();
    let cases = [
        (format!("\\boxed{{{}}}", "7".repeat(200)), Incorrect),
        (format!("\\boxed{{{}}}", "7".repeat(201)), TooLarge),
        (format!("\\boxed{{{}.{}}}", "7".repeat(100), "7".repeat(101)), TooLarge),
        (format!("\\boxed{{\\frac{{1}}{{{}}}}}", "7".repeat(201)), TooLarge),
        (format!("\\boxed{{{}7}}", "0".repeat(199)), Correct),
        (format!("\\boxed{{{}}}", "a".repeat(1_000)), Incorrect),
        (format!("\\boxed{{{}}}", "a".repeat(1_001)), TooLarge),
        (format!("\\boxed{{{}}}", "é".repeat(501)), TooLarge),
        (format!("it is {}", "7".repeat(5_000)), TooLarge),
    ];
    for (completion, expected) in cases {
        let found = check(&completion, &gold, &Extraction::Auto {});
        assert_eq!(found.verdict, expected, "{completion}");
        assert!(found.answer.unwrap().len() <= 1_000);
    }
}

#[test]
fn a_gold_is_taken_out_of_its_solution() {
    let cases = [
        ("She makes 9 * 2 = $<<9*2=18>>18 every day.\n#### 18", "18"),
        ("which occurs for $x = 2$.  Therefore, there are $\\boxed{2}$ vertical asymptotes.", "2"),
        ("$\\boxed{1}$, then $\\boxed{\\frac{3}{4}}$", "\\frac{3}{4}"),
        (" 27.0 ", "27.0"),
        ("10,\\!080", "10,\\!080"),
    ];
    for (text, expected) in cases {
        assert_eq!(Gold::parse(text).unwrap().text(), expected);
    }
}

#[test]
fn a_gold_that_nothing_can_equal_is_refused_with_the_remedy() {
    let long = "a".repeat(1_001);
    let cases = [
        ("  ", "gold answer is blank; give the problem an answer or leave it out"),
        ("\\boxed{}", "gold answer is blank; give the problem an answer or leave it out"),
        ("1/0", "gold answer \"1/0\" cannot be read: the answer divides by zero; correct it or leave the problem out"),
        ("so $\\boxed$", "gold answer of 11 bytes has a `\\boxed` without closed braces; close them"),
        (
            &long,
            "gold answer of 1001 bytes is too large: the answer is over 1,000 bytes long; mark the answer with `####` or \
             leave the problem out",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(Gold::parse(text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn an_extraction_is_written_as_its_variant_with_its_settings() {
    let read = |text: &str| serde_json::from_str::<Extraction>(text).map_err(|error| error.to_string());
    let marker = Extraction::Marker { marker: "A".into() };
    assert_eq!(read(r#"{"auto":{}}"#), Ok(Extraction::Auto {}));
    assert_eq!(read(r#"{"marker":{"marker":"A"}}"#), Ok(marker.clone()));
    assert_eq!(serde_json::to_string(&marker).unwrap(), r#"{"marker":{"marker":"A"}}"#);
    for refused in
        [r#"{"auto":{"strict":true}}"#, r#"{"Auto":{}}"#, r#"{"marker":{}}"#, r#"{"marker":{"marker":"A","x":1}}"#]
    {
        assert!(read(refused).is_err(), "{refused}");
    }
}
