//! Attention over packed ragged sequences with its gradients: against f64, and its bits alone against those in a batch.

use std::ops::Range;

use kernels::{
    attention::{Heads, Tree},
    cuda::{
        blocks::{key_blocks, query_blocks},
        launch,
        parameters::{Forward, HeadCounts},
    },
};

use crate::{
    buffers::{Arguments, Array},
    compare::{BF16, BF16_SUMS, F32, PRODUCTS, Trial},
    draws::{doubled, widened},
    naive,
};

/// Trees with the heads of their rows, and all that attention reads of them, in bf16.
pub(crate) struct Batch {
    pub(crate) heads: Heads,
    pub(crate) trees: Vec<Tree>,
    /// \[N, H, D\].
    pub(crate) queries: Vec<u16>,
    /// \[N, K, D\].
    pub(crate) keys: Vec<u16>,
    /// \[N, K, D\].
    pub(crate) values: Vec<u16>,
    /// \[N, H, D\].
    out_gradient: Vec<u16>,
}

/// What the forward leaves.
#[derive(Debug, PartialEq)]
pub(crate) struct Outputs {
    /// \[N, H, D\] in bf16.
    pub(crate) out: Vec<u16>,
    /// \[N, H\].
    log_sums: Vec<f32>,
}

/// Trees by the lengths of trunk and branches, one after another.
fn trees(lengths: &[(usize, &[usize])]) -> Vec<Tree> {
    let mut end = 0;
    let mut next = |length: usize| {
        end += length;
        end - length..end
    };
    let tree = |&(trunk, branches): &(usize, &[usize])| Tree {
        trunk: next(trunk),
        branches: branches.iter().map(|&length| next(length)).collect(),
    };
    lengths.iter().map(tree).collect()
}

/// H, K and D, and trees: parts that end before, at and beyond a tile, and parts without rows.
pub(crate) fn batches(trial: &mut Trial<'_>) -> Vec<Batch> {
    let heads = |query, key_value, width| Heads { query, key_value, width };
    let cases: [(Heads, Vec<Tree>); 5] = [
        (heads(4, 2, 16), trees(&[(70, &[3, 0, 65, 130, 1]), (0, &[5, 1])])),
        (heads(2, 1, 64), trees(&[(66, &[2, 70])])),
        (heads(3, 1, 40), trees(&[(0, &[5, 1]), (64, &[]), (1, &[2, 66, 1, 1, 1, 1, 1])])),
        (heads(2, 2, 16), trees(&[(1, &[]), (128, &[1, 64, 63]), (3, &[])])),
        (heads(16, 1, 16), trees(&[(9, &[4, 3])])),
    ];
    cases.into_iter().map(|(heads, trees)| Batch::new(trial, heads, trees)).collect()
}

impl Batch {
    fn new(trial: &mut Trial<'_>, heads: Heads, trees: Vec<Tree>) -> Self {
        let rows = trees.last().map_or(0, |tree| tree.rows().end);
        let (query, columns) = (rows * heads.query_columns(), rows * heads.key_value_columns());
        let mut draw = |length, scale| trial.draws.normal_bf16(length, scale);
        let (queries, keys) = (draw(query, 1.5), draw(columns, 1.0));
        Self { heads, trees, queries, keys, values: draw(columns, 1.0), out_gradient: draw(query, 1.0) }
    }

    pub(crate) fn rows(&self) -> usize {
        self.queries.len() / self.heads.query_columns()
    }

    pub(crate) fn scale(&self) -> f32 {
        1.0 / (self.heads.width as f32).sqrt()
    }

    fn counts(&self) -> HeadCounts {
        let number = |heads: usize| i32::try_from(heads).expect("few heads");
        HeadCounts { query: number(self.heads.query), key_value: number(self.heads.key_value) }
    }

    /// One tree as a batch of its own.
    fn alone(&self, tree: &Tree) -> Self {
        let rows = tree.rows();
        let of = |array: &[u16], columns| array[rows.start * columns..rows.end * columns].to_vec();
        let (query, columns) = (self.heads.query_columns(), self.heads.key_value_columns());
        let moved = |part: &Range<usize>| part.start - rows.start..part.end - rows.start;
        Self {
            heads: self.heads,
            trees: vec![Tree { trunk: moved(&tree.trunk), branches: tree.branches.iter().map(moved).collect() }],
            queries: of(&self.queries, query),
            keys: of(&self.keys, columns),
            values: of(&self.values, columns),
            out_gradient: of(&self.out_gradient, query),
        }
    }

    /// `attention_forward`.
    pub(crate) fn forward(&self, trial: &Trial<'_>) -> Outputs {
        let Heads { query, width, .. } = self.heads;
        let (out, log_sums) = (Array::poisoned(self.queries.len()), Array::poisoned(self.rows() * query));
        let blocks = query_blocks(&self.trees);
        let launch = launch::attention_forward(blocks.len(), query, width);
        let [queries, keys, values] = [&self.queries, &self.keys, &self.values].map(|array| Array::read(array));
        let blocks = Array::read(&blocks);
        let arrays = Arguments::default().array(&out).array(&log_sums).array(&queries).array(&keys).array(&values);
        trial.card.run_for(width, &launch, arrays.array(&blocks).value(self.counts()).value(self.scale()));
        Outputs { out: out.values(), log_sums: log_sums.values() }
    }

    /// Gradients of queries, keys and values, by the three kernels of the backward.
    fn backward(&self, trial: &Trial<'_>, Outputs { out, log_sums }: &Outputs) -> [Vec<f32>; 3] {
        let Heads { query, key_value, width } = self.heads;
        let heads = self.rows() * query;
        let inputs = [&self.queries, &self.keys, &self.values, &self.out_gradient, out];
        let [queries, keys, values, out_gradient, out] = inputs.map(|array| Array::read(array));
        let (log_sums, delta) = (Array::read(log_sums), Array::<f32>::poisoned(heads));
        let arrays = Arguments::default().array(&delta).array(&out).array(&out_gradient);
        trial.card.run_for(width, &launch::attention_delta(heads), arrays.int(heads));
        let delta = Array::read(&delta.values());

        let query_gradient = Array::<f32>::poisoned(self.queries.len());
        let blocks = query_blocks(&self.trees);
        let launch = launch::attention_backward_queries(blocks.len(), query, width);
        let blocks = Array::read(&blocks);
        let arrays = Arguments::default().array(&query_gradient).array(&out_gradient).array(&log_sums).array(&delta);
        let arrays = arrays.array(&queries).array(&keys).array(&values).array(&blocks);
        trial.card.run_for(width, &launch, arrays.value(self.counts()).value(self.scale()));

        let [key_gradient, value_gradient] = [(); 2].map(|()| Array::<f32>::poisoned(self.keys.len()));
        let blocks = key_blocks(&self.trees);
        let launch = launch::attention_backward_keys(blocks.len(), key_value, width);
        let blocks = Array::read(&blocks);
        let forward = Forward {
            queries: queries.address(),
            keys: keys.address(),
            values: values.address(),
            out_gradient: out_gradient.address(),
            log_sums: log_sums.address(),
            delta: delta.address(),
        };
        let arguments = Arguments::default().array(&key_gradient).array(&value_gradient).value(forward).array(&blocks);
        let arguments = arguments.value(self.counts()).value(self.scale());
        let arguments = arguments.reaches(&queries).reaches(&keys).reaches(&values).reaches(&out_gradient);
        trial.card.run_for(width, &launch, arguments.reaches(&log_sums).reaches(&delta));
        [query_gradient, key_gradient, value_gradient].map(|gradient| gradient.values())
    }
}

/// What attention and its gradients come to in f64.
struct Reference {
    out: Vec<f64>,
    log_sums: Vec<f64>,
    gradients: [Vec<f64>; 3],
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64], factor: f64, row: &[f64]) {
    sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * x);
}

/// With s = q·k/√D and p = softmax(s): out = Σ p·v, ∂v = p·∂out, ∂s = p·(∂p − Σ p·∂p) with ∂p = ∂out·v, ∂q = ∂s·k/√D,
/// ∂k = ∂s·q/√D.
fn reference(inputs: &naive::Attention<'_>, out_gradient: &[f64], heads: Heads, trees: &[Tree]) -> Reference {
    let Heads { query, key_value, width } = heads;
    let scale = 1.0 / (width as f64).sqrt();
    let out = naive::attention(inputs, heads, |row, other| naive::sees(trees, row, other));
    let mut log_sums = Vec::new();
    let mut gradients = [inputs.queries, inputs.keys, inputs.values].map(|array| vec![0.0; array.len()]);
    let [queries, keys, values] = &mut gradients;
    for (index, (q, d)) in inputs.queries.chunks_exact(width).zip(out_gradient.chunks_exact(width)).enumerate() {
        let (row, head) = (index / query, index % query / (query / key_value));
        let places = (0..=row).filter(|&other| naive::sees(trees, row, other));
        let places: Vec<Range<usize>> =
            places.map(|other| (other * key_value + head) * width).map(|at| at..at + width).collect();
        let scores: Vec<f64> = places.iter().map(|at| dot(q, &inputs.keys[at.clone()]) * scale).collect();
        let logprobs = naive::log_softmax(&scores);
        log_sums.push(scores[0] - logprobs[0]);
        let by_weight: Vec<f64> = places.iter().map(|at| dot(d, &inputs.values[at.clone()])).collect();
        let mean: f64 = logprobs.iter().zip(&by_weight).map(|(logprob, by)| logprob.exp() * by).sum();
        for (at, (logprob, by)) in places.into_iter().zip(logprobs.iter().zip(by_weight)) {
            let by_score = logprob.exp() * (by - mean) * scale;
            add(&mut queries[index * width..][..width], by_score, &inputs.keys[at.clone()]);
            add(&mut keys[at.clone()], by_score, q);
            add(&mut values[at], logprob.exp(), d);
        }
    }
    Reference { out, log_sums, gradients }
}

/// The gradients above against differences of the plain forward.
fn check_reference(trial: &mut Trial<'_>) {
    const STEP: f64 = 1e-5;
    let heads = Heads { query: 4, key_value: 2, width: 8 };
    let batch = Batch::new(trial, heads, trees(&[(3, &[2, 0, 4]), (0, &[2])]));
    let inputs = [&batch.queries, &batch.keys, &batch.values].map(|array| widened(array));
    let out_gradient = widened(&batch.out_gradient);
    let attention = |[queries, keys, values]: &[Vec<f64>; 3]| -> f64 {
        let inputs = naive::Attention { queries, keys, values };
        dot(&naive::attention(&inputs, heads, |row, other| naive::sees(&batch.trees, row, other)), &out_gradient)
    };
    let [queries, keys, values] = &inputs;
    let plain = naive::Attention { queries, keys, values };
    let expected = reference(&plain, &out_gradient, heads, &batch.trees).gradients;
    for (array, expected) in expected.iter().enumerate() {
        let mut moved = inputs.clone();
        let mut slope = |index: usize| {
            let middle = inputs[array][index];
            let [above, below] = [middle + STEP, middle - STEP].map(|x| {
                moved[array][index] = x;
                attention(&moved)
            });
            moved[array][index] = middle;
            (above - below) / (2.0 * STEP)
        };
        let slopes: Vec<f64> = (0..expected.len()).map(&mut slope).collect();
        trial.close("differences of the reference", &slopes, expected, F32);
    }
}

pub(crate) fn training(trial: &mut Trial<'_>) {
    check_reference(trial);
    for batch in batches(trial) {
        let Heads { query, key_value, width } = batch.heads;
        let name = format!("{query}/{key_value} heads of {width}");
        let [queries, keys, values, out_gradient] =
            [&batch.queries, &batch.keys, &batch.values, &batch.out_gradient].map(|array| widened(array));
        let inputs = naive::Attention { queries: &queries, keys: &keys, values: &values };
        let expected = reference(&inputs, &out_gradient, batch.heads, &batch.trees);
        let forward = batch.forward(trial);
        trial.close(&format!("log sums of {name}"), &doubled(&forward.log_sums), &expected.log_sums, PRODUCTS);
        trial.close(&format!("attention_forward of {name}"), &widened(&forward.out), &expected.out, BF16_SUMS);
        let gradients = batch.backward(trial, &forward);
        for (what, (found, expected)) in
            ["queries", "keys", "values"].iter().zip(gradients.iter().zip(&expected.gradients))
        {
            trial.close(&format!("gradient of {what} of {name}"), &doubled(found), expected, BF16_SUMS);
        }
        check_alone(trial, &batch, (&forward, &gradients));
        check_flat(trial, batch);
    }
}

/// Every tree has the same bits alone as in its batch.
fn check_alone(trial: &Trial<'_>, batch: &Batch, (forward, gradients): (&Outputs, &[Vec<f32>; 3])) {
    for tree in &batch.trees {
        let alone = batch.alone(tree);
        let rows = tree.rows();
        let (query, columns) = (batch.heads.query_columns(), batch.heads.key_value_columns());
        let found = alone.forward(trial);
        assert_eq!(found.out, forward.out[rows.start * query..rows.end * query], "a tree alone and in a batch");
        let of_tree = |array: &[f32], columns| array[rows.start * columns..rows.end * columns].to_vec();
        let expected =
            [of_tree(&gradients[0], query), of_tree(&gradients[1], columns), of_tree(&gradients[2], columns)];
        assert_eq!(alone.backward(trial, &found), expected, "gradients of a tree alone and in a batch");
    }
}

/// With queries of 0 all weights are exactly 1, so that nothing is rounded but the output: a row that is seen, or not,
/// where it should not be, shows.
fn check_flat(trial: &mut Trial<'_>, mut batch: Batch) {
    batch.queries.fill(0);
    let [queries, keys, values] = [&batch.queries, &batch.keys, &batch.values].map(|array| widened(array));
    let inputs = naive::Attention { queries: &queries, keys: &keys, values: &values };
    let expected = naive::attention(&inputs, batch.heads, |row, other| naive::sees(&batch.trees, row, other));
    trial.close("means of values", &widened(&batch.forward(trial).out), &expected, BF16);
}
