//! The innermost product: a few rows of the left side times one panel of the right side, in registers.

use std::ptr::NonNull;

use super::{packed::PANEL, words::Compute};
use crate::dispatch::{InstructionSet, instruction_set};

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Steps that a tile is reduced over before the next tile: its words then stay in the first-level cache.
pub(crate) const STEPS_MAX: usize = 256;

/// Words from one row of a tile to the next in [`LeftLayout::Rows`]: whole blocks and one cache line, so that rows do
/// not compete for the same lines of the cache.
pub(crate) const LEFT_STRIDE: usize = STEPS_MAX + 16;

/// How the words of a tile's left rows lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftLayout {
    /// \[height, [`LEFT_STRIDE`]\]: row after row.
    Rows,
    /// \[steps, `left_stride`\]: step after step.
    Steps,
}

/// One tile of a product over one block of the inner dimension.
pub(crate) struct Tile<'a> {
    /// The left rows.
    pub(crate) left: &'a [u32],
    pub(crate) layout: LeftLayout,
    /// Words from one step of the left rows to the next in [`LeftLayout::Steps`].
    pub(crate) left_stride: usize,
    /// 1 to [`height_max`] rows.
    pub(crate) height: usize,
    /// The panel's words from its first step on; those of a further panel lie `panel_stride` words later.
    pub(crate) right: &'a [u32],
    /// Words from one step of the right side to the next, at least PANEL.
    pub(crate) right_stride: usize,
    /// Steps that lie so; those of a further run lie `run_stride` words later.
    pub(crate) run: usize,
    pub(crate) run_stride: usize,
    pub(crate) panel_stride: usize,
    /// Panels computed at once: 1, or [`PANELS_MAX`] for tiles of at most [`low`] rows.
    pub(crate) panels: usize,
    pub(crate) steps: usize,
    pub(crate) compute: Compute,
}

/// Where the results of a tile go.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// First element of the output rectangle.
    pub(crate) out: *mut f32,
    /// Floats from one output row to the next.
    pub(crate) stride: usize,
    /// Output columns that exist.
    pub(crate) columns: usize,
    /// What the sums start from, laid out as the output and possibly the output itself; none for 0.
    pub(crate) start: Option<NonNull<f32>>,
}

/// Rows up to which a tile has too few sums to keep the multipliers busy with one panel.
pub(crate) fn low(compute: Compute) -> usize {
    if compute.uses_matrix_registers() { MATRIX_ROWS } else { LOW }
}

const LOW: usize = 3;
/// Panels that such a tile takes at once.
pub(crate) const PANELS_MAX: usize = 4;

/// Rows of a matrix register.
pub(crate) const MATRIX_ROWS: usize = 16;

/// Tallest tile on any CPU.
pub(crate) const HEIGHT_MAX: usize = 2 * MATRIX_ROWS;

/// Tallest tile whose sums fit the registers of this CPU.
pub(crate) fn height_max(compute: Compute) -> usize {
    match instruction_set() {
        InstructionSet::Amx if compute == Compute::Bf16 => HEIGHT_MAX,
        InstructionSet::Amx | InstructionSet::Avx512Bf16 | InstructionSet::Avx512 => 14,
        InstructionSet::Avx2 => 6,
        InstructionSet::Portable => 4,
    }
}

/// Computes the tile.
///
/// # Safety
/// `target.out` must be valid for `height` rows of `columns` floats, `stride` apart, that nothing else touches meanwhile,
/// and so must what the sums start from.
pub(crate) unsafe fn compute(tile: &Tile<'_>, target: &Target) {
    let (height, steps) = (tile.height, tile.steps);
    let left_words = match tile.layout {
        LeftLayout::Rows => (height - 1) * LEFT_STRIDE + steps,
        LeftLayout::Steps => (steps.max(1) - 1) * tile.left_stride + height,
    };
    assert!(left_words <= tile.left.len() && steps <= STEPS_MAX, "{steps} steps of {} left words", tile.left.len());
    let last = steps.max(1) - 1;
    let last = last / tile.run * tile.run_stride + last % tile.run * tile.right_stride;
    let right_words = (tile.panels - 1) * tile.panel_stride + last + PANEL;
    assert!(steps == 0 || right_words <= tile.right.len(), "{steps} steps of {} right words", tile.right.len());
    if target.columns == tile.panels * PANEL {
        // SAFETY: the rectangle is whole, and the caller vouches for it.
        return unsafe { whole(tile, target) };
    }
    assert!(tile.panels == 1 && target.columns < PANEL, "{} columns of {} panels", target.columns, tile.panels);
    // A rectangle at the edge of the output is computed in a buffer of full size.
    let mut buffer = [0.0; HEIGHT_MAX * PANEL];
    let row = |r: usize| {
        // SAFETY: r < height and the caller vouches for the rectangle.
        unsafe { std::slice::from_raw_parts_mut(target.out.add(r * target.stride), target.columns) }
    };
    if let Some(start) = target.start {
        for r in 0..height {
            // SAFETY: the sums' start is laid out as the output.
            let row = unsafe { std::slice::from_raw_parts(start.as_ptr().add(r * target.stride), target.columns) };
            buffer[r * PANEL..][..target.columns].copy_from_slice(row);
        }
    }
    let out = buffer.as_mut_ptr();
    let start = target.start.and(NonNull::new(out));
    // SAFETY: the buffer holds so many whole rows and no tile is taller.
    unsafe { whole(tile, &Target { out, start, stride: PANEL, columns: PANEL }) };
    (0..height).for_each(|r| row(r).copy_from_slice(&buffer[r * PANEL..][..target.columns]));
}

/// # Safety
/// `target.out` must be valid for `tile.height` rows of `tile.panels` · PANEL floats, `stride` apart.
unsafe fn whole(tile: &Tile<'_>, target: &Target) {
    #[cfg(target_arch = "x86_64")]
    match instruction_set() {
        // SAFETY: the CPU has the features, and the caller vouches for the rectangle.
        InstructionSet::Amx if tile.compute == Compute::Bf16 => return unsafe { amx::compute(tile, target) },
        // SAFETY: as above.
        InstructionSet::Amx | InstructionSet::Avx512Bf16 => return unsafe { x86::avx512_bf16(tile, target) },
        // SAFETY: as above.
        InstructionSet::Avx512 => return unsafe { x86::avx512(tile, target) },
        // SAFETY: as above.
        InstructionSet::Avx2 => return unsafe { x86::avx2(tile, target) },
        InstructionSet::Portable => {}
    }
    // SAFETY: the caller vouches for the rectangle.
    unsafe { by_compute::<portable::Four>(tile, target) }
}

/// A vector register.
trait Lanes: Copy {
    const WIDTH: usize;
    /// Tallest tile.
    const HEIGHT_MAX: usize;
    /// All lanes the word at `from`.
    unsafe fn splat(from: *const u32) -> Self;
    /// The `WIDTH` words at `from`.
    unsafe fn load(from: *const u32) -> Self;
    /// To the `WIDTH` floats at `to`.
    unsafe fn store(self, to: *mut f32);
    /// self · b + c, rounded once where the instruction set can.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// c plus the products of the second halves, then plus those of the first halves, each rounded to nearest with
    /// subnormal numbers taken for 0: what `vdpbf16ps` does.
    unsafe fn pair_mul_add(self, b: Self, c: Self) -> Self;
}

/// # Safety
/// The CPU must have the instructions of `V`, and `target` must hold the whole rectangle.
#[inline(always)]
unsafe fn by_compute<V: Lanes>(tile: &Tile<'_>, target: &Target) {
    // SAFETY: passed on to the caller.
    unsafe {
        match (tile.compute, tile.layout) {
            (Compute::F32, LeftLayout::Rows) => by_height::<V, false, false>(tile, target),
            (Compute::F32, LeftLayout::Steps) => by_height::<V, false, true>(tile, target),
            (Compute::Bf16, LeftLayout::Rows) => by_height::<V, true, false>(tile, target),
            (Compute::Bf16, LeftLayout::Steps) => by_height::<V, true, true>(tile, target),
        }
    }
}

/// # Safety
/// As [`by_compute`].
#[inline(always)]
unsafe fn by_height<V: Lanes, const PAIRS: bool, const BY_STEP: bool>(tile: &Tile<'_>, target: &Target) {
    macro_rules! heights {
        ($($height:literal)*) => {
            match tile.height {
                // The test is constant: taller tiles than the registers allow are never compiled.
                $($height if $height <= V::HEIGHT_MAX => panel::<V, $height, PAIRS, BY_STEP>(tile, target),)*
                height => unreachable!("tile height {height}"),
            }
        };
    }
    // SAFETY: passed on to the caller.
    unsafe {
        match (tile.panels, tile.height) {
            (PANELS_MAX, 1) => panels::<V, 1, PAIRS, BY_STEP>(tile, target),
            (PANELS_MAX, 2) => panels::<V, 2, PAIRS, BY_STEP>(tile, target),
            (PANELS_MAX, 3) => panels::<V, 3, PAIRS, BY_STEP>(tile, target),
            (1, _) => heights!(1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            (panels, height) => unreachable!("{panels} panels of a tile of height {height}"),
        }
    }
}

/// One panel, two registers of columns at a time.
///
/// # Safety
/// As [`by_compute`].
#[inline(always)]
unsafe fn panel<V: Lanes, const M: usize, const PAIRS: bool, const BY_STEP: bool>(tile: &Tile<'_>, target: &Target) {
    for column in (0..PANEL).step_by(2 * V::WIDTH) {
        // SAFETY: column + 2·WIDTH ≤ PANEL, and `compute` checked the words.
        unsafe {
            let out = target.out.add(column);
            let right = tile.right.as_ptr().add(column);
            columns::<V, M, 2, PAIRS, BY_STEP>(tile, [right, right.add(V::WIDTH)], [out, out.add(V::WIDTH)], target);
        }
    }
}

/// `PANELS_MAX` panels, the registers of the same columns of all at a time.
///
/// # Safety
/// As [`by_compute`].
#[inline(always)]
unsafe fn panels<V: Lanes, const M: usize, const PAIRS: bool, const BY_STEP: bool>(tile: &Tile<'_>, target: &Target) {
    for column in (0..PANEL).step_by(2 * V::WIDTH) {
        // SAFETY: as `panel`.
        unsafe {
            let mut right = [tile.right.as_ptr(); 2 * PANELS_MAX];
            let mut out = [target.out; 2 * PANELS_MAX];
            for index in 0..2 * PANELS_MAX {
                let (panel, column) = (index / 2, column + index % 2 * V::WIDTH);
                right[index] = right[index].add(panel * tile.panel_stride + column);
                out[index] = out[index].add(panel * PANEL + column);
            }
            columns::<V, M, { 2 * PANELS_MAX }, PAIRS, BY_STEP>(tile, right, out, target);
        }
    }
}

/// M rows times N registers of columns: the sums stay in registers over all steps.
///
/// # Safety
/// `right` and `out` must point to the registers' words and sums; otherwise as [`by_compute`].
#[inline(always)]
unsafe fn columns<V: Lanes, const M: usize, const N: usize, const PAIRS: bool, const BY_STEP: bool>(
    tile: &Tile<'_>,
    right: [*const u32; N],
    out: [*mut f32; N],
    target: &Target,
) {
    let left = tile.left.as_ptr();
    // SAFETY: the caller vouches for the pointers; left words lie within the slice (checked by `compute`).
    unsafe {
        let zero = V::load([0; 16].as_ptr());
        let mut sums = [[zero; N]; M];
        if let Some(start) = target.start {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (sum, out) in sums.iter_mut().zip(out) {
                    let at = out.offset_from(target.out) + (row * target.stride).cast_signed();
                    *sum = V::load(start.as_ptr().offset(at).cast());
                }
            }
        }
        for (run, first) in (0..tile.steps).step_by(tile.run).enumerate() {
            for step in first..tile.steps.min(first + tile.run) {
                let mut b = [zero; N];
                for (b, right) in b.iter_mut().zip(right) {
                    *b = V::load(right.add(run * tile.run_stride + (step - first) * tile.right_stride));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let at = if BY_STEP { step * tile.left_stride + row } else { row * LEFT_STRIDE + step };
                    let a = V::splat(left.add(at));
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = if PAIRS { a.pair_mul_add(b, *sum) } else { a.mul_add(b, *sum) };
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (sum, out) in sums.iter().zip(out) {
                sum.store(out.add(row * target.stride));
            }
        }
    }
}

/// A subnormal number as 0 of its sign.
#[inline(always)]
fn flushed(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0.0_f32.copysign(x) } else { x }
}

mod portable {
    //! Four floats in an array; the compiler uses what the build target guarantees.

    use super::{Lanes, flushed};
    use crate::dispatch::{Arithmetic, Portable};

    #[derive(Clone, Copy)]
    pub(super) struct Four([f32; 4]);

    impl Lanes for Four {
        const WIDTH: usize = 4;
        const HEIGHT_MAX: usize = 4;

        #[inline(always)]
        unsafe fn splat(from: *const u32) -> Self {
            // SAFETY: the caller vouches for a word.
            Self([f32::from_bits(unsafe { from.read() }); 4])
        }

        #[inline(always)]
        unsafe fn load(from: *const u32) -> Self {
            // SAFETY: the caller vouches for four words.
            Self(unsafe { from.cast::<[u32; 4]>().read_unaligned() }.map(f32::from_bits))
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

        #[inline(always)]
        unsafe fn pair_mul_add(self, b: Self, c: Self) -> Self {
            let second = |x: f32| f32::from_bits(x.to_bits() & 0xffff_0000);
            let first = |x: f32| f32::from_bits(x.to_bits() << 16);
            // The product of two bf16 is exact in f32, so two roundings are one.
            Self(std::array::from_fn(|i| {
                let sum = flushed(Portable::mul_add(second(self.0[i]), second(b.0[i]), flushed(c.0[i])));
                flushed(Portable::mul_add(first(self.0[i]), first(b.0[i]), sum))
            }))
        }
    }
}
