//! Beginning an evaluation, or going on with one that was interrupted. What is missing is asked for elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::Path,
};

use anyhow::{Result, bail};
use record::{
    EvaluationDirectory, EvaluationHeader, EvaluationRecord, RecordError, RecordLog, setting_difference, shell_word,
};
use rl::Problem;
use verify::Gold;

use crate::{INTERRUPTED, console::Console, machine, table::counted};

/// What an evaluation that is in the directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// It is replaced.
    Replace,
    /// It goes on, or is complete.
    GoOn,
}

/// An evaluation under way.
pub(super) struct Begun {
    pub(super) directory: EvaluationDirectory,
    /// As it is in the directory, but for what had to be left out when it was begun.
    pub(super) header: EvaluationHeader,
    /// Where they are appended; none before the first one of an evaluation that replaces another.
    log: Option<RecordLog>,
    /// What is there already, in the order in which it came.
    pub(super) records: Vec<EvaluationRecord>,
}

impl Begun {
    /// Appends `record`. The first one of an evaluation that replaces another removes that.
    pub(super) fn keep(&mut self, record: EvaluationRecord) -> Result<(), RecordError> {
        self.opened()?.append(&record)?;
        self.records.push(record);
        Ok(())
    }

    /// Where records are appended, the evaluation that this one replaces removed.
    pub(super) fn opened(&mut self) -> Result<&mut RecordLog, RecordError> {
        let log = if let Some(log) = self.log.take() {
            log
        } else {
            self.directory.begin_anew(&self.header)?;
            self.directory.log()?
        };
        Ok(self.log.insert(log))
    }

    /// Whether the evaluation that this one replaces is there still.
    pub(super) fn has_replaced_nothing(&self) -> bool {
        self.log.is_none()
    }
}

/// How an evaluation begins.
pub(super) enum Beginning {
    /// With completions to make, perhaps.
    Open(Box<Begun>),
    /// With its summary.
    Complete(EvaluationDirectory),
}

/// Begins the evaluation of `header` in the directory `root`, or goes on with the one there.
///
/// # Errors
/// When the one there has other settings, or is written to at this moment.
pub(super) fn begin(root: &Path, header: EvaluationHeader, existing: Existing) -> Result<Beginning> {
    let is_there = root.join("evaluation.json").is_file();
    if existing == Existing::Replace && is_there {
        let directory = EvaluationDirectory::at(root);
        return Ok(Beginning::Open(Box::new(Begun { directory, header, log: None, records: Vec::new() })));
    }
    if !is_there {
        let directory = EvaluationDirectory::create(root, &header)?;
        let log = Some(directory.log()?);
        return Ok(Beginning::Open(Box::new(Begun { directory, header, log, records: Vec::new() })));
    }
    let directory = EvaluationDirectory::open(root)?;
    let there = directory.header()?;
    if let Some(difference) = setting_difference(&there, &header) {
        bail!(
            "the evaluation in {} has `{}` = {}, and this one {}; give the same settings to go on with it, or pass \
             --overwrite instead of --resume to begin anew",
            root.display(),
            difference.setting,
            difference.first,
            difference.second
        );
    }
    if directory.summary_path().is_file() {
        return Ok(Beginning::Complete(directory));
    }
    let log = Some(directory.log()?);
    let records = directory.records()?;
    let header = EvaluationHeader { started_unix_seconds: there.started_unix_seconds, ..header };
    // Which problems are left out may have changed since.
    directory.write_header(&header)?;
    Ok(Beginning::Open(Box::new(Begun { directory, header, log, records })))
}

/// Completions that are there, by problem and number.
#[derive(Debug)]
pub(super) struct Done(BTreeSet<(String, u32)>);

impl Done {
    /// The completions of `begun`.
    ///
    /// # Errors
    /// When one is of no problem that is measured, of one that reads otherwise by now, or there twice.
    pub(super) fn of<'a>(begun: &Begun, problems: impl Iterator<Item = (&'a Problem, &'a Gold)>) -> Result<Self> {
        let problems: BTreeMap<&str, (&Problem, &Gold)> =
            problems.map(|(problem, gold)| (problem.id.as_str(), (problem, gold))).collect();
        let mut done = BTreeSet::new();
        for (position, record) in begun.records.iter().enumerate() {
            let problem = problems.get(record.problem.as_str());
            let same = problem
                .is_some_and(|(problem, gold)| problem.question == record.question && gold.text() == record.gold);
            let new = record.sample < begun.header.samples && done.insert((record.problem.clone(), record.sample));
            let wrong = match (same, new) {
                (true, true) => continue,
                (true, false) => "is there before or not asked for",
                (false, _) => "is not of the benchmark as it reads now",
            };
            bail!(
                "{}, line {}: completion {} of problem {} {wrong}; restore the problem file, or pass --overwrite \
                 instead of --resume to begin anew",
                begun.directory.records_path().display(),
                position + 1,
                record.sample,
                record.problem
            );
        }
        Ok(Self(done))
    }

    /// Whether a completion has to be made.
    pub(super) fn lacks(&self, problem: &Problem, sample: u32) -> bool {
        !self.0.contains(&(problem.id.to_string(), sample))
    }

    /// Says how many are there, where there are any.
    pub(super) fn tell(&self, completions: usize, console: &Console) {
        if !self.0.is_empty() {
            console.note(format!("going on: {} of {} are there", self.0.len(), counted(completions, "completion")));
        }
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}

/// From now on Ctrl-C ends the program at once and says how to go on: every completion that has ended is on disk.
pub(super) fn watch_for_interrupt(console: &Console) -> Result<()> {
    let (console, command) = (console.clone(), command_to_go_on(std::env::args_os()));
    machine::watch_for_stop(move || {
        console.note("stopped; every completion that has ended is kept, go on with");
        // A reader that is gone needs no command.
        drop(console.result(&command));
        std::process::exit(i32::from(INTERRUPTED));
    })
}

/// The command line with `--resume` in place of `--overwrite`.
fn command_to_go_on(words: impl Iterator<Item = OsString>) -> String {
    let words = words.skip(1).filter(|word| word != "--resume" && word != "--overwrite");
    let words = words.map(|word| shell_word(Path::new(&word)));
    let command: Vec<String> = std::iter::once("brevity".to_owned()).chain(words).collect();
    format!("{} --resume", command.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_to_go_on_is_the_one_that_was_given_with_resume() {
        for (line, expected) in [
            ("brevity|eval|--model|a b", "brevity eval --model 'a b' --resume"),
            ("/bin/brevity|eval|--overwrite|--seed|1", "brevity eval --seed 1 --resume"),
            ("brevity|eval|--resume", "brevity eval --resume"),
            ("brevity|eval|--instruction|", "brevity eval --instruction '' --resume"),
        ] {
            assert_eq!(command_to_go_on(line.split('|').map(OsString::from)), expected);
        }
    }
}
