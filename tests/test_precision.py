"""Precision: what a call, a layer, a plan and the settings make of it. Kernels that round are tested with them."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, config
from fastconv.selection import TABLE

PROBLEM = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,tf32,float32")


@pytest.fixture(autouse=True)
def _as_it_was():
    yield
    fastconv.set_precision(None)


@pytest.fixture
def seen(monkeypatch):
    """The precisions of the problems that calls come to."""
    from fastconv import call

    found, before = [], call.called

    def called(*arguments):
        made = before(*arguments)
        found.append(made.problem.precision)
        return made

    monkeypatch.setattr(call, "called", called)
    fastconv.clear_cache()
    return found


def test_the_argument_comes_before_options_and_these_before_what_is_set(seen, operands_of):
    x, weight, *_ = operands_of(PROBLEM)
    layer = fastconv.Conv2d(weight, padding=1)
    strict = fastconv.Conv2d(weight, padding=1, precision="ieee")
    for call in (lambda **say: fastconv.conv2d(x, weight, padding=1, **say), lambda: layer(x)):
        fastconv.clear_cache()  # the layer would take the function's calls
        seen.clear()
        call()
        fastconv.set_precision("bf16")
        call()
        with fastconv.options(precision="tf32"):
            call()
        fastconv.set_precision(None)
        assert seen == ["ieee", "bf16", "tf32"]
    fastconv.clear_cache()
    seen.clear()
    with fastconv.options(precision="tf32"):
        fastconv.conv2d(x, weight, padding=1, precision="fp16")
        strict(x)
        fastconv.conv2d(x.astype("f8"), weight.astype("f8"), padding=1)
    assert seen == ["fp16", "ieee", "ieee"]


def test_a_wrong_precision_is_refused_wherever_it_is_given():
    x, weight = np.ones((1, 1, 3)), np.ones((1, 1, 1))
    for function in (lambda **say: fastconv.conv1d(x, weight, **say), lambda **say: fastconv.Conv1d(weight, **say)):
        with pytest.raises(ValueError, match="precision must be one of ieee, tf32, bf16, fp16, got 'half'"):
            function(precision="half")
        with pytest.raises(TypeError, match="precision must be a str, got 16"):
            function(precision=16)


@pytest.mark.parametrize("entry", TABLE, ids=lambda entry: entry.name)
def test_the_processor_rounds_no_factor(entry, operands_of):
    problem = ConvProblem.parse(str(PROBLEM).replace(",p1", ",p1,g8"))  # which every algorithm computes
    x, weight, *_ = operands_of(problem)
    if not entry.any_weights:
        weight = np.ones_like(weight)
    arguments = {**problem.arguments(), "algorithm": entry.name}
    found = fastconv.conv2d(x, weight, **arguments)
    np.testing.assert_array_equal(found, fastconv.conv2d(x, weight, **{**arguments, "precision": "ieee"}))


@pytest.mark.parametrize(("precision", "tolerance"), [("ieee", 3e-5), ("tf32", 1e-3), ("fp16", 1e-3), ("bf16", 8e-3)])
def test_the_tolerance_admits_what_the_precision_allows(precision, tolerance):
    problem = ConvProblem.parse(str(PROBLEM).replace("tf32", precision))
    assert config.tolerance_in_force(problem) == tolerance
    assert fastconv.explain(problem).tolerance == tolerance
    with fastconv.options(tolerance=1e-6):  # what somebody said counts
        assert fastconv.explain(problem).tolerance == 1e-6
    assert fastconv.explain(problem, tolerance=0.5).tolerance == 0.5


def test_answers_are_keyed_by_it():
    strict = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float32")
    assert str(PROBLEM) != str(strict)
    assert str(fastconv.explain(PROBLEM)).startswith(f"{PROBLEM} with tolerance 0.001")


def test_a_plan_keeps_its_precision(seen, operands_of):
    x, weight, *_ = operands_of(PROBLEM)
    plan = fastconv.plan(PROBLEM, algorithm="direct")
    other = fastconv.plan(PROBLEM, algorithm="direct", precision="ieee")
    assert (plan.problem.precision, other.problem.precision) == ("tf32", "ieee")
    with fastconv.options(precision="bf16"):
        plan(x, weight)
        other(x, weight)
    assert seen == ["tf32", "ieee"]


def test_a_layer_shows_and_keeps_it():
    import pickle

    layer = fastconv.Conv1d(np.ones((1, 1, 1), np.float32), precision="tf32")
    assert repr(layer) == "<Conv1d: 1 filter of 1x1, float32, precision='tf32'>"
    assert repr(pickle.loads(pickle.dumps(layer))) == repr(layer)
