"""Runs Math-Verify beside our verifier and prints where they agree, where not, and how long both take.

Usage: python differential.py DIRECTORY PROBLEMS COUNT

The Python that runs it has `math-verify[antlr4-13-2]==0.9.0`; DIRECTORY holds `pairs.jsonl` of math_verify_pairs.py
and takes what is written here; PROBLEMS is a directory of data sets, of which COUNT completions are drawn. The current
folder is the root of the repository. `cargo xtask verifier differential` calls it so.

A check is timed from the completion to the verdict, with the gold read beforehand. Ours is the fastest of three,
theirs one run, with their own time limits of 5 seconds in place. Disagreements go to DIRECTORY/differential.txt.
"""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

GATES = ["cargo", "run", "--quiet", "--release", "--package", "verify", "--example", "gates", "--"]


def gates(*arguments: str) -> str:
    return subprocess.run(GATES + list(arguments), check=True, capture_output=True, text=True).stdout


def read_lines(text: str) -> list[dict]:
    # Not splitlines: a JSON string may hold other line separators.
    return [json.loads(line) for line in text.split("\n") if line]


def sets(directory: Path, problems: str, count: str) -> dict[str, list[dict]]:
    pairs = read_lines((directory / "pairs.jsonl").read_text(encoding="utf-8"))
    for pair in pairs:
        pair |= {"place": pair["test"], "completion": pair["prediction"], "wanted": pair["expected"]}
    drawn = read_lines(gates("sample", problems, count))
    solutions = [row for row in drawn if row["place"].endswith(": solution")]
    right = [row for row in drawn if row["place"].endswith(": right at last")]
    perturbed = [row for row in drawn if not row["wanted"]]
    return {
        "Math-Verify's pairs": pairs,
        "the table": read_lines(gates("table")),
        "solutions": solutions,
        "completions that are right": right,
        "completions with a perturbed gold": perturbed,
    }


def our_scores(directory: Path, rows: list[dict]) -> list[dict]:
    completions, scores = directory / "completions.jsonl", directory / "scores.jsonl"
    completions.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    gates("score", str(completions), str(scores))
    return read_lines(scores.read_text(encoding="utf-8"))


def their_score(row: dict) -> tuple[bool, float]:
    """Math-Verify's verdict and its microseconds; with the settings of its own tests, where the row is one of them."""
    targets = [LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]
    if "kinds" in row:
        targets = [target for kind, target in zip(("latex", "expr"), targets) if kind in row["kinds"]]
    gold = row["gold"]
    if "test" not in row and "$" not in gold and "\\boxed" not in gold:
        gold = f"${gold}$"
    settings = {
        "float_rounding": row.get("digits", 6),
        "strict": row.get("strict", True),
        "allow_set_relation_comp": row.get("allow_set_relation", False),
    }
    gold = parse(gold, targets)
    start = time.perf_counter()
    correct = verify(gold, parse(row["completion"], targets), **settings)
    return bool(correct), (time.perf_counter() - start) * 1e6


def times(microseconds: list[float]) -> str:
    ordered = sorted(microseconds)
    p99 = ordered[-(-len(ordered) * 99 // 100) - 1]
    return f"{sum(ordered) / len(ordered):,.0f} / {p99:,.0f} / {ordered[-1]:,.0f}"


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    logging.disable(logging.CRITICAL)
    directory = Path(sys.argv[1])
    print("| completions | n | both right | only ours | only theirs | both wrong | ours, µs | theirs, µs |")
    print("|---|---|---|---|---|---|---|---|")
    shown, all_ours, all_theirs = [], [], []
    for name, rows in sets(directory, sys.argv[2], sys.argv[3]).items():
        ours = our_scores(directory, rows)
        theirs = [their_score(row) for row in rows]
        counts = dict.fromkeys(["both right", "only ours right", "only theirs right", "both wrong"], 0)
        for row, our, (their, _) in zip(rows, ours, theirs):
            right = (our["correct"] == row["wanted"], their == row["wanted"])
            case = {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[right]
            case = list(counts)[case]
            counts[case] += 1
            if case != "both right":
                lines = [f"{name}, {case}: {row['place']}, wanted {row['wanted']}", f"    gold {row['gold'][-200:]!r}"]
                lines += [f"    completion {row['completion'][-300:]!r}", f"    ours {our['verdict']}: {our['reason']}"]
                shown.append("\n".join(lines) + "\n")
        our_times = [our["microseconds"] for our in ours if "microseconds" in our]
        their_times = [spent for _, spent in theirs]
        all_ours += our_times
        all_theirs += their_times
        numbers = " | ".join(str(count) for count in counts.values())
        print(f"| {name} | {len(rows)} | {numbers} | {times(our_times)} | {times(their_times)} |", flush=True)
    print(f"| all | {len(all_theirs)} | | | | | {times(all_ours)} | {times(all_theirs)} |")
    (directory / "differential.txt").write_text("".join(shown), encoding="utf-8")
    print(f"\nTimes are mean / p99 / worst. Disagreements: {directory / 'differential.txt'}")


if __name__ == "__main__":
    main()
