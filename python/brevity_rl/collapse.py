"""Whether a run's accuracy fell away with its length."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from brevity_rl import _native
from brevity_rl.arguments import array, count


class CollapseWatch:
    """Compares each evaluation of a run with the best one so far, problem by problem.

    An evaluation is *beyond the bounds* when accuracy is lower than at the best one by more than 5 points and by more
    than 3 standard errors, and mean completion tokens are lower by more than 3 standard errors. The run collapses at the
    first such evaluation.
    """

    def __init__(self) -> None:
        self._native = _native.CollapseWatch()

    @classmethod
    def of_run(cls, path: "str | PathLike[str]") -> "CollapseWatch":
        """As it was after the last evaluation of a run directory."""
        watch = cls()
        watch._native = _native.CollapseWatch.of_run(path)
        return watch

    @property
    def memory(self) -> dict[str, Any]:
        """What a checkpoint must keep: plain objects, for JSON."""
        return self._native.memory

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Goes on where the watch of `memory` was."""
        self._native.restore(memory)

    def observe(
        self, step: int, problems: Sequence[str], correct: ArrayLike, lengths: ArrayLike
    ) -> dict[str, Any] | None:
        """Takes the evaluation after `step` updates and says how it stands to the best one, itself included.

        `problems` [B]: an id of each completion's problem. `correct` [B] bool. `lengths` [B] int64: completion tokens.

        Returns `best_step`, `accuracy_fall` (best minus now), `completion_tokens_fall`, a standard error of each, whether
        this evaluation is beyond the bounds (`collapsed`), and `collapse_step`, `None` until the run collapses; `None` of
        an evaluation without completions.
        """
        outcomes = (array("correct", correct, np.bool_), array("lengths", lengths, np.int64))
        return self._native.observe(count("step", step), [str(problem) for problem in problems], outcomes)
