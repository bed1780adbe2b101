"""Verdicts and lengths of a batch in, rewards and advantages out."""

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from brevity_rl import _native
from brevity_rl.arguments import array, count, texts_of


@dataclass(frozen=True)
class Shaped:
    """What shaping makes of a batch; arrays are in the order of the completions given."""

    rewards: NDArray[np.float64]
    """Shape [B]."""
    advantages: NDArray[np.float64]
    """Shape [B]: those of the rewards within their groups, and what the shaper adds to them."""
    added: NDArray[np.float64] | None
    """Shape [B]: what the shaper adds to the advantages; `None` where rewards say all."""
    selected: NDArray[np.bool_]
    """Shape [B]: whether the completion's group was under length pressure."""
    selected_groups: NDArray[Any]
    """The ids of those groups, in the order of their first completions."""
    metrics: dict[str, Any]
    """Numbers of the batch as a run directory has them (docs/run-directory.md): `correctness_ratio`, `all_correct_share`,
    `all_wrong_share`, `zero_advantage_share`, `length_correctness_correlation` (within groups of both outcomes),
    `selection` (`share`, `all_correct`, `tied`, `ratio_min`) and `completion_tokens` (`mean`, `min`, `max`,
    `correct_mean`, `wrong_mean`)."""


class Shaper:
    """A way of making rewards, with what it remembers from batch to batch.

    `settings` is a name (`"top-lambda"`) or a name with settings as a config has them below `[train.shaping]`
    (`{"top-lambda": {"lambda": 0.2, "alpha": 0.2}}`). `seed` decides ties and random choices, one stream for each batch.
    """

    def __init__(self, settings: "str | Mapping[str, Any]" = "top-lambda", *, seed: int = 0) -> None:
        named = {settings: {}} if isinstance(settings, str) else settings
        if not isinstance(named, Mapping) or len(named) != 1 or not all(isinstance(own, Mapping) for own in named.values()):
            raise ValueError(f"the shaper is {settings!r}; give a name, or one with settings: {{'top-lambda': {{'lambda': 0.2}}}}")
        self._native = _native.Shaper({name: dict(own) for name, own in named.items()}, count("seed", seed))

    @property
    def name(self) -> str:
        """As configs have it."""
        return self._native.name

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting, defaults included."""
        return self._native.settings

    @property
    def seed(self) -> int:
        """Of ties and random choices."""
        return self._native.seed

    @property
    def step(self) -> int:
        """Batches shaped so far."""
        return self._native.step

    @property
    def memory(self) -> dict[str, Any]:
        """What a checkpoint must keep: plain objects, for JSON."""
        return self._native.memory

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Goes on where the shaper of `memory` was."""
        self._native.restore(memory)

    def __repr__(self) -> str:
        return f"Shaper({self.settings!r}, seed={self.seed})"

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "seed": self.seed, "memory": self.memory}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["settings"], seed=state["seed"])  # type: ignore[misc]
        self.restore(state["memory"])

    def shape(
        self,
        correct: ArrayLike,
        lengths: ArrayLike,
        group_ids: "ArrayLike | Sequence[Any]",
        *,
        advantage: str = "group-std",
        length_max: float | None = None,
        budgets: ArrayLike | None = None,
        costs: Mapping[str, ArrayLike] | None = None,
        dynamic_sampling: bool = False,
    ) -> Shaped:
        """Rewards and advantages of a batch, which must hold **all** groups that are ranked together.

        `correct` [B] bool: the verdict is correct and the completion ended by itself. `lengths` [B] int64: completion
        tokens, end token included. `group_ids` [B]: equal for completions of one prompt; numbers or texts. Groups may
        lie mixed and differ in size; they count in the order of their first completions.

        `advantage` is what differences from the group's mean reward are divided by: `group-std`, `batch-std`, `none` or
        `whitened`. `length_max` is the token limit, `budgets` [B] int64 the tokens that prompts asked for, `costs` more
        costs [B] float64 by name: for the shapers that read them. `dynamic_sampling` says that groups which are all-correct
        or all-wrong were replaced before (DAPO), which shapers that select all-correct groups refuse.

        Raises `ValueError` for settings out of range, a batch without what the shaper reads, and arrays that disagree.
        """
        if not isinstance(advantage, str):
            raise ValueError(f"`advantage` is {advantage!r}; give `group-std`, `batch-std`, `none` or `whitened`")
        if not isinstance(costs, Mapping | None):
            raise ValueError(f"`costs` is a {type(costs).__name__}; give numbers of completions by name: {{'lines': [3, 5]}}")
        if not isinstance(length_max, numbers.Real | None):
            raise ValueError(f"`length_max` is {length_max!r}; give a number of tokens")
        groups, ids = _groups(group_ids)
        record = self._native.shape(
            {
                "correct": array("correct", correct, np.bool_),
                "lengths": array("lengths", lengths, np.int64),
                "groups": groups,
                "budgets": None if budgets is None else array("budgets", budgets, np.int64),
                "costs": {name: array(name, values, np.float64) for name, values in (costs or {}).items()},
                "length_max": None if length_max is None else float(length_max),
                "scale": advantage,
                "dynamic_sampling": bool(dynamic_sampling),
            }
        )
        record["selected_groups"] = ids[record["selected_groups"]]
        return Shaped(**record)


def shape(
    correct: ArrayLike,
    lengths: ArrayLike,
    group_ids: "ArrayLike | Sequence[Any]",
    shaper: "str | Mapping[str, Any] | Shaper" = "top-lambda",
    **of_batch: Any,
) -> Shaped:
    """`Shaper.shape`; a name or settings make a shaper for this one batch, with seed 0."""
    if not isinstance(shaper, Shaper):
        shaper = Shaper(shaper)
    return shaper.shape(correct, lengths, group_ids, **of_batch)


def advantages(
    rewards: ArrayLike, group_ids: "ArrayLike | Sequence[Any]", scale: str = "group-std"
) -> NDArray[np.float64]:
    """(r − mean of the group) / scale, shape [B]; exactly 0 in a group of equal rewards.

    `rewards` [B] float64; `group_ids` and `scale` as in `Shaper.shape`. Standard deviations are sample ones + 1e-6.
    """
    return _native.advantages(array("rewards", rewards, np.float64), _groups(group_ids)[0], scale)


def cost(texts: Sequence[str], definition: Mapping[str, Any]) -> NDArray[np.float64]:
    """What a cost of `[train.costs]` comes to in each of B texts, shape [B].

    `definition` is `{"lines": {}}`, `{"paragraphs": {}}` or `{"occurrences": {"of": "Wait"}}`.
    """
    return _native.cost(texts_of("texts", texts), definition)


def shaper_names() -> list[str]:
    """Names of all shapers, as configs have them."""
    return _native.shaper_names()


def _groups(group_ids: "ArrayLike | Sequence[Any]") -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Index of each completion's group in the order of first completions, and the ids in that order."""
    given = np.asarray(group_ids).reshape(-1)
    if given.dtype == object:  # ids of any kind that a dictionary takes, which need no order
        index = {group: number for number, group in enumerate(dict.fromkeys(given))}
        ids = np.empty(len(index), dtype=object)
        ids[:] = list(index)
        return np.array([index[group] for group in given], dtype=np.int64), ids
    ids, first, inverse = np.unique(given, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return np.ascontiguousarray(rank[inverse.reshape(-1)], dtype=np.int64), ids[order]
