#!/usr/bin/env python3
"""Reference values for rewards and advantages of GRPO, the length penalty and top-lambda (GRPO-λ).

    pip install numpy
    python scripts/reference/shaping_reference.py             # writes crates/rl/tests/data/shaping_reference.json
    python scripts/reference/shaping_reference.py --check     # compares with the file, writes nothing

NumPy in float64, written from the definitions alone (arXiv 2505.18086):

    selected   grpo: no group; length-penalty: every group; top-lambda: the round(λN) groups with the
               highest share of correct completions (at least 1 when λ > 0)
    reward     wrong 0; correct 1, or in a selected group 1 - α·σ(z), z = (L - mean) / (std + 1e-7),
               mean and population std over the lengths of the group's correct completions
    advantage  group-std  (r - mean) / (sample std + 1e-6) within the group
               none        r - mean of the group
               batch-std  (r - mean of the group) / (sample std of all rewards of the step + 1e-6)
               and 0 for a group whose rewards are all equal

Every step has 5 groups of 4 completions. How ties at the border of the selection are broken is a
setting of the trainer, so a λ at which two groups tie there is left out of that step and listed under
"tied_lambdas". A tie inside the selection or outside of it stays in.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).resolve().parents[2] / "crates" / "rl" / "tests" / "data" / "shaping_reference.json"
LAMBDAS = (0.2, 0.4, 1.0, 0.0)
ALPHAS = (0.2, 1.0)
ADVANTAGES = ("group-std", "none", "batch-std")

# name -> groups of (lengths, correct)
STEPS = {
    # All correct with different lengths, all correct of equal length, one correct, none, mixed.
    "every-kind": [
        ([120, 80, 200, 95], [1, 1, 1, 1]),
        ([64, 64, 64, 64], [1, 1, 1, 1]),
        ([300, 150, 90, 410], [0, 1, 0, 0]),
        ([512, 37, 256, 128], [0, 0, 0, 0]),
        ([210, 75, 330, 140], [1, 0, 1, 1]),
    ],
    # No two groups alike, in mixed order; the all-correct group has different lengths.
    "distinct-different-lengths": [
        ([55, 310, 120, 44], [0, 1, 1, 0]),
        ([512, 37, 256, 128], [0, 0, 0, 0]),
        ([120, 80, 200, 95], [1, 1, 1, 1]),
        ([300, 150, 90, 410], [0, 1, 0, 0]),
        ([210, 75, 330, 140], [1, 0, 1, 1]),
    ],
    # The same with an all-correct group of equal lengths, which gets no advantage when selected.
    "distinct-equal-lengths": [
        ([300, 150, 90, 410], [0, 0, 0, 1]),
        ([64, 64, 64, 64], [1, 1, 1, 1]),
        ([33, 71, 180, 20], [1, 1, 0, 1]),
        ([55, 310, 120, 44], [1, 0, 0, 1]),
        ([512, 37, 256, 128], [0, 0, 0, 0]),
    ],
    # Early training: the best group has one correct completion, so the rank picks a weak group.
    "nearly-all-wrong": [
        ([40, 900, 310, 77], [0, 0, 0, 0]),
        ([15, 22, 19, 640], [0, 0, 0, 0]),
        ([480, 260, 130, 95], [0, 0, 1, 0]),
        ([512, 37, 256, 128], [0, 0, 0, 0]),
        ([70, 71, 72, 73], [0, 0, 0, 0]),
    ],
    # Very short and very long; two correct of equal length beside a third; lengths one apart.
    "wide-lengths": [
        ([1, 16000, 2, 3], [1, 1, 1, 1]),
        ([100, 100, 5000, 700], [1, 1, 1, 0]),
        ([1, 1, 1, 30000], [0, 0, 0, 1]),
        ([999, 1000, 1, 1], [1, 1, 0, 0]),
        ([8, 8, 8, 8], [0, 0, 0, 0]),
    ],
    # No signal at all without the penalty.
    "all-correct": [
        ([120, 80, 200, 95], [1, 1, 1, 1]),
        ([64, 64, 64, 64], [1, 1, 1, 1]),
        ([10, 20, 30, 40], [1, 1, 1, 1]),
        ([500, 500, 500, 501], [1, 1, 1, 1]),
        ([7, 900, 900, 900], [1, 1, 1, 1]),
    ],
}


def select(correct, shaper, lam):
    """Which groups get the length penalty; None when groups tie at the border."""
    n = len(correct)
    if shaper == "grpo":
        return np.zeros(n, dtype=bool)
    if shaper == "length-penalty":
        return np.ones(n, dtype=bool)
    count = int(np.floor(lam * n + 0.5))
    if lam > 0.0:
        count = max(count, 1)
    accuracy = correct.mean(axis=1)
    order = np.argsort(-accuracy, kind="stable")
    if 0 < count < n and accuracy[order[count - 1]] == accuracy[order[count]]:
        return None
    selected = np.zeros(n, dtype=bool)
    selected[order[:count]] = True
    return selected


def rewards_of(lengths, correct, selected, alpha):
    rewards = correct.astype(np.float64)
    for k in np.flatnonzero(selected):
        right = correct[k] == 1
        if not right.any():
            continue
        own = lengths[k, right].astype(np.float64)
        z = (own - own.mean()) / (own.std(ddof=0) + 1e-7)
        rewards[k, right] = 1.0 - alpha / (1.0 + np.exp(-z))
    return rewards


def advantages_of(rewards, kind):
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    if kind == "group-std":
        centred = centred / (rewards.std(axis=1, ddof=1, keepdims=True) + 1e-6)
    elif kind == "batch-std":
        centred = centred / (rewards.std(ddof=1) + 1e-6)
    elif kind != "none":
        raise ValueError(kind)
    equal = rewards.max(axis=1) == rewards.min(axis=1)
    centred[equal] = 0.0
    return centred


def build():
    steps = []
    for name, groups in STEPS.items():
        lengths = np.array([g[0] for g in groups])
        correct = np.array([g[1] for g in groups])
        assert lengths.shape == correct.shape == (5, 4)
        variants = [("grpo", None, None)]
        variants += [("length-penalty", None, alpha) for alpha in ALPHAS]
        tied = [lam for lam in LAMBDAS if select(correct, "top-lambda", lam) is None]
        variants += [("top-lambda", lam, alpha) for lam in LAMBDAS if lam not in tied for alpha in ALPHAS]
        cases = []
        for shaper, lam, alpha in variants:
            selected = select(correct, shaper, lam)
            rewards = rewards_of(lengths, correct, selected, alpha)
            cases.append(
                {
                    "shaper": shaper,
                    "lambda": lam,
                    "alpha": alpha,
                    "selected": selected.tolist(),
                    "rewards": rewards.tolist(),
                    "advantages": {kind: advantages_of(rewards, kind).tolist() for kind in ADVANTAGES},
                }
            )
            assert np.isfinite(rewards).all()
        steps.append(
            {
                "name": name,
                "groups": [{"lengths": l.tolist(), "correct": c.astype(bool).tolist()} for l, c in zip(lengths, correct)],
                "tied_lambdas": tied,
                "cases": cases,
            }
        )
    return {
        "description": "rewards and advantages in float64; made by scripts/reference/shaping_reference.py, which defines every field",
        "length_std": "population, + 1e-7",
        "reward_std": "sample, + 1e-6",
        "steps": steps,
    }


def text_of(data):
    """One line per group and per case."""
    dump = lambda value: json.dumps(value, allow_nan=False)
    lines = ["{"] + [f" {dump(k)}: {dump(v)}," for k, v in data.items() if k != "steps"] + [' "steps": [']
    for i, step in enumerate(data["steps"]):
        lines += ["  {", f'   "name": {dump(step["name"])},', '   "groups": [']
        lines.append(",\n".join("    " + dump(group) for group in step["groups"]))
        lines += ["   ],", f'   "tied_lambdas": {dump(step["tied_lambdas"])},', '   "cases": [']
        lines.append(",\n".join("    " + dump(case) for case in step["cases"]))
        lines += ["   ]", "  }" + ("," if i + 1 < len(data["steps"]) else "")]
    return "\n".join(lines + [" ]", "}"]) + "\n"


def main():
    parser = argparse.ArgumentParser(description="Record reference values for the shapers of the rl crate.")
    parser.add_argument("--check", action="store_true", help="compare with the recorded file, write nothing")
    arguments = parser.parse_args()
    data = build()
    text = text_of(data)
    assert json.loads(text) == data
    if arguments.check:
        same = FILE.is_file() and FILE.read_text(encoding="utf-8") == text
        print("identical" if same else "different")
        return 0 if same else 1
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(text, encoding="utf-8")
    for step in data["steps"]:
        print(step["name"], len(step["cases"]), "cases, tied at", step["tied_lambdas"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
