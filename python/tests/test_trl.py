"""TRL with the tiny model, one process and two: rewards and advantages are those of the Rust functions for the same
completions, over the global batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny

import brevity_rl

pytest.importorskip("trl", reason="TRL is not installed; `cargo xtask python --with trl` installs it")

SCRIPT = Path(__file__).with_name("trl_batch.py")


SHAPER = {"top-lambda": {"lambda": 0.5}}
ACOER = {"acoer": {"warmup_steps": 0, "budget": 12, "budget_min": 1}}
ALONE = {
    "plain": {"trainer": {"shaper": SHAPER}, "eval_strategy": "steps", "eval_steps": 1, "log_completions": True},
    "several-updates": {
        "trainer": {"shaper": SHAPER}, "gradient_accumulation_steps": 1, "steps_per_generation": 4, "num_iterations": 2,
        "max_steps": 9,
    },
    "none": {"trainer": {"shaper": SHAPER}, "scale_rewards": "none"},
    "batch": {"trainer": {"shaper": {"length-penalty": {}}}, "scale_rewards": "batch"},
    "ddca": {"trainer": {"shaper": {"ddca": {}}}},
    "two-rewards": {"trainer": {"shaper": SHAPER}, "second_reward": True, "reward_weights": [1.0, 0.5]},
    "whole": {"trainer": {"shaper": ACOER}, "max_steps": 4, "save_strategy": "steps", "save_steps": 2},
    "resumed": {"trainer": {"shaper": ACOER}, "max_steps": 4, "resume": "whole/checkpoint-2"},
    "few-groups": {"gradient_accumulation_steps": 2, "max_steps": 1},
    "other-aggregation": {"multi_objective_aggregation": "normalize_then_sum"},
    "no-column": {"trainer": {"answer_column": "solution"}},
}  # fmt: skip
# 2 processes × 4 rows × 5 batches are 40 completions, 5 groups of 8: the third is half on either process.
TOGETHER = {
    "both": {
        "trainer": {"shaper": {"top-lambda": {"lambda": 0.4}}}, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 5,
    }
}  # fmt: skip


def train(folder, processes, all_settings):
    """What each process wrote of each settings."""
    if not (folder / "model").exists():
        tiny.write_random_model(folder / "model")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    command = [sys.executable, *launch, str(SCRIPT), str(folder), json.dumps(all_settings)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    read = lambda name, rank: json.loads((folder / f"{name}-{rank}.json").read_text())  # noqa: E731
    return {name: [read(name, rank) for rank in range(processes)] for name in all_settings}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"), 1, ALONE)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    return train(tmp_path_factory.mktemp("together"), 2, TOGETHER)


def batches(ranks, train=True):
    """The generation batches of all processes, put together in the order of the processes."""
    of_ranks = [[batch for batch in rank["batches"] if batch["train"] == train] for rank in ranks]
    assert len({len(own) for own in of_ranks}) == 1
    return [
        {name: sum((own[number][name] for own in of_ranks), []) for name in ("prompts", "golds", "texts", "ids", "advantages")}
        for number in range(len(of_ranks[0]))
    ]


def correct_and_lengths(batch, end=tiny.END):
    """From the completions alone."""
    ended = np.array([ids[-1] == end for ids in batch["ids"]])
    correct = brevity_rl.verify_batch(batch["texts"], batch["golds"]).correct
    return correct & ended, np.array([len(ids) for ids in batch["ids"]])


def check(ranks, shaper, group_size=8, advantage="group-std", end=tiny.END, length_max=12.0):
    """Holds every training batch to the Rust functions; returns the numbers of all batches."""
    shaper = brevity_rl.Shaper(shaper, seed=42)
    seen = []
    for batch in batches(ranks):
        correct, lengths = correct_and_lengths(batch, end)
        groups = np.arange(len(correct)) // group_size
        for group in range(groups[-1] + 1):
            assert len({str(batch["prompts"][index]) for index in np.flatnonzero(groups == group)}) == 1
        shaped = shaper.shape(correct, lengths, groups, advantage=advantage, length_max=length_max)
        np.testing.assert_allclose(batch["advantages"], shaped.advantages, rtol=1e-6, atol=1e-6)
        seen.append((correct, lengths, shaped))
    assert any(0 < correct.sum() < len(correct) for correct, _, _ in seen)
    assert any(np.abs(shaped.advantages).max() > 0 for _, _, shaped in seen)
    return seen


def test_one_process_gives_the_numbers_of_rust_and_logs_them(alone):
    ranks = alone["plain"]
    seen = check(ranks, SHAPER)
    assert len(seen) == 2
    logged = [entry for entry in ranks[0]["log"] if "shaping/reward_mean" in entry]
    assert len(logged) == 2
    for entry, (correct, _, shaped) in zip(logged, seen):
        metrics = shaped.metrics
        for name, expected in {
            "shaping/reward_mean": shaped.rewards.mean(),
            "shaping/selected_share": 0.5,
            "shaping/tied": metrics["selection"]["tied"],
            "shaping/zero_advantage_share": metrics["zero_advantage_share"],
            "collapse/correctness_ratio": correct.mean(),
            "collapse/all_wrong_share": metrics["all_wrong_share"],
            "collapse/length_correctness_correlation": metrics["length_correctness_correlation"],
            "frac_reward_zero_std": metrics["zero_advantage_share"],
        }.items():
            assert expected is None or abs(entry[name] - expected) < 1e-6, name


def test_each_evaluation_is_held_to_the_best_one_before(alone):
    ranks = alone["plain"]
    evaluated = [entry for entry in ranks[0]["log"] if "eval_accuracy" in entry]
    assert len(evaluated) == 2
    watch, all_batches = brevity_rl.CollapseWatch(), batches(ranks, train=False)
    of_each = len(all_batches) // len(evaluated)
    for number, entry in enumerate(evaluated):
        own = all_batches[number * of_each : (number + 1) * of_each]
        parts = [correct_and_lengths(batch) for batch in own]
        correct, lengths = (np.concatenate([part[index] for part in parts]) for index in (0, 1))
        decline = watch.observe(entry["step"], sum((batch["prompts"] for batch in own), []), correct, lengths)
        assert abs(entry["eval_accuracy"] - correct.mean()) < 1e-9
        assert abs(entry["eval_collapse/accuracy_fall"] - decline["accuracy_fall"]) < 1e-9
        assert entry["eval_collapse/collapsed"] == decline["collapsed"]


def test_two_processes_rank_the_groups_of_both(together):
    ranks = together["both"]
    seen = check(ranks, {"top-lambda": {"lambda": 0.4}})
    assert all(len(correct) == 40 for correct, _, _ in seen)
    assert all(len(shaped.selected_groups) == 2 for _, _, shaped in seen)
    assert ranks[0]["memory"] == ranks[1]["memory"] == {"step": 2, "state": {"nothing": {}}}


def test_generations_that_serve_several_updates_are_shaped_once(alone):
    assert len(check(alone["several-updates"], SHAPER)) == 2
    assert alone["several-updates"][0]["memory"]["step"] == 2


@pytest.mark.parametrize(
    ("name", "advantage", "shaper"),
    [("none", "none", SHAPER), ("batch", "batch-std", {"length-penalty": {}}), ("ddca", "group-std", {"ddca": {}})],
)
def test_scales_and_shapers_are_those_of_rust(alone, name, advantage, shaper):
    check(alone[name], shaper, advantage=advantage)


def test_other_rewards_are_added_and_none_counts_as_nothing(alone):
    shaper = brevity_rl.Shaper(SHAPER, seed=42)
    for batch in batches(alone["two-rewards"]):
        correct, lengths = correct_and_lengths(batch)
        groups = np.arange(len(correct)) // 8
        shaped = shaper.shape(correct, lengths, groups, length_max=12.0)
        second = np.where(lengths == 1, 0.0, 0.1 * (12 - lengths))
        expected = brevity_rl.advantages(shaped.rewards + 0.5 * second, groups)
        np.testing.assert_allclose(batch["advantages"], expected, rtol=1e-5, atol=1e-5)


def test_a_resumed_run_goes_on_with_the_memory_of_its_shaper(alone):
    whole, resumed = alone["whole"][0], alone["resumed"][0]
    assert len(batches([whole])) == 4 and len(batches([resumed])) == 2
    assert whole["memory"]["step"] == resumed["memory"]["step"] == 4
    check([whole], ACOER)
    # The same two batches before, and its own after.
    joined = {**resumed, "batches": whole["batches"][:2] + resumed["batches"]}
    check([joined], ACOER)


def test_few_groups_are_warned_of_and_contradictions_refused(alone):
    said = "a generation batch has 2 groups, so that `lambda` = 0.2 selects 0.50 of them"
    assert any(said in warned for warned in alone["few-groups"][0]["warned"])
    assert "which makes advantages of its own" in alone["other-aggregation"][0]["refused"]
    assert "the data set has no column `solution`" in alone["no-column"][0]["refused"]


def test_the_example_trains_for_two_steps(tmp_path):
    tiny.write_random_model(tmp_path / "model")
    rows = tmp_path / "problems.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in tiny.problems(20)))
    example = Path(__file__).parents[1] / "examples" / "trl_grpo_lambda.py"
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, str(example), "model", str(rows)], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=1800, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert ran.stdout.count("shaping/selected_share") == 2


MODEL = os.environ.get("BREVITY_TRL_MODEL")
needs_model = pytest.mark.skipif(MODEL is None, reason="BREVITY_TRL_MODEL does not name a model directory")


@needs_model
@pytest.mark.parametrize("processes", [1, 2])
def test_a_model_that_speaks_gets_the_numbers_of_rust(tmp_path, processes):
    (tmp_path / "model").symlink_to(MODEL)
    settings = {
        "trainer": {"shaper": SHAPER}, "in_words": True, "num_generations": 4, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2 // processes, "max_completion_length": 48, "learning_rate": 1e-6,
    }  # fmt: skip
    ranks = train(tmp_path, processes, {"spoken": settings})["spoken"]
    seen = check(ranks, SHAPER, group_size=4, end=ranks[0]["end"], length_max=48.0)
    logged = [entry for entry in ranks[0]["log"] if "shaping/reward_mean" in entry]
    assert len(seen) == len(logged) == 2
    for entry, (correct, lengths, shaped) in zip(logged, seen):
        assert abs(entry["shaping/reward_mean"] - shaped.rewards.mean()) < 1e-6
        assert abs(entry["collapse/correctness_ratio"] - correct.mean()) < 1e-6
        print(f"correct {correct.astype(int)} tokens {lengths} rewards {shaped.rewards} advantages {shaped.advantages}")
