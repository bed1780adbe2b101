//! Answers of a server with OpenAI's API.

#[path = "../../../src/engine/wire.rs"]
#[expect(dead_code, reason = "of the program's own file what is read is tried, not what is sent")]
mod wire;

use self::wire::{Answer, Api};
use super::{Reading, first_line};

/// An answer has as many completions as were asked for. The first line is `chat` or `completions`, and how many.
pub(super) fn answer(bytes: &[u8]) -> Reading {
    let (asked, body) = first_line(bytes);
    let (api, wanted) = asked.split_once(' ').unwrap_or((asked, "1"));
    let api = if api == "completions" { Api::Completions } else { Api::Chat };
    let wanted = wanted.parse().unwrap_or(1_usize).min(64);
    match Answer::read(body, api, wanted) {
        Ok(answer) => {
            assert_eq!(answer.choices.len(), wanted);
            Reading::Read
        }
        Err(message) => {
            assert!(!message.is_empty() && message.chars().count() <= 1_000, "{message}");
            Reading::Refused
        }
    }
}
