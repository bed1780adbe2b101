//! The kernels in CUDA C++: source files, what each holds, and the constants that they and their launches share.
//!
//! They are the operations of this crate but for the large products (projections, and the gradients of weights and inputs),
//! which are a library's on a card: a kernel writes in bf16 what such a product reads.

use super::launch;

/// A source file. Where it is for one head width, it is compiled once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// File name in `cuda/`.
    pub name: &'static str,
    /// What stands in it.
    pub text: &'static str,
    /// The kernels it defines.
    pub kernels: &'static [&'static str],
    /// Whether it needs to know D.
    pub width: Width,
}

/// Whether a source is compiled for one head width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// For any model.
    Any,
    /// For one D, a multiple of 8 and at most 128: the constant `HEAD_WIDTH`.
    Head,
}

macro_rules! source {
    ($name:literal, $width:expr, $kernels:expr) => {
        Source { name: $name, text: include_str!(concat!("../../cuda/", $name)), kernels: $kernels, width: $width }
    };
}

/// Every source file with kernels.
pub const SOURCES: [Source; 11] = [
    source!("embedding.cu", Width::Any, &["embedding_forward", "embedding_backward"]),
    source!(
        "norm.cu",
        Width::Any,
        &["rms_norm_forward", "rms_norm_backward", "rms_norm_backward_onto", "rms_norm_weight_chunks"]
    ),
    source!("rows.cu", Width::Any, &["row_chunks", "add_chunks", "add_bias", "round_values"]),
    source!("rotary.cu", Width::Head, &["head_forward", "head_backward"]),
    source!("gate.cu", Width::Any, &["gate_forward", "gate_backward"]),
    source!("attention.cu", Width::Head, &["attention_forward", "attention_delta", "attention_backward_queries"]),
    source!("attention_keys.cu", Width::Head, &["attention_backward_keys"]),
    source!("decode.cu", Width::Head, &["attention_decode", "cache_append"]),
    source!("head.cu", Width::Any, &["head_sums", "head_logprobs", "head_gradients"]),
    source!("sample.cu", Width::Any, &["sample"]),
    source!("optimizer.cu", Width::Any, &["adamw", "square_blocks", "global_norm"]),
];

/// What sources include, by the name they include it by.
pub const HEADERS: [(&str, &str); 4] = [
    ("instructions.cuh", include_str!("../../cuda/instructions.cuh")),
    ("base.cuh", include_str!("../../cuda/base.cuh")),
    ("tile.cuh", include_str!("../../cuda/tile.cuh")),
    ("softmax.cuh", include_str!("../../cuda/softmax.cuh")),
];

/// The source that defines a kernel.
pub fn source_of(kernel: &str) -> &'static Source {
    let found = SOURCES.iter().find(|source| source.kernels.contains(&kernel));
    found.unwrap_or_else(|| panic!("no source defines the kernel {kernel}"))
}

/// `-DNAME=value` for every constant, and for the head width where the source needs one.
pub fn definitions(source: &Source, head_width: usize) -> Vec<String> {
    let mut definitions: Vec<String> =
        launch::CONSTANTS.iter().map(|(name, value)| format!("-D{name}={value}")).collect();
    if source.width == Width::Head {
        assert!(
            head_width.is_multiple_of(8) && (8..=launch::HEAD_WIDTH_MAX).contains(&head_width),
            "heads of {head_width}, which is no multiple of 8 up to {}",
            launch::HEAD_WIDTH_MAX
        );
        definitions.push(format!("-DHEAD_WIDTH={head_width}"));
    }
    definitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_of_a_source_is_listed_with_it() {
        for source in &SOURCES {
            let pieces = source.text.split("KERNEL(").skip(1);
            let defined: Vec<&str> = pieces
                .map(|piece| piece.split_once(')').expect("a number of threads").1)
                .map(|rest| rest.split('(').next().expect("a name").trim())
                .collect();
            assert_eq!(defined, source.kernels, "{}", source.name);
        }
    }
}
