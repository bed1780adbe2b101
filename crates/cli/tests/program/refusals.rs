//! What the program says to wrong input: an exit code, the cause, and what to do. Never a panic.

use std::{
    ffi::OsStr,
    os::unix::{ffi::OsStrExt, fs::symlink},
    process::Command,
};

use crate::scratch::Scratch;

#[test]
fn a_wrong_command_line_exits_with_2() {
    let scratch = Scratch::new();
    scratch.refuse(&["trian"], 2, &["unrecognized subcommand 'trian'", "'train'"]);
    scratch.refuse(&["eval", "--model", "model", "--benchmark", "gsm8k", "--top-p", "2"], 2, &["above 0 and up to 1"]);
    scratch.refuse(&["sample", "--model", "model"], 2, &["<TEXT>"]);
}

#[test]
fn arguments_that_are_no_text_are_paths_or_refused() {
    let scratch = Scratch::new();
    let name = OsStr::from_bytes(b"caf\xe9");
    for (command, code, said) in [
        (vec![OsStr::new("report"), name], 1, "error: there is no directory `caf\u{fffd}`\n"),
        (vec![name], 2, "error: unrecognized subcommand 'caf\u{fffd}'\n"),
        (
            vec![OsStr::new("--color"), name, OsStr::new("devices")],
            2,
            "error: invalid value 'caf\u{fffd}' for '--color",
        ),
    ] {
        let ran = scratch.command(&[]).args(&command).output().expect("the program starts");
        let stderr = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "{command:?}: {stderr}");
        assert!(stderr.contains(said), "{command:?}: {stderr}");
    }
}

#[test]
fn a_name_with_line_breaks_forges_no_line() {
    let scratch = Scratch::new();
    let name = "nowhere\nhint: run `a`; run b";
    scratch.refuse(&["report", name], 1, &["error: there is no directory `nowhere\\nhint: run `a`; run b`"]);
}

#[test]
fn a_wrong_config_names_line_or_setting() {
    let scratch = Scratch::new();
    scratch.refuse(
        &["train", "nowhere.toml"],
        1,
        &["error: cannot read the config nowhere.toml\n", "cause: No such file"],
    );
    scratch.refuse(&["train", "model"], 1, &["`model` is a directory, not a config\n", "hint: give a config file"]);
    scratch.write("bad.toml", b"seeds = 1\n");
    scratch.refuse(&["train", "bad.toml"], 1, &["bad.toml", "seeds", "seed"]);
    let set = |change| ["train", "config.toml", "--check", "--set", change];
    scratch.refuse(&set("train.steps"), 1, &["--set train.steps has no `=`\n", "hint: write --set section.key=value"]);
    scratch.refuse(&set("rollout.group_size=1"), 1, &["`rollout.group_size` is 1"]);
    scratch.refuse(&set("rollout.group=1"), 1, &["`rollout.group`", "unknown field `group`"]);
}

#[test]
fn a_device_that_is_not_there_is_refused_with_the_reason_before_anything_is_written() {
    let scratch = Scratch::new();
    // No machine has so many cards.
    let said = ["device cuda:99 is not usable: ", "or give --device cpu"];
    scratch.refuse(&["train", "config.toml", "--device", "cuda:99", "--out", "run"], 1, &said);
    assert!(!scratch.path("run").exists(), "a run that could not begin left a directory");
    scratch.refuse(&["sample", "--model", "model", "--plain", "--device", "cuda:99", "7"], 1, &said);
    let said = ["invalid value 'tpu' for '--device <DEVICE>'", "expected `auto`, `cpu` or `cuda:N`"];
    scratch.refuse(&["train", "config.toml", "--device", "tpu"], 2, &said);
    scratch.refuse(
        &["train", "config.toml", "--set", "device=tpu"],
        1,
        &["`tpu` is no device: expected `auto`, `cpu` or `cuda:N`"],
    );
}

#[test]
fn a_model_that_is_nowhere_says_what_to_do() {
    let scratch = Scratch::new();
    let sample = |model| ["sample", "--model", model, "7"];
    scratch.refuse(&sample("tiny"), 1, &["there is no directory `tiny`", "hint: check the spelling"]);
    scratch.refuse(&sample("config.toml"), 1, &["is a file, not a model directory", "hint: give the directory"]);
    let said = ["no directory `Qwen/Qwen3-0.6B`", "HF_HUB_OFFLINE", "hint: download it where there is a network"];
    scratch.refuse(&sample("Qwen/Qwen3-0.6B"), 1, &said);
    scratch.refuse(&["train", "config.toml", "--set", "model.path=a/b"], 1, &["no directory `a/b`"]);
    scratch.refuse(&sample("model"), 1, &["`model` has no chat template\n", "hint: pass --plain"]);
    scratch.refuse(&["sample", "--model", "model", "--plain", "hello"], 1, &["tokenizer.json", "hello"]);
}

#[test]
fn a_model_directory_without_a_tokenizer_is_refused_by_file() {
    let scratch = Scratch::new();
    let source =
        ["config.json", "model.safetensors"].map(|file| (file, std::fs::read(scratch.path("model").join(file))));
    for (file, bytes) in source {
        scratch.write(&format!("bare/{file}"), &bytes.unwrap());
    }
    let said = ["bare/tokenizer.json: there is no such file\n", "hint: download the model's tokenizer.json"];
    scratch.refuse(&["sample", "--model", "bare", "7"], 1, &said);
    scratch.refuse(&["train", "config.toml", "--set", "model.path=bare"], 1, &said);
}

#[test]
fn bad_problems_name_their_row() {
    let scratch = Scratch::new();
    scratch.write("no-answer.jsonl", b"{\"question\": \"7 :\", \"answer\": 7}\n{\"question\": \"8 :\"}\n");
    let eval = |file| ["eval", "--model", "model", "--template", "plain", "--instruction", "", "--benchmark", file];
    let row = "row 2: field `answer` is missing (fields found: `question`)\n";
    let said = [
        &format!("1 of 2 problems of no-answer.jsonl cannot be measured; {row}"),
        "hint: give the field that holds it with `--field-answer`",
    ];
    scratch.refuse(&[&eval("no-answer.jsonl")[..], &["--unusable", "refuse"]].concat(), 1, &said);
    let long = format!("{{\"question\": \"{}:\", \"answer\": 7}}\n", "7 ".repeat(200));
    scratch.write("long.jsonl", long.as_bytes());
    scratch.refuse(
        &eval("long.jsonl"),
        1,
        &[
            "error: no problem of long.jsonl can be measured; problem 1: its prompt has 201 tokens",
            "takes 128 positions",
        ],
    );
    let held_out = ["train", "config.toml", "--set", "evaluation.fields.answer='gold'"];
    scratch.refuse(&held_out, 1, &["held-out.jsonl, row 1: field `gold` is missing", "in `[evaluation.fields]`"]);
    scratch.refuse(&eval("nothing"), 1, &["neither a name nor a problem file\n", "hint: use one of `aime24`"]);
    let fields = [&eval("gsm8k")[..], &["--field-id", "id"]].concat();
    scratch.refuse(&fields, 1, &["hint: leave out the --field options"]);
    let plain = "prompt.prompt_tokens_max=5";
    scratch.refuse(&["train", "config.toml", "--set", plain], 1, &["its prompt has 10 tokens"]);
}

#[test]
fn a_run_that_does_not_fit_in_memory_says_what_to_lower() {
    let scratch = Scratch::new();
    let set = ["train", "config.toml", "--set", "model.memory_bytes_max=1000000"];
    scratch.refuse(&set, 1, &["the run needs about", "hint: lower"]);
    assert!(!scratch.path("runs").exists());
}

#[test]
fn there_is_nothing_to_go_on_with_where_no_run_is() {
    let scratch = Scratch::new();
    let said = ["there is no run in `model`\n", "hint: give the directory of a run"];
    scratch.refuse(&["train", "--resume", "model"], 1, &said);
    let nowhere = "there is neither a run nor a config at `nowhere`\n";
    scratch.refuse(&["train", "--resume", "nowhere"], 1, &[nowhere, "hint: give the directory of a run"]);
    scratch.refuse(&["train", "config.toml", "--resume"], 1, &["there is no run in `runs/top-lambda-seed0`\n"]);
    scratch.refuse(
        &["train", "--resume", "model", "--seed", "1"],
        1,
        &["hint: leave out --set, --seed, --device and --out"],
    );
    scratch.refuse(&["report", "model"], 1, &["there is no run.json in `model`", "hint: give a directory"]);
    scratch.refuse(&["report", "nowhere"], 1, &["there is no directory `nowhere`\n"]);
}

#[test]
fn what_is_no_gguf_file_is_not_imported() {
    let scratch = Scratch::new();
    scratch.refuse(&["import-gguf", "nowhere.gguf", "out"], 1, &["nowhere.gguf", "cause: No such file"]);
    scratch.refuse(&["import-gguf", "config.toml", "out"], 1, &["config.toml: "]);
    scratch.refuse(&["import-gguf", "config.toml", "model"], 1, &["model"]);
    assert!(!scratch.path("out").exists());
}

#[test]
fn color_is_used_when_asked_for() {
    let scratch = Scratch::new();
    scratch.refuse(&["report", "nowhere", "--color", "always"], 1, &["\u{1b}[1m\u{1b}[31merror:\u{1b}[0m there"]);
    let ran = scratch.run(&["report", "nowhere"]);
    assert!(!ran.stderr.contains('\u{1b}'), "{}", ran.stderr);
}

#[test]
fn no_command_waits_for_a_pipe_where_it_wants_a_file() {
    let scratch = Scratch::new();
    for name in ["pipe.gguf", "pipe.jsonl", "pipe.parquet", "pipe.toml"] {
        let made = Command::new("mkfifo").arg(scratch.path(name)).status().expect("mkfifo starts");
        assert!(made.success(), "{name}");
    }
    scratch.refuse(&["import-gguf", "pipe.gguf", "made"], 1, &["pipe.gguf: is no file"]);
    scratch.refuse(&["train", "pipe.toml"], 1, &["pipe.toml", "it is a pipe or a device"]);
    for name in ["pipe.jsonl", "pipe.parquet"] {
        let problems = format!("problems.path='{name}'");
        scratch.refuse(&["train", "config.toml", "--set", &problems], 1, &[name, "it is a pipe or a device"]);
    }
    std::fs::remove_file(scratch.path("model/model.safetensors")).expect("the weights are removed");
    symlink("../pipe.gguf", scratch.path("model/weights.safetensors")).expect("a link");
    let index = br#"{"weight_map": {"model.norm.weight": "weights.safetensors"}}"#;
    scratch.write("model/model.safetensors.index.json", index);
    scratch.refuse(&["sample", "--model", "model", "7"], 1, &["model/weights.safetensors: is no file"]);
}
