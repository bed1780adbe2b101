//! A card as a [`super::machine::Machine`]: memory and kernels of the driver, compiled when the first operation wants them,
//! and products of cuBLASLt.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cudarc::driver::result::{
    free_sync, malloc_sync, mem_get_info, memcpy_dtod_async, memcpy_dtoh_async, memcpy_htod_async, memset_d8_async,
};

use super::{
    Unusable,
    compile::{CompileError, compile},
    device::{Device, Function, Module},
    gathering::{Asked, Direct, Gathering, Start},
    graph::Graph,
    kept::compile_kept,
    launch::Launch,
    parameters::Address,
    products::Products,
    refused,
    sources::{Width, source_of},
};

/// A card that operations run on.
#[derive(Debug)]
pub struct OpenCard {
    // Before the kernels that its graphs start.
    gathering: Mutex<Gathering<Graph>>,
    products: Products,
    kernels: Mutex<Kernels>,
    /// Where compiled kernels are kept.
    kept: Option<PathBuf>,
    device: Arc<Device>,
}

/// What of the sources is loaded, each with its head width, or 0 where it is for any.
#[derive(Debug, Default)]
struct Kernels {
    modules: BTreeMap<(&'static str, usize), Arc<Module>>,
    functions: BTreeMap<(&'static str, usize), (Arc<Module>, Function)>,
}

impl OpenCard {
    /// Opens card `index` of the driver's order, with the directory where compiled kernels are kept from run to run.
    ///
    /// # Errors
    /// When driver, NVRTC or cuBLASLt are missing, there is no such card, or it is too old.
    pub fn open(index: usize, kept: Option<PathBuf>) -> Result<Arc<Self>, Unusable> {
        super::compiler_version()?;
        let device = Device::open(index)?;
        let products = Products::new(&device)?;
        Ok(Arc::new(Self { gathering: Mutex::default(), products, kernels: Mutex::default(), kept, device }))
    }

    /// A kernel, compiled and loaded where it is not yet.
    fn kernel(&self, head_width: usize, launch: &Launch) -> Result<(Arc<Module>, Function), Unusable> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let Kernels { modules, functions } = &mut *kernels;
        if let Some(found) = functions.get(&(launch.kernel, head_width)) {
            return Ok(found.clone());
        }
        let source = source_of(launch.kernel);
        let width = if source.width == Width::Head { head_width } else { 0 };
        let module = match modules.entry((source.name, width)) {
            Entry::Occupied(module) => Arc::clone(module.get()),
            Entry::Vacant(place) => {
                let architecture = self.device.architecture();
                let compiled = match &self.kept {
                    Some(directory) => compile_kept(directory, source, &architecture, width),
                    None => compile(source, &architecture, width),
                };
                let compiled = compiled.map_err(|error| match error {
                    CompileError::Unusable(fault) => fault,
                    CompileError::Refused(..) => Unusable::NotCompiled(source.name, error.to_string()),
                })?;
                Arc::clone(place.insert(Arc::new(Module::load(&self.device, &compiled)?)))
            }
        };
        let function = module.function(launch)?;
        functions.insert((launch.kernel, head_width), (Arc::clone(&module), function));
        Ok((module, function))
    }
}

impl Start for OpenCard {
    type Graph = Graph;

    fn start_one(&self, asked: &Asked) -> Result<(), Unusable> {
        match asked {
            Asked::Kernel { head_width, launch, arguments } => {
                let (module, function) = self.kernel(*head_width, launch)?;
                let mut arguments = arguments.clone();
                let (mut pointers, count) = arguments.pointers();
                // SAFETY: whoever asked vouched for the arguments; the function is the launch's own.
                unsafe { module.start(function, launch, &mut pointers[..count]) }
            }
            // SAFETY: whoever asked vouched for the matrices.
            Asked::Product(product) => unsafe { self.products.multiply(product) },
        }
    }

    fn record(&self, step: &[Asked]) -> Result<Graph, Unusable> {
        Graph::record(&self.device, || step.iter().try_for_each(|asked| self.start_one(asked)))
    }

    fn repeat(&self, graph: &Graph, _: &[Asked]) -> Result<(), Unusable> {
        // SAFETY: whoever asked for the step, which is the graph's, vouched for what it reaches.
        unsafe { graph.start() }
    }
}

impl Direct for OpenCard {
    fn gathering(&self) -> MutexGuard<'_, Gathering<Graph>> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn allocate(&self, bytes: usize) -> Result<Address, Unusable> {
        self.device.enter()?;
        // SAFETY: what is there is read by nobody before it is written.
        unsafe { malloc_sync(bytes) }.map_err(refused("memory"))
    }

    fn free_bytes(&self) -> Result<usize, Unusable> {
        self.device.enter()?;
        mem_get_info().map(|(free, _)| free).map_err(refused("its free memory"))
    }

    fn block_bytes_max(&self) -> Result<usize, Unusable> {
        self.device.block_bytes_max()
    }

    unsafe fn free(&self, memory: Address) {
        // What could not be given back is left to the driver's own end.
        let _ = self.device.enter();
        // SAFETY: the caller vouches for the memory; the driver waits for what uses it.
        let _ = unsafe { free_sync(memory) };
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Unusable> {
        self.device.enter()?;
        // SAFETY: the caller vouches for the memory; bytes of pageable memory are read before the call returns.
        unsafe { memcpy_htod_async(to, bytes, self.device.stream()) }.map_err(refused("a copy to it"))
    }

    unsafe fn download(&self, bytes: &mut [u8], from: Address) -> Result<(), Unusable> {
        self.device.enter()?;
        // SAFETY: as above; nobody looks at the bytes before all is done.
        unsafe { memcpy_dtoh_async(bytes, from, self.device.stream()) }.map_err(refused("a copy from it"))?;
        self.device.synchronize()
    }

    unsafe fn copy(&self, to: Address, from: Address, bytes: usize) -> Result<(), Unusable> {
        self.device.enter()?;
        // SAFETY: the caller vouches for the memory.
        unsafe { memcpy_dtod_async(to, from, bytes, self.device.stream()) }.map_err(refused("a copy within it"))
    }

    unsafe fn clear(&self, memory: Address, bytes: usize) -> Result<(), Unusable> {
        self.device.enter()?;
        // SAFETY: the caller vouches for the memory.
        unsafe { memset_d8_async(memory, 0, bytes, self.device.stream()) }.map_err(refused("to clear memory"))
    }
}
