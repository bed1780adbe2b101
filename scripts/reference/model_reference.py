#!/usr/bin/env python3
"""Reference values for the model crate, from PyTorch and transformers.

What it makes
    For four tiny random models, built with transformers' own classes, a directory
    crates/model/tests/data/<family>/ with

      config.json, model.safetensors   written by save_pretrained, float32
      reference.safetensors            what the Rust side must reproduce

    and crates/model/tests/data/README.md, which lists the tensors and the versions used.

How to run (from anywhere; takes under a minute on one core)
    pip install torch transformers safetensors numpy
    python scripts/reference/model_reference.py            # rewrites the data
    python scripts/reference/model_reference.py --check    # compares with the data, writes nothing

Arithmetic
    Weights are rounded to float32 and saved; everything after that runs in float64 with eager
    attention, and only the results are rounded to float32. `model.double()` alone does not do
    this: transformers casts to float32 inside RMSNorm, the attention softmax and the rotary
    embedding. `float64_everywhere` lifts those casts. The script also runs the
    untouched float32 model and stops if the two differ by more than float32 rounding explains.

    Sequences go through the model one at a time, so nothing depends on padding. All seeds are
    fixed, and torch runs on one thread: a second run gives the same bytes with the same versions.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

DATA = Path(__file__).resolve().parents[2] / "crates" / "model" / "tests" / "data"
SEQUENCE_LENGTHS = (7, 12, 19)
ADAMW_STEPS = 10

# Standard deviations of the random weights: large enough that softmaxes are not flat and
# gradients not tiny.
MATRIX_STD = 0.25
NORM_STD = 0.3  # around 1
BIAS_STD = 0.3  # around 0

# No padding token: an embedding with a padding index would get no gradient for that row.
COMMON = dict(bos_token_id=1, eos_token_id=2, pad_token_id=None, use_cache=False)


def families():
    """Name -> (seed, model class, config).

    AdamW's first step has nearly the size lr whatever the gradient, so an entry whose gradient is
    close to rounding error can go either way and shows in later losses. These seeds, out of nine
    tried for each family, are those whose ten AdamW losses change least when gradients get noise.
    """
    plain_rope = lambda theta: {"rope_type": "default", "rope_theta": theta}
    return {
        # head_dim is not hidden_size / num_attention_heads; query and key norms.
        "qwen3": (
            61,
            Qwen3ForCausalLM,
            Qwen3Config(
                hidden_size=40,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=12,
                intermediate_size=52,
                num_hidden_layers=2,
                vocab_size=67,
                max_position_embeddings=128,
                tie_word_embeddings=True,
                rope_parameters=plain_rope(10000.0),
                rms_norm_eps=1e-6,
                **COMMON,
            ),
        ),
        # Biases on q, k and v; an output matrix of its own.
        "qwen2": (
            2,
            Qwen2ForCausalLM,
            Qwen2Config(
                hidden_size=48,
                num_attention_heads=6,
                num_key_value_heads=2,
                intermediate_size=44,
                num_hidden_layers=2,
                vocab_size=71,
                max_position_embeddings=128,
                tie_word_embeddings=False,
                rope_parameters=plain_rope(1000000.0),
                rms_norm_eps=1e-6,
                **COMMON,
            ),
        ),
        # llama3 rope scaling. With theta 500000 and head_dim 12 the wavelengths are 6.3, 56, 498, ...;
        # an original length of 128 puts the band borders at 32 and 128, so that one frequency is
        # kept, one interpolated and the rest divided. At 32 (borders 8 and 32) none is interpolated.
        "llama": (
            63,
            LlamaForCausalLM,
            LlamaConfig(
                hidden_size=36,
                num_attention_heads=3,
                num_key_value_heads=1,
                head_dim=12,
                intermediate_size=50,
                num_hidden_layers=2,
                vocab_size=59,
                max_position_embeddings=1024,
                tie_word_embeddings=True,
                rope_parameters={
                    "rope_type": "llama3",
                    "rope_theta": 500000.0,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 128,
                },
                rms_norm_eps=1e-5,
                **COMMON,
            ),
        ),
        # Layer 3 has no rotary embedding (in no_rope_layers 1 means rotary, 0 means none).
        "smollm3": (
            34,
            SmolLM3ForCausalLM,
            SmolLM3Config(
                hidden_size=32,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=40,
                num_hidden_layers=4,
                vocab_size=53,
                max_position_embeddings=128,
                tie_word_embeddings=True,
                no_rope_layers=[1, 1, 1, 0],
                rope_parameters=plain_rope(50000.0),
                rms_norm_eps=1e-6,
                **COMMON,
            ),
        ),
    }


@contextlib.contextmanager
def float64_everywhere():
    """Turns every explicit cast to float32 in the modelling code into one to float64."""
    saved = torch.float32, torch.float, torch.Tensor.float
    torch.float32 = torch.float = torch.float64
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = saved


def randomise(model, seed):
    """Fills every parameter from a NumPy generator, in the order of their names."""
    random = np.random.default_rng(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            values = random.standard_normal(tuple(parameter.shape))
            if name.endswith(".bias"):
                values = BIAS_STD * values
            elif parameter.ndim == 1:
                values = 1.0 + NORM_STD * values
            else:
                values = MATRIX_STD * values
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))


def load_float64(directory):
    """The saved model in float64, its rotary frequencies computed in float64 too."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    model = model.double().eval()
    with float64_everywhere():
        model.model.rotary_emb = type(model.model.rotary_emb)(config=model.config)
    assert model.model.rotary_emb.inv_freq.dtype == torch.float64
    return model


def logits_of(model, tokens):
    return model(input_ids=tokens[None].long(), use_cache=False).logits[0]


def next_token_logprobs(logits, tokens):
    """(log-probability of each next token, entropy in nats of the distribution it is drawn from)."""
    log_softmax = torch.log_softmax(logits[:-1], dim=-1)
    chosen = log_softmax.gather(1, tokens[1:, None].long())[:, 0]
    entropy = -(log_softmax.exp() * log_softmax).sum(-1)
    return chosen, entropy


def mean_loss(model, sequences):
    """Mean of -logprob over all target tokens of all sequences."""
    logprobs = [next_token_logprobs(logits_of(model, tokens), tokens)[0] for tokens in sequences]
    return -torch.cat(logprobs).mean()


def adamw_run(model, sequences):
    """Losses before each update, and gradient norms before clipping. Changes the model."""
    parameters = [p for _, p in model.named_parameters()]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=1e-2,
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    losses, norms = [], []
    for _ in range(ADAMW_STEPS):
        optimiser.zero_grad()
        loss = mean_loss(model, sequences)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).item())
        losses.append(loss.item())
        optimiser.step()
    return losses, norms


def make(name, seed, model_class, config, directory):
    """Writes one family's directory and returns a summary for the README."""
    directory.mkdir(parents=True, exist_ok=True)
    model = model_class(config)
    randomise(model, seed)
    model.save_pretrained(directory)
    # Not needed to load the model, and nothing of it is tested.
    (directory / "generation_config.json").unlink(missing_ok=True)

    random = np.random.default_rng(1000 + seed)
    sequences, weights = [], []
    for length in SEQUENCE_LENGTHS:
        sequences.append(torch.from_numpy(random.integers(0, config.vocab_size, length).astype(np.int32)))
        w = random.standard_normal(length - 1).astype(np.float32)
        zeros = random.permutation(length - 1)[: max(1, round((length - 1) / 4))]
        w[zeros] = 0.0
        assert (w > 0).any() and (w < 0).any()
        weights.append(torch.from_numpy(w))

    model = load_float64(directory)
    out, loss = {}, torch.zeros((), dtype=torch.float64)
    with float64_everywhere():
        for i, (tokens, w) in enumerate(zip(sequences, weights)):
            logits = logits_of(model, tokens)
            assert logits.dtype == torch.float64
            logprobs, entropy = next_token_logprobs(logits, tokens)
            loss = loss - (w.double() * logprobs).sum()
            out[f"tokens.{i}"] = tokens
            out[f"weights.{i}"] = w
            out[f"logits.{i}"] = logits
            out[f"logprobs.{i}"] = logprobs
            out[f"entropy.{i}"] = entropy
        loss.backward()
    out["loss"] = loss.reshape(1)
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.dtype == torch.float64, parameter_name
        out[f"gradient.{parameter_name}"] = parameter.grad
    saved = load_file(directory / "model.safetensors")
    assert set(saved) == {n for n, _ in model.named_parameters()}, "saved names differ from parameters"

    model = load_float64(directory)
    with float64_everywhere():
        losses, norms = adamw_run(model, sequences)
    assert all(p.dtype == torch.float64 for p in model.parameters())
    out["adamw.losses"] = torch.tensor(losses, dtype=torch.float64)
    out["adamw.gradient_norms"] = torch.tensor(norms, dtype=torch.float64)

    # The model as transformers runs it, without any of the above: only rounding may differ.
    plain = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()
    plain_loss, logit_gap = 0.0, 0.0
    for i, (tokens, w) in enumerate(zip(sequences, weights)):
        logits = logits_of(plain, tokens)
        assert logits.dtype == torch.float32
        plain_loss = plain_loss - (w * next_token_logprobs(logits, tokens)[0]).sum()
        logit_gap = max(logit_gap, (logits.double() - out[f"logits.{i}"]).abs().max().item())
    plain_loss.backward()
    gradient_gap = 0.0
    for n, p in plain.named_parameters():
        reference = out[f"gradient.{n}"]
        gradient_gap = max(gradient_gap, ((p.grad.double() - reference).norm() / reference.norm()).item())
    assert logit_gap < 1e-4 and gradient_gap < 1e-4, (name, logit_gap, gradient_gap)
    adamw_gap = max(abs(a / b - 1.0) for a, b in zip(adamw_run(plain, sequences)[0], losses))
    assert adamw_gap < 1e-3, (name, adamw_gap)

    rounded = {
        k: (v.detach() if v.dtype == torch.int32 else v.detach().to(torch.float32)).contiguous()
        for k, v in out.items()
    }
    assert all(torch.isfinite(v).all() for v in rounded.values())
    save_file(rounded, directory / "reference.safetensors")
    for path in directory.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors makes them readable by their owner only

    entropies = torch.cat([out[f"entropy.{i}"] for i in range(len(sequences))])
    gradient_norms = [out[k].norm().item() for k in out if k.startswith("gradient.")]
    return {
        "tensors": {k: list(v.shape) for k, v in saved.items()},
        "tied": config.tie_word_embeddings,
        "loss": loss.item(),
        "entropy": (entropies.min().item(), entropies.max().item()),
        "gradient": (min(gradient_norms), max(gradient_norms)),
        "adamw_losses": losses,
        "adamw_norms": norms,
        "float32_logit_gap": logit_gap,
        "float32_gradient_gap": gradient_gap,
        "float32_adamw_gap": adamw_gap,
    }


def readme(summaries):
    lines = [
        "# Reference values from PyTorch",
        "",
        "Written by `scripts/reference/model_reference.py`; change that script, not these files.",
        "",
        "    python scripts/reference/model_reference.py",
        "    python scripts/reference/model_reference.py --check",
        "",
        f"Made with Python {sys.version.split()[0]}, torch {torch.__version__.split('+')[0]}, "
        f"transformers {transformers.__version__}, numpy {np.__version__}.",
        "",
        "Each folder holds a tiny random model as `save_pretrained` writes it (`config.json`,",
        "`model.safetensors`, float32) and `reference.safetensors`. The reference is computed in float64",
        "throughout, from the float32 weights, and rounded to float32 at the end.",
        "Sequences run one at a time, without padding.",
        "",
        "| tensor | type, shape | content |",
        "|---|---|---|",
        f"| `tokens.<i>` | I32 [T] | sequence i of {len(SEQUENCE_LENGTHS)}; "
        f"T = {', '.join(map(str, SEQUENCE_LENGTHS))} |",
        "| `logits.<i>` | F32 [T, V] | logits at every position |",
        "| `logprobs.<i>` | F32 [T−1] | log-softmax at position t of token t+1 |",
        "| `entropy.<i>` | F32 [T−1] | entropy in nats of the distribution at position t |",
        "| `weights.<i>` | F32 [T−1] | fixed weights of both signs, about a quarter of them zero |",
        "| `loss` | F32 [1] | −Σ_i Σ_t weights · logprobs |",
        "| `gradient.<parameter>` | F32, as the parameter | gradient of that loss, for every parameter; "
        "tied weights once, as `model.embed_tokens.weight` |",
        f"| `adamw.losses` | F32 [{ADAMW_STEPS}] | mean −logprob over all target tokens, before each of "
        f"{ADAMW_STEPS} updates |",
        f"| `adamw.gradient_norms` | F32 [{ADAMW_STEPS}] | global gradient norm before clipping |",
        "",
        "AdamW: lr 1e-2, betas 0.9 and 0.95, eps 1e-8, weight decay 0.1 on parameters with two or more",
        "dimensions and none on the others, global-norm clipping to 1.0 with `clip_grad_norm_`",
        "(which divides by norm + 1e-6).",
        "",
        "The gaps say how far transformers' own float32 run is from the reference: the largest absolute",
        "difference of a logit, the largest ‖difference‖ / ‖gradient‖ of a parameter, and the largest",
        "relative difference of an AdamW loss.",
        "",
        "| model | tied | loss | entropy | gradient norms | AdamW loss | logit gap | gradient gap | AdamW gap |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, s in summaries.items():
        lines.append(
            f"| {name} | {'yes' if s['tied'] else 'no'} | {s['loss']:.4f} | {s['entropy'][0]:.2f}–{s['entropy'][1]:.2f} "
            f"| {s['gradient'][0]:.2f}–{s['gradient'][1]:.1f} | {s['adamw_losses'][0]:.3f} → {s['adamw_losses'][-1]:.3f} "
            f"| {s['float32_logit_gap']:.0e} | {s['float32_gradient_gap']:.0e} | {s['float32_adamw_gap']:.0e} |"
        )
    lines += [
        "",
        "What each one is for: qwen3, a head size other than hidden / heads, and query and key norms; qwen2,",
        "biases on q, k and v and an output matrix of its own; llama, llama3 rope scaling with a frequency in",
        "each of its three bands; smollm3, a layer (3) without rotary embedding.",
        "",
        "transformers 5 writes the rotary settings as `rope_parameters` and the type as `dtype`; most",
        "published models still have `rope_theta`, `rope_scaling` and `torch_dtype`.",
        "",
    ]
    return "\n".join(lines)


def build(root):
    summaries = {}
    for name, (seed, model_class, config) in families().items():
        summaries[name] = make(name, seed, model_class, config, root / name)
    (root / "README.md").write_text(readme(summaries), encoding="utf-8")
    return summaries


def record_or_check(description, build, recorded):
    """Has `build` write reference values to the folder `recorded`, or with --check compares what it would write."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="compare with the recorded data, write nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if not arguments.check:
        print(json.dumps(build(recorded), indent=1))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        made = sorted(p.relative_to(folder) for p in Path(folder).rglob("*") if p.is_file())
        different = [
            str(p) for p in made
            if not (recorded / p).is_file() or (recorded / p).read_bytes() != (Path(folder) / p).read_bytes()
        ]
    print("identical" if not different else "different: " + ", ".join(different))
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(record_or_check("Record reference values for the model crate.", build, DATA))
