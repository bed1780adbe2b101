//! The routines once more, in f64, by the plainest loops: what the crate's results are compared with.

use kernels::attention::{Heads, Tree};

/// left · right. Shapes: left \[M, K\], right \[K, N\].
pub(crate) fn product(left: &[f64], right: &[f64], inner: usize, columns: usize) -> Vec<f64> {
    let mut out = vec![0.0; left.len() / inner * columns];
    for (out, left) in out.chunks_exact_mut(columns).zip(left.chunks_exact(inner)) {
        for (&a, right) in left.iter().zip(right.chunks_exact(columns)) {
            out.iter_mut().zip(right).for_each(|(out, b)| *out += a * b);
        }
    }
    out
}

/// x / √(mean(x²) + epsilon) · weight.
pub(crate) fn norm(rows: &[f64], weight: &[f64], epsilon: f64) -> Vec<f64> {
    let row = |row: &[f64]| {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let root = (mean + epsilon).sqrt();
        row.iter().zip(weight).map(|(x, w)| x / root * w).collect::<Vec<_>>()
    };
    rows.chunks_exact(weight.len()).flat_map(row).collect()
}

/// Rotation of the pairs (i, i + D/2) of every head by position · frequency.
pub(crate) fn rotate(rows: &[f64], positions: &[u32], frequencies: &[f64]) -> Vec<f64> {
    let pairs = frequencies.len();
    let row_width = rows.len() / positions.len();
    let mut out = rows.to_vec();
    for (index, head) in rows.chunks_exact(2 * pairs).enumerate() {
        let position = f64::from(positions[index * 2 * pairs / row_width]);
        let out = &mut out[index * 2 * pairs..][..2 * pairs];
        for i in 0..pairs {
            let (sine, cosine) = (position * frequencies[i]).sin_cos();
            out[i] = head[i] * cosine - head[i + pairs] * sine;
            out[i + pairs] = head[i] * sine + head[i + pairs] * cosine;
        }
    }
    out
}

/// silu(gate) · up.
pub(crate) fn gate(gate: &[f64], up: &[f64]) -> Vec<f64> {
    gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
}

/// ln softmax(logits).
pub(crate) fn log_softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|x| (x - largest).exp()).sum();
    logits.iter().map(|x| x - largest - sum.ln()).collect()
}

/// −Σ p·ln p.
pub(crate) fn entropy(logits: &[f64]) -> f64 {
    log_softmax(logits).into_iter().map(|logprob| -logprob.exp() * logprob).sum()
}

/// ln softmax of every row of hidden · head / temperature. Shapes: hidden \[N, C\], head \[V, C\], out \[N, V\].
pub(crate) fn logprobs(hidden: &[f64], head: &[f64], width: usize, temperature: f64) -> Vec<f64> {
    let logit = |hidden: &[f64], head: &[f64]| hidden.iter().zip(head).map(|(a, b)| a * b).sum::<f64>() / temperature;
    let row =
        |hidden: &[f64]| log_softmax(&head.chunks_exact(width).map(|head| logit(hidden, head)).collect::<Vec<_>>());
    hidden.chunks_exact(width).flat_map(row).collect()
}

/// Whether `row` attends to `other`: not a later row, and of the trunk of its tree or of its own branch.
pub(crate) fn sees(trees: &[Tree], row: usize, other: usize) -> bool {
    other <= row
        && trees.iter().any(|tree| {
            let branch = |row: usize| tree.branches.iter().position(|branch| branch.contains(&row));
            match branch(row) {
                None => tree.trunk.contains(&row) && tree.trunk.contains(&other),
                mine => tree.trunk.contains(&other) || branch(other) == mine,
            }
        })
}

/// Queries \[N, H, D\], keys and values \[N, K, D\] in f64.
#[derive(Clone)]
pub(crate) struct Attention<'a> {
    /// \[N, H, D\].
    pub(crate) queries: &'a [f64],
    /// \[N, K, D\].
    pub(crate) keys: &'a [f64],
    /// \[N, K, D\].
    pub(crate) values: &'a [f64],
}

/// softmax(q·kᵀ/√D)·v over the rows that each row sees.
pub(crate) fn attention(inputs: &Attention<'_>, heads: Heads, sees: impl Fn(usize, usize) -> bool) -> Vec<f64> {
    let Heads { query, key_value, width } = heads;
    let mut out = vec![0.0; inputs.queries.len()];
    for (index, out) in out.chunks_exact_mut(width).enumerate() {
        let (row, head) = (index / query, index % query);
        let at = |other: usize| (other * key_value + head * key_value / query) * width;
        let seen: Vec<usize> = (0..=row).filter(|&other| sees(row, other)).collect();
        let score = |&other: &usize| {
            let key = &inputs.keys[at(other)..][..width];
            let query = &inputs.queries[index * width..][..width];
            query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() / (width as f64).sqrt()
        };
        let logprobs = log_softmax(&seen.iter().map(score).collect::<Vec<_>>());
        for (other, logprob) in seen.into_iter().zip(logprobs) {
            let value = &inputs.values[at(other)..][..width];
            out.iter_mut().zip(value).for_each(|(out, v)| *out += logprob.exp() * v);
        }
    }
    out
}
