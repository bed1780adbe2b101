//! Attention over packed ragged sequences, and its gradients.

use super::{Operations, rows_of};
use crate::{
    attention::{Heads, Tree},
    cuda::{
        array::{Arguments, Array, Bf16},
        blocks, launch,
        parameters::{Forward, HeadCounts, KeyBlock, QueryBlock},
    },
};

/// How the rows of a batch are cut into blocks of threads.
#[derive(Debug)]
pub struct Blocks {
    queries: Array<QueryBlock>,
    keys: Array<KeyBlock>,
}

impl Blocks {
    /// No rows.
    pub fn new(operations: &Operations) -> Self {
        Self { queries: Array::new(operations.machine()), keys: Array::new(operations.machine()) }
    }

    /// The blocks of these trees, whose rows follow one another from 0 on.
    pub fn set(&mut self, trees: &[Tree]) {
        self.queries.set(&blocks::query_blocks(trees));
        self.keys.set(&blocks::key_blocks(trees));
    }
}

/// What attention reads: queries \[N, H, D\], keys and values \[N, K, D\], of all rows of the blocks' trees.
#[derive(Debug, Clone, Copy)]
pub struct AttentionRows<'a> {
    /// With norm and position.
    pub queries: &'a Array<Bf16>,
    /// With norm and position.
    pub keys: &'a Array<Bf16>,
    /// As they are.
    pub values: &'a Array<Bf16>,
    /// Who sees whom.
    pub blocks: &'a Blocks,
}

/// Gradients of queries \[N, H, D\], keys and values \[N, K, D\].
#[derive(Debug)]
pub struct AttentionGradients<'a> {
    /// Of queries.
    pub queries: &'a mut Array<f32>,
    /// Of keys.
    pub keys: &'a mut Array<f32>,
    /// Of values.
    pub values: &'a mut Array<f32>,
    /// \[N, H\], Σ out·∂out.
    pub delta: &'a mut Array<f32>,
}

impl Operations {
    fn head_counts(&self) -> HeadCounts {
        let number = |count: usize| i32::try_from(count).expect("a few heads");
        HeadCounts { query: number(self.heads.query), key_value: number(self.heads.key_value) }
    }

    /// N of rows that fit one another.
    fn attention_rows(&self, rows: AttentionRows<'_>) -> usize {
        let count = rows_of(rows.queries, self.heads.query_columns());
        let columns = self.heads.key_value_columns();
        assert_eq!([rows.keys.len(), rows.values.len()], [count * columns; 2], "keys and values of {count} rows");
        count
    }

    /// out \[N, H, D\] and log_sums \[N, H\], which the gradients read.
    pub fn attend(&self, out: &mut Array<Bf16>, log_sums: &mut Array<f32>, rows: AttentionRows<'_>) {
        let (count, Heads { query, width, .. }) = (self.attention_rows(rows), self.heads);
        out.resize(rows.queries.len());
        log_sums.resize(count * query);
        let arguments = Arguments::default().array(out).array(log_sums);
        let arguments = arguments.array(rows.queries).array(rows.keys).array(rows.values).array(&rows.blocks.queries);
        let arguments = arguments.value(self.head_counts()).value(self.heads.scale());
        self.start(&launch::attention_forward(rows.blocks.queries.len(), query, width), arguments);
    }

    /// The gradients for that of the output, from what [`Operations::attend`] read and left.
    pub fn attend_back(
        &self,
        gradients: AttentionGradients<'_>,
        out_gradient: &Array<Bf16>,
        (out, log_sums): (&Array<Bf16>, &Array<f32>),
        rows: AttentionRows<'_>,
    ) {
        let (count, Heads { query, key_value, width }) = (self.attention_rows(rows), self.heads);
        let AttentionGradients { queries, keys, values, delta } = gradients;
        assert_eq!([out.len(), out_gradient.len()], [rows.queries.len(); 2], "outputs of {count} rows");
        assert_eq!(log_sums.len(), count * query, "log sums of {count} rows");
        delta.resize(count * query);
        queries.resize(rows.queries.len());
        keys.resize(rows.keys.len());
        values.resize(rows.values.len());
        let (heads, scale) = (self.head_counts(), self.heads.scale());
        let arguments = Arguments::default().array(delta).array(out).array(out_gradient).int(count * query);
        self.start(&launch::attention_delta(count * query), arguments);
        let arguments = Arguments::default().array(queries).array(out_gradient).array(log_sums).array(delta);
        let arguments = arguments.array(rows.queries).array(rows.keys).array(rows.values).array(&rows.blocks.queries);
        let launch = launch::attention_backward_queries(rows.blocks.queries.len(), query, width);
        self.start(&launch, arguments.value(heads).value(scale));
        let forward = Forward {
            queries: rows.queries.start(),
            keys: rows.keys.start(),
            values: rows.values.start(),
            out_gradient: out_gradient.start(),
            log_sums: log_sums.start(),
            delta: delta.start(),
        };
        let arguments = Arguments::default().array(keys).array(values).value(forward).array(&rows.blocks.keys);
        let launch = launch::attention_backward_keys(rows.blocks.keys.len(), key_value, width);
        self.start(&launch, arguments.value(heads).value(scale));
    }
}
