//! Large allocations on huge pages, where the system gives them to those who ask: filling memory page by page costs more
//! than what is written to it, and a table of four-kilobyte pages outgrows the processor's.

/// Allocations from this size on ask for huge pages, bytes.
const LARGE: usize = 1 << 22;

/// `length` zeros.
pub fn zeros(length: usize) -> Vec<f32> {
    // Zeroed by the allocator, which touches no page of a large allocation.
    let zeros = vec![0.0; length];
    advise(zeros.as_ptr(), zeros.capacity());
    zeros
}

/// An empty vector with room for `length` elements.
pub(crate) fn with_room<T>(length: usize) -> Vec<T> {
    let empty = Vec::with_capacity(length);
    advise(empty.as_ptr(), empty.capacity());
    empty
}

/// Asks for huge pages behind `length` elements at `start`. Advice only: nothing depends on the answer.
#[cfg(target_os = "linux")]
fn advise<T>(start: *const T, length: usize) {
    const PAGE: usize = 1 << 12;
    let bytes = length * size_of::<T>();
    if bytes < LARGE {
        return;
    }
    let first = start.addr().next_multiple_of(PAGE);
    let whole = (start.addr() + bytes).saturating_sub(first) / PAGE * PAGE;
    let start = start.cast_mut().cast::<libc::c_void>().with_addr(first);
    // SAFETY: whole pages of an allocation that the caller holds; the advice changes no content.
    unsafe { libc::madvise(start, whole, libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise<T>(_start: *const T, _length: usize) {}
