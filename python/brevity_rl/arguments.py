"""What callers give, in the one form that the native module takes, or refused by its name."""

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GIVE = {np.bool_: "truth values", np.int64: "whole numbers", np.float64: "numbers"}


def array(name: str, values: ArrayLike, dtype: type[np.generic]) -> NDArray[Any]:
    """An array [B] of `dtype` in one piece: `values` themselves where they are one."""
    try:
        given = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor of another device or type, or lists of unequal lengths
        raise ValueError(f"`{name}` is no array that NumPy can read ({error})") from error
    fits = given.size == 0 or np.can_cast(given.dtype, dtype, "same_kind")
    if not fits and not (dtype is np.bool_ and _is_binary(given)):
        raise ValueError(f"`{name}` has the type {given.dtype}; give {_GIVE[dtype]} ({np.dtype(dtype)})")
    return np.ascontiguousarray(given, dtype=dtype).reshape(-1)


def count(name: str, value: Any) -> int:
    """A whole number that is not negative."""
    try:
        number = operator.index(value)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"`{name}` is {value!r}; give a whole number from 0")
    return number


def _is_binary(values: NDArray[Any]) -> bool:
    return values.dtype.kind in "iuf" and bool(np.isin(values, (0, 1)).all())


def texts_of(name: str, values: Iterable[str]) -> list[str]:
    """The texts as a list, whatever holds them: a column of a data set, a series, an array."""
    if isinstance(values, str):
        raise ValueError(f"`{name}` is one text; give a list of texts")
    texts = list(values)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"`{name}` has {repr(text)[:40]} ({type(text).__name__}) at row {row}; give texts")
    return texts
