"""The job on one layer: what is right is timed, what is wrong is named, and what follows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

import fastconv
from fastconv import selection
from fastconv.bench import run
from fastconv.bench.run import AUTO, LayerResult, Outcome, Settings, draw, measure_layer
from fastconv.bench.suites import Layer
from fastconv.bench.summary import summarise
from fastconv.problem import ConvProblem

SMALL = ConvProblem.parse("conv2d,n1,c3,8x8,k4,3x3,p1,float32")
QUICK = Settings(seconds=0.0)


def lie(
    monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    """Let one algorithm return something else than it computed."""
    honest = fastconv.conv2d

    def conv2d(*arrays: np.ndarray, algorithm: str = AUTO, **arguments: object) -> np.ndarray:
        y = honest(*arrays, algorithm=algorithm, **arguments)
        return change(y) if algorithm == name else y

    monkeypatch.setattr(fastconv, "conv2d", conv2d)


def test_every_algorithm_is_right_and_timed() -> None:
    peaks = {"float32": 1e12}
    result = measure_layer(Layer("small", SMALL, 2), Settings(seconds=0.0, peaks=peaks))
    assert [one.name for one in result.outcomes] == [*fastconv.algorithms(), AUTO]
    assert result.failures == ()
    assert result.picked == fastconv.select(SMALL)
    assert (result.layer, result.count, result.problem) == ("small", 2, str(SMALL))
    for one in result.outcomes:
        if one.skipped is None:
            assert one.minimum_ms is not None
            assert one.minimum_ms > 0
            assert one.gflops == pytest.approx(2e-6 * SMALL.multiply_adds / one.minimum_ms)
            assert one.share_of_peak == pytest.approx(one.gflops * 1e9 / 1e12)
    assert result.regret is not None
    assert result.regret >= 1
    json.dumps(dataclasses.asdict(result), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: y + 1, "relative error"),
        (lambda y: y * np.nan, "relative error nan"),
        (lambda y: y[..., 1:], "shape"),
    ],
)
def test_a_wrong_result_is_named_and_not_timed(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    lie(monkeypatch, "direct", change)
    result = measure_layer(Layer("small", SMALL), QUICK)
    (wrong,) = result.failures
    assert wrong.name == "direct"
    assert wrong.failure is not None
    assert message in wrong.failure
    assert wrong.minimum_ms is None
    assert result[AUTO].failure is None
    json.dumps(dataclasses.asdict(result), allow_nan=False)


def test_one_that_raises_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(y: np.ndarray) -> np.ndarray:
        raise MemoryError("no room")

    lie(monkeypatch, "direct", fail)
    result = measure_layer(Layer("small", SMALL), QUICK)
    assert [one.failure for one in result.failures] == ["MemoryError: no room"]
    assert result[AUTO].minimum_ms is not None


def test_an_algorithm_that_cannot_is_skipped_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unable = SimpleNamespace(name="unable", supports=lambda problem: "no threes")
    monkeypatch.setattr(selection, "TABLE", (*selection.TABLE, unable))
    result = measure_layer(Layer("small", SMALL), QUICK)
    assert result["unable"].skipped == "no threes"
    assert result["unable"].minimum_ms is None


def test_only_the_algorithms_asked_for() -> None:
    result = measure_layer(Layer("small", SMALL), Settings(("im2col",), seconds=0.0))
    assert [one.name for one in result.outcomes] == ["im2col", AUTO]


def test_gradients_are_refused() -> None:
    problem = dataclasses.replace(SMALL, direction="input_gradient")
    with pytest.raises(ValueError, match="problem must be a forward convolution"):
        measure_layer(Layer("gradient", problem), QUICK)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "uint16"])
def test_data_are_the_same_every_time_and_never_denormal(dtype: str) -> None:
    problem = dataclasses.replace(SMALL, dtype=dtype)
    first, second = draw(problem), draw(problem)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == dtype
        if one.dtype.kind == "f":
            assert np.abs(one).min() >= 0.5
            assert np.abs(one).max() <= 1
            assert (one < 0).any()
            assert (one > 0).any()


def test_relative_error_by_hand() -> None:
    assert run.relative_error(np.array([3.0, 4.5]), np.array([3.0, 4.0])) == 0.1
    assert run.relative_error(np.zeros(2), np.zeros(2)) == 0


def result(layer: str, times: dict[str, float], regret: float) -> LayerResult:
    kinds = {"auto": "auto", "torch": "peer"}
    outcomes = [
        Outcome(name, kinds.get(name, "algorithm"), minimum_ms=time)  # type: ignore[arg-type]
        for name, time in times.items()
    ]
    return LayerResult(layer, "conv1d", 1, 1, "direct", tuple(outcomes), regret)


def test_summary_by_hand() -> None:
    rows = [
        result("a", {"auto": 2.0, "torch": 1.0}, 1.0),
        result("b", {"auto": 1.0, "torch": 8.0}, 4.0),
    ]
    found = summarise(rows)
    assert found.regret is not None
    assert found.regret.geometric_mean == pytest.approx(2)
    assert (found.regret.worst, found.regret.worst_layer) == (4.0, "b")
    torch = found.peers["torch"]
    assert torch.geometric_mean == pytest.approx(2)  # sqrt(1/2 * 8)
    assert (torch.worst, torch.worst_layer) == (0.5, "a")
    assert torch.below_one == {"a": 0.5}
    assert found.wrong == 0
    assert found.share_of_peak is None
