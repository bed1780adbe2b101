//! Arrays that kernels read and write, with guards around them, and the arguments of a kernel.

use std::{cell::RefCell, marker::PhantomData, ptr, sync::Arc};

use kernels::cuda::{
    array::Plain,
    device::{Device, SharedMemory},
    emulation::Pages,
};

/// What a kernel may do with an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    Write,
}

const PAGE_BYTES: usize = 4096;
/// What stands around an array, as far as it does not end at a page.
const CANARY: u8 = 0xa5;

thread_local! {
    /// The card that shares new arrays; none for the emulation.
    static DEVICE: RefCell<Option<Arc<Device>>> = const { RefCell::new(None) };
}

/// Has a card share every array that this thread makes from here on.
pub(crate) fn share_with(device: &Arc<Device>) {
    DEVICE.set(Some(Arc::clone(device)));
}

/// What an array's bytes and its surroundings lie in.
enum Around {
    /// Pages of the host.
    Host(Pages),
    /// Memory that a card reads and writes, too.
    Shared(SharedMemory),
}

impl Around {
    /// So many whole pages, which can be written.
    fn new(bytes: usize) -> Self {
        match DEVICE.with_borrow(Clone::clone) {
            Some(device) => {
                let memory = SharedMemory::new(&device, bytes);
                Self::Shared(memory.unwrap_or_else(|fault| panic!("{bytes} bytes: {fault}")))
            }
            None => Self::Host(Pages::new(bytes)),
        }
    }

    /// Where what can be written begins.
    fn first(&self) -> *mut u8 {
        match self {
            Self::Host(pages) => pages.first(),
            Self::Shared(memory) => memory.start(),
        }
    }
}

/// Bytes that begin at a multiple of 16 and end less than 16 bytes before the end of their pages, with at least a page of
/// the canary around them on a card.
pub(crate) struct Memory {
    pages: Around,
    /// Of the pages.
    around: usize,
    offset: usize,
    bytes: usize,
    used: Use,
}

impl Memory {
    fn new(bytes: usize, used: Use) -> Self {
        let on_card = DEVICE.with_borrow(Option::is_some);
        let margin = if on_card { PAGE_BYTES } else { 0 };
        let around = bytes.next_multiple_of(PAGE_BYTES).max(PAGE_BYTES) + 2 * margin;
        let pages = Around::new(around);
        // SAFETY: all of it can be written.
        unsafe { ptr::write_bytes(pages.first(), CANARY, around) };
        Self { pages, around, offset: around - margin - bytes.next_multiple_of(16), bytes, used }
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: within the pages.
        unsafe { self.pages.first().add(self.offset) }
    }

    fn all(&self) -> &[u8] {
        // SAFETY: the pages are readable, and nobody holds a reference to write through.
        unsafe { std::slice::from_raw_parts(self.pages.first(), self.around) }
    }

    /// The array's bytes.
    pub(crate) fn content(&self) -> Vec<u8> {
        self.all()[self.offset..][..self.bytes].to_vec()
    }

    /// Puts back what [`Self::content`] gave.
    pub(crate) fn restore(&self, content: &[u8]) {
        assert_eq!(content.len(), self.bytes, "bytes of an array");
        // SAFETY: as many bytes as the array has; nobody holds a reference.
        unsafe { ptr::copy_nonoverlapping(content.as_ptr(), self.start(), content.len()) };
    }

    /// Checks what the kernel must have left alone; `before` is the content before it ran.
    pub(crate) fn check(&self, kernel: &str, argument: usize, before: &[u8]) {
        let (all, at) = (self.all(), self.offset);
        let is_whole = all[..at].iter().chain(&all[at + self.bytes..]).all(|&byte| byte == CANARY);
        assert!(is_whole, "{kernel} wrote beside argument {argument}");
        assert!(self.used == Use::Write || self.content() == before, "{kernel} changed its input {argument}");
    }
}

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
        unsafe { std::slice::from_raw_parts(self.memory.start().cast::<T>(), count) }.to_vec()
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> u64 {
        self.memory.start() as u64
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
