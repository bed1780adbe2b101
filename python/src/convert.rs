//! Values and errors between Rust and Python, by way of JSON where they are small.

use std::{error::Error, fmt::Write, io};

use numpy::{Element, PyReadonlyArray1};
use pyo3::{
    exceptions::{PyOSError, PyValueError},
    prelude::*,
    types::PyString,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// The exception for an error: its text with all its causes; `OSError` where the system refused something.
pub(crate) fn exception(error: &(dyn Error + 'static)) -> PyErr {
    let mut text = error.to_string();
    let mut is_refused = error.is::<io::Error>();
    let mut cause = error.source();
    while let Some(error) = cause {
        is_refused |= error.is::<io::Error>();
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    if is_refused { PyOSError::new_err(text) } else { PyValueError::new_err(text) }
}

/// `ValueError` with this text.
pub(crate) fn refused<T>(text: impl Into<String>) -> PyResult<T> {
    Err(PyValueError::new_err(text.into()))
}

/// A value of plain Python objects; numbers that are not finite become `None`.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(|error| exception(&error))?;
    py.import("json")?.call_method1("loads", (text,))
}

/// A value from plain Python objects (dictionaries, lists, texts, numbers); `what` names it in errors.
pub(crate) fn from_python<T: DeserializeOwned>(value: &Bound<'_, PyAny>, what: &str) -> PyResult<T> {
    let text = value.py().import("json")?.call_method1("dumps", (value,))?;
    let text = text.cast::<PyString>()?.to_str()?;
    let value: Value = serde_json::from_str(text).map_err(|error| exception(&error))?;
    serde_path_to_error::deserialize(&value).or_else(|error| {
        let inner = error.inner();
        match error.path().to_string().as_str() {
            "." => refused(format!("{what}: {inner}")),
            path => refused(format!("{what}, `{path}`: {inner}")),
        }
    })
}

/// The values of an array that lies in one piece.
pub(crate) fn slice<'a, T: Element>(array: &'a PyReadonlyArray1<'_, T>, name: &str) -> PyResult<&'a [T]> {
    array.as_slice().or_else(|_| refused(format!("`{name}` does not lie in one piece; use numpy.ascontiguousarray")))
}
