//! A decoder-only transformer: configuration, parameters, forward, backward, cache, tokenizer and checkpoints.

mod error;

pub use error::ModelError;
