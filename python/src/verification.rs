//! The verifier, one completion or many at a time.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    num::NonZeroUsize,
    thread,
};

use ::verify::{Check, Extraction, Gold, GoldError, check};
use numpy::PyArray1;
use pyo3::{prelude::*, pybacked::PyBackedStr};

use crate::convert::{exception, from_python, refused};

/// Verdict, answer and reason.
type Judgement = (String, Option<String>, String);

/// The verdict about one completion. `extraction` as in configs; `decimals` as problems may ask for.
#[pyfunction]
pub(crate) fn verify(
    py: Python<'_>,
    completion: &str,
    gold: &str,
    extraction: &Bound<'_, PyAny>,
    decimals: Option<u32>,
) -> PyResult<Judgement> {
    let extraction = read_extraction(extraction)?;
    let gold = read(gold, decimals).map_err(|error| exception(&error))?;
    Ok(judgement(py.detach(|| check(completion, &gold, &extraction))))
}

fn read_extraction(extraction: &Bound<'_, PyAny>) -> PyResult<Extraction> {
    let extraction: Extraction = from_python(extraction, "extraction")?;
    extraction.check().or_else(|message| refused(format!("`extraction` {message}")))?;
    Ok(extraction)
}

/// Correctness, verdicts, answers and reasons, \[B\] each.
type Judgements<'py> = (Bound<'py, PyArray1<bool>>, Vec<String>, Vec<Option<String>>, Vec<String>);

/// The verdicts about many completions, each with its gold; 0 threads takes all cores.
#[pyfunction]
pub(crate) fn verify_batch<'py>(
    py: Python<'py>,
    completions: Vec<PyBackedStr>,
    golds: Vec<PyBackedStr>,
    options: (Bound<'py, PyAny>, Option<u32>),
    threads: usize,
) -> PyResult<Judgements<'py>> {
    if completions.len() != golds.len() {
        let (completions, golds) = (completions.len(), golds.len());
        return refused(format!("there are {completions} completions and {golds} golds; give one for each"));
    }
    let extraction = read_extraction(&options.0)?;
    let decimals = options.1;
    let checks = py.detach(|| {
        let read = read_all(&golds, decimals)?;
        let pairs: Vec<(&str, &Gold)> =
            completions.iter().zip(&golds).map(|(text, gold)| (&**text, &read[&**gold])).collect();
        Ok(check_all(&pairs, &extraction, threads))
    });
    let checks: Vec<Check> = checks.map_err(|(row, error): (usize, GoldError)| {
        pyo3::exceptions::PyValueError::new_err(format!("row {row}: {error}"))
    })?;
    let correct = PyArray1::from_iter(py, checks.iter().map(|check| check.verdict.is_correct()));
    let (mut verdicts, mut answers, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
    for (verdict, answer, reason) in checks.into_iter().map(judgement) {
        verdicts.push(verdict);
        answers.push(answer);
        reasons.push(reason);
    }
    Ok((correct, verdicts, answers, reasons))
}

/// Refuses the first gold that no completion could be compared with.
#[pyfunction]
pub(crate) fn check_golds(py: Python<'_>, golds: Vec<PyBackedStr>, decimals: Option<u32>) -> PyResult<()> {
    match py.detach(|| read_all(&golds, decimals).map(|_| ())) {
        Ok(()) => Ok(()),
        Err((row, error)) => refused(format!("row {row}: {error}")),
    }
}

fn read(gold: &str, decimals: Option<u32>) -> Result<Gold, GoldError> {
    let gold = Gold::parse(gold)?;
    Ok(match decimals {
        Some(decimals) => gold.with_decimals(decimals),
        None => gold,
    })
}

/// Each gold once, or the row of the first that cannot be read, from 0.
fn read_all(golds: &[PyBackedStr], decimals: Option<u32>) -> Result<BTreeMap<&str, Gold>, (usize, GoldError)> {
    let mut all = BTreeMap::new();
    for (row, gold) in golds.iter().enumerate() {
        if let Entry::Vacant(entry) = all.entry(&**gold) {
            entry.insert(read(gold, decimals).map_err(|error| (row, error))?);
        }
    }
    Ok(all)
}

/// Completions that one thread takes at a time.
const CHUNK: usize = 16;

/// The checks of all pairs, in their order.
fn check_all(pairs: &[(&str, &Gold)], extraction: &Extraction, threads: usize) -> Vec<Check> {
    let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = if threads == 0 { cores() } else { threads }.min(pairs.len().div_ceil(CHUNK)).max(1);
    // Thread t takes chunks t, t + threads, …: long and short completions mix, and nothing is shared.
    let of_thread = |first: usize| {
        let chunks = pairs.chunks(CHUNK).skip(first).step_by(threads);
        chunks.map(|chunk| chunk.iter().map(|(text, gold)| check(text, gold, extraction)).collect()).collect()
    };
    let done: Vec<Vec<Vec<Check>>> = thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|first| scope.spawn(move || of_thread(first))).collect();
        let mut done = vec![of_thread(0)];
        done.extend(workers.into_iter().map(|worker| worker.join().expect("no completion makes the verifier panic")));
        done
    });
    let mut chunks: Vec<_> = done.into_iter().map(Vec::into_iter).collect();
    let in_order = (0..pairs.len().div_ceil(CHUNK)).filter_map(|chunk| chunks[chunk % threads].next());
    in_order.flatten().collect()
}

fn judgement(check: Check) -> Judgement {
    let verdict = serde_json::to_value(check.verdict).ok().and_then(|name| name.as_str().map(str::to_owned));
    (verdict.expect("a verdict is written as a text"), check.answer, check.reason)
}
