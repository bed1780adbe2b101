//! Progress of steps and completions: bars in a terminal, lines where output is kept, nothing when quiet.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

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

    /// A warning, above the bars.
    pub(crate) fn warning(&self, warning: &str) {
        self.bars.suspend(|| self.console.warning(warning));
    }

    /// A bar for a run of `steps` steps of which `done` are done, above other bars.
    pub(crate) fn steps(&self, done: u64, steps: u64) -> StepBar {
        let template = "{bar:16} {pos}/{len} steps, {left}\n{wide_msg}";
        let gauge = Gauge::new(template, (done, steps));
        self.bars.insert(0, gauge.bar.clone());
        gauge.bar.enable_steady_tick(TICK);
        StepBar { progress: self.clone(), gauge }
    }

    /// A bar for `units` units of work of several jobs at once, of which `done` are done.
    pub(crate) fn work(&self, done: u64, units: u64) -> WorkBar {
        let gauge = Gauge::new("{bar:24} {percent} %, {left}\n{wide_msg}", (done, units));
        self.bars.add(gauge.bar.clone());
        gauge.bar.enable_steady_tick(TICK);
        WorkBar { progress: self.clone(), gauge }
    }

    /// A bar for a file of `bytes` bytes that is downloaded, of which `done` are there; a line where bars are not shown.
    pub(crate) fn download(&self, file: &str, done: u64, bytes: u64) -> DownloadBar {
        if self.form == ProgressForm::Lines {
            let there = if done > 0 { format!(", {} of it are there", HumanBytes(done)) } else { String::new() };
            self.line(&format!("{file}: {}{there}", HumanBytes(bytes)));
        }
        let template = "{bar:16} {prefix} {bytes}/{total_bytes}, {bytes_per_sec}, {left}";
        let gauge = Gauge::new(template, (done, bytes));
        self.bars.add(gauge.bar.clone());
        gauge.bar.reset_eta();
        gauge.bar.set_prefix(printable(file).into_owned());
        gauge.bar.enable_steady_tick(TICK);
        DownloadBar { gauge }
    }

    /// A bar for `completions` completions of which `done` are there, which `label` says the purpose of.
    pub(crate) fn completions(&self, label: &'static str, (done, completions): (usize, usize)) -> CompletionBar {
        let template = "{bar:16} {prefix} {pos}/{len} completions, {left}{msg}";
        let gauge = Gauge::new(template, (done as u64, completions as u64));
        self.bars.add(gauge.bar.clone());
        gauge.bar.set_prefix(label);
        gauge.bar.enable_steady_tick(TICK);
        CompletionBar { progress: self.clone(), gauge, label, tokens: 0 }
    }
}

/// A bar that goes away when it is dropped, with the units that were made since it began: more than it moved where work
/// was made again.
#[derive(Debug)]
struct Gauge {
    bar: ProgressBar,
    made: Arc<AtomicU64>,
}

impl Gauge {
    fn new(template: &str, (done, length): (u64, u64)) -> Self {
        let made = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&made);
        let left = move |state: &ProgressState, out: &mut dyn fmt::Write| {
            let rest = state.len().map(|length| length.saturating_sub(state.pos()));
            let made = counted.load(Ordering::Relaxed);
            // What cannot be written to a terminal is lost.
            let _ = match rest.and_then(|rest| time_left(state.elapsed(), made, rest)) {
                Some(left) => write!(out, "{:#} left", HumanDuration(left)),
                None => write!(out, "time left unknown"),
            };
        };
        let style = ProgressStyle::with_template(template).expect("the template is ours").with_key("left", left);
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::hidden());
        let bar = bar.with_finish(ProgressFinish::AndClear).with_style(style.progress_chars("━╸─"));
        bar.set_position(done);
        Self { bar, made }
    }

    fn advance(&self, units: u64) {
        self.made.fetch_add(units, Ordering::Relaxed);
        self.bar.inc(units);
    }

    /// Moves on to `position`, or back to it.
    fn move_to(&self, position: u64) {
        self.made.fetch_add(position.saturating_sub(self.bar.position()), Ordering::Relaxed);
        self.bar.set_position(position);
    }
}

/// From the mean pace since the bar began: steps are long and few, so a smoothed pace would jump.
fn time_left(elapsed: Duration, made: u64, rest: u64) -> Option<Duration> {
    let seconds = elapsed.as_secs_f64() / made as f64 * rest as f64;
    Duration::try_from_secs_f64(seconds).ok().filter(|_| made > 0)
}

/// Progress of a run's steps.
#[derive(Debug)]
pub(crate) struct StepBar {
    progress: Progress,
    gauge: Gauge,
}

impl StepBar {
    /// The run has done so many steps: more, or fewer after it went back.
    pub(crate) fn stand_at(&self, steps: u64) {
        self.gauge.move_to(steps);
    }

    /// A step with these numbers ended, and the run has done `steps`.
    pub(crate) fn step_ended(&self, steps: u64, numbers: String) {
        self.stand_at(steps);
        if self.progress.form == ProgressForm::Lines {
            let all = self.gauge.bar.length().unwrap_or(0);
            self.progress.line(&format!("{steps}/{all} steps: {numbers}"));
        }
        self.gauge.bar.set_message(numbers);
    }
}

/// Progress of work that several threads do.
#[derive(Debug)]
pub(crate) struct WorkBar {
    progress: Progress,
    gauge: Gauge,
}

impl WorkBar {
    /// So many more units are done; `message` says by whom. Where bars are not shown, there is a line for each twentieth.
    pub(crate) fn advance(&self, units: u64, message: String) {
        let before = self.gauge.bar.position();
        self.gauge.advance(units);
        let (after, all) = (before + units, self.gauge.bar.length().unwrap_or(0).max(1));
        if self.progress.form == ProgressForm::Lines && after * 20 / all > before * 20 / all {
            self.progress.line(&format!("{} %: {message}", after * 100 / all));
        }
        self.gauge.bar.set_message(message);
    }

    /// So many units that were done are to be done again.
    pub(crate) fn go_back(&self, units: u64) {
        self.gauge.bar.dec(units);
    }

    /// So many units will not be done.
    pub(crate) fn leave_out(&self, units: u64) {
        self.gauge.bar.dec_length(units);
    }
}

/// Progress of a download.
#[derive(Debug)]
pub(crate) struct DownloadBar {
    gauge: Gauge,
}

impl DownloadBar {
    /// So many more bytes are there.
    pub(crate) fn advance(&self, bytes: u64) {
        self.gauge.advance(bytes);
    }
}

/// Progress of the completions of a step or an evaluation.
#[derive(Debug)]
pub(crate) struct CompletionBar {
    progress: Progress,
    gauge: Gauge,
    label: &'static str,
    tokens: usize,
}

impl CompletionBar {
    /// One more completion ended, with so many tokens.
    pub(crate) fn completion_ended(&mut self, tokens: usize) {
        self.tokens += tokens;
        self.gauge.bar.set_message(format!(", {:.0} tokens/s", self.tokens_per_second()));
        self.gauge.advance(1);
    }

    /// As [`Self::completion_ended`], with a line for each tenth where bars are not shown.
    pub(crate) fn completion_ended_of_many(&mut self, tokens: usize) {
        self.completion_ended(tokens);
        let (ended, all) = (self.gauge.bar.position(), self.gauge.bar.length().unwrap_or(0));
        let tenths = |ended: u64| ended * 10 / all.max(1);
        if self.progress.form == ProgressForm::Lines && tenths(ended) > tenths(ended - 1) {
            let (label, pace) = (self.label, self.tokens_per_second());
            self.progress.line(&format!("{label} {ended}/{all} completions, {pace:.0} tokens/s"));
        }
    }

    fn tokens_per_second(&self) -> f64 {
        self.tokens as f64 / self.gauge.bar.elapsed().as_secs_f64().max(1e-3)
    }
}

#[cfg(test)]
mod tests {
    use clap::ColorChoice;

    use super::*;
    use crate::console::Verbosity;

    fn progress() -> Progress {
        Progress::new(&Console::new(Verbosity::Quiet, ColorChoice::Never))
    }

    fn shown(gauge: &Gauge) -> [u64; 3] {
        [gauge.bar.position(), gauge.bar.length().unwrap(), gauge.made.load(Ordering::Relaxed)]
    }

    #[test]
    fn a_run_that_goes_back_or_skips_a_step_stands_where_it_is_and_never_beyond_its_end() {
        let bar = progress().steps(4, 10);
        for steps in 5..=8 {
            bar.step_ended(steps, String::new());
        }
        bar.stand_at(4);
        assert_eq!(shown(&bar.gauge), [4, 10, 4]);
        // One that ends is told of twice: when it ends, and by the beginning of the next.
        for steps in 5..=9 {
            bar.step_ended(steps, String::new());
            bar.stand_at(steps);
        }
        bar.stand_at(10);
        assert_eq!(shown(&bar.gauge), [10, 10, 10]);
    }

    #[test]
    fn work_that_is_done_again_or_left_out_counts_once_or_not_at_all() {
        let bar = progress().work(0, 20);
        bar.advance(8, String::new());
        bar.go_back(4);
        bar.advance(6, String::new());
        bar.leave_out(10);
        assert_eq!(shown(&bar.gauge), [10, 10, 14]);
    }

    #[test]
    fn the_time_left_follows_from_what_was_made_even_where_it_was_made_again() {
        let elapsed = Duration::from_secs(12);
        assert_eq!(time_left(elapsed, 4, 6), Some(Duration::from_secs(18)));
        assert_eq!(time_left(elapsed, 4, 0), Some(Duration::ZERO));
        assert_eq!([time_left(elapsed, 0, 6), time_left(elapsed, 0, 0)], [None, None]);
    }
}
