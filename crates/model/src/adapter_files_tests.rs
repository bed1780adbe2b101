//! Tests of what `adapter_config.json` may say and may not.

use super::*;

const PLAIN_CONFIG: &str = r#"{"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8,
    "target_modules": ["v_proj", "q_proj"], "base_model_name_or_path": "models/tiny", "bias": "none", "lora_dropout": 0.1,
    "modules_to_save": null, "rank_pattern": {}, "layers_to_transform": [], "use_dora": false, "init_lora_weights": true,
    "megatron_core": "megatron.core", "qalora_group_size": 16, "revision": "main", "inference_mode": true}"#;

/// The plain config with one field changed, or taken away.
fn changed(field: &str, value: Option<Value>) -> Result<AdapterConfig, String> {
    let mut fields: Map<String, Value> = serde_json::from_str(PLAIN_CONFIG).unwrap();
    match value {
        Some(value) => drop(fields.insert(field.to_owned(), value)),
        None => drop(fields.remove(field)),
    }
    AdapterConfig::parse(&serde_json::to_vec(&fields).unwrap())
}

#[test]
fn a_plain_config_of_peft_is_read() {
    let config = AdapterConfig::parse(PLAIN_CONFIG.as_bytes()).unwrap();
    let targets = vec![Projection::Query, Projection::Value];
    assert_eq!(config.settings, AdapterSettings { rank: 4, alpha: 8.0, scaling: AdapterScaling::Rank, targets });
    let root = changed("use_rslora", Some(json!(true))).unwrap().settings;
    // 8/4 and 8/√4.
    assert_eq!((config.base.as_str(), [config.settings.scale(), root.scale()]), ("models/tiny", [2.0, 4.0]));
}

#[test]
fn what_would_change_the_logits_is_refused_by_field_and_value() {
    let known = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj";
    let merge = "which is not supported; merge the adapter with peft (`merge_and_unload`) and use the whole model";
    for (field, value, expected) in [
        ("peft_type", Some(json!("IA3")), "`peft_type` is \"IA3\"; supported is \"LORA\"".to_owned()),
        ("peft_type", None, "`peft_type` is null; supported is \"LORA\"".to_owned()),
        ("task_type", Some(json!("SEQ_CLS")), "`task_type` is \"SEQ_CLS\"; supported is \"CAUSAL_LM\"".to_owned()),
        ("use_dora", Some(json!(true)), format!("`use_dora` is true, {merge}")),
        ("bias", Some(json!("all")), format!("`bias` is \"all\", {merge}")),
        ("modules_to_save", Some(json!(["lm_head"])), format!("`modules_to_save` is [\"lm_head\"], {merge}")),
        ("rank_pattern", Some(json!({"q_proj": 8})), format!("`rank_pattern` is {{\"q_proj\":8}}, {merge}")),
        ("alpha_pattern", Some(json!({"q_proj": 8})), format!("`alpha_pattern` is {{\"q_proj\":8}}, {merge}")),
        ("layers_to_transform", Some(json!([0])), format!("`layers_to_transform` is [0], {merge}")),
        ("a_field_of_the_future", Some(json!(1)), format!("`a_field_of_the_future` is 1, {merge}")),
        ("revision", Some(json!("v2")), format!("`revision` is \"v2\", {merge}")),
        (
            "init_lora_weights",
            Some(json!("pissa")),
            "`init_lora_weights` is \"pissa\", which changes the base, too; merge the adapter with peft \
             (`merge_and_unload`) and use the whole model"
                .to_owned(),
        ),
        ("r", Some(json!(0)), "`r` is 0; it must be between 1 and 4096".to_owned()),
        ("r", Some(json!(1e9)), "`r` is 1000000000.0; it must be between 1 and 4096".to_owned()),
        (
            "lora_alpha",
            Some(json!("8")),
            "`lora_alpha` is \"8\"; it must be a number of magnitude 1000000 at most".to_owned(),
        ),
        (
            "lora_alpha",
            Some(json!(1e30)),
            "`lora_alpha` is 1e+30; it must be a number of magnitude 1000000 at most".to_owned(),
        ),
        ("use_rslora", Some(json!("yes")), "`use_rslora` is \"yes\"; it must be true or false".to_owned()),
        (
            "base_model_name_or_path",
            None,
            "`base_model_name_or_path` is null; set it to the model that the adapter belongs to".to_owned(),
        ),
        (
            "target_modules",
            Some(json!("all-linear")),
            format!("`target_modules` is \"all-linear\"; it must be a list of some of {known}"),
        ),
        (
            "target_modules",
            Some(json!(["q_proj", "lm_head"])),
            format!("`target_modules` names \"lm_head\", which is not supported; it must be a list of some of {known}"),
        ),
    ] {
        let found = changed(field, value.clone()).map(|config| config.settings).unwrap_err();
        assert_eq!(found, expected, "{field}: {value:?}");
    }
}
