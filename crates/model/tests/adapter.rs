//! Adapters against peft, against finite differences, and merged.
//!
//! Reference values come from peft in f64 (`scripts/reference/adapter_reference.py`); tolerances as in `reference.rs`.

mod support;

use model::{Batch, Compute, Model, ModelConfig, ModelPlace, TrainerWorkspace, merge, read_weights, write_directory};
use model::{StoredType, TensorFiles};

use support::{ADAPTED, adapted, adapter_directory, directory, model, sequences, tensors};

/// Logprobs of the tokens of every sequence but its first, as the trainer computes them.
fn logprobs(model: &Model, sequences: &[Vec<u32>]) -> Vec<f32> {
    let mut workspace = TrainerWorkspace::default();
    model.forward(&batch(sequences), &mut workspace).iter().map(|token| token.logprob).collect()
}

fn batch(sequences: &[Vec<u32>]) -> Batch {
    let mut batch = Batch::new(1.0);
    for tokens in sequences {
        batch.push_group(&tokens[..1], &[&tokens[1..]]);
    }
    batch
}

fn joined(reference: &std::collections::BTreeMap<String, Vec<f32>>, name: &str) -> Vec<f32> {
    (0..3).flat_map(|i| reference[&format!("{name}.{i}")].clone()).collect()
}

fn largest_difference(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// −Σ weights · logprobs, and the gradients of every parameter.
fn loss_and_gradients(model: &Model, sequences: &[Vec<u32>], weights: &[f32]) -> (f64, Vec<Vec<f32>>) {
    let (batch, mut workspace) = (batch(sequences), TrainerWorkspace::default());
    let out = model.forward(&batch, &mut workspace);
    let loss = out.iter().zip(weights).map(|(token, &w)| -f64::from(w) * f64::from(token.logprob)).sum();
    let slopes: Vec<f32> = weights.iter().map(|w| -w).collect();
    let mut gradients = model.zeros();
    model.backward(&batch, &slopes, &mut workspace, &mut gradients);
    (loss, gradients.tensors)
}

#[test]
fn logprobs_and_gradients_equal_those_of_peft() {
    for family in ADAPTED {
        let (model, given) = (adapted(family, Compute::F32), tensors(family, "reference.safetensors"));
        let reference = tensors("adapters", &format!("{family}/reference.safetensors"));
        let sequences = sequences(&given);
        let difference = largest_difference(&logprobs(&model, &sequences), &joined(&reference, "logprobs"));
        assert!(difference < 5e-5, "{family}: logprobs differ by {difference:e}");
        let (loss, gradients) = loss_and_gradients(&model, &sequences, &joined(&given, "weights"));
        let expected = f64::from(reference["loss"][0]);
        assert!((loss - expected).abs() < 5e-5 * expected.abs().max(1.0), "{family}: loss {loss}, expected {expected}");
        assert_eq!(gradients.len(), reference.keys().filter(|name| name.starts_with("gradient.")).count(), "{family}");
        for (parameter, gradient) in model.parameters().iter().zip(&gradients) {
            let theirs = &reference[&format!("gradient.{}", parameter.name)];
            let square = |x: f32| f64::from(x) * f64::from(x);
            let [difference, norm] = [
                gradient.iter().zip(theirs).map(|(a, b)| square(a - b)).sum::<f64>(),
                theirs.iter().map(|&x| square(x)).sum::<f64>(),
            ];
            let difference = (difference / norm).sqrt();
            assert!(difference < 2e-5, "{family}: gradient of {} differs by {difference:e}", parameter.name);
        }
    }
}

/// Adds `step` times `direction` to one parameter.
fn move_along(model: &mut Model, tensor: usize, (direction, step): (&[f32], f32)) {
    model.update(|index, parameter| {
        let step = if index == tensor { step } else { 0.0 };
        parameter.values.iter_mut().zip(direction).for_each(|(value, along)| *value += step * along);
    });
}

#[test]
fn gradients_equal_finite_differences() {
    // Of f32 losses: an error of 2e-5 in one moves a slope of 5 by 5e-4 of it, and the third derivative moves it by 2e-3.
    // A hundredth tells a missing term or a wrong scale.
    const STEP: f32 = 4e-3;
    for family in ADAPTED {
        let (mut model, given) = (adapted(family, Compute::F32), tensors(family, "reference.safetensors"));
        let (sequences, weights) = (sequences(&given), joined(&given, "weights"));
        let (_, gradients) = loss_and_gradients(&model, &sequences, &weights);
        for (tensor, gradient) in gradients.iter().enumerate() {
            // Along its own gradient, where the slope is the gradient's norm.
            let norm = gradient.iter().map(|&g| f64::from(g) * f64::from(g)).sum::<f64>().sqrt();
            let mut loss_after = |step: f32| {
                move_along(&mut model, tensor, (gradient, step / norm as f32));
                loss_and_gradients(&model, &sequences, &weights).0
            };
            let (above, below) = (loss_after(STEP), loss_after(-2.0 * STEP));
            loss_after(STEP);
            let slope = (above - below) / (2.0 * f64::from(STEP));
            let name = &model.parameters()[tensor].name;
            assert!((slope / norm - 1.0).abs() < 1e-2, "{family}: slope {slope} along {name}, gradient {norm}");
        }
    }
}

#[test]
fn an_adapter_that_was_written_is_read_bit_for_bit() {
    let place = tempfile::tempdir().unwrap();
    for family in ADAPTED {
        let (model, written) = (adapted(family, Compute::F32), place.path().join(family));
        write_directory(&model, &directory(family), &written, StoredType::Bf16).unwrap();
        let read = model::Adapter::read(&written, (model.config(), Compute::F32)).unwrap();
        let read = model.clone().with_adapter(read);
        assert_eq!(read.parameters(), model.parameters(), "{family}");
        assert_eq!(read.adapter().unwrap().settings(), model.adapter().unwrap().settings(), "{family}");
        assert_eq!(read.adapter().unwrap().base(), format!("tests/data/{family}"));
    }
}

#[test]
fn a_merged_model_computes_what_its_base_and_adapter_do() {
    let place = tempfile::tempdir().unwrap();
    for family in ADAPTED {
        let (written, over) = (place.path().join(family), ModelPlace::local(&adapter_directory(family)).unwrap());
        assert_eq!(over.base, std::path::Path::new(&format!("tests/data/{family}")));
        let summary = merge(&over, &written).unwrap();
        assert_eq!(summary.adapted * 2, adapted(family, Compute::F32).parameters().len(), "{family}");
        let (merged, stored) = read_weights(&written, ModelConfig::read(&written).unwrap(), Compute::F32).unwrap();
        assert_eq!((stored, summary.parameters), (StoredType::F32, merged.parameter_count()), "{family}");
        let reference = tensors("adapters", &format!("{family}/reference.safetensors"));
        let sequences = sequences(&tensors(family, "reference.safetensors"));
        let difference = largest_difference(&logprobs(&merged, &sequences), &joined(&reference, "logprobs"));
        assert!(difference < 5e-5, "{family}: logprobs differ by {difference:e}");
        // What is not adapted is copied.
        let norm = [merged.config().width];
        let [ours, theirs] = [&written, &directory(family)]
            .map(|of| TensorFiles::open(of).unwrap().read("model.norm.weight", &norm).unwrap());
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_whole_model_is_not_merged() {
    let error = merge(&directory("qwen3").into(), std::path::Path::new("nowhere")).unwrap_err().to_string();
    assert!(error.contains("is a whole model; give the directory of an adapter"), "{error}");
}

#[test]
fn tensors_that_are_missing_too_many_or_of_another_shape_are_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let model = adapted("qwen2", Compute::F32);
    write_directory(&model, &directory("qwen2"), place.path(), StoredType::F32).unwrap();
    let refused = |changed: &[model::TensorView<'_>]| {
        model::write_tensors(&place.path().join("adapter_model.safetensors"), changed, StoredType::F32).unwrap();
        let read = model::Adapter::read(place.path(), (model.config(), Compute::F32));
        read.map(drop).unwrap_err().to_string()
    };
    let views: Vec<model::TensorView<'_>> = model.parameters().iter().map(model::TensorView::of).collect();
    let first = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
    let error = refused(&views[1..]);
    assert!(
        error
            .ends_with(&format!("has no tensor `{first}`, which adapter_config.json asks for; save the adapter again"))
    );
    let mut changed = views.clone();
    changed[0].shape.reverse();
    let error = refused(&changed);
    assert!(
        error.contains(&format!(
            "tensor `{first}` has shape [48, 3] where adapter_config.json and the base ask for [3, 48]"
        )),
        "{error}"
    );
    changed[0] = views[0].clone();
    changed.push(model::TensorView { name: "base_model.model.lm_head.lora_A.weight", ..views[0].clone() });
    let error = refused(&changed);
    assert!(
        error.contains("has a tensor `base_model.model.lm_head.lora_A.weight`, for which the base has no place"),
        "{error}"
    );
}

#[test]
fn a_base_that_is_not_there_or_is_an_adapter_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let adapter = place.path().join("first");
    write_directory(&adapted("qwen3", Compute::F32), &directory("qwen3"), &adapter, StoredType::F32).unwrap();
    for (base, expected) in [
        ("nowhere/base", "`base_model_name_or_path` is \"nowhere/base\", and there is no such directory".to_owned()),
        (
            adapter.to_str().unwrap(),
            format!("`base_model_name_or_path` is \"{}\", which is an adapter itself", adapter.display()),
        ),
    ] {
        let second = place.path().join("second");
        let settings = model("qwen3", Compute::F32);
        let new = model::Adapter::new(
            adapted("qwen3", Compute::F32).adapter().unwrap().settings().clone(),
            base.to_owned(),
            (settings.config(), Compute::F32),
            |shape| Ok::<_, std::convert::Infallible>(vec![0.0; shape.count()]),
        );
        let Ok(new) = new;
        write_directory(&settings.with_adapter(new), &directory("qwen3"), &second, StoredType::F32).unwrap();
        let error = ModelPlace::local(&second).unwrap_err().to_string();
        assert!(error.contains(&expected), "{error}");
    }
}
