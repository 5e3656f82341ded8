"""Plans: they say what runs, and run it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, UnsupportedError, selection
from fastconv.selection import answers
from fastconv.selection.answers import Answer

PROBLEM = ConvProblem.parse("conv2d,n2,c4,6x5,k6,3x3,p1,g2,float32")
INTEGERS = ConvProblem.parse("conv2d,n1,c2,6x5,k3,3x3,int32")
PROBLEMS = [
    PROBLEM,
    INTEGERS,
    ConvProblem.parse("conv1d,n1,c2,60,k3,5,s2,p2,reflect,float64"),
    ConvProblem.parse("conv2d,n1,c3,9x8,k5,2x3,s2x1,p0:1x2,d2,flip,channels_last,float32"),
    ConvProblem.parse("conv3d,n1,c2,4x5x6,k3,2x2x2,float32"),
]


def function_of(problem):
    return getattr(fastconv, f"conv{problem.rank}d")


@pytest.mark.parametrize("problem", PROBLEMS, ids=str)
def test_a_plan_computes_what_the_function_does(problem, operands_of):
    plan = fastconv.plan(problem, activation="relu")
    operands = operands_of(problem, bias=True, residual=True)
    x, weight, bias, residual = (operand.astype(problem.dtype) for operand in operands)
    expected = function_of(problem)(
        x, weight, bias, **problem.arguments(), residual=residual, activation="relu", algorithm=plan.algorithm
    )
    out = np.empty_like(expected)
    assert plan(x, weight, bias, residual, out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plan))(x, weight, bias, residual), expected)


def test_a_plan_says_what_the_explanation_does():
    explanation = fastconv.explain(PROBLEM)
    for name in ("auto", *fastconv.algorithms()):
        entry = selection.algorithm(explanation.picked if name == "auto" else name)
        if entry.supports(PROBLEM) is not None:
            continue
        plan = fastconv.plan(PROBLEM, algorithm=name)
        assert plan.algorithm == entry.name
        assert plan.workspace == entry.workspace(PROBLEM)
        assert plan.error_bound == entry.error_bound(PROBLEM)
        assert plan.predicted_seconds > 0
        assert plan.measured_seconds is None
        assert str(plan).startswith(f"{PROBLEM}: {entry.name}, predicted ")


def test_the_tolerance_decides():
    assert fastconv.plan(PROBLEM, tolerance=1e-7).algorithm == "reference"


def test_a_plan_keeps_its_decision(pretend, monkeypatch, operands_of):
    monkeypatch.setattr(answers, "_unstored", {})
    first, second = pretend("first", 1e-9, 1e-9), pretend("second", 1e-9, 2e-9)
    plan, operands = fastconv.plan(PROBLEM), operands_of(PROBLEM)[:2]
    answers.remember(PROBLEM, fastconv.get_num_threads(), Answer({"first": 2.0, "second": 1.0}, "measure"))
    with fastconv.options(deny="first", tolerance=1e-12):
        plan(*operands)
    assert (first.calls, second.calls) == (1, 0)


def test_what_was_measured_is_told(monkeypatch):
    monkeypatch.setattr(answers, "_unstored", {})
    seconds = dict.fromkeys(fastconv.algorithms(), 2.0) | {"im2col": 1.0}
    answers.remember(PROBLEM, fastconv.get_num_threads(), Answer(seconds, "measure"))
    fastconv.clear_cache()
    plan = fastconv.plan(PROBLEM)
    assert (plan.algorithm, plan.measured_seconds) == ("im2col", 1.0)
    assert "im2col, measured 1000.000 ms, predicted " in str(plan)
    monkeypatch.undo()
    fastconv.clear_cache()


def test_a_plan_keeps_its_threads(set_threads, monkeypatch, operands_of):
    set_threads(3)
    plan, seen = fastconv.plan(PROBLEM, algorithm="reference"), []
    reference = selection.algorithm("reference")
    run = reference.run
    monkeypatch.setattr(
        reference, "run", lambda *operands: (seen.append(fastconv.get_num_threads()), run(*operands))[1]
    )
    set_threads(1)
    plan(*operands_of(PROBLEM)[:2])
    assert (plan.threads, seen, fastconv.get_num_threads()) == (3, [3], 1)


X, WEIGHT = np.ones(PROBLEM.input_shape, np.float32), np.ones(PROBLEM.weight_shape, np.float32)


@pytest.mark.parametrize(
    ("x", "weight", "error", "message"),
    [
        (X[:1], WEIGHT, ValueError, r"x must have the plan's shape \(2, 4, 6, 5\), got \(1, 4, 6, 5\)"),
        (X, WEIGHT[:1], ValueError, r"weight must have the plan's shape \(6, 2, 3, 3\), got \(1, 2, 3, 3\)"),
        (X.astype(np.float64), WEIGHT, TypeError, "x must have the plan's type float32, got float64"),
        (X, WEIGHT.astype(np.int8), TypeError, "weight must have the plan's type float32, got int8"),
        ("x", WEIGHT, TypeError, "x must be an array, got str"),
    ],
)
def test_a_plan_takes_its_problem_alone(x, weight, error, message):
    with pytest.raises(error, match=message):
        fastconv.plan(PROBLEM)(x, weight)


@pytest.mark.parametrize(
    ("problem", "arguments", "error", "message"),
    [
        ("conv2d", {}, TypeError, "problem must be a ConvProblem, got 'conv2d'"),
        (PROBLEM, {"algorithm": "direkt"}, ValueError, "algorithm must be one of auto, direct"),
        (PROBLEM, {"algorithm": 3}, TypeError, "algorithm must be a str"),
        (INTEGERS, {"algorithm": "direct"}, UnsupportedError, "algorithm 'direct' does not compute conv2d"),
        (PROBLEM, {"tolerance": -1}, ValueError, "tolerance must be"),
        (PROBLEM, {"activation": "softmax"}, ValueError, "activation must be one of"),
        (INTEGERS, {"activation": "gelu"}, TypeError, "activation must be one of relu, relu6 for integers"),
    ],
)
def test_what_plan_refuses(problem, arguments, error, message):
    with pytest.raises(error, match=message):
        fastconv.plan(problem, **arguments)
