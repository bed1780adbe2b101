//! The operations of a model on a card: each checks shapes and starts its kernels. They are those of this crate's other
//! modules, and the same letters stand for the same sizes.
//!
//! What products read is bf16; everything between them that adds up is f32. Where an operation has a weight, its gradient is
//! added to an array of the caller's, in an order that the shapes decide.
//!
//! # Panics
//! Every operation panics with both sizes where shapes do not fit, and with an [`super::Unusable`] as its payload where the
//! card refuses.

mod attention;
mod decode;
mod head;
mod rows;

use std::sync::Arc;

use super::{
    array::{Arguments, Array, Bf16, must},
    launch::{self, Launch},
    machine::{Machine, Product, Side},
    parameters::AdamwStep,
};
use crate::{adamw::Step, attention::Heads};

pub use attention::{AttentionGradients, AttentionRows, Blocks};
pub use decode::{CachedRows, PagedCache};
pub use head::{HeadRows, LogitGradients};
pub use rows::{Norm, NormScratch, Rotation, Scatter};

/// Operations for models with certain heads on one card.
#[derive(Debug, Clone)]
pub struct Operations {
    machine: Arc<dyn Machine>,
    heads: Heads,
}

/// Where a product goes.
#[derive(Debug)]
pub enum Output<'a> {
    /// It replaces what is there.
    Overwrite(&'a mut Array<f32>),
    /// It is added to what is there.
    Add(&'a mut Array<f32>),
    /// The first becomes the sum of it and the second.
    Sum(&'a mut Array<f32>, &'a Array<f32>),
}

impl Output<'_> {
    /// The same once more.
    pub fn again(&mut self) -> Output<'_> {
        match self {
            Self::Overwrite(out) => Output::Overwrite(out),
            Self::Add(out) => Output::Add(out),
            Self::Sum(out, base) => Output::Sum(out, base),
        }
    }

    /// What adds to the array that this one goes to.
    pub fn added(&mut self) -> Output<'_> {
        let (Self::Overwrite(out) | Self::Add(out) | Self::Sum(out, _)) = self;
        Output::Add(out)
    }
}

/// An AdamW update of one tensor; all arrays have its length.
#[derive(Debug)]
pub struct AdamwTensor<'a> {
    /// The f32 masters.
    pub values: &'a mut Array<f32>,
    /// The masters in bf16, for products.
    pub rounded: &'a mut Array<Bf16>,
    /// Its gradient.
    pub gradient: &'a Array<f32>,
    /// Running mean of gradients.
    pub first_moment: &'a mut Array<f32>,
    /// Running mean of squared gradients.
    pub second_moment: &'a mut Array<f32>,
}

impl Operations {
    /// Operations on `machine` for models with heads of `heads`.
    ///
    /// # Panics
    /// When no kernel can compute such heads: see [`Operations::fault_of`].
    pub fn new(machine: Arc<dyn Machine>, heads: Heads) -> Self {
        if let Some(fault) = Self::fault_of(&heads) {
            panic!("{fault}");
        }
        Self { machine, heads }
    }

    /// Why there are no kernels for such heads.
    pub fn fault_of(heads: &Heads) -> Option<String> {
        let Heads { query, key_value, width } = *heads;
        if !width.is_multiple_of(8) || width > launch::HEAD_WIDTH_MAX {
            let max = launch::HEAD_WIDTH_MAX;
            return Some(format!("heads of {width}; a card takes multiples of 8 up to {max}"));
        }
        let together = query / key_value.max(1);
        let max = launch::WARP_ROWS;
        (together > max).then(|| format!("{together} query heads for each key-value head; a card takes up to {max}"))
    }

    /// Why a card whose blocks may take so many bytes of shared memory can't train such heads.
    pub fn training_fault_of(heads: &Heads, block_bytes_max: usize) -> Option<String> {
        let needed = launch::training_block_bytes(heads.width);
        let told = || {
            let [needed, max] = [needed, block_bytes_max].map(|bytes| bytes >> 10);
            format!(
                "heads of {}; training them takes {needed} KiB of shared memory, and this card has {max}",
                heads.width
            )
        };
        (needed > block_bytes_max).then(told)
    }

    /// Where arrays of these operations are.
    pub fn machine(&self) -> &Arc<dyn Machine> {
        &self.machine
    }

    /// Starts a kernel with arguments that its operation made for it.
    fn start(&self, launch: &Launch, arguments: Arguments) {
        if launch.grid.contains(&0) {
            return;
        }
        // SAFETY: every operation gives the parameters that its kernel's source lists, and has checked that arrays are as long
        // as the kernel reads and writes; an array's memory goes only when the card is done with it.
        must(unsafe { self.machine.start(self.heads.width, launch, arguments) });
    }

    /// Starts the operations that `step` asks for, all at once where the same were asked for before.
    pub fn together(&self, step: impl FnOnce()) {
        struct Ended<'a>(&'a dyn Machine);
        impl Drop for Ended<'_> {
            fn drop(&mut self) {
                self.0.forget_gathered();
            }
        }
        self.machine.gather();
        let _ended = Ended(&*self.machine);
        step();
        must(self.machine.start_gathered());
    }

    /// out = rows · weightᵀ, with what it is added to. Shapes: rows \[N, inputs\], weight \[outputs, inputs\].
    pub fn project(&self, out: Output<'_>, rows: &Array<Bf16>, weight: &Array<Bf16>, [outputs, inputs]: [usize; 2]) {
        assert_eq!(weight.len(), outputs * inputs, "a weight of {outputs} outputs and {inputs} inputs");
        let count = rows_of(rows, inputs);
        let right = Side { start: weight.start(), stride: inputs, is_transposed: true };
        let left = Side { start: rows.start(), stride: inputs, is_transposed: false };
        self.multiply(out, (left, right), [count, outputs, inputs]);
    }

    /// out = gradient · weight, the gradient of a projection's inputs, with what it is added to.
    /// Shapes: gradient \[N, outputs\], weight \[outputs, inputs\].
    pub fn project_back(
        &self,
        out: Output<'_>,
        gradient: &Array<Bf16>,
        weight: &Array<Bf16>,
        [outputs, inputs]: [usize; 2],
    ) {
        assert_eq!(weight.len(), outputs * inputs, "a weight of {outputs} outputs and {inputs} inputs");
        let count = rows_of(gradient, outputs);
        let right = Side { start: weight.start(), stride: inputs, is_transposed: false };
        let left = Side { start: gradient.start(), stride: outputs, is_transposed: false };
        self.multiply(out, (left, right), [count, inputs, outputs]);
    }

    /// sum += gradientᵀ · rows, the gradient of a projection's weight.
    /// Shapes: gradient \[N, outputs\], rows \[N, inputs\], sum \[outputs, inputs\].
    pub fn add_weight_gradient(
        &self,
        sum: &mut Array<f32>,
        gradient: &Array<Bf16>,
        rows: &Array<Bf16>,
        [outputs, inputs]: [usize; 2],
    ) {
        let count = rows_of(rows, inputs);
        assert_eq!(gradient.len(), count * outputs, "gradients of {count} rows of {outputs} outputs");
        let left = Side { start: gradient.start(), stride: outputs, is_transposed: true };
        let right = Side { start: rows.start(), stride: inputs, is_transposed: false };
        self.multiply(Output::Add(sum), (left, right), [outputs, inputs, count]);
    }

    /// Of sides that are as large as the shape says.
    fn multiply(&self, out: Output<'_>, (left, right): (Side, Side), [rows, columns, inner]: [usize; 3]) {
        let length = rows * columns;
        let (out, base) = match out {
            Output::Overwrite(out) => (out.resize(length).start(), None),
            Output::Add(out) => {
                assert_eq!(out.len(), length, "a sum of {rows} rows of {columns}");
                (out.start(), Some(out.start()))
            }
            Output::Sum(out, base) => {
                assert_eq!(base.len(), length, "a base of {rows} rows of {columns}");
                (out.resize(length).start(), Some(base.start()))
            }
        };
        if length > 0 && inner > 0 {
            let product = Product { out, base, left, right, rows, columns, inner };
            // SAFETY: sides and result are as long as the shape says, by the checks of the callers and of this function.
            must(unsafe { self.machine.multiply(&product) });
        }
    }

    /// One AdamW update of a tensor.
    pub fn adamw(&self, tensor: AdamwTensor<'_>, step: &Step) {
        let AdamwTensor { values, rounded, gradient, first_moment, second_moment } = tensor;
        let count = values.len();
        let lengths = [gradient.len(), first_moment.len(), second_moment.len(), rounded.len()];
        assert_eq!(lengths, [count; 4], "a tensor of {count} values");
        let arguments = Arguments::default().array(values).array(rounded).array(gradient);
        let arguments = arguments.array(first_moment).array(second_moment).long(count);
        self.start(&launch::adamw(count), arguments.value(AdamwStep::from(step)));
    }

    /// √Σ x² over all tensors, in f64, first tensor first.
    pub fn global_norm<'a>(&self, tensors: impl IntoIterator<Item = &'a Array<f32>>) -> f64 {
        let tensors: Vec<_> = tensors.into_iter().filter(|tensor| !tensor.is_empty()).collect();
        let blocks: usize = tensors.iter().map(|tensor| tensor.len().div_ceil(launch::SQUARES)).sum();
        let mut sums = Array::<f64>::new(&self.machine);
        sums.resize(blocks);
        let mut at = 0;
        for tensor in tensors {
            let launch = launch::square_blocks(tensor.len());
            let place = sums.start() + (at * size_of::<f64>()) as u64;
            at += launch.grid[0];
            self.start(&launch, Arguments::default().value(place).array(tensor).long(tensor.len()));
        }
        let mut norm = Array::<f64>::new(&self.machine);
        norm.resize(1);
        self.start(&launch::global_norm(), Arguments::default().array(&norm).array(&sums).int(blocks));
        norm.values()[0]
    }
}

/// How many rows of `width` an array has.
fn rows_of<T: super::array::Plain>(array: &Array<T>, width: usize) -> usize {
    assert!(width > 0 && array.len().is_multiple_of(width), "{} numbers in rows of {width}", array.len());
    array.len() / width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_heads_are_trained_where_their_tiles_fit_a_block() {
        let fault = |width, kibibytes: usize| {
            Operations::training_fault_of(&Heads { query: 16, key_value: 8, width }, kibibytes << 10)
        };
        // 2·64 + 4·64 rows of 136 numbers of 2 bytes: 102 KiB. A block has 99, 163 or 227, by compute capability.
        let expected = "heads of 128; training them takes 102 KiB of shared memory, and this card has 99";
        assert_eq!(fault(128, 99).as_deref(), Some(expected));
        assert_eq!([fault(128, 163), fault(128, 227), fault(112, 99), fault(64, 99)], [None, None, None, None]);
    }
}
