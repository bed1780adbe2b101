"""Writes the gold/prediction pairs of Math-Verify's own tests as JSON lines.

Usage: python math_verify_pairs.py DIRECTORY

Downloads the source distribution of Math-Verify 0.9.0 from PyPI with pip into DIRECTORY, where it is not there yet, and
writes DIRECTORY/pairs.jsonl. Nothing of it is imported or run: the pairs are read from the syntax of the test files.
A pair has the fields of the call that the test makes: `gold`, `prediction`, `expected`, `kinds` (what is looked for),
`digits` (decimal places that floats are rounded to), `strict`, `allow_set_relation`; and `test`, its file, line and
column.
It needs Python 3.11 or later and nothing beside it.
"""

import ast
import json
import math
import subprocess
import sys
import tarfile
from pathlib import Path

RELEASE = "0.9.0"
ARCHIVE = f"math_verify-{RELEASE}.tar.gz"
PAIRS = 275

# What `compare_strings` in test_all.py, and `parse` and `verify` called bare, do when a test does not say.
DEFAULTS = {"kinds": ["latex", "expr"], "digits": 6, "strict": True, "allow_set_relation": False}
# How the tests name the arguments, by the field that holds them.
FIELDS = {
    "gold": "gold",
    "pred": "prediction",
    "expected": "expected",
    "result": "expected",
    "match_types": "kinds",
    "precision": "digits",
    "strict": "strict",
    "allow_set_relation_comp": "allow_set_relation",
}


def fetch(directory: Path) -> Path:
    """The archive below `directory`, downloaded where it is missing."""
    archive = directory / ARCHIVE
    if not archive.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--no-binary", ":all:", "--dest", str(directory), f"math-verify=={RELEASE}"]
        try:
            fetched = subprocess.run(command, check=False).returncode == 0
        except OSError as error:
            sys.exit(f"cannot run pip: {error}; install Python 3.11 or later with pip")
        if not fetched or not archive.is_file():
            sys.exit(
                f"cannot download math-verify {RELEASE} from PyPI; connect to the network, or put {ARCHIVE} into "
                f"{directory} and run again"
            )
    return archive


def test_files(archive: Path) -> dict[str, str]:
    """The test files of the archive by name, sorted."""
    texts = {}
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            path = Path(member.name)
            if path.parent.name == "tests" and path.name.startswith("test_") and path.suffix == ".py":
                texts[path.name] = tar.extractfile(member).read().decode("utf-8")
    return dict(sorted(texts.items()))


def text_or_literal(node: ast.expr) -> object:
    """The value of a literal, or of a formatted string over `math.sqrt` of an integer."""
    if not isinstance(node, ast.JoinedStr):
        return ast.literal_eval(node)
    parts = []
    for part in node.values:
        match part:
            case ast.Constant(value=str(text)):
                parts.append(text)
            case ast.FormattedValue(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id="math"), attr="sqrt"), args=[ast.Constant(value=int(of))]
                ),
                format_spec=ast.JoinedStr(values=[ast.Constant(value=str(form))]),
            ):
                parts.append(format(math.sqrt(of), form))
            case _:
                raise ValueError(f"line {part.lineno}: a formatted string of a kind that is not read")
    return "".join(parts)


def parameter_sets(function: ast.FunctionDef) -> list[dict[str, object]]:
    """The parametrized arguments of a test that compares a gold with a prediction."""
    for decorator in function.decorator_list:
        if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.parametrize"):
            continue
        names = [name.strip() for name in ast.literal_eval(decorator.args[0]).split(",")]
        if "gold" not in names:
            return []
        sets = []
        for row in decorator.args[1].elts:
            values = [text_or_literal(element) for element in row.elts]
            assert len(values) == len(names), f"line {row.lineno}: {len(values)} values for {len(names)} names"
            sets.append(dict(zip(names, values)) | {"place": f"{row.lineno}:{row.col_offset + 1}"})
        return sets
    return []


def fixed_arguments(function: ast.FunctionDef) -> dict[str, object]:
    """The keyword arguments that a test gives to the comparison as literals."""
    found = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("compare_strings", "verify"):
            for keyword in node.keywords:
                if keyword.arg in FIELDS and not isinstance(keyword.value, ast.Name):
                    found[keyword.arg] = ast.literal_eval(keyword.value)
    return found


def pairs_of(name: str, text: str) -> list[dict[str, object]]:
    pairs = []
    for function in ast.parse(text).body:
        if not isinstance(function, ast.FunctionDef) or function.name == "compare_strings":
            continue
        fixed = fixed_arguments(function)
        for arguments in parameter_sets(function):
            place = f"{name}:{arguments.pop('place')}"
            unknown = set(arguments) - set(FIELDS)
            assert not unknown, f"{place}: arguments that are not read: {sorted(unknown)}"
            pair = dict(DEFAULTS)
            pair |= {FIELDS[argument]: value for argument, value in (fixed | arguments).items()}
            pair["expected"] = bool(pair["expected"])
            pairs.append({"test": place} | pair)
    return pairs


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = Path(sys.argv[1])
    pairs = [pair for name, text in test_files(fetch(directory)).items() for pair in pairs_of(name, text)]
    if len(pairs) != PAIRS:
        sys.exit(f"{ARCHIVE} has {len(pairs)} gold/prediction pairs where {PAIRS} were expected; mend {Path(__file__).name}")
    lines = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
    (directory / "pairs.jsonl").write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
