"""GRPO-λ with slime: this folder on PYTHONPATH, and

    --custom-rm-path slime_grpo_lambda.verified --custom-reward-post-process-path slime_grpo_lambda.advantages
    --advantage-estimator grpo --label-key answer
"""

import numpy as np

import brevity_rl

shaper = brevity_rl.Shaper("top-lambda", seed=0)


async def verified(args, sample, **_):
    """Reward of one sample: 1 where the verifier finds the response correct, 0 elsewhere."""
    return float(brevity_rl.verify(sample.response, sample.label).correct)


def advantages(args, samples):
    """Raw rewards, and advantages, which the estimator `grpo` puts at every token as they are."""
    raw = [sample.get_reward_value(args) for sample in samples]
    ended = [sample.status == sample.Status.COMPLETED for sample in samples]
    shaped = shaper.shape(
        (np.array(raw) >= 1.0) & ended,
        [sample.effective_response_length for sample in samples],
        [sample.group_index for sample in samples],
        length_max=args.rollout_max_response_len,
    )
    return raw, shaped.advantages.tolist()
