"""Sampling with transformers' `generate` at temperature 1 after prompts whose keys and values are held already."""

import torch
from transformers import DynamicCache

from measure import seconds_per_repeat
from torch_models import DTYPES, generate, peer_name, random_model, random_tokens, set_up_torch, wait_for

ATTENTION = "sdpa"


@torch.inference_mode()
def run(work, threads, repeats, device):
    """Times `work`, a Context. Returns (peer, seconds, note)."""
    set_up_torch(threads)
    model = random_model(work.model, DTYPES[work.precision], ATTENTION).to(device).eval()
    model.generation_config.eos_token_id = None
    seconds = [0.0] * repeats
    for prompts in random_tokens(work.model, work.sequences, work.prompt_tokens).to(device).split(work.sequences_max):
        cache = DynamicCache(config=model.config)
        # The last token of a prompt is the first that `generate` computes.
        held = work.prompt_tokens - 1
        model(prompts[:, :held], past_key_values=cache, use_cache=True, logits_to_keep=1)

        def sample():
            generate(model, prompts, work.new_tokens, past_key_values=cache)
            cache.crop(held)
            wait_for(device)

        seconds = [total + more for total, more in zip(seconds, seconds_per_repeat(sample, repeats))]
        del cache
    note = f"generate, dynamic cache, {ATTENTION} attention, {work.sequences_max} sequences at a time"
    return peer_name(), seconds, note
