//! Records of one type as columns: a dictionary from field to array or list, each as long as there are records.

use std::collections::BTreeMap;

use numpy::PyArray1;
use pyo3::{prelude::*, types::PyDict};
use serde::Serialize;
use serde_json::Value;

use crate::convert::{exception, to_python};

/// Columns of `records`, in the order of their fields; a field within a field is named `outer.inner`.
///
/// A column of truth values, integers or other numbers is an array (`bool`, `int64`, `float64`; a number that is missing or
/// not finite is NaN), any other a list.
pub(crate) fn columns<'py, T: Serialize>(py: Python<'py>, records: &[T]) -> PyResult<Bound<'py, PyDict>> {
    let (mut names, mut columns) = (Vec::new(), BTreeMap::new());
    for (row, record) in records.iter().enumerate() {
        let value = serde_json::to_value(record).map_err(|error| exception(&error))?;
        flatten(String::new(), value, &mut |name, value| {
            let column: &mut Vec<Value> = columns.entry(name).or_insert_with_key(|name| {
                names.push(name.clone());
                Vec::new()
            });
            // A field that records before this one left out.
            column.resize(row, Value::Null);
            column.push(value);
        });
    }
    let table = PyDict::new(py);
    for name in names {
        let mut column = columns.remove(&name).unwrap_or_default();
        column.resize(records.len(), Value::Null);
        table.set_item(name, array(py, &column)?)?;
    }
    Ok(table)
}

fn flatten(name: String, value: Value, each: &mut impl FnMut(String, Value)) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let inner = if name.is_empty() { field } else { format!("{name}.{field}") };
                flatten(inner, value, each);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => each(name, value),
    }
}

fn array<'py>(py: Python<'py>, column: &[Value]) -> PyResult<Bound<'py, PyAny>> {
    if let Some(truths) = column.iter().map(Value::as_bool).collect::<Option<Vec<bool>>>() {
        return Ok(PyArray1::from_vec(py, truths).into_any());
    }
    if let Some(integers) = column.iter().map(Value::as_i64).collect::<Option<Vec<i64>>>() {
        return Ok(PyArray1::from_vec(py, integers).into_any());
    }
    let number = |value: &Value| if value.is_null() { Some(f64::NAN) } else { value.as_f64() };
    let numbers = column.iter().map(number).collect::<Option<Vec<f64>>>();
    match numbers.filter(|_| !column.iter().all(Value::is_null)) {
        Some(numbers) => Ok(PyArray1::from_vec(py, numbers).into_any()),
        None => to_python(py, &column),
    }
}
