//! The plan of memory: its parts worked out by hand for the embedded task's model, what gives way first when the limit
//! falls, and what a refusal says.
//!
//! That model: V 36, C 64, L 3, queries of 4·16 = 64 columns, keys and values of 2·16 = 32, MLP 176, 96 positions, 4
//! bytes a number. A layer has 64·64 + 2·64·32 + 64·64 projections, 16 + 16 head norms, 64 + 64 norms and 3·64·176 of
//! MLP: 46,240 parameters. With the tied embedding of 36·64 and the last norm of 64 that is 141,088.

#![expect(clippy::unwrap_used, reason = "a model that cannot be written or read fails the test")]

use model::{Adapter, AdapterScaling, AdapterSettings, Compute, ModelConfig, Projection, threads::Pool};
use rl::{
    RlError,
    config::{RunConfig, parse_config},
    estimate::{Estimate, Plan, PlannedModel, SamplingLoad, plan, plan_fine_tuning, plan_sampling},
    sft::SftConfig,
    task::RING,
};

const PARAMETERS: u64 = 141_088;

/// Words of the packed matrices in f32: outputs are rounded up to a multiple of 32, which takes 176 to 192 and 36 to 64.
/// Of each layer the projections, both branches of the MLP and what joins them; then the embedding.
const PACKED: u64 = 3 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 2 * 64 * 192 + 176 * 64) + 64 * 64;

/// Cosines and sines of 96 positions at 8 frequencies.
const POSITIONS: u64 = 2 * 96 * 8;

/// Bytes of a page of 32 positions in all layers, f32: two heads of keys \[16, 32\] and of values \[32, 32\].
const PAGE: u64 = 3 * 2 * (16 * 32 + 32 * 32) * 4;

/// Floats that a row of a layer keeps: 2 residuals, queries and attended, keys and values, both branches of the MLP, and
/// queries and keys before their norms.
const KEPT: u64 = 2 * 64 + 2 * 64 + 2 * 32 + 2 * 176 + (64 + 32);

/// Floats of a row in the buffers that layers share: residual, norm, and what goes down.
const SHARED: u64 = 64 + 64 + 176;

const CONFIG: &str = r#"
model.path = "m"
problems.path = "p"
prompt.prompt_tokens_max = 10
rollout = { prompts_per_step = 4, group_size = 3, completion_tokens_max = 20, sequences_max = 10 }
train = { steps = 1, micro_batch_tokens = 100, shaping = { grpo = {} } }
"#;

/// 40 · 25 sequences at a time, each of 10 + 80 tokens, in a page and three.
const WIDE: [&str; 1] = ["rollout={prompts_per_step=40,group_size=25,completion_tokens_max=80,sequences_max=1000}"];
const WIDE_CACHE: u64 = (40 + 1000 * 3) * PAGE;
const WIDE_ONE: u64 = 4 * PAGE;

fn ring_model() -> ModelConfig {
    let directory = tempfile::TempDir::new().unwrap();
    RING.write_untrained(directory.path(), 0).unwrap();
    ModelConfig::read(directory.path()).unwrap()
}

fn config(changes: &[&str]) -> RunConfig {
    let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
    parse_config(CONFIG, &changes).unwrap()
}

/// The plan of the config with `changes` for one thread.
fn planned(model: &ModelConfig, changes: &[&str], limit: Option<u64>) -> Result<Plan, RlError> {
    Pool::new(1).unwrap().install(|| plan(&config(changes), model, Compute::F32, limit))
}

fn estimate(model: &ModelConfig, changes: &[&str]) -> Estimate {
    planned(model, changes, None).unwrap().estimate
}

/// Bytes of a left side's packed rows, at most 140, whose blocks of 256 words are 16 apart.
fn left(rows: u64, inner: u64) -> u64 {
    rows.min(140) * inner.div_ceil(256) * 272 * 4
}

/// Bytes of products of `rows` rows: inputs or gradients packed, rows normalised, and of the logits on their way a
/// twelfth of the rows and up to a tile, 512 wide, and a sum of 12 bytes for each row.
fn products(rows: u64) -> u64 {
    let packed = left(rows, 176).max(left(176, rows));
    packed + rows.min(140) * 64 * 4 + rows.min(rows.div_ceil(12) + 31) * 512 * 4 + rows * 12
}

#[test]
fn every_part_is_what_a_hand_calculation_gives() {
    // A micro-batch of 100 rows, of which the largest tree takes 10 + 3 · 19.
    let forward = 100 * (3 * KEPT + SHARED + 64) * 4 + 5 * PAGE / 3;
    // Gradients of the targets, the residual and a norm; of queries and attended, keys and values; of what goes down.
    let gradients = 100 * (3 * 64 + 2 * 64 + 2 * 32 + 176) * 4;
    // 100 rows of 176, in 192 columns; the largest matrix, 64 rows of the same; logits, and 64 columns of their rows.
    let packed = (100 * 192 + 64 * 192 + 100 * 36 + 100 * 64) * 4;
    // A head's keys and values in 3 pages, twice; gradients of both; five arrays of 56 query rows over 29 positions.
    let attention = 2 * 3 * PAGE / 3 / 2 + 2 * 67 * 32 * 4 + 5 * 56 * 29 * 4;
    let expected = Estimate {
        // 16 MiB, and 1 KiB a token.
        program: (16_384 + 36) * 1024,
        weights: (PARAMETERS + PACKED + POSITIONS) * 4,
        optimizer: 3 * PARAMETERS * 4,
        activations: forward + gradients + packed + attention + products(100),
        // 4 prompts of a page and 10 of 12 completions of a page.
        cache: 14 * PAGE,
        // The 40 rows of the prompts are more than the 10 sequences. Each of these has 3 rows of C, logits and a sum.
        sampling: 40 * (KEPT + SHARED) * 4 + 10 * ((3 * 64 + 36) * 4 + 12),
    };
    let model = ring_model();
    assert_eq!(estimate(&model, &[]), expected);
    assert_eq!(expected.weights, 1_164_416);
    assert_eq!(expected.activations, 1_867_728);
    assert_eq!(
        planned(&model, &[], None).unwrap(),
        Plan { estimate: expected, recomputed_layers: 0, cache_bytes_max: 0 }
    );
}

#[test]
fn bf16_halves_what_is_packed() {
    let model = ring_model();
    let [ours, theirs] = [Compute::Bf16, Compute::F32]
        .map(|compute| Pool::new(1).unwrap().install(|| plan(&config(&[]), &model, compute, None)).unwrap().estimate);
    // In matrix registers inner dimensions are filled up to a multiple of 32; elsewhere all here are even.
    let together = Compute::Bf16.elements_together() as u64;
    let filled = |inner: u64| inner.next_multiple_of(together) - inner;
    assert_eq!(ours.weights, (PARAMETERS + PACKED / 2 + 3 * filled(176) / 2 * 64 + POSITIONS) * 4);
    let page = PAGE / 2 + 3 * 2 * filled(16) / 2 * 32 * 4;
    assert_eq!((ours.optimizer, ours.cache, ours.sampling), (theirs.optimizer, 14 * page, theirs.sampling));
    // Packed inputs, weight and rows of logits, the stretches of the layer, and those of the attention's backward. Rows
    // of up to 256 words stay alone in their block.
    let packed = |rows: u64, word: u64, page: u64| (rows * 192 + 64 * 192 + rows * 64) * word + 5 * page / 3 + page;
    let (f32_packed, bf16_packed) = (packed(100, 4, PAGE), packed(100 + filled(100), 2, page));
    // Matrix registers take 64 rows of the attention's backward at once, others 56.
    let attention = if together == 32 { 5 * (64 - 56) * 29 * 4 } else { 0 };
    assert_eq!(ours.activations, theirs.activations - f32_packed + bf16_packed + attention);
}

#[test]
fn a_reference_doubles_weights_and_keeps_the_inputs_of_its_layers_alone() {
    let model = ring_model();
    let (plain, with_reference) = (estimate(&model, &[]), estimate(&model, &["train.loss.kl_weight=0.1"]));
    let reference = 100 * (3 * 64 + KEPT + SHARED + 64) * 4 + 5 * PAGE / 3;
    let activations = plain.activations + reference;
    assert_eq!(with_reference, Estimate { weights: 2 * plain.weights, activations, ..plain });
}

#[test]
fn long_limits_stop_at_the_context_and_evaluations_may_fill_every_place() {
    let model = ring_model();
    let plain = estimate(&model, &[]);
    // A prompt of 1 and a completion of 95, in a page and three.
    assert_eq!(estimate(&model, &["rollout.completion_tokens_max=5000"]).cache, (4 + 10 * 3) * PAGE);
    assert_eq!(estimate(&model, &["rollout.sequences_max=1000"]).cache, (4 + 12) * PAGE, "4 · 3 completions at most");
    let evaluation = "evaluation={every_steps=1,path='e',completion_tokens_max=40}";
    assert_eq!(estimate(&model, &[evaluation]).cache, (10 + 10 * 2) * PAGE, "10 prompts of one completion each");
    let limited = estimate(&model, &[evaluation, "evaluation.limit=3"]);
    assert_eq!(limited.cache, plain.cache, "3 prompts of 1 + 2 pages are less than training takes");
    // Completions that may fill the context do not shorten the prompts, whose rows are computed at once.
    let unlimited = "evaluation={every_steps=1,path='e',completion_tokens_max=5000}";
    assert_eq!(estimate(&model, &[unlimited]).sampling, estimate(&model, &[evaluation]).sampling);
    // A sequence that is longer than a micro-batch stands alone: 10 + 79 rows.
    let [longer, alone] = ["train.micro_batch_tokens=89", "train.micro_batch_tokens=1"]
        .map(|rows| estimate(&model, &[WIDE[0], rows]).activations);
    assert_eq!(longer, alone);
}

#[test]
fn a_falling_limit_bounds_the_cache_first_and_then_has_layers_computed_again() {
    let model = ring_model();
    let at = |limit: u64| planned(&model, &WIDE, Some(limit)).unwrap();
    let whole = estimate(&model, &WIDE);
    assert_eq!(whole.cache, WIDE_CACHE);
    let unbounded = Plan { estimate: whole, recomputed_layers: 0, cache_bytes_max: 0 };
    assert_eq!(at(u64::MAX), unbounded);
    assert_eq!(at(whole.total()), unbounded);

    // Completions that wait come back with up to 1,024 rows beside the 1,000 live ones.
    let sampling = whole.sampling + 1024 * (KEPT + SHARED) * 4;
    let activations = whole.activations + products(2024) - products(1000);
    let bounded = Estimate { sampling, activations, cache: 0, ..whole };
    let quarter = WIDE_CACHE / 4;
    // Two layers of the three keep C alone, and the one at work is whole; so with one layer nothing is saved.
    let two = 100 * (3 * KEPT - (KEPT + 2 * 64 + KEPT)) * 4;
    let three = 100 * (3 * KEPT - (3 * 64 + KEPT)) * 4;
    assert_eq!((two, three), (256_000, 537_600));
    for (saved, recomputed_layers, cache) in [
        (0, 0, WIDE_CACHE - 6_000_000),
        (0, 0, quarter),
        (two, 2, quarter + two - 1),
        (two, 2, quarter),
        (three, 3, quarter + (three - two) - 1),
        (three, 3, quarter),
        (three, 3, quarter - 1),
        (three, 3, WIDE_ONE),
    ] {
        let estimate = Estimate { activations: activations - saved, cache, ..bounded };
        let expected = Plan { estimate, recomputed_layers, cache_bytes_max: cache as usize };
        assert_eq!(at(estimate.total()), expected);
    }
    let least = bounded.total() - three + WIDE_ONE;
    assert!(planned(&model, &WIDE, Some(least - 1)).is_err());
}

#[test]
fn the_bound_of_the_config_is_kept_and_must_have_room_for_one_sequence() {
    let model = ring_model();
    let with = |bytes: u64, limit: Option<u64>| {
        planned(&model, &[WIDE[0], &format!("rollout.cache_bytes_max={bytes}")], limit)
    };
    for limit in [None, Some(u64::MAX)] {
        let plan = with(100 * PAGE, limit).unwrap();
        assert_eq!((plan.estimate.cache, plan.cache_bytes_max as u64), (100 * PAGE, 100 * PAGE));
        assert_eq!(with(2 * WIDE_CACHE, limit).unwrap().estimate.cache, WIDE_CACHE);
        assert_eq!(with(WIDE_ONE, limit).unwrap().estimate.cache, WIDE_ONE);
    }
    // It is below a quarter of what all sequences take, so that layers are computed again before it is lowered.
    let plan = with(100 * PAGE, None).unwrap();
    let tighter = with(100 * PAGE, Some(plan.estimate.total() - 1)).unwrap();
    assert_eq!((tighter.recomputed_layers, tighter.cache_bytes_max as u64), (2, 100 * PAGE));
    let message = with(WIDE_ONE - 1, None).unwrap_err().to_string();
    let expected = format!("is {}, and one prompt and completion of full length take 147456", WIDE_ONE - 1);
    assert!(message.starts_with(&format!("`rollout.cache_bytes_max` {expected}")), "{message}");
}

#[test]
fn a_refusal_names_the_parts_and_the_setting_that_lowers_the_largest() {
    let mut model = ring_model();
    model.positions_max = 1 << 20;
    let many = "rollout.prompts_per_step=1000000";
    for (changes, expected) in [
        ([many, "train.micro_batch_tokens=1000000"], "lower `train.micro_batch_tokens`"),
        ([many, "rollout.sequences_max=1000000"], "lower `rollout.sequences_max`"),
        (
            [many, "rollout.completion_tokens_max=1000000"],
            "lower `rollout.completion_tokens_max` or `prompt.prompt_tokens_max`",
        ),
    ] {
        let message = planned(&model, &changes, Some(1 << 30)).unwrap_err().to_string();
        assert!(message.ends_with(expected), "{message}");
        for part in [
            "program and tokenizer 0.02 GiB",
            "weights 0.06 GiB",
            "gradients and optimizer 0.00 GiB",
            "activations ",
            "key-value cache ",
            "sampling ",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
        assert!(message.contains("1.00 GiB are available"), "{message}");
    }
    let message = |changes: &[&str]| planned(&ring_model(), changes, Some(17 << 20)).unwrap_err().to_string();
    assert!(message(&[]).ends_with("lower the model's size"), "no setting makes weights and optimizer fit");
    assert!(message(&["train.loss.kl_weight=0.1"]).ends_with("or `train.loss.kl_weight` to 0 for no reference"));
}

#[test]
fn fine_tuning_is_planned_from_the_longest_demonstration() {
    let model = ring_model();
    let text = r#"
        model.path = "m"
        demonstrations.path = "d"
        train = { steps = 1, batch_size = 8, micro_batch_tokens = 100 }
    "#;
    let config: SftConfig = parse_config(text, &[]).unwrap();
    let planned = |longest: usize, limit: Option<u64>| {
        Pool::new(1).unwrap().install(|| plan_fine_tuning(&config, &model, Compute::F32, longest, limit))
    };
    let training = estimate(&model, &[]);
    let whole = planned(50, None).unwrap();
    assert_eq!((whole.recomputed_layers, whole.estimate.cache, whole.estimate.sampling), (0, 0, 0));
    assert_eq!((whole.estimate.weights, whole.estimate.optimizer), (training.weights, training.optimizer));
    // 100 rows, as in the run above, with demonstrations of 50 rows in two pages.
    let attention = (2 * 2 * PAGE / 3 / 2 + 2 * 50 * 32 * 4 + 5 * 56 * 50 * 4)
        .abs_diff(2 * 3 * PAGE / 3 / 2 + 2 * 67 * 32 * 4 + 5 * 56 * 29 * 4);
    let forest = PAGE / 3;
    assert_eq!(whole.estimate.activations, training.activations + attention - forest);
    let tight = planned(50, Some(whole.estimate.total() - 256_000)).unwrap();
    assert_eq!((tight.recomputed_layers, tight.cache_bytes_max), (2, 0));
    let message =
        |longest| planned(longest, Some(whole.estimate.program + 2 * whole.estimate.weights)).unwrap_err().to_string();
    assert!(message(50).ends_with("lower the model's size"), "{}", message(50));
    let message = |longest| planned(longest, Some(whole.estimate.program + 3_300_000)).unwrap_err().to_string();
    assert!(message(50).ends_with("lower `train.micro_batch_tokens`"), "{}", message(50));
    assert!(message(101).ends_with("lower the length of demonstrations"), "{}", message(101));
}

#[test]
fn sampling_alone_is_planned_without_what_only_training_needs() {
    let model = ring_model();
    let load = SamplingLoad { groups: 40, group_size: 25, lengths: [10, 80], sequences_max: 1000 };
    let planned = |limit| Pool::new(1).unwrap().install(|| plan_sampling(&model, Compute::F32, load, limit));
    let (alone, training) = (planned(None).unwrap().estimate, estimate(&model, &WIDE));
    assert_eq!((alone.cache, alone.sampling), (training.cache, training.sampling));
    // Of the parameters the embedding and the norms stay, and every packed matrix.
    let kept = 36 * 64 + 3 * (64 + 64 + 16 + 16) + 64;
    assert_eq!((alone.weights, alone.optimizer), (4 * (kept + PACKED + POSITIONS), 0));
    assert!(alone.activations < training.activations / 2, "{alone:?}");

    let limit = alone.total() - WIDE_CACHE / 2;
    let tight = planned(Some(limit)).unwrap();
    assert_eq!((tight.estimate.total(), tight.cache_bytes_max as u64), (limit, tight.estimate.cache));
    let message = planned(Some(alone.total() - alone.cache)).unwrap_err().to_string();
    assert!(message.ends_with("lower how many completions are computed together"), "{message}");
}

/// The shape of Qwen3-1.7B, from its `config.json`.
const LARGE: &str = r#"{"model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-6,
    "rope_theta": 1000000, "max_position_embeddings": 40960, "tie_word_embeddings": true}"#;

#[test]
fn a_model_of_1_7_billion_parameters_fits_24_gibibytes_with_an_adapter_alone() {
    let model = ModelConfig::parse(LARGE).unwrap();
    let adapter =
        AdapterSettings { rank: 16, alpha: 32.0, scaling: AdapterScaling::Rank, targets: Projection::ALL.to_vec() };
    // Per layer, of 2048 wide rows, rank × (inputs + outputs): queries and output 4096 each, keys and values 3072, and
    // three of the MLP 8192.
    let values = 28 * 16 * (2 * 4096 + 2 * 3072 + 3 * 8192);
    assert_eq!(Adapter::parameter_bytes(&model, &adapter), 4 * values);
    // 8 × 8 completions of up to 1,024 tokens.
    let settings = config(&[
        "rollout={prompts_per_step=8,group_size=8,completion_tokens_max=1024}",
        "prompt.prompt_tokens_max=256",
        "train.loss.kl_weight=0.01",
    ]);
    let limit = Some(24 << 30);
    let planned = |adapter| {
        let model = PlannedModel { config: &model, adapter };
        Pool::new(16).unwrap().install(|| plan(&settings, model, Compute::Bf16, limit))
    };
    let Plan { estimate, recomputed_layers, .. } = planned(Some(&adapter)).unwrap();
    assert_eq!(recomputed_layers, 0);
    // 1.72 billion weights in two bytes and the embedding of 311 million in four; gradients and moments of 17 million.
    assert!((4.6e9..5.0e9).contains(&(estimate.weights as f64)), "{estimate:?}");
    assert_eq!(estimate.optimizer, 3 * 4 * values as u64);
    assert!(planned(None).is_err(), "every weight in f32 with its packed copy, gradient and moments");
}
