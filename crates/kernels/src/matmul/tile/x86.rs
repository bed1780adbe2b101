//! The vector registers of x86-64.

use std::arch::x86_64::{
    __m256, __m512, __m512bh, _CMP_LT_OQ, _mm256_and_ps, _mm256_andnot_ps, _mm256_castps_si256, _mm256_castsi256_ps,
    _mm256_cmp_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_epi32, _mm256_set1_ps, _mm256_slli_epi32,
    _mm256_storeu_ps, _mm512_and_si512, _mm512_castps_si512, _mm512_castsi512_ps, _mm512_cmplt_epu32_mask,
    _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_mask_and_epi32, _mm512_set1_epi32, _mm512_set1_ps,
    _mm512_slli_epi32, _mm512_storeu_ps,
};

use super::{Lanes, Target, Tile, by_compute};

/// # Safety
/// As [`by_compute`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
pub(super) unsafe fn avx512_bf16(tile: &Tile<'_>, target: &Target) {
    // SAFETY: passed on to the caller.
    unsafe { by_compute::<Native>(tile, target) }
}

/// # Safety
/// As [`by_compute`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) unsafe fn avx512(tile: &Tile<'_>, target: &Target) {
    // SAFETY: passed on to the caller.
    unsafe { by_compute::<Sixteen>(tile, target) }
}

/// # Safety
/// As [`by_compute`].
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn avx2(tile: &Tile<'_>, target: &Target) {
    // SAFETY: passed on to the caller.
    unsafe { by_compute::<Eight>(tile, target) }
}

/// AVX-512 with `vdpbf16ps`.
#[derive(Clone, Copy)]
struct Native(__m512);

/// AVX-512 without it.
#[derive(Clone, Copy)]
struct Sixteen(__m512);

/// AVX2.
#[derive(Clone, Copy)]
struct Eight(__m256);

const SECOND: i32 = 0xffff_0000_u32.cast_signed();
const SIGN: i32 = i32::MIN;
const MAGNITUDE: i32 = i32::MAX;
/// Bits of the smallest normal f32.
const NORMAL: i32 = 0x0080_0000;

macro_rules! lanes {
    ($lanes:ident, $width:literal, $height:literal, $splat:ident, $load:ident, $store:ident, $mul_add:ident, $pair:ident) => {
        impl Lanes for $lanes {
            const WIDTH: usize = $width;
            const HEIGHT_MAX: usize = $height;

            #[inline(always)]
            unsafe fn splat(from: *const u32) -> Self {
                // SAFETY: only called within the functions above, whose callers found the feature; the caller vouches
                // for the word.
                Self(unsafe { $splat(from.cast::<f32>().read()) })
            }

            #[inline(always)]
            unsafe fn load(from: *const u32) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $load(from.cast()) })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: as `splat`.
                unsafe { $store(to, self.0) }
            }

            #[inline(always)]
            unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $mul_add(self.0, b.0, c.0) })
            }

            #[inline(always)]
            unsafe fn pair_mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: as `splat`.
                Self(unsafe { $pair(self.0, b.0, c.0) })
            }
        }
    };
}

lanes!(Native, 16, 14, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, pair_native);
lanes!(Sixteen, 16, 14, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, pair_sixteen);
lanes!(Eight, 8, 6, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, pair_eight);

/// # Safety
/// The CPU must have AVX-512 with bf16.
#[inline(always)]
unsafe fn pair_native(a: __m512, b: __m512, c: __m512) -> __m512 {
    // SAFETY: both types are 512 bits of whatever content; the caller vouches for the feature.
    unsafe {
        _mm512_dpbf16_ps(c, std::mem::transmute::<__m512, __m512bh>(a), std::mem::transmute::<__m512, __m512bh>(b))
    }
}

/// # Safety
/// The CPU must have AVX-512.
#[inline(always)]
unsafe fn pair_sixteen(a: __m512, b: __m512, c: __m512) -> __m512 {
    // SAFETY: the caller vouches for the feature.
    unsafe {
        let flushed = |x: __m512| {
            let bits = _mm512_castps_si512(x);
            let magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(MAGNITUDE));
            let subnormal = _mm512_cmplt_epu32_mask(magnitude, _mm512_set1_epi32(NORMAL));
            _mm512_castsi512_ps(_mm512_mask_and_epi32(bits, subnormal, bits, _mm512_set1_epi32(SIGN)))
        };
        let second = |x| _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(SECOND)));
        let first = |x| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(x)));
        let sum = flushed(_mm512_fmadd_ps(second(a), second(b), flushed(c)));
        flushed(_mm512_fmadd_ps(first(a), first(b), sum))
    }
}

/// # Safety
/// The CPU must have AVX2 and FMA.
#[inline(always)]
unsafe fn pair_eight(a: __m256, b: __m256, c: __m256) -> __m256 {
    // SAFETY: the caller vouches for the features.
    unsafe {
        let constant = |bits| _mm256_castsi256_ps(_mm256_set1_epi32(bits));
        let flushed = |x: __m256| {
            let magnitude = _mm256_and_ps(x, constant(MAGNITUDE));
            let subnormal = _mm256_cmp_ps::<_CMP_LT_OQ>(magnitude, constant(NORMAL));
            _mm256_andnot_ps(_mm256_and_ps(subnormal, constant(MAGNITUDE)), x)
        };
        let second = |x| _mm256_and_ps(x, constant(SECOND));
        let first = |x| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(x)));
        let sum = flushed(_mm256_fmadd_ps(second(a), second(b), flushed(c)));
        flushed(_mm256_fmadd_ps(first(a), first(b), sum))
    }
}
