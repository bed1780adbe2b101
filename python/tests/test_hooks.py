"""The examples for other trainers, on stand-ins that have what their sources have (docs/python.md names the versions).

A stand-in has the fields, the types and the arguments of the source and nothing else, so that an example which reads what
is not there fails.
"""

import asyncio
import importlib
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import brevity_rl

# Groups of 4, out of order where the trainer allows it; the last completion of each group is cut off.
GROUPS = np.array([1, 0, 1, 0, 2, 1, 0, 2, 2, 1, 0, 2])
SCORES = np.array([1, 1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 0])
LENGTHS = np.array([30, 20, 5, 60, 41, 44, 7, 9, 12, 64, 64, 64])
TRUNCATED = LENGTHS == 64


@pytest.fixture
def hooks(monkeypatch):
    """Imports an example anew, so that its shaper has seen no step."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples" / "hooks"))

    def load(name):
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def expected(groups, **of_batch):
    return brevity_rl.shape((SCORES == 1) & ~TRUNCATED, LENGTHS, groups, length_max=64.0, **of_batch)


class Status(Enum):
    """`Sample.Status` of slime."""

    PENDING = "pending"
    COMPLETED = "completed"
    TRUNCATED = "truncated"
    ABORTED = "aborted"
    FAILED = "failed"


@dataclass
class Sample:
    """`Sample` of slime, as far as an example may need it."""

    group_index: int | None = None
    response: str = ""
    response_length: int = 0
    label: str | None = None
    reward: float | None = None
    loss_mask: list[int] | None = None
    status: Status = Status.PENDING
    Status = Status

    def get_reward_value(self, args):
        return self.reward if not args.reward_key else self.reward[args.reward_key]

    @property
    def effective_response_length(self):
        return sum(self.loss_mask) if self.loss_mask is not None else self.response_length


def test_slime_gets_advantages_of_the_whole_rollout(hooks):
    hook = hooks("slime_grpo_lambda")
    samples = [
        Sample(
            group_index=int(group), reward=float(score), response_length=int(length) + 3,
            loss_mask=[1] * int(length) + [0] * 3,  # what a tool wrote does not count
            status=Status.TRUNCATED if length == 64 else Status.COMPLETED,
        )
        for group, score, length in zip(GROUPS, SCORES, LENGTHS)
    ]  # fmt: skip
    raw, advantages = hook.advantages(SimpleNamespace(reward_key=None, rollout_max_response_len=64), samples)
    assert raw == SCORES.astype(float).tolist()
    assert advantages == expected(GROUPS).advantages.tolist()
    sample = Sample(response=r"\boxed{7}", label="7")
    assert asyncio.run(hook.verified(SimpleNamespace(), sample, evaluation=False)) == 1.0


def test_prime_rl_gets_advantages_of_a_group_at_every_token(hooks):
    hook = hooks("prime_rl_length_penalty")

    @dataclass
    class AdvantageInputs:
        rollouts: list[dict]
        completion_lengths: list[int]

        def broadcast(self, values):
            return [[float(v)] * n for v, n in zip(values, self.completion_lengths, strict=True)]

    rollouts = [
        {
            "reward": float(score), "is_truncated": bool(truncated),
            "trajectory": [{"tokens": {"completion_ids": [0] * (length - 2)}}, {"tokens": None},
                           {"tokens": {"completion_ids": [0] * 2}}],
        }
        for score, truncated, length in zip(SCORES[:4], TRUNCATED[:4], LENGTHS[:4])
    ]  # fmt: skip
    lengths = [length + 1 for length in LENGTHS[:4]]  # with what the environment wrote between turns
    shaper = {"length-penalty": {"alpha": 0.3}}
    streams = hook.advantages(AdvantageInputs(rollouts, lengths), shaper=shaper)
    own = brevity_rl.shape(SCORES[:4] == 1, LENGTHS[:4], [0] * 4, shaper)
    assert [len(stream) for stream in streams] == lengths
    assert [stream[0] for stream in streams] == own.advantages.tolist()
    assert all(len(set(stream)) == 1 for stream in streams)


def test_openrlhf_gets_rewards_of_the_whole_step_before_its_baseline(hooks):
    torch = pytest.importorskip("torch")
    hook = hooks("openrlhf_grpo_lambda")

    @dataclass
    class Experience:
        rewards: torch.Tensor
        response_length: torch.Tensor
        truncated: torch.Tensor
        index: list[int]
        info: dict = field(default_factory=dict)

    # Completions of a prompt have consecutive indices; experiences hold them in any order and in uneven parts.
    order = np.random.default_rng(0).permutation(12)
    experiences = [
        Experience(
            rewards=torch.tensor(SCORES[part], dtype=torch.float32),
            response_length=torch.tensor(LENGTHS[part], dtype=torch.float32),
            truncated=torch.tensor(TRUNCATED[part], dtype=torch.float32),
            index=part.tolist(),
        )
        for part in (order[:5], order[5:6], order[6:])
    ]
    arguments = SimpleNamespace(rollout=SimpleNamespace(n_samples_per_prompt=4, max_new_tokens=64))
    hook.apply_length_penalties(experiences, arguments)
    own = brevity_rl.shape(
        ((SCORES == 1) & ~TRUNCATED)[order], LENGTHS[order], order // 4, length_max=64.0
    )
    rewards = torch.cat([experience.rewards for experience in experiences])
    assert rewards.dtype == torch.float32
    np.testing.assert_allclose(rewards.numpy(), own.rewards, rtol=1e-6)
    assert all(torch.equal(experience.info["reward"], experience.rewards) for experience in experiences)
    texts = ["<s>What is 1 + 1?  \\boxed{2}</s>", "<s>What is 1 + 1?  \\boxed{3}</s>"]
    judged = hook.reward_func(texts, ["What is 1 + 1?"] * 2, ["2", "2"])
    assert judged["rewards"].tolist() == judged["scores"].tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match="is not in what was decoded"):
        hook.reward_func(texts[:1], ["Another"], ["2"])


def test_ms_swift_gets_advantages_of_all_processes(hooks, monkeypatch):
    torch = pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    logged = []

    class ORM:
        def __init__(self, args=None, **_):
            self.args = args

    class GRPOTrainer:
        dynamic_num_samples, num_generations = False, 4
        args, model = SimpleNamespace(max_completion_length=64), SimpleNamespace(training=True)

        def _compute_advantages(self, samples, rewards_per_func, batch_encoded_inputs):
            logged.append(len(rewards_per_func))
            return torch.zeros(len(rewards_per_func))

    modules = {
        "swift": {}, "swift.rewards": {"ORM": ORM, "orms": {}}, "swift.rlhf_trainers": {},
        "swift.rlhf_trainers.grpo_trainer": {"GRPOTrainer": GRPOTrainer},
    }  # fmt: skip
    for name, members in modules.items():
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    hooks("ms_swift_grpo_lambda")
    batches = [
        {
            "grpo_batch": SimpleNamespace(
                completion_mask=torch.arange(70)[None, :] < torch.tensor(LENGTHS[part])[:, None],
                truncated_mask=torch.tensor(TRUNCATED[part]),
            )
        }
        for part in (slice(0, 6), slice(6, 12))
    ]
    rewards = torch.tensor(SCORES, dtype=torch.float32)[:, None]
    trainer = GRPOTrainer()
    advantages = trainer._compute_advantages([None] * 12, rewards, batches)
    assert logged == [12]
    np.testing.assert_allclose(advantages.numpy(), expected(np.arange(12) // 4).advantages, rtol=1e-6, atol=1e-7)
    trainer.model = SimpleNamespace(training=False)
    assert not trainer._compute_advantages([None] * 12, rewards, batches).any()
    trainer.model, trainer.dynamic_num_samples = SimpleNamespace(training=True), True
    with pytest.raises(ValueError, match="several samples of a completion"):
        trainer._compute_advantages([None] * 12, rewards, batches)
    verifier = modules["swift.rewards"]["orms"]["brevity"]()
    assert verifier([r"\boxed{2}", "3"], solution=["2", "2"], messages=None) == [1.0, 0.0]
