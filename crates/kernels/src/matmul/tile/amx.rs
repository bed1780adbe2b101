//! Tiles in the matrix registers of AMX: eight of 16 rows of 64 bytes each.
//!
//! `tdpbf16ps` (Intel's Software Developer's Manual, volume 2) takes 32 elements of the inner dimension at a time: the
//! products of the first halves of the words are one chain from 0, those of the second halves another, both ascending;
//! the sum of the two is added to the element. Each step rounds once to nearest, with subnormal numbers taken for 0. So
//! an element's bits depend on its row, its column and the multiples of 32 alone. 15,360,000 elements of random factors,
//! among them subnormal ones and sums that overflow, were computed so in C and none differed (Xeon, Emerald Rapids).

use std::{
    arch::asm,
    cell::{Cell, UnsafeCell},
    ptr::NonNull,
};

use super::{LEFT_STRIDE, LeftLayout, MATRIX_ROWS, Target, Tile};
use crate::matmul::packed::PANEL;

/// Steps of a register's row.
const STEPS: usize = 16;
/// Bytes from a row of left words to the next.
const LEFT_BYTES: usize = LEFT_STRIDE * size_of::<u32>();

/// What `ldtilecfg` loads: palette 1, all eight registers whole.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static WHOLE: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

thread_local! {
    static IS_CONFIGURED: Cell<bool> = const { Cell::new(false) };
}

/// Shapes the registers of this thread, once: a thread keeps them as long as it lives.
fn configure() {
    if !IS_CONFIGURED.replace(true) {
        // SAFETY: the CPU has the instruction (only called where the instruction set is AMX), and the configuration is
        // one that it takes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly)) };
    }
}

/// Floating-point operations of a round of [`multiply_rounds`]: four products of registers, two operations a term.
pub(crate) const ROUND_FLOPS: usize = 4 * 2 * MATRIX_ROWS * STEPS * 2 * 16;

/// Products of registers that stay where they are: what the CPU can multiply at most.
pub(crate) fn multiply_rounds(rounds: usize) {
    configure();
    // SAFETY: touches matrix registers alone, of which nobody expects a content.
    unsafe {
        asm!(
            "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
            "test {n}, {n}",
            "jz 3f",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "dec {n}",
            "jnz 2b",
            "3:",
            n = inout(reg) rounds => _,
            options(nostack, nomem)
        );
    }
}

/// Sixteen rows of the output, 32 columns of each: a pair of registers.
#[derive(Clone, Copy)]
struct Sums {
    out: *mut f32,
    row_bytes: usize,
    /// What they start from, as far apart as the output's rows; none for 0.
    start: Option<NonNull<f32>>,
}

impl Sums {
    /// 16 rows of a rectangle from element `at` on.
    ///
    /// # Safety
    /// The rows must be there.
    #[inline(always)]
    unsafe fn of(target: &Target, at: usize) -> Self {
        // SAFETY: the caller vouches for the rows.
        let (out, start) = unsafe { (target.out.add(at), target.start.map(|start| start.add(at))) };
        Self { out, row_bytes: target.stride * size_of::<f32>(), start }
    }
}

/// # Safety
/// As [`super::compute`], for a rectangle of whole panels; the CPU must have AMX.
pub(super) unsafe fn compute(tile: &Tile<'_>, target: &Target) {
    assert_eq!(tile.layout, LeftLayout::Rows, "how matrix registers take the left side");
    let groups = tile.height.div_ceil(MATRIX_ROWS);
    let blocks = tile.steps.div_ceil(STEPS);
    let left_words = (groups * MATRIX_ROWS - 1) * LEFT_STRIDE + blocks * STEPS;
    assert!(groups <= 2 && left_words <= tile.left.len(), "{left_words} left words of {}", tile.left.len());
    let right_words = (tile.panels - 1) * tile.panel_stride + (blocks.max(1) * STEPS - 1) * tile.right_stride + PANEL;
    assert!(blocks == 0 || right_words <= tile.right.len(), "{right_words} right words of {}", tile.right.len());
    configure();
    let whole = tile.height.is_multiple_of(MATRIX_ROWS);
    for panel in 0..tile.panels {
        // SAFETY: words and sums of this panel are there (asserted; the caller vouches for the rectangle); rows of the
        // last registers that are not the output's are computed elsewhere.
        unsafe {
            let right = tile.right.as_ptr().add(panel * tile.panel_stride);
            let at = panel * PANEL;
            let second = at + MATRIX_ROWS * target.stride;
            match (groups, whole) {
                (2, true) => multiply_two(tile, right, blocks, [Sums::of(target, at), Sums::of(target, second)]),
                (2, false) => in_spare_rows(Sums::of(target, second), tile.height - MATRIX_ROWS, |last| {
                    multiply_two(tile, right, blocks, [Sums::of(target, at), last]);
                }),
                (_, true) => multiply_one(tile, right, blocks, Sums::of(target, at)),
                (_, false) => in_spare_rows(Sums::of(target, at), tile.height, |sums| {
                    multiply_one(tile, right, blocks, sums);
                }),
            }
        }
    }
}

/// Room for the sums of a pair of registers of which some rows are not the output's.
#[repr(align(64))]
struct SpareRows([[f32; PANEL]; MATRIX_ROWS]);

thread_local! {
    static SPARE: UnsafeCell<SpareRows> = const { UnsafeCell::new(SpareRows([[0.0; PANEL]; MATRIX_ROWS])) };
}

/// Runs `work` with sums in a buffer, of which the first `rows` rows come from and go to `sums`.
///
/// # Safety
/// The rows must be there, and `work` must not come here again.
#[inline(always)]
unsafe fn in_spare_rows(sums: Sums, rows: usize, work: impl FnOnce(Sums)) {
    let stride = sums.row_bytes / size_of::<f32>();
    SPARE.with(|spare| {
        // SAFETY: the buffer is this thread's, and nobody else holds it (the caller vouches).
        let SpareRows(spare) = unsafe { &mut *spare.get() };
        if let Some(start) = sums.start {
            for (index, row) in spare.iter_mut().enumerate().take(rows) {
                // SAFETY: the caller vouches for the row.
                *row = unsafe { start.add(index * stride).cast::<[f32; PANEL]>().read_unaligned() };
            }
        }
        let out: *mut f32 = spare.as_mut_ptr().cast();
        let start = sums.start.and(NonNull::new(out));
        work(Sums { out, row_bytes: PANEL * size_of::<f32>(), start });
        for (index, row) in spare.iter().enumerate().take(rows) {
            // SAFETY: as above.
            unsafe { sums.out.add(index * stride).cast::<[f32; PANEL]>().write_unaligned(*row) };
        }
    });
}

/// # Safety
/// 32 rows of left words, a panel of right words and the sums must be there; the registers must be configured.
#[inline(always)]
unsafe fn multiply_two(tile: &Tile<'_>, right: *const u32, blocks: usize, [first, second]: [Sums; 2]) {
    let left = tile.left.as_ptr();
    // SAFETY: reads and writes what the caller vouches for; the compiler itself uses no matrix register.
    unsafe {
        if let (Some(c0), Some(c1)) = (first.start, second.start) {
            asm!(
                "tileloadd tmm0, [{c0} + {s0}*1]",
                "tileloadd tmm1, [{c0} + {s0}*1 + 64]",
                "tileloadd tmm2, [{c1} + {s1}*1]",
                "tileloadd tmm3, [{c1} + {s1}*1 + 64]",
                c0 = in(reg) c0.as_ptr(), s0 = in(reg) first.row_bytes,
                c1 = in(reg) c1.as_ptr(), s1 = in(reg) second.row_bytes,
                options(nostack, readonly)
            );
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
        }
        asm!(
            "test {n}, {n}",
            "jz 3f",
            "2:",
            "tileloadd tmm6, [{b} + {bs}*1]",
            "tileloadd tmm4, [{a0} + {lb}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {bs}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {lb}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 64",
            "add {a1}, 64",
            "add {b}, {bb}",
            "dec {n}",
            "jnz 2b",
            "3:",
            a0 = inout(reg) left => _,
            a1 = inout(reg) left.add(MATRIX_ROWS * LEFT_STRIDE) => _,
            b = inout(reg) right => _,
            n = inout(reg) blocks => _,
            lb = in(reg) LEFT_BYTES,
            bs = in(reg) tile.right_stride * size_of::<u32>(),
            bb = in(reg) tile.right_stride * STEPS * size_of::<u32>(),
            options(nostack, readonly)
        );
        asm!(
            "tilestored [{c0} + {s0}*1], tmm0",
            "tilestored [{c0} + {s0}*1 + 64], tmm1",
            "tilestored [{c1} + {s1}*1], tmm2",
            "tilestored [{c1} + {s1}*1 + 64], tmm3",
            c0 = in(reg) first.out, s0 = in(reg) first.row_bytes,
            c1 = in(reg) second.out, s1 = in(reg) second.row_bytes,
            options(nostack)
        );
    }
}

/// # Safety
/// As [`multiply_two`], for 16 rows.
#[inline(always)]
unsafe fn multiply_one(tile: &Tile<'_>, right: *const u32, blocks: usize, sums: Sums) {
    // SAFETY: as above.
    unsafe {
        if let Some(start) = sums.start {
            asm!(
                "tileloadd tmm0, [{c} + {s}*1]",
                "tileloadd tmm1, [{c} + {s}*1 + 64]",
                c = in(reg) start.as_ptr(), s = in(reg) sums.row_bytes,
                options(nostack, readonly)
            );
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", options(nostack, nomem));
        }
        asm!(
            "test {n}, {n}",
            "jz 3f",
            "2:",
            "tileloadd tmm4, [{a} + {lb}*1]",
            "tileloadd tmm6, [{b} + {bs}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {bs}*1 + 64]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, 64",
            "add {b}, {bb}",
            "dec {n}",
            "jnz 2b",
            "3:",
            a = inout(reg) tile.left.as_ptr() => _,
            b = inout(reg) right => _,
            n = inout(reg) blocks => _,
            lb = in(reg) LEFT_BYTES,
            bs = in(reg) tile.right_stride * size_of::<u32>(),
            bb = in(reg) tile.right_stride * STEPS * size_of::<u32>(),
            options(nostack, readonly)
        );
        asm!(
            "tilestored [{c} + {s}*1], tmm0",
            "tilestored [{c} + {s}*1 + 64], tmm1",
            c = in(reg) sums.out, s = in(reg) sums.row_bytes,
            options(nostack)
        );
    }
}
