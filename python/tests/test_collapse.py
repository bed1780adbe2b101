"""When a run counts as collapsed."""

import json

import numpy as np

import brevity_rl

PROBLEMS = [f"problem {number}" for number in range(100)]


def test_a_run_collapses_where_accuracy_and_length_both_fall():
    watch = brevity_rl.CollapseWatch()
    lengths = np.full(100, 20) + np.arange(100) % 3
    start = watch.observe(0, PROBLEMS, np.arange(100) < 80, lengths)
    assert (start["best_step"], start["collapsed"], start["collapse_step"]) == (0, False, None)
    # By hand: 30 of 100 problems fall by 1, so that the fall is 0.3 ± √(0.3·0.7·100/99)/10 = 0.046.
    fallen = watch.observe(10, PROBLEMS, np.arange(100) < 50, lengths - 5)
    assert fallen["accuracy_fall"] == 0.3
    assert abs(fallen["accuracy_fall_error"] - np.sqrt(0.3 * 0.7 / 99)) < 1e-12
    assert (fallen["completion_tokens_fall"], fallen["collapsed"], fallen["collapse_step"]) == (5.0, True, 10)
    back = watch.observe(20, PROBLEMS, np.arange(100) < 80, lengths - 5)
    assert (back["collapsed"], back["collapse_step"]) == (False, 10)


def test_a_run_that_gets_longer_does_not_collapse():
    watch = brevity_rl.CollapseWatch()
    watch.observe(0, PROBLEMS, np.ones(100, bool), np.full(100, 20))
    assert not watch.observe(10, PROBLEMS, np.zeros(100, bool), np.full(100, 30))["collapsed"]


def test_a_watch_goes_on_from_its_memory():
    watch, other = brevity_rl.CollapseWatch(), brevity_rl.CollapseWatch()
    watch.observe(0, PROBLEMS, np.arange(100) < 80, np.arange(100) + 10)
    other.restore(json.loads(json.dumps(watch.memory)))
    evaluation = (10, PROBLEMS, np.arange(100) < 30, np.arange(100))
    assert other.observe(*evaluation) == watch.observe(*evaluation)


def test_an_evaluation_of_nothing_says_nothing():
    assert brevity_rl.CollapseWatch().observe(0, [], [], []) is None
