//! `brevity task`: a family of problems that the program makes itself, with the models that training starts from. What a
//! family is, is `rl`'s.

use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context, Result};
use clap::Subcommand;
use record::{RunLock, shell_word, write};
use rl::{
    sft::SftMetrics,
    task::{FAMILIES, Family, TaskFiles},
};

use crate::{
    Outcome,
    console::Console,
    machine,
    progress::{Progress, WorkBar},
    table::{aligned, counted, labelled, percent},
};

const EXAMPLES: &str = "\
Examples:
  brevity task list
  brevity task sum --out tasks/sum --seeds 1..10
  brevity train tasks/sum/train.toml --seed 1 --set train.shaping='{ length-penalty = {} }' --out runs/length-penalty-seed1

What is written into DIR:
  held-out.jsonl              600 problems that no training sees
  problems-seedN.jsonl        16 problems for each of 200 training steps
  demonstrations-seedN.jsonl  8,000 prompts with completions, what the start is fine-tuned on
  start-seedN/model           a small model, from random parameters and those demonstrations
  train.toml                  a config of `brevity train`, `{seed}` in its paths in place of the seed

Loss and entropy are printed: a start is good when its loss has come down to the demonstrations' entropy.
The same seed writes the same bytes. What is there stays, so that further seeds can be added later.
Ctrl-C ends the starts that are under way, which leave nothing; the same command goes on.
docs/tasks.md says what each family is built to show.";

/// Training steps that there are problems for.
const PROBLEM_STEPS: u64 = 200;
/// Training steps of the config.
const TRAIN_STEPS: u64 = 100;
/// Last steps of a start over which its loss is averaged.
const LOSS_STEPS: usize = 50;

/// Write a task's problems and demonstrations, and the models that training on it starts from.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    make: Option<MakeArguments>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the tasks, with their levels, how often the shortcut of each fails, and what each is built to show.
    List,
}

#[derive(Debug, clap::Args)]
struct MakeArguments {
    /// The task, one of those that `brevity task list` prints.
    #[arg(value_name = "NAME", value_parser = family)]
    family: &'static Family,
    /// Directory for everything; `tasks/NAME` unless given.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Seeds to make problems and a start for: a range with both ends, `1..10`, or a list, `1,2,5`.
    #[arg(long, value_name = "SEEDS", value_parser = seeds, default_value = "1..3")]
    seeds: Seeds,
    /// Starts made at a time, one core each; all cores unless given.
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// Seeds in the order given, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seeds(Vec<u64>);

/// Seeds that one command may make.
const SEEDS_MAX: u64 = 1000;

fn family(name: &str) -> Result<&'static Family, String> {
    let names = FAMILIES.map(|family| family.name).join(", ");
    Family::named(name).ok_or_else(|| format!("there is no such task; choose one of {names}"))
}

fn seeds(text: &str) -> Result<Seeds, String> {
    let refused = || format!("give a range such as `1..10` or a list such as `1,2,5`, of at most {SEEDS_MAX} seeds");
    let seed = |text: &str| text.trim().parse::<u64>().map_err(|_| refused());
    let mut all = match text.split_once("..") {
        Some((first, last)) => {
            let (first, last) = (seed(first)?, seed(last)?);
            if last.checked_sub(first).is_none_or(|further| further >= SEEDS_MAX) {
                return Err(refused());
            }
            (first..=last).collect()
        }
        None => text.split(',').map(seed).collect::<Result<Vec<u64>, String>>()?,
    };
    all.sort_unstable();
    all.dedup();
    Ok(Seeds(all))
}

/// Runs `brevity task`.
pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Outcome> {
    match (&arguments.command, &arguments.make) {
        (None, Some(arguments)) => make(arguments, console),
        (Some(Command::List), _) | (None, None) => list(console),
    }
}

fn list(console: &Console) -> Result<Outcome> {
    for family in FAMILIES {
        let levels = family.levels.map(|level| level.to_string()).join(", ");
        let wrong = family.quick_wrong_shares.map(percent).join(", ");
        console.result(format!("{}: {}", family.name, family.asks))?;
        for line in labelled(&[
            ("  levels", format!("{levels} {}", family.level_unit)),
            ("  the shortcut is wrong on", wrong),
            ("  built to show", family.shows.to_owned()),
        ]) {
            console.result(line)?;
        }
    }
    Ok(Outcome::Done)
}

fn make(arguments: &MakeArguments, console: &Console) -> Result<Outcome> {
    let (family, seeds) = (arguments.family, &arguments.seeds.0);
    let root = arguments.out.clone().unwrap_or_else(|| Path::new("tasks").join(family.name));
    let jobs = arguments.jobs.map_or_else(machine::cores, NonZeroUsize::get).min(seeds.len());
    for line in labelled(&[
        ("task", family.asks.to_owned()),
        ("starts", format!("{}, {jobs} at a time", counted(seeds.len(), "seed"))),
        ("directory", root.display().to_string()),
    ]) {
        console.note(line);
    }
    let progress = Progress::new(console);
    let told = progress.clone();
    machine::watch_for_stop(move || told.line("stopping; press Ctrl-C again to end at once"))?;
    write::create_directory(&root)?;
    let _lock = RunLock::take(&root)?;
    let files = TaskFiles::new(family, root.clone(), root.join("start-seed"));
    files.write(seeds, PROBLEM_STEPS)?;
    let config = root.join("train.toml");
    files.write_train_config(&config, TRAIN_STEPS)?;
    let bar = progress.work(0, seeds.len() as u64 * family.start_steps);
    let starts = Workshop { family, files: &files, bar: &bar, seeds, next: AtomicUsize::new(0) }.make(jobs);
    drop(bar);
    let starts = starts?;
    if machine::stop_requested() {
        console.note(format!("stopped; the same command goes on with what is in {}", root.display()));
        return Ok(Outcome::Interrupted);
    }
    let entropy = family.demonstration_entropy_nats(&family.demonstrations(1000, 0));
    let mut rows = vec![["start", "loss, nats", "entropy of the demonstrations, nats"].map(str::to_owned).to_vec()];
    rows.extend(
        starts
            .into_iter()
            .map(|(seed, loss)| vec![format!("seed {seed}"), format!("{loss:.4}"), format!("{entropy:.4}")]),
    );
    aligned(&rows).into_iter().try_for_each(|line| console.result(line))?;
    console.result("")?;
    console.result(config.display())?;
    console.note(format!("to train: brevity train {} --seed {}", shell_word(&config), seeds[0]));
    Ok(Outcome::Done)
}

/// What makes starts.
struct Workshop<'a> {
    family: &'static Family,
    files: &'a TaskFiles,
    bar: &'a WorkBar,
    seeds: &'a [u64],
    /// Place of the next seed that nobody has begun.
    next: AtomicUsize,
}

impl Workshop<'_> {
    /// Makes the start of every seed, `jobs` at a time, and returns seeds with losses. Ends early when one fails or
    /// someone asks to stop.
    fn make(&self, jobs: usize) -> Result<Vec<(u64, f64)>> {
        let mut starts = Vec::new();
        thread::scope(|scope| {
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(|| self.work())).collect();
            for worker in workers {
                starts.extend(worker.join().expect("a worker that panics ends the program")?);
            }
            Ok::<_, anyhow::Error>(())
        })?;
        starts.sort_by_key(|(seed, _)| *seed);
        Ok(starts)
    }

    /// Makes one start after another until none is left.
    fn work(&self) -> Result<Vec<(u64, f64)>> {
        let mut starts = Vec::new();
        while let Some(&seed) = self.seeds.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let log = machine::thread_pool(1).and_then(|pool| pool.install(|| self.start(seed)));
            let log = log.with_context(|| format!("start of seed {seed}")).inspect_err(|_| {
                self.next.store(self.seeds.len(), Ordering::Relaxed);
            })?;
            if machine::stop_requested() {
                break;
            }
            let last = &log[log.len().saturating_sub(LOSS_STEPS)..];
            starts.push((seed, last.iter().map(|step| step.loss_nats).sum::<f64>() / last.len() as f64));
        }
        Ok(starts)
    }

    fn start(&self, seed: u64) -> Result<Vec<SftMetrics>> {
        let mut done = 0;
        let log = self.files.start(seed, |metrics| {
            done += 1;
            self.bar.advance(1, format!("start of seed {seed}, step {done}: loss {:.3}", metrics.loss_nats));
            !machine::stop_requested()
        })?;
        if done == 0 {
            self.bar.advance(self.family.start_steps, format!("start of seed {seed}: there already"));
        }
        Ok(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_with_both_ends_or_a_list() {
        for (text, expected) in [("1..3", vec![1, 2, 3]), ("4", vec![4]), ("5,1,5", vec![1, 5]), ("0..0", vec![0])] {
            assert_eq!(seeds(text), Ok(Seeds(expected)));
        }
        for text in ["", "3..1", "1..", "a", "1,,2", "0..1000", "-1"] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }
}
