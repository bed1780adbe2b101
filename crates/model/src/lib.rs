//! A decoder-only transformer: configuration, parameters, forward, backward, cache, tokenizer and checkpoints.
//!
//! Sampling ([`Model::advance`]) and training ([`Model::forward`]) run the same layers over the same kernels, so the
//! logprobs of the same tokens under the same weights are bit-identical.

mod adapter_files;
mod cache;
pub mod card;
mod chat;
mod config;
mod directory;
mod error;
mod files;
mod gguf;
mod lora;
mod memory;
mod merge;
mod network;
mod parameters;
mod placed;
mod replace;
mod safetensors;
mod tokenizer;
mod training;

pub use adapter_files::ModelPlace;
pub use cache::{Cache, Chunk, SamplerWorkspace};
pub use chat::{ChatTemplate, Message, Role};
pub use config::{Family, ModelConfig, RopeScaling};
pub use directory::{ModelDirectory, companion_bytes, read_weights, write_directory};
pub use error::ModelError;
pub use gguf::{ImportSummary, import};
pub use kernels::{
    Buffer, Compute, adamw, cuda, instruction_set,
    logprob::TokenLogprob,
    sample::{self, Drawn, Sampling},
    threads,
};
pub use lora::{ALPHA_MAX, Adapter, AdapterScaling, AdapterSettings, Projection, RANK_MAX, adapter_shapes};
pub use memory::{BatchRows, product_bytes};
pub use merge::{MergeSummary, merge};
pub use network::Model;
pub use parameters::{Parameter, ParameterShape, Tensors, parameter_shapes};
pub use safetensors::{StoredType, TensorFiles, TensorView, shard_names, write_tensors};
pub use tokenizer::{TextStream, Tokenizer};
pub use training::{Batch, Target, TrainerWorkspace};
