//! What this machine can do at most: the multiply-adds and the memory that any routine here is measured against.
//!
//! A probe computes nothing that anybody needs and keeps to the instruction set in use, on all threads of the pool that
//! is installed. The clock is an argument: the time since any fixed moment.

use std::{hint::black_box, time::Duration};

use crate::{
    Buffer, Compute,
    dispatch::{Arithmetic, InstructionSet, Portable, dispatched, instruction_set},
    threads::{self, Pool},
};

/// Seconds of one measurement.
const SECONDS: f64 = 0.2;
/// Seconds of work from which the length of a measurement is set.
const SECONDS_TRIED: f64 = 0.01;
/// Measurements, of which the middle one counts.
const MEASUREMENTS: usize = 5;
/// Tasks for each thread, so that one that is held up leaves its share to the others.
const TASKS_PER_THREAD: usize = 16;
/// Floats that are read from memory: 512 MiB, more than any cache holds.
const MEMORY_FLOATS: usize = 1 << 27;
/// Floats that are read again and again: 64 MiB, more than the caches of two cores hold, less than a server's last.
const CACHE_FLOATS: usize = 1 << 24;

/// What a machine can do at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// FLOP/s of fused multiply-adds in f32.
    pub f32_flops_per_second: f64,
    /// FLOP/s of products of bf16 pairs, where the CPU has them.
    pub bf16_flops_per_second: Option<f64>,
    /// Bytes that are read from main memory in a second.
    pub memory_bytes_per_second: f64,
    /// Bytes that are read in a second of 64 MiB that are read again and again.
    pub cache_bytes_per_second: f64,
}

impl Pool {
    /// Probes the machine with the threads of this pool, a second or a little more for each number.
    pub fn limits(&self, clock: &dyn Fn() -> Duration) -> Limits {
        self.install(|| Limits {
            f32_flops_per_second: Chains::f32().flops_per_second(clock),
            bf16_flops_per_second: multiply_adds(Compute::Bf16, clock),
            memory_bytes_per_second: reads(MEMORY_FLOATS, clock),
            cache_bytes_per_second: reads(CACHE_FLOATS, clock),
        })
    }
}

/// FLOP/s of multiply-adds whose operands stay in registers; none for bf16 on a CPU without products of its pairs.
pub fn multiply_adds(compute: Compute, clock: &dyn Fn() -> Duration) -> Option<f64> {
    let chains = match compute {
        Compute::F32 => Some(Chains::f32()),
        Compute::Bf16 => Chains::bf16(),
    };
    chains.map(|chains| chains.flops_per_second(clock))
}

/// Bytes per second that are read of `length` floats, each thread a stretch of its own from start to end.
pub fn reads(length: usize, clock: &dyn Fn() -> Duration) -> f64 {
    let mut buffer = Buffer::new();
    // Pages that nobody wrote are all one page of zeros.
    threads::for_each_chunk(buffer.resize(length), length / TASKS_PER_THREAD, |_, floats| floats.fill(1.0));
    let floats: &[f32] = &buffer;
    let tasks = threads::count() * TASKS_PER_THREAD;
    let stretch = length / tasks;
    let passes_per_second = rate(clock, |passes| {
        for _ in 0..passes {
            threads::for_each(tasks, |task| _ = black_box(sum(&floats[task * stretch..][..stretch])));
        }
        passes
    });
    passes_per_second * (tasks * stretch * size_of::<f32>()) as f64
}

/// Units of work in a second, the median of the measurements; `work` does about as many as it is told and returns how
/// many it did.
pub(crate) fn rate(clock: &dyn Fn() -> Duration, mut work: impl FnMut(usize) -> usize) -> f64 {
    let mut timed = |units: usize| {
        let start = clock();
        let done = work(units);
        // A clock that does not move must not make the rate infinite.
        (done, clock().saturating_sub(start).as_secs_f64().max(1e-9))
    };
    let mut units = 1;
    let first = loop {
        let (done, seconds) = timed(units);
        if seconds >= SECONDS_TRIED || units > usize::MAX / 4 {
            break done as f64 / seconds;
        }
        units *= 2;
    };
    let units = ((first * SECONDS) as usize).max(1);
    let mut rates: Vec<f64> = (0..MEASUREMENTS)
        .map(|_| {
            let (done, seconds) = timed(units);
            done as f64 / seconds
        })
        .collect();
    rates.sort_by(f64::total_cmp);
    rates[MEASUREMENTS / 2]
}

/// Sums that each take one multiply-add a round and do not wait for one another.
struct Chains {
    /// Does so many rounds.
    run: fn(usize),
    /// FLOP of one round.
    flops: usize,
}

impl Chains {
    fn f32() -> Self {
        #[cfg(target_arch = "x86_64")]
        match instruction_set() {
            InstructionSet::Amx | InstructionSet::Avx512Bf16 | InstructionSet::Avx512 => {
                // SAFETY: the CPU has the features.
                return Self { run: |rounds| unsafe { x86::avx512(rounds) }, flops: 2 * 16 * x86::CHAINS_512 };
            }
            InstructionSet::Avx2 => {
                // SAFETY: as above.
                return Self { run: |rounds| unsafe { x86::avx2(rounds) }, flops: 2 * 8 * x86::CHAINS_256 };
            }
            InstructionSet::Portable => {}
        }
        Self { run: portable, flops: 2 * PORTABLE_LANES * PORTABLE_CHAINS }
    }

    fn bf16() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        match instruction_set() {
            InstructionSet::Amx => {
                let run = crate::matmul::tile::amx::multiply_rounds;
                return Some(Self { run, flops: crate::matmul::tile::amx::ROUND_FLOPS });
            }
            InstructionSet::Avx512Bf16 => {
                // SAFETY: the CPU has the features.
                let run = |rounds| unsafe { x86::avx512_bf16(rounds) };
                return Some(Self { run, flops: 2 * 32 * x86::CHAINS_512 });
            }
            InstructionSet::Avx512 | InstructionSet::Avx2 | InstructionSet::Portable => {}
        }
        None
    }

    fn flops_per_second(&self, clock: &dyn Fn() -> Duration) -> f64 {
        let tasks = threads::count() * TASKS_PER_THREAD;
        let rounds_per_second = rate(clock, |rounds| {
            let rounds_of_task = rounds.div_ceil(tasks);
            threads::for_each(tasks, |_| (self.run)(rounds_of_task));
            tasks * rounds_of_task
        });
        rounds_per_second * self.flops as f64
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! Chains in the vector registers of x86-64: more of them than a multiplier takes operations at once.

    use std::{
        arch::x86_64::{
            __m512, __m512bh, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_set1_ps,
        },
        hint::black_box,
    };

    pub(super) const CHAINS_512: usize = 20;
    pub(super) const CHAINS_256: usize = 12;

    macro_rules! chains {
        ($name:ident, $features:literal, $chains:ident, $splat:ident, $step:expr) => {
            /// # Safety
            /// The CPU must have the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(rounds: usize) {
                // Sums stay near 1: no number overflows or becomes subnormal, and none is known to the compiler.
                let (a, b) = (black_box($splat(0.5)), black_box($splat(0.5)));
                let mut sums = black_box([$splat(1.0); $chains]);
                for _ in 0..rounds {
                    for sum in &mut sums {
                        *sum = $step(*sum, a, b);
                    }
                }
                black_box(sums);
            }
        };
    }

    chains!(avx512, "avx512f", CHAINS_512, _mm512_set1_ps, _mm512_fmadd_ps);
    chains!(avx2, "avx2,fma", CHAINS_256, _mm256_set1_ps, _mm256_fmadd_ps);
    chains!(avx512_bf16, "avx512f,avx512bf16", CHAINS_512, _mm512_set1_ps, pair);

    /// # Safety
    /// The CPU must have AVX-512 with bf16.
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pair(sum: __m512, a: __m512, b: __m512) -> __m512 {
        // SAFETY: both types are 512 bits of whatever content.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512, __m512bh>(a),
                std::mem::transmute::<__m512, __m512bh>(b),
            )
        }
    }
}

const PORTABLE_CHAINS: usize = 12;
const PORTABLE_LANES: usize = 4;

fn portable(rounds: usize) {
    let (a, b) = (black_box([0.5_f32; PORTABLE_LANES]), black_box([0.5_f32; PORTABLE_LANES]));
    let mut sums = black_box([[1.0_f32; PORTABLE_LANES]; PORTABLE_CHAINS]);
    for _ in 0..rounds {
        for sum in &mut sums {
            for lane in 0..PORTABLE_LANES {
                sum[lane] = Portable::mul_add(sum[lane], a[lane], b[lane]);
            }
        }
    }
    black_box(sums);
}

dispatched! {
    /// The sum of the bits, which costs less than reading them and may be taken in any order.
    fn sum(floats: &[f32]) -> u32 = sum_body;
}

#[inline(always)]
fn sum_body<A: Arithmetic>(floats: &[f32]) -> u32 {
    let mut sum = 0_u32;
    for float in floats {
        sum = sum.wrapping_add(float.to_bits());
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_rate_is_the_median_over_measurements() {
        // The work takes 1 ms a unit; once the length is set, measurements take 1, 4, 1, 2 and 3 times as long.
        let (now, measurement) = (Cell::new(0.0), Cell::new(0));
        let clock = || Duration::from_secs_f64(now.get());
        let rate = rate(&clock, |units| {
            let slower =
                if units == 200 { [1.0, 4.0, 1.0, 2.0, 3.0][measurement.replace(measurement.get() + 1)] } else { 1.0 };
            now.set(now.get() + units as f64 * 1e-3 * slower);
            units
        });
        assert_eq!(measurement.get(), 5);
        assert!((rate - 500.0).abs() < 1e-3, "{rate} units a second");
    }

    #[test]
    fn every_instruction_set_has_multiply_adds() {
        let (f32, bf16) = (Chains::f32(), Chains::bf16());
        (f32.run)(3);
        assert!(f32.flops > 0);
        assert_eq!(bf16.is_some(), instruction_set().has_bf16_pairs());
        if let Some(bf16) = bf16 {
            (bf16.run)(3);
            assert!(bf16.flops >= 2 * f32.flops);
        }
        portable(3);
    }

    #[test]
    fn the_sum_reads_every_float() {
        let bits = [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67];
        assert_eq!(sum(&bits.map(f32::from_bits)), bits.iter().sum());
    }
}
