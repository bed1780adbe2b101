//! Equations and inequalities: equal up to a factor, in any order of their sides.

use crate::{
    algebra::{Decision, Normal, approximate, is_proportional},
    compare::{Comparer, name::segment},
    expression::Naming,
    limits::Reading,
    value::{Condition, Constraint, Value},
};

impl Comparer<'_> {
    /// A name with its value beside another: the same name and value, or the same equation.
    pub(super) fn same_named(
        &mut self,
        (naming_a, a, left_a): (Naming, &str, Option<&Normal>),
        (naming_b, b, left_b): (Naming, &str, Option<&Normal>),
        values: (&Value, &Value),
    ) -> Reading<Decision> {
        let as_values = self.same(values.0, values.1)?;
        if let (Some(a), Some(b)) = (segment(a), segment(b)) {
            return Ok(if a == b { as_values } else { Decision::Different });
        }
        let is_asked = naming_a == Naming::Asked || naming_b == Naming::Asked;
        if a == b || !(is_asked || (is_variable(a) && is_variable(b))) {
            return Ok(as_values);
        }
        let equation = |left: Option<&Normal>, value: &Value, work: &mut _| {
            let (Some(left), Some(right)) = (left, value.form()) else { return Ok(None) };
            left.minus(right, work).map(Some)
        };
        let equation_a = equation(left_a, values.0, self.work)?;
        let equation_b = equation(left_b, values.1, self.work)?;
        match (equation_a, equation_b) {
            (Some(a), Some(b)) => Ok(is_proportional(&a, &b, self.work)?.0),
            (_, _) => Ok(Decision::Different),
        }
    }

    /// `y = 2x + 1` beside `2x - y + 1 = 0`.
    pub(super) fn same_equation(
        &mut self,
        left: Option<&Normal>,
        value: &Value,
        constraints: &[Constraint],
    ) -> Reading<Decision> {
        let (Some(left), Some(right), [Constraint { difference, condition: Condition::Zero }]) =
            (left, value.form(), constraints)
        else {
            return Ok(Decision::Different);
        };
        let own = left.minus(right, self.work)?;
        Ok(is_proportional(&own, difference, self.work)?.0)
    }

    /// As many relations, each with its like among the others.
    pub(super) fn same_constraints(&mut self, a: &[Constraint], b: &[Constraint]) -> Reading<Decision> {
        if a.len() != b.len() {
            return Ok(Decision::Different);
        }
        self.matched(a, b, Self::same_constraint)
    }

    fn same_constraint(&mut self, a: &Constraint, b: &Constraint) -> Reading<Decision> {
        if a.condition != b.condition {
            return Ok(Decision::Different);
        }
        let (decision, factor) = is_proportional(&a.difference, &b.difference, self.work)?;
        if matches!(a.condition, Condition::Zero | Condition::NotZero) || decision == Decision::Different {
            return Ok(decision);
        }
        // An inequality keeps its sense under a positive factor only, and under a positive denominator.
        let sign = factor.and_then(|factor| approximate(&factor, 0)).filter(|factor| factor.imaginary == 0.0);
        let same_denominator = a.difference.denominator() == b.difference.denominator();
        Ok(match sign {
            Some(sign) if sign.real > 0.0 && same_denominator => decision,
            Some(sign) if sign.real < 0.0 && same_denominator => Decision::Different,
            _ => Decision::Undecided,
        })
    }
}

/// Whether a name is a single variable, which means something else under another name.
fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    name.starts_with('\\')
        || (letters.next().is_some_and(char::is_alphabetic)
            && letters.next().is_none_or(|next| next == '_' || next == '\''))
}
