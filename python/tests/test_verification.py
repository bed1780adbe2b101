"""Completions and golds in, verdicts out: the module gives what the verifier gives, in any thread."""

import threading

import numpy as np
import pytest

import brevity_rl

CASES = [
    (r"So it is \boxed{\frac{1}{2}}.", "0.5", "correct"),
    (r"So it is \boxed{2}.", "3", "incorrect"),
    ("#### 1,234", "1234", "correct"),
    ("I do not know.", "3", "no_answer"),
    (r"\boxed{x^2 + 2x + 1}", "(x+1)^2", "correct"),
]


@pytest.mark.parametrize(("completion", "gold", "verdict"), CASES)
def test_a_completion_is_judged(completion, gold, verdict):
    check = brevity_rl.verify(completion, gold)
    assert (check.verdict, check.correct) == (verdict, verdict == "correct")
    assert check.reason


def test_many_completions_are_judged_in_their_order_whatever_the_threads():
    completions = [rf"\boxed{{{number % 7}}}" for number in range(500)]
    golds = [str(number % 5) for number in range(500)]
    expected = [number % 7 == number % 5 for number in range(500)]
    for threads in (0, 1, 2, 3, 64):
        checks = brevity_rl.verify_batch(completions, golds, threads=threads)
        assert checks.correct.dtype == np.bool_
        assert checks.correct.tolist() == expected
        assert checks.answers == [str(number % 7) for number in range(500)]


def test_nothing_is_judged_where_there_is_nothing():
    assert brevity_rl.verify_batch([], []).correct.shape == (0,)


def test_a_marker_says_where_the_answer_is():
    extraction = {"marker": {"marker": "A"}}
    assert brevity_rl.verify("W 3 A 4", "4", extraction=extraction).correct
    assert brevity_rl.verify("W 4", "4", extraction=extraction).verdict == "no_answer"


def test_decimals_round_where_the_problem_asks_for_it():
    assert not brevity_rl.verify("0.33", "1/3").correct
    assert brevity_rl.verify("0.33", "1/3", decimals=2).correct


def test_golds_are_refused_with_their_row_and_the_text_of_rust():
    with pytest.raises(ValueError, match="^gold answer is blank; give the problem an answer or leave it out$"):
        brevity_rl.verify("1", " ")
    for refused in (
        lambda: brevity_rl.check_golds(["1", "2", ""]),
        lambda: brevity_rl.verify_batch(["1"] * 3, ["1", "2", ""]),
    ):
        with pytest.raises(ValueError, match="^row 2: gold answer is blank"):
            refused()
    brevity_rl.check_golds(["1", r"\boxed{2}"])


def test_settings_that_are_none_are_refused():
    with pytest.raises(ValueError, match="extraction: unknown variant `automatic`"):
        brevity_rl.verify("1", "1", extraction={"automatic": {}})
    with pytest.raises(ValueError, match="2 completions and 1 golds"):
        brevity_rl.verify_batch(["1", "2"], ["1"])
    with pytest.raises(ValueError, match=r"`golds` has 72 \(int\) at row 1; give texts"):
        brevity_rl.verify_batch(["1", "2"], ["1", 72])
    with pytest.raises(ValueError, match="`completions` is one text; give a list of texts"):
        brevity_rl.verify_batch("12", ["1", "2"])


def test_texts_may_lie_in_any_column():
    for column in (("1", "2"), np.array(["1", "2"]), iter(["1", "2"])):
        assert brevity_rl.verify_batch(column, ["1", "3"]).correct.tolist() == [True, False]


def test_it_works_outside_the_main_thread():
    verdicts = []
    worker = threading.Thread(target=lambda: verdicts.append(brevity_rl.verify(r"\boxed{1}", "1").verdict))
    worker.start()
    worker.join()
    assert verdicts == ["correct"]


def test_other_threads_run_while_a_batch_is_judged():
    ticks, done = [], threading.Event()

    def tick():
        while not done.wait(0.0005):
            ticks.append(None)

    clock = threading.Thread(target=tick)
    clock.start()
    brevity_rl.verify_batch(["so " * 20000 + r"\boxed{1}"] * 300, ["1"] * 300, threads=1)
    done.set()
    clock.join()
    assert ticks
