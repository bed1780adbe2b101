"""The manual, `docs/python.md`."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "python.md").read_text()


def code(heading):
    """The first code in Python below a heading."""
    below = TEXT.split(f"\n## {heading}\n")[1]
    return below.split("```python\n")[1].split("```")[0]
