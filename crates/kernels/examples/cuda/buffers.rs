//! Arrays that end where no memory is, and the arguments of a kernel.

use std::{cell::Cell, marker::PhantomData, ptr};

/// What a kernel may do with an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

const PAGE_BYTES: usize = 4096;
/// What stands around an array, as far as it does not end at a page.
const CANARY: u8 = 0xa5;

/// Bytes that begin at a multiple of 16 and end less than 16 bytes before a page that can't be accessed; another such page
/// is before them.
pub(crate) struct Memory {
    mapping: *mut u8,
    mapped_bytes: usize,
    start: *mut u8,
    bytes: usize,
    used: Cell<Use>,
}

impl Memory {
    fn new(bytes: usize, used: Use) -> Self {
        let inner = bytes.next_multiple_of(PAGE_BYTES).max(PAGE_BYTES);
        let mapped_bytes = inner + 2 * PAGE_BYTES;
        // SAFETY: a new private mapping.
        let mapping = unsafe {
            libc::mmap(ptr::null_mut(), mapped_bytes, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
        assert_ne!(mapping, libc::MAP_FAILED, "{mapped_bytes} bytes of memory");
        let mapping = mapping.cast::<u8>();
        // SAFETY: within the mapping.
        let first = unsafe { mapping.add(PAGE_BYTES) };
        // SAFETY: whole pages of the mapping.
        let opened = unsafe { libc::mprotect(first.cast(), inner, libc::PROT_READ | libc::PROT_WRITE) };
        assert_eq!(opened, 0, "memory that can be written");
        // SAFETY: all of it can be written.
        unsafe { ptr::write_bytes(first, CANARY, inner) };
        // SAFETY: the array ends within the inner pages.
        let start = unsafe { first.add(inner - bytes.next_multiple_of(16)) };
        Self { mapping, mapped_bytes, start, bytes, used: Cell::new(used) }
    }

    fn all(&self) -> &[u8] {
        // SAFETY: the inner pages are readable, and nobody holds a reference to write through.
        unsafe { std::slice::from_raw_parts(self.mapping.add(PAGE_BYTES), self.mapped_bytes - 2 * PAGE_BYTES) }
    }

    fn offset(&self) -> usize {
        self.start as usize - self.mapping as usize - PAGE_BYTES
    }

    /// The array's bytes.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.all()[self.offset()..][..self.bytes].to_vec()
    }

    /// Puts back what [`Self::content`] gave.
    pub(crate) fn restore(&self, content: &[u8]) {
        assert_eq!(content.len(), self.bytes, "bytes of an array");
        // SAFETY: as many bytes as the array has; nobody holds a reference.
        unsafe { ptr::copy_nonoverlapping(content.as_ptr(), self.start, content.len()) };
    }

    /// Checks what the kernel must have left alone; `before` is the content before it ran.
    pub(crate) fn check(&self, kernel: &str, argument: usize, before: &[u8]) {
        let (all, at) = (self.all(), self.offset());
        let is_whole = all[..at].iter().chain(&all[at + self.bytes..]).all(|&byte| byte == CANARY);
        assert!(is_whole, "{kernel} wrote beside argument {argument}");
        assert!(self.used.get() == Use::Write || self.content() == before, "{kernel} changed its input {argument}");
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's own.
        unsafe { libc::munmap(self.mapping.cast(), self.mapped_bytes) };
    }
}

/// Plain numbers, of which any bits are one.
///
/// # Safety
/// Every pattern of bits must be valid, and there must be no padding.
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($type:ty),*) => { $(
        // SAFETY: numbers, or structs of 4-byte numbers alone, or of 8-byte addresses followed by an even number of them.
        unsafe impl Plain for $type {}
    )* };
}
plain!(u8, u16, u32, u64, i32, f32, f64);
plain!(kernels::cuda::parameters::QueryBlock, kernels::cuda::parameters::KeyBlock);
plain!(kernels::cuda::parameters::SequenceTile, kernels::cuda::parameters::CachedSequence);
plain!(kernels::cuda::parameters::BlockSum, kernels::cuda::parameters::RowLogprob);
plain!(kernels::cuda::parameters::DrawnToken);

/// An array of the emulated card.
pub(crate) struct Array<T> {
    memory: Memory,
    numbers: PhantomData<T>,
}

impl<T: Plain> Array<T> {
    fn new(values: &[T], used: Use) -> Self {
        let memory = Memory::new(size_of_val(values), used);
        // SAFETY: plain numbers are bytes.
        memory.restore(unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) });
        Self { memory, numbers: PhantomData }
    }

    /// An array that kernels read alone.
    pub(crate) fn read(values: &[T]) -> Self {
        Self::new(values, Use::Read)
    }

    /// An array that kernels add to or replace.
    pub(crate) fn change(values: &[T]) -> Self {
        Self::new(values, Use::Write)
    }

    /// An array that a kernel writes, all ones before: not a number in any format.
    pub(crate) fn poisoned(count: usize) -> Self {
        let array = Self { memory: Memory::new(count * size_of::<T>(), Use::Write), numbers: PhantomData };
        array.memory.restore(&vec![0xff; count * size_of::<T>()]);
        array
    }

    /// What is there.
    pub(crate) fn values(&self) -> Vec<T> {
        let count = self.memory.bytes / size_of::<T>();
        // SAFETY: the array begins at a multiple of 16 and holds so many plain numbers.
        unsafe { std::slice::from_raw_parts(self.memory.start.cast::<T>(), count) }.to_vec()
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> u64 {
        self.memory.start as u64
    }
}

/// Arguments of a kernel in order, as `cuLaunchKernel` takes them.
#[derive(Default)]
pub(crate) struct Arguments<'a> {
    /// Each in words of its own.
    pub(crate) values: Vec<Box<[u64]>>,
    /// Arrays that the kernel reaches.
    pub(crate) arrays: Vec<&'a Memory>,
}

impl<'a> Arguments<'a> {
    /// An array, by its address.
    pub(crate) fn array<T: Plain>(mut self, array: &'a Array<T>) -> Self {
        self.arrays.push(&array.memory);
        self.value(array.address())
    }

    /// A null pointer.
    pub(crate) fn null(self) -> Self {
        self.value(0_u64)
    }

    /// A number or a struct.
    pub(crate) fn value<T: Copy>(mut self, value: T) -> Self {
        let mut words = vec![0_u64; size_of::<T>().div_ceil(8)].into_boxed_slice();
        // SAFETY: there is room for the value, and words are aligned as it is or better.
        unsafe { words.as_mut_ptr().cast::<T>().write(value) };
        self.values.push(words);
        self
    }

    /// A count, as an `int` of the kernel.
    pub(crate) fn int(self, count: usize) -> Self {
        self.value(i32::try_from(count).expect("a count of 31 bits"))
    }

    /// A count, as a `u64` of the kernel.
    pub(crate) fn long(self, count: usize) -> Self {
        self.value(count as u64)
    }

    /// An array whose address is in a struct among the arguments.
    pub(crate) fn reaches<T: Plain>(mut self, array: &'a Array<T>) -> Self {
        self.arrays.push(&array.memory);
        self
    }
}
