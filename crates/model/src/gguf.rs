//! Import of GGUF files, llama.cpp's model format, into a model directory as `transformers` lays it out.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>, versions 2 and 3, little-endian. Nothing here
//! runs a model, and nothing writes GGUF.

mod architecture;
mod blocks;
mod file;
mod header;
mod import;
mod vocabulary;

pub use import::{ImportSummary, import};

#[cfg(test)]
#[path = "gguf_tests.rs"]
mod tests;
