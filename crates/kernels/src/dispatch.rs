//! Picks the widest instruction set of this CPU at run time and compiles each routine once per set.

use std::sync::OnceLock;

/// Instruction sets that the routines are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// AVX-512 with products of bf16 pairs (`vdpbf16ps`).
    Avx512Bf16,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// AVX2 with FMA.
    Avx2,
    /// What the build target guarantees.
    Portable,
}

impl InstructionSet {
    /// Name for run headers and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512+bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2+fma",
            Self::Portable => "portable",
        }
    }
}

/// The instruction set in use. `BREVITY_CPU=avx512`, `avx2` or `portable` lowers it; a higher one than the CPU has is
/// ignored.
pub fn instruction_set() -> InstructionSet {
    static DETECTED: OnceLock<InstructionSet> = OnceLock::new();
    *DETECTED.get_or_init(|| {
        let wished = std::env::var("BREVITY_CPU").unwrap_or_default();
        match (widest(), wished.as_str()) {
            (_, "portable") => InstructionSet::Portable,
            (InstructionSet::Avx512Bf16, "avx512") => InstructionSet::Avx512,
            (InstructionSet::Avx512Bf16 | InstructionSet::Avx512, "avx2") => InstructionSet::Avx2,
            (found, _) => found,
        }
    })
}

#[cfg(target_arch = "x86_64")]
fn widest() -> InstructionSet {
    let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (fused, wide) {
        (true, true) if is_x86_feature_detected!("avx512bf16") => InstructionSet::Avx512Bf16,
        (true, true) => InstructionSet::Avx512,
        (true, false) => InstructionSet::Avx2,
        (false, _) => InstructionSet::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn widest() -> InstructionSet {
    InstructionSet::Portable
}

/// How `a * b + c` is rounded.
pub(crate) trait Arithmetic {
    /// `a * b + c`.
    fn mul_add(a: f32, b: f32, c: f32) -> f32;
}

/// One rounding; needs a fused instruction to be fast.
pub(crate) struct Fused;

impl Arithmetic for Fused {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// Two roundings, for x86-64 without FMA, where a fused result would be a library call per product.
pub(crate) struct Separate;

impl Arithmetic for Separate {
    #[inline(always)]
    fn mul_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// What [`InstructionSet::Portable`] computes with.
#[cfg(target_arch = "x86_64")]
pub(crate) type Portable = Separate;
/// What [`InstructionSet::Portable`] computes with.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type Portable = Fused;

/// Defines `fn name(arguments)` that runs `body::<Arithmetic>(arguments)` compiled for the CPU's instruction set.
///
/// `body` must be `#[inline(always)]`, or its loops are compiled for the baseline. For the same reason its work stands in
/// plain `for` loops: what an iterator adapter does in a closure is compiled with the adapter.
macro_rules! dispatched {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $ret:ty)? = $body:ident;) => {
        $(#[$meta])*
        $vis fn $name($($arg: $type),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $type),*) $(-> $ret)? {
                    $body::<$crate::dispatch::Fused>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $ret)? {
                    $body::<$crate::dispatch::Fused>($($arg),*)
                }
                match $crate::dispatch::instruction_set() {
                    $crate::dispatch::InstructionSet::Avx512Bf16 | $crate::dispatch::InstructionSet::Avx512 => {
                        // SAFETY: `instruction_set` found these features on this CPU.
                        return unsafe { avx512($($arg),*) };
                    }
                    // SAFETY: as above.
                    $crate::dispatch::InstructionSet::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::dispatch::InstructionSet::Portable => {}
                }
            }
            $body::<$crate::dispatch::Portable>($($arg),*)
        }
    };
}
pub(crate) use dispatched;
