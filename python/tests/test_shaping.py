"""Batches in, rewards and advantages out: against the values that plain Python and NumPy recorded for the Rust tests."""

import copy
import json
import pickle
import uuid
from pathlib import Path

import numpy as np
import pytest

import brevity_rl

RECORDED = Path(__file__).parents[2] / "crates" / "rl" / "tests" / "data"
BASICS = json.loads((RECORDED / "shaping_reference.json").read_text())["steps"]
RELATIVES = json.loads((RECORDED / "relatives_reference.json").read_text())


def flat(groups):
    """Completions of [N][G], and each one's group."""
    sizes = [len(group) for group in groups]
    return [value for group in groups for value in group], np.repeat(np.arange(len(groups)), sizes)


def limit(case):
    """The token limit; budgets are in tokens, which always have one here."""
    return case["limit"] or (1e6 if case["budgets"] else None)


def basic_cases():
    for step in BASICS:
        for case in step["cases"]:
            settings = {name: case[name] for name in ("lambda", "alpha") if case[name] is not None}
            yield pytest.param(step["groups"], {case["shaper"]: settings}, case, id=f"{step['name']}-{settings}")


@pytest.mark.parametrize(("groups", "shaper", "case"), list(basic_cases()))
def test_rewards_and_advantages_equal_those_of_numpy(groups, shaper, case):
    correct, group_ids = flat([group["correct"] for group in groups])
    lengths, _ = flat([group["lengths"] for group in groups])
    for scale, expected in case["advantages"].items():
        shaped = brevity_rl.shape(correct, lengths, group_ids, shaper, advantage=scale)
        np.testing.assert_allclose(shaped.rewards, flat(case["rewards"])[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(shaped.advantages, flat(expected)[0], rtol=0, atol=1e-9)
        assert shaped.selected_groups.tolist() == np.flatnonzero(case["selected"]).tolist()
        assert shaped.selected.tolist() == np.array(case["selected"])[group_ids].tolist()
        apart = brevity_rl.advantages(shaped.rewards, group_ids, scale)
        np.testing.assert_array_equal(apart, shaped.advantages)


@pytest.mark.parametrize("case", RELATIVES, ids=lambda case: json.dumps(case["shaping"])[:60])
def test_every_relative_gives_what_plain_python_gives(case):
    shaper = brevity_rl.Shaper(case["shaping"])
    scale = "whitened" if "dler" in case["shaping"] else "group-std"
    for index, groups in enumerate(case["steps"]):
        completions, group_ids = flat(groups)
        if any(length != int(length) for length, _ in completions):
            pytest.skip("lengths of completions are whole tokens here")
        shaped = shaper.shape(
            [correct for _, correct in completions],
            np.array([length for length, _ in completions], dtype=np.int64),
            group_ids,
            advantage=scale,
            length_max=limit(case),
            budgets=None if case["budgets"] is None else np.array(case["budgets"], dtype=np.int64)[group_ids],
        )
        np.testing.assert_allclose(shaped.rewards, flat(case["rewards"][index])[0], rtol=0, atol=1e-12)
        if case["added"] is None:
            assert shaped.added is None
        else:
            np.testing.assert_allclose(shaped.added, flat(case["added"][index])[0], rtol=0, atol=1e-9)
    assert shaper.step == len(case["steps"])


def test_the_recorded_cases_are_of_every_shaper_but_two():
    covered = {name for case in RELATIVES for name in case["shaping"]}
    covered |= {case["shaper"] for step in BASICS for case in step["cases"]}
    assert covered - set(brevity_rl.shaper_names()) == set()
    assert "top-lambda" in covered and "kimi" in covered


GROUPS = ["b", "a", "b", "c", "a", "b", "c"]
CORRECT = [True, True, True, False, True, True, True]
LENGTHS = [10, 30, 20, 15, 50, 40, 25]


def test_groups_may_lie_mixed_differ_in_size_and_have_any_id():
    shaped = brevity_rl.shape(CORRECT, LENGTHS, GROUPS, {"top-lambda": {"lambda": 0.34, "ties": "index"}})
    # By hand: groups b and a are all-correct, b comes first; z of 10, 20, 40 is (L − 70/3)/√(1400/9).
    z = (np.array([10, 20, 40]) - 70 / 3) / (np.sqrt(1400 / 9) + 1e-7)
    expected = 1 - 0.2 / (1 + np.exp(-z))
    assert shaped.selected_groups.tolist() == ["b"]
    np.testing.assert_allclose(shaped.rewards[[0, 2, 5]], expected, rtol=0, atol=1e-12)
    assert shaped.rewards[[1, 3, 4, 6]].tolist() == [1, 0, 1, 1]
    assert shaped.metrics["selection"] == {
        "groups": [0], "share": 1 / 3, "all_correct": 1, "tied": 2, "ratio_min": 1.0
    }  # fmt: skip


def test_ids_of_groups_need_no_order():
    ids = [None, uuid.UUID(int=2), None, uuid.UUID(int=1)]
    shaped = brevity_rl.shape([True, False, True, True], [3, 4, 5, 6], ids, {"top-lambda": {"lambda": 0.7, "ties": "index"}})
    assert shaped.selected_groups.tolist() == [None, uuid.UUID(int=1)]
    assert shaped.selected.tolist() == [True, False, True, True]


def test_a_permutation_of_completions_permutes_the_result():
    order = np.random.default_rng(0).permutation(len(GROUPS))
    # The order of groups decides ties and nothing else, so ties go to the longest here.
    settings = {"top-lambda": {"lambda": 0.34, "ties": "longest"}}
    straight = brevity_rl.shape(CORRECT, LENGTHS, GROUPS, settings)
    mixed = brevity_rl.shape(
        np.array(CORRECT)[order], np.array(LENGTHS)[order], np.array(GROUPS)[order], settings
    )
    np.testing.assert_allclose(mixed.rewards, straight.rewards[order], rtol=0, atol=1e-15)
    np.testing.assert_allclose(mixed.advantages, straight.advantages[order], rtol=0, atol=1e-12)


def test_the_seed_and_the_step_decide_ties():
    batch = ([True] * 40, list(range(40)), np.repeat(np.arange(20), 2))
    chosen = {seed: brevity_rl.Shaper(seed=seed).shape(*batch).selected_groups.tolist() for seed in range(3)}
    assert len({tuple(groups) for groups in chosen.values()}) == 3
    shaper = brevity_rl.Shaper(seed=1)
    first, second = (shaper.shape(*batch).selected_groups.tolist() for _ in range(2))
    assert first == chosen[1] and second != first


def test_a_shaper_goes_on_from_its_memory_as_if_it_had_not_stopped():
    for case in RELATIVES:
        if len(case["steps"]) < 2 or "dler" in case["shaping"]:
            continue
        shaper, others = brevity_rl.Shaper(case["shaping"], seed=3), []
        for groups in case["steps"]:
            restored = brevity_rl.Shaper(case["shaping"], seed=3)
            restored.restore(json.loads(json.dumps(shaper.memory)))
            others = [restored, pickle.loads(pickle.dumps(shaper)), copy.deepcopy(shaper)]
            completions, group_ids = flat(groups)
            batch = ([correct for _, correct in completions], [int(length) for length, _ in completions], group_ids)
            budgets = None if case["budgets"] is None else np.array(case["budgets"], dtype=np.int64)[group_ids]
            more = {"length_max": limit(case), "budgets": budgets}
            expected = shaper.shape(*batch, **more)
            for other in others:
                np.testing.assert_array_equal(other.shape(*batch, **more).rewards, expected.rewards)
                assert other.memory == shaper.memory


def test_settings_come_back_with_their_defaults():
    assert brevity_rl.Shaper("top-lambda").settings == {
        "top-lambda": {
            "lambda": 0.2, "alpha": 0.2, "length_std": "population", "select": "top", "ties": "random",
            "correctness_ratio_min": 0.0, "correct_min": 0,
        }
    }  # fmt: skip
    assert brevity_rl.Shaper("grpo").name == "grpo"


def test_objectives_act_on_costs_by_name():
    texts = ["a\n\nb", "a", "a\nb\nc", "a"]
    lines = brevity_rl.cost(texts, {"lines": {}})
    assert lines.tolist() == [2, 1, 3, 1]
    objective = {"cost": "lines", "weight": 1.0, "shaper": {"length-penalty": {}}}
    by_lines = {"weighted": {"objectives": [objective]}}
    shaped = brevity_rl.shape([True] * 4, [9, 9, 9, 9], [0] * 4, by_lines, costs={"lines": lines})
    plain = brevity_rl.shape([True] * 4, lines.astype(np.int64), [0] * 4, "length-penalty")
    np.testing.assert_allclose(shaped.rewards, plain.rewards, rtol=0, atol=1e-12)


BATCH = ([True, False], [3, 4], [0, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: brevity_rl.Shaper("top-lamda"), "shaper: unknown variant `top-lamda`, expected one of `grpo`"),
        (lambda: brevity_rl.Shaper({"kimi": {"wieght": 1}}), "unknown field `wieght`"),
        (lambda: brevity_rl.Shaper({"kimi": {"weight": "much"}}), "shaper, `kimi.weight`: invalid type"),
        (
            lambda: brevity_rl.shape(*BATCH, {"top-lambda": {"lambda": 1.5}}),
            "^`train.shaping.top-lambda.lambda` is 1.5; it must be between 0 and 1$",
        ),
        (lambda: brevity_rl.shape(*BATCH, "cosine"), "`train.shaping.cosine.cost_max` is not given"),
        (lambda: brevity_rl.shape(*BATCH, "l1-max", length_max=9.0), "a budget that the prompt asks for"),
        (lambda: brevity_rl.shape(*BATCH, "dler"), '`train.advantage` is not "whitened"'),
        (lambda: brevity_rl.shape(*BATCH, dynamic_sampling=True), "`train.dynamic_sampling` replaces the groups"),
        (lambda: brevity_rl.shape(*BATCH, advantage="group"), "advantage scale: unknown variant `group`"),
        (lambda: brevity_rl.shape([True], [3, 4], [0, 0]), "1 verdicts, 2 lengths and 2 group ids"),
        (lambda: brevity_rl.shape([True, True], [3, -4], [0, 0]), "`lengths` has -4, which is no number of tokens"),
        (lambda: brevity_rl.shape([True, 0.5], [3, 4], [0, 0]), "`correct` has the type float64; give truth values"),
        (lambda: brevity_rl.shape([True, True], [3.5, 4], [0, 0]), "`lengths` has the type float64; give whole numbers"),
        (lambda: brevity_rl.shape([[True], [True, True]], [3, 4], [0, 0]), "`correct` is no array that NumPy can read"),
        (lambda: brevity_rl.shape(*BATCH, budgets=[1.5, 2]), "`budgets` has the type float64"),
        (lambda: brevity_rl.shape(*BATCH, length_max="64"), "`length_max` is '64'; give a number of tokens"),
        (lambda: brevity_rl.shape(*BATCH, costs=[1, 2]), "`costs` is a list; give numbers of completions by name"),
        (lambda: brevity_rl.shape(*BATCH, advantage=None), "`advantage` is None; give `group-std`"),
        (lambda: brevity_rl.Shaper({"lambda": 0.2}), "the shaper is {'lambda': 0.2}; give a name, or one with settings"),
        (lambda: brevity_rl.Shaper(None), "the shaper is None; give a name"),
        (lambda: brevity_rl.Shaper(seed=-1), "`seed` is -1; give a whole number from 0"),
        (lambda: brevity_rl.cost("ab", {"lines": {}}), "`texts` is one text; give a list of texts"),
        (lambda: brevity_rl.advantages([1.0], [0, 0]), "`rewards` has 1 values and there are 2 completions"),
        (lambda: brevity_rl.cost(["a"], {"words": {}}), "cost: unknown variant `words`"),
        (lambda: brevity_rl.Shaper("kimi").restore({"step": 1, "state": {"lines": {}}}), "memory of a shaper"),
        (
            lambda: brevity_rl.Shaper("kimi").restore(brevity_rl.Shaper("short-rl").memory),
            "the memory is not one that the shaper `kimi` leaves",
        ),
    ],
)
def test_what_is_wrong_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_nothing_has_no_reward():
    shaped = brevity_rl.shape([], [], [])
    assert shaped.rewards.shape == shaped.advantages.shape == (0,)
    assert shaped.selected_groups.tolist() == []
