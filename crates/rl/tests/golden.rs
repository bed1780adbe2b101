//! Four steps of GRPO-λ end to end, their records compared with recorded digests: a change that moves a number is seen.
//!
//! When a number is meant to move, record it anew and say in the commit which and why:
//!
//! ```text
//! BREVITY_RECORD=1 cargo test -p rl --test golden
//! BREVITY_RECORD=1 BREVITY_CPU=portable cargo test -p rl --test golden    # on x86-64
//! ```
//!
//! Numbers are recorded by arithmetic, since processors without fused multiply-add round products separately, and by
//! the system's mathematical library: shaping, sampling and loss call f64 functions of the platform's C library, which
//! are not correctly rounded and differ between systems in the last bit.

#![expect(clippy::unwrap_used, reason = "a run that fails or a record that cannot be read fails the test")]

mod support;

use std::path::PathBuf;

use record::write;
use serde::{Deserialize, Serialize};

use support::{
    recorded,
    world::{World, expanded, files_under},
};

const FILE: &str = "golden.json";

/// Digests of one run, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Golden {
    /// `fused` or `portable`.
    arithmetic: String,
    /// Digest of f64 functions at fixed arguments; tells mathematical libraries apart.
    library: String,
    /// Of `metrics.jsonl`, with a clock that counts.
    metrics: String,
    /// Of `rollouts/*`, in the order of steps.
    rollouts: String,
}

/// FNV-1a, 64 bits (<http://www.isthe.com/chongo/tech/comp/fnv/>).
fn digest(bytes: impl IntoIterator<Item = u8>) -> String {
    let hash = bytes
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// AVX-512, AVX2 with FMA and aarch64 give the same bits.
fn arithmetic() -> &'static str {
    let is_portable = model::instruction_set().name() == "portable";
    if is_portable && !cfg!(target_arch = "aarch64") { "portable" } else { "fused" }
}

fn library() -> String {
    let arguments = (1..2000).map(|place| f64::from(place) / 128.0);
    digest(arguments.flat_map(|x| {
        [x.exp(), (-x).exp(), x.ln(), x.sin(), x.cos(), x.powf(-0.37)].into_iter().flat_map(f64::to_le_bytes)
    }))
}

fn run() -> Golden {
    let world = World::new();
    let run = world.run("run", &["train.steps=4", "train.loss.kl_weight=0.01", "train.passes=2"]);
    let mut files = files_under(run.root());
    let metrics = files.remove("metrics.jsonl").unwrap();
    let rollouts = files.into_iter().filter(|(name, _)| name.starts_with("rollouts/"));
    let rollouts = rollouts.flat_map(|(_, bytes)| expanded(&bytes));
    Golden { arithmetic: arithmetic().into(), library: library(), metrics: digest(metrics), rollouts: digest(rollouts) }
}

fn record_anew(golden: Golden) {
    let mut all: Vec<Golden> = recorded(FILE);
    all.retain(|other| (&other.arithmetic, &other.library) != (&golden.arithmetic, &golden.library));
    all.push(golden);
    all.sort_by(|a, b| (&a.arithmetic, &a.library).cmp(&(&b.arithmetic, &b.library)));
    let mut bytes = serde_json::to_vec_pretty(&all).unwrap();
    bytes.push(b'\n');
    write::replace(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(FILE), &bytes).unwrap();
}

#[test]
fn digests_are_those_of_the_published_test_vectors() {
    // http://www.isthe.com/chongo/src/fnv/test_fnv.c
    for (text, expected) in [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")] {
        assert_eq!(digest(text.bytes()), expected, "{text:?}");
    }
}

#[test]
fn four_steps_give_the_recorded_numbers() {
    let ours = run();
    if std::env::var_os("BREVITY_RECORD").is_some() {
        return record_anew(ours);
    }
    let all: Vec<Golden> = recorded(FILE);
    let known = all.iter().find(|one| (&one.arithmetic, &one.library) == (&ours.arithmetic, &ours.library));
    let Some(known) = known else {
        panic!(
            "no run is recorded for {} arithmetic and this system's mathematical library ({}), so the numbers may \
             differ from the recorded ones without any change of ours; record them at the commit before your change \
             with BREVITY_RECORD=1 and compare then: {ours:?}",
            ours.arithmetic, ours.library
        );
    };
    assert_eq!(
        &ours, known,
        "numbers moved on the arithmetic and library that they were recorded with; if they are meant to, record them \
         with BREVITY_RECORD=1 and say in the commit which moved and why"
    );
}
