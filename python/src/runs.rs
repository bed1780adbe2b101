//! What a run left on disk, as columns.

use std::path::PathBuf;

use pyo3::{prelude::*, types::PyDict};
use record::{RecordError, RunDirectory};
use serde::Serialize;

use crate::{
    columns::columns,
    convert::{exception, to_python},
};

/// A run directory.
#[pyclass(module = "brevity_rl._native", frozen)]
pub(crate) struct Run(RunDirectory);

#[pymethods]
impl Run {
    #[new]
    fn new(path: PathBuf) -> PyResult<Self> {
        RunDirectory::open(&path).map(Self).map_err(|error| exception(&error))
    }

    /// `run.json`.
    fn header<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0.header().map_err(|error| exception(&error))?)
    }

    /// `config.toml`.
    fn config(&self) -> PyResult<String> {
        self.0.config_toml().map_err(|error| exception(&error))
    }

    /// A row for each step.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        table(py, || self.0.metrics())
    }

    /// A row for each rollout of `step`.
    fn rollouts<'py>(&self, py: Python<'py>, step: u64) -> PyResult<Bound<'py, PyDict>> {
        table(py, || self.0.rollouts(step))
    }

    /// A row for each evaluation.
    fn evaluations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        table(py, || self.0.evaluations())
    }

    /// A row for each completion of an evaluation.
    fn evaluation_records<'py>(&self, py: Python<'py>, step: u64, benchmark: &str) -> PyResult<Bound<'py, PyDict>> {
        table(py, || self.0.evaluation_records(step, benchmark))
    }

    /// A row for each fault.
    fn faults<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        table(py, || self.0.faults())
    }
}

fn table<T: Serialize + Send>(
    py: Python<'_>,
    read: impl FnOnce() -> Result<Vec<T>, RecordError> + Send,
) -> PyResult<Bound<'_, PyDict>> {
    let records = py.detach(read).map_err(|error| exception(&error))?;
    columns(py, &records)
}
