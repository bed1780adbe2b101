//! Kernels and products that are gathered before they are started. A step of decoding asks for hundreds of small ones, and
//! starting each by itself can take the host longer than the card takes to compute it. Where the same step is asked for
//! again, a card starts all of it at once, as a graph.
//!
//! What a step asks for is gathered anew every time, and a graph is started in its place only where both are equal: kernel
//! for kernel, size for size, address for address. So no graph reaches memory that its step does not.

use std::{fmt::Debug, sync::MutexGuard};

use super::{
    Unusable,
    array::Arguments,
    launch::Launch,
    machine::{Machine, Product},
    parameters::Address,
};

/// Graphs that are kept; beyond them the oldest goes. As 512 sequences end one by one, their rows and tiles fill up to 64 pairs
/// of counts.
const KEPT_MAX: usize = 64;

/// A kernel or a product that was asked for; whoever asked has vouched for what it reaches.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    /// As in [`super::machine::Machine::start`].
    Kernel { head_width: usize, launch: Launch, arguments: Arguments },
    /// As in [`super::machine::Machine::multiply`].
    Product(Product),
}

/// What a machine has gathered, and its graphs of what was gathered before.
#[derive(Debug)]
pub(super) struct Gathering<G> {
    is_on: bool,
    asked: Vec<Asked>,
    /// Memory to be given back when what was gathered is started.
    freed: Vec<Address>,
    /// The step before, unless it has a graph.
    last: Vec<Asked>,
    /// Steps with their graphs, oldest first.
    kept: Vec<(Vec<Asked>, G)>,
    /// Steps that were started by a graph.
    repeated: usize,
}

impl<G> Default for Gathering<G> {
    fn default() -> Self {
        Self { is_on: false, asked: Vec::new(), freed: Vec::new(), last: Vec::new(), kept: Vec::new(), repeated: 0 }
    }
}

/// How a machine starts what was gathered.
pub(super) trait Start {
    /// What starts a whole step.
    type Graph;

    /// Starts one kernel or product.
    fn start_one(&self, asked: &Asked) -> Result<(), Unusable>;

    /// Makes a graph of a step, each part of which was started before, without starting it.
    fn record(&self, step: &[Asked]) -> Result<Self::Graph, Unusable>;

    /// Starts a graph, that of this step.
    fn repeat(&self, graph: &Self::Graph, step: &[Asked]) -> Result<(), Unusable>;
}

/// A machine that does at once what it is asked for; as a [`Machine`], whose functions these are, it gathers first, and
/// holds what it gathered for as long as it touches the stream: so no other thread gets in while a graph is recorded.
pub(super) trait Direct: Start + Debug + Send + Sync {
    fn gathering(&self) -> MutexGuard<'_, Gathering<Self::Graph>>;

    fn allocate(&self, bytes: usize) -> Result<Address, Unusable>;

    fn free_bytes(&self) -> Result<usize, Unusable>;

    fn block_bytes_max(&self) -> Result<usize, Unusable>;

    unsafe fn free(&self, memory: Address);

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Unusable>;

    unsafe fn download(&self, bytes: &mut [u8], from: Address) -> Result<(), Unusable>;

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<(), Unusable>;

    unsafe fn clear(&self, memory: Address, bytes: usize) -> Result<(), Unusable>;
}

/// Gathers a kernel or a product, or starts it where nothing is gathered.
fn ask(machine: &impl Direct, asked: Asked) -> Result<(), Unusable> {
    let mut gathering = machine.gathering();
    gathering.take(asked).map_or(Ok(()), |asked| machine.start_one(&asked))
}

impl<M: Direct> Machine for M {
    fn allocate(&self, bytes: usize) -> Result<Address, Unusable> {
        let _gathering = self.gathering();
        Direct::allocate(self, bytes)
    }

    fn free_bytes(&self) -> Result<usize, Unusable> {
        Direct::free_bytes(self)
    }

    fn block_bytes_max(&self) -> Result<usize, Unusable> {
        Direct::block_bytes_max(self)
    }

    unsafe fn free(&self, memory: Address) {
        let mut gathering = self.gathering();
        if let Some(memory) = gathering.take_freed(memory) {
            // SAFETY: the caller vouches for the same.
            unsafe { Direct::free(self, memory) };
        }
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Unusable> {
        let mut gathering = self.gathering();
        gathering.interrupt(self)?;
        // SAFETY: as above.
        unsafe { Direct::upload(self, to, bytes) }
    }

    unsafe fn download(&self, bytes: &mut [u8], from: Address) -> Result<(), Unusable> {
        let mut gathering = self.gathering();
        gathering.interrupt(self)?;
        // SAFETY: as above.
        unsafe { Direct::download(self, bytes, from) }
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<(), Unusable> {
        let mut gathering = self.gathering();
        gathering.interrupt(self)?;
        // SAFETY: as above.
        unsafe { Direct::copy(self, to, from, bytes) }
    }

    unsafe fn clear(&self, memory: Address, bytes: usize) -> Result<(), Unusable> {
        let mut gathering = self.gathering();
        gathering.interrupt(self)?;
        // SAFETY: as above.
        unsafe { Direct::clear(self, memory, bytes) }
    }

    unsafe fn start(&self, head_width: usize, launch: &Launch, arguments: Arguments) -> Result<(), Unusable> {
        ask(self, Asked::Kernel { head_width, launch: *launch, arguments })
    }

    unsafe fn multiply(&self, product: &Product) -> Result<(), Unusable> {
        ask(self, Asked::Product(*product))
    }

    fn gather(&self) {
        self.gathering().begin();
    }

    fn start_gathered(&self) -> Result<(), Unusable> {
        self.gathering().end(self)
    }

    fn forget_gathered(&self) {
        let mut gathering = self.gathering();
        for memory in gathering.forget() {
            // SAFETY: whoever gave it back vouched for it.
            unsafe { Direct::free(self, memory) };
        }
    }

    fn repeated(&self) -> usize {
        self.gathering().repeated
    }
}

impl<G> Gathering<G> {
    /// Gathers from here on.
    fn begin(&mut self) {
        assert!(!self.is_on, "a step within another one");
        self.is_on = true;
    }

    /// Takes in what is asked for, or returns it where nothing is gathered.
    fn take(&mut self, asked: Asked) -> Option<Asked> {
        if !self.is_on {
            return Some(asked);
        }
        self.asked.push(asked);
        None
    }

    /// Takes in memory that is given back, or returns it where nothing is gathered.
    fn take_freed(&mut self, memory: Address) -> Option<Address> {
        if !self.is_on {
            return Some(memory);
        }
        self.freed.push(memory);
        None
    }

    /// Starts what was gathered until now, and gathers no more until the next step: something comes that can't wait.
    fn interrupt(&mut self, machine: &impl Start<Graph = G>) -> Result<(), Unusable> {
        self.is_on = false;
        self.asked.drain(..).try_for_each(|asked| machine.start_one(&asked))
    }

    /// Starts what was gathered, by its graph from the second time on.
    fn end(&mut self, machine: &impl Start<Graph = G>) -> Result<(), Unusable> {
        self.is_on = false;
        if self.asked.is_empty() {
            return Ok(());
        }
        let kept = match self.kept.iter().position(|(step, _)| *step == self.asked) {
            Some(kept) => kept,
            None if self.last == self.asked => {
                let graph = machine.record(&self.asked)?;
                if self.kept.len() == KEPT_MAX {
                    self.kept.remove(0);
                }
                self.kept.push((std::mem::take(&mut self.last), graph));
                self.kept.len() - 1
            }
            None => {
                self.asked.iter().try_for_each(|asked| machine.start_one(asked))?;
                std::mem::swap(&mut self.last, &mut self.asked);
                self.asked.clear();
                return Ok(());
            }
        };
        let (step, graph) = &self.kept[kept];
        machine.repeat(graph, step)?;
        self.asked.clear();
        self.repeated += 1;
        Ok(())
    }

    /// Forgets what was gathered, if anything is, and returns memory to give back.
    fn forget(&mut self) -> Vec<Address> {
        self.is_on = false;
        self.asked.clear();
        std::mem::take(&mut self.freed)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::cuda::launch;

    /// Writes down what it does.
    #[derive(Default)]
    struct Log(RefCell<Vec<String>>);

    impl Start for Log {
        type Graph = String;

        fn start_one(&self, asked: &Asked) -> Result<(), Unusable> {
            self.0.borrow_mut().push(format!("start {}", name(asked)));
            Ok(())
        }

        fn record(&self, step: &[Asked]) -> Result<String, Unusable> {
            let graph: Vec<String> = step.iter().map(name).collect();
            self.0.borrow_mut().push("record".into());
            Ok(graph.join(" "))
        }

        fn repeat(&self, graph: &String, _: &[Asked]) -> Result<(), Unusable> {
            self.0.borrow_mut().push(format!("repeat {graph}"));
            Ok(())
        }
    }

    impl Log {
        fn taken(&self) -> Vec<String> {
            self.0.take()
        }
    }

    fn name(asked: &Asked) -> String {
        match asked {
            Asked::Kernel { launch, arguments, .. } => format!("{}({arguments:?})", launch.kernel),
            Asked::Product(product) => format!("product of {}", product.rows),
        }
    }

    fn gate(address: Address) -> Asked {
        Asked::Kernel {
            head_width: 16,
            launch: launch::gate_forward(8),
            arguments: Arguments::default().value(address),
        }
    }

    fn step(gathering: &mut Gathering<String>, log: &Log, addresses: &[Address]) -> Vec<String> {
        gathering.begin();
        for &address in addresses {
            assert_eq!(gathering.take(gate(address)), None);
        }
        gathering.end(log).expect("nothing is refused");
        log.taken()
    }

    #[test]
    fn a_step_is_recorded_when_it_comes_again_and_repeated_where_all_of_it_is_equal() {
        let (mut gathering, log) = (Gathering::default(), Log::default());
        let (direct, graph) =
            (["start gate_forward([1])", "start gate_forward([2])"], "gate_forward([1]) gate_forward([2])");
        assert_eq!(step(&mut gathering, &log, &[1, 2]), direct);
        assert_eq!(step(&mut gathering, &log, &[1, 2]), ["record", &format!("repeat {graph}")]);
        assert_eq!(step(&mut gathering, &log, &[1, 2]), [format!("repeat {graph}")]);
        // Another address, as after an array has moved.
        assert_eq!(step(&mut gathering, &log, &[1, 3]), ["start gate_forward([1])", "start gate_forward([3])"]);
        assert_eq!(step(&mut gathering, &log, &[1, 2]), [format!("repeat {graph}")]);
        assert_eq!(step(&mut gathering, &log, &[1]), ["start gate_forward([1])"]);
        assert_eq!(step(&mut gathering, &log, &[]), [""; 0]);
        assert_eq!(gathering.repeated, 3);
    }

    #[test]
    fn the_oldest_graph_goes_when_there_are_too_many() {
        let (mut gathering, log) = (Gathering::default(), Log::default());
        for address in 0..=KEPT_MAX as Address {
            step(&mut gathering, &log, &[address]);
            step(&mut gathering, &log, &[address]);
        }
        assert_eq!(gathering.kept.len(), KEPT_MAX);
        assert_eq!(step(&mut gathering, &log, &[1]), ["repeat gate_forward([1])"]);
        assert_eq!(step(&mut gathering, &log, &[0]), ["start gate_forward([0])"]);
    }

    #[test]
    fn what_can_not_wait_starts_what_was_gathered_before_it() {
        let (mut gathering, log) = (Gathering::default(), Log::default());
        for _ in 0..3 {
            gathering.begin();
            assert_eq!(gathering.take(gate(1)), None);
            assert_eq!(gathering.take_freed(7), None);
            gathering.interrupt(&log).expect("nothing is refused");
            assert_eq!(log.taken(), ["start gate_forward([1])"]);
            // From here to the step's end nothing is gathered.
            assert_eq!(gathering.take(gate(2)), Some(gate(2)));
            assert_eq!(gathering.take_freed(8), Some(8));
            gathering.end(&log).expect("nothing is refused");
            assert_eq!(gathering.forget(), [7]);
        }
        assert_eq!((log.taken(), gathering.repeated), (Vec::new(), 0));
    }

    #[test]
    fn a_step_that_ends_early_starts_nothing() {
        let (mut gathering, log) = (Gathering::default(), Log::default());
        gathering.begin();
        assert_eq!(gathering.take(gate(1)), None);
        assert_eq!(gathering.forget(), [0; 0]);
        assert_eq!(step(&mut gathering, &log, &[2]), ["start gate_forward([2])"]);
    }
}
