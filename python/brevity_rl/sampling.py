"""Completions from a model directory, by the engine of `brevity`, on the CPU."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from brevity_rl import _native
from brevity_rl.arguments import count, texts_of


@dataclass(frozen=True)
class Completion:
    """Tokens sampled after a prompt."""

    text: str
    """Without special tokens."""
    tokens: NDArray[np.int64]
    """Shape [T], the end token included."""
    logprobs: NDArray[np.float32]
    """Shape [T], nats, under the distribution that was sampled from."""
    entropy_nats: float
    """Mean entropy of that distribution over the tokens."""
    ended: bool
    """Whether an end token was written; otherwise the limit was reached."""


class Model:
    """A model directory in Hugging Face layout, read into memory once.

    `compute` is `"f32"`, `"bf16"`, or `None` for the fastest that the CPU has.
    """

    def __init__(self, path: "str | PathLike[str]", *, compute: Literal["f32", "bf16"] | None = None) -> None:
        """Raises `ValueError` or `OSError` for a directory that is no model of a family that `brevity` reads."""
        self._native = _native.Model(path, compute)

    @property
    def parameter_count(self) -> int:
        """Parameters of the network."""
        return self._native.parameter_count

    def sample(
        self,
        texts: Sequence[str],
        *,
        n: int = 1,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_tokens: int = 4096,
        seed: int = 0,
        system: str | None = "",
        variables: Mapping[str, Any] | None = None,
        threads: int = 0,
    ) -> list[list[Completion]]:
        """`n` completions of each text: those of `brevity sample` for the same texts and seed, whatever the threads.

        Temperature 0 takes the most likely token. `system` is the system message of the chat template (none when empty);
        `None` continues the texts as they stand, without a template. `variables` are what the template reads besides, as
        `{"enable_thinking": False}`; `date`, as `"2026-11-30"`, is the day of those that print one. The GIL is released
        while the model computes.
        """
        settings: dict[str, Any] = {
            "n": count("n", n),
            "temperature": temperature,
            "top_k": count("top_k", top_k),
            "top_p": top_p,
            "max_tokens": count("max_tokens", max_tokens),
            "seed": count("seed", seed),
            "system": system,
            "threads": count("threads", threads),
        }
        groups = self._native.sample(texts_of("texts", texts), settings, dict(variables or {}))
        return [[Completion(**completion) for completion in group] for group in groups]


def sample(path: "str | PathLike[str]", texts: Sequence[str], **settings: Any) -> list[list[Completion]]:
    """`Model(path).sample(texts, …)`: reads the model for this one call."""
    return Model(path).sample(texts, **settings)
