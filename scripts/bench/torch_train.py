"""A training step in PyTorch: forward, cross-entropy, backward, clipping, fused AdamW.

bf16 means products in bf16 under autocast, with weights, gradients and moments in f32.
"""

import torch
import torch.nn.functional as F

from measure import seconds_per_repeat
from torch_models import onednn_bf16_is_native, peer_name, random_model, random_tokens, set_up_torch

LEARNING_RATE = 1e-4
GRADIENT_NORM_MAX = 1.0


def run(work, threads, repeats, compiled):
    """Times `work`, a TrainingStep, under torch.compile if `compiled`. Returns (peer, seconds, note)."""
    set_up_torch(threads)
    model = random_model(work.model, torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    inputs = random_tokens(work.model, work.sequences, work.positions)
    targets = random_tokens(work.model, work.sequences, work.positions)
    forward = torch.compile(model) if compiled else model
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=work.precision == "bf16")

    def step():
        with autocast:
            logits = forward(input_ids=inputs, use_cache=False).logits
        loss = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_MAX)
        optimizer.step()
        optimizer.zero_grad()

    seconds = seconds_per_repeat(step, repeats)
    return peer_name(), seconds, note(work) + (", torch.compile" if compiled else "")


def note(work):
    if work.precision == "f32":
        return f"fused AdamW, float32_matmul_precision {torch.get_float32_matmul_precision()}"
    return f"fused AdamW, autocast bf16 over f32 weights, oneDNN bf16 native: {onednn_bf16_is_native()}"
