//! A run that goes on for long: neither its memory nor the time of a step grows.
//!
//! The policy is held where it is by a learning rate of almost nothing, so that a step is the same work at the end as at
//! the start: whatever grows is the program's.

#![expect(clippy::print_stdout, reason = "what was sampled on the way is the figure of the search")]

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::scratch::{Ran, Scratch};

/// Ticks of processor time in `/proc`, which Linux fixes at 100 for programs, whatever its own clock does.
const TICKS_PER_SECOND: f64 = 100.0;
/// Share of the samples at the start that count as warming up.
const WARM_UP_SHARE: f64 = 0.1;
/// Largest resident memory of the last third over that of the first.
const MEMORY_GROWTH_MAX: f64 = 1.05;

/// What is run, and how closely it is looked at.
struct Form {
    config: &'static str,
    seconds: f64,
    /// On a busy machine it goes on until so many are made.
    steps_min: usize,
    /// Steps between checkpoints and evaluations.
    every_steps: u64,
    /// Processor time of a step in the last third over that in the first.
    time_growth_max: f64,
}

/// A few seconds of a tiny model among other tests, or `BREVITY_RELIABILITY_SECONDS` of the embedded task.
fn form(scratch: &Scratch) -> Form {
    let Ok(seconds) = std::env::var("BREVITY_RELIABILITY_SECONDS") else {
        return Form { config: "config.toml", seconds: 12.0, steps_min: 300, every_steps: 50, time_growth_max: 1.5 };
    };
    scratch.succeed(&["--quiet", "task", "ring", "--out", "ring", "--seeds", "0"]);
    let seconds = seconds.parse().expect("a number of seconds");
    Form { config: "ring/train.toml", seconds, steps_min: 300, every_steps: 500, time_growth_max: 1.1 }
}

/// The run between two looks at it.
#[derive(Debug, Clone, Copy)]
struct Sample {
    steps: usize,
    resident_bytes: u64,
    /// Processor time of all of them, evaluations and checkpoints among them.
    processor_seconds: f64,
    /// Median of the steps' own clock.
    wall_seconds: f64,
}

/// Looks at a run from outside.
struct Watch<'a> {
    scratch: &'a Scratch,
    id: u32,
    /// Bytes of `metrics.jsonl` that were read.
    read_bytes: usize,
    processor_seconds: f64,
}

impl Watch<'_> {
    /// What went on since the last look; nothing where no step ended.
    fn sample(&mut self) -> Option<Sample> {
        let text = fs::read_to_string(self.scratch.path("run/metrics.jsonl")).unwrap_or_default();
        let end = text.rfind('\n').map_or(0, |end| end + 1);
        let rows: Vec<Value> =
            text[self.read_bytes..end].lines().map(|line| serde_json::from_str(line).expect("metrics")).collect();
        if rows.is_empty() {
            return None;
        }
        let seconds = rows.iter().map(|row| row["seconds"]["total"].as_f64().expect("a time")).collect();
        let before = std::mem::replace(&mut self.processor_seconds, processor_seconds(self.id));
        self.read_bytes = end;
        Some(Sample {
            steps: rows.len(),
            resident_bytes: status_bytes(self.id, "VmRSS:"),
            processor_seconds: self.processor_seconds - before,
            wall_seconds: median(seconds),
        })
    }
}

/// A size in `/proc/ID/status`; 0 where the process is gone.
pub(crate) fn status_bytes(id: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let size = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix("kB")?.trim().parse().ok());
    size.map_or(0, |kibibytes: u64| kibibytes * 1024)
}

/// Processor time of a process so far, its own and the system's for it.
fn processor_seconds(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process is there");
    // After the name in brackets come the state and the rest of proc_pid_stat(5); 14 and 15 are the two times.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks = [fields[11], fields[12]].map(|ticks| ticks.parse::<f64>().expect("ticks"));
    ticks.iter().sum::<f64>() / TICKS_PER_SECOND
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Largest memory, mean processor time and median wall time of a step.
fn summary(samples: &[Sample]) -> (u64, f64, f64) {
    let steps: usize = samples.iter().map(|sample| sample.steps).sum();
    (
        samples.iter().map(|sample| sample.resident_bytes).max().expect("samples"),
        samples.iter().map(|sample| sample.processor_seconds).sum::<f64>() / steps as f64,
        median(samples.iter().map(|sample| sample.wall_seconds).collect()),
    )
}

fn start(scratch: &Scratch, form: &Form) -> Child {
    let every = form.every_steps;
    let set = [
        "threads=1".to_owned(),
        "train.steps=1000000000".to_owned(),
        "train.optimizer.learning_rate=1e-12".to_owned(),
        format!("evaluation.every_steps={every}"),
        format!("checkpoint={{every_steps={every},keep_last=2}}"),
    ];
    let mut arguments = vec!["--quiet", "train", form.config, "--out", "run"];
    arguments.extend(set.iter().flat_map(|change| ["--set", change]));
    let mut command = scratch.command(&arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts")
}

fn row(name: &str, (memory, processor, wall): (u64, f64, f64)) {
    let mebibytes = memory as f64 / f64::from(1 << 20);
    println!("{name:>10} {mebibytes:>10.2} MiB {:>9.2} ms {:>9.2} ms", processor * 1e3, wall * 1e3);
}

#[test]
fn neither_memory_nor_the_time_of_a_step_grows_while_a_run_goes_on() {
    let scratch = Scratch::new();
    let form = form(&scratch);
    let mut child = start(&scratch, &form);
    let mut watch = Watch { scratch: &scratch, id: child.id(), read_bytes: 0, processor_seconds: 0.0 };
    #[expect(clippy::disallowed_methods, reason = "the run goes on for a time")]
    let began = Instant::now();
    let (mut samples, mut steps) = (Vec::new(), 0);
    println!("{:>10} {:>14} {:>12} {:>12}", "after", "resident", "processor", "wall");
    while began.elapsed().as_secs_f64() < form.seconds || steps < form.steps_min {
        thread::sleep(Duration::from_secs_f64((form.seconds / 120.0).clamp(0.2, 60.0)));
        assert_eq!(child.try_wait().expect("its state"), None, "the run ended");
        if let Some(sample) = watch.sample() {
            row(&format!("{:.0} s", began.elapsed().as_secs_f64()), summary(&[sample]));
            steps += sample.steps;
            samples.push(sample);
        }
    }
    let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill starts");
    assert!(asked.success());
    let ran = Ran::from(child.wait_with_output().expect("the program ends"));
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.stdout, "brevity train --resume run\n");

    let warm = &samples[(samples.len() as f64 * WARM_UP_SHARE) as usize..];
    assert!(warm.len() >= 9, "{} samples say nothing", warm.len());
    let thirds: Vec<_> = warm.chunks(warm.len().div_ceil(3)).map(summary).collect();
    println!("{steps} steps");
    for (name, third) in ["first", "second", "last"].iter().zip(&thirds) {
        row(name, *third);
    }
    let ((memory, processor, _), (last_memory, last_processor, _)) = (thirds[0], thirds[2]);
    let growth = last_memory as f64 / memory as f64;
    assert!(growth <= MEMORY_GROWTH_MAX, "memory grew from {memory} to {last_memory} bytes");
    let growth = last_processor / processor;
    assert!(growth <= form.time_growth_max, "a step took {last_processor} s after {processor} s");
}
