//! A directory with a tiny model that writes nonsense, problems for it, and the program to run on them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use record::write;
use rl::{Problem, task::RING};
use tempfile::TempDir;

/// A scratch directory that the program runs in.
pub(crate) struct Scratch {
    directory: TempDir,
}

/// What the program left behind.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Scratch {
    /// `model/`, `train.jsonl`, `held-out.jsonl` and `config.toml`.
    ///
    /// The model is the network of crates/model/tests/data/qwen3 (67 tokens, 128 positions) with the 36 tokens of the
    /// ring task; tokens beyond them decode to nothing.
    pub(crate) fn new() -> Self {
        let scratch = Self { directory: tempfile::tempdir().expect("a scratch directory") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/data/qwen3");
        for file in ["config.json", "model.safetensors"] {
            scratch.write(&format!("model/{file}"), &fs::read(source.join(file)).expect("the model's file"));
        }
        scratch.write("model/tokenizer.json", RING.tokenizer_json().as_bytes());
        scratch.write("model/tokenizer_config.json", RING.tokenizer_config_json().as_bytes());
        let end = format!("{{\"eos_token_id\": {}}}", RING.end_token_id());
        scratch.write("model/generation_config.json", end.as_bytes());
        scratch.write("train.jsonl", &rows(&RING.problems(8, 0)));
        scratch.write("held-out.jsonl", &rows(&RING.held_out_problems(4, 0)));
        scratch.write("config.toml", CONFIG.as_bytes());
        scratch
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        write::create_directory(path.parent().expect("a file has a directory")).expect("a directory");
        write::replace(&path, bytes).expect("a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes another `value` of `field` into the header of the run in `run`.
    pub(crate) fn change_header(&self, run: &str, field: &str, value: &str) {
        let name = format!("{run}/run.json");
        let mut header: serde_json::Value = serde_json::from_str(&self.read(&name)).expect("a header");
        assert!(header[field].is_string(), "{header}");
        header[field] = value.into();
        self.write(&name, header.to_string().as_bytes());
    }

    /// `brevity` with these arguments, in the scratch directory, without a network.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_brevity"));
        command.args(arguments).current_dir(self.directory.path());
        for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        for variable in ["HF_ENDPOINT", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH"] {
            command.env_remove(variable);
        }
        command.env("HF_HUB_OFFLINE", "1").env("HF_HOME", self.path("hub")).env_remove("NO_COLOR");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().expect("the program starts"))
    }

    /// As [`Self::run`], of a command that must succeed.
    #[track_caller]
    pub(crate) fn succeed(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }

    /// Runs a command that must fail with one line of error, and checks what it says and advises.
    #[track_caller]
    pub(crate) fn refuse(&self, arguments: &[&str], code: i32, said: &[&str]) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        for part in said {
            assert!(ran.stderr.contains(part), "{arguments:?}\n{part}\nis not in\n{}", ran.stderr);
        }
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

fn rows(problems: &[Problem]) -> Vec<u8> {
    let row = |problem: &Problem| {
        let Problem { id, question, gold, level } = problem;
        serde_json::json!({"id": id.as_str(), "question": question, "answer": gold, "level": level})
    };
    write::json_lines(&problems.iter().map(row).collect::<Vec<_>>())
}

/// Two steps of two problems with 16 completions, of which the last number is now and then the answer.
const CONFIG: &str = r#"
threads = 2

[model]
path = "model"

[problems]
path = "train.jsonl"
fields = { id = "id", level = "level" }

[prompt]
template = "plain"
instruction = ""

[rollout]
prompts_per_step = 2
group_size = 16
completion_tokens_max = 16

[train]
steps = 2

[train.shaping.top-lambda]
lambda = 0.5

[train.optimizer]
learning_rate = 1e-3

[evaluation]
every_steps = 1
path = "held-out.jsonl"
fields = { id = "id", level = "level" }
"#;
