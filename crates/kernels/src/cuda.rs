//! NVIDIA's cards: which there are, and why one is not usable; the kernels for them, from source to machine code.
//!
//! The driver and NVRTC are libraries that this program looks for when it runs; it builds and starts without them.
//! Whoever asks for either must have found it first ([`survey`]), because the bindings panic where a library is missing.

pub mod array;
pub mod blocks;
pub mod card;
pub mod compile;
pub mod device;
pub mod emulation;
mod gathering;
mod graph;
pub mod kept;
pub mod launch;
pub mod machine;
pub mod operations;
pub mod parameters;
pub mod probe;
mod products;
pub mod sources;

use std::fmt;

use cudarc::{
    driver::{
        result::{self, DriverError, ctx, init, mem_get_info, primary_ctx},
        sys::{self as driver, CUdevice, CUdevice_attribute},
    },
    nvrtc::sys as nvrtc,
};

/// Oldest driver and NVRTC, by the version of CUDA that they belong to: the first that knows compute capability 9.0.
pub const CUDA_MIN: Version = Version { major: 12, minor: 0 };
/// Lowest compute capability: the first with matrix units for bf16.
pub const CAPABILITY_MIN: Version = Version { major: 8, minor: 0 };

/// A version of CUDA, or a compute capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the point.
    pub major: u32,
    /// After it.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Why a card, or all of them, can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unusable {
    /// The driver's library was not found.
    NoDriver,
    /// The driver is for an older CUDA than [`CUDA_MIN`].
    OldDriver(Version),
    /// The driver refused a call: what it was asked for, and its code.
    Refused(&'static str, i32),
    /// The driver knows no card.
    NoCard,
    /// The card's compute capability is below [`CAPABILITY_MIN`].
    OldCard(Version),
    /// NVRTC's library was not found.
    NoCompiler,
    /// NVRTC belongs to an older CUDA than [`CUDA_MIN`].
    OldCompiler(Version),
    /// NVRTC refused a source: which, and what it said.
    NotCompiled(&'static str, String),
    /// cuBLASLt was not found.
    NoProducts,
    /// cuBLASLt refused a call: what it was asked for, and its code.
    ProductRefused(&'static str, i32),
}

impl Unusable {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::NoDriver => "install NVIDIA's driver; in a container, pass the cards in (docker run --gpus all)",
            Self::OldDriver(_) => "install a newer driver of NVIDIA (525 or later)",
            Self::Refused(..) => "check that nvidia-smi lists the card, and start again",
            Self::NoCard => "check that nvidia-smi lists a card, and that CUDA_VISIBLE_DEVICES does not hide it",
            Self::OldCard(_) => "use a card of the generation Ampere or later",
            Self::NoCompiler | Self::OldCompiler(_) => {
                "install it (pip install nvidia-cuda-nvrtc-cu12) and put its folder lib into LD_LIBRARY_PATH"
            }
            Self::NotCompiled(..) => "install the newest NVRTC of CUDA 12 (pip install nvidia-cuda-nvrtc-cu12)",
            Self::NoProducts => {
                "install it (pip install nvidia-cublas-cu12) and put its folder lib into LD_LIBRARY_PATH"
            }
            Self::ProductRefused(..) => "install the newest cuBLAS of CUDA 12 (pip install nvidia-cublas-cu12)",
        }
    }
}

impl std::error::Error for Unusable {}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver => write!(formatter, "NVIDIA's driver (libcuda) was not found"),
            Self::OldDriver(found) => write!(formatter, "the driver is for CUDA {found}, older than {CUDA_MIN}"),
            Self::Refused(call, code) => write!(formatter, "the driver refused {call} with code {code}"),
            Self::NoCard => write!(formatter, "the driver knows no card"),
            Self::OldCard(found) => {
                write!(formatter, "its compute capability is {found}, below {CAPABILITY_MIN}")
            }
            Self::NoCompiler => write!(formatter, "NVRTC of CUDA 12 (libnvrtc) was not found"),
            Self::OldCompiler(found) => write!(formatter, "NVRTC is of CUDA {found}, older than {CUDA_MIN}"),
            Self::NotCompiled(source, log) => write!(formatter, "NVRTC refused {source}\n{log}"),
            Self::NoProducts => write!(formatter, "cuBLAS of CUDA 12 (libcublasLt) was not found"),
            Self::ProductRefused(call, code) => write!(formatter, "cuBLASLt refused {call} with code {code}"),
        }
    }
}

/// A card that the driver knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What the driver calls it.
    pub name: String,
    /// Compute capability.
    pub capability: Version,
    /// All its memory.
    pub memory_bytes: u64,
    /// Of that free, or why the driver does not tell.
    pub free_bytes: Result<u64, Unusable>,
}

impl Card {
    /// Why this card can't be used, when the driver and NVRTC can.
    pub fn fault(&self) -> Option<Unusable> {
        let old = (self.capability < CAPABILITY_MIN).then_some(Unusable::OldCard(self.capability));
        old.or_else(|| self.free_bytes.clone().err())
    }
}

/// What of CUDA this machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The newest CUDA that the driver can run.
    pub driver: Result<Version, Unusable>,
    /// The CUDA that NVRTC belongs to.
    pub compiler: Result<Version, Unusable>,
    /// The version of cuBLASLt.
    pub products: Result<String, Unusable>,
    /// Every card in the driver's order, or why there is none.
    pub cards: Result<Vec<Card>, Unusable>,
}

/// Looks for the driver, its cards, NVRTC and cuBLASLt.
pub fn survey() -> Survey {
    let driver = driver_version();
    let cards = driver.clone().and_then(|_| cards());
    Survey { driver, compiler: compiler_version(), products: products::version(), cards }
}

/// CUDA writes 12.9 as 12090.
fn version_of(number: i32) -> Version {
    let number = number.unsigned_abs();
    Version { major: number / 1000, minor: number % 1000 / 10 }
}

fn refused(call: &'static str) -> impl Fn(DriverError) -> Unusable {
    move |error| Unusable::Refused(call, error.0 as i32)
}

fn driver_version() -> Result<Version, Unusable> {
    // SAFETY: the library found is NVIDIA's driver, whose initialisers may run at any time; one without the function is
    // some other library of that name.
    let is_there =
        unsafe { driver::is_culib_present() && driver::culib().get::<*const ()>(b"cuDriverGetVersion").is_ok() };
    if !is_there {
        return Err(Unusable::NoDriver);
    }
    let mut number = 0;
    // SAFETY: the function was found, may be called before any other, and writes one integer.
    unsafe { driver::cuDriverGetVersion(&raw mut number) }.result().map_err(refused("its version"))?;
    let version = version_of(number);
    if version < CUDA_MIN { Err(Unusable::OldDriver(version)) } else { Ok(version) }
}

fn compiler_version() -> Result<Version, Unusable> {
    // SAFETY: as with the driver.
    let is_there = unsafe { nvrtc::is_culib_present() && nvrtc::culib().get::<*const ()>(b"nvrtcVersion").is_ok() };
    if !is_there {
        return Err(Unusable::NoCompiler);
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the function was found and writes two integers.
    let answer = unsafe { nvrtc::nvrtcVersion(&raw mut major, &raw mut minor) };
    let version = Version { major: major.unsigned_abs(), minor: minor.unsigned_abs() };
    if answer.result().is_err() || version < CUDA_MIN { Err(Unusable::OldCompiler(version)) } else { Ok(version) }
}

/// Starts the driver, which has been found and may have been started before.
fn start_driver() -> Result<(), Unusable> {
    init().map_err(|error| match error {
        DriverError(driver::CUresult::CUDA_ERROR_NO_DEVICE) => Unusable::NoCard,
        other => refused("to start")(other),
    })
}

/// Every card. A driver of at least [`CUDA_MIN`] has been found.
fn cards() -> Result<Vec<Card>, Unusable> {
    start_driver()?;
    let count = result::device::get_count().map_err(refused("the number of cards"))?;
    if count == 0 {
        return Err(Unusable::NoCard);
    }
    (0..count).map(|index| card(result::device::get(index).map_err(refused("a card"))?)).collect()
}

fn card(device: CUdevice) -> Result<Card, Unusable> {
    let attribute = |attribute| {
        // SAFETY: the device is one that the driver gave.
        let number = unsafe { result::device::get_attribute(device, attribute) }
            .map_err(refused("a card's compute capability"))?;
        Ok::<_, Unusable>(number.unsigned_abs())
    };
    let capability = Version {
        major: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        minor: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    };
    // SAFETY: as above.
    let memory_bytes = unsafe { result::device::total_mem(device) }.map_err(refused("a card's memory"))? as u64;
    let name = result::device::get_name(device).map_err(refused("a card's name"))?;
    Ok(Card { name, capability, memory_bytes, free_bytes: free_bytes(device) })
}

/// Only a context tells it, which takes some memory itself as long as it is there.
fn free_bytes(device: CUdevice) -> Result<u64, Unusable> {
    // SAFETY: the device is one that the driver gave; what is retained here is released below.
    let context = unsafe { primary_ctx::retain(device) }.map_err(refused("a context on the card"))?;
    // SAFETY: the context was retained above.
    let bytes = unsafe { ctx::set_current(context) }.and_then(|()| mem_get_info());
    // SAFETY: as above; nothing uses the context after this.
    unsafe { primary_ctx::release(device) }.map_err(refused("to give back the context on the card"))?;
    Ok(bytes.map_err(refused("a card's free memory"))?.0 as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_cuda_writes_them() {
        for (number, expected) in [(12090, "12.9"), (12000, "12.0"), (11080, "11.8"), (13010, "13.1")] {
            assert_eq!(version_of(number).to_string(), expected);
        }
        assert!(version_of(11080) < CUDA_MIN && version_of(12000) >= CUDA_MIN);
    }
}
