//! Fuzz target: finding an answer in a completion. What must hold is in `entry.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/verify/tests/support/entry.rs"]
mod entry;

fuzz_target!(|bytes: &[u8]| entry::Target::named("extraction").run(bytes));
