//! The directory of an evaluation and its page: what they hold, and that nothing of a record becomes markup.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use record::{
    BudgetSummary, EVALUATION_SCHEMA_VERSION, EvaluationDirectory, EvaluationHeader, EvaluationRecord,
    EvaluationSummary, FirstCorrectSummary, LengthSummary, Lengths, LevelSummary, PassAtK, PolicySource,
    PrefixVerdicts, ProblemLeftOut, StopReason, TokenSource, report::evaluation_page, write,
};
use verify::{Extraction, Verdict};

const HOSTILE: &str = "</pre><script>alert(1)</script>\u{202e}\u{1b}[31m\"'&";

fn record(problem: &str, sample: u32, verdict: Verdict, tokens: u32) -> EvaluationRecord {
    EvaluationRecord {
        problem: problem.to_owned(),
        sample,
        level: None,
        question: format!("What is {problem}?"),
        gold: "7".to_owned(),
        completion: format!("It is {sample}."),
        completion_tokens: tokens,
        stop: StopReason::End,
        verdict,
        answer: Some("7".to_owned()),
        reason: "numbers are equal".to_owned(),
        tokens_from: TokenSource::Engine,
        prefixes: Some(PrefixVerdicts { budgets: Vec::new(), first_correct_tokens: None, first_correct_bytes: None }),
    }
}

fn header() -> EvaluationHeader {
    EvaluationHeader {
        schema: EVALUATION_SCHEMA_VERSION,
        brevity_version: "0.1.0".to_owned(),
        model: "models/tiny".to_owned(),
        policy: PolicySource::Engine {
            directory: PathBuf::from("models/tiny"),
            parameters: 12_345,
            cpu: "avx512".to_owned(),
            compute: "bf16".to_owned(),
            checksum: None,
        },
        benchmark: "mine".to_owned(),
        problems_path: PathBuf::from("data/mine.jsonl"),
        problems_limit: Some(3),
        problems: 2,
        problems_left_out: vec![ProblemLeftOut { problem: "row 3".to_owned(), reason: "field is missing".to_owned() }],
        samples: 2,
        temperature: 0.6,
        top_p: 0.95,
        top_k: 0,
        completion_tokens_max: 100,
        seed: 4,
        choices_seed: None,
        template: "plain".to_owned(),
        variables: BTreeMap::new(),
        system: String::new(),
        instruction: "Think.".to_owned(),
        extraction: Extraction::Auto {},
        prompt_example: Some("What is a?\nThink.".to_owned()),
        started_unix_seconds: 0,
    }
}

fn summary() -> EvaluationSummary {
    let length = |completions, mean| LengthSummary { completions, mean, median: mean, p95: mean };
    EvaluationSummary {
        step: 0,
        benchmark: "mine".to_owned(),
        problems: 2,
        samples: 2,
        temperature: 0.6,
        top_p: 0.95,
        completion_tokens_max: 100,
        seed: 4,
        accuracy: 0.625,
        accuracy_error: 0.125,
        accuracy_low: 0.2,
        accuracy_high: 0.9,
        accuracy_bootstrap_low: 0.3,
        accuracy_bootstrap_high: 0.8,
        pass: vec![PassAtK { k: 2, share: 0.75, share_error: 0.1, share_low: 0.4, share_high: 1.0 }],
        completion_tokens: 32.5,
        completion_tokens_error: 4.25,
        lengths: Lengths { all: length(4, 32.5), correct: Some(length(2, 20.0)), wrong: None },
        truncated_share: 0.25,
        no_answer_share: 0.0,
        verdicts: BTreeMap::from([(Verdict::Correct, 3), (Verdict::TooLarge, 1)]),
        budgets: vec![BudgetSummary {
            budget_tokens: 50,
            accuracy: 0.5,
            accuracy_error: 0.1,
            accuracy_cut: Some(0.55),
            accuracy_cut_error: Some(0.1),
        }],
        first_correct: Some(FirstCorrectSummary {
            tokens: Some(length(2, 11.0)),
            overthought_share: Some(0.45),
            lost_share: 0.25,
        }),
        levels: vec![LevelSummary { level: "5".to_owned(), problems: 2, accuracy: 0.5, completion_tokens: 32.5 }],
        decline: None,
    }
}

fn records() -> Vec<EvaluationRecord> {
    let mut truncated = record("b", 1, Verdict::Correct, 100);
    truncated.stop = StopReason::Limit;
    let mut overthought = record("a", 1, Verdict::Correct, 40);
    overthought.prefixes =
        Some(PrefixVerdicts { budgets: Vec::new(), first_correct_tokens: Some(12), first_correct_bytes: None });
    vec![record("b", 0, Verdict::TooLarge, 30), truncated, overthought, record("a", 0, Verdict::Correct, 20)]
}

#[test]
fn every_number_and_setting_of_an_evaluation_is_on_its_page() {
    let page = evaluation_page(&header(), &summary(), &records());
    for part in [
        "<h1>models/tiny on mine</h1>",
        "2 problems, mean@2, sampled at temperature 0.6 and nucleus mass 0.95, at most 100 tokens.",
        "<dt>Accuracy</dt><dd>62.5 % <span class=\"pm\">± 12.5</span></dd>",
        "<dt>95 % interval (Wilson)</dt><dd>20.0 to 90.0 %</dd>",
        "<dt>95 % interval (bootstrap)</dt><dd>30.0 to 80.0 %</dd>",
        "<dt>Verdicts</dt><dd>3 correct, 1 too large</dd>",
        "<dt>Tokens to the first correct answer</dt><dd>11.0</dd>",
        "<dt>Overthought</dt><dd>45.0 % of the tokens of correct completions</dd>",
        "correct within the budget, token budget 50: 50.0 ± 10.0",
        "text cut at the budget, as it stands, token budget 50: 55.0 ± 10.0",
        "<th scope=\"row\">pass@2</th><td>75.0 % <span class=\"pm\">± 10.0</span></td><td>40.0 to 100.0 %</td>",
        "<th scope=\"row\">wrong</th><td>0</td><td>–</td>",
        "<th scope=\"row\"><bdi>5</bdi></th><td>2</td>",
        "<li><bdi>row 3</bdi>: <bdi>field is missing</bdi></li>",
        "<dt>Instruction</dt><dd><bdi>Think.</bdi></dd>",
        "<pre>What is a?\nThink.</pre>",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
}

#[test]
fn problems_keep_the_order_of_the_records_and_completions_that_of_their_samples() {
    let page = evaluation_page(&header(), &summary(), &records());
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is not in\n{page}"));
    assert!(place("What is b?") < place("What is a?"));
    let a = &page[place("<pre class=\"question\">What is a?")..];
    assert!(a.find("It is 0.").unwrap() < a.find("It is 1.").unwrap());
    assert_eq!(page.matches("<details class=\"folded\">").count(), 2);
    for part in [
        "0 of 2 correct",
        "2 of 2 correct",
        "data-outcome=\"too_large\" data-tokens=\"30\"",
        "✗ truncated</span> · its text reads correct · 100 tokens",
        "✓ correct</span> · 40 tokens · answer <bdi>7</bdi> · <bdi>numbers are equal</bdi> · correct from token 12 on the way",
        "value=\"truncated\" checked> truncated</label>",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
}

#[test]
fn nothing_of_a_record_becomes_markup_or_leaves_the_page() {
    let mut hostile = record(HOSTILE, 0, Verdict::Incorrect, 9);
    for text in [&mut hostile.question, &mut hostile.gold, &mut hostile.completion, &mut hostile.reason] {
        *text = HOSTILE.to_owned();
    }
    (hostile.level, hostile.answer) = (Some(HOSTILE.to_owned()), Some(HOSTILE.to_owned()));
    let mut header = header();
    for text in [&mut header.model, &mut header.benchmark, &mut header.system, &mut header.instruction] {
        *text = HOSTILE.to_owned();
    }
    header.prompt_example = Some(HOSTILE.to_owned());
    header.problems_left_out[0] = ProblemLeftOut { problem: HOSTILE.to_owned(), reason: HOSTILE.to_owned() };
    let mut summary = summary();
    summary.levels[0].level = HOSTILE.to_owned();
    let page = evaluation_page(&header, &summary, &[hostile]);
    assert_eq!(page.matches("<script>").count(), 1, "the page's own");
    assert!(!page.contains("alert(1)</script>") && !page.contains('\u{202e}') && !page.contains('\u{1b}'));
    assert!(page.matches("&lt;script&gt;alert(1)").count() >= 12);
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn a_page_of_many_long_completions_is_cut_and_says_so() {
    let mut long = record("a", 0, Verdict::Correct, 90);
    long.completion = "word ".repeat(10_000);
    let page = evaluation_page(&header(), &summary(), &[long]);
    assert!(page.contains("30000 characters left out"), "50,000 characters less 20,000 that are shown");
}

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("evaluations").join(name);
    if path.exists() {
        fs::remove_dir_all(&path).expect("the directory of an earlier run is removed");
    }
    path
}

#[test]
fn a_directory_gives_back_what_was_written_to_it() {
    let directory = EvaluationDirectory::create(&directory("whole"), &header()).expect("a directory");
    let [first, others @ ..] = &records()[..] else { panic!("there are records") };
    directory.write_records(std::slice::from_ref(first)).expect("records");
    let mut log = directory.log().expect("a log");
    for record in others {
        log.append(record).expect("a record");
    }
    let opened = EvaluationDirectory::open(directory.root()).expect("the directory");
    let refused = opened.summary().expect_err("there is no summary").to_string();
    assert!(refused.ends_with("holds no summary.json, so the evaluation did not end; run it to its end first"));
    directory.write_summary(&summary()).expect("a summary");
    assert_eq!(opened.header().expect("a header"), header());
    assert_eq!(opened.summary().expect("a summary"), summary());
    assert_eq!(opened.records().expect("records"), records());

    // An evaluation that begins anew leaves nothing of the one before.
    let anew = EvaluationDirectory::create(directory.root(), &header()).expect("a directory");
    assert!(anew.records().expect("records").is_empty() && anew.summary().is_err());
}

#[test]
fn directories_of_other_versions_are_refused_with_the_version_that_wrote_them() {
    let root = directory("older");
    write::create_directory(&root).expect("a directory");
    let refused = |json: &str| {
        write::replace(&root.join("evaluation.json"), json.as_bytes()).expect("a file");
        EvaluationDirectory::open(&root).expect_err("another schema").to_string()
    };
    let with_schema = refused(r#"{"schema": 1, "brevity_version": "0.0.9", "model": "x"}"#);
    let expected =
        "was written with schema 1 by version 0.0.9 of brevity, and this version reads schema 2; use the version";
    assert!(with_schema.contains(expected), "{with_schema}");
    let without = refused(r#"{"brevity_version": "0.1.0", "model": "x"}"#);
    assert!(without.contains("was written with no schema number"), "{without}");
    let missing = EvaluationDirectory::open(&root.join("nowhere")).expect_err("nothing there").to_string();
    assert!(missing.ends_with("holds no evaluation.json; give a directory that `brevity eval` made"), "{missing}");
}
