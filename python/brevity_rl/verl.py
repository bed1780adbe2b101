"""GRPO-λ, and every other shaper, in verl: `VERL_USE_EXTERNAL_MODULES=brevity_rl.verl`.

Importing this module registers an advantage estimator for each shaper under the shaper's own name, and `grpo_lambda` for
`top-lambda`. (`grpo` is verl's own.) verl calls an estimator once per step, on the driver, with the completions of all
workers, so that groups are ranked over the whole step.

Settings are those of `algorithm.brevity`; verl does not know them, so the command line adds them with `+`:

| setting | meaning | default |
|---|---|---|
| `settings` | the shaper's, as a config has them | the shaper's defaults |
| `seed` | of ties and random choices | 0 |
| `correct_from` | a completion of at least this score is correct | 1.0 |
| `length_max` | token limit; a completion that fills it counts as truncated, and so as wrong | none |
| `advantage` | scale of advantages | `group-std`, or `none` where `algorithm.norm_adv_by_std_in_grpo` is false |
| `directory` | where `brevity.jsonl` is kept: a line per step with metrics, and what a resumed run goes on with | none |

`compute_score` is the verifier as a reward function of verl.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from brevity_rl.shaping import Shaper, shaper_names
from brevity_rl.verification import verify

try:
    import torch
    from verl.trainer.ppo.core_algos import register_adv_est
except ImportError as error:
    remedy = "run pip install './python[verl]' in brevity's repository"
    raise ImportError(f"brevity_rl.verl needs verl ({error}); {remedy}") from error

RECORD_FILE = "brevity.jsonl"
"""A line for each step: `step`, `metrics`, and the `memory` of the shaper after it."""

_TRACKER = "latest_checkpointed_iteration.txt"
"""Where verl keeps the step of its last checkpoint."""

_shapers: dict[str, Shaper] = {}
"""By name and settings: verl has no object that lives as long as a run and could hold them."""


def compute_score(
    data_source: Any, solution_str: str, ground_truth: Any, extra_info: Any = None, **options: Any
) -> dict[str, float]:
    """1 where the verifier finds the completion correct, 0 elsewhere; `score` and `acc` are the same.

    `options` (`reward.custom_reward_function.reward_kwargs`) are those of `brevity_rl.verify`. Works in any thread.
    """
    chosen = {name: options[name] for name in ("extraction", "decimals") if name in options}
    correct = float(verify(solution_str, str(ground_truth), **chosen).correct)
    return {"score": correct, "acc": correct}


def estimator(shaper: str) -> Callable[..., Any]:
    """The advantage estimator of a shaper."""

    def estimate(
        token_level_rewards: Any, response_mask: Any, index: Any = None, config: Any = None, **_: Any
    ) -> tuple[Any, Any]:
        """Advantages, twice, [B, T]: a completion's, at each of its own tokens.

        `token_level_rewards` [B, T] sum to the scores; `response_mask` [B, T] is 1 at the policy's tokens, end token
        included; `index` [B] says which completions are of one prompt.
        """
        if index is None:
            raise ValueError("the batch has no `uid`, which says which completions are of one prompt")
        with torch.no_grad():
            advantages = _advantages(shaper, token_level_rewards, response_mask, index, config)
            spread = advantages.to(token_level_rewards).unsqueeze(-1) * response_mask
        return spread, spread

    return estimate


def _advantages(shaper: str, rewards: Any, mask: Any, index: Any, config: Any) -> Any:
    settings = _settings(config)
    if _get(config, "use_kl_in_reward", False):
        raise ValueError(
            "`algorithm.use_kl_in_reward` is true, and a score with a KL penalty in it does not say what is correct; "
            "use `actor_rollout_ref.actor.use_kl_loss`"
        )
    scores = rewards.sum(dim=-1).double().cpu().numpy()
    lengths = mask.sum(dim=-1).long().cpu().numpy()
    length_max = settings.get("length_max")
    correct = scores >= float(settings.get("correct_from", 1.0))
    if length_max is not None:
        correct &= lengths < int(length_max)
    by_std = "group-std" if _get(config, "norm_adv_by_std_in_grpo", True) else "none"
    own = _shaper(shaper, settings)
    shaped = own.shape(
        correct,
        lengths,
        np.asarray(index, dtype=str),
        advantage=settings.get("advantage") or by_std,
        length_max=None if length_max is None else float(length_max),
        dynamic_sampling=bool(_get(_get(config, "filter_groups", None), "enable", False)),
    )
    if settings.get("directory"):
        _record(Path(settings["directory"]), own, shaped.metrics)
    return torch.from_numpy(shaped.advantages)


def _get(config: Any, name: str, default: Any) -> Any:
    return default if config is None else config.get(name, default)


def _settings(config: Any) -> dict[str, Any]:
    """`algorithm.brevity` as plain objects."""
    own = _get(config, "brevity", None) or {}
    if not isinstance(own, dict):
        from omegaconf import OmegaConf

        own = OmegaConf.to_container(own, resolve=True)
    known = {"settings", "seed", "correct_from", "length_max", "advantage", "directory"}
    unknown = sorted(set(own) - known)
    if unknown:
        raise ValueError(f"`algorithm.brevity.{unknown[0]}` is no setting; there are {', '.join(sorted(known))}")
    return own


def _shaper(name: str, settings: Mapping[str, Any]) -> Shaper:
    """The shaper of this run, made at its first step; of a resumed run, as it was at the checkpoint."""
    key = json.dumps([name, settings], sort_keys=True)
    if key not in _shapers:
        shaper = Shaper({name: settings.get("settings") or {}}, seed=int(settings.get("seed", 0)))
        if settings.get("directory"):
            _resume(Path(settings["directory"]), shaper)
        _shapers[key] = shaper
    return _shapers[key]


def _resume(directory: Path, shaper: Shaper) -> None:
    tracker, record = directory / _TRACKER, directory / RECORD_FILE
    step = int(tracker.read_text()) if tracker.exists() else 0
    lines = record.read_text().splitlines(keepends=True) if record.exists() else []
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    if step > 0 and not kept:
        raise ValueError(f"{tracker} says step {step}, and {record} does not have it; put it back, or start anew elsewhere")
    if kept:
        shaper.restore(json.loads(kept[-1])["memory"])
    if len(kept) < len(lines):
        partial = record.with_suffix(".partial")
        partial.write_text("".join(kept))
        os.replace(partial, record)


def _record(directory: Path, shaper: Shaper, metrics: Mapping[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / RECORD_FILE, "a") as record:
        record.write(json.dumps({"step": shaper.step, "metrics": metrics, "memory": shaper.memory}) + "\n")


for _name in shaper_names():
    if _name != "grpo":
        register_adv_est(_name)(estimator(_name))
register_adv_est("grpo_lambda")(estimator("top-lambda"))
