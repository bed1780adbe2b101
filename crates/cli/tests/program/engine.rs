//! Evaluations of a server that behaves, that behaves badly, and that is gone; and evaluations that were interrupted.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    scratch::{Ran, Scratch},
    server::{Play, Received, Server},
};

const RECORDS: &str = "out/records.jsonl";

/// Six sums, `p0` to `p5`.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    let row =
        |number: usize| json!({"id": format!("p{number}"), "question": format!("{number} + 1"), "answer": number + 1});
    scratch.write("sums.jsonl", &record::write::json_lines(&(0..6).map(row).collect::<Vec<_>>()));
    scratch
}

/// The number of the sum that is asked for.
fn number(received: &Received) -> u32 {
    let question = received.question();
    question.split(" + ").next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{question}"))
}

/// Right on all sums but `p2` and `p5`, in as many tokens as the sum.
fn answer(received: &Received) -> Play {
    let number = number(received);
    let sum = if number % 3 == 2 { 0 } else { number + 1 };
    Play::completion(received, &format!("so \\boxed{{{sum}}}"), number + 1)
}

fn eval<'a>(address: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let line = ["eval", "--engine", address, "--model", "served", "--benchmark", "sums.jsonl", "--field-id", "id"];
    let rest = ["--instruction", "", "--max-tokens", "32", "--out", "out", "--retry-wait", "0.01"];
    [&line[..], &rest, more].concat()
}

fn records(scratch: &Scratch) -> Vec<Value> {
    scratch.read(RECORDS).lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

fn fields(records: &[Value], field: &str) -> Vec<String> {
    records.iter().map(|record| record[field].as_str().map_or(record[field].to_string(), str::to_owned)).collect()
}

/// Checks that a command fails, and what it says, whatever it printed before.
#[track_caller]
fn assert_fails(ran: &Ran, said: &[&str]) {
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    for part in said {
        assert!(ran.stderr.contains(part), "{part}\nis not in\n{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn a_server_is_measured_by_its_chat_api() {
    let (scratch, server) = (scratch(), Server::start(answer));
    let address = server.address();
    let more = ["--system", "Be short.", "--temperature", "0.3", "--seed", "7", "--body", "min_p=0", "--top-k", "5"];
    let ran = scratch.succeed(&eval(&address, &more));
    for part in
        [format!("engine       {address}\n").as_str(), "api          chat\n", "body         min_p=0\n", "66.7 %"]
    {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    let records = records(&scratch);
    assert_eq!(fields(&records, "problem"), ["p0", "p1", "p2", "p3", "p4", "p5"]);
    assert_eq!(fields(&records, "completion_tokens"), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(fields(&records, "tokens_from"), ["server"; 6]);
    let verdicts = ["correct", "correct", "incorrect", "correct", "correct", "incorrect"];
    assert_eq!(fields(&records, "verdict"), verdicts);

    let received = server.received();
    assert_eq!(received.len(), 6);
    let first = received.iter().find(|received| number(received) == 0).expect("p0 is asked for");
    assert_eq!(first.line, "POST /v1/chat/completions HTTP/1.1");
    let mut body = first.body.clone();
    // Another one for each completion, of 31 bits.
    let seeds: std::collections::BTreeSet<u64> =
        received.iter().map(|received| received.body["seed"].as_u64().expect("a seed")).collect();
    assert!(seeds.len() == 6 && seeds.iter().all(|&seed| seed < 1 << 31), "{seeds:?}");
    body["seed"] = Value::Null;
    let messages = [json!({"role": "system", "content": "Be short."}), json!({"role": "user", "content": "0 + 1"})];
    assert_eq!(
        body,
        json!({
            "model": "served", "messages": messages, "temperature": 0.3, "top_p": 0.95, "max_tokens": 32,
            "seed": null, "n": 1, "stream": false, "min_p": 0, "top_k": 5,
        })
    );
    assert!(first.headers.iter().all(|header| !header.starts_with("authorization")), "{:?}", first.headers);
    let header: Value = serde_json::from_str(&scratch.read("out/evaluation.json")).expect("JSON");
    assert_eq!(header["policy"]["server"]["body"], json!({"min_p": 0, "top_k": 5}));
}

#[test]
fn the_prompt_is_sent_whole_by_the_completions_api_and_the_key_goes_along() {
    let (scratch, server) = (scratch(), Server::start(answer));
    let address = server.address();
    let more = ["--api", "completions", "--template", "plain", "--api-key-env", "TEST_KEY", "--samples", "2"];
    let mut command = scratch.command(&eval(&address, &more));
    let ran = Ran::from(command.env("TEST_KEY", "s3cret").output().expect("the program starts"));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let received = server.received();
    assert_eq!((received.len(), received[0].line.as_str()), (12, "POST /v1/completions HTTP/1.1"));
    assert!(received.iter().all(|received| received.headers.contains(&"authorization: bearer s3cret".to_owned())));
    assert!(received.iter().all(|received| received.body["prompt"] == received.question().as_str()));
    let written = scratch.read("out/evaluation.json") + &scratch.read(RECORDS) + &ran.stdout + &ran.stderr;
    assert!(!written.contains("s3cret"), "the key is in what was written");

    let said = ["cannot read the API key from the variable TEST_KEY", "hint: set it"];
    scratch.refuse(&eval(&address, &[&more[..], &["--overwrite"]].concat()), 1, &said);
}

#[test]
fn failures_that_pass_are_asked_for_again_and_counted() {
    let scratch = scratch();
    let server = Server::start(|received| match (number(received), received.repeats) {
        (0, 0) => Play::Answer(429, vec!["retry-after: 0.05".to_owned()], Vec::new()),
        (1, 0..3) => Play::status(503),
        (2, 0) => Play::CutOff(500, b"{\"choices\": [".to_vec()),
        (3, 0) => Play::HangUp,
        (4, 0) => Play::Silence,
        _ => answer(received),
    });
    let address = server.address();
    let ran = scratch.succeed(&eval(&address, &["--timeout", "1.5", "--retries", "3"]));
    let said = "warning: 7 requests made again (broken off: 2, time-out: 1, status 429: 1, status 503: 3)\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    assert_eq!(server.asked().values().copied().collect::<Vec<_>>(), [2, 4, 2, 2, 2, 1]);
    assert_eq!(fields(&records(&scratch), "verdict").len(), 6);
}

#[test]
fn nonsense_is_named_with_its_problem_and_asked_for_again_by_a_resumed_evaluation() {
    let scratch = scratch();
    let mended = Arc::new(AtomicBool::new(false));
    let is_mended = Arc::clone(&mended);
    let server = Server::start(move |received| {
        if is_mended.load(Ordering::Relaxed) {
            return answer(received);
        }
        match number(received) {
            0 => Play::Answer(200, Vec::new(), b"<html><body>It works!</body></html>".to_vec()),
            1 => Play::json(&json!({"choices": [], "usage": {"completion_tokens": 1}})),
            2 => Play::json(&json!({"choices": [{"message": {"content": "1"}, "finish_reason": "stop"}]})),
            3 => Play::CutOff(100 << 20, Vec::new()),
            4 => Play::status(400),
            _ => answer(received),
        }
    });
    let address = server.address();
    let ran = scratch.run(&eval(&address, &["--samples", "2"]));
    assert_fails(
        &ran,
        &[
            "warning: problem p0, completion 1: the answer is HTML, no JSON: <html><body>It works!</body></html>\n",
            "warning: problem p1, completion 0: the answer has 0 `choices` where 1 were asked for\n",
            "warning: problem p2, completion 0: the answer has no `usage.completion_tokens`; pass --tokenizer",
            "warning: problem p3, completion 0: the answer has more than 64 MiB\n",
            "warning: problem p4, completion 1: the server answers 400",
            "error: 10 of 12 completions are missing\n",
            "hint: run the same command with --resume",
        ],
    );
    assert_eq!(fields(&records(&scratch), "problem"), ["p5", "p5"]);
    assert!(!scratch.path("out/summary.json").exists());
    assert_eq!(server.received().len(), 12);

    mended.store(true, Ordering::Relaxed);
    let ran = scratch.succeed(&eval(&address, &["--samples", "2", "--resume"]));
    assert!(ran.stderr.contains("going on: 2 of 12 completions are there\n"), "{}", ran.stderr);
    assert_eq!(server.received().len(), 22, "what was there is not asked for again");
    let resumed = scratch.read(RECORDS);
    scratch.succeed(&eval(&address, &["--samples", "2", "--overwrite"]));
    assert_eq!(scratch.read(RECORDS), resumed);

    let files = || ["out/evaluation.json", "out/summary.json", RECORDS].map(|name| scratch.read(name));
    let before = files();
    let nobody = eval("http://127.0.0.1:1/v1", &["--samples", "2", "--overwrite", "--retries", "0"]);
    assert_fails(&scratch.run(&nobody), &["error: cannot reach "]);
    assert!(files() == before, "what is there went before there was anything in its place");
}

#[test]
fn problems_whose_requests_fail_can_be_left_out_by_name() {
    let scratch = scratch();
    let server = Server::start(|received| match number(received) {
        1 | 4 => Play::status(400),
        _ => answer(received),
    });
    let address = server.address();
    let ran = scratch.succeed(&eval(&address, &["--failed", "leave-out"]));
    // p0 and p3 are right, p2 and p5 wrong.
    for part in ["50.0 %", "4 (2 left out)"] {
        assert!(ran.stdout.contains(part), "{part} is not in\n{}", ran.stdout);
    }
    assert!(ran.stderr.contains("warning: problem p1, completion 0: the server answers 400"), "{}", ran.stderr);
    let header: Value = serde_json::from_str(&scratch.read("out/evaluation.json")).expect("JSON");
    assert_eq!((&header["problems"], &header["problems_left_out"][1]["problem"]), (&json!(4), &json!("p4")));
    let again = scratch.succeed(&eval(&address, &["--failed", "leave-out", "--resume"]));
    assert!(again.stderr.contains("the evaluation is complete"), "{}", again.stderr);
}

#[test]
fn too_many_failures_end_the_evaluation() {
    let (scratch, server) = (scratch(), Server::start(|_| Play::status(400)));
    let address = server.address();
    let ran = scratch.run(&eval(&address, &["--samples", "50", "--failures-max", "3", "--concurrency", "2"]));
    assert_fails(&ran, &["error: 300 of 300 completions are missing"]);
    assert!(server.received().len() < 20, "{} requests", server.received().len());
}

#[test]
fn what_would_fail_every_request_ends_the_evaluation_at_once() {
    for (play, said) in [
        (Play::status(401), ["the server answers 401", "hint: pass --api-key-env"]),
        (Play::status(404), ["the server answers 404", "hint: check the address"]),
        (
            Play::Answer(308, vec!["location: http://127.0.0.1:1/v2".to_owned()], Vec::new()),
            ["leads to http://127.0.0.1:1/v2", "hint: give that address with --engine"],
        ),
    ] {
        let (scratch, server) = (scratch(), Server::start(move |_| play.clone()));
        let ran = scratch.run(&eval(&server.address(), &["--concurrency", "1"]));
        assert_fails(&ran, &said);
        assert_eq!(server.received().len(), 1);
    }
    let scratch = scratch();
    // Nothing listens on port 1.
    let ran = scratch.run(&eval("http://127.0.0.1:1/v1", &["--retries", "2"]));
    assert_fails(&ran, &["cannot reach the server", "(asked 3 times)", "hint: check that it runs"]);
}

#[test]
fn tokens_that_the_server_does_not_count_are_counted_by_the_tokenizer() {
    let scratch = scratch();
    let server = Server::start(|received| {
        let text = format!("a {} A {}", number(received) + 1, number(received) + 1);
        let choices: Vec<Value> = (0..received.body["n"].as_u64().unwrap_or(1))
            .rev()
            .map(|index| json!({"index": index, "text": text, "finish_reason": if index == 0 { "stop" } else { "length" }}))
            .collect();
        let usage = if choices.len() > 1 { json!({"completion_tokens": 20}) } else { Value::Null };
        Play::json(&json!({"choices": choices, "usage": usage}))
    });
    let address = server.address();
    let plain = ["--api", "completions", "--template", "plain", "--extraction", "marker:A", "--choices", "2"];
    let said = ["--choices is 2, and a server counts", "hint: pass --tokenizer"];
    scratch.refuse(&eval(&address, &[&plain[..], &["--samples", "3"]].concat()), 1, &said);
    scratch.succeed(&eval(&address, &[&plain[..], &["--samples", "3", "--tokenizer", "model", "--resume"]].concat()));
    // Three completions of a problem are two requests; each has four words, and the end token where it stopped.
    assert_eq!(server.received().len(), 12);
    let records = records(&scratch);
    assert_eq!(fields(&records[..3], "completion_tokens"), ["5", "4", "5"]);
    assert_eq!(fields(&records, "tokens_from"), ["tokenizer"; 18]);
    // The answer is there with the fourth token, and nothing is written after it.
    let first: Vec<&Value> = records[..2].iter().map(|record| &record["prefixes"]["first_correct_tokens"]).collect();
    assert_eq!(first, [5, 4]);
}

#[test]
fn a_completion_longer_than_its_limit_is_no_answer() {
    let (scratch, server) = (scratch(), Server::start(|received| Play::completion(received, "1", 33)));
    let ran = scratch.run(&eval(&server.address(), &["--limit", "1"]));
    assert_fails(&ran, &["problem p0, completion 0: the answer has 33 tokens where 32 are allowed"]);
}

#[test]
fn a_text_that_no_so_many_tokens_have_is_no_answer_whatever_the_server_counts() {
    let text = |received: &Received| "1".repeat((32 << 10) + number(received) as usize);
    let server = Server::start(move |received| Play::completion(received, &text(received), 1));
    let scratch = scratch();
    let ran = scratch.run(&eval(&server.address(), &["--limit", "2"]));
    let said =
        "has a text of 32769 bytes, and `max_tokens` = 32 allows 32768; check that the server heeds `max_tokens`";
    assert_fails(&ran, &["warning: problem p1, completion 0: the answer of http://127.0.0.1:", said]);
    assert_eq!(fields(&records(&scratch), "problem"), ["p0"]);
}

#[test]
fn options_of_a_server_that_do_not_fit_together_are_refused() {
    let scratch = scratch();
    let address = "http://127.0.0.1:1/v1";
    for (more, code, said) in [
        (&["--template", "plain"][..], 1, "hint: pass --api completions with --template plain"),
        (&["--api", "completions"], 1, "hint: pass --tokenizer with the model's directory"),
        (&["--api", "completions", "--template", "plain", "--system", "x"], 1, "--system needs a chat template"),
        (&["--threads", "2"], 1, "hint: leave it out, or leave out --engine"),
        (&["--body", "temperature=1"], 2, "`temperature` is set by an option of its own"),
        (&["--resume", "--overwrite"], 2, "cannot be used with"),
    ] {
        scratch.refuse(&eval(address, more), code, &[said]);
    }
    let own = ["eval", "--model", "model", "--benchmark", "sums.jsonl", "--api", "chat"];
    scratch.refuse(&own, 2, &["--engine <URL>"]);
    scratch.refuse(&[&own[..], &["--sequences", "8"]].concat(), 2, &["--engine <URL>"]);
}

const OWN: [&str; 15] = [
    "eval",
    "--model",
    "model",
    "--benchmark",
    "held-out.jsonl",
    "--field-id",
    "id",
    "--template",
    "plain",
    "--instruction",
    "",
    "--extraction",
    "marker:A",
    "--samples",
    "300",
];

/// Starts an evaluation that takes a while, and waits for its first completions.
fn start_own(scratch: &Scratch) -> std::process::Child {
    let command = [&OWN[..], &["--out", "out", "--sequences", "3"]].concat();
    let mut child = scratch.command(&command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a start");
    while std::fs::metadata(scratch.path(RECORDS)).map_or(0, |file| file.len()) < 2000 {
        assert_eq!(child.try_wait().expect("a status"), None, "the evaluation ended too early");
    }
    child
}

#[test]
fn a_killed_evaluation_goes_on_to_the_bytes_of_one_that_was_not() {
    let scratch = Scratch::new();
    let mut child = start_own(&scratch);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    let torn = scratch.read(RECORDS) + "{\"problem\":\"ring";
    let there = torn.lines().count() - 1;
    assert!(there < 1200, "all completions are there");
    scratch.write(RECORDS, torn.as_bytes());

    // The number of sequences and threads is free; settings are not.
    let resume = ["--out", "out", "--resume"];
    let other = [&OWN[..], &resume, &["--temperature", "0.9"]].concat();
    let said = ["the evaluation in out has `temperature` = 0.6, and this one 0.9\n", "hint: give the same settings"];
    scratch.refuse(&other, 1, &said);
    let ran = scratch.succeed(&[&OWN[..], &resume, &["--threads", "1"]].concat());
    assert!(ran.stderr.contains("going on: "), "{}", ran.stderr);
    scratch.succeed(&[&OWN[..], &["--out", "whole", "--quiet"]].concat());
    for file in ["records.jsonl", "summary.json"] {
        assert!(scratch.read(&format!("out/{file}")) == scratch.read(&format!("whole/{file}")), "{file} differs");
    }
    assert_eq!(scratch.read(RECORDS).lines().count(), 1200);

    let again = scratch.succeed(&[&OWN[..], &resume].concat());
    assert!(again.stderr.contains("the evaluation is complete; nothing is left to be done\n"), "{}", again.stderr);
    assert!(again.stdout.contains("accuracy"), "{}", again.stdout);
}

#[cfg(unix)]
#[test]
fn an_interrupted_evaluation_says_how_to_go_on() {
    let scratch = Scratch::new();
    let child = start_own(&scratch);
    let signalled = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(signalled.expect("kill runs").success());
    let ran = Ran::from(child.wait_with_output().expect("an end"));
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    let command = "brevity eval --model model --benchmark held-out.jsonl --field-id id --template plain --instruction '' \
                   --extraction marker:A --samples 300 --out out --sequences 3 --resume\n";
    assert!(ran.stdout.ends_with(command), "{}", ran.stdout);
    assert!(ran.stderr.contains("stopped; every completion that has ended is kept, go on with\n"), "{}", ran.stderr);
}

#[test]
fn an_evaluation_does_not_go_on_with_other_problems() {
    let (scratch, server) = (scratch(), Server::start(answer));
    let address = server.address();
    scratch.succeed(&eval(&address, &[]));
    std::fs::remove_file(scratch.path("out/summary.json")).expect("a summary");
    let sums = scratch.read("sums.jsonl").replace("\"answer\":4", "\"answer\":5");
    scratch.write("sums.jsonl", sums.as_bytes());
    let ran = scratch.run(&eval(&address, &["--resume"]));
    assert_fails(
        &ran,
        &["out/records.jsonl, line 4: completion 0 of problem p3 is not of the benchmark as it reads now"],
    );
    scratch.write("files/x", b"");
    let elsewhere = [&eval(&address, &["--resume"])[..], &["--out", "files"]].concat();
    scratch.refuse(&elsewhere, 2, &["--out"]);
    let own = [&OWN[..], &["--out", "files", "--resume"]].concat();
    scratch.refuse(&own, 1, &["files holds files and no evaluation", "hint: choose another directory"]);
}
