//! Which problems a step takes: positions in the epochs laid end to end.

use crate::{
    config::ProblemOrder,
    random::{Purpose, Stream},
};

/// The problems of a run in the order in which they are taken, epoch after epoch.
#[derive(Debug)]
pub struct ProblemQueue {
    order: ProblemOrder,
    seed: u64,
    count: usize,
    taken: u64,
    /// The last shuffled epoch, so that it is not drawn anew for each problem.
    epoch: Option<(u64, Vec<usize>)>,
}

impl ProblemQueue {
    /// `count` problems in `order`, of which `taken` have been taken.
    pub fn new(order: ProblemOrder, seed: u64, count: usize, taken: u64) -> Self {
        Self { order, seed, count, taken, epoch: None }
    }

    /// Problems taken so far.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Indices of the next `wanted` problems.
    pub fn take(&mut self, wanted: usize) -> Vec<usize> {
        (0..wanted).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> usize {
        let (epoch, index) = (self.taken / self.count as u64, (self.taken % self.count as u64) as usize);
        self.taken += 1;
        if self.order == ProblemOrder::File {
            return index;
        }
        match &self.epoch {
            Some((present, order)) if *present == epoch => order[index],
            Some(_) | None => {
                let order = Stream::new(self.seed, Purpose::ProblemOrder, [epoch, 0, 0]).permutation(self.count);
                let problem = order[index];
                self.epoch = Some((epoch, order));
                problem
            }
        }
    }
}
