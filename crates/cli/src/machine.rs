//! What a command needs of the machine: threads, memory, clocks, and the wish to stop. Nothing else here reads them.

use std::{
    env, io,
    num::NonZeroUsize,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, anyhow};
use model::{
    cuda::{Unusable, card::OpenCard, machine::Machine},
    instruction_set,
    threads::{self, Pool},
};
use rl::device::{DeviceSetting, Resources};

use crate::{console::Console, table::counted};

mod memory;

pub(crate) use memory::bytes_available as memory_bytes_available;

/// Says what is not known yet where `device` is a card.
pub(crate) fn warn_of_card(device: DeviceSetting, console: &Console) {
    if device.card().is_some() {
        console.warning("no card has run this program yet: hold its first numbers against those of the processor");
    }
}

/// A pool for the kernels; 0 threads takes all cores.
pub(crate) fn thread_pool(threads: usize) -> Result<Pool> {
    Pool::new(threads).with_context(|| format!("cannot start {threads} threads; lower the number of threads"))
}

/// Cores that the program may use; 1 where the system does not tell.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// What a run at `device` may take: as many bytes of memory, where that is known, or the card.
///
/// # Errors
/// When `device` names a card that is not usable, with the reason and what to do.
pub(crate) fn resources(device: DeviceSetting, memory_bytes_available: Option<u64>) -> Result<Resources> {
    let card: Option<Arc<dyn Machine>> = match device.card() {
        None => None,
        Some(index) => Some(OpenCard::open(index, kept_kernels()).map_err(|fault| {
            let remedy = fault.remedy();
            anyhow!("device {device} is not usable: {fault}; {remedy}, or give --device cpu")
        })?),
    };
    Ok(Resources { memory_bytes_available, card })
}

/// Where kernels that were compiled for a card are kept, as the XDG Base Directory Specification has it; nowhere without a
/// home.
fn kept_kernels() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")));
    Some(caches?.join("brevity").join("kernels"))
}

/// Bytes that are free where a run at `device` computes, where known.
pub(crate) fn free_bytes(device: DeviceSetting, resources: &Resources) -> Option<u64> {
    match (device.card(), &resources.card) {
        (Some(_), Some(card)) => card.free_bytes().ok().map(|bytes| bytes as u64),
        _ => resources.memory_bytes_available,
    }
}

/// Does `work`; where a card refuses in its midst, that is its error.
pub(crate) fn with_card<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| match payload.downcast::<Unusable>() {
        Ok(fault) => Err((*fault).into()),
        Err(other) => panic::resume_unwind(other),
    })
}

/// `2 threads, AVX-512`: what kernels compute with here.
pub(crate) fn described() -> String {
    format!("{}, {}", counted(threads::count(), "thread"), instruction_set().name())
}

/// Refuses a place that nobody may look at, which would pass for one that is not there.
///
/// # Errors
/// When a directory above `path` may not be entered.
pub(crate) fn refuse_hidden(path: &Path) -> Result<()> {
    match path.try_exists() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(error).with_context(|| format!("cannot look at {}", path.display()))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Seconds since 1970-01-01 UTC; 0 on a clock that is set before.
#[expect(clippy::disallowed_methods, reason = "the clock is read here and handed down")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Seconds since this call, on a clock that never goes back.
#[expect(clippy::disallowed_methods, reason = "the clock is read here and handed down")]
pub(crate) fn clock() -> impl Fn() -> f64 {
    let start = Instant::now();
    move || start.elapsed().as_secs_f64()
}

static STOP_REQUESTED: AtomicBool = AtomicBool::new(false);

/// Whether someone asked the program to stop since [`watch_for_stop`].
pub(crate) fn stop_requested() -> bool {
    STOP_REQUESTED.load(Ordering::Relaxed)
}

/// From now on the first Ctrl-C or termination signal calls `first` and is remembered; the second ends the program.
///
/// # Errors
/// When the system refuses, or at the second call in one program.
pub(crate) fn watch_for_stop(first: impl Fn() + Send + 'static) -> Result<()> {
    let stop = move || {
        if STOP_REQUESTED.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::INTERRUPTED));
        }
        first();
    };
    ctrlc::set_handler(stop).context("cannot listen for Ctrl-C")
}
