#!/usr/bin/env python3
"""Reference values for the GRPO family of losses, from PyTorch's autograd in float64.

    pip install torch numpy
    python scripts/reference/loss_reference.py             # writes crates/rl/tests/data/loss_reference.json
    python scripts/reference/loss_reference.py --check     # compares with the file, writes nothing

One small case, 2 groups of 3 completions with 3 to 9 tokens, goes through combinations of surrogate,
aggregation, clip range and KL weight. Per token, with A the advantage of its completion:

    ratio  = exp(policy - behavior), in gspo exp of the mean of that over the completion
    grpo, gspo   loss = -min(ratio * A, clip(ratio, 1 - low, 1 + high) * A) + weight * kl
    cispo        loss = -detached(clip(ratio, 1 - low, 1 + high)) * A * policy + weight * kl
    kl     = exp(q) - q - 1,  q = reference - policy

then aggregated:

    sequence-mean   mean over the tokens of each completion, then over completions   (GRPO)
    token-mean      mean over all tokens                                             (DAPO)
    constant        sum over tokens / (number of completions * limit)                (Dr. GRPO)

Also recorded: clip_share, the share of all tokens whose clipped branch is strictly the smaller one
(the surrogate's gradient is then zero), in cispo whose ratio is clipped; mean_kl, the mean of kl over all tokens without the weight;
and the smallest, mean and largest ratio over all tokens. The last four do not depend on the aggregation.

Log-ratios are designed: every completion of four or more tokens meets every region (below 0.8, inside,
between 1.2 and 1.28, above 1.28), and none lies within 0.01 of a border of a clip range.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

FILE = Path(__file__).resolve().parents[2] / "crates" / "rl" / "tests" / "data" / "loss_reference.json"
SEED = 20
LIMIT = 16
# Two groups of three; both signs in each, one zero.
ADVANTAGES = [[1.1, -0.3, -0.8], [0.0, 0.9, -1.25]]
LENGTHS = [[5, 9, 4], [3, 6, 8]]
AGGREGATIONS = ("sequence-mean", "token-mean", "constant")
CLIPS = ((0.2, 0.2), (0.2, 0.28))
KL_WEIGHTS = (0.0, 0.1)
# surrogate, clip ranges, aggregations
VARIANTS = (
    ("grpo", CLIPS, AGGREGATIONS),
    ("gspo", ((3e-4, 4e-4), (0.15, 0.3)), ("sequence-mean",)),
    ("cispo", ((1.0, 4.0), (0.2, 0.28)), ("token-mean", "sequence-mean")),
)
# Ratios are drawn from these ranges in turn, from a random starting point per completion.
REGIONS = ((0.25, 0.70), (0.85, 1.15), (1.22, 1.26), (1.45, 2.60))


def make_case():
    random = np.random.default_rng(SEED)
    groups = []
    for advantages, lengths in zip(ADVANTAGES, LENGTHS):
        group = []
        for advantage, length in zip(advantages, lengths):
            order = random.permutation(len(REGIONS))
            ratio = np.array([random.uniform(*REGIONS[order[t % len(REGIONS)]]) for t in range(length)])
            policy = -random.exponential(1.2, length) - 1.6  # low enough that all three stay below 0
            behavior = policy - np.log(ratio)
            reference = policy + random.normal(0.0, 0.5, length)
            assert max(policy.max(), behavior.max(), reference.max()) < 0.0
            group.append(
                {
                    "advantage": advantage,
                    "policy_logprobs": policy.tolist(),
                    "behavior_logprobs": behavior.tolist(),
                    "reference_logprobs": reference.tolist(),
                }
            )
        groups.append(group)
    return groups


def aggregate(per_token, aggregation):
    """per_token: one tensor per completion."""
    if aggregation == "sequence-mean":
        return torch.stack([t.mean() for t in per_token]).mean()
    if aggregation == "token-mean":
        return torch.cat(per_token).mean()
    if aggregation == "constant":
        return torch.cat(per_token).sum() / (len(per_token) * LIMIT)
    raise ValueError(aggregation)


def evaluate(groups, surrogate, aggregation, clip_low, clip_high, kl_weight):
    tensor = lambda values: torch.tensor(values, dtype=torch.float64)
    completions = [completion for group in groups for completion in group]
    policies, losses, kls, ratios, clipped = [], [], [], [], []
    for completion in completions:
        policy = tensor(completion["policy_logprobs"]).requires_grad_()
        advantage = completion["advantage"]
        log_ratio = policy - tensor(completion["behavior_logprobs"])
        ratio = torch.exp(log_ratio.mean().expand_as(policy) if surrogate == "gspo" else log_ratio)
        free = ratio * advantage
        bounded = torch.clamp(ratio, 1.0 - clip_low, 1.0 + clip_high) * advantage
        q = tensor(completion["reference_logprobs"]) - policy
        kl = torch.exp(q) - q - 1.0
        policies.append(policy)
        objective = bounded.detach() * policy if surrogate == "cispo" else torch.minimum(free, bounded)
        losses.append(-objective + kl_weight * kl)
        kls.append(kl.detach())
        ratios.append(ratio.detach())
        is_outside = (ratio < 1.0 - clip_low) | (ratio > 1.0 + clip_high)
        clipped.append((is_outside if surrogate == "cispo" else bounded < free).detach())
        for border in (1.0 - clip_low, 1.0 + clip_high):
            assert (ratio - border).abs().min() > (1e-3 if surrogate == "gspo" else 0.01)
    loss = aggregate(losses, aggregation)
    loss.backward()
    # A clipped token has no gradient but that of the KL term.
    if kl_weight == 0.0 and surrogate != "cispo":
        for policy, mask, completion in zip(policies, clipped, completions):
            zero = policy.grad == 0.0
            assert torch.equal(zero, mask | (completion["advantage"] == 0.0))
    all_ratios = torch.cat(ratios)
    gradients = iter(policies)
    return {
        "surrogate": surrogate,
        "aggregation": aggregation,
        "clip_low": clip_low,
        "clip_high": clip_high,
        "kl_weight": kl_weight,
        "loss": loss.item(),
        "clip_share": torch.cat(clipped).double().mean().item(),
        "mean_kl": torch.cat(kls).mean().item(),
        "ratio_min": all_ratios.min().item(),
        "ratio_mean": all_ratios.mean().item(),
        "ratio_max": all_ratios.max().item(),
        # Like the input: per group, per completion, per token. "+ 0.0" turns -0.0 into 0.0.
        "policy_gradients": [[(next(gradients).grad + 0.0).tolist() for _ in group] for group in groups],
    }


def build():
    groups = make_case()
    cases = [
        evaluate(groups, surrogate, aggregation, *clip, weight)
        for surrogate, clips, aggregations in VARIANTS
        for aggregation in aggregations
        for clip in clips
        for weight in KL_WEIGHTS
    ]
    return {
        "description": "GRPO-family losses in float64; made by scripts/reference/loss_reference.py, which defines every field",
        "torch_version": torch.__version__.split("+")[0],
        "seed": SEED,
        "limit": LIMIT,
        "groups": groups,
        "cases": cases,
    }


def text_of(data):
    """One line per completion and per case."""
    dump = lambda value: json.dumps(value, allow_nan=False)
    head = [f" {dump(k)}: {dump(v)}," for k, v in data.items() if k not in ("groups", "cases")]
    groups = ",\n".join("  [\n   " + ",\n   ".join(map(dump, group)) + "\n  ]" for group in data["groups"])
    cases = ",\n".join("  " + dump(case) for case in data["cases"])
    return "{\n" + "\n".join(head) + f'\n "groups": [\n{groups}\n ],\n "cases": [\n{cases}\n ]\n}}\n'


def main():
    parser = argparse.ArgumentParser(description="Record reference values for the losses of the rl crate.")
    parser.add_argument("--check", action="store_true", help="compare with the recorded file, write nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = build()
    text = text_of(data)
    assert json.loads(text) == data
    if arguments.check:
        same = FILE.is_file() and FILE.read_text(encoding="utf-8") == text
        print("identical" if same else "different")
        return 0 if same else 1
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text, encoding="utf-8")
    for case in data["cases"]:
        print({k: v for k, v in case.items() if k != "policy_gradients"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
