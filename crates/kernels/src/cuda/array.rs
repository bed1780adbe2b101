//! Arrays in a card's memory, and the arguments of kernels that read and write them.

use std::{ffi::c_void, fmt, marker::PhantomData, sync::Arc};

use super::{
    Unusable,
    machine::Machine,
    parameters::{
        AdamwStep, Address, BlockSum, Cache, CachedSequence, DrawSettings, DrawnToken, Forward, HeadCounts,
        HeadProduct, KeyBlock, QueryBlock, RowLogprob, SequenceTile,
    },
};

/// The bits of a bf16 number: the upper half of an f32.
pub type Bf16 = u16;

/// Plain numbers, of which any bits are one.
///
/// # Safety
/// Every pattern of bits must be valid, and there must be no padding.
pub unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),*) => { $(
        // SAFETY: numbers, or structs of 4-byte numbers after 8-byte numbers, an even count of them where there are both.
        unsafe impl Plain for $type {}
    )* };
}
plain!(u8, u16, u32, u64, i32, f32, f64);
plain!(QueryBlock, KeyBlock, SequenceTile, CachedSequence, BlockSum, RowLogprob, DrawnToken);
plain!(AdamwStep, Cache, DrawSettings, Forward, HeadCounts, HeadProduct);

/// The values' bytes.
pub(super) fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: plain numbers are bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

/// The end of an operation that the card refused: there is no number to go on with. Whoever runs one catches the panic,
/// of which nothing is printed, by its payload, the [`Unusable`].
pub(super) fn must<T>(answer: Result<T, Unusable>) -> T {
    answer.unwrap_or_else(|fault| std::panic::resume_unwind(Box::new(fault)))
}

/// Memory of a card, given back when nobody has it any more.
struct Memory {
    machine: Arc<dyn Machine>,
    start: Address,
    bytes: usize,
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the memory was given by `allocate`, and this was its only owner.
        unsafe { self.machine.free(self.start) };
    }
}

/// Numbers in a card's memory. It keeps its memory when it becomes shorter and longer again.
///
/// # Panics
/// Every operation panics with an [`Unusable`] as its payload when the card refuses.
pub struct Array<T> {
    machine: Arc<dyn Machine>,
    memory: Option<Memory>,
    length: usize,
    numbers: PhantomData<T>,
}

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Array[{}]", self.length)
    }
}

impl<T: Plain> Array<T> {
    /// An array of no numbers.
    pub fn new(machine: &Arc<dyn Machine>) -> Self {
        Self { machine: Arc::clone(machine), memory: None, length: 0, numbers: PhantomData }
    }

    /// An array of these numbers.
    pub fn from_slice(machine: &Arc<dyn Machine>, values: &[T]) -> Self {
        let mut array = Self::new(machine);
        array.set(values);
        array
    }

    /// An array of so many zeros.
    pub fn zeros(machine: &Arc<dyn Machine>, length: usize) -> Self {
        let mut array = Self::new(machine);
        array.resize(length).clear();
        array
    }

    /// The same numbers in memory of their own.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut copy = Self::new(&self.machine);
        copy.copy_from(self);
        copy
    }

    /// Replaces its numbers with those of another one on the same card.
    pub fn copy_from(&mut self, other: &Self) {
        self.resize(other.length);
        if !self.is_empty() {
            // SAFETY: both arrays hold so many bytes.
            must(unsafe { self.machine.copy(self.start(), other.start(), self.length * size_of::<T>()) });
        }
    }

    /// How many numbers it has.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Bytes of memory that it holds.
    pub fn bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, |memory| memory.bytes)
    }

    /// Where it begins; 0 where it has nothing.
    pub(super) fn start(&self) -> Address {
        self.memory.as_ref().map_or(0, |memory| memory.start)
    }

    /// Gives it so many numbers, which have no values yet.
    pub fn resize(&mut self, length: usize) -> &mut Self {
        let bytes = length * size_of::<T>();
        if bytes > self.bytes() {
            // Before the new memory is there, so that both need not fit.
            (self.memory, self.length) = (None, 0);
            let start = must(self.machine.allocate(bytes));
            self.memory = Some(Memory { machine: Arc::clone(&self.machine), start, bytes });
        }
        self.length = length;
        self
    }

    /// Sets all numbers to zero.
    pub fn clear(&mut self) {
        if !self.is_empty() {
            // SAFETY: the array holds so many bytes.
            must(unsafe { self.machine.clear(self.start(), self.length * size_of::<T>()) });
        }
    }

    /// Has memory for so many numbers, and none of them yet.
    pub fn reserve(&mut self, length: usize) -> &mut Self {
        self.resize(length).resize(0)
    }

    /// Replaces its numbers.
    pub fn set(&mut self, values: &[T]) {
        self.resize(values.len());
        if !values.is_empty() {
            // SAFETY: the array was made long enough.
            must(unsafe { self.machine.upload(self.start(), bytes_of(values)) });
        }
    }

    /// Its numbers, when all that writes them is done.
    pub fn values(&self) -> Vec<T> {
        let count = self.length;
        let mut values: Vec<T> = Vec::with_capacity(count);
        if count > 0 {
            // SAFETY: the vector has room for so many numbers, all of whose bits may be 0; the array holds as many.
            unsafe {
                values.as_mut_ptr().write_bytes(0, count);
                values.set_len(count);
                let bytes = std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), count * size_of::<T>());
                must(self.machine.download(bytes, self.start()));
            }
        }
        values
    }
}

/// Most words that a kernel's parameters take here.
const WORDS_MAX: usize = 20;
/// Most parameters of a kernel here.
const PARAMETERS_MAX: usize = 16;

/// Arguments of a kernel in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Arguments {
    /// What no argument fills is 0.
    words: [u64; WORDS_MAX],
    /// Where each begins, in words.
    starts: [u8; PARAMETERS_MAX],
    count: usize,
    next: usize,
}

impl fmt::Debug for Arguments {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(&self.words[..self.next]).finish()
    }
}

impl Arguments {
    /// A number or a struct.
    pub(super) fn value<T: Plain>(mut self, value: T) -> Self {
        let words = size_of::<T>().div_ceil(8);
        assert!(self.next + words <= WORDS_MAX, "parameters of a kernel");
        // SAFETY: there is room for the value, and words are aligned as it is or better.
        unsafe { self.words.as_mut_ptr().add(self.next).cast::<T>().write(value) };
        self.starts[self.count] = self.next as u8;
        self.count += 1;
        self.next += words;
        self
    }

    /// Where an array begins.
    pub(super) fn array<T: Plain>(self, array: &Array<T>) -> Self {
        self.value(array.start())
    }

    /// A count, as an `int` of the kernel.
    pub(super) fn int(self, count: usize) -> Self {
        self.value(i32::try_from(count).expect("a count of 31 bits"))
    }

    /// A count, as a `u64` of the kernel.
    pub(super) fn long(self, count: usize) -> Self {
        self.value(count as u64)
    }

    /// Pointers to all of them.
    pub(super) fn pointers(&mut self) -> ([*mut c_void; PARAMETERS_MAX], usize) {
        let mut pointers = [std::ptr::null_mut(); PARAMETERS_MAX];
        for (pointer, &start) in pointers.iter_mut().zip(&self.starts[..self.count]) {
            *pointer = self.words[usize::from(start)..].as_mut_ptr().cast();
        }
        (pointers, self.count)
    }
}
