#!/usr/bin/env python3
"""Reference values for the shapers beside GRPO, the length penalty and top-lambda.

    python scripts/reference/relatives_reference.py             # writes crates/rl/tests/data/relatives_reference.json
    python scripts/reference/relatives_reference.py --check     # compares with the file, writes nothing

Plain Python floats, written from the published formulas alone (each function names its paper). Every case has
the settings as a config has them, and the rewards of each of its steps; where a method adds to the advantages,
what it adds. A step is a list of groups of (length, correct); "budget" is that of each group's prompt.

Lengths are small, so targets, tolerances and budgets are set to match; "defaults" has cases at the published
settings with lengths of their size.
"""

import argparse
import json
import math
import statistics
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "crates" / "rl" / "tests" / "data" / "relatives_reference.json"

# All correct, mixed, one correct, none correct, all correct of one length.
SMALL = [
    [(120, 1), (80, 1), (200, 1), (95, 1)],
    [(210, 1), (75, 0), (330, 1), (140, 1)],
    [(300, 0), (150, 1), (90, 0), (410, 0)],
    [(512, 0), (37, 0), (256, 0), (128, 0)],
    [(64, 1), (64, 1), (64, 1), (64, 1)],
]
# The sizes of the papers.
LARGE = [
    [(1200, 1), (3900, 1), (4097, 1), (15000, 1)],
    [(16384, 0), (9000, 1), (14000, 0), (12300, 1)],
    [(700, 0), (4096, 1), (16300, 0), (4000, 0)],
]
BUDGETS = [100, 250, 100, 300, 64]


def correct(group):
    return [c for _, c in group]


def lengths(group):
    return [l for l, _ in group]


def accuracy(group):
    return sum(correct(group)) / len(group)


def kimi(group, weight):
    """arXiv 2501.12599, section 2.3.3."""
    low, high = min(lengths(group)), max(lengths(group))
    rewards = []
    for length, c in group:
        score = 0.0 if low == high else 0.5 - (length - low) / (high - low)
        rewards.append(c + weight * (score if c else min(0.0, score)))
    return rewards


def cosine(group, limit, correct_pair, wrong_pair, exceeding):
    """arXiv 2502.03373, section 4.2: CosFn(t, T, a, b) = b + (a - b)(1 + cos(pi t / T)) / 2."""
    rewards = []
    for length, c in group:
        a, b = correct_pair if c else wrong_pair
        rewards.append(exceeding if length >= limit else b + (a - b) * (1 + math.cos(math.pi * length / limit)) / 2)
    return rewards


def soft_overlong(group, limit, buffer):
    """arXiv 2503.14476, equation 13."""
    rewards = []
    for length, c in group:
        if length <= limit - buffer:
            punishment = 0.0
        elif length <= limit:
            punishment = (limit - buffer - length) / buffer
        else:
            punishment = -1.0
        rewards.append(c + punishment)
    return rewards


def l1_exact(group, budget, alpha):
    """arXiv 2503.04697, equation 1."""
    return [c - alpha * abs(budget - length) for length, c in group]


def l1_max(group, budget, alpha, delta):
    """arXiv 2503.04697, equation 2."""
    return [c * min(1.0, max(0.0, alpha * (budget - length) + delta)) for length, c in group]


def laser(group, target, bonus):
    """arXiv 2505.15612, section 4."""
    return [c + (bonus if c and length <= target else 0.0) for length, c in group]


def laser_d(steps, low, interval, high, bonus, every):
    """arXiv 2505.15612, section 5; tiers and whole numbers as in the published code, monitored on the steps themselves."""
    tier = lambda group: 0 if accuracy(group) >= 2 / 3 else 1 if accuracy(group) >= 1 / 3 else 2
    targets, seen, results = [high] * 3, [[], [], []], []
    for number, step in enumerate(steps, start=1):
        results.append([laser(group, targets[tier(group)], bonus) for group in step])
        for group in step:
            seen[tier(group)] += [length for length, c in group if c]
        if number % every == 0:
            size = len(step[0])
            least = [int(size * 2 / 3), int(size * 1 / 3), 1]
            for t in range(3):
                targets[t] = high
                for target in reversed(range(low, high, interval)):
                    share = sum(length <= target for length in seen[t]) / len(seen[t]) if seen[t] else 0.0
                    if int(share * least[t] + 1e-9) >= 1:
                        targets[t] = target
            seen = [[], [], []]
    return results


def alp(group, beta):
    """arXiv 2506.05256, equation 1."""
    return [c - beta * max(accuracy(group), 1 / len(group)) * length for length, c in group]


def gr3(group, alpha):
    """arXiv 2603.10535."""
    mean = statistics.fmean(lengths(group))
    return [c / (1 + alpha * length / mean) for length, c in group]


def short_rl(steps, weight, length_tolerance, accuracy_tolerance):
    """arXiv 2505.12284 and its code: the best accuracy is that of the step itself where it is better."""
    best, results = 0.0, []
    for step in steps:
        of_step = sum(sum(correct(group)) for group in step) / sum(len(group) for group in step)
        best = max(best, of_step)
        rewards = []
        for group in step:
            right = [length for length, c in group if c]
            low, high = (min(right), max(right)) if right else (0, 0)
            of_group = []
            for length, c in group:
                score = 0.5 if not c or length <= low + length_tolerance else 0.5 - (length - low) / (high - low)
                of_group.append(c + (weight * score if c and of_step >= best - accuracy_tolerance else 0.0))
            rewards.append(of_group)
        results.append(rewards)
    return results


def scores(group):
    """sigma(z) of the correct lengths, population deviation + 1e-7; 0 for wrong completions."""
    right = [length for length, c in group if c]
    if not right:
        return [0.0] * len(group)
    mean, deviation = statistics.fmean(right), statistics.pstdev(right) + 1e-7
    return [1 / (1 + math.exp(-(length - mean) / deviation)) if c else 0.0 for length, c in group]


def ddca(group, beta):
    """arXiv 2602.02099, equations 11 to 13: what is added to the advantage of correctness."""
    s = scores(group)
    mean = sum(s) / max(1, sum(correct(group)))
    return [-beta * accuracy(group) * (value - mean) if c else 0.0 for value, c in zip(s, correct(group))]


def acoer(steps, settings):
    """arXiv 2606.22716 and its code; a step without a correct completion leaves the mean length as it is."""
    alpha, budget = settings["alpha"], settings["budget"]
    weight = 2 / (settings["mean_steps"] + 1)
    history, length_mean, results = [], None, []
    for number, step in enumerate(steps):
        bonus = lambda length: alpha * math.log(1 + 5 * (1 - min(length / budget, 1.0))) / math.log(6)
        results.append([[c * (1 + bonus(length)) for length, c in group] for group in step])
        flat = [one for group in step for one in group]
        of_step = sum(c for _, c in flat) / len(flat)
        history.append(of_step if not history else weight * of_step + (1 - weight) * history[-1])
        right = [length for length, c in flat if c]
        if right:
            mean = statistics.fmean(right)
            length_mean = mean if length_mean is None else weight * mean + (1 - weight) * length_mean
        window = settings["window_steps"]
        if number >= settings["warmup_steps"] and len(history) >= window:
            if history[-window] - history[-1] > settings["accuracy_tolerance"]:
                alpha = max(settings["alpha_min"], alpha * settings["alpha_fall"])
            else:
                alpha = min(settings["alpha_max"], alpha * settings["alpha_rise"])
            if length_mean is not None:
                budget = max(settings["budget_min"], settings["budget_share"] * length_mean)
    return results


def pass_rate_linear(group, weight):
    """prime-rl, LinearLengthPenaltyConfig."""
    return [c - weight * accuracy(group) * length / max(lengths(group)) for length, c in group]


def dler(group, limit):
    """arXiv 2510.15110."""
    return [c if length <= limit else 0 for length, c in group]


def matched_penalty(step, lam, alpha):
    """Our control, under group-std: what is added is LP's length term at the sum of GRPO-lambda's."""

    def advantages(rewards):
        if max(rewards) == min(rewards):
            return [0.0] * len(rewards)
        mean, deviation = statistics.fmean(rewards), statistics.stdev(rewards) + 1e-6
        return [(reward - mean) / deviation for reward in rewards]

    terms = []
    for group in step:
        penalised = [1 - alpha * s if c else 0.0 for s, c in zip(scores(group), correct(group))]
        plain = [float(c) for c in correct(group)]
        terms.append([a - b for a, b in zip(advantages(penalised), advantages(plain))])
    count = max(1, int(lam * len(step) + 0.5))
    order = sorted(range(len(step)), key=lambda k: -accuracy(step[k]))
    assert count == len(step) or accuracy(step[order[count - 1]]) > accuracy(step[order[count]])
    mass = lambda groups: sum(abs(value) for k in groups for value in terms[k])
    share = mass(order[:count]) / mass(order)
    return [[share * value for value in term] for term in terms]


def adaptive_lambda(steps, settings):
    """Ours: docs/algorithm.md, "Adaptive λ". The steps are such that λ·N is whole and all three answers occur."""
    lam, best, recent, trailing, answers, results = settings["lambda"], None, None, None, set(), []
    for number, step in enumerate(steps, 1):
        ratios = [accuracy(group) for group in step]
        now = (statistics.fmean(ratios), statistics.variance(ratios) / len(ratios))

        def moved(old, window):
            w = max(2 / (window + 1), 1 / number)
            if old is None:
                return now
            return (w * now[0] + (1 - w) * old[0], w * w * now[1] + (1 - w) ** 2 * old[1])

        recent, trailing = moved(recent, settings["recent_steps"]), moved(trailing, settings["trailing_steps"])
        low = lambda accuracy: accuracy[0] - math.sqrt(accuracy[1])
        if best is None or low(trailing) > low(best):
            best = trailing
        fall = (best[0] - recent[0]) / math.sqrt(best[1] + recent[1] + 1e-12)
        if fall > settings["fallen_errors"]:
            answers.add("falls")
            lam = max(settings["lambda_min"], lam * settings["lambda_fall"])
        elif fall <= settings["hold_errors"]:
            answers.add("rises")
            lam = min(settings["lambda_max"], lam + settings["lambda_rise"])
        else:
            answers.add("stays")
        assert lam * len(step) == int(lam * len(step))
        chosen = sorted(range(len(step)), key=lambda k: (-accuracy(step[k]), k))[: int(lam * len(step))]
        results.append([
            [1 - 0.2 * s if c else 0.0 for s, c in zip(scores(group), correct(group))] if k in chosen else correct(group)
            for k, group in enumerate(step)
        ])
    assert len(answers) == 3 or len(steps) == 1, answers
    return results


def case(shaping, steps, rewards, added=None, limit=None, budgets=None):
    return {
        "shaping": shaping,
        "limit": limit,
        "budgets": budgets,
        "steps": [[[[length, bool(c)] for length, c in group] for group in step] for step in steps],
        "rewards": [[[float(r) for r in group] for group in step] for step in rewards],
        "added": added,
    }


def each(step, function):
    return [[function(group) for group in step]]


def plain(step):
    return [[[float(c) for c in correct(group)] for group in step]]


def build():
    wrong_turn = [[(300, 1), (90, 0), (80, 0), (70, 0)], [(64, 0), (64, 0), (64, 0), (64, 0)]]
    shrinking = [[[(max(1, length - 10 * k), c) for length, c in group] for group in SMALL] for k in range(4)]
    # Five groups of one accuracy each but the two all-correct ones; without the last, nothing ties at the border.
    untied = SMALL[:4]
    moving = [SMALL, SMALL, wrong_turn, wrong_turn, SMALL, wrong_turn]
    control = {
        "alpha": 0.1, "alpha_min": 0.05, "alpha_max": 0.2, "alpha_rise": 1.5, "alpha_fall": 0.5,
        "accuracy_tolerance": 0.02, "window_steps": 2, "mean_steps": 3.0, "warmup_steps": 1, "budget": 300.0,
        "budget_share": 0.85, "budget_min": 60.0,
    }
    published = {
        "alpha": 0.02, "alpha_min": 0.01, "alpha_max": 0.5, "alpha_rise": 1.02, "alpha_fall": 0.95,
        "accuracy_tolerance": 0.02, "window_steps": 100, "mean_steps": 50.0, "warmup_steps": 200, "budget": 4096.0,
        "budget_share": 0.85, "budget_min": 512.0,
    }
    better = [SMALL[0], SMALL[1], SMALL[4], [(90, 1), (70, 1), (110, 1), (95, 1)]]
    worse = [SMALL[2], SMALL[1], SMALL[2], SMALL[2]]
    swaying = [untied, better, better, worse, untied, better, worse, worse, better, better]
    loop = {
        "lambda": 0.25, "lambda_min": 0.25, "lambda_max": 0.75, "lambda_rise": 0.25, "lambda_fall": 0.0,
        "hold_errors": 0.5, "fallen_errors": 2.0, "recent_steps": 1.5, "trailing_steps": 4.0,
        "select": "top", "ties": "index",
    }
    l1 = [l1_exact(group, n, 0.0003) for group, n in zip(SMALL, BUDGETS)]
    l1_strong = [l1_max(group, n, 0.004, 0.5) for group, n in zip(SMALL, BUDGETS)]
    lp = lambda group: [1 - 0.2 * s if c else 0.0 for s, c in zip(scores(group), correct(group))]
    weighted = [[c + 0.5 * (a - c) + 2 * (b - c) for c, a, b in zip(correct(g), lp(g), kimi(g, 0.1))] for g in SMALL]
    return [
        case({"kimi": {"weight": 0.4}}, [SMALL], each(SMALL, lambda g: kimi(g, 0.4))),
        case({"kimi": {}}, [SMALL], each(SMALL, lambda g: kimi(g, 1.0))),
        case({"kimi": {"warmup_steps": 1}}, [SMALL, SMALL], plain(SMALL) + each(SMALL, lambda g: kimi(g, 1.0))),
        case({"cosine": {"cost_max": 400}}, [SMALL], each(SMALL, lambda g: cosine(g, 400, (2, 1), (-10, 0), -10))),
        case(
            {"cosine": {"correct_short": 1, "correct_long": 0.5, "wrong_short": -0.5, "wrong_long": -0.2, "exceeding": -1}},
            [LARGE],
            each(LARGE, lambda g: cosine(g, 16384, (1, 0.5), (-0.5, -0.2), -1)),
            limit=16384,
        ),
        case({"soft-overlong": {}}, [LARGE], each(LARGE, lambda g: soft_overlong(g, 16384, 4096)), limit=16384),
        case({"soft-overlong": {"cost_max": 300, "buffer": 150}}, [SMALL], each(SMALL, lambda g: soft_overlong(g, 300, 150))),
        case({"l1-exact": {}}, [SMALL], [l1], budgets=BUDGETS),
        case({"l1-max": {"alpha": 0.004}}, [SMALL], [l1_strong], budgets=BUDGETS),
        case({"laser": {}}, [LARGE], each(LARGE, lambda g: laser(g, 4096, 0.5))),
        case(
            {"laser-d": {"target_min": 40, "target_interval": 20, "target_max": 400, "every_steps": 2}},
            shrinking,
            laser_d(shrinking, 40, 20, 400, 0.5, 2),
        ),
        case({"alp": {}}, [LARGE], each(LARGE, lambda g: alp(g, 1e-7))),
        case({"alp": {"beta": 0.001}}, [SMALL], each(SMALL, lambda g: alp(g, 0.001))),
        case({"gr3": {}}, [SMALL], each(SMALL, lambda g: gr3(g, 0.33))),
        case({"short-rl": {"cost_tolerance": 30}}, moving, short_rl(moving, 1.0, 30, 0.05)),
        case({"short-rl": {}}, [LARGE], short_rl([LARGE], 1.0, 100, 0.05)),
        case({"ddca": {}}, [SMALL], plain(SMALL), added=each(SMALL, lambda g: ddca(g, 0.2))),
        case({"acoer": control}, moving, acoer(moving, control)),
        case({"acoer": {"budget": 4096.0}}, [LARGE, LARGE], acoer([LARGE, LARGE], published)),
        case({"adaptive-lambda": loop}, swaying, adaptive_lambda(swaying, loop)),
        case({"pass-rate-linear": {}}, [SMALL], each(SMALL, lambda g: pass_rate_linear(g, 0.25))),
        case({"dler": {}}, [LARGE], each(LARGE, lambda g: dler(g, 4000))),
        case({"matched-penalty": {"lambda": 0.25}}, [untied], plain(untied), added=[matched_penalty(untied, 0.25, 0.2)]),
        case({"matched-penalty": {"lambda": 1.0}}, [SMALL], plain(SMALL), added=[matched_penalty(SMALL, 1.0, 0.2)]),
        case(
            {"weighted": {"objectives": [
                {"weight": 0.5, "shaper": {"length-penalty": {}}},
                {"weight": 2.0, "shaper": {"kimi": {"weight": 0.1}}},
                {"weight": 3.0, "shaper": {"ddca": {"beta": 0.1}}},
            ]}},
            [SMALL],
            [weighted],
            added=[[[3 * value for value in ddca(group, 0.1)] for group in SMALL]],
        ),
    ]


def main():
    parser = argparse.ArgumentParser(description="Record reference values for the relatives of GRPO-λ.")
    parser.add_argument("--check", action="store_true", help="compare with the recorded file, write nothing")
    arguments = parser.parse_args()
    text = "[\n" + ",\n".join(json.dumps(one, allow_nan=False) for one in build()) + "\n]\n"
    if arguments.check:
        same = FILE.is_file() and FILE.read_text(encoding="utf-8") == text
        print("identical" if same else "different")
        return 0 if same else 1
    FILE.write_text(text, encoding="utf-8")
    print(len(build()), "cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
