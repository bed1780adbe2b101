//! Embedding, norms of rows and of heads with the rotary embedding, sums over rows, biases and rounding.

use kernels::cuda::launch::{self, CHUNK_HEADS, CHUNK_ROWS};

use crate::{
    buffers::{Arguments, Array},
    card::HEAD_WIDTHS,
    compare::{BF16, SUMS, Trial},
    draws::{bf16, doubled, widened},
    naive,
};

/// N and C: C is a multiple of 4, rows end within a block of threads and beyond a chunk.
const SHAPES: [[usize; 2]; 4] = [[1, 4], [9, 132], [CHUNK_ROWS + 3, 20], [2 * CHUNK_ROWS, 260]];
const EPSILON: f32 = 1e-6;

pub(crate) fn embedding(trial: &mut Trial<'_>) {
    for [rows, width] in SHAPES {
        let vocabulary = 7;
        let tokens: Vec<u32> = (0..rows).map(|_| trial.draws.below(vocabulary) as u32).collect();
        let table = trial.draws.normal(vocabulary * width, 1.0);
        let (out, tables, ids) = (Array::<f32>::poisoned(rows * width), Array::read(&table), Array::read(&tokens));
        let inputs = Arguments::default().array(&out).array(&tables).array(&ids).int(rows).int(width);
        trial.card.run(&launch::embedding_forward(rows), inputs);
        let expected: Vec<f32> =
            tokens.iter().flat_map(|&token| table[token as usize * width..][..width].to_vec()).collect();
        assert_eq!(out.values(), expected, "embedding_forward copies");

        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by_key(|&row| (tokens[row as usize], row));
        let is_first = |&place: &usize| {
            place == 0 || place == rows || tokens[order[place] as usize] != tokens[order[place - 1] as usize]
        };
        let starts: Vec<u32> = (0..=rows).filter(is_first).map(|place| place as u32).collect();
        let occurring = starts.len() - 1;
        let (before, gradient) = (trial.draws.normal(vocabulary * width, 1.0), trial.draws.normal(rows * width, 1.0));
        let (sums, gradients) = (Array::change(&before), Array::read(&gradient));
        let (order, starts) = (Array::read(&order), Array::read(&starts));
        let arrays = Arguments::default().array(&sums).array(&gradients).array(&ids).array(&order).array(&starts);
        trial.card.run(&launch::embedding_backward(occurring), arrays.int(occurring).int(width));
        let mut expected = doubled(&before);
        for (row, gradient) in gradient.chunks_exact(width).enumerate() {
            let sums = &mut expected[tokens[row] as usize * width..][..width];
            sums.iter_mut().zip(gradient).for_each(|(sum, &g)| *sum += f64::from(g));
        }
        trial.close("embedding_backward", &doubled(&sums.values()), &expected, SUMS);
    }
}

/// Gradients of input and weight of rows of a norm: with r = 1/√(mean(x²) + ε), ∂x = r·g·w − x·r³/C·Σ g·w·x, ∂w = Σ g·x·r.
fn norm_gradients(gradient: &[f64], rows: &[f64], weight: &[f64]) -> [Vec<f64>; 2] {
    let width = weight.len();
    let mut out = [Vec::new(), vec![0.0; width]];
    for (g, x) in gradient.chunks_exact(width).zip(rows.chunks_exact(width)) {
        let r = (x.iter().map(|x| x * x).sum::<f64>() / width as f64 + f64::from(EPSILON)).sqrt().recip();
        let sum: f64 = (0..width).map(|i| g[i] * weight[i] * x[i]).sum();
        for i in 0..width {
            out[0].push(r * g[i] * weight[i] - x[i] * r.powi(3) / width as f64 * sum);
            out[1][i] += g[i] * x[i] * r;
        }
    }
    out
}

pub(crate) fn norm(trial: &mut Trial<'_>) {
    for [rows, width] in SHAPES {
        let [x, gradient, before] = [2.0, 1.0, 1.0].map(|scale| trial.draws.normal(rows * width, scale));
        let weight = trial.draws.normal(width, 1.0);
        let [inputs, gradients] = [&x, &gradient].map(|values| Array::read(values));
        let weights = Array::read(&weight);
        let out = Array::<u16>::poisoned(rows * width);
        let arrays = Arguments::default().array(&out).array(&inputs).array(&weights);
        trial.card.run(&launch::rms_norm_forward(rows), arrays.value(EPSILON).int(rows).int(width));
        let [wide_x, wide_gradient, wide_weight] = [&x, &gradient, &weight].map(|values| doubled(values));
        let expected = naive::norm(&wide_x, &wide_weight, f64::from(EPSILON));
        trial.close("rms_norm_forward", &widened(&out.values()), &expected, BF16);

        let [by_input, by_weight] = norm_gradients(&wide_gradient, &wide_x, &wide_weight);
        let onto: Vec<f64> = by_input.iter().zip(&before).map(|(g, &before)| f64::from(before) + g).collect();
        let fresh = (launch::rms_norm_backward(rows), Array::<f32>::poisoned(rows * width), by_input);
        let added = (launch::rms_norm_backward_onto(rows), Array::change(&before), onto);
        let mut inverse = Array::<f32>::poisoned(0);
        for (launch, out, expected) in [fresh, added] {
            inverse = Array::<f32>::poisoned(rows);
            let outputs = Arguments::default().array(&out).array(&inverse);
            let arrays = outputs.array(&gradients).array(&inputs).array(&weights);
            trial.card.run(&launch, arrays.value(EPSILON).int(rows).int(width));
            trial.close(launch.kernel, &doubled(&out.values()), &expected, SUMS);
        }

        let launch = launch::rms_norm_weight_chunks(rows, width);
        let (chunks, sum) = (launch.grid[1], Array::change(&weight));
        let partial = Array::<f32>::poisoned(chunks * width);
        let inverse = Array::read(&inverse.values());
        let arrays = Arguments::default().array(&partial).array(&gradients).array(&inputs).array(&inverse);
        trial.card.run(&launch, arrays.int(rows).int(width));
        add_chunks(trial, &sum, &partial, width);
        let expected: Vec<f64> = by_weight.iter().zip(&wide_weight).map(|(sum, before)| before + sum).collect();
        trial.close("rms_norm_weight_chunks", &doubled(&sum.values()), &expected, SUMS);
    }
}

/// Runs `add_chunks` on what another kernel left.
fn add_chunks(trial: &Trial<'_>, sum: &Array<f32>, partial: &Array<f32>, width: usize) {
    let partial = Array::read(&partial.values());
    let chunks = partial.values().len() / width;
    trial.card.run(&launch::add_chunks(width), Arguments::default().array(sum).array(&partial).int(chunks).int(width));
}

pub(crate) fn sums(trial: &mut Trial<'_>) {
    for [rows, width] in SHAPES {
        let (values, bias) = (trial.draws.normal(rows * width, 1.0), trial.draws.normal(width, 1.0));
        let launch = launch::row_chunks(rows, width);
        let (inputs, partial) = (Array::read(&values), Array::<f32>::poisoned(launch.grid[1] * width));
        trial.card.run(&launch, Arguments::default().array(&partial).array(&inputs).int(rows).int(width));
        let sum = Array::change(&bias);
        add_chunks(trial, &sum, &partial, width);
        let column = |i: usize| values.iter().skip(i).step_by(width).map(|&x| f64::from(x)).sum::<f64>();
        let expected: Vec<f64> = (0..width).map(|i| f64::from(bias[i]) + column(i)).collect();
        trial.close("row_chunks and add_chunks", &doubled(&sum.values()), &expected, SUMS);

        let (biased, biases) = (Array::change(&values), Array::read(&bias));
        let arrays = Arguments::default().array(&biased).array(&biases);
        trial.card.run(&launch::add_bias(values.len()), arrays.long(values.len()).int(width));
        let expected: Vec<f32> = values.iter().enumerate().map(|(i, x)| x + bias[i % width]).collect();
        assert_eq!(biased.values(), expected, "add_bias is one addition");

        for scale in [1.0, 0.3_f32] {
            let out = Array::<u16>::poisoned(values.len());
            let arguments = Arguments::default().array(&out).array(&inputs).long(values.len()).value(scale);
            trial.card.run(&launch::round_values(values.len()), arguments);
            let expected: Vec<u16> = values.iter().map(|&x| bf16(scale * x)).collect();
            assert_eq!(out.values(), expected, "round_values");
        }
    }
}

/// What is done to heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Norm,
    Rotation,
}

pub(crate) fn heads(trial: &mut Trial<'_>) {
    for width in HEAD_WIDTHS {
        for [rows, heads] in [[1, 1], [13, 3], [CHUNK_HEADS / 4 + 1, 4]] {
            for parts in [&[Part::Norm, Part::Rotation][..], &[Part::Norm], &[Part::Rotation], &[]] {
                heads_of(trial, [rows, heads, width], parts);
            }
        }
    }
}

/// Arrays that both kernels of heads read.
struct HeadInputs {
    shape: [usize; 2],
    rows: Array<f32>,
    weight: Array<f32>,
    cosines: Array<f32>,
    sines: Array<f32>,
    positions: Array<u32>,
}

impl HeadInputs {
    /// Adds what stands after the outputs.
    fn after<'a>(&'a self, outputs: Arguments<'a>, parts: &[Part]) -> Arguments<'a> {
        let optional = |arguments: Arguments<'a>, part, array: &'a Array<f32>| {
            if parts.contains(&part) { arguments.array(array) } else { arguments.null() }
        };
        let arguments = optional(outputs.array(&self.rows), Part::Norm, &self.weight).value(EPSILON);
        let arguments = optional(arguments, Part::Rotation, &self.cosines).array(&self.sines);
        arguments.array(&self.positions).int(self.shape[0]).int(self.shape[1])
    }
}

fn heads_of(trial: &mut Trial<'_>, [rows, heads, width]: [usize; 3], parts: &[Part]) {
    let length = rows * heads * width;
    let [x, gradient] = [2.0, 1.0].map(|scale| trial.draws.normal(length, scale));
    let weight = trial.draws.normal(width, 1.0);
    let frequencies: Vec<f64> = (0..width / 2).map(|pair| 10_000_f64.powf(-2.0 * pair as f64 / width as f64)).collect();
    let angles: Vec<f64> = (0..50).flat_map(|t| frequencies.iter().map(move |f| f64::from(t) * f)).collect();
    let at: Vec<u32> = (0..rows).map(|_| trial.draws.below(50) as u32).collect();
    let inputs = HeadInputs {
        shape: [rows, heads],
        rows: Array::read(&x),
        weight: Array::read(&weight),
        cosines: Array::read(&angles.iter().map(|angle| angle.cos() as f32).collect::<Vec<_>>()),
        sines: Array::read(&angles.iter().map(|angle| angle.sin() as f32).collect::<Vec<_>>()),
        positions: Array::read(&at),
    };
    let out = Array::<u16>::poisoned(length);
    trial.card.run_for(
        width,
        &launch::head_forward(rows * heads),
        inputs.after(Arguments::default().array(&out), parts),
    );
    let [wide_x, mut by_out, wide_weight] = [&x, &gradient, &weight].map(|values| doubled(values));
    let mut expected = wide_x.clone();
    if parts.contains(&Part::Norm) {
        expected = naive::norm(&expected, &wide_weight, f64::from(EPSILON));
    }
    if parts.contains(&Part::Rotation) {
        expected = naive::rotate(&expected, &at, &frequencies);
        // The transpose of a rotation is the one by the negative angle.
        by_out = naive::rotate(&by_out, &at, &frequencies.iter().map(|f| -f).collect::<Vec<_>>());
    }
    let name = format!("{width} wide, {parts:?}");
    trial.close(&format!("head_forward, {name}"), &widened(&out.values()), &expected, BF16);

    let launch = launch::head_backward(rows * heads, width);
    let (changed, factors) = (Array::change(&gradient), Array::<u16>::poisoned(length));
    let partial = Array::<f32>::poisoned(launch.grid[0] * width);
    let outputs = Arguments::default().array(&changed).array(&factors).array(&partial);
    trial.card.run_for(width, &launch, inputs.after(outputs, parts));
    let [by_input, by_weight] = norm_gradients(&by_out, &wide_x, &wide_weight);
    let expected = if parts.contains(&Part::Norm) { by_input } else { by_out };
    let found = changed.values();
    trial.close(&format!("head_backward, {name}"), &doubled(&found), &expected, SUMS);
    assert_eq!(factors.values(), found.iter().map(|&g| bf16(g)).collect::<Vec<_>>(), "factors of {name}");
    if parts.contains(&Part::Norm) {
        let sum = Array::change(&weight);
        add_chunks(trial, &sum, &partial, width);
        let expected: Vec<f64> = by_weight.iter().zip(&wide_weight).map(|(sum, before)| before + sum).collect();
        trial.close(&format!("head_backward's weight, {name}"), &doubled(&sum.values()), &expected, SUMS);
    }
}
