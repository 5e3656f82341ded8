"""Integers are exact or refused, whatever type computes them."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import ndimage, signal
from fastconv.signal import numbers
from fastconv.signal.planes import Border


def reach_of(images, filters, value=0):
    border = Border(((0, 0),), "zeros", value)
    return numbers.largest_sum(np.array([[images]]), np.array([[filters]]), border)


def test_what_sums_can_reach():
    assert reach_of([1, -7, 3], [2, -3]) == 35
    assert reach_of([1, -7, 3], [2, -3], value=-10) == 50
    assert reach_of(np.zeros(3, np.uint8), [2, -3]) == 256 * 5  # of the type, without a look at the data
    assert reach_of(np.zeros(3, np.int16), [2**20]) == 0  # with one, where the type says too little
    assert reach_of([-(2**63)], [1]) == 2.0**63


@pytest.mark.parametrize(
    ("largest", "work"),
    [(2**12 - 1, "float32"), (2**12, "float64"), (2**26, "float64"), (2**27, "int64"), (2**30, "int64")],
)
def test_the_narrowest_type_that_is_exact_computes(monkeypatch, largest, work):
    used = []
    convolved = numbers.correlate_planes

    def spy(images, filters, border, choice):
        used.append((images.dtype.name, filters.dtype.name, choice.algorithm))
        return convolved(images, filters, border, choice)

    monkeypatch.setattr(numbers, "correlate_planes", spy)
    x = np.array([0, largest, 1])
    result = signal.convolve(x, [1, largest])
    assert result.tolist() == [0, largest, largest**2 + 1, largest]
    assert used[-1][:2] == (work, work)
    assert used[-1][2] == ("reference" if work == "int64" else "depthwise")


def test_neighbours_of_the_limit_are_told_apart():
    """2**53 + 1 is no float64."""
    x = np.array([2**52, 1, 0])
    assert signal.convolve(x, [1, 2], "valid").tolist() == [2**53 + 1, 2]
    assert ndimage.correlate1d(np.array([1, 2**52]), [1, 2], mode="constant").tolist() == [2, 2**53 + 1]


def test_what_might_not_fit_is_refused():
    with pytest.raises(OverflowError, match="int64"):
        signal.convolve([2**40], [2**40])
    with pytest.raises(OverflowError, match="integers must fit in int64, got 18446744073709551615"):
        signal.convolve(np.array([2**64 - 1], np.uint64), np.array([2**30], np.uint64))
    with pytest.raises(OverflowError, match="int64"):
        ndimage.correlate([2**62, 2**62], [2, 2])


@pytest.mark.parametrize(
    ("dtype", "expected"), [("uint8", 600 - 512), ("int8", 600 - 512), ("int16", 600), ("uint64", 600)]
)
def test_integers_wrap_in_their_type(dtype, expected):
    ones = np.full(2, 100, dtype)
    assert signal.convolve(ones, np.full(2, 3, dtype), "valid").tolist() == [expected]
    assert signal.convolve2d(ones[None], np.full((1, 2), 3, dtype), "valid").tolist() == [[expected]]


def test_mixed_types():
    assert signal.convolve(np.ones(3, np.uint8), np.ones(2, np.int8)).dtype == np.int16
    assert signal.convolve(np.ones(3, np.int32), np.ones(2, np.float32)).dtype == np.float64
    assert signal.convolve(np.ones(3, np.int64), np.ones(2, np.uint64)).dtype == np.float64
    assert signal.convolve(np.ones(3, ">i4"), np.ones(2, ">i4")).dtype == np.dtype("int32")


def test_bools_are_ors_of_ands():
    x = np.array([True, False, False, True])
    assert signal.convolve(x, [True, True]).tolist() == [True, True, False, True, True]
    assert signal.convolve(np.ones((300, 1), bool), np.ones((256, 1), bool)).all()  # 256 is 0 in eight bits


def test_many_taps_are_exact_too():
    taps = np.ones(5000, np.int16)
    assert signal.convolve(np.arange(6000, dtype=np.int64), taps, "valid")[-1] == np.arange(1000, 6000).sum()


@pytest.mark.parametrize("algorithm", ["direct", "depthwise", "im2col", "reference"])
def test_algorithms_that_are_exact(algorithm):
    assert signal.convolve([1, 2], [1, 10], algorithm=algorithm).tolist() == [1, 12, 20]


def test_algorithms_that_are_not():
    with pytest.raises(fastconv.UnsupportedError, match="'winograd_4x4' does not compute integers exactly"):
        signal.convolve(np.ones((9, 9), int), np.ones((3, 3), int), algorithm="winograd_4x4")


def test_tolerance_reaches_the_choice(pretend):
    rough = pretend("rough", bound=1e-2)
    x = np.ones((9, 9), np.float32)
    signal.convolve(x, x[:3, :3])
    assert rough.calls == 0
    signal.convolve(x, x[:3, :3], tolerance=0.1)
    signal.convolve2d(x, x[:3, :3], tolerance=0.1)
    ndimage.correlate(x, x[:3, :3], tolerance=0.1)
    assert rough.calls == 3
    signal.convolve(x.astype(int), x[:3, :3].astype(int), tolerance=0.1)  # which must be exact
    assert rough.calls == 3
