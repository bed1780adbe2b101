//! Sets of real numbers as intervals in ascending order: what unions, intervals and inequalities describe.

use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use crate::{
    algebra::{Atom, Decision, Normal, approximate, decide},
    expression::{Joiner, Mark},
    limits::{Reading, Work},
    value::{Condition, Constraint, Value},
};

/// An end of an interval.
#[derive(Debug, Clone, PartialEq)]
struct End {
    /// The number, or nothing for an end at infinity.
    form: Option<Normal>,
    /// The number for sorting; infinite at infinity.
    place: f64,
    is_closed: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Interval {
    low: End,
    high: End,
}

/// Disjoint intervals in ascending order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Region {
    intervals: Vec<Interval>,
    /// What the numbers are values of, where that was written.
    variable: Option<Normal>,
}

const MINUS_INFINITY: End = End { form: None, place: f64::NEG_INFINITY, is_closed: false };
const INFINITY: End = End { form: None, place: f64::INFINITY, is_closed: false };

impl End {
    /// The end at a number, which is left out unless it is closed afterwards.
    fn at(form: &Normal) -> Option<Self> {
        if !form.is_constant() {
            return None;
        }
        let value = approximate(form, 0).filter(|value| value.imaginary.abs() <= 1e-9 * value.scale)?;
        Some(Self { form: Some(form.clone()), place: value.real, is_closed: false })
    }

    /// The end at a value, left out as at infinity it always is.
    fn of(value: &Value) -> Option<Self> {
        if *value == Value::Infinity {
            return Some(INFINITY);
        }
        if *value == Value::MinusInfinity {
            return Some(MINUS_INFINITY);
        }
        let Value::Scalar(quantity) = value else { return None };
        if quantity.mark == Mark::Plain { Self::at(&quantity.form) } else { None }
    }

    fn closed(self) -> Self {
        Self { is_closed: self.form.is_some(), ..self }
    }

    fn same(&self, other: &Self, work: &mut Work) -> Reading<Decision> {
        match (&self.form, &other.form) {
            (None, None) if self.place.total_cmp(&other.place).is_eq() => Ok(Decision::Equal),
            (Some(a), Some(b)) if self.is_closed == other.is_closed => decide(a, b, work),
            (_, _) => Ok(Decision::Different),
        }
    }

    /// Whether two ends are the same number.
    fn meets(&self, other: &Self, work: &mut Work) -> Reading<bool> {
        match (&self.form, &other.form) {
            (Some(a), Some(b)) => Ok(decide(a, b, work)? == Decision::Equal),
            (_, _) => Ok(false),
        }
    }
}

impl Interval {
    /// What is left of the interval without a number.
    fn without(self, end: &End) -> Vec<Self> {
        let Self { mut low, mut high } = self;
        let is_at = |own: &End| own.form == end.form;
        if is_at(&low) && is_at(&high) {
            return Vec::new();
        }
        if low.place < end.place && end.place < high.place && !is_at(&low) && !is_at(&high) {
            return vec![Self { low, high: end.clone() }, Self { low: end.clone(), high }];
        }
        low.is_closed &= !is_at(&low);
        high.is_closed &= !is_at(&high);
        vec![Self { low, high }]
    }
}

impl Region {
    /// The region that a value describes; nothing where it describes none.
    pub(crate) fn of(value: &Value, work: &mut Work) -> Reading<Option<Self>> {
        let Some(region) = Self::raw(value, work)? else { return Ok(None) };
        region.merged(work).map(Some)
    }

    fn raw(value: &Value, work: &mut Work) -> Reading<Option<Self>> {
        work.spend(1)?;
        let whole = || Self { intervals: vec![Interval { low: MINUS_INFINITY, high: INFINITY }], variable: None };
        Ok(match value {
            Value::Reals => Some(whole()),
            Value::Tuple { open, close, items } => match items.as_slice() {
                [low, high] => interval(*open, low, high, *close),
                _ => None,
            },
            Value::Set(items) => points(items),
            Value::Union(sets) => Self::united(sets, work)?,
            Value::Without(from, taken) => {
                let Some(from) = Self::of(from, work)? else { return Ok(None) };
                let Value::Set(points) = &**taken else { return Ok(None) };
                from.without(points)
            }
            Value::Named { left, value, .. } => {
                let is_set =
                    matches!(**value, Value::Tuple { .. } | Value::Union(_) | Value::Without(..) | Value::Reals);
                let region = if is_set { Self::raw(value, work)? } else { None };
                region.map(|region| Self { variable: left.clone(), ..region })
            }
            Value::Constraints(constraints) => Self::constrained(constraints, work)?,
            Value::List(joiner, items) => Self::joined(*joiner, items, work)?,
            Value::Scalar(_)
            | Value::Infinity
            | Value::MinusInfinity
            | Value::Based { .. }
            | Value::Matrix(_)
            | Value::Ratio(_)
            | Value::Clock(..) => None,
        })
    }

    fn united(sets: &[Value], work: &mut Work) -> Reading<Option<Self>> {
        let mut intervals = Vec::new();
        for set in sets {
            let Some(region) = Self::raw(set, work)? else { return Ok(None) };
            intervals.extend(region.intervals);
        }
        Ok(Some(Self { intervals, variable: None }))
    }

    /// Inequalities one beside another: together where `and` joins them or each leaves a number out, otherwise either;
    /// and intervals that `or` joins.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all items have been found to be constraints")]
    fn joined(joiner: Joiner, items: &[Value], work: &mut Work) -> Reading<Option<Self>> {
        if joiner == Joiner::Or && items.iter().all(is_interval) && !items.iter().all(is_point) {
            return Self::united(items, work);
        }
        let is_constraint = |item: &Value| matches!(item, Value::Constraints(_));
        if !items.iter().all(is_constraint) {
            return Ok(None);
        }
        let constraints = items.iter().flat_map(|item| match item {
            Value::Constraints(constraints) => constraints.as_slice(),
            _ => &[],
        });
        let leave_out = constraints.clone().all(|constraint| constraint.condition == Condition::NotZero);
        if joiner == Joiner::And || (joiner == Joiner::Comma && leave_out) {
            return Self::constrained(&constraints.cloned().collect::<Vec<_>>(), work);
        }
        let mut joined: Option<Self> = None;
        for item in items {
            let Some(region) = Self::raw(item, work)? else { return Ok(None) };
            joined = Some(match joined {
                Some(mut joined) if joined.variable == region.variable => {
                    joined.intervals.extend(region.intervals);
                    joined
                }
                Some(_) => return Ok(None),
                None => region,
            });
        }
        Ok(joined)
    }

    /// The values of one quantity that satisfy all constraints.
    fn constrained(constraints: &[Constraint], work: &mut Work) -> Reading<Option<Self>> {
        let mut bounds = Interval { low: MINUS_INFINITY, high: INFINITY };
        let mut variable: Option<Normal> = None;
        let mut excluded = Vec::new();
        for constraint in constraints {
            let Some((quantity, coefficient, limit)) = linear(&constraint.difference, work)? else { return Ok(None) };
            if variable.as_ref().is_some_and(|known| *known != quantity) {
                return Ok(None);
            }
            variable = Some(quantity);
            let is_closed = constraint.condition == Condition::NotPositive;
            let Some(end) = End::at(&limit) else { return Ok(None) };
            let end = if is_closed { end.closed() } else { end };
            match (constraint.condition, coefficient.is_positive()) {
                (Condition::Zero, _) => return Ok(None),
                (Condition::NotZero, _) => excluded.push(Value::scalar(limit)),
                (_, true) if end.place < bounds.high.place => bounds.high = end,
                (_, false) if end.place > bounds.low.place => bounds.low = end,
                (_, _) => {}
            }
        }
        if bounds.low.place > bounds.high.place {
            return Ok(None);
        }
        let region = Self { intervals: vec![bounds], variable: variable.clone() };
        let region = if excluded.is_empty() { Some(region) } else { region.without(&excluded) };
        Ok(region.map(|region| Self { variable, ..region }).and_then(Self::without_bars))
    }

    /// The region of z where the one of |z| is known.
    fn without_bars(self) -> Option<Self> {
        let Some((inner, _)) = self.variable.as_ref().and_then(Normal::as_term) else { return Some(self) };
        let [(Atom::Absolute(inside), exponent)] = inner.0.as_slice() else { return Some(self) };
        if !exponent.is_one() {
            return Some(self);
        }
        let variable = Some((**inside).clone());
        let mut intervals = Vec::new();
        for Interval { low, high } in self.intervals {
            let mirror = |end: &End| End {
                form: end.form.clone().map(Normal::negated),
                place: -end.place,
                is_closed: end.is_closed,
            };
            if high.place < 0.0 {
                return None;
            }
            if low.place < 0.0 {
                intervals.push(Interval { low: mirror(&high), high });
            } else {
                intervals.push(Interval { low: mirror(&high), high: mirror(&low) });
                intervals.push(Interval { low, high });
            }
        }
        Some(Self { intervals, variable })
    }

    /// The region with points taken out.
    fn without(self, points: &[Value]) -> Option<Self> {
        let mut intervals = self.intervals;
        for point in points {
            let end = End::of(point)?;
            let mut cut = Vec::with_capacity(intervals.len() + 1);
            for interval in intervals {
                cut.extend(interval.without(&end));
            }
            intervals = cut;
        }
        Some(Self { intervals, variable: self.variable })
    }

    /// In ascending order, with intervals that touch made one.
    fn merged(mut self, work: &mut Work) -> Reading<Self> {
        self.intervals.sort_by(|a, b| a.low.place.total_cmp(&b.low.place).then(b.low.is_closed.cmp(&a.low.is_closed)));
        let mut merged: Vec<Interval> = Vec::with_capacity(self.intervals.len());
        for interval in self.intervals {
            let Some(last) = merged.last_mut() else {
                merged.push(interval);
                continue;
            };
            let touches = (last.high.is_closed || interval.low.is_closed) && last.high.meets(&interval.low, work)?;
            let overlaps = interval.low.place < last.high.place && !last.high.meets(&interval.low, work)?;
            if !touches && !overlaps {
                merged.push(interval);
            } else if interval.high.place > last.high.place {
                last.high = interval.high;
            } else if interval.high.is_closed && last.high.meets(&interval.high, work)? {
                last.high.is_closed = true;
            }
        }
        Ok(Self { intervals: merged, variable: self.variable })
    }

    /// Whether two regions hold the same numbers.
    pub(crate) fn same(&self, other: &Self, work: &mut Work) -> Reading<Decision> {
        if let (Some(a), Some(b)) = (&self.variable, &other.variable)
            && a != b
        {
            return Ok(Decision::Different);
        }
        if self.intervals.len() != other.intervals.len() {
            return Ok(Decision::Different);
        }
        let mut decision = Decision::Equal;
        for (a, b) in self.intervals.iter().zip(&other.intervals) {
            decision = decision.and(a.low.same(&b.low, work)?).and(a.high.same(&b.high, work)?);
        }
        Ok(decision)
    }
}

fn is_interval(value: &Value) -> bool {
    matches!(value, Value::Tuple { items, .. } if items.len() == 2)
}

/// Whether an interval may be a point as well: `(1, 2)`, but neither `[1, 2)` nor `(1, \infty)`.
fn is_point(value: &Value) -> bool {
    let Value::Tuple { open: '(', close: ')', items } = value else { return false };
    !items.iter().any(|item| matches!(item, Value::Infinity | Value::MinusInfinity))
}

fn interval(open: char, low: &Value, high: &Value, close: char) -> Option<Region> {
    let (low, high) = (End::of(low)?, End::of(high)?);
    let low = if open == '[' { low.closed() } else { low };
    let high = if close == ']' { high.closed() } else { high };
    (low.place < high.place).then(|| Region { intervals: vec![Interval { low, high }], variable: None })
}

fn points(items: &[Value]) -> Option<Region> {
    let point = |item: &Value| {
        let end = End::of(item).filter(|end| end.form.is_some())?.closed();
        Some(Interval { low: end.clone(), high: end })
    };
    let intervals: Option<Vec<Interval>> = items.iter().map(point).collect();
    Some(Region { intervals: intervals?, variable: None })
}

/// A difference as coefficient · quantity − limit · coefficient, where one product of variables occurs in it.
fn linear(difference: &Normal, work: &mut Work) -> Reading<Option<(Normal, BigRational, Normal)>> {
    if !Normal::from(difference.denominator().clone()).is_constant() {
        return Ok(None);
    }
    let mut constant = Normal::zero();
    let mut found: Option<(Normal, BigRational)> = None;
    for (monomial, coefficient) in difference.numerator().terms() {
        let term = Normal::monomial(monomial.clone());
        if term.is_constant() {
            constant = constant.plus(&term.scaled(coefficient), work)?;
        } else if found.is_some() {
            return Ok(None);
        } else {
            found = Some((term, coefficient.clone()));
        }
    }
    let Some((quantity, coefficient)) = found else { return Ok(None) };
    assert!(!coefficient.is_zero(), "a term of {difference:?} has the coefficient 0");
    let limit = constant.scaled(&(-BigRational::one() / &coefficient));
    Ok(Some((quantity, coefficient, limit)))
}
