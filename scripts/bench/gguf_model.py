"""Writes GGUF files of the given shapes with random weights and no vocabulary, for llama.cpp."""

import os

import gguf
import numpy as np

SEED = 0
WEIGHT_SCALE = 0.02
CONTEXT_TOKENS = 4096
TYPES = {
    "f32": (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
}


def cached_model(shape, precision, folder):
    """The path of the GGUF file of `shape` with weights in `precision`, written when it is not there."""
    path = folder / f"{shape.name}-{precision}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.part")
        write_model(shape, precision, unfinished)
        unfinished.rename(path)
    return path


def write_model(shape, precision, path):
    tensor_type, file_type = TYPES[precision]
    writer = gguf.GGUFWriter(path, shape.architecture)
    add_metadata(writer, shape, file_type)
    random = np.random.default_rng(SEED)
    for name, dimensions in matrices(shape):
        weights = random.standard_normal(dimensions, dtype=np.float32) * np.float32(WEIGHT_SCALE)
        writer.add_tensor(name, gguf.quants.quantize(weights, tensor_type), raw_dtype=tensor_type)
    for name, size in norms(shape):
        writer.add_tensor(name, np.ones(size, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_metadata(writer, shape, file_type):
    writer.add_file_type(file_type)
    writer.add_context_length(CONTEXT_TOKENS)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn_size)
    writer.add_head_count(shape.query_heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_size)
    writer.add_value_length(shape.head_size)
    writer.add_rope_dimension_count(shape.head_size)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(shape.vocab_size)
    writer.add_tokenizer_model("none")


def matrices(shape):
    """Name and [rows out, columns in] of every matrix; the embedding is the output matrix too."""
    query_size = shape.query_heads * shape.head_size
    kv_size = shape.kv_heads * shape.head_size
    yield "token_embd.weight", (shape.vocab_size, shape.hidden_size)
    for layer in range(shape.layers):
        block = f"blk.{layer}"
        yield f"{block}.attn_q.weight", (query_size, shape.hidden_size)
        yield f"{block}.attn_k.weight", (kv_size, shape.hidden_size)
        yield f"{block}.attn_v.weight", (kv_size, shape.hidden_size)
        yield f"{block}.attn_output.weight", (shape.hidden_size, query_size)
        yield f"{block}.ffn_gate.weight", (shape.ffn_size, shape.hidden_size)
        yield f"{block}.ffn_up.weight", (shape.ffn_size, shape.hidden_size)
        yield f"{block}.ffn_down.weight", (shape.hidden_size, shape.ffn_size)


def norms(shape):
    """Name and length of every vector of norm weights."""
    yield "output_norm.weight", shape.hidden_size
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight", shape.hidden_size
        yield f"blk.{layer}.ffn_norm.weight", shape.hidden_size
        if shape.architecture == "qwen3":
            yield f"blk.{layer}.attn_q_norm.weight", shape.head_size
            yield f"blk.{layer}.attn_k_norm.weight", shape.head_size
