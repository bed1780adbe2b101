//! Keys and values in pages, and the attention of one new position of each of many sequences.

use super::{Operations, rows_of};
use crate::cuda::{
    array::{Arguments, Array, Bf16},
    launch::{self, TILE_KEYS},
    parameters::{Cache, CachedSequence, SequenceTile},
};

/// Keys and values of one layer in pages of [`TILE_KEYS`] positions, \[pages, K, 64, D\] each.
#[derive(Debug)]
pub struct PagedCache {
    keys: Array<Bf16>,
    values: Array<Bf16>,
}

/// Which pages hold the positions of which sequences.
#[derive(Debug)]
pub struct CachedRows {
    /// Page numbers of all prompts and sequences.
    table: Array<i32>,
    tiles: Array<SequenceTile>,
    sequences: Array<CachedSequence>,
}

impl PagedCache {
    /// So many pages that hold nothing.
    pub fn new(operations: &Operations, pages: usize) -> Self {
        let length = pages * TILE_KEYS * operations.heads.key_value_columns();
        let mut cache = Self { keys: Array::new(operations.machine()), values: Array::new(operations.machine()) };
        cache.keys.resize(length);
        cache.values.resize(length);
        cache
    }
}

impl CachedRows {
    /// No sequences.
    pub fn new(operations: &Operations) -> Self {
        let machine = operations.machine();
        Self { table: Array::new(machine), tiles: Array::new(machine), sequences: Array::new(machine) }
    }

    /// These sequences, in tiles of neighbours that share a prompt; every sequence is in one tile, in order.
    pub fn set(&mut self, table: &[i32], tiles: &[SequenceTile], sequences: &[CachedSequence]) {
        // It becomes longer by and by, and is to move seldom.
        self.table.reserve(table.len().next_power_of_two()).set(table);
        self.tiles.set(tiles);
        self.sequences.set(sequences);
    }
}

impl Operations {
    /// Puts new keys and values \[N, K, D\] at `slots` \[N\]: page · 64 + position within the page, or nowhere if negative.
    pub fn append(&self, cache: &mut PagedCache, keys: &Array<Bf16>, values: &Array<Bf16>, slots: &Array<i32>) {
        let (rows, heads) = (slots.len(), self.heads.key_value);
        let expected = rows * self.heads.key_value_columns();
        assert_eq!([keys.len(), values.len()], [expected; 2], "keys and values of {rows} rows");
        let arguments = Arguments::default().array(&cache.keys).array(&cache.values).array(keys).array(values);
        self.start(&launch::cache_append(rows * heads), arguments.array(slots).int(rows).int(heads));
    }

    /// out \[B, H, D\] for the newest position of each sequence, whose keys and values are in the cache already.
    pub fn attend_cached(&self, out: &mut Array<Bf16>, queries: &Array<Bf16>, cache: &PagedCache, cached: &CachedRows) {
        let sequences = rows_of(queries, self.heads.query_columns());
        assert_eq!(sequences, cached.sequences.len(), "a query row for every sequence");
        out.resize(queries.len());
        let (keys, values, table) = (cache.keys.start(), cache.values.start(), cached.table.start());
        let arguments = Arguments::default().array(out).array(queries).value(Cache { keys, values, table });
        let arguments = arguments.array(&cached.tiles).array(&cached.sequences);
        let arguments = arguments.int(self.heads.query).int(self.heads.key_value).value(self.heads.scale());
        let launch = launch::attention_decode(cached.tiles.len(), self.heads.key_value, self.heads.width);
        self.start(&launch, arguments);
    }
}
