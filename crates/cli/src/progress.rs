//! Progress of steps and completions: bars in a terminal, lines where output is kept, nothing when quiet.

use std::{fmt, time::Duration};

use indicatif::{
    HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressState,
    ProgressStyle,
};

use crate::console::{Console, ProgressForm, printable};

/// How often bars are drawn when nothing happens, so that their times move on.
const TICK: Duration = Duration::from_millis(500);

/// Where progress is shown. Bars of one progress stand below each other.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    form: ProgressForm,
    bars: MultiProgress,
    console: Console,
}

impl Progress {
    /// Progress in the form that suits where standard error goes.
    pub(crate) fn new(console: &Console) -> Self {
        let form = console.progress_form();
        let target = match form {
            ProgressForm::Bars => ProgressDrawTarget::stderr(),
            ProgressForm::Lines | ProgressForm::Silent => ProgressDrawTarget::hidden(),
        };
        Self { form, bars: MultiProgress::with_draw_target(target), console: console.clone() }
    }

    /// A line that stays, above the bars.
    pub(crate) fn line(&self, line: &str) {
        match self.form {
            // The line is lost when the terminal is gone, as a note would be.
            ProgressForm::Bars => drop(self.bars.println(printable(line))),
            ProgressForm::Lines | ProgressForm::Silent => self.console.note(line),
        }
    }

    /// A bar for a run of `steps` steps of which `done` are done, above other bars.
    pub(crate) fn steps(&self, done: u64, steps: u64) -> StepBar {
        let template = "{bar:16} {pos}/{len} steps, {left}\n{wide_msg}";
        let bar = self.bars.insert(0, bar(steps, template, done));
        bar.set_position(done);
        bar.enable_steady_tick(TICK);
        StepBar { progress: self.clone(), bar }
    }

    /// A bar for `units` units of work of several jobs at once, of which `done` are done.
    pub(crate) fn work(&self, done: u64, units: u64) -> WorkBar {
        let bar = self.bars.add(bar(units, "{bar:24} {percent} %, {left}\n{wide_msg}", done));
        bar.set_position(done);
        bar.enable_steady_tick(TICK);
        WorkBar { progress: self.clone(), bar }
    }

    /// A bar for a file of `bytes` bytes that is downloaded, of which `done` are there; a line where bars are not shown.
    pub(crate) fn download(&self, file: &str, done: u64, bytes: u64) -> DownloadBar {
        if self.form == ProgressForm::Lines {
            let there = if done > 0 { format!(", {} of it are there", HumanBytes(done)) } else { String::new() };
            self.line(&format!("{file}: {}{there}", HumanBytes(bytes)));
        }
        let template = "{bar:16} {prefix} {bytes}/{total_bytes}, {bytes_per_sec}, {left}";
        let bar = self.bars.add(bar(bytes, template, done));
        bar.set_position(done);
        bar.reset_eta();
        bar.set_prefix(printable(file).into_owned());
        bar.enable_steady_tick(TICK);
        DownloadBar { bar }
    }

    /// A bar for `completions` completions of which `done` are there, which `label` says the purpose of.
    pub(crate) fn completions(&self, label: &'static str, (done, completions): (usize, usize)) -> CompletionBar {
        let template = "{bar:16} {prefix} {pos}/{len} completions, {left}{msg}";
        let bar = self.bars.add(bar(completions as u64, template, done as u64));
        bar.set_position(done as u64);
        bar.set_prefix(label);
        bar.enable_steady_tick(TICK);
        CompletionBar { progress: self.clone(), bar, label, tokens: 0 }
    }
}

/// A bar that goes away when it is dropped.
fn bar(length: u64, template: &str, first: u64) -> ProgressBar {
    let left = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        // What cannot be written to a terminal is lost.
        let _ = match seconds_left(state, first) {
            Some(seconds) => write!(out, "{:#} left", HumanDuration(Duration::from_secs_f64(seconds))),
            None => write!(out, "time left unknown"),
        };
    };
    let style = ProgressStyle::with_template(template).expect("the template is ours").with_key("left", left);
    let style = style.progress_chars("━╸─");
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
    bar.with_finish(ProgressFinish::AndClear).with_style(style)
}

/// From the mean pace since the bar began: steps are long and few, so a smoothed pace would jump.
fn seconds_left(state: &ProgressState, first: u64) -> Option<f64> {
    let done = state.pos().checked_sub(first).filter(|&done| done > 0)?;
    let rest = state.len()?.saturating_sub(state.pos());
    Some(state.elapsed().as_secs_f64() / done as f64 * rest as f64)
}

/// Progress of a run's steps.
#[derive(Debug)]
pub(crate) struct StepBar {
    progress: Progress,
    bar: ProgressBar,
}

impl StepBar {
    /// One more step is done; `numbers` are its.
    pub(crate) fn step_ended(&self, numbers: String) {
        self.bar.inc(1);
        if self.progress.form == ProgressForm::Lines {
            let steps = self.bar.length().unwrap_or(0);
            self.progress.line(&format!("{}/{steps} steps: {numbers}", self.bar.position()));
        }
        self.bar.set_message(numbers);
    }
}

/// Progress of work that several threads do.
#[derive(Debug)]
pub(crate) struct WorkBar {
    progress: Progress,
    bar: ProgressBar,
}

impl WorkBar {
    /// So many more units are done; `message` says by whom. Where bars are not shown, there is a line for each twentieth.
    pub(crate) fn advance(&self, units: u64, message: String) {
        let before = self.bar.position();
        self.bar.inc(units);
        let (after, all) = (before + units, self.bar.length().unwrap_or(0).max(1));
        if self.progress.form == ProgressForm::Lines && after * 20 / all > before * 20 / all {
            self.progress.line(&format!("{} %: {message}", after * 100 / all));
        }
        self.bar.set_message(message);
    }
}

/// Progress of a download.
#[derive(Debug)]
pub(crate) struct DownloadBar {
    bar: ProgressBar,
}

impl DownloadBar {
    /// So many more bytes are there.
    pub(crate) fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }
}

/// Progress of the completions of a step or an evaluation.
#[derive(Debug)]
pub(crate) struct CompletionBar {
    progress: Progress,
    bar: ProgressBar,
    label: &'static str,
    tokens: usize,
}

impl CompletionBar {
    /// One more completion ended, with so many tokens.
    pub(crate) fn completion_ended(&mut self, tokens: usize) {
        self.tokens += tokens;
        self.bar.set_message(format!(", {:.0} tokens/s", self.tokens_per_second()));
        self.bar.inc(1);
    }

    /// As [`Self::completion_ended`], with a line for each tenth where bars are not shown.
    pub(crate) fn completion_ended_of_many(&mut self, tokens: usize) {
        self.completion_ended(tokens);
        let (ended, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let tenths = |ended: u64| ended * 10 / all.max(1);
        if self.progress.form == ProgressForm::Lines && tenths(ended) > tenths(ended - 1) {
            let (label, pace) = (self.label, self.tokens_per_second());
            self.progress.line(&format!("{label} {ended}/{all} completions, {pace:.0} tokens/s"));
        }
    }

    fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.bar.elapsed().as_secs_f64().max(1e-3)
    }
}
