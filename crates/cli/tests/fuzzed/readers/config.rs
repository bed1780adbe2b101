//! Configs: of a run, of a fine-tuning, of a sweep.

use std::sync::LazyLock;

use model::{Compute, ModelConfig};
use rl::{
    config::{RunConfig, parse_config},
    estimate::plan,
    sft::SftConfig,
    sweep::Sweep,
};

use super::{Reading, place, refused, write};

/// A model of the embedded task's size, which every config that is in range can be planned for.
static SHAPE: LazyLock<ModelConfig> = LazyLock::new(|| {
    let text = r#"{"model_type": "qwen3", "vocab_size": 36, "hidden_size": 64, "intermediate_size": 176,
        "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 96}"#;
    ModelConfig::parse(text).expect("a shape")
});

/// Config that the arms of a sweep change.
const BASE: &str = "model.path = 'm'\nproblems.path = 'p'\nrollout = { prompts_per_step = 4, group_size = 4, \
                    completion_tokens_max = 8 }\ntrain = { steps = 2, shaping = { grpo = {} } }\n";

/// A config in range is read again as it was written, and can be planned for.
pub(super) fn run(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let _ = parse_config::<SftConfig>(text, &[]);
    let Ok(config) = parse_config::<RunConfig>(text, &[]) else { return Reading::Refused };
    if config.check().is_err() {
        return Reading::Refused;
    }
    let written = config.to_toml();
    let again: RunConfig = parse_config(&written, &[]).expect("a config that was written is read");
    assert_eq!(again, config);
    assert_eq!(again.to_toml(), written);
    assert_eq!(config.first_difference(&written), None);
    if let Ok(plan) = plan(&config, &*SHAPE, Compute::F32, Some(1 << 30)) {
        assert!(plan.estimate.total() <= 1 << 30, "{plan:?}");
    }
    Reading::Read
}

/// Every run of a sweep is in range and in a directory below the one given. `@` stands for a base config.
pub(super) fn sweep(bytes: &[u8]) -> Reading {
    place(|place| {
        let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
        let (base, path) = (place.join("base.toml"), place.join("sweep.toml"));
        write(&base, BASE.as_bytes());
        // Nothing else may be opened: who runs a sweep says which base it has.
        let named =
            toml::from_str::<toml::Table>(text).ok().and_then(|table| Some(table.get("base")?.as_str()? == "@"));
        if named == Some(false) {
            return Reading::Refused;
        }
        write(&path, text.replace('@', &base.display().to_string()).as_bytes());
        let out = place.join("sweep");
        let runs = match Sweep::read(&path).and_then(|sweep| sweep.runs(&out, &[])) {
            Ok(runs) => runs,
            Err(error) => return refused(&error, ".toml"),
        };
        for run in &runs {
            assert_eq!(run.root.parent(), Some(out.as_path()), "{}", run.root.display());
            run.config.check().expect("every run is in range");
        }
        Reading::Read
    })
}
