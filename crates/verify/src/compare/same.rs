//! Whether two values are the same, kind by kind.

use num_traits::{One, Signed, Zero};

use crate::{
    algebra::{Decision, Normal},
    compare::{
        name::{as_coordinates, paired_by_name},
        quantity::Rounding,
    },
    expression::Mark,
    limits::{Reading, Work},
    region::Region,
    unit::half_day_in,
    value::Value,
};

/// Compares values within an account of work.
pub(crate) struct Comparer<'w> {
    pub(crate) rounding: Rounding,
    pub(crate) work: &'w mut Work,
}

impl Comparer<'_> {
    /// Whether two values are the same; it does not matter which comes first.
    pub(crate) fn same(&mut self, a: &Value, b: &Value) -> Reading<Decision> {
        self.work.spend(2)?;
        match (a, b) {
            (Value::Scalar(a), Value::Scalar(b)) => self.same_quantity(a, b),
            (Value::Infinity, Value::Infinity)
            | (Value::MinusInfinity, Value::MinusInfinity)
            | (Value::Reals, Value::Reals) => Ok(Decision::Equal),
            (Value::Based { digits: a, base: base_a }, Value::Based { digits: b, base: base_b }) => {
                Ok(Decision::between(&(a, base_a), &(b, base_b)))
            }
            (
                Value::Named { naming: naming_a, name: a, left: left_a, value: value_a },
                Value::Named { naming: naming_b, name: b, left: left_b, value: value_b },
            ) => {
                let (a, b) = ((*naming_a, a.as_str(), left_a.as_ref()), (*naming_b, b.as_str(), left_b.as_ref()));
                self.same_named(a, b, (value_a, value_b))
            }
            (Value::Named { left, value, .. }, Value::Constraints(constraints))
            | (Value::Constraints(constraints), Value::Named { left, value, .. }) => {
                let region = self.same_region(a, b)?;
                Ok(region.or(self.same_equation(left.as_ref(), value, constraints)?))
            }
            (Value::Constraints(own), Value::Constraints(others)) => {
                let relations = self.same_constraints(own, others)?;
                if relations == Decision::Equal { Ok(relations) } else { Ok(relations.or(self.same_region(a, b)?)) }
            }
            (Value::Named { value, .. }, other) => Ok(self.same(value, other)?.or(self.same_region(a, b)?)),
            (other, Value::Named { value, .. }) => Ok(self.same(other, value)?.or(self.same_region(a, b)?)),
            (Value::Matrix(a), Value::Matrix(b)) => self.same_matrix(a, b),
            (Value::Ratio(a), Value::Ratio(b)) => self.same_ratio(a, b),
            (Value::Clock(a, half_a), Value::Clock(b, half_b)) => {
                if half_a == half_b {
                    self.same_parts(a, b)
                } else {
                    Ok(Decision::Different)
                }
            }
            (Value::Clock(time, _), Value::Ratio(parts)) | (Value::Ratio(parts), Value::Clock(time, _)) => {
                self.same_parts(time, parts)
            }
            (Value::Clock(time, half), Value::Scalar(hours)) | (Value::Scalar(hours), Value::Clock(time, half))
                if hours.mark == Mark::Plain
                    && (hours.unit.is_empty() || half_day_in(&hours.unit).as_ref() == Some(half)) =>
            {
                self.same_parts(time, std::slice::from_ref(&hours.form))
            }
            (Value::Ratio(parts), Value::Scalar(scalar)) | (Value::Scalar(scalar), Value::Ratio(parts)) => {
                match parts.as_slice() {
                    [above, below] if !below.is_zero() => {
                        let quotient = above.over(below, self.work)?;
                        self.same_form(&quotient, &scalar.form)
                    }
                    _ => Ok(Decision::Different),
                }
            }
            (Value::List(_, items), other) | (other, Value::List(_, items))
                if !matches!(other, Value::List(..) | Value::Set(_)) && !items.is_empty() =>
            {
                let whole = self.same_collection(a, b)?;
                if whole == Decision::Equal {
                    return Ok(whole);
                }
                // One value in several ways of writing: `3/2 or 1.5`.
                Ok(whole.or(self.each_in(items, std::slice::from_ref(other))?))
            }
            (_, _) => self.same_collection(a, b),
        }
    }

    fn same_collection(&mut self, a: &Value, b: &Value) -> Reading<Decision> {
        match (a, b) {
            (
                Value::Tuple { open, close, items },
                Value::Tuple { open: other_open, close: other_close, items: others },
            ) => {
                let same_brackets = (open, close) == (other_open, other_close);
                if items.len() != others.len() || (items.len() <= 2 && !same_brackets) {
                    return Ok(Decision::Different);
                }
                self.in_order(items.iter().zip(others))
            }
            (Value::Tuple { items, .. }, Value::Matrix(rows)) | (Value::Matrix(rows), Value::Tuple { items, .. }) => {
                self.same_vector(items, rows)
            }
            (Value::Tuple { open: '(', close: ')', items }, Value::List(_, others))
            | (Value::List(_, others), Value::Tuple { open: '(', close: ')', items }) => {
                let point = if items.len() == others.len() {
                    self.in_order(items.iter().zip(as_coordinates(others)))?
                } else {
                    Decision::Different
                };
                if point == Decision::Equal { Ok(point) } else { Ok(point.or(self.same_region(a, b)?)) }
            }
            (Value::Set(items), Value::Set(others)) => {
                Ok(self.each_in(items, others)?.and(self.each_in(others, items)?))
            }
            (Value::Set(items) | Value::List(_, items), Value::Set(others) | Value::List(_, others)) => {
                // Points that are listed twice are one solution; numbers that are listed twice may be two.
                let are_points = items.iter().chain(others).all(|item| matches!(item, Value::Tuple { .. }));
                let in_any_order = if are_points {
                    self.each_in(items, others)?.and(self.each_in(others, items)?)
                } else if let Some(pairs) = paired_by_name(items, others) {
                    self.in_order(pairs)?
                } else {
                    self.in_any_order(items, others)?
                };
                if in_any_order == Decision::Equal {
                    Ok(in_any_order)
                } else {
                    Ok(in_any_order.or(self.same_region(a, b)?))
                }
            }
            (Value::Set(items), other @ Value::Scalar(_)) | (other @ Value::Scalar(_), Value::Set(items))
                if !items.is_empty() =>
            {
                self.each_in(items, std::slice::from_ref(other))
            }
            (_, _) => self.same_region(a, b),
        }
    }

    fn same_region(&mut self, a: &Value, b: &Value) -> Reading<Decision> {
        let (Some(a), Some(b)) = (Region::of(a, self.work)?, Region::of(b, self.work)?) else {
            return Ok(Decision::Different);
        };
        a.same(&b, self.work)
    }

    fn in_order<'v>(&mut self, pairs: impl IntoIterator<Item = (&'v Value, &'v Value)>) -> Reading<Decision> {
        let mut decision = Decision::Equal;
        for (item, other) in pairs {
            decision = decision.and(self.same(item, other)?);
            if decision == Decision::Different {
                break;
            }
        }
        Ok(decision)
    }

    /// Each item with its own partner among the others.
    fn in_any_order(&mut self, items: &[Value], others: &[Value]) -> Reading<Decision> {
        if items.len() != others.len() {
            return Ok(Decision::Different);
        }
        self.matched(items, others, Self::same)
    }

    /// Whether each item can be given a partner of its own that is the same.
    pub(super) fn matched<T>(
        &mut self,
        items: &[T],
        others: &[T],
        same: impl Fn(&mut Self, &T, &T) -> Reading<Decision>,
    ) -> Reading<Decision> {
        let mut left: Vec<&T> = others.iter().collect();
        let mut decision = Decision::Equal;
        for item in items {
            let (found, at) = self.partner(item, &left, &same)?;
            if found == Decision::Equal {
                left.swap_remove(at);
            }
            decision = decision.and(found);
        }
        Ok(decision)
    }

    /// The first of the others that is the same, or the best that can be said of them.
    fn partner<T>(
        &mut self,
        item: &T,
        others: &[&T],
        same: impl Fn(&mut Self, &T, &T) -> Reading<Decision>,
    ) -> Reading<(Decision, usize)> {
        let mut best = Decision::Different;
        for (at, other) in others.iter().enumerate() {
            best = best.or(same(self, item, other)?);
            if best == Decision::Equal {
                return Ok((best, at));
            }
        }
        Ok((best, 0))
    }

    /// Whether each item is among the others.
    fn each_in(&mut self, items: &[Value], others: &[Value]) -> Reading<Decision> {
        let others: Vec<&Value> = others.iter().collect();
        let mut decision = Decision::Equal;
        for item in items {
            let (found, _) = self.partner(item, &others, Self::same)?;
            decision = decision.and(found);
        }
        Ok(decision)
    }

    fn same_matrix(&mut self, a: &[Vec<Normal>], b: &[Vec<Normal>]) -> Reading<Decision> {
        if a.len() != b.len() || a.iter().zip(b).any(|(a, b)| a.len() != b.len()) {
            return Ok(Decision::Different);
        }
        let mut decision = Decision::Equal;
        for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
            decision = decision.and(self.same_form(a, b)?);
        }
        Ok(decision)
    }

    /// A point beside a row or column of the same numbers.
    fn same_vector(&mut self, items: &[Value], rows: &[Vec<Normal>]) -> Reading<Decision> {
        let is_vector = rows.len() == 1 || rows.iter().all(|row| row.len() == 1);
        let entries: Vec<&Normal> = rows.iter().flatten().collect();
        if !is_vector || entries.len() != items.len() {
            return Ok(Decision::Different);
        }
        let mut decision = Decision::Equal;
        for (item, entry) in items.iter().zip(entries) {
            decision = decision.and(self.same(item, &Value::scalar(entry.clone()))?);
        }
        Ok(decision)
    }

    /// A time of day part by part, what is not written being 0.
    fn same_parts(&mut self, time: &[Normal; 3], parts: &[Normal]) -> Reading<Decision> {
        if parts.len() > time.len() {
            return Ok(Decision::Different);
        }
        let zero = Normal::zero();
        let mut decision = Decision::Equal;
        for (at, part) in time.iter().enumerate() {
            decision = decision.and(self.same_form(part, parts.get(at).unwrap_or(&zero))?);
        }
        Ok(decision)
    }

    /// Ratios up to a common factor; where a part is 0, as in a time of day, part by part.
    fn same_ratio(&mut self, a: &[Normal], b: &[Normal]) -> Reading<Decision> {
        if a.len() != b.len() {
            return Ok(Decision::Different);
        }
        let has_zero = a.iter().chain(b).any(Normal::is_zero);
        let factor = if has_zero { Normal::one() } else { a[0].over(&b[0], self.work)? };
        if factor
            .as_number()
            .is_some_and(|factor| factor.is_negative() || (has_zero && !factor.is_one()) || factor.is_zero())
        {
            return Ok(Decision::Different);
        }
        let mut decision = Decision::Equal;
        for (a, b) in a.iter().zip(b) {
            let scaled = b.times(&factor, self.work)?;
            decision = decision.and(self.same_form(a, &scaled)?);
        }
        Ok(decision)
    }
}
