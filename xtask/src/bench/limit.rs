//! The least seconds that a row's work can take on a machine of which the limits were measured.
//!
//! P parameters, L layers, H query heads, D head width. What is counted is what no implementation can do without:
//!
//! | part | FLOP | bytes from memory |
//! |---|---|---|
//! | weights, forward | 2·P for each token | |
//! | attention, forward | 4·H·D·L for each pair of a position and one that it sees, itself counted half | |
//! | training | 3 times the forward | 28·P: weight, gradient and two moments read, all but the gradient written |
//! | decoding a position | the forward of one token of each sequence | all weights, and the keys and values of all positions seen, in the type of the row |
//!
//! Training takes the sum of both columns, decoding a position the larger one. Bytes that fit the last-level cache of a
//! server, 64 MiB, come at the rate of reads from that much memory, more of them at that from main memory. Norms,
//! activations and sampling are not counted.

use serde::{Deserialize, Serialize};

use super::rows::{Compute, Row, STEP_PROMPT_TOKENS, Shape, Work};

/// What the machine can do at most, as the engine's row `probe` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Probe {
    /// None on a card, where products are of bf16.
    pub(super) f32_gflops: Option<f64>,
    /// None on a CPU without products of bf16 pairs.
    pub(super) bf16_gflops: Option<f64>,
    pub(super) memory_gigabytes_per_second: f64,
    /// Of [`CACHE_BYTES`] that are read again and again; none on a card, whose cache is smaller.
    pub(super) cache_gigabytes_per_second: Option<f64>,
}

/// What the probe takes for the size of the last-level cache.
const CACHE_BYTES: f64 = 67_108_864.0;

impl Probe {
    /// Halfway between two.
    pub(super) fn mean(self, other: Self) -> Self {
        let mean = |a: Option<f64>, b: Option<f64>| a.zip(b).map(|(a, b)| f64::midpoint(a, b));
        Self {
            f32_gflops: mean(self.f32_gflops, other.f32_gflops),
            bf16_gflops: mean(self.bf16_gflops, other.bf16_gflops),
            memory_gigabytes_per_second: self.memory_gigabytes_per_second.midpoint(other.memory_gigabytes_per_second),
            cache_gigabytes_per_second: mean(self.cache_gigabytes_per_second, other.cache_gigabytes_per_second),
        }
    }

    /// Not a number where the rate is not known.
    fn flops_seconds(&self, flops: f64, compute: Compute) -> f64 {
        let gflops = match compute {
            Compute::F32 => self.f32_gflops,
            Compute::Bf16 => self.bf16_gflops.or(self.f32_gflops),
        };
        flops / (gflops.unwrap_or(f64::NAN) * 1e9)
    }

    fn memory_seconds(&self, bytes: f64) -> f64 {
        bytes / (self.memory_gigabytes_per_second * 1e9)
    }

    /// For `bytes` that are read in turn with nothing else.
    fn rereading_seconds(&self, bytes: f64) -> f64 {
        if bytes > CACHE_BYTES {
            return self.memory_seconds(bytes);
        }
        let cache = self.cache_gigabytes_per_second.unwrap_or(0.0);
        bytes / (cache.max(self.memory_gigabytes_per_second) * 1e9)
    }
}

/// Bytes that AdamW moves for each parameter in f32: it reads four numbers and writes three.
const ADAMW_BYTES: f64 = 28.0;

/// The least seconds of a repeat of `row`.
///
/// - training: (6·P·tokens + attention) FLOP at the row's type + 28·P bytes;
/// - decode: new tokens × max((2·P·sequences + attention) FLOP, bytes of weights, keys and values at the row's type);
/// - a GRPO step: 2·P·prompt tokens FLOP, each problem's prompt once + decode + training on prompts and completions.
pub(super) fn seconds(row: &Row, probe: &Probe) -> f64 {
    let Row { shape, compute, .. } = row;
    match row.work {
        Work::Train { sequences, tokens } => {
            let forward = sequences as f64 * forward_flops(shape, 0, tokens);
            training_seconds(shape, *compute, forward, probe)
        }
        Work::Decode { sequences, prompt, new } => decode_seconds(row, (sequences, sequences), (prompt, new), probe),
        Work::Context { problems, completions, prompt, new } => {
            decode_seconds(row, (problems, problems * completions), (prompt, new), probe)
        }
        Work::Step { problems, completions, tokens } => {
            let prefill = problems as f64 * forward_flops(shape, 0, STEP_PROMPT_TOKENS);
            let sequences = problems * completions;
            let sampled = sequences as f64 * forward_flops(shape, STEP_PROMPT_TOKENS, tokens);
            probe.flops_seconds(prefill, *compute)
                + decode_seconds(row, (problems, sequences), (STEP_PROMPT_TOKENS, tokens), probe)
                + training_seconds(shape, *compute, prefill + sampled, probe)
        }
    }
}

fn training_seconds(shape: &Shape, compute: Compute, forward_flops: f64, probe: &Probe) -> f64 {
    let optimizer_bytes = ADAMW_BYTES * shape.parameters() as f64;
    probe.flops_seconds(3.0 * forward_flops, compute) + probe.memory_seconds(optimizer_bytes)
}

/// Decoding `new` positions of each sequence after `prompt` ones, of which only those of the problems differ.
fn decode_seconds(row: &Row, (problems, sequences): (u64, u64), (prompt, new): (u64, u64), probe: &Probe) -> f64 {
    let number_bytes = match row.compute {
        Compute::F32 => 4,
        Compute::Bf16 => 2,
    };
    let Shape { layers, key_value_heads, head_width, .. } = row.shape;
    let flops = sequences as f64 * forward_flops(&row.shape, prompt, new);
    // Halfway through the new positions.
    let positions = (problems * prompt) as f64 + (sequences * new) as f64 / 2.0;
    let position_bytes = 2 * key_value_heads * head_width * layers * number_bytes;
    let bytes = (number_bytes * row.shape.parameters()) as f64 + positions * position_bytes as f64;
    probe.flops_seconds(flops, row.compute).max(new as f64 * probe.rereading_seconds(bytes))
}

/// FLOP of the forward of `tokens` positions of a sequence of which `before` are known.
fn forward_flops(shape: &Shape, before: u64, tokens: u64) -> f64 {
    let tokens = tokens as f64;
    let pairs = tokens * (before as f64 + tokens / 2.0);
    let pair_flops = 4 * shape.query_heads * shape.head_width * shape.layers;
    2.0 * shape.parameters() as f64 * tokens + pair_flops as f64 * pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The limits of two cores of Zen 5, rounded.
    const PROBE: Probe = Probe {
        f32_gflops: Some(450.0),
        bf16_gflops: Some(800.0),
        memory_gigabytes_per_second: 40.0,
        cache_gigabytes_per_second: Some(160.0),
    };

    fn limit(row: &str, probe: &Probe) -> f64 {
        seconds(Row::named(row).expect("the row is there"), probe)
    }

    #[test]
    fn limits_are_those_calculated_by_hand() {
        for (row, expected) in [
            // 4096 tokens · (6 · 4,853,376 + 3 · 6,144 · 128) FLOP / 450e9 + 28 · 4,853,376 bytes / 40e9
            ("s-train-f32", 0.286_533_9 + 0.003_397_4),
            // The same FLOP / 800e9.
            ("s-train-bf16", 0.161_175_3 + 0.003_397_4),
            // 64 · 128 tokens · (2 · 4,853,376 + 6,144 · 96) FLOP / 450e9; the bytes take 128 · 0.36 ms.
            ("s-decode-f32", 0.187_443_5),
            // 512 · (6 · 596,049,920 + 3 · 229,376 · 256) / 800e9 + 28 · 596,049,920 / 40e9
            ("m-train-bf16", 2.401_574_6 + 0.417_234_9),
            // 32 positions · (2 · 596,049,920 + 48 · 114,688) bytes / 40e9
            ("m-decode-1-bf16", 0.958_083_9),
            // 32 positions · (4 · 4,853,376 + 16 · 8,208 · 6,144) bytes / 40e9; the FLOP take 0.07 s.
            ("s-decode-context-8192-f32", 0.661_034_2),
            // Prompts: 8 · 32 · (2 · 4,853,376 + 6,144 · 16) = 2.510_094e9 FLOP.
            // Completions: 128 · 128 · (2 · 4,853,376 + 6,144 · 96) = 168.699_101e9 FLOP.
            // (prompts + completions + 3 · (prompts + completions)) / 800e9 + 28 · 4,853,376 / 40e9
            ("s-grpo-bf16", 0.856_046_0 + 0.003_397_4),
        ] {
            let seconds = limit(row, &PROBE);
            assert!((seconds / expected - 1.0).abs() < 1e-6, "{row}: {seconds} s, by hand {expected} s");
        }
    }

    #[test]
    fn limits_of_a_card_count_a_shared_prompt_once() {
        let card = Probe {
            f32_gflops: None,
            bf16_gflops: Some(700_000.0),
            memory_gigabytes_per_second: 4000.0,
            cache_gigabytes_per_second: None,
        };
        for (row, expected) in [
            // 32,768 tokens · (6 · 596,049,920 + 3 · 229,376 · 1,024) FLOP / 700e12 + 28 · 596,049,920 bytes / 4e12
            ("card-m-train-2048-bf16", 0.200_397_0 + 0.004_172_3),
            // 64 positions · (2 · 596,049,920 + (256 · 2,048 + 256 · 32) · 114,688) bytes / 4e12; the FLOP take 0.039 s.
            ("card-m-decode-2048-bf16", 0.996_178_7),
            // 64 positions · (2 · 1,720,574,976 + (16 · 8,192 + 256 · 32) · 114,688) bytes / 4e12; the FLOP take 0.125 s.
            ("card-l-decode-8192-bf16", 0.310_609_0),
        ] {
            let seconds = limit(row, &card);
            assert!((seconds / expected - 1.0).abs() < 1e-6, "{row}: {seconds} s, by hand {expected} s");
        }
    }

    #[test]
    fn bytes_that_fit_the_cache_come_at_its_rate() {
        // Without multiplications to wait for: 128 positions · (4 · 4,853,376 + 64 · 96 · 6,144) bytes / 160e9.
        let probe = Probe { f32_gflops: Some(1e9), ..PROBE };
        assert!((limit("s-decode-f32", &probe) / 0.045_729_8 - 1.0).abs() < 1e-6);
        let slow_cache = Probe { cache_gigabytes_per_second: Some(1.0), ..probe };
        assert!((limit("s-decode-f32", &slow_cache) / 0.182_919_2 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn bf16_without_instructions_of_its_own_takes_the_time_of_f32() {
        let probe = Probe { bf16_gflops: None, ..PROBE };
        assert_eq!(limit("s-train-bf16", &probe).to_bits(), limit("s-train-f32", &probe).to_bits());
    }

    #[test]
    fn two_probes_count_by_their_mean() {
        let probe = |f32_gflops, bf16_gflops, memory_gigabytes_per_second, cache_gigabytes_per_second| Probe {
            f32_gflops: Some(f32_gflops),
            bf16_gflops: Some(bf16_gflops),
            memory_gigabytes_per_second,
            cache_gigabytes_per_second: Some(cache_gigabytes_per_second),
        };
        let other = probe(350.0, 600.0, 30.0, 40.0);
        let mean = probe(400.0, 700.0, 35.0, 100.0);
        assert_eq!(PROBE.mean(other), mean);
        assert_eq!(PROBE.mean(Probe { bf16_gflops: None, ..other }).bf16_gflops, None);
    }
}
