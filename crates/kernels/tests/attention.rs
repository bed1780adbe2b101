//! Attention over trees of sequences: against naive f64 loops, against differences, and its bits against other cuts.
//!
//! Tolerances are relative to the largest expected number of an array. Measured errors are less than half of them.

use kernels::{
    Compute,
    attention::{Forest, Gradients, Heads, KeyValues, Saved, Sequence, Stretch, Tree, backward, forward},
};

use support::{assert_close, bits, central_differences, inner_product, naive, numbers, wide, with_threads};

mod support;

const FORWARD: f64 = 5e-7;
const BACKWARD: f64 = 1e-6;
/// Factors rounded to 8 bits: queries, keys, weights, values and gradients. Measured: 5e-3 forward, 1e-2 backward.
const BF16: [f64; 2] = [1e-2, 2e-2];

const COMPUTES: [Compute; 2] = [Compute::F32, Compute::Bf16];

fn heads(query: usize, key_value: usize, width: usize) -> Heads {
    Heads { query, key_value, width }
}

/// A tree whose trunk starts at `start`, then branches of these lengths.
fn tree(start: usize, trunk: usize, branches: &[usize]) -> Tree {
    let mut end = start + trunk;
    let mut next = |length: &usize| {
        end += length;
        end - length..end
    };
    Tree { trunk: start..start + trunk, branches: branches.iter().map(&mut next).collect() }
}

fn batches() -> Vec<(&'static str, Heads, Vec<Tree>)> {
    vec![
        ("one row", heads(1, 1, 2), vec![tree(0, 1, &[])]),
        ("no branches", heads(2, 2, 12), vec![tree(0, 7, &[])]),
        ("empty trunk", heads(3, 1, 10), vec![tree(0, 0, &[4, 1])]),
        ("several branches", heads(4, 2, 12), vec![tree(0, 5, &[3, 1, 7])]),
        ("more heads than rows computed together", heads(65, 1, 2), vec![tree(0, 2, &[1, 2])]),
        ("odd width", heads(5, 5, 3), vec![tree(0, 2, &[1, 2])]),
        (
            "several trees",
            heads(6, 3, 4),
            vec![tree(0, 3, &[2, 1]), tree(6, 0, &[3]), tree(9, 3, &[]), tree(12, 1, &[18, 1])],
        ),
        ("pages and blocks", heads(4, 1, 6), vec![tree(0, 33, &[20, 3])]),
    ]
}

/// Inputs of attention over all rows of a batch.
struct Inputs {
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    out_gradient: Vec<f32>,
}

impl Inputs {
    fn new(rows: usize, heads: Heads) -> Self {
        let (query_columns, columns) = (rows * heads.query * heads.width, rows * heads.key_value * heads.width);
        let queries = numbers(1, query_columns).iter().map(|x| 3.0 * x).collect();
        let keys = numbers(2, columns).iter().map(|x| 2.0 * x).collect();
        Self { queries, keys, values: numbers(3, columns), out_gradient: numbers(4, query_columns) }
    }

    fn key_values(&self) -> KeyValues<'_> {
        KeyValues { keys: &self.keys, values: &self.values }
    }

    fn forward(&self, (heads, compute): (Heads, Compute), trees: &[Tree]) -> Vec<f32> {
        let mut forest = Forest::default();
        forest.fill(self.key_values(), (&heads, compute), trees);
        let mut out = vec![f32::NAN; self.queries.len()];
        forward(&mut out, &self.queries, &heads, &forest.sequences(trees));
        out
    }

    /// The rows `rows` as a stretch, appended in pieces of `piece` rows.
    fn stretch(&self, (heads, compute): (Heads, Compute), rows: std::ops::Range<usize>, piece: usize) -> Stretch {
        let columns = heads.key_value_columns();
        let mut stretch = Stretch::new(heads, compute);
        let at = rows.start * columns..rows.end * columns;
        let (keys, values) = (self.keys[at.clone()].chunks(piece * columns), self.values[at].chunks(piece * columns));
        keys.zip(values).for_each(|(keys, values)| stretch.append(keys, values));
        stretch
    }

    /// Gradients of queries, keys and values.
    fn backward(&self, (heads, compute): (Heads, Compute), trees: &[Tree]) -> [Vec<f32>; 3] {
        let [mut queries, mut keys, mut values] =
            [&self.queries, &self.keys, &self.values].map(|input| vec![f32::NAN; input.len()]);
        let gradients = Gradients { queries: &mut queries, keys: &mut keys, values: &mut values };
        let saved = Saved { queries: &self.queries, key_values: self.key_values() };
        backward(gradients, saved, &self.out_gradient, (&heads, compute), trees);
        [queries, keys, values]
    }
}

fn row_count(trees: &[Tree]) -> usize {
    trees.last().map_or(0, |tree| tree.rows().end)
}

#[test]
fn a_tree_spans_its_trunk_and_branches() {
    let tree = tree(2, 2, &[2, 1]);
    assert_eq!((tree.rows(), tree.branches), (2..7, vec![4..6, 6..7]));
}

#[test]
fn attention_matches_f64() {
    for (name, heads, trees) in batches() {
        let inputs = Inputs::new(row_count(&trees), heads);
        let [queries, keys, values] = [&inputs.queries, &inputs.keys, &inputs.values].map(|x| wide(x));
        let wide_inputs = naive::Attention { queries: &queries, keys: &keys, values: &values };
        let expected = naive::attention(&wide_inputs, heads, |row, other| naive::sees(&trees, row, other));
        assert_close(name, &inputs.forward((heads, Compute::F32), &trees), &expected, FORWARD);
        assert_close(name, &inputs.forward((heads, Compute::Bf16), &trees), &expected, BF16[0]);
    }
}

#[test]
fn attention_backward_matches_the_differences() {
    for (name, heads, trees) in batches() {
        let inputs = Inputs::new(row_count(&trees), heads);
        let [queries, keys, values, gradient] =
            [&inputs.queries, &inputs.keys, &inputs.values, &inputs.out_gradient].map(|x| wide(x));
        let at = naive::Attention { queries: &queries, keys: &keys, values: &values };
        let loss = |inputs: &naive::Attention<'_>| {
            inner_product(&naive::attention(inputs, heads, |row, other| naive::sees(&trees, row, other)), &gradient)
        };
        let expected = [
            central_differences(&inputs.queries, |queries| loss(&naive::Attention { queries, ..at.clone() })),
            central_differences(&inputs.keys, |keys| loss(&naive::Attention { keys, ..at.clone() })),
            central_differences(&inputs.values, |values| loss(&naive::Attention { values, ..at.clone() })),
        ];
        // A row that sees itself alone has query and key gradients of exactly 0: all three are judged as one array.
        for (compute, tolerance) in [(Compute::F32, BACKWARD), (Compute::Bf16, BF16[1])] {
            assert_close(name, &inputs.backward((heads, compute), &trees).concat(), &expected.concat(), tolerance);
        }
    }
}

#[test]
fn scores_of_any_size_give_finite_weights() {
    let heads = heads(1, 1, 4);
    let keys: Vec<f32> = numbers(1, 20).iter().map(|x| 1e6 * x).collect();
    let (queries, values) = (vec![1e3; 4], numbers(2, 20));
    let mut out = [f32::NAN; 4];
    let mut own = Stretch::new(heads, Compute::F32);
    own.append(&keys, &values);
    forward(&mut out, &queries, &heads, &[Sequence { rows: 1, shared: None, own: &own, seen: 5 }]);
    let best = keys.chunks_exact(4).map(|key| key.iter().sum::<f32>()).enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    // All weight is on the largest score.
    let (best, _) = best.unwrap();
    assert_eq!(bits(&out), bits(&values[4 * best..][..4]));
}

#[test]
fn a_row_has_the_same_bits_wherever_its_keys_are_cut() {
    let cases = [(heads(4, 2, 12), 1), (heads(3, 1, 10), 17), (heads(2, 2, 64), 83), (heads(2, 1, 260), 300)];
    for ((heads, seen), compute) in cases.into_iter().flat_map(|case| COMPUTES.map(|compute| (case, compute))) {
        let how = (heads, compute);
        let inputs = Inputs::new(seen, heads);
        let query = &inputs.queries[..heads.query * heads.width];
        let row = |shared: Option<&Stretch>, own: &Stretch| {
            let mut out = vec![f32::NAN; query.len()];
            forward(&mut out, query, &heads, &[Sequence { rows: 1, shared, own, seen: own.len() }]);
            bits(&out)
        };
        let at_once = row(None, &inputs.stretch(how, 0..seen, seen));
        for piece in [1, 3, 32, 50] {
            assert_eq!(row(None, &inputs.stretch(how, 0..seen, piece)), at_once, "{seen} keys in pieces of {piece}");
        }
        // In bf16 neighbouring positions are one term, which a cut elsewhere would part.
        for cut in (0..seen).step_by(seen.div_ceil(90).next_multiple_of(compute.elements_together())) {
            let [shared, own] = [0..cut, cut..seen].map(|rows| inputs.stretch(how, rows, 7));
            assert_eq!(row(Some(&shared), &own), at_once, "{seen} keys cut at {cut}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_beside_any_others() {
    // Forty sequences that share a prompt, and some of another prompt: many blocks, runs of one row and of several.
    let cases = [heads(4, 2, 12), heads(8, 1, 32), heads(3, 3, 64)];
    for how in cases.into_iter().flat_map(|heads| COMPUTES.map(|compute| (heads, compute))) {
        let (heads, _) = how;
        let inputs = Inputs::new(400, heads);
        let prompts = [inputs.stretch(how, 0..71, 71), inputs.stretch(how, 71..103, 32)];
        let owns: Vec<Stretch> = (0..43).map(|i| inputs.stretch(how, 110 + i..110 + i + 1 + i * 3, 9)).collect();
        let sequence = |i: usize| {
            let rows = if i % 7 == 3 { owns[i].len().min(5) } else { 1 };
            Sequence { rows, shared: Some(&prompts[i / 40]), own: &owns[i], seen: owns[i].len() + 1 - rows }
        };
        let columns = heads.query * heads.width;
        let run = |sequences: &[Sequence<'_>], first: usize| {
            let rows: usize = sequences.iter().map(|sequence| sequence.rows).sum();
            let mut out = vec![f32::NAN; rows * columns];
            forward(&mut out, &inputs.queries[first * columns..][..rows * columns], &heads, sequences);
            bits(&out)
        };
        let all: Vec<Sequence<'_>> = (0..43).map(sequence).collect();
        let together = run(&all, 0);
        let mut first = 0;
        for (index, sequence) in all.iter().enumerate() {
            let alone = run(&[*sequence], first);
            assert_eq!(alone, together[first * columns..][..alone.len()], "sequence {index}, {how:?}");
            first += sequence.rows;
        }
    }
}

#[test]
fn a_branch_has_the_bits_of_the_whole_sequence_alone() {
    let heads = heads(4, 2, 12);
    let inputs = Inputs::new(17, heads);
    let batch = bits(&inputs.forward((heads, Compute::F32), &[tree(0, 6, &[4, 7])]));
    let width = heads.query * heads.width;
    // The second branch as a sequence of its own: trunk and branch without a shared stretch.
    let picked: Vec<usize> = (0..6).chain(10..17).collect();
    let pick = |values: &[f32], width: usize| -> Vec<f32> {
        picked.iter().flat_map(|&row| values[row * width..][..width].to_vec()).collect()
    };
    let columns = heads.key_value_columns();
    let alone = Inputs {
        queries: pick(&inputs.queries, width),
        keys: pick(&inputs.keys, columns),
        values: pick(&inputs.values, columns),
        out_gradient: vec![],
    };
    let found = bits(&alone.forward((heads, Compute::F32), &[tree(0, 13, &[])]));
    let expected: Vec<u32> = picked.iter().flat_map(|&row| batch[row * width..][..width].to_vec()).collect();
    assert_eq!(found, expected);
}

#[test]
fn threads_change_no_bit() {
    let (_, heads, trees) = batches().remove(5);
    let inputs = Inputs::new(row_count(&trees), heads);
    for compute in COMPUTES {
        let all = |threads: usize| {
            with_threads(threads, || {
                let [queries, keys, values] = inputs.backward((heads, compute), &trees);
                [inputs.forward((heads, compute), &trees), queries, keys, values].map(|x| bits(&x))
            })
        };
        let one = all(1);
        for threads in [2, 3] {
            assert_eq!(all(threads), one, "{threads} threads, {compute:?}");
        }
    }
}

#[test]
fn a_tree_has_the_same_gradient_bits_alone_and_in_a_batch() {
    let (_, heads, trees) = batches().remove(5);
    let inputs = Inputs::new(row_count(&trees), heads);
    let widths = [heads.query * heads.width, heads.key_value_columns(), heads.key_value_columns()];
    for (compute, tree) in COMPUTES.into_iter().flat_map(|compute| trees.iter().map(move |tree| (compute, tree))) {
        let batch = inputs.backward((heads, compute), &trees);
        let rows = tree.rows();
        let part = |values: &[f32], width: usize| values[rows.start * width..rows.end * width].to_vec();
        let alone = Inputs {
            queries: part(&inputs.queries, widths[0]),
            keys: part(&inputs.keys, widths[1]),
            values: part(&inputs.values, widths[2]),
            out_gradient: part(&inputs.out_gradient, widths[0]),
        };
        let shift = |rows: &std::ops::Range<usize>| rows.start - tree.trunk.start..rows.end - tree.trunk.start;
        let moved = Tree { trunk: shift(&tree.trunk), branches: tree.branches.iter().map(shift).collect() };
        let found = alone.backward((heads, compute), &[moved]);
        for i in 0..3 {
            assert_eq!(bits(&found[i]), bits(&part(&batch[i], widths[i])), "gradient {i} of rows {rows:?}");
        }
    }
}
