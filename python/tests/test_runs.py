"""A run of the Rust trainer, read back: its numbers are those that Python computes from its completions.

`BREVITY_PROGRAM` names the program `brevity` that makes the run; `cargo xtask python` sets it.
"""

import json
import os
import subprocess

import manual
import numpy as np
import pytest
import tiny

import brevity_rl

PROGRAM = os.environ.get("BREVITY_PROGRAM")
STEPS = 3
needs_program = pytest.mark.skipif(PROGRAM is None, reason="BREVITY_PROGRAM does not name the program `brevity`")


CONFIG = f"""
threads = 2
model = {{ path = "model" }}
problems = {{ path = "problems.jsonl" }}
prompt = {{ template = "plain", instruction = "" }}
rollout = {{ prompts_per_step = 8, group_size = 16, completion_tokens_max = 16 }}
evaluation = {{ every_steps = 2, path = "problems.jsonl", limit = 8, name = "sums" }}

[train]
steps = {STEPS}
shaping = {{ top-lambda = {{ lambda = 0.4 }} }}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run of the tiny model."""
    root = tmp_path_factory.mktemp("run")
    tiny.write_model(root / "model")
    (root / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tiny.problems(20)))
    (root / "config.toml").write_text(CONFIG)
    subprocess.run([PROGRAM, "--quiet", "train", "config.toml", "--out", "run"], cwd=root, check=True, timeout=600)
    return root


@needs_program
def test_rewards_and_advantages_of_a_run_are_those_of_its_completions(root):
    run = brevity_rl.Run(root / "run")
    shaper = brevity_rl.Shaper({"top-lambda": {"lambda": 0.4}}, seed=run.header()["seed"])
    assert "lambda = 0.4" in run.config()
    metrics = run.metrics()
    for step in range(STEPS):
        rollouts = run.rollouts(step)
        ended = np.array(rollouts["stop"]) == "end"
        correct = (np.array(rollouts["verdict"]) == "correct") & ended
        shaped = shaper.shape(correct, rollouts["completion_tokens"], rollouts["group"])
        assert 0 < correct.sum() < len(correct)
        np.testing.assert_array_equal(shaped.rewards, rollouts["reward"])
        np.testing.assert_array_equal(shaped.advantages, rollouts["advantage"])
        np.testing.assert_array_equal(shaped.selected, rollouts["selected"])
        for name in ("correctness_ratio", "all_correct_share", "all_wrong_share", "zero_advantage_share"):
            assert shaped.metrics[name] == metrics[name][step], name
        assert shaped.metrics["completion_tokens"]["mean"] == metrics["completion_tokens.mean"][step]
        checks = brevity_rl.verify_batch(rollouts["completion"], rollouts["gold"])
        assert checks.verdicts == rollouts["verdict"]


@needs_program
def test_tables_come_as_columns_and_as_data_frames(root):
    run = brevity_rl.Run(root / "run")
    metrics = run.metrics()
    assert metrics["step"].dtype == np.int64 and metrics["loss"].dtype == np.float64
    assert len({len(column) for column in metrics.values()}) == 1
    assert run.rollouts(STEPS) == {} and run.faults() == {}
    summaries = run.evaluations()
    records = run.evaluation_records(2, "sums")
    assert summaries["step"].tolist() == [0, 2, 3] and len(records["problem"]) == 8
    tables = [
        run.metrics,
        run.evaluations,
        lambda frame="columns": run.rollouts(1, frame),
        lambda frame="columns": run.evaluation_records(2, "sums", frame),
        run.faults,
    ]
    for frame in ("pandas", "polars"):
        pytest.importorskip(frame)
        for read in tables:
            columns, table = read(), read(frame=frame)
            assert list(table.columns) == list(columns)
            for name, column in columns.items():
                values = column.tolist() if isinstance(column, np.ndarray) else column
                assert plain(table[name].to_list()) == plain(values), (frame, name)


def plain(values):
    """Data frames have NaN, null or `None` where a value is missing."""
    return [None if value is None or value != value else value for value in values]


@needs_program
def test_a_watch_of_a_run_knows_its_best_evaluation(root):
    watch = brevity_rl.CollapseWatch.of_run(root / "run")
    assert watch.memory["best"]["accuracy"] >= 0


@needs_program
def test_samples_are_those_of_the_program(root):
    model = brevity_rl.Model(root / "run" / "model")
    text = "2 + 1 :"
    groups = model.sample([text], n=2, seed=5, max_tokens=12, system=None)
    again = brevity_rl.sample(root / "run" / "model", [text], n=2, seed=5, max_tokens=12, system=None, threads=1)
    for one, other in zip(groups[0], again[0]):
        assert one.text == other.text and one.tokens.tolist() == other.tokens.tolist()
        assert one.tokens.shape == one.logprobs.shape and (one.logprobs <= 0).all()
        assert one.ended or len(one.tokens) == 12
    arguments = ["sample", "--model", str(root / "run" / "model"), "--plain", "-n", "2", "--seed", "5"]
    printed = subprocess.run([PROGRAM, *arguments, "--max-tokens", "12", text], capture_output=True, check=True, text=True)
    for completion in groups[0]:
        assert completion.text.strip() in printed.stdout


def test_variables_reach_the_chat_template(tmp_path):
    tiny.write_model(tmp_path / "model")
    settings = tmp_path / "model" / "tokenizer_config.json"
    template = {"chat_template": "{{ before }} {{ messages[0].content }}"}
    settings.write_text(json.dumps(json.loads(settings.read_text()) | template))
    model = brevity_rl.Model(tmp_path / "model")
    [[asked]] = model.sample(["2 :"], variables={"before": "1 +"}, temperature=0, max_tokens=8)
    [[plain]] = model.sample(["1 + 2 :"], system=None, temperature=0, max_tokens=8)
    assert asked.tokens.tolist() == plain.tokens.tolist()
    assert (asked.logprobs == plain.logprobs).all()
    with pytest.raises(ValueError, match="`variables` are read by a chat template, and `system` is None"):
        model.sample(["2 :"], variables={"before": "1 +"}, system=None)


@needs_program
def test_the_lines_of_the_manual_read_a_run_and_sample(root):
    pytest.importorskip("pandas")
    lines = manual.code("Run directories and sampling")
    here = {
        "runs/top-lambda-0.2-seed0": root / "run", "models/SmolLM2-135M-Instruct": root / "run" / "model",
        "rollouts(40)": "rollouts(1)", "What is 17 · 24?": "2 + 1 :", "max_tokens=200": "max_tokens=12",
    }  # fmt: skip
    for there, own in here.items():
        assert there in lines
        lines = lines.replace(there, str(own))
    exec(lines, {"brevity_rl": brevity_rl})


def test_what_is_no_run_and_no_model_is_refused(tmp_path):
    with pytest.raises((OSError, ValueError), match="run.json"):
        brevity_rl.Run(tmp_path)
    with pytest.raises((OSError, ValueError), match="config.json"):
        brevity_rl.Model(tmp_path)
    with pytest.raises(ValueError, match="compute: unknown variant `f16`"):
        brevity_rl.Model(tmp_path, compute="f16")
