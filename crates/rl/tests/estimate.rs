//! The memory estimate: its parts worked out by hand for the embedded task's model, and what a refusal says.
//!
//! That model: V 36, C 64, L 3, queries of 4·16 = 64 columns, keys and values of 2·16 = 32, MLP 176, 4 bytes a number.
//! A layer has 64·64 + 2·64·32 + 64·64 projections, 16 + 16 head norms, 64 + 64 norms and 3·64·176 of MLP: 46,240
//! parameters. With the tied embedding of 36·64 and the last norm of 64 that is 141,088.

#![expect(clippy::unwrap_used, reason = "a model that cannot be written or read fails the test")]

use model::ModelConfig;
use rl::{
    config::{RunConfig, parse_config},
    estimate::{Estimate, training},
    ring,
};

const PARAMETERS: u64 = 141_088;

const CONFIG: &str = r#"
model.path = "m"
problems.path = "p"
prompt.prompt_tokens_max = 10
rollout = { prompts_per_step = 4, group_size = 3, completion_tokens_max = 20, sequences_max = 10 }
train = { steps = 1, micro_batch_tokens = 100, shaping = { grpo = {} } }
"#;

fn ring_model() -> ModelConfig {
    let directory = tempfile::TempDir::new().unwrap();
    ring::write_start_model(directory.path(), 0).unwrap();
    ModelConfig::read(directory.path()).unwrap()
}

fn estimate(model: &ModelConfig, changes: &[&str]) -> Estimate {
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    let config: RunConfig = parse_config(CONFIG, &changes).unwrap();
    training(&config, model)
}

#[test]
fn every_part_is_what_a_hand_calculation_gives() {
    let model = ring_model();
    // A row keeps, for each layer, 2 residuals and norms of C, queries and attended, keys and values, queries and keys
    // before their norms, and both branches of the MLP; buffers of one layer are shared.
    let kept = 2 * 64 + 2 * 64 + 2 * 32 + (64 + 32) + 2 * 176;
    let buffers = 6 * 64 + 3 * 64 + 3 * 32 + 3 * 176;
    let expected = Estimate {
        weights: 2 * PARAMETERS * 4,
        // The largest weight, one of the MLP's, is packed once more.
        optimizer: (3 * PARAMETERS + 64 * 176) * 4,
        activations: 100 * (3 * kept + buffers) * 4,
        // 10 of 12 sequences at a time, 30 positions, keys and values of 32 in 3 layers.
        cache: 10 * 30 * 3 * 2 * 32 * 4,
        logits: (10 + 128) * 36 * 4,
    };
    assert_eq!(estimate(&model, &[]), expected);
    let total = 1_128_704 + 1_738_112 + 1_401_600 + 230_400 + 19_872;
    assert_eq!(expected.total(), total);
}

#[test]
fn a_reference_doubles_weights_and_activations_and_long_limits_stop_at_the_context() {
    let model = ring_model();
    let (plain, with_reference) = (estimate(&model, &[]), estimate(&model, &["train.loss.kl_weight=0.1"]));
    let doubled = Estimate { weights: 2 * plain.weights, activations: 2 * plain.activations, ..plain.clone() };
    assert_eq!(with_reference, doubled);
    let long = estimate(&model, &["rollout.completion_tokens_max=5000"]);
    assert_eq!(long.cache, plain.cache / 30 * 96, "96 positions of the model");
    let wide = estimate(&model, &["rollout.sequences_max=1000"]);
    assert_eq!(wide.cache, plain.cache / 10 * 12, "4 · 3 completions at most");
}

#[test]
fn a_refusal_names_the_parts_and_the_setting_that_lowers_the_largest() {
    let model = ring_model();
    let plain = estimate(&model, &[]);
    plain.check(plain.total()).unwrap();
    assert!(plain.check(plain.total() - 1).is_err());
    let many = ["rollout.prompts_per_step=1000000", "rollout.sequences_max=1000000"];
    for (changes, expected) in [
        (vec!["train.micro_batch_tokens=1000000"], "lower `train.micro_batch_tokens`"),
        (many.to_vec(), "lower `rollout.sequences_max` or `rollout.completion_tokens_max`"),
    ] {
        let message = estimate(&model, &changes).check(1 << 30).unwrap_err().to_string();
        assert!(message.ends_with(expected), "{message}");
        for part in
            ["weights 0.00 GiB", "gradients and optimizer 0.00 GiB", "activations ", "key-value cache ", "logits "]
        {
            assert!(message.contains(part), "{part} in {message}");
        }
        assert!(message.contains("1.00 GiB are available"), "{message}");
    }
    let message = plain.check(1 << 20).unwrap_err().to_string();
    assert!(message.ends_with("lower the model's size"), "no setting makes weights and optimizer fit: {message}");
}
