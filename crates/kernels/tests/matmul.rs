//! Matrix products against naive f64 sums, and the bits they keep under every layout, cut and number of threads.

use kernels::matmul::{Compute, Matrix, Output, PackedMatrix, multiply, multiply_once};

use support::{assert_close, bits, naive, numbers, relative_error, wide, with_threads};

mod support;

/// Σ|a|·|b| bounds every partial sum; with rounding unit u = 2⁻²⁴ a chain of n multiply-adds is off by at most n·u of it
/// (Higham 2002, section 3.1), and random rounding by about √n·u. We allow 4·√n·u; measured
/// errors are at most half of it.
fn tolerance(inner: usize) -> f64 {
    4.0 * (inner as f64).sqrt() * 2.0_f64.powi(-24)
}

/// Row-major left \[M, K\] and right \[K, N\].
struct Factors {
    left: Vec<f32>,
    right: Vec<f32>,
    shape: [usize; 3],
}

impl Factors {
    fn new(rows: usize, inner: usize, columns: usize) -> Self {
        Self { left: numbers(1, rows * inner), right: numbers(2, inner * columns), shape: [rows, inner, columns] }
    }

    fn left(&self) -> Matrix<'_> {
        Matrix::new(&self.left, self.shape[1])
    }

    fn right(&self) -> Matrix<'_> {
        Matrix::new(&self.right, self.shape[2])
    }

    fn multiply(&self) -> Vec<f32> {
        let mut out = vec![f32::NAN; self.shape[0] * self.shape[2]];
        multiply(&mut out, self.left(), &PackedMatrix::new(self.right(), Compute::F32), Output::Overwrite);
        out
    }
}

/// The rows × columns matrix `values`, column-major.
fn column_major(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}

#[test]
fn a_product_of_any_shape_matches_f64() {
    for inner in [1, 255, 256, 257, 600] {
        for columns in [1, 31, 32, 33, 65] {
            // The product of 97 rows begins with those of fewer rows, as do its inputs.
            let expected = {
                let factors = Factors::new(97, inner, columns);
                naive::product(&wide(&factors.left), &wide(&factors.right), inner, columns)
            };
            let magnitude = 0.25 * inner as f64;
            for rows in (1..=97).step_by(2) {
                let found = Factors::new(rows, inner, columns).multiply();
                let expected = &expected[..found.len()];
                let errors = found.iter().zip(expected).map(|(&x, y)| (f64::from(x) - y).abs());
                let error = errors.fold(0.0, f64::max) / magnitude;
                let finite = found.iter().all(|x| x.is_finite());
                assert!(finite && error <= tolerance(inner), "{rows} × {inner} × {columns}: error {error:e}");
            }
        }
    }
}

#[test]
fn the_product_of_whole_numbers_is_exact() {
    // Sums of products of whole numbers below 2²⁴ have no rounding at all.
    for (rows, inner, columns) in [(1, 1, 1), (13, 300, 33), (97, 257, 65), (100, 513, 96)] {
        let [left, right] = [numbers(1, rows * inner), numbers(2, inner * columns)]
            .map(|x| x.iter().map(|x| (x * 100.0).round()).collect::<Vec<f32>>());
        let found = Factors { left, right, shape: [rows, inner, columns] };
        let expected = naive::product(&wide(&found.left), &wide(&found.right), inner, columns);
        assert!(relative_error(&found.multiply(), &expected) == 0.0, "{rows} × {inner} × {columns}");
    }
}

#[test]
fn layouts_of_left_and_right_change_no_bit() {
    for (rows, inner, columns) in [(1, 1, 1), (5, 31, 33), (13, 257, 65), (97, 600, 31), (3, 64, 200)] {
        let factors = Factors::new(rows, inner, columns);
        let expected = bits(&factors.multiply());
        let (left, right) = (column_major(&factors.left, inner), column_major(&factors.right, columns));
        let lefts = [factors.left(), Matrix::new(&left, rows).transposed()];
        let rights = [factors.right(), Matrix::new(&right, inner).transposed()];
        // Scratch of another shape, full of another matrix.
        let mut packed = PackedMatrix::new(Matrix::new(&[f32::NAN; 91], 7), Compute::F32);
        for (l, left) in lefts.into_iter().enumerate() {
            for (r, right) in rights.into_iter().enumerate() {
                let mut out = vec![f32::NAN; rows * columns];
                multiply_once(&mut out, left, right, &mut packed, Output::Overwrite);
                assert_eq!(bits(&out), expected, "{rows} × {inner} × {columns}, layouts {l} and {r}");
                assert_eq!((packed.rows(), packed.columns()), (inner, columns));
            }
        }
    }
}

#[test]
fn adding_starts_from_the_old_content() {
    for (rows, inner, columns) in [(1, 1, 1), (7, 255, 33), (97, 257, 65)] {
        let factors = Factors::new(rows, inner, columns);
        let mut out = numbers(3, rows * columns);
        let product = naive::product(&wide(&factors.left), &wide(&factors.right), inner, columns);
        let expected: Vec<f64> = product.iter().zip(&out).map(|(x, &old)| x + f64::from(old)).collect();
        multiply(&mut out, factors.left(), &PackedMatrix::new(factors.right(), Compute::F32), Output::Add);
        assert_close("sum", &out, &expected, 2e-6);
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_among_others() {
    for (rows, inner, columns) in [(13, 257, 33), (97, 600, 65), (200, 64, 31)] {
        let factors = Factors::new(rows, inner, columns);
        let together = factors.multiply();
        let packed = PackedMatrix::new(factors.right(), Compute::F32);
        let part = |first: usize, count: usize| {
            let mut out = vec![f32::NAN; count * columns];
            let left = Matrix::new(&factors.left[first * inner..][..count * inner], inner);
            multiply(&mut out, left, &packed, Output::Overwrite);
            assert_eq!(bits(&out), bits(&together[first * columns..][..count * columns]), "{count} from {first}");
        };
        (0..rows).for_each(|row| part(row, 1));
        (1..rows).for_each(|count| part(rows - count, count));
    }
}

#[test]
fn a_column_has_the_same_bits_alone_and_among_others() {
    let factors = Factors::new(13, 257, 70);
    let together = factors.multiply();
    for column in 0..70 {
        let right: Vec<f32> = factors.right.iter().skip(column).step_by(70).copied().collect();
        let alone = Factors { left: factors.left.clone(), right, shape: [13, 257, 1] }.multiply();
        let expected: Vec<f32> = together.iter().skip(column).step_by(70).copied().collect();
        assert_eq!(bits(&alone), bits(&expected), "column {column}");
    }
}

#[test]
fn threads_change_no_bit() {
    // The last two shapes are split over threads, by rows and by columns.
    for (rows, inner, columns) in [(3, 5, 7), (200, 257, 65), (2, 300, 700)] {
        let factors = Factors::new(rows, inner, columns);
        let one = with_threads(1, || bits(&factors.multiply()));
        for threads in [2, 3] {
            assert_eq!(with_threads(threads, || bits(&factors.multiply())), one, "{threads} threads");
        }
    }
}

/// To the nearest bf16, to the even one of two; the numbers here are neither subnormal nor too large.
fn rounded(x: f32) -> f32 {
    f32::from_bits((x.to_bits() + 0x7fff + ((x.to_bits() >> 16) & 1)) & 0xffff_0000)
}

/// The element of a bf16 product as docs/numerics.md says it is summed up, from `start` on.
fn summed_in_bf16(start: f32, left: &[f32], right: &[f32]) -> f32 {
    let terms: Vec<(f32, f32)> = left.iter().zip(right).map(|(&x, &y)| (rounded(x), rounded(y))).collect();
    let half = |terms: &[(f32, f32)], start: f32, half: usize| {
        terms.iter().skip(half).step_by(2).fold(start, |sum, (a, b)| a.mul_add(*b, sum))
    };
    let together = Compute::Bf16.elements_together();
    terms.chunks(together).fold(start, |sum, terms| {
        if together == 2 {
            half(terms, half(terms, sum, 1), 0)
        } else {
            sum + (half(terms, 0.0, 0) + half(terms, 0.0, 1))
        }
    })
}

#[test]
fn bf16_products_are_summed_in_the_order_that_is_written_down() {
    for (rows, inner, columns) in [(1, 2, 1), (3, 31, 40), (17, 33, 65), (33, 64, 32), (40, 600, 129), (65, 1100, 31)] {
        let factors = Factors::new(rows, inner, columns);
        let transposed_left = column_major(&factors.left, inner);
        let column = |j: usize| factors.right.iter().skip(j).step_by(columns).copied().collect::<Vec<_>>();
        for (output, start) in [(Output::Overwrite, 0.0), (Output::Add, 0.75)] {
            let expected: Vec<f32> = (0..rows * columns)
                .map(|at| summed_in_bf16(start, &factors.left[at / columns * inner..][..inner], &column(at % columns)))
                .collect();
            let (straight, transposed) =
                (Matrix::new(&factors.left, inner), Matrix::new(&transposed_left, rows).transposed());
            for left in [straight, transposed] {
                let mut out = vec![start; rows * columns];
                let right = Matrix::new(&factors.right, columns);
                multiply_once(&mut out, left, right, &mut PackedMatrix::empty(Compute::Bf16), output);
                assert_eq!(bits(&out), bits(&expected), "{rows} × {inner} × {columns}, {output:?}");
            }
        }
    }
}

#[test]
fn the_inner_dimension_in_pieces_equals_one_product_bit_for_bit() {
    let (rows, inner, columns) = (13, 600, 65);
    let factors = Factors::new(rows, inner, columns);
    let left = column_major(&factors.left, inner);
    for (first, start) in [(Output::Overwrite, f32::NAN), (Output::Add, 0.75)] {
        let product = |cuts: &[usize]| {
            let mut out = vec![start; rows * columns];
            for (pair, output) in cuts.windows(2).zip([first, Output::Add, Output::Add, Output::Add]) {
                let left = Matrix::new(&left[pair[0] * rows..pair[1] * rows], rows).transposed();
                let right = Matrix::new(&factors.right[pair[0] * columns..pair[1] * columns], columns);
                multiply_once(&mut out, left, right, &mut PackedMatrix::empty(Compute::F32), output);
            }
            bits(&out)
        };
        let at_once = product(&[0, inner]);
        for cuts in [&[0, 1, inner][..], &[0, 256, inner], &[0, 300, inner], &[0, 599, inner], &[0, 7, 263, 264, inner]]
        {
            assert_eq!(product(cuts), at_once, "cut at {cuts:?}");
        }
    }
}

#[test]
fn a_product_without_rows_columns_or_inner_elements_is_a_sum_of_nothing() {
    let packed = PackedMatrix::new(Matrix::new(&[1.0; 15], 5), Compute::F32);
    multiply(&mut [], Matrix::new(&[], 3), &packed, Output::Overwrite);
    multiply(
        &mut [],
        Matrix::new(&[1.0; 6], 3),
        &PackedMatrix::new(Matrix::new(&[], 3).transposed(), Compute::F32),
        Output::Add,
    );
    let (left, right) = (Matrix::new(&[], 2).transposed(), PackedMatrix::new(Matrix::new(&[], 3), Compute::F32));
    let mut out = [7.0; 6];
    multiply(&mut out, left, &right, Output::Add);
    assert_eq!(bits(&out), bits(&[7.0; 6]));
    multiply(&mut out, left, &right, Output::Overwrite);
    assert_eq!(bits(&out), bits(&[0.0; 6]));
}

#[test]
fn packed_bytes_count_whole_panels_of_32_columns() {
    for (rows, columns, bytes) in [(1, 1, 128), (10, 32, 1280), (10, 33, 2560), (3, 0, 0)] {
        assert_eq!(PackedMatrix::bytes(rows, columns, Compute::F32), bytes, "{rows} × {columns}");
    }
}

#[test]
fn a_packed_matrix_is_transposed_bit_for_bit() {
    for compute in [Compute::F32, Compute::Bf16] {
        let mut packed = PackedMatrix::empty(compute);
        for (inner, columns) in [(1, 1), (5, 33), (64, 31), (33, 64), (97, 130), (2, 16)] {
            let (left, right) = (numbers(1, 3 * inner), numbers(2, inner * columns));
            let matrix = Matrix::new(&right, columns);
            packed.pack_transposed(&PackedMatrix::new(matrix.transposed(), compute));
            let factors = PackedMatrix::new(matrix.transposed(), compute).transposed_factors();
            let expected = match compute {
                Compute::F32 => right.clone(),
                Compute::Bf16 => right.iter().map(|&x| rounded(x)).collect(),
            };
            assert_eq!(bits(&factors), bits(&expected), "factors, {compute:?}, {inner} × {columns}");
            let [expected, found] = [&PackedMatrix::new(matrix, compute), &packed].map(|right| {
                let mut out = vec![f32::NAN; 3 * columns];
                multiply(&mut out, Matrix::new(&left, inner), right, Output::Overwrite);
                bits(&out)
            });
            assert_eq!(found, expected, "{compute:?}, {inner} × {columns}");
        }
    }
}
