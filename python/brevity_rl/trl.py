"""GRPO-λ, and every other shaper, in TRL: `GRPOLambdaTrainer` in place of `trl.GRPOTrainer`.

TRL gathers the rewards of all processes before it makes advantages of them; this trainer shapes there, so that groups are
ranked over the whole generation batch, whichever process sampled them and however a group is split. Every process
computes the same numbers, from the same seed.

What is the same as in TRL: sampling (vLLM too), the loss, the reference model, accumulation, `num_iterations`. What
differs: advantages are those of `brevity` (f64; 1e-6 is added to a standard deviation, where TRL adds 1e-4), and a
truncated completion counts as wrong. Evaluation shapes nothing.
"""

import json
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brevity_rl.collapse import CollapseWatch
from brevity_rl.shaping import Shaper, advantages, cost
from brevity_rl.verification import AUTO, check_golds, verify_batch

try:
    import torch
    from accelerate.utils import gather_object
    from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
    from trl import GRPOTrainer
except ImportError as error:
    remedy = "run pip install './python[trl]' in brevity's repository"
    raise ImportError(f"brevity_rl.trl needs TRL ({error}); {remedy}") from error

MEMORY_FILE = "brevity.json"
"""What a checkpoint keeps of shaper and collapse watches."""

_SCALES = {"group": "group-std", "batch": "batch-std", "none": "none"}


class VerifierReward:
    """A reward function of TRL: 1 where the verifier finds the completion correct, 0 elsewhere.

    The gold is taken from the data set's column `answer_column`: an answer, or a solution with `####` or a box.
    """

    __name__ = "verifier"

    def __init__(self, answer_column: str = "answer", *, extraction: Mapping[str, Any] = AUTO, threads: int = 0) -> None:
        self.answer_column = answer_column
        self.extraction = extraction
        self.threads = threads

    def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        """One reward for each of B completions, texts or conversations."""
        if self.answer_column not in columns:
            raise ValueError(f"the data set has no column `{self.answer_column}`; name the golds' with `answer_column`")
        golds = [str(gold) for gold in columns[self.answer_column]]
        checks = verify_batch(
            [text_of(completion) for completion in completions],
            golds,
            extraction=self.extraction,
            threads=self.threads,
        )
        return [float(correct) for correct in checks.correct]

    def check(self, dataset: Any) -> None:
        """Raises `ValueError` with the row of the first gold that no completion could be compared with."""
        if self.answer_column in (getattr(dataset, "column_names", None) or []) and hasattr(dataset, "__len__"):
            check_golds([str(gold) for gold in dataset[self.answer_column]])


def text_of(completion: Any) -> str:
    """What the policy wrote: the text itself, or that of the last message of a conversation."""
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else ""
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


class GRPOLambdaTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` with shaped rewards; every argument of TRL's means what it means there.

    `reward_funcs`: the first says what is correct, at or above `correct_from`, and its reward is replaced by the shaped
    one; others are added with their weights. Without any, the verifier judges by `answer_column`.

    `shaper`: a name, settings or a `Shaper`; one that is made here takes its seed from `args.seed`. `advantage`: the scale
    of advantages; by default what `args.scale_rewards` says. `budget_column`: tokens that a prompt asks for. `costs`:
    costs of the completions' texts by name, for the shaper `weighted`. `problem_column`: ids of evaluation problems; by
    default their prompts.
    """

    _tag_names = ["trl", "grpo", "brevity"]

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        *positional: Any,
        shaper: "str | Mapping[str, Any] | Shaper" = "top-lambda",
        answer_column: str = "answer",
        correct_from: float = 1.0,
        advantage: str | None = None,
        budget_column: str | None = None,
        costs: Mapping[str, Mapping[str, Any]] | None = None,
        problem_column: str | None = None,
        **named: Any,
    ) -> None:
        if reward_funcs is None:
            reward_funcs = VerifierReward(answer_column)
        super().__init__(model, reward_funcs, *positional, **named)
        if getattr(self, "multi_objective_aggregation", None) == "normalize_then_sum":
            raise ValueError(
                '`multi_objective_aggregation` is "normalize_then_sum", which makes advantages of its own; '
                'use "sum_then_normalize", which shaped rewards are added in'
            )
        self.shaper = shaper if isinstance(shaper, Shaper) else Shaper(shaper, seed=self.args.seed)
        self._correct_from = correct_from
        self._scale = advantage or _SCALES[str(self.scale_rewards)]
        self._budget_column, self._problem_column, self._costs = budget_column, problem_column, dict(costs or {})
        self._tool_masks: Any = None
        self._scored: tuple[Any, ...] = ()
        self._evaluation = "eval"
        self._evaluated: list[tuple[str, bool, int]] = []
        self._watches: dict[str, CollapseWatch] = {}
        for reward_func in self.reward_funcs:
            if isinstance(reward_func, VerifierReward):
                reward_func.check(self.train_dataset)
        _warn_of_few_groups(self.shaper, self.args.generation_batch_size // self.num_generations)

    # What the completions of this process are made of, kept until the rewards of all processes are there.

    def _generate(self, prompts: list[Any]) -> Any:
        generated = super()._generate(prompts)
        self._tool_masks = generated[2]
        return generated

    def _calculate_rewards(
        self, inputs: list[dict[str, Any]], prompts: Any, completions: Any, completion_ids_list: list[list[int]]
    ) -> Any:
        rewards = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        self._scored = (inputs, prompts, completions, completion_ids_list, rewards)
        return rewards

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        (inputs, prompts, completions, ids, rewards_per_func), self._scored = self._scored, ()
        batch = self._gathered(inputs, completions, ids)
        scores = rewards_per_func.double().cpu().numpy()
        scorable = ~np.isnan(scores).all(axis=1)
        correct = (np.nan_to_num(scores[:, 0], nan=-np.inf) >= self._correct_from) & batch["ended"]
        if self.model.training:
            output["advantages"] = self._shaped(batch, scores, correct, scorable, len(ids)).to(output["advantages"])
        else:
            self._keep_evaluation(inputs, prompts, correct, batch["lengths"])
            self._extend_table(len(correct), {})
        return output

    def _gathered(self, inputs: list[dict[str, Any]], completions: Any, ids: list[list[int]]) -> dict[str, Any]:
        """Lengths in tokens, whether each completion ended by itself, and what else the shaper may read, of all processes."""
        end_tokens = set(getattr(self, "eos_token_ids", None) or [_tokenizer(self.processing_class).eos_token_id])
        lengths = [len(tokens) for tokens in ids]
        if self._tool_masks is not None:  # tokens that tools wrote are not the policy's
            lengths = [int(sum(mask)) for mask in self._tool_masks]
        columns = {"lengths": lengths, "ended": [bool(tokens) and tokens[-1] in end_tokens for tokens in ids]}
        if self._budget_column is not None:
            columns["budgets"] = [row[self._budget_column] for row in inputs]
        texts = [text_of(completion) for completion in completions] if self._costs else []
        for name, definition in self._costs.items():
            columns[f"cost:{name}"] = cost(texts, definition).astype(np.int64).tolist()
        local = torch.tensor(list(columns.values()), dtype=torch.int64, device=self.accelerator.device).T.contiguous()
        values = self.accelerator.gather(local).cpu().numpy()
        gathered = {name: np.ascontiguousarray(values[:, index]) for index, name in enumerate(columns)}
        gathered["ended"] = gathered["ended"].astype(bool)
        return gathered

    def _shaped(self, batch: dict[str, Any], scores: Any, correct: Any, scorable: Any, local: int) -> Any:
        """Advantages of this process's completions, [B]; those that no reward function could score get 0."""
        groups = (np.arange(len(correct)) // self.num_generations)[scorable]
        named = {name.removeprefix("cost:"): values[scorable] for name, values in batch.items() if name.startswith("cost:")}
        shaped = self.shaper.shape(
            correct[scorable],
            batch["lengths"][scorable],
            groups,
            advantage=self._scale,
            length_max=float(self.max_completion_length),
            budgets=batch["budgets"][scorable] if "budgets" in batch else None,
            costs=named,
        )
        weights = self.reward_weights.double().cpu().numpy()
        rewards = shaped.rewards
        own = shaped.advantages
        if len(weights) > 1 or weights[0] != 1.0:
            rewards = weights[0] * shaped.rewards + np.nansum(scores[scorable, 1:] * weights[1:], axis=1)
            own = advantages(rewards, groups, self._scale) + (0.0 if shaped.added is None else shaped.added)
        everywhere = {name: np.full(len(correct), np.nan) for name in ("reward", "advantage")}
        everywhere["reward"][scorable], everywhere["advantage"][scorable] = rewards, own
        selected = np.zeros(len(correct), dtype=bool)
        selected[scorable] = shaped.selected
        everywhere["advantage"] = np.nan_to_num(everywhere["advantage"], nan=0.0)
        self._log_shaped(shaped.metrics, rewards)
        self._extend_table(len(correct), {"shaped_reward": everywhere["reward"], "selected": selected})
        logged = self._logs["advantages"]
        for _ in range(min(len(correct), len(logged))):
            logged.pop()
        logged.extend(everywhere["advantage"].tolist())
        first = self.accelerator.process_index * local
        return torch.from_numpy(everywhere["advantage"][first : first + local])

    def _log_shaped(self, metrics: dict[str, Any], rewards: Any) -> None:
        selection, tokens = metrics["selection"], metrics["completion_tokens"]
        mean, deviation = (float(rewards.mean()), float(rewards.std())) if len(rewards) else (None, None)
        logged = {
            "shaping/reward_mean": mean,
            "shaping/reward_std": deviation,
            "shaping/selected_share": selection["share"],
            "shaping/selected_all_correct": selection["all_correct"],
            "shaping/selected_ratio_min": selection["ratio_min"],
            "shaping/tied": selection["tied"],
            "shaping/zero_advantage_share": metrics["zero_advantage_share"],
            "collapse/correctness_ratio": metrics["correctness_ratio"],
            "collapse/all_correct_share": metrics["all_correct_share"],
            "collapse/all_wrong_share": metrics["all_wrong_share"],
            "collapse/length_correctness_correlation": metrics["length_correctness_correlation"],
            "collapse/correct_tokens": tokens["correct_mean"],
            "collapse/wrong_tokens": tokens["wrong_mean"],
        }
        for name, value in logged.items():
            if value is not None and math.isfinite(value):
                self._metrics["train"][name].append(float(value))
        self._metrics["train"]["frac_reward_zero_std"][-1] = metrics["zero_advantage_share"]

    def _extend_table(self, rows: int, columns: dict[str, Any]) -> None:
        """More columns of the table of completions that `log_completions` writes."""
        if "extra" in self._logs:
            for name in ("shaped_reward", "selected"):
                self._logs["extra"][name].extend(columns[name].tolist() if name in columns else [None] * rows)

    # Evaluations: how each stands to the best one before it.

    def evaluate(self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval") -> Any:
        self._evaluation = metric_key_prefix
        self._evaluated = []
        return super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)

    def _keep_evaluation(self, inputs: list[dict[str, Any]], prompts: Any, correct: Any, lengths: Any) -> None:
        column = self._problem_column
        local = [str(prompt) if column is None else str(row[column]) for row, prompt in zip(inputs, prompts)]
        self._evaluated.extend(zip(gather_object(local), correct.tolist(), lengths.tolist()))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if not self.model.training and self._evaluated:
            problems, correct, lengths = zip(*self._evaluated)
            watch = self._watches.setdefault(self._evaluation, CollapseWatch())
            decline = watch.observe(self.state.global_step, problems, np.array(correct), np.array(lengths)) or {}
            logs[f"{self._evaluation}_accuracy"] = float(np.mean(correct))
            for name, value in decline.items():
                if value is not None:
                    logs[f"{self._evaluation}_collapse/{name}"] = float(value)
            self._evaluated = []
        super().log(logs, start_time)

    # Checkpoints: what shaper and watches remember.

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        if self.args.should_save:
            folder = Path(self._get_output_dir(trial=trial), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
            watches = {name: watch.memory for name, watch in self._watches.items()}
            text = json.dumps({"shaper": self.shaper.memory, "watches": watches})
            partial = folder / f"{MEMORY_FILE}.partial"
            partial.write_text(text)
            os.replace(partial, folder / MEMORY_FILE)

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint, MEMORY_FILE)
        if not path.exists():
            warnings.warn(f"{path} is not there: the shaper starts anew", UserWarning, stacklevel=2)
            return
        memory = json.loads(path.read_text())
        self.shaper.restore(memory["shaper"])
        for name, own in memory["watches"].items():
            self._watches.setdefault(name, CollapseWatch()).restore(own)


def _tokenizer(processing_class: Any) -> Any:
    return getattr(processing_class, "tokenizer", processing_class)


def _warn_of_few_groups(shaper: Shaper, groups: int) -> None:
    """λ of few groups is no small share: at least one group is always selected."""
    share = shaper.settings[shaper.name].get("lambda")
    if not isinstance(share, int | float) or not 0 < share < 1:
        return
    selected = max(1, math.floor(share * groups + 0.5)) / groups
    if selected > 1.5 * share:
        needed = math.ceil(1 / share)
        warnings.warn(
            f"a generation batch has {groups} groups, so that `lambda` = {share} selects {selected:.2f} of them; give at least "
            f"{needed} (`generation_batch_size` of {needed} × `num_generations`)",
            UserWarning,
            stacklevel=3,
        )
