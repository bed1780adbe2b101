//! Sums, products and multiples of matrices.

use crate::{
    algebra::Normal,
    evaluate::Evaluator,
    expression::Node,
    limits::{Reading, Stop},
};

type Matrix = Vec<Vec<Normal>>;

/// Whether a matrix occurs where its value would be one.
#[expect(clippy::wildcard_enum_match_arm, reason = "no other expression is worth a matrix")]
pub(super) fn occurs_in(node: &Node) -> bool {
    match node {
        Node::Matrix(_) => true,
        Node::Sum(nodes) | Node::Product(nodes) => nodes.iter().any(occurs_in),
        Node::Negated(inner) => occurs_in(inner),
        Node::Quotient(above, _) => occurs_in(above),
        _ => false,
    }
}

impl Evaluator<'_> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "no other expression is worth a matrix")]
    pub(super) fn matrix(&mut self, node: &Node) -> Reading<Matrix> {
        match node {
            Node::Matrix(rows) => rows.iter().map(|row| self.forms(row)).collect(),
            Node::Negated(inner) => {
                let matrix = self.matrix(inner)?;
                Ok(matrix.into_iter().map(|row| row.into_iter().map(Normal::negated).collect()).collect())
            }
            Node::Sum(terms) => {
                let mut terms = terms.iter();
                let mut sum = self.matrix(terms.next().ok_or(Stop::NotMathematics)?)?;
                for term in terms {
                    let term = self.matrix(term)?;
                    sum = self.added(&sum, &term)?;
                }
                Ok(sum)
            }
            Node::Product(factors) => {
                let (matrices, scalars): (Vec<_>, Vec<_>) = factors.iter().partition(|factor| occurs_in(factor));
                let mut scalar = Normal::one();
                for factor in scalars {
                    scalar = scalar.times(&self.form(factor)?, self.work)?;
                }
                let (first, others) = matrices.split_first().ok_or(Stop::NotMathematics)?;
                let mut product = self.matrix(first)?;
                for factor in others {
                    let factor = self.matrix(factor)?;
                    product = self.multiplied(&product, &factor)?;
                }
                self.scaled(&product, &scalar)
            }
            Node::Quotient(above, below) => {
                let factor = self.form(below)?.reciprocal(self.work)?;
                let matrix = self.matrix(above)?;
                self.scaled(&matrix, &factor)
            }
            _ => Err(Stop::NotMathematics),
        }
    }

    fn scaled(&mut self, matrix: &Matrix, factor: &Normal) -> Reading<Matrix> {
        matrix.iter().map(|row| row.iter().map(|entry| entry.times(factor, self.work)).collect()).collect()
    }

    fn added(&mut self, left: &Matrix, right: &Matrix) -> Reading<Matrix> {
        if left.len() != right.len() || left[0].len() != right[0].len() {
            return Err(Stop::NotMathematics);
        }
        let rows = left.iter().zip(right);
        rows.map(|(left, right)| left.iter().zip(right).map(|(a, b)| a.plus(b, self.work)).collect()).collect()
    }

    fn multiplied(&mut self, left: &Matrix, right: &Matrix) -> Reading<Matrix> {
        if left[0].len() != right.len() {
            return Err(Stop::NotMathematics);
        }
        let entry = |work: &mut _, row: &[Normal], column: usize| {
            let mut sum = Normal::zero();
            for (a, b) in row.iter().zip(right) {
                sum = sum.plus(&a.times(&b[column], work)?, work)?;
            }
            Ok(sum)
        };
        let columns = right[0].len();
        left.iter().map(|row| (0..columns).map(|column| entry(self.work, row, column)).collect()).collect()
    }
}
