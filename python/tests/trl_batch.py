"""Trains the tiny model with `GRPOLambdaTrainer`, once for each settings, and writes what every generation batch came to.

Run by `test_trl.py`, alone or once per process under `torch.distributed.run`: `python trl_batch.py FOLDER SETTINGS`, the
settings a JSON object by name. All are of one process because PyTorch and TRL take longer to import than to train this.
"""

import json
import os
import sys
import warnings
from pathlib import Path

import tiny
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

import brevity_rl
from brevity_rl.trl import GRPOLambdaTrainer

DEFAULTS = {
    "per_device_train_batch_size": 8,
    "num_generations": 8,
    "gradient_accumulation_steps": 4,
    "max_steps": 2,
    "max_completion_length": 12,
    "learning_rate": 1e-3,
}


class Recorder(GRPOLambdaTrainer):
    """Keeps what each process puts in and gets out."""

    def _generate_and_score_completions(self, inputs):
        output = super()._generate_and_score_completions(inputs)
        ids = [row[mask.bool()].tolist() for row, mask in zip(output["completion_ids"], output["completion_mask"])]
        if not hasattr(self, "batches"):
            self.batches = []
        self.batches.append(
            {
                "train": self.model.training,
                "prompts": [row["prompt"] for row in inputs],
                "golds": [row["answer"] for row in inputs],
                "texts": self.processing_class.batch_decode(ids, skip_special_tokens=True),
                "ids": ids,
                "advantages": output["advantages"].tolist(),
            }
        )
        return output


def train(folder: Path, name: str, settings: dict) -> dict:
    """What one run came to: its batches, its log, what its shaper remembers, what it warned of, or why it was refused."""
    own = settings.pop("trainer", {})
    if settings.pop("second_reward", False):
        own["reward_funcs"] = [verified, short]
    resume = settings.pop("resume", None)
    in_words = settings.pop("in_words", False)
    arguments = {**DEFAULTS, "output_dir": str(folder / name), "use_cpu": True, "bf16": False, "report_to": "none",
                 "logging_steps": 1, "save_strategy": "no", "disable_tqdm": True, **settings}  # fmt: skip
    rows = [{"prompt": row["question"], "answer": row["answer"]} for row in tiny.problems(40)]
    if in_words:
        for row in rows:
            row["prompt"] = [{"role": "user", "content": f"What is {row['prompt'].removesuffix(' :')}?"}]
    tokenizer = AutoTokenizer.from_pretrained(folder / "model", padding_side="left")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        try:
            trainer = Recorder(
                model=AutoModelForCausalLM.from_pretrained(folder / "model", dtype="float32"),
                args=GRPOConfig(**arguments),
                train_dataset=Dataset.from_list(rows),
                eval_dataset=Dataset.from_list(rows[:4]),
                processing_class=tokenizer,
                **own,
            )
            trainer.train(resume_from_checkpoint=resume and str(folder / resume))
        except ValueError as error:
            return {"refused": str(error)}
    return {
        "batches": trainer.batches,
        "end": tokenizer.eos_token_id,
        "log": trainer.state.log_history,
        "memory": trainer.shaper.memory,
        "warned": [str(warning.message) for warning in warned],
    }


def verified(completions, answer, **_):
    """The verifier's reward, as a function of the user's own."""
    return [float(correct) for correct in brevity_rl.verify_batch(completions, answer).correct]


def short(completion_ids, **_):
    """0.1 for each token below 12; nothing to say of completions of one token."""
    return [None if len(ids) == 1 else 0.1 * (12 - len(ids)) for ids in completion_ids]


def main(folder: Path, all_settings: dict) -> None:
    rank = int(os.environ.get("RANK", "0"))
    for name, settings in all_settings.items():
        (folder / f"{name}-{rank}.json").write_text(json.dumps(train(folder, name, settings)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
