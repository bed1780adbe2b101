#!/usr/bin/env python3
"""Times one row of work in what people use today: transformers, TRL or llama.cpp.

    python scripts/bench/peers.py s-train-bf16 --threads 2 --repeats 5
    python scripts/bench/peers.py s-decode-bf16@llama
    python scripts/bench/peers.py card-m-train-2048-bf16 --card 0
    python scripts/bench/peers.py --list

Prints one JSON line on stdout: row, peer, seconds (one number per repeat, after a warm-up), tokens
(per repeat), peak_bytes (of this process) and note. All else goes to stderr. README.md beside this
file says how to install what it needs.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import measure
from rows import CARD_ROWS, LLAMA_ROWS, PYTORCH_ROWS, Context, Decode, GrpoStep, TrainingStep

ROWS = PYTORCH_ROWS | CARD_ROWS | LLAMA_ROWS


def main():
    arguments = parse_arguments()
    if arguments.list:
        print("\n".join(ROWS))
        return
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    if arguments.row in PYTORCH_ROWS:
        measure.restart_with_tcmalloc()
    real_stdout = measure.stdout_to_stderr()
    work = ROWS[arguments.row]
    peer, seconds, note = run(work, arguments)
    result = {
        "row": arguments.row,
        "peer": peer,
        "seconds": [round(s, 6) for s in seconds],
        "tokens": work.tokens,
        "peak_bytes": peak_bytes(arguments),
        "note": note + (", tcmalloc" if measure.tcmalloc_is_loaded() else ""),
    }
    print(json.dumps(result), file=real_stdout, flush=True)


def run(work, arguments):
    """Runs `work` in its peer, importing only that one. Returns (peer, seconds, note)."""
    if arguments.row in LLAMA_ROWS:
        import llama_decode

        return llama_decode.run(work, arguments.threads, arguments.repeats, arguments.cache)
    if isinstance(work, TrainingStep):
        import torch_train

        return torch_train.run(work, arguments.threads, arguments.repeats, arguments.compile, device(arguments))
    if isinstance(work, Context):
        import torch_context

        return torch_context.run(work, arguments.threads, arguments.repeats, device(arguments))
    if isinstance(work, Decode):
        import torch_decode

        return torch_decode.run(work, arguments.threads, arguments.repeats)
    assert isinstance(work, GrpoStep), work
    import trl_grpo

    return trl_grpo.run(work, arguments.threads, arguments.repeats)


def device(arguments):
    """Where PyTorch computes."""
    return "cpu" if arguments.card is None else f"cuda:{arguments.card}"


def peak_bytes(arguments):
    """The most memory that was taken: of the card where there is one, else of this process."""
    if arguments.card is None:
        return measure.peak_bytes()
    import torch

    return torch.cuda.max_memory_reserved(device(arguments))


def parse_arguments():
    parser = argparse.ArgumentParser(description="Times one row of work in transformers, TRL or llama.cpp.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("row", nargs="?", choices=[*ROWS], metavar="ROW")
    what.add_argument("--list", action="store_true", help="print the names of all rows")
    parser.add_argument("--threads", type=positive, default=2)
    parser.add_argument("--repeats", type=positive, default=5, help="measured repeats, after one to warm up")
    parser.add_argument(
        "--compile", action="store_true", help="torch.compile the model of a training row; takes a minute first"
    )
    parser.add_argument("--card", type=int, metavar="N", help="compute on NVIDIA card N, for the rows of cards")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "bench-peers",
        help="folder for the GGUF files that llama.cpp reads (default: %(default)s)",
    )
    return parser.parse_args()


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


if __name__ == "__main__":
    main()
