//! The rows of the comparison: which model, how much work, against whom. Only numbers and names live here.
//!
//! The shapes and the work are those of `crates/rl/benches/engine.rs` and `scripts/bench/rows.py`, which have the names
//! of the rows from here.

/// Dimensions of a decoder with tied embeddings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) vocabulary: u64,
    pub(super) width: u64,
    pub(super) layers: u64,
    pub(super) query_heads: u64,
    pub(super) key_value_heads: u64,
    pub(super) head_width: u64,
    pub(super) mlp_width: u64,
    pub(super) head_norms: HeadNorms,
}

/// Whether queries and keys have norms of their own.
#[derive(Debug, Clone, Copy)]
pub(super) enum HeadNorms {
    /// As in Qwen3.
    Two,
    /// As in Llama.
    None,
}

impl Shape {
    /// Numbers that are trained: embeddings, once; attention, MLP and norms of each layer; the last norm.
    pub(super) fn parameters(&self) -> u64 {
        let (queries, keys) = (self.query_heads * self.head_width, self.key_value_heads * self.head_width);
        let head_norms = match self.head_norms {
            HeadNorms::Two => 2 * self.head_width,
            HeadNorms::None => 0,
        };
        let attention = self.width * (2 * queries + 2 * keys) + head_norms;
        let mlp = 3 * self.width * self.mlp_width;
        self.vocabulary * self.width + self.layers * (attention + mlp + 2 * self.width) + self.width
    }
}

pub(super) const S: Shape = Shape {
    vocabulary: 512,
    width: 256,
    layers: 6,
    query_heads: 8,
    key_value_heads: 4,
    head_width: 32,
    mlp_width: 768,
    head_norms: HeadNorms::Two,
};
/// The dimensions of Qwen3-0.6B.
pub(super) const M: Shape = Shape {
    vocabulary: 151_936,
    width: 1024,
    layers: 28,
    query_heads: 16,
    key_value_heads: 8,
    head_width: 128,
    mlp_width: 3072,
    head_norms: HeadNorms::Two,
};
/// The dimensions of Qwen3-1.7B.
pub(super) const L: Shape = Shape { width: 2048, mlp_width: 6144, ..M };
/// SmolLM2-135M.
pub(super) const SMOLLM2: Shape = Shape {
    vocabulary: 49_152,
    width: 576,
    layers: 30,
    query_heads: 9,
    key_value_heads: 3,
    head_width: 64,
    mlp_width: 1536,
    head_norms: HeadNorms::None,
};

/// What a repeat does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// One optimizer step on sequences of so many tokens.
    Train { sequences: u64, tokens: u64 },
    /// New tokens after prompts of so many tokens, one sequence each.
    Decode { sequences: u64, prompt: u64, new: u64 },
    /// New tokens after prompts of so many tokens, of so many completions each; the pass over the prompts is not timed.
    Context { problems: u64, completions: u64, prompt: u64, new: u64 },
    /// Sampling completions of so many tokens after prompts of [`STEP_PROMPT_TOKENS`], and one optimizer step on them.
    Step { problems: u64, completions: u64, tokens: u64 },
}

pub(super) const STEP_PROMPT_TOKENS: u64 = 32;

/// The type in which products take their factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compute {
    F32,
    Bf16,
}

/// Whom a row is compared with; each is a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Peer {
    /// PyTorch: plain in training rows, transformers in decode rows, TRL in steps of GRPO.
    PyTorch,
    /// TRL with weights and moments in bf16: faster, and small updates are lost to rounding.
    Bf16Weights,
    LlamaCpp,
}

impl Peer {
    pub(super) const ALL: [Self; 3] = [Self::PyTorch, Self::Bf16Weights, Self::LlamaCpp];

    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::PyTorch => "PyTorch",
            Self::Bf16Weights => "bf16 weights",
            Self::LlamaCpp => "llama.cpp",
        }
    }

    /// What `peers.py` calls the row.
    pub(super) fn row(self, row: &Row) -> String {
        let work = match row.work {
            // TRL computes in bf16 whatever the weights are in, so these rows carry no type.
            Work::Step { .. } => row.engine.trim_end_matches("-f32").trim_end_matches("-bf16"),
            Work::Train { .. } | Work::Decode { .. } | Work::Context { .. } => row.engine,
        };
        match self {
            Self::PyTorch => work.to_owned(),
            Self::Bf16Weights => format!("{work}-bf16-weights"),
            Self::LlamaCpp => format!("{work}@llama"),
        }
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) name: &'static str,
    /// What the engine's benchmark calls it: `name`, unless the row differs by its threads alone.
    pub(super) engine: &'static str,
    pub(super) shape: Shape,
    pub(super) work: Work,
    pub(super) compute: Compute,
    /// Threads, where the row is about them.
    pub(super) threads: Option<usize>,
    pub(super) peers: &'static [Peer],
    /// The share of the machine's limit that we want to reach.
    pub(super) aim: Option<f64>,
    /// Whether the row is measured on an NVIDIA card, not on the processor.
    pub(super) is_on_card: bool,
}

impl Row {
    const fn new(name: &'static str, shape: Shape, work: Work, compute: Compute) -> Self {
        Self { name, engine: name, shape, work, compute, threads: None, peers: &[], aim: None, is_on_card: false }
    }

    const fn on_card(name: &'static str, shape: Shape, work: Work, aim: f64) -> Self {
        let row = Self::new(name, shape, work, Compute::Bf16).peers(PYTORCH);
        Self { aim: Some(aim), is_on_card: true, ..row }
    }

    const fn peers(self, peers: &'static [Peer]) -> Self {
        Self { peers, ..self }
    }

    /// An aim over the limit it was set against, both in tokens per second, or the limit over the aim in seconds.
    const fn aim(self, numerator: f64, denominator: f64) -> Self {
        Self { aim: Some(numerator / denominator), ..self }
    }

    pub(super) fn named(name: &str) -> Option<&'static Self> {
        ROWS.iter().find(|row| row.name == name)
    }
}

const S_TRAIN: Work = Work::Train { sequences: 16, tokens: 256 };
const M_TRAIN: Work = Work::Train { sequences: 1, tokens: 512 };
const S_DECODE: Work = Work::Decode { sequences: 64, prompt: 32, new: 128 };
const SMOLLM2_DECODE: Work = Work::Decode { sequences: 64, prompt: 32, new: 64 };
const SMOLLM2_STEP: Work = Work::Step { problems: 8, completions: 8, tokens: 150 };

const fn m_decode(sequences: u64) -> Work {
    Work::Decode { sequences, prompt: 32, new: 32 }
}

const fn s_context(prompt: u64) -> Work {
    Work::Context { problems: 16, completions: 1, prompt, new: 32 }
}

const fn s_step(completions: u64) -> Work {
    Work::Step { problems: 8, completions, tokens: 128 }
}

/// 32,768 tokens in sequences of so many.
const fn card_train(tokens: u64) -> Work {
    Work::Train { sequences: 32_768 / tokens, tokens }
}

/// 256 sequences after prompts of 2,048 tokens that differ.
const CARD_DECODE: Work = Work::Context { problems: 256, completions: 1, prompt: 2048, new: 64 };
/// 256 sequences after prompts of 8,192 tokens that 16 of them share: apart they would take 240 GB.
const CARD_DECODE_GROUPS: Work = Work::Context { problems: 16, completions: 16, prompt: 8192, new: 64 };

const PYTORCH: &[Peer] = &[Peer::PyTorch];
const DECODERS: &[Peer] = &[Peer::PyTorch, Peer::LlamaCpp];
const TRL: &[Peer] = &[Peer::PyTorch, Peer::Bf16Weights];

/// Every row, in the order of the table. The aims are those this project set itself on two cores of Zen 5 with
/// AVX-512, where f32 has 450 to 465 GFLOP/s, bf16 815 to 870 GFLOP/s and memory 36 to 44 GB/s; on a card, of what its
/// own products and copies reach.
pub(super) const ROWS: &[Row] = {
    use Compute::{Bf16, F32};
    &[
        Row::new("s-train-f32", S, S_TRAIN, F32).peers(PYTORCH).aim(10_500.0, 14_300.0),
        Row::new("s-train-bf16", S, S_TRAIN, Bf16).peers(PYTORCH).aim(17_500.0, 25_900.0),
        Row::new("s-decode-f32", S, S_DECODE, F32).peers(DECODERS).aim(25_000.0, 43_700.0),
        Row::new("s-decode-bf16", S, S_DECODE, Bf16).peers(DECODERS).aim(40_000.0, 79_200.0),
        Row::new("m-train-bf16", M, M_TRAIN, Bf16).peers(PYTORCH).aim(165.0, 201.0),
        Row::new("m-train-f32", M, M_TRAIN, F32).peers(PYTORCH).aim(85.0, 110.0),
        Row::new("m-decode-1-bf16", M, m_decode(1), Bf16).peers(DECODERS).aim(33.0, 36.7),
        Row::new("m-decode-16-bf16", M, m_decode(16), Bf16).peers(DECODERS).aim(400.0, 550.0),
        Row::new("s-grpo-bf16", S, s_step(16), Bf16).peers(TRL).aim(1.0, 1.3),
        Row::new("s-grpo-f32", S, s_step(16), F32).peers(PYTORCH),
        Row::new("smollm2-decode-f32", SMOLLM2, SMOLLM2_DECODE, F32).peers(DECODERS),
        Row::new("smollm2-decode-bf16", SMOLLM2, SMOLLM2_DECODE, Bf16).peers(DECODERS),
        Row::new("smollm2-grpo-bf16", SMOLLM2, SMOLLM2_STEP, Bf16).peers(TRL),
        Row::new("s-decode-context-256-f32", S, s_context(256), F32),
        Row::new("s-decode-context-1024-f32", S, s_context(1024), F32),
        Row::new("s-decode-context-4096-f32", S, s_context(4096), F32),
        Row::new("s-decode-context-8192-f32", S, s_context(8192), F32),
        Row::new("s-decode-context-256-bf16", S, s_context(256), Bf16),
        Row::new("s-decode-context-1024-bf16", S, s_context(1024), Bf16),
        Row::new("s-decode-context-4096-bf16", S, s_context(4096), Bf16),
        Row::new("s-decode-context-8192-bf16", S, s_context(8192), Bf16),
        Row::new("s-grpo-group-4-bf16", S, s_step(4), Bf16),
        Row::new("s-grpo-group-64-bf16", S, s_step(64), Bf16),
        Row::on_card("card-m-train-2048-bf16", M, card_train(2048), 0.45),
        Row::on_card("card-m-train-8192-bf16", M, card_train(8192), 0.45),
        Row::on_card("card-m-decode-2048-bf16", M, CARD_DECODE, 0.6),
        Row::on_card("card-m-decode-8192-bf16", M, CARD_DECODE_GROUPS, 0.6),
        Row::on_card("card-l-train-2048-bf16", L, card_train(2048), 0.45),
        Row::on_card("card-l-train-8192-bf16", L, card_train(8192), 0.45),
        Row::on_card("card-l-decode-2048-bf16", L, CARD_DECODE, 0.6),
        Row::on_card("card-l-decode-8192-bf16", L, CARD_DECODE_GROUPS, 0.6),
        Row { engine: "s-grpo-bf16", threads: Some(1), ..Row::new("s-grpo-bf16-threads-1", S, s_step(16), Bf16) },
    ]
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn parameters_are_those_of_the_published_models() {
        // S by hand: 512·256 + 6·(256·(2·256 + 2·128) + 2·32 + 3·256·768 + 2·256) + 256; the others as published.
        for (shape, expected) in [(S, 4_853_376), (M, 596_049_920), (L, 1_720_574_976), (SMOLLM2, 134_515_008)] {
            assert_eq!(shape.parameters(), expected);
        }
    }

    #[test]
    fn names_are_unique_and_engine_rows_end_in_their_type() {
        let names: BTreeSet<&str> = ROWS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), ROWS.len());
        for row in ROWS {
            let suffix = match row.compute {
                Compute::F32 => "-f32",
                Compute::Bf16 => "-bf16",
            };
            assert!(row.engine.ends_with(suffix), "{}", row.engine);
            assert_eq!(row.engine == row.name, row.threads.is_none(), "{}", row.name);
        }
    }

    #[test]
    fn peers_have_rows_of_their_own_names() {
        for (row, expected) in [
            ("s-train-f32", &["s-train-f32"][..]),
            ("m-decode-1-bf16", &["m-decode-1-bf16", "m-decode-1-bf16@llama"]),
            ("s-grpo-f32", &["s-grpo"]),
            ("smollm2-grpo-bf16", &["smollm2-grpo", "smollm2-grpo-bf16-weights"]),
            ("s-grpo-bf16-threads-1", &[]),
        ] {
            let row = Row::named(row).expect("the row is there");
            let peers: Vec<String> = row.peers.iter().map(|peer| peer.row(row)).collect();
            assert_eq!(peers, expected, "{}", row.name);
        }
    }
}
