"""Data, references and fastconv's own calls of each operation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv.arguments import is_floating
from fastconv.bench import run
from fastconv.bench.operations import ERROR_LIMITS, OPERATIONS, Array, draw, operation_of, relative_error
from fastconv.bench.results import AUTO, REFERENCE
from fastconv.bench.suites import Layer
from fastconv.problem import DIRECTIONS, POOLINGS, ConvProblem, parse

SMALL = "conv2d,n2,c4,6x5,k6,3x2,s2x1,p1,g2,float32"
# what each operation's problem looks like, and the shapes of what a call is given
SHAPES = {
    "conv": (SMALL, [(2, 4, 6, 5), (6, 2, 3, 2), (6,)]),
    "conv_input_gradient": (f"{SMALL},input_gradient", [(6, 2, 3, 2), (2, 6, 3, 6)]),
    "conv_weight_gradient": (f"{SMALL},weight_gradient", [(2, 4, 6, 5), (2, 6, 3, 6)]),
    "max_pool": ("max_pool2d,n2,c4,6x5,2x2,channels_last,float32", [(2, 6, 5, 4)]),
    "avg_pool": ("avg_pool1d,n2,c4,6,2,exclude_pad,float64", [(2, 4, 6)]),
    "lp_pool": ("lp_pool1d,n2,c4,6,2,norm2,float64", [(2, 4, 6)]),
    "adaptive_max_pool": ("adaptive_max_pool1d,n2,c4,6,2,o4,float64", [(2, 4, 6)]),
    "adaptive_avg_pool": ("adaptive_avg_pool1d,n2,c4,6,2,o4,float64", [(2, 4, 6)]),
}
RESULT = {"conv_input_gradient": (2, 4, 6, 5), "conv_weight_gradient": (6, 2, 3, 2)}


def test_every_operation_is_tested_and_every_problem_has_one() -> None:
    assert set(SHAPES) == set(OPERATIONS)
    assert len(OPERATIONS) == len(DIRECTIONS) + len(POOLINGS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_shapes_and_reference(name: str) -> None:
    text, shapes = SHAPES[name]
    problem = parse(text)
    operation = operation_of(problem)
    assert operation is OPERATIONS[name]
    arrays = draw(problem)
    assert [array.shape for array in arrays] == shapes
    assert operation.reference(problem, *arrays).shape == RESULT.get(name, problem.output_shape)


def test_reference_of_a_pooling_by_hand() -> None:
    x = np.array([[[4.0, 1.0, 7.0]]])
    average = parse("avg_pool1d,n1,c1,3,2,p1,exclude_pad,float64")
    assert operation_of(average).reference(average, x).tolist() == [[[4.0, 2.5, 4.0, 7.0]]]
    largest = parse("max_pool1d,n1,c1,3,2,float64")
    assert operation_of(largest).reference(largest, x).tolist() == [[[4.0, 7.0]]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "int64", "uint16"])
def test_data_are_the_same_every_time_and_never_denormal(dtype: str) -> None:
    problem = dataclasses.replace(parse(SMALL), dtype=dtype)
    first, second = draw(problem), draw(problem)
    assert first[0].max() > 0
    assert (first[0].min() < 0) == (dtype != "uint16")
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == dtype
        if is_floating(one.dtype):
            assert np.abs(one).min() >= 0.5
            assert np.abs(one).max() <= 1
        else:
            assert one.max() <= 4
            assert one.min() >= (0 if one.dtype.kind == "u" else -4)


def test_data_of_two_arrays_differ() -> None:
    weight, grad_output = draw(parse("conv2d,n1,c3,3x3,k3,1x1,input_gradient,float64"))
    assert not np.array_equal(weight.ravel(), grad_output.ravel()[: weight.size])


def test_relative_error_by_hand() -> None:
    assert relative_error(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == 0.1
    assert relative_error(np.zeros(2), np.zeros(2)) == 0
    assert relative_error(np.array([3.0]), np.zeros(1)) == 3
    assert np.isnan(relative_error(np.array([np.nan, 1]), np.ones(2)))


def test_relative_error_is_not_computed_in_the_arrays_own_type() -> None:
    assert relative_error(np.array([100], np.int8), np.array([-100], np.int8)) == 2
    assert relative_error(np.array([6e4], np.float16), np.array([3e4], np.float16)) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("conv2d,n1,c1,3x3,k1,3x3,float32", ERROR_LIMITS["float32"]),
        ("conv2d,n1,c1,3x3,k1,3x3,float64", ERROR_LIMITS["float64"]),
        ("conv2d,n1,c1,3x3,k1,3x3,int32", 0.0),
        ("avg_pool2d,n1,c1,3x3,3x3,float16", ERROR_LIMITS["float16"]),
        ("avg_pool2d,n1,c1,3x3,3x3,bfloat16", ERROR_LIMITS["bfloat16"]),
        ("max_pool2d,n1,c1,3x3,3x3,float32", 0.0),  # picks elements: nothing is rounded
    ],
)
def test_error_limits(text: str, limit: float) -> None:
    problem = parse(text)
    assert operation_of(problem).error_limit(problem) == limit


def test_function_names() -> None:
    names = [operation_of(parse(text)).function_name(parse(text)) for text, _ in SHAPES.values()]
    assert names == [
        "conv2d", "conv2d_input", "conv2d_weight", "max_pool2d", "avg_pool1d", "lp_pool1d",
        "adaptive_max_pool1d", "adaptive_avg_pool1d",
    ]  # fmt: skip


def test_the_call_of_a_convolution_is_the_public_one() -> None:
    problem = parse(SMALL)
    arrays = draw(problem)
    call = operation_of(problem).call(problem, arrays)
    assert call is not None
    expected = operation_of(problem).reference(problem, *arrays)
    for algorithm in ("auto", "reference"):
        assert relative_error(call(algorithm=algorithm), expected) < 1e-6


def without(monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    """Let fastconv not have a public function."""
    monkeypatch.delitem(fastconv._HOME, function, raising=False)
    monkeypatch.delattr(fastconv, function, raising=False)


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name != "conv"])
def test_a_function_that_is_not_there_yet_is_no_call(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    problem = parse(SHAPES[name][0])
    without(monkeypatch, OPERATIONS[name].function_name(problem))
    assert OPERATIONS[name].call(problem, draw(problem)) is None


@pytest.mark.parametrize(
    ("name", "positional"),
    [
        ("conv_input_gradient", [(2, 4, 6, 5), "weight", "grad_output"]),
        ("conv_weight_gradient", ["input", (6, 2, 3, 2), "grad_output"]),
    ],
)
def test_a_gradient_is_given_the_shape_of_what_it_computes(
    monkeypatch: pytest.MonkeyPatch, name: str, positional: list[object]
) -> None:
    problem = parse(SHAPES[name][0])
    assert isinstance(problem, ConvProblem)
    arrays = draw(problem)
    seen: dict[str, object] = {}

    def gradient(*given: object, **arguments: object) -> None:
        seen.update(arguments, given=given)

    monkeypatch.setattr(fastconv, OPERATIONS[name].function_name(problem), gradient, raising=False)
    call = OPERATIONS[name].call(problem, arrays)
    assert call is not None
    call()
    given = seen["given"]
    assert isinstance(given, tuple)
    left = list(arrays)
    for one, wanted in zip(given, positional, strict=True):
        assert one == wanted if isinstance(wanted, tuple) else one is left.pop(0)
    assert (seen["stride"], seen["groups"]) == ((2, 1), 2)


def reference_max_pool(x: Array, algorithm: str = "auto", **arguments: object) -> Array:
    """What takes the arguments of a public function."""
    return reference.max_pool(x, **arguments)


def test_an_operation_that_arrives_later_appears_without_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer("pool", parse("max_pool2d,n1,c2,6x5,3x3,s2,p1,channels_last,float32"))
    without(monkeypatch, "max_pool2d")
    before = run.measure_layer(layer, run.Settings(seconds=0.0))
    assert before[AUTO].skipped == "fastconv has no max_pool2d yet"
    assert before.milliseconds is None

    monkeypatch.setattr(fastconv, "max_pool2d", reference_max_pool, raising=False)
    after = run.measure_layer(layer, run.Settings(seconds=0.0))
    assert after[AUTO].skipped is after[AUTO].failure is None
    assert after[AUTO].error == 0
    assert after.milliseconds is not None
    assert after[REFERENCE].error == 0


def test_an_operation_that_arrives_wrong_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer("pool", parse("max_pool2d,n1,c2,6x5,3x3,s2,p1,float32"))
    wrong = np.nextafter(np.float32(1), np.float32(2))  # a maximum is not rounded
    monkeypatch.setattr(fastconv, "max_pool2d", lambda x, **_: reference_max_pool(x, **_) * wrong, raising=False)
    *others, outcome = run.measure_layer(layer, run.Settings(seconds=0.0)).failures
    assert all(other.kind == "algorithm" for other in others)  # which are run by the same function
    assert outcome.name == AUTO
