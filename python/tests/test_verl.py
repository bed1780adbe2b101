"""verl's own registry and data structures, on the CPU: what it hands an estimator, and what it gets back."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import brevity_rl

torch = pytest.importorskip("torch")
pytest.importorskip("verl", reason="verl is not installed")

from omegaconf import OmegaConf  # noqa: E402
from verl import DataProto  # noqa: E402
from verl.trainer.ppo.core_algos import ADV_ESTIMATOR_REGISTRY, get_adv_estimator_fn  # noqa: E402
from verl.trainer.ppo.ray_trainer import compute_advantage  # noqa: E402

import brevity_rl.verl  # noqa: E402


@pytest.fixture(autouse=True)
def no_shapers():
    brevity_rl.verl._shapers.clear()


def batch(correct, lengths, uids, width=12):
    """As verl's trainer has it when it asks for advantages: the score lies at the last token."""
    mask = torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]
    rewards = torch.zeros(len(lengths), width)
    rewards[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = torch.tensor(correct, dtype=torch.float32)
    tensors = {"token_level_rewards": rewards, "response_mask": mask.long()}
    return DataProto.from_dict(tensors=tensors, non_tensors={"uid": np.array(uids, dtype=object)})


# Out of order and uneven.
CORRECT = [1, 1, 1, 0, 1, 1, 1, 0, 1, 0]
LENGTHS = [3, 10, 5, 4, 9, 12, 6, 7, 2, 8]
UIDS = ["c9", "a1", "c9", "b7", "a1", "c9", "b7", "d0", "a1", "d0"]


def algorithm(**brevity):
    return OmegaConf.create({"norm_adv_by_std_in_grpo": True, "use_kl_in_reward": False, "brevity": brevity})


def compute(name, config, **changes):
    data = batch(**{"correct": CORRECT, "lengths": LENGTHS, "uids": UIDS, **changes})
    return compute_advantage(data, adv_estimator=name, config=config), data


def test_every_shaper_is_registered_under_its_name():
    names = set(brevity_rl.shaper_names()) - {"grpo"} | {"grpo_lambda"}
    assert names <= set(ADV_ESTIMATOR_REGISTRY)
    assert get_adv_estimator_fn("grpo").__module__.startswith("verl.")


def test_advantages_are_those_of_rust_for_groups_out_of_order_and_uneven():
    settings = {"lambda": 0.5, "ties": "longest"}
    data, given = compute("grpo_lambda", algorithm(settings=settings, seed=3))
    expected = brevity_rl.Shaper({"top-lambda": settings}, seed=3).shape(np.array(CORRECT, bool), LENGTHS, UIDS)
    assert expected.selected_groups.tolist() == ["c9", "a1"]
    mask = given.batch["response_mask"].numpy()
    np.testing.assert_allclose(
        data.batch["advantages"].numpy(), expected.advantages[:, None] * mask, rtol=1e-6, atol=1e-6
    )
    assert torch.equal(data.batch["advantages"], data.batch["returns"])
    assert data.batch["advantages"].dtype == torch.float32


def test_plain_rewards_give_the_advantages_of_grpo_of_verl():
    ours, _ = compute("top-lambda", algorithm(settings={"lambda": 0.0}))
    theirs, _ = compute("grpo", algorithm())
    np.testing.assert_allclose(ours.batch["advantages"], theirs.batch["advantages"], rtol=1e-4, atol=1e-5)


def test_every_shaper_runs_in_a_step_of_verl():
    settings = {
        "l1-exact": None, "l1-max": None, "weighted": None, "laser": {"target": 5}, "dler": {"cost_max": 11.0},
        "soft-overlong": {"buffer": 4},
    }  # fmt: skip
    ran = 0
    for name in brevity_rl.shaper_names():
        if name == "grpo" or settings.get(name, {}) is None:
            continue
        more = {"advantage": "whitened"} if name == "dler" else {}
        try:
            data, _ = compute(name, algorithm(settings=settings.get(name, {}), length_max=12, **more))
        except ValueError as error:
            # A shaper whose settings have no defaults that fit this step says which.
            assert "train.shaping." in str(error), error
            continue
        assert torch.isfinite(data.batch["advantages"]).all()
        ran += 1
    assert ran >= 12


def test_a_completion_that_fills_the_limit_counts_as_wrong():
    data, _ = compute("grpo_lambda", algorithm(length_max=12, settings={"lambda": 0.0}))
    expected = np.array(CORRECT, bool) & (np.array(LENGTHS) < 12)
    assert expected.sum() == sum(CORRECT) - 1
    advantages = brevity_rl.advantages(expected.astype(float), UIDS)
    np.testing.assert_allclose(data.batch["advantages"][:, 0], advantages, rtol=1e-6, atol=1e-6)


def test_a_resumed_run_goes_on_after_the_step_of_its_checkpoint(tmp_path):
    config = algorithm(settings={"warmup_steps": 0, "budget": 12, "budget_min": 1}, directory=str(tmp_path))
    memories = []
    for _ in range(4):
        compute("acoer", config)
        memories.append(next(iter(brevity_rl.verl._shapers.values())).memory)
    lines = (tmp_path / "brevity.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4]
    assert json.loads(lines[0])["metrics"]["correctness_ratio"] == 0.7
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("2")
    brevity_rl.verl._shapers.clear()
    compute("acoer", config)
    assert next(iter(brevity_rl.verl._shapers.values())).memory == memories[2]
    lines = (tmp_path / "brevity.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_kl_in_reward": True}, "`algorithm.use_kl_in_reward` is true"),
        ({"filter_groups": {"enable": True}}, "`train.dynamic_sampling` replaces the groups"),
        ({"brevity": {"lambda": 0.2}}, "`algorithm.brevity.lambda` is no setting"),
        ({"brevity": {"settings": {"lambda": 2}}}, "`train.shaping.top-lambda.lambda` is 2"),
    ],
)
def test_what_contradicts_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        compute("grpo_lambda", OmegaConf.merge(algorithm(), config))


def test_the_reward_function_has_the_signature_of_verl_and_needs_no_main_thread():
    from verl.utils.import_utils import load_extern_object

    compute_score = load_extern_object("pkg://brevity_rl.verl", "compute_score")
    scores = []

    def score():
        for text in (r"\boxed{1/2}", r"\boxed{2}"):
            scores.append(
                compute_score(data_source="math", solution_str=text, ground_truth="0.5", extra_info={"num_turns": None})
            )

    worker = threading.Thread(target=score)
    worker.start()
    worker.join()
    assert scores == [{"score": 1.0, "acc": 1.0}, {"score": 0.0, "acc": 0.0}]


def test_the_variable_of_verl_registers_everything(tmp_path):
    script = "import verl; from verl.trainer.ppo.core_algos import get_adv_estimator_fn as get; print(get('grpo_lambda'))"
    environment = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "brevity_rl.verl"}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "estimator" in ran.stdout, ran.stderr[-2000:]


def test_the_example_for_a_cluster_names_settings_that_verl_has():
    hydra = pytest.importorskip("hydra")
    script = (Path(__file__).parents[1] / "examples" / "verl_grpo_lambda.sh").read_text()
    command = script[script.index("python3 -m verl") :].splitlines()[1:-1]
    values = {"$MODEL": "m", "$PROBLEMS": "p.parquet", "$OUT": "out"}
    overrides = []
    for line in command:
        override = line.strip().removesuffix("\\").strip().replace("\\$", "§")
        for name, value in values.items():
            override = override.replace(name, value)
        overrides.append(override.replace("§", "$").replace('"', ""))
    with hydra.initialize_config_module("verl.trainer.config", version_base=None):
        config = hydra.compose("ppo_trainer", overrides=overrides)
    assert config.algorithm.adv_estimator == "grpo_lambda"
    assert OmegaConf.to_container(config.algorithm, resolve=False)["brevity"]["settings"] == {"lambda": 0.2, "alpha": 0.2}
    assert config.algorithm.brevity.length_max == 8192 and config.algorithm.brevity.directory == "out"
    assert brevity_rl.verl._settings(config.algorithm)["length_max"] == 8192
