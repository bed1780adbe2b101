//! How the rows of attention are cut into blocks of threads: by the tree alone, so that a row's result does not depend on
//! what else is in the batch. The longest blocks come first, so that a card ends with short ones.

use std::{cmp::Reverse, ops::Range};

use super::{
    launch::{TILE_KEYS, TILE_ROWS},
    parameters::{KeyBlock, QueryBlock},
};
use crate::attention::Tree;

fn number(row: usize) -> i32 {
    i32::try_from(row).expect("rows of a batch fit 31 bits")
}

/// Trunk and branches of a tree, where they have rows.
fn parts(tree: &Tree) -> impl Iterator<Item = &Range<usize>> {
    std::iter::once(&tree.trunk).chain(&tree.branches).filter(|part| !part.is_empty())
}

/// The blocks of query rows.
pub fn query_blocks(trees: &[Tree]) -> Vec<QueryBlock> {
    let mut blocks = Vec::new();
    for tree in trees {
        for part in parts(tree) {
            let trunk = if part.start < tree.trunk.end { 0 } else { tree.trunk.len() };
            blocks.extend(part.clone().step_by(TILE_ROWS).map(|first| QueryBlock {
                first: number(first),
                rows: number(TILE_ROWS.min(part.end - first)),
                trunk_first: number(tree.trunk.start),
                trunk_rows: number(trunk),
                own_first: number(part.start),
            }));
        }
    }
    blocks.sort_by_key(|block| Reverse(block.trunk_rows + block.first - block.own_first));
    blocks
}

/// The blocks of keys.
pub fn key_blocks(trees: &[Tree]) -> Vec<KeyBlock> {
    let mut blocks = Vec::new();
    for tree in trees {
        let end = tree.rows().end;
        for part in parts(tree) {
            let tree_end = if part.start < tree.trunk.end { end } else { part.end };
            blocks.extend(part.clone().step_by(TILE_KEYS).map(|first| KeyBlock {
                first: number(first),
                rows: number(TILE_KEYS.min(part.end - first)),
                own_end: number(part.end),
                tree_end: number(tree_end),
            }));
        }
    }
    blocks.sort_by_key(|block| Reverse(block.tree_end - block.first));
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_cut_part_by_part_and_the_longest_block_comes_first() {
        // A prompt of 70 rows, branches of 3 and 65, one without rows; then two sequences without a prompt.
        let trees = [
            Tree { trunk: 0..70, branches: vec![70..73, 73..73, 73..138] },
            Tree { trunk: 138..138, branches: vec![138..140, 140..141] },
        ];
        let block = |first, rows, trunk_rows, own_first, trunk_first| QueryBlock {
            first,
            rows,
            trunk_first,
            trunk_rows,
            own_first,
        };
        let expected = [
            block(137, 1, 70, 73, 0),
            block(70, 3, 70, 70, 0),
            block(73, 64, 70, 73, 0),
            block(64, 6, 0, 0, 0),
            block(0, 64, 0, 0, 0),
            block(138, 2, 0, 138, 138),
            block(140, 1, 0, 140, 138),
        ];
        assert_eq!(query_blocks(&trees), expected);
        let block = |first, rows, own_end, tree_end| KeyBlock { first, rows, own_end, tree_end };
        let expected = [
            block(0, 64, 70, 138),
            block(64, 6, 70, 138),
            block(73, 64, 138, 138),
            block(70, 3, 73, 73),
            block(138, 2, 140, 140),
            block(137, 1, 138, 138),
            block(140, 1, 141, 141),
        ];
        assert_eq!(key_blocks(&trees), expected);
    }
}
