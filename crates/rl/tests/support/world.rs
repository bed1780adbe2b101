//! A complete tiny world for end-to-end tests: the embedded task's files on disk, a policy that knows some of it, and
//! runs with a clock that only counts.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use record::{FaultOutcome, FaultRecord, RunDirectory, RunHeader, RunLock, SCHEMA_VERSION, write};
use rl::{
    Problem, RlError,
    config::{RunConfig, parse_config},
    sft::{FineTuning, SftConfig},
    task::RING,
    trainer::{Ending, Provenance, Surroundings, Trainer},
};
use serde_json::json;
use tempfile::TempDir;

/// Files of the fine-tuned policy by name. An untrained one never answers right, and then no group carries a signal.
static POLICY: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let directory = TempDir::new().unwrap();
    let (start, demonstrations) = (directory.path().join("start"), directory.path().join("demonstrations.jsonl"));
    RING.write_untrained(&start, 1).unwrap();
    let rows: Vec<_> = RING
        .demonstrations(8000, 1)
        .into_iter()
        .filter(|row| is_short(&row.prompt))
        .map(|row| json!({"prompt": row.prompt, "completion": row.completion}))
        .collect();
    write::replace(&demonstrations, &write::json_lines(&rows)).unwrap();
    let text = format!(
        r#"
        compute = "f32"
        model.path = "start"
        demonstrations.path = '{}'
        prompt = {{ template = "plain", instruction = "" }}
        train = {{ steps = 80, batch_size = 64, optimizer = {{ learning_rate = 8e-3, beta2 = 0.98 }}, schedule = {{ warmup_steps = 5, decay = "cosine" }} }}
        "#,
        demonstrations.display()
    );
    let config: SftConfig = parse_config(&text, &[]).unwrap();
    let tuning = FineTuning::start(&config, (&start.into(), &directory.path().join("tuned")), None).unwrap();
    let trained = tuning.run(|_| true).unwrap();
    files_under(&trained)
});

/// Whether a walk is of two rolls, which are learned in seconds.
fn is_short(question: &str) -> bool {
    question.matches('+').count() == 2
}

/// A policy and problem files in a directory of their own.
pub(crate) struct World(TempDir);

impl World {
    pub(crate) fn new() -> Self {
        let world = Self::untrained();
        for (name, bytes) in &*POLICY {
            write::replace(&world.model().join(name), bytes).unwrap();
        }
        world
    }

    /// With a policy that answers nothing right, where that does not matter: it takes no time.
    pub(crate) fn untrained() -> Self {
        let world = Self(TempDir::new().unwrap());
        RING.write_untrained(&world.model(), 1).unwrap();
        world.write_problems("problems.jsonl", RING.problems(160, 1), 40);
        world.write_problems("held-out.jsonl", RING.held_out_problems(32, 1), 8);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.path("model")
    }

    /// `count` walks of two rolls with the ids `walk-0`, `walk-1` …
    fn write_problems(&self, name: &str, problems: Vec<Problem>, count: usize) {
        let short = problems.into_iter().filter(|problem| is_short(&problem.question)).take(count).enumerate();
        let row = |(index, problem): (usize, Problem)| {
            let id = format!("walk-{index}");
            json!({"id": id, "question": problem.question, "answer": problem.gold, "level": problem.level})
        };
        write::replace(&self.path(name), &write::json_lines(&short.map(row).collect::<Vec<_>>())).unwrap();
    }

    /// A run of three steps of six groups of six, evaluated before, after two steps and at the end.
    pub(crate) fn config_text(&self) -> String {
        let [problems, held_out] =
            ["problems.jsonl", "held-out.jsonl"].map(|name| self.path(name).display().to_string());
        format!(
            r#"seed = 3
compute = "f32"

[model]
path = "model"

[problems]
path = '{problems}'
fields = {{ id = "id", level = "level" }}

[prompt]
template = "plain"
instruction = ""

[verifier]
extraction = {{ marker = {{ marker = "A" }} }}

[rollout]
prompts_per_step = 6
group_size = 6
completion_tokens_max = 40

[train]
steps = 3

[train.shaping.top-lambda]
lambda = 0.34

[train.optimizer]
learning_rate = 1e-3

[evaluation]
every_steps = 2
path = '{held_out}'
fields = {{ id = "id", level = "level" }}
samples = 2

[checkpoint]
keep_last = 1
"#
        )
    }

    /// That config with `changes` such as `train.passes=2`.
    pub(crate) fn config(&self, changes: &[&str]) -> RunConfig {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        parse_config(&self.config_text(), &changes).unwrap()
    }

    /// The trainer of a new run in the directory `name`.
    pub(crate) fn start(&self, name: &str, changes: &[&str]) -> Result<Trainer, RlError> {
        Trainer::start(self.config(changes), &self.model().into(), &self.path(name), &provenance())
    }

    /// The trainer that goes on from the latest checkpoint of the run in the directory `name`.
    pub(crate) fn resume(&self, name: &str) -> Result<Trainer, RlError> {
        Trainer::resume(&self.path(name), |model| Ok(self.path(model).into()), None)
    }

    /// A whole run, in the directory `name`.
    pub(crate) fn run(&self, name: &str, changes: &[&str]) -> RunDirectory {
        let mut trainer = self.start(name, changes).unwrap();
        finish(&mut trainer);
        trainer.run_directory().clone()
    }
}

pub(crate) fn provenance() -> Provenance {
    Provenance { brevity_version: "0.0.0".into(), started_unix_seconds: 0, resources: rl::device::Resources::default() }
}

/// The header of a run that was put together by hand.
pub(crate) fn header(config: &RunConfig) -> RunHeader {
    RunHeader {
        schema: SCHEMA_VERSION,
        arm: config.arm().to_owned(),
        seed: config.seed,
        steps: config.train.steps,
        brevity_version: "0.0.0".into(),
        cpu: model::instruction_set().name().to_owned(),
        compute: "f32".to_owned(),
        mathematics: String::new(),
        inputs: BTreeMap::new(),
        threads: 1,
        model: config.model.path.clone(),
        parameters: 141_088,
        started_unix_seconds: 0,
    }
}

/// Records that the next step of `run`, which is `step`, was skipped because of a fault.
pub(crate) fn skip_step(run: &RunDirectory, step: u64) {
    append_fault(run, (step, "loss"), FaultOutcome::Skipped);
}

/// Appends a fault of `quantity` in `step` that ended in `outcome`.
pub(crate) fn append_fault(run: &RunDirectory, (step, quantity): (u64, &str), outcome: FaultOutcome) {
    let (quantity, value) = (quantity.to_owned(), "NaN".to_owned());
    let fault = FaultRecord { step, detours: 0, pass: None, quantity, value, rollouts: Vec::new(), outcome };
    run.append_fault(&fault, &[]).unwrap();
}

/// Runs to the end.
pub(crate) fn finish(trainer: &mut Trainer) {
    let ending = proceed(trainer, &|| false).unwrap();
    assert_eq!(ending, Ending::Finished(trainer.run_directory().root().join("model")));
}

/// Runs until `steps` more steps are done, and stops there with a checkpoint.
pub(crate) fn interrupt_after(trainer: &mut Trainer, steps: u64) {
    let done = Cell::new(0);
    let interrupted = || {
        done.set(done.get() + 1);
        done.get() == steps
    };
    let expected = Ending::Interrupted { step: trainer.step() + steps };
    assert_eq!(proceed(trainer, &interrupted).unwrap(), expected);
}

/// Runs with a clock that is a second later each time it is read, so that seconds are the same in every run.
pub(crate) fn proceed(trainer: &mut Trainer, interrupted: &dyn Fn() -> bool) -> Result<Ending, RlError> {
    let seconds = Cell::new(0.0);
    let clock = || {
        seconds.set(seconds.get() + 1.0);
        seconds.get()
    };
    trainer.run(&mut Surroundings { clock: &clock, interrupted, watch: &mut |_| {} })
}

/// Bytes of every file under `root`, by path from there; without the lock, in which a trainer that lives has its name.
pub(crate) fn files_under(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if !path.ends_with(RunLock::NAME) {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// What a compressed file holds.
pub(crate) fn expanded(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut text).unwrap();
    text
}

/// Fails at the first file that only one of two runs has or whose bytes differ, `ignored` ones apart.
pub(crate) fn assert_same_files(ours: &Path, theirs: &Path, ignored: &[&str]) {
    let [ours, theirs] = [ours, theirs].map(|root| {
        let mut files = files_under(root);
        files.retain(|name, _| !ignored.contains(&name.as_str()));
        files
    });
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, bytes) in &ours {
        let first = bytes.iter().zip(&theirs[name]).position(|(a, b)| a != b);
        assert!(*bytes == theirs[name], "{name} differs: byte {first:?} of {} and {}", bytes.len(), theirs[name].len());
    }
}
