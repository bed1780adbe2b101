//! One card in use: its context and stream, kernels loaded and started there, and memory that host and card share. Every
//! return code of the driver is looked at.

use std::{
    ffi::{CString, c_int, c_uint, c_void},
    sync::Arc,
};

use cudarc::driver::{
    result::{
        ctx, device, free_sync, function, launch_kernel, malloc_managed, module, primary_ctx,
        stream::{self, StreamKind},
    },
    sys::{
        CUcontext, CUdevice, CUdevice_attribute, CUdeviceptr, CUfunction, CUfunction_attribute_enum,
        CUmemAttach_flags_enum, CUmodule, CUstream,
    },
};

use super::{Unusable, Version, card, compile::Compiled, driver_version, launch::Launch, refused, start_driver};

/// Shared memory of a block that a kernel has without asking for it.
const SHARED_BYTES_UNASKED: usize = 48 << 10;

/// A card with a context and a stream of its own.
#[derive(Debug)]
pub struct Device {
    number: CUdevice,
    context: CUcontext,
    stream: CUstream,
    capability: Version,
}

// SAFETY: contexts, streams and modules of the driver may be used from any thread in which the context is current, which
// `Device::enter` makes sure of; the driver takes one call at a time.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// Opens card `index` of the driver's order.
    ///
    /// # Errors
    /// When there is no driver or no such card, the card is too old, or the driver refuses.
    pub fn open(index: usize) -> Result<Arc<Self>, Unusable> {
        driver_version()?;
        start_driver()?;
        let index = c_int::try_from(index).expect("a card's place in a list");
        let number = device::get(index).map_err(refused("a card of this number"))?;
        let found = card(number)?;
        if let Some(fault) = found.fault() {
            return Err(fault);
        }
        // SAFETY: the device is one that the driver gave; what is retained here is released by `drop`.
        let context = unsafe { primary_ctx::retain(number) }.map_err(refused("a context on the card"))?;
        // SAFETY: the context was retained above.
        let stream = unsafe { ctx::set_current(context) }.and_then(|()| stream::create(StreamKind::NonBlocking));
        match stream {
            Ok(stream) => Ok(Arc::new(Self { number, context, stream, capability: found.capability })),
            Err(error) => {
                // SAFETY: the context was retained above and nothing uses it.
                unsafe { primary_ctx::release(number) }.map_err(refused("to give back the context on the card"))?;
                Err(refused("a stream")(error))
            }
        }
    }

    /// What NVRTC calls the card's architecture.
    pub fn architecture(&self) -> String {
        architecture(self.capability)
    }

    /// Bytes of shared memory that a block may take when a kernel asks for them.
    ///
    /// # Errors
    /// When the driver does not tell.
    pub(super) fn block_bytes_max(&self) -> Result<usize, Unusable> {
        let attribute = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        // SAFETY: the device is one that the driver gave.
        let bytes = unsafe { device::get_attribute(self.number, attribute) }.map_err(refused("its shared memory"))?;
        Ok(bytes.unsigned_abs() as usize)
    }

    /// Makes the card's context that of the calling thread.
    pub(super) fn enter(&self) -> Result<(), Unusable> {
        // SAFETY: the context was retained when the device was opened.
        unsafe { ctx::set_current(self.context) }.map_err(refused("its context in a thread"))
    }

    pub(super) fn stream(&self) -> CUstream {
        self.stream
    }

    /// Waits until everything that was started has ended.
    ///
    /// # Errors
    /// When a kernel failed, which no call before this one need tell.
    pub fn synchronize(&self) -> Result<(), Unusable> {
        self.enter()?;
        // SAFETY: the stream is this device's own.
        unsafe { stream::synchronize(self.stream) }.map_err(refused("to wait for the card"))
    }
}

/// Of compute capability 9.0 the form with all its instructions.
fn architecture(Version { major, minor }: Version) -> String {
    let all = if (major, minor) == (9, 0) { "a" } else { "" };
    format!("sm_{major}{minor}{all}")
}

impl Drop for Device {
    fn drop(&mut self) {
        // A refusal here leaves to the driver's own end what could not be given back.
        // SAFETY: modules and memory hold the device, so that nothing uses stream or context any more.
        let _ = unsafe { stream::destroy(self.stream) };
        // SAFETY: as above.
        let _ = unsafe { primary_ctx::release(self.number) };
    }
}

/// Kernels of one source on a card.
#[derive(Debug)]
pub struct Module {
    module: CUmodule,
    device: Arc<Device>,
}

// SAFETY: as of the device.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Sync for Module {}

/// A kernel of a module that is loaded.
#[derive(Debug, Clone, Copy)]
pub struct Function(CUfunction);

// SAFETY: as of the device.
unsafe impl Send for Function {}

impl Module {
    /// Loads machine code that was compiled for the card's architecture.
    ///
    /// # Errors
    /// When the driver refuses it.
    pub fn load(device: &Arc<Device>, compiled: &Compiled) -> Result<Self, Unusable> {
        device.enter()?;
        // SAFETY: the compiler wrote the image, which says itself how long it is.
        let module = unsafe { module::load_data(compiled.cubin.as_ptr().cast()) };
        Ok(Self { module: module.map_err(refused("the kernels"))?, device: Arc::clone(device) })
    }

    /// A kernel of this module, which may take as much shared memory as the launch says.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn function(&self, launch: &Launch) -> Result<Function, Unusable> {
        self.device.enter()?;
        let name = CString::new(launch.kernel).expect("a name without a zero byte");
        // SAFETY: the module is loaded.
        let function = unsafe { module::get_function(self.module, name) }.map_err(refused(launch.kernel))?;
        if launch.shared_bytes > SHARED_BYTES_UNASKED {
            let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = c_int::try_from(launch.shared_bytes).expect("bytes of a block");
            // SAFETY: the function is the module's.
            unsafe { function::set_function_attribute(function, attribute, bytes) }
                .map_err(refused("shared memory for a kernel"))?;
        }
        Ok(Function(function))
    }

    /// Starts a kernel of this module; whether it failed is told by [`Device::synchronize`].
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Safety
    /// `function` must be that of the launch, from this module; `arguments` must point to the kernel's parameters in order, each of the type that its source says; whatever they reach
    /// must be the card's, as long as the launch's shape makes the kernel read or write, and stay until it has ended.
    pub unsafe fn start(
        &self,
        function: Function,
        launch: &Launch,
        arguments: &mut [*mut c_void],
    ) -> Result<(), Unusable> {
        self.device.enter()?;
        let number = |count: usize| c_uint::try_from(count).expect("blocks, threads and bytes of a launch");
        let ([columns, rows], threads) = (launch.grid.map(number), number(launch.threads));
        let shared_bytes = number(launch.shared_bytes);
        // SAFETY: the caller vouches for the arguments; the rest is the launch's own.
        let started = unsafe {
            let grid = (columns, rows, 1);
            launch_kernel(function.0, grid, (threads, 1, 1), shared_bytes, self.device.stream, arguments)
        };
        started.map_err(refused(launch.kernel))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: the module is loaded; the driver waits for its kernels. As with the device, nobody could use a refusal.
        let _ = unsafe { module::unload(self.module) };
    }
}

/// Memory that has one address on the host and on the card, which must not be used by both at a time: see
/// [`Device::synchronize`].
#[derive(Debug)]
pub struct SharedMemory {
    start: CUdeviceptr,
    _device: Arc<Device>,
}

impl SharedMemory {
    /// So many bytes, at least one.
    ///
    /// # Errors
    /// When the driver has no such memory.
    pub fn new(device: &Arc<Device>, bytes: usize) -> Result<Self, Unusable> {
        device.enter()?;
        // SAFETY: what is there is read by nobody before it is written.
        let start = unsafe { malloc_managed(bytes, CUmemAttach_flags_enum::CU_MEM_ATTACH_GLOBAL) };
        Ok(Self { start: start.map_err(refused("memory"))?, _device: Arc::clone(device) })
    }

    /// Where it begins, at a multiple of 256.
    pub fn start(&self) -> *mut u8 {
        self.start as *mut u8
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the memory was given above and is freed once; the driver waits for the card. As with the device.
        let _ = unsafe { free_sync(self.start) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_are_named_as_nvrtc_names_them() {
        for (major, minor, expected) in [(8, 0, "sm_80"), (8, 9, "sm_89"), (9, 0, "sm_90a"), (12, 0, "sm_120")] {
            assert_eq!(architecture(Version { major, minor }), expected);
        }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn a_card_is_opened_where_the_survey_finds_a_usable_one() {
        let survey = super::super::survey();
        let usable = survey.cards.as_ref().is_ok_and(|cards| cards[0].fault().is_none());
        let opened = Device::open(0);
        assert_eq!(opened.is_ok(), usable, "{opened:?} where {survey:?}");
        match opened {
            Ok(device) => assert_eq!(device.synchronize(), Ok(())),
            Err(fault) => eprintln!("SKIPPED without a card: {fault}"),
        }
    }
}
