"""Determinism: what was measured on a machine does not count, and to measure contradicts it."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, config
from fastconv.algorithm import Machine
from fastconv.selection import answers, constants
from fastconv.selection.answers import Answer

PROBLEM = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float32")
CONTRADICTION = "deterministic must be False where mode is 'measure', got True"


@pytest.fixture(autouse=True)
def _as_it_was(tmp_path, monkeypatch):
    """Let nothing be known, and put back what is set."""
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path)
    monkeypatch.setattr(answers, "_unstored", {})
    monkeypatch.setattr(constants, "_unstored", {})
    fastconv.clear_cache()
    yield
    fastconv.set_deterministic(None)
    fastconv.set_mode(None)
    fastconv.clear_cache()


def remember(name):
    """Let an algorithm have been measured to be the fastest."""
    seconds = dict.fromkeys(fastconv.algorithms(), 2.0) | {name: 1.0}
    answers.remember(PROBLEM, fastconv.get_num_threads(), Answer(seconds, "measure"))
    fastconv.clear_cache()


def test_the_innermost_that_says_something_counts():
    assert not config.settings().deterministic
    fastconv.set_deterministic(True)
    assert config.settings().deterministic
    with fastconv.options(deterministic=False, threads=1):
        assert not config.settings().deterministic
        with fastconv.options(threads=2):
            assert not config.settings().deterministic
        with fastconv.options(deterministic=True):
            assert config.settings().deterministic
    assert config.settings().deterministic


def test_answers_do_not_count():
    predicted = fastconv.select(PROBLEM)
    remember("reference")
    assert fastconv.select(PROBLEM) == "reference" != predicted
    with fastconv.options(deterministic=True):
        assert fastconv.select(PROBLEM) == fastconv.explain(PROBLEM).picked == predicted
        plan = fastconv.plan(PROBLEM)
        assert (plan.algorithm, plan.measured_seconds) == (predicted, None)
    assert fastconv.select(PROBLEM) == "reference"


def test_constants_of_the_machine_do_not_count(pretend):
    calls, _ = pretend("calls", 1e-9), pretend("fixed", 1e-9, 1e-9)
    calls.terms = lambda problem, machine: {"call": 2e-4 * machine.call}
    assert fastconv.select(PROBLEM) == "fixed"
    constants.remember(Machine(call=1e-6))
    fastconv.clear_cache()
    assert fastconv.select(PROBLEM) == "calls"
    with fastconv.options(deterministic=True):
        assert fastconv.select(PROBLEM) == "fixed"
        assert fastconv.calibration() == constants.SHIPPED
        cases = {case.name: case for case in fastconv.explain(PROBLEM).candidates}
        assert cases["calls"].predicted_seconds == 2e-4 * Machine().call
    assert fastconv.calibration().source == "user"


@pytest.mark.parametrize("way", ["function", "layer", "plan"])
def test_equal_calls_give_equal_bits_whatever_was_measured(operands_of, way):
    x, weight, *_ = operands_of(PROBLEM)
    layer = fastconv.Conv2d(weight, padding=1)

    def call():
        if way == "function":
            return fastconv.conv2d(x, weight, padding=1)
        return layer(x) if way == "layer" else fastconv.plan(PROBLEM)(x, weight)

    fastconv.set_deterministic(True)
    first = call()
    remember("reference" if fastconv.select(PROBLEM) != "reference" else "direct")
    constants.remember(Machine(call=1e-3, vector_flops=1e12))
    fastconv.clear_cache()
    np.testing.assert_array_equal(call(), first)
    fastconv.set_deterministic(False)
    assert np.any(call() != first)  # a call on a shape seen before asks for it, and another algorithm rounds otherwise
    fastconv.set_deterministic(True)
    np.testing.assert_array_equal(call(), first)


def test_to_measure_contradicts_it(operands_of):
    x, weight, *_ = operands_of(PROBLEM)
    layer = fastconv.Conv2d(weight, padding=1)
    with pytest.raises(ValueError, match=CONTRADICTION):
        fastconv.options(mode="measure", deterministic=True)
    fastconv.set_mode("measure")
    for call in (
        lambda: fastconv.conv2d(x, weight, padding=1),
        lambda: layer(x),
        lambda: fastconv.plan(PROBLEM),
        lambda: fastconv.select(PROBLEM),
        lambda: fastconv.explain(PROBLEM),
    ):
        with fastconv.options(deterministic=True), pytest.raises(ValueError, match=CONTRADICTION):
            call()
        with fastconv.options(deterministic=True, mode="predict"):
            call()
    assert fastconv.remembered() == ()


@pytest.mark.parametrize("measure", [lambda: fastconv.tune(PROBLEM), fastconv.calibrate])
def test_what_would_be_ignored_is_not_measured(measure):
    with fastconv.options(deterministic=True), pytest.raises(ValueError, match="got True: it ignores what is measured"):
        measure()
    assert fastconv.remembered() == ()
    assert fastconv.calibration() == constants.SHIPPED


@pytest.mark.parametrize("value", [1, "yes", 0.0])
def test_determinism_is_a_bool(value):
    with pytest.raises(TypeError, match="deterministic must be a bool, got"):
        fastconv.options(deterministic=value)
