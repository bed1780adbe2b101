"""GRPO-λ with ms-swift 4.6.0: `swift rlhf --rlhf_type grpo --external_plugins ms_swift_grpo_lambda.py --reward_funcs brevity …`"""

import numpy as np
import torch
from accelerate.utils import gather
from swift.rewards import ORM, orms
from swift.rlhf_trainers.grpo_trainer import GRPOTrainer

import brevity_rl

shaper = brevity_rl.Shaper("top-lambda", seed=0)


class Verifier(ORM):
    """1 where the verifier finds the completion correct, 0 elsewhere; the data set has a column `solution`."""

    def __call__(self, completions, solution, **_):
        return brevity_rl.verify_batch(completions, solution).correct.astype(float).tolist()


orms["brevity"] = Verifier
of_swift = GRPOTrainer._compute_advantages


def compute_advantages(self, samples, rewards_per_func, batch_encoded_inputs):
    """Advantages of the completions of all processes, whose rewards `rewards_per_func` has; metrics are those of swift."""
    advantages = of_swift(self, samples, rewards_per_func, batch_encoded_inputs)
    if not self.model.training:
        return advantages
    if self.dynamic_num_samples:
        raise ValueError("the scheduler of turns makes several samples of a completion, and groups are not told apart then")
    batches = [batch["grpo_batch"] for batch in batch_encoded_inputs]  # of this process alone
    lengths = gather(torch.cat([batch.completion_mask.sum(-1) for batch in batches])).cpu().numpy()
    truncated = gather(torch.cat([batch.truncated_mask for batch in batches])).cpu().numpy().astype(bool)
    shaped = shaper.shape(
        (rewards_per_func[:, 0].cpu().numpy() >= 1.0) & ~truncated,
        lengths,
        np.arange(len(lengths)) // self.num_generations,
        length_max=self.args.max_completion_length,
    )
    return torch.from_numpy(shaped.advantages).to(advantages)


GRPOTrainer._compute_advantages = compute_advantages
