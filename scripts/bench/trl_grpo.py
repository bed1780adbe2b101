"""One whole step of TRL's GRPOTrainer: sample, reward, update. The tokenizer is made here, nothing is fetched."""

import tempfile
import time

import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from torch_models import DTYPES, EOS_TOKEN, PAD_TOKEN, peer_name, random_model, random_tokens, set_up_torch

# On a CPU faster than "sdpa", because most of a step is decoding.
ATTENTION = "eager"


def run(work, threads, repeats):
    """Times `work`, a GrpoStep. Returns (peer, seconds, note)."""
    set_up_torch(threads)
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=random_model(work.model, DTYPES[work.weights], ATTENTION),
            reward_funcs=share_of_even_words,
            args=configuration(work, folder, steps=repeats + 1),
            train_dataset=prompts(work),
            processing_class=word_tokenizer(work.model.vocab_size),
            callbacks=[clock],
        )
        trainer.train()
    mean_tokens = [log["completions/mean_length"] for log in trainer.state.log_history if "reward" in log]
    assert mean_tokens == [work.completion_tokens] * (repeats + 1), mean_tokens
    _warm_up, *seconds = clock.seconds
    note = f"bf16 autocast, {work.weights} weights, {ATTENTION} attention, beta 0, fused AdamW"
    return f"TRL {trl.__version__}, {peer_name()}", seconds, note


class StepClock(TrainerCallback):
    """Measures from one step's end to the next, so that nothing between two steps is left out."""

    def __init__(self):
        self.seconds = []
        self.last_end = None

    def on_train_begin(self, args, state, control, **kwargs):
        self.last_end = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        self.seconds.append(now - self.last_end)
        self.last_end = now


def configuration(work, folder, steps):
    """One micro-batch per step, without what only saves memory."""
    return GRPOConfig(
        output_dir=folder,
        max_steps=steps,
        use_cpu=True,
        bf16=True,
        beta=0.0,
        gradient_checkpointing=False,
        per_device_train_batch_size=work.prompts * work.group_size,
        gradient_accumulation_steps=1,
        num_generations=work.group_size,
        max_completion_length=work.completion_tokens,
        generation_kwargs={"min_new_tokens": work.completion_tokens},
        temperature=1.0,
        top_k=0,
        optim="adamw_torch_fused",
        max_grad_norm=1.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def word_tokenizer(vocab_size):
    """A tokenizer whose word `w<i>` is token i. The special words start with no other word's letters: they
    are looked for inside words too."""
    words = {"<pad>": PAD_TOKEN, "<eos>": EOS_TOKEN} | {f"w{token}": token for token in range(2, vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<pad>", padding_side="left"
    )


def prompts(work):
    """As many random prompts as one step takes."""
    tokens = random_tokens(work.model, work.prompts, work.prompt_tokens).tolist()
    return Dataset.from_dict({"prompt": [" ".join(f"w{token}" for token in prompt) for prompt in tokens]})


def share_of_even_words(completions, **kwargs):
    """A reward that costs nothing and differs within a group: else all advantages would be 0."""
    return [share_even(completion.split()) for completion in completions]


def share_even(words):
    return sum(int(word[1:]) % 2 == 0 for word in words) / max(1, len(words))
