//! The innermost product: a few rows of the left side times one panel of the right side, in registers.

use super::packed::PANEL;
use crate::dispatch::{InstructionSet, instruction_set};

/// One tile of a product over one block of the inner dimension.
pub(super) struct Tile<'a> {
    /// \[inner, height\]: the left rows, one inner element after the other; rows past `rows` are zero.
    pub(super) left: &'a [f32],
    /// 1, 2, 4, 6, 8 or 12, at most [`height_max`].
    pub(super) height: usize,
    /// \[inner, PANEL\].
    pub(super) right: &'a [f32],
    /// First element of the output rectangle.
    pub(super) out: *mut f32,
    /// Floats from one output row to the next.
    pub(super) out_stride: usize,
    /// Output rows that exist.
    pub(super) rows: usize,
    /// Output columns that exist.
    pub(super) columns: usize,
    /// Start the sums at zero rather than at the output's old value.
    pub(super) fresh: bool,
}

/// Tallest tile whose sums fit the registers of this CPU.
pub(super) fn height_max() -> usize {
    match instruction_set() {
        InstructionSet::Avx512 => 12,
        InstructionSet::Avx2 => 6,
        InstructionSet::Portable => 4,
    }
}

/// Smallest supported tile height that holds `rows`.
pub(super) fn height_for(rows: usize) -> usize {
    [1, 2, 4, 6, 8, 12].into_iter().find(|&height| height >= rows).expect("a tile has at most 12 rows")
}

/// Computes the tile.
///
/// # Safety
/// `out` must be valid for `rows` rows of `columns` floats, `out_stride` apart, that nothing else touches meanwhile.
pub(super) unsafe fn compute(tile: &Tile<'_>) {
    assert_eq!(tile.left.len() * PANEL, tile.right.len() * tile.height, "inner lengths of the two sides");
    if tile.rows == tile.height && tile.columns == PANEL {
        // SAFETY: the rectangle is whole, and the caller vouches for it.
        return unsafe { whole(tile, tile.out, tile.out_stride) };
    }
    // A rectangle at the edge of the output is computed in a buffer of full size.
    let mut buffer = [0.0; 12 * PANEL];
    let row = |r: usize| {
        // SAFETY: r < tile.rows and the caller vouches for the rectangle.
        unsafe { std::slice::from_raw_parts_mut(tile.out.add(r * tile.out_stride), tile.columns) }
    };
    for r in 0..tile.rows {
        buffer[r * PANEL..][..tile.columns].copy_from_slice(row(r));
    }
    // SAFETY: the buffer holds 12 whole rows and no tile is taller.
    unsafe { whole(tile, buffer.as_mut_ptr(), PANEL) };
    for r in 0..tile.rows {
        row(r).copy_from_slice(&buffer[r * PANEL..][..tile.columns]);
    }
}

/// # Safety
/// `out` must be valid for `tile.height` rows of PANEL floats, `stride` apart.
unsafe fn whole(tile: &Tile<'_>, out: *mut f32, stride: usize) {
    let target = Target { out, stride, fresh: tile.fresh };
    #[cfg(target_arch = "x86_64")]
    match instruction_set() {
        // SAFETY: the CPU has the features, and the caller vouches for the rectangle.
        InstructionSet::Avx512 => return unsafe { x86::avx512(tile, target) },
        // SAFETY: as above.
        InstructionSet::Avx2 => return unsafe { x86::avx2(tile, target) },
        InstructionSet::Portable => {}
    }
    // SAFETY: the caller vouches for the rectangle.
    unsafe { by_height::<portable::Four>(tile, target) }
}

#[derive(Clone, Copy)]
struct Target {
    out: *mut f32,
    stride: usize,
    fresh: bool,
}

/// A vector register.
trait Lanes: Copy {
    const WIDTH: usize;
    /// All lanes `x`.
    unsafe fn splat(x: f32) -> Self;
    /// The `WIDTH` floats at `from`.
    unsafe fn load(from: *const f32) -> Self;
    /// To the `WIDTH` floats at `to`.
    unsafe fn store(self, to: *mut f32);
    /// self · b + c.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
}

/// # Safety
/// The CPU must have the instructions of `V`, and `target` must hold `tile.height` rows of PANEL floats.
#[inline(always)]
unsafe fn by_height<V: Lanes>(tile: &Tile<'_>, target: Target) {
    // SAFETY: passed on to the caller.
    unsafe {
        match tile.height {
            1 => panel::<V, 1>(tile, target),
            2 => panel::<V, 2>(tile, target),
            4 => panel::<V, 4>(tile, target),
            6 => panel::<V, 6>(tile, target),
            8 => panel::<V, 8>(tile, target),
            12 => panel::<V, 12>(tile, target),
            height => unreachable!("tile height {height}"),
        }
    }
}

/// The panel, two registers of columns at a time.
///
/// # Safety
/// As [`by_height`].
#[inline(always)]
unsafe fn panel<V: Lanes, const M: usize>(tile: &Tile<'_>, target: Target) {
    let inner = tile.right.len() / PANEL;
    let left = tile.left.as_ptr();
    for column in (0..PANEL).step_by(2 * V::WIDTH) {
        // SAFETY: column + 2·WIDTH ≤ PANEL; left has inner·M floats and right inner·PANEL (asserted by `compute`).
        unsafe {
            let at = |row: usize, half: usize| target.out.add(row * target.stride + column + half * V::WIDTH);
            let mut sums = [[V::splat(0.0); 2]; M];
            if !target.fresh {
                for (row, sums) in sums.iter_mut().enumerate() {
                    *sums = [V::load(at(row, 0)), V::load(at(row, 1))];
                }
            }
            let right = tile.right.as_ptr().add(column);
            for k in 0..inner {
                let b = [V::load(right.add(k * PANEL)), V::load(right.add(k * PANEL + V::WIDTH))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = V::splat(*left.add(k * M + row));
                    sums[0] = a.mul_add(b[0], sums[0]);
                    sums[1] = a.mul_add(b[1], sums[1]);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                sums[0].store(at(row, 0));
                sums[1].store(at(row, 1));
            }
        }
    }
}

mod portable {
    //! Four floats in an array; the compiler uses what the build target guarantees.

    use super::Lanes;
    use crate::dispatch::{Arithmetic, Portable};

    #[derive(Clone, Copy)]
    pub(super) struct Four([f32; 4]);

    impl Lanes for Four {
        const WIDTH: usize = 4;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Self([x; 4])
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller vouches for four floats.
            Self(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller vouches for four floats.
            unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            Self(std::array::from_fn(|i| Portable::mul_add(self.0[i], b.0[i], c.0[i])))
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The vector registers of x86-64.

    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
        _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
    };

    use super::{Lanes, Target, Tile, by_height};

    /// # Safety
    /// As [`by_height`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn avx512(tile: &Tile<'_>, target: Target) {
        // SAFETY: passed on to the caller.
        unsafe { by_height::<__m512>(tile, target) }
    }

    /// # Safety
    /// As [`by_height`].
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(tile: &Tile<'_>, target: Target) {
        // SAFETY: passed on to the caller.
        unsafe { by_height::<__m256>(tile, target) }
    }

    macro_rules! lanes {
        ($register:ty, $width:literal, $splat:ident, $load:ident, $store:ident, $mul_add:ident) => {
            impl Lanes for $register {
                const WIDTH: usize = $width;

                #[inline(always)]
                unsafe fn splat(x: f32) -> Self {
                    // SAFETY: only called within `avx512` and `avx2`, whose callers found the feature.
                    unsafe { $splat(x) }
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: as `splat`; the caller vouches for the floats.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: as `load`.
                    unsafe { $store(to, self) }
                }

                #[inline(always)]
                unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                    // SAFETY: as `splat`.
                    unsafe { $mul_add(self, b, c) }
                }
            }
        };
    }

    lanes!(__m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps);
    lanes!(__m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps);
}
