//! Attention over a paged cache: the same bits as in training, from pages that lie anywhere.

use std::ops::Range;

use kernels::{
    attention::Heads,
    cuda::{
        launch::{self, TILE_KEYS, WARP_ROWS},
        parameters::{Cache, CachedSequence, SequenceTile},
    },
};

use crate::{
    attention::{Batch, batches},
    buffers::{Arguments, Array},
    compare::Trial,
};

/// Where the rows of a batch lie in a cache.
struct Pages {
    /// Page numbers of all parts, one part after another.
    table: Vec<i32>,
    /// Position of every row: page · [`TILE_KEYS`] + position within it.
    slots: Vec<i32>,
    tiles: Vec<SequenceTile>,
    sequences: Vec<CachedSequence>,
    /// The last row of every sequence.
    last_rows: Vec<usize>,
    /// Pages of the cache.
    count: usize,
}

fn number(count: usize) -> i32 {
    i32::try_from(count).expect("a count of 31 bits")
}

impl Pages {
    /// Every part in pages of its own, in an order that chance decides, two pages unused.
    fn new(trial: &mut Trial<'_>, batch: &Batch) -> Self {
        let parts = || batch.trees.iter().flat_map(|tree| std::iter::once(&tree.trunk).chain(&tree.branches));
        let pages = parts().map(|part| part.len().div_ceil(TILE_KEYS)).sum::<usize>() + 2;
        let mut free: Vec<usize> = (0..pages).collect();
        let mut all = Self {
            table: Vec::new(),
            slots: vec![0; batch.rows()],
            tiles: Vec::new(),
            sequences: Vec::new(),
            last_rows: Vec::new(),
            count: pages,
        };
        let together = WARP_ROWS / (batch.heads.query / batch.heads.key_value);
        for tree in &batch.trees {
            let mut place = |part: &Range<usize>| all.place(part, || free.swap_remove(trial.draws.below(free.len())));
            let trunk = place(&tree.trunk);
            let branches = tree.branches.iter().filter(|branch| !branch.is_empty());
            let mut sequences: Vec<(CachedSequence, usize)> =
                branches.map(|branch| (place(branch), branch.end - 1)).collect();
            // A tree without branches is a sequence without a prompt.
            let prompt = if tree.branches.is_empty() {
                sequences.push((trunk, tree.trunk.end - 1));
                CachedSequence { pages: 0, positions: 0 }
            } else {
                trunk
            };
            for tile in sequences.chunks(together) {
                let (first, sequences) = (number(all.sequences.len()), number(tile.len()));
                let CachedSequence { pages, positions } = prompt;
                all.tiles.push(SequenceTile { first, sequences, pages, positions });
                all.sequences.extend(tile.iter().map(|(sequence, _)| *sequence));
                all.last_rows.extend(tile.iter().map(|(_, row)| *row));
            }
        }
        // One of those that fill up a step.
        all.tiles.push(SequenceTile { first: 0, sequences: 0, pages: 0, positions: 0 });
        all
    }

    /// Gives a part pages.
    fn place(&mut self, part: &Range<usize>, mut page: impl FnMut() -> usize) -> CachedSequence {
        let first = number(self.table.len());
        for (position, row) in part.clone().enumerate() {
            if position % TILE_KEYS == 0 {
                self.table.push(number(page()));
            }
            let current = *self.table.last().expect("a page for the first position");
            self.slots[row] = current * number(TILE_KEYS) + number(position % TILE_KEYS);
        }
        CachedSequence { pages: first, positions: number(part.len()) }
    }
}

pub(crate) fn decoding(trial: &mut Trial<'_>) {
    for batch in batches(trial) {
        let pages = Pages::new(trial, &batch);
        let [keys, values] = append(trial, &batch, &pages);
        let Heads { query, key_value, width } = batch.heads;
        let columns = batch.heads.query_columns();
        let last_rows = |array: &[u16]| -> Vec<u16> {
            pages.last_rows.iter().flat_map(|row| array[row * columns..][..columns].to_vec()).collect()
        };
        let out = Array::<u16>::poisoned(pages.sequences.len() * columns);
        let (queries, table) = (Array::read(&last_rows(&batch.queries)), Array::read(&pages.table));
        let (tiles, sequences) = (Array::read(&pages.tiles), Array::read(&pages.sequences));
        let cache = Cache { keys: keys.address(), values: values.address(), table: table.address() };
        let arguments = Arguments::default().array(&out).array(&queries).value(cache).array(&tiles).array(&sequences);
        let arguments = arguments.int(query).int(key_value).value(batch.scale());
        trial.card.run_for(
            width,
            &launch::attention_decode(pages.tiles.len(), key_value, width),
            arguments.reaches(&keys).reaches(&values).reaches(&table),
        );
        assert_eq!(out.values(), last_rows(&batch.forward(trial).out), "{width} wide: decoding and training");
        trial.compared(1);
    }
}

/// Keys and values in pages \[pages, K, 64, D\], by `cache_append`; what no row fills is not a number.
fn append(trial: &mut Trial<'_>, batch: &Batch, pages: &Pages) -> [Array<u16>; 2] {
    let Heads { key_value, width, .. } = batch.heads;
    let cached = [(); 2].map(|()| Array::<u16>::poisoned(pages.count * key_value * TILE_KEYS * width));
    let (keys, values, slots) = (Array::read(&batch.keys), Array::read(&batch.values), Array::read(&pages.slots));
    let arrays = Arguments::default().array(&cached[0]).array(&cached[1]).array(&keys).array(&values).array(&slots);
    let launch = launch::cache_append(batch.rows() * key_value);
    trial.card.run_for(width, &launch, arrays.int(batch.rows()).int(key_value));
    let nowhere = Array::read(&vec![-1; batch.rows()]);
    let arrays = Arguments::default().array(&cached[0]).array(&cached[1]).array(&keys).array(&values).array(&nowhere);
    // What is there already stays.
    trial.card.run_for(width, &launch, arrays.int(batch.rows()).int(key_value));
    for (cached, rows) in cached.iter().zip([&batch.keys, &batch.values]) {
        let mut expected = vec![u16::MAX; pages.count * key_value * TILE_KEYS * width];
        for (index, head) in rows.chunks_exact(width).enumerate() {
            let slot = usize::try_from(pages.slots[index / key_value]).expect("a slot");
            let at = ((slot / TILE_KEYS * key_value + index % key_value) * TILE_KEYS + slot % TILE_KEYS) * width;
            expected[at..at + width].copy_from_slice(head);
        }
        assert_eq!(cached.values(), expected, "cache_append");
        trial.compared(1);
    }
    cached.map(|cached| Array::read(&cached.values()))
}
