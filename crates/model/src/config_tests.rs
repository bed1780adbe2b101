//! What `config.json` may not say: sizes that no memory holds, and numbers that nothing can be computed with.

use serde_json::{Value, json};

use super::{ModelConfig, RopeScaling};

/// A Llama of one layer, with `changes` to its fields.
fn parsed(changes: &Value) -> Result<ModelConfig, String> {
    let mut config = json!({
        "model_type": "llama",
        "vocab_size": 64,
        "hidden_size": 128,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "intermediate_size": 256,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 2048,
    });
    let fields = config.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    ModelConfig::parse(&config.to_string())
}

#[test]
fn a_table_of_positions_takes_a_gibibyte_at_most() {
    // 4 bytes × 128 numbers a position × 2^21 positions are 1 GiB.
    assert_eq!(parsed(&json!({"max_position_embeddings": 1 << 21})).unwrap().positions_max, 1 << 21);
    let said = "for which the table of positions takes more than 1 GiB; lower it";
    for (positions, width) in [((1 << 21) + 1, 128), (1 << 24, 128), (1 << 24, 18), (1 << 17, 1 << 12)] {
        let error = parsed(&json!({"max_position_embeddings": positions, "head_dim": width})).unwrap_err();
        assert_eq!(error, format!("`max_position_embeddings` is {positions}, {said}"));
    }
}

#[test]
fn numbers_that_nothing_can_be_computed_with_are_refused_by_field() {
    let llama3 = |low: f64, high: f64, context: f64| {
        let names = ["low_freq_factor", "high_freq_factor", "original_max_position_embeddings"];
        let mut scaling = json!({"rope_type": "llama3", "factor": 8.0});
        names.iter().zip([low, high, context]).for_each(|(name, value)| scaling[*name] = json!(value));
        json!({"rope_scaling": scaling})
    };
    assert!(parsed(&llama3(1.0, 4.0, 8192.0)).is_ok());
    // Under both its names, as transformers writes it.
    let both = parsed(&json!({"rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 4.0}})).unwrap();
    assert_eq!(both.rope_scaling, RopeScaling::Linear { factor: 4.0 });
    // The first frequency is one radian a position: over 2π positions it turns once, as often as both factors say, so
    // that the share that is kept is 0/0.
    let one_turn = llama3(1.0, 1.0, std::f64::consts::TAU);
    // The smallest f64 above 0.
    let vanishing = 5e-324;
    for (changes, expected) in [
        // Above the largest f32, 3.4e38.
        (json!({"rms_norm_eps": 1e39}), "`rms_norm_eps` is inf in f32; it must be a finite number ≥ 0"),
        (json!({"rms_norm_eps": -1e-6}), "`rms_norm_eps` is -0.000001 in f32; it must be"),
        (
            json!({"num_attention_heads": 257, "num_key_value_heads": 1, "head_dim": 2}),
            "`num_attention_heads` gives each of `num_key_value_heads` 257 query heads; at most 256 are supported",
        ),
        (json!({"rope_theta": 1.0}), "`rope_theta` is 1; it must be > 1"),
        (json!({"rope_theta": -1e4}), "`rope_theta` is -10000; it must be > 1"),
        (
            json!({"rope_scaling": {"type": "linear", "factor": vanishing}}),
            "`rope_scaling` is Linear { factor: 5e-324 }",
        ),
        (json!({"rope_parameters": {"rope_type": "linear", "factor": vanishing}}), "which gives no frequencies"),
        (json!({"rope_scaling": {"type": "linear", "factor": 0.0}}), "`rope_scaling` needs a positive `factor`"),
        (json!({"rope_scaling": {"type": "linear"}}), "`rope_scaling` needs a positive `factor`"),
        (one_turn, "`rope_scaling` is Llama3 {"),
        (llama3(-1.0, 4.0, 8192.0), "`rope_scaling` needs a positive `low_freq_factor`"),
    ] {
        let error = parsed(&changes).unwrap_err();
        assert!(error.contains(expected), "{changes}: {error}");
    }
}

#[test]
fn what_python_writes_for_numbers_that_are_none_is_no_json() {
    let config = include_str!("../tests/data/llama/config.json");
    assert!(ModelConfig::parse(config).is_ok());
    for written in ["NaN", "Infinity", "-Infinity", "1e999"] {
        let error = ModelConfig::parse(&config.replace("1e-05", written)).unwrap_err();
        assert!(error.contains(" at line "), "{written}: {error}");
    }
}
