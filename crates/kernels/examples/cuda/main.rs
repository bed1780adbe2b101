//! Compiles the kernels for NVIDIA's cards with NVRTC, which must be found: `cargo xtask cuda` runs it. It touches no card.

#![expect(clippy::print_stdout, reason = "a check talks through its output")]

mod compile;

use std::process::ExitCode;

fn main() -> ExitCode {
    compile::compile_all()
}
