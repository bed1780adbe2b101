"""What hand-written versions of GRPO-λ get wrong, beside what `brevity_rl` gives. Needs NumPy alone.

Every function below is a pattern of public code, cut down to what matters. `docs/python.md` has the output.
"""

import math
import warnings

import numpy as np

import brevity_rl

np.set_printoptions(precision=3, suppress=True)
np.seterr(all="ignore")
warnings.simplefilter("ignore")  # NumPy warns of what the numbers show
ALPHA = 0.2


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def say(title, theirs, ours):
    print(f"{title}\n  by hand: {theirs}\n  here:    {ours}\n")


def penalty(correct, lengths):
    """Rewards of one group that is under length pressure."""
    return brevity_rl.shape(correct, lengths, [0] * len(lengths), "length-penalty").rewards


# 1. Correct completions of equal length: 0/0.
lengths = np.array([64, 64, 64, 64])
theirs = 1 - ALPHA * sigmoid((lengths - lengths.mean()) / lengths.std())
say("1. all lengths equal", theirs, penalty([True] * 4, lengths))

# 2. The penalty for every completion of the group: a short wrong answer is worth more than nothing.
correct, lengths = np.array([True, True, False]), np.array([400, 300, 5])
theirs = 1 - ALPHA * sigmoid((lengths - lengths.mean()) / lengths.std())
say("2. wrong answers in a selected group", theirs, penalty(correct, lengths))

# 3. No correct completion in a selected group: the mean of nothing.
own = lengths[np.zeros(3, bool)]
theirs = np.where(np.zeros(3, bool), 1 - ALPHA * sigmoid((lengths - own.mean()) / own.std()), own.mean())
say("3. no correct completion", theirs, penalty([False] * 3, lengths))

# 4. Mean over all completions, deviation over the correct ones, and exp of what comes out of it.
lengths = np.array([500, 501, 20000, 30000])
z = float(lengths[0] - lengths.mean()) / float(lengths[:2].std())
try:
    theirs = str(1 / (1 + math.exp(-z)))
except OverflowError:
    theirs = f"OverflowError of math.exp({-z:.0f})"
say("4. exp of an extreme z", theirs, penalty([True, True, False, False], lengths))

# 5. A factor on a negative reward: of wrong answers, the longer one is punished less.
correct, lengths = np.array([True, True, False, False]), np.array([100, 200, 100, 900])
theirs = np.where(correct, 1.0, -1.0) * (1 - ALPHA * sigmoid((lengths - lengths.mean()) / lengths.std()))
say("5. a factor on a negative reward", theirs, penalty(correct, lengths))

# 6. Each of two processes ranks its own groups: 8 groups of 4, λ = 0.25, the best ones on the first process.
ratios = np.array([4, 4, 3, 3, 1, 1, 0, 0])
correct = (np.arange(4) < ratios[:, None]).ravel()
groups, lengths = np.repeat(np.arange(8), 4), np.full(32, 100)
settings = {"top-lambda": {"lambda": 0.25, "ties": "index"}}
halves = [brevity_rl.shape(correct[part], lengths[part], groups[part], settings) for part in (groups < 4, groups >= 4)]
theirs = np.concatenate([half.selected_groups for half in halves])
say("6. groups ranked per process", theirs, brevity_rl.shape(correct, lengths, groups, settings).selected_groups)

# 7. A threshold in place of a rank: late in training nearly all groups pass it.
ratios = np.array([16, 16, 16, 15, 15, 14, 14, 13, 12, 16])
correct = (np.arange(16) < ratios[:, None]).ravel()
groups, lengths = np.repeat(np.arange(10), 16), np.full(160, 100)
theirs = np.flatnonzero(ratios / 16 >= 0.8)
ours = brevity_rl.shape(correct, lengths, groups, {"top-lambda": {"lambda": 0.2, "ties": "index"}})
say("7. a threshold of 0.8 in place of λ = 0.2", theirs, ours.selected_groups)

# 8. Ties broken by the order of the data: the same problems are shortened in every epoch.
correct, groups, lengths = np.ones(40, bool), np.repeat(np.arange(10), 4), np.tile([1, 2, 3, 4], 10)
theirs = [np.sort(np.argsort(-correct.reshape(10, 4).mean(1), kind="stable")[:2]).tolist() for _ in range(3)]
shaper = brevity_rl.Shaper("top-lambda", seed=0)
say("8. ties", theirs, [shaper.shape(correct, lengths, groups).selected_groups.tolist() for _ in range(3)])

# 9. Lengths of texts in place of tokens: what is short in one is long in the other.
texts, tokens = ["x" * 90, "12 + 34 = 46, 46 + 5 = 51"], np.array([12, 25])
theirs = penalty([True] * 2, [len(text) for text in texts])
say("9. lengths of texts", theirs, penalty([True] * 2, tokens))

# 10. The advantage of equal rewards in f32: rounding of the mean, over a deviation of nothing.
rewards = np.full(7, np.float32(0.9))
theirs = (rewards - rewards.mean()) / (rewards.std() + 1e-8)
say("10. advantages of equal rewards", theirs, brevity_rl.advantages(rewards, [0] * 7))
