#!/usr/bin/env python3
"""Reference values for low-rank adapters, from PyTorch, transformers and peft.

What it makes
    For two of the tiny models that model_reference.py made, an adapter with random A and B as peft
    saves it, and what the model with it computes:

      crates/model/tests/data/adapters/<family>/adapter_config.json, adapter_model.safetensors
      crates/model/tests/data/adapters/<family>/reference.safetensors

    and crates/model/tests/data/adapters/README.md, which lists the tensors and the versions used.

How to run (from anywhere; takes under a minute on one core)
    pip install torch transformers peft safetensors numpy
    python scripts/reference/adapter_reference.py            # rewrites the data
    python scripts/reference/adapter_reference.py --check    # compares with the data, writes nothing

Arithmetic
    As in model_reference.py: A and B are rounded to float32 and saved; everything after that runs in
    float64, and only the results are rounded to float32.
"""

import json
import sys

import numpy as np
import peft
import torch
import transformers
from model_reference import DATA, float64_everywhere, load_float64, logits_of, next_token_logprobs, record_or_check
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

ADAPTERS = {
    "qwen3": (
        71,
        dict(
            r=4,
            lora_alpha=6,
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        ),
    ),
    # Some projections of those that share their inputs, biases under adapted ones, a rank that is odd.
    "qwen2": (72, dict(r=3, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj", "up_proj", "down_proj"])),
}
DEVIATION = 0.2


def saved_name(name):
    return name.replace(".default.", ".")


def make(family, seed, settings, directory):
    directory.mkdir(parents=True, exist_ok=True)
    base = AutoModelForCausalLM.from_pretrained(DATA / family, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings))
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                values = DEVIATION * random.standard_normal(tuple(parameter.shape))
                parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    # Relative to the folder of the crate, where its tests run.
    model.peft_config["default"].base_model_name_or_path = f"tests/data/{family}"
    model.save_pretrained(directory)
    (directory / "README.md").unlink(missing_ok=True)
    # peft keeps the names in a set, whose order changes from run to run.
    config = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))
    config["target_modules"] = sorted(config["target_modules"])
    (directory / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    model = PeftModel.from_pretrained(load_float64(DATA / family), directory, is_trainable=True).double()
    given = load_file(DATA / family / "reference.safetensors")
    out, loss = {}, torch.zeros((), dtype=torch.float64)
    with float64_everywhere():
        for i in range(3):
            logits = logits_of(model, given[f"tokens.{i}"])
            assert logits.dtype == torch.float64
            logprobs, _ = next_token_logprobs(logits, given[f"tokens.{i}"])
            loss = loss - (given[f"weights.{i}"].double() * logprobs).sum()
            out[f"logits.{i}"], out[f"logprobs.{i}"] = logits, logprobs
        loss.backward()
    out["loss"] = loss.reshape(1)
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad == ("lora_" in name), name
        if parameter.requires_grad:
            out[f"gradient.{saved_name(name)}"] = parameter.grad
    saved = load_file(directory / "adapter_model.safetensors")
    assert {f"gradient.{name}" for name in saved} == {name for name in out if name.startswith("gradient.")}
    rounded = {name: values.detach().to(torch.float32).contiguous() for name, values in out.items()}
    assert all(torch.isfinite(values).all() for values in rounded.values())
    save_file(rounded, directory / "reference.safetensors")
    for path in directory.glob("*.safetensors"):
        path.chmod(0o644)
    change = max((out[f"logits.{i}"] - given[f"logits.{i}"]).abs().max().item() for i in range(3))
    norms = [values.norm().item() for name, values in out.items() if name.startswith("gradient.")]
    return f"| {family} | {loss.item():.4f} | {change:.2f} | {min(norms):.2f}–{max(norms):.1f} |"


def build(root):
    rows = [make(family, seed, settings, root / family) for family, (seed, settings) in ADAPTERS.items()]
    text = f"""# Reference values of adapters from peft

Written by `scripts/reference/adapter_reference.py`; change that script, not these files.

    python scripts/reference/adapter_reference.py
    python scripts/reference/adapter_reference.py --check

Made with Python {sys.version.split()[0]}, torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}, peft {peft.__version__}, numpy {np.__version__}.

Each folder holds an adapter with random A and B over the model of the same name beside this folder, as peft's
`save_pretrained` writes it, and `reference.safetensors`: `logits.<i>`, `logprobs.<i>`, `loss` and `gradient.<parameter>`
as in `../README.md`, of the base with the adapter on, for the tokens and weights of the base's own reference.

| base | loss | largest change of a logit | gradient norms |
|---|---|---|---|
""" + "\n".join(rows) + "\n"
    (root / "README.md").write_text(text, encoding="utf-8")
    return rows


if __name__ == "__main__":
    sys.exit(record_or_check("Record reference values for adapters.", build, DATA / "adapters"))
