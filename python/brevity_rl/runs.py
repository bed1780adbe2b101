"""What a run left on disk, as columns."""

from os import PathLike
from typing import Any, Literal

from brevity_rl import _native

Frame = Literal["columns", "pandas", "polars"]


class Run:
    """A run directory (docs/run-directory.md has its files and fields).

    Tables come as a dictionary of columns, or with `frame="pandas"` or `frame="polars"` as a data frame. A field within a
    field is named `outer.inner`. Columns of numbers are arrays (`float64` with NaN where one is missing), others lists.
    """

    def __init__(self, path: "str | PathLike[str]") -> None:
        """Raises `ValueError` or `OSError` for what is no run directory, or one of another version."""
        self._native = _native.Run(path)

    def header(self) -> dict[str, Any]:
        """`run.json`: what was run, with what, where."""
        return self._native.header()

    def config(self) -> str:
        """`config.toml`, every default written out."""
        return self._native.config()

    def metrics(self, frame: Frame = "columns") -> Any:
        """A row for each step."""
        return _framed(self._native.metrics(), frame)

    def rollouts(self, step: int, frame: Frame = "columns") -> Any:
        """A row for each rollout of a step; none for a step that was not made."""
        return _framed(self._native.rollouts(step), frame)

    def evaluations(self, frame: Frame = "columns") -> Any:
        """A row for each evaluation."""
        return _framed(self._native.evaluations(), frame)

    def evaluation_records(self, step: int, benchmark: str, frame: Frame = "columns") -> Any:
        """A row for each completion of an evaluation; none for one that was not made."""
        return _framed(self._native.evaluation_records(step, benchmark), frame)

    def faults(self, frame: Frame = "columns") -> Any:
        """A row for each step in which a number was not finite."""
        return _framed(self._native.faults(), frame)


def _missing(package: Frame) -> str:
    return f"frame=\"{package}\" needs {package}; run pip install './python[{package}]' in brevity's repository"


def _framed(columns: dict[str, Any], frame: Frame) -> Any:
    if frame == "columns":
        return columns
    if frame == "pandas":
        try:
            import pandas
        except ImportError as error:
            raise ImportError(_missing("pandas")) from error
        return pandas.DataFrame(columns)
    if frame == "polars":
        try:
            import polars
        except ImportError as error:
            raise ImportError(_missing("polars")) from error
        return polars.DataFrame(columns)
    raise ValueError(f"frame is {frame!r}; use \"columns\", \"pandas\" or \"polars\"")
