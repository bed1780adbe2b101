//! The schema in the footer of a Parquet file: a list of elements, each with how many of the following are its children.
//!
//! The `parquet` crate makes room for as many children as an element claims, up to 16 GiB, and goes down from each to its
//! children until its stack ends; neither is a panic that could be caught. So the elements are counted first.

use super::{
    compact::Compact,
    shapes::{FOOTER, SCHEMA_FIELDS},
};

/// Field of the footer that is the schema, and of its elements that is the number of children.
const SCHEMA: i64 = 2;
const CHILDREN: i64 = 5;
/// Groups within one another, at most.
const DEPTH_MAX: usize = 64;

/// Whether the elements of each schema in `footer` are one tree, which is not too deep; none where the bytes are no footer.
pub(super) fn is_tree(footer: &[u8]) -> Option<bool> {
    let mut are_trees = true;
    Compact::new(footer).each_field(|compact, number, kind| {
        if (number, kind) != (SCHEMA, 9) {
            return compact.pass_field(FOOTER, number, kind);
        }
        let mut counts = Vec::new();
        compact.each_element(|compact, _| {
            counts.push(children(compact)?);
            Some(())
        })?;
        are_trees &= is_preorder(&counts);
        Some(())
    })?;
    Some(are_trees)
}

/// How many children an element has.
fn children(compact: &mut Compact) -> Option<i64> {
    let mut count = 0;
    compact.each_field(|compact, number, kind| {
        if (number, kind) != (CHILDREN, 5) {
            return compact.pass_field(SCHEMA_FIELDS, number, kind);
        }
        count = compact.integer()?;
        Some(())
    })?;
    Some(count)
}

/// Whether a tree has these numbers of children, each before those of its children.
fn is_preorder(counts: &[i64]) -> bool {
    // How many children are still to come, of each group that is not at its end.
    let mut open: Vec<i64> = Vec::new();
    for (index, &count) in counts.iter().enumerate() {
        match open.last_mut() {
            Some(left) => *left -= 1,
            None if index == 0 => {}
            None => return false,
        }
        let is_possible = usize::try_from(count).is_ok_and(|count| count < counts.len());
        if !is_possible || open.len() >= DEPTH_MAX {
            return false;
        }
        open.push(count);
        while open.last() == Some(&0) {
            open.pop();
        }
    }
    open.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_children_are_those_of_one_tree_or_not() {
        for (counts, expected) in [
            ([].as_slice(), true),
            (&[0], true),
            (&[2, 0, 0], true),
            (&[3, 0, 2, 0, 1, 0, 0], true),
            // Too few, too many, more than there can be, and fewer than none.
            (&[2, 0], false),
            (&[1, 0, 0], false),
            (&[1, i64::MAX], false),
            (&[2, -1, 0], false),
        ] {
            assert_eq!(is_preorder(counts), expected, "{counts:?}");
        }
        let chain = |depth: usize| [vec![1; depth], vec![0]].concat();
        assert!(is_preorder(&chain(DEPTH_MAX - 1)));
        assert!(!is_preorder(&chain(DEPTH_MAX)));
    }
}
