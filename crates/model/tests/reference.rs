//! The network against PyTorch: logits, logprobs, entropies, every gradient and ten AdamW steps, in four families.
//!
//! Reference values come from transformers in f64 (`scripts/reference/model_reference.py`); transformers' own f32 run
//! differs from them by at most 8e-6 in logits and 4e-6 (relative, in norm) in gradients, which sets the tolerances.

mod support;

use kernels::adamw;
use model::{Batch, Buffer, Cache, Chunk, Compute, Model, SamplerWorkspace, TrainerWorkspace};

use support::{FAMILIES, model, sequences, tensors};

/// The whole sequence as one completion of its first token.
fn batch(sequences: &[Vec<u32>]) -> Batch {
    let mut batch = Batch::new(1.0);
    for tokens in sequences {
        batch.push_group(&tokens[..1], &[&tokens[1..]]);
    }
    batch
}

fn largest_difference(ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max)
}

/// ‖ours − theirs‖ / ‖theirs‖.
fn relative_difference(ours: &[f32], theirs: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = ours.iter().zip(theirs).map(|(a, b)| square(a - b)).sum();
    (difference / theirs.iter().map(|&x| square(x)).sum::<f64>().max(1e-30)).sqrt()
}

#[test]
fn logits_equal_those_of_transformers() {
    for family in FAMILIES {
        let (model, reference) = (model(family, Compute::F32), tensors(family, "reference.safetensors"));
        for (index, tokens) in sequences(&reference).iter().enumerate() {
            let (mut cache, mut workspace) = (Cache::new(&model), SamplerWorkspace::default());
            let (mut logits, mut row) = (Vec::new(), Buffer::new());
            for token in tokens {
                let mut chunks = [Chunk { tokens: &[*token], shared: None, own: &mut cache }];
                model.logits(&mut row, model.advance(&mut chunks, &mut workspace));
                logits.extend_from_slice(&row);
            }
            let difference = largest_difference(&logits, &reference[&format!("logits.{index}")]);
            assert!(difference < 5e-5, "{family}, sequence {index}: logits differ by {difference:e}");
        }
    }
}

#[test]
fn logprobs_and_entropies_equal_those_of_transformers() {
    for family in FAMILIES {
        let (model, reference) = (model(family, Compute::F32), tensors(family, "reference.safetensors"));
        let mut workspace = TrainerWorkspace::default();
        let out = model.forward(&batch(&sequences(&reference)), &mut workspace);
        let joined = |name: &str| (0..3).flat_map(|i| reference[&format!("{name}.{i}")].clone()).collect::<Vec<_>>();
        let logprobs: Vec<f32> = out.iter().map(|token| token.logprob).collect();
        let entropies: Vec<f32> = out.iter().map(|token| token.entropy).collect();
        let differences =
            [largest_difference(&logprobs, &joined("logprobs")), largest_difference(&entropies, &joined("entropy"))];
        assert!(differences.iter().all(|&d| d < 5e-5), "{family}: logprobs and entropies differ by {differences:?}");
    }
}

#[test]
fn every_gradient_equals_that_of_pytorch_and_none_is_zero() {
    for family in FAMILIES {
        let (model, reference) = (model(family, Compute::F32), tensors(family, "reference.safetensors"));
        let batch = batch(&sequences(&reference));
        let mut workspace = TrainerWorkspace::default();
        let out = model.forward(&batch, &mut workspace);
        let weights: Vec<f32> = (0..3).flat_map(|i| reference[&format!("weights.{i}")].clone()).collect();
        let loss: f64 = out.iter().zip(&weights).map(|(token, &w)| -f64::from(w) * f64::from(token.logprob)).sum();
        let expected = f64::from(reference["loss"][0]);
        assert!((loss - expected).abs() < 5e-5 * expected.abs().max(1.0), "{family}: loss {loss}, expected {expected}");

        let logprob_gradients: Vec<f32> = weights.iter().map(|w| -w).collect();
        let mut gradients = model.zeros();
        model.backward(&batch, &logprob_gradients, &mut workspace, &mut gradients);
        for (parameter, gradient) in model.parameters().iter().zip(&gradients.tensors) {
            let name = &parameter.name;
            assert!(gradient.iter().all(|g| g.is_finite()) && gradient.iter().any(|&g| g != 0.0), "{family}: {name}");
            let difference = relative_difference(gradient, &reference[&format!("gradient.{name}")]);
            assert!(difference < 2e-5, "{family}: gradient of {name} differs by {difference:e}");
        }
    }
}

#[test]
fn ten_adamw_steps_lose_what_pytorch_loses() {
    for family in FAMILIES {
        let (mut model, reference) = (model(family, Compute::F32), tensors(family, "reference.safetensors"));
        let batch = batch(&sequences(&reference));
        let mut moments: Vec<_> =
            model.parameters().iter().map(|p| (vec![0.0; p.values.len()], vec![0.0; p.values.len()])).collect();
        let (mut workspace, mut gradients) = (TrainerWorkspace::default(), model.zeros());
        for (step, &expected_loss) in reference["adamw.losses"].iter().enumerate() {
            let out = model.forward(&batch, &mut workspace);
            let loss = out.iter().map(|token| -f64::from(token.logprob)).sum::<f64>() / out.len() as f64;
            gradients.clear();
            model.backward(&batch, &vec![-1.0 / out.len() as f32; out.len()], &mut workspace, &mut gradients);
            let norm = gradients.norm();
            let relative = |ours: f64, theirs: f32| (ours / f64::from(theirs) - 1.0).abs();
            let differences = [relative(loss, expected_loss), relative(norm, reference["adamw.gradient_norms"][step])];
            assert!(differences[0] < 1e-4 && differences[1] < 5e-4, "{family}, step {step}: off by {differences:?}");
            update(&mut model, &gradients.tensors, &mut moments, (step, norm));
        }
    }
}

fn update(model: &mut Model, gradients: &[Vec<f32>], moments: &mut [(Vec<f32>, Vec<f32>)], at: (usize, f64)) {
    let (step, norm) = at;
    model.update(|index, parameter| {
        let settings = adamw::Step {
            learning_rate: 1e-2,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: if parameter.shape.len() >= 2 { 0.1 } else { 0.0 },
            gradient_scale: (1.0 / (norm + 1e-6)).min(1.0) as f32,
            count: step as u64 + 1,
        };
        let (first_moment, second_moment) = &mut moments[index];
        let tensor =
            adamw::Tensor { values: &mut parameter.values, gradient: &gradients[index], first_moment, second_moment };
        adamw::update(tensor, &settings);
    });
}
