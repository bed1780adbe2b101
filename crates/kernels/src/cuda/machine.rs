//! What operations run on: a card ([`super::device`]), or an emulation of one in checks ([`super::emulation`]).

use std::fmt::Debug;

use super::{Unusable, array::Arguments, launch::Launch, parameters::Address};

/// Memory, kernels and products of one card. What is asked for happens in the order in which it was asked for; only
/// [`Machine::download`] waits for it.
///
/// Between [`Machine::gather`] and [`Machine::start_gathered`] kernels and products are gathered before they are started, so
/// that a card can start all of a step at once where the same step was asked for before. Copies and [`Machine::clear`] don't
/// wait for a step's end: they start what was gathered until then.
pub trait Machine: Debug + Send + Sync {
    /// So many bytes of memory, at least one, from a multiple of 256 on; what is in them is not said.
    ///
    /// # Errors
    /// When there are no more.
    fn allocate(&self, bytes: usize) -> Result<Address, Unusable>;

    /// Bytes of memory that are free.
    ///
    /// # Errors
    /// When the driver does not tell.
    fn free_bytes(&self) -> Result<usize, Unusable>;

    /// Bytes of shared memory that a block of threads may take, at most.
    ///
    /// # Errors
    /// When the driver does not tell.
    fn block_bytes_max(&self) -> Result<usize, Unusable>;

    /// Gives memory back, when what was asked for before is done.
    ///
    /// # Safety
    /// It was given by [`Machine::allocate`] and is used no more.
    unsafe fn free(&self, memory: Address);

    /// Copies bytes to the card.
    ///
    /// # Errors
    /// When the driver refuses, or something before it failed.
    ///
    /// # Safety
    /// As many bytes from `to` on are the card's.
    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Unusable>;

    /// Copies bytes from the card when all before is done.
    ///
    /// # Errors
    /// When the driver refuses, or something before it failed.
    ///
    /// # Safety
    /// As many bytes from `from` on are the card's, and were written.
    unsafe fn download(&self, bytes: &mut [u8], from: Address) -> Result<(), Unusable>;

    /// Copies bytes within the card, between places that do not overlap.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Safety
    /// All of them are the card's.
    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<(), Unusable>;

    /// Sets bytes to zero.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Safety
    /// They are the card's.
    unsafe fn clear(&self, memory: Address, bytes: usize) -> Result<(), Unusable>;

    /// Starts a kernel, compiled for `head_width` where its source is for one.
    ///
    /// # Errors
    /// When it can't be compiled, or the driver refuses.
    ///
    /// # Safety
    /// `arguments` must be the kernel's parameters in order, each of the type that its source says; whatever they reach must be
    /// the card's, as long as the launch's shape makes the kernel read or write, and stay until it has ended.
    unsafe fn start(&self, head_width: usize, launch: &Launch, arguments: Arguments) -> Result<(), Unusable>;

    /// Computes a product. The order in which an element is summed depends on [`Product::inner`] and
    /// [`Product::columns`] alone, never on how many rows there are.
    ///
    /// # Errors
    /// When the library has no way to compute it, or refuses.
    ///
    /// # Safety
    /// The matrices are the card's, as large as the product's shape says, and stay until it has ended.
    unsafe fn multiply(&self, product: &Product) -> Result<(), Unusable>;

    /// Gathers kernels and products from here on.
    ///
    /// # Panics
    /// When it does already.
    fn gather(&self);

    /// Starts what was gathered.
    ///
    /// # Errors
    /// As [`Machine::start`] and [`Machine::multiply`], or when the driver refuses to start all at once.
    fn start_gathered(&self) -> Result<(), Unusable>;

    /// Ends a step; where it was not started, what was gathered is forgotten.
    fn forget_gathered(&self);

    /// How many steps were started at once.
    fn repeated(&self) -> usize;
}

/// One side of a product, in bf16 and row-major as it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Side {
    /// Where it begins.
    pub start: Address,
    /// Numbers from one row's beginning to the next one's, as it lies.
    pub stride: usize,
    /// Whether its transpose is meant.
    pub is_transposed: bool,
}

/// out = base + left · right, out and base \[rows, columns\] in f32, left \[rows, inner\] and right \[inner, columns\] in
/// bf16, sums in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Product {
    /// Where the result goes.
    pub out: Address,
    /// What it is added to; it may be `out`.
    pub base: Option<Address>,
    /// The rows.
    pub left: Side,
    /// What they are multiplied with.
    pub right: Side,
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result.
    pub columns: usize,
    /// Length of the sums.
    pub inner: usize,
}
