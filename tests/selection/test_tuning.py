"""Measuring: what is swept, what is stored, and what `"auto"` makes of it."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import fastconv
from fastconv import ConvProblem, selection
from fastconv.selection import answers, tuning
from fastconv.selection.answers import Answer

PROBLEM = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,int32")  # which only the reference computes
FLOATS = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float32")


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    """Let nothing be known."""
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path)
    monkeypatch.setattr(answers, "_unstored", {})
    fastconv.clear_cache()
    yield
    fastconv.clear_cache()


@pytest.fixture
def sleepers(pretend, monkeypatch):
    """Return a function that adds an algorithm which takes what it does, whatever it predicts."""

    def add(name, taken, predicted=1e-9, bound=0.0):
        entry = pretend(name, bound, predicted)

        def run(*arguments):
            entry.calls += 1
            time.sleep(taken)

        monkeypatch.setattr(entry, "run", run)
        return entry

    return add


def test_auto_runs_what_was_measured_to_be_fastest(sleepers):
    sleepers("promising", 4e-3, 1e-9)
    sleepers("fast", 1e-3, 2e-9)
    assert fastconv.select(PROBLEM) == "promising"
    answer = fastconv.tune(PROBLEM)[PROBLEM]
    assert fastconv.select(PROBLEM) == "fast"
    assert answer.fastest(["promising", "fast"]) == "fast"
    assert 1e-3 < answer.seconds["fast"] < answer.seconds["promising"]
    explanation = fastconv.explain(PROBLEM)
    assert explanation.picked == "fast"
    cases = {case.name: case for case in explanation.candidates}
    assert cases["fast"].measured_seconds == answer.seconds["fast"]
    assert "fast: measured " in str(explanation)


def test_a_call_that_was_ready_takes_the_answer_up(sleepers, operands_of):
    promising = sleepers("promising", 4e-3, 1e-9)
    fast = sleepers("fast", 1e-3, 2e-9)
    x, weight, *_ = operands_of(PROBLEM)
    fastconv.conv2d(x, weight, padding=1)
    assert (promising.calls, fast.calls) == (1, 0)
    fastconv.tune(PROBLEM)
    promising.calls = fast.calls = 0
    fastconv.conv2d(x, weight, padding=1)
    assert (promising.calls, fast.calls) == (0, 1)


def test_a_hopeless_prediction_is_not_run(sleepers):
    hopeless = sleepers("hopeless", 1e-4, 1e-6)
    sleepers("fast", 1e-3, 1e-9)
    answer = fastconv.tune(PROBLEM)[PROBLEM]
    assert hopeless.calls == 0
    assert answer.seconds["hopeless"] is answer.seconds["reference"] is None
    assert fastconv.select(PROBLEM) == "fast"


def test_who_is_far_behind_takes_part_in_one_round(sleepers):
    slow = sleepers("slow", 60e-3)
    fast = sleepers("fast", 1e-3)
    fastconv.tune(PROBLEM)
    assert slow.calls == 3  # warm-up, the call that told that it is long, and one round
    assert fast.calls > 6


def test_what_is_too_inaccurate_takes_no_part(sleepers):
    coarse = sleepers("coarse", 1e-4, bound=1e-3)
    sleepers("fine", 1e-3, bound=1e-6)
    assert set(fastconv.tune(PROBLEM, tolerance=1e-5)[PROBLEM].seconds) == {"fine", "reference"}
    assert coarse.calls == 0
    assert fastconv.select(PROBLEM, 1e-5) == "fine"
    # of `coarse` nothing is known: predicted, the first of equals
    assert fastconv.explain(PROBLEM, 1e-2).candidates[-2].measured_seconds is None
    assert set(fastconv.tune(PROBLEM, tolerance=1e-2)[PROBLEM].seconds) == {"coarse", "fine", "reference"}
    assert fastconv.select(PROBLEM, 1e-2) == "coarse"
    assert fastconv.select(PROBLEM, 1e-5) == "fine"


def test_what_is_known_is_measured_again_only_for_more_rigour(sleepers):
    fast = sleepers("fast", 1e-4)

    def calls(**arguments):
        fast.calls = 0
        fastconv.tune(PROBLEM, **arguments)
        return fast.calls

    assert calls() > 0
    assert calls() == 0
    assert calls(again=True) > 0
    assert calls(rigour="patient") > 0
    assert calls(rigour="patient") == 0
    assert calls(rigour="measure") == 0  # what took more rigour serves


def test_answers_are_those_of_a_number_of_threads(sleepers, set_threads):
    fast = sleepers("fast", 1e-4)
    set_threads(1)
    fastconv.tune(PROBLEM)
    fast.calls = 0
    set_threads(2)
    assert answers.find(PROBLEM, 2, ["fast"]) is None
    fastconv.tune(PROBLEM)
    assert fast.calls > 0


@pytest.mark.parametrize("calls", [1, 2, 3, 8])
def test_a_sweep_that_fails_leaves_nothing(sleepers, monkeypatch, calls):
    sleepers("fast", 1e-4)
    broken = sleepers("broken", 1e-4)

    def fail(*arguments):
        broken.calls += 1
        if broken.calls >= calls:
            raise MemoryError

    monkeypatch.setattr(broken, "run", fail)
    with pytest.raises(MemoryError):
        fastconv.tune(PROBLEM)
    assert not answers.users_file().exists()
    assert answers.find(PROBLEM, fastconv.get_num_threads(), ["fast"]) is None


def test_the_budget_leaves_whole_answers_alone(sleepers):
    sleepers("slow", 0.05)
    problems = [ConvProblem.parse(f"conv2d,n{n},c8,14x14,k8,3x3,p1,int32") for n in range(1, 20)]
    start = time.perf_counter()
    found = fastconv.tune(problems, seconds=1.0)
    assert time.perf_counter() - start < 10
    assert list(found) == problems[: len(found)]
    assert len(found) < len(problems)
    stored = answers.read(answers.users_file(), answers.origin())
    assert len(stored) == len(found)


def test_an_answer_is_stored_before_the_next_problem_begins(sleepers):
    sleepers("fast", 1e-4)
    second = ConvProblem.parse("conv2d,n2,c8,14x14,k8,3x3,p1,int32")
    seen = []

    def before(problem, done, total):
        stored = answers.read(answers.users_file(), answers.origin())
        seen.append((problem, done, total, len(stored)))

    fastconv.tune([PROBLEM, second, PROBLEM], before=before)
    assert seen == [(PROBLEM, 0, 2, 0), (second, 1, 2, 1)]


def test_the_algorithms_themselves():
    answer = fastconv.tune(str(FLOATS))[FLOATS]
    assert set(answer.seconds) <= set(fastconv.algorithms())
    assert answer.seconds["direct"] is not None
    assert answer.seconds["reference"] is None
    content = json.loads(answers.users_file().read_text())
    assert content["answers"] == {
        f"{FLOATS} threads={fastconv.get_num_threads()}": [{"seconds": answer.seconds, "rigour": "measure"}]
    }
    names = [name for name, taken in answer.seconds.items() if taken is not None]
    assert fastconv.select(FLOATS) == answer.fastest(names)


def test_a_suite_by_its_name(monkeypatch):
    asked = []
    monkeypatch.setattr(tuning, "_measure", lambda problem, *arguments, **others: asked.append(problem))
    assert fastconv.tune("alexnet") == {}
    assert str(asked[0]) == "conv2d,n1,c3,224x224,k64,11x11,s4,p2,float32"
    assert len(asked) == 5


def test_a_file_of_problems(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(tuning, "_measure", lambda problem, *arguments, **others: asked.append(problem))
    path = tmp_path / "problems.txt"
    path.write_text(f"# a comment\n\n{PROBLEM}\nmax_pool2d,n1,c2,6x5,3x3,float32\n{FLOATS} # another\n{PROBLEM}\n")
    fastconv.tune(path)
    assert asked == [PROBLEM, FLOATS]
    path.write_text("max_pool2d,n1,c2,6x5,3x3,float32")
    with pytest.raises(ValueError, match=f"problems must be convolutions, got '{path}'"):
        fastconv.tune(path)
    path.write_text(f"{PROBLEM}\nresnet50")
    with pytest.raises(ValueError, match=f"{path}, line 2: text must begin with conv"):
        fastconv.tune(path)
    with pytest.raises(FileNotFoundError):
        fastconv.tune(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("problems", "others", "error", "message"),
    [
        (3, {}, TypeError, "problems must be ConvProblems, a str or a path, got 3 of type int"),
        ([PROBLEM, 3], {}, TypeError, "problems must be ConvProblems, got 3 of type int"),
        ("lenet", {}, ValueError, "problems must be a problem's string form or one of .*resnet50.*, got 'lenet'"),
        ("pooling", {}, ValueError, "problems must be convolutions, got 'pooling'"),
        ("conv2d,n1", {}, ValueError, "conv2d,n1"),
        (ConvProblem.parse("conv2d,n0,c8,9x9,k8,3x3,float32"), {}, ValueError, "results to compute, got conv2d,n0"),
        (PROBLEM, {"rigour": "wild"}, ValueError, "rigour must be one of measure, patient, got 'wild'"),
        (PROBLEM, {"rigour": 1}, TypeError, "rigour must be a str"),
        (PROBLEM, {"seconds": -1}, ValueError, "seconds must be a positive finite number"),
        (PROBLEM, {"seconds": "1"}, TypeError, "seconds must be a number"),
        (PROBLEM, {"tolerance": -1}, ValueError, "tolerance must be a positive finite number"),
        (PROBLEM, {"again": 1}, TypeError, "again must be a bool"),
    ],
)
def test_what_tune_refuses(problems, others, error, message):
    with pytest.raises(error, match=message):
        fastconv.tune(problems, **others)


def test_an_answer_of_an_algorithm_that_is_not_there_is_harmless():
    names = [entry.name for entry in selection.TABLE]
    answers.remember(FLOATS, fastconv.get_num_threads(), Answer(dict.fromkeys([*names, "gone"], 1.0), "measure"))
    fastconv.clear_cache()
    assert fastconv.select(FLOATS) == names[0]


@pytest.mark.parametrize("way", ["function", "layer", "plan"])
def test_the_first_call_measures_where_that_is_the_mode(sleepers, operands_of, way):
    slow, fast = sleepers("promising", 4e-3, 1e-9), sleepers("fast", 1e-3, 2e-9)
    x, weight, *_ = operands_of(PROBLEM)
    calls = {
        "function": lambda: fastconv.conv2d(x, weight, padding=1),
        "layer": lambda: fastconv.Conv2d(weight, padding=1)(x),
        "plan": lambda: fastconv.plan(PROBLEM)(x, weight),
    }
    calls[way]()
    assert (slow.calls, fast.calls) == (1, 0)
    assert fastconv.remembered() == ()
    with fastconv.options(mode="measure"):
        calls[way]()
        (entry,) = fastconv.remembered()
        assert entry.problem == PROBLEM
        before = slow.calls, fast.calls
        assert min(before) > 1
        calls[way]()
        assert (slow.calls, fast.calls) == (before[0], before[1] + 1)
        assert fastconv.select(PROBLEM) == "fast"


def test_a_call_that_names_its_algorithm_measures_nothing(operands_of):
    x, weight, *_ = operands_of(FLOATS)
    with fastconv.options(mode="measure"):
        fastconv.conv2d(x, weight, padding=1, algorithm="direct")
        fastconv.conv2d(x[:0], weight, padding=1)  # no images
        fastconv.max_pool2d(x, 2)
    assert fastconv.remembered() == ()


def test_threads_that_need_one_answer_measure_once(sleepers, operands_of, monkeypatch):
    sleepers("other", 1e-3, 1e-9)
    sweeps = []
    sweep = tuning.sweep
    monkeypatch.setattr(tuning, "sweep", lambda *arguments: sweeps.append(arguments[0]) or sweep(*arguments))
    x, weight, *_ = operands_of(PROBLEM)
    fastconv.set_mode("measure")
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: fastconv.conv2d(x, weight, padding=1), range(8)))
    finally:
        fastconv.set_mode(None)
    assert sweeps == [PROBLEM]
