"""Who takes part: chosen by name, ready to be called, or with the reason why not."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import selection
from fastconv.bench import contenders as module
from fastconv.bench.contenders import Contender, check, contenders, expected, picked
from fastconv.bench.operations import draw
from fastconv.bench.peers import Peer
from fastconv.bench.results import AUTO, PACKED, REFERENCE
from fastconv.problem import ConvProblem, parse

SMALL = ConvProblem.parse("conv2d,n1,c3,8x8,k4,3x3,p1,float32")
REFUSING = {entry.name for entry in selection.TABLE if entry.supports(SMALL)}


@pytest.fixture
def arrays(monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, ...]:
    y = np.zeros(3, np.float32)
    table = {name: Peer((), lambda *_: lambda: y) for name in ("one", "other")}
    monkeypatch.setattr(module, "COMPARISONS", {"conv": table})
    return expected(SMALL)[0]


def names(found: tuple[Contender, ...]) -> list[str]:
    return [one.name for one in found]


def test_all_unless_names_are_given(arrays: tuple[np.ndarray, ...]) -> None:
    assert names(contenders(SMALL, arrays)) == [*fastconv.algorithms(), AUTO, PACKED, "one", "other"]
    assert names(contenders(SMALL, arrays, ("im2col",), ("other",))) == ["im2col", AUTO, PACKED, "other"]
    assert names(contenders(SMALL, arrays, (), ())) == [AUTO, PACKED]


def test_each_is_right(arrays: tuple[np.ndarray, ...]) -> None:
    _, right, _ = expected(SMALL)
    for one in contenders(SMALL, arrays, peers=()):
        if one.name != REFERENCE and one.name not in REFUSING:
            outcome = check(one, right)
            assert (outcome.name, outcome.failure) == (one.name, None)
            assert outcome.error is not None
            assert outcome.error <= one.limit


def test_a_wrong_shape_and_a_wrong_value_are_failures(arrays: tuple[np.ndarray, ...]) -> None:
    right = np.ones(3, np.float32)
    assert "shape" in str(check(Contender("a", "peer", 1.0, run=lambda: right[:2]), right).failure)
    (wrong,) = contenders(SMALL, arrays, (), ("one",))[2:]  # which returns zeros
    outcome = check(wrong, right)
    assert str(outcome.failure).startswith("relative error 1, at most 2e-06")
    assert outcome.error == 1.0


def test_packed_is_a_layer(arrays: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    auto, packed = contenders(SMALL, arrays, (), ())
    assert (packed.kind, packed.limit) == ("packed", auto.limit)
    assert auto.run is not None
    expected = auto.run()
    monkeypatch.delattr(fastconv, "conv2d")  # it is not the function's call
    assert packed.run is not None
    assert packed.run().tobytes() == expected.tobytes()


def test_what_has_no_weights_or_no_layer_has_no_packed_contender() -> None:
    for text in ("max_pool2d,n1,c3,8x8,2x2,float32", "conv2d,n1,c3,8x8,k4,3x3,p1,input_gradient,float32"):
        problem = parse(text)
        assert PACKED not in names(contenders(problem, draw(problem), peers=()))


def test_picked_is_what_auto_stands_for() -> None:
    assert picked(SMALL) == fastconv.select(SMALL)
    assert picked(parse("conv2d,n1,c3,8x8,k4,3x3,p1,int8")) == REFERENCE
