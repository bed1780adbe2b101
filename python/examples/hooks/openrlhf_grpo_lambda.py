"""GRPO-λ with OpenRLHF 0.11.2: this folder on every node, and in place of `python -m openrlhf.cli.train_ppo_ray …`

    python openrlhf_grpo_lambda.py --reward.remote_url openrlhf_grpo_lambda.py --algo.advantage.estimator group_norm …
"""

import os
import runpy
from pathlib import Path

import numpy as np
import torch

import brevity_rl

shaper = brevity_rl.Shaper("top-lambda", seed=0)


def reward_func(queries, prompts, labels):
    """Rewards of completions: OpenRLHF decodes prompt and completion together."""
    completions = []
    for query, prompt in zip(queries, prompts):
        _, found, completion = query.partition(prompt)
        if not found:
            raise ValueError(f"the prompt {prompt!r} is not in what was decoded")
        completions.append(completion)
    rewards = torch.from_numpy(brevity_rl.verify_batch(completions, labels).correct).float()
    return {"rewards": rewards, "scores": rewards, "extra_logs": {}}


def apply_length_penalties(experiences, args):
    """In place of OpenRLHF's: sets the rewards of the step before it makes advantages of them."""

    def of_all(field):
        return np.concatenate([getattr(experience, field).cpu().numpy() for experience in experiences])

    # A completion's `index` is its place in the order of prompts, each of which was sampled so many times.
    indices = np.concatenate([experience.index for experience in experiences])
    shaped = shaper.shape(
        (of_all("rewards") >= 1.0) & ~of_all("truncated").astype(bool),
        of_all("response_length").astype(np.int64),
        indices // args.rollout.n_samples_per_prompt,
        length_max=args.rollout.max_new_tokens,
    )
    sizes = [len(experience.index) for experience in experiences]
    for experience, rewards in zip(experiences, torch.from_numpy(shaped.rewards).split(sizes)):
        experience.rewards = rewards.to(experience.rewards)
        experience.info["reward"] = experience.rewards.clone()


def install():
    """In every process that Ray starts, before the trainer takes the function from its module."""
    from openrlhf.trainer.ppo_utils import length_penalty

    length_penalty.apply_length_penalties = apply_length_penalties


if __name__ == "__main__":
    import ray

    here = str(Path(__file__).resolve().parent)
    path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))
    ray.init(runtime_env={"worker_process_setup_hook": "openrlhf_grpo_lambda.install", "env_vars": {"PYTHONPATH": path}})
    runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__", alter_sys=True)
