"""A tiny model that writes nonsense, of which the last number is now and then the answer, and problems for it."""

import json
import shutil
from pathlib import Path

NETWORK = Path(__file__).parents[2] / "crates" / "model" / "tests" / "data" / "qwen3"
WORDS = ["0", "1", "2", "W", "A", "+", ":", "$", "_"]
END, PADDING = WORDS.index("$"), WORDS.index("_")


def write_model(directory):
    """The random Qwen3 of the tests of `crates/model` (67 tokens, of which those beyond the words decode to nothing)."""
    directory.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(NETWORK / name, directory / name)
    special = [
        {"id": number, "content": WORDS[number], "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for number in (END, PADDING)
    ]  # fmt: skip
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: number for number, word in enumerate(WORDS)}, "unk_token": "?"},
    }  # fmt: skip
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "$", "pad_token": "_",
                "model_max_length": 64,
                "chat_template": "{{ messages[0].content }}"}  # fmt: skip
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": END, "pad_token_id": PADDING}))


def write_random_model(directory):
    """A random Qwen3 of these words alone, made by transformers."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    write_model(directory)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=64, tie_word_embeddings=True, eos_token_id=END,
        pad_token_id=PADDING, bos_token_id=None,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(directory)


def problems(count):
    """`a + b :` with its sum, where the sum is a word."""
    pairs = [(a, b) for a in range(3) for b in range(3 - a)]
    return [{"question": f"{a} + {b} :", "answer": str(a + b)} for a, b in (pairs * count)[:count]]
