//! The Python module `brevity_rl._native`: the crates of this repository as Python calls them. Signatures and documentation
//! for people are in the package's Python files; `brevity_rl/_native.pyi` is the contract between the two.
//!
//! Arrays come in as NumPy arrays of one exact type and are read where they lie; results are moved into NumPy arrays.
//! What computes or waits does so detached from the interpreter, and needs no main thread.

#![expect(clippy::needless_pass_by_value, reason = "what Python passes arrives by value")]

mod collapse;
mod columns;
mod convert;
mod runs;
mod sampling;
mod shaping;
mod verification;

#[pyo3::pymodule]
mod _native {
    #[pymodule_export]
    use crate::collapse::CollapseWatch;
    #[pymodule_export]
    use crate::runs::Run;
    #[pymodule_export]
    use crate::sampling::Model;
    #[pymodule_export]
    use crate::shaping::{Shaper, advantages, cost, shaper_names};
    #[pymodule_export]
    use crate::verification::{check_golds, verify, verify_batch};

    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
}
