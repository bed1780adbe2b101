//! The program `brevity`: what was typed in, one command run, an exit code out. What a command does is in its module.

mod console;
mod convert;
mod demo;
mod devices;
mod docs;
mod engine;
mod eval;
mod hub;
mod import_gguf;
mod machine;
mod merge;
mod options;
mod output;
mod plan;
mod progress;
mod report;
mod retry;
mod sample;
mod sft;
mod sweep;
mod table;
mod task;
mod train;
mod verify;
mod warning;

use std::{ffi::OsString, process::ExitCode};

use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::console::{Console, Verbosity, is_broken_pipe};

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what was asked.
    Done,
    /// It stopped on request and can go on.
    Interrupted,
    /// It stopped because of the risk of a collapse and can go on.
    Warned,
}

/// Exit code of a run that was interrupted: 128 + SIGINT, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// Exit code of a run that `train.warning` stopped.
const WARNED: u8 = 3;

/// Heading of the options that every command has.
const GENERAL: &str = "General options";

const EXAMPLES: &str = "\
Examples:
  brevity eval --model Qwen/Qwen3-0.6B --benchmark gsm8k --data data
  brevity train configs/gsm8k-smollm2.toml --seed 1
  brevity train --resume runs/top-lambda-0.2-seed1
  brevity report runs -o report.html

Exit codes:
  0    done
  1    failed; the reason is on standard error
  2    the command line is wrong
  3    stopped by `train.warning`, with a checkpoint; `train` prints the command that goes on, `sweep` goes on
       when it is called again
  101  a fault of the program itself; what it says is worth a report
  130  interrupted; `train` and `sweep` leave checkpoints and say how to go on";

/// Trains reasoning language models to answer correctly in fewer tokens, and measures them.
///
/// Results go to standard output, progress and messages to standard error.
#[derive(Debug, Parser)]
#[command(name = "brevity", version = version(), max_term_width = 100, after_help = EXAMPLES)]
struct CommandLine {
    /// Show no progress and no notes; results, warnings and errors stay.
    #[arg(long, short, global = true, help_heading = GENERAL)]
    quiet: bool,
    /// When to use color: `auto` does in a terminal, unless the variable NO_COLOR is set.
    #[arg(long, global = true, help_heading = GENERAL, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Task(task::Arguments),
    Train(train::Arguments),
    Sweep(sweep::Arguments),
    Sft(sft::Arguments),
    Eval(Box<eval::Arguments>),
    Verify(verify::Arguments),
    Sample(sample::Arguments),
    Report(report::Arguments),
    Warning(warning::Arguments),
    Convert(convert::Arguments),
    ImportGguf(import_gguf::Arguments),
    Merge(merge::Arguments),
    Devices(devices::Arguments),
    #[command(hide = true)]
    Docs(docs::Arguments),
}

/// Version of the program with the instruction set that its kernels run on here.
fn version() -> String {
    format!("{} (kernels on this CPU: {})", env!("CARGO_PKG_VERSION"), model::instruction_set().name())
}

fn main() -> ExitCode {
    let color = color_of(std::env::args_os());
    let matches = CommandLine::command().color(color).get_matches();
    let line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let console = Console::new(if line.quiet { Verbosity::Quiet } else { Verbosity::Normal }, line.color);
    let outcome = match &line.command {
        Command::Demo(arguments) => demo::run(arguments, &console),
        Command::Task(arguments) => task::run(arguments, &console),
        Command::Sft(arguments) => sft::run(arguments, &console),
        Command::Train(arguments) => train::run(arguments, &console),
        Command::Sweep(arguments) => sweep::run(arguments, &console),
        Command::Eval(arguments) => eval::run(arguments, &console),
        Command::Verify(arguments) => verify::run(arguments, &console),
        Command::Sample(arguments) => sample::run(arguments, &console),
        Command::Report(arguments) => report::run(arguments, &console),
        Command::Warning(arguments) => warning::run(arguments, &console),
        Command::Convert(arguments) => convert::run(arguments, &console),
        Command::ImportGguf(arguments) => import_gguf::run(arguments, &console),
        Command::Merge(arguments) => merge::run(arguments, &console),
        Command::Devices(arguments) => devices::run(arguments, &console),
        Command::Docs(arguments) => docs::run(arguments, &CommandLine::command(), &console),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Ok(Outcome::Warned) => ExitCode::from(WARNED),
        // Whoever reads us has read enough: `brevity sample … | head -1`.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            console.failure(&error);
            ExitCode::FAILURE
        }
    }
}

/// What `--color` says, found before the command line is parsed, because the parser's own messages obey it too.
fn color_of(words: impl Iterator<Item = OsString>) -> ColorChoice {
    // A word that is no text is none of those looked for, whatever replaces its bytes.
    let words = words.map(|word| word.to_string_lossy().into_owned());
    let words: Vec<String> = words.take_while(|word| word != "--").collect();
    let following = words.windows(2).rev().find(|pair| pair[0] == "--color").map(|pair| pair[1].as_str());
    let joined = words.iter().rev().find_map(|word| word.strip_prefix("--color="));
    match joined.or(following) {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn color_is_known_before_the_rest_is_parsed() {
        let choice = |line: &str| color_of(line.split(' ').map(OsString::from));
        assert_eq!(choice("brevity train --color never"), ColorChoice::Never);
        assert_eq!(choice("brevity --color=always train"), ColorChoice::Always);
        assert_eq!(choice("brevity sample -- --color never"), ColorChoice::Auto);
        assert_eq!(choice("brevity train"), ColorChoice::Auto);
    }
}
