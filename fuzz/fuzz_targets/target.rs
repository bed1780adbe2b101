//! Every fuzz target: the variable `BREVITY_FUZZ` says which. What must hold is in the files named below.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/verify/tests/support/entry.rs"]
mod entry;
#[path = "../../crates/cli/tests/fuzzed/readers/mod.rs"]
mod readers;

static NAME: LazyLock<String> = LazyLock::new(|| std::env::var("BREVITY_FUZZ").expect("BREVITY_FUZZ names a target"));

fuzz_target!(|bytes: &[u8]| match readers::TARGETS.iter().find(|target| target.name == *NAME) {
    Some(reader) => {
        reader.run(bytes);
    }
    None => entry::Target::named(&NAME).run(bytes),
});
