//! What runs the kernels that are checked: an emulation, or a card. Either runs each three times, which must not change a bit.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ffi::c_void,
    sync::Arc,
};

use kernels::cuda::{
    compile::compile,
    device::{Device, Module},
    emulation::Emulation,
    launch::Launch,
    sources::{SOURCES, Source, Width, source_of},
};

use crate::buffers::Arguments;

/// Head widths of the checks: a model's, one that is filled up, and the smallest that a tile has.
pub(crate) const HEAD_WIDTHS: [usize; 3] = [64, 40, 16];
/// Runs of a kernel: in the emulation each with another order of threads, on a card in what order chance has it.
const RUNS: usize = 3;

/// Every source with each of its head widths, 0 where it is for any.
pub(crate) fn sources_by_width() -> Vec<(&'static Source, usize)> {
    let by_width = |source: &'static Source| {
        let widths = if source.width == Width::Head { &HEAD_WIDTHS[..] } else { &[0] };
        widths.iter().map(move |&width| (source, width))
    };
    SOURCES.iter().flat_map(by_width).collect()
}

enum Machine {
    Emulated(Emulation),
    Real(Arc<Device>, BTreeMap<(&'static str, usize), Module>),
}

/// Where kernels run, and which have.
pub(crate) struct Card {
    machine: Machine,
    covered: RefCell<BTreeSet<&'static str>>,
}

impl Card {
    pub(crate) fn emulated(emulation: Emulation) -> Self {
        Self { machine: Machine::Emulated(emulation), covered: RefCell::default() }
    }

    /// A real one, for whose architecture every source is compiled here.
    pub(crate) fn real(device: Arc<Device>) -> Self {
        let load = |(source, width): (&'static Source, usize)| {
            let compiled = compile(source, &device.architecture(), width).unwrap_or_else(|error| panic!("{error}"));
            let module = Module::load(&device, &compiled).unwrap_or_else(|fault| panic!("{}: {fault}", source.name));
            ((source.name, width), module)
        };
        let modules = sources_by_width().into_iter().map(load).collect();
        Self { machine: Machine::Real(device, modules), covered: RefCell::default() }
    }

    /// Runs a kernel of a source for any head width.
    pub(crate) fn run(&self, launch: &Launch, arguments: Arguments<'_>) {
        self.run_for(0, launch, arguments);
    }

    /// Runs a kernel of a source for one head width.
    pub(crate) fn run_for(&self, head_width: usize, launch: &Launch, mut arguments: Arguments<'_>) {
        let mut pointers: Vec<*mut c_void> =
            arguments.values.iter_mut().map(|words| words.as_mut_ptr().cast()).collect();
        let before: Vec<Vec<u8>> = arguments.arrays.iter().map(|array| array.content()).collect();
        let mut first: Option<Vec<Vec<u8>>> = None;
        for run in 0..RUNS {
            arguments.arrays.iter().zip(&before).for_each(|(array, content)| array.restore(content));
            self.run_once(head_width, launch, &mut pointers, run);
            for (index, (array, content)) in arguments.arrays.iter().zip(&before).enumerate() {
                array.check(launch.kernel, index, content);
            }
            let after: Vec<Vec<u8>> = arguments.arrays.iter().map(|array| array.content()).collect();
            let same = first.as_ref().is_none_or(|first| *first == after);
            assert!(same, "{}: another run gives other bits", launch.kernel);
            first = Some(after);
        }
        self.covered.borrow_mut().insert(launch.kernel);
    }

    fn run_once(&self, head_width: usize, launch: &Launch, arguments: &mut [*mut c_void], run: usize) {
        match &self.machine {
            // SAFETY: the arguments are those of the kernel, and their arrays live longer than the call.
            Machine::Emulated(emulation) => unsafe { emulation.run(head_width, launch, arguments, run) },
            Machine::Real(device, modules) => {
                let module = &modules[&(source_of(launch.kernel).name, head_width)];
                // SAFETY: the arguments are those of the kernel, and their arrays are kept until it has ended, below.
                let started =
                    module.function(launch).and_then(|function| unsafe { module.start(function, launch, arguments) });
                let ended = started.and_then(|()| device.synchronize());
                ended.unwrap_or_else(|fault| panic!("{}: {fault}", launch.kernel));
            }
        }
    }

    /// Checks that no kernel was left out.
    pub(crate) fn assert_all_covered(&self) {
        let covered = self.covered.borrow();
        let all = SOURCES.iter().flat_map(|source| source.kernels);
        let left: Vec<_> = all.filter(|kernel| !covered.contains(*kernel)).collect();
        assert!(left.is_empty(), "kernels that no check runs: {left:?}");
    }
}
