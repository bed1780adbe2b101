//! Runs that train an adapter: what they change, what they leave, and that they go on as if nothing had been.

#![expect(clippy::unwrap_used, reason = "a test whose run cannot be read fails")]

mod support;

use std::path::Path;

use model::{Compute, ModelDirectory, ModelPlace, TensorFiles};
use record::{RunDirectory, write};
use rl::{
    RlError,
    sft::{FineTuning, SftConfig, SftMetrics},
    task::RING,
    trainer::Trainer,
};
use serde_json::json;

use support::world::{World, assert_same_files, files_under, finish, interrupt_after, provenance};

const ADAPTER: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// The place of what a run left, over the model of `world`.
fn trained(world: &World, run: &RunDirectory) -> ModelPlace {
    ModelPlace::of(run.root().join("model"), |name| {
        assert_eq!(name, "model", "the base as the config names it");
        Ok::<_, RlError>(world.model())
    })
    .unwrap()
}

fn values(place: &ModelPlace) -> Vec<Vec<f32>> {
    let source = ModelDirectory::open_place(place, Compute::F32).unwrap();
    source.model.parameters().iter().map(|parameter| parameter.values.clone()).collect()
}

#[test]
fn a_run_trains_and_leaves_the_adapter_alone() {
    let world = World::new();
    let base = files_under(&world.model());
    let run = world
        .run("run", &["model.lora={rank=4,targets=[\"q_proj\",\"down_proj\"]}", "train.optimizer.learning_rate=1e-2"]);
    assert_eq!(files_under(&world.model()), base);
    assert_eq!(files_under(&run.root().join("model")).into_keys().collect::<Vec<_>>(), ADAPTER);
    let checkpoint = files_under(&run.checkpoints()).into_keys().collect::<Vec<_>>();
    let expected =
        ["adapter_config.json", "adapter_model.safetensors", "manifest", "optimizer/model.safetensors", "state.json"];
    assert_eq!(checkpoint, expected.map(|name| format!("step-000003/{name}")));
    // Of each of three layers rank × (64 + 64) for queries and rank × (176 + 64) for down.
    assert_eq!(run.header().unwrap().parameters, 3 * 4 * (128 + 240));
    for step in run.metrics().unwrap() {
        let ratios = [step.ratio_min, step.ratio_mean, step.ratio_max].map(f64::to_bits);
        assert_eq!(ratios, [1.0_f64.to_bits(); 3], "sampler and trainer agree bit for bit");
        assert!(step.gradient_norm > 0.0, "step {}", step.step);
    }
    for (index, values) in values(&trained(&world, &run)).iter().enumerate() {
        // A begins within ±1/√inputs, B at 0, and both have moved.
        assert!(values.iter().any(|value| *value != 0.0), "parameter {index}");
    }
}

#[test]
fn a_run_interrupted_and_resumed_equals_one_that_was_not() {
    let world = World::new();
    let settings =
        ["train.steps=3", "train.loss.kl_weight=0.05", "train.optimizer.weight_decay=0.1", "model.lora={rank=4}"];
    let whole = world.run("whole", &settings);
    let metrics = whole.metrics().unwrap();
    let kl: Vec<f64> = metrics.iter().map(|step| step.kl_nats.unwrap()).collect();
    assert_eq!(kl[0].to_bits(), 0.0_f64.to_bits(), "the policy of the first step is the reference");
    assert!(kl[1] > 0.0 && kl[2] > 0.0, "{kl:?}");
    for step in [1, 2] {
        let name = format!("interrupted-{step}");
        interrupt_after(&mut world.start(&name, &settings).unwrap(), step);
        finish(&mut world.resume(&name).unwrap());
        assert_same_files(&world.path("whole"), &world.path(&name), &[]);
    }
    let other = world.run("other", &["train.steps=1", "seed=4", "model.lora={rank=4}"]);
    assert_ne!(values(&trained(&world, &whole)), values(&trained(&world, &other)));
}

#[test]
fn layers_computed_again_change_no_byte() {
    let world = World::new();
    let settings = ["train.steps=2", "model.lora={rank=4}"];
    world.run("whole", &settings);
    let low = (20..60).map(|step| format!("model.memory_bytes_max={}", step << 20));
    let mut started =
        low.filter_map(|limit| world.start("low", &[settings.as_slice(), &[limit.as_str()]].concat()).ok());
    let mut trainer = started.next().unwrap();
    assert!(trainer.plan().recomputed_layers > 0, "{:?}", trainer.plan());
    finish(&mut trainer);
    assert_same_files(&world.path("whole"), &world.path("low"), &["run.json", "config.toml"]);
}

#[test]
fn an_adapter_is_trained_further_and_none_is_put_over_it() {
    let world = World::new();
    let first = world.run("first", &["train.steps=1", "model.lora={rank=4}"]);
    let place = trained(&world, &first);
    let mut trainer =
        Trainer::start(world.config(&["train.steps=1"]), &place, &world.path("second"), &provenance()).unwrap();
    finish(&mut trainer);
    let header = trainer.run_directory().header().unwrap();
    assert!(header.inputs.contains_key("model.path/adapter/adapter_model.safetensors"), "{:?}", header.inputs.keys());
    let [before, after] = [&place, &trained(&world, trainer.run_directory())].map(values);
    assert_eq!(before.iter().map(Vec::len).collect::<Vec<_>>(), after.iter().map(Vec::len).collect::<Vec<_>>());
    assert_ne!(before, after);
    let over = world.config(&["model.lora={rank=4}"]);
    let error = Trainer::start(over, &place, &world.path("third"), &provenance()).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("`model.lora` is set, and `model.path` is an adapter"), "{error}");
}

#[test]
fn an_adapter_speaks_with_the_template_and_the_end_that_lie_beside_it() {
    let world = World::new();
    let place = trained(&world, &world.run("run", &["train.steps=1", "model.lora={rank=4}"]));
    let ends = |place: &ModelPlace| {
        let source = ModelDirectory::open_place(place, Compute::F32).unwrap();
        let spelt = |id: &u32| source.tokenizer.token(*id).unwrap();
        (source.end_tokens.iter().map(spelt).collect::<Vec<_>>(), spelt(&source.turn_end), source.chat.is_some())
    };
    let had_template = ends(&place).2;
    assert_eq!(ends(&place), (vec!["$".to_owned()], "$".to_owned(), had_template));
    let words = json!({"eos_token": "_", "chat_template": "{{ messages[0].content }}"}).to_string();
    write::replace(&place.adapter.clone().unwrap().join("tokenizer_config.json"), words.as_bytes()).unwrap();
    let expected = (vec!["$".to_owned(), "_".to_owned()], "_".to_owned(), true);
    assert_eq!(ends(&place), expected);
    assert_eq!(ends(&world.model().into()).0, ["$"]);
    // A whole model whose tokenizer_config.json names another end than its other files.
    write::replace(&world.model().join("tokenizer_config.json"), words.as_bytes()).unwrap();
    assert_eq!(ends(&world.model().into()), expected);
}

#[test]
fn fine_tuning_of_an_adapter_learns_and_leaves_it() {
    let world = World::new();
    let rows: Vec<_> = RING
        .demonstrations(64, 1)
        .into_iter()
        .map(|row| json!({"prompt": row.prompt, "completion": row.completion}))
        .collect();
    let demonstrations = world.path("demonstrations.jsonl");
    write::replace(&demonstrations, &write::json_lines(&rows)).unwrap();
    let text = format!(
        r#"
        compute = "f32"
        model = {{ path = "model", lora = {{ rank = 8 }} }}
        demonstrations.path = '{}'
        prompt = {{ template = "plain", instruction = "" }}
        train = {{ steps = 12, batch_size = 16, optimizer = {{ learning_rate = 1e-2 }} }}
        "#,
        demonstrations.display()
    );
    let config: SftConfig = rl::config::parse_config(&text, &[]).unwrap();
    let mut losses = Vec::new();
    let tuning = FineTuning::start(&config, (&world.model().into(), &world.path("tuned")), None).unwrap();
    let watch = |metrics: &SftMetrics| {
        losses.push(metrics.loss_nats);
        true
    };
    let trained = tuning.run(watch).unwrap();
    assert!(losses[11] < 0.8 * losses[0], "{losses:?}");
    assert_eq!(files_under(&trained).into_keys().collect::<Vec<_>>(), ADAPTER);
    assert_eq!(stored_shape(&trained), [8, 64]);
}

fn stored_shape(adapter: &Path) -> Vec<usize> {
    let files = TensorFiles::open_file(adapter.join(ADAPTER[1])).unwrap();
    files.shape("base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight").unwrap().to_vec()
}
