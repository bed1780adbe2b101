"""What comes with the wheel, and what is said about what does not."""

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import brevity_rl


def test_types_and_stubs_are_in_the_wheel():
    folder = Path(brevity_rl.__file__).parent
    for name in ("py.typed", "_native.pyi"):
        assert (folder / name).is_file()


def test_every_public_name_is_documented():
    for name in brevity_rl.__all__:
        if not name.startswith("_"):
            assert getattr(brevity_rl, name).__doc__, name
    assert re.fullmatch(r"\d+\.\d+\.\d+", brevity_rl.__version__)


@pytest.mark.parametrize("package", ["trl", "verl"])
def test_what_is_not_installed_is_named_with_the_remedy(package):
    if importlib.util.find_spec(package) is not None:
        importlib.import_module(f"brevity_rl.{package}")
        return
    with pytest.raises(ImportError, match=rf"pip install 'brevity-rl\[{package}\]'"):
        importlib.import_module(f"brevity_rl.{package}")


def test_the_manual_has_the_output_of_the_traps():
    root = Path(__file__).parents[2]
    script = root / "python" / "examples" / "traps.py"
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    manual = (root / "docs" / "python.md").read_text()
    assert manual.split("<!-- traps -->")[1].strip() == f"```\n{ran.stdout.rstrip()}\n```"
