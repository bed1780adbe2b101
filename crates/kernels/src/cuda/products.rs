//! Products by cuBLASLt. Its matrices are column-major, so it is given the transpose of everything: outᵀ = rightᵀ · leftᵀ.
//!
//! One algorithm is chosen for all counts of rows that a weight is multiplied with, one that does not split sums: then an
//! element is summed up in the same order whether its row is one of two or of two thousand. It is chosen for
//! [`ROWS_CHOSEN_FOR`] rows.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    ptr,
    sync::{Arc, Mutex, PoisonError},
};

use cudarc::{
    cublaslt::{
        result::{self, CublasError},
        sys::{self, cublasLtMatmulAlgo_t},
    },
    driver::result::{free_sync, malloc_sync},
};

use super::{
    Unusable,
    device::Device,
    machine::{Product, Side},
    parameters::Address,
    refused,
};

/// Memory that a product may take beside its matrices: what NVIDIA recommends for compute capability 9.0.
const WORKSPACE_BYTES: usize = 32 << 20;
/// Rows of the products that algorithms are chosen for.
const ROWS_CHOSEN_FOR: usize = 256;
/// Algorithms that are remembered; products of weight gradients have ever other lengths.
const REMEMBERED_MAX: usize = 4096;

/// What an algorithm is chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    /// Of a sum over rows; none where rows stay apart.
    rows: Option<usize>,
    columns: usize,
    inner: usize,
    strides: [usize; 2],
    are_transposed: [bool; 2],
    has_base: bool,
}

/// cuBLASLt on one card.
#[derive(Debug)]
pub(super) struct Products {
    library: sys::cublasLtHandle_t,
    workspace: Address,
    algorithms: Mutex<BTreeMap<Key, cublasLtMatmulAlgo_t>>,
    device: Arc<Device>,
}

// SAFETY: a library may be used from any thread in which the card's context is current.
unsafe impl Send for Products {}
// SAFETY: as above; what is written is behind a lock, and the stream orders the uses of the workspace.
unsafe impl Sync for Products {}

fn product_refused(call: &'static str) -> impl Fn(CublasError) -> Unusable {
    move |error| Unusable::ProductRefused(call, error.0 as i32)
}

/// The version of cuBLASLt, where it is found.
pub(super) fn version() -> Result<String, Unusable> {
    // SAFETY: the library found is NVIDIA's, whose initialisers may run at any time; one without the function is some other
    // library of that name.
    let is_there = unsafe { sys::is_culib_present() && sys::culib().get::<*const ()>(b"cublasLtGetVersion").is_ok() };
    if !is_there {
        return Err(Unusable::NoProducts);
    }
    // SAFETY: the function was found and may be called before any other.
    let number = unsafe { sys::cublasLtGetVersion() };
    // 12.9.1 is written as 120901.
    Ok(format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100))
}

/// One matrix as cuBLASLt sees it, which is destroyed when it goes.
struct Layout(sys::cublasLtMatrixLayout_t);

impl Layout {
    /// Of column-major \[rows, columns\].
    fn new(kind: sys::cudaDataType, [rows, columns]: [usize; 2], stride: usize) -> Result<Self, Unusable> {
        let stride = i64::try_from(stride).expect("a row of 63 bits");
        result::create_matrix_layout(kind, rows as u64, columns as u64, stride)
            .map(Self)
            .map_err(product_refused("the layout of a matrix"))
    }

    /// Of a side whose transpose is \[columns, rows\] as cuBLASLt wants it, in the order in which it lies.
    fn of_side(side: Side, [rows, columns]: [usize; 2]) -> Result<Self, Unusable> {
        let shape = if side.is_transposed { [rows, columns] } else { [columns, rows] };
        Self::new(sys::cudaDataType_t::CUDA_R_16BF, shape, side.stride)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: the layout was created and nothing refers to it any more; nobody could use a refusal.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// How a product computes, which is destroyed when it goes.
struct Description(sys::cublasLtMatmulDesc_t);

impl Description {
    fn new(left: Side, right: Side) -> Result<Self, Unusable> {
        let (sums, scale) = (sys::cublasComputeType_t::CUBLAS_COMPUTE_32F, sys::cudaDataType_t::CUDA_R_32F);
        let description =
            result::create_matmul_desc(sums, scale).map(Self).map_err(product_refused("a product's description"))?;
        let attributes = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA;
        let other = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSB;
        for (attribute, side) in [(attributes, right), (other, left)] {
            let transposed = i32::from(side.is_transposed);
            let value = (&raw const transposed).cast();
            // SAFETY: the description was created; the attribute is one 32-bit number.
            unsafe { result::set_matmul_desc_attribute(description.0, attribute, value, size_of::<i32>()) }
                .map_err(product_refused("a transposed side"))?;
        }
        Ok(description)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: as with a layout.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// What is asked of an algorithm, which is destroyed when it goes.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    /// Within the workspace; sums are not split.
    fn new() -> Result<Self, Unusable> {
        use sys::cublasLtMatmulPreferenceAttributes_t as Attribute;
        let preference =
            result::create_matmul_pref().map(Self).map_err(product_refused("what an algorithm must be like"))?;
        let set = |attribute, value: *const c_void, bytes| {
            // SAFETY: the preference was created; the value has as many bytes.
            unsafe { result::set_matmul_pref_attribute(preference.0, attribute, value, bytes) }
                .map_err(product_refused("what an algorithm must be like"))
        };
        let bytes = WORKSPACE_BYTES as u64;
        let value = (&raw const bytes).cast();
        set(Attribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, value, size_of::<u64>())?;
        let scheme = sys::cublasLtReductionScheme_t::CUBLASLT_REDUCTION_SCHEME_NONE as u32;
        let value = (&raw const scheme).cast();
        set(Attribute::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, value, size_of::<u32>())?;
        Ok(preference)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: as with a layout.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

/// A product with a certain count of rows, as cuBLASLt sees it.
struct Shape {
    description: Description,
    left: Layout,
    right: Layout,
    out: Layout,
}

impl Shape {
    fn new(product: &Product, rows: usize) -> Result<Self, Unusable> {
        let &Product { left, right, columns, inner, .. } = product;
        Ok(Self {
            description: Description::new(left, right)?,
            left: Layout::of_side(left, [rows, inner])?,
            right: Layout::of_side(right, [inner, columns])?,
            out: Layout::new(sys::cudaDataType_t::CUDA_R_32F, [columns, rows], columns)?,
        })
    }
}

impl Products {
    /// cuBLASLt on `device`.
    pub(super) fn new(device: &Arc<Device>) -> Result<Self, Unusable> {
        version()?;
        device.enter()?;
        // SAFETY: nobody reads what is there but the library.
        let workspace = unsafe { malloc_sync(WORKSPACE_BYTES) }.map_err(refused("memory for products"))?;
        match result::create_handle() {
            Ok(library) => Ok(Self { library, workspace, algorithms: Mutex::default(), device: Arc::clone(device) }),
            Err(error) => {
                // SAFETY: the memory was given above and nothing uses it.
                unsafe { free_sync(workspace) }.map_err(refused("to give back memory"))?;
                Err(product_refused("to start")(error))
            }
        }
    }

    /// Starts a product.
    ///
    /// # Safety
    /// As [`super::machine::Machine::multiply`].
    pub(super) unsafe fn multiply(&self, product: &Product) -> Result<(), Unusable> {
        self.device.enter()?;
        let algorithm = self.algorithm(product)?;
        let shape = Shape::new(product, product.rows)?;
        let (alpha, beta) = (1.0_f32, if product.base.is_some() { 1.0_f32 } else { 0.0 });
        let base = product.base.unwrap_or(product.out);
        // SAFETY: the caller vouches for the matrices; library, layouts and workspace are this one's own, and the stream orders
        // the workspace's uses.
        let started = unsafe {
            result::matmul(
                self.library,
                shape.description.0,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                product.right.start as *const c_void,
                shape.right.0,
                product.left.start as *const c_void,
                shape.left.0,
                base as *const c_void,
                shape.out.0,
                product.out as *mut c_void,
                shape.out.0,
                ptr::from_ref(&algorithm),
                self.workspace as *mut c_void,
                WORKSPACE_BYTES,
                self.device.stream().cast(),
            )
        };
        started.map_err(product_refused("a product"))
    }

    /// The algorithm for all products of this kind.
    fn algorithm(&self, product: &Product) -> Result<cublasLtMatmulAlgo_t, Unusable> {
        let &Product { left, right, columns, inner, rows, .. } = product;
        let key = Key {
            rows: left.is_transposed.then_some(rows),
            columns,
            inner,
            strides: [left.stride, right.stride],
            are_transposed: [left.is_transposed, right.is_transposed],
            has_base: product.base.is_some(),
        };
        let mut algorithms = self.algorithms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(algorithm) = algorithms.get(&key) {
            return Ok(*algorithm);
        }
        let (shape, preference) = (Shape::new(product, key.rows.unwrap_or(ROWS_CHOSEN_FOR))?, Preference::new()?);
        // SAFETY: all of it was created above.
        let chosen = unsafe {
            result::get_matmul_algo_heuristic(
                self.library,
                shape.description.0,
                shape.right.0,
                shape.left.0,
                shape.out.0,
                shape.out.0,
                preference.0,
            )
        };
        let algorithm = chosen.map_err(product_refused("an algorithm for a product"))?.algo;
        if algorithms.len() == REMEMBERED_MAX {
            algorithms.clear();
        }
        algorithms.insert(key, algorithm);
        Ok(algorithm)
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        // What could not be given back is left to the driver's own end.
        let _ = self.device.enter();
        // SAFETY: nothing uses the library any more.
        let _ = unsafe { result::destroy_handle(self.library) };
        // SAFETY: the memory was given by `new`; the driver waits for what uses it.
        let _ = unsafe { free_sync(self.workspace) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn the_library_takes_what_it_is_asked_for_where_it_is_found() {
        let found = version();
        let Ok(version) = &found else {
            eprintln!("SKIPPED without cuBLASLt: {found:?}");
            return;
        };
        assert!(version.starts_with("12."), "{version}");
        for are_transposed in [[false, false], [false, true], [true, false]] {
            let [left, right] = are_transposed.map(|is_transposed| Side { start: 256, stride: 16, is_transposed });
            let product = Product { out: 256, base: None, left, right, rows: 16, columns: 16, inner: 16 };
            assert!(Shape::new(&product, 16).is_ok(), "{are_transposed:?}");
        }
        assert!(Preference::new().is_ok());
    }
}
