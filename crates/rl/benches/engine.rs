//! Times one row of docs/performance.md: `cargo bench -p rl --bench engine -- ROW`. `cargo xtask bench` runs all.
//!
//! Prints one line of JSON: the row, seconds of each repeat, tokens of a repeat, and the largest memory of the process.
//! The row `probe` prints what the machine can do at most instead.

#![expect(clippy::print_stdout, reason = "how a benchmark answers")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run fails")]

use std::{convert::Infallible, time::Instant};

use model::{
    Batch, Cache, Chunk, Compute, Model, ModelConfig, SamplerWorkspace, Sampling, Tensors, TrainerWorkspace,
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
const SMOLLM2: &str = r#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "rms_norm_eps": 1e-5,
    "rope_theta": 100000, "max_position_embeddings": 8192, "tie_word_embeddings": true}"#;

const ANY_TOKEN: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 };

/// What a row measures.
enum Work {
    /// One optimizer step on sequences of so many tokens.
    Train { sequences: usize, tokens: usize },
    /// New tokens after prompts of so many tokens, one sequence each.
    Decode { sequences: usize, prompt: usize, new: usize },
    /// As `Decode`, but for the pass over the prompts, which is done once before all repeats.
    Context { sequences: usize, prompt: usize, new: usize },
    /// A step of sampling and training: problems, completions of each, tokens of each after a prompt of 32.
    Step { problems: usize, completions: usize, tokens: usize },
}

fn row(name: &str) -> Option<(&'static str, Work)> {
    Some(match name {
        "s-train" => (S, Work::Train { sequences: 16, tokens: 256 }),
        "m-train" => (M, Work::Train { sequences: 1, tokens: 512 }),
        "m-train-1024" => (M, Work::Train { sequences: 1, tokens: 1024 }),
        "s-decode" => (S, Work::Decode { sequences: 64, prompt: 32, new: 128 }),
        "s-decode-context-256" => (S, Work::Context { sequences: 16, prompt: 256, new: 32 }),
        "s-decode-context-1024" => (S, Work::Context { sequences: 16, prompt: 1024, new: 32 }),
        "s-decode-context-4096" => (S, Work::Context { sequences: 16, prompt: 4096, new: 32 }),
        "s-decode-context-8192" => (S, Work::Context { sequences: 16, prompt: 8192, new: 32 }),
        "m-decode-1" => (M, Work::Decode { sequences: 1, prompt: 32, new: 32 }),
        "m-decode-16" => (M, Work::Decode { sequences: 16, prompt: 32, new: 32 }),
        "smollm2-decode" => (SMOLLM2, Work::Decode { sequences: 64, prompt: 32, new: 64 }),
        "s-grpo" => (S, Work::Step { problems: 8, completions: 16, tokens: 128 }),
        "s-grpo-group-4" => (S, Work::Step { problems: 8, completions: 4, tokens: 128 }),
        "s-grpo-group-64" => (S, Work::Step { problems: 8, completions: 64, tokens: 128 }),
        "smollm2-grpo" => (SMOLLM2, Work::Step { problems: 8, completions: 8, tokens: 150 }),
        _ => return None,
    })
}

fn random_model(shape: &str, compute: Compute) -> Model {
    let config = ModelConfig::parse(shape).unwrap();
    let mut stream = Stream::new(1, Purpose::Parameters, [0; 3]);
    let Ok(model) = Model::new(config, compute, |shape| {
        let is_matrix = shape.shape.len() > 1;
        let mut value = || if is_matrix { (0.04 * (stream.uniform() - 0.5)) as f32 } else { 1.0 };
        Ok::<_, Infallible>((0..shape.count()).map(|_| value()).collect())
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

    /// Decodes after prompts that are held already.
    fn decode(&mut self, sequences: usize, (prompt, new): (usize, usize)) {
        let mut workspace = SamplerWorkspace::default();
        if self.prompts.is_empty() {
            let held = |sequence| self.held(&self.tokens(sequence as u64, prompt), &mut workspace);
            self.prompts = (0..sequences).map(held).collect();
        }
        let mut owns = vec![Cache::new(&self.model); sequences];
        let mut tokens = vec![[1_u32]; sequences];
        let uniforms = vec![0.5; sequences];
        for _ in 0..new {
            let places = tokens.iter().zip(&self.prompts).zip(&mut owns);
            let mut chunks: Vec<Chunk<'_>> =
                places.map(|((tokens, prompt), own)| Chunk { tokens, shared: Some(prompt), own }).collect();
            let rows = self.model.advance(&mut chunks, &mut workspace).to_vec();
            let drawn = self.model.draw(&rows, &ANY_TOKEN, &uniforms, &mut workspace);
            for (token, drawn) in tokens.iter_mut().zip(drawn) {
                token[0] = drawn.token;
            }
        }
    }

    /// Forward, backward and update over groups, in micro-batches of one group when they are many.
    fn train(&mut self, groups: &[(Vec<u32>, Vec<Vec<u32>>)], rows_max: usize) {
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
                self.train(&all, 2048);
                sequences * tokens
            }
            Work::Decode { sequences, prompt, new } => {
                self.sample(sequences, 1, (prompt, new));
                sequences * new
            }
            Work::Context { sequences, prompt, new } => {
                self.decode(sequences, (prompt, new));
                sequences * new
            }
            Work::Step { problems, completions, tokens } => {
                let sampled = self.sample(problems, completions, (32, tokens));
                let prompts = (0..problems).map(|problem| self.tokens(problem as u64, 32));
                let groups: Vec<_> = prompts.zip(sampled).collect();
                self.train(&groups, 2048);
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

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [name, rest @ ..] = &arguments[..] else { return };
    let number = |key: &str| {
        rest.iter().find_map(|argument| argument.strip_prefix(key)).map(|value| value.parse::<usize>().unwrap())
    };
    let (threads, repeats) = (number("--threads=").unwrap_or(2), number("--repeats=").unwrap_or(5));
    if name == "probe" {
        return probe(threads);
    }
    let (shape, compute) = match (name.strip_suffix("-f32"), name.strip_suffix("-bf16")) {
        (Some(shape), _) => (shape, Compute::F32),
        (_, Some(shape)) => (shape, Compute::Bf16),
        (None, None) => panic!("{name}: a row ends in -f32 or -bf16"),
    };
    let (shape, work) = row(shape).unwrap_or_else(|| panic!("there is no row {name}"));
    Pool::new(threads).unwrap().install(|| {
        let workspace = TrainerWorkspace::new(number("--recomputed=").unwrap_or(0));
        let mut bench = Bench { model: random_model(shape, compute), workspace, training: None, prompts: Vec::new() };
        let mut tokens = bench.repeat(&work);
        let mut seconds = Vec::new();
        for _ in 0..repeats {
            let start = Instant::now();
            tokens = bench.repeat(&work);
            seconds.push(start.elapsed().as_secs_f64());
        }
        let peer = format!("brevity {}, {} threads", model::instruction_set().name(), threads::count());
        println!(
            "{{\"row\": \"{name}\", \"peer\": \"{peer}\", \"seconds\": {seconds:?}, \"tokens\": {tokens}, \"peak_bytes\": {}}}",
            peak_bytes()
        );
    });
}
