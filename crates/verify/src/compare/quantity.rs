//! Numbers with percent signs, degrees and units.

use num_rational::BigRational;

use crate::{
    algebra::{Atom, Decision, Normal, decide, rounds_to},
    compare::Comparer,
    expression::Mark,
    limits::Reading,
    unit::{Conversion, conversion},
    value::Quantity,
};

/// Whether numbers that differ may count as equal once they are rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Rounding {
    /// Never: 0.33 is not 1/3.
    #[default]
    Exact,
    /// Real numbers are equal if they differ by half a unit of this decimal at most.
    Decimals(u32),
}

impl Comparer<'_> {
    /// A percent sign on one side only may stand for the unit asked for or for 1/100, so `50%` equals `50` and `0.5`;
    /// signs on both sides or on neither say nothing, so `50` does not equal `0.5` and `50%` does not equal `0.5%`.
    /// Likewise `90°` equals `90` and `π/2`.
    pub(super) fn same_quantity(&mut self, a: &Quantity, b: &Quantity) -> Reading<Decision> {
        let plain = match conversion(&a.unit, &b.unit) {
            Conversion::ReadOver => self.same_form(&a.form, &b.form)?,
            Conversion::Factor(factor) => self.same_form(&a.form.clone().scaled(&factor), &b.form)?,
            Conversion::Impossible => Decision::Different,
        };
        let (marked, other) = match (a.mark, b.mark) {
            (Mark::Plain, Mark::Percent | Mark::Degree) => (b, a),
            (Mark::Percent | Mark::Degree, Mark::Plain) => (a, b),
            (Mark::Plain, Mark::Plain) | (Mark::Percent, Mark::Percent) | (Mark::Degree, Mark::Degree) => {
                return Ok(plain);
            }
            (Mark::Percent, Mark::Degree) | (Mark::Degree, Mark::Percent) => return Ok(Decision::Different),
        };
        // A percentage or an angle is no number of miles.
        if !other.unit.is_empty() {
            return Ok(Decision::Different);
        }
        let scaled = if marked.mark == Mark::Percent {
            marked.form.clone().scaled(&BigRational::new(1.into(), 100.into()))
        } else {
            let degree = Normal::atom(Atom::Pi).scaled(&BigRational::new(1.into(), 180.into()));
            marked.form.times(&degree, self.work)?
        };
        Ok(plain.or(self.same_form(&scaled, &other.form)?))
    }

    /// Two expressions by value, rounded where that was asked for.
    pub(super) fn same_form(&mut self, a: &Normal, b: &Normal) -> Reading<Decision> {
        let decision = decide(a, b, self.work)?;
        match self.rounding {
            Rounding::Decimals(decimals) if decision == Decision::Different && rounds_to(a, b, decimals) => {
                Ok(Decision::Equal)
            }
            Rounding::Exact | Rounding::Decimals(_) => Ok(decision),
        }
    }
}
