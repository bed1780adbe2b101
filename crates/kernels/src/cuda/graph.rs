//! Kernels and products of a step that a card starts at once.

use std::sync::Arc;

use cudarc::driver::{
    result::{graph, stream},
    sys::{CUgraph, CUgraphExec, CUgraphInstantiate_flags, CUstreamCaptureMode_enum},
};

use super::{Unusable, device::Device, refused};

/// A step of one device, ready to be started.
#[derive(Debug)]
pub(super) struct Graph {
    executable: CUgraphExec,
    device: Arc<Device>,
}

// SAFETY: as of the device.
unsafe impl Send for Graph {}

impl Graph {
    /// Records what `start` asks of the device's stream, which is not started.
    ///
    /// # Errors
    /// When `start` or the driver refuses.
    pub(super) fn record(device: &Arc<Device>, start: impl FnOnce() -> Result<(), Unusable>) -> Result<Self, Unusable> {
        device.enter()?;
        // What a library does beside the stream while it is recorded, as loading code, is done at once.
        let mode = CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is the device's own.
        unsafe { stream::begin_capture(device.stream(), mode) }.map_err(refused("to record a step"))?;
        let started = start();
        // Even after a refusal, so that the stream computes again.
        // SAFETY: the stream is being recorded.
        let recorded = unsafe { stream::end_capture(device.stream()) }.map_err(refused("what was recorded of a step"));
        let recorded = Recorded(recorded?);
        started?;
        // SAFETY: the graph was recorded above.
        let executable = unsafe { graph::instantiate(recorded.0, CUgraphInstantiate_flags(0)) };
        Ok(Self { executable: executable.map_err(refused("a graph of a step"))?, device: Arc::clone(device) })
    }

    /// Starts the step; whether it failed is told by [`Device::synchronize`].
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Safety
    /// What the step's kernels and products reach must be the card's and stay until they have ended.
    pub(super) unsafe fn start(&self) -> Result<(), Unusable> {
        self.device.enter()?;
        // SAFETY: the caller vouches for the memory; the graph is of this device, and its kernels are loaded.
        unsafe { graph::launch(self.executable, self.device.stream()) }.map_err(refused("to start a step"))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // As with the device, nobody could use a refusal.
        let _ = self.device.enter();
        // SAFETY: nobody has the graph any more; the driver waits for it where it runs.
        let _ = unsafe { graph::exec_destroy(self.executable) };
    }
}

/// What was recorded, from which a graph is made.
struct Recorded(CUgraph);

impl Drop for Recorded {
    fn drop(&mut self) {
        // SAFETY: it was recorded and is nobody else's. As with the device, nobody could use a refusal.
        let _ = unsafe { graph::destroy(self.0) };
    }
}
