//! A fixed pool of threads that takes tasks by index, and disjoint writes from those tasks.
//!
//! A region of tasks costs about a microsecond: the workers spin for a while after each one before they sleep, since
//! the next product of a layer follows at once. Which thread runs which task is chance; no routine of this crate lets
//! a number depend on it.

use std::{
    cell::RefCell,
    io,
    marker::PhantomData,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Rounds of waiting before a worker sleeps, about 100 µs.
const SPINS: u32 = 1 << 12;

type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// The tasks of a region that one thread takes first: neighbours, which write neighbouring memory.
#[repr(align(128))]
struct Span {
    /// The region's number in the high half, the tasks that nobody has taken in the low half.
    state: AtomicU64,
}

/// What the threads of a pool share.
struct Shared {
    /// One for each thread, the installing one first.
    spans: Vec<Span>,
    /// Tasks of the region.
    tasks: AtomicUsize,
    /// Points to the region's `Work`, which outlives the region.
    work: AtomicPtr<()>,
    /// Tasks of the region that have ended.
    done: AtomicUsize,
    /// Whether a region is under way; a second one runs on its caller alone.
    busy: AtomicBool,
    panicked: AtomicBool,
    stopping: AtomicBool,
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// Threads that wait for tasks. The thread that installs the pool is one of them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Shared>>> = const { RefCell::new(None) };
}

/// Most threads of a pool.
pub const THREADS_MAX: usize = 1 << 12;

impl Pool {
    /// A pool of `threads` threads, the installing one included; 0 takes all cores.
    ///
    /// # Errors
    /// When the system refuses another thread, or there would be more than [`THREADS_MAX`].
    pub fn new(threads: usize) -> io::Result<Self> {
        let threads = if threads == 0 { thread::available_parallelism().map_or(1, Into::into) } else { threads };
        if threads > THREADS_MAX {
            let message = format!("{threads} threads are more than the {THREADS_MAX} that a pool may have");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let shared = Arc::new(Shared {
            spans: (0..threads).map(|_| Span { state: AtomicU64::new(0) }).collect(),
            tasks: AtomicUsize::new(0),
            work: AtomicPtr::new(ptr::null_mut()),
            done: AtomicUsize::new(0),
            busy: AtomicBool::new(false),
            panicked: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
        });
        let mut pool = Self { shared, workers: Vec::new() };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker =
                thread::Builder::new().name(format!("kernels-{index}")).spawn(move || shared.wait_for_work(index));
            pool.workers.push(worker?);
        }
        Ok(pool)
    }

    /// Runs `work` on this thread; the routines of this crate that it calls use the pool.
    pub fn install<R>(&self, work: impl FnOnce() -> R) -> R {
        /// Puts the former pool back, also when `work` panics.
        struct Restore(Option<Arc<Shared>>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(Arc::clone(&self.shared))));
        // The workers are ours alone, and this thread is not: a program that uses this one as a library has others.
        #[cfg(target_arch = "x86_64")]
        crate::matmul::tile::amx::forget();
        work()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.wake_sleepers();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its tasks, so there is nothing to report.
            let _ = worker.join();
        }
    }
}

const LOW_HALF: u64 = u32::MAX as u64;

impl Shared {
    /// First task of a span.
    fn span_start(&self, span: usize, tasks: usize) -> usize {
        span * tasks / self.spans.len()
    }

    /// Runs tasks of the present region, those of `mine` first, until none is left.
    fn take_tasks(&self, mine: usize) {
        let count = self.spans.len();
        let ended: usize = (0..count).map(|offset| self.take_span((mine + offset) % count)).sum();
        if ended > 0 {
            self.done.fetch_add(ended, Ordering::Release);
        }
    }

    /// Runs what is left of a span; returns how many tasks that was.
    fn take_span(&self, span: usize) -> usize {
        let mut ended = 0;
        while let Some(index) = self.take_task(span) {
            // SAFETY: the task was taken and has not ended, so the region's caller waits, and `work` points to its `Work`.
            let work = unsafe { *self.work.load(Ordering::Relaxed).cast::<Work<'_>>() };
            if catch_unwind(AssertUnwindSafe(|| work(index))).is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            ended += 1;
        }
        ended
    }

    /// Takes the next task of a span, if one is left.
    fn take_task(&self, span: usize) -> Option<usize> {
        let state = &self.spans[span].state;
        let mut seen = state.load(Ordering::Acquire);
        while seen & LOW_HALF > 0 {
            match state.compare_exchange_weak(seen, seen - 1, Ordering::AcqRel, Ordering::Acquire) {
                // The region cannot end before this task does, so the number of tasks is still its own.
                Ok(_) => {
                    let end = self.span_start(span + 1, self.tasks.load(Ordering::Relaxed));
                    return Some(end - (seen & LOW_HALF) as usize);
                }
                Err(now) => seen = now,
            }
        }
        None
    }

    fn region(&self, span: usize) -> u64 {
        self.spans[span].state.load(Ordering::SeqCst) >> 32
    }

    fn wait_for_work(&self, mine: usize) {
        let mut seen = 0;
        while !self.stopping.load(Ordering::SeqCst) {
            self.wait_for_region(mine, seen);
            seen = self.region(mine);
            self.take_tasks(mine);
        }
    }

    /// Returns when a region other than `seen` begins, or the pool stops: spins for a while, then sleeps.
    fn wait_for_region(&self, mine: usize, seen: u64) {
        let is_new = || self.region(mine) != seen || self.stopping.load(Ordering::SeqCst);
        for _ in 0..SPINS {
            if is_new() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while !is_new() {
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_sleepers(&self) {
        let guard = self.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        self.wake.notify_all();
        drop(guard);
    }

    /// Runs `work` for every index below `tasks` on all threads and returns when all have ended.
    fn run(&self, tasks: usize, work: Work<'_>) {
        assert!(tasks < u32::MAX as usize, "{tasks} tasks in one region");
        self.done.store(0, Ordering::Relaxed);
        self.tasks.store(tasks, Ordering::Relaxed);
        self.work.store((&raw const work).cast_mut().cast(), Ordering::Relaxed);
        let region = (self.region(0) + 1) & LOW_HALF;
        for (index, span) in self.spans.iter().enumerate() {
            let count = self.span_start(index + 1, tasks) - self.span_start(index, tasks);
            span.state.store(region << 32 | count as u64, Ordering::SeqCst);
        }
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            self.wake_sleepers();
        }
        self.take_tasks(0);
        let mut spins = 0;
        while self.done.load(Ordering::Acquire) < tasks {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { thread::yield_now() }
        }
    }
}

/// Threads of the pool that is installed on this thread; 1 without one.
pub fn count() -> usize {
    CURRENT.with_borrow(|pool| pool.as_ref().map_or(1, |shared| shared.spans.len()))
}

/// Runs `work` for every index below `tasks`, on the installed pool; on this thread alone without one, or within a task.
///
/// # Panics
/// When a task panics, after all have ended.
pub fn for_each(tasks: usize, work: impl Fn(usize) + Sync) {
    let pool = if tasks > 1 { CURRENT.with_borrow(Clone::clone) } else { None };
    let Some(shared) = pool.filter(|shared| shared.spans.len() > 1 && !shared.busy.swap(true, Ordering::Acquire))
    else {
        (0..tasks).for_each(work);
        return;
    };
    shared.run(tasks, &work);
    let panicked = shared.panicked.swap(false, Ordering::Relaxed);
    shared.busy.store(false, Ordering::Release);
    if panicked {
        resume_unwind(Box::new("a task of a parallel region panicked"));
    }
}

/// A slice whose disjoint parts are written by several tasks.
pub(crate) struct Parts<'a, T> {
    start: *mut T,
    length: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: a part is handed out to one task at a time (the contract of `part`), as `&mut [T]` could be sent.
unsafe impl<T: Send> Sync for Parts<'_, T> {}

impl<'a, T> Parts<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), length: slice.len(), slice: PhantomData }
    }

    /// Elements of the slice.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// The elements of `range`.
    ///
    /// # Safety
    /// No other part that is in use at the same time may overlap `range`.
    #[expect(clippy::mut_from_ref, reason = "disjoint parts, as the caller vouches")]
    pub(crate) unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length, "part {range:?} of {} elements", self.length);
        // SAFETY: the range lies in the slice, and the caller vouches that nothing else uses it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Address of the element at `index`, for writes through strides.
    pub(crate) fn address(&self, index: usize) -> *mut T {
        assert!(index <= self.length, "element {index} of {}", self.length);
        // SAFETY: the index lies in the slice or one past its end.
        unsafe { self.start.add(index) }
    }
}

/// Runs `work` on every chunk of `size` elements with its index; the last chunk may be shorter.
pub fn for_each_chunk<T: Send>(slice: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let (length, parts) = (slice.len(), Parts::new(slice));
    for_each(length.div_ceil(size), |index| {
        // SAFETY: chunks of different indices do not overlap.
        work(index, unsafe { parts.part(index * size..length.min((index + 1) * size)) });
    });
}

/// Elements that one task of an elementwise routine takes: enough to be worth its start.
pub(crate) const ELEMENTS: usize = 1 << 13;

/// Rows of `columns` elements that one task of a routine over rows takes.
pub(crate) fn rows_per_task(columns: usize) -> usize {
    ELEMENTS.div_ceil(columns.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_whatever_the_threads() {
        for threads in [1, 2, 3, 7] {
            let pool = Pool::new(threads).expect("threads");
            assert_eq!(pool.install(count), threads);
            for tasks in [0, 1, 2, 5, 1000] {
                let mut runs = vec![0_u32; tasks];
                pool.install(|| for_each_chunk(&mut runs, 1, |_, run| run[0] += 1));
                assert!(runs.iter().all(|&run| run == 1), "{tasks} tasks on {threads} threads");
            }
        }
        assert_eq!(count(), 1, "no pool is installed any more");
    }

    #[test]
    fn a_region_within_a_task_runs_on_that_task_alone() {
        let pool = Pool::new(2).expect("threads");
        let sum = AtomicUsize::new(0);
        pool.install(|| for_each(8, |outer| for_each(8, |inner| _ = sum.fetch_add(outer * inner, Ordering::Relaxed))));
        assert_eq!(sum.into_inner(), 28 * 28);
    }

    #[test]
    fn a_pool_of_more_threads_than_a_machine_has_is_refused_before_it_takes_memory() {
        for threads in [4097, usize::MAX] {
            let refused = Pool::new(threads).err().unwrap();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(refused.to_string(), format!("{threads} threads are more than the 4096 that a pool may have"));
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_leaves_the_pool_usable() {
        let pool = Pool::new(3).expect("threads");
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            pool.install(|| for_each(64, |index| assert_ne!(index, 5, "task 5")));
        }));
        assert!(outcome.is_err());
        let mut ran = [false; 64];
        pool.install(|| for_each_chunk(&mut ran, 1, |_, ran| ran[0] = true));
        assert_eq!(ran, [true; 64]);
    }

    #[test]
    fn many_small_regions_follow_one_another() {
        let pool = Pool::new(2).expect("threads");
        let sum = AtomicUsize::new(0);
        pool.install(|| {
            for _ in 0..20_000 {
                for_each(3, |index| _ = sum.fetch_add(index, Ordering::Relaxed));
            }
        });
        assert_eq!(sum.into_inner(), 60_000);
    }
}
