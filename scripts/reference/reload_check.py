#!/usr/bin/env python3
"""Loads a model directory with transformers and prints its logits, to check directories that the
Rust side saved.

    python scripts/reference/reload_check.py MODEL_DIR --tokens 5,3,17,2

Float32, eager attention, on the CPU. Prints one JSON object on standard output:

    model_type, class     what transformers took the directory for
    tokens                the ids given
    logits                one list of vocabulary size per token
    missing, unexpected, mismatched    tensor names that do not fit the model

Ends with status 1 if any name is missing, unexpected or of another shape (transformers only warns
and fills in random values).
"""

import argparse
import json
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM


def main():
    parser = argparse.ArgumentParser(description="Load a model directory with transformers and print logits as JSON.")
    parser.add_argument("model_dir", metavar="MODEL_DIR")
    parser.add_argument("--tokens", default="0,1,2,3", help="token ids, separated by commas or blanks")
    arguments = parser.parse_args()
    tokens = [int(t) for t in arguments.tokens.replace(",", " ").split()]

    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model, info = AutoModelForCausalLM.from_pretrained(
        arguments.model_dir,
        dtype=torch.float32,
        attn_implementation="eager",
        local_files_only=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    problems = {
        "missing": sorted(map(str, info["missing_keys"])),
        "unexpected": sorted(map(str, info["unexpected_keys"])),
        "mismatched": sorted(map(str, info["mismatched_keys"])),
    }
    if not tokens or min(tokens) < 0 or max(tokens) >= model.config.vocab_size:
        parser.error(f"token ids must lie in 0..{model.config.vocab_size - 1}, and there must be at least one")
    with torch.no_grad():
        logits = model.eval()(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    json.dump(
        {
            "model_type": model.config.model_type,
            "class": type(model).__name__,
            "tokens": tokens,
            "logits": logits.tolist(),
            **problems,
        },
        sys.stdout,
    )
    print()
    return 1 if any(problems.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
