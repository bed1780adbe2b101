"""Shapers that look at one group with prime-rl: this folder on PYTHONPATH, and in the orchestrator's config

    [orchestrator.advantage]
    type = "custom"
    import_path = "prime_rl_length_penalty.advantages"
    kwargs = { shaper = { length-penalty = { alpha = 0.2 } } }
"""

import brevity_rl


def advantages(inputs, shaper="length-penalty"):
    """Advantages of one group, [G][tokens]: a completion's at each of its tokens."""
    correct = [rollout["reward"] >= 1.0 and not rollout["is_truncated"] for rollout in inputs.rollouts]
    lengths = [
        sum(len(step["tokens"]["completion_ids"]) for step in rollout["trajectory"] if step.get("tokens"))
        for rollout in inputs.rollouts
    ]
    shaped = brevity_rl.shape(correct, lengths, [0] * len(correct), shaper)
    return inputs.broadcast(shaped.advantages.tolist())
