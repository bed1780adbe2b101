"""Makes what the runs on SVAMP in docs/results.md need: demonstrations and problems.

python3 scripts/svamp/make.py GSM8K_TRAIN.jsonl SVAMP.jsonl OUT

GSM8K_TRAIN.jsonl: grade_school_math/data/train.jsonl of https://github.com/openai/grade-school-math (MIT).
SVAMP.jsonl: evaluation/data/svamp/test.jsonl of https://github.com/QwenLM/Qwen2.5-Math (SVAMP is under MIT), 1,000 rows.
OUT gets gsm8k-demonstrations.jsonl, svamp-demonstrations.jsonl, train.jsonl and held-out.jsonl.

A row of SVAMP goes where the first byte of its id's SHA-256 says: below 64 it is held out, below 160 demonstrated,
otherwise trained on. A demonstration restates the problem, computes, and checks: longer than it has to be, as a
reasoning model's answers are.
"""

import hashlib
import json
import operator
import pathlib
import re
import sys

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}
INVERSE = {"+": "-", "-": "+", "*": "/", "/": "*"}
OPERATION = re.compile(r"\( (\S+) ([-+*/]) (\S+) \)")


def decimal(value):
    """A number as one writes it: 145 for 145.0."""
    value = float(value)
    return str(int(value)) if value == int(value) else repr(value)


def part(row):
    byte = hashlib.sha256(row["ID"].encode()).digest()[0]
    return "held-out" if byte < 64 else "demonstrated" if byte < 160 else "trained"


def computed(equation):
    """Lines that compute an equation's innermost brackets first, and what it comes to."""
    lines = []
    while found := OPERATION.search(equation):
        left, sign, right = found.groups()
        value = decimal(round(OPERATORS[sign](float(left), float(right)), 4))
        lines.append(f"We compute {left} {sign} {right} = {value}.")
        equation = equation[: found.start()] + value + equation[found.end() :]
    return lines, equation


def demonstration(row):
    """A row's demonstration, or none where its equation does not give its answer."""
    equation = re.sub(r"\d+\.\d+|\d+", lambda number: decimal(number.group(0)), row["Equation"]).strip()
    body, question, answer = row["Body"].strip(), row["Question"].strip(), decimal(row["Answer"])
    lines, value = computed(equation)
    if decimal(round(float(value), 4)) != answer:
        return None
    if only := OPERATION.fullmatch(equation):
        left, sign, right = only.groups()
        lines.append(f"To check: {answer} {INVERSE[sign]} {right} = {left}.")
    restated = [f"The problem says: {body.rstrip('.')}.", f"It asks: {question}"]
    return {"prompt": f"{body} {question}", "completion": "\n".join([*restated, *lines, f"#### {answer}"])}


def gsm8k_demonstration(row):
    """A solution without its calculator marks."""
    solution, _, answer = re.sub(r"<<.*?>>", "", row["answer"]).strip().rpartition("####")
    return {"prompt": row["question"], "completion": f"{solution.strip()}\n#### {answer.strip()}"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} rows")


def main(gsm8k, svamp, out):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows = read(svamp)
    of_part = lambda name: [row for row in rows if part(row) == name]
    demonstrations = [shown for row in of_part("demonstrated") if (shown := demonstration(row))]
    write(out / "gsm8k-demonstrations.jsonl", [gsm8k_demonstration(row) for row in read(gsm8k)])
    write(out / "svamp-demonstrations.jsonl", demonstrations)
    write(out / "train.jsonl", of_part("trained"))
    write(out / "held-out.jsonl", of_part("held-out"))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
