//! What a product reads: words of 32 bits, each one f32 or a pair of bf16.
//!
//! A step of the inner dimension takes one word of the left row and one of each column: one multiply-add in f32, two
//! in bf16. All else of a product is the same for both.

use crate::{
    InstructionSet,
    dispatch::{Arithmetic, dispatched, is_intel},
};

/// What products compute with. Everything else is f32 in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compute {
    /// f32 factors, f32 sums.
    F32,
    /// Factors rounded to bf16 (nearest, ties to even; subnormal numbers to 0), f32 sums.
    Bf16,
}

impl Compute {
    /// The faster one on this CPU. Intel's products of pairs outside matrix registers are no faster than those of f32
    /// (Xeon, Emerald Rapids: 162 against 291 GFLOP/s), AMD's are twice as fast.
    pub fn fastest() -> Self {
        match crate::instruction_set() {
            InstructionSet::Amx => Self::Bf16,
            InstructionSet::Avx512Bf16 if !is_intel() => Self::Bf16,
            InstructionSet::Avx512Bf16 | InstructionSet::Avx512 | InstructionSet::Avx2 | InstructionSet::Portable => {
                Self::F32
            }
        }
    }

    /// Steps that an inner dimension of `inner` elements takes; what is beyond it is filled with zeros.
    pub(crate) fn steps(self, inner: usize) -> usize {
        inner.div_ceil(self.elements_per_step()).next_multiple_of(self.steps_together())
    }

    /// Elements of the inner dimension in a word.
    pub(crate) fn elements_per_step(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }

    /// Elements of the inner dimension that are one term of a sum: a product in pieces equals the whole where all pieces
    /// but the last are multiples.
    pub fn elements_together(self) -> usize {
        self.steps_together() * self.elements_per_step()
    }

    /// Steps that the instruction takes at once.
    fn steps_together(self) -> usize {
        if self.uses_matrix_registers() { 16 } else { 1 }
    }

    /// Whether products run in AMX's matrix registers.
    pub(crate) fn uses_matrix_registers(self) -> bool {
        self == Self::Bf16 && crate::instruction_set() == InstructionSet::Amx
    }
}

/// The bf16 nearest to `x`, ties to even, as the high half of an f32. Subnormal results and inputs become 0, as the
/// instruction `vdpbf16ps` takes them anyway.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) & 0xffff_0000;
    let finite = if magnitude < 0x0080_0000 { bits & 0x8000_0000 } else { rounded };
    if magnitude > 0x7f80_0000 { 0x7fc0_0000 } else { finite }
}

/// Two bf16 in one word, the first in the low half.
#[inline(always)]
pub(crate) fn pair(first: f32, second: f32) -> u32 {
    (bf16_bits(first) >> 16) | bf16_bits(second)
}

/// Neighbours along a row in one word; zeros beyond the values.
pub(crate) fn pairs_of_row(words: &mut [u32], values: &[f32]) {
    assert!(words.len() >= values.len().div_ceil(2), "{} words of {} values", words.len(), values.len());
    #[cfg(target_arch = "x86_64")]
    if crate::instruction_set().has_bf16_pairs() {
        // SAFETY: the CPU has the instructions.
        return unsafe { x86::pairs_of_row(words, values) };
    }
    pairs_of_row_portable(words, values);
}

#[inline(always)]
fn pairs_of_row_body<A: Arithmetic>(words: &mut [u32], values: &[f32]) {
    let (whole, rest) = values.as_chunks::<2>();
    let (pairs, beyond) = words.split_at_mut(whole.len());
    for (word, values) in pairs.iter_mut().zip(whole) {
        *word = pair(values[0], values[1]);
    }
    beyond.fill(0);
    if let ([value], Some(word)) = (rest, beyond.first_mut()) {
        *word = pair(*value, 0.0);
    }
}

dispatched! {
    fn pairs_of_row_portable(words: &mut [u32], values: &[f32]) = pairs_of_row_body;
}

/// Where the steps of a stretch of words come from: `width` neighbouring values of each row of an array.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Steps {
    /// Index of the first value of the first row.
    pub(crate) first: usize,
    /// Values from one row to the next.
    pub(crate) stride: usize,
    /// Rows that exist from the first one on; zeros stand for those that do not.
    pub(crate) values: usize,
    pub(crate) compute: Compute,
}

/// Fills `words`, \[steps, columns\], from rows of `width` values each, with zeros in the columns beyond: one row a step
/// in f32, two in bf16.
pub(crate) fn step_words(words: &mut [u32], (width, columns): (usize, usize), values: &[f32], steps: &Steps) {
    assert!(width <= columns, "{width} values of {columns} columns");
    let count = words.len() / columns;
    let rows = match steps.compute {
        Compute::F32 => count,
        Compute::Bf16 => (2 * count).min(steps.values),
    };
    assert!(rows <= steps.values, "{count} steps of {} rows", steps.values);
    let end = steps.first + (rows.max(1) - 1) * steps.stride + width;
    assert!(rows == 0 || end <= values.len(), "rows to value {end} of {}", values.len());
    #[cfg(target_arch = "x86_64")]
    match crate::instruction_set() {
        InstructionSet::Amx | InstructionSet::Avx512Bf16 => {
            // SAFETY: the CPU has the instructions, and the rows lie in `values` (asserted).
            return unsafe { x86::step_words_native(words, (width, columns), values.as_ptr(), (steps, rows)) };
        }
        InstructionSet::Avx512 => {
            // SAFETY: as above.
            return unsafe { x86::step_words(words, (width, columns), values.as_ptr(), (steps, rows)) };
        }
        InstructionSet::Avx2 | InstructionSet::Portable => {}
    }
    let row = |index: usize| &values[steps.first + index * steps.stride..][..width];
    for (step, words) in words.chunks_exact_mut(columns).enumerate() {
        let (words, beyond) = words.split_at_mut(width);
        beyond.fill(0);
        match steps.compute {
            Compute::F32 => words.iter_mut().zip(row(step)).for_each(|(word, value)| *word = value.to_bits()),
            Compute::Bf16 if 2 * step + 1 < rows => {
                let pairs = row(2 * step).iter().zip(row(2 * step + 1));
                words.iter_mut().zip(pairs).for_each(|(word, (&first, &second))| *word = pair(first, second));
            }
            Compute::Bf16 if 2 * step < rows => {
                words.iter_mut().zip(row(2 * step)).for_each(|(word, &first)| *word = pair(first, 0.0));
            }
            Compute::Bf16 => words.fill(0),
        }
    }
}

/// Turns `rows` of values, at most 32, into the columns of `words`, \[steps, 32\]: row r becomes column r. In f32 a step
/// takes one value of each row, in bf16 two neighbours.
pub(crate) fn column_words(words: &mut [u32], rows: &[&[f32]], compute: Compute) {
    let steps = words.len() / 32;
    assert!(rows.len() <= 32 && rows.iter().all(|row| compute.steps(row.len()) == steps), "{} rows", rows.len());
    #[cfg(target_arch = "x86_64")]
    {
        if rows.len() == 32 && crate::instruction_set().has_avx512() {
            // SAFETY: the CPU has AVX-512; all rows have the same steps (asserted).
            return unsafe { x86::column_words(words, rows, compute) };
        }
    }
    for (step, words) in words.chunks_exact_mut(32).enumerate() {
        for (word, row) in words.iter_mut().zip(rows) {
            *word = word_of(row, step, compute);
        }
    }
}

/// Turns `rows` neighbouring columns of a row-major array into rows of pairs along the array's rows: word s of row r,
/// at r·`row_words` + s, is the pair of elements (2s, r) and (2s + 1, r). Steps come by the 16, with zeros beyond.
///
/// For products in matrix registers, which take the left side in rows.
pub(crate) fn transposed_pairs(words: &mut [u32], (rows, row_words): (usize, usize), values: &[f32], steps: &Steps) {
    let taken = steps.values.min(32);
    assert!(rows > 0 && taken > 0, "{rows} rows of {taken} values");
    assert!((rows - 1) * row_words + 16 <= words.len(), "{rows} rows of 16 words in {}", words.len());
    let end = steps.first + (taken - 1) * steps.stride + rows;
    assert!(end <= values.len(), "rows to value {end} of {}", values.len());
    #[cfg(target_arch = "x86_64")]
    if crate::instruction_set().has_bf16_pairs() {
        // SAFETY: the CPU has the instructions; words and values are there (asserted).
        return unsafe { x86::transposed_pairs(words.as_mut_ptr(), (rows, row_words), &values[steps.first..], steps) };
    }
    for (row, step) in (0..rows).flat_map(|row| (0..16).map(move |step| (row, step))) {
        let value = |index: usize| if index < taken { values[steps.first + index * steps.stride + row] } else { 0.0 };
        words[row * row_words + step] = pair(value(2 * step), value(2 * step + 1));
    }
}

/// The word of one step of a row.
#[inline(always)]
fn word_of(row: &[f32], step: usize, compute: Compute) -> u32 {
    match compute {
        Compute::F32 => row[step].to_bits(),
        Compute::Bf16 => {
            let [first, second] = [2 * step, 2 * step + 1].map(|index| row.get(index).copied().unwrap_or(0.0));
            pair(first, second)
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests {
    use super::{bf16_bits, pairs_of_row, pairs_of_row_portable};

    #[test]
    fn bf16_is_nearest_with_ties_to_even() {
        // Bit patterns worked by hand: 8 bits of mantissa are kept.
        for (value, expected) in [
            (0x3f80_0000, 0x3f80_0000),
            (0x3f80_8000, 0x3f80_0000),
            (0x3f80_8001, 0x3f81_0000),
            (0x3f81_8000, 0x3f82_0000),
            (0xbf81_8000, 0xbf82_0000),
            (0x7f7f_ffff, 0x7f80_0000),
            (0x7f80_0000, 0x7f80_0000),
            (0x007f_ffff, 0x0000_0000),
            (0x8000_0001, 0x8000_0000),
        ] {
            assert_eq!(bf16_bits(f32::from_bits(value)), expected, "{value:08x}");
        }
        assert!(f32::from_bits(bf16_bits(f32::NAN)).is_nan());
    }

    #[test]
    fn every_way_of_rounding_gives_the_same_bits() {
        // Every exponent and sign with all patterns around a tie, infinities included.
        let mut values = Vec::new();
        for exponent in 0..=255_u32 {
            for mantissa in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_7fff, 0x1_8000, 0x1_8001, 0x7f_7fff, 0x7f_8000] {
                let both = [0, 0x8000_0000].map(|sign| f32::from_bits(sign | exponent << 23 | mantissa));
                values.extend(both.into_iter().filter(|value| !value.is_nan()));
            }
        }
        for length in [values.len(), 1, 2, 31, 33, 47] {
            let values = &values[values.len() - length..];
            let mut found = vec![0; length.div_ceil(2)];
            let mut expected = found.clone();
            pairs_of_row(&mut found, values);
            pairs_of_row_portable(&mut expected, values);
            assert_eq!(found, expected);
            for (index, value) in values.iter().enumerate() {
                let half = (expected[index / 2] >> (16 * (index % 2))) << 16;
                assert_eq!(half, bf16_bits(*value), "{value:e}");
            }
        }
    }
}
