//! Tiles in the matrix registers of AMX: eight of 16 rows of 64 bytes each.
//!
//! `tdpbf16ps` (Intel's Software Developer's Manual, volume 2) takes 32 elements of the inner dimension at a time: the
//! products of the first halves of the words are one chain from 0, those of the second halves another, both ascending;
//! the sum of the two is added to the element. Each step rounds once to nearest, with subnormal numbers taken for 0. So
//! an element's bits depend on its row, its column and the multiples of 32 alone. 15,360,000 elements of random factors,
//! among them subnormal ones and sums that overflow, were computed so in C and none differed (Xeon, Emerald Rapids).

use std::{arch::asm, cell::Cell, ptr::NonNull};

use super::{LEFT_STRIDE, LeftLayout, MATRIX_ROWS, Target, Tile};
use crate::matmul::packed::PANEL;

/// Steps of a register's row.
const STEPS: usize = 16;
/// Bytes from a row of left words to the next.
const LEFT_BYTES: usize = LEFT_STRIDE * size_of::<u32>();

/// What `ldtilecfg` loads: palette 1, all eight registers 64 bytes wide.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Rows of the registers that hold the first and the second group of left rows and their sums.
type GroupRows = [u8; 2];

const WHOLE: GroupRows = [MATRIX_ROWS as u8; 2];

thread_local! {
    static CONFIGURED: Cell<GroupRows> = const { Cell::new([0; 2]) };
}

/// Shapes the registers of this thread, which keeps them until it needs another shape, or [`forget`] says that they may
/// have another: a product of fewer rows takes
/// less time, and loads and stores touch no row that is not there.
fn configure(groups: GroupRows) {
    if CONFIGURED.replace(groups) == groups {
        return;
    }
    let [first, second] = groups;
    let whole = MATRIX_ROWS as u8;
    let configuration = Configuration {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
        rows: [first, first, second, second, first, second, whole, whole, 0, 0, 0, 0, 0, 0, 0, 0],
    };
    // SAFETY: the CPU has the instruction (only called where the instruction set is AMX), and the configuration is one
    // that it takes: 1 to 16 rows.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly)) };
}

/// Says that this thread may have run somebody else's code, which may have shaped the registers or let them go.
pub(crate) fn forget() {
    CONFIGURED.set([0; 2]);
}

/// Floating-point operations of a round of [`multiply_rounds`]: four products of registers, two operations a term.
pub(crate) const ROUND_FLOPS: usize = 4 * 2 * MATRIX_ROWS * STEPS * 2 * 16;

/// Products of registers that stay where they are: what the CPU can multiply at most.
pub(crate) fn multiply_rounds(rounds: usize) {
    configure(WHOLE);
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

/// Up to sixteen rows of the output, 32 columns of each: a pair of registers.
#[derive(Clone, Copy)]
struct Sums {
    out: *mut f32,
    row_bytes: usize,
    /// What they start from, as far apart as the output's rows; none for 0.
    start: Option<NonNull<f32>>,
}

impl Sums {
    /// The rows of a rectangle from element `at` on.
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

/// The right words of one panel.
#[derive(Clone, Copy)]
struct Right {
    words: *const u32,
    row_bytes: usize,
    /// From one register's steps to the next.
    block_bytes: usize,
    blocks: usize,
}

/// # Safety
/// As [`super::compute`], for a rectangle of whole panels; the CPU must have AMX.
pub(super) unsafe fn compute(tile: &Tile<'_>, target: &Target) {
    assert_eq!(tile.layout, LeftLayout::Rows, "how matrix registers take the left side");
    let blocks = tile.steps.div_ceil(STEPS);
    assert!(tile.steps <= tile.run || tile.run == STEPS, "runs of {} steps in registers of {STEPS}", tile.run);
    let block_words = if tile.run == STEPS { tile.run_stride } else { STEPS * tile.right_stride };
    let left_words = (tile.height - 1) * LEFT_STRIDE + blocks * STEPS;
    assert!(tile.height <= 2 * MATRIX_ROWS && left_words <= tile.left.len(), "{left_words} of {}", tile.left.len());
    let last = (blocks.max(1) - 1) * block_words + (STEPS - 1) * tile.right_stride;
    let right_words = (tile.panels - 1) * tile.panel_stride + last + PANEL;
    assert!(blocks == 0 || right_words <= tile.right.len(), "{right_words} right words of {}", tile.right.len());
    let second_rows = tile.height.saturating_sub(MATRIX_ROWS);
    if second_rows > 0 {
        configure([WHOLE[0], second_rows as u8]);
    } else {
        configure([tile.height as u8, CONFIGURED.get()[1].max(1)]);
    }
    for panel in 0..tile.panels {
        // SAFETY: words and sums of this panel are there (asserted; the caller vouches for the rectangle).
        unsafe {
            let right = Right {
                words: tile.right.as_ptr().add(panel * tile.panel_stride),
                row_bytes: tile.right_stride * size_of::<u32>(),
                block_bytes: block_words * size_of::<u32>(),
                blocks,
            };
            let at = panel * PANEL;
            let first = Sums::of(target, at);
            if second_rows > 0 {
                multiply_two(tile.left, right, [first, Sums::of(target, at + MATRIX_ROWS * target.stride)]);
            } else {
                multiply_one(tile.left, right, first);
            }
        }
    }
}

/// # Safety
/// The left words of both groups of rows, the right words and the sums must be there; the registers must have their rows.
#[inline(always)]
unsafe fn multiply_two(left: &[u32], right: Right, [first, second]: [Sums; 2]) {
    let left = left.as_ptr();
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
            b = inout(reg) right.words => _,
            n = inout(reg) right.blocks => _,
            lb = in(reg) LEFT_BYTES,
            bs = in(reg) right.row_bytes,
            bb = in(reg) right.block_bytes,
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
/// As [`multiply_two`], for one group.
#[inline(always)]
unsafe fn multiply_one(left: &[u32], right: Right, sums: Sums) {
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
            a = inout(reg) left.as_ptr() => _,
            b = inout(reg) right.words => _,
            n = inout(reg) right.blocks => _,
            lb = in(reg) LEFT_BYTES,
            bs = in(reg) right.row_bytes,
            bb = in(reg) right.block_bytes,
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
