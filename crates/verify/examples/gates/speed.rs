//! How long a check takes over real completions: the solutions of data sets. Not a test: times depend on the machine.

use std::{hint::black_box, path::Path, time::Instant};

use verify::{Extraction, Gold, check};

use crate::{
    Outcome,
    rows::{Problem, read_problems},
};

/// Times each check is repeated; the fastest counts, so that what else runs on the machine does not.
const REPEATS: usize = 3;

pub(crate) fn measure(directory: &Path) -> Result<Outcome, String> {
    let problems = read_problems(directory)?;
    let mut times = Vec::new();
    for Problem { place, gold, solution } in &problems {
        let (Some(solution), Ok(gold)) = (solution, Gold::parse(gold)) else { continue };
        times.push((microseconds(solution, &gold), place, solution.len()));
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = times.iter().map(|(time, ..)| time).sum::<f64>() / times.len() as f64;
    let p99 = times[(times.len() * 99).div_ceil(100) - 1].0;
    let (worst, place, bytes) = times[times.len() - 1];
    let mean_bytes = times.iter().map(|(.., bytes)| bytes).sum::<usize>() / times.len();
    println!("n {} completions of {mean_bytes} bytes on average", times.len());
    println!("mean {mean:.1} µs, p99 {p99:.1} µs, worst {worst:.1} µs ({place}, {bytes} bytes)");
    Ok(Outcome::Holds)
}

/// The fastest of a few checks.
#[expect(clippy::disallowed_methods, reason = "times are what this program is for")]
pub(crate) fn microseconds(completion: &str, gold: &Gold) -> f64 {
    let once = || {
        let start = Instant::now();
        black_box(check(black_box(completion), gold, &Extraction::Auto {}));
        start.elapsed().as_secs_f64() * 1e6
    };
    (0..REPEATS).map(|_| once()).fold(f64::INFINITY, f64::min)
}
