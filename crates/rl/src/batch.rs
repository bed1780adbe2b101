//! Groups in, micro-batches out: which completions carry a gradient, and which of them the network holds together.

/// One completion that is trained on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainedCompletion<'a> {
    /// Token ids.
    pub tokens: &'a [u32],
    /// Behavior logprob of each token, nats.
    pub behavior: &'a [f32],
    /// A.
    pub advantage: f64,
}

/// Completions of one prompt that share a micro-batch.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupPart<'a> {
    /// The prompt's token ids.
    pub prompt: &'a [u32],
    /// At least one completion.
    pub completions: Vec<TrainedCompletion<'a>>,
}

impl GroupPart<'_> {
    /// Rows that the network computes: the prompt once, and each completion without its last token.
    fn rows(&self) -> usize {
        self.prompt.len() + self.completions.iter().map(|completion| completion.tokens.len() - 1).sum::<usize>()
    }
}

/// Packs `groups` into micro-batches of at most `rows_max` rows, in order. A group that is larger is split between
/// completions and its prompt computed again; a single completion that is larger stands alone.
pub fn micro_batches<'a>(groups: Vec<GroupPart<'a>>, rows_max: usize) -> Vec<Vec<GroupPart<'a>>> {
    let parts = groups.into_iter().flat_map(|group| split(group, rows_max));
    let mut batches: Vec<Vec<GroupPart<'a>>> = Vec::new();
    let mut rows = usize::MAX;
    for part in parts {
        let part_rows = part.rows();
        match batches.last_mut() {
            Some(batch) if rows + part_rows <= rows_max => {
                rows += part_rows;
                batch.push(part);
            }
            Some(_) | None => {
                rows = part_rows;
                batches.push(vec![part]);
            }
        }
    }
    batches
}

fn split<'a>(group: GroupPart<'a>, rows_max: usize) -> Vec<GroupPart<'a>> {
    if group.rows() <= rows_max {
        return vec![group];
    }
    let mut parts: Vec<GroupPart<'a>> = Vec::new();
    for completion in group.completions {
        match parts.last_mut() {
            Some(part) if part.rows() + completion.tokens.len() - 1 <= rows_max => part.completions.push(completion),
            Some(_) | None => parts.push(GroupPart { prompt: group.prompt, completions: vec![completion] }),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [u32; 64] = [1; 64];
    const LOGPROBS: [f32; 64] = [-1.0; 64];

    fn group(prompt: usize, completions: &[usize]) -> GroupPart<'static> {
        let trained = |&tokens: &usize| TrainedCompletion {
            tokens: &TOKENS[..tokens],
            behavior: &LOGPROBS[..tokens],
            advantage: 1.0,
        };
        GroupPart { prompt: &TOKENS[..prompt], completions: completions.iter().map(trained).collect() }
    }

    #[test]
    fn groups_fill_micro_batches_in_order_and_large_ones_are_split() {
        // Rows: prompt + Σ (tokens − 1).
        let groups = vec![group(4, &[3, 3]), group(4, &[5]), group(4, &[7, 7, 7]), group(10, &[20])];
        let batches = micro_batches(groups, 16);
        let shape: Vec<Vec<(usize, Vec<usize>)>> = batches
            .iter()
            .map(|batch| {
                batch
                    .iter()
                    .map(|part| (part.prompt.len(), part.completions.iter().map(|c| c.tokens.len()).collect()))
                    .collect()
            })
            .collect();
        let expected =
            vec![vec![(4, vec![3, 3]), (4, vec![5])], vec![(4, vec![7, 7])], vec![(4, vec![7])], vec![(10, vec![20])]];
        assert_eq!(shape, expected);
    }
}
