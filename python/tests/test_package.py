"""What comes with the wheel, and what is said about what does not."""

import functools
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import manual
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
    with pytest.raises(ImportError, match=rf"pip install '\./python\[{package}\]'"):
        importlib.import_module(f"brevity_rl.{package}")


def test_the_three_calls_of_the_manual_run():
    names = {
        "brevity_rl": brevity_rl, "texts": [r"\boxed{1}", "2", r"\boxed{1}", "3"], "golds": ["1"] * 4,
        "ended": [True, True, False, True], "lengths": [5, 2, 9, 3], "group_ids": ["a", "a", "b", "b"],
    }  # fmt: skip
    exec(manual.code("Any other loop"), names)
    # By hand: of the two groups, one with a correct completion that ended is the best.
    assert names["correct"].tolist() == [True, False, False, False]
    assert names["shaped"].selected_groups.tolist() == ["a"]
    assert names["advantages"].tolist()[2:] == [0, 0]


def test_the_lines_of_the_manual_fit_trl(monkeypatch):
    trl = pytest.importorskip("trl")
    import brevity_rl.trl

    given = []
    signature = inspect.signature(brevity_rl.trl.GRPOLambdaTrainer.__init__)
    monkeypatch.setattr(
        brevity_rl.trl, "GRPOLambdaTrainer", lambda *own, **named: given.append(signature.bind(None, *own, **named))
    )
    config = functools.partial(trl.GRPOConfig, use_cpu=True, bf16=False)
    exec(manual.code("TRL"), {"GRPOConfig": config, "problems": []})
    named = given[0].arguments["named"]
    assert named["args"].generation_batch_size == 40 and named["train_dataset"] == []


def test_the_manual_has_the_output_of_the_traps():
    script = manual.ROOT / "python" / "examples" / "traps.py"
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert manual.TEXT.split("<!-- traps -->")[1].strip() == f"```\n{ran.stdout.rstrip()}\n```"
