//! The memory that a run plans for, beside what it is measured to take, and the refusal of a run that does not fit.

#![expect(clippy::print_stdout, reason = "planned and measured bytes are the figures of the search")]

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use model::{Compute, ModelConfig, StoredType, TensorView, Tokenizer, parameter_shapes, threads::Pool, write_tensors};
use rl::{
    Problem, ProblemFields,
    config::{ComputeType, RunConfig, read_config},
    estimate::{PlannedModel, SamplingLoad, gibibytes, limit_bytes, plan, plan_fine_tuning, plan_sampling},
    lora::adapter_settings,
    random::{Purpose, Stream},
    read_problems,
    sft::SftConfig,
};

use crate::{long::status_bytes, scratch::Scratch};

/// Largest difference of the measured peak from the plan, as a share of the peak.
const DIFFERENCE_MAX: f64 = 0.1;

/// What the released program takes of pages of files, its code foremost, bytes. A build for tests takes more than twice as
/// much, 29 MiB, which no plan for a run is about.
const PROGRAM_PAGES: u64 = 13 << 20;

/// The embedded task's size but for the vocabulary: of 36 tokens the one that ends a completion is drawn so soon that the
/// cache stays far from what it may take.
const TINY: &str = r#"{"model_type": "qwen3", "vocab_size": 512, "hidden_size": 64, "intermediate_size": 176,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6,
    "rope_theta": 10000, "max_position_embeddings": 256, "tie_word_embeddings": true}"#;

/// 4.85 million parameters, the shape S of docs/performance.md.
const SMALL: &str = r#"{"model_type": "qwen3", "vocab_size": 512, "hidden_size": 256, "intermediate_size": 768,
    "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "rms_norm_eps": 1e-6,
    "rope_theta": 10000, "max_position_embeddings": 4096, "tie_word_embeddings": true}"#;

/// 6.5 million parameters, beside which what a few short completions take is little.
const WIDE: &str = r#"{"model_type": "qwen3", "vocab_size": 512, "hidden_size": 256, "intermediate_size": 4096,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6,
    "rope_theta": 10000, "max_position_embeddings": 256, "tie_word_embeddings": true}"#;

/// A run to measure: a name, its model, and the settings in which it differs from `config.toml`.
struct Case {
    name: &'static str,
    shape: &'static str,
    set: &'static [&'static str],
}

/// Two steps of 8 problems with 16 completions of up to 128 tokens. Whichever completions end early get another reward than
/// the rest under `kimi`, so that groups without a correct one have a gradient too.
const COMMON: [&str; 6] = [
    "threads=1",
    "train.shaping={kimi={}}",
    "rollout={prompts_per_step=8,group_size=16,completion_tokens_max=128,sequences_max=128}",
    "evaluation.every_steps=2",
    "train.steps=2",
    "compute='f32'",
];

const SHORT: [Case; 2] = [
    Case { name: "tiny", shape: TINY, set: &[] },
    Case { name: "tiny, a reference", shape: TINY, set: &["train.loss.kl_weight=0.1"] },
];

const LONG: [Case; 11] = [
    Case { name: "small, f32", shape: SMALL, set: &[] },
    Case { name: "small, bf16", shape: SMALL, set: &["compute='bf16'"] },
    Case { name: "small, a reference", shape: SMALL, set: &["train.loss.kl_weight=0.1"] },
    Case { name: "small, an adapter", shape: SMALL, set: &["model.lora={}"] },
    Case {
        name: "small, an adapter in bf16 with a reference",
        shape: SMALL,
        set: &["model.lora={rank=64}", "compute='bf16'", "train.loss.kl_weight=0.1"],
    },
    Case { name: "small, micro-batches of 512", shape: SMALL, set: &["train.micro_batch_tokens=512"] },
    Case { name: "small, micro-batches of 8,192", shape: SMALL, set: &["train.micro_batch_tokens=8192"] },
    Case { name: "small, two threads", shape: SMALL, set: &["threads=2"] },
    Case { name: "small, a bounded cache", shape: SMALL, set: &["model.memory_bytes_max=330000000"] },
    Case { name: "small, layers computed again", shape: SMALL, set: &["model.memory_bytes_max=230000000"] },
    Case {
        name: "small, 1,024 tokens",
        shape: SMALL,
        set: &[
            "rollout={prompts_per_step=2,group_size=16,completion_tokens_max=1024,sequences_max=32}",
            "train.micro_batch_tokens=4096",
        ],
    },
];

/// What is planned and what is measured, bytes.
struct Measured {
    planned: u64,
    peak: u64,
}

impl Measured {
    /// The peak over the plan.
    fn ratio(&self) -> f64 {
        self.peak as f64 / self.planned as f64
    }
}

/// Writes a model of random weights with the tokenizer of the ring task.
fn write_model(scratch: &Scratch, shape: &str) {
    scratch.write("model/config.json", shape.as_bytes());
    let config = ModelConfig::parse(shape).expect("a shape");
    let mut stream = Stream::new(1, Purpose::Parameters, [0; 3]);
    let shapes = parameter_shapes(&config);
    let mut value = |is_matrix: bool| if is_matrix { (0.04 * (stream.uniform() - 0.5)) as f32 } else { 1.0 };
    let values: Vec<Vec<f32>> =
        shapes.iter().map(|shape| (0..shape.count()).map(|_| value(shape.shape.len() > 1)).collect()).collect();
    let tensors: Vec<TensorView<'_>> = shapes
        .iter()
        .zip(&values)
        .map(|(shape, values)| TensorView { name: &shape.name, shape: shape.shape.clone(), values })
        .collect();
    write_tensors(&scratch.path("model/model.safetensors"), &tensors, StoredType::F32).expect("the weights");
}

/// The arguments of `brevity train` with these settings.
fn arguments(set: &[String]) -> Vec<&str> {
    let mut arguments = vec!["train", "config.toml", "--out", "run"];
    arguments.extend(set.iter().flat_map(|change| ["--set", change]));
    arguments
}

/// Tokens of the longest prompt: the plan is made for prompts as they are, not as they may be.
fn longest_prompt(scratch: &Scratch, model: &Path, fields: &ProblemFields) -> usize {
    let tokenizer = Tokenizer::open(model).expect("a tokenizer");
    let files =
        ["train.jsonl", "held-out.jsonl"].map(|name| read_problems(&scratch.path(name), fields).expect("problems"));
    let tokens = |problem: &Problem| tokenizer.encode(&problem.question).expect("a prompt").len();
    files.iter().flatten().map(tokens).max().expect("problems")
}

/// Runs a training with these settings and looks at its memory until it ends.
fn measure(scratch: &Scratch, model: &Path, set: &[String]) -> Measured {
    let planned = planned(scratch, model, set);
    let (peak, said) = peak(scratch, &arguments(set));
    assert!(said.contains(&format!("about {}", gibibytes(planned))), "{planned} is not what is said: {said}");
    Measured { planned, peak }
}

/// What is planned for a run with these settings, bytes.
fn planned(scratch: &Scratch, model: &Path, set: &[String]) -> u64 {
    let mut config: RunConfig = read_config(&scratch.path("config.toml"), set).expect("a config");
    config.prompt.prompt_tokens_max = longest_prompt(scratch, model, &config.problems.fields);
    let evaluated = &mut config.evaluation.as_mut().expect("[evaluation]").limit;
    *evaluated = if *evaluated == 0 { scratch.read("held-out.jsonl").lines().count() } else { *evaluated };
    let (limit, shape) = (limit_bytes(&config.model, None), ModelConfig::read(model).expect("a model"));
    let adapter = adapter_settings(&config.model, &model.to_owned().into()).expect("an adapter");
    let shape = PlannedModel { config: &shape, adapter: adapter.as_ref() };
    let pool = Pool::new(config.threads).expect("a pool");
    let plan = pool.install(|| plan(&config, shape, ComputeType::resolve(config.compute), limit)).expect("it fits");
    plan.estimate.total()
}

/// Runs the program and looks at its memory until it ends: the peak, bytes, and what it said.
fn peak(scratch: &Scratch, arguments: &[&str]) -> (u64, String) {
    let mut command = scratch.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let [mut peak, mut pages] = [0; 2];
    while child.try_wait().expect("its state").is_none() {
        // The high-water mark goes with the process, so that what counts is the last look before its end.
        peak = status_bytes(child.id(), "VmHWM:").max(peak);
        pages = status_bytes(child.id(), "RssFile:").max(pages);
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().expect("the program has ended");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    (peak - pages + PROGRAM_PAGES, said)
}

fn measure_case(case: &Case) -> Measured {
    let scratch = Scratch::new();
    write_model(&scratch, case.shape);
    let set: Vec<String> = COMMON.iter().chain(case.set).map(ToString::to_string).collect();
    measure(&scratch, &scratch.path("model"), &set)
}

/// A model directory of `BREVITY_RELIABILITY_MODEL` on the problems of the ring task. The plan is for completions of full
/// length, which a pretrained model reaches where they are short, and for micro-batches that are full, which those of four
/// such groups are.
fn measure_given(model: &Path) -> Measured {
    let scratch = Scratch::new();
    let rollout = "rollout={prompts_per_step=8,group_size=16,completion_tokens_max=64,sequences_max=128}";
    let given = format!("model.path='{}'", model.display());
    let set = [
        given.as_str(),
        rollout,
        "threads=2",
        "train.shaping={kimi={}}",
        "train.steps=1",
        "evaluation.every_steps=9",
        "train.micro_batch_tokens=2250",
    ];
    measure(&scratch, model, &set.map(str::to_owned))
}

/// An evaluation of the held-out problems with 32 completions of each.
fn measure_evaluation() -> Measured {
    let scratch = Scratch::new();
    write_model(&scratch, SMALL);
    let groups = scratch.read("held-out.jsonl").lines().count();
    let prompt = longest_prompt(&scratch, &scratch.path("model"), &ProblemFields::default());
    let load = SamplingLoad { groups, group_size: 32, lengths: [prompt, 128], sequences_max: 128 };
    let shape = ModelConfig::parse(SMALL).expect("a shape");
    let plan = one_thread().install(|| plan_sampling(&shape, Compute::F32, load, None)).expect("it fits");
    let model =
        ["eval", "--model=model", "--benchmark=held-out.jsonl", "--template=plain", "--instruction=", "--out=of"];
    let sampling = ["--samples=32", "--max-tokens=128", "--sequences=128", "--compute=f32", "--threads=1"];
    Measured { planned: plan.estimate.total(), peak: peak(&scratch, &[&model[..], &sampling].concat()).0 }
}

/// Two steps of fine-tuning on demonstrations of equal length.
fn measure_fine_tuning() -> Measured {
    let scratch = Scratch::new();
    write_model(&scratch, SMALL);
    let toml = r#"
        threads = 1
        compute = "f32"
        model = { path = "model" }
        demonstrations = { path = "rows.jsonl" }
        prompt = { template = "plain", instruction = "" }
        train = { steps = 2, batch_size = 8, micro_batch_tokens = 1024 }"#;
    scratch.write("sft.toml", toml.as_bytes());
    let (prompt, completion) = ("9 +1 :", " a 10".repeat(60));
    let row = serde_json::json!({"prompt": prompt, "completion": completion});
    scratch.write("rows.jsonl", format!("{row}\n").repeat(8).as_bytes());
    let tokenizer = Tokenizer::open(&scratch.path("model")).expect("a tokenizer");
    // The token that ends the completion is one that nothing is computed from.
    let rows: usize = [prompt, &completion].map(|text| tokenizer.encode(text).expect("tokens").len()).iter().sum();
    let shape = ModelConfig::parse(SMALL).expect("a shape");
    let config: SftConfig = read_config(&scratch.path("sft.toml"), &[]).expect("a config");
    let plan = one_thread().install(|| plan_fine_tuning(&config, &shape, Compute::F32, rows, None)).expect("it fits");
    let peak = peak(&scratch, &["sft", "sft.toml", "--out", "tuned"]).0;
    Measured { planned: plan.estimate.total(), peak }
}

fn one_thread() -> Pool {
    Pool::new(1).expect("a pool")
}

#[test]
fn the_memory_that_a_run_plans_for_is_within_a_tenth_of_its_peak() {
    let long = std::env::var("BREVITY_RELIABILITY").is_ok_and(|form| form == "long");
    let cases: Vec<&Case> = if long { SHORT.iter().chain(&LONG).collect() } else { SHORT.iter().collect() };
    let mut measured: Vec<(String, Measured)> =
        cases.into_iter().map(|case| (case.name.to_owned(), measure_case(case))).collect();
    measured.push(("small, an evaluation".to_owned(), measure_evaluation()));
    measured.push(("small, fine-tuning".to_owned(), measure_fine_tuning()));
    if let Some(model) = std::env::var_os("BREVITY_RELIABILITY_MODEL") {
        let model = PathBuf::from(model);
        measured.push((model.file_name().unwrap_or_default().display().to_string(), measure_given(&model)));
    }
    println!("| run | planned, MiB | peak, MiB | peak over plan |\n|---|---|---|---|");
    for (name, of) in &measured {
        let [planned, peak] = [of.planned, of.peak].map(|bytes| bytes as f64 / f64::from(1 << 20));
        println!("| {name} | {planned:.1} | {peak:.1} | {:.3} |", of.ratio());
    }
    for (name, of) in &measured {
        assert!((of.ratio() - 1.0).abs() <= DIFFERENCE_MAX, "{name}: {} planned, {} measured", of.planned, of.peak);
    }
}

#[test]
fn a_checkpoint_is_read_in_the_place_of_what_it_replaces() {
    let scratch = Scratch::new();
    write_model(&scratch, WIDE);
    let rollout = "rollout={prompts_per_step=2,group_size=8,completion_tokens_max=48,sequences_max=16}";
    let changes =
        [rollout, "train.micro_batch_tokens=128", "evaluation.limit=2", "train.steps=4", "checkpoint.every_steps=1"];
    let mut set: Vec<String> = COMMON.iter().chain(&changes).map(ToString::to_string).collect();
    let planned = planned(&scratch, &scratch.path("model"), &set);
    let within = |peak: u64, of: &str| {
        println!("{of}: {:.3} of the plan", peak as f64 / planned as f64);
        assert!(peak as f64 <= (1.0 + DIFFERENCE_MAX) * planned as f64, "{of}: {planned} planned, {peak} measured");
    };
    within(peak(&scratch, &arguments(&set)).0, "a run");
    within(peak(&scratch, &["train", "--resume", "run"]).0, "a run that goes on");
    let mut norms: Vec<f64> = scratch.read("run/metrics.jsonl").lines().map(gradient_norm).collect();
    norms.sort_by(f64::total_cmp);
    // One step is above it.
    let limit = norms[2].midpoint(norms[3]);
    set.push(format!("train.faults={{gradient_norm_limit={limit:?},remedy={{return={{times_max=9}}}}}}"));
    let mut again = arguments(&set);
    again[3] = "returned";
    within(peak(&scratch, &again).0, "a run that goes back");
    assert!(scratch.read("returned/faults.jsonl").contains("\"returned\""));
}

fn gradient_norm(line: &str) -> f64 {
    let row: serde_json::Value = serde_json::from_str(line).expect("a row of metrics");
    row["gradient_norm"].as_f64().expect("a norm")
}

#[test]
fn a_run_that_does_not_fit_is_refused_and_one_as_it_advises_fits() {
    let scratch = Scratch::new();
    write_model(&scratch, TINY);
    let set = |changes: &[&str]| COMMON.iter().chain(changes).map(ToString::to_string).collect::<Vec<_>>();
    let limit = "model.memory_bytes_max=70000000";
    let refused = set(&[limit, "train.micro_batch_tokens=8192"]);
    let said =
        ["error: the run needs about ", " and 0.07 GiB are available: ", "hint: lower `train.micro_batch_tokens`"];
    scratch.refuse(&arguments(&refused), 1, &said);
    assert!(!scratch.path("run").exists(), "a run that was refused leaves nothing");
    let fits = set(&[limit, "train.micro_batch_tokens=512", "train.steps=1"]);
    let ran = scratch.succeed(&arguments(&fits));
    assert!(ran.stderr.contains(" of 0.07 GiB"), "{}", ran.stderr);
}
