"""GRPO-λ with TRL: python trl_grpo_lambda.py MODEL [PROBLEMS.jsonl with `question` and `answer`]."""

import sys

import torch
from datasets import Dataset, load_dataset
from trl import GRPOConfig

from brevity_rl.trl import GRPOLambdaTrainer  # was: from trl import GRPOTrainer

if len(sys.argv) > 2:
    problems = Dataset.from_json(sys.argv[2])
else:
    problems = load_dataset("openai/gsm8k", "main", split="train")
problems = problems.map(lambda row: {"prompt": [{"role": "user", "content": row["question"]}]})

# 5 groups of 8 completions are ranked together: λ = 0.2 puts the one answered best under length pressure.
trainer = GRPOLambdaTrainer(  # was: GRPOTrainer(
    model=sys.argv[1],
    args=GRPOConfig("out", num_generations=8, per_device_train_batch_size=8, gradient_accumulation_steps=5,
                    max_completion_length=512, max_steps=2, logging_steps=1, report_to="none",
                    bf16=torch.cuda.is_available()),
    train_dataset=problems,
)  # fmt: skip
trainer.train()
