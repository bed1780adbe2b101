#!/usr/bin/env python3
"""Loads the adapters that a run left with peft, and compares what they compute with what the run recorded.

    python scripts/reference/adapter_check.py RUN MODEL [--merged DIR]

RUN is a run directory with [model.lora] and a checkpoint after every step, MODEL the model that it
started from, with plain prompts (no chat template, no instruction), and DIR what `brevity merge` made
of RUN/model.

The rollouts of step N were sampled by the policy that checkpoint N holds. Their log-probabilities are
computed again in float32 with transformers and peft, and compared with the sums that the run recorded.
The merged model's logits are compared with those of the base and the adapter. Prints one JSON object,
and ends with status 1 if a sum of log-probabilities differs by more than 1e-4 for each of its tokens, or
a logit of the merged model by more than 1e-4.
"""

import argparse
import gzip
import json
import sys
from pathlib import Path

import torch
import transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


def load(directory):
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def adapted(base, directory):
    return PeftModel.from_pretrained(load(base), directory).eval()


def logits_of(model, tokens):
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]


def main():
    parser = argparse.ArgumentParser(description="Compare the adapters of a run with peft.")
    parser.add_argument("run", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--merged", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    end = json.loads((arguments.model / "generation_config.json").read_text())["eos_token_id"]
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]

    found = {"rollouts": 0, "tokens": 0, "largest_difference_per_token_nats": 0.0}
    for checkpoint in sorted((arguments.run / "checkpoints").glob("step-*")):
        step = checkpoint.name.removeprefix("step-")
        path = arguments.run / "rollouts" / f"step-{step}.jsonl.gz"
        if not path.is_file():
            continue
        model = adapted(arguments.model, checkpoint)
        for line in gzip.open(path, "rt", encoding="utf-8"):
            rollout = json.loads(line)
            prompt, completion = encode(rollout["question"]), encode(rollout["completion"])
            completion += [end] if rollout["stop"] == "end" else []
            if len(completion) != rollout["completion_tokens"]:
                continue  # a special token within the completion, which its text does not show
            logprobs = torch.log_softmax(logits_of(model, prompt + completion).double(), dim=-1)
            total = sum(logprobs[len(prompt) + i - 1, token].item() for i, token in enumerate(completion))
            difference = abs(total - rollout["behavior_logprob_nats"]) / len(completion)
            found["rollouts"] += 1
            found["tokens"] += len(completion)
            found["largest_difference_per_token_nats"] = max(found["largest_difference_per_token_nats"], difference)
    good = found["rollouts"] > 0 and found["largest_difference_per_token_nats"] < 1e-4

    if arguments.merged:
        tokens = list(range(2, 30))
        with_adapter = logits_of(adapted(arguments.model, arguments.run / "model"), tokens)
        difference = lambda other: (logits_of(other, tokens) - with_adapter).abs().max().item()
        found["merged_logit_difference"] = difference(load(arguments.merged))
        found["base_logit_difference"] = difference(load(arguments.model))
        good = good and found["merged_logit_difference"] < 1e-4
    print(json.dumps(found))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
