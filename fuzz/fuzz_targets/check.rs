//! Fuzz target: a whole check of a completion against a gold. What must hold is in `entry.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/verify/tests/support/entry.rs"]
mod entry;

fuzz_target!(|bytes: &[u8]| entry::Target::named("check").run(bytes));
