//! What the checks for cards share of their command lines.

use std::{
    fmt::Display,
    process::{ExitCode, exit},
};

/// Exit code where there is no card: `cargo xtask cuda` knows it.
const SKIPPED: i32 = 77;

/// Says that `what` is not checked, and ends the program.
pub(crate) fn skip(what: &str, (fault, remedy): (&dyn Display, &str)) -> ! {
    println!("SKIPPED, {what} is checked on a card: {fault}; {remedy}");
    exit(SKIPPED)
}

/// Does `work` with the seed that `text` is.
pub(crate) fn with_seed(text: &str, usage: &str, work: impl FnOnce(u64)) -> ExitCode {
    match text.parse() {
        Ok(seed) => {
            work(seed);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&format!("the seed {text} is no number: {error}"), usage),
    }
}

/// Says what is wrong with the command line.
pub(crate) fn fail(fault: &str, usage: &str) -> ExitCode {
    println!("{fault}; usage: {usage}");
    ExitCode::FAILURE
}
