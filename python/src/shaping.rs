//! Shapers, advantages and costs: completions of a batch in, one number for each of them out.

use std::{cell::Cell, collections::BTreeMap};

use numpy::{PyArray1, PyReadonlyArray1};
use pyo3::{prelude::*, types::PyDict};
use rl::{
    advantage::{AdvantageScale, advantages as advantages_of_groups},
    cost::Cost,
    dynamic_sampling::DynamicSampling,
    metrics::{length_correctness_correlation, selection_metrics, token_statistics},
    random::{Purpose, Stream},
    shaping::{Outcome, Shaped, ShaperState, Shaping, Step, shape},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Visitor, value::Error as ValueError},
    forward_to_deserialize_any,
};
use serde_json::{Value, json};

use crate::convert::{exception, from_python, refused, slice, to_python};

/// A shaper with what it remembers from batch to batch.
#[pyclass(module = "brevity_rl._native")]
pub(crate) struct Shaper {
    shaping: Shaping,
    seed: u64,
    memory: Memory,
}

/// What a checkpoint must keep of a shaper.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    /// Batches shaped so far: the step that random choices of the next one are keyed by.
    step: u64,
    state: ShaperState,
}

/// Completions of a batch, \[B\] each, in any order.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Batch<'py> {
    correct: PyReadonlyArray1<'py, bool>,
    /// Tokens.
    lengths: PyReadonlyArray1<'py, i64>,
    /// Index of each one's group, from 0; every index below the largest is there.
    groups: PyReadonlyArray1<'py, i64>,
    /// Tokens that the prompt asked for.
    budgets: Option<PyReadonlyArray1<'py, i64>>,
    /// By name.
    costs: BTreeMap<String, PyReadonlyArray1<'py, f64>>,
    /// The token limit.
    length_max: Option<f64>,
    scale: String,
    /// Whether groups without a signal were replaced.
    dynamic_sampling: bool,
}

#[pymethods]
impl Shaper {
    #[new]
    fn new(settings: &Bound<'_, PyAny>, seed: u64) -> PyResult<Self> {
        let shaping: Shaping = from_python(settings, "shaper")?;
        let memory = Memory { step: 0, state: shaping.start() };
        Ok(Self { shaping, seed, memory })
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.shaping.name()
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.seed
    }

    #[getter]
    fn step(&self) -> u64 {
        self.memory.step
    }

    /// Every setting, defaults included, as a dictionary.
    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.shaping)
    }

    /// What a checkpoint must keep, as a dictionary.
    #[getter]
    fn memory<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.memory)
    }

    /// Goes on where the shaper of `memory` was.
    fn restore(&mut self, memory: &Bound<'_, PyAny>) -> PyResult<()> {
        let memory: Memory = from_python(memory, "memory of a shaper")?;
        if !self.shaping.accepts(&memory.state) {
            return refused(format!("the memory is not one that the shaper `{}` leaves", self.shaping.name()));
        }
        self.memory = memory;
        Ok(())
    }

    /// Rewards, advantages and the record of the selection; the shaper remembers the batch.
    fn shape<'py>(&mut self, py: Python<'py>, batch: Batch<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (outcomes, places) = batch.outcomes()?;
        let step = batch.step(self.memory.step, &outcomes, &places)?;
        let replaced = batch.dynamic_sampling.then(DynamicSampling::default);
        self.shaping.check(&step, replaced).map_err(|error| exception(&error))?;
        let (shaped, advantages) = py.detach(|| {
            let mut stream = Stream::new(self.seed, Purpose::Selection, [step.index, 0, 0]);
            let shaped = shape(&step, &self.shaping, &mut self.memory.state, &mut stream);
            let advantages = shaped.advantages(step.scale);
            (shaped, advantages)
        });
        self.memory.step += 1;
        let selected = places.iter().map(|&(group, _)| shaped.selected.contains(group)).collect();
        let groups = shaped.selected.groups.iter().map(|&group| group as u64).collect();
        let record = PyDict::new(py);
        record.set_item("rewards", PyArray1::from_vec(py, of_completions(&shaped.rewards, &places)))?;
        record.set_item("advantages", PyArray1::from_vec(py, of_completions(&advantages, &places)))?;
        let added = shaped.added.as_ref().map(|added| PyArray1::from_vec(py, of_completions(added, &places)));
        record.set_item("added", added)?;
        record.set_item("selected", PyArray1::from_vec(py, selected))?;
        record.set_item("selected_groups", PyArray1::<u64>::from_vec(py, groups))?;
        record.set_item("metrics", to_python(py, &metrics(&outcomes, &shaped, &advantages))?)?;
        Ok(record)
    }
}

/// Group and position within the group of each completion.
type Places = Vec<(usize, usize)>;

impl Batch<'_> {
    /// Outcomes by group, \[N\]\[G\], and where each completion went.
    fn outcomes(&self) -> PyResult<(Vec<Vec<Outcome>>, Places)> {
        let (correct, lengths) = (slice(&self.correct, "correct")?, slice(&self.lengths, "lengths")?);
        let places = places(slice(&self.groups, "group_ids")?)?;
        if correct.len() != places.len() || lengths.len() != places.len() {
            let (correct, lengths, groups) = (correct.len(), lengths.len(), places.len());
            return refused(format!(
                "there are {correct} verdicts, {lengths} lengths and {groups} group ids; give one of each per completion"
            ));
        }
        let mut outcomes = vec![Vec::new(); group_count(&places)];
        for ((&correct, &length), &(group, _)) in correct.iter().zip(lengths).zip(&places) {
            outcomes[group].push(Outcome { correct, tokens: tokens("lengths", length)? });
        }
        Ok((outcomes, places))
    }

    fn step(&self, index: u64, outcomes: &[Vec<Outcome>], places: &Places) -> PyResult<Step> {
        let mut costs = BTreeMap::new();
        for (name, values) in &self.costs {
            costs.insert(name.clone(), by_group(slice(values, name)?, places, name)?);
        }
        if let Some((name, _)) = costs.iter().find(|(_, groups)| groups.iter().flatten().any(|cost| !is_cost(*cost))) {
            return refused(format!("the cost `{name}` has a value that is negative or not finite"));
        }
        let scale = scale(&self.scale)?;
        let mut step = Step { index, cost_max: self.length_max, costs, scale, ..Step::of_outcomes(outcomes) };
        if let Some(budgets) = &self.budgets {
            let budgets = by_group(slice(budgets, "budgets")?, places, "budgets")?;
            for (one, &budget) in step.groups.iter_mut().flatten().zip(budgets.iter().flatten()) {
                one.budget = Some(f64::from(tokens("budgets", budget)?));
            }
        }
        Ok(step)
    }
}

/// What is measured of a batch beside its rewards.
fn metrics(outcomes: &[Vec<Outcome>], shaped: &Shaped, advantages: &[Vec<f64>]) -> Value {
    let share = |holds: &dyn Fn(usize) -> bool| {
        (0..outcomes.len()).filter(|&group| holds(group)).count() as f64 / outcomes.len().max(1) as f64
    };
    let completions = outcomes.iter().flatten().count().max(1) as f64;
    let correct = outcomes.iter().flatten().filter(|outcome| outcome.correct).count() as f64;
    json!({
        "correctness_ratio": correct / completions,
        "all_correct_share": share(&|group| outcomes[group].iter().all(|outcome| outcome.correct)),
        "all_wrong_share": share(&|group| outcomes[group].iter().all(|outcome| !outcome.correct)),
        "zero_advantage_share": share(&|group| advantages[group].iter().all(|advantage| *advantage == 0.0)),
        "length_correctness_correlation": length_correctness_correlation(outcomes),
        "selection": selection_metrics(outcomes, shaped),
        "completion_tokens": token_statistics(outcomes),
    })
}

/// Advantages of rewards, \[B\] each.
#[pyfunction]
pub(crate) fn advantages<'py>(
    py: Python<'py>,
    rewards: PyReadonlyArray1<'py, f64>,
    groups: PyReadonlyArray1<'py, i64>,
    scale: &str,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let scale = self::scale(scale)?;
    let places = places(slice(&groups, "group_ids")?)?;
    let rewards = by_group(slice(&rewards, "rewards")?, &places, "rewards")?;
    let advantages = py.detach(|| advantages_of_groups(&rewards, scale));
    Ok(PyArray1::from_vec(py, of_completions(&advantages, &places)))
}

/// What a cost of `[train.costs]` comes to in each text, \[B\].
#[pyfunction]
pub(crate) fn cost<'py>(
    py: Python<'py>,
    texts: Vec<String>,
    definition: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let definition: Cost = from_python(definition, "cost")?;
    let counts = py.detach(|| texts.iter().map(|text| definition.count(text)).collect());
    Ok(PyArray1::from_vec(py, counts))
}

/// Names of all shapers, as configs have them.
#[pyfunction]
pub(crate) fn shaper_names() -> Vec<&'static str> {
    let names = Cell::new(&[][..]);
    // Which variants there are is all that is asked, so there is nothing to deserialise and this always fails.
    let _ = Shaping::deserialize(VariantNames(&names));
    names.get().to_vec()
}

/// A deserializer that only learns the names of an enum's variants.
struct VariantNames<'a>(&'a Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for VariantNames<'_> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ValueError> {
        Err(ValueError::custom("not an enum"))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, ValueError> {
        self.0.set(variants);
        Err(ValueError::custom("only the names are asked for"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

fn scale(name: &str) -> PyResult<AdvantageScale> {
    serde_json::from_value(Value::from(name)).or_else(|error| refused(format!("advantage scale: {error}")))
}

fn is_cost(cost: f64) -> bool {
    cost.is_finite() && cost >= 0.0
}

fn tokens(name: &str, count: i64) -> PyResult<u32> {
    u32::try_from(count).or_else(|_| refused(format!("`{name}` has {count}, which is no number of tokens")))
}

fn places(groups: &[i64]) -> PyResult<Places> {
    let count = groups.iter().max().map_or(0, |largest| largest.saturating_add(1));
    if usize::try_from(count).is_ok_and(|count| count > groups.len()) || groups.iter().any(|group| *group < 0) {
        return refused("group indices are not 0, 1, … without gaps");
    }
    let mut sizes = vec![0; count as usize];
    let place = |&group: &i64| {
        let group = group as usize;
        sizes[group] += 1;
        (group, sizes[group] - 1)
    };
    let places: Places = groups.iter().map(place).collect();
    if sizes.contains(&0) { refused("group indices are not 0, 1, … without gaps") } else { Ok(places) }
}

fn group_count(places: &Places) -> usize {
    places.iter().map(|&(group, _)| group + 1).max().unwrap_or(0)
}

/// Values of completions as values of groups, \[B\] → \[N\]\[G\].
fn by_group<T: Copy>(values: &[T], places: &Places, name: &str) -> PyResult<Vec<Vec<T>>> {
    if values.len() != places.len() {
        let (values, completions) = (values.len(), places.len());
        return refused(format!(
            "`{name}` has {values} values and there are {completions} completions; give one for each"
        ));
    }
    let mut groups = vec![Vec::new(); group_count(places)];
    for (&value, &(group, _)) in values.iter().zip(places) {
        groups[group].push(value);
    }
    Ok(groups)
}

/// Values of groups as values of completions, \[N\]\[G\] → \[B\].
fn of_completions(groups: &[Vec<f64>], places: &Places) -> Vec<f64> {
    places.iter().map(|&(group, position)| groups[group][position]).collect()
}
