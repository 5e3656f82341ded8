"""The tolerance of a call: which algorithm runs, and that no choice outlives the tolerance it was made for."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv

FUNCTIONS = [fastconv.conv1d, fastconv.conv2d, fastconv.conv3d]


def operands(rank=2, dtype=np.float32):
    return np.ones((1, 2, *[5] * rank), dtype), np.ones((3, 2, *[2] * rank), dtype)


@pytest.fixture
def coarse(pretend):
    """Put into the table what is quicker than all others, with a bound of 1e-3."""
    return pretend("coarse", 1e-3)


@pytest.mark.parametrize("convolve", FUNCTIONS)
def test_the_call_says_how_inaccurate_it_may_be(coarse, convolve):
    x, weight = operands(FUNCTIONS.index(convolve) + 1)
    for tolerance, calls in ((None, 0), (1e-3, 1), (9e-4, 1), (1, 2), (np.float32(0.5), 3), (1e-6, 3)):
        y = convolve(x, weight, tolerance=tolerance)
        assert coarse.calls == calls
        assert (y == weight[0].size).all()


def test_a_ready_call_does_not_outlive_the_tolerance(coarse, set_tolerance):
    x, weight = operands()
    for tolerance, step in ((None, 0), (1e-2, 1), (1e-4, 0), (1e-3, 1), (None, 0), (1e-2, 1)):
        set_tolerance(tolerance)
        for _ in range(3):  # the first prepares, the others find it ready
            before = coarse.calls
            fastconv.conv2d(x, weight)
            assert coarse.calls == before + step


def test_the_call_has_the_last_word_over_the_configuration(coarse, set_tolerance):
    x, weight = operands()
    for _ in range(2):
        for configured, own, step in ((1e-2, 1e-5, 0), (1e-5, 1e-2, 1), (1e-2, None, 1)):
            set_tolerance(configured)
            before = coarse.calls
            fastconv.conv2d(x, weight, tolerance=own)
            assert coarse.calls == before + step


def test_what_is_asked_for_by_name_runs_whatever_its_bound(coarse, set_tolerance):
    x, weight = operands()
    fastconv.conv2d(x, weight, algorithm="coarse")
    fastconv.conv2d(x, weight, algorithm="coarse", tolerance=1e-9)
    set_tolerance(1e-9)
    fastconv.conv2d(x, weight, algorithm="coarse")
    assert coarse.calls == 3


def test_float64_and_float32_share_a_tolerance_that_is_set(coarse, set_tolerance):
    set_tolerance(1e-3)
    for count, dtype in enumerate((np.float32, np.float64), 1):
        fastconv.conv2d(*operands(dtype=dtype))
        assert coarse.calls == count


def test_an_unreachable_tolerance_runs_the_most_accurate(coarse, pretend):
    best = pretend("best", 1e-12)
    assert (fastconv.conv2d(*operands(), tolerance=1e-15) == 8).all()
    assert (coarse.calls, best.calls) == (0, 1)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32"])
def test_other_types_are_computed_whatever_the_tolerance(dtype):
    for tolerance in (None, 1e-300, 1.0):
        assert (fastconv.conv2d(*operands(dtype=dtype), tolerance=tolerance) == 8).all()
