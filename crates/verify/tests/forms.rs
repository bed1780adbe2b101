//! Pairs of answer and gold, by what has to be understood to judge them. Expected verdicts are those of school
//! mathematics.

use verify::{
    Extraction, Gold,
    Verdict::{self, Correct, Incorrect, NoAnswer, TooLarge, Unknown, Unreadable},
    check, equivalent,
};

/// Checks answers against golds, and golds against answers.
#[expect(clippy::unwrap_used, reason = "a table with an unreadable gold is a broken test")]
#[track_caller]
fn check_both_ways(cases: &[(&str, &str, Verdict)]) {
    for (answer, gold, expected) in cases {
        let found = equivalent(answer, &Gold::parse(gold).unwrap());
        assert_eq!(found.verdict, *expected, "{answer:?} against {gold:?} gave {found:?}");
        if let Ok(answer) = Gold::parse(answer) {
            let back = equivalent(gold, &answer);
            assert_eq!(back.verdict, *expected, "{gold:?} against {:?} gave {back:?}", answer.text());
        }
    }
}

#[test]
fn expressions_are_equal_up_to_algebra() {
    check_both_ways(&[
        ("x^2+2x+1", "(x+1)^2", Correct),
        ("\\frac{x^2-1}{x-1}", "x+1", Correct),
        ("\\frac{1}{x}+\\frac{1}{y}", "\\frac{x+y}{xy}", Correct),
        ("\\sqrt{8}", "2\\sqrt2", Correct),
        ("\\frac{1}{\\sqrt2}", "\\frac{\\sqrt2}{2}", Correct),
        ("\\frac{\\sqrt{6}-\\sqrt{2}}{4}", "\\sin 15^\\circ", Correct),
        ("\\frac{2}{1+\\sqrt3}", "\\sqrt3-1", Correct),
        ("\\sqrt{3+2\\sqrt2}", "1+\\sqrt2", Correct),
        ("\\sqrt{5-2\\sqrt6}", "\\sqrt3-\\sqrt2", Correct),
        ("\\sqrt[3]{16}", "2\\sqrt[3]{2}", Correct),
        ("16^{1/3}", "2 \\cdot 2^{1/3}", Correct),
    ]);
}

#[test]
fn logarithms_angles_and_complex_numbers_are_exact() {
    check_both_ways(&[
        ("\\log_2 8", "3", Correct),
        ("\\log_{10} 1000", "3", Correct),
        ("\\ln e^2", "2", Correct),
        ("\\frac{\\ln 8}{\\ln 2}", "3", Correct),
        ("\\log_4 8", "1.5", Correct),
        ("\\ln 6", "\\ln 2 + \\ln 3", Correct),
        ("e^{\\ln 5}", "5", Correct),
        ("e^{i\\pi}", "-1", Correct),
        ("\\cos \\frac{\\pi}{3}", "1/2", Correct),
        ("\\cos 60^\\circ", "0.5", Correct),
        ("\\tan 45^{\\circ}", "1", Correct),
        ("\\arcsin \\frac12", "\\frac{\\pi}{6}", Correct),
        ("\\tan^{-1} 1", "\\pi/4", Correct),
        ("2\\sin x\\cos x", "\\sin 2x", Correct),
        ("\\cos 2x", "1-2\\sin^2 x", Correct),
        ("\\frac{\\pi}{180}\\cdot 60", "\\frac{\\pi}{3}", Correct),
        ("i^2", "-1", Correct),
        ("(1+i)^2", "2i", Correct),
        ("\\frac{1}{i}", "-i", Correct),
        ("\\frac{1}{1+i}", "\\frac{1-i}{2}", Correct),
    ]);
}

#[test]
fn functions_of_numbers_are_worked_out() {
    check_both_ways(&[
        ("|3-5|", "2", Correct),
        ("5!", "120", Correct),
        ("\\binom{5}{2}", "10", Correct),
        ("{5 \\choose 2}", "10", Correct),
        ("C(5,2)", "10", Incorrect),
        ("\\lfloor 3.7 \\rfloor", "3", Correct),
        ("\\gcd(12,18)", "6", Correct),
        ("2^{10}", "1024", Correct),
        ("2^{-3}", "0.125", Correct),
        ("-2^2", "-4", Correct),
        ("(-2)^2", "4", Correct),
        ("1/2x", "x/2", Correct),
        ("x^{1/2}", "\\sqrt x", Correct),
        ("\\sqrt{x^2}", "x", Incorrect),
        ("\\sqrt{x^2}", "|x|", Correct),
        ("(x-1)(x+1)", "x^2-1", Correct),
    ]);
}

#[test]
fn equations_and_inequalities_are_equal_up_to_a_factor_and_as_sets() {
    check_both_ways(&[
        ("x=5", "5", Correct),
        ("5=x", "5", Correct),
        ("x=5", "x=5.0", Correct),
        ("y=2x+1", "2x-y+1=0", Correct),
        ("y=2x+1", "y=1+2x", Correct),
        ("2x+4y=6", "x+2y=3", Correct),
        ("x+y=1", "x+y=2", Incorrect),
        ("x>5", "(5,\\infty)", Correct),
        ("x \\ge 5", "[5,\\infty)", Correct),
        ("5<x", "x>5", Correct),
        ("-2<x<3", "(-2,3)", Correct),
        ("-2<x<3", "x \\in (-2,3)", Correct),
        ("-2 \\le x \\le 3", "[-2,3]", Correct),
        ("-2 < x \\le 3", "(-2,3)", Incorrect),
        ("x<-2 \\text{ or } x>2", "(-\\infty,-2)\\cup(2,\\infty)", Correct),
        ("x > 1 \\text{ and } x < 3", "(1,3)", Correct),
        ("|x|<2", "(-2,2)", Correct),
        ("x \\ne 3", "(-\\infty,3)\\cup(3,\\infty)", Correct),
        ("\\mathbb{R} \\setminus \\{3\\}", "(-\\infty,3)\\cup(3,\\infty)", Correct),
        ("(-\\infty, \\infty)", "\\mathbb{R}", Correct),
        ("[0,1)\\cup[1,2]", "[0,2]", Correct),
        ("(2,3)\\cup(0,1)", "(0,1)\\cup(2,3)", Correct),
    ]);
}

#[test]
fn sets_are_unordered_and_tuples_ordered() {
    check_both_ways(&[
        ("\\{1,2,3\\}", "\\{3,2,1\\}", Correct),
        ("1,2,3", "3,2,1", Correct),
        ("1, 2, 3", "\\{1,2,3\\}", Correct),
        ("(1,2)", "(2,1)", Incorrect),
        ("(1,2)", "1,2", Correct),
        ("(2,1)", "1,2", Incorrect),
        ("[1,2]", "(1,2)", Incorrect),
        ("(1,2,3)", "\\begin{pmatrix}1\\\\2\\\\3\\end{pmatrix}", Correct),
        ("\\langle 1,2,3\\rangle", "(1,2,3)", Correct),
        ("<1,2,3>", "(1,2,3)", Correct),
    ]);
}

#[test]
fn matrices_signs_and_ratios_are_equal_part_by_part() {
    check_both_ways(&[
        ("\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", Correct),
        ("\\begin{pmatrix}1&3\\\\2&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", Incorrect),
        ("\\frac12\\begin{pmatrix}2&4\\end{pmatrix}", "\\begin{pmatrix}1&2\\end{pmatrix}", Correct),
        ("1\\pm\\sqrt2", "1+\\sqrt2,1-\\sqrt2", Correct),
        ("x = 1\\pm\\sqrt2", "1 \\pm \\sqrt{2}", Correct),
        ("\\pm 3", "3", Incorrect),
        ("\\pm 3", "-3,3", Correct),
        ("3, -3", "\\pm 3", Correct),
        ("3:4", "6:8", Correct),
        ("3:4", "3/4", Correct),
        ("4:3", "3:4", Incorrect),
        ("12:30", "12:30", Correct),
    ]);
}

#[test]
fn percent_signs_degrees_and_units_are_compared_where_both_sides_have_them() {
    check_both_ways(&[
        ("50\\%", "0.5", Correct),
        ("50", "50\\%", Correct),
        ("0.5\\%", "0.005", Correct),
        ("\\$5.00", "5", Correct),
        ("5 \\text{ dollars}", "\\$5", Correct),
        ("100\\text{ cm}", "1\\text{ m}", Correct),
        ("5\\text{ cm}", "5\\text{ m}", Incorrect),
        ("90^\\circ", "\\frac{\\pi}{2}", Correct),
        ("90", "\\frac{\\pi}{2}", Incorrect),
        ("\\pi/2", "90", Incorrect),
    ]);
}

#[test]
fn numbers_are_never_rounded_and_read_in_every_convention() {
    check_both_ways(&[
        ("3.14", "\\pi", Incorrect),
        ("3.14159265358979", "\\pi", Incorrect),
        ("0.333", "1/3", Incorrect),
        ("0.\\overline{3}", "1/3", Correct),
        ("0.1\\overline{6}", "1/6", Correct),
        ("1.5 \\times 10^3", "1500", Correct),
        ("1.5e3", "1500", Correct),
        ("1,234,567", "1234567", Correct),
        ("1.234.567", "1234567", Correct),
        ("1.234,5", "1234.5", Correct),
        ("1 234 567", "1234567", Correct),
        ("1\\,234\\,567", "1234567", Correct),
    ]);
}

#[test]
fn unicode_is_read_as_latex_is() {
    check_both_ways(&[
        ("3½", "3.5", Correct),
        ("√2", "\\sqrt2", Correct),
        ("2√3", "2\\sqrt{3}", Correct),
        ("x²+1", "x^2+1", Correct),
        ("2π", "2\\pi", Correct),
        ("x₁", "x_1", Correct),
        ("x^{10}", "x¹⁰", Correct),
        ("≤5", "x \\le 5", Incorrect),
        ("x≤5", "x \\le 5", Correct),
    ]);
}

#[test]
fn options_and_words_are_compared_as_text() {
    check_both_ways(&[
        ("\\text{(C)}", "C", Correct),
        ("(C)", "\\text{C}", Correct),
        ("(C) 12", "C", Correct),
        ("C. 12", "\\text{(C)}", Correct),
        ("(C) 12", "12", Correct),
        ("(B) 12", "C", Incorrect),
        ("A and C", "C", Incorrect),
        ("A", "\\text{(A)}", Correct),
        ("\\text{yes}", "Yes", Correct),
        ("Yes.", "yes", Correct),
        ("east", "\\text{East}", Correct),
        ("\\text{odd}", "even", Incorrect),
    ]);
}

#[test]
fn infinities_empty_sets_and_bases_are_themselves() {
    check_both_ways(&[
        ("\\infty", "+\\infty", Correct),
        ("-\\infty", "\\infty", Incorrect),
        ("\\emptyset", "\\{\\}", Correct),
        ("\\emptyset", "0", Incorrect),
        ("210_5", "210_{5}", Correct),
        ("210_5", "210_{6}", Incorrect),
        ("210_5", "55", Incorrect),
        ("210_{\\text{five}}", "210_5", Correct),
        ("210", "210_5", Incorrect),
        ("\\text{210}_5", "210_5", Correct),
        ("10101_2", "10101_2", Correct),
    ]);
}

#[test]
fn powers_roots_and_names_are_equal_by_their_laws() {
    check_both_ways(&[
        ("a(b+c)", "ab+ac", Correct),
        ("a^2b", "ba^2", Correct),
        ("2ab", "2ba", Correct),
        ("\\frac{a}{b}", "a/b", Correct),
        ("a/b/c", "\\frac{a}{bc}", Correct),
        ("e^x e^y", "e^{x+y}", Correct),
        ("2^x\\cdot 2", "2^{x+1}", Correct),
        ("4^x", "2^{2x}", Correct),
        ("\\sqrt{x}\\sqrt{y}", "\\sqrt{xy}", Correct),
        ("\\frac{x}{\\sqrt x}", "\\sqrt x", Correct),
        ("f(x)=x^2", "x^2", Correct),
        ("f(x)=x^2", "y=x^2", Correct),
        ("f^{-1}(x)=\\frac{x-1}{2}", "\\frac{x-1}{2}", Correct),
        ("f(2)", "f(3)", Incorrect),
        ("f(2)", "2f", Incorrect),
        ("\\theta", "θ", Correct),
        ("\\frac{\\pi}{4}+2\\pi k", "2\\pi k+\\frac{\\pi}{4}", Correct),
        ("x=\\frac{\\pi}{4}+n\\pi", "\\frac{\\pi}{4}+n\\pi", Correct),
    ]);
}

#[test]
fn what_is_not_worked_out_is_unknown_and_not_wrong() {
    check_both_ways(&[
        ("n(n+1)/2", "\\frac{n^2+n}{2}", Correct),
        ("\\frac{n!}{k!(n-k)!}", "\\binom{n}{k}", Unknown),
        ("\\sum_{k=1}^n k", "\\frac{n(n+1)}{2}", Unknown),
    ]);
}

#[test]
fn what_commits_to_nothing_is_not_correct() {
    check_both_ways(&[
        ("0=0", "5", Incorrect),
        ("x=x", "5", Incorrect),
        ("5 or 6", "5", Incorrect),
        ("5 or 6", "6", Incorrect),
        ("5 or 6", "5,6", Correct),
        ("5 and 6", "6,5", Correct),
        ("5, 5", "5", Correct),
        ("\\text{None}", "0", Incorrect),
    ]);
}

#[test]
fn what_has_no_value_is_refused() {
    check_both_ways(&[
        ("9^{9^{9^9}}", "5", TooLarge),
        ("\\frac{0}{0}", "0", Unreadable),
        ("\\frac{1}{0}", "1", Unreadable),
        ("\\tan 90^\\circ", "0", Unreadable),
        ("((((((((((((((((((((((((((((((5))))))))))))))))))))))))))))))", "5", TooLarge),
        ("--5", "5", Incorrect),
        ("5-", "5", Incorrect),
    ]);
}

#[test]
fn looks_do_not_count() {
    check_both_ways(&[
        ("+5", "5", Correct),
        ("5.", "5", Correct),
        ("**5**", "5", Correct),
        ("`5`", "5", Correct),
        ("\"5\"", "5", Correct),
        ("$5$", "5", Correct),
        ("\\(5\\)", "5", Correct),
        ("\\[5\\]", "5", Correct),
        ("$$5$$", "5", Correct),
        ("5 \\quad", "5", Correct),
        ("\\boldsymbol{5}", "5", Correct),
        ("\\mathbf{5}", "5", Correct),
        ("\\displaystyle\\frac12", ".5", Correct),
        ("\\left(\\frac12\\right)", ".5", Correct),
        ("\\left[0,1\\right)", "[0,1)", Correct),
        ("\\left\\{1,2\\right\\}", "\\{1,2\\}", Correct),
        ("\\bigl(1,2\\bigr)", "(1,2)", Correct),
        ("5\\ \\text{units}", "5", Correct),
        ("5\\,\\mathrm{cm}^2", "5", Correct),
        ("10\\text{ m/s}", "10", Correct),
        ("10 m/s", "10", Correct),
    ]);
}

#[test]
fn plain_text_is_read_as_latex_is() {
    check_both_ways(&[
        ("5 x 3", "15", Incorrect),
        ("5 \\times 3", "15", Correct),
        ("5*3", "15", Correct),
        ("2**3", "8", Correct),
        ("sqrt(2)", "\\sqrt2", Correct),
        ("sqrt(2)/2", "\\frac{\\sqrt2}{2}", Correct),
        ("pi/2", "\\frac{\\pi}{2}", Correct),
        ("(1/2, 3/4)", "(\\frac12,\\frac34)", Correct),
    ]);
}

#[test]
fn longer_answers_are_compared_as_a_whole() {
    check_both_ways(&[
        ("x^2 + y^2 = 4", "y^2+x^2=4", Correct),
        ("(x-1)^2+(y-2)^2=4", "x^2+y^2-2x-4y+1=0", Correct),
        ("\\frac{x^2}{4}+\\frac{y^2}{9}=1", "9x^2+4y^2=36", Correct),
        ("p \\implies q", "p \\implies q", Correct),
        ("\\text{Monday}", "Monday", Correct),
        ("Tom and Jerry", "Jerry and Tom", Incorrect),
        ("\\frac{3}{4}\\text{ or }0.75", "0.75", Correct),
        ("x=2,y=3", "(2,3)", Correct),
        ("x=2, y=3", "y=3, x=2", Correct),
        ("x=2,y=3", "x=3,y=2", Incorrect),
        ("(x,y)=(2,3)", "(2,3)", Correct),
        ("2x", "2y", Incorrect),
        ("2x", "2X", Incorrect),
        ("i", "j", Incorrect),
    ]);
}

#[test]
fn numbers_are_worked_out_exactly() {
    check_both_ways(&[
        ("1e5", "100000", Correct),
        ("1E5", "100000", Correct),
        ("2e", "2e", Correct),
        ("\\frac{2}{3}\\%", "\\frac{2}{3}", Correct),
        ("\\sqrt{-4}", "2i", Correct),
        ("\\sqrt[3]{-8}", "-2", Correct),
        ("(-8)^{1/3}", "-2", Correct),
        ("8^{2/3}", "4", Correct),
        ("0.1+0.2", "0.3", Correct),
        ("10^{-2}", "0.01", Correct),
        ("1\\frac12", "1.5", Correct),
        ("1 1/2", "3/2", Correct),
        ("-1\\frac12", "-1.5", Correct),
        ("2\\frac{1}{2}", "5/2", Correct),
        ("2 \\frac{4}{3}", "10/3", Incorrect),
        ("x\\frac12", "x/2", Correct),
        ("1{,}000", "1000", Correct),
        ("1,000", "1,000", Correct),
        ("\\text{1,000}", "1000", Correct),
        ("$1,000.50", "1000.5", Correct),
        ("€5", "5", Correct),
        ("£5", "5", Correct),
        ("5 USD", "5", Correct),
        ("3 hours", "3", Correct),
        ("3 hours 20 minutes", "200", Incorrect),
        ("5'11''", "5", Incorrect),
    ]);
}

#[test]
fn missing_signs_and_braces_are_understood() {
    check_both_ways(&[
        ("\\frac{\\frac12}{3}", "1/6", Correct),
        ("\\frac12/3", "1/6", Correct),
        ("1/2/3", "1/6", Correct),
        ("2(3)", "6", Correct),
        ("(2)(3)", "6", Correct),
        ("2\\cdot3", "6", Correct),
        ("2 3", "6", Incorrect),
        ("23", "2 3", Incorrect),
        ("x_{1}x_{2}", "x_1x_2", Correct),
        ("x_1", "x_2", Incorrect),
        ("\\overline{AB}", "AB", Incorrect),
        ("\\vec{v}", "\\vec v", Correct),
        ("\\frac{dy}{dx}", "\\frac{dy}{dx}", Correct),
        ("\\int x dx", "\\int x\\,dx", Correct),
        ("\\lim_{x\\to 0} x", "0", Incorrect),
    ]);
}

#[test]
fn identities_beyond_the_rules_are_unknown() {
    check_both_ways(&[
        ("\\cos(\\pi/7)\\cos(2\\pi/7)\\cos(3\\pi/7)", "1/8", Unknown),
        ("\\sqrt[3]{2+\\sqrt5}+\\sqrt[3]{2-\\sqrt5}", "1", Unknown),
        ("\\max(1,2)", "2", Correct),
        ("-(x-1)", "1-x", Correct),
        ("-x+1", "-(x-1)", Correct),
        ("\\frac{-1}{2}", "\\frac{1}{-2}", Correct),
        ("x^0", "1", Correct),
        ("0^0", "1", Unreadable),
    ]);
}

#[test]
fn trigonometric_and_power_laws_are_known() {
    check_both_ways(&[
        ("\\sin^2x+\\cos^2x", "1", Correct),
        ("\\sec^2x-\\tan^2x", "1", Correct),
        ("\\frac{1}{\\cos x}", "\\sec x", Correct),
        ("\\tan x", "\\frac{\\sin x}{\\cos x}", Correct),
        ("a^{m}a^{n}", "a^{m+n}", Correct),
        ("(a^m)^n", "a^{mn}", Correct),
        ("(ab)^n", "a^nb^n", Correct),
        ("2\\pi r", "2r\\pi", Correct),
        ("\\frac43\\pi r^3", "\\frac{4\\pi r^3}{3}", Correct),
        ("5\\sqrt{2}\\text{ cm}", "5\\sqrt2", Correct),
        ("\\sqrt{50}\\text{ cm}", "5\\sqrt2", Correct),
    ]);
}

#[test]
fn only_a_gold_with_decimals_forgives_rounding() {
    let third = Gold::parse("\\frac13").unwrap();
    assert_eq!(equivalent("0.33", &third).verdict, Incorrect);
    let third = third.with_decimals(2);
    for (answer, expected) in [("0.33", Correct), ("0.333", Correct), ("0.32", Incorrect), ("33\\%", Correct)] {
        assert_eq!(equivalent(answer, &third).verdict, expected, "{answer}");
    }
    let root = Gold::parse("(\\sqrt2, 1]").unwrap().with_decimals(3);
    assert_eq!(equivalent("(1.414, 1]", &root).verdict, Correct);
    assert_eq!(equivalent("(1.415, 1]", &root).verdict, Incorrect);
}

#[test]
fn boxes_that_belong_together_are_one_answer() {
    let cases = [
        ("\\boxed{1} and \\boxed{2}", "1,2", Correct),
        ("\\boxed{1}, \\boxed{2}", "2", Incorrect),
        ("\\boxed{1} or \\boxed{2}", "2", Incorrect),
        ("A is \\boxed{A}, B is \\boxed{B}, C is \\boxed{C}", "C", Incorrect),
        ("\\boxed{A}\n\\boxed{B}\n\\boxed{C}\n\\boxed{D}", "A", Incorrect),
        ("\\boxed{1}, wait, \\boxed{2}", "2", Correct),
        ("\\boxed{1}. So the sum is \\boxed{2}", "2", Correct),
        ("\\boxed{2}\n\n\\boxed{2}", "2", Correct),
        ("\\boxed{3/2} or \\boxed{1.5}", "1.5", Correct),
        ("so \\boxed 9$", "9", Correct),
    ];
    check_completions(&cases);
}

#[test]
fn phrases_formulas_and_turns_are_understood() {
    let cases = [
        ("Final Answer: The final answer is $\\frac{1}{2}$. I hope it is correct.", "0.5", Correct),
        ("\\boxed{3} Final Answer: the final answer is $4$.", "4", Correct),
        ("\\boxed{3}. Arriving at the final answer is hard.", "3", Correct),
        ("**Final Answer**\n\n$x^2+1$", "1+x^2", Correct),
        ("The answer is (B).", "B", Correct),
        ("Answer: C", "\\text{(C)}", Correct),
        ("The answer is 5 or 6.", "6", Incorrect),
        ("The answer is 5 or 6.", "5", Incorrect),
        ("It is 5 or 6.", "6", Incorrect),
        ("The answer is 12, since there are 3 of them.", "12", Correct),
        ("Hence the point is $(7, 6)$.", "(7,6)", Correct),
        ("Hence \\[ x = 2 + 3 = 5 \\]", "5", Correct),
        ("It costs $5 and $6.", "6", Correct),
        ("$x^2+1$", "1+x^2", Correct),
        ("x^2+1", "1+x^2", Correct),
        ("C", "C", Correct),
        ("It is 5.<|im_end|>\n<|im_start|>user\nWhat is 3+4?", "5", Correct),
        ("<think>\\boxed{5}", "5", NoAnswer),
        ("<think>a</think>\\boxed{5}", "5", Correct),
        ("Soucis : 2,74 $ a..", "2.74", Correct),
    ];
    check_completions(&cases);
}

#[expect(clippy::unwrap_used, reason = "a table with an unreadable gold is a broken test")]
#[track_caller]
fn check_completions(cases: &[(&str, &str, Verdict)]) {
    for (completion, gold, expected) in cases {
        let found = check(completion, &Gold::parse(gold).unwrap(), &Extraction::Auto {});
        assert_eq!(found.verdict, *expected, "{completion:?} against {gold:?} gave {found:?}");
    }
}

#[test]
fn deep_and_costly_answers_fit_a_small_stack() {
    let nested = |open: &str, close: &str| format!("{}x{}", open.repeat(60), close.repeat(60));
    let answers = [
        nested("(", ")"),
        nested("\\sqrt{", "}"),
        nested("\\frac{1}{1+", "}"),
        nested("x^{", "}"),
        nested("|", "|"),
        nested("\\{", "\\}"),
        nested("\\sin(", ")"),
        "\\sqrt".repeat(150) + "2",
        "x^".repeat(300) + "2",
        "-".repeat(900),
        "2!".to_owned() + &"!".repeat(800),
        "1/".repeat(400) + "3",
        "(x+y+z+w)^{12}(x-y-z-w)^{12}".to_owned(),
        "\\sin(1+".repeat(20) + "x" + &")".repeat(20),
    ];
    let judge = move || {
        let gold = Gold::parse("(x+y+z)^{12}").unwrap();
        for answer in answers {
            let verdict = equivalent(&answer, &gold).verdict;
            assert!(!verdict.is_correct(), "{answer}");
        }
    };
    std::thread::Builder::new().stack_size(512 * 1024).spawn(judge).unwrap().join().unwrap();
}
