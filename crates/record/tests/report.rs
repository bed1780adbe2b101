//! The report of whole run directories on disk. The first test leaves its page beside the run directories under
//! `target/tmp`, to be looked at.

mod fabricated;

use allocation_counter::measure;
use record::{
    EvaluationSummary, FaultOutcome, FaultRecord, RunDirectory, ShaperMetrics, WarningMetrics,
    report::{ReportOptions, Source, arm_table, arm_table_on, html},
    write,
};

use fabricated::{ARMS, ArmPlan, Extent, WHOLE, directory, run};

fn options() -> ReportOptions {
    ReportOptions {
        title: "Length penalty on a ring with a trap door".to_owned(),
        notes: vec![
            "A made-up comparison: the numbers are fabricated, to look at the page & to test it.".to_owned(),
            "Three arms from one warm start, three seeds each.".to_owned(),
        ],
        benchmark: None,
    }
}

fn page(name: &str, runs: &[RunDirectory]) -> String {
    let page = html(runs, &options()).expect("a report");
    let path = directory(&format!("{name}-page-{}", runs.len()));
    write::create_directory(&path).expect("a directory");
    write::replace(&path.join("report.html"), page.as_bytes()).expect("the page is written");
    page
}

#[test]
fn a_comparison_of_three_arms_is_one_page_without_anything_from_outside() {
    let root = directory("three-arms");
    let runs: Vec<RunDirectory> =
        ARMS.iter().flat_map(|plan| (0..3).map(|seed| run(&root, plan, seed, WHOLE)).collect::<Vec<_>>()).collect();
    let page = page("three-arms", &runs);
    assert_eq!(page, html(&runs, &options()).expect("a report"), "the same runs give the same bytes");
    for outside in ["http://", "https://", "src=", "@import", "url(", "<link"] {
        assert!(!page.contains(outside), "the page refers to {outside}");
    }
    assert!(!page.contains("<script>alert") && page.contains("&lt;script&gt;alert(1)"));
    assert!(!page.contains('\u{1b}') && !page.contains('\u{202e}') && page.contains("⟨U+001B⟩[31m⟨U+202E⟩evil"));
    assert!(!page.contains("NaN") && !page.contains("inf\"") && !page.contains("<b>not bold"));
    assert_eq!(page.matches("<figure>").count(), page.matches("<figcaption>").count());
    assert_eq!(page.matches("<figure>").count(), 15);
    assert_eq!(page.matches("<article").count(), 8);
    assert!(!page.contains(env!("CARGO_TARGET_TMPDIR")), "the page names where the runs are on this machine");

    let table = arm_table(&runs).expect("a table");
    let names: Vec<&str> = table.iter().map(|row| row.arm.as_str()).collect();
    assert_eq!(names, ["GRPO", "length penalty", "GRPO-λ 20 %"]);
    let outcome = table[1].outcome.expect("it was evaluated");
    assert_eq!((outcome.source, outcome.seeds, table[1].unfinished), (Source::Evaluation, 3, 0));
    assert!(outcome.accuracy.difference.mean < -0.1 && outcome.completion_tokens.kept() < 0.8);
}

/// The text of the table row that begins with `name`, without markup, cells apart by ` | `.
fn row(page: &str, name: &str) -> String {
    let heading = format!("<bdi>{name}</bdi></th>");
    let cells = page.split(&heading).nth(1).and_then(|rest| rest.split("</tr>").next()).expect(name);
    let mut text = String::new();
    for part in cells.replace("</td><td", " | </td><td").split('<') {
        text += part.split_once('>').map_or("", |(_, text)| text);
    }
    text
}

#[test]
fn policies_are_compared_at_one_step_and_those_that_collapsed_before_that_too() {
    let root = directory("policies");
    let runs: Vec<RunDirectory> =
        ARMS.iter().flat_map(|plan| (0..3).map(|seed| run(&root, plan, seed, WHOLE)).collect::<Vec<_>>()).collect();
    let page = page("policies", &runs);
    assert!(page.contains("<h2>Policies compared on <bdi>ring-held-out</bdi></h2>"));
    assert!(row(&page, "length penalty, before collapse").starts_with("3 | 30–40 | "));
    assert!(row(&page, "length penalty*, after collapse").starts_with("3 | 70 | "));
    assert!(!page.contains("GRPO-λ 20 %, before collapse") && !page.contains("GRPO, before collapse"));

    // What the table says of the start is the mean over the three seeds' first evaluations.
    let first = |seed: usize| runs[seed].evaluations().unwrap()[0].clone();
    let mean = |value: fn(&record::EvaluationSummary) -> f64| (0..3).map(|seed| value(&first(seed))).sum::<f64>() / 3.0;
    let start = row(&page, "start");
    let (accuracy, tokens) = (mean(|row| row.accuracy * 100.0), mean(|row| row.completion_tokens));
    assert!(start.starts_with(&format!("3 | 0 | {accuracy:.1} ± ")), "{start}");
    assert!(start.contains(&format!(" | – | {tokens:.1} ± ")), "{start}");

    let collapse = page.split("<h2>Collapse</h2>").nth(1).expect("the section");
    assert_eq!(page.matches("<path class=\"cross a1\"").count(), 3, "a cross for each seed that collapsed");
    // Collapses at 40, 40 and 50; the evaluations before them are at 30, 30 and 40.
    assert_eq!(row(collapse, "length penalty"), "3 of 3 | 40 | 30, 30, 40 | −12.5 | −4.5 | 0");
    assert_eq!(row(collapse, "GRPO"), "0 of 3 | – | 70+, 70+, 70+ | – | – | –");
}

#[test]
fn arms_that_differ_in_lambda_alone_are_drawn_over_it() {
    let root = directory("lambda");
    let runs: Vec<RunDirectory> = ARMS.iter().map(|plan| run(&root, plan, 0, WHOLE)).collect();
    let whole = page("lambda", &runs);
    assert!(whole.contains("<h3>Accuracy by λ</h3>") && whole.contains("top groups, α = 0.2, divided by std"));
    for category in ["0", "20", "100"] {
        assert!(whole.contains(&format!(", share of groups under length penalty (λ), % {category}: ")), "{category}");
    }
    assert!(!whole.contains("<h3>Accuracy by α</h3>"));
    let two = page("lambda", &runs[..2]);
    assert!(!two.contains("<h2>Ablations</h2>"), "two values are no ablation");

    let strong = ArmPlan { arm: "strong", shaping: "length-penalty]\nalpha = 1", ..ARMS[1].clone() };
    let with_alpha = page("lambda", &[runs[1].clone(), run(&root, &strong, 0, WHOLE)]);
    assert!(with_alpha.contains("<h3>Accuracy by α</h3>") && with_alpha.contains("every group, divided by std"));
}

#[test]
fn what_only_some_runs_record_has_a_figure_where_one_does() {
    let root = directory("adapting");
    let plain = run(&root, &ARMS[0], 0, WHOLE);
    let rare = ["<h3>Adapting λ</h3>", "<h3>Risk of collapse</h3>", "<h3>Divergence from the reference</h3>"];
    let without = page("plain", std::slice::from_ref(&plain));
    assert!(rare.iter().all(|heading| !without.contains(heading)));
    let adapting = run(&root, &ARMS[2], 0, WHOLE);
    let mut metrics = adapting.metrics().expect("metrics");
    for row in &mut metrics {
        let lambda = row.step as f64 / 100.0;
        row.shapers =
            vec![ShaperMetrics::AdaptiveLambda { lambda, accuracy_recent: 0.9, accuracy_best: 0.9, fall_errors: 0.0 }];
        row.warning = Some(WarningMetrics { risk: (row.step > 9).then_some(0.25), given: false });
        row.kl_nats = Some(0.01);
    }
    write::replace(&adapting.root().join("metrics.jsonl"), &write::json_lines(&metrics)).expect("metrics");
    let with = page("adapting", &[plain, adapting]);
    assert!(rare.iter().all(|heading| with.contains(heading)));
}

#[test]
fn what_was_written_after_the_first_correct_answer_is_set_apart() {
    let root = directory("first-correct");
    let page = page("first-correct", &[run(&root, &ARMS[0], 0, WHOLE)]);
    assert!(page.contains("correct from token 4 on the way") && page.contains("&lt;c&gt; a<span class=\"after\"> "));
    assert!(page.contains("<h3>Accuracy under a token budget</h3>") && page.contains("20 tokens: "));
}

#[test]
fn an_arm_name_cannot_become_markup() {
    let root = directory("hostile-arm");
    let plan = ArmPlan { arm: "<img src=x onerror=alert(1)>\"&", ..ARMS[0].clone() };
    let page = page("hostile-arm", &[run(&root, &plan, 0, WHOLE)]);
    assert!(!page.contains("<img") && page.contains("&lt;img src=x onerror=alert(1)&gt;&quot;&amp;"));
}

#[test]
fn a_run_that_is_still_going_is_said_to_be() {
    let root = directory("going");
    let going = Extent { steps_done: 34, ..WHOLE };
    let runs = [
        run(&root, &ARMS[0], 0, WHOLE),
        run(&root, &ARMS[0], 1, going),
        run(&root, &ARMS[1], 0, going),
        run(&root, &ARMS[2], 0, Extent { steps_done: 0, evaluate_every: None, ..WHOLE }),
    ];
    let page = page("going", &runs);
    assert!(page.contains("GRPO seed 1 (34 of 70 steps), length penalty seed 0 (34 of 70 steps)"));
    assert!(page.contains("line faint") && page.contains("nothing measured yet"));
    assert!(page.contains("after 30 steps"), "problems come from the last step that arms have in common");
    let table = arm_table(&runs).expect("a table");
    assert_eq!((table[0].steps_min, table[0].steps_max, table[0].unfinished), (34, 70, 1));
    assert_eq!(table[2].outcome, None);
}

#[test]
fn a_run_whose_last_steps_were_skipped_has_done_all_of_them() {
    let root = directory("skipped");
    let done = |seed: u64, steps_done: u64, skipped: &[u64]| {
        let run = run(&root, &ARMS[0], seed, Extent { steps_done, ..WHOLE });
        for &step in skipped {
            let (quantity, value, outcome) = ("loss".to_owned(), "NaN".to_owned(), FaultOutcome::Skipped);
            let fault = FaultRecord { step, detours: 0, pass: None, quantity, value, rollouts: Vec::new(), outcome };
            run.append_fault(&fault, &[]).expect("a fault");
        }
        let row = &arm_table(std::slice::from_ref(&run)).expect("a table")[0];
        (row.steps_max, row.unfinished, html(&[run], &options()).expect("a page").contains("Still going"))
    };
    assert_eq!(done(0, 68, &[68, 69]), (70, 0, false));
    assert_eq!(done(1, 68, &[68]), (69, 1, true));
    // The run went back from beyond step 50.
    assert_eq!(done(2, 34, &[20, 50]), (34, 1, true));
}

#[test]
fn a_run_without_evaluations_is_reported_by_its_training() {
    let root = directory("training-only");
    let extent = Extent { evaluate_every: None, ..WHOLE };
    let runs = [run(&root, &ARMS[0], 0, extent), run(&root, &ARMS[2], 0, extent)];
    let page = page("training-only", &runs);
    assert!(page.contains("No run was evaluated") && page.contains("in the rollouts trained on"));
    assert!(page.contains("the rollouts of step 69") && page.contains("<article"));
    assert!(page.contains("no evaluation names levels"));
    let outcome = arm_table(&runs).expect("a table")[0].outcome.expect("steps were recorded");
    assert_eq!((outcome.source, outcome.accuracy.end.error), (Source::Training, None));
}

#[test]
fn an_evaluated_arm_beside_one_that_was_not_is_told_apart() {
    let root = directory("mixed");
    let runs = [
        run(&root, &ARMS[0], 0, WHOLE),
        run(&root, &ARMS[2], 0, Extent { evaluate_every: None, steps: 40, steps_done: 40 }),
    ];
    let page = page("mixed", &runs);
    assert!(page.contains("Never evaluated, and measured by the rollouts trained on: GRPO-λ 20 %."));
}

#[test]
fn a_single_run_of_no_steps_makes_a_page() {
    let root = directory("nothing");
    let page = page("nothing", &[run(&root, &ARMS[0], 0, Extent { steps: 5, steps_done: 0, evaluate_every: None })]);
    assert!(page.contains("nothing measured yet") && page.contains("No training step has been recorded yet"));
}

#[test]
fn every_one_of_many_arms_has_its_own_look() {
    let root = directory("many-arms");
    let names = [
        "a",
        "b",
        "c",
        "d",
        "e",
        "f",
        "g",
        "h",
        "i",
        "a-name-without-a-single-space-that-goes-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on",
    ];
    let short = Extent { steps: 10, steps_done: 10, evaluate_every: Some(5) };
    let plans = names.into_iter().map(|arm| ArmPlan { arm, ..ARMS[0].clone() });
    let runs: Vec<RunDirectory> = plans.map(|plan| run(&root, &plan, 0, short)).collect();
    let page = page("many-arms", &runs);
    let legend =
        page.split("<ul class=\"legend\">").nth(1).and_then(|rest| rest.split("</ul>").next()).expect("a legend");
    let mut keys: Vec<&str> = legend.split("<li>").skip(1).filter_map(|item| item.split("<bdi>").next()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), runs.len());
}

#[test]
fn what_cannot_be_reported_is_refused_with_a_remedy() {
    let root = directory("refused");
    let run = run(&root, &ARMS[0], 0, WHOLE);
    let none = html(&[], &options()).expect_err("no runs").to_string();
    assert!(none.contains("name at least one"), "{none}");
    let twice = arm_table(&[run.clone(), run.clone()]).expect_err("the same seed twice").to_string();
    assert!(twice.contains("second run of the arm `GRPO` with seed 0") && twice.contains("leave one"), "{twice}");
    let unknown = arm_table_on(&[run], "math-500").expect_err("no such benchmark").to_string();
    assert!(unknown.contains("`math-500`; choose one of `ring-held-out`"), "{unknown}");
}

#[test]
fn the_runs_of_a_report_are_read_once_however_many_benchmarks_they_name() {
    let run = run(&directory("benchmarks"), &ARMS[0], 0, Extent { steps: 2, steps_done: 2, evaluate_every: Some(2) });
    let evaluation = run.evaluations().expect("the evaluations").remove(0);
    let allocations = |benchmarks: usize| {
        let named = |index| EvaluationSummary { benchmark: format!("b{index}"), ..evaluation.clone() };
        let lines = write::json_lines(&(0..benchmarks).map(named).collect::<Vec<_>>());
        write::replace(&run.root().join("evaluations.jsonl"), &lines).expect("the evaluations");
        let work = measure(|| drop(html(std::slice::from_ref(&run), &options()).expect("a report")));
        work.count_total
    };
    // Twice as many take twice as much at most; read once for each name, they take four times as much.
    let (fewer, more) = (allocations(100), allocations(200));
    assert!(more < 5 * fewer / 2, "{fewer} and {more} allocations");
}
