//! Whether a run's accuracy fell away with its length, from the evaluations that another program makes.

use std::path::PathBuf;

use numpy::PyReadonlyArray1;
use pyo3::prelude::*;
use record::RunDirectory;
use rl::collapse::{Answer, CollapseWatch as Watch};

use crate::convert::{exception, from_python, refused, slice, to_python};

/// What is remembered of a run's evaluations.
#[pyclass(module = "brevity_rl._native")]
pub(crate) struct CollapseWatch(Watch);

#[pymethods]
impl CollapseWatch {
    #[new]
    fn new() -> Self {
        Self(Watch::default())
    }

    /// As it was after the last evaluation of the run directory at `path`.
    #[staticmethod]
    fn of_run(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let opened = RunDirectory::open(&path).map_err(|error| exception(&error))?;
        py.detach(|| Watch::of_run(&opened)).map(Self).map_err(|error| exception(&error))
    }

    /// What a checkpoint must keep, as a dictionary.
    #[getter]
    fn memory<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0)
    }

    /// Goes on where the watch of `memory` was.
    fn restore(&mut self, memory: &Bound<'_, PyAny>) -> PyResult<()> {
        self.0 = from_python(memory, "memory of a collapse watch")?;
        Ok(())
    }

    /// How the evaluation after `step` steps stands to the best one so far; `None` of an empty one.
    fn observe<'py>(
        &mut self,
        py: Python<'py>,
        step: u64,
        problems: Vec<String>,
        outcomes: (PyReadonlyArray1<'py, bool>, PyReadonlyArray1<'py, i64>),
    ) -> PyResult<Bound<'py, PyAny>> {
        let (correct, lengths) = (slice(&outcomes.0, "correct")?, slice(&outcomes.1, "lengths")?);
        if correct.len() != problems.len() || lengths.len() != problems.len() {
            let (problems, correct, lengths) = (problems.len(), correct.len(), lengths.len());
            return refused(format!(
                "there are {problems} problems, {correct} verdicts and {lengths} lengths; give one of each per completion"
            ));
        }
        let mut answers = Vec::new();
        for ((problem, &correct), &length) in problems.iter().zip(correct).zip(lengths) {
            let Ok(completion_tokens) = u32::try_from(length) else {
                return refused(format!("`lengths` has {length}, which is no number of tokens"));
            };
            answers.push(Answer { problem, correct, completion_tokens });
        }
        to_python(py, &self.0.observe_answers(step, answers.into_iter()))
    }
}
