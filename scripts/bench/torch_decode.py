"""Sampling with transformers' `generate` at temperature 1, every sequence to its full length."""

import torch

from measure import seconds_per_repeat
from torch_models import DTYPES, generate, peer_name, random_model, random_tokens, set_up_torch

CACHE = "dynamic"

# Fastest on model S, per precision, of {eager, sdpa} attention, {dynamic, static} cache and the two libraries
# for f32 products: oneDNN ("medium") and MKL ("highest").
ATTENTION = {"f32": "sdpa", "bf16": "eager"}
MATMUL_PRECISION = {"f32": "highest", "bf16": "medium"}


def run(work, threads, repeats):
    """Times `work`, a Decode. Returns (peer, seconds, note)."""
    set_up_torch(threads, MATMUL_PRECISION[work.precision])
    attention = ATTENTION[work.precision]
    model = random_model(work.model, DTYPES[work.precision], attention).eval()
    model.generation_config.eos_token_id = None
    prompts = random_tokens(work.model, work.sequences, work.prompt_tokens)

    @torch.inference_mode()
    def sample():
        generate(model, prompts, work.new_tokens, cache_implementation=CACHE)

    seconds = seconds_per_repeat(sample, repeats)
    return peer_name(), seconds, f"generate, {CACHE} cache, {attention} attention, weights in {work.precision}"
