//! Times one row of docs/performance.md: `cargo bench -p rl --bench engine -- ROW`. `cargo xtask bench` runs all.
//!
//! Prints one line of JSON: the row, seconds of each repeat, tokens of a repeat, and the largest memory of the process.
//! The row `probe` prints what the machine can do at most instead. With `--card=N` the model is on card N of the driver's
//! order; with `--emulation=DIRECTORY` on an emulated one, whose sources are built there: a check, of which no time counts.

#![expect(clippy::print_stdout, reason = "how a benchmark answers")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

use std::{convert::Infallible, path::Path, sync::Arc, time::Instant};

use model::{
    Batch, Cache, Chunk, Compute, Model, ModelConfig, SamplerWorkspace, Sampling, Tensors, TrainerWorkspace,
    card::CardPages,
    cuda::{
        card::OpenCard,
        emulation::Emulation,
        machine::Machine,
        probe::{self, Sizes},
    },
    threads::{self, Pool},
};
use rl::{
    optimizer::{Optimizer, OptimizerSettings},
    random::{Purpose, Stream},
    sampler::{Request, SamplerSettings, sample},
};

/// Shapes of the models, as config.json says them. Weights are random: no speed depends on them.
const S: &str = r#"{"model_type": "qwen3", "vocab_size": 512, "hidden_size": 256, "intermediate_size": 768,
    "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32, "rms_norm_eps": 1e-6,
    "rope_theta": 10000, "max_position_embeddings": 16384, "tie_word_embeddings": true}"#;
const M: &str = r#"{"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
    "rms_norm_eps": 1e-6, "rope_theta": 1000000, "max_position_embeddings": 16384, "tie_word_embeddings": true}"#;
/// Qwen3-1.7B.
const L: &str = r#"{"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
    "rms_norm_eps": 1e-6, "rope_theta": 1000000, "max_position_embeddings": 16384, "tie_word_embeddings": true}"#;
/// For checks in an emulation.
const TINY: &str = r#"{"model_type": "qwen3", "vocab_size": 96, "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6,
    "rope_theta": 10000, "max_position_embeddings": 256, "tie_word_embeddings": true}"#;
const SMOLLM2: &str = r#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "rms_norm_eps": 1e-5,
    "rope_theta": 100000, "max_position_embeddings": 8192, "tie_word_embeddings": true}"#;

/// Weights that are drawn, and repeated: to draw all of a large model would take longer than what is measured.
const DRAWN_WEIGHTS: usize = 1_000_003;
const ANY_TOKEN: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 };

/// What a row measures.
enum Work {
    /// One optimizer step on sequences of so many tokens.
    Train { sequences: usize, tokens: usize },
    /// New tokens after prompts of so many tokens, one sequence each.
    Decode { sequences: usize, prompt: usize, new: usize },
    /// New tokens after prompts of so many tokens, of so many completions each; the pass over the prompts is done once before
    /// all repeats.
    Context { problems: usize, completions: usize, prompt: usize, new: usize },
    /// A step of sampling and training: problems, completions of each, tokens of each after a prompt of 32.
    Step { problems: usize, completions: usize, tokens: usize },
}

impl Work {
    /// How many caches of how many positions are held at once.
    fn caches(&self) -> Vec<(usize, usize)> {
        match *self {
            Self::Train { .. } => Vec::new(),
            Self::Decode { sequences, prompt, new } => vec![(sequences, prompt), (sequences, new)],
            Self::Context { problems, completions, prompt, new } => {
                vec![(problems, prompt), (problems * completions, new)]
            }
            Self::Step { problems, completions, tokens } => vec![(problems, 32), (problems * completions, tokens)],
        }
    }
}

fn row(name: &str) -> Option<(&'static str, Work)> {
    Some(match name {
        "s-train" => (S, Work::Train { sequences: 16, tokens: 256 }),
        "m-train" => (M, Work::Train { sequences: 1, tokens: 512 }),
        "m-train-1024" => (M, Work::Train { sequences: 1, tokens: 1024 }),
        "s-decode" => (S, Work::Decode { sequences: 64, prompt: 32, new: 128 }),
        "s-decode-context-256" => (S, Work::Context { problems: 16, completions: 1, prompt: 256, new: 32 }),
        "s-decode-context-1024" => (S, Work::Context { problems: 16, completions: 1, prompt: 1024, new: 32 }),
        "s-decode-context-4096" => (S, Work::Context { problems: 16, completions: 1, prompt: 4096, new: 32 }),
        "s-decode-context-8192" => (S, Work::Context { problems: 16, completions: 1, prompt: 8192, new: 32 }),
        "m-decode-1" => (M, Work::Decode { sequences: 1, prompt: 32, new: 32 }),
        "m-decode-16" => (M, Work::Decode { sequences: 16, prompt: 32, new: 32 }),
        "smollm2-decode" => (SMOLLM2, Work::Decode { sequences: 64, prompt: 32, new: 64 }),
        "s-grpo" => (S, Work::Step { problems: 8, completions: 16, tokens: 128 }),
        "s-grpo-group-4" => (S, Work::Step { problems: 8, completions: 4, tokens: 128 }),
        "s-grpo-group-64" => (S, Work::Step { problems: 8, completions: 64, tokens: 128 }),
        "card-m-train-2048" => (M, Work::Train { sequences: 16, tokens: 2048 }),
        "card-m-train-8192" => (M, Work::Train { sequences: 4, tokens: 8192 }),
        "card-l-train-2048" => (L, Work::Train { sequences: 16, tokens: 2048 }),
        "card-l-train-8192" => (L, Work::Train { sequences: 4, tokens: 8192 }),
        "card-m-decode-2048" => (M, Work::Context { problems: 256, completions: 1, prompt: 2048, new: 64 }),
        "card-m-decode-8192" => (M, Work::Context { problems: 16, completions: 16, prompt: 8192, new: 64 }),
        "card-l-decode-2048" => (L, Work::Context { problems: 256, completions: 1, prompt: 2048, new: 64 }),
        "card-l-decode-8192" => (L, Work::Context { problems: 16, completions: 16, prompt: 8192, new: 64 }),
        "tiny-train" => (TINY, Work::Train { sequences: 3, tokens: 20 }),
        "tiny-decode" => (TINY, Work::Context { problems: 2, completions: 3, prompt: 70, new: 3 }),
        "smollm2-grpo" => (SMOLLM2, Work::Step { problems: 8, completions: 8, tokens: 150 }),
        _ => return None,
    })
}

fn random_model(shape: &str, compute: Compute) -> Model {
    let config = ModelConfig::parse(shape).unwrap();
    let mut stream = Stream::new(1, Purpose::Parameters, [0; 3]);
    let drawn: Vec<f32> = (0..DRAWN_WEIGHTS).map(|_| (0.04 * (stream.uniform() - 0.5)) as f32).collect();
    let mut matrices = drawn.iter().copied().cycle();
    let Ok(model) = Model::new(config, compute, |shape| {
        let count = shape.count();
        Ok::<_, Infallible>(if shape.shape.len() > 1 {
            matrices.by_ref().take(count).collect()
        } else {
            vec![1.0; count]
        })
    });
    model
}

/// What a repeat needs.
struct Bench {
    model: Model,
    workspace: TrainerWorkspace,
    /// Tensors and optimizer, where the row trains.
    training: Option<(Tensors, Optimizer)>,
    /// Keys and values of the prompts, where the row does not time them.
    prompts: Vec<Cache>,
    /// The card that the model is on.
    machine: Option<Arc<dyn Machine>>,
}

impl Bench {
    fn tokens(&self, seed: u64, count: usize) -> Vec<u32> {
        let mut stream = Stream::new(seed, Purpose::Rollout, [0; 3]);
        (0..count).map(|_| stream.below(self.model.config().vocabulary) as u32).collect()
    }

    /// Samples completions of exactly `tokens` tokens.
    fn sample(&self, problems: usize, completions: usize, (prompt, tokens): (usize, usize)) -> Vec<Vec<Vec<u32>>> {
        let requests: Vec<Request> = (0..problems)
            .map(|problem| Request {
                prompt: self.tokens(problem as u64, prompt),
                streams: (0..completions)
                    .map(|index| Stream::new(2, Purpose::Rollout, [0, problem as u64, index as u64]))
                    .collect(),
            })
            .collect();
        let settings = SamplerSettings {
            sampling: ANY_TOKEN,
            completion_tokens_max: tokens,
            sequences_max: problems * completions,
            cache_bytes_max: 0,
            end_tokens: Vec::new(),
        };
        let sampled = sample(&self.model, &requests, &settings, |_| ());
        sampled.into_iter().map(|group| group.into_iter().map(|completion| completion.tokens).collect()).collect()
    }

    /// Keys and values of a prompt.
    fn held(&self, prompt: &[u32], workspace: &mut SamplerWorkspace) -> Cache {
        const ROWS: usize = 2048;
        let mut own = Cache::new(&self.model);
        for tokens in prompt.chunks(ROWS) {
            self.model.advance(&mut [Chunk { tokens, shared: None, own: &mut own }], workspace);
        }
        own
    }

    /// Decodes so many completions after each prompt, which are held already.
    fn decode(&mut self, (problems, completions): (usize, usize), (prompt, new): (usize, usize)) {
        let mut workspace = SamplerWorkspace::default();
        if self.prompts.is_empty() {
            let held = |problem| self.held(&self.tokens(problem as u64, prompt), &mut workspace);
            self.prompts = (0..problems).map(held).collect();
        }
        let sequences = problems * completions;
        let mut owns: Vec<Cache> = (0..sequences).map(|_| Cache::new(&self.model)).collect();
        let mut tokens = vec![[1_u32]; sequences];
        let uniforms = vec![0.5; sequences];
        for _ in 0..new {
            let places = tokens.iter().zip(&mut owns).enumerate();
            let mut chunks: Vec<Chunk<'_>> = places
                .map(|(place, (tokens, own))| Chunk { tokens, shared: Some(&self.prompts[place / completions]), own })
                .collect();
            let drawn = self.model.advance_and_draw(&mut chunks, (&ANY_TOKEN, &uniforms), &mut workspace);
            for (token, drawn) in tokens.iter_mut().zip(drawn) {
                token[0] = drawn.token;
            }
        }
    }

    /// Forward, backward and update over groups, in micro-batches of one group when they are many.
    fn train(&mut self, groups: &[(Vec<u32>, Vec<Vec<u32>>)]) {
        let rows_max = if self.machine.is_some() { 8192 } else { 2048 };
        let Self { model, workspace, training, .. } = self;
        let (gradients, optimizer) = training.get_or_insert_with(|| (model.zeros(), Optimizer::new(model)));
        gradients.clear();
        let rows = |group: &(Vec<u32>, Vec<Vec<u32>>)| group.0.len() + group.1.iter().map(Vec::len).sum::<usize>();
        let mut rest = groups;
        while !rest.is_empty() {
            let mut batch = Batch::new(1.0);
            let mut taken = 0;
            while taken < rest.len() && (taken == 0 || batch.rows() + rows(&rest[taken]) <= rows_max) {
                let (prompt, completions) = &rest[taken];
                let completions: Vec<&[u32]> = completions.iter().map(Vec::as_slice).collect();
                batch.push_group(prompt, &completions);
                taken += 1;
            }
            rest = &rest[taken..];
            let slopes = vec![-1e-4; model.forward(&batch, workspace).len()];
            model.backward(&batch, &slopes, workspace, gradients);
        }
        let settings = OptimizerSettings::default();
        optimizer.update(model, gradients, &settings, settings.learning_rate);
    }

    /// One repeat; returns its tokens.
    fn repeat(&mut self, work: &Work) -> usize {
        match *work {
            Work::Train { sequences, tokens } => {
                let all: Vec<_> = (0..sequences)
                    .map(|sequence| {
                        let all = self.tokens(sequence as u64, tokens + 1);
                        (all[..1].to_vec(), vec![all[1..].to_vec()])
                    })
                    .collect();
                self.train(&all);
                sequences * tokens
            }
            Work::Decode { sequences, prompt, new } => {
                self.sample(sequences, 1, (prompt, new));
                sequences * new
            }
            Work::Context { problems, completions, prompt, new } => {
                self.decode((problems, completions), (prompt, new));
                problems * completions * new
            }
            Work::Step { problems, completions, tokens } => {
                let sampled = self.sample(problems, completions, (32, tokens));
                let prompts = (0..problems).map(|problem| self.tokens(problem as u64, 32));
                let groups: Vec<_> = prompts.zip(sampled).collect();
                self.train(&groups);
                problems * completions * tokens
            }
        }
    }
}

/// Prints what the machine can do at most with so many threads: GFLOP/s and GB/s.
fn probe(threads: usize) {
    let start = Instant::now();
    let limits = Pool::new(threads).unwrap().limits(&|| start.elapsed());
    let bf16 = limits.bf16_flops_per_second.map_or("null".to_owned(), |flops| (flops * 1e-9).to_string());
    println!(
        "{{\"row\": \"probe\", \"f32_gflops\": {}, \"bf16_gflops\": {bf16}, \"memory_gigabytes_per_second\": {}, \
         \"cache_gigabytes_per_second\": {}}}",
        limits.f32_flops_per_second * 1e-9,
        limits.memory_bytes_per_second * 1e-9,
        limits.cache_bytes_per_second * 1e-9
    );
}

/// Largest resident memory of this process, bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

/// Prints what a card can do at most, as [`probe`] does.
fn probe_card(machine: &Arc<dyn Machine>, sizes: Sizes) {
    let start = Instant::now();
    let limits = probe::limits(machine, sizes, &|| start.elapsed());
    println!(
        "{{\"row\": \"probe\", \"f32_gflops\": null, \"bf16_gflops\": {}, \"memory_gigabytes_per_second\": {}, \
         \"cache_gigabytes_per_second\": null}}",
        limits.bf16_flops_per_second * 1e-9,
        limits.memory_bytes_per_second * 1e-9
    );
}

/// Prints the times of a row.
fn time(name: &str, repeats: usize, recomputed: usize, machine: Option<Arc<dyn Machine>>) {
    let (shape, compute) = match (name.strip_suffix("-f32"), name.strip_suffix("-bf16")) {
        (Some(shape), _) => (shape, Compute::F32),
        (_, Some(shape)) => (shape, Compute::Bf16),
        (None, None) => panic!("{name}: a row ends in -f32 or -bf16"),
    };
    let (shape, work) = row(shape).unwrap_or_else(|| panic!("there is no row {name}"));
    let free_bytes = |machine: &Arc<dyn Machine>| machine.free_bytes().unwrap();
    let free_before = machine.as_ref().map(free_bytes);
    let mut model = random_model(shape, compute);
    if let Some(machine) = &machine {
        let bytes = |(count, positions): &(usize, usize)| count * CardPages::bytes(model.config(), *positions);
        let cache_bytes = work.caches().iter().map(bytes).sum();
        model = model.on_card(machine, cache_bytes).unwrap();
    }
    let workspace = TrainerWorkspace::new(recomputed);
    let mut bench = Bench { model, workspace, training: None, prompts: Vec::new(), machine };
    let wait = |bench: &Bench| bench.machine.iter().for_each(probe::wait);
    let mut tokens = bench.repeat(&work);
    wait(&bench);
    let mut seconds = Vec::new();
    for _ in 0..repeats {
        let start = Instant::now();
        tokens = bench.repeat(&work);
        wait(&bench);
        seconds.push(start.elapsed().as_secs_f64());
    }
    let (peer, bytes) = match bench.machine.as_ref().zip(free_before) {
        None => (format!("brevity {}, {} threads", model::instruction_set().name(), threads::count()), peak_bytes()),
        // Nothing is given back between repeats.
        Some((machine, before)) => ("brevity on a card".to_owned(), (before - free_bytes(machine)) as u64),
    };
    println!(
        "{{\"row\": \"{name}\", \"peer\": \"{peer}\", \"seconds\": {seconds:?}, \"tokens\": {tokens}, \"peak_bytes\": {bytes}}}"
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, rest @ ..] = &arguments[..] else { return };
    let text = |key: &str| rest.iter().find_map(|argument| argument.strip_prefix(key));
    let number = |key: &str| text(key).map(|value| value.parse::<usize>().unwrap());
    let card = number("--card=").map(|index| OpenCard::open(index, None).unwrap() as Arc<dyn Machine>);
    let emulated = text("--emulation=").map(|directory| Emulation::build(Path::new(directory), &[16]));
    let (threads, repeats) = (number("--threads=").unwrap_or(2), number("--repeats=").unwrap_or(5));
    let (sizes, machine) = match emulated {
        Some(emulated) => (Sizes { product: 32, floats: 100 }, Some(Arc::new(emulated) as Arc<dyn Machine>)),
        None => (Sizes::CARD, card),
    };
    match (&name[..], machine) {
        ("probe", None) => probe(threads),
        ("probe", Some(machine)) => probe_card(&machine, sizes),
        (name, machine) => Pool::new(threads).unwrap().install(|| {
            time(name, repeats, number("--recomputed=").unwrap_or(0), machine);
        }),
    }
}
