//! The gates of the verifier that need files from outside the repository. Not a test: `cargo xtask verifier` fetches
//! the files, runs this, and says in CONTRIBUTING.md when.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool talks through its output")]

mod golds;
mod pairs;
mod rows;
mod score;
mod speed;

use std::{env, path::Path, process::ExitCode};

const USAGE: &str = "usage:
  gates pairs PAIRS.jsonl REASONS.txt   Math-Verify's own pairs against the listed disagreements
  gates golds DIRECTORY REASONS.txt     every gold against itself, its solution and perturbed copies
  gates speed DIRECTORY                 microseconds per check over the solutions
  gates score IN.jsonl OUT.jsonl        verdicts and times of completions and golds
  gates sample DIRECTORY COUNT          COUNT pairs of a gold with its solution or a perturbed copy, as JSON lines
  gates table                           the cases of the table, as JSON lines";

/// Whether a gate holds.
enum Outcome {
    Holds,
    Fails,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["pairs", pairs, reasons] => pairs::check_pairs(Path::new(pairs), Path::new(reasons)),
        ["golds", directory, reasons] => golds::check_golds(Path::new(directory), Path::new(reasons)),
        ["speed", directory] => speed::measure(Path::new(directory)),
        ["score", completions, scores] => score::score(Path::new(completions), Path::new(scores)),
        ["sample", directory, count] => score::sample(Path::new(directory), count),
        ["table"] => Ok(score::table()),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(Outcome::Holds) => ExitCode::SUCCESS,
        Ok(Outcome::Fails) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
