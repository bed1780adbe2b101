//! What kernels take and leave that is more than an array: the structs of the sources, field by field. An [`Address`] is
//! one of the card's memory.

/// Where an array begins.
pub type Address = u64;

/// H and K.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct HeadCounts {
    /// Query heads.
    pub query: i32,
    /// Key-value heads.
    pub key_value: i32,
}

/// At most [`super::launch::TILE_ROWS`] neighbouring query rows of one trunk or branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct QueryBlock {
    /// The first row.
    pub first: i32,
    /// How many.
    pub rows: i32,
    /// First row of the trunk that all see.
    pub trunk_first: i32,
    /// Rows of it; none for a trunk's own rows.
    pub trunk_rows: i32,
    /// First row of the part that they belong to.
    pub own_first: i32,
}

/// At most [`super::launch::TILE_KEYS`] neighbouring rows of one trunk or branch as keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct KeyBlock {
    /// The first row.
    pub first: i32,
    /// How many.
    pub rows: i32,
    /// The part's end: rows up to it see the block causally.
    pub own_end: i32,
    /// All rows from there to here see all of the block.
    pub tree_end: i32,
}

/// What the backward of keys reads.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Forward {
    /// \[N, H, D\] in bf16.
    pub queries: Address,
    /// \[N, K, D\] in bf16.
    pub keys: Address,
    /// \[N, K, D\] in bf16.
    pub values: Address,
    /// \[N, H, D\] in bf16.
    pub out_gradient: Address,
    /// \[N, H\], as the forward left them.
    pub log_sums: Address,
    /// \[N, H\], as `attention_delta` left them.
    pub delta: Address,
}

/// Keys and values in pages, \[pages, K, 64, D\] each, and the numbers of the pages of all prompts and sequences.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Cache {
    /// In bf16.
    pub keys: Address,
    /// In bf16.
    pub values: Address,
    /// Page numbers.
    pub table: Address,
}

/// Neighbouring sequences of one group that a warp decodes together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct SequenceTile {
    /// The first sequence.
    pub first: i32,
    /// How many; times H/K at most 16.
    pub sequences: i32,
    /// Where their prompt's pages begin in the table.
    pub pages: i32,
    /// Positions of the prompt.
    pub positions: i32,
}

/// A sequence's own part of the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct CachedSequence {
    /// Where its pages begin in the table.
    pub pages: i32,
    /// Its positions, the new one included.
    pub positions: i32,
}

/// logits = hidden · headᵀ · inverse temperature.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct HeadProduct {
    /// \[N, C\] in bf16.
    pub hidden: Address,
    /// \[V, C\] in bf16.
    pub head: Address,
    /// N.
    pub rows: i32,
    /// V.
    pub vocabulary: i32,
    /// C.
    pub width: i32,
    /// 1 leaves the logits as they are.
    pub inverse_temperature: f32,
}

/// What one vocabulary block of a row comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct BlockSum {
    /// Largest logit.
    pub largest: f32,
    /// Σ exp(logit − largest).
    pub weight: f32,
    /// Σ exp(logit − largest)·(logit − largest).
    pub below: f32,
}

/// Logprob, entropy and normaliser of a row, nats.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct RowLogprob {
    /// ln p(target).
    pub logprob: f32,
    /// Entropy of the whole distribution.
    pub entropy: f32,
    /// ln Σ exp(logit).
    pub log_sum: f32,
}

/// How to draw: [`crate::sample::Sampling`].
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct DrawSettings {
    /// 0 takes the most likely token.
    pub temperature: f32,
    /// 0 keeps all.
    pub top_k: i32,
    /// 1 keeps all.
    pub top_p: f32,
}

impl From<&crate::sample::Sampling> for DrawSettings {
    fn from(sampling: &crate::sample::Sampling) -> Self {
        // Beyond 31 bits all tokens are kept, as with 0.
        let top_k = i32::try_from(sampling.top_k).unwrap_or(0);
        Self { temperature: sampling.temperature, top_k, top_p: sampling.top_p }
    }
}

/// A drawn token: [`crate::sample::Drawn`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct DrawnToken {
    /// Token id.
    pub token: u32,
    /// Nats.
    pub logprob: f32,
    /// Nats.
    pub entropy: f32,
}

/// Settings of one update, with what depends on the count of updates worked out: [`crate::adamw::Step`].
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct AdamwStep {
    learning_rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    gradient_scale: f32,
    correction1: f32,
    correction2: f32,
}

impl From<&crate::adamw::Step> for AdamwStep {
    fn from(step: &crate::adamw::Step) -> Self {
        let [correction1, correction2] = step.corrections();
        Self {
            learning_rate: step.learning_rate,
            beta1: step.beta1,
            beta2: step.beta2,
            epsilon: step.epsilon,
            weight_decay: step.weight_decay,
            gradient_scale: step.gradient_scale,
            correction1,
            correction2,
        }
    }
}
