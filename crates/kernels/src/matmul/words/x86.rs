//! Packing with the vectors of x86-64: 16 words at a time, the last ones masked.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi32, _mm512_and_si512, _mm512_castps_si512, _mm512_cmpgt_epu32_mask,
    _mm512_cmplt_epu32_mask, _mm512_cvtepu16_epi32, _mm512_cvtne2ps_pbh, _mm512_cvtneps_pbh, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_and_epi32, _mm512_mask_mov_epi32, _mm512_mask_storeu_epi32, _mm512_maskz_loadu_ps,
    _mm512_or_si512, _mm512_permutex2var_epi32, _mm512_set_epi32, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_srli_epi32, _mm512_storeu_si512, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use super::{Compute, Steps, word_of};

/// [`super::bf16_bits`] of 16 floats.
#[target_feature(enable = "avx512f")]
fn bf16_bits(x: __m512) -> __m512i {
    let word = |bits: u32| _mm512_set1_epi32(bits.cast_signed());
    let bits = _mm512_castps_si512(x);
    let magnitude = _mm512_and_si512(bits, word(0x7fff_ffff));
    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), word(1));
    let rounded = _mm512_and_si512(_mm512_add_epi32(bits, _mm512_add_epi32(odd, word(0x7fff))), word(0xffff_0000));
    let subnormal = _mm512_cmplt_epu32_mask(magnitude, word(0x0080_0000));
    let finite = _mm512_mask_and_epi32(rounded, subnormal, bits, word(0x8000_0000));
    let nan = _mm512_cmpgt_epu32_mask(magnitude, word(0x7f80_0000));
    _mm512_mask_mov_epi32(finite, nan, word(0x7fc0_0000))
}

/// The first lanes of the low words, the second lanes of the high ones.
#[target_feature(enable = "avx512f")]
fn pairs(first: __m512, second: __m512) -> __m512i {
    _mm512_or_si512(_mm512_srli_epi32::<16>(bf16_bits(first)), bf16_bits(second))
}

/// The same by the CPU's own rounding, which is [`super::bf16_bits`] for all that is a number.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn pairs_native(first: __m512, second: __m512) -> __m512i {
    // SAFETY: both types are 256 bits of whatever content.
    let [low, high] = [first, second].map(|x| unsafe {
        std::mem::transmute::<std::arch::x86_64::__m256bh, std::arch::x86_64::__m256i>(_mm512_cvtneps_pbh(x))
    });
    _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(high)))
}

macro_rules! step_words {
    ($name:ident, $features:literal, $pairs:ident) => {
        /// # Safety
        /// `rows` rows of `width` values, as `steps` says, must be readable behind `values`, and `width` be at most
        /// `columns`.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(
            words: &mut [u32],
            (width, columns): (usize, usize),
            values: *const f32,
            (steps, rows): (&Steps, usize),
        ) {
            let count = words.len() / columns;
            let lanes = |left: usize| if left >= 16 { u16::MAX } else { (1 << left) - 1 };
            for first in (0..columns).step_by(16) {
                let (mask, put) = (lanes(width.saturating_sub(first)), lanes(columns - first));
                for step in 0..count {
                    // SAFETY: the row exists (the caller vouches) and the mask ends with it; so does that of the words.
                    // Nothing is read behind a row's end, where the mask is empty.
                    unsafe {
                        let load = |row: usize| {
                            _mm512_maskz_loadu_ps(mask, values.wrapping_add(steps.first + row * steps.stride + first))
                        };
                        let word = match steps.compute {
                            Compute::F32 => _mm512_castps_si512(load(step)),
                            Compute::Bf16 if 2 * step + 1 < rows => $pairs(load(2 * step), load(2 * step + 1)),
                            Compute::Bf16 if 2 * step < rows => $pairs(load(2 * step), _mm512_setzero_ps()),
                            Compute::Bf16 => _mm512_set1_epi32(0),
                        };
                        _mm512_mask_storeu_epi32(words.as_mut_ptr().add(step * columns + first).cast(), put, word);
                    }
                }
            }
        }
    };
}

step_words!(step_words, "avx512f", pairs);
step_words!(step_words_native, "avx512f,avx512bw,avx512vl,avx512bf16", pairs_native);

/// # Safety
/// The CPU must have the instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn pairs_of_row(words: &mut [u32], values: &[f32]) {
    let whole = values.len() / 32;
    for index in 0..whole {
        // SAFETY: 32 values and 16 words from here on exist.
        unsafe {
            let from = values.as_ptr().add(index * 32);
            let rounded = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from.add(16)), _mm512_loadu_ps(from));
            let bits = std::mem::transmute::<std::arch::x86_64::__m512bh, __m512i>(rounded);
            _mm512_storeu_si512(words.as_mut_ptr().add(index * 16).cast(), bits);
        }
    }
    let rest = &values[whole * 32..];
    let mask = |from: usize| ((1_u32 << rest.len().saturating_sub(from).min(16)) - 1) as u16;
    // SAFETY: masked lanes beyond the values are not read.
    let bits = unsafe {
        let load = |from: usize| _mm512_maskz_loadu_ps(mask(from), rest.as_ptr().wrapping_add(from));
        std::mem::transmute::<std::arch::x86_64::__m512bh, __m512i>(_mm512_cvtne2ps_pbh(load(16), load(0)))
    };
    let words = &mut words[whole * 16..];
    let (last, beyond) = words.split_at_mut(words.len().min(16));
    // SAFETY: the mask ends with the words.
    unsafe { _mm512_mask_storeu_epi32(last.as_mut_ptr().cast(), ((1_u32 << last.len()) - 1) as u16, bits) };
    beyond.fill(0);
}

/// # Safety
/// The first `steps.values` rows, at most 32, of `rows` floats each, `steps.stride` apart, must lie in `values`, and
/// `rows` rows of 16 words, `row_words` apart, behind `words`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn transposed_pairs(
    words: *mut u32,
    (rows, row_words): (usize, usize),
    values: &[f32],
    steps: &Steps,
) {
    let taken = steps.values.min(32);
    for first in (0..rows).step_by(16) {
        let count = (rows - first).min(16);
        let mask = ((1_u32 << count) - 1) as u16;
        let mut block = [_mm512_set1_epi32(0); 16];
        for (step, line) in block.iter_mut().enumerate().take(taken.div_ceil(2)) {
            // SAFETY: the row exists (the caller vouches) and the mask ends with it.
            let load =
                |row: usize| unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr().add(row * steps.stride + first)) };
            let second = if 2 * step + 1 < taken { load(2 * step + 1) } else { _mm512_setzero_ps() };
            *line = pairs_native(load(2 * step), second);
        }
        transpose(&mut block);
        for (row, line) in block.iter().enumerate().take(count) {
            // SAFETY: the row has 16 words (the caller vouches).
            unsafe { _mm512_storeu_si512(words.add((first + row) * row_words).cast(), *line) };
        }
    }
}

/// # Safety
/// There must be 32 rows, all of the steps that `words` has.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn column_words(words: &mut [u32], rows: &[&[f32]], compute: Compute) {
    let steps = words.len() / 32;
    // A last pair whose second value is missing is not loaded as a whole.
    let whole = match compute {
        Compute::F32 => rows[0].len() / 16 * 16,
        Compute::Bf16 => rows[0].len() / 32 * 16,
    };
    let mut block = [_mm512_set1_epi32(0); 16];
    for step in (0..whole).step_by(16) {
        for half in [0, 16] {
            for (row, line) in block.iter_mut().enumerate() {
                let values = rows[half + row].as_ptr();
                // SAFETY: 16 steps of the row from `step` on exist.
                *line = unsafe {
                    match compute {
                        Compute::F32 => _mm512_loadu_si512(values.add(step).cast()),
                        Compute::Bf16 => neighbours(values.add(2 * step)),
                    }
                };
            }
            transpose(&mut block);
            for (index, line) in block.iter().enumerate() {
                // SAFETY: 16 words of step + index from `half` on exist.
                unsafe { _mm512_storeu_si512(words.as_mut_ptr().add((step + index) * 32 + half).cast(), *line) };
            }
        }
    }
    for step in whole..steps {
        for (word, row) in words[step * 32..][..32].iter_mut().zip(rows) {
            *word = word_of(row, step, compute);
        }
    }
}

/// 32 floats as 16 pairs of neighbours.
///
/// # Safety
/// 32 floats must be readable.
#[target_feature(enable = "avx512f")]
unsafe fn neighbours(values: *const f32) -> __m512i {
    // SAFETY: the caller vouches for the floats.
    let [first, second] = unsafe { [_mm512_loadu_ps(values), _mm512_loadu_ps(values.add(16))] };
    let (first, second) = (bf16_bits(first), bf16_bits(second));
    let even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    let odd = _mm512_set_epi32(31, 29, 27, 25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);
    let low = _mm512_srli_epi32::<16>(_mm512_permutex2var_epi32(first, even, second));
    _mm512_or_si512(low, _mm512_permutex2var_epi32(first, odd, second))
}

/// Exchanges rows and columns of 16 × 16 words.
#[target_feature(enable = "avx512f")]
fn transpose(block: &mut [__m512i; 16]) {
    let mut pairs = *block;
    for i in (0..16).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(block[i], block[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(block[i], block[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..16).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    // Each of `fours` holds in its four quarters the columns j, j + 4, j + 8 and j + 12 of four rows.
    for j in 0..4 {
        let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        let low = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d)];
        let high = [_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d)];
        block[j] = _mm512_shuffle_i32x4::<0x88>(low[0], low[1]);
        block[8 + j] = _mm512_shuffle_i32x4::<0xdd>(low[0], low[1]);
        block[4 + j] = _mm512_shuffle_i32x4::<0x88>(high[0], high[1]);
        block[12 + j] = _mm512_shuffle_i32x4::<0xdd>(high[0], high[1]);
    }
}
