"""A training step in PyTorch: forward, cross-entropy and backward of every micro-batch, clipping, fused AdamW.

bf16 means products in bf16 under autocast, with weights, gradients and moments in f32.
"""

import torch
import torch.nn.functional as F

from measure import seconds_per_repeat
from torch_models import (
    onednn_bf16_is_native,
    peer_name,
    random_model,
    random_tokens,
    set_up_torch,
    wait_for,
)

LEARNING_RATE = 1e-4
GRADIENT_NORM_MAX = 1.0


def run(work, threads, repeats, compiled, device):
    """Times `work`, a TrainingStep, under torch.compile if `compiled`. Returns (peer, seconds, note)."""
    set_up_torch(threads)
    model = random_model(work.model, torch.float32).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, fused=True)
    inputs, targets = (random_tokens(work.model, work.sequences, work.positions).to(device) for _ in range(2))
    together = max(1, work.rows_max // work.positions)
    forward = torch.compile(model) if compiled else model
    autocast = torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=work.precision == "bf16")

    def step():
        for some_inputs, some_targets in zip(inputs.split(together), targets.split(together)):
            with autocast:
                logits = forward(input_ids=some_inputs, use_cache=False).logits
            loss = F.cross_entropy(logits.float().flatten(0, 1), some_targets.flatten(), reduction="sum")
            (loss / work.tokens).backward()
            del logits, loss
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_MAX)
        optimizer.step()
        optimizer.zero_grad()
        wait_for(device)

    seconds = seconds_per_repeat(step, repeats)
    return peer_name(), seconds, note(work, device) + (", torch.compile" if compiled else "")


def note(work, device):
    if device != "cpu":
        return f"fused AdamW, autocast bf16 over f32 weights, {torch.cuda.get_device_name(device)}"
    if work.precision == "f32":
        return f"fused AdamW, float32_matmul_precision {torch.get_float32_matmul_precision()}"
    return f"fused AdamW, autocast bf16 over f32 weights, oneDNN bf16 native: {onednn_bf16_is_native()}"
