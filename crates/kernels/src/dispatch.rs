//! Picks the widest instruction set of this CPU at run time and compiles each routine once per set.

use std::sync::OnceLock;

/// Instruction sets that the routines are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// [`Self::Avx512Bf16`] with matrix registers that multiply bf16 (`tdpbf16ps`).
    Amx,
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
            Self::Amx => "avx512+bf16+amx",
            Self::Avx512Bf16 => "avx512+bf16",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2+fma",
            Self::Portable => "portable",
        }
    }

    /// Whether products of bf16 pairs are an instruction.
    pub(crate) fn has_bf16_pairs(self) -> bool {
        matches!(self, Self::Amx | Self::Avx512Bf16)
    }

    /// Whether vectors have 512 bits.
    pub(crate) fn has_avx512(self) -> bool {
        matches!(self, Self::Amx | Self::Avx512Bf16 | Self::Avx512)
    }
}

/// The instruction set in use. `BREVITY_CPU=avx512-bf16`, `avx512`, `avx2` or `portable` lowers it; a higher one than
/// the CPU has is ignored.
pub fn instruction_set() -> InstructionSet {
    static DETECTED: OnceLock<InstructionSet> = OnceLock::new();
    *DETECTED.get_or_init(|| {
        let wished = std::env::var("BREVITY_CPU").unwrap_or_default();
        match (widest(), wished.as_str()) {
            (_, "portable") => InstructionSet::Portable,
            (InstructionSet::Amx, "avx512-bf16") => InstructionSet::Avx512Bf16,
            (found, "avx512") if found.has_avx512() => InstructionSet::Avx512,
            (found, "avx2") if found.has_avx512() => InstructionSet::Avx2,
            (found, _) => found,
        }
    })
}

/// Whether Intel made this CPU.
pub(crate) fn is_intel() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let std::arch::x86_64::CpuidResult { ebx, ecx, edx, .. } = std::arch::x86_64::__cpuid(0);
        [ebx, edx, ecx].map(u32::to_le_bytes).concat() == b"GenuineIntel"
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
fn widest() -> InstructionSet {
    let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (fused, wide) {
        (true, true) if is_x86_feature_detected!("avx512bf16") && amx::is_usable() => InstructionSet::Amx,
        (true, true) if is_x86_feature_detected!("avx512bf16") => InstructionSet::Avx512Bf16,
        (true, true) => InstructionSet::Avx512,
        (true, false) => InstructionSet::Avx2,
        (false, _) => InstructionSet::Portable,
    }
}

#[cfg(target_arch = "x86_64")]
mod amx {
    //! Whether matrix registers are there and the system lets this process use them.

    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

    pub(super) fn is_usable() -> bool {
        // Intel's Software Developer's Manual, volume 1, chapter 19: bits of CPUID and of the extended control register.
        const TILES_AND_BF16: u32 = 1 << 24 | 1 << 22;
        const OSXSAVE: u32 = 1 << 27;
        const TILE_STATES: u64 = 1 << 17 | 1 << 18;
        let is_there = __cpuid(0).eax >= 7
            && __cpuid(1).ecx & OSXSAVE != 0
            && __cpuid_count(7, 0).edx & TILES_AND_BF16 == TILES_AND_BF16;
        // SAFETY: OSXSAVE says that the instruction is there.
        is_there && unsafe { states() } & TILE_STATES == TILE_STATES && is_permitted()
    }

    /// # Safety
    /// The system must have enabled XSAVE.
    #[target_feature(enable = "xsave")]
    unsafe fn states() -> u64 {
        // SAFETY: passed on to the caller.
        unsafe { _xgetbv(0) }
    }

    /// Asks Linux for the matrix registers, which a process has only on request (Documentation/arch/x86/xstate.rst).
    #[cfg(target_os = "linux")]
    fn is_permitted() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_ulong = 18;
        // SAFETY: the call changes what this process may use and touches no memory.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    fn is_permitted() -> bool {
        false
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
                    $crate::dispatch::InstructionSet::Amx
                    | $crate::dispatch::InstructionSet::Avx512Bf16
                    | $crate::dispatch::InstructionSet::Avx512 => {
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
