"""Models of the given shapes in transformers, with random weights, and PyTorch's settings."""

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

SEED = 0
POSITIONS_MAX = 16_384
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
CLASSES = {"qwen3": (Qwen3Config, Qwen3ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}

# The token ids that the random models take as the end of a text and as padding.
EOS_TOKEN, PAD_TOKEN = 1, 0


def set_up_torch(threads, matmul_precision="medium"):
    """Seed, threads, and which library computes f32 products.

    "medium" sends them to oneDNN, "highest" to MKL. "medium" allows bf16 inside, which oneDNN only uses on
    processors with AMX: elsewhere the products stay as accurate as f32. Where they do not, "highest" is taken.
    """
    torch.manual_seed(SEED)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(matmul_precision)
    if not products_are_f32():
        torch.set_float32_matmul_precision("highest")
    transformers.utils.logging.set_verbosity_error()


def products_are_f32():
    """Whether products of f32 matrices are as accurate as f32."""
    left, right = torch.randn(256, 256), torch.randn(256, 256)
    exact = left.double() @ right.double()
    error = ((left @ right).double() - exact).abs().max() / exact.abs().max()
    return error.item() < 1e-5


def wait_for(device):
    """Waits until everything that was started on `device` is done."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def peer_name():
    return f"transformers {transformers.__version__} + torch {torch.__version__.split('+')[0]}"


def onednn_bf16_is_native():
    """Whether oneDNN has bf16 products for this processor."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def random_model(shape, dtype, attention="sdpa"):
    """A causal language model of `shape` with random weights of `dtype`; `attention` is "sdpa" or "eager"."""
    config_class, model_class = CLASSES[shape.architecture]
    config = config_class(
        hidden_size=shape.hidden_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.query_heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_size,
        intermediate_size=shape.ffn_size,
        vocab_size=shape.vocab_size,
        max_position_embeddings=POSITIONS_MAX,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=EOS_TOKEN,
        pad_token_id=PAD_TOKEN,
        dtype=dtype,
    )
    return model_class._from_config(config, dtype=dtype, attn_implementation=attention)


def generate(model, prompts, new_tokens, **settings):
    """Continues every prompt by `new_tokens` tokens at temperature 1. Shapes: prompts [B, T]."""
    tokens = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=new_tokens,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        pad_token_id=PAD_TOKEN,
        **settings,
    )
    assert tokens.shape == (len(prompts), prompts.shape[1] + new_tokens), tokens.shape


def random_tokens(shape, sequences, positions):
    """Token ids that are neither padding nor an end. Shapes: [B, T]."""
    return torch.randint(2, shape.vocab_size, (sequences, positions))
