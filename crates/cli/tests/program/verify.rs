//! `brevity verify` on files and on standard input.

use std::{io::Write, process::Stdio};

use crate::scratch::{Ran, Scratch};

/// Two rows with a completion each, and one with three of which one was cut off.
const ROWS: &str = r#"{"id": "a", "gold": "3 + 4 = 7\n#### 7", "completion": "It is \\boxed{7}.", "stop": "stop"}

{"id": 2, "gold": 12, "completion": "I do not know.", "stop": "stop"}
{"id": "c", "gold": "0.5", "completion": ["\\boxed{\\frac{1}{2}}", "\\boxed{2}", "\\boxed{0.50}"], "stop": ["stop", "stop", "length"]}
"#;

#[test]
fn every_completion_gets_a_line_and_all_are_counted() {
    let scratch = Scratch::new();
    scratch.write("rows.jsonl", ROWS.as_bytes());
    let verify = ["verify", "rows.jsonl", "--field-id", "id", "--field-stop", "stop", "--out", "made/verdicts.jsonl"];
    let ran = scratch.succeed(&verify);
    // Shares of correct completions 1, 0 and 1/3: mean 4/9; the Wilson interval of 4/9 in 3 trials is 0.102 to 0.849.
    for part in [
        "correct              3  60.0 %\n",
        "incorrect            1  20.0 %\n",
        "no_answer            1  20.0 %\n",
        "accuracy     44.4 % (95 % interval 10.2 to 84.9 %)\n",
        "rows         3\n",
        "completions  5\n",
        "truncated    1\n",
        "bad rows     0\n",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    let verdicts: Vec<serde_json::Value> = scratch
        .read("made/verdicts.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect();
    let told = |field: &str| verdicts.iter().map(|verdict| verdict[field].to_string()).collect::<Vec<_>>();
    assert_eq!(told("line"), ["1", "3", "4", "4", "4"]);
    assert_eq!(told("id"), ["\"a\"", "\"2\"", "\"c\"", "\"c\"", "\"c\""]);
    assert_eq!(told("sample"), ["0", "0", "0", "1", "2"]);
    assert_eq!(told("truncated"), ["false", "false", "false", "false", "true"]);
    assert_eq!(verdicts[0]["answer"], "7");
}

#[test]
fn standard_input_is_read_and_verdicts_go_to_standard_output() {
    let scratch = Scratch::new();
    let command = scratch.command(&["verify", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = command.expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(ROWS.as_bytes()).expect("rows are written");
    let ran = Ran::from(child.wait_with_output().expect("output"));
    assert_eq!((ran.code, ran.stdout.lines().count()), (Some(0), 5), "{}", ran.stdout);
    assert!(ran.stdout.starts_with("{\"line\":1,\"id\":null,\"sample\":0,\"gold\":\"7\",\"verdict\":\"correct\","));
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let scratch = Scratch::new();
    let rows = (0..3000).map(|row| {
        let completion = format!("{}so \\boxed{{{}}}", "thinking ".repeat(row % 7 * 40), row % 11);
        serde_json::json!({"gold": row % 13, "completion": completion})
    });
    scratch.write("rows.jsonl", &record::write::json_lines(&rows.collect::<Vec<_>>()));
    let verify = |threads| scratch.succeed(&["--quiet", "verify", "rows.jsonl", "--threads", threads]).stdout;
    let one = verify("1");
    assert_eq!(one.lines().count(), 3000);
    assert!(one == verify("2") && one == verify("5"), "the verdicts depend on the threads");
}

#[test]
fn bad_rows_are_named_and_end_the_command_or_are_passed_over() {
    let scratch = Scratch::new();
    let rows = format!("{ROWS}{{\"gold\": 1, \"text\": \"1\"}}\nnot JSON\n{{\"gold\": 2, \"completion\": \"2\"}}\n");
    scratch.write("rows.jsonl", rows.as_bytes());
    let to_file = ["verify", "rows.jsonl", "--out", "verdicts.jsonl"];
    let said = [
        "error: rows.jsonl, line 5: field `completion` is missing (fields found: `gold`, `text`)\n",
        "hint: pass --field-completion with the field that holds it, or mend the row",
    ];
    scratch.refuse(&to_file, 1, &said);
    assert!(!scratch.path("verdicts.jsonl").exists() && !scratch.path("verdicts.jsonl.partial").exists());

    let ran = scratch.succeed(&[&to_file[..], &["--bad-rows", "skip"]].concat());
    for part in
        ["warning: passed over: rows.jsonl, line 5: field `completion`", "rows.jsonl, line 6: is no JSON object"]
    {
        assert!(ran.stderr.contains(part), "{part} is not in\n{}", ran.stderr);
    }
    assert!(ran.stdout.contains("rows         4\n") && ran.stdout.contains("bad rows     2\n"), "{}", ran.stdout);
    assert_eq!(scratch.read("verdicts.jsonl").lines().count(), 6);
}

#[test]
fn what_holds_no_rows_is_refused() {
    let scratch = Scratch::new();
    scratch.write("empty.jsonl", b"\n");
    scratch.refuse(
        &["verify", "empty.jsonl"],
        1,
        &["empty.jsonl holds no row to judge (0 bad rows)", "hint: give one"],
    );
    scratch.refuse(&["verify", "nowhere.jsonl"], 1, &["cannot read nowhere.jsonl", "No such file"]);
    scratch.refuse(&["verify", "model"], 1, &["model is a directory", "hint: give a file"]);
}
