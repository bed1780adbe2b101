"""The rows of the speed comparison: which model, how much work, in which precision.

Only numbers live here, so that `peers.py --list` needs no PyTorch. Weights are random everywhere:
speed does not depend on their values.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelShape:
    """A transformer with tied embeddings. `architecture` is "qwen3" or "llama"."""

    name: str
    architecture: str
    hidden_size: int
    layers: int
    query_heads: int
    kv_heads: int
    head_size: int
    ffn_size: int
    vocab_size: int
    rope_theta: float


MODEL_S = ModelShape("s", "qwen3", 256, 6, 8, 4, 32, 768, 512, 1e6)
MODEL_L = ModelShape("l", "qwen3", 2048, 28, 16, 8, 128, 6144, 151_936, 1e6)
MODEL_M = ModelShape("m", "qwen3", 1024, 28, 16, 8, 128, 3072, 151_936, 1e6)
SMOLLM2 = ModelShape("smollm2", "llama", 576, 30, 9, 3, 64, 1536, 49_152, 1e5)


@dataclass(frozen=True)
class TrainingStep:
    """One optimizer step on `sequences` x `positions` tokens, at most `rows_max` of them at a time."""

    model: ModelShape
    precision: str
    sequences: int
    positions: int
    rows_max: int = 1 << 30

    @property
    def tokens(self):
        return self.sequences * self.positions


@dataclass(frozen=True)
class Decode:
    """`sequences` prompts of `prompt_tokens`, each continued by `new_tokens`; the prompts' pass is timed too."""

    model: ModelShape
    precision: str
    sequences: int
    prompt_tokens: int
    new_tokens: int

    @property
    def tokens(self):
        return self.sequences * self.new_tokens


@dataclass(frozen=True)
class Context:
    """As Decode, but the prompts' pass is not timed; `sequences_max` sequences are computed at a time."""

    model: ModelShape
    precision: str
    sequences: int
    prompt_tokens: int
    new_tokens: int
    sequences_max: int

    @property
    def tokens(self):
        return self.sequences * self.new_tokens


@dataclass(frozen=True)
class GrpoStep:
    """One GRPO step in bf16: sample `group_size` completions for each of `prompts`, score them, update.

    `weights` is how the optimizer holds them: "f32", or "bf16", which is faster and less exact.
    """

    model: ModelShape
    weights: str
    prompts: int
    group_size: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def tokens(self):
        return self.prompts * self.group_size * self.completion_tokens


PYTORCH_ROWS = {
    "s-train-f32": TrainingStep(MODEL_S, "f32", 16, 256),
    "s-train-bf16": TrainingStep(MODEL_S, "bf16", 16, 256),
    "m-train-f32": TrainingStep(MODEL_M, "f32", 1, 512),
    "m-train-bf16": TrainingStep(MODEL_M, "bf16", 1, 512),
    "s-decode-f32": Decode(MODEL_S, "f32", 64, 32, 128),
    "s-decode-bf16": Decode(MODEL_S, "bf16", 64, 32, 128),
    "smollm2-decode-f32": Decode(SMOLLM2, "f32", 64, 32, 64),
    "smollm2-decode-bf16": Decode(SMOLLM2, "bf16", 64, 32, 64),
    "m-decode-1-bf16": Decode(MODEL_M, "bf16", 1, 32, 32),
    "m-decode-16-bf16": Decode(MODEL_M, "bf16", 16, 32, 32),
    "s-grpo": GrpoStep(MODEL_S, "f32", 8, 16, 32, 128),
    "s-grpo-bf16-weights": GrpoStep(MODEL_S, "bf16", 8, 16, 32, 128),
    "smollm2-grpo": GrpoStep(SMOLLM2, "f32", 8, 8, 32, 150),
    "smollm2-grpo-bf16-weights": GrpoStep(SMOLLM2, "bf16", 8, 8, 32, 150),
}

# On a card, whose memory of 140 GB holds 256 sequences of 2,048 tokens, or 64 of 8,192.
CARD_ROWS = {
    f"card-{model.name}-{name}-bf16": work
    for model in (MODEL_M, MODEL_L)
    for name, work in {
        "train-2048": TrainingStep(model, "bf16", 16, 2048, 8192),
        "train-8192": TrainingStep(model, "bf16", 4, 8192, 8192),
        "decode-2048": Context(model, "bf16", 256, 2048, 64, 256),
        "decode-8192": Context(model, "bf16", 256, 8192, 64, 64),
    }.items()
}
# Small ones of the same kinds, to try the scripts.
CARD_ROWS |= {
    "card-tiny-train": TrainingStep(MODEL_S, "bf16", 3, 16, 32),
    "card-tiny-decode": Context(MODEL_S, "bf16", 3, 16, 4, 2),
}

LLAMA_SUFFIX = "@llama"
LLAMA_ROWS = {
    name + LLAMA_SUFFIX: work for name, work in PYTORCH_ROWS.items() if isinstance(work, Decode)
}
