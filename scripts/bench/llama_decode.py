"""Decoding several sequences at once in llama.cpp, through the C interface that llama-cpp-python binds.

Every sequence has its own id and its own part of the KV cache. The next token is the most probable
one, which is cheaper than sampling.
"""

import importlib.metadata

import llama_cpp
import numpy as np

from gguf_model import SEED, cached_model
from measure import seconds_per_repeat

# ggml's numbers for the types of the KV cache. For f32 weights f16 is what llama.cpp takes by itself: bf16 is
# faster but less exact, and f32 needs flash attention off to be as fast.
KV_TYPES = {"f32": ("f16", 1), "bf16": ("bf16", 30)}


def run(work, threads, repeats, cache_folder):
    """Times `work`, a Decode. Returns (peer, seconds, note)."""
    path = cached_model(work.model, work.precision, cache_folder)
    decoder = Decoder(path, work, threads)
    random = np.random.default_rng(SEED)
    prompts = random.integers(0, work.model.vocab_size, (work.sequences, work.prompt_tokens))
    seconds = seconds_per_repeat(lambda: decoder.decode(prompts, work.new_tokens), repeats)
    decoder.close()
    peer = f"llama.cpp (llama-cpp-python {importlib.metadata.version('llama-cpp-python')})"
    return peer, seconds, note(work)


class Decoder:
    """A model and a context of llama.cpp for the sequences of one Decode."""

    def __init__(self, path, work, threads):
        llama_cpp.llama_backend_init()
        model_settings = llama_cpp.llama_model_default_params()
        model_settings.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_settings)
        assert self.model, f"llama.cpp cannot load {path}"
        settings = context_settings(work, threads)
        self.context = llama_cpp.llama_init_from_model(self.model, settings)
        assert self.context, "llama.cpp cannot make a context"
        self.batch = llama_cpp.llama_batch_init(settings.n_batch, 0, 1)
        self.sequences = work.sequences
        self.vocab_size = work.model.vocab_size

    def decode(self, prompts, new_tokens):
        """Continues `prompts` by `new_tokens` each. Shapes: prompts [B, T], result [B, new_tokens]."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        completions = [self.next_tokens(prompts, position=0)]
        for position in range(prompts.shape[1], prompts.shape[1] + new_tokens - 1):
            completions.append(self.next_tokens(completions[-1][:, None], position))
        return np.stack(completions, axis=1)

    def next_tokens(self, tokens, position):
        """The most probable token after `tokens`, which start at `position`. Shapes: [B, T] to [B]."""
        self.fill_batch(tokens, position)
        status = llama_cpp.llama_decode(self.context, self.batch)
        assert status == 0, f"llama_decode returned {status}"
        logits = llama_cpp.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, (self.sequences, self.vocab_size)).argmax(axis=1)

    def fill_batch(self, tokens, position):
        """Puts `tokens` in the batch, one sequence after another; only the last of each gives logits."""
        batch, positions = self.batch, tokens.shape[1]
        batch.n_tokens = tokens.size
        for i, token in enumerate(tokens.ravel().tolist()):
            sequence, offset = divmod(i, positions)
            batch.token[i] = token
            batch.pos[i] = position + offset
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = offset == positions - 1

    def close(self):
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)
        llama_cpp.llama_backend_free()


def context_settings(work, threads):
    """A KV cache with a part of its own for each sequence, and the settings that are fastest here."""
    settings = llama_cpp.llama_context_default_params()
    sequence_tokens = work.prompt_tokens + work.new_tokens
    settings.n_ctx = work.sequences * sequence_tokens
    settings.n_batch = work.sequences * work.prompt_tokens
    settings.n_seq_max = work.sequences
    settings.n_threads = threads
    settings.n_threads_batch = threads
    settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED
    _, settings.type_k = KV_TYPES[work.precision]
    settings.type_v = settings.type_k
    settings.kv_unified = False
    settings.no_perf = True
    return settings


def note(work):
    """Names the instruction sets that llama.cpp was built with and that matter here."""
    system = llama_cpp.llama_print_system_info().decode()
    built_with = [name for name in ("AVX512", "AVX512_BF16", "LLAMAFILE") if f"{name} = 1" in system]
    kv_type, _ = KV_TYPES[work.precision]
    return (
        f"argmax, flash attention, weights in {work.precision}, KV cache in {kv_type}, "
        f"built with {' '.join(built_with)}"
    )
