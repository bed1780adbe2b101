"""Completion text and gold answer in, verdict out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brevity_rl import _native
from brevity_rl.arguments import count, texts_of

AUTO: Mapping[str, Any] = {"auto": {}}
"""How an answer is found unless told otherwise: the last box, `####`, `answer is`, the last formula or number."""


@dataclass(frozen=True)
class Check:
    """What the verifier decided about one completion."""

    verdict: str
    """`correct`, `incorrect`, `no_answer`, `unreadable`, `unknown` or `too_large`; only the first earns reward."""
    answer: str | None
    """The text taken for the answer, at most its first 1,000 bytes."""
    reason: str
    """One lower-case clause saying why."""

    @property
    def correct(self) -> bool:
        """Whether the verdict is `correct`."""
        return self.verdict == "correct"


@dataclass(frozen=True)
class Checks:
    """What the verifier decided about B completions; each field as in `Check`."""

    correct: NDArray[np.bool_]
    """Shape [B]."""
    verdicts: list[str]
    answers: list[str | None]
    reasons: list[str]


def verify(
    completion: str, gold: str, *, extraction: Mapping[str, Any] = AUTO, decimals: int | None = None
) -> Check:
    """Decides whether a completion answers its problem. Exact, bounded, safe in any thread; no completion raises.

    `gold` is an answer or a whole solution. `extraction` is `{"auto": {}}` or `{"marker": {"marker": "A"}}`.
    `decimals` rounds real numbers, for problems that ask for it.

    Raises `ValueError` for a gold that no completion could be compared with.
    """
    return Check(*_native.verify(completion, gold, extraction, decimals))


def verify_batch(
    completions: Sequence[str],
    golds: Sequence[str],
    *,
    extraction: Mapping[str, Any] = AUTO,
    decimals: int | None = None,
    threads: int = 0,
) -> Checks:
    """`verify` for B completions, each with its gold, on `threads` threads (0: all cores), without the GIL.

    A gold that occurs again is read once. Raises `ValueError` with the row, from 0, of a gold that cannot be read.
    """
    texts = texts_of("completions", completions)
    return Checks(*_native.verify_batch(texts, texts_of("golds", golds), (extraction, decimals), count("threads", threads)))


def check_golds(golds: Sequence[str], *, decimals: int | None = None) -> None:
    """Raises `ValueError` with the row, from 0, of the first gold that no completion could be compared with."""
    _native.check_golds(texts_of("golds", golds), decimals)
